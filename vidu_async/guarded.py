"""A polling policy, the library's or your own, whose faults cost nobody a result: the default takes its place."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.learning import Learner
from vidu_async.polling import Polling, PollingPolicy
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError

if TYPE_CHECKING:
    from vidu_async.polling import Kind, Waiting

_log = logging.getLogger("vidu_async")

_NEEDED = ("max_per_second", "interval", "finished")


def policy_of(polling: Polling | PollingPolicy) -> PollingPolicy:
    """Return the policy that a client's `polling=` means.

    Raises:
        ConfigError: it is none.

    """
    if isinstance(polling, Polling):
        return Learner(polling)
    if isinstance(polling, type):
        raise ConfigError(f"polling= must be an object, not a class: {polling.__name__}(...)")
    missing = [name for name in _NEEDED if not hasattr(polling, name)]
    if missing:
        raise ConfigError(
            f"polling= must be Polling or a PollingPolicy, not {polling!r}, which has no {', '.join(missing)}"
        )
    most = polling.max_per_second
    if most is not None and not is_positive(most):
        raise ConfigError(f"the policy's max_per_second must be a positive number or None, not {most!r}")
    return polling


@define(eq=False)
class Guarded:
    """Asks a policy, and has an answer in any case."""

    _policy: PollingPolicy
    _default: Learner = field(factory=lambda: Learner(Polling()), init=False)
    _has_failed: bool = field(default=False, init=False)

    def max_per_second(self) -> float | None:
        """Return how many requests a second there may be; None is no bound."""
        try:
            most = self._policy.max_per_second
            if most is None or is_positive(most):
                return most
            raise ValueError(f"max_per_second is {most!r}, which is no positive number")
        except _FAULTS:
            self._note_failure()
            return None

    def interval(self, waiting: Waiting) -> float:
        """Return the seconds until the next look at a task."""
        try:
            interval = self._policy.interval(waiting)
            if is_positive(interval):
                return interval
            raise ValueError(f"interval() returned {interval!r}, which is no positive number of seconds")
        except _FAULTS:
            self._note_failure()
            return self._default.interval(waiting)

    def finished(self, kind: Kind, seconds: float) -> None:
        """Tell how long a task took."""
        try:
            self._policy.finished(kind, seconds)
        except _FAULTS:
            self._note_failure()

    def _note_failure(self) -> None:
        """Log it, the first time with its traceback: it may fail at each look at ten thousand tasks."""
        if not self._has_failed:
            _log.exception("the polling policy failed; the default takes its place, now and whenever it fails again")
        self._has_failed = True


_FAULTS = (Exception, asyncio.CancelledError)
"""What a policy may raise. It is never cancelled, but may ask something that was."""
