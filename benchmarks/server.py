"""The one server of all contenders: loopback, a process of its own, and fast, so that the clients are what is measured.

It knows no time and keeps no state but counters. The URL says all: `/{who}/{looks}/{dialect}/...`, where `who` names
a contender in the counts, and a job is finished at its `looks`-th look: never for 0. If `looks` is `lost`, a creation
is accepted and counted, and the connection closed without an answer. `GET /counts` returns the counts by `who/looks`:
creations, requests, and looks, which are jobs asked about: a list of a hundred is one request and a hundred looks.
It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import re
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from attrs import asdict, define, field, frozen

from benchmarks.dialects import DIALECTS, ROWS, Dialect

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_ID = re.compile(rb"\d{18}")
_PAYLOAD = re.compile(rb'"payload": ?"([^"\\]*)"')
_FIRST_ID = 10**17


@define
class Counts:
    """What one contender asked for."""

    creations: int = 0
    requests: int = 0
    looks: int = 0


@define(eq=False)
class Service:
    """Answers requests."""

    counts: dict[bytes, Counts] = field(factory=lambda: defaultdict(Counts))
    _ids: itertools.count[int] = field(factory=lambda: itertools.count(_FIRST_ID))
    _seen: dict[bytes, int] = field(factory=lambda: defaultdict(int))
    _payloads: dict[bytes, bytes] = field(factory=dict)
    _lost: list[bytes] = field(factory=list)
    """Ids of Vidu's tasks whose answers were lost, which its list shows."""
    _born: bytes = field(factory=lambda: datetime.now(UTC).isoformat().replace("+00:00", "Z").encode())

    def answer(self, host: bytes, target: bytes, body: bytes | None) -> bytes | None:
        """Return the answer to a creation (with a body) or a look (without); None to hang up instead."""
        if target == b"/counts":
            return json.dumps({who.decode(): asdict(count) for who, count in self.counts.items()}).encode()
        _, who, looks, name, rest = target.split(b"/", 4)
        counts, dialect = self.counts[who + b"/" + looks], DIALECTS[name]
        counts.requests += 1
        if body is not None:
            counts.creations += 1
            root = b"http://%b/%b/%b/%b" % (host, who, looks, name)
            return self._create(dialect, root, body, is_lost=looks == b"lost")
        counts.looks += max(1, target.count(b"task_ids="))
        needed = 0 if looks == b"lost" else int(looks)
        ids = _ID.findall(target)
        if rest.partition(b"?")[0].endswith(b"v2/tasks"):
            return self._list(ids or self._lost, needed)
        done = dialect.done if not dialect.result or target.partition(b"?")[0].endswith(b"/status") else dialect.result
        return self._look(ids[0], dialect.waiting, done, needed)

    def _create(self, dialect: Dialect, root: bytes, body: bytes, *, is_lost: bool) -> bytes | None:
        job = b"%d" % next(self._ids)
        if payload := _PAYLOAD.search(body):
            self._payloads[job] = payload[1]
        if is_lost:
            self._lost.append(job) if payload else None
            return None
        return self._filled(dialect.created.replace(b"{root}", root), job)

    def _filled(self, body: bytes, job: bytes) -> bytes:
        payload = self._payloads.get(job, b"")
        return body.replace(b"{id}", job).replace(b"{payload}", payload).replace(b"{born}", self._born)

    def _look(self, job: bytes, waiting: bytes, done: bytes, needed: int) -> bytes:
        if not needed:
            return self._filled(waiting, job)
        self._seen[job] += 1
        return self._filled(done if self._seen[job] >= needed else waiting, job)

    def _list(self, ids: list[bytes], needed: int) -> bytes:
        rows = b",".join(self._look(job, ROWS.waiting, ROWS.done, needed) for job in ids)
        return b'{"next_page_token":"","tasks":[%b]}' % rows


class Talk(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and the address that answers name."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        address, port = transport.get_extra_info("sockname")[:2]
        self._host = f"{address}:{port}".encode()

    def data_received(self, data: bytes) -> None:
        """Answer each request that has come as a whole."""
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        answer = self._service.answer(self._host, target, body if method == b"POST" else None)
        if answer is not None:
            self._transport.write(_HEAD % (len(answer), answer))
        if answer is None or _CLOSE.search(head):
            self._transport.close()


async def serve() -> None:
    """Serve until standard input ends; print the port first."""
    loop, service = asyncio.get_running_loop(), Service()
    server = await loop.create_server(lambda: Talk(service), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@frozen
class Server:
    """The server's process, from outside."""

    _process: subprocess.Popen[str]
    port: int

    @classmethod
    def start(cls) -> Server:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "benchmarks.server"]
        root = Path(__file__).parent.parent
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        assert process.stdout is not None
        return cls(process, int(process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def counts(self, who: str) -> Counts:
        """Return what was counted so far of `contender/looks`."""
        return counts(self.port, who)


def counts(port: int, who: str) -> Counts:
    """Ask a server for what it counted of `contender/looks`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/counts")
        found = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return Counts(**found.get(who, {}))


if __name__ == "__main__":
    asyncio.run(serve())
