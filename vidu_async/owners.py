"""Who has a journal open: a lock for each, which the kernel frees when its process ends, however it ends.

A lock file is removed only by whoever holds its lock. So a file that is locked and still in its place means a living
owner, and everything else a dead one.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from attrs import define

from vidu_async.protocol.errors import JournalError

_SUFFIX = ".lock"
_ID = re.compile(r"[0-9a-f]{32}")
"""What an owner is called. Nothing else in a file may name a path that is then removed."""

_held: WeakSet[Owner] = WeakSet()
_inherited: set[Path] = set()
"""Folders of journals that were open when this process was forked from theirs."""


@define(eq=False)
class Owner:
    """One who has a journal open, until `release`, or until its process ends."""

    folder: Path
    id: str
    _lock: int
    """The file descriptor; -1 once let go of."""

    @classmethod
    def enter(cls, folder: Path) -> Owner:
        """Become an owner; makes the folder if need be. May raise `OSError`.

        Raises:
            JournalError: there are no file locks here, or the parent process has the same journal open.

        """
        if folder in _inherited:
            raise forked()
        folder.mkdir(mode=0o700, exist_ok=True)
        name = secrets.token_hex(16)
        owner = cls(folder, name, _locked(folder / (name + _SUFFIX)))
        _held.add(owner)
        return owner

    def is_alive(self, name: str) -> bool:
        """Whether an owner still has the journal open. The file of one that has not is removed."""
        if name == self.id:
            return True
        return _ID.fullmatch(name) is not None and _is_locked(self.folder / (name + _SUFFIX))

    def is_alone(self) -> bool:
        """Whether nobody else has the journal open."""
        names = {path.stem for path in self.folder.glob(f"*{_SUFFIX}")} - {self.id}
        return not any(self.is_alive(name) for name in names)

    def release(self) -> None:
        """Be no owner any more."""
        if self._lock >= 0:
            (self.folder / (self.id + _SUFFIX)).unlink(missing_ok=True)
            self.forget()

    def forget(self) -> None:
        """Close the lock without a word to anybody: in a forked process it is its parent's."""
        _held.discard(self)
        os.close(self._lock)
        self._lock = -1


def forked() -> JournalError:
    """Return the error of a process that would share its parent's SQLite, which would spoil the file."""
    advice = "Start processes that use it with 'spawn', or before its first use."
    return JournalError("this process was forked while the journal was open", advice=advice)


def _locked(path: Path) -> int:
    """Make a lock file and lock it. One who looks for the dead may have removed it in between."""
    import fcntl  # noqa: PLC0415 - POSIX only, and on first use

    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_at(lock, path):
            return lock
        os.close(lock)


def _is_locked(path: Path) -> bool:
    import fcntl  # noqa: PLC0415 - as above

    try:
        lock = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(lock, path):
            path.unlink()
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _is_at(lock: int, path: Path) -> bool:
    """Whether a path still leads to the file that is open."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock), path.stat())
    return False


def _leave_to_parent() -> None:
    """In a forked process: an inherited lock would keep a dead parent alive."""
    for owner in list(_held):
        _inherited.add(owner.folder)
        owner.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
