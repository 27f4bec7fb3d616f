"""Where callbacks come in: an aiohttp sub-application and an ASGI application around one receiver.

A body is read as it comes and no further than the receiver says, and only once it asks for it.
https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vidu_async.callbacks import CallbackReceiver, check_size
from vidu_async.protocol.errors import CallbackError
from vidu_async.settings import check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping

    from aiohttp import StreamReader, web

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_PATIENCE = 10.0
"""Seconds in which all of a body must have come."""
_UNWANTED, _BRIEFLY = 64 * 1024, 0.5
"""Bytes, and seconds, of a body that nobody wants and that is read all the same: so its sender hears the answer."""
_HEADERS = {405: {"Allow": "POST"}}


def aiohttp_app(receiver: CallbackReceiver) -> web.Application:
    """Return an aiohttp application for where `public_url` leads.

    Mount it: `app.add_subapp("/vidu", aiohttp_app(receiver))`, at whatever path is left of it behind your proxies. It
    may be served by itself.
    https://docs.aiohttp.org/en/stable/web_advanced.html#nested-applications
    """
    from aiohttp import web  # noqa: PLC0415 - imported on first use

    check("receiver", receiver, CallbackReceiver)

    async def take(request: web.Request) -> web.Response:
        async def read(most: int) -> bytes:
            return await _read(request.content.iter_any(), most)

        status = await receiver.answer(request.method, request.raw_path, request.headers, read)
        response = web.Response(status=status, headers=_HEADERS.get(status))
        if not await _has_ended(request.content):  # rather than read what nobody wants: aiohttp would, for a while
            response.force_close()
            await response.prepare(request)
            await response.write_eof()
            request.protocol.force_close()
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    return app


def asgi_app(receiver: CallbackReceiver) -> ASGIApp:
    """Return an ASGI 3 application for where `public_url` leads.

    Mount it, in FastAPI and Starlette: `app.mount("/vidu", asgi_app(receiver))`. Litestar, Quart and Django have ways
    of their own to mount one, and it may be served by itself.
    """
    check("receiver", receiver, CallbackReceiver)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _take(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _take(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        async def read(most: int) -> bytes:
            return await _read(_chunks(receive), most)

        raw = scope.get("raw_path")
        target = raw.decode("latin-1") if raw else quote(scope["path"])
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        status = await receiver.answer(scope["method"], target, headers, read)
        told = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.get(status, {}).items()]
        if status != 204:  # noqa: PLR2004 - which has no body, and no length
            told.append((b"content-length", b"0"))
            told += [(b"connection", b"close")] if scope.get("http_version", "1.1").startswith("1") else []
        with suppress(OSError):  # the sender has gone
            await send({"type": "http.response.start", "status": status, "headers": told})
            await send({"type": "http.response.body", "body": b""})

    return app


async def _has_ended(content: StreamReader) -> bool:
    """Whether a request's body has come to its end, or does so briefly."""
    with suppress(Exception):  # such as one that is not compressed as it says: aiohttp tells only now
        async with asyncio.timeout(_BRIEFLY):
            while not content.is_eof() and content.total_bytes < _UNWANTED:
                await content.readany()
    return content.is_eof()


async def _read(chunks: AsyncIterator[bytes], most: int) -> bytes:
    """Read a body that may never end."""
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for chunk in chunks:
                check_size(len(body) + len(chunk), most)
                body += chunk
    except TimeoutError:
        raise CallbackError(f"the callback's body did not come within {_PATIENCE:g} s", status=408) from None
    except ConnectionError:
        raise CallbackError("the sender hung up in the middle of the callback", status=400) from None
    return bytes(body)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to the server's beginning and ending: nothing here has to be made ready."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
