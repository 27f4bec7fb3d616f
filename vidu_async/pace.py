"""How fast things end, lately: so that a guess at the end follows what happens."""

from __future__ import annotations

from collections import deque

from attrs import define, field

_SPAN = 60.0
"""Seconds that the rate looks back at least."""
_ENDS = 100
"""Ends that it looks back at least: in a slow batch a minute holds none."""
_GRAIN = 1.0
"""Seconds whose ends are remembered as one number."""


@define(eq=False)
class Pace:
    """How many ended in the last minute, or the last hundred if those took longer."""

    _since: float | None = None
    _ends: deque[tuple[float, int]] = field(factory=deque)
    """Seconds in which any ended, and how many."""
    _count: int = 0

    def begin(self, now: float) -> None:
        """Note that there is work from now on, whose ends may be expected."""
        if self._since is None:
            self._since = now

    def note(self, now: float) -> None:
        """Count an end."""
        second, ends = self._ends.pop() if self._ends else (now, 0)
        if now - second >= _GRAIN:
            self._ends.append((second, ends))
            second, ends = now, 0
        self._ends.append((second, ends + 1))
        self._count += 1
        while self._ends[0][0] < now - _SPAN and self._count - self._ends[0][1] >= _ENDS:
            self._since, ends = self._ends.popleft()
            self._count -= ends

    def a_minute(self, now: float) -> float:
        """Return the ends per minute."""
        if self._since is None or now <= self._since:
            return 0.0
        return 60 * self._count / (now - self._since)
