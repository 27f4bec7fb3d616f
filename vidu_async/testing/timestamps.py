"""Points in time as Vidu writes them: RFC 3339 in UTC with nine fractional digits.

Inside the simulator a point in time is a float of Unix seconds; whole nanoseconds exist only here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_NANO: Final = 1_000_000_000
_FRACTION: Final = re.compile(r"\.(\d{1,9})")


def nanoseconds(seconds: float) -> int:
    """Return Unix `seconds` as whole nanoseconds."""
    return round(seconds * _NANO)


def write(seconds: float) -> str:
    """Return Unix `seconds` as `2026-01-20T04:01:53.504648743Z`."""
    whole, fraction = divmod(nanoseconds(seconds), _NANO)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"


def read(text: str) -> int:
    """Return the Unix nanoseconds of an RFC 3339 text with 0 to 9 fractional digits; UTC if it has no zone.

    Raises ValueError for anything else. The fraction is cut out first: `datetime` stops at microseconds.
    """
    fraction = _FRACTION.search(text)
    moment = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    digits = fraction[1].ljust(9, "0") if fraction else "0"
    return int(moment.timestamp()) * _NANO + int(digits)
