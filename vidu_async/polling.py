"""When to look at a task again. Pure: it is told how old the task is and answers in seconds.

Any object with the method of `PollingPolicy` may take the place of `Polling`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from attrs import frozen

from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError
from vidu_async.protocol.models import Task, TaskState

_SHARE_OF_AGE = 0.05
"""A task half a minute old may be seen finished up to 1.5 s late, one ten minutes old up to 20 s late."""
_OFF_PEAK_STRETCH = 3.0
"""An off-peak task takes up to 48 hours: with the default bounds, a look a minute is enough."""


@runtime_checkable
class PollingPolicy(Protocol):
    """What the watcher asks of a policy."""

    @property
    def max_per_second(self) -> float | None:
        """Looks a second over all tasks together; None is no bound."""

    def interval(self, task: Task | None, age: float) -> float:
        """Return the seconds until the next look at a task, given its last answer and its age in seconds."""


_DEFAULT_BOUNDS = (1.0, 20.0)


@frozen
class Polling:
    """Look rarely at old tasks and often at young ones, between two bounds in seconds; one given alone moves the other.

    Off-peak tasks that have not begun are looked at every three times `max_interval`: once a minute by default.
    """

    min_interval: float = _DEFAULT_BOUNDS[0]
    max_interval: float = _DEFAULT_BOUNDS[1]
    max_per_second: float | None = None
    """Looks per second, over all tasks."""

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

    def interval(self, task: Task | None, age: float) -> float:
        """Return a twentieth of the age, within the bounds."""
        if task is not None and task.off_peak and task.state is not TaskState.PROCESSING:
            return self.max_interval * _OFF_PEAK_STRETCH
        return min(max(age * _SHARE_OF_AGE, self.min_interval), self.max_interval)
