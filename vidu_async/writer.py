"""One thread that writes: group commit.

Jobs queue while a transaction is on its way to the disk, and share the next one. A job is a row to write, or a question
to ask inside the transaction. Whoever waits for one hears of it when its transaction is durable. A *fact* is a job
that nobody waits for: if it cannot be written, it goes first in the next transaction.
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import time
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import finalize

from attrs import define, field, frozen

from vidu_async.owners import forked
from vidu_async.protocol.errors import JournalError, ViduError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")

_BATCH = 256
"""Jobs of one transaction."""
_LINGER = 0.002
"""Seconds that a thread with much to do lets jobs gather: a transaction costs far more than what is in it."""
_IDLE = object()


class Closing(Protocol):
    """What can be let go of."""

    def close(self) -> None:
        """Let go."""


class File(Protocol):
    """What is written to. Its errors are its own."""

    def begin(self) -> None:
        """Begin a transaction."""

    def commit(self) -> None:
        """Make it durable."""

    def rollback(self) -> None:
        """Undo it."""

    def put(self, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Write rows, and return for each whether it stands."""

    def close(self) -> None:
        """Let go."""


F = TypeVar("F", bound=File)


@frozen(eq=False)
class _Job(Generic[F]):
    question: Callable[[F], Any] | None
    values: tuple[Any, ...] = ()
    """The row to write, where there is no question; empty, it only marks a place in the queue."""
    waiter: asyncio.Future[Any] | Future[Any] | None = None


@frozen(eq=False)
class _Reporting(Executor):
    """Works in the pool, and ends on the loop that began it, unless that is gone by then.

    `run_in_executor` tells a loop that a thread is at work, so that virtual time stands still.
    """

    pool: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop

    def submit(self, work: Callable[[], Any], /) -> Future[Any]:  # type: ignore[override]
        """Run a function that raises nothing."""
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()
        self.pool.submit(self._run, work, done)
        return done

    def _run(self, work: Callable[[], Any], done: Future[Any]) -> None:
        work()
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(done.set_result, None)


@define(eq=False)
class Writer(Generic[F]):
    """The queue before a file, which is opened for the first job."""

    _open: Callable[[], F]
    _explain: Callable[[Exception], JournalError]
    file: F | None = field(default=None, init=False)
    _jobs: deque[_Job[F]] = field(factory=deque, init=False)
    _owed: list[_Job[F]] = field(factory=list, init=False)
    """Facts that could not be written yet."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _drainer: object = field(default=_IDLE, init=False)
    """The loop that knows of the thread at work, None if none does."""
    _pool: ThreadPoolExecutor | None = field(default=None, init=False)
    _process: int = field(default=0, init=False)
    _close_file: Callable[[], Any] | None = field(default=None, init=False)

    def check_process(self) -> None:
        """Refuse a process that was forked since: neither thread nor file are its own.

        Raises:
            JournalError: it was.

        """
        if self._process != os.getpid():
            if self._process:
                raise forked()
            self._process = os.getpid()

    def note(self, values: tuple[Any, ...]) -> None:
        """Write a row, sooner or later."""
        self._add(_Job(None, values), _running_loop())

    def tell(self, question: Callable[[F], Any]) -> None:
        """Do something in a transaction, sooner or later."""
        self._add(_Job(question), _running_loop())

    async def write(self, values: tuple[Any, ...]) -> bool:
        """Write a row, and return when it is durable whether it stands; or raise `JournalError`."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._add(_Job(None, values, waiter), waiter.get_loop())
        return await waiter

    async def settled(self) -> None:
        """Return when all before it is durable, or raise `JournalError`."""
        await self.write(())

    async def ask(self, question: Callable[[F], T]) -> T:
        """Return the answer once all before it and whatever it wrote is durable, or raise `JournalError`."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._add(_Job(question, (), waiter), waiter.get_loop())
        return await waiter

    def ask_now(self, question: Callable[[F], T]) -> T:
        """Return the answer as `ask` does; nothing else happens meanwhile."""
        waiter: Future[T] = Future()
        self._add(_Job(question, (), waiter), _running_loop())
        return waiter.result()

    def _add(self, job: _Job[F], loop: asyncio.AbstractEventLoop | None) -> None:
        self.check_process()
        with self._lock:
            self._jobs.append(job)
            if self._drainer is loop:
                return
            self._drainer = loop
            self._pool = self._pool or ThreadPoolExecutor(1, "vidu-journal")
        try:
            if loop is None:
                self._pool.submit(self._drain)
            else:
                loop.run_in_executor(_Reporting(self._pool, loop), self._drain)
        except RuntimeError as error:
            failure = self._explain(error)
        else:
            return
        with self._lock:  # the interpreter is ending: no thread takes the job any more
            self._drainer = _IDLE
            self._jobs.remove(job)
        raise failure

    def _drain(self) -> None:
        while batch := self._next():
            answers = self._transact(batch)
            _tell(batch, answers)
            if len(batch) > 1:
                time.sleep(_LINGER)

    def _next(self) -> list[_Job[F]]:
        with self._lock:
            if not self._jobs:
                self._drainer = _IDLE
                return []
            fresh = [self._jobs.popleft() for _ in range(min(len(self._jobs), _BATCH))]
        return self._owed + fresh

    def _transact(self, batch: list[_Job[F]]) -> list[Any]:
        """Do all jobs in one transaction. Return the answer of each, an error being one."""
        try:
            file = self.file or self._opened()
            file.begin()
            answers = [answer for question, jobs in groupby(batch, _question) for answer in _done(file, question, jobs)]
            file.commit()
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            failure = self._explain(error)
            self._undo()
            self._owed = [job for job in batch if job.waiter is None]
            return [copy.copy(failure) for _ in batch]
        self._owed = []
        return answers

    def _opened(self) -> F:
        self.file = file = self._open()
        # Whoever just drops a journal closes it, too, and nothing warns.
        self._close_file = finalize(self, close, file, os.getpid())
        return file

    def _undo(self) -> None:
        if self.file is not None:
            with suppress(Exception):
                self.file.rollback()

    async def aclose(self) -> None:
        """Write what is owed, and let go of file and thread, even if that fails with a `JournalError`."""
        if self._pool is None:
            return
        self.check_process()
        try:
            if self.file is not None or self._owed or self._jobs:
                await self.settled()
        finally:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(_Reporting(self._pool, loop), self._let_go)
            self._retire()

    def _let_go(self) -> None:
        self.file = None
        if self._close_file is not None:
            self._close_file()

    def _retire(self) -> None:
        """End the thread, unless somebody has begun to use the journal again."""
        with self._lock:
            if self._drainer is _IDLE and self.file is None and self._pool is not None:
                self._pool.shutdown(wait=False)
                self._pool, self._process = None, 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _question(job: _Job[F]) -> Callable[[F], Any] | None:
    return job.question


def _done(file: F, question: Callable[[F], Any] | None, jobs: Iterable[_Job[F]]) -> list[Any]:
    """Do jobs that have one question in common, or are all rows and marks."""
    if question is None:
        together = list(jobs)
        stand = iter(file.put([job.values for job in together if job.values]))
        return [next(stand) if job.values else None for job in together]
    try:
        answer = question(file)
    except ViduError as error:
        return [error for _ in jobs]
    return [answer for _ in jobs]


def _tell(jobs: list[_Job[F]], answers: list[Any]) -> None:
    """Give everybody who waits an answer, with one call for all of a loop."""
    for_loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(job.waiter, Future):
            _resolve([(job.waiter, answer)])
        elif job.waiter is not None:
            for_loops.setdefault(job.waiter.get_loop(), []).append((job.waiter, answer))
    for loop, told in for_loops.items():
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: Iterable[tuple[asyncio.Future[Any] | Future[Any], Any]]) -> None:
    for waiter, answer in told:
        if waiter.done():
            continue  # given up in this very moment
        if isinstance(answer, ViduError):
            waiter.set_exception(answer)
        else:
            waiter.set_result(answer)


def close(file: Closing, process: int) -> None:
    """Let go of a file in the process that opened it."""
    if os.getpid() == process:  # a forked child leaves its parent's alone
        file.close()
