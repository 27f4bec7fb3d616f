"""Pictures and clips on their way in and out: what a file really is, and that it stays so until it is sent.

A file's kind is read from its first bytes, never from its name. A local file is looked at early and read late, maybe
an hour later and many times: what was looked at is what is hashed and sent, or nothing is. Local files and bytes go
out as data URLs (`bodies.py`); URLs, data URLs included, pass unchecked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import threading
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from vidu_async.protocol.checks import is_remote, shown
from vidu_async.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from io import BufferedReader

HEAD = 32
"""Bytes that suffice to tell a file's kind."""

_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
_CLIPS = frozenset({"video/mp4", "video/quicktime", "video/x-msvideo"})
_FIELDS = {"images": _PICTURES, "videos": _CLIPS}
"""Fields whose strings are media, with the kinds that Vidu takes there. https://platform.vidu.com/docs/image-to-video"""

BODY_LIMIT = 20 * 1024 * 1024
"""Bytes of a creation's body that Vidu accepts. https://platform.vidu.com/docs/image-to-video"""

UPLOAD_LIMIT = 10 * 1024 * 1024
"""Bytes that a picture in Vidu's storage must stay below. https://platform.vidu.com/docs/image-upload"""

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""What keeps opening a pipe from waiting for its writer, and a terminal from taking over. Windows has neither."""

_BLOCK = 256 * 1024
"""Bytes hashed at once."""

_hashing = threading.Lock()
"""Held for as long as a block takes, not for as long as a slow disk does.

Threads that hash on every core at once would keep the event loop waiting for one, by 10 to 40 ms.
"""


def _free_after_fork() -> None:
    """Free what a thread held that the new process does not have."""
    if _hashing.locked():
        _hashing.release()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_free_after_fork)

SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/x-msvideo": ".avi",
    "video/webm": ".webm",
    "audio/mp4": ".m4a",
}


def kind_of(head: bytes) -> str | None:
    """Return the media type that a file's first bytes show, None if they show none of those known here."""
    if head[4:8] == b"ftyp":
        if head[8:12] in {b"avif", b"avis", b"heic", b"heix", b"mif1"}:
            return "image/avif" if head[8:11] == b"avi" else "image/heic"
        if head[8:12] == b"M4A ":
            return "audio/mp4"
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    signatures = {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF8": "image/gif",
        b"BM": "image/bmp",
        b"II*\0": "image/tiff",
        b"MM\0*": "image/tiff",
        b"\x1aE\xdf\xa3": "video/webm",
    }
    return next((kind for start, kind in signatures.items() if head.startswith(start)), None)


def base64_size(length: int) -> int:
    """Return how many bytes so many become as base64."""
    return 4 * -(-length // 3)


@frozen
class Stamp:
    """What tells a file from any other, and from itself before it was written to."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: BufferedReader) -> Stamp:
        """Read the stamp of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@frozen
class LocalFile:
    """A file or bytes whose kind is known and accepted.

    Reading raises `ValidationError` as soon as the file is another than the one that was looked at: gone, replaced,
    or written to. Nothing of it is kept open, so that whoever stops reading leaves nothing behind.
    """

    source: Path | bytes = field(repr=shown)
    kind: str
    size: int
    stamp: Stamp | None = None
    """What a file was when it was looked at; None for bytes, which cannot change."""

    def read(self, start: int, size: int) -> memoryview:
        """Return bytes of the content, uncopied where they are in memory."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[start : start + size]
        with self._unchanged(self.source) as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise self._changed(f"it ends after {start + len(content)} bytes")
        return memoryview(content)

    def sha256(self) -> str:
        """Return the content's hash, for a file in constant memory."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        seen, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
        with self._unchanged(self.source) as file:
            while count := file.readinto(block):
                with _hashing:
                    seen.update(block[:count])
        return seen.hexdigest()

    def check(self) -> None:
        """Look whether the file is still the same."""
        if isinstance(self.source, Path):
            with self._unchanged(self.source):
                pass

    @contextlib.contextmanager
    def _unchanged(self, path: Path) -> Iterator[BufferedReader]:
        """Open the file; compare it before, so that nothing huge is read in vain, and after, which covers the read."""
        try:
            with _opened(path) as file:
                self._compare(file)
                yield file
                self._compare(file)
        except OSError as error:
            raise self._changed(_why(error)) from None

    def _compare(self, file: BufferedReader) -> None:
        if Stamp.of(file) != self.stamp:
            raise self._changed("it was replaced or written to")

    def _changed(self, why: str) -> ValidationError:
        return ValidationError(f"{self.source!s} has changed since it was looked at ({why})", value=self.source)


def _open(value: str | bytes | PathLike[str], place: str, accepted: frozenset[str]) -> LocalFile:
    """Look at a local file's beginning, and refuse what Vidu refuses."""
    source: Path | bytes
    stamp = None
    if isinstance(value, bytes):
        source, head, size = value, value[:HEAD], len(value)
    else:
        try:
            source = Path(value).expanduser()
            head, stamp = _look(source)
        except (OSError, ValueError, RuntimeError) as error:
            said = f"{place}: {shown(str(value))} is neither an http(s) or data URL nor a readable file ({_why(error)})"
            raise ValidationError(said, field=place, value=value) from None
        size = stamp.size
    kind = kind_of(head)
    if kind not in accepted:
        found = kind or _foreign(head) or ("an empty file" if not size else "a file of another kind")
        which = "" if isinstance(source, bytes) else f" ({source})"
        said = f"{place} must be one of {', '.join(sorted(accepted))}, not {found}{which}"
        raise ValidationError(said, field=place, value=value, allowed=sorted(accepted))
    return LocalFile(source, kind, size, stamp)


def _look(path: Path) -> tuple[bytes, Stamp]:
    """Return a file's first bytes, and what tells it from any other."""
    # Asked before it is opened, too: opening a device may set something going.
    _require_regular(path.stat())
    with _opened(path) as file:
        stamp = Stamp.of(file)
        return file.read(HEAD), stamp


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    with open(path, "rb", opener=_open_at_once) as file:
        _require_regular(os.fstat(file.fileno()))
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")


def _why(error: Exception) -> str:
    """Say what the system said, without the path: that is said already."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def _foreign(head: bytes) -> str | None:
    """Name the texts that are taken for pictures most often."""
    begun = head.lstrip().lower()
    marks = {b"<svg": "image/svg+xml", b"<?xml": "text/xml", b"<!doctype html": "text/html", b"<html": "text/html"}
    return next((kind for start, kind in marks.items() if begun.startswith(start)), None)


def has_local(body: Mapping[str, Any] | None) -> bool:
    """Whether a body names files of this machine, so that `resolved` will touch the disk."""
    try:
        return _is_local(body, accepted=None)
    except RecursionError:
        return True  # `resolved` refuses it


def _is_local(value: object, accepted: frozenset[str] | None) -> bool:
    if isinstance(value, dict):
        return any(_is_local(item, _FIELDS.get(name)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(_is_local(item, accepted) for item in value)
    if value is None or type(value) in _PLAIN:  # quick: the commonest
        return type(value) is str and bool(accepted) and not is_remote(value)
    return isinstance(value, (bytes, PathLike)) or bool(accepted and isinstance(value, str) and not is_remote(value))


_PLAIN = (str, int, float, bool)


def resolved(body: Mapping[str, Any], upload_above: int | None = None) -> dict[str, Any]:
    """Return a creation's body with every local file in it opened and checked, as `LocalFile`.

    Raises:
        ValidationError: a file is missing, unreadable or of a kind Vidu does not take, or all that go out within the
            request (`is_uploaded` says which do not), as base64, are larger than it may be.

    """
    try:
        found: dict[str, Any] = _resolve(dict(body), "", None)
    except RecursionError:
        raise ValidationError("the request is nested without end") from None
    inline = sum(base64_size(file.size) for file in files(found) if not is_uploaded(file, upload_above))
    if inline > BODY_LIMIT:
        said = f"the local files take {inline} bytes as base64; a request holds {BODY_LIMIT}. Give URLs instead"
        raise ValidationError(said, field="images", value=inline, allowed=(BODY_LIMIT,))
    return found


def _resolve(value: Any, place: str, accepted: frozenset[str] | None) -> Any:  # noqa: ANN401 - JSON, and files in it
    """Open bytes and paths wherever they are, and texts where a field is for media; `place` is for messages."""
    if isinstance(value, dict):
        prefix = f"{place}." if place else ""
        return {name: _resolve(item, f"{prefix}{name}", _FIELDS.get(name)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_resolve(item, f"{place}[{index}]", accepted) for index, item in enumerate(value)]
    if _is_local(value, accepted):
        return _open(value, place, accepted or _PICTURES | _CLIPS)
    return value


def files(value: object) -> Iterator[LocalFile]:
    """Iterate over the files of a resolved body."""
    if isinstance(value, LocalFile):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from files(item)


def is_uploaded(file: LocalFile, above: int | None) -> bool:
    """Whether a file goes to Vidu's storage instead of into the request: a picture of more bytes than `above`."""
    return above is not None and file.kind in _PICTURES and above < file.size < UPLOAD_LIMIT


def picture(value: object, place: str) -> LocalFile:
    """Return a picture of this machine, opened and checked for being uploaded; `place` is for messages.

    Raises:
        ValidationError: it is missing, unreadable, none, or too large.

    """
    found = _resolve(value, place, _PICTURES)
    if not isinstance(found, LocalFile):
        said = f"{place} must be a picture of this machine, not {shown(value)}; a URL goes into requests as it is"
        raise ValidationError(said, field=place, value=value)
    if found.size >= UPLOAD_LIMIT:
        said = f"{place} must be smaller than {UPLOAD_LIMIT} bytes to be uploaded, not {found.size}"
        raise ValidationError(said, field=place, value=value, allowed=(UPLOAD_LIMIT,))
    return found


def swapped(value: Any, places: Mapping[LocalFile, str]) -> Any:  # noqa: ANN401 - JSON, and files in it
    """Return a resolved body with texts in the places of some of its files."""
    if isinstance(value, LocalFile):
        return places.get(value, value)
    if isinstance(value, dict):
        return {name: swapped(item, places) for name, item in value.items()}
    return [swapped(item, places) for item in value] if isinstance(value, list) else value


def has_files(body: Mapping[str, Any]) -> bool:
    """Whether a resolved body has local files in it, so that `digest` will read them."""
    return any(True for _ in files(body))


def encoded(body: Mapping[str, Any], place: Callable[[LocalFile], object]) -> bytes:
    """Return a resolved body as compact JSON in UTF-8, with what `place` says where its files are, in their order.

    Raises:
        ValidationError: a value that JSON does not hold.

    """

    def stand_in(value: object) -> object:
        if isinstance(value, LocalFile):
            return place(value)
        raise ValidationError(f"{shown(value)} is nothing that JSON holds", value=value)

    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=stand_in).encode()
    except ValidationError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"the request holds what JSON cannot: {error}") from None


def digest(body: Mapping[str, Any]) -> str:
    """Return a hash that two resolved bodies share only if they ask for the same, files included.

    Files are read, in constant memory: call it in a thread if `has_files`.

    Raises:
        ValidationError: a value that JSON does not hold, or a file that has changed since it was looked at.

    """
    mark = secrets.token_hex()
    text = encoded(body, lambda file: {mark: file.sha256()})
    # Read back first: only then are all names texts, which can be sorted.
    canonical = json.dumps(json.loads(text), sort_keys=True)
    # A name without quotes is no JSON, so that no body without a file can have the same text.
    return hashlib.sha256(canonical.replace(f'"{mark}"', "sha256").encode()).hexdigest()
