"""What goes wrong by chance: tasks that fail, creations refused, connections dropped, answers cut or slow.

Lots are drawn from a seeded source, one for each request, so that a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final, TypeVar

from attrs import define, evolve, field, frozen

from vidu_async.testing import checks
from vidu_async.testing.intercept import CUT, DROP, DROP_AFTER, SERVE, Drop, Serve
from vidu_async.testing.refusals import STATUS, Refusal, RelayRefusal

T = TypeVar("T")

_STATUSES: Final = range(400, 600)
_SCOPES: Final = ("creations", "everything")
_NETWORK: Final[Mapping[str, Serve | Drop]] = {"drops_before": DROP, "drops_after": DROP_AFTER, "cuts": CUT}


@frozen(kw_only=True)
class Faults:
    """What goes wrong how often. Shares go from 0 to 1, and nothing goes wrong unless said.

    `Faults(failures={"AuditFailed": 0.1}, refusals={"TooManyRequests": 0.05, 502: 0.01}, drops_after=0.01)`

    - `failures`: err_code -> the share of accepted tasks that fail with it.
    - `refusals`: reason or bare HTTP status -> the share of requests refused so, nothing being accepted. A reason
      comes with Vidu's status and body, a status with the body of a relay.
    - `drops_before`, `drops_after`: shares of requests whose connection is closed before or after the service acts.
    - `cuts`: the share of requests that are acted on and get the headers and half of the body of their answer.
    - `slow`: seconds that each answer takes after the service has acted; refusals are answers, too.
    - `on`: what all but `failures` fall on, "creations" or "everything": queries, lists and result files, too.

    A request meets at most one of refusal, drop and cut. Raises ValueError for what cannot be.
    """

    failures: Mapping[str, float] = field(factory=dict, validator=checks.shares)
    refusals: Mapping[str | int, float] = field(factory=dict, validator=checks.shares)
    drops_before: float = field(default=0.0, validator=checks.share)
    drops_after: float = field(default=0.0, validator=checks.share)
    cuts: float = field(default=0.0, validator=checks.share)
    slow: float = field(default=0.0, validator=checks.seconds)
    on: str = "creations"

    def __attrs_post_init__(self) -> None:
        checks.known("on", self.on, _SCOPES)
        checks.one_whole(self.failures)
        checks.one_whole(self.outcomes)
        for err_code in self.failures:
            # A typing error would be tested as an unknown code. Whoever wants one has `fails`.
            checks.known("err_code", err_code, STATUS)
        for reason in self.refusals:
            _check_reason(reason)

    @property
    def outcomes(self) -> dict[str | int, float]:
        """The share of each thing, by its name here, that a request may meet in place of its answer."""
        return {
            **self.refusals,
            "drops_before": self.drops_before,
            "drops_after": self.drops_after,
            "cuts": self.cuts,
        }


def _check_reason(reason: object) -> None:
    if isinstance(reason, str) and reason.isidentifier():
        checks.known("reason", reason, STATUS)
    else:
        # 404.0 equals a status, and would be sent as none.
        is_status = isinstance(reason, int) and reason in _STATUSES
        checks.require(is_status, "a key of refusals", "a reason or an int status from 400 to 599", reason)


@define(eq=False)
class Chance:
    """Draws the lots. Requests and tasks have sources of their own, repeatable by `seed`."""

    _seed: int | None
    _of_requests: Random = field(init=False)
    _of_tasks: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._of_requests, self._of_tasks = seeded(self._seed, "requests"), seeded(self._seed, "tasks")

    def outcome(self, faults: Faults) -> Serve | Drop | Refusal:
        """Return what becomes of a request."""
        name = _draw(faults.outcomes, self._of_requests)
        if isinstance(name, int):
            return RelayRefusal(name, delay=faults.slow)
        verdict = SERVE if name is None else _NETWORK.get(name)
        if isinstance(verdict, Serve):
            return evolve(verdict, delay=faults.slow)
        return verdict or Refusal(name or "", "refused at random (Faults)", delay=faults.slow)

    def err_code(self, faults: Faults) -> str:
        """Return what an accepted task will fail with, "" for nothing."""
        return _draw(faults.failures, self._of_tasks) or ""


def seeded(seed: int | None, purpose: str) -> Random:
    """Return a source of lots for one purpose, so that what one draws changes nothing for another."""
    return Random(None if seed is None else f"{seed} {purpose}")  # noqa: S311 - repeatable on purpose


def _draw(shares: Mapping[T, float], source: Random) -> T | None:
    """Draw one lot: a name as often as its share says, else None."""
    mark = source.random()
    for name, share in shares.items():
        mark -= share
        if mark < 0:
            return name
    return None
