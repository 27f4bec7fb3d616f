"""Where a result goes, and what it is called there.

Names are built from the task's id and what the first bytes show, never from the link or the server's headers, which
anybody may have shaped. A name of the user's own is a template. Whatever it and the server's values hold, one plain
name of a file comes of it, which every file system takes and which cannot lead out of its folder.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import stat
from pathlib import Path
from typing import Literal

from attrs import define

from vidu_async.kinds import SUFFIXES, kind_of
from vidu_async.protocol.errors import ConfigError, DownloadError
from vidu_async.protocol.models import Creation, Task

Exists = Literal["error", "skip", "overwrite", "rename"]
Variant = Literal["url", "cover_url", "watermarked_url"]

VARIANTS = {"url": "", "cover_url": "cover", "watermarked_url": "watermarked"}
"""The links of a creation, and how files are called after them."""

_STEM = 150
"""Bytes of a name without its suffix. File systems take 255, and the part-file's name is longer."""
_MARK = 12
"""Characters by which a name that was cut is told from others."""
_ENDS = ". "
"""What a name neither begins with (it would be hidden, or lead upwards) nor ends with (Windows drops it)."""
_BEGINNING = "-" + _ENDS
"""What else it does not begin with: a command would take it for an option."""
_UNSAFE = frozenset('<>:"/\\|?*')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
"""Names that are no files on Windows, with any suffix."""
_FIELDS = ("task_id", "creation_id", "index", "variant", "model", "type")


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


def again(creation: Creation, found: Task | Creation, now: Task) -> Creation:
    """Return the same creation of a task that was asked for anew: by its id, or else by its place among as many.

    Raises:
        DownloadError: the task has none, or nobody can say which it is: another's content under its name is worse.

    """
    fresh, before = creations_of(now), found.creations if isinstance(found, Task) else (creation,)
    by_id = [one for one in fresh if one.id is not None and one.id == creation.id]
    if len(by_id) == 1:
        return by_id[0]
    are_the_same = {one.id for one in before} & {one.id for one in fresh} - {None}
    if len(fresh) == len(before) and (by_id or not are_the_same):
        return fresh[before.index(creation)]
    raise DownloadError(f"asked for anew, task {now.id} has {len(fresh)} results, and none is known to be this one")


def stem_of(found: Task | Creation, creation: Creation, variant: Variant, name: str | None = None) -> str:
    """Return a file's name without suffix.

    By default it is the task's id, and what tells apart the several files a task may have. A template may name
    `{task_id}`, `{creation_id}`, `{index}` (from 1), `{variant}`, `{model}` and `{type}`.

    Raises:
        ConfigError: an unknown variant, or a template that cannot be filled.

    """
    if variant not in VARIANTS:
        raise ConfigError(f"variant= must be one of {', '.join(VARIANTS)}, not {variant!r}")
    is_alone = isinstance(found, Task) and len(found.creations) == 1
    told_apart = None if is_alone else _told_apart(found, creation)
    usual = "-".join(filter(None, (creation.task_id, told_apart, VARIANTS[variant])))
    filled = "" if name is None else _filled(name, found, creation, variant)
    return safe(filled) or safe(_plain(usual)) or "task"


def _told_apart(found: Task | Creation, creation: Creation) -> str | None:
    """Return what tells a creation from its siblings: its id, or its place if the ids are lacking or do not."""
    if not isinstance(found, Task):
        return creation.id
    names = {_plain(one.id or "").casefold() for one in found.creations}  # as file systems compare them
    is_told = len(names) == len(found.creations) and "" not in names
    return creation.id if is_told else str(found.creations.index(creation) + 1)


def _filled(name: str, found: Task | Creation, creation: Creation, variant: Variant) -> str:
    siblings = found.creations if isinstance(found, Task) else (creation,)
    index = siblings.index(creation) + 1
    said = (creation.task_id, _told_apart(found, creation) or index, index, VARIANTS[variant])
    more = (found.model, found.type) if isinstance(found, Task) else (None, None)
    values = {
        field: value if isinstance(value, int) else _plain(value or "")
        for field, value in zip(_FIELDS, (*said, *more), strict=True)
    }
    try:
        return _without_suffix(name.format_map(values))
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        known = ", ".join(f"{{{field}}}" for field in _FIELDS)
        raise ConfigError(f"name={name!r} cannot be filled ({error!r}); it may hold {known}") from None


def _without_suffix(name: str) -> str:
    """Drop the suffix of a picture or film, which the content decides."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix.lower()}" in SUFFIXES.values() else name


def _plain(value: str) -> str:
    """Return what a server said as letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]", "_", value, flags=re.ASCII)


def safe(name: str) -> str:
    """Return a name that is one file of its folder wherever it is used; "" if nothing is left of it.

    Of a long one the end is cut off, which may be what tells it from others: a mark of all of it takes its place.
    """
    shown = "".join("_" if char in _UNSAFE or not char.isprintable() else char for char in name)
    shown = shown.lstrip(_BEGINNING).rstrip(_ENDS)
    if len(whole := shown.encode()) > _STEM:
        mark = f"-{hashlib.sha256(whole).hexdigest()[:_MARK]}"
        shown = whole[: _STEM - len(mark)].decode(errors="ignore").strip(_ENDS) + mark
    return f"_{shown}" if _DEVICES.fullmatch(shown) else shown


@define(eq=False)
class Target:
    """Where one result goes, as far as it is known before its kind is."""

    folder: Path
    stem: str
    suffix: str | None
    """None until the first bytes tell."""
    exists: Exists

    @classmethod
    def of(cls, target: str | os.PathLike[str], stem: str, exists: Exists, *, is_named: bool = False) -> Target:
        """Read a target: an existing folder, a trailing slash or a name without suffix mean a folder, else a file.

        Raises:
            ConfigError: a name and a file are given, or a word that `exists` does not know.

        """
        if exists not in {"error", "skip", "overwrite", "rename"}:
            raise ConfigError(f"exists= must be error, skip, overwrite or rename, not {exists!r}")
        path = Path(target)
        try:
            path = path.expanduser()
            is_folder, is_file = path.is_dir(), os.path.lexists(path)
        except (OSError, RuntimeError) as error:
            said = getattr(error, "strerror", None) or error
            raise ConfigError(f"target {str(path)[:80]!r} cannot be used: {said}") from None
        if "\0" in str(path):
            raise ConfigError(f"target {str(path)[:80]!r} cannot be used: no path holds a null character")
        if is_folder or os.fspath(target).endswith(("/", os.sep)) or not (path.suffix or is_file):
            return cls(path, stem, None, exists)
        if is_named:
            raise ConfigError(f"name= is for a folder, and {str(path)!r} names a file: give one of the two")
        return cls(path.parent, path.stem, path.suffix, exists)

    @property
    def title(self) -> str:
        """What the file is called, as far as that is known."""
        return f"{self.stem}{self.suffix or ''}"

    def present(self, kind: str = "") -> Path | None:
        """Return the file that is there already, if any; a picture is not there in place of a film.

        `kind` is `image` or `video`, "" if nobody knows.

        Raises:
            DownloadError: what is there is no file: nothing is written to it, or through it.

        """
        usual = [suffix for made, suffix in SUFFIXES.items() if made.startswith(kind)]
        suffixes = [*usual, ".bin"] if self.suffix is None else [self.suffix]
        for path in (self.folder / f"{self.stem}{suffix}" for suffix in suffixes):
            if _is_there(path):
                return path
        return None

    def publish(self, part: Path, head: bytes) -> Path:
        """Give a whole part-file its final name, and never somebody else's: two may arrive at the same moment."""
        suffix = SUFFIXES.get(kind_of(head) or "", ".bin") if self.suffix is None else self.suffix
        path = self.folder / f"{self.stem}{suffix}"
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DownloadError(f"{path} would lie outside {self.folder}")
        if self.exists == "overwrite":
            _is_there(path)  # refuses what is no file
            return part.replace(path)
        for count in itertools.count(1):
            if _take(part, path):
                return path
            if self.exists == "error":
                break
            if self.exists == "rename":
                path = self.folder / f"{self.stem}-{count}{suffix}"
            elif _is_there(path):  # to skip, too: it has come in the meantime
                part.unlink()
                return path
        raise self.refusal(path)

    def refusal(self, path: Path) -> DownloadError:
        """Return the error that says a file is there already."""
        return DownloadError(f"{path} exists already. Pass exists='skip', 'overwrite' or 'rename'")


def _is_there(path: Path) -> bool:
    """Whether a file has this name; the name itself is looked at, not what a link leads to."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISREG(mode):
        return True
    what = "symbolic link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "device, pipe or socket"
    raise DownloadError(f"{path} is a {what}, and no result is written there. Choose another name, or remove it")


def _take(part: Path, path: Path) -> bool:
    """Move a file to a name if the name is free."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links on this file system: the next best, with a moment's gap
        if os.path.lexists(path):
            return False
        part.replace(path)
    else:
        part.unlink()
    return True
