"""How measures are said in words, wherever they are shown: spans of time, sizes."""

from __future__ import annotations

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))
_GIGABYTE, _MEGABYTE = 1e9, 1e6


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
    return f"{size / _GIGABYTE:.1f} GB" if size >= _GIGABYTE else f"{size / _MEGABYTE:.1f} MB"
