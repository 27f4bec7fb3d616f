"""What a command tells, and where: results on stdout, for people or as JSON; everything else on stderr.

Words of a server or of a file are cleaned: they may hold characters that steer a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from attrs import define, field

from vidu_async.events import plainly
from vidu_async.phrases import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def open_missing() -> None:
    """Put /dev/null where the shell gave no stream (`>&-`): else the next file to be opened would be taken for it."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            stream = open(nowhere, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - a descriptor, for good
            setattr(sys, name, stream)


def is_live() -> bool:
    """Whether stderr is a terminal on which lines can be drawn anew, and not but written."""
    is_dumb = os.environ.get("TERM", "" if os.name == "posix" else "windows") in {"", "dumb", "unknown"}
    return sys.stderr.isatty() and not is_dumb


def say(text: str) -> None:
    """Tell people something, which is no result."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> bool:
    """Write a line; return whether somebody still reads."""
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except UnicodeEncodeError:  # before its kin, a closed file's
        code = stream.encoding or "ascii"
        return _write(stream, text.encode(code, "backslashreplace").decode(code))
    except (BrokenPipeError, ValueError):
        return False
    return True


@define(eq=False)
class Results:
    """Where results go. A reader who has left, such as `head`, ends nothing: what is paid for is still saved."""

    is_json: bool
    _pipe: TextIO | None = field(factory=lambda: None if sys.stdout.isatty() else sys.stdout)
    """What is no terminal, taken now: a progress bar takes sys.stdout over."""
    is_read: bool = field(default=True, init=False)
    """Whether somebody still reads."""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches them come."""
        return self._pipe is None

    def tell(self, record: dict[str, Any], *words: str) -> None:
        """Tell one result, as a JSON object or as lines of words."""
        lines = (json.dumps(record, default=str),) if self.is_json else words
        for line in lines:
            if self.is_read and not _write(self._pipe or sys.stdout, line):
                self.is_read = False
                _let_go()

    def table(self, kind: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Tell rows: on a terminal in columns, else with tabs between, or as JSON objects."""
        if not self.is_json and self.is_terminal:
            _draw(head, rows)
            return
        for row in rows:
            record = {"type": kind, **dict(zip(head, row, strict=True))}
            self.tell(record, "\t".join("" if cell is None else printable(str(cell)) for cell in row))
            if not self.is_read:
                return


def _let_go() -> None:
    """Have nobody complain at the end that stdout is closed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _draw(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write columns. Nothing is cut: an id of which half is shown is none, and a terminal folds what is too long."""
    lines = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not lines:
        return
    widths = [
        max(map(len, column)) and max(len(name), *map(len, column))
        for name, column in zip(head, zip(*lines, strict=True), strict=True)
    ]
    for line in ([name.upper() for name in head], *lines):
        _write(
            sys.stdout, "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width).rstrip()
        )


def error_record(error: Exception) -> dict[str, Any]:
    """Return an error for programs."""
    said = {name: getattr(error, name, None) for name in ("reason", "paid", "key", "task_id")}
    return {"type": "error", "error": type(error).__name__, **said, "message": plainly(str(error))}


def interruption_record(task_id: str, message: str) -> dict[str, Any]:
    """Return, as an error for programs, that the wait for a task was interrupted. The task is paid."""
    said = {"reason": None, "paid": "yes", "key": None, "task_id": task_id}
    return {"type": "error", "error": "Interrupted", **said, "message": message}
