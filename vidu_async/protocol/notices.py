"""Reading what a callback says: which task, and what became of it.

Its body is not signed, so none of it is a result. It tells when to ask, and in whose name: the token in the path of
its URL. https://platform.vidu.com/docs/callback-signature
"""

from __future__ import annotations

import json
from typing import Any

from attrs import field, frozen

from vidu_async.protocol.dialects import upright
from vidu_async.protocol.errors import CallbackError
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.values import text

_STATES = {state.value: state for state in TaskState}
_LONGEST_ID, _MOST_NAMES = 128, 1_000
_UNASKED = "?"
"""Stands for the id of the task, which a callback need not name."""


@frozen
class Notice:
    """A callback that came in."""

    token: str = field(repr=False)
    """The last part of its URL's path, which names the submission."""
    task_id: str
    """As its body says, "" if it does not."""
    state: TaskState
    """As its body says; UNKNOWN if it says nothing of the kind."""


def goes_on(state: TaskState) -> bool:
    """Whether a task in this state has not ended."""
    return state in {TaskState.CREATED, TaskState.QUEUEING, TaskState.PROCESSING}


def read_notice(token: str, body: bytes) -> Notice:
    """Read the body of a callback: that of a query's answer, in the words of any gateway.

    Raises:
        CallbackError: it is no JSON object, or one that two readers may understand differently.

    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_object)
        is_text = b"\\u" not in body or bool(json.dumps(value, ensure_ascii=False).encode("utf-8"))
    except (ValueError, RecursionError):  # a surrogate alone is found when it is encoded
        value, is_text = None, False
    if not (is_text and isinstance(value, dict)):
        raise CallbackError("the callback's body is no JSON object", status=400)
    found = upright(value, _UNASKED)
    said = found.task or {}
    task_id = found.identity or text(value.get("task_id")) or text(value.get("id")) or ""
    is_id = len(task_id) <= _LONGEST_ID and task_id.isprintable()
    return Notice(token, task_id if is_id else "", _state_of(value, said.get("state", TaskState.UNKNOWN)))


def _state_of(value: dict[str, Any], understood: TaskState) -> TaskState:
    """Return the state; by the word alone for a body without id and files, which the documentation shows."""
    words = (value.get("state"), value.get("status")) if understood is TaskState.UNKNOWN else ()
    return next((_STATES[word] for word in words if isinstance(word, str) and word in _STATES), understood)


def _refuse(name: str) -> object:
    raise ValueError(name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or len(pairs) > _MOST_NAMES:
        raise ValueError("a name stands twice, or there are too many")
    return found
