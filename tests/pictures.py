"""Whole pictures and clips of a wanted size, in pixels and in bytes, for tests that look into them."""

from __future__ import annotations

import base64
import functools
import io
import struct
import zlib
from importlib import resources

JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


def png(width: int = 256, height: int = 192, size: int = 0, *, label: bytes = b"", before: bytes = b"") -> bytes:
    """Return a grey PNG; `size` is that of the file, `label` is somewhere in it, `before` are chunks before its pixels.

    No two stretches of what fills it are alike.
    """
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([127]) * width) * height if width * height <= 10**7 else b"")
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
    end = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    room = size - len(start) - len(end) - 12
    assert not size or room >= len(label), "a PNG is larger than that"
    return start + (chunk(b"fiLl", label + filling(max(room - len(label), 0))) if size or label else b"") + end


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def animated_png() -> bytes:
    """Return a PNG that says that it moves."""
    return png(before=chunk(b"acTL", struct.pack(">2I", 2, 0)))


def filling(size: int) -> bytes:
    """Return so many bytes, no two stretches of which are likely to be taken for each other."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@functools.cache
def _drawn(kind: str, width: int, height: int) -> bytes:
    from PIL import Image  # noqa: PLC0415 - most that import this want no more than a PNG

    out = io.BytesIO()
    Image.new("RGB", (width, height), "orange").save(out, kind)
    return out.getvalue()


def jpeg(width: int = 256, height: int = 192, *, orientation: int = 0, after: bytes = b"") -> bytes:
    """Return a JPEG, perhaps turned by its camera, perhaps with something behind its end."""
    drawn = _drawn("JPEG", width, height)
    entry = struct.pack(">HHI2H", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + entry + bytes(4)
    turned = segment(b"\xe1", exif) if orientation else b""
    return drawn[:2] + turned + drawn[2:] + after


def segment(marker: bytes, content: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return b"\xff" + marker + struct.pack(">H", len(content) + 2) + content


def webp(width: int = 256, height: int = 192) -> bytes:
    """Return a WebP."""
    return _drawn("WEBP", width, height)


def animated_webp() -> bytes:
    """Return a WebP of two pictures."""
    from PIL import Image  # noqa: PLC0415 - as above

    out, frames = io.BytesIO(), [Image.new("RGB", (256, 192), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


@functools.cache
def mp4() -> bytes:
    """Return a film of a second."""
    return resources.files("vidu_async.testing").joinpath("sample.mp4").read_bytes()


def mov() -> bytes:
    """Return the same in Apple's dialect."""
    size = int.from_bytes(mp4()[:4])
    return box(b"ftyp", b"qt  \0\0\2\0qt  ") + mp4()[size:]


def old_mov() -> bytes:
    """Return the same as it was before files said what they are."""
    return mp4()[int.from_bytes(mp4()[:4]) :]


def box(name: bytes, content: bytes) -> bytes:
    """Return a box of a film."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def avi(size: int = 64) -> bytes:
    """Return what has the frame of an AVI."""
    content = b"AVI LIST\0\0\0\0" + filling(size)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def data_url(kind: str, content: bytes) -> str:
    """Return content as the API takes it inline."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


PNG = png()
PNG_URL = data_url("image/png", PNG)
