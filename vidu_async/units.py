"""How measures are said in words, wherever they are shown: spans of time, sizes."""

from __future__ import annotations

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))
_SIZES = ((1e9, "GB"), (1e5, "MB"), (0.0, "kB"))
"""From how many bytes on a unit is used."""
_BYTES = {"GB": 1e9, "MB": 1e6, "kB": 1e3}


def span(seconds: float) -> str:
    """Say a span of time by its two greatest units: `3 h 20 min`."""
    left = round(seconds)
    for number, (unit, name) in enumerate(_SPANS):
        if left >= unit:
            whole, rest = divmod(left, unit)
            smaller, below = _SPANS[number + 1] if number + 1 < len(_SPANS) else (1, "s")
            return f"{whole} {name} {rest // smaller} {below}" if rest >= smaller else f"{whole} {name}"
    return f"{left} s"


def volume(size: int) -> str:
    """Say a number of bytes: `12.4 MB`."""
    unit = next(unit for least, unit in _SIZES if size >= least)
    return f"{size / _BYTES[unit]:.1f} {unit}"
