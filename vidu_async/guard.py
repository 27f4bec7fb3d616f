"""Where a link to a result may lead: anywhere in public, and nowhere in the network that the client is in itself.

Links come out of answers. One that named an address of this machine or of the network behind it would have the client
fetch what its author could not reach: the addresses of a name are therefore looked at where they are found, in the
resolver, and exactly those are connected to. A gateway that is itself at such an address may have its results there.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from attrs import define, field
from yarl import URL

from vidu_async.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
"""A network's own translation, which older Pythons take for global. https://www.rfc-editor.org/rfc/rfc8215"""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a text means: of one that carries another inside, that one; None if it is a name."""
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else found)


def is_public(text: str) -> bool:
    """Whether an address belongs to the internet, rather than to this machine, a local network or a link."""
    found = _address(text)
    is_local = found is None or found.is_multicast or found.is_reserved or getattr(found, "is_site_local", False)
    return found is not None and found.is_global and not is_local and found not in _NAT64_LOCAL


def _is_beyond(text: str) -> bool:
    """Whether an address is in no network that results are ever in: clouds tell a machine its secrets there."""
    found = _address(text)
    return found is None or found.is_link_local or found.is_multicast or found.is_unspecified


@define(eq=False)
class Guard(AbstractResolver):
    """Finds addresses, and only those that a link may lead to, seen from the gateway whose link it is."""

    gateway: str
    """Its URL."""
    _resolver: AbstractResolver = field(factory=DefaultResolver, init=False)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be connected to.

        Raises:
            ProtocolError: it has none, or is no name.

        """
        try:
            found = await self._resolver.resolve(host, port, family)
        except UnicodeError:
            raise ProtocolError(f"the link leads to {host!r}, which is no name of a host") from None
        allowed = [one for one in found if await self._allows(one["host"])]
        if not allowed:
            raise refusal(host, ", ".join(one["host"] for one in found))
        return allowed

    async def check(self, url: URL, before: URL | None) -> None:
        """Look at a link before it is followed.

        Raises:
            ProtocolError: it is no http link, gives up encryption, or names an address of the local network.

        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise ProtocolError(f"the link leads to {url.scheme or 'no'}://..., and only http(s) is followed")
        if before is not None and before.scheme == "https" and url.scheme == "http":
            raise ProtocolError(f"the link leads from https on to http at {url.host}, which anybody could alter")
        if _address(url.host) is not None and not await self._allows(url.host):
            raise refusal(url.host, url.host)

    async def _allows(self, address: str) -> bool:
        if is_public(address):
            return True
        home = [one for one in await self._gateways() if not is_public(one)]
        return bool(home) and (not _is_beyond(address) or any(map(_is_beyond, home)))

    async def _gateways(self) -> list[str]:
        """Return the gateway's own addresses."""
        host = urlsplit(self.gateway).hostname or ""
        if _address(host) is not None:
            return [host]
        try:
            return [one["host"] for one in await self._resolver.resolve(host, 0, socket.AF_UNSPEC)]
        except OSError:
            return []

    async def close(self) -> None:
        """Let go of the resolver."""
        await self._resolver.close()


def refusal(host: str, found: str) -> ProtocolError:
    """Return the error of a link into a local network."""
    where = host if host == found else f"{host} ({found or 'no address'})"
    return ProtocolError(f"the link leads to {where}, an address of a local network, and the gateway is on none")
