"""From a finished task to a file on disk.

A result is streamed into a part-file beside its target, flushed, and renamed once whole: under its final name a file
is never partial. Names are built from the task id and what the first bytes show, never from the link, which anybody
may have shaped. The request carries no API key.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar

from attrs import define

from vidu_async.kinds import HEAD, SUFFIXES, kind_of
from vidu_async.protocol.errors import (
    ConfigError,
    ConnectError,
    DownloadError,
    RequestTimeoutError,
    TransportError,
    ViduError,
)
from vidu_async.protocol.models import Creation, Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vidu_async.protocol.answers import Answer
    from vidu_async.transport import Transport

T = TypeVar("T")
Exists = Literal["error", "skip", "overwrite", "rename"]
Variant = Literal["url", "cover_url", "watermarked_url"]

_VARIANTS = {"url": None, "cover_url": "cover", "watermarked_url": "watermarked"}

Told = Callable[[int, int | None], None]
"""Hears of the bytes that have come, and of how many there are, if the server says so."""

SIZE_LIMIT = 4 * 1024**3
"""Bytes of a result that are accepted."""
_CHUNK = 1024 * 1024
"""Bytes written at once, in a thread: a disk may be slow, and the event loop is not to wait for it."""


def creations_of(found: Task | Creation) -> tuple[Creation, ...]:
    """Return the results to fetch.

    Raises:
        DownloadError: the task has none.

    """
    if isinstance(found, Creation):
        return (found,)
    if not isinstance(found, Task):
        raise ConfigError(f"download() takes a task or one of its creations, not {found!r}; await a handle first")
    if not found.creations:
        why = f": {found.err_code}" if found.err_code else ""
        raise DownloadError(f"task {found.id} has no result to download, its state is {found.state.value}{why}")
    return found.creations


def stem_of(found: Task | Creation, creation: Creation, variant: Variant) -> str:
    """Return a file's name without suffix: the task's id, and what tells apart the several files a task may have."""
    is_only = isinstance(found, Task) and len(found.creations) == 1
    parts = (creation.task_id, None if is_only else creation.id, _VARIANTS[variant])
    return re.sub(r"[^\w.-]", "_", "-".join(filter(None, parts)), flags=re.ASCII).lstrip(".")[:150] or "task"


def checked_name(name: str) -> str:
    """Return a name without the suffix of a picture or film, which the content decides.

    Raises:
        ConfigError: the name is a path.

    """
    if name in {"", ".", ".."} or not name.isprintable() or re.search(r"[/\\]", name):
        raise ConfigError(f"name= must be a plain file name without suffix, not {name!r}; the folder is the target")
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix.lower()}" in SUFFIXES.values() else name


@define(eq=False)
class Target:
    """Where one result goes, as far as it is known before its kind is."""

    folder: Path
    stem: str
    suffix: str | None
    """None until the first bytes tell."""
    exists: Exists

    @classmethod
    def of(cls, target: str | os.PathLike[str], stem: str, name: str | None, exists: Exists) -> Target:
        """Read a target: an existing folder, a trailing slash or a name without suffix mean a folder, else a file.

        Raises:
            ConfigError: a name and a file are given, or a word that `exists` does not know.

        """
        if exists not in {"error", "skip", "overwrite", "rename"}:
            raise ConfigError(f"exists= must be error, skip, overwrite or rename, not {exists!r}")
        path = Path(target).expanduser()
        try:
            is_folder = path.is_dir()
        except OSError as error:
            raise ConfigError(f"target {str(path)[:80]!r} cannot be used: {error.strerror}") from None
        if is_folder or os.fspath(target).endswith(("/", os.sep)) or not path.suffix:
            return cls(path, stem if name is None else checked_name(name), None, exists)
        if name is not None:
            raise ConfigError(f"name={name!r} is for a folder, and {str(path)!r} names a file: give one of the two")
        return cls(path.parent, path.stem, path.suffix, exists)

    def present(self) -> Path | None:
        """Return the file that is there already, if any."""
        suffixes = [self.suffix] if self.suffix else [*SUFFIXES.values(), ".bin"]
        return next((path for suffix in suffixes if (path := self.folder / f"{self.stem}{suffix}").exists()), None)

    def publish(self, part: Path, head: bytes) -> Path:
        """Give a whole part-file its final name, and never somebody else's: two may arrive at the same moment."""
        suffix = self.suffix or SUFFIXES.get(kind_of(head) or "", ".bin")
        path = self.folder / f"{self.stem}{suffix}"
        if self.exists in {"overwrite", "skip"}:
            return part.replace(path)
        for count in itertools.count(1):
            if _take(part, path):
                return path
            if self.exists == "error":
                break
            path = self.folder / f"{self.stem}-{count}{suffix}"
        raise self.refusal(path)

    def refusal(self, path: Path) -> DownloadError:
        """Return the error that says a file is there already."""
        return DownloadError(f"{path} exists already. Pass exists='skip', 'overwrite' or 'rename'")


def _take(part: Path, path: Path) -> bool:
    """Give a file a name if the name is free."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links on this file system: the next best, with a moment's gap
        if path.exists():
            return False
        part.replace(path)
    return True


def variant_of(variant: Variant) -> Variant:
    """Refuse a variant that a creation does not have."""
    if variant not in _VARIANTS:
        raise ConfigError(f"variant= must be one of {', '.join(_VARIANTS)}, not {variant!r}")
    return variant


async def fetch(
    transport: Transport, creation: Creation, target: Target, told: Told, *, variant: Variant = "url"
) -> Path:
    """Download one result.

    Raises:
        DownloadError: no link, a refused or broken transfer, something that is no picture or video, or a disk's no.

    """
    link: str | None = getattr(creation, variant)
    if not link:
        raise DownloadError(f"task {creation.task_id} has no {variant}")
    present = await _disk(target.present)
    if present and target.exists == "skip":
        return present
    if present and target.exists == "error":
        raise target.refusal(present)

    async def receive(head: Answer, pieces: AsyncIterator[bytes]) -> Path:
        return await _save(head, pieces, target, told)

    failure: DownloadError
    try:
        return await transport.download(link, receive)
    except ViduError as error:
        failure = DownloadError(f"the result of task {creation.task_id} was not saved: {error.said}")
        failure.advice, failure.task_id = error.advice, creation.task_id
        is_network = isinstance(error, (ConnectError, TransportError, RequestTimeoutError))
        failure.is_passing = is_network or getattr(error, "is_passing", False)
    raise failure


async def _save(head: Answer, pieces: AsyncIterator[bytes], target: Target, told: Told) -> Path:
    """Write a body under a name that nothing else has, and rename it once it is whole and on the disk."""
    if not head.is_ok:
        fresh = "Links expire: fetch_task() of its task gets a fresh one"
        why = fresh if head.status in {401, 403, 404, 410} else "Try again"
        refusal = DownloadError(f"the link answered {head.status}. {why}")
        refusal.is_passing = head.status >= 500 or head.status == 429  # noqa: PLR2004 - a server's trouble; too much
        raise refusal
    length = head.headers.get("content-length", "")
    size = int(length) if length.isascii() and length.isdigit() else None
    part = target.folder / f".{target.stem}.{secrets.token_hex(4)}.part"
    await _disk(lambda: target.folder.mkdir(parents=True, exist_ok=True))
    file = _open(part)
    try:
        first = await _write(file, pieces, lambda received: told(received, size))
        await _disk(lambda: _flush(file))
        return await _disk(lambda: target.publish(part, first))
    finally:
        with contextlib.suppress(OSError):  # a full disk refuses what is still in the buffer
            file.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _open(part: Path) -> BinaryIO:
    """Open a part-file, not in a thread: whoever is cancelled meanwhile would leave it behind."""
    try:
        return part.open("xb")
    except OSError as error:
        failure = DownloadError(f"cannot write the result: {error}")
    raise failure


async def _write(file: BinaryIO, pieces: AsyncIterator[bytes], told: Callable[[int], None]) -> bytes:
    """Write all pieces, a megabyte at a time, and return the first bytes."""
    first, size, buffer = b"", 0, bytearray()
    async for piece in pieces:
        buffer += piece
        size += len(piece)
        if not first and len(buffer) >= HEAD:
            first = _checked(bytes(buffer[:HEAD]))
        if size > SIZE_LIMIT:
            raise DownloadError(f"the result is larger than {SIZE_LIMIT} bytes")
        if len(buffer) >= _CHUNK:
            whole, buffer = buffer, bytearray()
            await _disk(partial(file.write, whole))
            told(size)
    await _disk(partial(file.write, buffer))
    return first or _checked(bytes(buffer))


def _checked(first: bytes) -> bytes:
    """Refuse what is no result: nothing at all, or an error page in its place."""
    if not first:
        raise DownloadError("the link answered an empty file")
    if kind_of(first) is None and _is_text(first):
        raise DownloadError(f"the link answered a page instead of a result: {first!r}")
    return first


def _is_text(first: bytes) -> bool:
    """Whether bytes are readable, which no picture, film or sound is."""
    try:
        said = first.decode()
    except UnicodeDecodeError as error:
        said = first[: error.start].decode() if error.start > HEAD - 4 else "\0"  # a character cut at the end
    return all(char.isprintable() or char.isspace() for char in said)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


async def _disk(call: Callable[[], T]) -> T:
    """Do something to the disk in a thread, and say so if the disk is what refused."""
    try:
        return await asyncio.to_thread(call)
    except OSError as error:
        failure = DownloadError(f"cannot write the result: {error}")
    raise failure
