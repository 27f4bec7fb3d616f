"""The rate-limiting semaphore: who may submit now, in the order of asking.

One queue guards three bounds: creation requests at once, tasks in flight until they end, submissions per second. The
user's `Limits` are upper ends. Below them the server is followed: a `Level` for the requests at once and one for the
tasks in flight remember what it took when it last answered 429. A `Permit` stands for one submission; it gives back its
two places one after the other, each exactly once. Time is `loop.time()`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from attrs import define, field, frozen

from vidu_async.level import Level
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError, LimiterFullError

if TYPE_CHECKING:
    from collections.abc import Callable

_SPARE = 64
"""Tickets of those who have left that may lie about, beside as many as there are waiting."""


@frozen
class Limits:
    """How much at once. None is no bound.

    Vidu runs 5 tasks at once by default and queues the rest, so `in_flight` is for those who want to hold back more
    than that. https://platform.vidu.com/docs/usage-and-limits

    These are upper bounds: when the server answers 429 the limiter finds out by itself how much it lets in.

    Args:
        submissions: creation requests being sent.
        in_flight: tasks submitted and not yet finished.
        rate: submissions per second.
        queue: submissions waiting for the above; one more raises `LimiterFullError`.
        downloads: results being fetched, by each client.

    """

    submissions: int = 8
    in_flight: int | None = None
    rate: float | None = None
    queue: int | None = None
    downloads: int = 16

    def __attrs_post_init__(self) -> None:
        for name, least in (("submissions", 1), ("in_flight", 1), ("queue", 0), ("downloads", 1)):
            value = getattr(self, name)
            if value is None and name not in {"submissions", "downloads"}:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"Limits({name}=) must be a whole number from {least}, not {value!r}")
        if self.rate is not None and not is_positive(self.rate):
            raise ConfigError(f"Limits(rate=) must be a positive number of submissions a second, not {self.rate!r}")


class Follower(Protocol):
    """Whoever can tell when a task ends: its handle."""

    def _at_end(self, release: Callable[[], None]) -> None: ...


@define(eq=False)
class Permit:
    """Leave to submit once. It is told how that went, and gives back each of its two places once."""

    ticket: int
    """Its submission's place in the order of asking."""
    asked: float
    """When it was given."""
    at_once: int
    """How many requests were on their way then, its own included."""
    in_flight: int
    """How many tasks were, its own included."""
    _limiter: Limiter
    _is_sending: bool = True
    _is_in_flight: bool = True

    def accepted(self) -> None:
        """Say that the server took it, and give back the place among the requests at once."""
        if self._is_sending:
            self._limiter._accepted(self)  # noqa: SLF001 - one thing in two classes
            self.sent()

    def sent(self) -> None:
        """Give back the place among the requests at once."""
        if self._is_sending:
            self._is_sending = False
            self._limiter._sent(self)  # noqa: SLF001

    def release(self) -> None:
        """Give back both places."""
        self.sent()
        if self._is_in_flight:
            self._is_in_flight = False
            self._limiter._landed()  # noqa: SLF001

    def follow(self, handle: Follower) -> None:
        """Keep the place in flight until the task ends.

        If the user bounds the tasks in flight the end is looked for even if nobody waits for it; else it is only
        remembered whom to ask, for when somebody waits for the place.
        """
        if self._limiter.limits.in_flight is not None:
            handle._at_end(self.release)  # noqa: SLF001 - not for users
        else:
            self._limiter._loose.add(handle)  # noqa: SLF001
            self.release()


@define(eq=False)
class Limiter:
    """Hands out permits within `Limits`, and within what the server lets in. Clients of one event loop may share it."""

    limits: Limits = field(factory=Limits)
    _out: dict[Permit, None] = field(factory=dict, init=False)
    """Those whose request is on its way."""
    _held: int = field(default=0, init=False)
    """Places in flight that will be given back."""
    _loose: WeakSet[Follower] = field(factory=WeakSet, init=False)
    """Tasks for whose places nobody has waited yet: in flight, as far as is known and anybody still cares."""
    _at_once: Level = field(factory=Level, init=False)
    _tasks: Level = field(factory=Level, init=False)
    _queue: dict[int, asyncio.Future[Permit]] = field(factory=dict, init=False)
    """Who waits, by ticket."""
    _order: list[int] = field(factory=list, init=False)
    """A heap of their tickets, and of some who have left."""
    _tickets: itertools.count[int] = field(factory=itertools.count, init=False)
    _next_start: float = field(default=0.0, init=False)
    """The rate as one number: when the next submission may start."""
    _late: float = field(default=0.0, init=False)
    """By how much the timer was late, which must not slow the rate down."""
    _opens: float = field(default=0.0, init=False)
    """When the gate opens again that a server's 429 closed for all."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _timer_at: float = field(default=math.inf, init=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.limits, Limits):
            raise ConfigError(f"Limiter() takes Limits(...), not {self.limits!r}")

    def __repr__(self) -> str:
        found = "".join(
            f" at most {level.most} {what}"
            for level, what in ((self._at_once, "sending"), (self._tasks, "in flight"))
            if level.most < math.inf
        )
        return f"<Limiter sending={len(self._out)} in_flight={self._in_flight} waiting={self.waiting}{found}>"

    @property
    def waiting(self) -> int:
        """How many submissions wait for a permit."""
        return sum(not waiter.done() for waiter in self._queue.values())

    @property
    def _in_flight(self) -> int:
        """How many tasks were submitted, or are just being, and have not ended as far as is known."""
        return self._held + len(self._loose)

    async def acquire(self, before: Permit | None = None) -> Permit:
        """Wait for a permit; `before` is the last one of a submission that comes again, and is given back.

        Raises:
            LimiterFullError: `Limits.queue` submissions are waiting already.

        """
        loop = self._follow_loop()
        if before is None:
            self._check_queue(loop.time())
        ticket = next(self._tickets) if before is None else before.ticket
        waiter: asyncio.Future[Permit] = loop.create_future()
        self._queue[ticket] = waiter
        heapq.heappush(self._order, ticket)
        try:
            if before is not None:
                before.release()  # only now, lest somebody younger is let in first
            self._hand_out()
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():  # granted in the same moment
                self._next_start -= self._interval
                waiter.result().release()
            self._leave(ticket)
            self._hand_out()
            raise

    def _leave(self, ticket: int) -> None:
        self._queue.pop(ticket, None)
        if len(self._order) > 2 * len(self._queue) + _SPARE:
            self._order = sorted(self._queue)

    def _check_queue(self, now: float) -> None:
        most = self.limits.queue
        if most is None or len(self._queue) < most or (waiting := self.waiting) < most:
            return
        if waiting or self._opens_at(now) > now:
            raise LimiterFullError(f"{waiting} submissions are waiting already, Limits(queue={most})")

    def close_for(self, seconds: float) -> None:
        """Hand out nothing for a while: the server asked everybody to come back later."""
        self._opens = max(self._opens, self._follow_loop().time() + seconds)

    def refused(self, permit: Permit, *, is_quota: bool) -> int:
        """Take note of a 429; return how many tasks are in flight whose end makes room, as far as is known."""
        now = self._follow_loop().time()
        if not is_quota:
            self._at_once.refused(max(permit.at_once, len(self._out)) - 1, permit.asked, now)
            return 0
        known = self._in_flight
        self._take_in()
        ended, there = known - self._in_flight, self._in_flight - len(self._out)
        # Those who ended while the answer was on its way were there when it was given.
        self._tasks.refused(max(permit.in_flight - 1 - ended, there), permit.asked, now)
        return there

    def _take_in(self) -> None:
        """Somebody waits for a task to end: have all of them looked at from now on, and leave out those that have."""
        while self._loose:
            handle = self._loose.pop()
            self._held += 1
            try:
                handle._at_end(self._landed)  # noqa: SLF001 - not for users
            except ConfigError:  # its client has gone to another event loop, and cannot tell
                self._held -= 1

    def _accepted(self, permit: Permit) -> None:
        self._at_once.accepted(permit.at_once, permit.asked)
        self._tasks.accepted(permit.in_flight, permit.asked)

    def _sent(self, permit: Permit) -> None:
        self._out.pop(permit, None)
        self._hand_out()

    def _landed(self) -> None:
        self._held -= 1
        self._hand_out()

    @property
    def _interval(self) -> float:
        """Seconds from one start to the next."""
        return 0.0 if self.limits.rate is None else 1 / self.limits.rate

    def _follow_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return loop
        if self._loop is not None and self._loop.is_running():
            raise ConfigError("a Limiter serves one event loop at a time; make one for each loop")
        if self._loop is not None:
            self._move_from(self._loop)
        self._loop, self._next_start, self._opens = loop, 0.0, 0.0
        for level in (self._at_once, self._tasks):
            level.restart(loop.time())
        return loop

    def _move_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of those who waited in an earlier loop, and if it will not go on of what they were sending."""
        self._wake_at(math.inf)
        waiters, self._queue, self._order = self._queue, {}, []
        if loop.is_closed():
            for permit in list(self._out):
                permit.release()
        else:
            for waiter in waiters.values():
                waiter.cancel()

    def _opens_at(self, now: float) -> float:
        """Return when the next submission may start, if nothing is given back until then."""
        sending = len(self._out)
        if sending >= self.limits.submissions:
            return math.inf
        in_flight = self._in_flight
        if in_flight >= (self.limits.in_flight or math.inf) or (
            sending and (self._at_once.is_doubtful or self._tasks.is_doubtful)
        ):
            return math.inf
        return max(
            now, self._opens, self._next_start, self._at_once.opens(sending, now), self._tasks.opens(in_flight, now)
        )

    def _hand_out(self) -> None:
        """Give permits to the head of the queue while there is place; called whenever anything changed."""
        while self._queue and self._loop is not None and not self._loop.is_closed():
            now = self._loop.time()
            if self._tasks.most < math.inf and self._loose and self._in_flight >= self._tasks.most:
                self._take_in()
                continue  # those who had ended have given places back, and perhaps out
            if (opens := self._opens_at(now)) > now:
                self._wake_at(opens)
                return
            ticket = heapq.heappop(self._order)
            waiter = self._queue.pop(ticket, None)
            if waiter is not None and not waiter.done():  # its submitter may have given up in this very moment
                waiter.set_result(self._permit(ticket, now))

    def _permit(self, ticket: int, now: float) -> Permit:
        """Take the places, and the start."""
        self._next_start = max(self._next_start, now - self._late) + self._interval
        self._held += 1
        permit = Permit(ticket, now, len(self._out) + 1, self._in_flight, self)
        self._out[permit] = None
        self._at_once.asked(permit.at_once, now)
        self._tasks.asked(permit.in_flight, now)
        return permit

    def _wake_at(self, when: float) -> None:
        if when == self._timer_at or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = None if when == math.inf else self._loop.call_at(when, self._woken, self._loop)

    def _woken(self, loop: asyncio.AbstractEventLoop) -> None:
        late = loop.time() - self._timer_at
        self._timer, self._timer_at, self._late = None, math.inf, min(late, self._interval)
        self._hand_out()
        self._late = 0.0
