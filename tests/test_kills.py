"""Clients killed at any moment, against the books of a gateway that misbehaves: nothing is paid twice or forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger import ACCEPTED, LOTS, Lot
from lives import Night, Nursery

NIGHTS: dict[str, tuple[int, int, tuple[Lot, ...]]] = {
    "small pictures, a gateway that misbehaves": (1, 3_000, LOTS),
    "large pictures, a gateway that misbehaves": (2, 300_000, LOTS),
    "large pictures, a gateway that does not": (3, 300_000, (ACCEPTED,)),
}


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    """A process that has children to kill."""
    with Nursery(tmp_path / "nursery.log") as running:
        yield running


@pytest.mark.parametrize(("seed", "most", "lots"), NIGHTS.values(), ids=NIGHTS)
async def test_whatever_is_killed_nothing_is_paid_twice_or_forgotten(
    nursery: Nursery, tmp_path: Path, seed: int, most: int, lots: tuple[Lot, ...]
) -> None:
    """After each of ten kills the journal admits all that is paid, and in the end it names it."""
    (tmp_path / "night").mkdir()
    tally = await Night(tmp_path / "night", seed, lots, bounds=(0, most)).play(nursery)
    assert (tally.faults, tally.duplicates, tally.losses) == ((), 0, 0), f"seed {seed}"
    assert tally.accepted > 50, "the lives were too short to mean anything"
    assert tally.unknown, "no kill met a request on its way"
    assert tally.unsent, "no kill met a request before it left"
