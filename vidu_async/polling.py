"""When to look at a task again: what a policy is told, what it answers, and between which bounds.

`learning.py` has the policy that is used by default. Any object with the methods of `PollingPolicy` may take its place.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from attrs import frozen

from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError
from vidu_async.protocol.models import TaskState

_DEFAULT_BOUNDS = (1.0, 20.0)


@frozen(cache_hash=True)
class Kind:
    """What makes tasks take about as long as each other. What is not known is left out."""

    endpoint: str = ""
    model: str = ""
    resolution: str = ""
    duration: float | None = None
    """Seconds of video."""


@frozen
class Waiting:
    """What is known of a task that is waited for. Times are in seconds."""

    kind: Kind
    state: TaskState | None
    """None before the first answer."""
    age: float
    """Since it was first heard of."""
    running: float | None = None
    """Since it began to be processed: since the middle of the span in which it must have begun. None before."""
    margin: float = 0.0
    """Half of that span."""
    off_peak: bool = False
    is_called_back: bool = False
    """Whether a callback is expected, so that looks are only the safety net."""


@runtime_checkable
class PollingPolicy(Protocol):
    """What the watcher asks of a policy, and tells it."""

    @property
    def max_per_second(self) -> float | None:
        """Requests a second over all tasks together; None is no bound. A value, not a method."""

    def interval(self, waiting: Waiting) -> float:
        """Return the seconds until the next look at a task."""

    def finished(self, kind: Kind, seconds: float) -> None:
        """Hear that a task of this kind succeeded so many seconds after it began to be processed.

        Both moments are the middle of the span in which they must have been.
        """


@frozen
class Polling:
    """How often to look: often when an answer is likely, rarely when it is not, between two bounds in seconds.

    One bound given alone moves the other. Together they set the pace: with half of both, tasks are expected to take
    half the time and are seen finished in half the delay. Off-peak tasks that have not begun are looked at every three
    times `max_interval`, once a minute by default.

    Args:
        min_interval: seconds from look to look at a task, at least.
        max_interval: and at most.
        max_per_second: requests a second over all tasks; one through the list looks at up to a hundred. None: no bound.

    """

    min_interval: float = _DEFAULT_BOUNDS[0]
    max_interval: float = _DEFAULT_BOUNDS[1]
    max_per_second: float | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("min_interval", "max_interval", "max_per_second"):
            value = getattr(self, name)
            if not is_positive(value) and (value is not None or name != "max_per_second"):
                raise ConfigError(f"Polling({name}=) must be a positive number, not {value!r}")
        least, most = self.min_interval, self.max_interval
        if least > most and least == _DEFAULT_BOUNDS[0]:
            object.__setattr__(self, "min_interval", most)
        elif least > most and most == _DEFAULT_BOUNDS[1]:
            object.__setattr__(self, "max_interval", least)
        elif least > most:
            raise ConfigError(f"Polling(min_interval={least}) is above max_interval={most}")

    @property
    def scale(self) -> float:
        """The geometric mean of the bounds, by which everything else is measured."""
        return math.sqrt(self.min_interval) * math.sqrt(self.max_interval)

    def within(self, interval: float) -> float:
        """Return the interval, or the bound that it exceeds."""
        return max(self.min_interval, min(self.max_interval, interval))
