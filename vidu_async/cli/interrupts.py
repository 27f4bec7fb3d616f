"""Ctrl-C and SIGTERM: the first asks a command to end well, the second leaves at once. Nothing paid is lost by either.

What was sent is in the journal, and tasks go on without us.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Self

INTERRUPTED = 130
"""The exit status of whatever was interrupted. https://tldp.org/LDP/abs/html/exitcodes.html"""
_GRACE, _LAST = 5.0, 28.0
"""Seconds after SIGTERM until waiting ends, which leaves answers that are on their way, and until everything does."""
_SHOW_CURSOR = b"\x1b[?25h\r\n"


@define(eq=False)
class Interrupts:
    """Hears the signals while a command runs."""

    stop: Callable[[], None] = lambda: None
    """What ends the command well; by default its task is cancelled, which closes the client."""
    is_stopped: bool = field(default=False, init=False)
    _task: asyncio.Task[Any] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self.stop = self._cancel
        self._listen(signal.SIGINT, self._interrupted)
        self._listen(signal.SIGTERM, self._terminated)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().remove_signal_handler(number)

    @staticmethod
    def _listen(number: signal.Signals, heard: Callable[[], None]) -> None:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's background job is to be deaf to it
            with contextlib.suppress(NotImplementedError):  # Windows: asyncio.run cancels the task by itself
                asyncio.get_running_loop().add_signal_handler(number, heard)

    def _interrupted(self) -> None:
        if self.is_stopped:
            leave()
        self._stop()

    def _terminated(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(_GRACE, self._cancel)
        loop.call_later(_LAST, leave)
        if not self.is_stopped:
            self._stop()

    def _stop(self) -> None:
        self.is_stopped = True
        self.stop()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def leave() -> None:
    """End the process at once, with the terminal as it was."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            if os.isatty(stream.fileno()):
                os.write(stream.fileno(), _SHOW_CURSOR)
    os._exit(INTERRUPTED)


def run(work: Callable[[Interrupts], Coroutine[Any, Any, int]]) -> int:
    """Run a command in an event loop of its own; return its exit status."""
    interrupts = Interrupts()

    async def heard() -> int:
        with interrupts:
            return await work(interrupts)

    try:
        status = asyncio.run(heard())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return INTERRUPTED
    return INTERRUPTED if interrupts.is_stopped else status
