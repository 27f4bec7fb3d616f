"""What a generation yields: a short film that plays, a picture that opens. Every task's bytes are its own.

The same task always yields the same bytes, so nothing is stored. They are small stand-ins: the film is a
second and a half of 320x180, whatever was asked for.
"""

from __future__ import annotations

import colorsys
import functools
import struct
import zlib
from importlib import resources
from typing import Final

_SIDES: Final = {"360p": 360, "540p": 540, "720p": 720, "1080p": 1080, "2K": 1440, "4K": 2160}
_LONGEST_SIDE: Final = 384
# Six horizons of a day, as hues of a circle.
_HUES: Final = (0.02, 0.08, 0.13, 0.45, 0.58, 0.75)

Colour = tuple[float, float, float]


def shape(aspect_ratio: str) -> tuple[int, int]:
    """Return width and height of a ratio such as "9:16"; 16:9 where none is named."""
    width, _, height = aspect_ratio.partition(":")
    return (int(width), int(height)) if height else (16, 9)


def film_size(resolution: str, aspect_ratio: str) -> tuple[int, int]:
    """Return width and height in pixels of a video of that resolution, both even."""
    width, height = shape(aspect_ratio)
    scale = _SIDES[resolution] / min(width, height)
    return round(width * scale / 2) * 2, round(height * scale / 2) * 2


@functools.cache
def _sample() -> bytes:
    return resources.files(__package__).joinpath("sample.mp4").read_bytes()


def film(label: str) -> bytes:
    """Return an H.264 MP4 of `label`'s own: at its end a `free` box, which players skip, holds the label."""
    name = label.encode()
    return _sample() + struct.pack(">I4s", 8 + len(name), b"free") + name


def picture(label: str, aspect_ratio: str) -> bytes:
    """Return a PNG of that shape: a sun in the sky, in a colour and at a height that depend on `label`."""
    width, height = shape(aspect_ratio)
    scale = _LONGEST_SIDE / max(width, height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    mark = zlib.crc32(label.encode())
    rows = b"".join(b"\0" + row for row in _rows(width, height, mark))
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tEXt", b"Title\0" + label.encode()),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def _rows(width: int, height: int, mark: int) -> list[bytes]:
    """Return the RGB bytes of each row: one colour but for the sun, which is quick without any library."""
    hue = _HUES[mark % len(_HUES)]
    radius = min(width, height) * 0.15
    centre = height * (0.3 + (mark >> 8) % 32 / 100)
    sun = _pixel((hue, 0.18, 1.0))
    rows = []
    for y in range(height):
        depth = y / height
        sky = _pixel((hue + 0.12 * (1 - depth), 0.75 - 0.45 * depth, 0.35 + 0.6 * depth))
        reach = radius**2 - (y - centre) ** 2
        half = min(width // 2, round(reach**0.5)) if reach > 0 else 0
        edge = width // 2 - half
        rows.append(sky * edge + sun * (2 * half) + sky * (width - edge - 2 * half))
    return rows


def _pixel(colour: Colour) -> bytes:
    hue, saturation, value = colour
    return bytes(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
