"""One request for a hundred tasks: the list, asked for certain ids, as long as it can be trusted.

A list tells states, and no more: results have one source, the task's own answer. It may be missing, fail, lag behind
or be cached; then every task is looked at by itself, for a while, and nothing is lost.
https://platform.vidu.com/docs/tasks-list
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from vidu_async.protocol.wire import Listed, Page
    from vidu_async.watch import Watch

_log = logging.getLogger("vidu_async")

_PAGES = 10
"""Pages of an answer that are read: some servers have ten tasks on one, whatever is asked for."""
_REST, _LONGEST_REST = 5.0, 600.0
"""Seconds without the list after it failed, doubling each time."""
_LONGEST_STALE = 6 * 3600.0
_LATE_ENDS = 3
"""Ends in a row that the list did not tell of before the tasks themselves did: it is stale."""
BESIDE = 2
"""Tasks that are asked about beside those of a request."""
_LETTERS = 6000
"""Letters of the ids in one request: servers take some 8 kB."""


@define(eq=False)
class Listing:
    """The list of a gateway, and whether it can be used."""

    _has: Callable[[], bool]
    """Whether the gateway may have one."""
    _page: Callable[[list[str], str], Awaitable[Page]]
    """Asks for a page of the tasks of these ids, given its token."""
    _rest: float = field(default=_REST, init=False)
    _rests_until: float = field(default=0.0, init=False)
    _suspicion: str = field(default="", init=False)
    """Why it failed the last time, as long as that may be the list alone."""
    _ended: list[str] = field(factory=list, init=False)
    """Tasks that have ended, by their own account: what the list says of them shows whether it is stale."""
    _late_ends: int = field(default=0, init=False)
    _stale_rest: float = field(default=_LONGEST_REST, init=False)

    def is_usable(self, now: float) -> bool:
        """Whether to ask the list."""
        return self._has() and now >= self._rests_until

    async def find(self, task_ids: list[str], now: float) -> dict[str, Listed]:
        """Return what the list has of these tasks.

        Raises:
            UnsupportedError: there is no list.
            ViduError: it failed.

        """
        found: dict[str, Listed] = {}
        ended, self._ended = self._ended, []
        for part in _parts([*task_ids, *ended]):
            found.update(await self._find(part))
        self._rest, self._suspicion = _REST, ""
        for task_id in ended:
            self._compare(found.pop(task_id, None), now)
        return found

    async def _find(self, task_ids: list[str]) -> dict[str, Listed]:
        wanted, found, token = set(task_ids), dict[str, "Listed"](), ""
        for _ in range(_PAGES):
            page = await self._page(task_ids, token)
            found.update((row.id, row) for row in page.listed if row.id in wanted)
            token = page.next_token
            is_filtered = all(row.id in wanted for row in page.listed)
            if not token or not is_filtered or len(found) == len(wanted):
                break
        return found

    def failed(self, now: float) -> None:
        """Leave the list alone for a while: it failed where the tasks themselves did not."""
        self._rests_until, self._rest = now + self._rest, min(self._rest * 2, _LONGEST_REST)

    def suspect(self, watch: Watch, why: str) -> None:
        """Note that it failed; whether that is the list alone this task's own answer will tell."""
        self._suspicion = why
        watch.is_asked_at_once = True

    def task_answered(self, now: float) -> None:
        """Note that a task was asked about by itself, and answered."""
        if self._suspicion:
            _log.warning("the list of tasks failed (%s): each is looked at by itself for a while", self._suspicion)
            self._suspicion = ""
            self.failed(now)

    def told_of_end(self) -> None:
        """Note that the list told of an end."""
        self._late_ends, self._stale_rest = 0, _LONGEST_REST

    def check(self, task_id: str) -> None:
        """Ask beside others, next time, whether the list knows of an end that the task itself told of."""
        self._ended = [*self._ended, task_id][-BESIDE:]

    def _compare(self, row: Listed | None, now: float) -> None:
        """Hold what the list says of a task that has ended against that."""
        if row is None or row.state.is_terminal:
            return
        self._late_ends += 1
        if self._late_ends >= _LATE_ENDS:
            _log.warning("the list of tasks is stale: each task is asked about by itself for %g s", self._stale_rest)
            self._late_ends, self._rests_until = 0, now + self._stale_rest
            self._stale_rest = min(self._stale_rest * 2, _LONGEST_STALE)

    def rebase(self) -> None:
        """Forget all moments of another event loop's clock."""
        self._rests_until = 0.0


def _parts(task_ids: list[str]) -> Iterator[list[str]]:
    """Divide ids so that each part fits into a request."""
    part, letters = list[str](), 0
    for task_id in task_ids:
        if part and letters + len(task_id) > _LETTERS:
            yield part
            part, letters = [], 0
        part.append(task_id)
        letters += len(task_id) + len("&task_ids=")
    yield part
