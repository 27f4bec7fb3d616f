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
from vidu_async.protocol.stamps import stamped

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

    @cached_property
    def _by_payload(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.proof or hashed(stamped(row.token)), []).append(row)
        return found

    def row(self, key: str) -> Row | None:
        """Return the row of a key."""
        return self._by_key.get(key)

    def rows_of(self, payload: str) -> list[Row]:
        """Return the rows whose submissions have this payload: several, if a key was given up and used anew."""
        return self._by_payload.get(hashed(payload), [])

    def payload(self, sent: Sent) -> str:
        """Return the payload of what was sent; where it has not arrived, that of the key as it is now."""
        row = self.row(sent.key)
        return sent.fields.get("payload") or payload_of(sent.key) or (stamped(row.token) if row else "")

    def moves(self, token: str) -> list[RowState]:
        """Return the states of a row, in their order."""
        return [event.state for event in self._by_token.get(token, [])]

    def consents(self, rows: Sequence[Row]) -> int:
        """How often the user agreed that something is sent again although it may be paid."""
        moves = (move for row in rows for move in pairwise(self.moves(row.token)))
        return sum(a in UNRESOLVED and b is _S.PREPARED for a, b in moves) + max(0, len(rows) - 1)

    def forgotten(self) -> list[PaidTask]:
        """Return the paid tasks that the journal neither names nor admits to be possible."""
        named = {row.task_id for row in self.rows}
        return [task for task in self.paid if task.id not in named and not self._is_admitted(task)]

    def _is_admitted(self, task: PaidTask) -> bool:
        rows = self.rows_of(task.payload)
        return any(row.state in OPEN | {_S.GIVEN_UP} or row.possible_duplicate for row in rows)

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
    """A submission has one paid task at most, and one more each time the user agreed."""
    for payload, count in Counter(task.payload for task in scene.paid).items():
        rows = scene.rows_of(payload)
        agreed = scene.consents(rows)
        if count > 1 + agreed or (count > max(1, len(rows)) and not any(row.possible_duplicate for row in rows)):
            yield f"{payload!r} is paid {count} times and was agreed to {agreed} times"


def _nothing_paid_is_forgotten(scene: Scene) -> Iterator[str]:
    """A paid task is named in the journal, or its row says that there may be one."""
    for task in scene.forgotten():
        states = [f"{row.key}: {row.state}" for row in scene.rows_of(task.payload)]
        yield f"task {task.id} of {task.key} is paid, and its rows are {states}"


def _nothing_is_made_up(scene: Scene) -> Iterator[str]:
    """A row that names a task names one that is paid, and was made of its own request."""
    made = {task.id: task for task in scene.paid}
    for row in scene.rows:
        if row.state not in NAMED:
            continue
        task = made.get(row.task_id)
        if task is None or row not in scene.rows_of(task.payload) or row.prompt not in {"", hashed(task.prompt)}:
            yield f"{row.key} is {row.state} as task {row.task_id}, which was made of {task and task.prompt!r}"


def _nothing_leaves_before_it_is_written_down(scene: Scene) -> Iterator[str]:
    """A request that arrived whole was committed first."""
    for payload, count in Counter(scene.payload(sent) for sent in scene.sent if sent.is_whole).items():
        commits = sum(scene.moves(row.token).count(_S.COMMITTED) for row in scene.rows_of(payload))
        if count > commits:
            yield f"{payload!r} arrived {count} times and was committed {commits} times"


def _nothing_in_doubt_is_sent_again(scene: Scene) -> Iterator[str]:
    """After a request that may have been accepted, nothing more is sent of it unless the user agrees."""
    doubts: Counter[str] = Counter()
    for sent in scene.sent:
        payload = scene.payload(sent)
        if payload and doubts[payload] > scene.consents(scene.rows_of(payload)):
            yield f"{sent.key} with {payload!r} was sent again"
        doubts[payload] += sent.is_whole and not sent.lot.is_definite


def _moves_follow_the_diagram(scene: Scene) -> Iterator[str]:
    """A row's moves follow the arrows, and the last of them is where it is."""
    for row in scene.rows:
        moves = scene.moves(row.token)
        wrong = [f"{a} -> {b}" for a, b in pairwise(moves) if b not in EDGES[a]]
        if wrong or (moves or [row.state])[-1] is not row.state:
            yield f"{row.key} is {row.state} after {', '.join(moves)}"


def _names_are_unique(scene: Scene) -> Iterator[str]:
    """No two rows have a key, a token or a task in common, and a key is taken only from what was given up."""
    for name in ("key", "token", "task_id"):
        for value, count in Counter(getattr(row, name) for row in scene.rows).items():
            if value and count > 1:
                yield f"{count} rows have the {name} {value}"
    for row in scene.rows:
        if not row.key and row.state is not _S.GIVEN_UP:
            yield f"the key of {row.token}, which is {row.state}, was taken"


def _payloads_arrive_as_given(scene: Scene) -> Iterator[str]:
    """The user's payload arrives byte for byte, and where there is none the row's token does."""
    for task in scene.paid:
        own = payload_of(task.key)
        if task.payload != own if own else not scene.rows_of(task.payload):
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
