"""Which task is looked at next: a heap of moments. Pure: it is told the time, and asks nothing.

A waiting task costs one entry here, and no asyncio task.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from vidu_async.watch import Watch

Entry = tuple[float, int, "Watch"]
"""When it is due, the number of the entry, and the task."""
_SLACK = 0.5
"""The share of an interval by which a look may come early to share a request: two requests a second at the fastest."""
_numbers = itertools.count()  # of all agendas: a task's entry in another one is not taken for this one's


@define(eq=False)
class Agenda:
    """Waiting tasks, each with the moment of its next look."""

    _heap: list[Entry] = field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def first(self) -> float | None:
        """When the first of them is due."""
        return self._heap[0][0] if self._heap else None

    def enter(self, watch: Watch, due: float) -> None:
        """Have a task looked at at a moment."""
        watch.entry = next(_numbers)
        heapq.heappush(self._heap, (due, watch.entry, watch))

    def take(self, now: float, most: int = 1) -> list[Watch]:
        """Take out what is due, up to so many; behind the first also those that may be looked at a little early."""
        taken: list[Watch] = []
        while self._heap and len(taken) < most:
            due, entry, watch = self._heap[0]
            if due > now and not (taken and _may_join(watch, due, now)):
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
        moved = {entry: now + over * place / len(late) for place, (_, entry, _) in enumerate(late)}
        self._heap = [(moved.get(entry, due), entry, watch) for due, entry, watch in self._heap]
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()


def _may_join(watch: Watch, due: float, now: float) -> bool:
    """Whether a task may be looked at before its time, with others."""
    return watch.looked is None or due - now <= (due - watch.looked) * _SLACK
