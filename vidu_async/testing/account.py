"""An organisation's account: credits, tasks, subjects, a ledger, and how tasks move on. No HTTP and no clock.

Time is an argument everywhere: Unix seconds, never earlier than in the call before. Between two calls nothing
runs; `advance` plays what would have happened meanwhile, moment by moment, in order.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from attrs import define, field, frozen
from attrs.validators import optional

from vidu_async.testing import checks
from vidu_async.testing.refusals import Refusal, refuse_unless
from vidu_async.testing.rules import Order

_log = logging.getLogger("vidu_async.testing")

SUBJECT_PRICE: Final = 5
_ID_STEP: Final = 1 << 20


@frozen
class Pace:
    """How long a task stays in each state, in seconds. Processing takes between the two ends of its range."""

    created: float = 0.010
    queueing: float = 0.010
    processing: tuple[float, float] = (0.060, 0.080)

    def scaled(self, factor: float) -> Pace:
        """Return the same pace `factor` times as slow."""
        shortest, longest = self.processing
        return Pace(self.created * factor, self.queueing * factor, (shortest * factor, longest * factor))


@frozen
class Entry:
    """One line of the ledger. `amount` in credits, negative when they were taken."""

    at: float
    amount: int
    subject: str
    """The id of the task or of the stored subject it is about."""
    reason: str
    """"task", "refund" or "subject"."""


@define(eq=False)
class Task:
    """One generation task, as the service knows it. Times are Unix seconds, None until they come."""

    id: str
    number: int
    """Grows from task to task, whatever the ids look like."""
    order: Order
    seed: int
    created_at: float
    work: float = field(repr=False)
    """Seconds of processing it will need."""
    credits: int
    """What it costs; 0 once refunded."""
    doom: str = field(default="", repr=False)
    """The err_code it will fail with, "" for success."""
    state: str = "created"
    err_code: str = ""
    started_at: float | None = None
    finished_at: float | None = None

    @property
    def endpoint(self) -> str:
        """The creation endpoint, "img2video" for example."""
        return self.order.endpoint

    @property
    def request(self) -> dict[str, Any]:
        """The body as received."""
        return self.order.request

    @property
    def model(self) -> str:
        """The model as received."""
        return self.order.model

    @property
    def payload(self) -> str:
        """The caller's pass-through text, "" if there was none."""
        return str(self.request.get("payload", ""))

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in {"success", "failed"}


@define(eq=False)
class StoredSubject:
    """A subject kept by the service, to be named in requests by its id."""

    id: str
    number: int
    request: dict[str, Any]


def _nobody(_task: Task) -> None:
    return None


def _success(_request: Mapping[str, Any]) -> str:
    return ""


@define(kw_only=True, eq=False)
class Account:
    """One organisation. `concurrency` tasks are processed at once, the others wait their turn.

    `new_id` makes the ids of tasks, which are numbers without it. `on_change` is told of each task at its creation
    and at each change of its state, in the order in which they happen: whoever has to know of changes listens there.
    What it raises is logged and stops nothing.
    """

    credits: int = field(validator=checks.whole())
    concurrency: int = field(validator=checks.whole(1))
    pace: Pace
    random: Random = field(repr=False)
    now: float
    new_id: Callable[[], str] | None = field(default=None, repr=False, validator=optional(checks.function))
    on_change: Callable[[Task], None] = field(default=_nobody, repr=False, validator=checks.function)
    opened_at: float = field(init=False)
    tasks: dict[str, Task] = field(factory=dict, repr=False)
    """By id, in the order of acceptance."""
    subjects: dict[str, StoredSubject] = field(factory=dict, repr=False)
    ledger: list[Entry] = field(factory=list, repr=False)
    _created: OrderedDict[str, Task] = field(factory=OrderedDict, init=False, repr=False)
    _queueing: OrderedDict[str, Task] = field(factory=OrderedDict, init=False, repr=False)
    _running: list[tuple[float, int, Task]] = field(factory=list, init=False, repr=False)
    _last_number: int = field(init=False, repr=False)

    @opened_at.default
    def _opened_now(self) -> float:
        return self.now

    def __attrs_post_init__(self) -> None:
        # Eighteen digits, above 2**53, another base in each run: an id kept from an earlier one is unknown.
        moment = int(self.now * 1_000_000) % 10**11
        self._last_number = 9 * 10**17 + moment * 10**5 + self.random.randrange(10**5)

    @property
    def charged(self) -> int:
        """Credits taken so far, refunds given back."""
        return -sum(entry.amount for entry in self.ledger)

    @property
    def running(self) -> int:
        """How many tasks are being processed."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many tasks have not started."""
        return len(self._created) + len(self._queueing)

    def submit(self, order: Order, now: float, doom: Callable[[Mapping[str, Any]], str] = _success) -> Task:
        """Take the price and append a task, which will fail with the err_code that `doom` gives for its request.

        Raises `Refusal` for too few credits or an unknown subject, ValueError for an id that is none, and whatever
        `new_id` and `doom` raise. Nothing is booked then.
        """
        self.advance(now)
        self._check_server_ids(order.request)
        refuse_unless(order.price <= self.credits, "CreditInsufficient", "credits are not enough")
        number = self._next_number()
        task = Task(
            id=self._id_of(number),
            number=number,
            order=order,
            seed=order.request.get("seed") or self.random.randrange(1, 2**31),
            created_at=self.now,
            work=self.random.uniform(*self.pace.processing),
            credits=order.price,
            doom=doom(order.request),
        )
        self.tasks[task.id] = self._created[task.id] = task
        self._book(-order.price, task.id, "task")
        self._tell(task)
        return task

    def _id_of(self, number: int) -> str:
        if self.new_id is None:
            return str(number)
        name: object = self.new_id()
        # A path cannot hold the others: clients leave out an empty segment, and walk along dots.
        if not isinstance(name, str) or name in {"", ".", ".."}:
            raise ValueError(f"new_id must return text that a path can hold, not {name!r}")
        if name in self.tasks:
            raise ValueError(f"new_id gave {name!r} a second time")
        return name

    def find(self, task_id: str, now: float) -> Task:
        """Return the task as it is at `now`. Raises `Refusal`."""
        self.advance(now)
        task = self.tasks.get(task_id)
        if task is None:
            raise Refusal("TaskNotFound", f"task {task_id} not found")
        return task

    def cancel(self, task_id: str, now: float) -> None:
        """Cancel a task that has not started, and refund it. Raises `Refusal` for any other."""
        task = self.find(task_id, now)
        if task.state not in {"created", "queueing"}:
            # Vidu's own word for a running task is found in no state it documents.
            state = "scheduled" if task.state == "processing" else task.state
            raise Refusal("BadRequest", f"task state is {state}, can not cancel")
        (self._created if task.state == "created" else self._queueing).pop(task.id)
        self._fail(task, "UserCancelled")

    def store(self, body: dict[str, Any], now: float) -> StoredSubject:
        """Take the price and keep a subject. Raises `Refusal` when there are too few credits."""
        self.advance(now)
        refuse_unless(self.credits >= SUBJECT_PRICE, "CreditInsufficient", "credits are not enough")
        number = self._next_number()
        subject = StoredSubject(str(number), number, body)
        self.subjects[subject.id] = subject
        self._book(-SUBJECT_PRICE, subject.id, "subject")
        return subject

    def advance(self, now: float) -> None:
        """Play everything that happens up to `now`."""
        while (moment := self.next_moment()) <= now:
            self.now = max(self.now, moment)
            self._step()
        self.now = max(self.now, now)

    def next_moment(self) -> float:
        """Return when the next task changes its state; infinity if none will."""
        moments = [math.inf]
        if self._created:
            moments.append(_first(self._created).created_at + self.pace.created)
        if self._running:
            moments.append(self._running[0][0])
        if self._queueing and len(self._running) < self.concurrency:
            ready_at = _first(self._queueing).created_at + self.pace.created + self.pace.queueing
            moments.append(max(ready_at, self.now))
        return min(moments)

    def _step(self) -> None:
        """Make the one change that is due now: into the queue before out of it, slots freed before taken."""
        if self._created and _first(self._created).created_at + self.pace.created <= self.now:
            _, task = self._created.popitem(last=False)
            self._queueing[task.id] = task
            self._enter(task, "queueing")
        elif self._running and self._running[0][0] <= self.now:
            self._finish(heapq.heappop(self._running)[2])
        else:
            _, task = self._queueing.popitem(last=False)
            task.started_at = self.now
            heapq.heappush(self._running, (self.now + task.work, task.number, task))
            self._enter(task, "processing")

    def _finish(self, task: Task) -> None:
        if task.doom:
            self._fail(task, task.doom)
        else:
            task.finished_at = self.now
            self._enter(task, "success")

    def _fail(self, task: Task, err_code: str) -> None:
        """Failed and cancelled generations cost nothing."""
        task.err_code, task.finished_at = err_code, self.now
        self._book(task.credits, task.id, "refund")
        task.credits = 0
        self._enter(task, "failed")

    def _enter(self, task: Task, state: str) -> None:
        task.state = state
        self._tell(task)

    def _tell(self, task: Task) -> None:
        try:
            self.on_change(task)
        except Exception:  # noqa: BLE001 - whatever a test's function raises
            # What has happened has happened: the answer must not be lost, nor the changes that follow.
            _log.exception("on_change failed for task %s, now %s", task.id, task.state)

    def _book(self, amount: int, subject: str, reason: str) -> None:
        self.credits += amount
        self.ledger.append(Entry(self.now, amount, subject, reason))

    def _next_number(self) -> int:
        self._last_number += self.random.randrange(1, _ID_STEP)
        return self._last_number

    def _check_server_ids(self, request: Mapping[str, Any]) -> None:
        for number, subject in enumerate(request.get("subjects", ())):
            known = subject.get("server_id", "") in {"", *self.subjects}
            refuse_unless(known, "FieldInvalid", f"subjects[{number}].server_id")


def _first(tasks: OrderedDict[str, Task]) -> Task:
    return next(iter(tasks.values()))
