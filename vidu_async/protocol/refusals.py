"""Reading a refusal: what a server says went wrong, whatever shape it says it in.

Vidu says `{code, reason, message, metadata: {trace_id}}`. Gateways say it in shapes of their own, and repeat what
others told them, as JSON in a text, two or three deep. `dig` collects the words to a bounded depth, `error_from`
makes an error of them: by the reason first, by the status second. Nothing raises on a shape.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from vidu_async.protocol.checks import shown
from vidu_async.protocol.errors import (
    APIError,
    AuthenticationError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    PolicyViolationError,
    RateLimitError,
    ServerError,
)
from vidu_async.protocol.values import json_of, quoted_json, squeezed, text, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidu_async.protocol.answers import Answer


@frozen
class Reason:
    """A documented reason: the status it comes with, the class it is raised as, and what to do about it."""

    status: int
    kind: type[APIError]
    advice: str = ""
    """"" where the class has advice of its own."""
    is_certain: bool = False
    """Whether it shows that nothing was created, whatever status it came with."""


def _reasons(
    status: int, kind: type[APIError], *words: str, advice: str = "", is_certain: bool = False
) -> dict[str, Reason]:
    return dict.fromkeys(words, Reason(status, kind, advice, is_certain))


REASONS: dict[str, Reason] = {
    **_reasons(
        400,
        APIError,
        "BadRequest",
        "FieldLacking",
        "FieldUnwanted",
        "FieldItemCountOutOfRange",
        "FieldInvalid",
        advice="Correct the field that the message names; the same request will be refused again.",
    ),
    **_reasons(
        400,
        APIError,
        "PageSizeOutOfRange",  # of an image, in spite of its name
        "ImageFormatInvalid",
        "ImageSizeInvalid",
        "VideoFormatInvalid",
        advice="Give a picture (PNG, JPEG, WebP) or clip (MP4, AVI, MOV) within the documented sizes.",
    ),
    **_reasons(
        400,
        APIError,
        "ImageDownloadFailure",
        "VideoDownloadFailure",
        advice="Check that the link opens without a login, or give the file itself.",
    ),
    **_reasons(
        400,
        APIError,
        "OperationInProcess",
        advice="Look whether the task exists before you submit it again: this may speak of your own request.",
    ),
    **_reasons(
        400,
        PolicyViolationError,
        "TaskPromptPolicyViolation",
        "AuditSubmitIllegal",
        "CreationPolicyViolation",
        "PhotoAuditNotPass",
        "AuditFailed",
    ),
    **_reasons(400, InsufficientCreditsError, "CreditInsufficient"),
    **_reasons(400, APIError, "ModelUnavailable", advice="Choose a model that this endpoint and this account have."),
    **_reasons(400, APIError, "UserCancelled", advice="Submit it again if it is still wanted."),
    **_reasons(
        400,
        APIError,
        "ImageCheckBodyJointsFailed",
        "ImageCheckFaceFailed",
        "ImageObjectsUndetected",
        "FaceDetectFailure",
        "FaceDetectNotPass",
        "NoFaceDetected",
        "MultiFaceDetected",
        advice="Give another picture: Vidu does not find in this one what the request needs.",
    ),
    **_reasons(401, AuthenticationError, "Unauthorized"),
    **_reasons(403, PermissionDeniedError, "Forbidden"),
    **_reasons(404, NotFoundError, "TaskNotFound", "CreationNotFound", "NotFound"),
    **_reasons(409, APIError, "Conflict", advice="Look whether it exists already before you send it again."),
    **_reasons(429, RateLimitError, "QuotaExceeded", "TooManyRequests", "SystemThrottling"),
    **_reasons(499, APIError, "Canceled", advice="Look whether the task exists before you submit it again."),
    **_reasons(500, ServerError, "InternalServiceFailure", "Unknown"),
}
"""Vidu's reasons; in failed tasks the same words are `err_code`. https://platform.vidu.com/docs/error-code"""


def advice_on(word: str | None) -> str:
    """Return what to do about a failed task's `err_code`, "" if nothing is known of it."""
    known = REASONS.get(word or "")
    return (known.advice or known.kind.advice) if known else ""


GATEWAY_REASONS: dict[str, Reason] = {
    **_reasons(403, InsufficientCreditsError, "quota_not_enough", "insufficient_user_quota", "insufficient_quota"),
    **_reasons(401, AuthenticationError, "invalid_api_key"),
    **_reasons(
        404,
        ServerError,
        "model_not_found",
        advice="This gateway has no channel for the model now: choose another, or ask its operator.",
        is_certain=True,  # it is said before anything is passed on, with 503 or 404
    ),
    # The gateway's own troubles with its supplier, after which nobody knows what became of a creation.
    **_reasons(
        500,
        ServerError,
        "do_request_failed",
        "read_response_body_failed",
        "unmarshal_response_failed",
        "insert_task_failed",
    ),
}
"""Words of the software that most gateways run. https://github.com/QuantumNous/new-api"""

_BY_STATUS = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}
_UPSTREAM = frozenset({"fail_to_fetch_task", "upstream_error", "bad_response_status_code", "channel:invalid_key"})
"""By these a gateway says that the refusal is its supplier's."""
_NOT_YOURS: dict[type[APIError], str] = {
    kind: f"This is the gateway's own {what} at its supplier, not yours: tell its operator."
    for kind, what in (
        (AuthenticationError, "key"),
        (PermissionDeniedError, "permission"),
        (InsufficientCreditsError, "account"),
    )
}
_POLICY = re.compile(r"polic|sensitive|moderat|nsfw|content.?risk", re.IGNORECASE)
"""What undocumented words for broken content rules have in common."""
_POLICY_STATUSES = frozenset({400, 403, 422, 451})

_DEPTH = 12
"""Objects, lists and texts in one another; an answer repeated in an answer takes three."""
_NODES = 100
"""Objects, lists and texts looked into."""
_ITEMS = 6
"""Items of a list looked into."""
_LONGEST = 1000
"""Characters kept of a message."""
_FINE = frozenset({"", "0", "ok", "success", "succeed", "succeeded", "error", "none", "null"})
"""Words that are no reason."""
_REASON_NAMES = ("reason", "errcodeext", "errcode", "errorcode", "failcode", "code")
_MESSAGE_NAMES = ("message", "msg", "errmsg", "errormessage", "failreason", "detail", "description", "errordescription")
_TRACE_NAMES = ("traceid", "requestid", "logid")
_HOLDERS = ("error", "errors", "details", "cause")
_BOXES = ("data", "response", "metadata", "result", "body", "output", "upstream")
"""Where the rest of an answer stands: a text in there is no message."""
_TRACE_HEADERS = ("x-trace-id", "trace-id", "x-request-id", "x-oneapi-request-id", "request-id")
_TRACE_IN_WORDS = re.compile(r"\b(?:trace|request)[ _-]?id\W{1,3}([\w-]{6,})", re.IGNORECASE)
_ERRORS = range(400, 600)


@define
class Said:
    """The words of a refusal, outermost first."""

    reasons: list[str] = field(factory=list)
    messages: list[str] = field(factory=list)
    traces: list[str] = field(factory=list)
    codes: list[int] = field(factory=list)
    """HTTP statuses that stand in the body."""
    is_repeated: bool = False
    """Whether some of it is another server's answer, repeated as text."""
    left: int = _NODES

    def __bool__(self) -> bool:
        return bool(self.reasons or self.messages or self.codes)

    @property
    def known(self) -> Reason | None:
        """What is known of the reason."""
        return REASONS.get(self.reason) or GATEWAY_REASONS.get(self.reason)

    @property
    def is_upstream(self) -> bool:
        """Whether a gateway tells of its supplier's refusal."""
        return self.is_repeated or not _UPSTREAM.isdisjoint(self.reasons)

    @property
    def is_about_the_question(self) -> bool:
        """Whether it was refused to answer, rather than answered that something failed."""
        return not {*self.codes, self.known.status if self.known else 0}.isdisjoint(_BY_STATUS)

    @property
    def reason(self) -> str:
        """The innermost documented reason, else the innermost word that may be one."""
        known = [word for word in self.reasons if word in REASONS or word in GATEWAY_REASONS]
        return next(reversed(known or self.reasons), "")

    @property
    def message(self) -> str:
        """The innermost message."""
        found = next(reversed(self.messages), "")
        return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."

    @property
    def trace_id(self) -> str:
        """The innermost trace or request id: nearest to Vidu."""
        return next(reversed(self.traces), "")


def dig(value: object) -> Said:
    """Collect what a decoded body says went wrong."""
    said = Said()
    _dig(value, said, 0)
    return said


def _dig(value: object, said: Said, depth: int) -> None:
    said.left -= 1
    if depth > _DEPTH or said.left < 0:
        return
    if isinstance(value, dict):
        _dig_object(squeezed(value), said, depth)
    elif isinstance(value, list):
        for item in value[:_ITEMS]:
            _dig(item, said, depth + 1)
    elif isinstance(value, str) and value.strip():
        _dig_words(value.strip(), said, depth)


def _dig_object(row: dict[str, Any], said: Said, depth: int) -> None:
    words = [word for name in _REASON_NAMES if (word := text(row.get(name))) and word.lower() not in _FINE]
    said.codes += [code for word in words if (code := whole(word)) in _ERRORS and code is not None]
    said.reasons += [word for word in words if not word.isdigit()][:1]
    said.is_repeated |= row.get("type") == "upstream_error"
    said.traces += [word for name in _TRACE_NAMES if (word := text(row.get(name)))][:1]
    for name in (*_MESSAGE_NAMES, *_HOLDERS):
        if row.get(name) is not None:
            _dig(row[name], said, depth + 1)
    for name in _BOXES:
        if isinstance(row.get(name), (dict, list)):
            _dig(row[name], said, depth + 1)


def _dig_words(words: str, said: Said, depth: int) -> None:
    repeated = quoted_json(words)
    if repeated is not None:
        said.is_repeated = True
        return _dig(repeated, said, depth + 1)
    if words in REASONS:
        said.reasons.append(words)
    elif words.lower() not in _FINE:
        said.messages.append(words)
        said.traces += _TRACE_IN_WORDS.findall(words)[:1]
    return None


def error_from(answer: Answer, sent: Mapping[str, Any] | None = None) -> APIError:
    """Make an error of an answer: by its reason first, by its status second.

    Where the message is no more than the name of a field, the value that was `sent` is added to it.
    """
    value = json_of(answer.body)
    value = quoted_json(value) if isinstance(value, str) else value
    said = dig(value)
    known, repeated = said.known, (*said.codes, *([said.known.status] if said.known else []))
    status = repeated[0] if answer.is_ok and repeated else answer.status
    kind = _kind(status, said)
    details: dict[str, Any] = {
        "status": status,
        "reason": said.reason,
        "trace_id": said.trace_id or next(filter(None, map(answer.headers.get, _TRACE_HEADERS)), ""),
        "readable": isinstance(value, dict) or bool(said),
        "advice": known.advice if known else "",
    }
    if said.is_upstream and kind in _NOT_YOURS:
        details["advice"] = _NOT_YOURS[kind]
        kind = kind if kind is InsufficientCreditsError else ServerError
    if kind is RateLimitError:
        details["retry_after"] = answer.retry_after
    error = kind(_message(answer, said, sent or {}), **details)
    error.is_upstream = said.is_upstream
    error.statuses = repeated if answer.is_ok and repeated else (answer.status, *repeated)
    if known and known.is_certain:
        error.statuses = (known.status,)
    return error


def _kind(status: int, said: Said) -> type[APIError]:
    by_status = _BY_STATUS.get(status, ServerError if status >= 500 else APIError)  # noqa: PLR2004 - the range begins there
    if said.known is None:
        return PolicyViolationError if status in _POLICY_STATUSES and _POLICY.search(said.reason) else by_status
    if status == 429 and said.known.kind is ServerError:  # noqa: PLR2004 - a reason that says nothing does not outweigh it
        return RateLimitError
    return said.known.kind


def _message(answer: Answer, said: Said, sent: Mapping[str, Any]) -> str:
    message = said.message
    if not message and not said.reason:
        message = f"({answer.looks_like})"
    if message in sent:
        message = f"{message}={shown(sent[message])}"
    if answer.status in {404, 405} and answer.asked:
        message = f"{message} at {answer.asked}".strip()
    return message
