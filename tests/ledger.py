"""A gateway that keeps books: what it was sent, and which paid task it made of that.

Each creation draws a lot that says whether it is accepted and what the client hears of it. Whatever was accepted
stands in `paid`, whatever began to arrive in `sent`: what a journal says can be held against both.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import faulty
from attrs import define, field, frozen

_PICTURE = re.compile(rb"base64,[A-Za-z0-9+/=]*")


@frozen
class Lot:
    """What becomes of a creation."""

    name: str
    weight: int = 1
    accepts: bool = False
    reply: faulty.Script | None = None
    """What the client hears; None is the answer of a created task."""
    is_definite: bool = False
    """Whether the reply says that nothing was created: only then may it be sent again."""
    late: float = 0.0
    """The most seconds until the reply."""
    is_cut: bool = False
    """Whether the connection is reset somewhere within the body."""


_PAGE = faulty.answer(502, b"<html>bad gateway</html>", Content_Type="text/html")
_FAILURE = faulty.refuse(500, "InternalServiceFailure")
_GARBAGE = faulty.raw(b"\x16\x03\x01 hello")
_PART = faulty.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"task_id": "9')
ACCEPTED = Lot("accepted", 50, accepts=True)
THROTTLED = Lot("throttled", 1, reply=faulty.refuse(429, "TooManyRequests", Retry_After="0.02"), is_definite=True)
REFUSED = Lot("refused", 3, reply=faulty.refuse(400, "FieldInvalid", "resolution"), is_definite=True)
LOST = Lot("accepted, then closed", 3, accepts=True, reply=faulty.close)
CLOSED = Lot("closed", 3, reply=faulty.close)
CUT = Lot("reset while it is read", 5, is_cut=True)
LOTS = (
    ACCEPTED,
    Lot("accepted, answered late", 8, accepts=True, late=0.1),
    Lot("accepted, never answered", 1, accepts=True, reply=faulty.hang),
    Lot("accepted, then reset", 2, accepts=True, reply=faulty.reset),
    Lot("accepted, then 500", 2, accepts=True, reply=_FAILURE),
    Lot("accepted, then a proxy's page", 2, accepts=True, reply=_PAGE),
    Lot("accepted, answered in part", 2, accepts=True, reply=_PART),
    Lot("accepted, then garbage", 1, accepts=True, reply=_GARBAGE),
    LOST,
    CLOSED,
    CUT,
    Lot("500", 2, reply=_FAILURE),
    Lot("a proxy's page", 2, reply=_PAGE),
    Lot("garbage", 1, reply=_GARBAGE),
    Lot("throttled without a word when", 1, reply=faulty.refuse(429, "QuotaExceeded"), is_definite=True),
    THROTTLED,
    REFUSED,
)


@define(eq=False)
class Sent:
    """A creation as far as it arrived."""

    lot: Lot
    is_whole: bool = False
    body: bytes = b""
    """Without its pictures."""
    fields: dict[str, Any] = field(factory=dict)
    """What the body says, if it is whole."""

    @property
    def key(self) -> str:
        """The key of its submission: the first word of the prompt. Empty if that has not arrived whole."""
        found = re.search(rb'"prompt":\s*"([^" ]+)[" ]', self.body)
        return found[1].decode() if found else ""


@frozen
class PaidTask:
    """A creation that was accepted, and is paid."""

    id: str
    payload: str
    prompt: str
    model: str
    at: float
    """Unix seconds."""
    mark: int = 0
    """What `LedgerServer.mark` said at that moment."""

    @property
    def key(self) -> str:
        """The key of its submission."""
        return self.prompt.partition(" ")[0]


@define(eq=False)
class LedgerServer(faulty.FaultyServer):
    """Accepts creations as the lots have it, and tells of the tasks as Vidu does; each has succeeded at once."""

    lots: tuple[Lot, ...] = (ACCEPTED,)
    next_lots: list[Lot] = field(factory=list)
    """What the next creations draw, before chance has its say."""
    seed: int = 0
    lag: float = 0.0
    """Seconds until a new task is listed."""
    mark: Callable[[], int] = lambda: 0
    paid: list[PaidTask] = field(factory=list, init=False)
    sent: list[Sent] = field(factory=list, init=False)
    arrived: asyncio.Event = field(factory=asyncio.Event, init=False)
    """Set by each creation that has been read."""
    takes: asyncio.Event = field(factory=asyncio.Event, init=False)
    """While clear, nothing that arrives is decided upon."""
    answers: asyncio.Event = field(factory=asyncio.Event, init=False)
    """While clear, what was decided is not told."""
    at_once: int = field(default=0, init=False)
    most_at_once: int = field(default=0, init=False)
    """The most creations that were ever being received, or waited for an answer, at the same time."""
    _chance: random.Random = field(init=False)
    _news: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self.takes.set()
        self.answers.set()

    async def begun(self, count: int) -> None:
        """Wait until so many creations have begun to arrive, in all."""
        while len(self.sent) < count:
            self._news.clear()
            await self._news.wait()

    async def quiet(self) -> None:
        """Wait until nothing is under way: a dead client's connections end by themselves."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _play(self, connection: faulty.Connection) -> None:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked = faulty.Asked(method, path, headers, b"")
        await (self._create if method == "POST" else self._tell)(connection, asked)

    async def _create(self, connection: faulty.Connection, asked: faulty.Asked) -> None:
        sent = Sent(self._draw())
        self.sent.append(sent)
        self._news.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._receive(connection, asked, sent)
            self.arrived.set()
            await self.takes.wait()
            task = self._accept(sent) if sent.is_whole and sent.lot.accepts else None
            await self.answers.wait()
            await asyncio.sleep(sent.lot.late * self._chance.random())
        finally:
            self.at_once -= 1
        if not sent.is_whole:
            return connection.reset()
        created = {"task_id": task.id, "state": "created", "payload": task.payload, "credits": 4} if task else {}
        await (sent.lot.reply or faulty.answer(200, created))(connection, asked)
        return None

    def _draw(self) -> Lot:
        if self.next_lots:
            return self.next_lots.pop(0)
        return self._chance.choices(self.lots, [lot.weight for lot in self.lots])[0]

    async def _receive(self, connection: faulty.Connection, asked: faulty.Asked, sent: Sent) -> None:
        """Read a creation, or some of it."""
        length = int(asked.headers["content-length"])
        wanted = self._chance.randrange(length) if sent.lot.is_cut else length
        try:
            body = await connection.reader.readexactly(wanted)
        except asyncio.IncompleteReadError as cut:
            sent.body = _PICTURE.sub(b"", cut.partial)
            raise
        sent.body = _PICTURE.sub(b"", body)
        sent.is_whole = wanted == length
        sent.fields = json.loads(sent.body) if sent.is_whole else {}

    def _accept(self, sent: Sent) -> PaidTask:
        said = {name: sent.fields.get(name, "") for name in ("payload", "prompt", "model")}
        task = PaidTask(str(900_000_000_000 + len(self.paid)), **said, at=time.time(), mark=self.mark())
        self.paid.append(task)
        return task

    async def _tell(self, connection: faulty.Connection, asked: faulty.Asked) -> None:
        """Answer a query or a listing."""
        parts = urlsplit(asked.path)
        if parts.path.endswith("/creations"):
            await self._query(connection, asked, parts.path.split("/")[-2])
        else:
            await self._list(connection, asked, {name: values[0] for name, values in parse_qs(parts.query).items()})

    async def _query(self, connection: faulty.Connection, asked: faulty.Asked, task_id: str) -> None:
        for task in self.paid:
            if task.id == task_id:
                return await faulty.success(id=task.id, payload=task.payload)(connection, asked)
        return await faulty.refuse(404, "TaskNotFound")(connection, asked)

    async def _list(self, connection: faulty.Connection, asked: faulty.Asked, said: dict[str, str]) -> None:
        begin, end = (_moment(said.get(f"created_at.{name}")) for name in ("from", "to"))
        last = min(end or time.time(), time.time() - self.lag)
        found = [task for task in reversed(self.paid) if (begin or 0) <= task.at <= last]
        start, size = int(said.get("pager.page_token", 0)), int(said.get("pager.pagesz", 10))
        rest = str(start + size) if len(found) > start + size else ""
        rows = [_listed(task) for task in found[start : start + size]]
        await connection.answer(200, {"tasks": rows, "next_page_token": rest})


def _moment(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _listed(task: PaidTask) -> dict[str, Any]:
    """Return a task as a list shows it: without its payload."""
    created = datetime.fromtimestamp(task.at).astimezone().isoformat()
    return {"id": task.id, "state": "success", "model": task.model, "prompt": task.prompt, "created_at": created}
