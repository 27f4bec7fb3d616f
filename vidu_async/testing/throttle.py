"""How many creations a service lets in: so many a second, so many unfinished tasks, 429 above that.

https://platform.vidu.com/docs/usage-and-limits and https://platform.vidu.com/docs/error-code
"""

from __future__ import annotations

import math
from typing import Final

from attrs import define, field, frozen
from attrs.validators import optional

from vidu_async.testing import checks
from vidu_async.testing.account import Account
from vidu_async.testing.refusals import refuse_unless

# Whoever comes exactly on time is let in, in spite of rounding.
_ONE: Final = 1 - 1e-3


@frozen(kw_only=True)
class Throttle:
    """Bounds of what comes in, None for none; above them creations are refused with 429. Raises ValueError.

    - `rate`: creations per second, `TooManyRequests` above. As many as come in one second may come at once.
    - `quota`: tasks that have not ended, `QuotaExceeded` above.
    - `retry_after`: seconds for the Retry-After header of every 429 of the service, rounded up to whole ones as HTTP
      has it; None leaves the header out.
    """

    rate: float | None = field(default=None, validator=optional(checks.above_zero))
    quota: int | None = field(default=None, validator=optional(checks.whole(1)))
    retry_after: float | None = field(default=None, validator=optional(checks.seconds))

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a 429."""
        return {} if self.retry_after is None else {"Retry-After": str(math.ceil(self.retry_after))}


@define(eq=False)
class Door:
    """Where creations come in: a bucket of permits that fills at the rate and holds a second's worth, one at least."""

    throttle: Throttle = field(validator=checks.a(Throttle, "a Throttle"))
    _permits: float = field(default=math.inf, init=False)
    """Full at first, whatever it holds."""
    _filled_at: float = field(default=0.0, init=False)

    def admit(self, account: Account, now: float) -> None:
        """Let a creation in, or raise `Refusal`."""
        account.advance(now)
        quota = self.throttle.quota
        has_room = quota is None or account.running + account.waiting < quota
        refuse_unless(has_room, "QuotaExceeded", f"{quota} tasks are unfinished")
        refuse_unless(
            self._has_permit(account.now), "TooManyRequests", f"more than {self.throttle.rate} creations a second"
        )

    def _has_permit(self, now: float) -> bool:
        """Take a permit, if there is one. `now` is the account's time, which never goes back."""
        rate = self.throttle.rate
        if rate is None:
            return True
        self._permits = min(max(rate, 1.0), self._permits + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._permits < _ONE:
            return False
        self._permits -= 1
        return True
