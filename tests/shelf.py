"""A result as an object store has it: with an ETag, with ranges of it, and cut where a test says."""

from __future__ import annotations

import re

import faulty
from attrs import define, field

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(range(256)) * 2048
"""Half a megabyte that begins like a film."""
EXPIRED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'


@define(eq=False)
class Shelf:
    """Plays one result: whole, or from where it is asked for; `cuts` are bytes after which connections are cut."""

    content: bytes = MP4
    etag: str = '"v1"'
    """None at all if empty."""
    cuts: list[int] = field(factory=list)
    ranges: bool = True
    """Whether it knows ranges."""
    asked: list[faulty.Asked] = field(factory=list, init=False)

    async def __call__(self, connection: faulty.Connection, asked: faulty.Asked) -> None:
        """Answer, and break off where the next cut is."""
        self.asked.append(asked)
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        is_same = asked.headers.get("if-range", self.etag) == self.etag
        start = int(wanted[1]) if wanted and is_same and self.ranges else 0
        size = len(self.content)
        if start >= size:
            await connection.answer(416, b"", Content_Range=f"bytes */{size}")
            return
        lines = [f"Content-Length: {size - start}", *([f"ETag: {self.etag}"] if self.etag else [])]
        lines += [f"Content-Range: bytes {start}-{size - 1}/{size}"] if start else []
        head = f"HTTP/1.1 {206 if start else 200} X\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
        stop = self.cuts.pop(0) if self.cuts else size
        await connection.write(head.encode() + self.content[start : start + stop])

    @property
    def starts(self) -> list[str]:
        """What was asked for, in order; "" is all."""
        return [asked.headers.get("range", "").removeprefix("bytes=").removesuffix("-") for asked in self.asked]
