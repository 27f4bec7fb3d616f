"""One watcher per client looks after all waiting handles.

A `Watch` is what is known of one task far away; all handles of that task share it. Whoever waits has a listener on
it. The watcher looks (one GET) at every task somebody listens to, as often as the polling policy says: ten listeners
on one task cause one stream of looks, a task nobody waits for causes none. Between looks a waiting task is an entry
in a heap, and one timer is set for the first of them.

A look may fail for hours without ending a wait. Only the server's own word does: the task ended, does not exist, or
the key is refused. What is terminal stays terminal, whatever a later answer says.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from attrs import define, field

from vidu_async.polling import Kind, Learner, Polling, Waiting
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import (
    APIError,
    ConfigError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    ViduError,
)
from vidu_async.protocol.models import TaskState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.polling import PollingPolicy
    from vidu_async.protocol.models import Task

_log = logging.getLogger("vidu_async")

_AT_ONCE = 64
"""Looks at once."""
_LAG = 60.0
"""Seconds after any sign of a task during which a 404 is taken for a replica that lags behind."""
_EMPTY_LOOKS = 5
"""Looks granted to a success that names no file yet, at most `_EMPTY_PAUSE` seconds apart."""
_EMPTY_PAUSE = 3.0
_RETRY_AFTER = 120.0
"""The longest pause that a server's Retry-After makes between looks, in seconds."""
_STATES_KEPT = 64
"""Distinct states kept of one task; Vidu has five."""
PATIENCE = 3600.0
"""Default deadline of a wait in seconds: tasks take minutes."""
OFF_PEAK_PATIENCE = 49 * 3600.0
"""The same once an answer says `off_peak`: those take up to 48 hours."""
_GOES_ON = "the task goes on, and attach(handle.token) takes the wait up again"
_FINAL = frozenset({400, 401, 403, 404, 405, 410, 422})
"""Statuses that answer a look for good; anything else may pass."""


@define(eq=False, weakref_slot=True)
class Watch:
    """What is known of one task. Times are `loop.time()`."""

    task_id: str
    off_peak: bool = False
    task: Task | None = None
    history: list[Task] = field(factory=list, init=False)
    """Answers that showed a new state, in order."""
    failure: ViduError | None = field(default=None, init=False)
    """Why looking was given up; the next listener has it tried again."""
    trouble: ViduError | None = field(default=None, init=False)
    """Why the last look brought nothing, if it did not."""
    listeners: list[Callable[[], None]] = field(factory=list, init=False)
    releases: list[Callable[[], None]] = field(factory=list, init=False)
    """What to call at the end even if nobody listens."""
    began: float | None = field(default=None, init=False)
    """When it was first asked about or heard of."""
    looked: float | None = field(default=None, init=False)
    """When it was last asked about or heard of."""
    vouched: float | None = field(default=None, init=False)
    """When something last proved that the task exists."""
    empty_looks: int = field(default=0, init=False)
    early: Task | None = field(default=None, init=False)
    """A success whose files have not come yet: it ends no wait, and what it says is kept."""
    is_scheduled: bool = field(default=False, init=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be learned."""
        return self.task is not None and self.task.state.is_terminal

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to know."""
        return not self.is_over and bool(self.listeners or self.releases)

    @property
    def patience(self) -> float:
        """The default deadline of a wait, in seconds."""
        return OFF_PEAK_PATIENCE if self.off_peak else PATIENCE

    def learn(self, task: Task) -> bool:
        """Take in an answer; return whether it is news to those who wait."""
        if self.task is not None and task.body == self.task.body and task.state is self.task.state:
            return False
        if self.is_over and (self.task is None or task.state is not self.task.state):
            return False  # terminal is sticky; a later answer of the same end may still bring fresh links
        self.task, self.early = task.over(self.early or self.task), None
        is_news = task.off_peak is True and not self.off_peak
        self.off_peak = self.off_peak or is_news
        if all((seen.state, seen.state_text) != (task.state, task.state_text) for seen in self.history):
            is_news = True
            if len(self.history) < _STATES_KEPT or self.is_over:
                self.history.append(self.task)
        elif self.is_over:
            self.history[-1] = self.task
        return is_news

    def tell(self) -> None:
        """Call everybody who listens, and whoever holds a place for the task if it will not come back."""
        for listener in tuple(self.listeners):
            try:
                listener()
            except RuntimeError:  # its event loop was closed, and it with it
                if listener in self.listeners:
                    self.listeners.remove(listener)
        if self.is_over or self.failure:
            self.let_go()

    def let_go(self) -> None:
        """Give back the places held for the task, once."""
        releases, self.releases = self.releases, []
        for release in releases:
            release()


@define(eq=False)
class Watcher:
    """Looks after every watch of a client: `look` asks about one task, `on_finished` hears of each end."""

    _look: Callable[[str], Awaitable[Task]]
    _policy: PollingPolicy
    _on_finished: Callable[[str, Task], None]
    _watches: WeakValueDictionary[str, Watch] = field(factory=WeakValueDictionary, init=False)
    _heap: list[tuple[float, int, Watch]] = field(factory=list, init=False)
    _order: itertools.count[int] = field(factory=itertools.count, init=False)
    _looks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _next_look: float = field(default=0.0, init=False)
    """When `max_per_second` permits the next look."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _timer_at: float = field(default=0.0, init=False)
    _is_closed: bool = field(default=False, init=False)
    _is_troubled: bool = field(default=False, init=False)
    """Whether the last look failed, whatever its task: only the first of a row of failures is logged."""

    def watch(self, task_id: str, *, off_peak: bool = False) -> Watch:
        """Return the watch of a task, the same for all who ask. No I/O."""
        watch = self._watches.get(task_id)
        if watch is None:
            watch = self._watches[task_id] = Watch(task_id)
        watch.off_peak = watch.off_peak or off_peak
        return watch

    def listen(self, watch: Watch, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a listener called at every change, and the task looked at meanwhile; return what ends it."""
        if self._is_closed:
            raise ConfigError(f"the client is closed; make a new one to wait for task {watch.task_id}")
        watch.failure = None
        watch.listeners.append(listener)
        self._schedule(watch)
        return lambda: watch.listeners.remove(listener) if listener in watch.listeners else None

    async def changed(self, watch: Watch) -> None:
        """Wait for the next change."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stop = self.listen(watch, lambda: None if waiter.done() else waiter.set_result(None))
        try:
            await waiter
        finally:
            stop()

    def hold(self, watch: Watch, release: Callable[[], None]) -> None:
        """Look at a task until it ends or its patience does, even if nobody listens, and then call `release`."""
        watch.releases.append(release)
        watch.tell() if watch.is_over else self._schedule(watch)

    def observe(self, watch: Watch, task: Task) -> None:
        """Take in an answer about a task, and tell those who wait if it is news."""
        watch.vouched = self._mark(watch)
        watch.trouble, self._is_troubled = None, False
        was_over = watch.is_over
        is_empty = task.state is TaskState.SUCCESS and not task.has_result
        if is_empty and not was_over and watch.empty_looks < _EMPTY_LOOKS:
            watch.empty_looks += 1  # the files may come a moment later
            watch.early = task.over(watch.early or watch.task)
            return
        if task.unread and (watch.task is None or watch.task.unread != task.unread):
            _log.warning("task %s answers %s as nothing of its kind: see task.raw", task.id, ", ".join(task.unread))
        is_news = watch.learn(task)
        if is_news and task.state is TaskState.UNKNOWN and task.state_text:
            _log.warning("task %s is in a state unknown here, %r: waiting goes on", task.id, task.state_text)
        if watch.is_over and not was_over:
            self._on_finished(watch.task_id, cast("Task", watch.task))
        if is_news:
            watch.tell()

    async def aclose(self) -> None:
        """Stop looking for good; whoever still waits is told why."""
        self._is_closed = True
        self.pause()
        looks = list(self._looks)
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        for watch in list(self._watches.values()):
            watch.failure = ConfigError(f"the client was closed while task {watch.task_id} was waited for; {_GOES_ON}")
            watch.failure.paid = "yes" if watch.vouched is not None else None
            watch.tell()

    def pause(self) -> None:
        """Start no more looks in this loop, which is ending; the next use goes on, in this loop or the next."""
        if self._loop is not asyncio.get_running_loop():
            return  # a loop of earlier ends late
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    def _mark(self, watch: Watch) -> float:
        now = self.follow_loop().time()
        watch.looked = now
        if watch.began is None:
            watch.began = now
        return now

    def follow_loop(self) -> asyncio.AbstractEventLoop:
        """Start afresh in a new event loop: the old one's timer and clock are worth nothing there.

        Raises:
            ConfigError: the old loop is still running.

        """
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return loop
        if self._loop is not None and self._loop.is_running():
            raise ConfigError("this client is in use by another running event loop; make one client for each loop")
        self._loop, self._timer, self._next_look = loop, None, 0.0
        kept = list(self._watches.values())  # before the heap goes, which may be all that holds them
        self._looks.clear()
        self._heap.clear()
        for watch in kept:
            watch.is_scheduled, watch.looked = False, None
            watch.began = None if watch.began is None else loop.time()
            watch.vouched = None if watch.vouched is None else loop.time()
            self._schedule(watch)
        return loop

    def _schedule(self, watch: Watch) -> None:
        """Enter a wanted task for its next look: at once if nothing is known, else an interval after the last."""
        now = self.follow_loop().time()
        if watch.is_scheduled or not watch.is_wanted:
            return
        due = now if watch.looked is None else max(now, watch.looked + self._interval(watch))
        heapq.heappush(self._heap, (due, next(self._order), watch))
        watch.is_scheduled = True
        self._set_timer()

    def _interval(self, watch: Watch) -> float:
        age = (watch.looked or 0.0) - (watch.began or 0.0)
        waiting = Waiting(Kind(), watch.task.state if watch.task else None, age, off_peak=watch.off_peak)
        try:
            interval = self._policy.interval(waiting)
            if not is_positive(interval):
                raise ValueError(f"interval() returned {interval!r}, which is no positive number of seconds")  # noqa: TRY301
        except Exception:  # noqa: BLE001 - logged with its traceback
            # Somebody's own policy must not leave its waiters hanging.
            _log.exception("the polling policy failed; the default takes its place")
            interval = Learner(Polling()).interval(waiting)
        if isinstance(watch.trouble, RateLimitError) and watch.trouble.retry_after:
            return max(interval, min(watch.trouble.retry_after, _RETRY_AFTER))
        return min(interval, _EMPTY_PAUSE) if watch.empty_looks else interval

    def _set_timer(self) -> None:
        """Wake for the first entry, unless as many looks are under way as may be."""
        if self._loop is None or not self._heap or len(self._looks) >= _AT_ONCE:
            return
        when = max(self._heap[0][0], self._next_look)
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        # The time is kept beside the handle: not every event loop's handles tell it.
        self._timer, self._timer_at = self._loop.call_at(when, self._wake), when

    def _wake(self) -> None:
        """Start the looks that are due."""
        self._timer = None
        loop = self.follow_loop()
        now = loop.time()
        while self._heap and len(self._looks) < _AT_ONCE and max(self._heap[0][0], self._next_look) <= now:
            _, _, watch = heapq.heappop(self._heap)
            if not watch.is_wanted:
                watch.is_scheduled = False
                continue
            most = self._policy.max_per_second
            self._next_look = now + (1 / most if most is not None and is_positive(most) else 0.0)
            look = loop.create_task(self._look_at(watch))
            self._looks.add(look)
            look.add_done_callback(self._looked)
        self._set_timer()

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        self._set_timer()

    async def _look_at(self, watch: Watch) -> None:
        """Ask about one task, take in what comes, and enter it again if it is still wanted."""
        try:
            self.observe(watch, await self._look(watch.task_id))
        except asyncio.CancelledError:
            # The loop is ending. The heap keeps the watch for the next one: nobody else may hold it.
            heapq.heappush(self._heap, (0.0, next(self._order), watch))
            raise
        except ViduError as error:
            self._troubled(watch, error)
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # Not even a fault of ours may leave the waiters hanging.
            _log.exception("looking at task %s failed", watch.task_id)
            self._troubled(watch, ProtocolError(f"looking failed: {error!r}"))
        watch.is_scheduled = False
        if watch.looked is not None and watch.began is not None and watch.looked > watch.began + watch.patience:
            watch.let_go()
        self._schedule(watch)

    def _troubled(self, watch: Watch, error: ViduError) -> None:
        """Note a look that brought nothing; give up only if it was the server's last word."""
        now = self._mark(watch)
        is_first = watch.trouble is None and not self._is_troubled
        watch.trouble = error
        if self._is_final(watch, error, now):
            error.paid = "yes" if watch.vouched is not None else error.paid
            error.task_id = watch.task_id
            watch.failure = error
            watch.tell()
            return
        self._is_troubled = True
        if is_first:
            _log.warning("looking at task %s failed, waiting goes on: %s", watch.task_id, error.said)

    def _is_final(self, watch: Watch, error: ViduError, now: float) -> bool:
        if isinstance(error, ConfigError):
            return True
        if not isinstance(error, APIError) or not error.readable or error.status not in _FINAL:
            return False
        if isinstance(error, (RateLimitError, ServerError)) or error.reason == "OperationInProcess":
            return False
        is_lag = isinstance(error, NotFoundError) and watch.vouched is not None and now - watch.vouched < _LAG
        return not is_lag
