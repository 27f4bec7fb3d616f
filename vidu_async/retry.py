"""How long to wait before trying again: exponential, with full jitter.

https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def waits(least: float = 0.5, most: float = 20.0) -> Iterator[float]:
    """Return seconds without end, each drawn between 0 and a bound that doubles from `least` to `most`."""
    # backoff's decorators are left alone: they time with the wall clock and call a deprecated asyncio function.
    # Imported now: when a wait is needed, there may be no file left to import it from.
    from backoff import expo, full_jitter  # noqa: PLC0415 - imported on first use

    bounds = expo(base=2, factor=least, max_value=most)
    bounds.send(None)  # its first yield hands over nothing
    return map(full_jitter, bounds)
