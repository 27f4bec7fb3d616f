"""The withheld last byte: how a paid request leaves, so that what may be paid can be told from what cannot.

Everything but the last byte is sent; then the journal commits; then the last byte is handed over. A JSON object without
its closing brace, shorter than its Content-Length, creates nothing: whatever goes wrong before that moment is provably
unpaid, and whatever goes wrong after it may be paid.

Each piece is drained into the kernel before the next, and the kernel is told to hold little (`keep_unsent_low`), so
that what does not move on is noticed here.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, NoReturn, Protocol

from aiohttp.payload import Payload

from vidu_async.flight import Flight, Phase
from vidu_async.protocol.errors import TransportError, ViduError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.abc import AbstractStreamWriter

_UNSENT = 16 * 1024
"""Bytes that the kernel may hold before they are on their way."""


class Content(Protocol):
    """A body of known size, made anew for each attempt."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield it from its beginning, no piece empty."""


class Upload(Payload):
    """One attempt at sending a body, as aiohttp wants it.

    `commit` makes durable that it is about to leave whole; `on_progress` is called before each piece.
    """

    _autoclose = True

    def __init__(
        self, body: Content, flight: Flight, commit: Callable[[], Awaitable[None]], on_progress: Callable[[], None]
    ) -> None:
        super().__init__(body, content_type="application/json")
        self._size = body.size
        self._body, self._flight, self._commit, self._on_progress = body, flight, commit, on_progress
        self._transport: asyncio.WriteTransport | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:  # noqa: ARG002 - aiohttp's own
        """Refuse: it is sent, never shown."""
        raise TypeError("a body that streams is not shown as text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it."""
        try:
            await self._write(writer)
        except ViduError as error:
            self._flight.failure = error  # aiohttp makes one of its own errors of it
            raise

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """Send it: its length is its own."""
        await self.write(writer)

    def abort(self) -> None:
        """Let nothing more leave: what is stuck in a buffer would go out later, to be paid when nobody listens."""
        if self._transport is not None:
            self._transport.abort()

    async def _write(self, writer: AbstractStreamWriter) -> None:
        self._transport = writer.transport
        if writer.transport is not None:
            # To drain is then to have handed over everything. Not high=0: an empty buffer of TLS would count as full.
            writer.transport.set_write_buffer_limits(high=1, low=0)
        left, last = self._body.size, b""
        async with contextlib.aclosing(self._body.pieces()) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    raise TransportError("the body came out longer than it was announced")
                await self._hand_over(writer, piece if left else piece[:-1])
                last = piece[-1:]
        if left:
            raise TransportError(f"the body came out {left} bytes shorter than it was announced")
        self._check(writer)
        self._flight.phase = Phase.COMMITTING
        await self._commit()
        self._check(writer)
        self._flight.phase = Phase.COMMITTED  # between this line and the next nothing waits
        await writer.write(last)

    async def _hand_over(self, writer: AbstractStreamWriter, piece: bytes) -> None:
        self._check(writer)
        self._on_progress()
        await writer.write(piece)
        await writer.drain()

    def _check(self, writer: AbstractStreamWriter) -> None:
        if self._flight.is_over:
            raise TransportError("the request was given up before all of it had left")
        if writer.transport is None or writer.transport.is_closing():
            raise TransportError("the connection broke before all of the request had left")


def keep_unsent_low(address: tuple[object, ...]) -> socket.socket:
    """Return a socket whose kernel holds few unsent bytes, where the platform lets it be told."""
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)  # type: ignore[arg-type]
    made.setblocking(False)  # noqa: FBT003 - the standard library's own
    if (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)) is not None:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)
    return made
