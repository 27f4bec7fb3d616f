"""Reading what came over the wire: an `Answer` in, a value or an error out.

The rule: no shape of an answer raises anything but this library's own errors, and nothing is made up. `dialects.py`
turns an answer into Vidu's words, `refusals.py` reads what is none, and cattrs does the structuring: with the hooks of
`values.py`, since its own would make "None" of null and True of "false". What is of another type than documented reads
as None and stays in `.raw`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

from attrs import evolve, field, frozen
from cattrs import Converter

from vidu_async.protocol import values
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.checks import shown
from vidu_async.protocol.dialects import Upright, identity_of, is_error, listed, opened, upright
from vidu_async.protocol.errors import APIError, ProtocolError
from vidu_async.protocol.given import is_remote
from vidu_async.protocol.models import CANCELLED, Credits, Task, TaskState, VideoInfo
from vidu_async.protocol.plain import going_on, plain
from vidu_async.protocol.refusals import dig, error_from
from vidu_async.protocol.stamps import token_in

_read = Converter(detailed_validation=False)
for _type, _hook in {
    str | None: values.text,
    int | None: values.whole,
    float | None: values.number,
    bool | None: values.flag,
    datetime | None: values.moment,
}.items():
    _read.register_structure_hook(_type, _hook)


@_read.register_structure_hook
def _video(value: Any, _: object) -> VideoInfo | None:  # noqa: ANN401 - whatever JSON holds
    """Read `{duration, fps, resolution: {width, height}}`; the zeros of a picture are none."""
    if not isinstance(value, dict):
        return None
    size = value.get("resolution")
    size = size if isinstance(size, dict) else {}
    seconds, rate = (values.number(value.get(name)) or None for name in ("duration", "fps"))
    width, height = (values.whole(size.get(name)) or None for name in ("width", "height"))
    measures = (seconds, rate, width, height)
    return VideoInfo(*measures) if any(measures) else None


def task_from(fields: dict[str, Any], body: bytes) -> Task:
    """Structure a task from its fields in Vidu's words; `body` is what `.raw` shows."""
    if token := token_in(fields.get("payload")):
        fields = {**fields, "payload": None, "stamp": token}
    task = _read.structure({**fields, "body": body}, Task)
    unread = tuple(name for name in _MEASURES if name in fields and getattr(task, name) is None)
    return evolve(task, unread=unread) if unread else task


_MEASURES = ("credits", "progress", "duration", "seed")


# A single class under the repeat: a choice there would cost the matcher a hundred times the memory of the text.
_INLINED = re.compile(rb'(?<!\\)"(data:[\w.+/;=\\-]{0,100}?;base64,)[A-Za-z0-9+/=\\]{256,}(?<!\\)"', re.ASCII)


def without_inlined_files(body: bytes) -> bytes:
    """Cut the content out of data URLs: some gateways echo the images they were sent, megabytes a task."""
    return _INLINED.sub(rb'"\1..."', body) if b";base64," in body else body


def read_task(answer: Answer, *, task_id: str = "", known: Task | None = None) -> Task:
    """Read the answer of a creation or a query.

    `task_id` is the id that was asked about, if any: a query's answer may name none, or another system's behind a
    gateway. `known` is what was read of that task before: most answers only repeat it.

    Raises:
        APIError: it is a refusal, by its status or by what it says.
        ProtocolError: no usable task id.

    """
    if known is not None and known.id == task_id and answer.is_ok and answer.body == known.body:
        return known
    value = values.json_of(answer.body)
    found = plain(value, task_id) or upright(value, task_id)
    if not answer.is_ok and not _is_failed_task(answer, found, task_id):
        raise error_from(answer)
    if found.task is None:
        raise _unreadable(answer, value, "names no task")
    if not task_id and _names_two(answer.body):
        raise ProtocolError(f"the answer names two tasks ({answer.looks_like})")
    return task_from(found.task, without_inlined_files(answer.body).removeprefix(b"\xef\xbb\xbf"))


def _names_two(body: bytes) -> bool:
    """Whether one object has two different `task_id`, of which a decoder keeps only the last."""
    if body.count(b'"task_id"') < 2:  # noqa: PLR2004 - two of them
        return False
    counts = [0]

    def count(pairs: list[tuple[str, object]]) -> None:
        counts.append(len({str(item) for name, item in pairs if name == "task_id"}))

    try:
        json.loads(values.decoded(body), object_pairs_hook=count)
    except RecursionError:  # decoding went deep enough before, but no further
        return True
    return max(counts) > 1


_OF_THE_QUESTION = frozenset({401, 403, 429, 503})


def _is_failed_task(answer: Answer, found: Upright, task_id: str) -> bool:
    """Whether the status of an error tells of a failed task, as some gateways do: the very one, with its code."""
    is_failed = found.task is not None and found.task["state"] is TaskState.FAILED and bool(found.task["err_code"])
    is_its_own = found.is_sure and found.identity == task_id != ""
    return is_failed and is_its_own and answer.status not in _OF_THE_QUESTION


def read_object(answer: Answer) -> dict[str, Any]:
    """Read an answer that must be a JSON object, enveloped or not.

    Raises:
        APIError: it is a refusal, by its status or by what it says.
        ProtocolError: not a JSON object.

    """
    if not answer.is_ok:
        raise error_from(answer)
    value = values.json_of(answer.body)
    if not isinstance(value, dict) or is_error(value):
        raise _unreadable(answer, value, "is no object")
    return cast("dict[str, Any]", value)


def _unreadable(answer: Answer, value: object, what: str) -> APIError | ProtocolError:
    """Return the error of a success that is none: what it says went wrong, if it says so."""
    if isinstance(value, dict) and dig(value) and upright(value, "-").task is None:
        return error_from(answer)
    return ProtocolError(f"the answer {what} ({answer.looks_like})")


@frozen
class Listed:
    """A row of the task list: which task and how it is; all of it only if it is asked for."""

    id: str
    state: TaskState
    _row: dict[str, Any] = field(repr=False)

    def task(self) -> Task:
        """Return all that the row says."""
        said = _said_in(self._row)
        assert said is not None  # noqa: S101 - it was made of a row that says something
        return task_from(said, json.dumps(self._row, separators=(",", ":")).encode())


def _said_in(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a row of the task list says; None if it names no task."""
    return (plain(row) or upright(row, is_listed=True)).task


def _listed_from(row: dict[str, Any]) -> Listed | None:
    if found := going_on(row):
        return Listed(*found, row)
    said = _said_in(row)
    return Listed(said["id"], said["state"], row) if said else None


@frozen
class Page:
    """One page of the task list; `next_token` is "" on the last."""

    listed: tuple[Listed, ...]
    next_token: str
    date: str = ""
    """When the server answered, by its own clock: the header as it came."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All rows, as tasks."""
        return tuple(row.task() for row in self.listed)


def read_rows(answer: Answer, name: str) -> tuple[list[dict[str, Any]], str]:
    """Read a list's rows and the next page's token, "" on the last page.

    Raises:
        APIError, ProtocolError: no such list; an absent one is not an empty one.

    """
    value = read_object(answer)
    found = listed(value, name)
    if found is None:
        raise _unreadable(answer, value, f"lists no {name}")
    return found


def read_page(answer: Answer) -> Page:
    """Read one page of the task list. A row without an id is left out: nothing can be asked about it."""
    rows, token = read_rows(answer, "tasks")
    found = tuple(filter(None, map(_listed_from, rows)))
    return Page(found, token, answer.headers.get("date", ""))


def read_id(answer: Answer) -> str:
    """Read the id of something just stored."""
    value = read_object(answer)
    identity = identity_of(opened(value))
    if not identity:
        raise _unreadable(answer, value, "names no id")
    return identity


@frozen
class Slot:
    """Where a file can be put, and by what name it is known. The URL is signed: whoever has it may write there."""

    id: str
    put_url: str = field(repr=False)


def read_slot(answer: Answer, *, plainly: bool = False) -> Slot:
    """Read where a file can be put: over https or, if it may go `plainly`, over http.

    Raises:
        APIError: it is a refusal.
        ProtocolError: no id, or no URL that a file can go to.

    """
    value = read_object(answer)
    rows = opened(value)
    identity = identity_of(rows).strip(".")  # a path does not hold "." and ".."
    put_url = next(filter(None, (values.text(row.get("puturl")) for row in rows)), "")
    if not (identity and put_url):
        raise _unreadable(answer, value, "names no put_url" if identity else "names no id")
    if fault := _fault_of_link(put_url, {"https", "http"} if plainly else {"https"}):
        raise ProtocolError(f"the put_url of the answer {fault}; nothing is sent there")
    return Slot(identity, put_url)


def _fault_of_link(url: str, schemes: set[str]) -> str:
    """Say why nothing can be sent to a URL, without the URL: its query is a permission, "" if nothing is wrong."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in schemes:
        return f"goes over {shown(parts.scheme)}, not {' or '.join(sorted(schemes))}"
    if not host or parts.username is not None or _UNWRITABLE.search(url):
        return "is no plain address of a host"
    return ""


_UNWRITABLE = re.compile(r"[^!-~]")
"""What no URL has as it is: spaces, control characters, and all beyond ASCII."""


def read_uri(answer: Answer) -> str:
    """Read the URI by which requests refer to an uploaded file.

    Raises:
        APIError: it is a refusal.
        ProtocolError: no such URI.

    """
    value = read_object(answer)
    uri = next(filter(None, (values.text(row.get("uri")) for row in opened(value))), "")
    if not is_remote(uri) or _UNWRITABLE.search(uri):
        raise _unreadable(answer, value, "names no uri")
    return uri


def read_nothing(answer: Answer) -> None:
    """Accept a success that says no otherwise: documents disagree on whether a cancellation answers `{}` or null."""
    if not answer.is_ok:
        raise error_from(answer)
    value = values.json_of(answer.body)
    if answer.body.lstrip().startswith(b"<"):
        raise ProtocolError(f"the answer is a page, not the API's ({answer.looks_like})")
    task = upright(value, "-").task
    if is_error(value) and not (task and task["err_code"] == CANCELLED):
        raise error_from(answer)


def read_credits(answer: Answer) -> Credits:
    """Read the account; documents name the rows `remains`, or the rows or their sum `remaining_credits`."""
    value = read_object(answer)
    rows = opened(value)
    row = next((row for row in rows if not {"remains", "remainingcredits", "packages"}.isdisjoint(row)), rows[-1:])
    row = row if isinstance(row, dict) else {}
    remains = tuple(_objects(row.get("remains")) or _objects(row.get("remainingcredits")))
    known = [part for part in (values.whole(kind.get("credit_remain")) for kind in remains) if part is not None]
    total = values.whole(row.get("remainingcredits"))
    remaining = total if total is not None else sum(known) if known else None
    return Credits(remaining, remains, tuple(_objects(row.get("packages"))), value)


def _objects(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def flag_from(value: object, _: object = None) -> object:
    """Read a boolean from JSON, CSV or a form; what is none stays, for the request's own check to refuse."""
    if isinstance(value, str) and not value:  # by type first: `==` of others may raise
        return None
    flag = values.flag(value)
    return value if flag is None else flag


requests = Converter(detailed_validation=False, prefer_attrib_converters=True)
requests.register_structure_hook(bool | None, flag_from)
