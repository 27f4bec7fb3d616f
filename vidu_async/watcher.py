"""One watcher per client looks after all waiting handles.

It looks at every task somebody listens to, as often as the polling policy says: ten listeners on one task cause one
stream of looks, a task nobody waits for causes none. `looks.py` asks, `rounds.py` has it asked in time and never many
at once; here is who wants to know, and what they are told.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from attrs import define, evolve, field

from vidu_async.events import Finished, StateChanged, StateRegressed, plainly
from vidu_async.looks import Looks
from vidu_async.protocol.errors import ConfigError
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.wire import task_from
from vidu_async.rounds import Rounds
from vidu_async.watch import Listening, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.events import Event
    from vidu_async.guarded import Guarded
    from vidu_async.listing import Listing
    from vidu_async.protocol.models import Task

_log = logging.getLogger("vidu_async")

_EMPTY_LOOKS = 5
"""Looks granted to a success that names no file yet, at most `_EMPTY_PAUSE` seconds apart."""
_EMPTY_PAUSE = 3.0
_GOES_ON = "the task goes on, and attach(handle.token) takes the wait up again"
_CROWD = 20
"""Waiting tasks from which on a crowd's first looks are spread over `_SPREAD` seconds, or two intervals if shorter."""
_SPREAD = 2.0
_JITTER = 0.1
"""The same for later looks, as a share of it: they come apart by themselves."""
_RUNG_APART = 1.0
"""Seconds between looks at a task that callbacks ask for: they cost whoever sends them nothing."""
_RUNG_KEPT = 10_000
_GOLDEN = 0.618034
"""Its multiples, less their whole parts, lie evenly between 0 and 1, however many there are."""


@define(eq=False)
class Watcher:
    """Looks after every watch of a client."""

    _query: Callable[[Watch], Awaitable[Task]]
    """Asks about one task."""
    _listing: Listing
    _policy: Guarded
    _report: Callable[[Event], None]
    _on_finished: Callable[[Watch, Task], None]
    """Hears of each end."""
    _looks: Looks = field(init=False)
    _rounds: Rounds = field(init=False)
    _watches: WeakValueDictionary[str, Watch] = field(factory=WeakValueDictionary, init=False)
    _rung: dict[str, float] = field(factory=dict, init=False)
    """When callbacks last had tasks looked at, by id: nobody may hold the watch in between."""
    _phase: float = field(default=0.0, init=False)
    _is_closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._rounds = Rounds(
            self._ask,
            self._listing.is_usable,
            self._policy.max_per_second,
        )
        self._looks = Looks(
            self._query,
            self._listing,
            self.observe,
            self._rounds.close_for,
            self._now,
            self._report,
        )

    # Who wants to know

    def watch(
        self, task_id: str, *, key: str = "", endpoint: str = "", off_peak: bool = False, is_called_back: bool = False
    ) -> Watch:
        """Return the watch of a task, the same for all who ask. No I/O."""
        watch = self._watches.get(task_id)
        if watch is None:
            watch = self._watches[task_id] = Watch(task_id)
            watch.is_called_back = is_called_back
        watch.key = watch.key or key
        watch.endpoint = watch.endpoint or endpoint
        watch.off_peak = watch.off_peak or off_peak
        return watch

    def listen(self, watch: Watch, listener: Callable[[], None]) -> Callable[[], None]:
        """Have a listener called at every change, and the task looked at meanwhile; return what ends it."""
        if self._is_closed:
            raise ConfigError(f"the client is closed; make a new one to wait for task {watch.task_id}")
        watch.failure = None
        for onlooker in watch.onlookers:
            onlooker.awaited()
        watch.listeners = (*watch.listeners, listener)
        self._schedule(watch)
        return Listening(watch, listener)

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
        watch.releases = (*watch.releases, release)
        watch.tell() if watch.is_over else self._schedule(watch)

    # Who is called back

    @property
    def is_waiting(self) -> bool:
        """Whether any task is waited for."""
        return self._rounds.is_busy

    def known(self, task_id: str) -> Watch | None:
        """Return the watch of a task that somebody here has to do with."""
        return self._watches.get(task_id)

    def ring(self, watch: Watch) -> None:
        """Look at a task now, whoever waits: a callback says that it has ended. Only its own answer counts.

        Until that shows the end, looks are as frequent as without callbacks: this one has come, or was forged.
        """
        if watch.is_over or watch.is_rung_for or self._is_closed:
            return
        last = self._rung.pop(watch.task_id, -math.inf)
        watch.rung_at = max(self._rounds.next_turn(self._now()), last + _RUNG_APART)
        watch.is_called_back, watch.is_rung_for = False, True
        self._rung[watch.task_id] = watch.rung_at
        if len(self._rung) > _RUNG_KEPT:
            del self._rung[next(iter(self._rung))]
        self._rounds.enter(watch, watch.rung_at, alone=True)

    def note_beginning(self, watch: Watch) -> None:
        """Take in that a callback says that a task is being processed now: the next look is an interval from now."""
        if self._is_closed:
            return
        now = self._now()
        is_due = watch.is_asked_at_once or watch.is_rung_for
        if watch.note_beginning(now) and watch.is_wanted and not is_due:
            self._enter(watch, now, len(self._rounds))

    def believe(self, watch: Watch, state: TaskState) -> None:
        """Take a callback's word for the end of a task. What it says beside is left out."""
        if watch.is_over or self._is_closed:
            return
        watch.is_called_back = False
        said = {"id": watch.task_id, "state": state, "state_text": state.value}
        task = task_from(said, b"{}").over(watch.task)
        watch.empty_looks = _EMPTY_LOOKS  # files are asked for by whoever wants them
        self.observe(watch, evolve(task, credits=0) if state is TaskState.FAILED else task)
        watch.is_believed = state is TaskState.SUCCESS

    def expect_no_calls(self) -> None:
        """Look at all tasks as often as without callbacks: none seem to come."""
        now = self._now()
        for watch in list(self._watches.values()):
            if watch.is_called_back:
                watch.is_called_back = False
                if watch.is_wanted and watch.is_scheduled:
                    self._enter(watch, now, len(self._rounds))

    # What is learned

    def observe(self, watch: Watch, task: Task) -> None:
        """Take in an answer about a task, and tell those who wait if it is news."""
        before, looked = watch.task, watch.looked
        watch.vouched = now = watch.mark(self._now())
        watch.trouble, watch.troubles, watch.retry_in = None, 0, None
        watch.is_believed = watch.is_believed and not task.has_result and task.state is not TaskState.FAILED
        if task is before:
            watch.note_stage(task.state, now)
            return  # as most answers are
        is_empty = task.state is TaskState.SUCCESS and not task.has_result
        if is_empty and not watch.is_over and watch.empty_looks < _EMPTY_LOOKS:
            watch.empty_looks += 1  # the files may come a moment later
            watch.early = task.over(watch.early or before)
            return
        if task.unread and (before is None or before.unread != task.unread):
            _log.warning("task %s answers %s as nothing of its kind: see task.raw", task.id, ", ".join(task.unread))
        is_news = watch.learn(task)
        if is_news and task.state is TaskState.UNKNOWN and task.state_text:
            said = plainly(task.state_text)
            _log.warning("task %s is in a state unknown here, %r: waiting goes on", task.id, said)
        try:
            if before is None or before.state is not task.state:
                self._moved(watch, before, task, now if looked is None else (looked + now) / 2)
        finally:  # whatever others make of it, those who wait are told
            watch.note_stage(task.state, now)
            if is_news:
                watch.tell()

    def _moved(self, watch: Watch, before: Task | None, task: Task, at: float) -> None:
        """Tell of another state, which was reached at about that moment."""
        names = {"key": watch.key, "task_id": watch.task_id}
        if before is not None and before.state.is_terminal:
            self._report(StateRegressed(state=before.state, answered=task.state, **names))
            return
        self._report(
            StateChanged(before=before.state if before else None, state=task.state, state_text=task.state_text, **names)
        )
        if not task.state.is_terminal:
            return
        if task.state is TaskState.SUCCESS and watch.idle_until is not None:
            low, high = watch.span_of_beginning or (watch.idle_until, watch.idle_until)
            self._policy.finished(watch.kind, max(0.0, at - (low + high) / 2))
        try:
            self._on_finished(watch, task)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("the end of task %s could not be noted", watch.task_id)
        seconds = None if watch.began is None else at - watch.began
        self._report(Finished(state=task.state, credits=task.credits, err_code=task.err_code, seconds=seconds, **names))

    # Beginning and ending

    async def aclose(self) -> None:
        """Stop looking for good; whoever still waits is told why."""
        self._is_closed = True
        await self._rounds.aclose()
        for watch in list(self._watches.values()):
            watch.failure = ConfigError(f"the client was closed while task {watch.task_id} was waited for; {_GOES_ON}")
            watch.failure.paid = "yes" if watch.vouched is not None else None
            watch.tell()

    def pause(self) -> None:
        """Start no more looks in this loop, which is ending; the next use goes on, in this loop or the next."""
        self._rounds.pause()

    def follow_loop(self) -> asyncio.AbstractEventLoop:
        """Start afresh in a new event loop: the old one's timer and clock are worth nothing there.

        Raises:
            ConfigError: the old loop is still running.

        """
        loop, old = asyncio.get_running_loop(), self._rounds.loop
        if loop is old:
            return loop
        if old is not None and old.is_running():
            raise ConfigError("this client is in use by another running event loop; make one client for each loop")
        kept = list(self._watches.values())  # before the agendas go, which may be all that holds them
        self._rounds.begin(loop)
        self._rung.clear()
        self._listing.rebase()
        for watch in kept:
            watch.rebase(loop.time())
            self._schedule(watch)
        return loop

    def _now(self) -> float:
        return self.follow_loop().time()

    # When to look

    def _schedule(self, watch: Watch) -> None:
        """Enter a task for its next look, if it is wanted and has not been."""
        now = self._now()
        if not watch.is_scheduled and watch.is_wanted:
            self._enter(watch, now, len(self._rounds))

    def _enter(self, watch: Watch, now: float, crowd: int) -> None:
        """Enter a task for its next look: at once if nothing is known, else an interval after the last."""
        interval = self._interval(watch)
        if watch.is_rung_for and not watch.troubles:
            due = max(now, watch.rung_at)
        elif watch.claimed is not None or watch.is_asked_at_once or watch.looked is None:
            due = self._rounds.next_turn(now)
        else:
            due = max(now, watch.looked + interval + self._put_apart(watch, interval, crowd))
        self._rounds.enter(watch, due, alone=watch.is_alone(now, crowd))

    def _put_apart(self, watch: Watch, interval: float, crowd: int) -> float:
        """Return seconds to add to an interval, so that a crowd does not stay together."""
        self._phase = (self._phase + _GOLDEN) % 1.0
        share = _JITTER if watch.has_been_looked_at else 1.0
        return self._phase * share * min(_SPREAD, 2 * interval) * min(1.0, crowd / _CROWD)

    def _interval(self, watch: Watch) -> float:
        interval = self._policy.interval(watch.waiting)
        if watch.retry_in is not None:
            return min(interval, watch.retry_in)
        return min(interval, _EMPTY_PAUSE) if watch.empty_looks else interval

    async def _ask(self, watches: list[Watch]) -> None:
        """Look at some tasks with one request, and enter again those that are still wanted."""
        try:
            await self._looks.look(watches)
        except asyncio.CancelledError:
            for watch in watches:  # The loop is ending; kept for the next one, since nobody else may hold them.
                self._rounds.enter(watch, 0.0)
            raise
        now, crowd = self._now(), len(self._rounds) + len(watches)
        for watch in watches:
            watch.is_scheduled, watch.has_been_looked_at = False, True
            if watch.began is not None and now > watch.began + watch.patience:
                watch.let_go()
            if watch.is_wanted:
                self._enter(watch, now, crowd)
