"""A submission's way through the server's 429s: when it may be sent, again and again, until it has waited long enough.

Nobody holds a permit asleep. Whoever is refused gives it back and goes to the head of the queue, and where the server
says when to come again, or nothing of ours would make room by ending, the gate of the limiter is closed for all.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from vidu_async.limiter import Limiter, Permit
    from vidu_async.protocol.errors import RateLimitError

_LEAST_PAUSE = 0.5
"""Seconds between attempts even if the server asks for less."""
_PATIENCE = 120.0
"""Seconds of Retry-After beyond which a submission fails instead of waiting."""
_JITTER = 0.1
"""The share by which a pause the server asked for is lengthened, at most, so that not all come back at once."""
_QUOTA = "QuotaExceeded"
"""The 429 that speaks of tasks in flight; all others speak of requests. https://platform.vidu.com/docs/error-code"""


@define(eq=False)
class Turn:
    """One submission's way to a permit, and to another after each 429."""

    _limiter: Limiter
    _patience: float
    """Seconds of being refused after which it ends (`Timeouts.submit`)."""
    pause: float = field(default=0.0, init=False)
    """Seconds for which nothing is sent since the last 429."""
    _permit: Permit | None = field(default=None, init=False)
    _refusal: RateLimitError | None = field(default=None, init=False)
    """The last 429."""
    _until: float | None = field(default=None, init=False)
    """When it has been refused for long enough."""

    async def come(self) -> Permit:
        """Wait for a permit, at the head of the queue if there was one before.

        Raises:
            LimiterFullError: too many submissions are waiting already.
            RateLimitError: the last one, since there was no permit for so long.

        """
        if self._until is None:
            self._permit = await self._limiter.acquire(self._permit)
            return self._permit
        try:
            async with asyncio.timeout_at(self._until):
                self._permit = await self._limiter.acquire(self._permit)
                return self._permit
        except TimeoutError:
            refusal = self._refusal
        assert refusal is not None  # noqa: S101 - there is no end before the first
        raise refusal

    def refused(self, error: RateLimitError, pause: float) -> bool:
        """Take note of a 429; return whether to come again, at once: the permit is given back then.

        The gate closes for all: as long as the server asks, else for `pause` seconds, but not if a task of ours that
        ends will make room.
        """
        permit, now = self._permit, asyncio.get_running_loop().time()
        assert permit is not None  # noqa: S101 - it was sent with one
        self._refusal, self._until = error, self._until or now + self._patience
        in_flight = self._limiter.refused(permit, is_quota=error.reason == _QUOTA)
        if error.retry_after:
            asked = max(error.retry_after, _LEAST_PAUSE)
            pause = math.inf if asked > _PATIENCE else asked * (1 + random.uniform(0, _JITTER))  # noqa: S311 - no secret
        elif in_flight:
            pause = 0.0
        if pause < math.inf:
            self._limiter.close_for(pause)
        self.pause = pause
        return now + pause <= self._until
