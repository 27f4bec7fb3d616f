"""What is due to be told to a `callback_url`, what goes wrong with it by lot, and what became of it. No HTTP.

https://platform.vidu.com/docs/callback-signature says what is told and how often it is tried.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from attrs import define, evolve, field, frozen
from attrs.validators import optional

from vidu_async.testing import checks
from vidu_async.testing.account import Task

_TOLD: Final = frozenset({"processing", "success", "failed"})
_ENDS: Final = frozenset({"success", "failed"})
_DRAWN: Final = "drawn to be dropped"


@frozen(kw_only=True)
class Callbacks:
    """How the service calls back, and what goes wrong with it. Times are in seconds, shares go from 0 to 1.

    `Callbacks(drops=0.1, repeats=1, reorders=0.5)`

    How it is done, of which Vidu's pages say only that an end is tried three times:

    - `key` signs; None is the simulator's `api_key`. A reseller's tasks are signed with a key that its customers lack.
    - `tries`: how often an end, `success` or `failed`, is posted in all until a 2xx comes. `processing` is posted once.
    - `pause` between two tries, `timeout` of each.
    - `route`: a function from a `callback_url` to the URL that is posted to, as of a proxy that rewrites paths. What is
      signed is the `callback_url`. Nothing is ever posted to another machine.

    What goes wrong:

    - `drops`: the share of callbacks that are never sent.
    - `repeats`: how many times more each is sent, to be dropped or not on its own.
    - `same_headers=True`: repeats and further tries bear the very headers of the first, its date and its nonce, too.
      Otherwise each is signed anew.
    - `reorders`: the share of tasks whose `processing` is told after their end.
    - `delay` from a change to its callback.
    - `before_answer=True`: a creation with a `callback_url` is answered only when the task has ended, and that has been
      told: the callbacks come before the answer does.

    Raises ValueError for what cannot be.
    """

    key: str | None = field(default=None, repr=False, validator=optional(checks.a(str, "text")))
    tries: int = field(default=3, validator=checks.whole(1))
    pause: float = field(default=0.05, validator=checks.seconds)
    timeout: float = field(default=2.0, validator=checks.above_zero)
    route: Callable[[str], str] | None = field(default=None, validator=optional(checks.function))
    drops: float = field(default=0.0, validator=checks.share)
    repeats: int = field(default=0, validator=checks.whole())
    same_headers: bool = field(default=False, validator=checks.a(bool, "True or False"))
    reorders: float = field(default=0.0, validator=checks.share)
    delay: float = field(default=0.0, validator=checks.seconds)
    before_answer: bool = field(default=False, validator=checks.a(bool, "True or False"))

    def tries_of(self, state: str) -> int:
        """How often the change to a state is posted at most."""
        return self.tries if state in _ENDS else 1


@frozen(kw_only=True)
class Delivery:
    """What became of one callback."""

    task_id: str
    state: str
    """"processing", "success" or "failed"."""
    url: str
    """The `callback_url`, whatever `Callbacks.route` made of it."""
    statuses: tuple[int | None, ...] = ()
    """What each try was answered, None where no answer came."""
    unsent: str = ""
    """Why it was never posted; "" if it was."""

    @property
    def tries(self) -> int:
        """How often it was posted."""
        return len(self.statuses)

    @property
    def dropped(self) -> bool:
        """Whether it was never posted."""
        return self.unsent != ""

    @property
    def delivered(self) -> bool:
        """Whether its receiver took it, with a 2xx."""
        return bool(self.statuses) and is_taken(self.statuses[-1])


def is_taken(status: int | None) -> bool:
    """Whether a receiver's answer ends the tries."""
    return status is not None and status // 100 == 2  # noqa: PLR2004 - as HTTP counts


@frozen(kw_only=True)
class Change:
    """A callback that is due: what a task has come to, and when, in Unix seconds."""

    task_id: str
    state: str
    url: str
    body: bytes = field(repr=False)
    at: float
    unsent: str

    def became(self, statuses: tuple[int | None, ...], unsent: str) -> Delivery:
        """Return the record of it."""
        return Delivery(task_id=self.task_id, state=self.state, url=self.url, statuses=statuses, unsent=unsent)


def _nobody() -> None:
    return None


@define(kw_only=True, eq=False)
class Outgoing:
    """The callbacks that are due. Whoever tells it or takes from it holds the lock of the account."""

    callbacks: Callbacks = field(validator=checks.a(Callbacks, "a Callbacks"))
    chance: Random = field(repr=False)
    ring: Callable[[], None] = field(default=_nobody, repr=False)
    """Called from whichever thread when there is something new: a callback, or a task that will have one."""
    unended: set[str] = field(factory=set, init=False, repr=False)
    """The ids of tasks whose end is still to be taken."""
    deliveries: list[Delivery] = field(factory=list, init=False, repr=False)
    """What became of them, in the order in which that was known."""
    _due: list[Change] = field(factory=list, init=False, repr=False)
    _late: dict[str, list[Change]] = field(factory=dict, init=False, repr=False)
    """What is told of a task after its end."""

    def note(self, task: Task, at: float, body: Callable[[], dict[str, Any]]) -> None:
        """Take up a task that was created, or that has changed at `at`; `body` is what a query would be told."""
        url = task.request.get("callback_url")
        if not url:
            return
        self.unended |= {task.id} if task.state == "created" else set()
        if task.state in _TOLD:
            self._plan(task, at, url, json.dumps(body()).encode())
        self.ring()

    def _plan(self, task: Task, at: float, url: str, body: bytes) -> None:
        """Draw the lots, the same number each time, and line up the callback and its repeats."""
        is_late = self._draws(self.callbacks.reorders)
        unsent = [_DRAWN if self._draws(self.callbacks.drops) else "" for _ in range(1 + self.callbacks.repeats)]
        changes = [Change(task_id=task.id, state=task.state, url=url, body=body, at=at, unsent=why) for why in unsent]
        if is_late and not task.is_terminal:
            self._late[task.id] = changes
            return
        self._due += changes
        if task.is_terminal:
            self._due += self._late.pop(task.id, [])

    def _draws(self, share: float) -> bool:
        return self.chance.random() < share

    def take(self) -> list[Change]:
        """Return what is due, in order, and forget it."""
        due, self._due = self._due, []
        self.unended -= {change.task_id for change in due if change.state in _ENDS}
        return due

    def silence(self) -> None:
        """Ring nobody: what comes is kept."""
        self.ring = _nobody


def posing(task: Task | None, state: str) -> Task:
    """Return a task with a `callback_url` as it would be in another state."""
    checks.known("state", state, sorted(_TOLD))
    if task is None or not task.request.get("callback_url"):
        raise ValueError("task_id must be that of a task with a callback_url")
    is_failed = state == "failed"
    err_code = (task.err_code or "CreationPolicyViolation") if is_failed else ""
    return evolve(task, state=state, err_code=err_code, credits=0 if is_failed else task.credits)
