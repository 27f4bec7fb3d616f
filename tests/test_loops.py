"""Event loops: one after the other, in a notebook, and left without a word. Nothing may be left open."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PRELUDE = """
import asyncio
from vidu_async import TextToVideo, ViduClient
from vidu_async.testing import Simulator, run_in_thread
REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
"""


def run(program: str) -> str:
    """Run a program with every warning an error, and return what it printed; it must print no complaint."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # asyncio's debug mode also times callbacks, and the first of each kind imports something.
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, complaints) == (0, []), done.stderr
    return done.stdout


def test_a_client_serves_three_runs_one_after_the_other() -> None:
    """B20: with the same handles, and without ever being closed."""
    said = run("""
        with run_in_thread(Simulator()) as sim:
            vidu = sim.client()
            first = asyncio.run(vidu.run(REQUEST))
            handle = asyncio.run(vidu.submit(REQUEST))
            async def third():
                return await handle, [event.state.value async for event in handle.events()], await vidu.credits()
            task, states, credits = asyncio.run(third())
            print(first.state, task.state, states[-1], credits.remaining)
    """)
    assert said.split()[:3] == ["success", "success", "success"]


def test_a_client_left_open_closes_with_its_loop() -> None:
    """No unclosed session, connector, transport or task is reported."""
    assert (
        run("""
        async def main():
            async with Simulator() as sim:
                vidu = sim.client()
                print((await vidu.run(REQUEST)).state)
        asyncio.run(main())
    """)
        == "success\n"
    )


def test_a_client_dropped_in_a_running_loop_closes_its_connections() -> None:
    """A handler that makes a client for each request does not pile up sessions."""
    assert (
        run("""
        import gc
        async def main():
            async with Simulator() as sim:
                before = len(asyncio.all_tasks())
                for _ in range(5):
                    await sim.client().credits()
                gc.collect()
                for _ in range(50):
                    await asyncio.sleep(0.001)
                print(len(asyncio.all_tasks()) - before)
        asyncio.run(main())
    """)
        == "0\n"
    )


def test_a_loop_that_ends_while_tasks_are_waited_for_leaves_nothing_open() -> None:
    """B22: waiters and looks are cancelled with the loop, and the next run goes on."""
    assert (
        run("""
        with run_in_thread(Simulator(time_scale=5)) as sim:
            vidu = sim.client()
            async def first():
                handle, other = await vidu.submit(REQUEST), await vidu.submit(REQUEST)
                for one in (handle, other):  # a creation on its way would be warned of
                    asyncio.create_task(one.result())
                await asyncio.sleep(0.05)
                return handle
            handle = asyncio.run(first())
            print(asyncio.run(handle.result()).state)
    """)
        == "success\n"
    )


def test_a_loop_that_is_neither_running_nor_closed_at_the_end_leaves_nothing_open() -> None:
    """As in a kernel, or with `run_until_complete`: connections are closed when the interpreter ends."""
    assert (
        run("""
        with run_in_thread(Simulator()) as sim:
            vidu = sim.client()
            loop = asyncio.new_event_loop()
            print(loop.run_until_complete(vidu.run(REQUEST)).state)
            import atexit
            atexit.register(loop.close)
            atexit.register(loop.run_until_complete, vidu.aclose())
    """)
        == "success\n"
    )


@pytest.mark.parametrize("flag", ["-B", "-O"])
def test_uvloop_is_a_loop_like_any_other(flag: str, tmp_path: Path) -> None:
    """F12: creations with a journal, shared looks, results and downloads; asserts optimised away or not."""
    program = PRELUDE + textwrap.dedent("""
        import sys, uvloop
        async def main():
            async with Simulator(time_scale=5) as sim, sim.client(journal="journal.db") as vidu:
                handles = [await vidu.submit(REQUEST, key=str(number)) for number in range(5)]
                tasks = await vidu.gather(handles)
                await vidu.download(tasks[0], "fox.mp4")
                print(len([task for task in tasks if task.has_result]))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    """)
    command = [sys.executable, flag, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")
    assert (tmp_path / "fox.mp4").stat().st_size > 1000


def test_a_client_that_was_closed_can_be_forgotten() -> None:
    """It goes with its last reference, and holds no loop that has ended."""
    assert (
        run("""
        import gc, weakref
        async def main(client):
            async with client() as vidu:
                await vidu.run(REQUEST)
                return weakref.ref(vidu), weakref.ref(asyncio.get_running_loop())
        with run_in_thread(Simulator()) as sim:
            kept = asyncio.run(main(sim.client))
        gc.collect()
        print([thing() for thing in kept])
    """)
        == "[None, None]\n"
    )


def test_an_error_in_the_body_closes_the_client() -> None:
    """`async with` ends cleanly whatever happened inside."""
    assert (
        run("""
        async def main():
            async with Simulator() as sim, sim.client() as vidu:
                assert (await vidu.submit(REQUEST)).token
                raise ZeroDivisionError
        try:
            asyncio.run(main())
        except ZeroDivisionError:
            print("as it was")
    """)
        == "as it was\n"
    )


def test_a_client_that_never_asked_anything_needs_no_loop() -> None:
    """Making, attaching and dropping is plain Python."""
    assert (
        run("""
        vidu = ViduClient("test-key")
        print(vidu.attach("77"), vidu.unfinished())
    """)
        == "<TaskHandle 77 not looked at yet> []\n"
    )


CELLS = [
    PRELUDE + "sim = Simulator()\nawait sim.__aenter__()\nvidu = sim.client()",
    "handle = await vidu.submit(REQUEST)\nhandle",
    "task = await handle\nprint(task.state)",
    "async for event in handle.events():\n    print(event.state)",
    "print((await vidu.credits()).remaining)",
]


@pytest.mark.parametrize("ending", ["", "await vidu.aclose()\nawait sim.__aexit__(None, None, None)"])
def test_a_notebook_needs_no_ceremony(ending: str, tmp_path: Path) -> None:
    """Top-level await in a real kernel, one loop over all cells, closed or not: no cell writes a complaint."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in [*CELLS, ending] if cell])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [output.name for output in outputs if output.output_type == "stream"] == ["stdout"] * 3
    shown = [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]
    assert shown[0].startswith("<TaskHandle ")
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert printed.split()[:3] == ["success", "created", "success"] or "processing" in printed
