"""A file of this machine, or bytes, on their way out: what was looked at is what is hashed and sent, or nothing is.

A file is looked at early and read late, maybe an hour later and many times. What is found out of one, its hash
included, is remembered for as long as it stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen

from vidu_async.once import Once
from vidu_async.pictures import Facts, look
from vidu_async.protocol.checks import shown
from vidu_async.protocol.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

V = TypeVar("V")

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""What keeps opening a pipe from waiting for its writer, and a terminal from taking over. Windows has neither."""

_BLOCK = 256 * 1024
"""Bytes hashed at once."""

_TICK_NS, _COARSE_TICK_NS = 5 * 10**7, 2 * 10**9
"""Age of a file from which its times tell whether it is the same: within a tick of the clock it may be written twice.

Kernels tick every 10 ms or faster. Whole seconds are the ticks of a file system; FAT has every second one.
"""

_facts = Once[Facts]()
_hashes = Once[str]()

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


@frozen
class Stamp:
    """What tells a file from any other, and from itself before it was written to."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = field(eq=False, default=0)
    """When anything of it was changed, its name or owner included. Nobody can set it, but it may mean nothing."""

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Read the stamp from a file's status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def is_settled(self) -> bool:
        """Whether the file is old enough for its stamp to change with whatever is written to it from now on."""
        is_coarse = self.mtime_ns % 10**9 == self.ctime_ns % 10**9 == 0
        return time.time_ns() - max(self.mtime_ns, self.ctime_ns) > (_COARSE_TICK_NS if is_coarse else _TICK_NS)


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
    pixels: tuple[int, int] | None = None
    """Width and height of a picture as displayed; None for clips."""

    def read(self, start: int, size: int) -> memoryview:
        """Return bytes of the content, uncopied where they are in memory."""
        if isinstance(self.source, bytes):
            return memoryview(self.source)[start : start + size]
        with _unchanged(self.source, self.stamp) as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise _changed(self.source, f"it ends after {start + len(content)} bytes")
        return memoryview(content)

    def sha256(self) -> str:
        """Return the content's hash, for a file in constant memory and once as long as it stays the same."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        try:
            return _remembered(_hashes, self.source, self.stamp, _sha256)
        except OSError as error:
            raise _changed(self.source, why(error)) from None

    def check(self) -> None:
        """Look whether the file is still the same."""
        if isinstance(self.source, Path):
            with _unchanged(self.source, self.stamp):
                pass


def facts_of(source: Path | bytes, stamp: Stamp | None) -> Facts:
    """Return what a file or bytes are; what a file is, is found out once as long as it stays the same.

    Raises:
        OSError: it cannot be read.
        ValidationError: the file has changed since it got its stamp.

    """
    if isinstance(source, bytes):
        return look(BytesIO(source), len(source))
    return _remembered(_facts, source, stamp, lambda file: look(file, os.fstat(file.fileno()).st_size))


def stamp_of(path: Path) -> Stamp:
    """Return what tells a file from any other. It is not opened: opening a device may set something going.

    Raises:
        OSError: there is none, or it is no regular file.

    """
    status = path.stat()
    _require_regular(status)
    return Stamp.of(status)


def _remembered(once: Once[V], path: Path, stamp: Stamp | None, find_out: Callable[[BufferedReader], V]) -> V:
    """Return what is found out of a file, from memory if it was before and the file is the same to this moment."""

    def read() -> V:
        with _steady(path, stamp) as file:
            return find_out(file)

    now = stamp_of(path)
    _compare(path, now, stamp)
    return once.answer((path, now, now.ctime_ns), read) if now.is_settled() else read()


def _sha256(file: BufferedReader) -> str:
    seen, block = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    while count := file.readinto(block):
        with _hashing:
            seen.update(block[:count])
    return seen.hexdigest()


@contextlib.contextmanager
def _unchanged(path: Path, stamp: Stamp | None) -> Iterator[BufferedReader]:
    """Open a file that was looked at before."""
    try:
        with _steady(path, stamp) as file:
            yield file
    except OSError as error:
        raise _changed(path, why(error)) from None


@contextlib.contextmanager
def _steady(path: Path, stamp: Stamp | None) -> Iterator[BufferedReader]:
    """Open a file; compare it before, so that nothing huge is read in vain, and after, which covers the read."""
    with _opened(path) as file:
        _compare(path, Stamp.of(os.fstat(file.fileno())), stamp)
        yield file
        _compare(path, Stamp.of(os.fstat(file.fileno())), stamp)


def _compare(path: Path, found: Stamp, stamp: Stamp | None) -> None:
    if found != stamp:
        raise _changed(path, "it was replaced or written to")


def _changed(path: Path, how: str) -> ValidationError:
    return ValidationError(f"{path!s} has changed since it was looked at ({how})", value=path)


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


def why(error: Exception) -> str:
    """Say what the system said, without the path: that is said already."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
