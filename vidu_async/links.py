"""How a link to a result is opened: as it was signed, without the API key, and no further than it may lead."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define
from yarl import URL

from vidu_async.protocol.answers import Answer
from vidu_async.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from typing import Self

    import aiohttp

    from vidu_async.guard import Guard

T = TypeVar("T")

_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})


async def follow(
    session: aiohttp.ClientSession,
    guard: Guard,
    url: str,
    headers: Mapping[str, str],
    receive: Callable[[Answer, AsyncIterator[bytes]], Awaitable[T]],
    ways: Mapping[str, Any],
) -> T:
    """Open a link, and the next one where it has moved; hand the head and the bytes that are found to `receive`.

    Raises:
        ProtocolError: it is no URL, or leads to where it should not, or on and on.

    """
    link, before = _as_signed(url), None
    asked = {"Accept-Encoding": "identity", **headers}
    for _ in range(_REDIRECTS + 1):
        await guard.check(link, before)
        async with session.get(link, headers=asked, allow_redirects=False, **ways) as response:
            moved = response.headers.get("Location") if response.status in _MOVED else None
            if moved is None:
                named = {name.lower(): value for name, value in response.headers.items()}
                return await receive(Answer(response.status, b"", named), _Pieces(response.content))
        link, before = link.join(_as_signed(moved)), link
    raise ProtocolError(f"the link was sent on more than {_REDIRECTS} times, at last to {link.host}")


def _as_signed(text: str) -> URL:
    """Return a link that goes out as it stands: written otherwise, it would no longer be what was signed."""
    with contextlib.suppress(ValueError):
        link = URL(text, encoded=text.isascii() and text.isprintable() and " " not in text)
        _ = link.host, link.port  # read when they are asked for
        return link
    raise ProtocolError("the link is no URL")


@define(eq=False)
class _Pieces:
    """A body as it comes in: joined or cut to size, it would be copied."""

    _content: aiohttp.StreamReader

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            piece, ends_chunk = await self._content.readchunk()
            if piece:
                return piece
            if (
                not ends_chunk or self._content.at_eof()
            ):  # of no body at all, aiohttp says so only to the first who asks
                raise StopAsyncIteration
