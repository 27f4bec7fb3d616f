"""A server on a raw socket that misbehaves as told, and counts what it has been sent.

It speaks just enough HTTP/1.1 to read one request a connection, and then plays a script: bytes to write, a way to
end the connection. Each creation that it reads whole is entered into `creations`: what a real server may have
accepted and charged. What its scripts did accept is in `ledger`; `remembers=True` lists and shows those tasks.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from attrs import define, field, frozen


@define
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    head: bytes = b""
    """All before the body, as it came."""

    @property
    def length(self) -> int:
        """Bytes that its head announces."""
        return int(self.headers.get("content-length", 0))

    @property
    def place(self) -> str:
        """Method and path, without the query."""
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def payload(self) -> str:
        """What its task repeats."""
        return str(json.loads(self.body).get("payload", ""))


@frozen
class Paid:
    """A line of the ledger: a task that was created, when by the server's clock, and by which request."""

    task_id: str
    at: float
    asked: Asked


Script = Callable[["Connection", Asked], Awaitable[None]]


@define(eq=False)
class Connection:
    """One connection, to be answered or broken."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: FaultyServer

    def accept(self, asked: Asked, task_id: str = "") -> None:
        """Create a task, for which credits are taken."""
        ledger = self.server.ledger
        ledger.append(Paid(task_id or str(911045603801182300 + len(ledger)), self.server.now(), asked))

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: Any, **headers: str) -> None:
        """Send an answer; a body that is no bytes goes out as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if not any(line.lower().startswith("content-type") for line in lines):
            lines.append("Content-Type: application/json")
        await self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def reset(self) -> None:
        """Break the connection with a TCP reset instead of an orderly end."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def refuse(status: int, reason: str, message: str = "", **headers: str) -> Script:
    """Return a script that refuses as Vidu does."""
    body = {"code": status, "reason": reason, "message": message, "metadata": {"trace_id": "trace-1"}}

    async def script(connection: Connection, _: Asked) -> None:
        await connection.answer(status, body, **headers)

    return script


def answer(status: int, body: Any, **headers: str) -> Script:
    """Return a script that answers."""

    async def script(connection: Connection, _: Asked) -> None:
        await connection.answer(status, body, **headers)

    return script


def raw(data: bytes) -> Script:
    """Return a script that writes bytes and ends the connection."""

    async def script(connection: Connection, _: Asked) -> None:
        await connection.write(data)

    return script


async def close(_: Connection, __: Asked) -> None:
    """End the connection without an answer."""


async def reset(connection: Connection, _: Asked) -> None:
    """Reset the connection without an answer."""
    connection.reset()


async def hang(connection: Connection, _: Asked) -> None:
    """Never answer; end when the client does."""
    await connection.reader.read()


def created(task_id: str = "911045603801182208", **fields: Any) -> Script:
    """Return a script that accepts a creation."""
    body = {"task_id": task_id, "state": "created", "model": "viduq3-turbo", "credits": 80, **fields}

    async def script(connection: Connection, asked: Asked) -> None:
        sent = json.loads(asked.body or b"{}")
        await connection.answer(200, {"payload": sent.get("payload", ""), **body})

    return accepting(script, task_id)


def accepting(script: Script, *task_ids: str) -> Script:
    """Return a script that accepts a creation, once for each id, and then goes on as another does."""

    async def accept(connection: Connection, asked: Asked) -> None:
        for task_id in task_ids or ("",):
            connection.accept(asked, task_id)
        await script(connection, asked)

    return accept


@frozen
class Early:
    """A script that is played when the head has come, of a creation or another: it reads of the body what it likes."""

    script: Script

    async def __call__(self, connection: Connection, asked: Asked) -> None:
        """Play it."""
        await self.script(connection, asked)


def after(share: float, script: Script) -> Early:
    """Return a script that is played when so much of the body has come, and the rest is on its way."""

    async def play(connection: Connection, asked: Asked) -> None:
        await connection.reader.readexactly(int(asked.length * share))
        await script(connection, asked)

    return Early(play)


def in_turn(*scripts: Script) -> Script:
    """Return a script that plays these in order, the last for ever."""
    left = list(scripts)

    async def script(connection: Connection, asked: Asked) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(connection, asked)

    return script


def state(word: str, **fields: Any) -> Script:
    """Return a script that answers a query."""
    return answer(200, {"state": word, "err_code": "", "creations": [], **fields})


def success(url: str = "https://results.invalid/a.mp4", **fields: Any) -> Script:
    """Return a script that answers the query of a finished task."""
    return state("success", credits=80, **{"creations": [{"id": "1", "url": url, "cover_url": ""}], **fields})


@define(eq=False)
class FaultyServer:
    """Plays `creates` and `looks` in order, the last of each for ever; `others` by method and path."""

    creates: list[Script] = field(factory=lambda: [created()])
    looks: list[Script] = field(factory=lambda: [success()])
    others: dict[str, Script] = field(factory=dict)
    remembers: bool = field(default=False, kw_only=True)
    """Whether it answers questions about tasks out of its ledger."""
    narrow: bool = field(default=False, kw_only=True)
    """Whether it takes in little at once, so that a body is still on its way while its beginning is read."""
    tls: ssl.SSLContext | None = field(default=None, kw_only=True)
    clock_off: float = field(default=0.0, kw_only=True)
    """Seconds by which its clock is ahead."""
    ledger: list[Paid] = field(factory=list, init=False)
    asked: list[Asked] = field(factory=list, init=False)
    """Every request that was read whole."""
    creations: list[Asked] = field(factory=list, init=False)
    queries: list[Asked] = field(factory=list, init=False)
    connections: int = field(default=0, init=False)
    open_now: int = field(default=0, init=False)
    most_open: int = field(default=0, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port of it."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def now(self) -> float:
        """Return the time by its clock."""
        return time.time() + self.clock_off

    async def __aenter__(self) -> Self:
        door = socket.create_server(("127.0.0.1", 0), backlog=128)
        if self.narrow:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW)
        limit = _NARROW if self.narrow else 2**24
        self._server = await asyncio.start_server(self._serve, sock=door, limit=limit, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await self._play(Connection(reader, writer, self))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left first, which some tests are about
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()

    async def _play(self, connection: Connection) -> None:
        head = await connection.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked = Asked(method, path, headers, b"", head)
        other = self.others.get(asked.place)
        if isinstance(other or (method == "POST" and self.creates[0]), Early):
            await (other or self._next(self.creates))(connection, asked)
            return
        asked.body = await connection.reader.readexactly(asked.length)
        self.asked.append(asked)
        await self._script(asked)(connection, asked)

    def _script(self, asked: Asked) -> Script:
        if script := self.others.get(asked.place):
            return script
        if asked.method == "POST":
            self.creations.append(asked)
            return self._next(self.creates)
        if not self.remembers and "task_ids=" in asked.path:
            return refuse(404, "NotFound")
        self.queries.append(asked)
        return self._recall(asked) if self.remembers else self._next(self.looks)

    @staticmethod
    def _next(scripts: list[Script]) -> Script:
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]

    def _recall(self, asked: Asked) -> Script:
        """Answer a question about one task, or list those of a time, as Vidu does: without their payloads."""
        path, query = urlsplit(asked.path).path, parse_qs(urlsplit(asked.path).query)
        if task_ids := query.get("task_ids"):
            rows = [_shown(paid) for paid in self.ledger if paid.task_id in task_ids]
            return answer(200, {"tasks": rows, "next_page_token": ""})
        if not path.endswith("/creations"):
            since, until = (datetime.fromisoformat(query[f"created_at.{end}"][0]) for end in ("from", "to"))
            rows = [_shown(paid) for paid in self.ledger if since <= _moment(paid.at) <= until]
            return answer(200, {"tasks": rows, "next_page_token": ""}, Date=formatdate(self.now(), usegmt=True))
        for paid in self.ledger:
            if path.endswith(f"/{paid.task_id}/creations"):
                return answer(200, {"payload": paid.asked.payload, **_shown(paid)})
        return refuse(404, "TaskNotFound")


_NARROW = 2**16
"""Bytes at once: few, but a few segments of the loopback."""


def _shown(paid: Paid) -> dict[str, Any]:
    wanted = json.loads(paid.asked.body)
    made_at = _moment(paid.at).isoformat().replace("+00:00", "Z")
    return {"id": paid.task_id, "state": "processing", "model": wanted["model"], "created_at": made_at}


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
