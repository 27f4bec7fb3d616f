"""The examples run as they are, without a key, and say what a reader would expect to see."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vidu_async.testing import Faults, Serve, Simulator, run_in_thread

EXAMPLES = Path(__file__).parent.parent / "examples"
ROWS = 7
"""Rows of the batch. One is off-peak: found in the queue, it would be looked at again after a minute."""


def run(name: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder of its own, without the environment's key."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VIDU_")}
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env={**inherited, **environment}
    )


def test_the_quickstart_saves_a_film(tmp_path: Path) -> None:
    """And shows each state on the way."""
    done = run("quickstart.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "it is success\nsaved results/" in done.stdout
    (film,) = (tmp_path / "results").iterdir()
    assert film.read_bytes()[4:8] == b"ftyp"


def test_the_batch_saves_every_row(tmp_path: Path) -> None:
    """And leaves nothing else behind."""
    done = run("batch.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n7 of 7 succeeded; " in done.stdout
    saved = {path.name for path in (tmp_path / "results").iterdir()}
    assert len(saved) == ROWS
    assert any(name.startswith("poster-") and name.endswith(".png") for name in saved)


def test_the_batch_interrupted_and_started_again_pays_once(tmp_path: Path) -> None:
    """Against a service that goes on meanwhile: Ctrl-C in the middle, and the second run takes the tasks up again."""
    with run_in_thread(Simulator(time_scale=20, concurrency=ROWS)) as sim:
        live = {"VIDU_BASE_URL": sim.url, "VIDU_API_KEY": sim.api_key}
        command = [sys.executable, str(EXAMPLES / "batch.py"), "--live"]
        first = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={**os.environ, **live}
        )
        assert first.stdout is not None
        while b"saved" not in first.stdout.readline():
            assert first.poll() is None
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
        assert len(sim.accepted) == ROWS
        second = run("batch.py", tmp_path, "--live", **live)
        assert "\n7 of 7 succeeded; " in second.stdout, second.stdout + second.stderr
        assert len(sim.accepted) == ROWS
        assert len(list((tmp_path / "live-results").glob("*.[mp][pn]*"))) == ROWS


def test_the_batch_never_pays_again_for_a_creation_whose_answer_was_lost(tmp_path: Path) -> None:
    """Where nothing can be looked for, the user's own word lets it go on, however often it is started meanwhile."""
    with run_in_thread(Simulator(time_scale=1, faults=Faults(drops_after=1), lists=False)) as sim:
        live = {"VIDU_BASE_URL": sim.url, "VIDU_API_KEY": sim.api_key}
        for _ in range(2):
            stopped = run("batch.py", tmp_path, "--live", **live)
            assert "\n0 of 7 succeeded; 7 may be paid (up to 420 credits)" in stopped.stdout
            assert "client.resolve() then settles it" in stopped.stdout
            sim.faults = Faults()
        assert len(sim.accepted) == 7

        async def consent() -> None:
            async with sim.client(journal=tmp_path / "live-results" / "journal.db") as vidu:
                await vidu.resolve("sunrise", resend=True)

        asyncio.run(consent())
        third = run("batch.py", tmp_path, "--live", **live)
        assert "\n1 of 7 succeeded; 6 may be paid" in third.stdout
        assert len(sim.accepted) == 8


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_batch_ended_while_its_creations_are_on_their_way_pays_once(end: signal.Signals, tmp_path: Path) -> None:
    """B22, B23: Ctrl-C waits for their answers; after a kill the next run finds the tasks by what they repeat."""

    async def slowly(method: str, *_: object) -> Serve | None:
        return Serve(delay=1) if method == "POST" else None

    with run_in_thread(Simulator(time_scale=5, concurrency=ROWS, intercept=slowly)) as sim:
        live = {"VIDU_BASE_URL": sim.url, "VIDU_API_KEY": sim.api_key}
        command = [sys.executable, str(EXAMPLES / "batch.py"), "--live"]
        first = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path, env={**os.environ, **live})
        while len(sim.accepted) < 7:
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(end)
        first.wait(timeout=60)
        second = run("batch.py", tmp_path, "--live", **live)
        assert "\n7 of 7 succeeded; " in second.stdout, second.stdout + second.stderr
        assert len(sim.accepted) == ROWS


def test_progress_is_shown_in_lines_and_as_a_picture(tmp_path: Path) -> None:
    """A picture of the middle of a run is saved; what is no terminal gets the end of it."""
    done = run("progress.py", tmp_path, "--svg", "progress.svg")
    assert done.returncode == 0
    assert re.match(r"\d+ of 80 succeeded; ", done.stdout)
    assert "80/80 100%" in done.stderr
    assert re.search(r"4\d/80&#160;5\d%", (tmp_path / "progress.svg").read_text(encoding="utf-8"))


def test_a_task_is_finished_by_another_process(tmp_path: Path) -> None:
    """With nothing but its token."""
    done = run("attach.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "left vidu1." in done.stdout
    assert "saved results/" in done.stdout


@pytest.mark.parametrize("name", ["quickstart.py", "batch.py"])
def test_going_live_without_a_key_says_what_to_set(name: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    done = run(name, tmp_path, "--live")
    assert done.returncode != 0
    assert "VIDU_API_KEY" in done.stderr


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_fits_on_a_screen(name: str) -> None:
    """Or on two, if it is part of a site (`test_web_apps.py`)."""
    screens = 2 if name in {"studio.py", "web_app.py", "fastapi_app.py"} else 1
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 70 * screens
