"""A result on its way: a hidden file beside its target, which takes the target's name only once it is whole.

It is locked while it is written to. If it stays behind, because the network or the process went away, a later download
goes on where it ends; the ETag of what it holds, and of what it is, stand in a small file beside it. One whose content
nobody could verify is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.pictures import Facts, look
from vidu_async.protocol.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

_LONGEST = 180
"""Bytes of a target's name that a hidden name repeats; file systems take 255 in all."""
_NOTE = 16 * 1024
"""Bytes of a note that are read: no server's header is longer."""
_MOMENT = 0.05
"""Seconds that the event loop waits for a thread to let go of a file; one that waits for the disk takes longer."""
_PLAINLY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""What keeps opening from following a link, and from waiting for a pipe's other end."""


@define(eq=False)
class Part:
    """A part-file, open and locked, until `close`."""

    path: Path
    _file: io.FileIO
    _is_shared: bool
    """Whether its name is the same for every download of this target, so that another one may go on with it."""
    _what: str = ""
    """What it is to become. Two results may have the same ETag, which tells apart only the states of one."""
    etag: str | None = None
    """What the server calls the content it holds; None if that cannot be gone on with."""
    size: int = 0
    """Bytes it holds."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    """Held while the file is used: whoever is cancelled may let go of it while a thread still writes."""
    _left: bool | None = field(default=None, init=False)
    """Whether it is kept, once it has been let go of."""

    @classmethod
    def open(cls, folder: Path, title: str, what: str = "", *, shares: bool) -> Self:
        """Open the part-file of a target, and go on with what an earlier download of the same has left. Quick.

        `what` names the result: what another one has left under the same title is begun anew. With `shares` off,
        another download of the same target is none of ours: this one gets a file of its own.

        Raises:
            DownloadError: another download of the same target is under way.
            OSError: the disk refuses.

        """
        path, file = folder / _hidden(title), None
        with contextlib.suppress(BlockingIOError):
            file = _locked(path)
            shares = shares and file is not None
        if file is not None:
            part = cls(path, file, is_shared=True, what=what)
            part._recall()
            return part
        if shares:
            busy = DownloadError(f"another download is writing to {folder / title}. Wait for it to end")
            busy.is_passing = True
            raise busy
        path = folder / _hidden(f"{title}-{secrets.token_hex(4)}")
        return cls(path, _opened(path), is_shared=False, what=what)

    def _recall(self) -> None:
        """Take up what is there, if it is known what it is and that it was written."""
        status = os.fstat(self._file.fileno())
        with contextlib.suppress(OSError, ValueError):
            with _opened(self._note, os.O_RDONLY, "r") as file:
                said, _, what = file.read(_NOTE).partition(b"\n")
            etag, is_same = said.decode("ascii"), what == self._what_in_bytes
            if status.st_size and is_same and is_strong(etag) and status.st_mtime > _booted_at():
                self.etag, self.size = etag, self._file.seek(0, os.SEEK_END)

    @property
    def _note(self) -> Path:
        """Where the ETag stands."""
        return self.path.with_name(f"{self.path.name}.etag")

    @property
    def _what_in_bytes(self) -> bytes:
        return self._what.encode("utf-8", "backslashreplace")

    def begin(self, etag: str | None) -> None:
        """Begin with another content from its first byte."""
        with self._lock:
            self._file.truncate(self._file.seek(0))
            self.etag, self.size = etag if etag and is_strong(etag) else None, 0
            self._note.unlink(missing_ok=True)
            if self._is_shared and self.etag:  # after what it no longer stands for is gone
                with _opened(self._note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, "w") as file:
                    file.write(b"%s\n%s" % (self.etag.encode("ascii"), self._what_in_bytes))

    def append(self, *pieces: bytes) -> None:
        """Write what comes next. May raise `OSError`; what was written until then stays."""
        with self._used():
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    count = self._file.write(left)
                    self.size += count
                    left = left[count:]

    def head(self, length: int) -> bytes:
        """Return the first bytes."""
        self._file.seek(0)
        first = self._file.read(length)
        self._file.seek(self.size)
        return first

    def look(self) -> Facts:
        """Return what its content is, and whether it is whole."""
        with self._used(), self.path.open("rb") as file:
            return look(file, self.size)

    def publish(self, name: Callable[[Path], Path]) -> Path:
        """Have a whole file moved to its final name, once all of it is on the disk; `name` does it."""
        with self._used():
            os.fsync(self._file.fileno())
            self.etag = None  # what cannot be moved now is not kept
            self._note.unlink(missing_ok=True)
            if os.name == "nt":  # where nobody renames what is open
                self._file.close()
            path = name(self.path)
            self._file.close()
        _sync_folder(path.parent)
        return path

    def close(self, *, keeps: bool) -> None:
        """Let go of it; with `keeps` a later download may go on with it. After `publish` it does nothing.

        If a thread is at work on it that takes more than a moment, it is closed when that has done.
        """
        self._left = keeps
        self._close_if_left(_MOMENT)

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        finally:
            self._close_if_left(0)

    def _close_if_left(self, patience: float) -> None:
        if self._left is None or not self._lock.acquire(timeout=patience):
            return  # whoever has the lock looks here afterwards
        try:
            self._close()
        finally:
            self._lock.release()

    def _close(self) -> None:
        if self._file.closed:
            return
        if not (self._left and self._is_shared and self.etag and self.size):
            for path in (self._note, self.path):  # before others can have it
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self._file.close()


def is_strong(etag: str) -> bool:
    """Whether two contents with this ETag are the same byte for byte. RFC 9110, section 8.8.1."""
    return len(etag) > 2 and etag.isascii() and etag.isprintable() and etag[0] == etag[-1] == '"'  # noqa: PLR2004 - quotes


def _hidden(title: str) -> str:
    """Return the part-file's name: one of its own for every target."""
    name = title.encode("utf-8", "surrogateescape")
    if len(name) > _LONGEST:
        mark = hashlib.sha256(name).hexdigest()[:16]
        title = f"{name[: _LONGEST - 20].decode(errors='ignore')}-{mark}"
    return f".{title}.part"


def _opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT, mode: str = "r+") -> io.FileIO:
    number = os.open(path, flags | _PLAINLY, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is in the way: it is no regular file")
    return io.FileIO(number, mode)


def _locked(path: Path) -> io.FileIO | None:
    """Open and lock a part-file; None if nothing can be locked here.

    Raises:
        BlockingIOError: somebody else has it.

    """
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        return None
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                raise
            return None  # a file system without locks
        status = os.fstat(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            is_here = os.path.samestat(status, path.lstat())
            if is_here and status.st_nlink <= 1:
                return file
            if is_here:  # a process ended between giving it its final name and taking this one away
                path.unlink()
        file.close()  # its name was taken away in between


def _booted_at() -> float:
    """Return when the machine started, at the earliest. What was written before may have got lost with the power."""
    return time.time() - time.monotonic()


def _sync_folder(folder: Path) -> None:
    """Have a new name survive the loss of power, where folders can be synced."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(number)
        finally:
            os.close(number)
