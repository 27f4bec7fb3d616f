"""Whether a setting of the simulator makes sense.

Each check raises ValueError with the setting's name, the value, and what would do; most are validators of attrs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from attrs import Attribute

Validator = Callable[[object, "Attribute[Any]", object], None]

_ROUNDING = 1e-9
_NEAR = 0.7
"""How alike two names are when one may be meant by the other."""


def known(what: str, name: object, names: Iterable[str]) -> None:
    """Refuse a name that is none of `names`; say the nearest, or all where none is near."""
    names = tuple(names)
    if name in names:
        return
    near = get_close_matches(str(name), names, n=1, cutoff=_NEAR)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ValueError(f"{what} {name!r} is unknown: {hint}")


def require(fits: object, name: object, words: str, value: object) -> None:
    """Refuse a setting that does not fit: say what `words` it must be."""
    if not fits:
        raise ValueError(f"{name} must be {words}, not {value!r}")


def one_whole(given: Mapping[Any, float]) -> None:
    """Refuse shares of one whole that add up to more than 1."""
    if math.fsum(given.values()) > 1 + _ROUNDING:
        raise ValueError(f"the shares of {', '.join(map(str, given))} must not add up to more than 1")


# Validators of attrs


def a(kind: type, words: str) -> Validator:
    """Return a validator that refuses what is no `kind`, which is `words` to a reader."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        require(isinstance(value, kind), attribute.alias, words, value)

    return check


def function(_: object, attribute: Attribute[Any], value: object) -> None:
    """Refuse what cannot be called."""
    require(callable(value), attribute.alias, "a function", value)


def share(_: object, attribute: Attribute[Any], value: object) -> None:
    """Refuse what is no number from 0 to 1."""
    _check_share(attribute.alias, value)


def shares(_: object, attribute: Attribute[Any], given: Any) -> None:  # noqa: ANN401 - whatever a caller gives
    """Refuse what is no mapping, and shares that are no numbers from 0 to 1."""
    require(isinstance(given, Mapping), attribute.alias, "a mapping of shares", given)
    for name, value in given.items():
        _check_share(name, value)


def seconds(_: object, attribute: Attribute[Any], value: object) -> None:
    """Refuse a time that is negative, endless or not a number."""
    require(_is_number(value) and 0 <= value < math.inf, attribute.alias, "a number of seconds from 0 on", value)


def above_zero(_: object, attribute: Attribute[Any], value: object) -> None:
    """Refuse zero, what is below, what is endless, and what is not a number."""
    require(_is_number(value) and 0 < value < math.inf, attribute.alias, "a finite number above 0", value)


def whole(least: int = 0, most: float = math.inf) -> Validator:
    """Return a validator that refuses what is no whole number from `least` to `most`."""
    words = f"a whole number from {least} {'on' if most == math.inf else f'to {most}'}"

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        fits = isinstance(value, int) and _is_number(value) and least <= value <= most
        require(fits, attribute.alias, words, value)

    return check


def _check_share(name: object, value: object) -> None:
    require(_is_number(value) and 0 <= value <= 1, name, "a share from 0 to 1", value)


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number; True and False, which Python counts, are none here."""
    return isinstance(value, int | float) and not isinstance(value, bool)
