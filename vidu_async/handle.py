"""A task far away: await it, iterate it, cancel it, name it elsewhere.

A handle asks nothing by itself. It shares its task's watch with every other handle of the same task, and the
client's watcher does the looking while somebody waits.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import warnings
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from attrs import define, field, frozen

from vidu_async.protocol.errors import (
    ConfigError,
    ResultMissingError,
    TaskCancelledError,
    TaskFailedError,
    TaskTimeoutError,
)
from vidu_async.protocol.models import Task, TaskState
from vidu_async.protocol.reasons import advice_on
from vidu_async.watch import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from vidu_async.protocol.errors import ViduError
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.watch import Watch
    from vidu_async.watcher import Watcher


class DefaultTimeout:
    """The default deadline of a wait: 1 hour, 49 hours once an answer shows that the task is off-peak."""

    def __repr__(self) -> str:
        return "1 h, off-peak 49 h"


DEFAULT_TIMEOUT: Final = DefaultTimeout()
Timeout = float | DefaultTimeout | None
"""Seconds, the default, or None for ever."""

_LATE, _CATCH_UP = 0.5, 5.0
"""Seconds by which a deadline is noticed late only if the loop stood still, and the most that are then granted."""

_FILES_LATER = (0.0, 1.0, 2.0, 3.0)
"""Seconds before each look for the files of a task whose end only a callback has told: a replica may lag."""

_TOKEN = re.compile(r"vidu(?P<number>\d+)\.(?P<rest>.*)", re.DOTALL)
_VERSION = "1"


@frozen
class Token:
    """What a `handle.token` says: which task, on which gateway, and whether it may take days."""

    task_id: str
    gateway: str
    off_peak: bool = False

    def __str__(self) -> str:
        said = json.dumps([self.task_id, self.gateway, int(self.off_peak)], separators=(",", ":"))
        return f"vidu{_VERSION}.{base64.urlsafe_b64encode(said.encode()).decode('ascii').rstrip('=')}"

    @classmethod
    def parse(cls, text: str, gateway: Gateway) -> Token:
        """Read a token, or take the text for a bare task id of this gateway.

        Raises:
            ConfigError: broken, of a newer version of this library, or of another gateway.

        """
        if not isinstance(text, str) or not text.strip():
            raise ConfigError(f"attach() takes a task id or a handle's token, not {text!r}")
        version = _TOKEN.match(text.strip())
        if version is None:
            return cls(text.strip(), gateway.url(""))
        if version["number"] != _VERSION:
            raise ConfigError(f"this token was made by another version of vidu_async: {text[:12]!r}...")
        encoded = version["rest"]
        try:
            task_id, home, off_peak = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        except (ValueError, TypeError, RecursionError):
            raise ConfigError(f"the token is damaged or cut: {text[:40]!r}") from None
        if home != gateway.url(""):
            raise ConfigError(f"the token's task is at {home}, this client's gateway is {gateway.url('')}")
        return cls(str(task_id), home, bool(off_peak))


class Remote(Protocol):
    """What a handle needs of its client."""

    @property
    def gateway(self) -> Gateway:
        """Where the task is."""

    async def fetch_task(self, task_id: str) -> Task:
        """Look at a task once."""

    async def cancel(self, task_id: str) -> None:
        """Cancel a task."""


@define(eq=False, repr=False)
class TaskHandle:
    """One task, wherever it is. `await handle` is its result.

    Handles are cheap and may be dropped: the task goes on, and `client.attach(handle.token)` takes it up again, also
    in another process. One that goes unread, of a task that no journal remembers, warns: `ResourceWarning`.
    """

    _client: Remote
    _watcher: Watcher
    _watch: Watch
    key: str | None = field(default=None)
    """The name of the submission, where this client made it."""
    _is_original: bool = False
    """Whether it is the one that the submission returned."""

    @property
    def task_id(self) -> str:
        """Vidu's id of the task, kept as text: it is larger than a float can hold."""
        return self._read().task_id

    @property
    def task(self) -> Task | None:
        """The latest answer, None before the first. No I/O."""
        watch = self._read()
        return watch.early or watch.task

    @property
    def state(self) -> TaskState:
        """The latest known state, UNKNOWN as long as `task` is None. No I/O."""
        task = self._watch.early or self._watch.task
        return task.state if task else TaskState.UNKNOWN

    @property
    def token(self) -> str:
        """A string below 1 kB that names the task in any process: plain ASCII, fit for JSON, and without the key."""
        watch = self._read()
        return str(Token(watch.task_id, self._client.gateway.url(""), watch.off_peak))

    def __repr__(self) -> str:
        return _said(self._read())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython picks itself
        """Return what a notebook shows: state, model, credits, and how long it has been watched."""
        from vidu_async import display  # noqa: PLC0415 - only a notebook asks

        return display.bundle_of(self._read(), _said)

    def _ipython_display_(self) -> None:
        """Show it in a notebook, where the card then moves while somebody waits for the task."""
        from vidu_async import display  # noqa: PLC0415 - only a notebook asks

        display.follow(self._read(), _said)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskHandle):
            return NotImplemented
        return (self._watch.task_id, self._client.gateway) == (other._watch.task_id, other._client.gateway)

    def __hash__(self) -> int:
        return hash(self._watch.task_id)

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        watch = getattr(self, "_watch", None)  # a copy that was refused has none
        if watch is not None and self._is_original and watch.is_unread:
            watch.is_unread = False
            said = f"the handle of submission {self.key} was dropped unread; its task {watch.task_id} is paid for"
            _warn(f"{said}. Await it, keep its token, or give ViduClient a journal", ResourceWarning, source=self)

    def _read(self) -> Watch:
        """Return what is known of the task to somebody who will remember it."""
        self._watch.is_unread = False
        return self._watch

    def __await__(self) -> Generator[Any, None, Task]:
        return self.result().__await__()

    async def result(self, *, timeout: Timeout = DEFAULT_TIMEOUT) -> Task:  # noqa: ASYNC109 - a deadline that moves
        """Wait for the task and return it, successful and with its files.

        `timeout` is in seconds from now: 1 hour by default, 49 once an answer shows that the task is off-peak. None
        waits for ever. Cancelling the wait leaves the task alone.

        Raises:
            TaskFailedError, TaskCancelledError: the task ended without a result.
            ResultMissingError: it succeeded, but names no file.
            TaskTimeoutError: the deadline passed; its `token` takes the wait up again.
            NotFoundError, AuthenticationError: the server does not know the task, or no longer the key.

        """
        await self.wait(timeout=timeout)
        return checked(await self._filled())

    async def _filled(self) -> Task:
        """Return the task that ended; with its files, where a callback alone has told of its end."""
        watch = self._watch
        for pause in _FILES_LATER:
            if not watch.is_believed:
                break
            await asyncio.sleep(pause)
            await self.refresh()
        return cast("Task", watch.task)

    async def wait(self, *, timeout: Timeout = DEFAULT_TIMEOUT) -> Task:  # noqa: ASYNC109 - a deadline that moves
        """Wait for the end, good or bad, and return the task; else as `result`."""
        check_timeout(timeout)
        began, watch = asyncio.get_running_loop().time(), self._read()
        while not watch.is_over:
            await self._changed(began, timeout)
        return cast("Task", watch.task)

    async def _changed(self, began: float, timeout: Timeout) -> None:  # noqa: ASYNC109 - a deadline that moves
        """Wait for one change, until a deadline that is later for a task found to be off-peak meanwhile."""
        watch = self._watch
        patience = watch.patience if isinstance(timeout, DefaultTimeout) else timeout
        deadline = None if patience is None else began + patience
        try:
            async with asyncio.timeout_at(deadline):
                await self._watcher.changed(watch)
        except TimeoutError:
            await self._catch_up(deadline or 0.0)
        else:
            patience = None
        if watch.failure is not None:
            raise copy(watch.failure)
        if patience is not None and not watch.is_over:
            raise timed_out(self, patience)

    async def _catch_up(self, deadline: float) -> None:
        """After the event loop stood still, hear first what arrived meanwhile: only the deadline is noticed at once."""
        late = asyncio.get_running_loop().time() - deadline
        if late > _LATE and not self._watch.is_over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(late, _CATCH_UP)):
                    await self._watcher.changed(self._watch)

    async def refresh(self) -> Task:
        """Look once, now, and return the task."""
        task = await self._client.fetch_task(self.task_id)
        self._observe(task)
        return self.task or task

    def _observe(self, task: Task) -> None:
        """Take in an answer about this task from elsewhere: its creation, a list."""
        self._watcher.observe(self._watch, task)

    def _at_end(self, release: Callable[[], None]) -> None:
        """Have `release` called once the task ends, which is then looked for even if nobody waits."""
        self._watcher.hold(self._watch, release)

    def events(self, *, timeout: Timeout = DEFAULT_TIMEOUT) -> Events:
        """Iterate over the states of the task as they are observed, each once, up to and including the last.

        Raises, while iterating, what `wait` raises; `timeout` counts from the first step.
        """
        check_timeout(timeout)
        self._read()
        return Events(self, timeout)

    async def cancel(self) -> None:
        """Cancel the task itself, if it still waits to be run.

        Raises:
            CancelRefusedError: it is running or has ended.
            UnsupportedError: this gateway cannot cancel.

        """
        await self._client.cancel(self.task_id)


def _said(watch: Watch) -> str:
    """Return the repr of a handle. No handle is needed for it: what shows one holds none."""
    task = watch.early or watch.task
    return f"<TaskHandle {watch.task_id} {task.state.value if task else 'not looked at yet'}>"


def check_timeout(timeout: object) -> None:
    """Refuse what is no deadline of a wait."""
    is_time = isinstance(timeout, (int, float)) and not isinstance(timeout, bool) and timeout >= 0
    if not (timeout is None or is_time or isinstance(timeout, DefaultTimeout)):
        raise ConfigError(f"timeout= must be seconds or None, not {timeout!r}")


def checked(task: Task) -> Task:
    """Return a successful task, or raise what its end means."""
    if task.state is TaskState.SUCCESS:
        if task.has_result:
            return task
        raise ResultMissingError(f"task {task.id} succeeded but names no file", task=task)
    why = ": ".join(part for part in (task.err_code, task.err_msg) if part) or "no reason given"
    if task.is_cancelled:
        raise TaskCancelledError(f"task {task.id} was cancelled, its credits are returned", task=task)
    explained = "https://platform.vidu.com/docs/error-code explains the reason." if task.err_code else ""
    advice = f"Failed tasks are not charged. {advice_on(task.err_code) or explained}".strip()
    raise TaskFailedError(f"task {task.id} failed ({why})", task=task, advice=advice)


def timed_out(handle: TaskHandle, patience: float) -> TaskTimeoutError:
    """Return the error of a wait that ended before its task, caused by what went wrong last."""
    watch = handle._watch  # noqa: SLF001 - the same file's class
    trouble = f"; the last look failed: {watch.trouble.said}" if watch.trouble else ""
    error = TaskTimeoutError(
        f"task {handle.task_id} is still {handle.state.value} after {patience:g} s{trouble}", token=handle.token
    )
    error.__cause__, error.task_id = watch.trouble, handle.task_id
    return error


@define(eq=False, repr=False)
class Events:
    """An async iterator of `Task`, one for each state that was observed."""

    _handle: TaskHandle
    _timeout: Timeout
    _next: int = field(default=0, init=False)
    _began: float | None = field(default=None, init=False)

    def __repr__(self) -> str:
        return f"<Events of {self._handle!r}>"

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Task:
        watch = self._handle._watch  # noqa: SLF001 - the same file's class
        if self._began is None:
            self._began = asyncio.get_running_loop().time()
        while self._next >= len(watch.history):
            if watch.is_over:
                raise StopAsyncIteration
            await self._handle._changed(self._began, self._timeout)  # noqa: SLF001
        self._next += 1
        return watch.history[self._next - 1]


@define(eq=False)
class _Ends:
    """Which handles have ended, in order, by their places. It holds no iterator, so that one may be dropped."""

    waiting: dict[int, Callable[[], None]] = field(factory=dict, init=False)
    """What ends the listening, by the place of each handle that has not ended."""
    come: asyncio.Queue[int] = field(factory=asyncio.Queue, init=False)
    failures: dict[str, ViduError] = field(factory=dict, init=False)
    """Why waits were given up, by task: the next wait on the same task forgets it there."""

    def await_end(self, place: int, handle: TaskHandle) -> None:
        """Listen for the end of a handle."""
        watch = handle._read()  # noqa: SLF001 - the same file's class
        if watch.is_over:
            self.come.put_nowait(place)
        else:
            self.waiting[place] = handle._watcher.listen(watch, _Listener(self, place, watch))  # noqa: SLF001

    def stop(self) -> None:
        """Listen no more."""
        for stop in self.waiting.values():
            stop()


@define(eq=False)
class _Listener:
    """Waits for the end of one handle. It is small, as `Listening` is."""

    _ends: _Ends
    _place: int
    _watch: Watch

    def __call__(self) -> None:
        ends, watch = self._ends, self._watch
        if (watch.is_over or watch.failure) and (stop := ends.waiting.pop(self._place, None)):
            stop()
            if watch.failure:
                ends.failures[watch.task_id] = watch.failure
            ends.come.put_nowait(self._place)


@define(eq=False, repr=False)
class Completed:
    """An async iterator of handles in the order in which their tasks end.

    A handle whose wait was given up (no such task, key refused) comes too; awaiting it tells why. If nothing ends for
    as long as the default deadline of a single wait, it raises `TaskTimeoutError`.
    """

    _handles: list[TaskHandle]
    _ends: _Ends = field(factory=_Ends, init=False)
    _left: int = field(default=-1, init=False)

    def __repr__(self) -> str:
        left = len(self._handles) if self._left < 0 else self._left
        return f"<Completed {len(self._handles) - left} of {len(self._handles)}>"

    def __aiter__(self) -> Completed:
        return self

    async def __anext__(self) -> TaskHandle:
        if self._left < 0:
            self._left = len(self._handles)
            for place, handle in enumerate(self._handles):
                self._ends.await_end(place, handle)
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1  # before waiting: several may wait on one iterator
        try:
            return self._handles[await self._next_end()]
        except BaseException:
            self._left += 1
            raise

    async def _next_end(self) -> int:
        loop = asyncio.get_running_loop()
        began, patience = loop.time(), PATIENCE
        while self._ends.come.empty():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + patience):
                    return await self._ends.come.get()
            # Asked only when time is up: looking through ten thousand handles at each step would be felt.
            still_open = [self._handles[place] for place in self._ends.waiting] or self._handles
            longest = max(handle._watch.patience for handle in still_open)  # noqa: SLF001 - as above
            if longest <= patience:
                raise timed_out(still_open[0], patience)
            patience = longest
        return self._ends.come.get_nowait()

    def outcome(self, handle: TaskHandle) -> Task:
        """Return the result of a handle that came, or raise why there is none."""
        watch = handle._watch  # noqa: SLF001 - the same file's class
        if watch.task is not None and watch.is_over:
            return checked(watch.task)
        failure = self._ends.failures.get(handle.task_id)
        raise copy(failure) if failure else timed_out(handle, watch.patience)

    def __del__(self) -> None:
        self._ends.stop()
