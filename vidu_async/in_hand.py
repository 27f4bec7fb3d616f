"""Pictures and clips that are in memory or in an open file, as the bytes that go out: taken when they are submitted.

Neither Pillow nor numpy is imported here first: whoever gives a picture of theirs has imported it. An array is written
as PNG by hand, since numpy may be there without Pillow.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import zlib
from collections.abc import Coroutine
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.given import is_pixels, kind_name

if TYPE_CHECKING:
    from vidu_async.protocol.given import Readable

_JPEG_QUALITY = 95
"""That of a picture that was opened from a JPEG: as PNG it would be ten times as large, and no better."""
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"})
"""Pillow's modes that a PNG holds."""
_NUMBERS = frozenset({"I", "F", "I;16L", "I;16N"})
"""Those whose numbers have no brightest, and those of which Pillow makes plain white."""
_ORIENTATION = 0x0112
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""The `Image.Transpose` that makes a picture upright, by the way its camera says it was held."""
_COLOURS = {1: 0, 3: 2, 4: 6}
"""The colour type of a PNG, by the bytes of a pixel."""

_turns: WeakValueDictionary[int, threading.Lock] = WeakValueDictionary()
"""Held while something is read that several threads may have been given: a file has one place, a picture loads once.

Each has its own, by its id, for as long as somebody reads it: a file that is slow keeps no other waiting.
"""
_choosing = threading.Lock()


def _turn_of(value: object) -> threading.Lock:
    with _choosing:
        return _turns.setdefault(id(value), threading.Lock())


def _free_after_fork() -> None:
    """Free what threads held that the new process does not have."""
    _turns.clear()
    if _choosing.locked():
        _choosing.release()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_free_after_fork)


def bytes_of(value: object, place: str, limit: int) -> bytes:
    """Return the content of bytes, an open file, a picture of Pillow or a numpy array.

    At most one byte more than the limit is read of a file.

    Raises:
        ValidationError: it cannot be read, or is no picture.

    """
    try:
        if isinstance(value, bytes):
            return value
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        if is_pixels(value):
            return _drawn(value)
        with _turn_of(value):
            return _read(cast("Readable", value), limit + 1)
    except _UnfitError as unfit:
        said = str(unfit)
    except Exception as error:  # noqa: BLE001 - others' objects raise whatever they like
        said = f"cannot be read ({type(error).__name__}: {error})"
    raise ValidationError(f"{place}: {kind_name(value)} {said}", field=place, value=value)


class _UnfitError(Exception):
    """It cannot be taken; the message completes a sentence that begins with what it is."""


def _read(file: Readable, most: int) -> bytes:
    """Read a file from its start, and leave it where it was."""
    seekable = getattr(file, "seekable", None)
    if not hasattr(file, "seek") or (seekable is not None and not _at_once(seekable())):
        raise _UnfitError("cannot be read from its start again; pass its .read()")
    if isinstance(_at_once(file.read(0)), str):
        raise _UnfitError("is open as text; open it with 'rb'")
    before = file.tell()
    try:
        file.seek(0)
        return _pieces(file, most)
    finally:
        file.seek(before)


def _at_once(answer: object) -> object:
    """Return what a file answered, unless it has yet to be awaited."""
    if isinstance(answer, Coroutine):
        answer.close()  # or Python warns that it was never awaited
        raise _UnfitError("is read asynchronously; pass await .read()")
    return answer


def _pieces(file: Readable, most: int) -> bytes:
    """Read so many bytes; one read may return fewer."""
    found = bytearray()
    while len(found) < most and (piece := file.read(most - len(found))):
        found += piece
    return bytes(found)


def _drawn(value: object) -> bytes:
    """Return a picture as PNG or JPEG."""
    pillow, numpy = sys.modules.get("PIL.Image"), sys.modules.get("numpy")
    if pillow is not None and isinstance(value, pillow.Image):
        return _from_pillow(value)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _from_array(numpy, value)
    raise _UnfitError("is neither a Pillow picture nor a numpy array, such as numpy.asarray() makes")


def _from_pillow(picture: Any) -> bytes:  # noqa: ANN401 - Pillow may not be installed
    if picture.mode in _NUMBERS:
        said = "holds numbers rather than colours; scale them to 0 to 255 and give it as .convert('L')"
        raise _UnfitError(said)
    with _turn_of(picture):
        upright = _upright(picture)
    as_jpeg = picture.format in {"JPEG", "MPO"} and upright.mode in {"L", "RGB", "CMYK", "YCbCr"}
    if upright.mode not in ({"L", "RGB"} if as_jpeg else _PNG_MODES):
        upright = _converted(upright)
    out = BytesIO()
    upright.save(out, "JPEG" if as_jpeg else "PNG", quality=_JPEG_QUALITY)
    return out.getvalue()


def _upright(picture: Any) -> Any:  # noqa: ANN401 - as above
    """Return a copy of a picture as it is displayed; saving drops what its camera wrote into it.

    Pillow's own `exif_transpose` writes that anew, and fails where a camera wrote it in a way of its own.
    """
    turned = _TURNS.get(picture.getexif().get(_ORIENTATION))
    return picture.copy() if turned is None else picture.transpose(turned)


def _converted(picture: Any) -> Any:  # noqa: ANN401 - as above
    """Return a picture in colours that every format has; what is transparent stays so."""
    plain = picture.convert("RGBA" if picture.mode in {"PA", "RGBa"} else "RGB")
    plain.info.pop("icc_profile", None)  # that of the colours it had before
    return plain


def _from_array(numpy: Any, array: Any) -> bytes:  # noqa: ANN401 - numpy may not be installed
    """Write a PNG whose rows are differences to the row above, which compresses photographs well."""
    _check_array(array)
    height, width = array.shape[:2]
    depth = array.shape[2] if array.ndim == 3 else 1  # noqa: PLR2004 - rows, columns, channels
    rows = numpy.ascontiguousarray(array).reshape(height, width * depth)
    lines = numpy.empty((height, 1 + width * depth), "uint8")
    lines[:, 0] = 2  # the filter "up"; above the first row is nothing, which counts as 0
    lines[0, 1:] = rows[0]
    numpy.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    header = struct.pack(">2I5B", width, height, 8, _COLOURS[depth], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


_AS_BYTES = {"f": "(a * 255).astype('uint8') if it is 0 to 1", "b": "a.astype('uint8') * 255"}
_SCALED = "a.astype('uint8') once it is scaled to 0 to 255"


def _check_array(array: Any) -> None:  # noqa: ANN401 - as above
    """Refuse an array that is no picture, and say how to make it one."""
    shape, kind = array.shape, array.dtype
    if len(shape) == 4:  # noqa: PLR2004 - several pictures
        raise _UnfitError("is a batch of pictures; give each of them, array[0] and so on")
    is_coloured = len(shape) == 3  # noqa: PLR2004 - rows, columns, channels
    if is_coloured and shape[0] in _COLOURS and shape[2] not in _COLOURS:
        raise _UnfitError("has its channels first; give it as .transpose(1, 2, 0)")
    is_picture = shape[2] in _COLOURS if is_coloured else len(shape) == 2  # noqa: PLR2004 - rows, columns
    if not is_picture or 0 in shape:
        raise _UnfitError("has another shape than (height, width) or (height, width, 1, 3 or 4)")
    if kind != "uint8":
        raise _UnfitError(f"must be uint8; give it as {_AS_BYTES.get(kind.kind, _SCALED)}")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
