"""Reading one JSON value: what it says, or None if it says nothing of the kind.

The rule: nothing is made up. `null` never becomes "None", "false" never True, 1.9 never 1, and an id keeps each of its
digits. None of these raises.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_DIGITS = 40
"""Digits of a number that are read; ids have 18."""


def text(value: object, _: object = None) -> str | None:
    """Read text; "" is how Vidu says none. A number is taken by its digits, so that large ids keep each of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value or None if isinstance(value, str) else None


def number(value: object, _: object = None) -> float | None:
    """Read a number, also from text; a percentage by its figure."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value.removesuffix("%") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None  # nan fails this comparison too


def whole(value: object, _: object = None) -> int | None:
    """Read a whole number, also from its digits as text; 1.9 and "abc" are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        return int(value)
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def flag(value: object, _: object = None) -> bool | None:
    """Read a boolean, also from "true", "false", 1 and 0."""
    if not isinstance(value, (str, int)):
        return None
    return _FLAGS.get(value.lower() if isinstance(value, str) else value)


_FLAGS: dict[str | int, bool] = {"true": True, "false": False, "1": True, "0": False, 1: True, 0: False}


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)", re.ASCII | re.IGNORECASE)
_NEVER = datetime(1, 1, 1, tzinfo=UTC)  # Go's zero time, which its servers send for "not yet"
_MILLISECONDS = 10**11  # as seconds, the year 5138


def moment(value: object, _: object = None) -> datetime | None:
    """Read RFC 3339 with up to nine fractional digits (kept to the microsecond), or epoch seconds or milliseconds."""
    try:
        if isinstance(value, str) and (match := _MOMENT.fullmatch(value)):
            seconds, fraction, zone = match.groups()
            found = datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone.upper()}").astimezone(UTC)
        else:
            epoch = number(value) or _NEVER.timestamp()
            found = datetime.fromtimestamp(epoch / 1000 if epoch > _MILLISECONDS else epoch, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None if found == _NEVER else found


def decoded(body: bytes) -> str:
    """Decode UTF-8, with or without its mark at the beginning. The codec for that would be imported only now."""
    return body.removeprefix(b"\xef\xbb\xbf").decode()


def json_of(body: bytes | str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Decode JSON, None if it is none. A byte order mark is no part of it."""
    try:
        return json.loads(decoded(body) if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None


_decoder = json.JSONDecoder()
_BRACKET = re.compile(r"[{\[]")
_PLACES = 32
"""Brackets at which a quoted object may begin."""
_QUOTED = 64 * 1024
"""Characters of a text in which quoted objects are looked for."""


def quoted_json(words: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the JSON objects that a text has in it, as where one repeats another's answer, and whether that is all."""
    found: list[dict[str, Any]] = []
    text, place = words[:_QUOTED], 0
    for _ in range(_PLACES):
        bracket = _BRACKET.search(text, place)
        if bracket is None:
            return found, len(words) <= _QUOTED
        try:
            value, place = _decoder.raw_decode(text, bracket.start())
        except (ValueError, RecursionError):
            place = bracket.end()
            continue
        found += [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
    return found, False


def squeezed(row: dict[str, Any]) -> dict[str, Any]:
    """Return an object under names without case and underscores: `TaskId` and `task_id` are one.

    Of two that are one, the first that says anything stays.
    """
    plain: dict[str, Any] = {}
    for name, item in row.items():
        short = _squeezed(name) if len(name) <= _CACHED else name
        if short not in plain or plain[short] is None or plain[short] == "":
            plain[short] = item
    return plain


_CACHED = 64
"""Characters of a name above which it is none that anybody looks for, and is not kept."""


@lru_cache(maxsize=1024)
def _squeezed(name: str) -> str:
    # A name that begins with an underscore is its owner's own, such as the `_id` of a database.
    return name if name.startswith("_") else name.replace("_", "").lower()
