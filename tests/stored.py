"""A gateway and a storage that misbehave as told while a picture is uploaded, and pictures to upload."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faulty
from attrs import define

from vidu_async import Timeouts, ViduClient

KEY = "sk-of-the-uploads"
BEGIN, PUT, FINISH = "POST /tools/v2/files/uploads", "PUT /bucket/a%2Fb", "PUT /tools/v2/files/uploads/u1/finish"
SIGNATURE = "5ecre7%2F=="
URI = "ssupload:?id=42"
ETAG = '"d41d8cd98f00"'
TAKEN = faulty.answer(200, b"", ETag=ETAG)


def png(size: int, salt: int = 0) -> bytes:
    """Return a whole PNG, 128 pixels wide and high, of so many bytes."""
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 128, 8, 0, 0, 0, 0))
    tail = _chunk(b"IDAT", zlib.compress(bytes(129 * 128))) + _chunk(b"IEND", b"")
    filling = size - len(head) - len(tail) - 12
    return head + _chunk(b"fiLl", struct.pack(">I", salt) + bytes(filling - 4)) + tail


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def picture(path: Path, size: int = 2000, salt: int = 0) -> Path:
    """Write a picture of a size."""
    path.write_bytes(png(size, salt))
    return path


@define
class Site:
    """A gateway and its storage, and a client of them."""

    gateway: faulty.FaultyServer
    storage: faulty.FaultyServer
    vidu: ViduClient
    slot: dict[str, str]
    """What the first step is answered with."""

    @property
    def counted(self) -> Counter[str]:
        """How often each step was asked for and read whole; creations, too."""
        places = [asked.place for asked in (*self.gateway.asked, *self.storage.asked)]
        return Counter({BEGIN: "begin", PUT: "put", FINISH: "finish"}.get(place, "create") for place in places)

    def play(self, step: str, *scripts: faulty.Script) -> None:
        """Have a step answered so, in turn, and the last for ever."""
        (self.storage if step == PUT else self.gateway).others[step] = faulty.in_turn(*scripts)


@asynccontextmanager
async def site(*, narrow: bool = False, **settings: Any) -> AsyncIterator[Site]:
    """Serve both, all being well, and make a client with these settings."""
    settings = {"timeouts": Timeouts(connect=1, read=2, write=1, quiet=1), **settings}
    async with faulty.FaultyServer() as gateway, faulty.FaultyServer(narrow=narrow) as storage:
        link = f"{storage.url}/bucket/a%2Fb?X-Amz-Credential=k%2F1&X-Amz-Signature={SIGNATURE}"
        slot = {"id": "u1", "put_url": link, "expires_at": "2026-11-22T06:00:00.5Z"}
        gateway.others |= {BEGIN: faulty.answer(200, slot), FINISH: faulty.answer(200, {"uri": URI})}
        storage.others[PUT] = TAKEN
        async with ViduClient(KEY, base_url=gateway.url, **settings) as vidu:
            yield Site(gateway, storage, vidu, slot)
