"""How much is measured: in about eight minutes, in one, or next to nothing (the tests)."""

from __future__ import annotations

import sys
import time

from attrs import frozen

_BEGAN = time.monotonic()


@frozen
class Setting:
    """Sizes of the scenarios; seconds."""

    rounds: int = 4
    """In each, all contenders take turns; what is shown is the median of the rounds."""
    share: float = 1.0
    """Of the lifecycles of each measurement."""
    levels: tuple[int, ...] = (1, 10, 100, 1000)
    """Lifecycles at a time."""
    waiting: int = 10_000
    """Tasks waited for with one client."""
    naive: int = 2_000
    """Tasks waited for by one asyncio task each; more than 5,000 it cannot look at every two seconds."""
    period: float = 2.0
    """Between two looks at a task."""
    window: float = 5.0
    """During which the waiting is measured."""
    deadline: float = 60.0
    """After which nobody waits any longer for a client to give up."""
    kills: int = 10
    creations: int = 1000
    """With and without a file for the journal."""
    rows: int = 4000
    """Of a batch."""
    films: int = 100
    """Downloaded at once."""
    film: int = 20_000_000
    """Bytes of each."""
    contenders: tuple[str, ...] | None = None
    """None: all of them."""

    def say(self, text: str) -> None:
        """Tell how far it has come."""
        print(f"{time.monotonic() - _BEGAN:4.0f} s  {text}", file=sys.stderr, flush=True)


QUICK = Setting(
    rounds=1, share=0.5, waiting=2_000, naive=500, window=2.0, deadline=8.0, kills=3, creations=300, rows=500, films=20
)
