"""Reading what came over the wire: an `Answer` in, a value or an error out.

The rule: no shape of an answer raises anything but this library's own errors, and nothing is made up. A field of
another type than documented reads as None and stays in `.raw`; `null` never becomes "None", "false" never True.
cattrs does the structuring; the hooks below replace its defaults, which would.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from attrs import field, frozen
from cattrs import Converter

from vidu_async.protocol.checks import shown
from vidu_async.protocol.errors import (
    APIError,
    AuthenticationError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    PolicyViolationError,
    ProtocolError,
    RateLimitError,
    ServerError,
)
from vidu_async.protocol.models import Credits, Task, TaskState, VideoInfo

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Answer:
    """What a server answered: status, headers with lower-case names, the body's bytes."""

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(factory=dict, repr=False)
    asked: str = field(default="", repr=False)
    """Method and URL of the question."""

    @property
    def is_ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the range is the definition

    @property
    def looks_like(self) -> str:
        """The content type and the beginning of the body, for error messages."""
        kind = self.headers.get("content-type", "no content type")
        return f"{kind}, {self.body[:200]!r}"


def text(value: object, _: object = None) -> str | None:
    """Read text; "" is how Vidu says none. A number is taken by its digits, so that large ids keep each of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value or None if isinstance(value, str) else None


_DIGITS = 40
"""Digits of a number that are read; ids have 18."""


def _number(value: object, _: object = None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None  # nan fails this comparison too


def _whole(value: object, _: object = None) -> int | None:
    """Read a whole number, also from its digits as text; 1.9 and "abc" are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        return int(value)
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else None


def _flag(value: object, _: object = None) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NEVER = datetime(1, 1, 1, tzinfo=UTC)  # Go's zero time, which its servers send for "not yet"


def _moment(value: object, _: object = None) -> datetime | None:
    """Read RFC 3339 with up to nine fractional digits (kept to the microsecond), or epoch seconds."""
    try:
        if isinstance(value, str) and (match := _MOMENT.fullmatch(value)):
            whole, fraction, zone = match.groups()
            moment = datetime.fromisoformat(f"{whole}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(UTC)
        else:
            moment = datetime.fromtimestamp(_number(value) or _NEVER.timestamp(), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None if moment == _NEVER else moment


_read = Converter(detailed_validation=False)
for _type, _hook in {
    str | None: text,
    int | None: _whole,
    float | None: _number,
    bool | None: _flag,
    datetime | None: _moment,
}.items():
    _read.register_structure_hook(_type, _hook)


@_read.register_structure_hook
def _video(value: Any, _: object) -> VideoInfo | None:  # noqa: ANN401 - whatever JSON holds
    """Read `{duration, fps, resolution: {width, height}}`."""
    if not isinstance(value, dict):
        return None
    size = value.get("resolution")
    size = size if isinstance(size, dict) else {}
    return VideoInfo(
        _number(value.get("duration")), _number(value.get("fps")), _whole(size.get("width")), _whole(size.get("height"))
    )


def _rows(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


_STATES = {state.value: state for state in TaskState}


def identity_of(row: dict[str, Any]) -> str | None:
    """Return the id that an answer names, if it can be one."""
    found = (str(text(row.get(name)) or "").strip() for name in ("task_id", "id"))
    return next((one for one in found if one and one.lower() not in _NO_IDS and not one.startswith("-")), None)


_NO_IDS = frozenset({"0", "null", "none", "undefined"})


def task_from(row: dict[str, Any], *, task_id: str = "", body: bytes = b"") -> Task:
    """Read a task from its JSON object.

    `task_id` is the id that was asked about, if any: a query's answer may name none, or another system's behind a
    gateway.

    Raises:
        ProtocolError: no usable task id.

    """
    identity = task_id or identity_of(row)
    if not identity:
        raise ProtocolError(f"the answer names no task: its fields are {str(sorted(row))[:200]}")
    word = text(row.get("state")) or text(row.get("status")) or ""
    state = _STATES.get(word.lower(), TaskState.UNKNOWN)
    fields = {name: value for name, value in row.items() if name not in {"task_id", "status", "body"}}
    creations = [{**creation, "task_id": identity} for creation in _rows(row.get("creations"))]
    fields |= {"id": identity, "state": state, "state_text": word, "creations": creations}
    return _read.structure({**fields, "body": body or json.dumps(row).encode()}, Task)


# A single class under the repeat: a choice there would cost the matcher a hundred times the memory of the text.
_INLINED = re.compile(rb'(?<!\\)"(data:[\w.+/;=\\-]{0,100}?;base64,)[A-Za-z0-9+/=\\]{256,}(?<!\\)"', re.ASCII)


def without_inlined_files(body: bytes) -> bytes:
    """Cut the content out of data URLs: some gateways echo the images they were sent, megabytes a task."""
    return _INLINED.sub(rb'"\1..."', body) if b";base64," in body else body


def read_object(answer: Answer) -> dict[str, Any]:
    """Read an answer that must be a JSON object.

    Raises:
        APIError: the status says that the request was refused.
        ProtocolError: not a JSON object.

    """
    if not answer.is_ok:
        raise error_from(answer)
    value = _json(answer.body)
    if not isinstance(value, dict):
        raise ProtocolError(f"the answer is no JSON object ({answer.looks_like})")
    return value


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def read_task(answer: Answer, *, task_id: str = "") -> Task:
    """Read the answer of a creation or a query."""
    row = read_object(answer)
    is_error = row.get("error") or (row.get("code") and not {"state", "status"} & row.keys())
    if not task_id and not row.get("task_id") and is_error:
        # Such as an error inside a 200, whose `id` is that of the request.
        raise ProtocolError(f"the answer is an error in a success ({answer.looks_like})")
    return task_from(row, task_id=task_id, body=without_inlined_files(answer.body).removeprefix(b"\xef\xbb\xbf"))


@frozen
class Page:
    """One page of the task list; `next_token` is "" on the last."""

    tasks: tuple[Task, ...]
    next_token: str


def read_rows(answer: Answer, name: str) -> tuple[list[dict[str, Any]], str]:
    """Read a list's rows and the next page's token. A row without an id is left out: nothing can be asked about it."""
    value = read_object(answer)
    rows = [row for row in _rows(value.get(name)) if identity_of(row)]
    return rows, text(value.get("next_page_token")) or ""


def read_page(answer: Answer) -> Page:
    """Read one page of the task list."""
    rows, token = read_rows(answer, "tasks")
    return Page(tuple(map(task_from, rows)), token)


def read_id(answer: Answer) -> str:
    """Read the id of something just stored."""
    identity = text(read_object(answer).get("id"))
    if not identity:
        raise ProtocolError(f"the answer names no id ({answer.looks_like})")
    return identity


def read_nothing(answer: Answer) -> None:
    """Accept any 2xx: documents disagree on whether a cancellation answers `{}` or null."""
    if not answer.is_ok:
        raise error_from(answer)


def read_credits(answer: Answer) -> Credits:
    """Read the account; documents name the rows `remains`, or the sum `remaining_credits`."""
    value = read_object(answer)
    remains = tuple(_rows(value.get("remains")))
    parts = [_whole(row.get("credit_remain")) for row in remains]
    known = [part for part in parts if part is not None]
    total = _whole(value.get("remaining_credits"))
    remaining = total if total is not None else sum(known) if known else None
    return Credits(remaining, remains, tuple(_rows(value.get("packages"))), value)


# The same words are `reason` in refusals and `err_code` in failed tasks. https://platform.vidu.com/docs/error-code
BY_REASON: dict[str, type[APIError]] = {
    **dict.fromkeys(
        (
            "TaskPromptPolicyViolation",
            "AuditSubmitIllegal",
            "CreationPolicyViolation",
            "PhotoAuditNotPass",
            "AuditFailed",
        ),
        PolicyViolationError,
    ),
    **dict.fromkeys(("QuotaExceeded", "TooManyRequests", "SystemThrottling"), RateLimitError),
    **dict.fromkeys(("TaskNotFound", "CreationNotFound", "NotFound"), NotFoundError),
    **dict.fromkeys(("InternalServiceFailure", "Unknown"), ServerError),
    "CreditInsufficient": InsufficientCreditsError,
    "Unauthorized": AuthenticationError,
    "Forbidden": PermissionDeniedError,
}
_BY_STATUS = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def error_from(answer: Answer, sent: Mapping[str, Any] | None = None) -> APIError:
    """Read a refusal: by its reason first, by its status second, `{code, reason, message, metadata: {trace_id}}`.

    Where the message is no more than the name of a field, the value that was sent is added to it.
    """
    value = _json(answer.body)
    said = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    metadata = said.get("metadata")
    reason = text(said.get("reason")) or ""
    message = text(said.get("message")) or ("" if said else f"({answer.looks_like})")
    if sent and message in sent:
        message = f"{message}={shown(sent[message])}"
    if answer.status in {404, 405} and answer.asked:
        message = f"{message} at {answer.asked}".strip()
    trace = text(metadata.get("trace_id")) if isinstance(metadata, dict) else None
    by_status = _BY_STATUS.get(answer.status, ServerError if answer.status >= 500 else APIError)  # noqa: PLR2004
    kind = BY_REASON.get(reason, by_status)
    if answer.status == 429 and kind is ServerError:  # noqa: PLR2004 - a reason that says nothing does not outweigh it
        kind = RateLimitError
    details: dict[str, Any] = {
        "status": answer.status,
        "reason": reason,
        "trace_id": trace or "",
        "readable": bool(said),
    }
    if kind is RateLimitError:
        return RateLimitError(message, retry_after=retry_after(answer), **details)
    return kind(message, **details)


def retry_after(answer: Answer) -> float | None:
    """Return the seconds a server asks to wait; None if it does not say, or nothing sensible.

    Only the form in seconds is read: a date would have to be compared with somebody's clock.
    """
    seconds = _number(answer.headers.get("retry-after", ""))
    return seconds if seconds is not None and seconds >= 0 else None


def flag_from(value: object, _: object = None) -> object:
    """Read a boolean from JSON, CSV or a form; what is none stays, for the request's own check to refuse."""
    if value == "":
        return None
    flag = _flag(value)
    return value if flag is None else flag


requests = Converter(detailed_validation=False, prefer_attrib_converters=True)
requests.register_structure_hook(bool | None, flag_from)
