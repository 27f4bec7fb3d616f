"""What a picture or clip is, told from its headers alone: kind, size in pixels, whether it moves, whether it is whole.

Nothing is decoded, so that a picture of a billion pixels costs no more than a small one. Whatever the bytes are, the
answer comes soon and is never an exception: steps are counted, and a length that leads nowhere is a finding.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, BinaryIO

from attrs import evolve, frozen

from vidu_async.kinds import CLIPS, PICTURES, kind_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAD = 512
"""Bytes that are looked at for a file's kind: texts may begin with a comment."""
_STEPS = 200_000
"""Chunks, segments or boxes that are followed; a film of a hundred megabytes in fragments has some thousand."""
_TAIL = 64 * 1024
"""Bytes at the end of a JPEG in which its end mark is looked for first; phones put a film behind it."""
_GARBAGE = 64 * 1024
"""Bytes between segments of a JPEG that belong to none, as some cameras leave them, and that decoders skip."""


@frozen
class Facts:
    """What was found out about a file."""

    kind: str | None = None
    """Its media type; None if it is none that is known."""
    found: str = "a file of another kind"
    """The kind as a message names it."""
    pixels: tuple[int, int] | None = None
    """Width and height as displayed: a JPEG's rotation is taken into account. None for clips, and for odd headers."""
    is_animated: bool = False
    trouble: str = ""
    """Why it is not whole, as the end of a sentence that begins with "it"; "" if it is."""


class _BrokenError(Exception):
    """The file is not whole; the message completes `Facts.trouble`."""


def look(stream: BinaryIO, size: int) -> Facts:
    """Look at an open file of so many bytes.

    Raises:
        OSError: it cannot be read.

    """
    stream.seek(0)
    head = stream.read(_HEAD)
    if not head:
        return Facts(found="an empty file")
    kind = kind_of(head)
    if kind not in PICTURES | CLIPS:
        named = kind or text_of(head)
        return Facts(named, named) if named else Facts()
    facts = Facts(kind, kind)
    try:
        is_animated = _WALKS[kind](stream, size)
        pixels = _pixels(stream) if kind in PICTURES else None
    except _BrokenError as broken:
        return evolve(facts, trouble=str(broken))
    return evolve(facts, pixels=pixels, is_animated=is_animated)


def _pixels(stream: BinaryIO) -> tuple[int, int] | None:
    """Return width and height as displayed; None where the header is too odd to tell, which is no reason to refuse."""
    import imagesize  # noqa: PLC0415 - whoever sends no picture does without

    width, height = imagesize.get(stream)  # with the camera's rotation; -1, -1 where anything is odd
    if width == 0 or height == 0:
        raise _BrokenError(f"is damaged: it is {width}x{height} pixels")
    return (width, height) if min(width, height) > 0 else None


def _at(stream: BinaryIO, place: int, length: int) -> bytes:
    stream.seek(place)
    return stream.read(length)


def _cut(where: str) -> _BrokenError:
    return _BrokenError(f"is cut short: it ends {where}")


def _counted() -> Iterator[None]:
    """Count the steps of a walk."""
    yield from itertools.repeat(None, _STEPS)
    raise _BrokenError(f"is damaged: it has more than {_STEPS} parts")


def _walk_png(stream: BinaryIO, size: int) -> bool:
    """Follow the chunks to the end; return whether it is animated."""
    at, is_animated, is_filled = 8, False, False
    for _ in _counted():
        header = _at(stream, at, 8)
        if len(header) < 8:  # noqa: PLR2004 - a length and a name
            raise _cut("before its last chunk")
        length, name = struct.unpack(">I4s", header)
        if not name.isalpha() or (at == 8) != (name == b"IHDR"):  # noqa: PLR2004 - behind the signature
            raise _BrokenError(f"is damaged: what follows its first {at} bytes is no chunk of a PNG")
        if at + 12 + length > size:
            raise _cut(f"within its chunk {name.decode()}")
        if name == b"IEND":
            break
        is_filled |= name == b"IDAT"
        is_animated |= name == b"acTL" and not is_filled
        at += 12 + length
    if not is_filled:
        raise _BrokenError("is damaged: it holds no picture (IDAT)")
    return is_animated


def _walk_jpeg(stream: BinaryIO, size: int) -> bool:
    """Follow the segments to the picture itself, and look for the end mark behind it."""
    is_framed = False
    for marker, end in _segments(stream, size):
        is_framed |= marker in _FRAMES
        if marker == b"\xda":
            if not is_framed:
                raise _BrokenError("is damaged: it holds no picture (SOF)")
            if not _has_end_mark(stream, end, size):
                raise _cut("within its picture")
            break
    return False


def _segments(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the marker of each segment, and where it ends."""
    at, garbage = 2, 0
    for _ in _counted():
        found = _at(stream, at, 4)
        marker = found[1:2]
        if found[:1] != b"\xff":
            skipped = _before_marker(stream, at)
            at, garbage = at + skipped, garbage + skipped
            if garbage > _GARBAGE:
                raise _BrokenError("is damaged: a long stretch of it belongs to no segment of a JPEG")
        elif marker == b"\xff":  # filling
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == b"\xd9":
            raise _BrokenError("is damaged: it holds no picture")
        else:
            at += 2 + int.from_bytes(found[2:])
            if len(found) < 4 or at > size:  # noqa: PLR2004 - a marker and a length
                raise _cut("before its picture")
            yield marker, at


_FRAMES = frozenset(bytes([0xC0 + kind]) for kind in range(16) if kind not in {4, 8, 12})
"""Markers of a picture's size and kind; the three left out are tables."""
_ALONE = frozenset({b"\x01", *(bytes([restart]) for restart in range(0xD0, 0xD8))})
"""Markers that no length follows."""


def _before_marker(stream: BinaryIO, at: int) -> int:
    """Return how many bytes there are before the next marker."""
    found = _at(stream, at, _GARBAGE + 1)
    if not found:
        raise _cut("before its picture")
    place = found.find(b"\xff")
    return len(found) if place < 0 else place


def _has_end_mark(stream: BinaryIO, start: int, size: int) -> bool:
    """Look from the end backwards: what is compressed never holds the mark."""
    end = size
    while end > start:
        begin = max(start, end - _TAIL)
        if b"\xff\xd9" in _at(stream, begin, end - begin + 1):  # the mark may lie across
            return True
        end = begin
    return False


def _walk_webp(stream: BinaryIO, size: int) -> bool:
    """Compare the length it states with its own; return whether it is animated."""
    head = _at(stream, 0, 21)
    stated = 8 + int.from_bytes(head[4:8], "little")
    if stated > size or len(head) < 21:  # noqa: PLR2004 - up to the flags
        raise _cut(f"after {size} of {stated} bytes")
    if head[12:16] not in {b"VP8 ", b"VP8L", b"VP8X"}:
        raise _BrokenError("is damaged: it holds no picture (VP8)")
    return head[12:16] == b"VP8X" and bool(head[20] & 2)


_UNKNOWN = 0xFFFF_FFFF
"""The length that a film states which was written into a pipe: nobody could go back and put in the right one."""


def _walk_avi(stream: BinaryIO, size: int) -> bool:
    stated = int.from_bytes(_at(stream, 4, 4), "little")
    if size < 8 + stated and stated != _UNKNOWN:
        raise _cut(f"after {size} of {8 + stated} bytes")
    return False


def _walk_boxes(stream: BinaryIO, size: int) -> bool:
    """Follow the boxes of an MP4 or MOV to the end."""
    at, names = 0, set[bytes]()
    for _ in _counted():
        if size - at < 8:  # noqa: PLR2004 - a box begins with its length and name; less is some recorder's filling
            break
        name = _at(stream, at + 4, 4)
        try:
            at += _length(stream, at, size)
        except _BrokenError:
            if {b"moov", b"mdat"} <= names and name not in _FILM:
                break  # a recorder's own notes behind the film
            raise
        names.add(name)
    if b"moov" not in names:
        raise _BrokenError("is cut short: its table of contents (moov) is missing, as when a recording was not ended")
    if b"mdat" not in names:
        raise _cut("before the film itself (mdat)")
    return False


_FILM = frozenset({b"moov", b"moof", b"mdat"})
"""Boxes without which a film is not whole; one in fragments has many of the latter two."""


def _length(stream: BinaryIO, at: int, size: int) -> int:
    """Return the length of a box in all, of one that can be."""
    header = _at(stream, at, 16)
    length, name = int.from_bytes(header[:4]), header[4:8]
    if not name.isascii() or not name.decode("ascii").isprintable():
        raise _BrokenError(f"is damaged: what follows its first {at} bytes is no box of a film")
    if length == 0:  # to the end of the file
        return size - at
    least = 8
    if length == 1:  # too large for four bytes
        length, least = int.from_bytes(header[8:16]), 16
    if length < least:
        raise _BrokenError(f"is damaged: a box at byte {at} is {length} bytes long")
    if length > size - at:
        raise _cut(f"within its box {name.decode('ascii')}")
    return length


_WALKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "image/png": _walk_png,
    "image/jpeg": _walk_jpeg,
    "image/webp": _walk_webp,
    "video/mp4": _walk_boxes,
    "video/quicktime": _walk_boxes,
    "video/x-msvideo": _walk_avi,
}
