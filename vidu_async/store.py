"""Rows in one SQLite file: its tables, its statements, and opening it safely. All of it runs in the journal's thread.

The columns are the fields of `Row`. The arrows of `EDGES` are in the file as a trigger: a write that follows none of
them changes nothing, so that of two processes with one row in hand the later cannot undo what the earlier learned, nor
anybody but its sender what is on its way.
Each move leaves a line in `events`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from attrs import define, field, fields

from vidu_async import places
from vidu_async.journal import EDGES, Heard, Row, RowState, conflict, is_free, makes_room
from vidu_async.owners import Owner
from vidu_async.protocol.errors import JournalError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

Values = tuple[Any, ...]
"""A row as it is written: one value for each of `NAMES`."""

APPLICATION = 0x56694475
"""What marks a file as ours. https://www.sqlite.org/pragma.html#pragma_application_id"""
VERSION = 2
"""2 since `is_called_back`."""
NAMES = tuple(one.name for one in fields(Row))
_TYPES = {
    "str": "TEXT NOT NULL",
    "bool": "INTEGER NOT NULL",
    "int": "INTEGER NOT NULL",
    "int | None": "INTEGER",
    "float | None": "REAL",
    "RowState": "TEXT NOT NULL",
}
_SPECIAL = {"key": "TEXT UNIQUE", "token": "TEXT PRIMARY KEY NOT NULL"}
"""A key that was used anew is taken from its old row."""
_FLAGS = tuple(one.name for one in fields(Row) if str(one.type) == "bool")
_columns = ", ".join(f"{one.name} {_SPECIAL.get(one.name) or _TYPES[str(one.type)]}" for one in fields(Row))
_moves = "".join(f"|{start}>{end}" for start, ends in EDGES.items() for end in sorted(ends))
_EVENT = """INSERT INTO events VALUES (new.token, (julianday('now') - 2440587.5) * 86400, new.attempt, new.state,
    CASE new.reason WHEN '' THEN new.evidence ELSE new.reason END)"""
_NOTES = "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)"
_CALLBACKS = """CREATE TABLE IF NOT EXISTS callbacks (place INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL,
    task_id TEXT NOT NULL, state TEXT NOT NULL)"""
_CALLS = "CREATE INDEX IF NOT EXISTS calls ON callbacks (token)"
_CALLBACKS_KEPT = 10_000
"""The newest: what is older was acted on, or has been found out otherwise."""
_SCHEMA = f"""
{_NOTES};
{_CALLBACKS};
{_CALLS};
CREATE TABLE submissions ({_columns}) [STRICT];
CREATE TABLE events (token TEXT NOT NULL, at REAL NOT NULL, attempt INTEGER NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL) [STRICT];
CREATE INDEX by_task ON submissions (task_id) WHERE task_id <> '';
CREATE INDEX by_proof ON submissions (proof) WHERE proof <> '';
CREATE INDEX committed ON submissions (owner) WHERE state = 'committed';
CREATE INDEX accepted ON submissions (site, committed_at) WHERE state = 'accepted';
CREATE INDEX unresolved ON submissions (site, committed_at) WHERE state IN ('unknown', 'held');
CREATE TRIGGER follow_edges BEFORE UPDATE OF state ON submissions
    WHEN NOT instr('{_moves}|', '|' || old.state || '>' || new.state || '|')
        OR (old.state = 'committed' AND new.owner <> old.owner) BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER tell_of_new AFTER INSERT ON submissions BEGIN {_EVENT}; END;
CREATE TRIGGER tell_of_move AFTER UPDATE OF state ON submissions BEGIN {_EVENT}; END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
_STRICT_SINCE = (3, 37)

_CHUNK = 500
"""Parameters of one statement."""
_ROW = f"SELECT {', '.join(NAMES)} FROM submissions"  # noqa: S608 - names of our own, here and below
_FIXED = frozenset({"token", "key", "is_named", "site", "endpoint", "digest", "proof"})
"""What changes only when a key is claimed anew. To leave them out spares their indexes."""


def _put(names: Iterable[str]) -> str:
    return f"""INSERT INTO submissions ({", ".join(NAMES)}) VALUES ({", ".join("?" * len(NAMES))})
        ON CONFLICT (token) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in names)}"""  # noqa: S608


_PUT = _put(name for name in NAMES if name not in _FIXED)
_CLAIM = _put(name for name in NAMES if name != "token")
_HOLDS = "SELECT 1 FROM submissions WHERE token = ? AND state = ? AND attempt = ? AND owner = ?"
_FINISH = """UPDATE submissions SET state = ?, credits = ?
    WHERE task_id = ? AND task_id <> '' AND state = 'accepted' AND site = ?"""
_DROP = "UPDATE submissions SET owner = '' WHERE token = ? AND state = 'prepared' AND owner = ?"
_RECOVER = "UPDATE submissions SET state = 'unknown', evidence = ? WHERE state = 'committed' AND owner = ?"
_ABANDONED = "the process that sent it ended before its answer came"
_UNFINISHED = f"{_ROW} WHERE state = 'accepted' AND site = ? ORDER BY committed_at, rowid"
_UNRESOLVED = f"{_ROW} WHERE state IN ('unknown', 'held') AND site = ? ORDER BY committed_at, rowid"
_ROWS = f"SELECT rowid, {', '.join(NAMES)} FROM submissions WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608
_BY_TOKEN = f"{_ROW} WHERE token = ?"
_HEAR = "INSERT INTO callbacks (token, task_id, state) VALUES (?, ?, ?)"
_FORGET = "DELETE FROM callbacks WHERE place <= ?"
_NAMES = "SELECT task_id FROM callbacks WHERE token = ? GROUP BY task_id ORDER BY max(place) DESC LIMIT 16"
_HEARD = f"""SELECT place, callbacks.task_id, callbacks.state, {", ".join(f"submissions.{name}" for name in NAMES)}
    FROM callbacks JOIN submissions USING (token) WHERE place > ? ORDER BY place LIMIT {_CHUNK}"""  # noqa: S608
_RECALL = "SELECT value FROM notes WHERE name = ?"
_REMEMBER = "INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_SHARED_PROOF = "SELECT 1 FROM submissions WHERE proof = ? AND proof <> '' AND token <> ?"
_LOG = 4000
"""Pages of the log before it is copied into the file: random keys touch many pages, and this writes each less often."""
_LARGEST = 2**63 - 1

values_of: Callable[[Row], Values] = attrgetter(*("state.value" if name == "state" else name for name in NAMES))
"""Take a row as it is now."""

_ADVICE = {
    "SQLITE_FULL": "Make room on the disk; what is still to be written is tried again.",
    "SQLITE_BUSY": "Another program keeps the file locked: end it, or allow more time with Journal(busy_timeout=).",
    "SQLITE_CORRUPT": "It is damaged and may hold paid tasks: move it away, keep it, and go on with a new one.",
    "SQLITE_NOTADB": "It is no SQLite file; if it was a journal it is damaged, and may hold paid tasks: keep it.",
    "SQLITE_READONLY": "Make the file and its folder writable for this user.",
    "SQLITE_CANTOPEN": "Make the file and its folder writable for this user.",
}
_DAMAGED = _ADVICE["SQLITE_CORRUPT"]
_GONE = "Put it back; or, if no paid task is in it, remove its leftovers, too."
_TAKEN = "Put it back, or close the journal and open it again to begin a new one."


def explained(path: Path | str, error: Exception) -> JournalError:
    """Return the error that a user sees instead of SQLite's or the system's."""
    if isinstance(error, JournalError):
        return error
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return JournalError(f"the journal {path} cannot be used: {reason}", advice=_ADVICE.get(name, ""))


def _connect(path: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - sqlite3's own
    import sqlite3  # noqa: PLC0415 - on first use

    # Whoever drops a journal closes it from another thread.
    connection: sqlite3.Connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False, **options
    )
    return connection


def _build(path: Path) -> None:
    """Make a journal of an empty file."""
    import sqlite3  # noqa: PLC0415 - on first use

    strict = "STRICT" if sqlite3.sqlite_version_info >= _STRICT_SINCE else ""
    connection = _connect(path)
    try:
        connection.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {_SCHEMA.replace('[STRICT]', strict)} COMMIT")
    finally:
        connection.close()


def _ready(path: Path, *, durability: str, busy_timeout: float, is_alone: bool) -> sqlite3.Connection:
    """Connect to a journal, making it if there is none."""
    if not places.is_there(path):
        if places.has_leftovers(path):
            raise JournalError(f"the journal {path} is gone, but {places.wal_of(path).name} is there", advice=_GONE)
        places.create(path, _build)
    is_suspect = is_alone and places.has_leftovers(path)
    connection = _connect(path, timeout=busy_timeout)
    try:
        _check(path, connection, is_suspect=is_suspect)
        places.make_private(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA fullfsync = 1")  # macOS's fsync alone does not reach the disk
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG}")
        connection.execute(_NOTES)
        connection.execute(_CALLBACKS)
        connection.execute(_CALLS)
        _upgrade(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(path: Path, connection: sqlite3.Connection, *, is_suspect: bool) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        said = f"{path} is another program's SQLite file, not a journal"
        raise JournalError(said, advice="Choose another path.")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        said = f"the journal {path} was written by a newer vidu_async (format {version}, this one knows {VERSION})"
        raise JournalError(said, advice="Update vidu_async, or choose another path.")
    if is_suspect and (found := connection.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
        raise JournalError(f"the journal {path} is damaged: {found[0]}", advice=_DAMAGED)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Give a file of an earlier version what it lacks; of several processes the first does."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            connection.execute("ALTER TABLE submissions ADD COLUMN is_called_back INTEGER NOT NULL DEFAULT 0")
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _storable(value: Any) -> Any:  # noqa: ANN401 - any value of a row
    """Return what SQLite can hold of a value: a server may send any number, and text that is none."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int):
        return max(-_LARGEST, min(value, _LARGEST))
    return value


def _row(values: Sequence[Any]) -> Row:
    known = dict(zip(NAMES, values, strict=True))
    known.update({name: bool(known[name]) for name in _FLAGS}, state=RowState(known["state"]))
    return Row(**known)


def _heard(values: Sequence[Any]) -> Heard | None:
    """Return a callback with its row; None for a row that a newer version has written."""
    place, task_id, state, *row = values
    with suppress(ValueError):
        return Heard(place, _row(row), task_id, state)
    return None


@define(eq=False)
class Reader:
    """A second connection, which only looks at what others have written. Its errors are SQLite's."""

    _connection: sqlite3.Connection
    _known: tuple[int, int] = field(default=(-1, 0), init=False)
    """The file's version at the last look, and up to which place that showed all there is."""

    @classmethod
    def open(cls, path: str) -> Reader:
        """Look into a journal that is there."""
        connection = _connect(Path(os.path.realpath(path)), timeout=0)
        connection.execute("PRAGMA query_only = 1")
        return cls(connection)

    def heard(self, after: int) -> list[Heard]:
        """Return the callbacks since a place, if anything was written by anybody since the last look."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._known[0] and after >= self._known[1]:
            return []
        found = self._connection.execute(_HEARD, (after,)).fetchall()
        # What is written from here on shows in the next version.
        self._known = (version if len(found) < _CHUNK else -1, found[-1][0] if found else after)
        return [heard for heard in map(_heard, found) if heard is not None]

    def newest(self) -> int:
        """Return the place of the newest callback, 0 if there is none."""
        found: tuple[int] = self._connection.execute("SELECT coalesce(max(place), 0) FROM callbacks").fetchone()
        return found[0]

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


@define(eq=False)
class Store:
    """An open file. What is asked of it is asked between `begin` and `commit`. Its errors are SQLite's."""

    _path: Path
    _identity: os.stat_result
    _connection: sqlite3.Connection
    _owner: Owner
    _clock: Callable[[], float]
    _in_hand: WeakValueDictionary[str, Row] = field(factory=WeakValueDictionary)
    """Rows of ours that are prepared, by key: as long as somebody has them."""

    @classmethod
    def open(cls, path: str, *, durability: str, busy_timeout: float, clock: Callable[[], float] = time.time) -> Store:
        """Open a journal, making it if there is none. May raise `sqlite3.Error` and `OSError`.

        Raises:
            JournalError: what is there is no journal, one of a newer version, or a damaged one.

        """
        real = Path(os.path.realpath(path))
        places.is_there(real)
        owner = Owner.enter(real.with_name(f"{real.name}-owners"))
        try:
            connection = _ready(real, durability=durability, busy_timeout=busy_timeout, is_alone=owner.is_alone())
        except BaseException:
            owner.release()
            raise
        return cls(real, real.stat(), connection, owner, clock)

    @property
    def owner(self) -> str:
        """Whose rows are ours."""
        return self._owner.id

    def begin(self) -> None:
        """Begin a transaction; what is written to a file that was taken away would be lost."""
        if not (self._path.exists() and os.path.samestat(self._path.stat(), self._identity)):
            raise JournalError(f"the journal {self._path} was removed or replaced while it was open", advice=_TAKEN)
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make it durable."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what was begun."""
        self._connection.rollback()

    def close(self) -> None:
        """Let go of the file; leave all of it in one piece if nobody else has it."""
        import sqlite3  # noqa: PLC0415 - on first use

        with suppress(sqlite3.Error, OSError):
            if self._owner.is_alone():
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._owner.release()

    def drop(self, *rows: Row) -> None:
        """Take rows that are not sent after all out of hand, for others, too."""
        for row in rows:
            if self._in_hand.get(row.key) is row:
                self._in_hand.pop(row.key, None)
            self._connection.execute(_DROP, (row.token, self.owner))

    def put(self, rows: Sequence[Values]) -> list[bool]:
        """Write rows as they are now. Return for each whether it stands: not if its move is none of the arrows."""
        try:
            changed = self._connection.executemany(_PUT, rows).rowcount
        except (UnicodeError, OverflowError):
            rows = [tuple(map(_storable, row)) for row in rows]
            changed = self._connection.executemany(_PUT, rows).rowcount
        return [True] * len(rows) if changed == len(rows) else [self._stands(row) for row in rows]

    def _stands(self, values: Values) -> bool:
        at = dict(zip(NAMES, values, strict=True))
        wanted = (at["token"], at["state"], at["attempt"], at["owner"])
        return self._connection.execute(_HOLDS, wanted).fetchone() is not None

    def claim(self, wanted: Row, *, retry_failed: bool) -> tuple[Row, bool]:
        """Claim a key, as `Ledger.prepare`.

        Raises:
            IdempotencyConflictError: the key names another request.

        """
        self.recover()
        found = self.find(wanted.key)
        if found is None or makes_room(found, wanted, retry_failed=retry_failed):
            self._connection.execute("UPDATE submissions SET key = NULL WHERE key = ?", (_storable(wanted.key),))
            found = wanted
        elif not is_free(found, wanted) or self._is_in_hand(found):
            if error := conflict(found, wanted):
                raise error
            return found, False
        else:
            found.renewed(wanted)
        found.owner, found.prepared_at = self.owner, self._clock()
        self._connection.execute(_CLAIM, tuple(map(_storable, values_of(found))))
        self._in_hand[found.key] = found
        return found, True

    def _is_in_hand(self, found: Row) -> bool:
        """Whether somebody, here or elsewhere, is about to send a prepared row."""
        if found.state is not RowState.PREPARED:
            return False
        if found.owner != self.owner:
            return self._owner.is_alive(found.owner)
        mine = self._in_hand.get(found.key)
        return mine is not None and mine.state is RowState.PREPARED

    def recover(self) -> None:
        """Declare unknown whatever was on its way when its owner's process ended."""
        owners = self._connection.execute("SELECT DISTINCT owner FROM submissions WHERE state = 'committed'")
        dead = [(_ABANDONED, owner) for (owner,) in owners.fetchall() if not self._owner.is_alive(owner)]
        self._connection.executemany(_RECOVER, dead)

    def finish(self, site: str, task_id: str, state: str, spent: int | None) -> None:
        """Write that a task ended."""
        self._connection.execute(_FINISH, (state, _storable(spent), _storable(task_id), site))

    def row_of(self, token: str) -> Row | None:
        """Return the row with this token."""
        found = self._connection.execute(_BY_TOKEN, (_storable(token),)).fetchone()
        return _row(found) if found else None

    def hear(self, token: str, task_id: str, state: str) -> Heard | None:
        """Write a callback down, and forget what is too old; None if no row has its token."""
        row = self.row_of(token)
        if row is None:
            return None
        place = self._connection.execute(_HEAR, (token, _storable(task_id), state)).lastrowid or 0
        self._connection.execute(_FORGET, (place - _CALLBACKS_KEPT,))
        return Heard(place, row, task_id, state)

    def names_of(self, token: str) -> list[str]:
        """Return the ids that callbacks with this token have named, the newest first."""
        return [task_id for (task_id,) in self._connection.execute(_NAMES, (token,))]

    def find(self, key: str) -> Row | None:
        """Return the row of a key."""
        found = self._connection.execute(f"{_ROW} WHERE key = ?", (_storable(key),)).fetchone()
        return _row(found) if found else None

    def is_empty(self) -> bool:
        """Whether there is no row."""
        return self._connection.execute("SELECT 1 FROM submissions LIMIT 1").fetchone() is None

    def rows(self, after: int) -> list[tuple[int, Row]]:
        """Return some rows after a place, with their places, oldest first; those whose key was taken have none."""
        found = self._connection.execute(_ROWS, (after, _CHUNK))
        return [(place, _row(("" if key is None else key, *values))) for place, key, *values in found]

    def unfinished(self, site: str) -> list[Row]:
        """Return what was accepted and has not ended, oldest first."""
        return [_row(values) for values in self._connection.execute(_UNFINISHED, (site,))]

    def unresolved(self, site: str) -> list[Row]:
        """Return what may be paid, oldest first."""
        self.recover()
        return [_row(values) for values in self._connection.execute(_UNRESOLVED, (site,))]

    def tokens_of(self, site: str, task_ids: Iterable[str]) -> dict[str, str]:
        """Return the tokens of the tasks of a site that are known."""
        asked = [_storable(task_id) for task_id in task_ids if task_id]
        found: dict[str, str] = {}
        for start in range(0, len(asked), _CHUNK):
            part = asked[start : start + _CHUNK]
            where = f"site = ? AND task_id <> '' AND task_id IN ({', '.join('?' * len(part))})"
            asking = f"SELECT task_id, token FROM submissions WHERE {where}"  # noqa: S608
            found.update(self._connection.execute(asking, [site, *part]))
        return found

    def recall(self, name: str) -> str | None:
        """Return what was kept under a name."""
        found: tuple[str] | None = self._connection.execute(_RECALL, (name,)).fetchone()
        return found[0] if found else None

    def remember(self, name: str, text: str) -> None:
        """Keep a text under a name."""
        self._connection.execute(_REMEMBER, (name, text))

    def is_unique_proof(self, row: Row) -> bool:
        """Whether no other row has this row's own payload."""
        return self._connection.execute(_SHARED_PROOF, (row.proof, row.token)).fetchone() is None
