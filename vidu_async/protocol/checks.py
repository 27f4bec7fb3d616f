"""What a single value of a request may be, by the type of its field.

`by_type` is the attrs field transformer of every request class: it reads the annotation and gives the field its
check, so that the classes are nothing but their fields. A check returns the value to keep, or raises
`ValidationError`.
"""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from os import PathLike
from pathlib import PurePath
from typing import Any

from attrs import Attribute, Converter

from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.given import (
    Media,
    comparable,
    is_content,
    is_data_url,
    is_remote,
    kind_name,
)

# Also as a path has them, or somebody who forgot how a link begins; but no drive of Windows.
_USER = re.compile(r"((?<=\w\w:)/+|^\s*//)[^/?#]*@")
_LINK = re.compile(r"\w\w:/|^\s*//|\?[\w.%-]+=")
_SHOWN = 80
_BEGINNING = 3
"""Letters that say which word was meant, if only one begins so."""
_BY = re.compile(r"(?<=\d)[x*/](?=\d)")  # as in 16x9
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_UNLINKABLE = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
_DIGITS = re.compile(r"\s*(\d{1,40})(?:\.0*)?\s*")


def is_empty(value: object) -> bool:
    """Whether a value stays off the wire. False and 0 are values."""
    return value is None or (isinstance(value, (str, bytes, Mapping, Sequence)) and not value)


def is_positive(value: object) -> bool:
    """Whether a setting is a number above 0 and below infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def shown(value: object) -> str:
    """Return a repr short enough for a message, and without the content of files."""
    try:
        return _shown(value)
    except RecursionError:
        return f"<{type(value).__name__} nested without end>"


def _shown(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_shown(name)}: {_shown(item)}' for name, item in value.items())}}}"[:_SHOWN]
    if isinstance(value, PurePath):
        return f"{type(value).__name__}({path_shown(value)})"
    if isinstance(value, str):
        value = _without_secrets(value)
    if isinstance(value, int) and value.bit_length() > _SHOWN * 3:
        return f"a number of {value.bit_length()} bits"
    text = kind_name(value) if is_content(value) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def path_shown(path: PurePath) -> str:
    """Return a path whole, since what matters most is at its end; a link may have been taken for one."""
    return repr(_without_secrets(str(path)))


def _without_secrets(value: str) -> str:
    """Cut a data URL's content, a link's query and its user: the one is a file, the others may be secrets."""
    if is_data_url(value):
        return f"{value[:_SHOWN].partition(',')[0]},..."
    if not is_remote(value) and not _LINK.search(value):
        return value
    link, asks, _ = _USER.sub(r"\1...@", value).partition("?")
    return f"{link}?..." if asks else link


def nearest(value: object, words: Iterable[str], *, cutoff: float = 0.8) -> str:
    """Return the word that was probably meant, whatever its case; "" if nothing is close."""
    by_case = {word.lower(): word for word in words}
    near = difflib.get_close_matches(_folded(value), by_case, n=1, cutoff=cutoff)
    return by_case[near[0]] if near else ""


def hint(value: object, words: Iterable[str], *, cutoff: float = 0.8) -> str:
    """Return the end of a message that guesses what was meant; "" if nothing is close.

    The beginning of one word is close, that of several is none of them.
    """
    words, folded = [*dict.fromkeys(words)], _BY.sub(":", _folded(value))
    begun = [word for word in words if len(folded) >= _BEGINNING and word.lower().startswith(folded)]
    meant = [word for word in begun if len(word) == len(folded)] or begun or [nearest(folded, words, cutoff=cutoff)]
    near = meant[0] if len(meant) == 1 else ""
    return f". Did you mean {near!r}?" if near else ""


def _folded(value: object) -> str:
    return value[:_SHOWN].strip().lower() if isinstance(value, str) else ""


def fault(name: str, said: str, value: object, allowed: Iterable[object] | None = None) -> ValidationError:
    """Return the error about a field; `said` completes the sentence that its name begins."""
    return ValidationError(f"{name} {said}", field=name, value=value, allowed=allowed)


def refusal(name: str, what: str, value: object, allowed: Iterable[object] | None = None) -> ValidationError:
    """Return the error that says: this field must be so, and is not."""
    return fault(name, f"{what}, not {shown(value)}", value, allowed)


def placed(error: ValidationError, place: str) -> ValidationError:
    """Return the error of a value that is itself in a field."""
    said, name = (f"{place}.{part}" for part in (error.said, error.field))
    return ValidationError(said, field=name, value=error.value, allowed=error.allowed)


class WatermarkPosition(IntEnum):
    """Where a watermark goes; requests take the member, its number, or its name in lower case."""

    TOP_LEFT = 1
    TOP_RIGHT = 2
    BOTTOM_RIGHT = 3
    BOTTOM_LEFT = 4


_PLACES: dict[str | int, WatermarkPosition] = {
    **{place.name.lower(): place for place in WatermarkPosition},
    **{int(place): place for place in WatermarkPosition},
}
_TEXTS = {"meta_data": "must be JSON text, as json.dumps(...) makes it"}


def text(value: object, field: "Attribute[Any]") -> str | None:
    """Take text; "" is none. What JSON cannot carry is refused here rather than garbled there."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise refusal(field.name, _TEXTS.get(field.name, "must be text"), value)
    return sendable(value, field.name) or None


def sendable(value: str, name: str, cannot: re.Pattern[str] = _UNSENDABLE) -> str:
    """Return plain text, also of a member of an Enum; refuse what gets lost on the way."""
    plain = str.__str__(value)
    if cannot is _UNSENDABLE and plain.isascii() and "\0" not in plain:  # megabytes at once
        return plain
    if wrong := cannot.search(plain):
        raise fault(name, f"holds {wrong[0]!r} at character {wrong.start()}, which is garbled on the way", value)
    return plain


def required_text(value: object, field: "Attribute[Any]") -> str:
    """Take text that says something."""
    found = text(value, field)
    if found is None or not found.strip():
        raise refusal(field.name, "is required", value)
    return found


def _integer(value: object) -> int | None:
    """Return a whole number of any type, or of the digits of a text; None if it is none. A boolean is none."""
    if isinstance(value, str):
        digits = _DIGITS.fullmatch(value)
        return int(digits[1]) if digits else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole(value: object, field: "Attribute[Any]") -> int | None:
    """Take a whole number, or its digits as text: several gateways document `seed` as a string."""
    if value is None or _is_blank(value):
        return None
    number = _integer(value)
    if number is None:
        raise refusal(field.name, "must be a whole number", value)
    if not 0 <= number < 2**63:
        raise refusal(field.name, "must be between 0 and 2**63 - 1", value)
    return number


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value  # by type first: `==` of others may raise


def place_of(value: object) -> WatermarkPosition | None:
    """Return a watermark's place by number or name, None if there is none such."""
    number = _integer(value)
    name = value.lower() if isinstance(value, str) else ""
    return _PLACES.get(name if number is None else number)


def position(value: object, field: "Attribute[Any]") -> WatermarkPosition | None:
    """Take a watermark's place by number or name."""
    if value is None or _is_blank(value):
        return None
    place = place_of(value)
    if place is None:
        names = [name for name in _PLACES if isinstance(name, str)]
        raise refusal(field.name, f"must be 1 to 4 or one of {', '.join(names)}", value, [*WatermarkPosition, *names])
    return place


def media(value: object, field: "Attribute[Any]") -> tuple[Media, ...]:
    """Take a list of pictures or clips."""
    if value is None:
        return ()
    if isinstance(value, (str, PathLike, Mapping)) or is_content(value) or not isinstance(value, Iterable):
        raise refusal(field.name, f"takes a list, {field.name}=[...]", value)
    return tuple(_medium(item, f"{field.name}[{place}]") for place, item in enumerate(value))


def _medium(item: object, name: str) -> Media:
    if is_content(item):
        if isinstance(item, (bytes, bytearray, memoryview)) and not memoryview(item).nbytes:
            raise refusal(name, "must hold something", item)
        return item  # type: ignore[return-value]  # as the type alone tells
    if not isinstance(item, (str, PathLike)) or not item:
        said = "must be a URL, a path, bytes, a file, a Pillow picture or a numpy array"
        raise refusal(name, said, item)
    if not isinstance(item, str) or not is_remote(item):  # a path may hold anything; opening it will tell
        return item
    # Why a data URL is none is told when it is looked into.
    return sendable(item, name, _UNSENDABLE if is_data_url(item) else _UNLINKABLE)


def extra(value: object, field: "Attribute[Any]") -> dict[str, Any]:
    """Take undocumented fields, as they are; empty ones are left out like any others."""
    if not isinstance(value, Mapping):
        raise refusal(field.name, "must be a mapping", value)
    for name in value:
        if not isinstance(name, str):
            raise fault(field.name, f"holds {shown(name)}, which is no text, as the name of a field", name)
    return {str.__str__(name): item for name, item in value.items() if not is_empty(item)}


def is_flag(_: object, field: "Attribute[Any]", value: object) -> None:
    """Refuse "true": some gateways' pages call booleans strings, and the API wants a boolean."""
    if value is not None and not isinstance(value, bool):
        raise refusal(field.name, "must be True or False", value, (True, False))


CHECKS: dict[Any, Callable[[Any, "Attribute[Any]"], object]] = {
    str: required_text,
    str | None: text,
    int | None: whole,
    int | str | None: position,
    Sequence[Media]: media,
    dict[str, Any]: extra,
}


_WITH_PIXELS = (Sequence[Media], dict[str, Any])
"""What may hold numpy's arrays."""


def by_type(_: type[Any], found: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Give each field the check that its annotation calls for."""
    return [
        attribute.evolve(validator=is_flag)
        if attribute.type == bool | None
        else attribute.evolve(
            converter=Converter(_typed(CHECKS[attribute.type], attribute.type), takes_field=True),
            eq_key=comparable if attribute.type in _WITH_PIXELS else None,
        )
        for attribute in found
    ]


def _typed(check: Callable[[Any, "Attribute[Any]"], object], kind: object) -> Callable[..., object]:
    """Return the check with the field's own type in its signature, which is what `help()` shows of the class."""

    def convert(value: Any, field: "Attribute[Any]") -> object:  # noqa: ANN401 - annotated below
        return check(value, field)

    convert.__annotations__["value"] = kind
    return convert
