"""The command line: single tasks, what is asked wrongly, what is missing, and what is never shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_child import QUICK
from stored import picture

from vidu_async.cli.app import group, main
from vidu_async.cli.settings import Settings
from vidu_async.testing import Simulator, run_in_thread

CHILD = Path(__file__).with_name("cli_child.py")
KEY = "sk-the-key-of-the-tests"
FOX = ("text2video", "model=viduq3-turbo", "prompt=a fox")


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


# Single tasks


def test_one_request_becomes_a_file(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Texts are read as what the field holds; the path is all of stdout."""
    assert run("run", *FOX, "duration=4", "off_peak=false", "--out", "films") == 0
    task = sim.accepted[0]
    assert capsys.readouterr().out == f"films/{task.id}.mp4\n"
    assert Path("films", f"{task.id}.mp4").exists()
    assert (task.request["duration"], task.request["off_peak"]) == (4, False)


def test_a_request_may_come_from_a_file(sim: Simulator) -> None:
    """Fields given besides win; its pictures are beside it."""
    Path("in").mkdir()
    Path("in/fox.png").write_bytes((Path(__file__).parent.parent / "examples" / "dawn.png").read_bytes())
    fields = {"endpoint": "img2video", "model": "viduq3-turbo", "images": ["fox.png"], "duration": 4}
    Path("in/request.json").write_text(json.dumps(fields), encoding="utf-8")
    assert run("run", "--file", "in/request.json", "duration=5", "--out", "fox.mp4") == 0
    assert Path("fox.mp4").stat().st_size
    assert sim.accepted[0].request["duration"] == 5
    assert run("run", "--file", "in/request.json", "--out", "fox.mp4") == 2
    assert len(sim.accepted) == 1


def test_a_field_of_several_values_is_given_more_than_once_or_as_json(sim: Simulator) -> None:
    """The pictures come in their order."""
    links = ["https://example.com/a.png", "https://example.com/b.png"]
    start_end = ("run", "start-end2video", "model=viduq3-turbo")
    assert run(*start_end, *(f"images={link}" for link in links)) == 0
    assert run(*start_end, f"images={json.dumps(links)}") == 0
    assert [task.request["images"] for task in sim.accepted] == [links, links]


def test_a_key_is_paid_once(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same journal, however often it is asked for."""
    for _ in range(2):
        assert run("run", *FOX, "--journal", "vidu.db", "--key", "fox") == 0
    assert len(sim.accepted) == 1
    assert capsys.readouterr().out == f"{sim.accepted[0].id}.mp4\n" * 2


def test_a_file_that_is_there_is_no_trouble_for_the_key_that_made_it(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given again the command prints the path; another key is refused before anything is sent."""
    call = ("run", *FOX, "--journal", "vidu.db", "--out", "fox.mp4", "--key")
    assert [run(*call, "fox"), run(*call, "fox")] == [0, 0]
    assert capsys.readouterr().out == "fox.mp4\n" * 2
    assert run(*call, "cat") == 2
    assert "fox.mp4 is there already; nothing was sent." in capsys.readouterr().err
    assert len(sim.accepted) == 1


@pytest.mark.parametrize("out", ["taken", "taken/deeper", "taken/fox.mp4", "/proc/films"])
def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_sent(
    sim: Simulator, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    """A file is in the way, or the folder takes none; for a batch, too."""
    Path("taken").touch()
    Path("jobs.jsonl").write_text('{"endpoint": "text2video", "model": "viduq3-turbo", "prompt": "a"}', "utf-8")
    assert run("run", *FOX, "--out", out) == 2
    assert "nothing can be written to" in capsys.readouterr().err
    assert run("batch", "jobs.jsonl", "--journal", "vidu.db", "--out", out) == 2
    assert not sim.accepted


def test_a_result_that_was_not_saved_is_told_with_the_command_that_fetches_it(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The task is paid, whatever came into the way meanwhile."""

    async def spoil(method: str, path: str, headers: Any, body: bytes) -> None:
        Path("films").mkdir(exist_ok=True)
        Path("films/fox.mp4").touch()

    sim.intercept = spoil
    assert run("run", *FOX, "--out", "films/fox.mp4") == 1
    (command,) = re.findall(r"vidu-async (download .*)$", capsys.readouterr().err, flags=re.MULTILINE)
    assert command == f"download {sim.accepted[0].id} --out films"
    sim.intercept = None
    assert run(*shlex.split(command)) == 0
    assert capsys.readouterr().out == f"films/{sim.accepted[0].id}.mp4\n"


def test_what_timed_out_is_named_and_can_be_waited_for_and_saved(
    sim: Simulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one command, which is told."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=5)) as slow:
        monkeypatch.setenv("VIDU_BASE_URL", slow.url)
        assert run("run", *FOX, "--deadline", "0.1s", "--out", "films", "--json") == 1
        out, err = capsys.readouterr()
        task_id = slow.accepted[0].id
        assert [json.loads(out)[name] for name in ("error", "task_id")] == ["TaskTimeoutError", task_id]
        (command,) = re.findall(r"vidu-async (download vidu1.*)$", err, flags=re.MULTILINE)
        assert run("download", task_id, "--deadline", "0.1s") == 1
        assert "--out .\n" in capsys.readouterr().err
        assert run(*shlex.split(command)) == 0
        assert capsys.readouterr().out == f"films/{task_id}.mp4\n"
        assert len(slow.accepted) == 1


def test_tasks_are_listed_looked_at_waited_for_and_saved(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command tells of each task in a line."""
    assert run("run", *FOX) == 0
    assert run("run", *FOX, "duration=4") == 0
    first, second = (task.id for task in sim.accepted)
    capsys.readouterr()
    assert run("wait", first, second) == 0
    assert {line.split()[:2][1] for line in capsys.readouterr().out.splitlines()} == {"success"}
    assert run("status", first, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["state"], found["has_result"]) == (first, "success", True)
    assert run("list", "--limit", "1", "--state", "success", "--since", "1h") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "--limit" in err
    assert run("download", first, second, "--out", "more") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"more/{one}.mp4" for one in (first, second))
    assert run("credits") == 0
    assert capsys.readouterr().out == f"{sim.credits} credits left\n"


def test_a_result_is_not_taken_for_anothers_of_the_same_name(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name of any task's does not say whose the file is; with the task's id in it, it is the same file again."""
    assert run("run", *FOX) == 0
    assert run("run", *FOX, "duration=4") == 0
    first, second = (task.id for task in sim.accepted)
    assert run("download", first, "--out", "more", "--name", "fox") == 0
    capsys.readouterr()
    assert run("download", second, "--out", "more", "--name", "fox") == 1
    out, err = capsys.readouterr()
    assert not out
    assert "exists already" in err
    assert f"vidu-async download {second} --out more --name fox\n" in err
    for _ in range(2):
        assert run("download", second, "--out", "more", "--name", "fox-{task_id}") == 0


def test_a_task_that_waits_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sim: Simulator
) -> None:
    """One that has ended is not, which is told."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=1000)) as slow:
        monkeypatch.setenv("VIDU_BASE_URL", slow.url)
        assert run("run", *FOX, "--deadline", "0.1s") == 1
        task = slow.accepted[0]
        assert "vidu-async download vidu1." in capsys.readouterr().err
        assert run("cancel", task.id) == 0
        assert "UserCancelled" in capsys.readouterr().out
        assert run("wait", task.id) == 1
        assert run("cancel", task.id) == 1
    assert not sim.accepted


def test_one_wrong_task_keeps_no_other_from_being_told(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And the status is that of the worst."""
    assert run("run", *FOX) == 0
    capsys.readouterr()
    assert run("status", "123", sim.accepted[0].id, "--json") == 1
    out, err = capsys.readouterr()
    assert {json.loads(line)["type"] for line in out.splitlines()} == {"task", "error"}
    assert "TaskNotFound" in err


def test_pictures_are_uploaded_and_their_uris_told_in_their_order(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request may hold them; programs are told the file, too."""
    for name, salt in (("a.png", 1), ("b.png", 2)):
        picture(Path(name), salt=salt)
    assert run("upload", "a.png", "b.png", "a.png") == 0
    uris = capsys.readouterr().out.splitlines()
    assert {upload.uri for upload in sim.uploads} == set(uris)
    assert uris[0] == uris[2] != uris[1]
    assert run("run", "img2video", "model=viduq3-turbo", f"images={uris[0]}") == 0
    assert sim.accepted[0].request["images"] == [uris[0]]
    capsys.readouterr()
    assert run("upload", "b.png", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"type": "upload", "file": "b.png", "uri": sim.uploads[-1].uri}


def test_one_picture_that_is_none_keeps_no_other_from_being_uploaded(
    sim: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the status is that of the worst: of what cannot work as it was given."""
    Path("a.txt").write_text("no picture", encoding="utf-8")
    picture(Path("b.png"))
    assert run("upload", "a.txt", "b.png") == 2
    out, err = capsys.readouterr()
    assert out == f"{sim.uploads[0].uri}\n"
    assert "a.txt" in err
    assert run("upload", "a.txt", "--json") == 2
    said = json.loads(capsys.readouterr().out)
    assert [said[name] for name in ("error", "file", "paid")] == ["ValidationError", "a.txt", "no"]


def test_an_interrupted_run_says_how_to_go_on(sim: Simulator) -> None:
    """The task is paid, and its result can be had later; programs are told its id."""
    with run_in_thread(Simulator(api_key=KEY, time_scale=1000)) as slow:
        call = [sys.executable, str(CHILD), "run", *FOX, "--base-url", slow.url, "-v", "--json"]
        pipe = subprocess.PIPE
        with subprocess.Popen(call, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            while "accepted" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            err = process.stderr.read()
            said = json.loads(process.stdout.read())
        assert process.returncode == 130
        assert [said[name] for name in ("error", "paid", "task_id")] == ["Interrupted", "yes", slow.accepted[0].id]
        assert f"vidu-async download {slow.accepted[0].id} --out . --base-url {slow.url}\n" in err
        assert "Traceback" not in err
    assert not sim.accepted


# What is asked wrongly


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bacth", "jobs.jsonl"), "there is no command 'bacth'; did you mean batch?"),
        (("run", "text2vido", "prompt=a"), "Did you mean 'text2video'?"),
        (("run", *FOX, "promt=a"), "promt"),
        (("run", "prompt=a"), "an endpoint is needed, such as text2video"),
        (("run", *FOX, "--key", "fox"), "--key means nothing without --journal"),
        (("run", *FOX, "duration"), "'duration' must look like field=value."),
        (("run", *FOX, "prompt=b"), "prompt is given twice."),
        (("run", *FOX, "extra={"), "extra is no JSON"),
        (("run", *FOX, "--deadline", "soon"), "'soon' is no time: write 90, 45s"),
        (("wait", "vidu1.x"), "the token is damaged or cut"),
        (("credits", "--base-url", "nowhere"), "base_url 'nowhere' must look like https://api.vidu.com"),
        (("batch", "x.jsonl", "--api-key", KEY), "No such option"),
        (("journal", "list"), "the journal's PATH is needed."),
    ],
)
def test_a_wrong_call_is_told_in_two_lines_at_most(
    sim: Simulator, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """What is wrong, and where to read how; nothing is sent, and the status is 2."""
    Path("x.jsonl").touch()
    status = run(*arguments, "--strict") if arguments[:2] == ("run", "text2video") else run(*arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) <= 2
    assert not sim.accepted


def test_without_a_key_nothing_is_made(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a request nor a folder; with a wrong one the server says so."""
    del os.environ["VIDU_API_KEY"]
    Path("jobs.jsonl").touch()
    assert [run("batch", "jobs.jsonl"), run("credits")] == [2, 2]
    assert "set VIDU_API_KEY" in capsys.readouterr().err
    assert not Path("jobs-results").exists()
    os.environ["VIDU_API_KEY"] = "sk-of-another-site"
    assert run("credits") == 1
    assert "401" in capsys.readouterr().err


def test_the_log_and_its_tracebacks_come_if_asked_for(sim: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And the key is in neither of them."""
    assert run("run", *FOX, "-vv") == 0
    err = capsys.readouterr().err
    assert "debug: committed" in err
    assert KEY not in err
    assert run("status", "123", "-vv") == 1
    assert run("wait", "vidu1.x", "--json") == 2
    out, err = capsys.readouterr()
    assert KEY not in out + err
    assert json.loads(out)["error"] == "ConfigError"


# Help, completion, and what is missing


def names(command: object = group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Iterate over all commands, by the words that call them."""
    import click  # noqa: PLC0415 - a type of this test alone

    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from names(command.get_command(context, name), (*path, name))


@pytest.mark.parametrize("path", list(names()), ids=" ".join)
def test_every_help_has_examples(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """And none is wider than a terminal, nor offers an option for the key."""
    if path == ("simulate",):
        return  # argparse's own, which is tested with it
    assert main([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples:\n    vidu-async " in out
    assert "\b" not in out
    assert "--api-key" not in out
    assert all(len(line) < 100 for line in out.splitlines())


def test_help_waits_for_nothing() -> None:
    """The list of commands loads neither HTTP, nor the client, nor what draws."""
    heavy = ["aiohttp", "rich", "vidu_async.client", "asyncio.base_events"][:3]
    program = f"""
import sys
from vidu_async.cli.app import main
assert main(["--help"]) == main(["--version"]) == 0
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_every_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks the program itself."""
    assert main(["completion", shell]) == 0
    assert "_VIDU_ASYNC_COMPLETE" in capsys.readouterr().out


def test_a_shell_is_given_the_commands() -> None:
    """By the variable that its script sets."""
    environment = {
        **os.environ,
        "_VIDU_ASYNC_COMPLETE": "bash_complete",
        "COMP_WORDS": "vidu-async jour",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "vidu_async"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout == "plain,journal\n"


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_what_is_missing_is_told_with_the_command_that_installs_it(missing: str) -> None:
    """In one line, without a traceback."""
    program = f"""
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Nowhere())
from vidu_async.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "vidu-async needs click and rich: pip install 'vidu_async[cli]'\n"


def test_the_simulator_is_served_with_its_own_options() -> None:
    """As its own command does, until it is interrupted."""
    call = [sys.executable, "-m", "vidu_async", "simulate", "--port", "0", "--time-scale", "0.1"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("A simulated Vidu at http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
