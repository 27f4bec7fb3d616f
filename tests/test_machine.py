"""Any order of submitting, losing, crashing, cancelling, looking and deciding keeps the journal honest.

Each life is a process of its own that ends by kill -9 (`lives.Nursery`), so a crash frees the owner's lock as the
kernel does. Between two steps nothing is under way: each step ends when the gateway and the client are at rest. What a
step draws depends on nothing that happened, or no story could be told again.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Collection, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from invariants import Scene, broken_invariants, read_journal
from kill_child import request_of
from ledger import ACCEPTED, CLOSED, CUT, LOST, REFUSED, THROTTLED, LedgerServer, Lot
from lives import Life, Nursery

from vidu_async.journal import UNRESOLVED, UNSENT, RowState, hashed

T = TypeVar("T")
KEYS = st.sampled_from([f"row-{n}" for n in range(1, 6)])
WORDS = st.sampled_from(["runs", "runs", "sleeps"])
LOTS = st.sampled_from(
    [[LOST], [CLOSED], [ACCEPTED], [REFUSED], [CUT, LOST], [CUT, ACCEPTED], [LOST], [THROTTLED, CLOSED]]
)
NEVER = float("inf")
LAGS = st.sampled_from([NEVER, 0.0])
_PATIENCE = 20.0
"""Seconds after which a step that hangs fails."""


class Machine(RuleBasedStateMachine):
    """One journal, one gateway, and one life after the other."""

    nursery: ClassVar[Nursery]

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "journal.db"
        self._loop = asyncio.new_event_loop()
        self._server = LedgerServer()
        self._run(self._server.__aenter__())
        self._life: Life | None = None
        self._told: list[tuple[str, str]] = []
        self._scene = Scene([])

    def teardown(self) -> None:
        """Leave nothing behind."""
        self._kill()
        self._run(self._server.quiet())
        self._run(self._server.__aexit__())
        self._loop.close()
        self._folder.cleanup()

    # What may happen

    @initialize(lag=LAGS)
    def begin(self, lag: float) -> None:
        """Have a list that lags, or one that does not."""
        self._server.lag = lag

    @rule(key=KEYS, word=WORDS, lots=LOTS)
    def submit(self, key: str, word: str, lots: list[Lot]) -> None:
        """Submit a key, new or known, with one request or another: what is known is told, and not sent."""
        self._live()
        self._scene, before = self._look(), len(self._server.sent)
        row = self._scene.row(key)
        heard = self._ask(lots, step="submit", key=key, word=word)
        is_other = row is not None and row.prompt != hashed(request_of(key, word=word).prompt)
        if row is None or self._is_sendable(key, is_other=is_other):
            return
        assert len(self._server.sent) == before
        if is_other:
            assert heard.get("error") == "IdempotencyConflictError"
        elif "done" in heard:
            now = self._look().row(key)
            assert now is not None
            assert heard["done"] == now.task_id
        else:
            assert (heard["error"], row.state in UNRESOLVED) == ("SubmissionUnknownError", True)

    @rule(key=KEYS, word=WORDS, lot=st.sampled_from([ACCEPTED, LOST, CLOSED]), is_late=st.booleans())
    def crash_on_the_way(self, key: str, word: str, lot: Lot, *, is_late: bool) -> None:
        """Die while a request waits for its answer; the gateway may decide before or after that."""
        if not self._is_sendable(key):
            return self.submit(key, word, [lot])
        self._begin(key, word, lot, is_late=is_late)
        self._kill()
        return self._release()

    @rule(key=KEYS, word=WORDS, lot=st.sampled_from([ACCEPTED, LOST, CLOSED, REFUSED]))
    def cancel_on_the_way(self, key: str, word: str, lot: Lot) -> None:
        """Cancel the caller while its request waits for its answer, which comes all the same."""
        if not self._is_sendable(key):
            return self.submit(key, word, [lot])
        self._begin(key, word, lot, is_late=False)
        self._tell([], step="cancel", key=key)
        self._release()
        return self._settle()

    @rule(is_hard=st.booleans())
    def end(self, *, is_hard: bool) -> None:
        """See a task end, and then die or close."""
        for key in self._in({RowState.ACCEPTED})[:1]:
            self._ask(step="wait", key=key)
        if is_hard:
            self._kill()
        elif self._life is not None:
            self._run(self._life.bury())
            self._life = None
        self._run(self._server.quiet())

    @rule(lag=LAGS)
    def reconcile(self, lag: float) -> None:
        """Look for what is lost: what the list shows is found, and nothing is sent."""
        self._server.lag, before = lag, len(self._server.sent)
        assert self._ask(step="reconcile") == {"done": None}
        assert len(self._server.sent) == before
        left = self._ask(step="unresolved")["done"]
        self._scene = self._look()
        assert lag or not [key for key in left if self._findable(key)]

    @rule(key=KEYS, how=st.sampled_from(["resend", "give_up", "task_id"]), lots=LOTS)
    def decide(self, key: str, how: str, lots: list[Lot]) -> None:
        """Settle by hand what is held, or lose a key first: send it again, give it up, or say which task it is."""
        if self._is_sendable(key):
            self._server.lag = NEVER
            self.submit(key, "runs", [LOST])
            self._scene = self._look()
        if key in self._in(UNRESOLVED):
            for said in self._unnamed(key)[-1:] if how == "task_id" else [True]:
                self._ask(lots, step="resolve", key=key, **{how: said})

    # What must hold

    @invariant()
    def nothing_is_broken(self) -> None:
        """Hold the journal against the gateway's books."""
        self._scene = self._look()
        assert broken_invariants(self._scene) == []
        assert self._life is None or not [row for row in self._scene.rows if row.state is RowState.COMMITTED]

    # How it is done

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(asyncio.wait_for(doing, _PATIENCE))

    def _ask(self, lots: list[Lot] | None = None, **order: Any) -> dict[str, Any]:
        """Have the client do a step, and wait until it is at rest."""
        heard = self._tell(lots or [], **order)
        self._settle()
        return heard

    def _tell(self, lots: list[Lot], **order: Any) -> dict[str, Any]:
        """Have the client do a step."""
        life = self._live()
        self._server.next_lots = list(lots)
        heard = self._run(life.ask(**order))
        if isinstance(heard.get("done"), str):
            self._told.append((order["key"], heard["done"]))
        return heard

    def _live(self) -> Life:
        """Return the living client, or begin a life; it first looks for what earlier ones lost."""
        if self._life is None:
            files = {"journal": str(self._path), "log": str(self._path) + ".log"}
            ways = {"play": "steps", "permits": 2, "read": 5.0, "quiet": 0.03}
            self._life = self._run(self.nursery.bear(url=self._server.url, **ways, **files))
            self._run(self._life.ask(step="reconcile"))
            self._settle()
        return self._life

    def _kill(self) -> None:
        if self._life is not None:
            self._run(self._life.kill())
            self._life = None

    def _begin(self, key: str, word: str, lot: Lot, *, is_late: bool) -> None:
        """Have a request on its way that the gateway has read and not answered."""
        self._live()
        (self._server.takes if is_late else self._server.answers).clear()
        self._server.arrived.clear()
        self._tell([lot], step="begin", key=key, word=word)
        self._run(self._server.arrived.wait())

    def _release(self) -> None:
        self._server.takes.set()
        self._server.answers.set()
        self._run(self._server.quiet())

    def _settle(self) -> None:
        """Wait until the client knows what became of all that it sent, or holds it."""

        async def settled() -> None:
            while any(row.state in {RowState.COMMITTED, RowState.UNKNOWN} for row in self._look().rows):
                await asyncio.sleep(0.002)

        self._run(settled())

    def _in(self, states: Collection[RowState]) -> list[str]:
        """Return the keys whose rows are in one of these states."""
        return [row.key for row in self._scene.rows if row.state in states]

    def _is_sendable(self, key: str, *, is_other: bool = True) -> bool:
        """Whether a key is new or may be used anew; one sent again by consent only for the very same request."""
        row = self._scene.row(key)
        is_free = row is None or not (row.possible_duplicate and is_other)
        return row is None or row.state is RowState.GIVEN_UP or (row.state in UNSENT and is_free)

    def _unnamed(self, key: str) -> list[str]:
        """Return the paid tasks of a key that the journal does not name."""
        return [task.id for task in self._scene.unfound() if task.key == key]

    def _findable(self, key: str) -> list[str]:
        """Return those of them whose payload proves which submission they were made of."""
        row = self._scene.row(key)
        return [
            task.id
            for task in self._scene.unfound()
            if task.id in self._unnamed(key) and self._scene.rows_of(task.payload) == [row]
        ]

    def _look(self) -> Scene:
        rows, events = read_journal(self._path, self._path.with_name("copy.db"))
        files = {path.name: path.read_bytes() for path in self._path.parent.iterdir() if path.is_file()}
        paid, sent = list(self._server.paid), list(self._server.sent)
        return Scene(rows, events, paid, sent, self._told, 2, self._server.most_at_once, files)


@pytest.mark.slow
def test_whatever_happens_in_whatever_order_the_journal_is_honest(tmp_path: Path) -> None:
    """After each step of each story all that is paid is named or admitted, and nothing is sent twice unasked."""
    limits = settings(
        max_examples=30,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with Nursery(tmp_path / "nursery.log") as nursery:
        Machine.nursery = nursery
        run_state_machine_as_test(Machine, settings=limits)
