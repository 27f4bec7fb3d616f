"""Reading a refusal: what a server says went wrong, whatever shape it says it in.

Vidu says `{code, reason, message, metadata: {trace_id}}`. Gateways say it in shapes of their own, and repeat what
others told them, as JSON in a text, two or three deep. `dig` collects the words to a bounded depth, `error_from`
makes an error of them: by the reason first, by the status second. Nothing raises on a shape.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import define, field

from vidu_async.protocol import words
from vidu_async.protocol.answers import TRACE_HEADERS
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
from vidu_async.protocol.reasons import Reason, known_reason
from vidu_async.protocol.values import json_of, quoted_json, squeezed, text, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidu_async.protocol.answers import Answer

_BY_STATUS = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}
_UPSTREAM = frozenset({"fail_to_fetch_task", "upstream_error", "bad_response_status_code", "channel:invalid_key"})
"""By these a gateway says that the refusal is its supplier's."""
_CERTAIN = frozenset({404, 503})
"""Statuses with which a gateway says that it has passed nothing on."""
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
_NODES = 1000
"""Objects, lists and texts looked into."""
_LONGEST = 1000
"""Characters kept of a message."""
_WORD = 120
"""Characters kept of a reason or an id."""
_FINE = words.NOTHING | {"error"}
"""Words that are no reason."""
_REASON_NAMES = ("reason", "errcodeext", "errcode", "errorcode", "failcode", "code")
_TROUBLE = re.compile(r"time.?d?.?out|internal|unavailable|bad.?gateway", re.IGNORECASE)
"""What undocumented words for somebody's failure have in common: after it, nobody knows what was created."""
_STATUS_NAMES = ("code", "status", "statuscode", "httpcode")
"""Ends of names of HTTP statuses."""
_MESSAGE_NAMES = (
    *("message", "msg", "errmsg", "errormessage", "failreason", "detail", "description", "errordescription"),
    *("taskstatusmsg", "errorinfo", "errormsg", "failedreason"),
)
_MADE = frozenset({"state", "object", "createdat", "progress", "creations"})
"""Names beside which an `id` is a task's."""
_TRACE_NAMES = ("traceid", "requestid", "logid")
_HOLDERS = ("error", "errors", "details", "cause", "innererror")
_RESULTS = ("data", "result", "output", "task")
_BOXES = (*_RESULTS, "response", "metadata", "body", "upstream")
"""Where the rest of an answer stands: a text in there is no message, but may be the id of a task."""
_ANSWERS = frozenset(
    {*_REASON_NAMES, *_MESSAGE_NAMES, *words.TASK_IDS, "error", "errors", "response", "statuscode", "state"}
)
"""Names by which an object in a text is somebody's answer."""
_TRACE_IN_WORDS = re.compile(r"\b(?:trace|request)[ _-]?id\W{1,3}([\w-]{6,})", re.IGNORECASE)
_ERRORS = range(400, 600)
_SERVER = 500


@define
class Said:
    """The words of a refusal, outermost first."""

    reasons: list[str] = field(factory=list)
    messages: list[str] = field(factory=list)
    traces: list[str] = field(factory=list)
    codes: list[int] = field(factory=list)
    """HTTP statuses that stand in the body."""
    tasks: list[str] = field(factory=list)
    """Ids of tasks that it names all the same."""
    is_repeated: bool = False
    """Whether some of it is another server's answer, repeated as text."""
    left: int = _NODES
    """How many more objects, lists and texts are looked into."""
    is_whole: bool = True
    """Whether everything was looked into."""

    def __bool__(self) -> bool:
        return bool(self.reasons or self.messages or self.codes)

    @property
    def known(self) -> Reason | None:
        """What is known of the reason."""
        return known_reason(self.reason)

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that stands in the body, or goes with a reason in it."""
        found = list(self.codes)
        for word in self.reasons:
            known = known_reason(word)
            if known or _TROUBLE.search(word):
                found.append(known.status if known else _SERVER)
        return tuple(found)

    @property
    def is_upstream(self) -> bool:
        """Whether a gateway tells of its supplier's refusal."""
        return self.is_repeated or not _UPSTREAM.isdisjoint(self.reasons)

    @property
    def is_about_the_question(self) -> bool:
        """Whether it was refused to answer, rather than answered that something failed."""
        return any(status in _BY_STATUS or status >= _SERVER for status in self.statuses)

    @property
    def reason(self) -> str:
        """The innermost documented reason, else the innermost word that may be one."""
        known = [word for word in self.reasons if known_reason(word)]
        return next(reversed(known or self.reasons), "")[:_WORD]

    @property
    def message(self) -> str:
        """The innermost message."""
        found = next(reversed(self.messages), "")
        return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."

    @property
    def trace_id(self) -> str:
        """The innermost trace or request id: nearest to Vidu."""
        return next(reversed(self.traces), "")[:_WORD]


def dig(value: object) -> Said:
    """Collect what a decoded body says went wrong."""
    said = Said()
    _dig(value, said, 0)
    return said


def _dig(value: object, said: Said, depth: int) -> None:
    said.left -= 1
    if depth > _DEPTH or said.left < 0:
        said.is_whole = False
    elif isinstance(value, dict):
        _dig_object(squeezed(value), said, depth)
    elif isinstance(value, list):
        for item in value[:_NODES]:
            _dig(item, said, depth + 1)
    elif isinstance(value, str) and value.strip():
        _dig_text(value.strip(), said, depth)


def _dig_object(row: dict[str, Any], said: Said, depth: int) -> None:
    named = [word for name in _REASON_NAMES if (word := text(row.get(name))) and word.lower() not in _FINE]
    codes = (whole(item) for name, item in row.items() if name.endswith(_STATUS_NAMES) and name not in _OWN_CODES)
    said.codes += [code for code in codes if code in _ERRORS and code is not None]
    said.reasons += [word for word in named if not word.isdigit()][:1]
    said.is_repeated |= row.get("type") == "upstream_error"
    said.traces += [word for name in _TRACE_NAMES if (word := text(row.get(name)))][:1]
    said.tasks += _tasks_in(row)
    for name in (*_MESSAGE_NAMES, *_HOLDERS):
        if row.get(name) is not None:
            _dig(row[name], said, depth + 1)
    for name in _BOXES:
        if isinstance(row.get(name), (dict, list)):
            _dig(row[name], said, depth + 1)


_OWN_CODES = frozenset({"errcode", "errorcode", "failcode"})
"""Codes that are the gateway's own, and no HTTP statuses."""


def _tasks_in(row: dict[str, Any]) -> list[str]:
    """Return what may be ids of tasks: by their names, beside what only tasks have, or as all that a box holds."""
    named = [row.get(name) for name in words.TASK_IDS]
    named += row["taskids"] if isinstance(row.get("taskids"), list) else []
    named += [] if _MADE.isdisjoint(row) else [row.get("id")]
    alone: list[object] = []
    for name in _RESULTS:
        held = row.get(name)
        for item in held if isinstance(held, list) else [held]:
            if isinstance(item, dict):
                named.append(squeezed(item).get("id"))
            else:
                alone.append(item)
    ids = [one for one in map(_id, named) if one and one.lower() not in words.NO_IDS]
    return ids + [one for one in map(_id, alone) if words.BARE_ID.fullmatch(one)]


def _id(value: object) -> str:
    return (text(value) or "").strip()[:_WORD]


def _dig_text(said_so: str, said: Said, depth: int) -> None:
    objects, is_whole = quoted_json(said_so)
    answers = [item for item in objects if _is_answer(item)]
    said.is_whole &= is_whole
    if answers:
        said.is_repeated = True
        _dig(answers, said, depth + 1)
    elif known_reason(said_so):
        said.reasons.append(said_so)
    elif said_so.lower() not in _FINE:
        said.messages.append(said_so)
        said.traces += _TRACE_IN_WORDS.findall(said_so)[:1]


def _is_answer(value: object) -> bool:
    return isinstance(value, dict) and not _ANSWERS.isdisjoint(squeezed(value))


def error_from(answer: Answer, sent: Mapping[str, Any] | None = None) -> APIError:
    """Make an error of an answer: by its reason first, by its status second.

    Where the message is no more than the name of a field, the value that was `sent` is added to it.
    """
    value = json_of(answer.body)
    said = dig(quoted_json(value)[0] if isinstance(value, str) else value)
    known, repeated = said.known, said.statuses
    status = repeated[0] if answer.is_ok and repeated else answer.status
    kind = _kind(status, said)
    details: dict[str, Any] = {
        "status": status,
        "reason": said.reason,
        "trace_id": said.trace_id or next(filter(None, map(answer.headers.get, TRACE_HEADERS)), ""),
        "readable": isinstance(value, dict) or bool(said),
        "advice": known.advice if known else "",
    }
    if said.is_upstream and kind in _NOT_YOURS:
        details["advice"] = _NOT_YOURS[kind]
        kind = kind if kind is InsufficientCreditsError else ServerError
    if kind is RateLimitError:
        details["retry_after"] = answer.retry_after
    error = kind(said.message, shown=_shown(answer, said, sent or {}), **details)
    error.is_upstream = said.is_upstream
    error.statuses = repeated if answer.is_ok and repeated else (answer.status, *repeated)
    is_certain = known is not None and known.is_certain and not said.is_upstream and answer.status in _CERTAIN
    if is_certain and known and set(repeated) == {known.status}:
        error.statuses = (known.status,)
    error.tasks, error.is_whole = tuple(said.tasks), said.is_whole
    return error


def _kind(status: int, said: Said) -> type[APIError]:
    by_status = _BY_STATUS.get(status, ServerError if status >= _SERVER else APIError)
    if said.known is None:
        return PolicyViolationError if status in _POLICY_STATUSES and _POLICY.search(said.reason) else by_status
    if status == 429 and said.known.kind is ServerError:  # noqa: PLR2004 - a reason that says nothing does not outweigh it
        return RateLimitError
    return said.known.kind


def _shown(answer: Answer, said: Said, sent: Mapping[str, Any]) -> str:
    """Return the message with what helps to understand it: what was answered, sent, or asked."""
    message = said.message
    if not message and not said.reason:
        message = f"({answer.looks_like})"
    if message in sent:
        message = f"{message}={shown(sent[message])}"
    if answer.status in {404, 405} and answer.asked:
        message = f"{message} at {answer.asked}".strip()
    return message
