"""What callbacks say of submissions whose answer is lost: each task that one names is looked at.

Who knows the URL of a callback may name anything there. So names are looked at one by one and a second apart, beside
all other looking and never in its place, and are forgotten only once the server has answered.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from attrs import define, field

from vidu_async.events import plainly
from vidu_async.protocol.errors import JournalError, NotFoundError, ViduError
from vidu_async.retry import wait

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from vidu_async.journal import Row
    from vidu_async.protocol.models import Task

_log = logging.getLogger("vidu_async")

_APART = 1.0
"""Seconds between looks at what callbacks name, at least."""
_LONGEST_PAUSE = 60.0
_TRIES = 5
"""At a task that is not found: a replica may lag."""
_MOST = 16
"""Names of a submission that wait to be looked at."""


@define(eq=False)
class _Call:
    """What was said of one submission."""

    row: Row
    names: dict[str, int] = field(factory=dict)
    """Ids that are to be looked at, in order, with how often that found nothing."""
    looked_at: set[str] = field(factory=set)
    """Those that are another's, or nobody's."""
    nameless: int = 0
    """How many that name no task still have the list looked into."""
    lists: int = 0
    """How often it was."""
    failures: int = 0
    """Looks in a row that brought no answer."""
    is_heeded: bool = False

    def note(self, task_id: str) -> None:
        """Take in a callback."""
        if not task_id:
            self.nameless = min(self.nameless + 1, _TRIES - self.lists)
        elif task_id not in self.looked_at and len(self.names) < _MOST:
            self.names.setdefault(task_id, 0)

    def refute(self, task_id: str) -> None:
        """Look at a task no more."""
        self.names.pop(task_id, None)
        self.looked_at = {task_id, *list(self.looked_at)[: 8 * _MOST]}


@define(eq=False)
class Hearsay:
    """Follows up what callbacks say. Each submission that is followed up has one task in the background."""

    _fetch: Callable[[str], Awaitable[Task]]
    _settle: Callable[[Row, Task], bool]
    """Adopts a task for a submission if it is its own; returns whether it was, or is not needed any more."""
    _look_into_list: Callable[[], Awaitable[None]]
    _is_open: Callable[[Row], bool]
    """Whether the submission still looks for its task."""
    _is_awaited: Callable[[Row], bool]
    """Whether somebody waits for that, who will ask whether anything was said."""
    _in_background: Callable[[Coroutine[Any, Any, None]], None]
    _calls: dict[str, _Call] = field(factory=dict, init=False)
    """By token."""

    def hear(self, row: Row, task_id: str) -> None:
        """Take in that a callback came for a submission that has no answer yet."""
        self._calls.setdefault(row.token, _Call(row)).note(task_id)

    def knows(self, token: str) -> bool:
        """Whether a callback came for this submission: then it became a task."""
        return token in self._calls

    def heed(self, token: str) -> None:
        """Follow up what was said of a submission, whose answer is lost by now."""
        call = self._calls.get(token)
        if call is not None and not call.is_heeded:
            call.is_heeded = True
            self._in_background(self._follow_up(call))

    def forget(self, token: str) -> bool:
        """Forget what was said, which is not needed any more; return whether anything was."""
        return self._calls.pop(token, None) is not None

    def begin(self) -> None:
        """Serve another event loop: nothing is followed up in the old one."""
        for call in self._calls.values():
            call.is_heeded = False

    async def _follow_up(self, call: _Call) -> None:
        try:
            while call.nameless or call.names:
                if await self._is_settled(call):
                    return
                pause = wait(call.failures, _APART, _LONGEST_PAUSE) if call.failures else 0.0
                await asyncio.sleep(max(_APART, pause))
        finally:
            call.is_heeded = False

    async def _is_settled(self, call: _Call) -> bool:
        """Look once more, and return whether nothing more is to be found out."""
        try:
            if self._is_open(call.row):
                return await self._look(call)
        except JournalError as error:
            call.failures += 1
            _log.info("what a callback says of %s cannot be followed up now: %s", call.row.key, error.said)
            return False
        if not self._is_awaited(call.row):
            self.forget(call.row.token)
        return True

    async def _look(self, call: _Call) -> bool:
        """Look at the first of what was named; return whether that settles it."""
        if call.nameless:
            call.nameless, call.lists = call.nameless - 1, call.lists + 1
            await self._look_into_list()
            return False
        task_id = next(iter(call.names))
        tries = call.names.pop(task_id)
        call.names[task_id] = tries  # the next time it is another's turn
        try:
            task = await self._fetch(task_id)
        except NotFoundError:
            call.failures = 0
            call.names[task_id] = tries + 1
            if tries + 1 == _TRIES:
                call.refute(task_id)
        except ViduError as error:
            call.failures += 1
            _log.info("task %s, which a callback names, cannot be looked at: %s", plainly(task_id), error.said)
        else:
            is_settled = self._settle(call.row, task)
            call.failures = 0
            call.refute(task_id)
            return is_settled
        return False
