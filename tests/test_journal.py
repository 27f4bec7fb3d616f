"""What every journal knows of a submission, in memory or in a file: its key, its state, and what was learned of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_async import IdempotencyConflictError, Journal
from vidu_async.journal import EDGES, ENDED, UNRESOLVED, UNSENT, Ledger, MemoryJournal, Row, RowState

SITE = "https://api.vidu.com"
S = RowState
REACHED: dict[RowState, list[RowState]] = {
    S.PREPARED: [],
    S.COMMITTED: [S.COMMITTED],
    S.ACCEPTED: [S.COMMITTED, S.ACCEPTED],
    S.SUCCESS: [S.COMMITTED, S.ACCEPTED, S.SUCCESS],
    S.FAILED: [S.COMMITTED, S.ACCEPTED, S.FAILED],
    S.CANCELLED: [S.COMMITTED, S.ACCEPTED, S.CANCELLED],
    S.REFUSED: [S.COMMITTED, S.REFUSED],
    S.UNKNOWN: [S.COMMITTED, S.UNKNOWN],
    S.HELD: [S.COMMITTED, S.UNKNOWN, S.HELD],
    S.GIVEN_UP: [S.COMMITTED, S.UNKNOWN, S.GIVEN_UP],
}
"""A way to each state."""


def named(key: str = "film-7", digest: str = "d", **known: Any) -> Row:
    """Return a submission that the caller named."""
    return Row(key=key, is_named=True, digest=digest, **{"site": SITE, **known})


async def bring(journal: Ledger, row: Row, state: RowState) -> Row:
    """Take a claimed row to a state, as a client would."""
    for step in REACHED[state]:
        if step is S.COMMITTED:
            await journal.commit(row)
        elif step in ENDED:
            journal.finished(SITE, row.task_id, step, 4)
        else:
            journal.note(row, step, **({"task_id": f"task of {row.key}"} if step is S.ACCEPTED else {}))
    await journal.settled()
    if state is S.PREPARED:
        journal.drop(row)
    return row


async def claimed(journal: Ledger, row: Row) -> Row:
    """Return the row of a key that was free."""
    found, is_ours = await journal.prepare(row)
    assert is_ours
    return found


@pytest.fixture(params=["memory", "file"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A journal of each kind."""
    made: Ledger = MemoryJournal() if request.param == "memory" else Journal(tmp_path / "journal.db")
    yield made
    await made.aclose()


async def test_an_unknown_key_is_to_be_sent(journal: Ledger) -> None:
    """And from then on the journal knows it."""
    row = await claimed(journal, named())
    assert row.prepared_at is not None
    found = journal.find("film-7")
    assert found is not None
    assert (found.token, found.state) == (row.token, S.PREPARED)
    assert journal.find("film-8") is None


@pytest.mark.parametrize("state", sorted(set(RowState) - UNSENT - {S.COMMITTED, S.GIVEN_UP}))
async def test_a_known_key_is_not_sent_again(journal: Ledger, state: RowState) -> None:
    """Whatever became of it, the same request under the same key is the same submission."""
    row = await bring(journal, await claimed(journal, named()), state)
    found, is_ours = await journal.prepare(named())
    assert (is_ours, found.token, found.state) == (False, row.token, state)


@pytest.mark.parametrize("state", sorted(set(RowState) - UNSENT - {S.GIVEN_UP}))
@pytest.mark.parametrize("other", [{"digest": "other"}, {"site": "https://elsewhere"}])
async def test_a_known_key_names_no_other_request(journal: Ledger, state: RowState, other: dict[str, str]) -> None:
    """Nor the same one at another gateway. The error names the key."""
    await bring(journal, await claimed(journal, named()), state)
    with pytest.raises(IdempotencyConflictError, match="film-7") as caught:
        await journal.prepare(named(**other))
    assert (caught.value.key, caught.value.paid) == ("film-7", "no")


@pytest.mark.parametrize("state", sorted(UNSENT))
async def test_a_key_that_came_to_nothing_may_be_used_again(journal: Ledger, state: RowState) -> None:
    """Also for another request."""
    await bring(journal, await claimed(journal, named()), state)
    again = await claimed(journal, named(digest="other", model="viduq3-turbo"))
    assert (again.state, again.digest, again.model) == (S.PREPARED, "other", "viduq3-turbo")
    assert not again.possible_duplicate
    await bring(journal, again, S.ACCEPTED)


@pytest.mark.parametrize("digest", ["digest", "other"])
async def test_what_was_given_up_leaves_its_key_to_a_new_submission(journal: Ledger, digest: str) -> None:
    """With a token of its own: the old one may still turn up as a task, which is not the new one's."""
    first = await bring(journal, await claimed(journal, named()), S.GIVEN_UP)
    again = await claimed(journal, named(digest=digest))
    assert again.token != first.token
    await bring(journal, again, S.ACCEPTED)
    found = journal.find("film-7")
    assert found is not None
    assert found.token == again.token


async def test_what_is_sent_again_by_consent_is_the_same_request(journal: Ledger) -> None:
    """Its token may be paid: another request under it would be taken for that."""
    await bring(journal, await claimed(journal, named()), S.HELD)
    row = journal.find("film-7")
    assert row is not None
    journal.note(row, S.PREPARED, possible_duplicate=True)
    with pytest.raises(IdempotencyConflictError):
        await journal.prepare(named(digest="other"))
    again = await claimed(journal, named())
    assert (again.token, again.possible_duplicate) == (row.token, True)
    await journal.commit(again)
    journal.note(again, S.HELD)
    assert [one.key for one in journal.unresolved(SITE)] == ["film-7"]


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED])
async def test_a_failed_task_is_tried_again_only_on_demand(journal: Ledger, state: RowState) -> None:
    """As a new submission with a token of its own."""
    first = await bring(journal, await claimed(journal, named()), state)
    assert not (await journal.prepare(named()))[1]
    with pytest.raises(IdempotencyConflictError):
        await journal.prepare(named(digest="other"), retry_failed=True)
    second, is_ours = await journal.prepare(named(), retry_failed=True)
    assert is_ours
    assert second.token != first.token
    found = journal.find("film-7")
    assert found is not None
    assert found.token == second.token


async def test_a_success_is_not_tried_again(journal: Ledger) -> None:
    """Not even on demand."""
    await bring(journal, await claimed(journal, named()), S.SUCCESS)
    assert not (await journal.prepare(named(), retry_failed=True))[1]


async def test_a_commit_counts_the_attempt(journal: Ledger) -> None:
    """A request refused with 429 goes out again under the same token."""
    row = await claimed(journal, named())
    await journal.commit(row)
    assert (row.state, row.attempt) == (S.COMMITTED, 1)
    assert row.committed_at is not None
    journal.note(row, S.PREPARED)
    await journal.commit(row)
    assert row.attempt == 2


@pytest.mark.parametrize("state", [S.COMMITTED, S.ACCEPTED, S.UNKNOWN, S.HELD, S.REFUSED])
async def test_what_is_no_edge_is_refused(journal: Ledger, state: RowState) -> None:
    """A row that may be paid is never committed anew without the move back that needs consent."""
    row = await bring(journal, await claimed(journal, named()), state)
    with pytest.raises(AssertionError, match="cannot go from"):
        await journal.commit(row)


async def test_accepted_tasks_are_unfinished_until_they_end(journal: Ledger) -> None:
    """Oldest first; the end of a stranger's task changes nothing."""
    for key in ("a", "b", "c"):
        await bring(journal, await claimed(journal, named(key)), S.ACCEPTED)
    journal.finished(SITE, "task of b", S.SUCCESS, 4)
    journal.finished(SITE, "a stranger's", S.SUCCESS, 4)
    assert [row.key for row in journal.unfinished(SITE)] == ["a", "c"]
    ended = journal.find("b")
    assert ended is not None
    assert (ended.state, ended.credits) == (S.SUCCESS, 4)


@pytest.mark.parametrize("state", sorted(RowState))
async def test_the_unresolved_are_those_that_may_be_paid(journal: Ledger, state: RowState) -> None:
    """Unknown and held ones, and no others."""
    await bring(journal, await claimed(journal, named()), state)
    assert [row.key for row in journal.unresolved(SITE)] == (["film-7"] if state in UNRESOLVED else [])


async def test_an_unknown_submission_found_later_is_unfinished(journal: Ledger) -> None:
    """Under its key, with its task."""
    row = await bring(journal, await claimed(journal, named()), S.HELD)
    journal.note(row, S.ACCEPTED, task_id="911045603801182208")
    await journal.settled()
    (found,) = journal.unfinished(SITE)
    assert (found.key, found.task_id) == ("film-7", "911045603801182208")
    assert journal.unresolved(SITE) == []


async def test_the_tokens_of_tasks_are_known(journal: Ledger) -> None:
    """Of any number of them at once; strangers have none."""
    row = await bring(journal, await claimed(journal, named()), S.ACCEPTED)
    asked = [str(number) for number in range(1200)]
    assert journal.tokens_of(SITE, [*asked, row.task_id, ""]) == {row.task_id: row.token}


async def test_a_payload_of_the_callers_own_proves_only_alone(journal: Ledger) -> None:
    """Two submissions with one payload cannot be told apart by it."""
    row = await claimed(journal, named("a", proof="p"))
    assert journal.is_unique_proof(row)
    await claimed(journal, named("b", proof="p"))
    assert not journal.is_unique_proof(row)


MOVES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=25)


@settings(max_examples=30, deadline=None)
@given(MOVES)
def test_a_file_read_again_says_what_memory_says(moves: list[tuple[str, int, bool]]) -> None:
    """Also if it was closed and opened in between; what was on its way then is unknown."""

    async def play() -> None:
        with TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "journal.db", clock=lambda: 1000.5)
            rows = {key: await claimed(journal, named(key)) for key in "abc"}
            for key, choice, closes in moves:
                await step(journal, rows[key], choice)
                if closes:
                    await journal.aclose()
                    forsaken = (row for row in rows.values() if row.state is S.COMMITTED)
                    for row in forsaken:
                        row.state, row.evidence = S.UNKNOWN, "the process that sent it ended before its answer came"
            for key, row in rows.items():
                found = journal.find(key)
                assert found is not None
                assert attrs.asdict(found) == attrs.asdict(row)
            await journal.aclose()
            check_events(Path(folder) / "journal.db")

    asyncio.run(play())


def check_events(path: Path) -> None:
    """Every move that is told of in a file is one of the diagram, and the last of each row is where it is."""
    with closing(sqlite3.connect(path)) as file:
        for token, state in file.execute("SELECT token, state FROM submissions").fetchall():
            told = file.execute("SELECT state FROM events WHERE token = ? ORDER BY rowid", (token,)).fetchall()
            states = [RowState(one) for (one,) in told]
            assert states[-1] == state
            assert all(end in EDGES[start] for start, end in pairwise(states))


async def step(journal: Journal, row: Row, choice: int) -> None:
    """Take one of the edges that lead on from a row's state."""
    onward = sorted(EDGES[row.state])
    if not onward:
        return
    state = onward[choice % len(onward)]
    if state is S.COMMITTED:
        await journal.commit(row)
    elif row.state is S.ACCEPTED:
        journal.finished(SITE, row.task_id, state, choice)
        row.state, row.credits = state, choice
    else:
        journal.note(row, state, task_id=f"{row.key}-{choice}", reason="r", status=choice, answered_at=1.5)
