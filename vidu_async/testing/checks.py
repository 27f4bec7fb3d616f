"""Whether a setting of the simulator makes sense.

Each check raises ValueError with the setting's name, the value, and what would do; most are validators of attrs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from attrs import Attribute

T = TypeVar("T")

_ROUNDING = 1e-9


def known(what: str, name: object, names: Iterable[str]) -> None:
    """Refuse a name that is none of `names`; say the nearest."""
    names = tuple(names)
    if name in names:
        return
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ValueError(f"{what} {name!r} is unknown: {hint}")


def shares(given: Mapping[T, float]) -> None:
    """Refuse a share outside 0 to 1, and shares of one whole that add up to more than 1."""
    for name, share in given.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be a share from 0 to 1, not {share!r}")
    if math.fsum(given.values()) > 1 + _ROUNDING:
        raise ValueError(f"the shares of {', '.join(map(str, given))} must not add up to more than 1")


def seconds(_: object, attribute: Attribute[Any], value: float) -> None:
    """Refuse a time that is negative, endless or not a number."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{attribute.alias} must be a number of seconds from 0 on, not {value!r}")


def above_zero(_: object, attribute: Attribute[Any], value: float) -> None:
    """Refuse zero, what is below, and what is not a number."""
    if not value > 0:
        raise ValueError(f"{attribute.alias} must be above 0, not {value!r}")


def whole(_: object, attribute: Attribute[Any], value: object) -> None:
    """Refuse what is no whole number from 0 on."""
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{attribute.alias} must be a whole number from 0 on, not {value!r}")
