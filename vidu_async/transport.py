"""The only file that speaks HTTP outwards.

Three roads lead out, each with connections of its own:
- `fetch`: questions that cost nothing, over a pool of kept connections (or the caller's own session).
- `send`: the paid call, on a fresh connection each time. A kept one may be closed by the server just as the request
  leaves, and then nobody can say whether it was read. How its bytes leave is `upload.py`.
- `download`: links to results, without the API key: they are signed, and point anywhere but into the network that the
  client is in (`guard.py`).

The API key is attached in one line, to requests for the gateway's own origin. aiohttp is imported on first use, and
none of its exceptions leaves this file, not even as a context: their repr holds the request's headers. So an error is
raised only after the except block has ended.
"""

from __future__ import annotations

import asyncio
import re
import ssl as ssl_module
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field

from vidu_async.flight import Flight, Phase
from vidu_async.protocol.answers import HEADERS, Answer
from vidu_async.protocol.errors import (
    ConfigError,
    ConnectError,
    ProtocolError,
    ProxyError,
    RequestTimeoutError,
    TLSError,
    TransportError,
    ViduError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import aiohttp

    from vidu_async.guard import Guard
    from vidu_async.protocol.calls import Call
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.settings import ApiKey, Timeouts
    from vidu_async.upload import Content

T = TypeVar("T")

ANSWER_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that are read; a creation's may echo the images it was sent, and gets that much more."""
ERROR_LIMIT = 64 * 1024
_ANSWER_BUDGET = 1.5
"""How many times `Timeouts.read` a creation's answer may take: a byte now and then is no silence, and no answer."""
_NO_HURRY = nullcontext[None]()
"""For requests whose deadline aiohttp keeps, which is cheaper."""
_POOL = 100  # past a hundred connections every request gets dearer
_OF_STORAGE = ("etag", "retry-after")
"""Headers that are read of the answer to a file."""


@define(eq=False)
class Transport:
    """Connections of one event loop. They open on first use; `aclose()` closes those it opened."""

    gateway: Gateway
    _key: ApiKey
    timeouts: Timeouts
    _given: aiohttp.ClientSession | None = None
    _proxy: str | None = field(default=None, repr=False)
    _ssl: ssl_module.SSLContext | bool = True
    _downloads: int = _POOL
    """As many at once."""
    _guard: Guard | None = field(default=None, init=False, repr=False)
    _room: asyncio.Semaphore = field(init=False, repr=False)
    _sessions: dict[str, aiohttp.ClientSession] = field(factory=dict, init=False, repr=False)
    _dated: tuple[str, float] | None = field(default=None, init=False, repr=False)
    """The Date of the latest answer that has one, and this machine's then."""
    _told: dict[str, dict[str, Any]] = field(factory=dict, init=False, repr=False)
    _is_closed: bool = field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._room = asyncio.Semaphore(self._downloads)

    async def fetch(self, call: Call[T]) -> T:
        """Ask a question that costs nothing, and read the answer.

        Raises:
            APIError: the server refused.
            ConnectError, TransportError, RequestTimeoutError, ProtocolError: no answer, or no answer of this API.

        """
        return call.read(await self._exchange("pool", call, _NO_HURRY, {"json": call.body}))

    async def send(self, call: Call[T], body: Content, flight: Flight, commit: Callable[[], Awaitable[None]]) -> Answer:
        """Send a paid request once, on a connection of its own; `flight` tells afterwards how far it came.

        `commit` is awaited before the last byte leaves, and nothing more leaves if it raises.

        Raises what `fetch` does, and what `body` and `commit` raise.
        """
        from vidu_async.upload import Upload  # noqa: PLC0415 - imports aiohttp

        now = asyncio.get_running_loop().time
        stall = asyncio.timeout(self.timeouts.connect)

        async def commit_unhurried() -> None:
            stall.reschedule(None)  # the journal has a deadline of its own
            await commit()
            stall.reschedule(now() + self.timeouts.read * _ANSWER_BUDGET)

        upload = Upload(body, flight, commit_unhurried, lambda: stall.reschedule(now() + self.timeouts.write))
        failure: ViduError
        flight.phase = Phase.CONNECTING
        try:
            return await self._exchange("fresh", call, stall, {"data": upload, "trace_request_ctx": flight}, body.size)
        except ViduError as error:
            failure = flight.failure or error
            upload.abort()
        except BaseException:
            upload.abort()
            raise
        finally:
            flight.is_over = True
        if flight.phase is Phase.CONNECTING and isinstance(failure, (TransportError, RequestTimeoutError)):
            # Such as a proxy that closed in the middle of its greeting: by its type alone, anything may have happened.
            is_late = isinstance(failure, RequestTimeoutError)
            said = _no_connection(call.url) if is_late else failure.said
            failure = ConnectError(said, phase="proxy" if self._proxy else "connect")
        raise failure

    async def _exchange(
        self,
        road: str,
        call: Call[T],
        patience: asyncio.Timeout | nullcontext[None],
        sent: dict[str, Any],
        echo: int = 0,
    ) -> Answer:
        """Ask and read the answer, which may repeat `echo` bytes of the question."""
        failure: ViduError | asyncio.CancelledError
        try:
            async with (
                patience,
                self._session(road).request(
                    call.method,
                    call.url,
                    params=call.params or None,
                    headers=self._headers(is_json=call.body is not None),
                    allow_redirects=False,
                    raise_for_status=False,
                    **self._ways(road),
                    **sent,
                ) as response,
            ):
                cap = echo + (ANSWER_LIMIT if response.ok else ERROR_LIMIT)
                content = self._key.hidden_in(await _read(response, cap, whole=response.ok))
                told, hide = response.headers, self._key.hidden_in_text
                named = {name: hide(told[name]) for name in HEADERS if name in told}
                if "date" in named:
                    self._dated = (named["date"], time.time())
                return Answer(response.status, content, named, f"{call.method} {call.url}")
        except ViduError:
            raise
        except asyncio.CancelledError as error:
            failure = asyncio.CancelledError(*error.args)  # anew: the old one's traceback leads through the headers
        except Exception as error:  # noqa: BLE001 - all of aiohttp's and the sockets' are sorted in one place
            failure = _failure(error, call.url)
        raise failure

    async def download(
        self, url: str, receive: Callable[[Answer, AsyncIterator[bytes]], Awaitable[T]], headers: Mapping[str, str] = {}
    ) -> T:
        """Open a link to a result, without the API key, and hand its head and its bytes to `receive`.

        Raises:
            ProtocolError: the link leads somewhere it should not.
            ViduError: as `fetch`, or what `receive` raises.

        """
        from vidu_async.links import follow  # noqa: PLC0415 - imports aiohttp

        failure: ViduError
        try:
            async with self._room:
                session, ways = self._session("download"), self._ways("download")
                return await follow(session, self._guarded(), url, headers, receive, ways)
        except ViduError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failure = _failure(error, url)
        raise failure

    async def put(self, url: str, content: Content, kind: str) -> Answer:
        """Put a file of a media type where a signed URL says, without the API key; return the head of the answer.

        Raises what `fetch` does, and what `content` raises: the last byte leaves only if all before it is well.
        """
        from yarl import URL  # noqa: PLC0415 - imported on first use

        from vidu_async.upload import Upload  # noqa: PLC0415 - imports aiohttp

        now, flight, address = asyncio.get_running_loop().time, Flight(), URL(url, encoded=True)  # as it was signed
        stall = asyncio.timeout(self.timeouts.connect + self.timeouts.write)  # aiohttp keeps the first of them

        async def wait_for_answer() -> None:
            stall.reschedule(now() + self.timeouts.read)

        upload = Upload(content, flight, wait_for_answer, lambda: stall.reschedule(now() + self.timeouts.write))
        sent: dict[str, Any] = {"data": upload, "headers": {"Content-Type": kind}, "allow_redirects": False}
        failure: ViduError
        try:
            await self._guarded().check(address, None)
            async with stall, self._session("download").put(address, **sent, **self._ways("download")) as response:
                named = {name: response.headers[name] for name in _OF_STORAGE if name in response.headers}
                return Answer(response.status, b"", named)
        except ViduError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failure = flight.failure or _failure(error, str(address.origin()))
        raise failure

    @property
    def clock_offset(self) -> float:
        """Seconds by which the gateway's clock is ahead of this machine's; 0 if no answer has told."""
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - light to import

        said, now = self._dated or ("", 0.0)
        try:
            return parsedate_to_datetime(said).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return 0.0

    def _headers(self, *, is_json: bool) -> dict[str, str]:
        """Return the headers of requests for the gateway."""
        sent = {"Content-Type": "application/json", "Accept-Encoding": "identity"} if is_json else {}
        return {**self.gateway.headers, **sent, **self._key.header(self.gateway)}

    def _ways(self, road: str) -> dict[str, Any]:
        """Return what aiohttp is told with each request on a road."""
        if road not in self._told:
            import aiohttp  # noqa: PLC0415 - imported on first use

            connect, read = self.timeouts.connect, self.timeouts.read
            patience = {
                "pool": aiohttp.ClientTimeout(total=connect + read, sock_connect=connect),
                "fresh": aiohttp.ClientTimeout(sock_read=read),  # the other deadlines are kept by `send`
                "download": aiohttp.ClientTimeout(sock_connect=connect, sock_read=read),
            }
            self._told[road] = {"timeout": patience[road], "proxy": self._proxy, "ssl": self._ssl}
        return self._told[road]

    def _session(self, road: str) -> aiohttp.ClientSession:
        if road == "pool" and self._given is not None:
            if self._given.closed:
                raise ConfigError("the session passed as session= is closed; keep it open as long as the client")
            return self._given
        if self._is_closed:
            raise ConfigError("the connections are closed: all tasks of this event loop were cancelled, as at its end")
        if road not in self._sessions:
            self._sessions[road] = self._open(road)
        return self._sessions[road]

    def _open(self, road: str) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - imported on first use

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_departure)  # awaited before the first byte is handed over
        return aiohttp.ClientSession(
            connector=self._connector(road),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "vidu_async"},
            trace_configs=[trace] if road == "fresh" else [],
        )

    def _connector(self, road: str) -> aiohttp.TCPConnector:
        import aiohttp  # noqa: PLC0415 - imported on first use

        if road == "fresh":
            from vidu_async.upload import keep_unsent_low  # noqa: PLC0415 - imports aiohttp

            return aiohttp.TCPConnector(force_close=True, limit=0, socket_factory=keep_unsent_low)
        # Through a proxy the only name to be found here is the proxy's, and that is the user's own.
        is_guarded = road == "download" and not self._proxy
        limit = _POOL if road == "pool" else 0  # bounded elsewhere: a wait in there would pass for a storage's silence
        return aiohttp.TCPConnector(limit=limit, resolver=self._guarded() if is_guarded else None)

    def _guarded(self) -> Guard:
        from vidu_async.guard import Guard  # noqa: PLC0415 - imports aiohttp

        if self._guard is None:
            self._guard = Guard(self.gateway.base_url)
        return self._guard

    async def aclose(self) -> None:
        """Close the connections this object opened, and open no more."""
        self._is_closed = True
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()
        if self._guard is not None:
            await self._guard.close()


async def _note_departure(_: object, context: Any, __: object) -> None:  # noqa: ANN401 - aiohttp hands over ours
    context.trace_request_ctx.phase = Phase.UPLOADING


async def _read(response: aiohttp.ClientResponse, limit: int, *, whole: bool) -> bytes:
    """Read a body up to a limit; more is an error for an answer (`whole`), and cut for the text of a refusal."""
    length = response.content_length
    if length is not None and length <= limit and "Content-Encoding" not in response.headers:
        return await response.read()
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            if whole:
                raise ProtocolError(f"the answer is longer than {limit} bytes")
            break
    return bytes(body[:limit])


def _host(url: str) -> str:
    """Return host and port, and nothing of what may be secret around them."""
    return re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]


def _no_connection(url: str) -> str:
    return f"no connection to {_host(url)} in time (Timeouts.connect)"


def _failure(error: Exception, url: str) -> ViduError:  # noqa: C901, PLR0911 - a table, one row a kind
    """Sort what aiohttp and the sockets raise. This names what happened; what it means for money, a `Flight` tells."""
    import aiohttp  # noqa: PLC0415 - imported on first use

    host = _host(url)
    said = str(error.strerror or error) if isinstance(error, OSError) else ""
    is_shown = said and "://" not in said  # a URL may be signed
    what = f"{type(error).__name__}: {said}" if is_shown else type(error).__name__
    match error:
        case aiohttp.ClientHttpProxyError():
            return ProxyError(f"the proxy answered {error.status} for {host}", phase="proxy")
        case aiohttp.ClientProxyConnectionError():
            return ProxyError(f"the proxy cannot be reached ({error.strerror})", phase="proxy")
        case aiohttp.ClientConnectorCertificateError():
            return TLSError(f"the certificate of {host} was refused ({error.certificate_error})", phase="tls")
        case aiohttp.ClientSSLError():
            return TLSError(f"no TLS with {host} ({error.strerror or 'handshake failed'})", phase="tls")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"the name of {host} cannot be resolved", phase="dns")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"{host} cannot be reached ({error.strerror})")
        case aiohttp.ConnectionTimeoutError():
            return ConnectError(_no_connection(url))
        case TimeoutError():
            return RequestTimeoutError(f"no answer from {host} in time (Timeouts.read and .write)")
        case aiohttp.InvalidURL():
            return ConfigError(f"{host or 'the URL'} is no valid address")
        case aiohttp.ClientPayloadError():
            return TransportError(f"the answer of {host} was cut short")
        case aiohttp.ClientResponseError():
            return TransportError(f"{host} does not answer in HTTP")
        case aiohttp.ClientError() | OSError():
            return TransportError(f"the connection to {host} broke ({what})")
    return TransportError(f"the request to {host} failed ({what})")
