"""How many a server lets in, learned from its refusals. Pure: no I/O, and the time is told.

Nothing is known before the first refusal. After it, as many may be there as were then, and one more is tried after a
while. If that one is let in, the next is tried at once, so that a bound that moved up is followed in as many tries; if
it is refused, the while doubles. A while is counted in what was let in, so that few requests are wasted on tries, and
in seconds, so that a standstill ends.
"""

from __future__ import annotations

import math

from attrs import define, field

_EACH = 2
"""How many are let in during the shortest while."""
_SECONDS = 5.0
"""How long the shortest while takes at most."""
_RAREST = 64
"""How many times that the longest while is: one try among 128, or after 320 seconds."""


@define(eq=False)
class Level:
    """What may be there at once, as far as is known. Its times are seconds of any one clock."""

    most: float = field(default=math.inf, init=False)
    """So many were let in when one more was refused; infinite before that, and never below 1."""
    is_doubtful: bool = field(default=False, init=False)
    """Whether even less than `most` was refused, and nothing was let in since: then let one at a time try."""
    _rarity: int = field(default=1, init=False)
    """The while between tries, as a multiple of the shortest."""
    _let_in: int = field(default=0, init=False)
    """How many were let in since the last try or refusal."""
    _rested: float = field(default=-math.inf, init=False)
    """When that was."""
    _refused: float = field(default=-math.inf, init=False)
    """When the last news came; what was asked before then is answered with no other."""

    def opens(self, there: int, now: float) -> float:
        """Return when one more may join those who are there, if none of them leaves."""
        is_due = there < self.most or self._let_in >= self._rarity * _EACH
        return now if is_due else max(now, self._rested + self._rarity * _SECONDS)

    def asked(self, count: int, now: float) -> None:
        """Take note that one more asks, who makes them so many."""
        if count > self.most:
            self._rest(now)

    def accepted(self, count: int, asked: float) -> None:
        """Take note that one was let in, who had made them so many when it asked."""
        self._let_in += 1
        self.is_doubtful = False
        if count > self.most and asked > self._refused:
            self.most, self._rested = count, -math.inf

    def refused(self, others: int, asked: float, now: float) -> None:
        """Take note that one was refused while so many others were there."""
        if asked > self._refused:  # else it is an answer to the same burst
            self.is_doubtful = others < self.most
            if not self.is_doubtful:
                self._rarity = min(self._rarity * 2, _RAREST)
            self._refused = now
            self._rest(now)
        if others:  # else somebody else's fill the server, which says nothing about how many of ours it takes
            self.most = min(self.most, others)

    def restart(self, now: float) -> None:
        """Keep what is known, and go on by another clock."""
        self._rested, self._refused = now, -math.inf

    def _rest(self, now: float) -> None:
        self._rested, self._let_in = now, 0
