"""The paid call: the only place that may ever send one.

The rule: a creation is sent again only if the server provably never saw it whole (its last byte was withheld), or
refused it at the door (429, or 503 with SystemThrottling, and nothing beside it that says otherwise). Everything else
that is not a definite refusal is unknown: it may be paid, so it is looked for and reported, and never sent again
without the user's consent.

`verdict.py` says what an answer means, `upload.py` how the bytes leave; here one submission waits for its turn, goes
out, and has each step written in the journal.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import define, field

from vidu_async import bodies
from vidu_async.events import Committed, Retrying, Throttled
from vidu_async.flight import Flight, Phase
from vidu_async.journal import SUBJECTS, Row, RowState
from vidu_async.protocol.errors import (
    APIError,
    ConnectError,
    Paid,
    RateLimitError,
    RequestTimeoutError,
    SubmissionUnknownError,
    TLSError,
    TransportError,
    ViduError,
)
from vidu_async.protocol.stamps import stamped
from vidu_async.retry import waits
from vidu_async.turn import Turn
from vidu_async.verdict import LostAnswerError, is_throttle, judge, stops_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.events import Event
    from vidu_async.journal import Ledger
    from vidu_async.limiter import Limiter, Permit
    from vidu_async.protocol.calls import Call
    from vidu_async.transport import Transport

T = TypeVar("T")
E = TypeVar("E", bound=ViduError)

_BLIND = (
    "Do not submit it anew: this gateway lists no tasks, so look for its task where the gateway shows them; "
    "client.resolve() then settles it by its key."
)
_ATTEMPTS = 4
"""Tries at having a request seen whole."""


def noted(error: E, paid: Paid, key: str, phase: Phase = Phase.QUEUED) -> E:
    """Say in an error what it means for which submission."""
    error.paid, error.key = paid, key
    if not isinstance(error, ConnectError):  # it says more exactly where connecting stopped
        error.phase = phase.word
    return error


def unknown(row: Row, when: str = "was sent", *, can_look: bool = True) -> SubmissionUnknownError:
    """Return the error of a submission that may be paid; `can_look` is whether its task may still be found."""
    moment = None if row.committed_at is None else datetime.fromtimestamp(row.committed_at, UTC)
    return SubmissionUnknownError(
        f"submission {row.key} {when} and may be paid, but its answer is lost ({row.evidence})",
        key=row.key,
        evidence=row.evidence,
        token=row.token,
        endpoint=row.endpoint,
        committed_at=moment,
        trace_id=row.trace_id,
        advice="" if can_look else _BLIND,
    )


@define(eq=False)
class Breaker:
    """Stops the submissions of a client at the first sign that all of them would be refused."""

    _cause: APIError | None = None

    def trip(self, error: ViduError | None) -> None:
        """Stop if this refusal stands for all."""
        if self._cause is None and isinstance(error, APIError) and stops_all(error):
            self._cause = error

    def check(self, key: str) -> None:
        """Raise the refusal that stopped everything, without asking the server once more."""
        if (cause := self._cause) is None:
            return
        error = type(cause)(
            cause.message,
            status=cause.status,
            reason=cause.reason,
            shown=f"{cause.message or 'refused'}; not sent, since all submissions stopped at the first such answer",
            advice=f"{type(cause).advice} Then call client.resume().",
        )
        raise noted(error, "no", key)

    def reset(self) -> None:
        """Let submissions through again."""
        self._cause = None


@define(eq=False)
class Submission(Generic[T]):
    """One paid call, from its place in the queue to its answer."""

    row: Row
    call: Call[T]
    body: dict[str, Any] = field(repr=False)
    """The call's body with its local files looked at (`media.resolved`)."""
    transport: Transport
    limiter: Limiter
    journal: Ledger
    breaker: Breaker
    place: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    """Returns the body with texts for those of its files that go another way, and have gone it."""
    call_back: Callable[[str], str] | None
    """Returns the URL at which a submission is called back, by its token; None if none is."""
    is_abandoned: Callable[[], bool]
    """Whether nobody waits for it any more: then it is not tried again."""
    report: Callable[[Event], None]
    is_bound: bool = False
    """Whether it can no longer be withdrawn: it is on its way, or what became of it is being found out."""
    permit: Permit | None = None
    """What it holds of the limiter while it is being sent."""
    flight: Flight = field(factory=Flight)
    """How far the latest attempt has come."""
    _unseen: int = field(default=0, init=False)

    async def run(self) -> tuple[T, Permit]:
        """Send, once; return what was created, with the permit whose in-flight place it now takes.

        Raises:
            SubmissionUnknownError: it may have been created.
            ViduError: nothing was.

        """
        turn, pauses = Turn(self.limiter, self.transport.timeouts.submit), waits()
        while True:
            permit = self.permit = await self._come(turn)
            self.flight, keeps = Flight(), False
            try:
                self.breaker.check(self.row.key)
                created = await self._attempt()
                permit.accepted()
                keeps = True
                return created, permit  # noqa: TRY300 - what follows the try is the next attempt
            except ViduError as error:
                pause = self._pause_before_next(error, turn, next(pauses))
                self._note_end(error, is_last=pause is None)
                if pause is None:
                    raise
                self.is_bound = False
                keeps = pause == 0  # it is given back when the next one is asked for, at once
            finally:
                if not keeps:
                    permit.release()
            if pause:
                await asyncio.sleep(pause)

    async def _come(self, turn: Turn) -> Permit:
        """Wait for a permit; for how long, if the server refuses, is the turn's to say."""
        try:
            return await turn.come()
        except RateLimitError as error:
            self._note_end(error, is_last=True)
            raise

    async def _attempt(self) -> T:
        """Send once and judge the answer."""
        flight, key = self.flight, self.row.key
        content = bodies.body_of(await self._placed())  # only now: those still waiting should not fill the memory
        self.is_bound = True
        try:
            answer = await self.transport.send(self.call, content, flight, self._commit)
        except ViduError as error:
            if not flight.may_be_paid:
                raise noted(error, "no", key, flight.phase) from None
            lost = LostAnswerError(error.said)
        else:
            try:
                return judge(self.call, answer)
            except ViduError as error:
                self.breaker.trip(error)
                raise noted(error, "no", key, flight.phase) from None
            except LostAnswerError as error:
                lost = error
        self.breaker.trip(lost.refusal)
        if not flight.may_be_paid:
            said = f"the server answered before it had seen the request whole ({lost.evidence})"
            raise noted(TransportError(said), "no", key, flight.phase)
        self.journal.note(self.row, RowState.UNKNOWN, evidence=lost.evidence, trace_id=lost.trace_id)
        raise unknown(self.row)

    async def _placed(self) -> dict[str, Any]:
        """Return the body as it is sent. Nothing of the creation has left while its files go another way."""
        try:
            body = await self.place(self._stamped())
        except ViduError as error:
            raise noted(error, "no", self.row.key) from None
        self.breaker.check(self.row.key)  # that may have taken a while
        return body

    def _stamped(self) -> dict[str, Any]:
        """Return the body with what its task is found by: a mark, unless the caller has a payload, and a callback."""
        row, body = self.row, self.body
        if row.endpoint != SUBJECTS and "payload" not in body:
            body = {**body, "payload": stamped(row.token)}
        if row.is_called_back and self.call_back is not None:
            body = {**body, "callback_url": self.call_back(row.token)}
        return body

    async def _commit(self) -> None:
        await self.journal.commit(self.row)
        self.report(Committed(key=self.row.key, attempt=self.row.attempt))

    def _pause_before_next(self, error: ViduError, turn: Turn, pause: float) -> float | None:
        """Return the seconds until it may ask for its next permit; None if there is no next attempt."""
        if self.flight.phase is Phase.QUEUED:  # not even connecting began: it was stopped, or a file did not go its way
            return None
        if isinstance(error, RateLimitError) and is_throttle(error):
            comes_again = turn.refused(error, pause)  # told in any case, for the others
            wanted = error.retry_after
            self.report(Throttled(key=self.row.key, pause=turn.pause, reason=error.reason, retry_after=wanted))
            return 0.0 if comes_again and not self.is_abandoned() else None
        is_unseen = isinstance(error, _UNSEEN) and error.paid == "no" and not isinstance(error, TLSError)
        self._unseen += is_unseen
        if not is_unseen or self._unseen >= _ATTEMPTS or self.is_abandoned():
            return None
        self.report(Retrying(key=self.row.key, attempt=self._unseen, pause=pause, error=error.said))
        return pause

    def _note_end(self, error: ViduError, *, is_last: bool) -> None:
        """Write in the journal how an attempt ended that created nothing."""
        if self.row.state is RowState.UNKNOWN:
            return
        if is_last and self.row.possible_duplicate:  # an earlier attempt may have created something
            self.journal.note(self.row, RowState.HELD, evidence=f"{self.row.evidence}; sent again: {error.said}")
            return
        if is_last and self.flight.phase >= Phase.UPLOADING and isinstance(error, APIError):
            known = {"status": error.status, "reason": error.reason, "trace_id": error.trace_id}
            self.journal.note(self.row, RowState.REFUSED, **known)
        elif is_last and self.flight.may_be_paid:  # a redirect: nothing was created, and nothing is sent elsewhere
            self.journal.note(self.row, RowState.REFUSED, evidence=error.said)
        else:
            self.recall()

    def recall(self) -> None:
        """Write in the journal that nothing left whole, where it was told that something would."""
        if self.row.state is RowState.COMMITTED:
            self.journal.note(self.row, RowState.PREPARED)


_UNSEEN = (ConnectError, TransportError, RequestTimeoutError)
"""What may be tried again if nothing was seen whole."""
