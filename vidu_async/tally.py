"""What is under way and what has come of it, counted from a client's events: for whoever draws progress.

No clock and no I/O. Of each submission something is remembered only while it is under way, so that a hundred thousand
items take no more memory than those that are under way at once, and each event costs the same.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from vidu_async.events import (
    Accepted,
    BatchSized,
    Downloaded,
    Downloading,
    Finished,
    ItemEnded,
    ItemLeft,
    ItemTaken,
    StateChanged,
    SubmissionFailed,
    Submitted,
)
from vidu_async.pace import Pace
from vidu_async.protocol.models import TaskState

if TYPE_CHECKING:
    from vidu_async.events import Event

_REASONS = 50
"""Reasons told apart; a gateway may make up as many as it likes."""
_FAILURES = 3
"""The latest ones that are kept."""
_STALLED = 120.0
"""Seconds without a byte after which a download is no longer shown: it has failed, which no event tells."""
_SUBJECTS = "subjects"
"""The endpoint of stored subjects, which are no tasks: nothing tells of their end."""


class Stage(StrEnum):
    """How far something under way has come, in the words that are shown."""

    WAITING = "waiting"
    """To be submitted."""
    QUEUEING = "queueing"
    PROCESSING = "processing"
    DOWNLOADING = "downloading"


_STAGES = {
    TaskState.CREATED: Stage.QUEUEING,
    TaskState.QUEUEING: Stage.QUEUEING,
    TaskState.PROCESSING: Stage.PROCESSING,
}


@frozen
class Transfer:
    """A result on its way to the disk."""

    key: str
    """The name of its submission, "" if it is not known any more."""
    received: int
    """Bytes so far."""
    size: int | None
    """Bytes of all, if the server says so."""
    at: float
    """When a piece came last."""


@define(eq=False)
class _Course:
    """A submission under way: of some items of a batch (two may share a key), or of a caller, or of both."""

    stage: Stage
    items: int = 0
    is_single: bool = False
    """Whether it is, or also is, somebody's outside a batch: then it ends with its task."""
    task_id: str = ""
    credits: int | None = 0
    """What it is taken to cost by now; None is an unknown price."""
    is_seen: bool = False
    """Whether work on it was seen. What an earlier run had finished, or what is refused at once, ends without."""

    @property
    def weight(self) -> int:
        return self.items + self.is_single


@define(eq=False)
class Tally:
    """Counts what the events of a client tell: `tally(event, now)`, in seconds of a clock that never goes back.

    It counts the items of batches, and what is submitted, waited for and downloaded without one. At any moment `taken`
    is `ended` and all that is `under_way`. `items` is how many there will be, None if nobody knows.
    """

    _total: int | None = field(default=None, alias="items")
    """What the caller says."""
    _sized: int | None = field(default=None, init=False)
    """What batches say."""
    began: float | None = field(default=None, init=False)
    """When the first event came."""
    taken: int = field(default=0, init=False)
    """Items that were begun with."""
    under_way: dict[Stage, int] = field(factory=lambda: dict.fromkeys(Stage, 0), init=False)
    """Items by how far they are."""
    succeeded: int = field(default=0, init=False)
    failed: dict[str, int] = field(factory=dict, init=False)
    """Items by the reason why there is no result."""
    failures: deque[ItemEnded] = field(factory=lambda: deque(maxlen=_FAILURES), init=False)
    """The latest, with those that may be paid."""
    unknown: int = field(default=0, init=False)
    """Items that may be paid."""
    recalled: int = field(default=0, init=False)
    """Of those that ended: how many an earlier run, or another process, had submitted."""
    spent: int = field(default=0, init=False)
    """Credits of all tasks but the failed, which cost nothing; without what may be paid."""
    unpriced: int = field(default=0, init=False)
    """Tasks of which the server has not said what they cost."""
    saved: int = field(default=0, init=False)
    """Files on the disk."""
    saved_bytes: int = field(default=0, init=False)
    transfers: dict[str, Transfer] = field(factory=dict, init=False)
    """Downloads by task, the one longest without news first. A small file comes in one piece, and is not among them."""
    _courses: dict[str, _Course] = field(factory=dict, init=False)
    """By key; by task or place where there is none."""
    _keys: dict[str, str] = field(factory=dict, init=False)
    """The names of courses by task."""
    _pace: Pace = field(factory=Pace, init=False)

    @property
    def items(self) -> int | None:
        """How many there will be in all, None if nobody knows."""
        known = self._sized if self._total is None else self._total
        return None if known is None else max(known, self.taken)

    @property
    def ended(self) -> int:
        """Items that ended, well or not."""
        return self.succeeded + self.unknown + sum(self.failed.values())

    def rate(self, now: float) -> float:
        """Return how many items end per minute, lately. What ends at once, as what an earlier run made, is left out."""
        return self._pace.a_minute(now)

    def eta(self, now: float) -> float | None:
        """Return the seconds until all will have ended, at the present rate; None if nothing tells."""
        rate, items = self.rate(now), self.items
        if items is None or (not rate and items > self.ended):
            return None
        return 60 * (items - self.ended) / rate if items > self.ended else 0.0

    def elapsed(self, now: float) -> float:
        """Return the seconds since the first event."""
        return 0.0 if self.began is None else now - self.began

    def __call__(self, event: Event, now: float) -> ItemEnded | Downloaded | None:  # noqa: C901 - a table of events
        """Take in an event; return what ended with it, and that a file outside a batch is on the disk.

        The end of a task that is no batch's item is told in the words of one.
        """
        if self.began is None:
            self.began = now
        match event:
            case BatchSized():
                self._sized = (self._sized or 0) + event.items
            case ItemTaken():
                self._take(event)
            case Submitted() | Accepted() | StateChanged():
                self._went_on(event, now)
            case SubmissionFailed():
                return self._came_to_nothing(event, now)
            case ItemLeft():
                self._left(event)
            case Finished():
                return self._finished(event, now)
            case Downloading():
                self._downloading(event, now)
            case Downloaded():
                return self._downloaded(event)
            case ItemEnded():
                return self._item_ended(event, now)
        return None

    # Following

    def _went_on(self, event: Submitted | Accepted | StateChanged, now: float) -> None:
        if isinstance(event, Submitted) and event.endpoint == _SUBJECTS:
            return
        if isinstance(event, StateChanged) and event.state.is_terminal:
            return  # `Finished` tells more
        course = self._course(event)
        course.is_seen = True
        self._pace.begin(now)
        if isinstance(event, Accepted):
            self._book(course, event.credits)
        if isinstance(event, StateChanged):
            self._move(course, _STAGES.get(event.state, course.stage))
        else:
            self._move(course, Stage.WAITING if isinstance(event, Submitted) else Stage.QUEUEING)

    def _name(self, event: Event) -> str:
        if event.key and event.task_id != event.key:
            self._forget(event.task_id)
        return event.key or self._keys.get(event.task_id, event.task_id) or getattr(event, "place", "")

    def _forget(self, name: str) -> None:
        """Count no longer what was heard of under its task's name alone: it is told of under its key now."""
        course = self._courses.get(name)
        if course and not course.items:
            del self._courses[name]
            self._book(course, 0)
            self.taken -= course.weight
            self.under_way[course.stage] -= course.weight
            self._keys.pop(name, None)

    def _course(self, event: Event) -> _Course:
        """Return what an event is about; what was never heard of is a single one."""
        name = self._name(event)
        course = self._courses.get(name)
        if course is None:
            course = self._courses[name] = _Course(Stage.WAITING, is_single=True)
            self._begin(course)
        if event.task_id and event.task_id != course.task_id:
            self._keys.pop(course.task_id, None)
            course.task_id = event.task_id
            self._keys[event.task_id] = name
        return course

    def _begin(self, course: _Course) -> None:
        self.taken += 1
        self.under_way[course.stage] += 1

    def _take(self, event: ItemTaken | ItemEnded) -> _Course:
        course = self._courses.setdefault(self._name(event), _Course(Stage.WAITING))
        course.items += 1
        self._begin(course)
        return course

    def _move(self, course: _Course, stage: Stage) -> None:
        self.under_way[course.stage] -= course.weight
        self.under_way[stage] += course.weight
        course.stage = stage

    def _book(self, course: _Course, cost: int | None) -> None:
        """Take note of what something costs, in place of what it was taken to cost before."""
        self.spent += (cost or 0) - (course.credits or 0)
        self.unpriced += (cost is None) - (course.credits is None)
        course.credits = cost

    # Ending

    def _left(self, event: ItemLeft) -> None:
        """Count an item no longer that was begun with in vain."""
        name = self._name(event)
        if (course := self._courses.get(name)) and course.items:
            course.items -= 1
            self.taken -= 1
            self.under_way[course.stage] -= 1
            self._drop_if_over(name, course)

    def _came_to_nothing(self, event: SubmissionFailed, now: float) -> ItemEnded | None:
        """A submission outside a batch has ended; a batch tells by itself what it makes of it."""
        name = self._name(event)
        course = self._courses.get(name)
        if course is None or not course.is_single:
            return None
        ended = ItemEnded(key=event.key, reason=event.reason, error=event.error, paid=event.paid, credits=0)
        self._count(course, ended, now)
        course.is_single = False
        self._drop_if_over(name, course)
        return ended

    def _finished(self, event: Finished, now: float) -> ItemEnded | None:
        """A task ended: the item of a batch is then saved, or made again, anything else has ended with it."""
        course, is_success = self._course(event), event.state is TaskState.SUCCESS
        known = course.credits if event.credits is None else event.credits
        self._book(course, known if is_success else 0)
        ended = None
        if course.is_single:
            reason = "" if is_success else event.err_code or event.state.value
            ended = ItemEnded(
                key=event.key,
                task_id=event.task_id,
                reason=reason,
                paid="" if is_success else "no",
                credits=course.credits,
            )
            self._count(course, ended, now)
            course.is_single = False
        self._move(course, Stage.DOWNLOADING if is_success else Stage.WAITING)
        self._drop_if_over(self._name(event), course)
        return ended

    def _item_ended(self, event: ItemEnded, now: float) -> ItemEnded:
        name = self._name(event)
        course = self._courses.get(name)
        if course is None or not course.items:
            course = self._take(event)
        is_known = event.paid != "maybe" and (event.credits is not None or event.task_id)
        self._book(course, event.credits if is_known else 0)
        self._count(course, event, now)
        course.items -= 1
        self._drop_if_over(name, course)
        return event

    def _count(self, course: _Course, event: ItemEnded, now: float) -> None:
        self.under_way[course.stage] -= 1
        self.recalled += event.is_recalled
        if event.reason:
            self.failures.append(event)
        if event.paid == "maybe":
            self.unknown += 1
        elif event.reason:
            is_usual = event.reason in self.failed or len(self.failed) < _REASONS
            reason = event.reason if is_usual else "other reasons"
            self.failed[reason] = self.failed.get(reason, 0) + 1
        else:
            self.succeeded += 1
        if course.is_seen:
            self._pace.note(now)

    def _drop_if_over(self, name: str, course: _Course) -> None:
        if not course.weight:
            del self._courses[name]
            self._keys.pop(course.task_id, None)
            self.transfers.pop(course.task_id, None)

    # Saving

    def _downloading(self, event: Downloading, now: float) -> None:
        self.transfers.pop(event.task_id, None)
        key = self._keys.get(event.task_id, "")
        self.transfers[event.task_id] = Transfer(key, event.received, event.size, now)
        while (oldest := next(iter(self.transfers))) and self.transfers[oldest].at < now - _STALLED:
            del self.transfers[oldest]

    def _downloaded(self, event: Downloaded) -> Downloaded | None:
        self.saved += 1
        self.saved_bytes += event.size
        self.transfers.pop(event.task_id, None)
        return None if event.task_id in self._keys else event
