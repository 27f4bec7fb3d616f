"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing else is to do.

An hour of waiting passes in a moment, over real sockets: they are served first, as they become ready, and time only
moves when none is. While a thread is at work, time stands still, so that no timeout fires for a thread's sake.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_GRACE = 0.002
"""Real seconds that sockets of this machine get to deliver what was written to them, before time moves."""
_THREAD_POLL = 0.05


class _JumpingSelector(selectors.DefaultSelector):
    """Waits like any selector, but only while there is something to wait for."""

    def __init__(self, jump: Callable[[float], None], is_busy: Callable[[], bool]) -> None:
        super().__init__()
        self._jump = jump
        self._is_busy = is_busy

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        while self._is_busy():
            if ready := super().select(_THREAD_POLL):
                return ready
        # With nothing but the loop's own socket open there is nothing to be delivered.
        ready = super().select(_GRACE if len(self.get_map()) > 1 else 0)
        if not ready:
            self._jump(timeout)
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time: `asyncio.Runner(loop_factory=VirtualClockLoop)`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._threads = 0
        super().__init__(_JumpingSelector(self.skip, lambda: self._threads > 0))

    def time(self) -> float:
        """Return the virtual time in seconds, 0 at the start."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing happens, as while a laptop sleeps: whatever became due then is late."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ANN401
        """Run a function in a thread, and keep time from moving meanwhile."""
        done = super().run_in_executor(executor, func, *args)
        self._threads += 1
        done.add_done_callback(self._thread_ended)
        return done

    async def shutdown_default_executor(self, *timeout: Any) -> None:  # noqa: ANN401 - seconds, since Python 3.12
        """Wait for the threads to end, and keep time from moving meanwhile, too."""
        self._threads += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self._threads -= 1

    def _thread_ended(self, _: object) -> None:
        self._threads -= 1


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like `asyncio.run`, on virtual time."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
