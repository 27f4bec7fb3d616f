"""`vidu-async journal`: reading the file, settling what may be paid, comparing it with the gateway."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_child import QUICK, on_terminal

from vidu_async.cli.app import main
from vidu_async.cli.settings import Settings
from vidu_async.testing import DROP_AFTER, Refusal, Reply, Simulator, run_in_thread

KEY = "sk-the-key-of-the-tests"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    """A simulator that the environment names, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    with run_in_thread(Simulator(api_key=KEY)) as running:
        monkeypatch.setenv("VIDU_BASE_URL", running.url)
        monkeypatch.setenv("VIDU_API_KEY", KEY)
        yield running


def run(*arguments: str) -> int:
    """Run the command line in this process."""
    return main(arguments, Settings(client=dict(QUICK)))


def make(key: str) -> int:
    """Make a film under a key of the journal."""
    fields = ("text2video", "model=viduq3-turbo", f"prompt=a {key}")
    return run("run", *fields, "--journal", "vidu.db", "--key", key)


def lose(sim: Simulator, key: str) -> None:
    """Make one whose answer is lost, and that is not found."""

    async def drop(method: str, path: str, headers: Any, body: bytes) -> Any:
        return DROP_AFTER if method == "POST" or path.endswith("/tasks") else None

    sim.intercept = drop
    assert make(key) == 3
    sim.intercept = None


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the JSON objects that were told."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_list_needs_neither_key_nor_network(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows, oldest first, or those of a state or since a time."""
    assert [make("fox"), make("cat")] == [0, 0]
    lose(sim, "dog")
    monkeypatch.delenv("VIDU_API_KEY")
    sim.requests.clear()
    capsys.readouterr()
    assert run("journal", "list", "vidu.db", "--json") == 0
    rows = told(capsys)
    assert [(row["key"], row["state"]) for row in rows] == [("fox", "success"), ("cat", "success"), ("dog", "unknown")]
    assert [row["task"] for row in rows] == [*(task.id for task in sim.accepted[:2]), None]
    assert run("journal", "list", "--journal", "vidu.db", "--state", "success", "--since", "1d") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["fox", "cat"]
    assert run("journal", "list", "vidu.db", "--since", "2999-01-01") == 0
    assert capsys.readouterr() == ("", "No submissions.\n")
    assert not sim.requests


def test_reading_makes_no_journal(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is not there is said to be missing."""
    assert [run("journal", "list", "no.db"), run("journal", "resolve", "k", "--journal", "no.db", "--give-up")] == [
        2,
        2,
    ]
    assert not Path("no.db").exists()
    assert "there is no journal no.db" in capsys.readouterr().err


def test_what_is_found_is_told(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And once all is settled the status is 0."""
    lose(sim, "dog")
    capsys.readouterr()
    assert run("journal", "reconcile", "vidu.db") == 0
    assert capsys.readouterr().out == f"dog  found  task {sim.accepted[0].id}\n"
    assert make("dog") == 0
    assert len(sim.accepted) == 1


def test_what_is_not_found_is_settled_by_hand(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no list; each way says what it means."""
    with run_in_thread(Simulator(api_key=KEY, lists=False)) as mute:
        monkeypatch.setenv("VIDU_BASE_URL", mute.url)
        for key in ("fox", "cat", "dog"):
            lose(mute, key)
        capsys.readouterr()
        assert run("journal", "reconcile", "vidu.db") == 3
        assert "vidu-async journal resolve dog --journal vidu.db --task-id ID" in capsys.readouterr().err
        resolve = ("--journal", "vidu.db")
        assert run("journal", "resolve", "fox", *resolve, "--task-id", mute.accepted[0].id) == 0
        assert run("journal", "resolve", "cat", *resolve, "--resend") == 0
        assert run("journal", "resolve", "dog", *resolve, "--give-up", "--json") == 0
        assert "cat is sent again when it is submitted next" in capsys.readouterr().out
        assert run("journal", "resolve", "dog", *resolve, "--give-up") == 2
        assert run("journal", "resolve", "dog", *resolve) == 2
        assert [make(key) for key in ("fox", "cat", "dog")] == [0, 0, 0]
        assert len(mute.accepted) == 5  # the cat and the dog were paid twice, by consent


def test_an_audit_of_what_fits_says_so(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With what it compared."""
    assert [make("fox"), make("cat")] == [0, 0]
    capsys.readouterr()
    assert run("journal", "audit", "vidu.db", "--json") == 0
    *_, state, summary = told(capsys)
    assert state == {"type": "state", "state": "success", "submissions": 2, "credits": sim.charged, "unpriced": 0}
    assert (summary["fits"], summary["compared"]) == (True, 2)


def test_an_audit_names_what_does_not_fit(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks of others, lost ones, tasks made twice, and tasks that the server no longer knows."""
    assert make("fox") == 0
    assert run("run", "text2video", "model=viduq3-turbo", "prompt=a stranger") == 0
    lose(sim, "dog")
    capsys.readouterr()
    assert run("journal", "audit", "vidu.db", "--json") == 3
    found = told(capsys)
    strangers = {one["task_id"]: one["whose"] for one in found if one["type"] == "stranger"}
    assert strangers == {
        sim.accepted[1].id: "it was made with another journal",
        sim.accepted[2].id: "it is that of dog",
    }
    assert [one["key"] for one in found if one["type"] == "unresolved"] == ["dog"]
    with run_in_thread(Simulator(api_key=KEY)) as other:
        assert run("journal", "audit", "vidu.db", "--base-url", other.url) == 0
        assert "Not checked: 2 submissions at other sites" in capsys.readouterr().out


def test_tasks_of_others_fit(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told of, with whose they are if anything tells."""
    assert make("fox") == 0
    other = ("run", "text2video", "model=viduq3-turbo", "prompt=a stranger")
    assert [run(*other), run(*other, "payload=mine")] == [0, 0]
    capsys.readouterr()
    assert run("journal", "audit", "vidu.db") == 0
    out = capsys.readouterr().out
    _, marked, unmarked = (f"task {task.id} (success, {task.credits} credits) is named" for task in sim.accepted)
    assert f"{marked} by no submission: it was made with another journal" in out
    assert f"{unmarked} by no submission: nothing tells whose it is" in out


def test_an_audit_names_what_was_paid_twice_and_what_costs_otherwise(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A submission sent again by consent has two tasks with its mark."""
    lose(sim, "dog")
    assert run("journal", "resolve", "dog", "--journal", "vidu.db", "--resend") == 0
    assert [make("dog"), make("fox")] == [0, 0]
    with contextlib.closing(sqlite3.connect("vidu.db")) as file:
        file.execute("UPDATE submissions SET credits = 1 WHERE key = 'fox'")
        file.commit()
    capsys.readouterr()
    assert run("journal", "audit", "vidu.db") == 1
    out = capsys.readouterr().out
    first, second, fox = sim.accepted
    assert f"dog became 2 tasks: {second.id}, {first.id}" in out
    assert f"fox: 1 credits here, {fox.credits} at the gateway" in out


def test_an_audit_names_tasks_that_the_gateway_does_not_know(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after the server has lost them."""
    assert make("fox") == 0
    task_id = sim.accepted[0].id

    async def forget(method: str, path: str, headers: Any, body: bytes) -> Any:
        return Reply(200, b'{"tasks": []}') if path.endswith("/tasks") else Refusal("TaskNotFound", "no such task")

    sim.intercept = forget
    capsys.readouterr()
    assert run("journal", "audit", "vidu.db") == 1
    assert f"fox: the gateway does not know its task {task_id} (success)" in capsys.readouterr().out


def test_a_terminal_shows_columns(sim: Simulator) -> None:
    """None of them cut."""
    assert make("fox") == 0
    shown = on_terminal("journal", "list", "vidu.db").splitlines()
    assert [line.split()[0] for line in shown] == ["KEY", "fox"]
    assert sim.accepted[0].id in shown[1]


def test_an_audit_is_honest_where_there_is_no_list(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for each task that it knows, and says what it cannot know."""
    with run_in_thread(Simulator(api_key=KEY, lists=False)) as mute:
        monkeypatch.setenv("VIDU_BASE_URL", mute.url)
        assert make("fox") == 0
        capsys.readouterr()
        assert run("journal", "audit", "vidu.db") == 0
        out = capsys.readouterr().out
    assert "Not checked: tasks that no submission names: this gateway does not list tasks" in out
    assert "1 compared" in out
