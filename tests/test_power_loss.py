"""The power fails while a journal is being written: what is left of it still admits all that is paid."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path

import pytest
from attrs import define, evolve
from invariants import Scene, broken_invariants, copied
from kill_child import client, request_of
from ledger import ACCEPTED, CLOSED, LOST, REFUSED, THROTTLED, LedgerServer, PaidTask

from vidu_async import Journal, ViduError
from vidu_async.journal import Row, RowState

KEYS = [f"row-{n}" for n in range(20)]
LOTS = tuple(evolve(lot, weight=1) for lot in (ACCEPTED, CLOSED, LOST, REFUSED, THROTTLED))
LOG_HEADER, FRAME_HEADER = 32, 24
"""Bytes, as https://www.sqlite.org/fileformat2.html has them."""


@define
class Evening:
    """What there was before the power failed, with the length of the write-ahead log at each moment."""

    path: Path
    paid: list[PaidTask]
    told: list[tuple[int, str, str]]

    @property
    def log(self) -> Path:
        """The write-ahead log."""
        return self.path.with_name(self.path.name + "-wal")

    def cuts(self) -> list[int]:
        """Return the lengths of the log at which a frame ends."""
        head = self.log.read_bytes()[:LOG_HEADER]
        (page_size,) = struct.unpack(">I", head[8:12])
        return list(range(LOG_HEADER, self.log.stat().st_size + 1, FRAME_HEADER + page_size))

    def scene(self, rows: list[Row], cut: int) -> Scene:
        """Return what was known when the log had this length, with the rows that are left."""
        paid = [task for task in self.paid if task.mark <= cut]
        return Scene(rows, paid=paid, told=[(key, task_id) for length, key, task_id in self.told if length <= cut])


@pytest.fixture
async def evening(tmp_path: Path) -> Evening:
    """Twenty submissions, some refused and some lost and found again, and a copy of the journal as it stood then."""
    path, log = tmp_path / "journal.db", tmp_path / "journal.db-wal"
    told: list[tuple[int, str, str]] = []

    def length() -> int:
        return log.stat().st_size if log.exists() else 0

    async def one(key: str) -> None:
        with contextlib.suppress(ViduError):
            handle = await vidu.submit(request_of(key), key=key)
            told.append((length(), key, handle.task_id))

    async with LedgerServer(lots=LOTS, seed=4, mark=length) as server:
        order = {"url": server.url, "journal": str(path), "permits": 4, "read": 5.0}
        async with client(order) as vidu:
            server.lag = float("inf")
            await asyncio.gather(*map(one, KEYS))
            server.lag = 0.0
            await vidu.reconcile()
            (tmp_path / "left").mkdir()
            copied(path, tmp_path / "left" / "journal.db")
            paid = list(server.paid)
    return Evening(tmp_path / "left" / "journal.db", paid, told)


async def recovered(evening: Evening, cut: int) -> list[Row]:
    """Return the rows that a journal finds after all of the log beyond `cut` has gone."""
    copy = evening.path.with_name(f"{cut}.db")
    copied(evening.path, copy, cut)
    journal = Journal(copy)
    await journal.open()
    rows = [row for key in KEYS if (row := journal.find(key))]
    await journal.aclose()
    return rows


async def test_wherever_the_log_is_cut_the_journal_admits_what_is_paid(evening: Evening) -> None:
    """A commit is on the disk before the last byte leaves: no cut behind it forgets it, and none makes up a task."""
    cuts = evening.cuts()
    assert evening.paid
    assert evening.told
    assert len(evening.paid) > len(evening.told), "some answers were to be lost"
    found = {cut: await recovered(evening, cut) for cut in cuts}
    faults = {cut: broken_invariants(evening.scene(rows, cut)) for cut, rows in found.items()}
    assert not any(faults.values()), {cut: fault for cut, fault in faults.items() if fault}
    assert not found[cuts[0]], "nothing was in the file itself"
    assert not any(row.state is RowState.COMMITTED for rows in found.values() for row in rows), "their process is dead"
