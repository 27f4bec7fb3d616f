"""What a client does when it is called back: it keeps that, and rings for whoever waits. The result is asked for.

A callback may come before the answer of its creation, instead of it, twice, in the wrong order, or to another process
with the same journal: the journal tells all of them, and each looks there often while anybody waits.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import ref

from attrs import define, field

from vidu_async.journal import ENDED, UNRESOLVED, RowState
from vidu_async.protocol.errors import ConfigError
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.notices import goes_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from vidu_async.journal import Ledger, Row
    from vidu_async.protocol.notices import Notice
    from vidu_async.protocol.signing import Signer
    from vidu_async.reconcile import Reconciler
    from vidu_async.watch import Watch
    from vidu_async.watcher import Watcher

_log = logging.getLogger("vidu_async")

_LISTENING = 0.05
"""Seconds between looks for what other processes have heard."""
_MISSED, _GRACE = 5, 60.0
"""Ends that were found out without a callback, none of which came in so many seconds: then none is expected."""
_PAYLOAD = "longest payload"
_STATES = {state.value: state for state in TaskState}
_UNANSWERED = frozenset({RowState.PREPARED, RowState.COMMITTED})


@define(eq=False)
class Bell:
    """One client's. It is what its `CallbackReceiver` knows of it (`callbacks.Subscriber`)."""

    signer: Signer | None
    """Signs as those who call back do, if the client's key is the one."""
    _home: dict[str, str]
    """What the rows of this client's submissions say of its site and key."""
    _owns_journal: bool
    _journal: Ledger
    _watcher: Watcher
    _reconciler: Reconciler
    _watch_of: Callable[[Row], Watch]
    _in_hand: Callable[[str], Row | None]
    """Returns the submission that is under way here, by its key."""
    _offset: Callable[[], float]
    _is_busy: Callable[[], bool]
    """Whether anybody waits for anything."""
    longest_payload: int = field(default=0, init=False)
    """Characters of the longest payload of a submission that is called back."""
    is_expecting: bool = field(default=True, init=False)
    """Whether callbacks seem to arrive, so that tasks may be looked at rarely."""
    _missed: list[float] = field(factory=list, init=False)
    """When the first tasks ended since the latest callback, by the loop's time."""
    _place: int | None = field(default=None, init=False)
    """Up to which callbacks of the journal are known."""
    _own: set[int] = field(factory=set, init=False)
    """Places beyond it that came in here."""
    _is_closed: bool = field(default=False, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)

    @property
    def clock_offset(self) -> float:
        """Seconds by which the gateway's clock is ahead of this machine's."""
        return self._offset()

    def note_payload(self, payload: object) -> None:
        """Note what callbacks will repeat, for this process and the next."""
        if isinstance(payload, str) and len(payload) > self.longest_payload:
            self.longest_payload = len(payload)
            self._journal.remember(_PAYLOAD, str(len(payload)))

    async def recall(self) -> None:
        """Take up what earlier processes have noted."""
        noted = await self._journal.recall(_PAYLOAD)
        if noted and noted.isdigit():
            self.longest_payload = max(self.longest_payload, int(noted))

    def note_end(self, watch: Watch) -> None:
        """Note that a task ended; if it was called back, that is no sign that nothing comes."""
        if not watch.is_called_back or watch.looked is None:
            return
        if len(self._missed) < _MISSED:
            self._missed.append(watch.looked)
        elif self.is_expecting and watch.looked - self._missed[-1] > _GRACE:
            self.is_expecting = False
            self._watcher.expect_no_calls()
            said = "no callback came for %d tasks that have ended, so tasks are looked at as often as without: %s"
            _log.warning(said, _MISSED, "does public_url= lead here, and what does CallbackReceiver.counts say?")

    async def knows(self, token: str) -> bool:
        """Whether a submission has this token."""
        async with self._opened() as is_open:
            return is_open and self._is_ours(await self._journal.row_of(token))

    async def hear(self, notice: Notice, *, is_believed: bool) -> bool:
        """Write a callback into the journal, and act on it; return whether a submission has its token."""
        self._check_loop()
        async with self._opened() as is_open:
            if not is_open:
                return False
            heard = await self._journal.hear(notice.token, notice.task_id, notice.state.value)
        if heard is None or not self._is_ours(heard.row):
            return False
        row = heard.row
        if row.state in _UNANSWERED and not self._is_unanswered(row.key):
            row = await self._journal.row_of(notice.token) or row  # it was answered while this was written
        if not self._is_closed:
            is_believed = is_believed and notice.task_id in {"", row.task_id}
            self._act(row, notice, is_believed=is_believed)
            self._own.update({heard.place} if self._timer else ())
        return True

    def _check_loop(self) -> None:
        """Refuse to act in another loop than the client's, which runs."""
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop} and self._loop is not None and self._loop.is_running():
            raise ConfigError("a callback came in another event loop than its client's; mount the receiver in that one")

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[bool]:
        """Have the journal open, if it may be: one that was closed with the client is closed again."""
        if not self._is_closed or self._journal.is_open:
            yield True
        elif not self._owns_journal:
            yield False  # it is the user's, who has closed it
        else:
            try:
                yield True
            finally:
                await self._journal.aclose()

    def _is_ours(self, row: Row | None) -> bool:
        return row is not None and all(getattr(row, name) == value for name, value in self._home.items())

    def _is_unanswered(self, key: str) -> bool:
        """Whether a submission is under way here whose answer is still to come."""
        row = self._in_hand(key)
        return row is not None and row.state in _UNANSWERED

    def _act(self, row: Row, notice: Notice, *, is_believed: bool) -> None:
        self._hear(row, notice.task_id)
        if row.state is RowState.ACCEPTED:
            self._ring(self._watch_of(row), notice.state, is_believed=is_believed)
        elif row.state in ENDED:
            self._ring(self._watcher.known(row.task_id), notice.state, is_believed=is_believed)

    def _hear(self, row: Row, task_id: str) -> None:
        """Have a callback followed up that comes before an answer, or in its place."""
        self.is_expecting = True
        self._missed.clear()
        if row.state in UNRESOLVED or self._is_unanswered(row.key):
            self._reconciler.hear(row, task_id)

    def _ring(self, watch: Watch | None, state: TaskState, *, is_believed: bool = False) -> None:
        if watch is None:
            return
        if state is TaskState.PROCESSING:
            self._watcher.note_beginning(watch)
        elif is_believed and state.is_terminal:
            self._watcher.believe(watch, state)
        elif not goes_on(state):
            self._watcher.ring(watch)

    # What other processes hear

    def listen(self) -> None:
        """Look, from now on and in this event loop, for callbacks that came to other processes."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self._loop = loop
        self._missed.clear()  # by the other loop's clock
        if self._journal.is_shared:
            self.listen_again(loop)

    def listen_again(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again a little later, unless another loop is served by then."""
        if loop is self._loop:
            self._timer = loop.call_later(_LISTENING, _listen, ref(self), loop)

    def look(self) -> None:
        """Act on what other processes have heard, if anybody here may care."""
        if self._place is None:  # what came before is not for who waits now, but for lost answers: they ask for it
            self._place = self._journal.newest_heard()
            self._own = {place for place in self._own if place > (self._place or 0)}
        if self._place is None or not (self._own or self._is_busy()):
            return
        for heard in self._journal.heard(self._place):
            self._place = heard.place
            if heard.place in self._own:
                self._own.discard(heard.place)
            elif self._is_ours(heard.row):
                self._hear(heard.row, heard.task_id)
                self._reconciler.note_found(heard.row)
                self._ring(self._watcher.known(heard.row.task_id), _STATES.get(heard.state, TaskState.UNKNOWN))

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = None

    def close(self) -> None:
        """Do nothing any more but to keep what still comes, in a journal that is opened for it."""
        self._is_closed = True


def _listen(found: ref[Bell], loop: asyncio.AbstractEventLoop) -> None:
    """Look, and go on looking as long as the bell lives: its timer must not keep it alive."""
    if (bell := found()) is not None:
        try:
            bell.look()
        finally:
            bell.listen_again(loop)
