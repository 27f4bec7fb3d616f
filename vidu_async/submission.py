"""The paid call: the only place that may ever send one.

The rule: a creation is sent again only if it provably never left (no connection came about), or the server refused it
at the door (429, or 503 with SystemThrottling, and nothing beside it that says otherwise). Everything else that is not
a definite refusal is unknown: it may be paid, so it is reported and never sent again.

`judge` decides without I/O; `Submission.run` does the waiting and sending; the `Outbox` owns what is under way, so that
no caller's end cuts a paid call short.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from attrs import define, field

from vidu_async import media
from vidu_async.journal import MemoryJournal, Row, RowState
from vidu_async.protocol.errors import (
    APIError,
    ConfigError,
    ConnectError,
    Paid,
    ProtocolError,
    RateLimitError,
    SubmissionUnknownError,
    TLSError,
    ViduError,
)
from vidu_async.protocol.refusals import error_from
from vidu_async.retry import waits
from vidu_async.transport import Flight

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.limiter import Limiter, Permit
    from vidu_async.protocol.answers import Answer
    from vidu_async.protocol.calls import Call
    from vidu_async.transport import Transport

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E", bound=ViduError)

_log = logging.getLogger("vidu_async")

_REFUSALS = frozenset({400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429})
"""Statuses by which nothing was created. Not 408, 409 and 499: they may be the echo of a creation."""
_PLAIN_REFUSALS = frozenset({404, 405, 413, 414, 415})
"""Those that say so even where their body is some proxy's page: nobody there takes such a request."""
_THROTTLED = 429
_IN_PROCESS = "OperationInProcess"
"""A 400 that may speak of this very request. https://platform.vidu.com/docs/error-code."""
_ATTEMPTS = 4
"""Tries at making a connection."""
_DRAIN = 30.0
"""Seconds that closing waits for requests on their way."""
_INTERRUPTED = "the client or its event loop was closed before the answer came"
_LEAST_PAUSE = 0.5
"""Seconds between attempts even if the server asks for less."""
_PATIENCE = 120.0
"""Seconds of Retry-After beyond which a submission fails instead of waiting."""


def _noted(error: E, paid: Paid, key: str) -> E:
    error.paid, error.key = paid, key
    return error


def judge(call: Call[T], answer: Answer, key: str) -> T:
    """Read the answer of a creation, and what it means for the money.

    Raises:
        RateLimitError: nothing was created, and the server asks to come back later.
        APIError, ProtocolError: nothing was created.
        SubmissionUnknownError: something may have been.

    """
    evidence = ""
    if answer.is_ok:
        try:
            return call.read(answer)
        except APIError:
            pass  # a refusal with the status of a success is judged like any other
        except Exception as failure:  # noqa: BLE001 - whatever reading stumbles over, the task may exist and be paid
            evidence = f"answer {answer.status} without a task: {getattr(failure, 'said', failure)}"
    if evidence:
        raise _unknown(key, evidence)
    error = error_from(answer, call.body)
    if is_throttle(error) or _is_refusal(error, answer):
        raise _noted(error, "no", key)
    if 300 <= answer.status < 400 and not error.tasks:  # noqa: PLR2004 - the range is the definition
        target = answer.headers.get("location", "nowhere").partition("?")[0]
        said = f"{call.url} redirects to {target}, which is not followed: nothing was created"
        raise _noted(ProtocolError(said), "no", key)
    named = f"; it names task {', '.join(error.tasks)}" if error.tasks else ""
    raise _unknown(key, f"answer {error.said}{named}")


def _is_refusal(error: APIError, answer: Answer) -> bool:
    """Whether nothing was created: every status says so that the answer has or repeats, in words of the API."""
    is_said = error.readable or not answer.body.strip() or answer.status in _PLAIN_REFUSALS
    return is_said and error.reason != _IN_PROCESS and _agrees(error, _REFUSALS)


def _agrees(error: APIError, statuses: frozenset[int]) -> bool:
    """Whether everything that an answer says is of these statuses, and it names no task."""
    return error.is_whole and not error.tasks and statuses.issuperset(error.statuses)


def _unknown(key: str, evidence: str, when: str = "was sent") -> SubmissionUnknownError:
    said = f"submission {key} {when} and may be paid, but its answer is lost ({evidence})"
    return SubmissionUnknownError(said, key=key, evidence=evidence)


def is_throttle(error: ViduError) -> bool:
    """Whether the server refused at the door and would take the same request later."""
    if not isinstance(error, RateLimitError):
        return False
    if error.status == 503 and error.reason == "SystemThrottling":  # noqa: PLR2004 - Service Unavailable
        return _agrees(error, _REFUSALS | {503})
    return _THROTTLED in error.statuses and _agrees(error, _REFUSALS)


@define(eq=False)
class Submission(Generic[T]):
    """One paid call, from its place in the queue to its answer."""

    key: str
    call: Call[T]
    body: dict[str, Any]
    """The call's body with its local files opened (`media.resolved`)."""
    transport: Transport
    limiter: Limiter
    is_sending: bool = False
    """False while it waits for a permit or between attempts: then it can be withdrawn, unpaid."""
    may_be_paid: bool = False
    """Whether a request left whose answer never came."""
    is_abandoned: bool = False
    """Whether nobody waits for it any more: then it is not tried again."""
    permit: Permit | None = None
    """What it holds of the limiter while it is being sent."""

    async def run(self) -> tuple[T, Permit]:
        """Send, once; return what was created, with the permit whose in-flight place it now takes."""
        now = asyncio.get_running_loop().time
        pauses = waits()
        unsent, throttled_since, has_waited = 0, None, False
        while True:
            permit = self.permit = await self.limiter.acquire(first=has_waited)
            has_waited = True
            try:
                created = await self._attempt()
                permit.sent()
                return created, permit  # noqa: TRY300 - what follows the try is the next attempt
            except ConnectError as error:
                permit.release()
                unsent += 1
                if isinstance(error, TLSError) or unsent == _ATTEMPTS or self.is_abandoned:
                    raise
                pause = next(pauses)
            except RateLimitError as error:
                permit.release()
                throttled_since = now() if throttled_since is None else throttled_since
                pause = max(error.retry_after, _LEAST_PAUSE) if error.retry_after else next(pauses)
                too_late = now() + pause > throttled_since + self.transport.timeouts.submit
                if not is_throttle(error) or pause > _PATIENCE or too_late or self.is_abandoned:
                    raise
            except BaseException:
                permit.release()
                raise
            await asyncio.sleep(pause)

    async def _attempt(self) -> T:
        """Send once and judge the answer."""
        body = await self._encoded()
        flight = Flight()
        self.is_sending = True
        try:
            answer = await self.transport.send(self.call, body, flight)
        except ViduError as error:
            if not flight.left:
                _noted(error, "no", self.key)
                raise
            evidence = error.said
        except BaseException:  # cancelled, or interrupted from the keyboard
            self.may_be_paid = flight.left
            if flight.left:
                _log.warning("submission %s was interrupted on its way: it may be paid", self.key)
            raise
        else:
            return judge(self.call, answer, self.key)
        finally:
            self.is_sending = False
        raise _unknown(self.key, evidence)

    async def _encoded(self) -> bytes:
        """Build the body only now: those still waiting for a permit should not fill the memory."""
        if media.has_files(self.body):
            return await asyncio.to_thread(media.encoded, self.body)
        return media.encoded(self.body)


@define(eq=False)
class _Sending:
    """A paid call under way and how many callers wait for it."""

    submission: Submission[Any]
    row: Row
    done: asyncio.Task[Any]
    callers: int = 0
    is_heard: bool = False
    """Whether a caller was told of the end."""


@define(eq=False)
class Outbox:
    """The paid calls of a client that are under way."""

    _journal: MemoryJournal
    _sends: dict[str, _Sending] = field(factory=dict, init=False)

    async def send(self, submission: Submission[T], row: Row, accept: Callable[[T, Permit], R]) -> R:
        """Have a paid call sent by a task of its own; `accept` is told of the answer even if the caller has gone."""

        async def deliver() -> R:
            return accept(*await submission.run())

        sending = _Sending(submission, row, asyncio.get_running_loop().create_task(deliver()))
        self._sends[row.key] = sending
        sending.done.add_done_callback(lambda _: self._ended(sending))
        return cast("R", await self._wait(sending))

    async def join(self, row: Row) -> object | None:
        """Wait for the call that a key named before, if it is still under way: nothing is sent.

        Raises:
            SubmissionUnknownError: its answer was lost.

        """
        if row.state is RowState.SENDING:
            sending = self._sends[row.key]
            if sending.done.get_loop() is not asyncio.get_running_loop():
                said = (
                    f"submission {row.key} is under way in another event loop, which has stopped; nothing is sent anew"
                )
                raise _noted(ConfigError(said), "maybe", row.key)
            return await self._wait(sending)
        if row.state is RowState.UNKNOWN:
            raise _unknown(row.key, row.evidence, when="was sent before")
        return None

    def write_off(self) -> None:
        """Settle what was under way in a loop that was closed without a word to its tasks."""
        for sending in list(self._sends.values()):
            if sending.done.get_loop().is_closed():
                sending.submission.may_be_paid |= sending.submission.is_sending
                self._settle(sending, None)
                if sending.submission.permit is not None:
                    sending.submission.permit.release()

    def _ended(self, sending: _Sending) -> None:
        """Let go of a paid call; if nobody heard of its end, the log is where it is told."""
        error = None if sending.done.cancelled() else sending.done.exception()
        self._settle(sending, error)
        row = sending.row
        if sending.callers == 0 and not sending.is_heard and not sending.done.cancelled():
            said = f"failed: {error}" if error else f"went through as task {row.task_id or '(none)'}"
            _log.log(logging.ERROR if error else logging.INFO, "submission %s, whose caller left, %s", row.key, said)

    def _settle(self, sending: _Sending, error: BaseException | None) -> None:
        """Note in the journal what became of a paid call that did not become a task."""
        if self._sends.get(sending.row.key) is not sending:
            return  # settled already
        del self._sends[sending.row.key]
        if sending.row.state is not RowState.SENDING:
            return
        if isinstance(error, SubmissionUnknownError):
            self._journal.unknown(sending.row, error.evidence)
        elif sending.submission.may_be_paid:
            self._journal.unknown(sending.row, _INTERRUPTED)
        else:
            self._journal.forget(sending.row)

    async def _wait(self, sending: _Sending) -> object:
        """Wait for a paid call. The last caller to leave withdraws it, unless it is on its way."""
        caller = asyncio.current_task()
        cancellations = caller.cancelling() if caller else 0
        sending.callers += 1
        sending.submission.is_abandoned = False
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
            sending.submission.is_abandoned = sending.callers == 0
            if sending.callers == 0 and not sending.submission.is_sending and not sending.done.done():
                sending.done.cancel()
                self._settle(sending, None)  # at once: the same key may be used again before the task has ended
        key = sending.submission.key
        if sending.submission.may_be_paid:
            raise _unknown(key, _INTERRUPTED)
        raise _noted(ConfigError(f"the client was closed before submission {key} was sent; nothing is paid"), "no", key)

    async def aclose(self) -> None:
        """Withdraw what waits, and give what is on its way time to come to its answer."""
        for sending in list(self._sends.values()):
            sending.submission.is_abandoned = True
            if not sending.submission.is_sending:
                sending.done.cancel()
        if sends := [sending.done for sending in self._sends.values()]:
            _, late = await asyncio.wait(sends, timeout=_DRAIN)
            for send in late:
                send.cancel()
            await asyncio.gather(*late, return_exceptions=True)
