"""How soon the end of a task is seen, and how many looks that takes: the product, in poll-seconds, less is better.

A simulation of single tasks in pure Python, the same at each run: tasks take log-normally distributed times, the policy
is told what the watcher would tell it, and learns the middle of the span in which a task must have ended. The optimum
knows the distribution, has no bounds, and is found by dynamic programming, backwards over a grid of moments.

The queue: half of the tasks wait first, exponentially distributed with a mean of 40 s; then they take about 60 s, with
a sigma of 0.2. So a fixed interval costs 41 poll-seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from attrs import frozen

from vidu_async import Polling, TaskState
from vidu_async.learning import Learner
from vidu_async.polling import Kind, PollingPolicy, Waiting

LOOK = 0.05
"""Seconds of delay that a look is worth to the optimum; the product hardly depends on it."""
GRID = 240
"""Moments per median at which the optimum may look."""
MEDIAN, SIGMAS = 60.0, (0.4, 0.2, 0.1)
QUEUE, QUEUED_SIGMA = 40.0, 0.2
KIND = Kind("img2video", "viduq3-turbo", "720p", 5)
MIXED = {
    Kind("reference2image", "viduq2", "1080p"): 15.0,
    Kind("img2video", "viduq3-turbo", "540p", 4): 27.0,
    Kind("img2video", "viduq3-turbo", "720p", 5): 50.0,
    Kind("img2video", "viduq3-pro", "720p", 8): 91.0,
    Kind("text2video", "viduq3-pro", "1080p", 8): 165.0,
    Kind("text2video", "viduq3-pro", "1080p", 16): 300.0,
}
"""Kinds and their medians; each is as frequent as the others."""
KNOWN, TASKS, REPEATS = 100, 200, 50
"""Tasks that are learned first, those that are measured then, and how often all is repeated."""
GOALS = {
    "one kind, sigma 0.4: learned": "at most 1.10x of the optimum",
    "six kinds, first 60 tasks: learned": "at most 1.6x of the optimum",
    "with a queue in front: learned": "at most 14 poll-seconds",
}
PHASES = {"first 60 tasks": (0, 60), "to task 600": (60, 600), "after": (600, 800)}


@frozen
class Seen:
    """What one policy made of many tasks; or what the optimum expects, which knows no percentile."""

    looks: float
    delay: float
    late: float = math.nan
    """The 99th percentile of the delay."""

    @property
    def cost(self) -> float:
        """Poll-seconds."""
        return self.looks * self.delay


@frozen
class Job:
    """A task: what it is, how long it waits for its turn and how long it takes then, in seconds."""

    kind: Kind
    queue: float
    seconds: float


@frozen
class Fixed:
    """Look every so many seconds."""

    seconds: float
    max_per_second: None = None

    def interval(self, _: Waiting) -> float:
        """Return the seconds until the next look."""
        return self.seconds

    def finished(self, kind: Kind, seconds: float) -> None:
        """Learn nothing."""


@frozen
class Exponential(Fixed):
    """Look after a second, then half as long again each time, up to so many seconds."""

    def interval(self, waiting: Waiting) -> float:
        """Return the seconds until the next look."""
        return min(self.seconds, 1 + waiting.age / 2)


def jobs(dice: random.Random, sigma: float, kinds: dict[Kind, float], queue: float = 0.0) -> Iterator[Job]:
    """Draw tasks without end; half of them wait, if any do."""
    while True:
        kind = dice.choice(list(kinds))
        waits = queue and dice.random() < 0.5
        yield Job(
            kind, dice.expovariate(1 / queue) if waits else 0.0, dice.lognormvariate(math.log(kinds[kind]), sigma)
        )


def follow(policy: PollingPolicy, job: Job, *, is_queued: bool) -> tuple[int, float]:
    """Look at a task until it is seen finished; return the number of looks and the delay."""
    now, looks, end = 0.0, 0, job.queue + job.seconds
    state, begun, margin = (TaskState.CREATED, None, 0.0) if is_queued else (TaskState.PROCESSING, 0.0, 0.0)
    while True:
        running = None if begun is None else now - begun
        before, looks = now, looks + 1
        now += policy.interval(Waiting(job.kind, state, now, running, margin))
        if now >= end:
            policy.finished(job.kind, (before + now) / 2 - (before if begun is None else begun))
            return looks, now - end
        if now < job.queue:
            state = TaskState.QUEUEING
        elif begun is None:
            state, begun, margin = TaskState.PROCESSING, (before + now) / 2, (now - before) / 2


def summary(seen: list[tuple[int, float]]) -> Seen:
    """Return the means, and the delay that one in a hundred exceeds."""
    delays = sorted(delay for _, delay in seen)
    looks = sum(number for number, _ in seen) / len(seen)
    return Seen(looks, sum(delays) / len(delays), delays[int(len(delays) * 0.99)])


def play(
    policy: Callable[[], PollingPolicy],
    sigma: float,
    *,
    kinds: dict[Kind, float] | None = None,
    queue: float = 0.0,
    phase: tuple[int, int] = (KNOWN, KNOWN + TASKS),
) -> Seen:
    """Let new policies follow tasks one after the other; return what they made of those of a phase."""
    dice, seen = random.Random(1), []
    for _ in range(REPEATS):
        one, drawn = policy(), jobs(dice, sigma, kinds or {KIND: MEDIAN}, queue)
        found = [follow(one, next(drawn), is_queued=bool(queue)) for _ in range(phase[1])]
        seen += found[phase[0] :]
    return summary(seen)


def optimum(sigma: float, median: float = MEDIAN, bounds: tuple[float, float] = (0.0, math.inf)) -> Seen:
    """Return what the best looks cost if the distribution is known, and intervals are within the bounds."""
    step, last = median / GRID, math.ceil(GRID * math.exp(4.5 * sigma))
    ended = [0.0, *(math.erfc(-math.log(i / GRID) / sigma / math.sqrt(2)) / 2 for i in range(1, last)), 1.0]
    moments = [0.0]
    for i in range(last):
        moments.append(moments[-1] + (i + 0.5) * step * (ended[i + 1] - ended[i]))
    shortest, longest = max(1, round(bounds[0] / step)), round(min(bounds[1] / step, last))
    to_come = [(0.0, 0.0, 0.0)] * (last + 1)
    """From each moment on: cost, looks and delay."""
    for i in reversed(range(last)):
        best = (math.inf, 0.0, 0.0)
        for j in range(min(i + shortest, last), min(i + longest, last) + 1):
            delay = j * step * (ended[j] - ended[i]) - (moments[j] - moments[i])
            if delay > best[0]:
                break  # a later look only makes it more
            cost, looks, later = to_come[j]
            best = min(best, (delay + cost, looks, delay + later))
        alive = 1 - ended[i]
        to_come[i] = (best[0] + LOOK * alive, best[1] + alive, best[2])
    return Seen(*to_come[0][1:])


def mixed_optimum(sigma: float) -> Seen:
    """Return the same of all kinds together."""
    found = [optimum(sigma, median) for median in MIXED.values()]
    return Seen(sum(one.looks for one in found) / len(found), sum(one.delay for one in found) / len(found))


def learner() -> Learner:
    """Return what a client makes of its default settings."""
    return Learner(Polling())


OTHERS: dict[str, Callable[[], PollingPolicy]] = {
    "every 2 s": lambda: Fixed(2),
    "every 5 s": lambda: Fixed(5),
    "exponential, x1.5 to 10 s": lambda: Exponential(10),
}
POLICIES: dict[str, Callable[[], PollingPolicy]] = {**OTHERS, "learned": learner}


def one_kind() -> Iterator[tuple[str, Seen, Seen | None]]:
    """Yield tasks of a kind that was learned before: what policy, what it made of them, and the optimum."""
    for sigma in SIGMAS:
        best, name = optimum(sigma), f"one kind, sigma {sigma}"
        for policy, make in POLICIES.items():
            yield f"{name}: {policy}", play(make, sigma), best
        bounded = optimum(sigma, bounds=(Polling().min_interval, Polling().max_interval))
        yield f"{name}: optimum within the same bounds", bounded, best
        yield f"{name}: optimum", best, None


def mixed() -> Iterator[tuple[str, Seen, Seen | None]]:
    """Yield tasks of six kinds, of which nothing is known at the beginning."""
    best = mixed_optimum(SIGMAS[0])
    for name, phase in PHASES.items():
        yield f"six kinds, {name}: learned", play(learner, SIGMAS[0], kinds=MIXED, phase=phase), best
    yield "six kinds: optimum", best, None


def queued() -> Iterator[tuple[str, Seen, Seen | None]]:
    """Yield tasks of which half wait for their turn."""
    for policy, make in POLICIES.items():
        yield f"with a queue in front: {policy}", play(make, QUEUED_SIGMA, queue=QUEUE), None


def scenes() -> Iterator[tuple[str, Seen, Seen | None]]:
    """Yield the name of each scene, what was seen in it, and the optimum if it is known."""
    yield from one_kind()
    yield from mixed()
    yield from queued()


def rows() -> list[tuple[str, str, str]]:
    """Return what has a goal: its name, what was reached, and the goal."""
    found = {name: (seen, best) for name, seen, best in scenes() if name in GOALS}
    return [(name, reached(*found[name]), goal) for name, goal in GOALS.items()]


def reached(seen: Seen, best: Seen | None) -> str:
    """Return a cost as a ratio to the optimum, or in poll-seconds if that is unknown."""
    return f"{seen.cost / best.cost:.2f}x of the optimum" if best else f"{seen.cost:.1f} poll-seconds"


def main() -> None:
    """Print all scenes."""
    print("| | looks per task | mean delay | p99 | poll-seconds | of the optimum | goal |")
    print("|---|---|---|---|---|---|---|")
    for name, seen, best in scenes():
        late = "" if math.isnan(seen.late) else f"{seen.late:.1f} s"
        ratio = f"{seen.cost / best.cost:.2f}x" if best else ""
        goal = GOALS.get(name, "")
        print(f"| {name} | {seen.looks:.1f} | {seen.delay:.2f} s | {late} | {seen.cost:.1f} | {ratio} | {goal} |")


if __name__ == "__main__":
    main()
