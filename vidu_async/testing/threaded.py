"""A Simulator in a thread of its own, for callers without a loop or with one of another kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from attrs import define, field

from vidu_async.testing.simulator import Simulator


@define
class _Running:
    """A loop in another thread and how to end it."""

    loop: asyncio.AbstractEventLoop
    leave: asyncio.Event = field(factory=asyncio.Event)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.leave.set)


async def _serve(simulator: Simulator, started: Future[_Running]) -> None:
    try:
        async with simulator:
            running = _Running(asyncio.get_running_loop())
            started.set_result(running)
            await running.leave.wait()
    except BaseException as error:
        # Whoever started the thread is told; after that, the thread's own hook.
        if started.done():
            raise
        started.set_exception(error)


@contextmanager
def run_in_thread(simulator: Simulator) -> Iterator[Simulator]:
    """Run `simulator` on a loop of its own thread. Raises what entering it raises."""
    started: Future[_Running] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(simulator, started)), name="vidu-simulator", daemon=True
    )
    thread.start()
    try:
        running = started.result()
        try:
            yield simulator
        finally:
            running.end()
    finally:
        thread.join()
