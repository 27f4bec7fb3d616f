"""What a single value of a request may be, by the type of its field.

`by_type` is the attrs field transformer of every request class: it reads the annotation and gives the field its
check, so that the classes are nothing but their fields. A check returns the value to keep, or raises
`ValidationError`.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from os import PathLike
from typing import Any

from attrs import Attribute, Converter

from vidu_async.protocol.errors import ValidationError

Media = str | bytes | PathLike[str]
"""A picture or clip: an http(s) or data URL, an `ssupload:` URI, a path, or the file's bytes."""

_REMOTE = ("http://", "https://", "data:", "ssupload:")
_USER = re.compile(r"//[^/?#]*@")
_SHOWN = 80


def is_remote(value: object) -> bool:
    """Whether a media value goes out as it stands, rather than being a path on this machine."""
    return isinstance(value, str) and value.lower().startswith(_REMOTE)


def is_empty(value: object) -> bool:
    """Whether a value stays off the wire. False and 0 are values."""
    return value is None or (isinstance(value, (str, bytes, Mapping, Sequence)) and not value)


def is_positive(value: object) -> bool:
    """Whether a setting is a number above 0 and below infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")


def shown(value: object) -> str:
    """Return a repr short enough for a message, and without the content of files."""
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{shown(name)}: {shown(item)}' for name, item in value.items())}}}"[:_SHOWN]
    if isinstance(value, str):
        value = _without_secrets(value)
    if isinstance(value, int) and value.bit_length() > _SHOWN * 3:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _without_secrets(value: str) -> str:
    """Cut a data URL's content, a link's query and its user: the one is a file, the others may be secrets."""
    if value[:5].lower() == "data:":
        return f"{value[:_SHOWN].partition(',')[0]},..."
    if not is_remote(value):
        return value
    link, asks, _ = _USER.sub("//...@", value).partition("?")
    return f"{link}?..." if asks else link


def nearest(value: object, words: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the words that were probably meant, whatever their case, the likeliest first."""
    by_case = {word.lower(): word for word in words}
    near = difflib.get_close_matches(str(value)[:_SHOWN].lower(), by_case, n=most, cutoff=cutoff)
    return [by_case[word] for word in near]


def hint(value: object, words: Iterable[str], *, most: int = 1) -> str:
    """Return the end of a message that guesses what was meant; "" if nothing is close."""
    near = nearest(value, words, most=most)
    return f". Did you mean {' or '.join(map(repr, near))}?" if near else ""


def refusal(name: str, what: str, value: object, allowed: Iterable[object] | None = None) -> ValidationError:
    """Return the error that says: this field must be so, and is not."""
    return ValidationError(f"{name} {what}, not {shown(value)}", field=name, value=value, allowed=allowed)


class WatermarkPosition(IntEnum):
    """Where a watermark goes; requests take the member, its number, or its name in lower case."""

    TOP_LEFT = 1
    TOP_RIGHT = 2
    BOTTOM_RIGHT = 3
    BOTTOM_LEFT = 4


def text(value: object, field: "Attribute[Any]") -> str | None:
    """Take text; "" is none. What JSON cannot carry is refused here rather than garbled there."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise refusal(field.name, "must be text", value)
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise refusal(field.name, "must not hold NUL or half a surrogate pair", value)
    return value


def required_text(value: object, field: "Attribute[Any]") -> str:
    """Take text that says something."""
    found = text(value, field)
    if found is None or not found.strip():
        raise refusal(field.name, "is required", value)
    return found


def whole(value: object, field: "Attribute[Any]") -> int | None:
    """Take a whole number, or its digits as text: several gateways document `seed` as a string."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < _SHOWN:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal(field.name, "must be a whole number", value)
    if not 0 <= value < 2**63:
        raise refusal(field.name, "must be between 0 and 2**63 - 1", value)
    return value


def position(value: object, field: "Attribute[Any]") -> WatermarkPosition | None:
    """Take a watermark's place by number or name."""
    if value is None or value == "":
        return None
    names = {place.name.lower(): place for place in WatermarkPosition}
    numbers = {str(int(place)): place for place in WatermarkPosition}
    place = None if isinstance(value, bool) else {**names, **numbers}.get(str(value).lower())
    if place is None:
        raise refusal(field.name, f"must be 1 to 4 or one of {', '.join(names)}", value, [*WatermarkPosition, *names])
    return place


def media(value: object, field: "Attribute[Any]") -> tuple[Media, ...]:
    """Take a list of pictures or clips."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes, bytearray, PathLike, Mapping)) or not isinstance(value, Iterable):
        raise refusal(field.name, f"takes a list, {field.name}=[...]", value)
    items = tuple(bytes(item) if isinstance(item, bytearray) else item for item in value)
    for place, item in enumerate(items):
        if not isinstance(item, (str, bytes, PathLike)) or not item:
            raise refusal(f"{field.name}[{place}]", "must be a URL, a path or bytes", item)
    return items


def extra(value: object, field: "Attribute[Any]") -> dict[str, Any]:
    """Take undocumented fields, as they are; empty ones are left out like any others."""
    if not isinstance(value, Mapping):
        raise refusal(field.name, "must be a mapping", value)
    return {str(name): item for name, item in value.items() if not is_empty(item)}


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


def by_type(_: type[Any], found: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Give each field the check that its annotation calls for."""
    return [
        attribute.evolve(validator=is_flag)
        if attribute.type == bool | None
        else attribute.evolve(converter=Converter(_typed(CHECKS[attribute.type], attribute.type), takes_field=True))
        for attribute in found
    ]


def _typed(check: Callable[[Any, "Attribute[Any]"], object], kind: object) -> Callable[..., object]:
    """Return the check with the field's own type in its signature, which is what `help()` shows of the class."""

    def convert(value: Any, field: "Attribute[Any]") -> object:  # noqa: ANN401 - annotated below
        return check(value, field)

    convert.__annotations__["value"] = kind
    return convert
