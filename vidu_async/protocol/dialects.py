"""Every gateway's dialect, turned into Vidu's own words: an object in, an object out.

The rule: words are translated and envelopes opened, and nothing is made up. What cannot be told from an error is no
task. A dialect is a few words in the tables below, never a branch of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from vidu_async.protocol.models import CANCELLED, TaskState
from vidu_async.protocol.refusals import dig
from vidu_async.protocol.values import quoted_json, squeezed, text, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names are compared without case and underscores: `TaskId`, `taskId` and `task_id` are one.
_ENVELOPES = ("response", "data", "result", "output", "task", "aigcvideotask", "aigcimagetask", "taskresult")
_LISTED = ("data", "response", "result", "items", "list", "records")
"""Where others have what Vidu calls `tasks` or `subjects`."""
_DEPTH = 6
"""Envelopes in envelopes that are opened."""

STATES = {
    **dict.fromkeys(("created", "submitted", "notstart"), TaskState.CREATED),
    **dict.fromkeys(("queueing", "queued", "queuing", "inqueue", "waiting", "wait", "pending"), TaskState.QUEUEING),
    **dict.fromkeys(("processing", "running", "run", "inprogress", "generating"), TaskState.PROCESSING),
    **dict.fromkeys(("success", "succeed", "succeeded", "successful", "completed", "complete"), TaskState.SUCCESS),
    **dict.fromkeys(("failed", "failure", "fail"), TaskState.FAILED),
}
"""Words for a state, without case, underscores and hyphens. Any other is `TaskState.UNKNOWN`."""
_ENDED = frozenset({"finish", "finished", "done"})
"""Words for an end, good or bad: the code beside them tells which."""
_CANCELLED = frozenset({"cancelled", "canceled", "usercancelled", "usercanceled"})
_SEPARATORS = re.compile(r"[\s_-]")

_NAMES: dict[str, tuple[str, ...]] = {
    "type": ("type",),
    "model": ("model", "modelname"),
    "prompt": ("prompt",),
    "credits": ("credits",),
    "payload": ("payload",),
    "err_code": ("errcodeext", "errcode", "errorcode", "failcode"),
    "err_msg": ("errmsg", "errormessage", "failreason"),
    "created_at": ("createdat", "createtime", "submittime", "created"),
    "progress": ("progress",),
    "duration": ("duration", "seconds"),
    "resolution": ("resolution",),
    "seed": ("seed",),
    "off_peak": ("offpeak",),
}
"""Vidu's names and what others call the same, the likeliest first."""
_WORDS = [(other, name) for name, others in _NAMES.items() for other in reversed(others)]
_IDS = ("taskid", "taskno", "asyncid", "id")
"""`id` last: beside a `task_id` it may be the number of a row in somebody's database."""
_STATE_NAMES = ("state", "status", "taskstatus")
_LINKS = {
    "url": ("url", "uri", "videourl", "imageurl", "fileurl", "signedurl", "resulturl", "outputurl", "demoaudio"),
    "cover_url": ("coverurl", "coveruri", "coverimageurl", "thumbnailurl"),
    "watermarked_url": ("watermarkedurl",),
}
"""The links of one result, by Vidu's names."""
_LISTS = ("creations", "fileinfos", "videoresult", "imageresult", "videos", "images")
_LINK_LISTS = ("result", "output", "urls", "videourls", "imageurls")
"""Lists of bare links. `images` and `videos` that hold such are what the task was given."""
_MARKS = frozenset({"state", "creations", "errcode", "failreason", "progress", "credits", "createdat", "videourl"})
"""Names that only tasks have: by them an answer is one even if it does not repeat the id it was asked about."""
_OF_TASKS = _MARKS | {
    "taskstatus",
    *_IDS,
    *_LISTS,
    *_LINK_LISTS,
    *(name for names in _LINKS.values() for name in names),
}
"""Names by which an object among others speaks of a task; the `status` of an envelope is its own."""
_NOTHING = frozenset({"", "0", "none", "null", "ok", "success", "succeed", "succeeded"})
"""Codes and messages that are no error's."""
_FINE = _NOTHING | {"1", "200", "201", "202", "1000"}
"""Codes of envelopes that are none, either."""
_LEAST_ERROR = 400
_NO_IDS = frozenset({"0", "null", "none", "undefined"})
_ALONE = re.compile(r"(?=.*\d)[\w.:^-]{6,128}")
"""An id that is all an envelope holds."""


@frozen
class Upright:
    """What an answer says in Vidu's words: a task's fields, or None if it is no task."""

    task: dict[str, Any] | None
    identity: str = ""
    """The id it names by itself, if any."""


def upright(value: object, asked: str = "", *, is_listed: bool = False) -> Upright:
    """Translate an answer. `asked` is the id of a query, whose answer need not repeat it.

    What `is_listed` among tasks and has an id is one, whatever else it says.
    """
    rows = opened(value) if isinstance(value, dict) else []
    state, word = _state_of(rows)
    if state is TaskState.UNKNOWN and (failed := _failed_inside(rows)):
        rows = failed
        state, word = _state_of(rows)
    identity = identity_of(rows) or _named_alone(value)
    is_refusal = state is TaskState.UNKNOWN and not is_listed and any(map(_is_error, rows))
    if is_refusal or not _is_about_a_task(rows, state, identity, asked):
        return Upright(None)
    task = _translated(rows)
    task |= {"id": asked or identity, "state": state, "state_text": word}
    task["creations"] = [{**creation, "task_id": task["id"]} for creation in _creations(rows, state)]
    return Upright(task | _failure(rows, task, word), identity)


def is_error(value: object) -> bool:
    """Whether an answer that should be none has the marks of an error."""
    rows = opened(value)
    return _state_of(rows)[0] is TaskState.UNKNOWN and any(map(_is_error, rows))


def listed(value: object, name: str) -> tuple[list[dict[str, Any]], str] | None:
    """Return the objects of a list and the token of its next page, "" on the last; None if there is no such list.

    An absent list is not an empty one: "not there" may be read as "pay again".
    """
    token = ""
    for _ in range(_DEPTH):
        if isinstance(value, list):
            return [item for item in value if isinstance(item, dict)], token
        row = squeezed(value) if isinstance(value, dict) else {}
        token = text(row.get("nextpagetoken")) or token
        value = next((row[key] for key in (name, *_LISTED) if isinstance(row.get(key), (dict, list))), None)
        if value is None:
            is_empty = row.get(name) is None and not {name, "nextpagetoken"}.isdisjoint(row)
            return ([], token) if is_empty else None
    return None


def opened(value: object) -> list[dict[str, Any]]:
    """Return the objects from the outermost envelope to the innermost, under plain names."""
    rows: list[dict[str, Any]] = []
    while (inner := _object(value)) and len(rows) < _DEPTH:
        rows.append(squeezed(inner))
        value = next((rows[-1][name] for name in _ENVELOPES if _object(rows[-1].get(name))), None)
    return rows


def _object(value: object) -> dict[str, Any] | None:
    """Return an object, also from a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) and value else None


def _translated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the objects say under Vidu's names; the innermost has the last word."""
    task = {}
    for row in rows:
        for other, name in _WORDS:
            if (item := row.get(other)) is not None and item != "":
                task[name] = item
    return task


def identity_of(rows: list[dict[str, Any]]) -> str:
    """Return the id that an answer names, "" if none can be one."""
    found = ((text(row.get(name)) or "").strip() for name in _IDS for row in rows)
    return next((one for one in found if one and one.lower() not in _NO_IDS and not one.startswith("-")), "")


def _named_alone(value: object) -> str:
    """Return the id that is all a successful envelope holds."""
    row = squeezed(value) if isinstance(value, dict) else {}
    alone = row.get("data")
    is_id = isinstance(alone, str) and _ALONE.fullmatch(alone) and text(row.get("code")) and not _is_error(row)
    return alone if is_id and isinstance(alone, str) else ""


def _state_of(rows: list[dict[str, Any]]) -> tuple[TaskState, str]:
    """Return the state and its word: the innermost that is known, unless a failure stands around what goes on."""
    speaking = [row for row in reversed(rows) if len(rows) == 1 or not _OF_TASKS.isdisjoint(row)]
    said = [pair for row in speaking for pair in _states(row)]
    known = [pair for pair in said if pair[0] is not TaskState.UNKNOWN]
    if known and not known[0][0].is_terminal:
        known = [pair for pair in known if pair[0] is TaskState.FAILED] or known
    return next(iter(known or said), (TaskState.UNKNOWN, ""))


def _states(row: dict[str, Any]) -> Iterator[tuple[TaskState, str]]:
    for name in _STATE_NAMES:
        if word := text(row.get(name)):
            plain = _plain(word).removeprefix("taskstatus")
            if plain in _CANCELLED or (plain in _ENDED and _code_of(row)):
                yield TaskState.FAILED, word
            else:
                yield TaskState.SUCCESS if plain in _ENDED else STATES.get(plain, TaskState.UNKNOWN), word


def _code_of(row: dict[str, Any]) -> str:
    words = (text(row.get(name)) or "" for name in _NAMES["err_code"])
    return next((word for word in words if word.lower() not in _NOTHING), "")


def _is_error(row: dict[str, Any]) -> bool:
    """Whether an object without a known state has the marks of an error."""
    code, number = (text(row.get("code")) or "").lower(), whole(row.get("code"))
    is_bad = code not in _FINE and (number is None or number < 0 or number >= _LEAST_ERROR)
    message, error = (text(row.get("message")) or "").lower(), row.get("error")
    is_thanked = message in _NOTHING and message != ""
    is_said = error.lower() not in _NOTHING if isinstance(error, str) else bool(error)
    has_marks = any(row.get(name) for name in ("errors", "reason")) or row.get("success") is False
    return (is_bad and not is_thanked) or is_said or has_marks or bool(_code_of(row))


def _failed_inside(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a failed task that stands in an error's object, or is repeated in its text."""
    for row in rows:
        error = row.get("error")
        texts = [row.get("message"), error, error.get("message") if isinstance(error, dict) else None]
        for held in [error, *(quoted_json(item) for item in texts if isinstance(item, str))]:
            inner = opened(held)
            is_task = _has_marks(inner) or identity_of(inner)
            if is_task and _state_of(inner)[0] is TaskState.FAILED:
                return inner
    return []


def _is_about_a_task(rows: list[dict[str, Any]], state: TaskState, identity: str, asked: str) -> bool:
    """Whether an answer speaks of a task, which a query's need not name."""
    if _has_marks(rows):
        return bool(identity or asked)
    if state in {TaskState.UNKNOWN, TaskState.SUCCESS}:
        return bool(identity)
    if state is TaskState.FAILED and identity != asked:
        # Such as {"status": "failed", "error": ...}: that of the task, or of the question?
        if any(row.get("error") for row in rows):
            return bool(identity or asked) and not dig(rows).is_about_the_question
        return bool(identity)
    return bool(identity or asked)


def _has_marks(rows: list[dict[str, Any]]) -> bool:
    return any(not _MARKS.isdisjoint(row) for row in rows)


def _failure(rows: list[dict[str, Any]], task: dict[str, Any], word: str) -> dict[str, str | None]:
    """Return the code and the text of a failure, wherever they stand."""
    code = next(filter(None, map(_code_of, reversed(rows))), "")
    remark = text(task.get("err_msg")) or ""
    if task["state"] is TaskState.FAILED:
        said = dig(rows)
        code, remark = code or said.reason, said.message or remark
        if _plain(word) in _CANCELLED:
            code = CANCELLED
    return {
        "err_code": CANCELLED if _plain(code) in _CANCELLED else code or None,
        "err_msg": None if _is_link(remark) else remark or None,
    }


def _plain(word: str) -> str:
    return _SEPARATORS.sub("", word).lower() if word else word


def _is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _creations(rows: list[dict[str, Any]], state: TaskState) -> list[dict[str, Any]]:
    """Return the results: of the innermost object that lists any, or the links that stand alone in a success."""
    listed = next(filter(None, (_listed(row, state) for row in reversed(rows))), [])
    if any(creation.get("url") for creation in listed) or state is not TaskState.SUCCESS:
        return listed
    return next(filter(None, map(_alone, reversed(rows))), listed)


def _listed(row: dict[str, Any], state: TaskState) -> list[dict[str, Any]]:
    """Return the results in an object's lists. Only a success's other lists are results, and not what it was given."""
    if "creations" not in row:
        held = [row.get(name) for name in _LISTS] if state is TaskState.SUCCESS else []
    elif isinstance(row["creations"], dict):  # such as {"videos": [...]}
        held = list(row["creations"].values())
    else:
        held = [row["creations"]]
    lists = (items for items in held if isinstance(items, list))
    found = ([_creation(squeezed(item)) for item in items if isinstance(item, dict)] for items in lists)
    return next(filter(None, found), [])


def _creation(row: dict[str, Any]) -> dict[str, Any]:
    """Return one result in Vidu's words."""
    links = {name: next(filter(None, (text(row.get(key)) for key in keys)), None) for name, keys in _LINKS.items()}
    return {"id": row.get("id") or row.get("fileid"), "video": row.get("video"), **links}


def _alone(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results that an object names without saying more of them than their links."""
    for name in ("creations", *_LINK_LISTS):
        items = row.get(name)
        if links := [item for item in (items if isinstance(items, list) else [items]) if _is_link(item)]:
            return [{"url": link} for link in links]
    for holder in (row, row.get("metadata"), row.get("video")):
        creation = _creation(squeezed(holder)) if isinstance(holder, dict) else {}
        if _is_link(creation.get("url")):
            return [{**creation, "id": None, "video": None}]
    # Where an older gateway puts the link of a success.
    return [{"url": row["failreason"]}] if _is_link(row.get("failreason")) else []
