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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the lives of a night write."""
    (tmp_path / "night").mkdir()
    return tmp_path / "night"


@pytest.mark.parametrize(("seed", "most", "lots"), NIGHTS.values(), ids=NIGHTS)
async def test_whatever_is_killed_nothing_is_paid_twice_or_forgotten(
    nursery: Nursery, folder: Path, seed: int, most: int, lots: tuple[Lot, ...]
) -> None:
    """After each of ten kills the journal admits all that is paid, and in the end it names it."""
    for number in range(3):  # on a slow machine all ten may miss: then that night was none, and another one is
        home = folder / str(number)
        home.mkdir()
        tally = await Night(home, seed + number, lots, bounds=(0, most)).play(nursery)
        assert (tally.faults, tally.duplicates, tally.losses) == ((), 0, 0), f"seed {seed + number}"
        assert tally.accepted > 50, "the lives were too short to mean anything"
        if tally.met or tally.unsent:
            return
    pytest.fail("no kill of thirty met a request")


async def test_two_processes_with_one_journal_may_be_killed_too(nursery: Nursery, folder: Path, tmp_path: Path) -> None:
    """Both ask for the same keys: what one has in hand the other leaves alone, until it dies."""
    with Nursery(tmp_path / "sibling.log") as sibling:
        tally = await Night(folder, 4, kills=4, bounds=(0, 30_000)).play(nursery, sibling)
    assert (tally.faults, tally.duplicates, tally.losses) == ((), 0, 0), "seed 4"
    assert tally.accepted > 50, "the lives were too short to mean anything"
    assert tally.met or tally.unsent, "no kill met a request"
