"""Lives of a client in processes of their own, which end by kill -9, and the nights that many of them make.

A `Nursery` has one child at a time (`kill_child.py`). A `Night` is one journal and one gateway that many children
serve one after the other; after each kill its books and the journal are held against each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

from attrs import define, field, fields, frozen
from invariants import OPEN, Scene, broken_invariants, read_journal
from ledger import ACCEPTED, LOTS, LedgerServer, Lot

from vidu_async.journal import RowState

_CHILD = Path(__file__).with_name("kill_child.py")


@define(eq=False)
class Life:
    """One child process."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_over: bool = False

    async def hear(self) -> dict[str, Any]:
        """Return the next thing that it says, or raise `EOFError` if it has died."""
        if line := await self.reader.readline():
            heard: dict[str, Any] = json.loads(line)
            return heard
        raise EOFError("the child died by itself; its last words are in the nursery's log")

    async def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order and hear what it says to that."""
        self.writer.write(json.dumps(order).encode() + b"\n")
        return await self.hear()

    async def kill(self) -> None:
        """End it the hard way, and wait until it is dead. Its number is its own until the next child is asked for."""
        os.kill(self.pid, signal.SIGKILL)
        await self.bury()

    async def bury(self) -> None:
        """Wait until it is dead."""
        with contextlib.suppress(OSError):
            self.writer.write_eof()
            await self.reader.read()
        self.writer.close()
        self.is_over = True


@define(eq=False)
class Nursery:
    """Has children, one at a time: what one did must be over before the next is asked for."""

    log: Path
    """Where the last words of those who die by themselves stand."""
    _control: socket.socket = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)
    _life: Life | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._control, theirs = socket.socketpair()
        with theirs, self.log.open("wb") as log:
            command = [sys.executable, str(_CHILD), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._life is not None and not self._life.is_over:
            os.kill(self._life.pid, signal.SIGKILL)
        self._control.close()
        self._process.wait()

    async def bear(self, **order: Any) -> Life:
        """Return a new child that has been given its order."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
        reader, writer = await asyncio.open_connection(sock=ours)
        pid = json.loads(await reader.readline())["pid"]
        life = self._life = Life(pid, reader, writer)
        writer.write(json.dumps(order).encode() + b"\n")
        return life


@frozen
class Tally:
    """What a night came to."""

    kills: int = 0
    submissions: int = 0
    met: int = 0
    """Requests that a kill met on their way."""
    accepted: int = 0
    duplicates: int = 0
    losses: int = 0
    """Paid tasks that the journal neither named nor admitted to be possible."""
    unknown: int = 0
    """Submissions whose outcome was not known at some time, for a kill or for the gateway."""
    unsent: int = 0
    """Submissions that a kill met before their commit: provably unpaid."""
    unknown_after: int = 0
    faults: tuple[str, ...] = ()
    ends: Counter[str] = field(factory=Counter)
    """How the submissions of the last life ended."""

    @property
    def share(self) -> float:
        """The share of the submissions whose outcome was not known at some time."""
        return self.unknown / max(1, self.submissions)

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Tally)})


@define(eq=False)
class Night:
    """One journal, one gateway, and lives that are killed at moments drawn from `seed`."""

    folder: Path
    seed: int
    lots: tuple[Lot, ...] = LOTS
    kills: int = 10
    """Of one nursery's lives."""
    each: int = 40
    """New submissions in each life."""
    bounds: tuple[int, int] = (0, 300_000)
    """Bytes of the smallest and of the largest picture."""
    between: tuple[float, float] = (0.05, 0.4)
    """The least and the most seconds until a life is killed."""
    lag: float = 0.05
    """Seconds until the list shows a new task."""
    _server: LedgerServer = field(init=False)
    _doubts: set[str] = field(factory=set, init=False)
    _lost: set[str] = field(factory=set, init=False)
    _kills: int = field(default=0, init=False)
    _met: int = field(default=0, init=False)
    _unsent: int = field(default=0, init=False)
    _faults: list[str] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._server = LedgerServer(lots=self.lots, seed=self.seed, lag=self.lag)

    async def play(self, *nurseries: Nursery) -> Tally:
        """Kill life after life; then let some come to their ends, and add up.

        Of several nurseries one life each has the journal open at the same time, with the same keys.
        """
        chance = random.Random(self.seed)
        async with self._server:
            for n in range(self.kills):
                permits, self._server.most_at_once = chance.choice([8, 16, 32]), 0
                lives = [await self._life(one, permits, last=(n + 1) * self.each) for one in nurseries]
                for life in lives:
                    await self._moment(chance)
                    self._met += self._server.at_once
                    await life.kill()
                    self._kills += 1
                await self._server.quiet()
                self._count(self._judge(permits * len(lives)))
            return await self._morning(nurseries[0])

    async def _moment(self, chance: random.Random) -> None:
        """Wait for the moment of a kill: some creations later, and a little more; or some time, if that is less."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(*self.between)):
                await self._server.begun(len(self._server.sent) + chance.randint(1, self.each))
                await asyncio.sleep(chance.uniform(0, self.between[0]))

    async def _life(self, nursery: Nursery, permits: int, **order: Any) -> Life:
        files = {"journal": str(self._journal), "told": str(self.folder / "told"), "log": str(self.folder / "log")}
        ways = {"first": 0, "last": 0, "reconcile": False, "bounds": self.bounds, "read": 1.0}
        life = await nursery.bear(play="night", url=self._server.url, permits=permits, **{**ways, **files, **order})
        await life.hear()
        return life

    async def _morning(self, nursery: Nursery) -> Tally:
        """Let a life come to its end, then one without new work, then one that asks for all keys in a world at rest."""
        self._server.most_at_once = 0
        await self._ended(await self._life(nursery, 8, last=self.each * (self.kills + 1), reconcile=True))
        self._expect_all_found(self._judge(8), "in the life that lost it")
        self._server.lots, before = (ACCEPTED,), len(self._server.sent)
        await self._ended(await self._life(nursery, 1, reconcile=True))
        self._expect_all_found(self._judge(8), "in the next life")
        if len(self._server.sent) > before:
            self._faults.append(f"A life without work sends nothing. But it sent {len(self._server.sent) - before}")
        ends = await self._ended(await self._life(nursery, 8, last=self.each * (self.kills + 1)))
        return self._tally(self._judge(8), ends)

    def _expect_all_found(self, scene: Scene, when: str) -> None:
        lost = ", ".join(f"{task.id} of {task.key}" for task in scene.unfound())
        if lost:
            self._faults.append(f"A reconciliation finds all that is paid. But {when} it did not find {lost}")

    async def _ended(self, life: Life) -> Counter[str]:
        heard = await life.hear()
        await life.bury()
        return Counter(heard["ends"])

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.db"

    def _judge(self, permits: int) -> Scene:
        """Hold the journal of a dead process against the gateway's books."""
        told = self.folder / "told"
        scene = Scene(
            *read_journal(self._journal, self.folder / "copy.db"),
            list(self._server.paid),
            list(self._server.sent),
            [(key, task_id) for key, task_id in map(str.split, told.read_text().splitlines())] if told.exists() else [],
            permits,
            self._server.most_at_once,
            {path.name: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()},
        )
        self._faults += broken_invariants(scene)
        self._lost |= {task.id for task in scene.forgotten()}
        return scene

    def _count(self, scene: Scene) -> None:
        """Count what a kill left behind."""
        self._doubts |= {row.key for row in scene.rows if row.state in OPEN}
        self._unsent += sum(row.state is RowState.PREPARED for row in scene.rows)

    def _tally(self, scene: Scene, ends: Counter[str]) -> Tally:
        paid = Counter(task.key for task in scene.paid)
        left = {row.key for row in scene.rows if row.state in OPEN}
        return Tally(
            kills=self._kills,
            submissions=len(scene.rows),
            met=self._met,
            accepted=len(paid),
            duplicates=paid.total() - len(paid),
            losses=len(self._lost),
            unknown=len(self._doubts | left),
            unsent=self._unsent,
            unknown_after=len(left),
            faults=tuple(self._faults),
            ends=ends,
        )
