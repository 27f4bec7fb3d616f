"""What must hold between a journal and a gateway's books, whatever was killed when: pure, one function per invariant.

A `Scene` is what can be seen from outside. `broken_invariants` says in sentences what is wrong with it, or nothing.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import fields, frozen
from kill_child import API_KEY, payload_of
from ledger import PaidTask, Sent

from vidu_async.journal import EDGES, ENDED, UNRESOLVED, Row, RowState, hashed

_S = RowState
NAMED = ENDED | {_S.ACCEPTED}
OPEN = UNRESOLVED | {_S.COMMITTED}
"""States in which a journal admits that a task may exist that it cannot name."""


@frozen
class Event:
    """One move of a row, as the journal remembers it."""

    token: str
    state: RowState


@frozen
class Scene:
    """A journal, the books of its gateway, and what the user was told."""

    rows: Sequence[Row]
    events: Sequence[Event] = ()
    paid: Sequence[PaidTask] = ()
    sent: Sequence[Sent] = ()
    told: Sequence[tuple[str, str]] = ()
    """Each key that a handle was returned for, and its task's id."""
    permits: int = 1
    most_at_once: int = 0
    files: Mapping[str, bytes] = {}
    """Whatever was written anywhere."""

    @cached_property
    def _by_key(self) -> dict[str, Row]:
        return {row.key: row for row in self.rows}

    @cached_property
    def _by_token(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.token, []).append(event)
        return found

    def row(self, key: str) -> Row | None:
        """Return the row of a key."""
        return self._by_key.get(key)

    def moves(self, token: str) -> list[RowState]:
        """Return the states of a row, in their order."""
        return [event.state for event in self._by_token.get(token, [])]

    def consents(self, token: str) -> int:
        """How often the user agreed that something is sent again although it may be paid."""
        doubtful = UNRESOLVED | {_S.GIVEN_UP}
        return sum(a in doubtful and b is _S.PREPARED for a, b in pairwise(self.moves(token)))

    def forgotten(self) -> list[PaidTask]:
        """Return the paid tasks that the journal neither names nor admits to be possible."""
        named = {row.task_id for row in self.rows}
        return [task for task in self.paid if task.id not in named and not self._admits(self.row(task.key))]

    @staticmethod
    def _admits(row: Row | None) -> bool:
        return row is not None and (row.state in OPEN | {_S.GIVEN_UP} or row.possible_duplicate)

    def unfound(self) -> list[PaidTask]:
        """Return the paid tasks that the journal does not name: after a reconciliation in a world at rest, none."""
        named = {row.task_id for row in self.rows if row.state in NAMED}
        return [task for task in self.paid if task.id not in named]


def broken_invariants(scene: Scene) -> list[str]:
    """Say what is wrong, or return nothing."""
    return [f"{law.__doc__} But {fault}" for law in _LAWS for fault in law(scene)]


def _nothing_told_is_lost(scene: Scene) -> Iterator[str]:
    """A key that a handle was returned for has one row, and it names that task."""
    for key, task_id in scene.told:
        found = [(row.task_id, row.state) for row in scene.rows if row.key == key]
        if len(found) != 1 or found[0][0] != task_id or found[0][1] not in NAMED:
            yield f"{key} was told of {task_id}, and its rows say {found}"


def _nothing_is_paid_twice(scene: Scene) -> Iterator[str]:
    """A key has one paid task at most, and one more each time the user agreed."""
    for key, count in Counter(task.key for task in scene.paid).items():
        row = scene.row(key)
        agreed = scene.consents(row.token) if row else 0
        if count > 1 + agreed or (count > 1 and row and not row.possible_duplicate):
            yield f"{key} is paid {count} times and was agreed to {agreed} times"


def _nothing_paid_is_forgotten(scene: Scene) -> Iterator[str]:
    """A paid task is named in the journal, or its row says that there may be one."""
    for task in scene.forgotten():
        row = scene.row(task.key)
        yield f"task {task.id} of {task.key} is paid, and its row is {row and row.state}"


def _nothing_is_made_up(scene: Scene) -> Iterator[str]:
    """A row that names a task names one that is paid, and was made of its own request."""
    prompts = {task.id: task.prompt for task in scene.paid}
    for row in scene.rows:
        prompt = prompts.get(row.task_id, "")
        if row.state in NAMED and (prompt.partition(" ")[0] != row.key or row.prompt not in {"", hashed(prompt)}):
            yield f"{row.key} is {row.state} as task {row.task_id}, which was made of {prompt!r}"


def _nothing_leaves_before_it_is_written_down(scene: Scene) -> Iterator[str]:
    """A request that arrived whole was committed first."""
    for key, count in Counter(sent.key for sent in scene.sent if sent.is_whole).items():
        row = scene.row(key)
        commits = scene.moves(row.token).count(_S.COMMITTED) if row else 0
        if count > commits:
            yield f"{key} arrived {count} times and was committed {commits} times"


def _nothing_in_doubt_is_sent_again(scene: Scene) -> Iterator[str]:
    """After a request that may have been accepted, nothing more is sent of its key unless the user agrees."""
    doubts: Counter[str] = Counter()
    for sent in scene.sent:
        row = scene.row(sent.key)
        if sent.key and doubts[sent.key] > (scene.consents(row.token) if row else 0):
            yield f"{sent.key} was sent again"
        doubts[sent.key] += sent.is_whole and not sent.lot.is_definite


def _moves_follow_the_diagram(scene: Scene) -> Iterator[str]:
    """A row's moves follow the arrows, and the last of them is where it is."""
    for row in scene.rows:
        moves = scene.moves(row.token)
        wrong = [f"{a} -> {b}" for a, b in pairwise(moves) if b not in EDGES[a]]
        if wrong or (moves or [row.state])[-1] is not row.state:
            yield f"{row.key} is {row.state} after {', '.join(moves)}"


def _names_are_unique(scene: Scene) -> Iterator[str]:
    """No two rows have a key, a token or a task in common."""
    for name in ("key", "token", "task_id"):
        for value, count in Counter(getattr(row, name) for row in scene.rows).items():
            if value and count > 1:
                yield f"{count} rows have the {name} {value}"


def _payloads_arrive_as_given(scene: Scene) -> Iterator[str]:
    """The user's payload arrives byte for byte, and where there is none the row's token does."""
    for task in scene.paid:
        row = scene.row(task.key)
        if row and task.payload != (payload_of(task.key) or f"va1:{row.token}"):
            yield f"task {task.id} of {task.key} has the payload {task.payload!r}"


def _permits_are_kept(scene: Scene) -> Iterator[str]:
    """There are never more creations at once than permits."""
    if scene.most_at_once > scene.permits:
        yield f"there were {scene.most_at_once} of {scene.permits}"


def _the_key_is_nowhere(scene: Scene) -> Iterator[str]:
    """The API key stands in no file."""
    yield from (f"it is in {name}" for name, content in scene.files.items() if API_KEY.encode() in content)


_LAWS = (
    _nothing_told_is_lost,
    _nothing_is_paid_twice,
    _nothing_paid_is_forgotten,
    _nothing_is_made_up,
    _nothing_leaves_before_it_is_written_down,
    _nothing_in_doubt_is_sent_again,
    _moves_follow_the_diagram,
    _names_are_unique,
    _payloads_arrive_as_given,
    _permits_are_kept,
    _the_key_is_nowhere,
)


def read_journal(path: Path, copy_to: Path, wal: int | None = None) -> tuple[list[Row], list[Event]]:
    """Read a copy of a journal's file, so that its write-ahead log stays as its last process left it.

    Args:
        path: the journal; where there is none yet, it is empty.
        copy_to: the copy's path.
        wal: bytes of the write-ahead log to copy, all by default.

    """
    if not path.exists():
        return [], []
    copied(path, copy_to, wal)
    with closing(sqlite3.connect(copy_to)) as database:
        database.row_factory = sqlite3.Row
        rows = [_row(found) for found in database.execute("SELECT * FROM submissions ORDER BY rowid")]
        events = [
            Event(token, RowState(state))
            for token, state in database.execute("SELECT token, state FROM events ORDER BY rowid")
        ]
    return rows, events


def copied(path: Path, copy_to: Path, wal: int | None = None) -> None:
    """Copy a journal as it would be found after a crash: the database, and its write-ahead log or the begin of it."""
    log, copy_of_log = (one.with_name(one.name + "-wal") for one in (path, copy_to))
    copy_to.with_name(copy_to.name + "-shm").unlink(missing_ok=True)
    shutil.copyfile(path, copy_to)
    copy_of_log.write_bytes(log.read_bytes()[:wal] if log.exists() else b"")


def _row(found: sqlite3.Row) -> Row:
    values: dict[str, Any] = {one.name: found[one.name] for one in fields(Row)}
    return Row(**{**values, "state": RowState(values["state"])})
