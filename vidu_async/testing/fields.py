"""The fields of a creation request: which endpoint takes them, their JSON types, their closed sets of values.

A body is checked here field by field, each on its own; what fields mean together is for `rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vidu_async.testing.refusals import Refusal, refuse_unless

_EVERY: Final = frozenset({"model", "prompt", "seed", "payload", "callback_url", "client_request_id"})
_VIDEO: Final = _EVERY | {
    "duration",
    "resolution",
    "movement_amplitude",
    "bgm",
    "audio",
    "off_peak",
    "watermark",
    "wm_position",
    "wm_url",
    "meta_data",
}
_REFERENCE: Final = frozenset({"images", "videos", "subjects", "auto_subjects"})
# One documentation page prints an answer as its example request, so its fields are let through and ignored.
_READ_BACK: Final = frozenset({"task_id", "type", "state", "style", "created_at", "credits", "cus_priority"})

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "text2video": _VIDEO | {"style", "aspect_ratio"},
    "img2video": _VIDEO | {"images", "audio_type", "voice_id", "is_rec", "aspect_ratio"},
    "start-end2video": _VIDEO | {"images", "is_rec", "aspect_ratio"} | _READ_BACK,
    "reference2video": _VIDEO | _REFERENCE | {"audio_type", "aspect_ratio"},
    "reference2image": _EVERY | {"images", "aspect_ratio", "resolution"},
}
REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "text2video": ("model", "prompt"),
    "img2video": ("model", "images"),
    "start-end2video": ("model", "images"),
    "reference2video": ("model", "prompt"),
    "reference2image": ("model", "prompt"),
}
SUBJECT_FIELDS: Final = frozenset({"name", "id", "images", "videos", "voice_id", "server_id"})
STORED_SUBJECT_FIELDS: Final = frozenset({"name", "images", "videos", "voice_id"})

PAYLOAD_LENGTH: Final = 1_048_576
PROMPT_LENGTH: Final = 5000
SHORT_PROMPT_LENGTH: Final = 2000

WATERMARK_PLACES: Final = ("unspecified", "top_left", "top_right", "bottom_right", "bottom_left")

_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "style": ("general", "anime"),
    # "standard" is in a documented example, though in no table.
    "movement_amplitude": ("auto", "small", "medium", "large", "standard"),
    "audio_type": ("all", "speech_only", "sound_effect_only"),
}


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_place(value: object) -> bool:
    """Take a number, the same in quotes, or the name: the pages type it all three ways."""
    return _is_whole(value) or _is_text(value)


# What is not listed is text.
_KINDS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("bgm", "audio", "off_peak", "watermark", "is_rec", "auto_subjects"), _is_flag),
    **dict.fromkeys(("seed", "duration", "credits", "cus_priority"), _is_whole),
    **dict.fromkeys(("images", "videos"), _is_texts),
    "subjects": _is_objects,
    "wm_position": _is_place,
}


def check_fields(body: Mapping[str, Any], taken: frozenset[str], path: str = "") -> None:
    """Refuse a field not `taken`, of the wrong JSON type (null included), or outside its set of values."""
    for name, value in body.items():
        refuse_unless(name in taken, "FieldUnwanted", path + name)
        refuse_unless(_KINDS.get(name, _is_text)(value), "FieldInvalid", path + name)
        refuse_unless(name not in _VALUES or value in _VALUES[name], "FieldInvalid", path + name)


def check_required(body: Mapping[str, Any], names: tuple[str, ...], path: str = "") -> None:
    """Refuse a body without one of `names`, or with an empty text in its place."""
    for name in names:
        refuse_unless(body.get(name, "") != "", "FieldLacking", path + name)


def check_lengths(body: Mapping[str, Any], prompt_length: int) -> None:
    """Refuse a prompt or a payload with too many characters."""
    refuse_unless(len(body.get("prompt", "")) <= prompt_length, "FieldInvalid", "prompt")
    refuse_unless(len(body.get("payload", "")) <= PAYLOAD_LENGTH, "FieldInvalid", "payload")


def watermark_place(value: int | str) -> str:
    """Return the name of a watermark position given as number, number in quotes, or name."""
    for number, name in enumerate(WATERMARK_PLACES):
        if value in {number, str(number), name}:
            return name
    raise Refusal("FieldInvalid", "wm_position")
