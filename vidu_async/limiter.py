"""The rate-limiting semaphore: who may submit now, in the order of asking.

One queue guards three bounds: creation requests at once, tasks in flight until they end, submissions per second. A
`Permit` stands for one submission; it gives back its two places one after the other, each exactly once.
Time is `loop.time()`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from attrs import define, field, frozen

from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError, LimiterFullError


@frozen
class Limits:
    """How much at once. None is no bound.

    Vidu runs 5 tasks at once by default and queues the rest, so `in_flight` is for those who want to hold back more
    than that. https://platform.vidu.com/docs/usage-and-limits
    """

    submissions: int = 8
    """Creation requests being sent."""
    in_flight: int | None = None
    """Tasks submitted and not yet finished."""
    rate: float | None = None
    """Submissions per second."""
    queue: int | None = None
    """Submissions waiting for the above; one more raises `LimiterFullError`."""

    def __attrs_post_init__(self) -> None:
        for name, least in (("submissions", 1), ("in_flight", 1), ("queue", 0)):
            value = getattr(self, name)
            if value is None and name != "submissions":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"Limits({name}=) must be a whole number from {least}, not {value!r}")
        if self.rate is not None and not is_positive(self.rate):
            raise ConfigError(f"Limits(rate=) must be a positive number of submissions a second, not {self.rate!r}")


@define(eq=False)
class Permit:
    """Leave to submit once. `sent()` when the request is over, `release()` when the task is (or will never be)."""

    _limiter: Limiter
    _sending: bool = True
    _in_flight: bool = True

    def sent(self) -> None:
        """Give back the place among the requests at once."""
        if self._sending:
            self._sending = False
            self._limiter._give_back(sending=1)  # noqa: SLF001 - one thing in two classes

    def release(self) -> None:
        """Give back both places."""
        self.sent()
        if self._in_flight:
            self._in_flight = False
            self._limiter._give_back(in_flight=1)  # noqa: SLF001


@define(eq=False)
class Limiter:
    """Hands out permits within `Limits`. Clients of one event loop may share it."""

    limits: Limits = field(factory=Limits)
    _sending: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)
    _queue: OrderedDict[asyncio.Future[Permit], None] = field(factory=OrderedDict, init=False)
    _next_start: float = field(default=0.0, init=False)
    """The rate as one number: when the next submission may start."""
    _opens: float = field(default=0.0, init=False)
    """When the gate opens again that a server's 429 closed for all."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __repr__(self) -> str:
        return f"<Limiter sending={self._sending} in_flight={self._in_flight} waiting={self.waiting}>"

    @property
    def waiting(self) -> int:
        """How many submissions wait for a permit."""
        return len(self._queue)

    async def acquire(self, *, first: bool = False) -> Permit:
        """Wait for a permit; `first` is for a submission that has waited before.

        Raises:
            LimiterFullError: `Limits.queue` submissions are waiting already.

        """
        loop = self._follow_loop()
        full = self.limits.queue is not None and not first and self.waiting >= self.limits.queue
        if full and not (self._has_place() and not self.waiting):
            raise LimiterFullError(f"{self.waiting} submissions are waiting already, Limits(queue={self.limits.queue})")
        waiter: asyncio.Future[Permit] = loop.create_future()
        self._queue[waiter] = None
        self._queue.move_to_end(waiter, last=not first)
        self._hand_out()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                waiter.result().release()  # granted in the same moment
            self._queue.pop(waiter, None)
            self._hand_out()
            raise

    def close_for(self, seconds: float) -> None:
        """Hand out nothing for a while: the server asked everybody to come back later."""
        self._opens = max(self._opens, self._follow_loop().time() + seconds)

    def _follow_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None and self._loop.is_running():
                raise ConfigError("a Limiter serves one event loop at a time; make one for each loop")
            # Whoever waited in the old loop is gone with it, and so is its clock.
            self._loop, self._timer, self._next_start, self._opens = loop, None, 0.0, 0.0
            self._queue.clear()
        return loop

    def _has_place(self) -> bool:
        in_flight = self.limits.in_flight
        return self._sending < self.limits.submissions and (in_flight is None or self._in_flight < in_flight)

    def _hand_out(self) -> None:
        """Give permits to the head of the queue while there is place; called whenever anything changed."""
        while self._queue and self._has_place() and self._loop is not None and not self._loop.is_closed():
            now = self._loop.time()
            start = self._opens if self.limits.rate is None else max(self._opens, self._next_start)
            if start > now:
                self._wake_at(start)
                return
            waiter, _ = self._queue.popitem(last=False)
            if not waiter.done():  # its submitter may have given up in this very moment
                self._next_start = max(self._next_start, now) + 1 / (self.limits.rate or float("inf"))
                self._sending += 1
                self._in_flight += 1
                waiter.set_result(Permit(self))

    def _wake_at(self, when: float) -> None:
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_at(when, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._hand_out()

    def _give_back(self, *, sending: int = 0, in_flight: int = 0) -> None:
        self._sending -= sending
        self._in_flight -= in_flight
        self._hand_out()
