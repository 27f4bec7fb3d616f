"""Requests from a file: JSON Lines, a JSON array, or CSV with a head. Read piece by piece: it may exceed the memory.

Each row names its `endpoint`, may name its `key`, and holds the API's own fields; paths in it are relative to the
file's folder. A row that is no request is told of with its place, and does not keep the others from being read.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from vidu_async.protocol.checks import shown
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.requests import request_from_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike
    from typing import TextIO

    from vidu_async.protocol.requests import Request

_PIECE = 64 * 1024
"""Characters of a JSON array that are read at once."""
_NESTED = ("images", "videos", "subjects", "extra")
"""Fields that hold more than one value: in CSV one picture or clip as it is, or JSON."""

Found = tuple[int, object]
"""A line's number, and what begins there: a mapping, or the error of what is none."""


@frozen
class Entry:
    """One row, as a request or as what is wrong with it."""

    place: str
    """File and line, such as `jobs.jsonl:3`."""
    key: str | None
    found: Request | ValidationError


def read(path: str | PathLike[str], *, endpoint: str | None = None) -> Iterator[Entry]:
    """Read the rows of a file, by its suffix: `.jsonl` or `.ndjson`, `.json`, `.csv`.

    `endpoint` is that of the rows that name none. The file is open while it is iterated over.

    Raises:
        ValidationError: it has another suffix, or is no text, no JSON array or no CSV. Rows well before were yielded.
        OSError: it cannot be read.

    """
    reader, path = check_suffix(path), Path(path)
    try:
        for line, found in reader(path):
            yield _entry(f"{path.name}:{line}", found, path.parent, endpoint)
    except UnicodeDecodeError as error:
        raise ValidationError(f"{path} is no UTF-8: {error}", field="path", value=str(path)) from None


def count(path: str | PathLike[str]) -> int | None:
    """Return how many rows a file has, None if it cannot be read. It is read for it."""
    try:
        return sum(1 for _ in check_suffix(path)(Path(path)))
    except (ValueError, OSError):
        return None  # told by whoever reads the rows


def check_suffix(path: str | PathLike[str]) -> Callable[[Path], Iterator[Found]]:
    """Return what reads files of this suffix.

    Raises:
        ValidationError: nothing does.

    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise ValidationError(f"{path} must end with {', '.join(_READERS)}", field="path", value=str(path))
    return reader


def _entry(place: str, found: object, folder: Path, endpoint: str | None) -> Entry:
    key = None
    try:
        fields = _fields(found)
        key = _key(fields.pop("key", None))
        named = _endpoint(fields, endpoint)
        request: Request | ValidationError = request_from_wire(named, fields, base_dir=folder)
    except ValidationError as error:
        request = ValidationError(f"{place}: {error.said}", field=error.field, value=error.value, allowed=error.allowed)
    return Entry(place, key, request)


def _fields(found: object) -> dict[str, Any]:
    if isinstance(found, ValidationError):
        raise found
    if not isinstance(found, dict):
        raise ValidationError(f"a row must be a JSON object, not {shown(found)}", value=found)
    if fault := next((value for value in found.values() if isinstance(value, ValidationError)), None):
        raise fault
    return dict(found)


def _endpoint(fields: dict[str, Any], default: str | None) -> str:
    named = fields.pop("endpoint", None) or default
    if not named:
        names = ", ".join(map(repr, fields)) or "nothing"
        said = f"the row names no endpoint, and none is given for all; it has {names}"
        raise ValidationError(said, field="endpoint")
    return str(named)


def _key(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValidationError(f"key must be text, not {shown(value)}", field="key", value=value)
    return str(value)


def _lines(path: Path) -> Iterator[Found]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(b"\xef\xbb\xbf").strip()
            if text:
                yield number, _decoded(text)


def _once(pairs: list[tuple[str, Any]]) -> object:
    """Refuse an object that names a field twice: one of the two would be lost."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return ValidationError(f"{name!r} stands here twice", field=name)


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _decoded(text: bytes) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return ValidationError(f"no JSON ({error})")


def _array(path: Path) -> Iterator[Found]:
    """Decode the items of a JSON array, one after the other."""
    with path.open(encoding="utf-8-sig") as file:
        text = _Text(path, file)
        if text.peek() != "[":
            raise text.fault("it must hold a JSON array")
        text.take("[")
        mark = text.take("]") if text.peek() == "]" else ","
        while mark == ",":
            text.peek()
            yield text.line, text.item()
            mark = text.take(",]")
        text.take("")


@define(eq=False)
class _Text:
    """A JSON text that is read as it is needed."""

    _path: Path
    _file: TextIO
    _pending: str = field(default="", init=False)
    line: int = field(default=1, init=False)
    """Of what comes next."""

    def peek(self) -> str:
        """Return the next character that is no white space, "" at the end."""
        while not (rest := self._pending.lstrip(" \t\r\n")) and self._read():
            pass
        self._skip(len(self._pending) - len(rest))
        return rest[:1]

    def take(self, wanted: str) -> str:
        """Pass over the next character, which must be one of these, or the end if there are none."""
        found = self.peek()
        if found not in (wanted or " ") and (found or wanted):
            what = f"{' or '.join(wanted)} is missing" if wanted else "something follows the array"
            raise self.fault(what)
        if not found and wanted:
            raise self.fault("the array is cut")
        self._skip(1)
        return found

    def item(self) -> object:
        """Pass over a value, and return it."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._pending)
            except (ValueError, RecursionError) as error:
                # The end of what was read may be what is wrong.
                if not isinstance(error, json.JSONDecodeError) or not self._read():
                    raise self.fault(f"the array is cut or no JSON ({error})") from None
            else:
                self._skip(end)
                return value

    def _read(self) -> bool:
        """Read as much again as there is, so that a long item is not decoded too often."""
        more = self._file.read(max(_PIECE, len(self._pending)))
        self._pending += more
        return bool(more)

    def _skip(self, count: int) -> None:
        self.line += self._pending.count("\n", 0, count)
        self._pending = self._pending[count:]

    def fault(self, said: str) -> ValidationError:
        """Return the error of what comes next."""
        return ValidationError(f"{self._path} line {self.line}: {said}", field="path", value=str(self._path))


def _table(path: Path) -> Iterator[Found]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file, strict=True)
        try:
            _check_head(path, table.fieldnames or ())
            for row in table:
                yield table.line_num, _cells(row)
        except csv.Error as error:  # the rows behind it may have been taken for its text
            said = f"{path} line {table.line_num}: no CSV ({error})"
            raise ValidationError(said, field="path", value=str(path)) from None


def _check_head(path: Path, names: Sequence[str]) -> None:
    """Refuse a head that names a column twice: one of the two would be lost."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        said = f"{path} line 1: the head names {', '.join(map(repr, twice))} twice"
        raise ValidationError(said, field="path", value=str(path))


def _cells(row: dict[Any, Any]) -> object:
    """Return the cells that hold something; what looks like JSON in a field of several values is JSON."""
    if None in row:
        return ValidationError(f"{len(row[None])} cells more than the head has")
    filled = {name: text for name, text in row.items() if text not in {None, ""}}
    for name in filled.keys() & set(_NESTED):
        text = filled[name]
        value = _decoded(text.encode()) if text.lstrip()[:1] in {"[", "{"} else [text]
        if isinstance(value, ValidationError):
            return ValidationError(f"{name} is {value.said}", field=name, value=text)
        filled[name] = value
    return filled


_READERS: dict[str, Callable[[Path], Iterator[Found]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _array,
    ".csv": _table,
}
