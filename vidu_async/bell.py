"""What a client does when it is called back: it keeps that, and rings for whoever waits. The result is asked for.

A callback may come before the answer of its creation, instead of it, twice, in the wrong order, or to another process
with the same journal: the journal tells all of them, and each looks there often while anybody waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import ref

from attrs import define, field

from vidu_async.journal import ENDED, RowState
from vidu_async.protocol.models import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.journal import Ledger, Row
    from vidu_async.protocol.notices import Notice
    from vidu_async.protocol.signing import Signer
    from vidu_async.reconcile import Reconciler
    from vidu_async.watch import Watch
    from vidu_async.watcher import Watcher

_LISTENING = 0.05
"""Seconds between looks for what other processes have heard."""
_GOES_ON = frozenset({TaskState.CREATED, TaskState.QUEUEING, TaskState.PROCESSING})


@define(eq=False)
class Bell:
    """One client's. It is what its `CallbackReceiver` knows of it (`callbacks.Subscriber`)."""

    signer: Signer | None
    """Signs as those who call back do, if the client's key is the one."""
    _site: str
    _journal: Ledger
    _watcher: Watcher
    _reconciler: Reconciler
    _watch_of: Callable[[Row], Watch]
    _is_sending: Callable[[str], bool]
    """Whether a submission is under way here, by its key."""
    _offset: Callable[[], float]
    _is_busy: Callable[[], bool]
    """Whether anybody waits for anything."""
    _place: int = field(default=0, init=False)
    """Up to which callbacks of the journal are known."""
    _own: set[int] = field(factory=set, init=False)
    """Places beyond it that came in here."""
    _closes_journal: bool = field(default=False, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)

    @property
    def clock_offset(self) -> float:
        """Seconds by which the gateway's clock is ahead of this machine's."""
        return self._offset()

    async def knows(self, token: str) -> bool:
        """Whether a submission has this token."""
        return self._is_ours(await self._journal.row_of(token))

    async def hear(self, notice: Notice, *, is_believed: bool) -> bool:
        """Write a callback into the journal, and act on it; return whether a submission has its token."""
        heard = await self._journal.hear(notice.token, notice.task_id, notice.state.value)
        if self._closes_journal:
            await self._journal.aclose()
        if heard is None or not self._is_ours(heard.row):
            return False
        self._own.add(heard.place)
        row = heard.row
        self._reconciler.hear(row, row.task_id or notice.task_id, is_sent_here=self._is_sending(row.key))
        if row.state is RowState.ACCEPTED or row.state in ENDED:
            is_open = row.state is RowState.ACCEPTED
            watch = self._watch_of(row) if is_open else self._watcher.known(row.task_id)
            self._ring(watch, notice.state, is_believed=is_believed)
        return True

    def _is_ours(self, row: Row | None) -> bool:
        return row is not None and row.site == self._site

    def _ring(self, watch: Watch | None, state: TaskState, *, is_believed: bool = False) -> None:
        if watch is None:
            return
        if state is TaskState.PROCESSING:
            self._watcher.note_beginning(watch)
        elif is_believed and state.is_terminal:
            self._watcher.believe(watch, state)
        elif state not in _GOES_ON:
            self._watcher.ring(watch)

    # What other processes hear

    def listen(self) -> None:
        """Look, from now on and in this event loop, for callbacks that came to other processes."""
        loop = asyncio.get_running_loop()
        if self._journal.is_shared and loop is not self._loop:
            self._loop = loop
            self.listen_again(loop)

    def listen_again(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again a little later."""
        self._timer = loop.call_later(_LISTENING, _listen, ref(self), loop)

    def look(self) -> None:
        """Act on what other processes have heard, if anybody here may care."""
        if self._own or self._is_busy():
            for heard in self._journal.heard(self._place):
                self._place = heard.place
                if heard.place in self._own:
                    self._own.discard(heard.place)
                elif self._is_ours(heard.row):
                    self._hear_from_afar(heard.row, heard.task_id, heard.state)

    def _hear_from_afar(self, row: Row, task_id: str, state: str) -> None:
        """Act on what another process has heard: nobody but who waits here needs it."""
        self._reconciler.hear(row, row.task_id or task_id, is_sent_here=self._is_sending(row.key))
        self._ring(self._watcher.known(row.task_id), TaskState(state))

    def stop(self, *, closes_journal: bool) -> None:
        """Listen no more. What still comes is kept all the same, in a journal that is opened for it."""
        self._closes_journal = closes_journal
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = None


def _listen(found: ref[Bell], loop: asyncio.AbstractEventLoop) -> None:
    """Look, and go on looking as long as the bell lives: its timer must not keep it alive."""
    if (bell := found()) is not None:
        bell.look()
        bell.listen_again(loop)
