"""Asks about tasks, one by itself or a hundred through the list, and weighs what comes.

What the list says ended is asked for by itself: a result has one source. A look may fail for hours without ending a
wait. Only the server's own word about the task does: it does not exist, or the key is refused. What failed is made good
soon, but only as long as most goes well: a quota keeps trouble from making more of itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.events import PollFailed, StateRegressed, Throttled, plainly
from vidu_async.protocol.errors import (
    APIError,
    AuthenticationError,
    ConfigError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    UnsupportedError,
    ViduError,
)
from vidu_async.protocol.models import TaskState
from vidu_async.retry import Quota, wait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.events import Event
    from vidu_async.listing import Listing
    from vidu_async.protocol.models import Task
    from vidu_async.protocol.wire import Listed
    from vidu_async.watch import Watch

_log = logging.getLogger("vidu_async")

_LAG = 60.0
"""Seconds after any sign of a task during which a 404 is taken for a replica that lags behind."""
_RETRY_AFTER = 120.0
"""The longest pause that a server's Retry-After makes between looks, in seconds."""
_FINAL = frozenset({400, 401, 403, 404, 405, 410, 422})
"""Statuses that answer a look for good; anything else may pass."""
_STAGES = (TaskState.CREATED, TaskState.QUEUEING, TaskState.PROCESSING)
_SLOW = 15.0
"""Seconds that the list gets for its answer, as others wait for their turn meanwhile."""
_UNLISTED = 60.0
"""Seconds without looking in the list for a task that is not in it."""


@define(eq=False)
class Looks:
    """Looks at tasks, and tells `observe` what they answer."""

    _query: Callable[[Watch], Awaitable[Task]]
    """Asks about one task."""
    _listing: Listing
    _observe: Callable[[Watch, Task], None]
    _close_for: Callable[[float], None]
    """Has nothing looked at for some seconds."""
    _now: Callable[[], float]
    _report: Callable[[Event], None]
    _quota: Quota = field(factory=Quota, init=False)
    _throttles: int = field(default=0, init=False)
    """How many times in a row looks were refused as too many."""
    _opens: float = field(default=0.0, init=False)
    """When they were asked to come again."""
    _is_troubled: bool = field(default=False, init=False)
    """Whether the last look failed, whatever its task: only the first of a row of failures is logged."""

    async def look(self, watches: list[Watch]) -> None:
        """Look at some tasks with one request, and take in what comes. Raises nothing but its cancellation."""
        try:
            if len(watches) > 1:
                await self._look_into_list(watches)
            else:
                await self._look_at(watches[0])
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # Not even a fault of ours may leave the waiters hanging.
            _log.exception("looking at task %s failed", watches[0].task_id)
            self._put_off(watches, ProtocolError(f"looking failed: {error!r}"))

    async def _look_at(self, watch: Watch) -> None:
        """Ask about one task by itself."""
        claimed, was_listed = watch.claimed, watch.is_listed
        was_rung_for, watch.is_rung_for = watch.is_rung_for, False
        watch.claimed, watch.is_listed, watch.is_asked_at_once = None, False, False
        watch.turns += 1
        try:
            task = await self._query(watch)
            if claimed and task.state.is_terminal and task.state is not claimed:
                names = {"key": watch.key, "task_id": watch.task_id}
                self._report(StateRegressed(state=claimed, answered=task.state, **names))
                task = await self._query(watch)  # two accounts of one end: its own word counts, once repeated
        except ViduError as error:
            watch.is_rung_for = watch.is_rung_for or was_rung_for
            self._troubled(watch, error)
            return
        self._went_well()
        self._listing.task_answered(self._now())
        self._observe(watch, task)
        if watch.is_over and was_listed and not claimed:
            self._listing.check(watch.task_id)

    async def _look_into_list(self, watches: list[Watch]) -> None:
        """Ask about many through the list; those that it does not have, or has as ended, are asked by themselves."""
        failure: ViduError
        try:
            async with asyncio.timeout(_SLOW):
                found = await self._listing.find([watch.task_id for watch in watches], self._now())
        except (UnsupportedError, AuthenticationError, PermissionDeniedError) as error:
            _log.info("%s: each task is looked at by itself", plainly(error.said))
            self._listing.failed(self._now())  # a page that says so may be some portal's
            for watch in watches:
                watch.is_asked_at_once = True
            return
        except ViduError as error:
            failure = error
        except TimeoutError:
            failure = RequestTimeoutError(f"the list of tasks did not answer within {_SLOW:g} s")
        else:
            self._went_well()
            now = self._now()
            for watch in watches:
                self._take_row(watch, found.get(watch.task_id), now)
            return
        self._put_off(watches, failure)
        self._listing.suspect(watches[0], plainly(failure.said))

    def _take_row(self, watch: Watch, row: Listed | None, now: float) -> None:
        """Take in what the list says of a task. It may lag behind what the task itself has said."""
        if row is None:
            watch.unlisted_until, watch.is_asked_at_once = now + _UNLISTED, True
        elif row.state.is_terminal:
            watch.claimed, watch.is_asked_at_once = row.state, True
            self._listing.told_of_end()
        else:
            watch.is_listed, watch.is_asked_at_once = True, False
            watch.turns += 1
            known = watch.task
            is_news = known is None or row.state not in _STAGES[: _rank(known.state) + 1]
            self._observe(watch, row.task() if is_news or known is None else known)

    def _went_well(self) -> None:
        self._quota.earn()
        self._throttles, self._is_troubled = 0, False

    def _troubled(self, watch: Watch, error: ViduError) -> None:
        """Note a look that brought nothing; give up only if it was the server's last word."""
        if not self._is_final(watch, error, watch.mark(self._now())):
            self._put_off([watch], error)
            return
        error.paid = "yes" if watch.vouched is not None else error.paid
        error.task_id = watch.task_id
        watch.trouble = watch.failure = error
        watch.tell()

    def _put_off(self, watches: list[Watch], error: ViduError) -> None:
        """Have a look that brought nothing made good soon, as long as not everything fails."""
        is_throttled, is_first = isinstance(error, RateLimitError), not self._is_troubled and not watches[0].trouble
        may_retry = self._quota.spend(is_throttled=is_throttled)
        retry_in = wait(watches[0].troubles + 1) if may_retry else None
        for watch in watches:
            watch.mark(self._now())
            watch.trouble, watch.troubles, watch.retry_in = error, watch.troubles + 1, retry_in
        self._is_troubled = True
        self._report(PollFailed(task_id=watches[0].task_id, count=len(watches), error=error.said))
        if isinstance(error, RateLimitError):
            self._close_for_all(error)
        if is_first:
            _log.warning("looking at task %s failed, waiting goes on: %s", watches[0].task_id, plainly(error.said))

    def _close_for_all(self, error: RateLimitError) -> None:
        """Look at nothing for a while: the server speaks of the account."""
        now = self._now()
        self._throttles += now >= self._opens  # else it is an answer to the same burst
        pause = min(error.retry_after or wait(self._throttles), _RETRY_AFTER)
        self._opens = max(self._opens, now + pause)
        self._close_for(pause)
        self._report(Throttled(pause=pause, reason=error.reason, retry_after=error.retry_after))

    def _is_final(self, watch: Watch, error: ViduError, now: float) -> bool:
        if isinstance(error, ConfigError):
            return True
        if not isinstance(error, APIError) or not error.readable or error.status not in _FINAL:
            return False
        if isinstance(error, (RateLimitError, ServerError)) or error.reason == "OperationInProcess":
            return False
        is_lag = isinstance(error, NotFoundError) and watch.vouched is not None and now - watch.vouched < _LAG
        return not is_lag


def _rank(state: TaskState) -> int:
    return _STAGES.index(state) if state in _STAGES else -1
