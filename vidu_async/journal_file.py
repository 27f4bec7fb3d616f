"""The journal that outlives its process: rows in a SQLite file, which any number of processes may share.

Nothing is sent that the file does not know of: `commit` returns when the row is on the disk. What is learned afterwards
is a fact, and no failure to write it loses it while the process lives.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar
from weakref import finalize

from attrs import define, field

from vidu_async.journal import Heard, Row, RowState, answered, check_edge, move
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError, JournalError
from vidu_async.settings import check
from vidu_async.store import NAMES, Reader, Store, explained, values_of
from vidu_async.writer import Writer, close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

T = TypeVar("T")

_log = logging.getLogger("vidu_async")

_STATE, _ATTEMPT, _OWNER, _COMMITTED_AT = map(NAMES.index, ("state", "attempt", "owner", "committed_at"))


def _absolute(path: str | os.PathLike[str]) -> str:
    check("path", path, str | os.PathLike)
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - "~nobody" is a name, no error


@define(eq=False, repr=False)
class Journal:
    """A journal in a file, made on first use. Several clients of one loop, and several processes, may share it.

    `durability="full"` survives a power cut, "process" only the end of the process. `busy_timeout` is how many seconds
    to wait while another program has the file locked. It needs POSIX file locks and a local disk. Close it with
    `await journal.aclose()`, or just drop it.
    """

    path: str = field(converter=_absolute)
    durability: Literal["full", "process"] = field(default="full", kw_only=True)
    busy_timeout: float = field(default=5.0, kw_only=True)
    _clock: Callable[[], float] = field(default=time.time, kw_only=True)
    _writer: Writer[Store] = field(init=False)
    _reader: Reader | None = field(default=None, init=False)
    _close_reader: finalize[..., Any] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.durability not in {"full", "process"}:
            raise ConfigError(f'Journal(durability=) must be "full" or "process", not {self.durability!r}')
        if not is_positive(self.busy_timeout):
            raise ConfigError(f"Journal(busy_timeout=) must be a positive number of seconds, not {self.busy_timeout!r}")
        options = {"durability": self.durability, "busy_timeout": self.busy_timeout, "clock": self._clock}
        self._writer = Writer(partial(_opened, self.path, options), partial(explained, self.path))

    def __repr__(self) -> str:
        return f"<Journal {self.path}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Journal holds a thread and an open file and is not pickled; make one of its path where needed"
        )

    @property
    def is_shared(self) -> bool:
        """It is a file."""
        return True

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._writer.file is not None

    async def open(self) -> None:
        """Make ready, or raise `JournalError`. Whatever else is asked first does it, too."""
        self._writer.check_process()
        if self._writer.file is None:
            await self._writer.settled()

    async def prepare(self, wanted: Row, *, retry_failed: bool = False) -> tuple[Row, bool]:
        """Claim a key, as `Ledger.prepare`. Nobody can ask for an unnamed row, so nothing is written of it yet."""
        if not wanted.is_named:
            await self.open()
            wanted.owner, wanted.prepared_at = self._owner, self._clock()
            return wanted, True
        claimed: list[Row] = []

        def claim(store: Store) -> tuple[Row, bool]:
            row, is_new = store.claim(wanted, retry_failed=retry_failed)
            claimed.extend([row] if is_new else [])
            return row, is_new

        try:
            return await self._writer.ask(claim)
        except asyncio.CancelledError:
            self._writer.tell(lambda store: store.drop(*claimed))  # by then it may be claimed, for nobody
            raise

    @property
    def _owner(self) -> str:
        return self._writer.file.owner if self._writer.file else ""

    async def commit(self, row: Row) -> None:
        """Make it durable that a request is about to leave whole, as `Ledger.commit`."""
        check_edge(row, RowState.COMMITTED)
        await self.open()
        facts = {"attempt": row.attempt + 1, "owner": self._owner, "committed_at": self._clock()}
        values = list(values_of(row))
        values[_STATE], values[_ATTEMPT] = RowState.COMMITTED.value, facts["attempt"]
        values[_OWNER], values[_COMMITTED_AT] = facts["owner"], facts["committed_at"]
        if not await self._written(row, tuple(values)):
            said = f"submission {row.key!r} was taken up by another process meanwhile"
            raise JournalError(said, advice="Nothing was sent here. Ask for it by its key to learn what became of it.")
        move(row, RowState.COMMITTED, facts)

    async def _written(self, row: Row, values: tuple[Any, ...]) -> bool:
        is_heard = False
        try:
            stands = await self._writer.write(values)
            is_heard = True
        except JournalError:
            is_heard = True
            raise
        finally:
            if not is_heard:  # cancelled: nothing will leave, so the row may not stay committed
                self._writer.note(values_of(row))
        return stands

    def note(self, row: Row, state: RowState, **facts: Any) -> None:  # noqa: ANN401 - fields of Row
        """Move a row along an edge; written soon."""
        self._writer.check_process()
        move(row, state, answered(state, facts, self._clock()))
        if state is RowState.PREPARED:
            row.owner = self._owner or row.owner
        self._writer.note(values_of(row))

    def finished(self, site: str, task_id: str, state: RowState, spent: int | None) -> None:
        """Note that a task ended; written soon."""
        self._writer.tell(partial(Store.finish, site=site, task_id=task_id, state=state.value, spent=spent))

    def drop(self, row: Row) -> None:
        """Let go of a prepared row: whoever asks for its key next may send it, here or in another process."""
        if row.is_named:
            self._writer.tell(lambda store: store.drop(row))

    async def settled(self) -> None:
        """Wait until all that was noted is durable, or raise `JournalError`."""
        await self._writer.settled()

    def find(self, key: str) -> Row | None:
        """Return the row of a key, as it stands now."""
        return self._writer.ask_now(partial(Store.find, key=key))

    def is_empty(self) -> bool:
        """Whether nothing was ever submitted."""
        return self._writer.ask_now(Store.is_empty)

    async def rows(self) -> AsyncIterator[Row]:
        """Iterate over all submissions that were ever noted, oldest first, of every site.

        The key of one that was used anew, after it had been given up or had failed, is "".

        Raises:
            JournalError: it cannot be read.

        """
        place = 0
        while some := await self._writer.ask(partial(Store.rows, after=place)):
            for place, row in some:  # noqa: B007 - the last one's is where to go on
                yield row

    def unfinished(self, site: str) -> list[Row]:
        """Return what was accepted and is not known to have ended, oldest first."""
        return self._writer.ask_now(partial(Store.unfinished, site=site))

    def unresolved(self, site: str) -> list[Row]:
        """Return what nobody can say whether it was paid, oldest first."""
        return self._writer.ask_now(partial(Store.unresolved, site=site))

    def tokens_of(self, site: str, task_ids: Iterable[str]) -> dict[str, str]:
        """Return the tokens of those tasks of a site that the journal knows."""
        return self._writer.ask_now(partial(Store.tokens_of, site=site, task_ids=list(task_ids)))

    def is_unique_proof(self, row: Row) -> bool:
        """Whether no other row has this row's own payload."""
        return self._writer.ask_now(partial(Store.is_unique_proof, row=row))

    async def row_of(self, token: str) -> Row | None:
        """Return the row with this token."""
        return await self._writer.ask(partial(Store.row_of, token=token))

    async def hear(self, token: str, task_id: str, state: str) -> Heard | None:
        """Make a callback durable; None if no row has its token."""
        return await self._writer.ask(partial(Store.hear, token=token, task_id=task_id, state=state))

    async def names_of(self, token: str) -> list[str]:
        """Return the ids that callbacks with this token have named, to whichever process."""
        return await self._writer.ask(partial(Store.names_of, token=token))

    def newest_heard(self) -> int | None:
        """Return the place of the newest callback, 0 if there is none; None if that cannot be told now."""
        return self._read(Reader.newest) if os.path.exists(self.path) else 0  # noqa: PTH110 - the path is text

    def heard(self, after: int) -> list[Heard]:
        """Return the callbacks that came since a place, to this process or another."""
        return self._read(lambda reader: reader.heard(after)) or []

    def _read(self, look: Callable[[Reader], T]) -> T | None:
        """Look into the file at once; None if that cannot be, as what others hear is found out by asking, too."""
        import sqlite3  # noqa: PLC0415 - on first use

        try:
            self._writer.check_process()
            if self._reader is None:
                self._reader = Reader.open(self.path)
                self._close_reader = finalize(self, close, self._reader, os.getpid())
            return look(self._reader)
        except (sqlite3.Error, OSError, JournalError) as error:
            _log.debug("the journal %s could not be read: %s", self.path, error)
            self._let_go_of_reader()
            return None

    def _let_go_of_reader(self) -> None:
        self._reader = None
        if self._close_reader is not None:
            self._close_reader()

    async def recall(self, name: str) -> str | None:
        """Return what was kept under a name."""
        return await self._writer.ask(partial(Store.recall, name=name))

    def remember(self, name: str, text: str) -> None:
        """Keep a text under a name; written soon."""
        self._writer.tell(partial(Store.remember, name=name, text=text))

    async def aclose(self) -> None:
        """Write what is owed and let go of the file; used again, it opens again."""
        self._let_go_of_reader()
        await self._writer.aclose()


def _opened(path: str, options: dict[str, Any]) -> Store:
    try:
        import fcntl  # noqa: F401, PLC0415 - POSIX only
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise JournalError(f"the journal {path} needs POSIX file locks", advice="Go without a file here: journal=None.")
    store = Store.open(path, **options)
    try:
        store.begin()
        store.recover()
        store.commit()
    except BaseException:
        store.close()
        raise
    return store
