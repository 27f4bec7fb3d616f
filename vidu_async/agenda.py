"""Which task is looked at next: a heap of moments. Pure: it is told the time, and asks nothing.

A waiting task costs one entry here, and no asyncio task.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vidu_async.watch import Watch

Entry = tuple[float, int, int, "Watch"]
"""When it is due, its place among those due at the same moment, which of the task's entries it is, and the task."""


@define(eq=False)
class Agenda:
    """Waiting tasks, each with the moment of its next look."""

    _heap: list[Entry] = field(factory=list, init=False)
    _order: Iterator[int] = field(factory=itertools.count, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def first(self) -> float | None:
        """When the first of them is due."""
        return self._heap[0][0] if self._heap else None

    def enter(self, watch: Watch, due: float) -> None:
        """Have a task looked at at a moment."""
        watch.entry += 1
        heapq.heappush(self._heap, (due, next(self._order), watch.entry, watch))

    def take(self, now: float, most: int = 1) -> list[Watch]:
        """Take out what is due, up to so many; behind the first also those that may be looked at a little early."""
        taken: list[Watch] = []
        while self._heap and len(taken) < most:
            due, _, entry, watch = self._heap[0]
            if due > now + (watch.slack if taken else 0.0):
                break
            heapq.heappop(self._heap)
            if entry != watch.entry:
                continue  # it was entered anew since then
            watch.is_scheduled = False
            if watch.is_wanted:
                taken.append(watch)
        return taken

    def spread(self, now: float, over: float) -> None:
        """Put what is overdue off, evenly, so that the last of it is due so many seconds from now."""
        late = sorted(entry for entry in self._heap if entry[0] <= now)
        moved = {order: now + over * place / len(late) for place, (_, order, *_) in enumerate(late)}
        self._heap = [(moved.get(order, due), order, entry, watch) for due, order, entry, watch in self._heap]
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
