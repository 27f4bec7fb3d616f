"""What pictures and clips may be given as, told apart without importing any library that makes them.

Everything is asked of the type: Pillow's pictures make a copy of themselves when their `__array_interface__` is read.
"""

from collections.abc import Mapping
from numbers import Number
from os import PathLike
from typing import Any, Protocol


class Readable(Protocol):
    """A file opened in binary mode, or anything else that can be read from its start."""

    def read(self, size: int = ..., /) -> bytes:
        """Return so many bytes."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """Return the place."""


class Pixels(Protocol):
    """A numpy array, or a picture of Pillow."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Where the pixels are."""


Media = str | bytes | bytearray | memoryview | PathLike[str] | Readable | Pixels
"""A picture or clip: an http(s) or data URL, an `ssupload:` URI, a path, the file's bytes or the file itself, opened in
binary mode; a picture also as one of Pillow or as a numpy array of uint8 in RGB order, of shape (height, width),
(height, width, 1), (height, width, 3) or (height, width, 4). What can change is read when the request is submitted."""

_REMOTE = ("http://", "https://", "data:", "ssupload:")


def is_remote(value: object) -> bool:
    """Whether a media value goes out as it stands, rather than being a path on this machine."""
    return isinstance(value, str) and value[:9].lower().startswith(_REMOTE)  # the rest may be megabytes


def is_data_url(value: object) -> bool:
    """Whether a text carries the file itself."""
    return isinstance(value, str) and value[:5].lower() == "data:"


def is_pixels(value: object) -> bool:
    """Whether it is a numpy array or a picture of Pillow. A number of numpy's has the same interface."""
    return hasattr(type(value), "__array_interface__") and not isinstance(value, (str, bytes, Number))


def is_readable(value: object) -> bool:
    """Whether it is an open file. The object is asked: the standard library's temporary files pass everything on."""
    return callable(getattr(value, "read", None)) and not isinstance(value, (str, bytes, PathLike))


def is_content(value: object) -> bool:
    """Whether it is a picture or clip itself rather than its name."""
    return isinstance(value, (bytes, bytearray, memoryview)) or is_pixels(value) or is_readable(value)


def comparable(value: object) -> object:
    """Return what equals its like exactly if a value does: two arrays, compared, are an array of answers instead."""
    if isinstance(value, Mapping):
        return {name: comparable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value) is tuple, [comparable(item) for item in value]
    if not is_pixels(value) or not hasattr(value, "shape"):  # pictures of Pillow have none, and compare as anything
        return value
    array: Any = value
    return array.shape, str(array.dtype), array.tobytes()


def kind_name(value: object) -> str:
    """Return what a picture or clip itself is, for a message: nothing that is in it."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{_length(value)} bytes>"
    if not is_pixels(value):
        name = str(getattr(value, "name", "")).rpartition("/")[2]
        return f"<{type(value).__name__} {name}>" if name else f"<{type(value).__name__}>"
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"<picture of {getattr(value, 'size', 'no size')}, {getattr(value, 'mode', 'no mode')}>"
    return f"<array of shape {shape}, {getattr(value, 'dtype', 'no type')}>"


def _length(value: bytes | bytearray | memoryview) -> int | str:
    try:
        return memoryview(value).nbytes
    except ValueError:
        return "released"
