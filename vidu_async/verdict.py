"""What the answer to a paid call means for the money. Decided without I/O.

Three ends: a task was created, or nothing was (every word of the answer says so), or nobody can say. The last is never
guessed at: whatever is no plain refusal may have been paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from vidu_async.protocol.errors import (
    APIError,
    AuthenticationError,
    InsufficientCreditsError,
    Paid,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ViduError,
)
from vidu_async.protocol.refusals import error_from

if TYPE_CHECKING:
    from vidu_async.protocol.answers import Answer
    from vidu_async.protocol.calls import Call

T = TypeVar("T")

_REFUSALS = frozenset({400, 401, 402, 403, 404, 405, 413, 414, 415, 422, 429})
"""Statuses by which nothing was created. Not 408, 409 and 499: they may be the echo of a creation."""
_PLAIN_REFUSALS = frozenset({404, 405, 413, 414, 415})
"""Those that say so even where their body is some proxy's page: nobody there takes such a request."""
_THROTTLED = 429
_IN_PROCESS = "OperationInProcess"
"""A 400 that may speak of this very request. https://platform.vidu.com/docs/error-code."""


class LostAnswerError(Exception):
    """An answer that does not say whether anything was created. It never leaves the library."""

    paid: Paid = "maybe"

    def __init__(self, evidence: str, refusal: APIError | None = None) -> None:
        super().__init__(evidence)
        self.evidence, self.refusal = evidence, refusal
        self.trace_id = refusal.trace_id if refusal else ""


def judge(call: Call[T], answer: Answer) -> T:
    """Read the answer of a creation, and what it means for the money.

    Raises:
        RateLimitError: nothing was created, and the server asks to come back later.
        APIError, ProtocolError: nothing was created.
        LostAnswerError: something may have been.

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
        raise LostAnswerError(evidence)
    error = error_from(answer, call.body)
    error.paid = "no"
    if is_throttle(error) or _is_refusal(error, answer):
        raise error
    if 300 <= answer.status < 400 and not error.tasks:  # noqa: PLR2004 - the range is the definition
        target = answer.headers.get("location", "nowhere").partition("?")[0]
        raise ProtocolError(f"{call.url} redirects to {target}, which is not followed: nothing was created")
    named = f"; it names task {', '.join(error.tasks)}" if error.tasks else ""
    raise LostAnswerError(f"answer {error.said}{named}", error)


def _is_refusal(error: APIError, answer: Answer) -> bool:
    """Whether nothing was created: every status says so that the answer has or repeats, in words of the API."""
    is_said = error.readable or not answer.body.strip() or answer.status in _PLAIN_REFUSALS
    return is_said and error.reason != _IN_PROCESS and _agrees(error, _REFUSALS)


def _agrees(error: APIError, statuses: frozenset[int]) -> bool:
    """Whether everything that an answer says is of these statuses, and it names no task."""
    return error.is_whole and not error.tasks and statuses.issuperset(error.statuses)


def is_throttle(error: Exception) -> bool:
    """Whether the server refused at the door and would take the same request later."""
    if not isinstance(error, RateLimitError):
        return False
    if error.status == 503 and error.reason == "SystemThrottling":  # noqa: PLR2004 - Service Unavailable
        return _agrees(error, _REFUSALS | {503})
    return _THROTTLED in error.statuses and _agrees(error, _REFUSALS)


def stops_all(error: ViduError | None) -> bool:
    """Whether the next submission would be refused just the same: no credits, or the key may not do this."""
    kinds = (InsufficientCreditsError, AuthenticationError, PermissionDeniedError)
    return isinstance(error, kinds) and not error.is_upstream
