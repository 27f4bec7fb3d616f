"""Any order of submitting, losing, crashing, cancelling, looking and deciding keeps the journal honest.

Each life is a process of its own that ends by kill -9 (`lives.Nursery`), so a crash frees the owner's lock as the
kernel does. Between two steps nothing is under way: each step ends when the gateway and the client are at rest.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from invariants import NAMED, Scene, broken_invariants, read_journal
from ledger import ACCEPTED, CLOSED, CUT, LOST, REFUSED, THROTTLED, LedgerServer, Lot
from lives import Life, Nursery

from vidu_async.journal import UNRESOLVED, UNSENT, RowState

T = TypeVar("T")
KEYS = st.sampled_from(["row-1", "row-2", "row-3"])
WORDS = st.sampled_from(["runs", "runs", "sleeps"])
LOTS = st.sampled_from([[ACCEPTED], [LOST], [CLOSED], [REFUSED], [CUT, ACCEPTED], [THROTTLED, ACCEPTED]])
NEVER = float("inf")
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
        self.crash()
        self._run(self._server.__aexit__())
        self._loop.close()
        self._folder.cleanup()

    # What may happen

    @rule(key=KEYS, word=WORDS, lots=LOTS)
    def submit(self, key: str, word: str, lots: list[Lot]) -> None:
        """Submit a key, new or known, with one request or another."""
        row, before = self._scene.row(key), len(self._server.sent)
        is_new = row is None or row.state in UNSENT
        self._ask(lots, step="submit", key=key, word=word)
        assert is_new or len(self._server.sent) == before, "a known key was sent"

    @rule(key=KEYS, word=WORDS, lot=st.sampled_from([ACCEPTED, LOST, CLOSED]), is_late=st.booleans())
    def crash_on_the_way(self, key: str, word: str, lot: Lot, *, is_late: bool) -> None:
        """Die while a request waits for its answer; the gateway may decide before or after that."""
        if self._begins(key, word, lot, is_late=is_late):
            self._kill()
            self._release()

    @rule(key=KEYS, word=WORDS, lot=st.sampled_from([ACCEPTED, LOST, CLOSED, REFUSED]))
    def cancel_on_the_way(self, key: str, word: str, lot: Lot) -> None:
        """Cancel the caller while its request waits for its answer, which comes all the same."""
        if self._begins(key, word, lot, is_late=False):
            self._ask(step="cancel", key=key)
            self._release()
            self._settle()

    @rule()
    def crash(self) -> None:
        """Die between two requests."""
        self._kill()
        self._run(self._server.quiet())

    @rule()
    def close(self) -> None:
        """End in an orderly way."""
        if self._life is not None:
            self._run(self._life.bury())
            self._life = None

    @rule()
    def hide_new_tasks(self) -> None:
        """Let the list lag behind."""
        self._server.lag = NEVER

    @rule()
    def list_all_tasks(self) -> None:
        """Let the list catch up."""
        self._server.lag = 0.0

    @rule()
    def reconcile(self) -> None:
        """Look for what is lost: what the list shows is found, and nothing is sent."""
        before = len(self._server.sent)
        self._ask(step="reconcile")
        assert len(self._server.sent) == before
        if not self._server.lag:
            rows = self._look().rows
            assert not [row.key for row in rows if row.state in UNRESOLVED and self._paid(row.key)]

    @rule(key=KEYS)
    def wait(self, key: str) -> None:
        """Wait for a task's end."""
        self._ask(step="wait", key=key)

    @rule(key=KEYS, lots=LOTS)
    def send_again(self, key: str, lots: list[Lot]) -> None:
        """Decide to send again what is held."""
        if self._is(key, UNRESOLVED):
            self._ask(lots, step="resolve", key=key, resend=True)

    @rule(key=KEYS)
    def give_up(self, key: str) -> None:
        """Decide to forget what is held."""
        if self._is(key, UNRESOLVED):
            assert "done" in self._ask(step="resolve", key=key, give_up=True)

    @rule(key=KEYS)
    def name_the_task(self, key: str) -> None:
        """Decide which task it is."""
        for task_id in self._paid(key)[-1:]:
            if self._is(key, UNRESOLVED):
                assert self._ask(step="resolve", key=key, task_id=task_id)["done"] == task_id

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
        """Have the living client, or a new one, do a step; wait until nothing is under way."""
        self._server.next_lots = list(lots or [])
        heard = self._run(self._asked(order))
        if order["step"] != "begin":
            self._settle()
        if isinstance(heard.get("done"), str):
            self._told.append((order["key"], heard["done"]))
        return heard

    async def _asked(self, order: dict[str, Any]) -> dict[str, Any]:
        if self._life is None:
            files = {"journal": str(self._path), "log": str(self._path) + ".log"}
            self._life = await self.nursery.bear(
                play="steps", url=self._server.url, permits=2, read=5.0, quiet=0.03, **files
            )
        return await self._life.ask(**order)

    def _kill(self) -> None:
        if self._life is not None:
            self._run(self._life.kill())
            self._life = None

    def _begins(self, key: str, word: str, lot: Lot, *, is_late: bool) -> bool:
        """Have a request on its way that the gateway has read and not answered, if the key may be sent."""
        if self._scene.row(key) and not self._is(key, UNSENT):
            return False
        (self._server.takes if is_late else self._server.answers).clear()
        self._server.arrived.clear()
        self._ask([lot], step="begin", key=key, word=word)
        self._run(self._server.arrived.wait())
        return True

    def _release(self) -> None:
        self._server.takes.set()
        self._server.answers.set()
        self._run(self._server.quiet())

    def _settle(self) -> None:
        """Wait until the client knows what became of all that it sent, or holds it."""
        while any(row.state in {RowState.COMMITTED, RowState.UNKNOWN} for row in self._look().rows):
            self._run(asyncio.sleep(0.002))

    def _is(self, key: str, states: frozenset[RowState]) -> bool:
        row = self._scene.row(key)
        return row is not None and row.state in states

    def _paid(self, key: str) -> list[str]:
        named = {row.task_id for row in self._scene.rows if row.state in NAMED}
        return [task.id for task in self._server.paid if task.key == key and task.id not in named]

    def _look(self) -> Scene:
        rows, events = read_journal(self._path, self._path.with_name("copy.db"))
        files = {path.name: path.read_bytes() for path in self._path.parent.iterdir() if path.is_file()}
        paid, sent = list(self._server.paid), list(self._server.sent)
        return Scene(rows, events, paid, sent, self._told, 2, self._server.most_at_once, files)


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
