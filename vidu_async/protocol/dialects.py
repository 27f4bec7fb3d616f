"""Every gateway's dialect, turned into Vidu's own words: an object in, an object out.

The rule: words are translated and envelopes opened, and nothing is made up. What cannot be told from an error is no
task. A dialect is a few words in the tables of `words.py`, never a branch of its own.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from vidu_async.protocol import words
from vidu_async.protocol.models import CANCELLED, TaskState
from vidu_async.protocol.refusals import dig
from vidu_async.protocol.values import json_of, quoted_json, squeezed, text, whole


@frozen
class Upright:
    """What an answer says in Vidu's words: a task's fields, or None if it is no task."""

    task: dict[str, Any] | None
    identity: str = ""
    """The id it names by itself, if any."""
    is_sure: bool = False
    """Whether it says what became of the task in words that only tasks have."""


def upright(value: object, asked: str = "", *, is_listed: bool = False) -> Upright:
    """Translate an answer. `asked` is the id of a query, whose answer need not repeat it.

    What `is_listed` among tasks and has an id is one, whatever else it says.
    """
    rows = (not is_listed and _failed_inside(value, asked)) or opened(value)
    identity = identity_of(rows) or _named_alone(value)
    state, word = _state_of(rows, asked)
    creations = _creations(rows, state)
    is_refusal = state is TaskState.UNKNOWN and any(_is_error(row, identity) for row in rows)
    is_task = not is_refusal and _is_about_a_task(rows, state, identity, asked, has_link=bool(creations))
    if not (is_task or (is_listed and identity)):
        return Upright(None)
    if state is TaskState.SUCCESS and not (creations or _has_marks(rows)) and (not asked or len(rows) > 1):
        state = TaskState.UNKNOWN  # a bare "status": "success" may be that of the question
    task = _translated(rows) | {"id": asked or identity, "state": state, "state_text": word}
    task["creations"] = [{**creation, "task_id": task["id"]} for creation in creations]
    is_sure = any("state" in row or _code_of(row) for row in rows)
    return Upright(task | _failure(rows, task, word), identity, is_sure)


def is_error(value: object) -> bool:
    """Whether an answer that should be no task has the marks of an error."""
    rows = opened(value)
    identity = identity_of(rows)
    is_bad = any((text(row.get("status")) or "").lower() in words.BAD_STATUSES for row in rows)
    return is_bad or any(_is_error(row, identity) for row in rows)


def listed(value: object, name: str) -> tuple[list[dict[str, Any]], str] | None:
    """Return the objects of a list and the token of its next page, "" on the last; None if there is no such list.

    An absent list is not an empty one: "not there" may be read as "pay again".
    """
    token = ""
    if value == {}:  # as a server leaves out what is empty
        return [], token
    for _ in range(words.DEPTH):
        if isinstance(value, list):
            return [item for item in value if isinstance(item, dict)], token
        row = squeezed(value) if isinstance(value, dict) else {}
        token = text(row.get("nextpagetoken")) or token
        value = next((row[key] for key in (name, *words.LISTED) if isinstance(row.get(key), (dict, list))), None)
        if value is None:
            is_empty = row.get(name) is None and not {name, "nextpagetoken"}.isdisjoint(row)
            return ([], token) if is_empty else None
    return None


def opened(value: object) -> list[dict[str, Any]]:
    """Return the objects from the outermost envelope to the innermost, under plain names."""
    rows: list[dict[str, Any]] = []
    while isinstance(value, dict) and value and len(rows) < words.DEPTH:
        rows.append(squeezed(value))
        inner = (_unquoted(rows[-1].get(name)) for name in words.ENVELOPES)
        value = next((item for item in inner if isinstance(item, dict) and item), None)
    return rows


def _unquoted(value: object) -> object:
    """Return the object that a text is, as where an envelope holds it as text."""
    return json_of(value) if isinstance(value, str) and value.startswith("{") else value


def _translated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the objects say under Vidu's names; the innermost has the last word."""
    task = {}
    for row in rows:
        for other, name in words.WORDS:
            if (item := row.get(other)) is not None and item != "":
                task[name] = item
    return task


def identity_of(rows: list[dict[str, Any]]) -> str:
    """Return the id that an answer names, "" if none can be one: a task's, or that of the object that speaks of it."""
    speaking = [row for row in rows if not words.OF_TASKS.isdisjoint(row) or _is_on_its_way(_stated(row)[0])]
    for names, places in ((words.TASK_IDS, rows), (("id",), [*speaking, *reversed(rows)])):
        found = ((text(row.get(name)) or "").strip() for name in names for row in places)
        if named := next((one for one in found if one and one.lower() not in words.NO_IDS and one[0] != "-"), ""):
            return named
    return ""


def _is_on_its_way(state: TaskState) -> bool:
    return state is not TaskState.UNKNOWN and not state.is_terminal


def _named_alone(value: object) -> str:
    """Return the id that is all a successful envelope holds."""
    row = squeezed(value) if isinstance(value, dict) else {}
    alone = text(row.get("data")) or ""
    is_id = words.BARE_ID.fullmatch(alone) and text(row.get("code")) and not _is_error(row, "")
    return alone if is_id else ""


def _state_of(rows: list[dict[str, Any]], asked: str = "") -> tuple[TaskState, str]:
    """Return the state and its word: what the innermost object says, unless a failure stands around what goes on."""
    stated = [row for row in reversed(rows) if _stated(row)[1]]
    # The status of a mere envelope says how asking went.
    inner = next((row for row in stated if row is not rows[0]), None)
    speaking = [
        row
        for row in stated
        if row is rows[-1] or row is inner or not words.OF_TASKS.isdisjoint(row) or identity_of([row]) == asked != ""
    ]
    said = [_stated(row) for row in speaking]
    ends = [pair for pair, row in zip(said, speaking, strict=True) if _is_end_around(pair[0], row)]
    if said and said[0][0].is_terminal:
        return said[0]
    return next(iter(ends or said), (TaskState.UNKNOWN, ""))


def _is_end_around(state: TaskState, row: dict[str, Any]) -> bool:
    """Whether an object around one that goes on has the last word: a failure, or a success with a result of its own."""
    has_result = state is TaskState.SUCCESS and bool(_listed(row) or _linked(row, words.ALONE))
    return state is TaskState.FAILED or has_result


def _stated(row: dict[str, Any]) -> tuple[TaskState, str]:
    """Return the state that an object names, and its word, "" if it names none."""
    named = [word for name in words.STATE_NAMES if (word := text(row.get(name)))]
    pairs = [(_read(_plain(word).removeprefix("taskstatus"), row), word) for word in named]
    known = [pair for pair in pairs if pair[0] is not TaskState.UNKNOWN]
    return next(iter(known or pairs), (TaskState.UNKNOWN, ""))


def _read(plain: str, row: dict[str, Any]) -> TaskState:
    if plain in words.CANCELLED:
        return TaskState.FAILED
    if plain in words.ENDED:
        return TaskState.FAILED if _code_of(row) else TaskState.SUCCESS
    return words.STATES.get(plain, TaskState.UNKNOWN)


def _code_of(row: dict[str, Any]) -> str:
    named = (text(row.get(name)) or "" for name in words.NAMES["err_code"])
    return next((word for word in named if word.lower() not in words.NOTHING and word.strip("0")), "")


def _is_error(row: dict[str, Any], identity: str) -> bool:
    """Whether an object without a known state has the marks of an error. Codes of an application's own say little."""
    code, number = (text(row.get("code")) or "").lower(), whole(row.get("code"))
    message = (text(row.get("message")) or text(row.get("msg")) or "").lower()
    is_thanked = message in words.NOTHING and message != ""
    is_bad = code not in words.FINE and not is_thanked and (number is None or number in words.STATUSES or not identity)
    error = row.get("error")
    is_said = bool(dig(error)) if isinstance(error, (dict, list)) else (text(error) or "").lower() not in words.NOTHING
    is_denied = row.get("success") is False or row.get("ok") is False or bool(row.get("errors"))
    return is_bad or is_said or is_denied or bool(_code_of(row)) or (bool(row.get("reason")) and not identity)


def _failed_inside(value: object, asked: str) -> list[dict[str, Any]]:
    """Return a failed task that stands in an error's place, as an object or in its text: the one asked about."""
    for row in opened(value):
        if _stated(row)[0] is not TaskState.UNKNOWN:
            continue
        error = row.get("error")
        texts = [row.get("message"), error, error.get("message") if isinstance(error, dict) else None]
        quoted = [item for held in texts if isinstance(held, str) for item in quoted_json(held)[0]]
        for held in [error, *quoted]:
            inner = opened(held)
            named = identity_of(inner)
            if named and (named == asked or not asked) and _state_of(inner)[0] is TaskState.FAILED:
                return inner
    return []


def _is_about_a_task(
    rows: list[dict[str, Any]], state: TaskState, identity: str, asked: str, *, has_link: bool
) -> bool:
    """Whether an answer speaks of a task, which a query's need not name."""
    if state is TaskState.FAILED:
        return bool(identity or asked) and _is_end(rows, identity, asked)
    has_proof = has_link or _has_marks(rows) or state not in {TaskState.UNKNOWN, TaskState.SUCCESS}
    return bool(identity or (asked and has_proof))


def _is_end(rows: list[dict[str, Any]], identity: str, asked: str) -> bool:
    """Whether a failure is that of the task, and not of the question about it: when in doubt, it is not."""
    said = dig(rows)
    if any("state" in row for row in rows):
        return True
    if any(map(_is_of_the_question, rows)) or any(_is_error(row, identity) for row in rows[:-1] if not _stated(row)[1]):
        return False
    if any(not words.ENDS.isdisjoint(row) for row in rows) or (identity and (identity == asked or not said)):
        return True
    if said.is_about_the_question:
        return False
    has_reason = bool(identity and asked) and any(row.get("error") for row in rows)
    is_named = any(not {*words.TASK_IDS}.isdisjoint(row) for row in rows)
    return len(rows) > 1 or is_named or has_reason or _has_marks(rows)


def _is_of_the_question(row: dict[str, Any]) -> bool:
    """Whether an object's own code says that asking failed, rather than the task."""
    code = text(row.get("code")) or ""
    return bool(code) and dig({"code": code}).is_about_the_question


def _has_marks(rows: list[dict[str, Any]]) -> bool:
    return any(not words.MARKS.isdisjoint(row) for row in rows)


def _failure(rows: list[dict[str, Any]], task: dict[str, Any], word: str) -> dict[str, str | None]:
    """Return the code and the text of a failure, wherever they stand."""
    code = next(filter(None, map(_code_of, reversed(rows))), "")
    remark = text(task.get("err_msg")) or ""
    if task["state"] is TaskState.FAILED:
        said = dig(rows)
        code, remark = code or said.reason, said.message or remark
        if _plain(word) in words.CANCELLED:
            code = CANCELLED
    return {
        "err_code": CANCELLED if _plain(code) in words.CANCELLED else code or None,
        "err_msg": None if _is_link(remark) else remark or None,
    }


def _plain(word: str) -> str:
    return words.SEPARATORS.sub("", word).lower() if word else word


def _is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _creations(rows: list[dict[str, Any]], state: TaskState) -> list[dict[str, Any]]:
    """Return the results: those listed as such, or the links that a success names; never what the task was given."""
    for row in reversed(rows):
        if found := _listed(row):
            return found
    if state is not TaskState.SUCCESS:
        return []
    is_listed = any("creations" in row for row in rows)
    names = words.RESULTS if is_listed else words.ALONE
    for row in reversed(rows):
        if found := _linked(row, names) or ([] if is_listed else _bare(row)):
            return found
    return []


def _listed(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results in `creations`: objects, links, or an object of either."""
    held = row.get("creations")
    if isinstance(held, dict):
        lists = [item for item in held.values() if isinstance(item, list)]
        held = lists[0] if lists else [held] if _creation(held).get("url") else []
    return _each(held)


def _each(items: object) -> list[dict[str, Any]]:
    found = [_creation(item) for item in items] if isinstance(items, list) else []
    return [creation for creation in found if creation]


def _creation(item: object) -> dict[str, Any]:
    """Return one result in Vidu's words, from an object or a bare link; empty if it is neither."""
    if _is_link(item):
        return {"url": item}
    row = squeezed(item) if isinstance(item, dict) else {}
    links = {name: next(filter(None, (text(row.get(key)) for key in keys)), None) for name, keys in words.LINKS.items()}
    return {"id": row.get("id") or row.get("fileid"), "video": row.get("video"), **links} if row else {}


def _linked(row: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the result whose link stands in the task itself."""
    video = row.get("video")
    for holder in (row, row.get("metadata"), video):
        plain = squeezed(holder) if isinstance(holder, dict) else {}
        allowed = names if holder is row else tuple(name for name in names if name not in {"imageurl", "videourl"})
        for name in allowed:
            if _is_link(plain.get(name)):
                return [{**_creation(plain), "url": plain[name], "id": None, "video": None}]
    # Where an older gateway puts the link of a success.
    return [{"url": row["failreason"]}] if _is_link(row.get("failreason")) else []


def _bare(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results in an object's other lists."""
    for name in words.LINK_LISTS:
        items = row.get(name)
        if links := [item for item in (items if isinstance(items, list) else [items]) if _is_link(item)]:
            return [{"url": link} for link in links]
    for name in words.LISTS:
        items = row.get(name)
        objects = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        if found := [creation for creation in _each(objects) if creation.get("url")]:
            return found
    return []
