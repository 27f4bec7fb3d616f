"""What was meant, sent, accepted and finished: the memory that keeps a submission from being paid twice or forgotten.

A `Row` is one submission. Its states follow the arrows of `EDGES` and no others:

    PREPARED -> COMMITTED -> ACCEPTED -> SUCCESS | FAILED | CANCELLED
       ^            |-> REFUSED                        nothing was created
       |            |-> PREPARED                       429, or provably never seen whole: sent again
       |            '-> UNKNOWN -> HELD                nobody can say; found later, both become ACCEPTED
       '-- REFUSED, and UNKNOWN or HELD with the user's consent (`possible_duplicate`; back to HELD if that fails)

COMMITTED is written before the last byte of a request is handed over, so whatever is found COMMITTED after a crash may
be paid, and what is PREPARED is not. `MemoryJournal` lasts as long as its client; `Journal` is a file.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from attrs import define, field, frozen

from vidu_async.protocol.errors import IdempotencyConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class RowState(StrEnum):
    """Where a submission is."""

    PREPARED = "prepared"
    COMMITTED = "committed"
    ACCEPTED = "accepted"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    HELD = "held"
    GIVEN_UP = "given up"


_S = RowState
ENDED = frozenset({_S.SUCCESS, _S.FAILED, _S.CANCELLED})
UNRESOLVED = frozenset({_S.UNKNOWN, _S.HELD})
UNSENT = frozenset({_S.PREPARED, _S.REFUSED})
"""States in which a submission came to nothing: its row may be used again, also for another request."""
EDGES: dict[RowState, frozenset[RowState]] = {
    # An answer may come before the whole request has left.
    _S.PREPARED: frozenset({_S.PREPARED, _S.COMMITTED, _S.ACCEPTED, _S.REFUSED, _S.HELD}),
    _S.COMMITTED: frozenset({_S.PREPARED, _S.ACCEPTED, _S.REFUSED, _S.UNKNOWN, _S.HELD}),
    _S.ACCEPTED: ENDED | {_S.GIVEN_UP},
    _S.REFUSED: frozenset({_S.PREPARED}),
    _S.UNKNOWN: frozenset({_S.PREPARED, _S.ACCEPTED, _S.HELD, _S.GIVEN_UP}),
    _S.HELD: frozenset({_S.PREPARED, _S.ACCEPTED, _S.GIVEN_UP}),
    **dict.fromkeys({*ENDED, _S.GIVEN_UP}, frozenset[RowState]()),
}


SUBJECTS = "subjects"
"""The endpoint of stored subjects, which costs credits, too, but takes no payload."""


_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # each for the same number of bytes


def new_key() -> str:
    """Return 130 random bits as 26 lower-case letters and digits."""
    return secrets.token_bytes(26).translate(_LETTERS).decode()


def hashed(text: object) -> str:
    """Return the hash by which a text is known here that is not kept; "" for none."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(text, str) and text else ""


@define(eq=False, kw_only=True)
class Row:
    """One submission. Times are Unix seconds. Neither prompt nor picture nor API key is in it."""

    key: str
    """Its name: the caller's, or random."""
    is_named: bool = False
    """Whether the caller named it, and may ask for it by that name again."""
    token: str = field(factory=new_key)
    """What goes on the wire to prove later which task it became; never derived from the key."""
    site: str = ""
    """The gateway's URL."""
    endpoint: str = ""
    digest: str = ""
    """Hash of the request, the content of local files included."""
    proof: str = ""
    """Hash of the payload, where the caller gave one; else the payload is made of `token`."""
    model: str = ""
    duration: float | None = None
    prompt: str = ""
    """Hash of the prompt: a lost task that looks alike is shown to the user."""
    off_peak: bool = False
    """Whether the request said so; not every gateway's answers do."""
    key_print: str = ""
    """The beginning of the API key's hash: which account it was."""
    is_called_back: bool = False
    """Whether it asks for callbacks, under a URL that ends with its token."""

    state: RowState = RowState.PREPARED
    attempt: int = 0
    owner: str = ""
    """The process that has it in hand."""
    prepared_at: float | None = None
    committed_at: float | None = None
    answered_at: float | None = None
    status: int | None = None
    reason: str = ""
    trace_id: str = ""
    evidence: str = ""
    """What came instead of an answer."""
    task_id: str = ""
    credits: int | None = None
    possible_duplicate: bool = False
    """Whether it was sent again although it may have been paid, by the user's consent."""

    @classmethod
    def of(cls, endpoint: str, body: Mapping[str, Any], *, key: str | None, **known: Any) -> Row:  # noqa: ANN401 - fields
        """Describe a submission by its body, without keeping any of it."""
        duration = body.get("duration")
        return cls(
            key=new_key() if key is None else key,
            is_named=key is not None,
            endpoint=endpoint,
            proof=hashed(body.get("payload")),
            prompt=hashed(body.get("prompt")),
            model=str(body.get("model") or ""),
            duration=duration if isinstance(duration, (int, float)) else None,
            **known,
        )

    def renewed(self, wanted: Row) -> None:
        """Take up a key again whose submission came to nothing. The token stays the same."""
        for name in _WANTED:
            setattr(self, name, getattr(wanted, name))
        self.state, self.evidence, self.reason, self.status, self.trace_id = RowState.PREPARED, "", "", None, ""


_WANTED = (
    *("site", "endpoint", "digest", "proof", "model", "duration", "prompt", "off_peak", "key_print"),
    "is_called_back",
)
"""What a row knows of its request."""


_ENDED_KEPT = 10_000


def makes_room(found: Row, wanted: Row, *, retry_failed: bool) -> bool:
    """Whether a key goes over to a new submission, with a token of its own: what it named is over and done with."""
    is_failed = retry_failed and found.state in {RowState.FAILED, RowState.CANCELLED}
    return found.state is RowState.GIVEN_UP or (is_failed and conflict(found, wanted) is None)


def is_free(found: Row, wanted: Row) -> bool:
    """Whether a row may be used again: it came to nothing, and was not sent by consent for this very request."""
    return found.state in UNSENT and not (found.possible_duplicate and conflict(found, wanted))


def conflict(found: Row, wanted: Row) -> IdempotencyConflictError | None:
    """Return the error of a key that already names another request, or the same at another gateway."""
    where = f" at {found.site}" if found.site != wanted.site else ""
    if not where and found.digest in {"", wanted.digest}:  # nobody named it then, and nobody hashed it
        return None
    error = IdempotencyConflictError(f"key {wanted.key!r} already names another request{where}")
    error.key = wanted.key
    return error


@frozen
class Heard:
    """A callback that came for a submission, in any process."""

    place: int
    """Grows from one to the next."""
    row: Row
    """The submission, as it stands now."""
    task_id: str
    """As the callback says, "" if it does not."""
    state: str
    """As above, in Vidu's words."""


class Ledger(Protocol):
    """What a client asks of its journal. What it is told is remembered at once, and durable by `settled`."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may write in it."""

    @property
    def is_open(self) -> bool:
        """Whether it holds anything that `aclose` lets go of."""

    async def open(self) -> None:
        """Make ready, or raise `JournalError`: without a journal nothing is spent."""

    async def prepare(self, wanted: Row, *, retry_failed: bool = False) -> tuple[Row, bool]:
        """Claim a key. Return its row, and whether it is to be sent: not if the key already names a submission.

        Raises:
            IdempotencyConflictError: the key names another request.
            JournalError: it cannot be written.

        """

    async def commit(self, row: Row) -> None:
        """Make it durable that a request is about to leave whole, or raise `JournalError`."""

    def note(self, row: Row, state: RowState, **facts: Any) -> None:  # noqa: ANN401 - fields of Row
        """Move a row along an edge, with what else is known now."""

    def finished(self, site: str, task_id: str, state: RowState, spent: int | None) -> None:
        """Note that a task ended, and what it cost; tasks of others are none of the journal's."""

    def drop(self, row: Row) -> None:
        """Note that a prepared submission is not sent after all."""

    async def settled(self) -> None:
        """Wait until all that was noted is durable, or raise `JournalError`."""

    def find(self, key: str) -> Row | None:
        """Return the row of a key, as it stands now."""

    def is_empty(self) -> bool:
        """Whether nothing was ever submitted."""

    def unfinished(self, site: str) -> list[Row]:
        """Return what was accepted and is not known to have ended, oldest first."""

    def unresolved(self, site: str) -> list[Row]:
        """Return what nobody can say whether it was paid, oldest first."""

    def tokens_of(self, site: str, task_ids: Iterable[str]) -> dict[str, str]:
        """Return the tokens of those tasks of a site that the journal knows."""

    def is_unique_proof(self, row: Row) -> bool:
        """Whether no other row has this row's own payload."""

    async def row_of(self, token: str) -> Row | None:
        """Return the row with this token, or raise `JournalError`."""

    async def hear(self, token: str, task_id: str, state: str) -> Heard | None:
        """Make a callback durable; None if no row has its token. Or raise `JournalError`."""

    async def names_of(self, token: str) -> list[str]:
        """Return the ids that callbacks with this token have named, "" for none; or raise `JournalError`."""

    def newest_heard(self) -> int | None:
        """Return the place of the newest callback, 0 if there is none; None if that cannot be told now."""

    def heard(self, after: int) -> list[Heard]:
        """Return what came since a place, oldest first: quick, as it is asked often. Raises nothing."""

    async def recall(self, name: str) -> str | None:
        """Return what was kept under a name, or raise `JournalError`."""

    def remember(self, name: str, text: str) -> None:
        """Keep a text under a name."""

    async def aclose(self) -> None:
        """Finish what is being written, and let go of the file."""


def check_edge(row: Row, state: RowState) -> None:
    """Refuse a move outside the diagram, which is a fault of ours."""
    if state not in EDGES[row.state]:
        raise AssertionError(f"submission {row.key} cannot go from {row.state} to {state}")


def answered(state: RowState, facts: dict[str, Any], now: float) -> dict[str, Any]:
    """Return the facts with the moment, where they tell of an answer."""
    return {"answered_at": now, **facts} if state in {_S.ACCEPTED, _S.REFUSED} else facts


def move(row: Row, state: RowState, facts: dict[str, Any]) -> None:
    """Change a row in memory."""
    check_edge(row, state)
    row.state = state
    for name, value in facts.items():
        setattr(row, name, value)


@define(eq=False)
class MemoryJournal:
    """Rows for the life of a client. A crash loses them, and with them the knowledge of paid tasks."""

    _clock: Callable[[], float] = time.time
    _rows: dict[str, Row] = field(factory=dict, init=False)
    _by_task: dict[str, Row] = field(factory=dict, init=False)
    _ended: dict[str, None] = field(factory=dict, init=False)
    """The newest tasks that ended and were called back: none of them is that of a lost answer."""
    _by_token: WeakValueDictionary[str, Row] = field(factory=WeakValueDictionary, init=False)
    """Rows that are called back."""
    _proofs: Counter[str] = field(factory=Counter, init=False)
    """How many submissions had a payload, by its hash."""

    @property
    def is_shared(self) -> bool:
        """It is in memory."""
        return False

    @property
    def is_open(self) -> bool:
        """There is nothing to let go of."""
        return True

    async def open(self) -> None:
        """Nothing to make ready."""

    async def prepare(self, wanted: Row, *, retry_failed: bool = False) -> tuple[Row, bool]:
        """Claim a key, as `Ledger.prepare`."""
        found = self._rows.get(wanted.key)
        if found is None or makes_room(found, wanted, retry_failed=retry_failed):
            found = self._rows[wanted.key] = wanted
            self._proofs[wanted.proof] += 1
        elif is_free(found, wanted):
            found.renewed(wanted)
            self._proofs[wanted.proof] += 1
        else:
            if error := conflict(found, wanted):
                raise error
            return found, False
        found.prepared_at = self._clock()
        if found.is_called_back:
            self._by_token[found.token] = found
        return found, True

    async def commit(self, row: Row) -> None:
        """Note that a request is about to leave whole."""
        self.note(row, RowState.COMMITTED, committed_at=self._clock(), attempt=row.attempt + 1)

    def note(self, row: Row, state: RowState, **facts: Any) -> None:  # noqa: ANN401 - fields of Row
        """Move a row along an edge."""
        move(row, state, answered(state, facts, self._clock()))
        if state is RowState.ACCEPTED:
            self._by_task[row.task_id] = row
        elif state is RowState.REFUSED:
            self.drop(row)
        elif state is RowState.GIVEN_UP:
            self._by_task.pop(row.task_id, None)

    def finished(self, site: str, task_id: str, state: RowState, spent: int | None) -> None:  # noqa: ARG002 - it serves one client
        """Note that a task ended. Nobody can ask for an unnamed one any more."""
        if row := self._by_task.pop(task_id, None):
            if row.is_called_back:
                self._ended[task_id] = None
                if len(self._ended) > _ENDED_KEPT:
                    del self._ended[next(iter(self._ended))]
            # What serves to find a lost task is not needed any more, and there may be a hundred thousand rows.
            move(row, state, {"credits": spent, "token": "", "prompt": "", "evidence": ""})
            if not row.is_named:
                del self._rows[row.key]

    def drop(self, row: Row) -> None:
        """Forget a submission that came to nothing."""
        if self._rows.get(row.key) is row:
            del self._rows[row.key]

    async def settled(self) -> None:
        """Nothing to wait for."""

    def find(self, key: str) -> Row | None:
        """Return the row of a key."""
        return self._rows.get(key)

    def is_empty(self) -> bool:
        """Whether nothing was submitted."""
        return not self._rows

    def unfinished(self, site: str) -> list[Row]:  # noqa: ARG002 - as above
        """Return what was accepted and is not known to have ended."""
        return list(self._by_task.values())

    def unresolved(self, site: str) -> list[Row]:  # noqa: ARG002 - as above
        """Return what nobody can say whether it was paid."""
        return [row for row in self._rows.values() if row.state in UNRESOLVED]

    def tokens_of(self, site: str, task_ids: Iterable[str]) -> dict[str, str]:  # noqa: ARG002 - as above
        """Return the tokens of those tasks that are under way, "" for those that have ended."""
        known = {}
        for task_id in task_ids:
            if task_id in self._by_task:
                known[task_id] = self._by_task[task_id].token
            elif task_id in self._ended:
                known[task_id] = ""
        return known

    def is_unique_proof(self, row: Row) -> bool:
        """Whether no other row has this row's own payload."""
        return self._proofs[row.proof] == 1

    async def row_of(self, token: str) -> Row | None:
        """Return the row with this token, unless it was forgotten since."""
        row = self._by_token.get(token)
        return row if row is not None and row.token == token else None

    async def hear(self, token: str, task_id: str, state: str) -> Heard | None:
        """Nothing outlives the client."""
        row = await self.row_of(token)
        return None if row is None else Heard(0, row, task_id, state)

    async def names_of(self, token: str) -> list[str]:  # noqa: ARG002 - as above
        """Nobody else hears."""
        return []

    def newest_heard(self) -> int:
        """As above."""
        return 0

    def heard(self, after: int) -> list[Heard]:  # noqa: ARG002 - as above
        """Nobody else writes here."""
        return []

    async def recall(self, name: str) -> None:
        """Nothing is kept: whoever could ask has it in memory."""

    def remember(self, name: str, text: str) -> None:
        """Nothing to keep, as above."""

    async def aclose(self) -> None:
        """Nothing to let go of."""
