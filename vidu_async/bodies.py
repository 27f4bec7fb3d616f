"""A creation's body on its way: JSON in which files are read while it is sent, so that none is ever in memory whole.

The length is known before anything is read, since base64 makes 4 bytes of every 3. A body can be sent again from the
start: what it is made of stays where it is. The last piece, which ends the JSON, is handed over only if every file is
still the one that was looked at.
"""

from __future__ import annotations

import asyncio
import binascii
import secrets
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from vidu_async.local_files import LocalFile
from vidu_async.media import base64_size, encoded
from vidu_async.protocol.catalog import BODY_LIMIT
from vidu_async.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

_TEXT = 64 * 1024
"""Bytes of JSON handed over at once."""
_RAW = 36 * 1024
"""Bytes of a file handed over at once, 48 KiB of base64. A multiple of 3: only the end of a file is padded."""
_HELD = 10 * _RAW
"""Bytes of a file in memory at once: reading them takes a thread, whose start is not free."""


@frozen
class _Stretch:
    """As much of a file as is read at once."""

    file: LocalFile
    start: int
    length: int

    @property
    def size(self) -> int:
        """Bytes it takes as base64."""
        return base64_size(self.length)

    @property
    def is_on_disk(self) -> bool:
        """Whether reading it belongs in a thread, since a disk may be slow."""
        return not isinstance(self.file.source, bytes)

    async def read(self) -> memoryview:
        """Read it, having made sure that the file is still the same."""
        if self.is_on_disk:
            return await asyncio.to_thread(self.file.read, self.start, self.length)
        return self.file.read(self.start, self.length)


@frozen
class Body:
    """What a creation sends. Made by `body_of`."""

    _parts: tuple[bytes | _Stretch, ...] = field(repr=False)
    _end: bytes = field(repr=False)
    """The last piece: text, since a JSON object ends with a brace."""
    size: int = field(init=False)
    """Bytes in all: the exact Content-Length."""

    @size.default
    def _sum(self) -> int:
        return len(self._end) + sum(len(part) if isinstance(part, bytes) else part.size for part in self._parts)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Hand over the body from its start, at most 64 KiB at a time, and let the event loop go after each piece.

        Nothing stays open between two pieces. Whoever stops before the last one has not asked for anything: what came
        before is no JSON.

        Raises:
            ValidationError: a file has changed since it was looked at.

        """
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
                await asyncio.sleep(0)
                continue
            held = await part.read()
            for at in range(0, len(held), _RAW):
                yield binascii.b2a_base64(held[at : at + _RAW], newline=False)
                await asyncio.sleep(0)
            del held  # before the next is read
        if any(isinstance(part, _Stretch) and part.is_on_disk for part in self._parts):
            await asyncio.to_thread(self._check)
        yield self._end

    def _check(self) -> None:
        """Look at every file once more: one that was read long ago may have been only half written then."""
        for part in self._parts:
            if isinstance(part, _Stretch) and part.start == 0:
                part.file.check()


def body_of(resolved: Mapping[str, Any]) -> Body:
    """Return what is sent for a body whose files were looked at (`media.resolved`). The disk is not touched.

    Raises:
        ValidationError: a value that JSON does not hold, or more than Vidu accepts in all.

    """
    files: list[LocalFile] = []
    mark = secrets.token_hex()  # that no text of the request can have foreseen

    def place(file: LocalFile) -> str:
        files.append(file)
        return f"data:{file.kind};base64,{mark}"

    *texts, last = encoded(resolved, place).split(mark.encode())
    parts: list[bytes | _Stretch] = []
    for text, file in zip(texts, files, strict=True):
        parts += [*_pieces(text), *_stretches(file)]
    *rest, end = _pieces(last)
    body = Body((*parts, *rest), end)
    if body.size > BODY_LIMIT:
        said = f"the request takes {body.size} bytes; Vidu accepts {BODY_LIMIT}. Send less, or give links"
        raise ValidationError(said, value=body.size, allowed=(BODY_LIMIT,))
    return body


def _pieces(text: bytes) -> Iterator[bytes]:
    return (text[at : at + _TEXT] for at in range(0, len(text), _TEXT))


def _stretches(file: LocalFile) -> Iterator[_Stretch]:
    return (_Stretch(file, at, min(_HELD, file.size - at)) for at in range(0, file.size, _HELD))
