"""The paid calls of a client that are under way, each a task of its own.

They belong to the client, not to whoever waits for them: no caller's end cuts a paid call short, and two callers of one
key share one call. Whoever comes later with the same key is told by the journal what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from attrs import define, evolve, field, frozen

from vidu_async.events import SubmissionFailed, Submitted
from vidu_async.journal import ENDED, SUBJECTS, UNRESOLVED, Row, RowState, conflict
from vidu_async.protocol.errors import ConfigError, JournalError, SubmissionUnknownError, ViduError
from vidu_async.submission import Breaker, Submission, noted, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.events import Event
    from vidu_async.journal import Ledger
    from vidu_async.limiter import Limiter, Permit
    from vidu_async.protocol.calls import Call
    from vidu_async.reconcile import Reconciler
    from vidu_async.transport import Transport

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger("vidu_async")

_DRAIN = 30.0
"""Seconds that closing waits for requests on their way."""
_INTERRUPTED = "the client or its event loop was closed before the answer came"
_CALLED = "but a callback came for it, so a task was made of it"
_SIBLING_PAUSE = 0.05
"""Seconds between looks at a submission that another process has in hand."""


@frozen
class Order(Generic[T, R]):
    """What is to be sent, and what to make of the answer."""

    wanted: Row
    call: Call[T]
    body: dict[str, Any] = field(repr=False)
    accept: Callable[[Row, T, Permit | None], R]
    """Called with the answer, even if the caller has gone. It must not fail or wait: the task is paid."""
    recall: Callable[[Row], R]
    """Called instead where the key names a task already."""
    retry_failed: bool = False


@define(eq=False)
class _Sending:
    """A paid call under way and how many callers wait for it."""

    order: Order[Any, Any]
    row: Row
    done: asyncio.Task[Any] = field(init=False)
    submission: Submission[Any] | None = None
    callers: int = 0
    is_heard: bool = False
    """Whether a caller was told of the end."""
    is_abandoned: bool = False
    """Whether nobody waits for it any more: then it is not tried again."""

    def has_left(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.is_abandoned

    @property
    def is_bound(self) -> bool:
        """Whether it can no longer be withdrawn."""
        return self.submission is not None and self.submission.is_bound

    @property
    def is_on_its_way(self) -> bool:
        """Whether an answer may still come."""
        return self.is_bound and self.row.state not in UNRESOLVED


@define(eq=False)
class Outbox:
    """Sends orders, once each, and knows what is under way."""

    _journal: Ledger
    _limiter: Limiter
    _reconciler: Reconciler
    _resends: bool
    """Whether what was not found in the quiet time is sent again, as the user chose."""
    _place: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    """Returns a body with texts for those of its files that go another way, as `Submission.place`."""
    _call_back: Callable[[str], str] | None
    """As `Submission.call_back`."""
    _report: Callable[[Event], None]
    breaker: Breaker = field(factory=Breaker, init=False)
    _sends: dict[str, _Sending] = field(factory=dict, init=False)
    _lost: dict[str, Order[Any, Any]] = field(factory=dict, init=False)
    """What may be paid and was not found, by key: the user may want it sent again."""

    async def send(self, order: Order[T, R], transport: Transport) -> R:
        """Have an order sent by a task of its own, or join the one that its key named before.

        Raises:
            IdempotencyConflictError: the key names another request.
            SubmissionUnknownError: it may be paid.
            ViduError: nothing is paid.

        """
        key = order.wanted.key
        sending = self._sends.get(key)
        if sending is None:
            sending = self._begin(order, transport)
        elif error := conflict(sending.order.wanted, order.wanted):
            raise error
        elif sending.done.get_loop() is not asyncio.get_running_loop():
            said = f"submission {key} is under way in another event loop, which has stopped; nothing is sent anew"
            raise noted(ConfigError(said), "maybe", key)
        return cast("R", await self._wait(sending))

    async def send_again(self, row: Row, transport: Transport) -> object | None:
        """Send once more what may be paid, by the user's consent; None if its request is no longer known here."""
        if row.key in self._sends:
            raise ConfigError(f"submission {row.key} is still being looked for; wait for what its submit() says")
        self._journal.note(row, RowState.PREPARED, possible_duplicate=True)
        order = self._lost.pop(row.key, None)
        if order is None:
            await self._journal.settled()
            return None
        return await self._wait(self._begin(evolve(order, wanted=row), transport))

    async def answered(self, key: str) -> None:
        """Wait until nothing is under way here under this key, without being one of its callers."""
        if sending := self._sends.get(key):
            await asyncio.wait([sending.done])

    def in_hand(self, key: str) -> Row | None:
        """Return a submission that is under way here, as it stands now."""
        sending = self._sends.get(key)
        return sending.row if sending else None

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._sends)

    def forget(self, key: str) -> None:
        """Keep no longer what was needed to send it again."""
        self._lost.pop(key, None)

    def _unknown(self, row: Row, when: str = "was sent") -> SubmissionUnknownError:
        return unknown(row, when, can_look=self._reconciler.can_look or row.is_called_back)

    def _begin(self, order: Order[Any, Any], transport: Transport) -> _Sending:
        sending = self._sends[order.wanted.key] = _Sending(order, order.wanted)
        sending.done = asyncio.get_running_loop().create_task(self._deliver(sending, transport))
        sending.done.add_done_callback(lambda _: self._ended(sending))
        return sending

    async def _deliver(self, sending: _Sending, transport: Transport) -> object:
        """Claim the key, send, look for what was lost, and have the answer taken in."""
        order = sending.order
        row, is_new = await self._claim(order)
        sending.row = row
        if not is_new:
            if row.state in UNRESOLVED:
                self._reconciler.follow(row)
                raise self._unknown(row, "was sent before")
            return order.recall(row)
        self._report(Submitted(key=row.key, endpoint=row.endpoint, model=row.model))
        submission = sending.submission = Submission(
            row,
            order.call,
            order.body,
            transport,
            self._limiter,
            self._journal,
            self.breaker,
            self._place,
            self._call_back,
            sending.has_left,
            self._report,
        )
        try:
            created, permit = await self._created(sending, submission)
        except ViduError as error:
            if row.possible_duplicate and error.paid == "no":
                error.paid = "maybe"  # as to this attempt it is right, but an earlier one may have been paid
            raise
        if isinstance(created, Row):
            return order.recall(created)
        accepted = order.accept(row, created, permit)
        try:
            await self._journal.settled()
        except asyncio.CancelledError:
            pass  # the loop is ending: the answer is known all the same, and is being written
        except JournalError as error:
            _log.error("task %s is paid, and the journal could not be told: %s", row.task_id, error.said)
        return accepted

    async def _claim(self, order: Order[Any, Any]) -> tuple[Row, bool]:
        """Claim the order's key; if another process is sending it right now, wait for what becomes of it."""
        while True:
            try:
                row, is_new = await self._journal.prepare(order.wanted, retry_failed=order.retry_failed)
            except JournalError as error:
                raise noted(error, "no", order.wanted.key) from None
            if is_new or row.state not in {RowState.PREPARED, RowState.COMMITTED}:
                return row, is_new
            await asyncio.sleep(_SIBLING_PAUSE)

    async def _created(self, sending: _Sending, submission: Submission[Any]) -> tuple[object, Permit | None]:
        """Send; if the answer is lost look for its task, and send again after the quiet time if the user chose so.

        Returns what was created; or the row, where somebody else has found out what became of it.
        """
        row = sending.row
        resends = self._resends and not row.possible_duplicate  # once
        with contextlib.suppress(SubmissionUnknownError):  # it is looked for outside, to be no context of what comes
            return await submission.run()
        self._lost[row.key] = sending.order
        if row.endpoint == SUBJECTS:  # no list tells how a subject came to be
            self._journal.note(row, RowState.HELD)
        elif task := await self._reconciler.search(row, to_the_end=resends):
            return task, None
        now = self._journal.find(row.key)  # the user or another process may have settled it meanwhile
        if now is not None and now.state in {RowState.ACCEPTED, *ENDED}:
            return now, None
        is_open = now is not None and now.state in UNRESOLVED
        if resends and (self._reconciler.is_called(row) or await self._journal.names_of(row.token)):
            if now is not None and now.state is RowState.UNKNOWN:
                self._journal.note(row, RowState.HELD, evidence=f"{row.evidence}; {_CALLED}")
            raise self._unknown(row)
        if not (resends and is_open and self._reconciler.has_looked and not sending.is_abandoned):
            raise self._unknown(row)
        self._journal.note(row, RowState.PREPARED, possible_duplicate=True)
        _log.warning("submission %s was not found and is sent again, as on_unknown='resend' says", row.key)
        submission.is_bound = False
        return await self._created(sending, submission)

    def _ended(self, sending: _Sending) -> None:
        """Let go of a paid call; if nobody heard of its end, the log is where it is told."""
        error = None if sending.done.cancelled() else sending.done.exception()
        self._settle(sending)
        row = sending.row
        if row.state not in UNRESOLVED:
            self._reconciler.answered(row)
        if sending.submission is not None and (error or sending.done.cancelled()):
            self._report(_failed(row, error))
        if sending.callers == 0 and not sending.is_heard and not sending.done.cancelled():
            said = f"failed: {error}" if error else f"went through as task {row.task_id or '(none)'}"
            _log.log(logging.ERROR if error else logging.INFO, "submission %s, whose caller left, %s", row.key, said)

    def _settle(self, sending: _Sending) -> None:
        """Note in the journal what became of a paid call that was broken off."""
        key, row, submission = sending.order.wanted.key, sending.row, sending.submission
        if self._sends.get(key) is not sending:
            return  # settled already
        del self._sends[key]
        if submission is None:
            return
        if row.state is RowState.COMMITTED and submission.flight.may_be_paid:
            self._journal.note(row, RowState.UNKNOWN, evidence=_INTERRUPTED)
            _log.warning("submission %s was interrupted on its way: it may be paid", key)
        else:
            submission.recall()
        if row.state is RowState.PREPARED and row.possible_duplicate:
            self._journal.note(row, RowState.HELD)
        elif row.state is RowState.PREPARED:
            self._journal.drop(row)

    def write_off(self) -> None:
        """Settle what was under way in a loop that was closed without a word to its tasks."""
        for sending in list(self._sends.values()):
            if sending.done.get_loop().is_closed():
                self._settle(sending)
                if sending.submission is not None and sending.submission.permit is not None:
                    sending.submission.permit.release()

    async def _wait(self, sending: _Sending) -> object:
        """Wait for a paid call. The last caller to leave withdraws it, unless it is on its way."""
        caller = asyncio.current_task()
        cancellations = caller.cancelling() if caller else 0
        sending.callers += 1
        sending.is_abandoned = False
        try:
            answer = await asyncio.shield(sending.done)
            sending.is_heard = True
            return answer  # noqa: TRY300 - what follows the try is the client's end
        except asyncio.CancelledError:
            if caller is None or caller.cancelling() > cancellations or not sending.done.cancelled():
                raise
        except BaseException:
            sending.is_heard = True
            raise
        finally:
            sending.callers -= 1
            sending.is_abandoned = sending.callers == 0
            if sending.callers == 0 and not sending.is_bound and not sending.done.done():
                sending.done.cancel()
                self._settle(sending)  # at once: the same key may be used again before the task has ended
        key, row = sending.order.wanted.key, sending.row
        if row.state in UNRESOLVED:
            raise self._unknown(row)
        raise noted(ConfigError(f"the client was closed before submission {key} was sent; nothing is paid"), "no", key)

    async def aclose(self) -> None:
        """Withdraw what waits, give what is on its way time to come to its answer, and say what was left behind."""
        self.write_off()
        for sending in list(self._sends.values()):
            sending.is_abandoned = True
            if not sending.is_on_its_way:
                sending.done.cancel()
        sends = list(self._sends.values())
        if sends:
            _log.info("waiting up to %g s for %d creations on their way", _DRAIN, len(sends))
            _, late = await asyncio.wait([sending.done for sending in sends], timeout=_DRAIN)
            for send in late:
                send.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if left := [sending.row.key for sending in sends if sending.row.state in UNRESOLVED]:
            _log.warning("closed with %d submissions that may be paid: %s", len(left), ", ".join(left))


def _failed(row: Row, error: BaseException | None) -> SubmissionFailed:
    """Return what is told of a submission that came to no task; without an error it was withdrawn."""
    reason = "withdrawn" if error is None else getattr(error, "reason", "") or type(error).__name__
    paid = "maybe" if row.state in UNRESOLVED else getattr(error, "paid", None) or "no"
    return SubmissionFailed(key=row.key, reason=reason, error=str(error or ""), paid=paid)
