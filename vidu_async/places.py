"""Where a journal's file may be, and how a new one gets there: whole, private, or not at all.

No file is opened here that SQLite may have open: closing it would free SQLite's own locks in this process.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vidu_async.protocol.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

# fmt: off
_REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "fuse.ceph", "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
})
# fmt: on
"""File systems on which SQLite's shared memory or POSIX locks do not hold. https://www.sqlite.org/wal.html"""
_MOUNTS = Path("/proc/self/mountinfo")
"""Linux only; elsewhere it is for the user to know."""
_PRIVATE = 0o600


def network_of(mounts: str, path: str) -> str | None:
    """Return the kind of network file system that holds a real path, None for a local one.

    `mounts` is the text of /proc/self/mountinfo. https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    held_by, kind = "", ""
    for line in mounts.splitlines():
        place, _, what = line.partition(" - ")
        fields = place.split(" ")
        point = _plain(fields[4]) if len(fields) > 4 else "?"  # noqa: PLR2004 - the fifth field is the place
        # Of two mounts on one place, the later is seen.
        if len(point) >= len(held_by) and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            held_by, kind = point, what.split(" ")[0]
    return kind if kind in _REMOTE else None


def _plain(field: str) -> str:
    r"""Return a field as it was: a space in it is written \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def is_there(path: Path) -> bool:
    """Whether a file that may be a journal is at a real path. May raise `OSError`.

    Raises:
        JournalError: what is there can be none, or none can be made there.

    """
    if not path.parent.is_dir():
        raise JournalError(f"the folder of the journal {path} does not exist", advice="Make the folder first.")
    mounts = _MOUNTS.read_text("utf-8", "surrogateescape") if _MOUNTS.exists() else ""
    if kind := network_of(mounts, os.fspath(path)):
        said = f"the journal {path} is on a network file system ({kind}), where file locks are not to be trusted"
        raise JournalError(said, advice="Use a folder on a local disk.")
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    if fault := _fault_of(found):
        raise JournalError(f"the journal {path} is {fault}", advice="Choose another path, or move it away.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise JournalError(f"the journal {path} may not be written", advice="Give this user the right to write it.")
    return True


def _fault_of(found: os.stat_result) -> str | None:
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    if not stat.S_ISREG(found.st_mode):
        return "no regular file"
    return None if found.st_size else "an empty file: it never was a journal, or has lost what it knew"


def create(path: Path, build: Callable[[Path], None]) -> None:
    """Build a file beside its place, and link it there when it is whole; one that came first stays."""
    fresh = path.with_name(f"{path.name}-{secrets.token_hex(8)}.new")
    opened = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE)
    try:
        try:
            build(fresh)
            os.fsync(opened)
        finally:
            os.close(opened)
        with suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def wal_of(path: Path) -> Path:
    """Return the path of a database's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def make_private(path: Path) -> None:
    """Take from everybody else the right to read a database and what SQLite keeps beside it. May raise `OSError`."""
    for one in (path, wal_of(path), path.with_name(f"{path.name}-shm")):
        with suppress(FileNotFoundError):
            if one.stat().st_mode & 0o077:
                one.chmod(_PRIVATE)


def has_leftovers(path: Path) -> bool:
    """Whether a write-ahead log is there, as after an end without a farewell."""
    with suppress(FileNotFoundError):
        return wal_of(path).stat().st_size > 0
    return False
