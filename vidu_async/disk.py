"""What downloads do to the disk: in threads where it may be slow, and with one kind of error where it refuses."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from vidu_async.protocol.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.part import Part

T = TypeVar("T")


_Job = tuple["Part", list[bytes], asyncio.Future[None]]
"""What is written where, and who waits for it."""


@define(eq=False)
class Appender:
    """Writes what the downloads of an event loop have received: one thread at a time does it, for all that wait.

    A thread for each would cost more than the writing.
    """

    _waiting: list[_Job] = field(factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def append(self, part: Part, pieces: list[bytes]) -> None:
        """Write to a part-file, and return when it is done."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._waiting = []  # nobody waits any more in a loop that was closed without a word to its tasks
            self._task = loop.create_task(self._write())
        self._waiting.append((part, pieces, done))
        failure: DownloadError
        try:
            return await done
        except OSError as error:
            failure = _refusal(error)
        raise failure

    async def _write(self) -> None:
        while self._waiting:
            jobs, self._waiting = self._waiting, []
            try:
                errors = await _threaded(partial(_errors_of, jobs))
            except OSError as error:
                errors = [error for _ in jobs]
            except asyncio.CancelledError:  # with all tasks: nobody is to wait for what no one does any more
                for _, _, done in (*jobs, *self._waiting):
                    done.cancel()
                raise
            for (_, _, done), failure in zip(jobs, errors, strict=True):
                if done.done():
                    continue  # whoever waited was cancelled
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)


def _errors_of(jobs: list[_Job]) -> list[Exception | None]:
    return [_error_of(part, pieces) for part, pieces, _ in jobs]


def _error_of(part: Part, pieces: list[bytes]) -> Exception | None:
    try:
        part.append(*pieces)
    except Exception as error:  # noqa: BLE001 - told to whoever waits, if anybody does: a closed file has been left
        return error
    return None


async def in_thread(call: Callable[[], T]) -> T:
    """Do something to the disk in a thread, and say so if the disk is what refused."""
    try:
        return await _threaded(call)
    except OSError as error:
        failure = _refusal(error)
    raise failure


async def _threaded(call: Callable[[], T]) -> T:
    """Do something in a thread.

    Raises:
        OSError: as `call`, or there are no more threads to be had.

    """
    try:
        done = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from None
    return await done


def at_once(call: Callable[[], T]) -> T:
    """Do something quick to the disk; in a thread, whoever is cancelled meanwhile would leave it behind."""
    try:
        return call()
    except OSError as error:
        failure = _refusal(error)
    raise failure


def _refusal(error: OSError) -> DownloadError:
    failure = DownloadError(f"cannot write the result: {error}")
    failure.errno = error.errno
    return failure
