"""How long to wait before trying again: exponential, with full jitter.

https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterator


def waits(least: float = 0.5, most: float = 20.0) -> Iterator[float]:
    """Return seconds without end, each drawn between 0 and a bound that doubles from `least` to `most`."""
    # backoff's decorators are left alone: they time with the wall clock and call a deprecated asyncio function.
    # Imported now: when a wait is needed, there may be no file left to import it from.
    from backoff import expo, full_jitter  # noqa: PLC0415 - imported on first use

    def drawn() -> Iterator[float]:
        bounds = expo(base=2, factor=least, max_value=most)
        bounds.send(None)  # its first yield hands over nothing
        yield from map(full_jitter, bounds)

    return drawn()


def wait(tries: int, least: float = 0.5, most: float = 20.0) -> float:
    """Return the seconds to wait after so many tries, 1 and more, as `waits` does one after the other."""
    from backoff import full_jitter  # noqa: PLC0415 - as above

    return full_jitter(min(most, least * 2.0 ** min(tries - 1, 32)))


@define(eq=False)
class Quota:
    """How much may be tried again before things go well again: a bucket of tokens, so that trouble makes no more of it.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    """

    most: int = 500
    cost: int = 14
    """Tokens of a try after a failure."""
    cost_when_throttled: int = 5
    refund: int = 1
    """Tokens that a success gives back."""
    _left: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.most

    def spend(self, *, is_throttled: bool = False) -> bool:
        """Take the tokens of one more try; False if there are too few."""
        cost = self.cost_when_throttled if is_throttled else self.cost
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def earn(self) -> None:
        """Note a success."""
        self._left = min(self.most, self._left + self.refund)
