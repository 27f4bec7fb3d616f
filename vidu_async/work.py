"""One item's way through a batch: its price is reserved, it is submitted, waited for, and its result saved.

What is safe to repeat is repeated: a task that failed for a reason that passes costs nothing, and what was provably not
sent is sent later. Everything else ends the item, and nothing of it the batch. What was submitted before is recalled,
which sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.handle import checked
from vidu_async.journal import ENDED, UNRESOLVED, UNSENT, Row, RowState, conflict
from vidu_async.outcomes import Outcome
from vidu_async.protocol.errors import (
    ConnectError,
    DownloadError,
    JournalError,
    LimiterFullError,
    ProxyError,
    RateLimitError,
    RequestTimeoutError,
    SubmissionUnknownError,
    TLSError,
    TransportError,
    ViduError,
)
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.reasons import is_passing
from vidu_async.retry import waits
from vidu_async.submission import unknown
from vidu_async.watch import OFF_PEAK_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vidu_async.budget import Budget, Reservation
    from vidu_async.client import ViduClient
    from vidu_async.handle import TaskHandle
    from vidu_async.items import Item
    from vidu_async.journal import Ledger
    from vidu_async.protocol.models import Task
    from vidu_async.protocol.requests import Request

_log = logging.getLogger("vidu_async")

_ATTEMPTS = 3
"""Tasks made for one item, where they fail for reasons that pass; and tries at saving it, if waiting helps nothing."""
_PATIENCE = 3600.0
"""Seconds of trouble with the network that an item waits out."""
_TRY = 60.0
"""Seconds of one try that may have been trouble: the rest was spent in a queue."""
_TRY_TO_SAVE = 600.0
"""Seconds of one try to save: its own tries may each have met two minutes of silence."""
_LONGEST = 600.0
"""Seconds after which it is tried again although the server asked for more."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What a disk says that takes no further result either."""
_FULL = (RateLimitError, LimiterFullError)
"""Nothing is wrong: it is tried again as long as it takes."""
_PASSING = (ConnectError, TransportError, RequestTimeoutError, *_FULL)
"""Troubles with sending that pass, if nothing is paid."""
_LASTING = (TLSError, ProxyError)
_SUBMITTED = frozenset({RowState.COMMITTED, RowState.ACCEPTED, *ENDED, *UNRESOLVED})
"""States of a key under which something is paid, or may be, or was."""
_NAME = 100
"""Bytes of a key in a file's name."""


class NotTakenError(Exception):
    """The batch was stopped before an item was sent: it has no outcome."""


@define(eq=False)
class _Trip:
    """How far an item has come."""

    item: Item
    request: Request
    key: str
    reservation: Reservation | None = None
    handle: TaskHandle | None = None
    task: Task | None = None
    """How its task ended."""
    is_recalled: bool = False
    """Whether it was submitted by an earlier run, or another process."""


@define(eq=False)
class Work:
    """What all items of a batch share on their way."""

    _client: ViduClient
    _journal: Ledger
    _budget: Budget
    _can_look: Callable[[], bool]
    """Whether the gateway may list tasks."""
    _folder: Path | None = None
    """Where results are saved, if they are."""
    deadline: float | None = None
    """By the loop's clock."""
    is_stopped: bool = field(default=False, init=False)
    _is_troubled: bool = field(default=False, init=False)
    """Whether the network was gone when last tried: it is told once."""
    _counted: dict[str, Reservation] = field(factory=dict, init=False)
    """By key: what was counted beforehand."""
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set for a moment when the budget may have changed, or the batch is stopped."""
    _submitting: set[asyncio.Task[TaskHandle]] = field(factory=set, init=False)

    def stop(self) -> None:
        """Send nothing more: what is not on its way is withdrawn."""
        self.is_stopped = True
        self._tell()
        for submitting in self._submitting:
            submitting.cancel()

    async def outcome(self, item: Item) -> Outcome:
        """See an item through to its end, good or bad.

        Raises:
            NotTakenError: the batch was stopped before anything of it was sent.

        """
        if item.error is not None or item.request is None or item.key is None:
            return Outcome(item.key, item.request, error=item.error, place=item.place)
        trip = _Trip(item, item.request, item.key)
        paths: tuple[Path, ...] = ()
        failure: ViduError | None = None
        try:
            await self._make(trip)
            paths = await self._saved_in_time(trip)
        except ViduError as error:
            failure = error
        except NotTakenError:
            raise
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            _log.exception("item %s failed", item.key)
            failure = ViduError(f"item {item.key} failed: {error!r}")
        finally:
            if trip.reservation is not None:
                trip.reservation.end()
                self._tell()
        task = trip.task or (trip.handle.task if trip.handle else None)
        cost = trip.reservation.credits if trip.reservation else 0
        return Outcome(item.key, item.request, task, failure, paths, item.place, trip.is_recalled, cost)

    # What was submitted before

    async def count(self, item: Item) -> None:
        """Have the budget know beforehand what was paid for an item."""
        with contextlib.suppress(ViduError):  # told when it has its turn
            if (earlier := await self.earlier(item)) and item.key:
                self._counted[item.key] = earlier

    def no_more(self) -> None:
        """Take note that all items had their turn: nothing will be heard of others that were counted."""
        for reservation in self._counted.values():
            reservation.end()
        self._tell()

    async def earlier(self, item: Item) -> Reservation | None:
        """Return what was paid for an item before, or may be, and have the budget know; None if nothing was submitted.

        Raises:
            IdempotencyConflictError: its key names another request.

        """
        if item.key is None or item.request is None:
            return None
        row = self._journal.find(item.key)
        if row is None or row.state not in _SUBMITTED:
            return None
        digest = await self._client.fingerprint(item.request) if item.is_named else row.digest
        if error := conflict(row, Row(key=item.key, site=self._client.gateway.url(""), digest=digest)):
            error.paid = "no"
            raise error
        reservation = self._budget.earlier(item.request)
        if row.state in {RowState.FAILED, RowState.CANCELLED}:
            reservation.release()
        elif row.state in {RowState.ACCEPTED, RowState.SUCCESS}:
            reservation.settle(row.credits)
        else:
            reservation.hold()
        return reservation

    async def _found(self, trip: _Trip, lost: SubmissionUnknownError | None = None) -> TaskHandle | None:
        """Return the handle of what was submitted, once it is found if its answer was lost; None if it came to nothing.

        Raises:
            SubmissionUnknownError: it was looked for long enough, or given up.

        """
        pauses, is_told = waits(), False
        while (handle := await self._client.recall(trip.key)) is None:
            row = self._journal.find(trip.key)
            if row is None or row.state in UNSENT:
                return None
            if self.is_stopped or row.state not in {RowState.UNKNOWN, RowState.COMMITTED}:
                raise lost or unknown(row, "was sent before", can_look=self._can_look())
            if not is_told:
                is_told = True
                _log.warning("submission %s was sent and its answer is lost: its task is looked for", trip.key)
            await self._pause(next(pauses))
        self._settle(trip, handle)
        return handle

    def _settle(self, trip: _Trip, handle: TaskHandle) -> None:
        """Take note of a task's price, as its creation said. Nothing here may fail: the task is paid."""
        said = handle.task.credits if handle.task else None
        if handle.task is None:
            with contextlib.suppress(JournalError):
                row = self._journal.find(trip.key)
                said = row.credits if row else None
        if trip.reservation is not None:
            trip.reservation.settle(said)
        self._tell()

    # Making

    async def _make(self, trip: _Trip) -> None:
        """Have the item's task made, again if it fails for a reason that passes."""
        for attempt in range(1, _ATTEMPTS + 1):
            failed, trip.task, trip.handle = trip.task, None, None
            try:
                trip.handle = await self._submit(trip, is_again=attempt > 1)
            except NotTakenError:
                if failed is None:
                    raise
                trip.task = failed  # stopped before it was made again
                break
            await trip.handle.wait(timeout=self._left())
            trip.task = await trip.handle._filled()  # noqa: SLF001 - the client's and its parts' own
            self._correct(trip, trip.task)
            if trip.task.state is TaskState.SUCCESS or trip.task.is_cancelled or not is_passing(trip.task.err_code):
                break
        assert trip.task is not None  # noqa: S101 - there is at least one attempt
        checked(trip.task)

    def _correct(self, trip: _Trip, task: Task) -> None:
        """Take note of what a task cost in the end."""
        if trip.reservation is not None:
            trip.reservation.correct(task.credits if task.state is TaskState.SUCCESS else 0)
            self._tell()

    async def _submit(self, trip: _Trip, *, is_again: bool) -> TaskHandle:
        """Submit an item, or take up what its key names already."""
        earlier = None if is_again else self._counted.pop(trip.key, None) or await self.earlier(trip.item)
        if earlier is not None:
            trip.reservation, trip.is_recalled = earlier, True
            if found := await self._found(trip):
                return found
            earlier.release()  # what was on its way has come to nothing
        trip.is_recalled = False
        reservation = trip.reservation = await self._reserve(trip.request)
        lost: SubmissionUnknownError | None = None
        handle: TaskHandle | None = None
        try:
            handle = await self._send(trip, is_again=is_again)
        except SubmissionUnknownError as error:
            reservation.hold()
            lost = error  # looked for outside, to be no context of what comes
            _log.warning("%s. It is looked for, and not sent again", error.said)
        except BaseException as error:
            reservation.hold() if getattr(error, "paid", None) == "maybe" else reservation.release()
            raise
        finally:
            self._tell()
        if handle is None:
            if late := await self._found(trip, lost):
                return late
            raise lost or NotTakenError
        self._is_troubled = False
        trip.is_recalled = handle.task is None  # another process was first
        self._settle(trip, handle)
        return handle

    async def _reserve(self, request: Request) -> Reservation:
        """Set aside what a request costs, once it is known whether it may be paid."""
        while True:
            if self.is_stopped:
                raise NotTakenError
            if reservation := self._budget.reserve(request):
                return reservation
            await self._news.wait()

    async def _send(self, trip: _Trip, *, is_again: bool) -> TaskHandle:
        """Submit, and as long as the network is gone, later again: nothing is paid."""
        loop, pauses, trouble = asyncio.get_running_loop(), waits(), 0.0
        while True:
            began = loop.time()
            try:
                return await self._withdrawable(trip, is_again=is_again)
            except _PASSING as error:
                if error.paid != "no" or isinstance(error, _LASTING):
                    raise
                pause = max(next(pauses), min(getattr(error, "retry_after", None) or 0.0, _LONGEST))
                if not isinstance(error, _FULL):
                    trouble += pause + min(loop.time() - began, _TRY)
                    self._tell_of_trouble(error)
                if trouble > _PATIENCE:
                    raise
            await self._pause(pause)

    def _tell_of_trouble(self, error: ViduError) -> None:
        """Say that items wait, which nobody would see otherwise."""
        if not self._is_troubled:
            self._is_troubled = True
            _log.warning("%s. Nothing was sent; it is tried again for up to an hour", error.said.rstrip(". "))

    async def _withdrawable(self, trip: _Trip, *, is_again: bool) -> TaskHandle:
        """Submit in a way that `stop` can take back, unless it is on its way."""
        if self.is_stopped:
            raise NotTakenError
        submitting = asyncio.ensure_future(self._client.submit(trip.request, key=trip.key, retry_failed=is_again))
        self._submitting.add(submitting)
        try:
            return await submitting
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if (caller and caller.cancelling()) or not self.is_stopped:
                submitting.cancel()
                raise
        finally:
            self._submitting.discard(submitting)
        if handle := await self._client.recall(trip.key):
            return handle  # it was on its way: its answer was waited for
        row = self._journal.find(trip.key)
        if row is not None and row.state in {RowState.COMMITTED, *UNRESOLVED}:
            raise unknown(row, can_look=self._can_look())
        raise NotTakenError

    # Waiting and saving

    def _left(self) -> float:
        """Return the deadline of a wait, in seconds; without one a queue of any length is waited out."""
        if self.deadline is None:
            return OFF_PEAK_PATIENCE
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the batch is stopped."""
        until = asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not self.is_stopped:
                    await self._news.wait()

    async def _saved_in_time(self, trip: _Trip) -> tuple[Path, ...]:
        if self._folder is None or trip.task is None:
            return ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self.deadline):
                return await self._save(trip, trip.task, self._folder)
        raise DownloadError(f"the result of task {trip.task.id} was not saved before the batch's deadline")

    async def _save(self, trip: _Trip, task: Task, folder: Path) -> tuple[Path, ...]:
        """Save the results; a network that is gone is waited out."""
        name = f"{_file_name(trip.key)}{{task_id}}" if trip.item.is_named else None
        loop, trouble, tries = asyncio.get_running_loop(), 0.0, 0
        for pause in waits():
            began = loop.time()
            try:
                return tuple(await self._client.download_all(task, folder, exists="skip", name=name))
            except DownloadError as error:
                tries += not error.is_passing
                trouble += pause + min(loop.time() - began, _TRY_TO_SAVE)
                if error.errno in _NO_ROOM:
                    self._stop_for_want_of_room(folder, error)
                if tries >= _ATTEMPTS or trouble > _PATIENCE or self.is_stopped:
                    raise
            await self._pause(pause)
        raise AssertionError  # the waits never end

    def _stop_for_want_of_room(self, folder: Path, error: DownloadError) -> None:
        """Pay for nothing more that could not be saved."""
        if not self.is_stopped:
            _log.error("nothing more is submitted: %s. Make room in %s, and run the batch again", error.said, folder)
            self.stop()

    def _tell(self) -> None:
        """Wake whoever waits for the budget."""
        self._news.set()
        self._news.clear()


def _file_name(key: str) -> str:
    """Return the beginning of a file's name that shows whose it is."""
    name = re.sub(r"[^\w.-]", "_", key).lstrip(".").encode()[:_NAME].decode(errors="ignore")
    return f"{name}-" if name else ""
