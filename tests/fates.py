"""What becomes of one creation, whatever goes wrong: four things that must agree.

What its caller is told, how often it is paid, what the journal's file says, and what the same key brings next. A `Fate`
is what is to be; `suffered` submits once, looks at all four, and returns what the caller was told.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import faulty
import trustme
from attrs import evolve, field, frozen
from pictures import png

from vidu_async import (
    APIError,
    ConnectError,
    Gateway,
    ImageToVideo,
    Journal,
    ProtocolError,
    SubmissionUnknownError,
    TaskHandle,
    TextToVideo,
    TransportError,
    ViduClient,
    ViduError,
)
from vidu_async.journal import Row, RowState
from vidu_async.protocol.requests import Request
from vidu_async.testing import run_virtual

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
KEY = "film-7"
HEALTHY = "911045603801182999"
"""The task of a creation that goes well in the end."""
S = RowState

LARGE = ImageToVideo(model="viduq3-turbo", images=[png(size=750_100)])
"""A megabyte on the wire."""


@frozen
class Fate:
    """What is to become of a submission."""

    kind: type[ViduError] | None
    """The error its caller is told, None for a handle."""
    paid: str | None
    phase: str | None
    state: RowState
    """Its row in the journal, once nothing more is found out."""
    again: str
    """What its key brings next: it `sends`, `raises`, or gives the `same` handle."""
    said: str = ""
    """A pattern of the message."""
    arrived: int = 1
    """Creations that the server has read whole."""
    charged: int = 0
    """Creations that it has accepted."""
    within: tuple[float, float] = (0.0, float("inf"))
    """Virtual seconds after which the caller is told, at least and at most."""
    known: dict[str, Any] = field(factory=dict)
    """More of what is in the row."""

    def but(self, said: str = "", **other: Any) -> Fate:
        """Return the same with some things otherwise; unknown names are fields of the row."""
        mine = {name: other.pop(name) for name in list(other) if name in _NAMES}
        return evolve(self, said=said or self.said, known={**self.known, **other}, **mine)


_NAMES = {"kind", "paid", "phase", "state", "again", "arrived", "charged", "within"}
NOTHING = {"task_id": "", "evidence": "", "reason": "", "status": None, "trace_id": ""}

UNSENT = Fate(TransportError, "no", "uploading", S.PREPARED, "sends", arrived=0, known={**NOTHING, "attempt": 0})
"""Provably never seen whole, in any of four attempts."""
REFUSED = Fate(APIError, "no", "committed", S.REFUSED, "sends", known={"attempt": 1, "task_id": ""})
NO_CONNECTION = UNSENT.but(kind=ConnectError, phase="connect")
REDIRECTED = REFUSED.but(kind=ProtocolError)
LOST = Fate(SubmissionUnknownError, "maybe", "committed", S.HELD, "raises", known={"attempt": 1, "task_id": ""})
"""Nobody can say, and nobody can be asked."""
ACCEPTED = Fate(None, None, None, S.ACCEPTED, "same", charged=1, known={"attempt": 1, "evidence": ""})
FOUND = ACCEPTED.but(evidence=re.compile("."))
"""Its answer was lost, its task was not."""


AUTHORITY = trustme.CA()
TRUSTED = ssl.create_default_context()
AUTHORITY.configure_trust(TRUSTED)


def certified(*names: str, **terms: Any) -> ssl.SSLContext:
    """Return what a server of these names shows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(*names, **terms).configure_cert(context)
    return context


def stall(head: bytes) -> faulty.Script:
    """Return a script that begins an answer and never ends it."""

    async def script(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await connection.write(head)
        await faulty.hang(connection, asked)

    return script


@asynccontextmanager
async def journal_at(folder: Path) -> AsyncIterator[Journal]:
    """Open a journal in a folder."""
    journal = Journal(folder / "j.db")
    try:
        yield journal
    finally:
        await journal.aclose()


def client(server: faulty.FaultyServer, journal: Journal, **settings: Any) -> ViduClient:
    """Return a client of that server, which lists tasks if it remembers them."""
    gateway = Gateway(base_url=server.url, lists=server.remembers)
    return ViduClient("test-key", gateway=gateway, journal=journal, **settings)


async def told(vidu: ViduClient, request: Request = REQUEST, key: str | None = KEY) -> TaskHandle | BaseException:
    """Submit, and return what the caller is told."""
    (outcome,) = await asyncio.gather(vidu.submit(request, key=key), return_exceptions=True)
    return outcome


async def suffered(
    fate: Fate,
    vidu: ViduClient,
    server: faulty.FaultyServer,
    journal: Journal,
    *,
    request: Request = REQUEST,
    healed: ViduClient | None = None,
) -> Any:
    """Submit on virtual time, and make sure of all four. `healed` is a client for which nothing is wrong any more."""
    now = asyncio.get_running_loop().time
    began = now()
    outcome = await told(vidu, request)
    check_told(fate, outcome)
    assert fate.within[0] <= now() - began <= fate.within[1], now() - began
    await asyncio.sleep(_LONG)
    assert (len(server.creations), len(server.ledger)) == (fate.arrived, fate.charged)
    row = check_row(fate, journal)
    server.creates = [faulty.created(HEALTHY)]
    await check_again(fate, healed or vidu, server, row, request)
    return outcome


_LONG = 2000.0
"""Virtual seconds after which a lost creation is not looked for any more."""


@contextmanager
def crowded(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """Make a door whose queue is full: who comes now waits outside."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        door = stack.enter_context(socket.create_server((host, port), family=family, backlog=0))
        for _ in range(4):
            one = stack.enter_context(socket.socket(family))
            one.setblocking(False)  # noqa: FBT003 - the standard library's own
            one.connect_ex(door.getsockname())
        yield door


@frozen
class Place:
    """Where a client tries to get to, and with which settings."""

    url: str
    settings: dict[str, Any] = field(factory=dict)


async def unreachable(fate: Fate, place: Place, folder: Path) -> None:
    """Submit to where nothing arrives, and make sure of the fate."""
    async with faulty.FaultyServer() as healthy, journal_at(folder) as journal, client(healthy, journal) as healed:
        gateway = Gateway(base_url=place.url, lists=False)
        async with ViduClient("test-key", gateway=gateway, journal=journal, **place.settings) as vidu:
            await suffered(fate, vidu, healthy, journal, healed=healed)


def play(fate: Fate, folder: Path, *creates: faulty.Script, **ways: Any) -> Any:
    """Submit once to a server that plays these scripts, make sure of the fate, and return what the caller was told."""
    settings = {name: ways.pop(name) for name in ("timeouts", "limits") if name in ways}
    request = ways.pop("request", REQUEST)

    async def main() -> Any:
        async with (
            faulty.FaultyServer(creates=list(creates), **ways) as server,
            journal_at(folder) as journal,
            client(server, journal, **settings) as vidu,
        ):
            return await suffered(fate, vidu, server, journal, request=request)

    return run_virtual(main())


def check_told(fate: Fate, outcome: object) -> None:
    """Make sure of what the caller was told."""
    if fate.kind is None:
        assert isinstance(outcome, TaskHandle), outcome
        return
    assert type(outcome) is fate.kind, outcome
    assert isinstance(outcome, ViduError)
    assert (outcome.paid, outcome.phase, outcome.key) == (fate.paid, fate.phase, KEY)
    assert re.search(fate.said, str(outcome), re.DOTALL), outcome
    assert outcome.__context__ is None


def check_row(fate: Fate, journal: Journal, key: str = KEY) -> Row:
    """Make sure of what the journal's file says."""
    row = journal.find(key)
    assert row is not None
    assert row.state is fate.state
    for name, value in fate.known.items():
        found = getattr(row, name)
        assert value.search(found) if isinstance(value, re.Pattern) else found == value, (name, found)
    return row


async def check_again(
    fate: Fate, vidu: ViduClient, server: faulty.FaultyServer, row: Row, request: Request = REQUEST
) -> None:
    """Make sure of what the same key brings, now that nothing is wrong any more."""
    arrived, charged = len(server.creations), len(server.ledger)
    vidu.resume()  # some refusals stop all submissions
    outcome = await told(vidu, request)
    if fate.again == "sends":
        arrived, charged = arrived + 1, charged + 1
        assert isinstance(outcome, TaskHandle), outcome
        assert outcome.task_id == HEALTHY
        assert server.creations[-1].payload == f"va1:{row.token}"  # the same mark over all attempts
    elif fate.again == "same":
        assert isinstance(outcome, TaskHandle), outcome
        assert outcome.task_id == row.task_id == server.ledger[0].task_id
    else:
        assert isinstance(outcome, SubmissionUnknownError), outcome
        assert re.search("sent before", str(outcome))
    assert (len(server.creations), len(server.ledger)) == (arrived, charged)
