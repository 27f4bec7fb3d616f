"""`vidu-async batch`: a file's rows made once each, whatever ends the process; and what it says of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_child import QUICK, on_terminal

from vidu_async.cli.app import main
from vidu_async.cli.settings import Settings
from vidu_async.testing import DROP_AFTER, Simulator, run_in_thread

CHILD = Path(__file__).with_name("cli_child.py")
KEY = "sk-the-key-of-the-tests"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    """A simulator that the environment names, and an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    with run_in_thread(Simulator(api_key=KEY, concurrency=100)) as running:
        monkeypatch.setenv("VIDU_BASE_URL", running.url)
        monkeypatch.setenv("VIDU_API_KEY", KEY)
        yield running


def rows(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Return rows that differ in their prompts."""
    row = {"endpoint": "text2video", "model": "viduq3-turbo", **fields}
    return [{**row, "prompt": f"fox {number}"} for number in range(count)]


def written(name: str, found: list[dict[str, Any]]) -> str:
    """Write rows as JSON Lines into the current folder."""
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")
    return name


def run(*arguments: str) -> int:
    """Run the command line in this process."""
    return main(arguments, Settings(client=dict(QUICK)))


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command line in a process of its own."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, str(CHILD), *arguments], stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def awaited(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


# What becomes of a file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "jobs.jsonl",
            '{"model": "viduq3-turbo", "prompt": "a fox"}\n\n{"model": "viduq3-turbo", "prompt": "a cat"}\n',
        ),
        ("jobs.json", '[{"model": "viduq3-turbo", "prompt": "a fox"}, {"model": "viduq3-turbo", "prompt": "a cat"}]'),
        ("jobs.csv", "model,prompt\nviduq3-turbo,a fox\nviduq3-turbo,a cat\n"),
    ],
)
def test_the_rows_of_every_kind_of_file_become_files(
    sim: Simulator, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    """Their paths are all of stdout; the journal is beside them, and the second run pays for nothing."""
    Path(name).write_text(content, encoding="utf-8")
    assert run("batch", name, "--endpoint", "text2video") == 0
    paths = capsys.readouterr().out.splitlines()
    assert sorted(paths) == sorted(f"jobs-results/{task.id}.mp4" for task in sim.accepted)
    assert all(Path(path).stat().st_size for path in paths)
    assert Path("jobs-results/journal.db").exists()
    assert run("batch", name, "--endpoint", "text2video") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(paths)
    assert len(sim.accepted) == 2


def test_what_is_wrong_with_a_row_is_told_with_its_line(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And keeps none of the others from being made."""
    wrong = [*rows(2), {**rows(1)[0], "duration": 99}, {"endpoint": "text2vido"}]
    assert run("batch", written("jobs.jsonl", wrong)) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "jobs.jsonl:3: failed, not paid (ValidationError): duration of viduq3-turbo" in err
    assert "Did you mean 'text2video'?" in err
    assert len(sim.accepted) == 2


def test_outcomes_come_as_json_and_a_summary_last(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line, under names that stay."""
    assert run("batch", written("jobs.jsonl", [*rows(1, key="fox"), {"endpoint": "nix"}]), "--json", "--out", "o") == 1
    *outcomes, summary = map(json.loads, capsys.readouterr().out.splitlines())
    task = sim.accepted[0]
    assert [one for one in outcomes if one["success"]] == [
        {
            "type": "outcome",
            "key": "fox",
            "place": "jobs.jsonl:1",
            "success": True,
            "task_id": task.id,
            "state": "success",
            "credits": task.credits,
            "recalled": False,
            "paths": [f"o/fox-{task.id}.mp4"],
            "reason": None,
            "paid": None,
            "message": None,
        }
    ]
    assert summary.pop("seconds") > 0
    assert summary == {
        "type": "summary",
        "accepted": 1,
        "recalled": 0,
        "succeeded": 1,
        "failed": {"ValidationError": 1},
        "unknown": 0,
        "worst_case": 0,
        "spent": task.credits,
        "unpriced": 0,
        "whole": True,
        "items": 2,
        "success": False,
        "stopped": False,
        "fault": None,
    }


def test_a_budget_is_kept(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """What would pass it is told, with what to do."""
    assert run("batch", written("jobs.jsonl", rows(4)), "--budget", "100", "--unknown-price", "45") == 1
    assert len(sim.accepted) == 2
    assert "BudgetExceededError" in capsys.readouterr().err


def test_a_dry_run_makes_nothing(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no key, sends nothing, and leaves neither folder nor journal."""
    monkeypatch.delenv("VIDU_API_KEY")
    written("jobs.jsonl", [*rows(2), {"endpoint": "text2video"}])
    assert run("batch", "jobs.jsonl", "--dry-run", "--unknown-price", "40") == 1
    out, err = capsys.readouterr()
    assert out == "2 to submit for 80 credits; 1 refused\n"
    assert err.startswith("failed: jobs.jsonl:3: ")
    assert not sim.requests
    assert [path.name for path in Path().iterdir()] == ["jobs.jsonl"]
    assert run("batch", written("good.jsonl", rows(2)), "--dry-run", "--unknown-price", "40", "--budget", "79") == 1
    assert "more than the budget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jobs.txt", "", "must end with .jsonl"),
        ("none.jsonl", None, "does not exist"),
        ("jobs.json", '{"endpoint": 1}', "must hold a JSON array"),
        ("jobs.json", '[{"endpoint"', "jobs.json line 1: the array is cut or no JSON"),
        ("jobs.csv", "prompt\n\xff", "no UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_wrong_call(
    sim: Simulator, capsys: pytest.CaptureFixture[str], name: str, content: str | None, said: str
) -> None:
    """It is told in a line, and nothing is sent."""
    if content is not None:
        Path(name).write_bytes(content.encode("latin-1"))
    assert run("batch", name) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert not sim.accepted


def test_an_empty_file_is_done(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And said to be empty."""
    Path("jobs.jsonl").touch()
    assert run("batch", "jobs.jsonl") == 0
    assert "jobs.jsonl holds no requests" in capsys.readouterr().err


def test_a_deadline_leaves_what_is_paid_to_the_next_run(capsys: pytest.CaptureFixture[str], sim: Simulator) -> None:
    """Which is told, with the command."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=15)) as slow:
        call = ("batch", written("jobs.jsonl", rows(1)), "--base-url", slow.url)
        assert run(*call, "--deadline", "0.5s") == 1
        said = capsys.readouterr().err
        assert "1 rows are paid and not done; the same command takes them up: vidu-async batch jobs.jsonl" in said
        assert run(*call) == 0
        assert len(slow.accepted) == 1
    assert not sim.accepted


def test_a_terminal_shows_what_failed_and_names_the_folder(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live region instead of a line for each, and no more than some failures after it."""
    monkeypatch.setenv("TERM", "xterm")
    received = on_terminal("batch", written("jobs.jsonl", [*rows(3), *rows(25, duration=99)]), expected=1)
    assert "3 files are in jobs-results/" in received
    assert received.count("failed: jobs.jsonl:") == 20
    assert "... and 5 more" in received
    assert "jobs-results/9" not in received


def test_a_terminal_that_cannot_draw_gets_plain_lines(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each row, as a file does."""
    monkeypatch.setenv("TERM", "dumb")
    received = on_terminal("batch", written("jobs.jsonl", rows(2, key=None)))
    assert "jobs.jsonl:1: succeeded" in received
    assert "jobs.jsonl:2: succeeded" in received
    assert "\x1b" not in received


def test_a_failure_names_its_place_and_its_key(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of them once."""
    assert run("batch", written("jobs.jsonl", [*rows(1, key="sunrise", duration=99), *rows(1)]), "--dry-run") == 1
    err = capsys.readouterr().err
    assert err.startswith("failed: jobs.jsonl:1 sunrise: duration of viduq3-turbo")
    assert len(err.splitlines()) == err.count("jobs.jsonl:") == 1


def test_advice_that_helps_many_rows_is_told_once(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a key of another site, which no row's line explains."""
    monkeypatch.setenv("VIDU_API_KEY", "sk-of-another-site")
    assert run("batch", written("jobs.jsonl", rows(3))) == 1
    assert capsys.readouterr().err.count("Check VIDU_API_KEY") == 1


def test_what_an_encoding_lacks_is_written_as_escapes(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing vanishes."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with child("batch", written("jobs.jsonl", rows(1, key="狐狸")), "--out", "日") as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.startswith("\\u65e5/")
    assert "\\u72d0\\u72f8: succeeded" in err
    monkeypatch.delenv("PYTHONIOENCODING")
    with child("batch", "jobs.jsonl", "--out", "日", "--json") as process:
        out, _ = process.communicate(timeout=30)
    assert out.isascii()
    assert json.loads(out.splitlines()[0])["key"] == "狐狸"


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX closes the streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_nothing(sim: Simulator, closed: str) -> None:
    """What would be written there is lost, as in /dev/null, and goes into no other file."""
    call = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, str(CHILD), "batch"]
    done = subprocess.run([*call, written("jobs.jsonl", rows(1))], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr
    (film,) = Path("jobs-results").glob("*.mp4")
    assert done.stdout in {"", f"{film}\n"}
    assert run("batch", "jobs.jsonl") == 0
    assert len(sim.accepted) == 1


def test_a_doubt_is_told_once(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """However many rows have it; `--strict` refuses them."""
    assert run("batch", written("jobs.jsonl", rows(5, style="anime"))) == 0
    assert capsys.readouterr().err.count("style has no effect with viduq3-turbo") == 1
    assert run("batch", "jobs.jsonl", "--strict", "--out", "strict") == 1
    assert len(sim.accepted) == 5


# What may be paid


def test_what_may_be_paid_is_told_with_what_settles_it(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is 3, the commands that are told work, and the next run says the same until then."""

    async def lose(method: str, path: str, headers: Any, body: bytes) -> Any:
        if path.endswith("/tasks") and method == "GET":
            return DROP_AFTER
        return DROP_AFTER if b"fox 1" in body else None

    sim.intercept = lose
    assert run("batch", written("jobs.jsonl", rows(2, key=None) + rows(1, key="it's"))) == 3
    err = capsys.readouterr().err
    assert "1 may be paid" in err
    assert "vidu-async journal reconcile jobs-results/journal.db" in err
    command = next(line for line in err.splitlines() if "journal resolve" in line)
    assert len(sim.accepted) == 3
    assert run("batch", "jobs.jsonl") == 3
    lost = next(task for task in sim.accepted if task.request["prompt"] == "fox 1")
    words = shlex.split(command.replace("--task-id ID", f"--task-id {lost.id}"))[1:]
    assert run(*words) == 0
    assert capsys.readouterr().out.endswith(f" is task {lost.id}\n")
    sim.intercept = None
    assert run("batch", "jobs.jsonl") == 0
    assert len(sim.accepted) == 3


def test_where_nothing_can_be_looked_for_it_is_not_advised(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what may be paid is told with what it costs at most, if anybody knows."""

    async def lose(method: str, path: str, headers: Any, body: bytes) -> Any:
        return DROP_AFTER if method == "POST" else None

    with run_in_thread(Simulator(api_key=KEY, lists=False)) as mute:
        monkeypatch.setenv("VIDU_BASE_URL", mute.url)
        mute.intercept = lose
        assert run("batch", written("jobs.jsonl", rows(2)), "--unknown-price", "40", "--budget", "100") == 3
        err = capsys.readouterr().err
        assert "2 may be paid, up to 80 credits." in err
        assert "This gateway lists no tasks" in err
        assert "journal reconcile" not in err
        assert run("batch", written("more.jsonl", rows(1)), "--out", "more") == 3
        assert "1 may be paid, an unknown number of credits." in capsys.readouterr().err
        assert run("journal", "reconcile", "more/journal.db") == 3
        assert "To look for" not in capsys.readouterr().err
        assert run("run", "text2video", "model=viduq3-turbo", "prompt=a") == 3
        assert "vidu-async list" not in capsys.readouterr().err


# How it is ended


def test_the_first_interrupt_ends_it_well(sim: Simulator) -> None:
    """It sends no more, sees through what is under way, says how to go on, and that command does."""
    call = ("batch", written("jobs.jsonl", rows(100)), "--concurrency", "3")
    with child(*call) as process:
        awaited(lambda: len(sim.accepted) > 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "To go on later, paying for nothing twice: vidu-async batch jobs.jsonl --concurrency 3\n" in err
    made = len(sim.accepted)
    assert len(out.splitlines()) == made < 100
    assert "Traceback" not in err
    assert run(*call[:2]) == 0
    assert len(sim.accepted) == 100


def test_the_second_interrupt_ends_it_at_once(sim: Simulator) -> None:
    """However long its tasks take; the next run goes on with them."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=300, concurrency=100)) as slow:
        call = ("batch", written("jobs.jsonl", rows(3)), "--base-url", slow.url)
        with child(*call) as process:
            awaited(lambda: len(slow.accepted) == 3)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "To go on later" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 130
        assert run("batch", "jobs.jsonl", "--base-url", slow.url, "--deadline", "1s") == 1
        assert len(slow.accepted) == 3
    assert not sim.accepted


def test_a_termination_ends_it_in_time(sim: Simulator) -> None:
    """Well, as an interrupt does, but without waiting for tasks."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=3000)) as slow:
        with child("batch", written("jobs.jsonl", rows(3)), "--base-url", slow.url) as process:
            awaited(lambda: len(slow.accepted) == 3)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=25)
        assert process.returncode == 130
    assert "To go on later" in err
    assert "Traceback" not in err


def test_killed_and_begun_again_it_pays_for_nothing_twice(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row has one task in the end, wherever the kills fell; or it is told that nobody can say."""
    call = ("batch", written("jobs.jsonl", rows(60)))
    for share in (5, 25, 45):
        with child(*call) as process:
            awaited(lambda least=share: len(sim.accepted) >= least)  # type: ignore[misc]
            process.kill()
    status = run(*call)
    prompts = [task.request["prompt"] for task in sim.accepted]
    told = capsys.readouterr().err.count("journal resolve")
    assert len(prompts) == len(set(prompts)) == 60 - told
    assert status == (3 if told else 0)


def test_a_reader_who_leaves_ends_nothing(sim: Simulator) -> None:
    """What is paid for is saved, and nothing is said about the pipe."""
    call = [sys.executable, str(CHILD), "batch", written("jobs.jsonl", rows(30))]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert "Broken" not in err
    assert len(list(Path("jobs-results").glob("*.mp4"))) == 30
    assert len(sim.accepted) == 30


# The simulator


def test_a_simulated_batch_touches_no_paid_one(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no key, says so, sends nothing to the site and keeps its journal apart."""
    os.environ.pop("VIDU_API_KEY")
    assert run("batch", written("jobs.jsonl", rows(1)), "--simulate") == 0
    out, err = capsys.readouterr()
    assert out.startswith("jobs-simulated/")
    assert err.startswith("Simulated: a Vidu on this machine answers; nothing is sent anywhere")
    assert not sim.requests
    assert [path.suffix for path in Path("jobs-simulated").iterdir()] == [".mp4"]
    assert run("batch", "jobs.jsonl", "--simulate", "--journal", "vidu.db") == 2
    assert not Path("vidu.db").exists()
