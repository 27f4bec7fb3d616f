"""How much of an unknown cap is used, and what finding it costs: goodput, and 429s for each task that went through.

An account takes so many tasks at once and answers 429 QuotaExceeded above that. Many submissions wait all the time, so
whatever the account is not busy with is lost. Goodput is a share of what the cap allows: 1 would need a client that
knows of an end in the same moment and whose next request arrives in no time. The oracle is told the cap; "additive"
adds one to its bound in a round of accepted submissions and halves it at a refusal.

Ours and the oracle are the library's own `Limiter` and `Turn`, called as a submission calls them. Time is virtual, and
all lots are drawn from seeds: the same figures each time.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from attrs import define, evolve, field, frozen

from vidu_async import Limiter, Limits, RateLimitError
from vidu_async.retry import waits
from vidu_async.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

SEEDS = (1, 2, 3)
REFUSAL = RateLimitError("exceeded concurrency limit", status=429, reason="QuotaExceeded")


@frozen
class Shape:
    """What an account is like. Times are seconds."""

    name: str
    caps: tuple[tuple[float, int], ...]
    """How long it takes so many at once, in turn."""
    least: float = 0.05
    """How long a task takes: evenly drawn from this to four times this."""
    trip: float = 0.01
    """From sending a request to its answer; half of it from an end to the client's knowing."""
    clients: int = 1
    """Strangers to each other who share the account."""
    waiting: int = 150
    """Submissions of each that are under way or wait, all the time."""

    @property
    def seconds(self) -> float:
        """How long it is looked at."""
        return sum(seconds for seconds, _ in self.caps)

    def cap(self, now: float) -> int:
        """How many it takes at once at a time."""
        for seconds, cap in self.caps:
            if now < seconds:
                return cap
            now -= seconds
        return self.caps[-1][1]


of_a_minute = partial(Shape, least=24.0, trip=1.0)
STEADY = Shape("cap 20", ((30, 20),))
MOVING = Shape("cap 20, 8, 20", ((20, 20), (20, 8), (20, 20)))
SHAPES = (
    STEADY,
    MOVING,
    Shape("cap 20, 8, 20, every 5 s", ((5, 20), (5, 8), (5, 20))),
    Shape("cap 1", ((60, 1),)),
    Shape("cap 3", ((60, 3),)),
    Shape("cap 100", ((10, 100),), waiting=300),
    Shape("cap 20, two clients", ((30, 20),), clients=2),
    of_a_minute("cap 3, tasks of a minute", ((4 * 3600, 3),)),
    of_a_minute("cap 20, tasks of a minute", ((2 * 3600, 20),)),
    of_a_minute("cap 20, 8, 20, tasks of a minute", ((3600, 20), (3600, 8), (3600, 20))),
    of_a_minute("cap 20, none for ten minutes, 20", ((3600, 20), (600, 0), (3600, 20))),
)


class Leave(Protocol):
    """A permit."""

    def accepted(self) -> None:
        """Hear that the request was accepted."""

    def follow(self, handle: Far) -> None:
        """Keep the place until the task ends."""


class Way(Protocol):
    """A submission's way to its permits."""

    async def come(self) -> Leave:
        """Wait for a permit."""

    def refused(self, error: RateLimitError, pause: float) -> bool:
        """Hear of a 429; return whether to come again."""


@define(eq=False)
class Far:
    """A task far away, as its handle knows it."""

    is_over: bool = False
    listeners: list[Callable[[], None]] = field(factory=list)

    def _at_end(self, listener: Callable[[], None]) -> None:
        listener() if self.is_over else self.listeners.append(listener)

    def end(self) -> None:
        """Hear that it has ended."""
        self.is_over = True
        for listener in self.listeners:
            listener()


@define
class Additive:
    """What to hold ours against: additive increase, multiplicative decrease, once in a round trip."""

    most: float = 1.0
    there: int = 0
    halved: float = -1.0
    queue: deque[asyncio.Future[None]] = field(factory=deque)

    def go_on(self, left: int = 0) -> None:
        """Let in as many as there is room for."""
        self.there -= left
        while self.queue and self.there < int(self.most):
            waiter = self.queue.popleft()
            if not waiter.done():
                self.there += 1
                waiter.set_result(None)


@define(eq=False)
class AdditiveWay:
    """A submission's way through it, which is its own permit."""

    bound: Additive
    asked: float = 0.0

    async def come(self) -> AdditiveWay:
        """Wait for room."""
        waiter = asyncio.get_running_loop().create_future()
        self.bound.queue.append(waiter)
        self.bound.go_on()
        await waiter
        self.asked = asyncio.get_running_loop().time()
        return self

    def refused(self, error: RateLimitError, pause: float) -> bool:  # noqa: ARG002 - as it is called
        """Halve, unless that was done for a request of the same round."""
        if self.asked > self.bound.halved:
            self.bound.most = max(1.0, self.bound.most / 2)
            self.bound.halved = asyncio.get_running_loop().time()
        self.bound.there -= 1
        return True

    def accepted(self) -> None:
        """Make room for a little more."""
        self.bound.most += 1 / self.bound.most

    def follow(self, handle: Far) -> None:
        """Keep the place until the end."""
        handle._at_end(lambda: self.bound.go_on(left=1))  # noqa: SLF001 - as the library's own


@define
class Account:
    """The server's side, and what is counted."""

    shape: Shape
    lots: random.Random
    there: int = 0
    done: int = 0
    refused: int = 0
    work: float = 0.0
    """Seconds of finished tasks."""

    def take(self) -> Far | None:
        """Take a task if there is room."""
        loop = asyncio.get_running_loop()
        if self.there >= self.shape.cap(loop.time()):
            self.refused += 1
            return None
        handle, seconds = Far(), self.shape.least * self.lots.uniform(1, 4)
        self.there += 1
        loop.call_later(seconds, self.end, handle, seconds)
        return handle

    def end(self, handle: Far, seconds: float) -> None:
        """Finish a task, of which its client hears a little later."""
        self.there -= 1
        self.done += 1
        self.work += seconds
        asyncio.get_running_loop().call_later(self.shape.trip / 2, handle.end)

    async def submit(self, way: Way) -> None:
        """Play one submission, until its task has ended."""
        pauses, over = waits(), asyncio.Event()
        while True:
            permit = await way.come()
            await asyncio.sleep(self.shape.trip * self.lots.uniform(0.3, 0.7))
            handle = self.take()
            await asyncio.sleep(self.shape.trip / 2)
            if handle is not None:
                permit.accepted()
                permit.follow(handle)
                handle._at_end(over.set)  # noqa: SLF001 - as the library's own
                await over.wait()
                return
            assert way.refused(REFUSAL, next(pauses))


async def play(shape: Shape, lots: random.Random, kind: Callable[[], Callable[[], Way]]) -> tuple[float, float]:
    """Return the goodput and the 429s per task."""
    account = Account(shape, lots)

    async def submit_on(way: Callable[[], Way]) -> None:
        while True:
            await account.submit(way())

    ways = [kind() for _ in range(shape.clients)]
    workers = [asyncio.create_task(submit_on(way)) for way in ways for _ in range(shape.waiting)]
    await asyncio.sleep(shape.seconds)
    found = account.work / sum(seconds * cap for seconds, cap in shape.caps), account.refused / account.done
    for worker in workers:
        worker.cancel()
    ends = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    return found


def limited(limits: Limits) -> Callable[[], Way]:
    """Return what makes the ways of one client of ours."""
    limiter = Limiter(limits)
    return lambda: Turn(limiter, patience=1e9)


def additive() -> Callable[[], Way]:
    """Return what makes the ways of one client of the other kind."""
    bound = Additive()
    return lambda: AdditiveWay(bound)


class _Selector(selectors.DefaultSelector):
    """There are no sockets here, so it need not even wait for them."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class QuickLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._clock.now


def _run(main: Coroutine[None, None, tuple[float, float]]) -> tuple[float, float]:
    with asyncio.Runner(loop_factory=QuickLoop) as runner:
        return runner.run(main)


def measure(shape: Shape, kind: Callable[[], Callable[[], Way]]) -> tuple[float, float]:
    """Return the means over all seeds: goodput, and 429s per task."""
    found = []
    for seed in SEEDS:
        random.seed(seed)  # the pauses'
        found.append(_run(play(shape, random.Random(seed), kind)))
    goodputs, refusals = zip(*found, strict=True)
    return sum(goodputs) / len(SEEDS), sum(refusals) / len(SEEDS)


def ours() -> Callable[[], Way]:
    """Return what makes the ways of a client that knows nothing."""
    return limited(Limits())


def told(shape: Shape) -> tuple[float, float]:
    """Measure the oracle; where the cap moves or is shared it is told the cap of each stretch, or its share."""
    stretches = [evolve(shape, caps=((seconds, cap),)) for seconds, cap in shape.caps if cap]
    found = [
        measure(stretch, lambda cap=stretch.caps[0][1]: limited(Limits(in_flight=cap // shape.clients)))  # type: ignore[misc]
        for stretch in stretches
    ]
    weights = [seconds * cap for seconds, cap in shape.caps if cap]
    return sum(weight * goodput for weight, (goodput, _) in zip(weights, found, strict=True)) / sum(weights), 0.0


def rows() -> list[tuple[str, str, str]]:
    """Measure; return what was measured, what was reached, and the goal."""
    (best, _), (steady, refused), (moving, lost) = told(STEADY), measure(STEADY, ours), measure(MOVING, ours)
    return [
        ("goodput under an unknown cap of 20, against an oracle's", f"{steady / best:.3f}x", ">= 0.99"),
        ("429s per task under an unknown cap of 20", f"{refused:.3f}", "<= 0.03"),
        ("goodput while the cap moves 20, 8, 20, of what it allows", f"{moving:.3f}", ">= 0.85"),
        ("429s per task while the cap moves 20, 8, 20", f"{lost:.3f}", "<= 0.05"),
    ]


def main() -> None:
    """Print all shapes, and what the goals are about."""
    print("| account | ours | oracle | additive |\n|---|---|---|---|")
    for shape in SHAPES:
        found = (measure(shape, ours), told(shape), measure(shape, additive))
        print(f"| {shape.name} | {' | '.join(f'{goodput:.3f} / {lost:.3f}' for goodput, lost in found)} |", flush=True)
    print("\n| what | reached | goal |\n|---|---|---|")
    for row in rows():
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
