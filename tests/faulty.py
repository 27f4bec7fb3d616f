"""A server on a raw socket that misbehaves as told, and counts what it has been sent.

It speaks just enough HTTP/1.1 to read one request a connection, and then plays a script: bytes to write, a way to
end the connection. Each creation that it reads whole is entered into `creations`: what a real server may have
accepted and charged.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Self

from attrs import define, field


@define
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[["Connection", Asked], Awaitable[None]]


@define(eq=False)
class Connection:
    """One connection, to be answered or broken."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

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
    return answer(200, {"task_id": task_id, "state": "created", "model": "viduq3-turbo", "credits": 80, **fields})


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
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
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
            await self._play(Connection(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left first, which some tests are about
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.close()

    async def _play(self, connection: Connection) -> None:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked = Asked(method, path, headers, b"")
        asked.body = await connection.reader.readexactly(int(headers.get("content-length", 0)))
        await self._script(asked)(connection, asked)

    def _script(self, asked: Asked) -> Script:
        if script := self.others.get(f"{asked.method} {asked.path.partition('?')[0]}"):
            return script
        if asked.method == "POST":
            self.creations.append(asked)
            return self.creates.pop(0) if len(self.creates) > 1 else self.creates[0]
        self.queries.append(asked)
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
