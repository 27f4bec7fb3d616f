"""Pictures and clips on their way in and out: what a file really is, and how it goes on the wire.

A file's kind is read from its first bytes, never from its name. Local files and bytes become data URLs
(`data:image/png;base64,...`), held in memory; URLs, data URLs included, pass unchecked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from vidu_async.protocol.checks import is_remote, shown
from vidu_async.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HEAD = 32
"""Bytes that suffice to tell a file's kind."""

_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp"})
_CLIPS = frozenset({"video/mp4", "video/quicktime", "video/x-msvideo"})
_FIELDS = {"images": _PICTURES, "videos": _CLIPS}
"""Fields whose strings are media, with the kinds that Vidu takes there. https://platform.vidu.com/docs/image-to-video"""

_BODY_LIMIT = 20 * 1024 * 1024
"""Bytes of a creation's body that Vidu accepts."""

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


@frozen
class LocalFile:
    """A file or bytes whose kind is known and accepted."""

    source: Path | bytes = field(repr=shown)
    kind: str
    size: int

    def read(self) -> bytes:
        """Return the content."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            content = self.source.read_bytes()
        except OSError as error:
            said = f"{self.source} can no longer be read ({error.strerror})"
            raise ValidationError(said, value=self.source) from None
        if len(content) != self.size or kind_of(content[:HEAD]) != self.kind:
            raise ValidationError(f"{self.source} has changed since it was looked at", value=self.source)
        return content

    def data_url(self) -> str:
        """Return the content as the API takes it inline."""
        return f"data:{self.kind};base64,{base64.b64encode(self.read()).decode('ascii')}"


def _open(value: str | bytes | PathLike[str], place: str, accepted: frozenset[str]) -> LocalFile:
    """Look at a local file's beginning, and refuse what Vidu refuses."""
    if isinstance(value, bytes):
        source: Path | bytes = value
        head, size = value[:HEAD], len(value)
    else:
        try:
            source = Path(value).expanduser()
            head, size = _look(source)
        except (OSError, ValueError, RuntimeError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            said = f"{place}: {shown(str(value))} is neither an http(s) or data URL nor a readable file ({why})"
            raise ValidationError(said, field=place, value=value) from None
    kind = kind_of(head)
    if kind not in accepted:
        found = kind or _foreign(head) or ("an empty file" if not size else "a file of another kind")
        which = "" if isinstance(source, bytes) else f" ({source})"
        said = f"{place} must be one of {', '.join(sorted(accepted))}, not {found}{which}"
        raise ValidationError(said, field=place, value=value, allowed=sorted(accepted))
    return LocalFile(source, kind, size)


def _look(path: Path) -> tuple[bytes, int]:
    """Return a file's first bytes and its size."""
    # Asked before it is opened: opening a pipe would wait for its writer.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        return file.read(HEAD), status.st_size


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
    return isinstance(value, (bytes, PathLike)) or bool(accepted and isinstance(value, str) and not is_remote(value))


def resolved(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a creation's body with every local file in it opened and checked, as `LocalFile`.

    Raises:
        ValidationError: a file is missing, unreadable or of a kind Vidu does not take, or all together, as base64, are
            larger than a request may be.

    """
    try:
        found: dict[str, Any] = _resolve(dict(body), "", None)
    except RecursionError:
        raise ValidationError("the request is nested without end") from None
    inline = sum(4 * -(-file.size // 3) for file in _files(found))
    if inline > _BODY_LIMIT:
        said = f"the local files take {inline} bytes as base64; a request holds {_BODY_LIMIT}. Give URLs instead"
        raise ValidationError(said, field="images", value=inline, allowed=(_BODY_LIMIT,))
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


def _files(value: object) -> Iterator[LocalFile]:
    if isinstance(value, LocalFile):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _files(item)


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a resolved body as the JSON that is sent.

    Raises:
        ValidationError: a value that JSON does not hold, a file that has changed meanwhile, or too much in all.

    """
    try:
        sent = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_inline).encode()
    except ValidationError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"the request holds what JSON cannot: {error}") from None
    if len(sent) > _BODY_LIMIT:
        raise ValidationError(f"the request takes {len(sent)} bytes; Vidu accepts {_BODY_LIMIT}. Give URLs instead")
    return sent


def has_files(body: Mapping[str, Any]) -> bool:
    """Whether encoding will read files, which belongs in a thread."""
    return any(True for _ in _files(body))


def _inline(value: object) -> object:
    if isinstance(value, LocalFile):
        return value.data_url()
    raise ValidationError(f"{shown(value)} is nothing that JSON holds", value=value)


def digest(body: Mapping[str, Any]) -> str:
    """Return a hash that two resolved bodies share only if they ask for the same, files included."""

    def fingerprint(value: object) -> object:
        if isinstance(value, LocalFile):
            return {"sha256": hashlib.sha256(value.read()).hexdigest()}
        return _inline(value)

    try:
        said = json.loads(json.dumps(body, default=fingerprint))
    except ValidationError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"the request holds what JSON cannot: {error}") from None
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
