"""What is known of one task far away. All handles of a task share its `Watch`; only the watcher changes it.

What is terminal stays terminal, whatever a later answer says. Times are `loop.time()`.
"""

from __future__ import annotations

import itertools
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from vidu_async.polling import Kind, Waiting
from vidu_async.protocol.models import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.protocol.errors import ViduError
    from vidu_async.protocol.models import Task

_log = logging.getLogger("vidu_async")

PATIENCE = 3600.0
"""Default deadline of a wait in seconds: tasks take minutes."""
OFF_PEAK_PATIENCE = 49 * 3600.0
"""The same once an answer says `off_peak`: those take up to 48 hours."""
_IDLE = (TaskState.CREATED, TaskState.QUEUEING)
_STATES_KEPT = 64
"""Distinct states kept of one task; Vidu has five."""
_TRUSTED = range(10, 101)
"""One look in so many does not trust the list, but asks about the task by itself: the fewer, the larger the crowd."""
_DOUBTERS = 4
"""Tasks of a crowd that do so at the same time, as long as the range above permits."""
_PHASES = itertools.cycle(range(_TRUSTED.stop))


class Onlooker(Protocol):
    """One who shows what is known of a task, and has nobody ask for more. What it is told must not raise."""

    def awaited(self) -> None:
        """Somebody has begun to wait."""

    def changed(self) -> None:
        """Something is new, or waiting was given up."""


@define(eq=False, weakref_slot=True)
class Watch:
    """What is known of one task, and who wants to know more."""

    task_id: str
    key: str = field(default="", init=False)
    """The name of its submission, where it was made here."""
    endpoint: str = field(default="", init=False)
    off_peak: bool = field(default=False, init=False)
    is_called_back: bool = field(default=False, init=False)
    """Whether a callback is still to come that tells of its end."""
    is_rung_for: bool = field(default=False, init=False)
    """Whether a callback has told of an end that nobody has looked at yet."""
    rung_at: float = field(default=0.0, init=False)
    """When it is looked at for that."""
    is_believed: bool = field(default=False, init=False)
    """Whether its end is known by a callback alone, which tells of no files."""
    task: Task | None = field(default=None, init=False)
    history: tuple[Task, ...] = field(default=(), init=False)
    """Answers that showed a new state, in order. Tuples, here and below: an empty one takes no memory."""
    failure: ViduError | None = field(default=None, init=False)
    """Why looking was given up; the next listener has it tried again."""
    trouble: ViduError | None = field(default=None, init=False)
    """Why the last look brought nothing, if it did not."""
    troubles: int = field(default=0, init=False)
    """Looks in a row that brought nothing."""
    retry_in: float | None = field(default=None, init=False)
    """Seconds after which that is made good, if sooner than usual."""
    listeners: tuple[Callable[[], None], ...] = field(default=(), init=False)
    onlookers: tuple[Onlooker, ...] = field(default=(), init=False)
    releases: tuple[Callable[[], None], ...] = field(default=(), init=False)
    """What to call at the end even if nobody listens."""
    began: float | None = field(default=None, init=False)
    """When it was first asked about or heard of."""
    looked: float | None = field(default=None, init=False)
    """When it was last asked about or heard of."""
    vouched: float | None = field(default=None, init=False)
    """When something last proved that the task exists."""
    idle_until: float | None = field(default=None, init=False)
    """When it was last seen not yet processed; None if it never was."""
    running_by: float | None = field(default=None, init=False)
    """When it was first seen being processed."""
    empty_looks: int = field(default=0, init=False)
    """Looks that showed a success without its files."""
    is_unread: bool = field(default=False, init=False)
    """Whether it was paid for, is in no journal's file, and nobody has read its name yet or waited for it."""
    early: Task | None = field(default=None, init=False)
    """A success whose files have not come yet: it ends no wait, and what it says is kept."""
    claimed: TaskState | None = field(default=None, init=False)
    """How it ended by the list's account. Only its own answer counts, so it is asked for."""
    is_scheduled: bool = field(default=False, init=False)
    entry: int = field(default=-1, init=False)
    """The number of its latest entry in an agenda: only that counts."""
    is_asked_at_once: bool = field(default=False, init=False)
    """Whether what the list said of it is to be found out now."""
    has_been_looked_at: bool = field(default=False, init=False)
    turns: int = field(factory=lambda: next(_PHASES), init=False)
    """Looks so far; begins anywhere, lest all distrust the list together."""
    is_listed: bool = field(default=False, init=False)
    """Whether the latest look was one through the list."""
    unlisted_until: float = field(default=0.0, init=False)
    """Until when it is not looked for in the list, which did not have it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be learned."""
        return self.task is not None and self.task.state.is_terminal

    @property
    def is_wanted(self) -> bool:
        """Whether anybody wants to know, or a callback says that there is something to know."""
        return not self.is_over and bool(self.listeners or self.releases or self.is_rung_for)

    @property
    def patience(self) -> float:
        """The default deadline of a wait, in seconds."""
        return OFF_PEAK_PATIENCE if self.off_peak else PATIENCE

    @property
    def kind(self) -> Kind:
        """What tells how long it may take."""
        task = self.task
        if task is None:
            return _kind(self.endpoint, "", "", None)
        return _kind(self.endpoint or task.type or "", task.model or "", task.resolution or "", task.duration)

    @property
    def waiting(self) -> Waiting:
        """What a polling policy is told."""
        began, looked, span = self.began or 0.0, self.looked or 0.0, self.span_of_beginning
        low, high = span or (looked, looked)
        return Waiting(
            self.kind,
            self.task.state if self.task else None,
            max(0.0, looked - began),
            None if span is None else max(0.0, looked - (low + high) / 2),
            (high - low) / 2,
            self.off_peak,
            self.is_called_back,
        )

    def is_alone(self, now: float, crowd: int) -> bool:
        """Whether it has to be asked about by itself: for its result, or since the list may not know.

        Whether the list is stale a few out of a crowd find out for all.
        """
        is_due = self.is_listed and self.turns % min(_TRUSTED[-1], max(_TRUSTED[0], crowd // _DOUBTERS)) == 0
        is_told = self.is_asked_at_once or self.is_rung_for or bool(self.empty_looks)
        return is_told or now < self.unlisted_until or is_due

    @property
    def span_of_beginning(self) -> tuple[float, float] | None:
        """The moments between which its processing began; None if it has not, or had before anybody looked."""
        if self.running_by is None or self.idle_until is None:
            return None
        return self.idle_until, self.running_by

    def mark(self, now: float) -> float:
        """Note that it is asked about or heard of now."""
        self.looked = now
        if self.began is None:
            self.began = now
        return now

    def learn(self, task: Task) -> bool:
        """Take in an answer; return whether it is news to those who wait."""
        if self.task is not None and task.body == self.task.body and task.state is self.task.state:
            return False
        if self.is_over and (self.task is None or task.state is not self.task.state):
            return False  # a later answer of the same end may still bring fresh links
        self.task, self.early = task.over(self.early or self.task), None
        is_news = task.off_peak is True and not self.off_peak
        self.off_peak = self.off_peak or is_news
        if all((seen.state, seen.state_text) != (task.state, task.state_text) for seen in self.history):
            is_news = True
            if len(self.history) < _STATES_KEPT or self.is_over:
                self.history = (*self.history, self.task)
        elif self.is_over:
            self.history = (*self.history[:-1], self.task)
        return is_news

    def note_stage(self, state: TaskState, now: float) -> None:
        """Note whether it was being processed at a moment."""
        if state in _IDLE:
            self.idle_until, self.running_by = now, None
        elif state is TaskState.PROCESSING and self.running_by is None:
            self.running_by = now

    def note_beginning(self, now: float) -> bool:
        """Note that it began to be processed at a moment, unless that is known; return whether that is news."""
        if self.is_over or self.running_by is not None:
            return False
        self.idle_until = self.running_by = self.mark(now)
        return True

    def rebase(self, now: float) -> None:
        """Forget all moments of another event loop's clock."""
        self.looked = self.idle_until = self.running_by = None
        self.unlisted_until, self.is_scheduled, self.rung_at = 0.0, False, 0.0
        self.entry = -1
        self.began = None if self.began is None else now
        self.vouched = None if self.vouched is None else now

    def forget(self, listener: Callable[[], None]) -> None:
        """Call a listener no more."""
        if listener in self.listeners:
            place = self.listeners.index(listener)
            self.listeners = self.listeners[:place] + self.listeners[place + 1 :]

    def tell(self) -> None:
        """Call everybody who listens, and whoever holds a place for the task if it will not come back."""
        for onlooker in self.onlookers:  # first: who listens may end what shows it
            onlooker.changed()
        for listener in self.listeners:
            try:
                listener()
            except RuntimeError:  # its event loop was closed, and it with it
                self.forget(listener)
        if self.is_over or self.failure:
            self.let_go()

    def let_go(self) -> None:
        """Give back the places held for the task, once, and look no more for whoever does not wait."""
        self.is_rung_for = False
        while self.releases:
            release, *rest = self.releases
            self.releases = tuple(rest)
            try:
                release()
            except Exception:  # noqa: BLE001 - logged with its traceback
                _log.exception("a place held for task %s could not be given back", self.task_id)


@define(eq=False)
class Listening:
    """A listener and what it listens to; called, it ends. It is small: ten thousand may wait."""

    _watch: Watch
    _listener: Callable[[], None]

    def __call__(self) -> None:
        """Listen no more."""
        self._watch.forget(self._listener)


@lru_cache(maxsize=256)
def _kind(endpoint: str, model: str, resolution: str, duration: float | None) -> Kind:
    return Kind(endpoint, model, resolution, duration)  # one for all tasks of a kind
