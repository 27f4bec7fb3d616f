"""Looking for creations whose answer was lost: which task did they become, if any?

The list of tasks names candidates, and each candidate's own query may prove whose it is (`evidence.py`). A task that
merely looks alike is shown to the user and never adopted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from vidu_async.events import plainly
from vidu_async.evidence import SKEW, candidates, left_at, looks_like, may_be_its_own, proven, windows
from vidu_async.hearsay import Hearsay
from vidu_async.journal import SUBJECTS, UNRESOLVED, Row, RowState, hashed
from vidu_async.protocol.errors import ConfigError, NotFoundError, UnsupportedError, ViduError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from vidu_async.journal import Ledger
    from vidu_async.protocol.models import Task
    from vidu_async.protocol.wire import Page

_log = logging.getLogger("vidu_async")

LOOKS = (1 / 120, 1 / 40, 1 / 10, 3 / 10, 1.0)
"""When to look after the last byte left, in shares of `Timeouts.quiet`: after 5, 15, 60, 180 and 600 seconds."""
_FIRST = 2
"""Looks that the caller of `submit` waits for."""
_HELD_FOR = 48 * 3600.0
"""Seconds during which what was not found is looked for along with others."""
_CANDIDATES = 1000
"""Queries of one look."""
_AT_ONCE = 8
_MOST_SKEW = 86_400.0
"""Seconds beyond which a server's clock is not believed."""
_EVER = datetime.max.replace(tzinfo=UTC)


@frozen
class Unresolved:
    """A submission that may be paid: its answer was lost, and its task not found so far.

    `vidu.resolve(key, ...)` settles it by hand.
    """

    key: str
    """Its name: yours, or random."""
    token: str
    """What its task repeats in `payload`, unless you gave one."""
    endpoint: str
    state: str
    """`unknown` while it is looked for, `held` once it was not found."""
    committed_at: datetime | None
    """When its last byte left (UTC)."""
    evidence: str
    """What came instead of an answer."""
    likely: tuple[str, ...] = ()
    """Ids of tasks that look like it but prove nothing: this gateway does not repeat payloads."""
    possible_duplicate: bool = False
    """Whether it was sent again by your consent."""

    @classmethod
    def of(cls, row: Row, likely: tuple[str, ...]) -> Unresolved:
        """Show a row."""
        moment = None if row.committed_at is None else datetime.fromtimestamp(row.committed_at, UTC)
        return cls(
            row.key,
            row.token,
            row.endpoint,
            row.state.value,
            moment,
            row.evidence,
            likely,
            row.possible_duplicate,
        )


@define(eq=False)
class Reconciler:
    """Looks for the lost creations of one site, one look at a time for all of them.

    `list_pages` lists the tasks created in a time, `fetch` queries one, `can_list` tells whether there may be a list.
    """

    _journal: Ledger
    _site: str
    _quiet: float
    _can_list: Callable[[], bool]
    _list_pages: Callable[[datetime, datetime], AsyncIterator[Page]]
    _fetch: Callable[[str], Awaitable[Task]]
    _forget: Callable[[str], None]
    """Told the key of whatever was found."""
    _clock: Callable[[], float] = time.time
    _background: set[asyncio.Task[None]] = field(factory=set, init=False)
    _due: set[str] = field(factory=set, init=False)
    """Tokens of the rows that wait for the next look."""
    _awaited: set[str] = field(factory=set, init=False)
    """Tokens of the rows that somebody waits for."""
    _is_whole: bool = field(default=False, init=False)
    """Whether the latest look left nothing unasked."""
    _found: dict[str, Task] = field(factory=dict, init=False)
    """By token: what was found for those that wait."""
    _likely: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    """By token: ids of tasks that look alike."""
    _seen: dict[str, tuple[str | None, str]] = field(factory=dict, init=False)
    """By id: mark and payload's hash of tasks that were asked for once. They never change, but whose is lost may."""
    _news: dict[str, asyncio.Event] = field(factory=dict, init=False)
    """By token of those that somebody waits for: set when a callback has led to the task."""
    _hearsay: Hearsay = field(init=False)
    _mute: set[str] = field(factory=set, init=False)
    """Endpoints that do not repeat payloads."""
    _turn: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _skew: float = field(default=SKEW, init=False)

    def __attrs_post_init__(self) -> None:
        self._hearsay = Hearsay(
            self._fetch, self._settle, self._look_into_list, self._is_open, self._is_awaited, self._in_background
        )

    async def search(self, row: Row, *, to_the_end: bool = False) -> Task | None:
        """Look for a row's task as it gets older: twice, and then without the caller; or as long as there is hope."""
        self._hearsay.heed(row.token)
        if to_the_end:
            return await self._look_often(row, LOOKS, is_patient=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._quiet * LOOKS[_FIRST]):  # a list may be slow
                if task := await self._look_often(row, LOOKS[:_FIRST]):
                    return task
        self._go_on(row, LOOKS[_FIRST:])
        return None

    @property
    def can_look(self) -> bool:
        """Whether the gateway may list tasks."""
        return self._can_list()

    @property
    def has_looked(self) -> bool:
        """Whether the latest look was a whole one, or there is nothing to look at: then not found means not listed."""
        return self._is_whole or not self._can_list()

    async def reconcile(self) -> list[Row]:
        """Look once, now, for everything unresolved, and return what was found.

        Raises:
            ViduError: the list or a query failed; what was found before is adopted all the same.

        """
        async with self._turn:
            rows = self._journal.unresolved(self._site)
            await self._recall_calls(rows)
            try:
                found = await self._look(rows) if rows else []
            except UnsupportedError as error:
                _log.warning("%d submissions that may be paid cannot be looked for: %s", len(rows), error.said)
                found = []
        for row in rows:
            self._hold_if_old(row)
        return found

    async def adopt(self, row: Row, task_id: str) -> Row:
        """Take a task for a row's by the user's word, if nothing shows that it is another's.

        Raises:
            ConfigError: something does.
            ViduError: the query failed.

        """
        task = await self._fetch(task_id)
        row = self.open_row(row.key)  # again: it may have been settled meanwhile
        owner = self._journal.tokens_of(self._site, [task_id]).get(task_id) or task.stamp
        if owner not in {None, row.token} or (task.payload and hashed(task.payload) != row.proof):
            raise ConfigError(f"task {task_id} belongs to another submission than {row.key!r}: its payload says so")
        self._journal.note(row, RowState.ACCEPTED, task_id=task_id, credits=task.credits)
        return row

    def open_row(self, key: str, *, or_accepted: bool = False) -> Row:
        """Return the unresolved row of a key; or one with a task that has not ended, if that will do.

        Raises:
            ConfigError: there is none.

        """
        row = self._journal.find(key)
        wanted = UNRESOLVED | ({RowState.ACCEPTED} if or_accepted else set())
        if row is None or row.state not in wanted:
            state = "is not in the journal" if row is None else f"is {row.state.value}, not unresolved"
            raise ConfigError(f"submission {key!r} {state}; client.unresolved() lists what is")
        if row.site != self._site:
            raise ConfigError(f"submission {key!r} went to {row.site}; only a client of that gateway can settle it")
        return row

    def shown(self) -> list[Unresolved]:
        """Return what is unresolved, for the user."""
        return [Unresolved.of(row, self._likely.get(row.token, ())) for row in self._journal.unresolved(self._site)]

    def begin(self) -> None:
        """Take up in this event loop what is left of earlier ones, and of processes that ended."""
        self._turn = asyncio.Lock()
        for kept in (self._due, self._awaited, self._news):
            kept.clear()
        self._hearsay.begin()
        self._in_background(self._resume())

    async def _resume(self) -> None:
        await self._journal.open()
        async with self._turn:
            await self._look_quietly()
        rows = self._journal.unresolved(self._site)
        for row in rows:
            self._hold_if_old(row)
            self.follow(row)
            self._hearsay.heed(row.token)
        await self._recall_calls(rows)

    def follow(self, row: Row) -> None:
        """Go on looking for a row as it gets older, unless somebody does already."""
        age = self._clock() - left_at(row)
        if row.token not in self._awaited:
            self._go_on(row, tuple(share for share in LOOKS if share * self._quiet > age))

    def _go_on(self, row: Row, shares: tuple[float, ...]) -> None:
        if row.state is RowState.UNKNOWN:
            self._in_background(self._look_to_the_end(row, shares))

    async def _look_to_the_end(self, row: Row, shares: tuple[float, ...]) -> None:
        if task := await self._look_often(row, shares):
            _log.warning("submission %s, whose answer was lost, was found: task %s", row.key, task.id)
            return
        now = self._journal.find(row.key)  # the user may have settled it meanwhile
        if now is not None and (now.state, now.attempt, now.token) == (RowState.UNKNOWN, row.attempt, row.token):
            self._journal.note(now, RowState.HELD)
            _log.warning("submission %s was not found and may be paid: client.resolve() settles it", row.key)

    async def _look_often(self, row: Row, shares: tuple[float, ...], *, is_patient: bool = False) -> Task | None:
        """Look whenever a row has come to an age. Where nothing is listed that is waited for only if `is_patient`."""
        loop = asyncio.get_running_loop()
        began = loop.time() - max(0.0, self._clock() - left_at(row))
        self._awaited.add(row.token)
        try:
            for share in shares:
                if not (self._can_list() or is_patient or row.is_called_back):
                    break
                await self._until(began + share * self._quiet, row.token)
                if task := self._found.pop(row.token, None):
                    return task
                self._due.add(row.token)
                async with self._turn:
                    if row.token in self._due:  # else the look before this one was for all that were due
                        await self._look_quietly()
                if task := self._found.pop(row.token, None):
                    return task
            return None
        finally:
            self._awaited.discard(row.token)
            self._news.pop(row.token, None)
            self._found.pop(row.token, None)

    async def _until(self, moment: float, token: str) -> None:
        """Wait until a moment, or until a callback has led to the task."""
        news = self._news.setdefault(token, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(moment):
                await news.wait()

    # Called back

    def hear(self, row: Row, task_id: str) -> None:
        """Take in that a callback came for a submission without answer, and follow that up if the answer is lost."""
        self._hearsay.hear(row, task_id)
        if row.state in UNRESOLVED:
            self._hearsay.heed(row.token)

    def answered(self, row: Row) -> bool:
        """Take in that the answer came; return whether a callback was there first."""
        return self._hearsay.forget(row.token)

    def is_called(self, row: Row) -> bool:
        """Whether a callback came for this submission: then it became a task, whatever is found of it."""
        return self._hearsay.knows(row.token)

    def note_found(self, row: Row) -> None:
        """Take in that another process may have found the task that is waited for here."""
        if row.task_id and row.token in self._awaited:
            self._in_background(self._ask_for(row))

    async def _ask_for(self, row: Row) -> None:
        with contextlib.suppress(ViduError):  # the journal tells in a while
            self._tell(row, await self._fetch(row.task_id))

    @property
    def is_waiting(self) -> bool:
        """Whether anybody waits for a lost answer's task."""
        return bool(self._awaited)

    def _is_open(self, row: Row) -> bool:
        """Whether it still looks for its task."""
        now = self._journal.find(row.key)
        is_young = self._clock() - left_at(row) < _HELD_FOR
        return is_young and now is not None and now.token == row.token and now.state in UNRESOLVED

    def _is_awaited(self, row: Row) -> bool:
        return row.token in self._awaited

    def _settle(self, row: Row, task: Task) -> bool:
        """Adopt a task that a callback names, if its own answer does not speak against it."""
        owner = self._journal.tokens_of(self._site, [task.id]).get(task.id)
        if is_its_own := may_be_its_own(task, row, owner, self._skew):
            self._adopt(row, [task])
        else:
            said = "a callback names task %s for submission %s, which is another's: left alone"
            _log.warning(said, plainly(task.id), row.key)
        return is_its_own

    async def _look_into_list(self) -> None:
        async with self._turn:
            await self._look_quietly()

    async def _recall_calls(self, rows: list[Row]) -> None:
        """Take up what callbacks have said of rows, to whichever process."""
        for row in rows:
            if row.is_called_back:
                for task_id in await self._journal.names_of(row.token):
                    self.hear(row, task_id)

    async def _look_quietly(self) -> None:
        """Look for all that is young enough; whoever calls has the turn."""
        self._due.clear()
        rows = self._journal.unresolved(self._site)
        young = [row for row in rows if self._clock() - left_at(row) < _HELD_FOR]
        self._is_whole = True
        try:
            await self._look(young if self._can_list() else [])
        except BaseException as error:
            self._is_whole = False
            if not isinstance(error, ViduError):
                raise
            _log.info("looking for lost creations failed: %s", error.said)

    def _hold_if_old(self, row: Row) -> None:
        if row.state is RowState.UNKNOWN and (self._clock() - left_at(row) > self._quiet or not self._can_list()):
            self._journal.note(row, RowState.HELD)

    async def _look(self, rows: list[Row]) -> list[Row]:
        """List the times in question, query the candidates and adopt what is proven."""
        skew, found = self._skew, []
        for since, until, group in windows((row for row in rows if row.endpoint != SUBJECTS), skew):
            found += await self._look_within(since, until, group)
        if self._skew > skew:  # the server's clock is far off: the times in question were others
            found += await self._look([row for row in rows if row.token not in {one.token for one in found}])
        return found

    async def _look_within(self, since: datetime, until: datetime, rows: list[Row]) -> list[Row]:
        listed: list[Task] = []
        async for page in self._list_pages(since, until):
            listed += page.tasks
            self._allow_for(page.date)
        known = self._journal.tokens_of(self._site, [task.id for task in listed])
        worth = [task for task in candidates(listed, rows, known) if self._may_prove(task.id, rows)]
        answers, failure = await self._query(worth[:_CANDIDATES])  # the next look goes on with the others
        self._is_whole = self._is_whole and len(worth) <= _CANDIDATES
        found: dict[str, tuple[Row, list[Task]]] = {}
        for task in answers:
            if row := proven(task, rows, self._journal.is_unique_proof):
                found.setdefault(row.token, (row, []))[1].append(task)
            else:
                self._seen[task.id] = (task.stamp, hashed(task.payload))
                self._note_likeness(task, rows)
        adopted = [row for row in (self._adopt(row, tasks) for row, tasks in found.values()) if row is not None]
        if failure:
            raise failure
        return adopted

    def _may_prove(self, task_id: str, rows: list[Row]) -> bool:
        """Whether a query of a task may prove anything that an earlier one has not ruled out."""
        if task_id not in self._seen:
            return True
        stamp, payload = self._seen[task_id]
        return any(stamp == row.token or (payload and payload == row.proof) for row in rows)

    async def _query(self, tasks: list[Task]) -> tuple[list[Task], ViduError | None]:
        """Query each, few at once; return the answers, over what the list told, and what went wrong last."""
        answers, failure = [], None
        for start in range(0, len(tasks), _AT_ONCE):
            some = tasks[start : start + _AT_ONCE]
            for task, answer in zip(
                some,
                await asyncio.gather(*(self._fetch(task.id) for task in some), return_exceptions=True),
                strict=True,
            ):
                if isinstance(answer, NotFoundError):
                    self._is_whole = False  # a replica that lags: the next look will tell
                elif isinstance(answer, ViduError):
                    failure = answer
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    answers.append(answer.over(task))
        return answers, failure

    def _adopt(self, row: Row, tasks: list[Task]) -> Row | None:
        """Take the task, the oldest if one submission became several, unless it was settled while we asked."""
        first, *others = sorted(tasks, key=lambda task: (task.created_at or _EVER, len(task.id), task.id))
        if others:
            ids = ", ".join(task.id for task in others)
            _log.error("submission %s became several tasks, all paid: %s is used, not %s", row.key, first.id, ids)
        now = self._journal.find(row.key)
        if now is None or now.token != row.token or now.state not in UNRESOLVED:
            if now is not None and now.task_id == first.id:  # another process was first
                self._tell(row, first)
                return None
            _log.error("task %s is that of submission %s, which was settled otherwise meanwhile", first.id, row.key)
            return None
        self._journal.note(now, RowState.ACCEPTED, task_id=first.id, credits=first.credits)
        self._likely.pop(row.token, None)
        self._forget(row.key)
        if not self._is_awaited(row):
            self._hearsay.forget(row.token)
        self._tell(row, first)
        return now

    def _tell(self, row: Row, task: Task) -> None:
        """Tell whoever waits for this row's task."""
        if row.token in self._awaited:
            self._found[row.token] = task
        if news := self._news.get(row.token):
            news.set()

    def note_echo(self, row: Row, task: Task) -> None:
        """Say once of an endpoint that its answers prove nothing: what is lost there may not be found."""
        is_proof = task.stamp == row.token or (row.proof and hashed(task.payload) == row.proof)
        if not is_proof and row.endpoint not in self._mute:
            self._mute.add(row.endpoint)
            said = "%s does not repeat the payload of a creation at %s: if an answer is lost, its task may not be found"
            _log.warning(said, self._site, row.endpoint)

    def _note_likeness(self, task: Task, rows: list[Row]) -> None:
        if task.stamp or task.payload:
            return
        for row in rows:
            if looks_like(task, row) and row.prompt == hashed(task.prompt):
                self._likely[row.token] = (*self._likely.get(row.token, ()), task.id)

    def _allow_for(self, date: str) -> None:
        """Widen the times in question if the server's clock shows another time than ours."""
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - light to import

        try:
            off = abs(parsedate_to_datetime(date).timestamp() - self._clock())
        except (ValueError, TypeError):
            return
        if SKEW < off < _MOST_SKEW and off + SKEW > self._skew + 1:
            self._skew = off + SKEW

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.warning("looking for lost creations stopped: %s", getattr(error, "said", repr(error)))

    async def aclose(self) -> None:
        """Stop looking; the journal keeps what was not found."""
        tasks = [task for task in self._background if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
