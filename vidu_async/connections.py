"""The transports of a client: one for each event loop that comes along, closed with it."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.protocol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.transport import Transport


@define(eq=False, weakref_slot=True)
class Connections:
    """Transports of one client: a new one for each event loop that comes along, one loop at a time.

    A small task in the loop waits for its end and closes the connections then, so that a client needs no closing by
    hand and nothing is reported as left open.
    """

    _make: Callable[[], Transport]
    _at_end: Callable[[], None]
    """A method, called as a loop ends, before its connections close."""
    is_closed: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _transport: Transport | None = field(default=None, init=False)
    _closer: asyncio.Task[None] | None = field(default=None, init=False)
    _finalizer: weakref.finalize[..., Connections] | None = field(default=None, init=False)

    def here(self) -> Transport:
        """Return the transport of the running loop.

        Raises:
            ConfigError: closed, or in use by another loop that is running, too.

        """
        if self.is_closed:
            raise ConfigError("the client is closed; make a new one")
        loop = self._own_loop()
        if self._transport is not None and loop is self._loop:
            return self._transport
        self._loop, self._transport = loop, self._make()
        self._closer = loop.create_task(_close_with_loop(self._transport, weakref.WeakMethod(self._at_end)))
        # Whoever drops a client without closing it should not keep its connections until the loop ends.
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = finalizer = weakref.finalize(self, _end, loop, self._closer)
        # Once done it is not to be kept, nor what it ended with: that leads to the client.
        self._closer.add_done_callback(lambda _: finalizer.detach())
        return self._transport

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._loop.is_running():
            raise ConfigError("this client is in use by another running event loop; make one client for each loop")
        return loop

    def refuse(self) -> None:
        """Give out no more connections.

        Raises:
            ConfigError: another loop that is running uses them.

        """
        self._own_loop()
        self.is_closed = True

    async def aclose(self) -> None:
        """Close the connections in this loop; those of earlier loops closed with them."""
        self.refuse()
        if self._closer is not None and self._loop is asyncio.get_running_loop():
            self._closer.cancel()
            await asyncio.gather(self._closer, return_exceptions=True)
        self._transport = self._closer = None


async def _close_with_loop(transport: Transport, at_end: weakref.WeakMethod[Callable[[], None]]) -> None:
    """Wait to be cancelled, which is how an event loop ends its tasks, and close the connections."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if (end := at_end()) is not None:
            end()
        await transport.aclose()
        raise


def _end(loop: asyncio.AbstractEventLoop, closer: asyncio.Task[None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(closer.cancel)
