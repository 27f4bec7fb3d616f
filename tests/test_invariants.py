"""The checker of the kill tests notices what it is there to notice."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from invariants import Event, Scene, broken_invariants, read_journal
from kill_child import API_KEY, payload_of
from ledger import ACCEPTED, CLOSED, THROTTLED, Lot, PaidTask, Sent

from vidu_async.journal import Row, RowState, hashed

S = RowState
KEY, OTHER = "row-1", "row-3"
WAY = (S.PREPARED, S.COMMITTED, S.ACCEPTED)


def row(state: S = S.ACCEPTED, **said: Any) -> Row:
    """Return the row of the first key."""
    return Row(
        **{"key": KEY, "token": "token-1", "task_id": "1" if state is S.ACCEPTED else "", "state": state, **said}
    )


def moves(*states: S, token: str = "token-1") -> list[Event]:
    """Return the events of a row that went through these states."""
    return [Event(token, state) for state in states]


def paid(task_id: str = "1", key: str = KEY, token: str = "token-1") -> PaidTask:
    """Return a paid task of the first key."""
    return PaidTask(task_id, f"va1:{token}", f"{key} the fox runs", "viduq3-turbo", 0.0)


def sent(lot: Lot = ACCEPTED, *, is_whole: bool = True) -> Sent:
    """Return a creation of the first key that arrived."""
    fields = {"payload": "va1:token-1"} if is_whole else {}
    return Sent(lot, is_whole, f'{{"prompt": "{KEY} the fox'.encode(), fields)


WELL = Scene([row()], moves(*WAY), [paid()], [sent()], [(KEY, "1")], permits=1, most_at_once=1)
RESENT = [S.UNKNOWN, S.PREPARED, S.COMMITTED, S.ACCEPTED]


FINE: dict[str, Scene] = {
    "nothing at all": Scene([]),
    "accepted": WELL,
    "sent again after an upload that broke": evolve(WELL, sent=[sent(is_whole=False), sent()]),
    "then another, cut in the middle of its key": evolve(
        WELL, sent=[sent(), Sent(ACCEPTED, body=f'{{"prompt": "{KEY}'.encode())]
    ),
    "sent again after 429": evolve(
        WELL, sent=[sent(THROTTLED), sent()], events=moves(S.PREPARED, S.COMMITTED, S.PREPARED, S.COMMITTED, S.ACCEPTED)
    ),
    "lost, and known to be": Scene([row(S.HELD)], moves(*WAY[:2], S.UNKNOWN, S.HELD), [paid()], [sent()]),
    "killed after its commit": Scene([row(S.COMMITTED)], moves(*WAY[:2]), [paid()], [sent()]),
    "sent again by consent": Scene(
        [row(task_id="2", possible_duplicate=True)], moves(*WAY[:2], *RESENT), [paid(), paid("2")], [sent(), sent()]
    ),
    "given up, and the key used anew": Scene(
        [row(S.GIVEN_UP, key=""), row(token="token-2", task_id="2")],
        [*moves(*WAY[:2], S.UNKNOWN, S.GIVEN_UP), *moves(*WAY, token="token-2")],
        [paid(), paid("2", token="token-2")],
    ),
}


@pytest.mark.parametrize("scene", FINE.values(), ids=FINE)
def test_what_may_happen_is_no_fault(scene: Scene) -> None:
    """Interrupted, lost and resent by consent: all of it is known to the journal."""
    assert broken_invariants(scene) == []


BROKEN: dict[str, tuple[Scene, str]] = {
    "told, and no row": (Scene([], told=[(KEY, "1")]), "was told of 1"),
    "told of another task": (evolve(WELL, told=[(KEY, "7")]), "was told of 7"),
    "told, and not accepted": (Scene([row(S.COMMITTED)], moves(*WAY[:2]), told=[(KEY, "1")]), "was told of 1"),
    "paid twice": (evolve(WELL, paid=[paid(), paid("2")]), "is paid 2 times"),
    "paid twice, by consent to one of them": (
        Scene([row(task_id="2")], moves(*WAY[:2], *RESENT), [paid(), paid("2")]),
        "is paid 2 times",
    ),
    "paid, and no row": (Scene([], paid=[paid()]), "its rows are []"),
    "paid, and thought to be unsent": (
        Scene([row(S.PREPARED)], moves(S.PREPARED), [paid()]),
        "its rows are ['row-1: prepared']",
    ),
    "paid, and thought to be refused": (
        Scene([row(S.REFUSED)], moves(*WAY[:2], S.REFUSED), [paid()]),
        "row-1: refused",
    ),
    "accepted, and no such task": (evolve(WELL, paid=[]), "made of None"),
    "accepted as another's task": (evolve(WELL, paid=[paid(key=OTHER, token="token-2")]), "made of 'row-3 the"),
    "accepted as the task of an earlier request": (
        evolve(WELL, rows=[row(prompt=hashed("the owl"))]),
        "made of 'row-1",
    ),
    "sent before its commit": (Scene([row(S.PREPARED)], moves(S.PREPARED), sent=[sent(CLOSED)]), "committed 0 times"),
    "sent twice for one commit": (evolve(WELL, sent=[sent(THROTTLED), sent()]), "committed 1 times"),
    "sent, and no row": (Scene([], sent=[sent(CLOSED)]), "committed 0 times"),
    "sent again in doubt": (evolve(WELL, sent=[sent(CLOSED), sent(is_whole=False)]), "was sent again"),
    "a move against the arrows": (evolve(WELL, events=moves(*WAY[:2], S.REFUSED, S.ACCEPTED)), "refused"),
    "a move that nobody wrote down": (evolve(WELL, events=moves(*WAY[:2])), "is accepted after"),
    "a key with two rows": (evolve(WELL, rows=[row(), row(token="token-2", task_id="")]), "2 rows have the key"),
    "a key taken from what was accepted": (evolve(WELL, rows=[row(key="")], told=[]), "was taken"),
    "a token with two rows": (evolve(WELL, rows=[row(), row(key=OTHER, task_id="")]), "2 rows have the token"),
    "a task with two rows": (evolve(WELL, rows=[row(), row(key=OTHER, token="token-2")]), "2 rows have the task_id"),
    "another's token on the wire": (evolve(WELL, paid=[paid(token="token-2")]), "has the payload 'va1:token-2'"),
    "more at once than permits": (evolve(WELL, most_at_once=2), "there were 2 of 1"),
    "the API key in a file": (evolve(WELL, files={"log": f"Bearer {API_KEY}".encode()}), "it is in log"),
}


@pytest.mark.parametrize(("scene", "said"), BROKEN.values(), ids=BROKEN)
def test_what_must_not_happen_is_said(scene: Scene, said: str) -> None:
    """Each invariant is broken by at least one scene, and the sentence says how."""
    assert any(said in fault for fault in broken_invariants(scene))


def test_a_payload_of_the_users_own_must_arrive_byte_for_byte() -> None:
    """Where the request has one, the token is not what goes on the wire."""
    key = "row-5"
    scene = Scene(
        [row(key=key, proof=hashed(payload_of(key)))], moves(*WAY), [evolve(paid(key=key), payload=payload_of(key))]
    )
    assert broken_invariants(scene) == []
    assert any("has the payload" in fault for fault in broken_invariants(evolve(scene, paid=[paid(key=key)])))


def test_what_a_reconciliation_leaves_is_said() -> None:
    """A row that admits a paid task has not found it yet."""
    held = Scene([row(S.HELD)], moves(*WAY[:2], S.UNKNOWN, S.HELD), [paid()])
    assert [task.id for task in held.unfound()] == ["1"]
    assert WELL.unfound() == []


def test_a_journal_is_read_from_a_copy(tmp_path: Path) -> None:
    """Rows and events are as they were written, and the log beside the file is not touched."""
    path = tmp_path / "journal.db"
    assert read_journal(path, tmp_path / "copy.db") == ([], [])
    names = [one.name for one in fields(Row)]
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"CREATE TABLE submissions ({', '.join(names)})")
    database.execute("CREATE TABLE events (token, at, attempt, state, reason)")
    values = [getattr(row(), name) for name in names]
    database.execute(f"INSERT INTO submissions VALUES ({', '.join('?' * len(names))})", values)
    database.execute("INSERT INTO events VALUES ('token-1', 0, 1, 'committed', '')")
    before = (tmp_path / "journal.db-wal").stat().st_size
    rows, events = read_journal(path, tmp_path / "copy.db")
    assert [(one.key, one.state) for one in rows] == [(KEY, S.ACCEPTED)]
    assert events == [Event("token-1", S.COMMITTED)]
    assert (tmp_path / "journal.db-wal").stat().st_size == before
    database.close()
