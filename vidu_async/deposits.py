"""Pictures in Vidu's storage: put there in three steps, and known by a URI that requests may hold for 7 days.

The API says where a picture can be put, the storage takes it, and the API is told by the storage's etag that it is
there. The middle step goes to a signed URL, without the API key. Nothing of it costs credits, so passing troubles are
tried again. https://platform.vidu.com/docs/image-upload

The same picture is put there once, whoever wants it and however many at once. How a creation's own bytes leave is
`upload.py`.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field, frozen

from vidu_async import media
from vidu_async.protocol import calls
from vidu_async.protocol.errors import (
    APIError,
    ConfigError,
    ConnectError,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TLSError,
    TransportError,
    ValidationError,
    ViduError,
)
from vidu_async.retry import waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from vidu_async.abilities import Abilities
    from vidu_async.local_files import LocalFile
    from vidu_async.protocol.answers import Answer
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.wire import Slot
    from vidu_async.transport import Transport

T = TypeVar("T")

_TRIES = 4
"""How often each step is tried."""
_PATIENCE = 120.0
"""Seconds of Retry-After beyond which an upload fails instead of waiting."""
_GONE = frozenset({403, 404, 409, 410})
"""By these the storage, or who is told at the end, says that a place is none any more, as when it has expired."""
_BAD_REQUEST = 400
_REFUSED, _ADVICE = "the storage refused the picture", "Upload it again, or give it within the request or as a URL."
_REMEMBERED = 6 * 86_400.0
"""Seconds for which a URI is given again. It lasts for a day more."""
_PIECE = 64 * 1024
_AT_ONCE = 16
"""Pictures on their way. The others have no place yet that could expire, nor a deadline that passes in a queue."""
_HELD = 4 * _PIECE
"""Bytes of a file in memory at once: reading them takes a thread, whose start is not free."""


@frozen
class Content:
    """A picture's own bytes, as the storage takes them."""

    _file: LocalFile

    @property
    def size(self) -> int:
        """Bytes in all: the exact Content-Length."""
        return self._file.size

    async def pieces(self) -> AsyncIterator[bytes]:
        """Hand it over from its start; who takes the last piece is told in the end if it was another file meanwhile.

        Raises:
            ValidationError: the file has changed since it was looked at.

        """
        file = self._file
        for start in range(0, file.size, _HELD):
            held = await asyncio.to_thread(file.read, start, min(_HELD, file.size - start))
            for at in range(0, len(held), _PIECE):
                yield bytes(held[at : at + _PIECE])
            del held  # before the next is read
        await asyncio.to_thread(file.check)


@define(eq=False)
class _Delivery:
    """A picture on its way, and how many wait for its URI."""

    file: LocalFile
    digest: str
    done: asyncio.Task[str] = field(init=False)
    waiting: int = 0


@define(eq=False)
class Deposits:
    """The pictures that a client has in Vidu's storage, and those on their way there."""

    _gateway: Gateway
    _abilities: Abilities
    _connect: Callable[[], Transport]
    """Returns the connections of the running loop."""
    above: int | None = None
    """Bytes above which a creation's pictures go to the storage instead of into its request; None is never."""
    most: int = 10_000
    """Pictures of which the URI is remembered."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _known: dict[str, tuple[str, float]] = field(factory=dict, init=False, repr=False)
    """URIs, and until when they are given again, by the hash of what they stand for; the oldest first."""
    _under_way: dict[str, _Delivery] = field(factory=dict, init=False, repr=False)
    _room: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False, repr=False)

    async def placed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a resolved body with the URIs of its large pictures in their places.

        Raises:
            ViduError: one could not be uploaded.

        """
        if self.above is None:
            return body
        large = dict.fromkeys(file for file in media.files(body) if media.is_uploaded(file, self.above))
        uris = {file: await self.uri_of(file) for file in large}
        placed: dict[str, Any] = media.swapped(body, uris) if uris else body
        return placed

    async def uri_of(self, file: LocalFile) -> str:
        """Return the URI of a picture, which is uploaded unless it is there or on its way.

        Raises:
            UnsupportedError: this gateway takes no uploads.
            ValidationError: the file has changed since it was looked at.
            ViduError: it could not be uploaded.

        """
        self._abilities.require("uploads")
        digest = await asyncio.to_thread(file.sha256)
        while True:
            if uri := self._recalled(digest):
                return uri
            delivery = self._under_way.get(digest)
            if delivery is None or delivery.done.done():
                delivery = self._begin(file, digest)
            try:
                return await self._wait(delivery)
            except ValidationError:
                if delivery.file == file:  # else it is another file that has changed, and was the same before
                    raise

    def _recalled(self, digest: str) -> str:
        """Return the URI of what was uploaded in this loop, "" if none lasts long enough."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # another's clock is another, and its tasks are over
            self._loop = loop
            self._known.clear()
            self._under_way.clear()
            self._room = asyncio.Semaphore(_AT_ONCE)
        uri, until = self._known.get(digest, ("", 0.0))
        return uri if loop.time() < until else ""

    def _begin(self, file: LocalFile, digest: str) -> _Delivery:
        delivery = self._under_way[digest] = _Delivery(file, digest)
        delivery.done = asyncio.get_running_loop().create_task(self._deliver(delivery))
        delivery.done.add_done_callback(lambda _: self._forget(delivery))
        return delivery

    def _forget(self, delivery: _Delivery) -> None:
        if self._under_way.get(delivery.digest) is delivery:
            del self._under_way[delivery.digest]

    async def _wait(self, delivery: _Delivery) -> str:
        """Wait for a picture to be there. The last one to leave ends what nobody waits for any more."""
        delivery.waiting += 1
        try:
            await asyncio.wait([delivery.done])
        finally:
            delivery.waiting -= 1
            if delivery.waiting == 0:
                self._forget(delivery)
                delivery.done.cancel()
        if delivery.done.cancelled():
            raise ConfigError("the upload was ended with all other tasks of its event loop")
        if error := delivery.done.exception():
            raise copy.copy(error)  # each who waited says in it what it means for its own submission
        return delivery.done.result()

    # The three steps

    async def _deliver(self, delivery: _Delivery) -> str:
        """Put a picture into the storage, and note its URI."""
        async with self._room:
            uri = await self._put(delivery.file)
        self._known.pop(delivery.digest, None)
        self._known[delivery.digest] = uri, asyncio.get_running_loop().time() + _REMEMBERED
        if len(self._known) > self.most:
            del self._known[next(iter(self._known))]
        return uri

    async def _put(self, file: LocalFile) -> str:
        """Take the steps, and all of them anew, once, if the place was gone when the picture came."""
        slot = await self._slot()
        try:
            return await self._fill(slot, file)
        except APIError as error:
            if error.status not in _GONE:
                raise
        return await self._fill(await self._slot(), file)

    async def _slot(self) -> Slot:
        return await _patiently(lambda: self._abilities.ask("uploads", calls.begin_upload(self._gateway)))

    async def _fill(self, slot: Slot, file: LocalFile) -> str:
        """Put a picture where it was said to go, and have it taken note of; return its URI."""
        etag = await _patiently(lambda: self._store(slot, file))
        bare = etag.removeprefix("W/").strip('"')
        try:
            return await self._finish(slot, etag)
        except APIError as error:
            if error.status != _BAD_REQUEST or bare == etag:
                raise
        return await self._finish(slot, bare)  # no page says whether the quotes belong to it

    async def _store(self, slot: Slot, file: LocalFile) -> str:
        return _etag_of(await self._connect().put(slot.put_url, Content(file), file.kind))

    async def _finish(self, slot: Slot, etag: str) -> str:
        call = calls.finish_upload(self._gateway, slot.id, etag)
        return await _patiently(lambda: self._connect().fetch(call))


def _etag_of(answer: Answer) -> str:
    """Return what the storage calls the picture it has taken.

    Raises:
        APIError, ProtocolError: it has not taken it.

    """
    if not answer.is_ok:
        raise _refusal(answer)
    if etag := answer.headers.get("etag", ""):
        return etag
    raise ProtocolError("the storage took the picture and named no etag, by which the upload is finished")


def _refusal(answer: Answer) -> ViduError:
    """Return the error of a picture that the storage did not take; what it says in its body is its own."""
    status = answer.status
    said: dict[str, Any] = {"status": status, "readable": False, "advice": _ADVICE}
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        return RateLimitError(_REFUSED, retry_after=answer.retry_after, **said)
    if 300 <= status < 400:  # noqa: PLR2004 - the range is the definition
        return ProtocolError(f"the storage redirects ({status}), and the picture is sent nowhere else")
    return (ServerError if status >= 500 else APIError)(_REFUSED, **said)  # noqa: PLR2004 - as above


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Take a step that costs nothing, and again while its troubles are such as pass."""
    pauses = waits()
    for left in reversed(range(_TRIES)):
        try:
            return await step()
        except ViduError as error:
            pause = _pause_after(error, next(pauses))
            if pause is None or not left:
                raise
        await asyncio.sleep(pause)
    raise AssertionError  # the last try returns or raises


def _pause_after(error: ViduError, pause: float) -> float | None:
    """Return the seconds until a step is tried again; None if its trouble does not pass."""
    if isinstance(error, RateLimitError):
        pause = max(pause, error.retry_after or 0.0)
        return pause if pause <= _PATIENCE else None
    is_passing = isinstance(error, _PASSING) and not isinstance(error, TLSError)
    return pause if is_passing and not getattr(error, "is_upstream", False) else None


_PASSING = (ConnectError, TransportError, RequestTimeoutError, ServerError)
