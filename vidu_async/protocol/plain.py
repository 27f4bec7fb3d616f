"""The commonest answer, read straight: a task in Vidu's own words that is well.

The rule: it says what `dialects.upright` says, or leaves it to that. https://platform.vidu.com/docs/get-generation
"""

from __future__ import annotations

from sys import intern
from typing import Any

from vidu_async.protocol import words
from vidu_async.protocol.dialects import Upright
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.values import text

_STATES = {state.value: state for state in TaskState if state not in {TaskState.FAILED, TaskState.UNKNOWN}}
_KEPT = tuple(name for name in words.NAMES if not name.startswith("err_"))
_ASIDE = (
    *("bgm", "aspect_ratio", "movement_amplitude", "style", "audio", "audio_type", "images", "template", "key_id"),
    *("watermark", "wm_position", "wm_url", "meta_data", "client_request_id", "cus_priority", "is_rec", "callback_url"),
)
"""Names of what a task was given, which tell nothing of how it is."""
_KNOWN = frozenset({*_KEPT, *_ASIDE, "id", "task_id", "state", "err_code", "creations"})
_FEW_WORDS = ("type", "model", "resolution")
"""Fields that say the same of most tasks: it is kept once for all of them."""
_LONGEST_WORD = 32
_LINKS = ("url", "cover_url", "watermarked_url")
_OF_A_CREATION = frozenset({*_LINKS, "id", "video", "moderation_url"})


def plain(value: object, asked: str = "") -> Upright | None:
    """Return what an answer says, or None if it takes more to tell. `asked` is the id of a query."""
    found = _glimpse(value, asked)
    if found is None or not isinstance(value, dict):
        return None
    identity, state = found
    creations = _creations(value.get("creations") or [], asked or identity)
    if creations is None or bool(creations) is not (state is TaskState.SUCCESS):
        return None
    task: dict[str, Any] = {name: item for name in _KEPT if (item := value.get(name)) is not None and item != ""}
    for name in _FEW_WORDS:
        if isinstance(said := task.get(name), str) and len(said) <= _LONGEST_WORD:
            task[name] = intern(said)
    task |= {"id": asked or identity, "state": state, "state_text": state.value, "creations": creations}
    return Upright(task | {"err_code": None, "err_msg": None}, identity, is_sure=True)


def going_on(value: object) -> tuple[str, TaskState] | None:
    """Return the id and the state of a task that has not ended, as `plain` would; None if it takes more to tell."""
    found = _glimpse(value, "")
    is_over = found is None or found[1] is TaskState.SUCCESS or (isinstance(value, dict) and value.get("creations"))
    return None if is_over else found


def _glimpse(value: object, asked: str) -> tuple[str, TaskState] | None:
    if not isinstance(value, dict) or not _KNOWN.issuperset(value) or value.get("err_code"):
        return None
    word = value.get("state")
    state = _STATES.get(word) if isinstance(word, str) else None
    identity = value.get("task_id") or value.get("id") or ""
    if state is None or not (_is_id(identity) or (asked and identity == "")):
        return None
    return identity, state


def _is_id(identity: object) -> bool:
    return isinstance(identity, str) and identity.isascii() and identity.isdigit() and identity != "0"


def _creations(items: object, task_id: str) -> list[dict[str, Any]] | None:
    """Return the results, None if one is not plain."""
    if not isinstance(items, list):
        return None
    found = []
    for item in items:
        if not isinstance(item, dict) or not _OF_A_CREATION.issuperset(item) or not text(item.get("url")):
            return None
        links = {name: text(item.get(name)) for name in _LINKS}
        found.append({"id": item.get("id") or None, "video": item.get("video"), **links, "task_id": task_id})
    return found
