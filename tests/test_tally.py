"""What a tally makes of events: everything is somewhere, nothing is counted twice, and the end is guessed soberly."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

from vidu_async.events import (
    Accepted,
    BatchSized,
    Committed,
    Downloaded,
    Downloading,
    Event,
    Finished,
    ItemEnded,
    ItemLeft,
    ItemTaken,
    Retrying,
    StateChanged,
    SubmissionFailed,
    Submitted,
    Throttled,
)
from vidu_async.protocol.models import TaskState
from vidu_async.tally import Stage, Tally

S = TaskState


def made(key: str, task_id: str, cost: int | None = 10) -> list[Event]:
    """Return what is told of a film on its way to being processed."""
    return [
        Submitted(key=key, endpoint="text2video"),
        Committed(key=key, attempt=1),
        Accepted(key=key, task_id=task_id, credits=cost),
        StateChanged(key=key, task_id=task_id, before=None, state=S.CREATED),
        StateChanged(key=key, task_id=task_id, before=S.CREATED, state=S.QUEUEING),
        StateChanged(key=key, task_id=task_id, before=S.QUEUEING, state=S.PROCESSING),
    ]


def finished(key: str, task_id: str, state: TaskState = S.SUCCESS, **known: Any) -> list[Event]:
    """Return what is told of the end of its task."""
    return [
        StateChanged(key=key, task_id=task_id, before=S.PROCESSING, state=state),
        Finished(key=key, task_id=task_id, state=state, **known),
    ]


def counted(events: Iterable[Event], total: int | None = None) -> Tally:
    """Return the tally of events, one each second."""
    tally = Tally(total)
    for now, event in enumerate(events):
        tally(event, float(now))
    return tally


def going(tally: Tally) -> dict[str, int]:
    """Return what is under way, without the zeros."""
    return {stage.value: count for stage, count in tally.under_way.items() if count}


def test_an_item_of_a_batch_passes_through_its_stages() -> None:
    """From the moment it is taken to its outcome, it is in one of them."""
    events = [
        BatchSized(items=3),
        ItemTaken(key="a"),
        *made("a", "t1"),
        *finished("a", "t1", credits=12),
        ItemEnded(key="a", task_id="t1", credits=12),
    ]
    tally, seen = Tally(), []
    for event in events:
        tally(event, 0.0)
        seen.append(", ".join(going(tally)))
    assert [stage for stage, _ in groupby(seen)] == ["", "waiting", "queueing", "processing", "downloading", ""]
    assert (tally.items, tally.taken, tally.succeeded, tally.spent) == (3, 1, 1, 12)


def test_a_task_outside_a_batch_ends_with_its_finish() -> None:
    """Also one that somebody else submitted, which is first heard of when it is looked at."""
    tally = counted([*made("a", "t1"), StateChanged(task_id="t2", before=None, state=S.PROCESSING)])
    assert (tally.items, tally.taken, going(tally)) == (None, 2, {"processing": 2})
    end = tally(Finished(task_id="t2", state=S.FAILED, err_code="AuditFailed"), 9.0)
    assert end == ItemEnded(task_id="t2", reason="AuditFailed", paid="no", credits=0)
    end = tally(Finished(key="a", task_id="t1", state=S.SUCCESS), 9.0)
    assert end == ItemEnded(key="a", task_id="t1", credits=10)
    assert (tally.ended, tally.succeeded, tally.failed, tally.spent) == (2, 1, {"AuditFailed": 1}, 10)
    assert going(tally) == {}


def test_a_task_that_is_made_again_goes_back_to_waiting_and_is_paid_once() -> None:
    """The failed one costs nothing."""
    events = [ItemTaken(key="a"), *made("a", "t1", 10), *finished("a", "t1", S.FAILED)]
    tally = counted(events)
    assert (going(tally), tally.spent, tally.failed) == ({"waiting": 1}, 0, {})
    for event in [*made("a", "t2", 20), *finished("a", "t2")]:
        tally(event, 20.0)
    tally(ItemEnded(key="a", task_id="t2", credits=20), 20.0)
    assert (tally.taken, tally.succeeded, tally.spent, going(tally)) == (1, 1, 20, {})


def test_what_may_be_paid_is_neither_failed_nor_spent() -> None:
    """Its cost is not known to have been taken."""
    tally = counted([ItemTaken(key="a"), ItemEnded(key="a", reason="SubmissionUnknownError", paid="maybe", credits=20)])
    assert (tally.unknown, tally.failed, tally.spent, tally.ended) == (1, {}, 0, 1)


def test_a_task_of_unknown_price_is_counted_until_the_price_is_known() -> None:
    """For good if it never is."""
    tally = counted(made("a", "t1", None))
    assert (tally.spent, tally.unpriced) == (0, 1)
    tally(Finished(key="a", task_id="t1", state=S.SUCCESS, credits=7), 9.0)
    assert (tally.spent, tally.unpriced) == (7, 0)
    tally(ItemEnded(key="b", task_id="t2", credits=None), 9.0)
    tally(ItemEnded(key="c", reason="ValidationError", paid="no", credits=None), 9.0)
    assert (tally.spent, tally.unpriced) == (7, 1)


def test_items_without_a_key_are_counted_each() -> None:
    """Rows that are no requests, in a file or not."""
    tally = counted([ItemTaken(), ItemTaken(), ItemTaken(place="jobs.jsonl:3")])
    assert (tally.taken, going(tally)) == (3, {"waiting": 3})
    for place in ("", "jobs.jsonl:3", ""):
        tally(ItemEnded(reason="ValidationError", paid="no", place=place), 9.0)
    assert (tally.failed, going(tally)) == ({"ValidationError": 3}, {})


def test_two_items_of_one_key_are_two_and_cost_once() -> None:
    """They share the task."""
    tally = counted([ItemTaken(key="a"), ItemTaken(key="a"), *made("a", "t1")])
    assert (tally.taken, going(tally)) == (2, {"processing": 2})
    for event in [*finished("a", "t1"), *[ItemEnded(key="a", task_id="t1", credits=10)] * 2]:
        tally(event, 9.0)
    assert (tally.succeeded, tally.spent, going(tally)) == (2, 10, {})


def test_a_task_known_by_its_id_and_then_by_its_key_is_one() -> None:
    """Attached to first, taken up by a batch later."""
    tally = counted([StateChanged(task_id="t1", before=None, state=S.QUEUEING), ItemTaken(key="a"), *made("a", "t1")])
    assert (tally.taken, going(tally)) == (1, {"processing": 1})


def test_reasons_are_as_many_as_a_screen_holds() -> None:
    """A gateway that makes up a code for each failure does not fill the memory."""
    tally = counted(ItemEnded(key=str(n), reason=f"E{n}", paid="no") for n in range(1000))
    assert (len(tally.failed), tally.ended) == (51, 1000)
    assert tally.failed["other reasons"] == 950


def test_a_stored_subject_is_no_task() -> None:
    """Nothing tells of its end."""
    assert counted([Submitted(key="s", endpoint="subjects")]).taken == 0


def test_downloads_are_shown_while_bytes_come() -> None:
    """Those of an item under its key. One that has had none for two minutes has failed, of which nothing is told."""
    tally = Tally()
    for event in [ItemTaken(key="a"), *made("a", "t1")]:
        tally(event, 0.0)
    tally(Downloading(task_id="t1", received=5, size=10), 0.0)
    tally(Downloading(task_id="t0", received=3), 60.0)
    assert [(id_, one.key, one.received, one.size) for id_, one in tally.transfers.items()] == [
        ("t1", "a", 5, 10),
        ("t0", "", 3, None),
    ]
    tally(Downloading(task_id="t0", received=4), 121.0)
    assert list(tally.transfers) == ["t0"]
    assert tally(Downloaded(task_id="t1", path="a.mp4", size=10), 121.0) is None
    saved = Downloaded(task_id="t0", path="b.mp4", size=5)
    assert tally(saved, 121.0) is saved
    assert (tally.transfers, tally.saved, tally.saved_bytes) == ({}, 2, 15)


def worked(tally: Tally, key: str, begin: float, end: float) -> None:
    """Tell of an item that is worked on from one moment to another."""
    for event in [ItemTaken(key=key), *made(key, f"t-{key}")]:
        tally(event, begin)
    tally(ItemEnded(key=key, task_id=f"t-{key}", credits=10), end)


def test_the_rate_is_that_of_late_and_the_guess_follows_it() -> None:
    """Ten a minute for an hour, then sixty a minute: after two minutes that is what counts."""
    tally = Tally(2000)
    for n in range(600):
        worked(tally, f"slow-{n}", n * 6.0, n * 6.0 + 6)
    assert tally.rate(3600.0) == pytest.approx(10, rel=0.02)
    assert tally.eta(3600.0) == pytest.approx(1400 * 6, rel=0.02)
    for n in range(200):
        worked(tally, f"fast-{n}", 3600.0 + n, 3601.0 + n)
    assert tally.rate(3800.0) == pytest.approx(60, rel=0.02)
    assert tally.eta(3800.0) == pytest.approx(1200, rel=0.02)


def test_a_standstill_lowers_the_rate() -> None:
    """The guess moves away, instead of staying at what it was."""
    tally = Tally(100)
    for n in range(10):
        worked(tally, str(n), n * 6.0, n * 6.0 + 6)
    first, later = tally.eta(60.0), tally.eta(600.0)
    assert first is not None
    assert later == pytest.approx(10 * first)


def test_what_an_earlier_run_had_made_does_not_spoil_the_guess() -> None:
    """A thousand items that end at once at the start say nothing of how long the others take."""
    tally = Tally(1100)
    for n in range(1000):
        tally(ItemTaken(key=f"old-{n}"), n / 1000)
        tally(ItemEnded(key=f"old-{n}", task_id=f"t{n}", credits=10, is_recalled=True), n / 1000)
    assert (tally.rate(2.0), tally.eta(2.0)) == (0.0, None)
    for n in range(10):
        worked(tally, str(n), 100 + n * 6.0, 106 + n * 6.0)
    assert tally.rate(160.0) == pytest.approx(10)
    assert tally.recalled == 1000
    assert tally.eta(160.0) == pytest.approx(540)


def test_a_burst_is_no_rate() -> None:
    """A hundred and fifty that one look finds ended, half an hour after they were begun."""
    tally = Tally(300)
    for n in range(150):
        for event in made(str(n), f"t{n}"):
            tally(event, 0.0)
    for n in range(150):
        tally(Finished(key=str(n), task_id=f"t{n}", state=S.SUCCESS), 1800 + n / 1000)
    assert tally.eta(1801.0) == pytest.approx(1800, rel=0.01)


def test_many_that_end_at_one_moment_are_spread_over_a_minute() -> None:
    """One a second for ten minutes, and then a hundred at once: not thousands a minute."""
    tally = Tally()
    for n in range(700):
        end = min(float(n), 600.0)
        worked(tally, str(n), max(0.0, end - 1), end)
    assert tally.rate(600.0) == pytest.approx(160, rel=0.05)


def test_a_slow_batch_is_looked_back_at_for_longer_than_a_minute() -> None:
    """Ten that end together every ten minutes are one a minute, also just before the next ten."""
    tally = Tally()
    for n in range(300):
        begin = n // 10 * 600.0
        worked(tally, str(n), begin, begin + 600)
    assert tally.rate(30 * 600.0 + 590) == pytest.approx(1, rel=0.1)


def test_there_is_no_guess_where_nobody_knows_how_many_there_are() -> None:
    """And none is needed when all have ended, or more were taken than was said."""
    tally = Tally()
    worked(tally, "a", 0.0, 6.0)
    assert (tally.rate(6.0), tally.items, tally.eta(6.0)) == (10, None, None)
    tally(BatchSized(items=1), 6.0)
    assert (tally.items, tally.eta(6.0)) == (1, 0.0)
    worked(tally, "b", 6.0, 12.0)
    assert (tally.items, tally.eta(12.0)) == (2, 0.0)


def test_two_batches_of_one_client_are_added_up() -> None:
    """Unless the caller has said how many there will be."""
    sized = [BatchSized(items=3), BatchSized(items=4)]
    assert counted(sized).items == 7
    assert counted(sized, total=10).items == 10


def test_a_submission_that_came_to_nothing_has_ended() -> None:
    """With the word for it and what it means for the credits; a batch tells by itself what it makes of one."""
    lost = [Submitted(key="a", endpoint="text2video"), SubmissionFailed(key="a", reason="X", paid="maybe")]
    refused = [
        Submitted(key="b", endpoint="text2video"),
        SubmissionFailed(key="b", reason="CreditInsufficient", paid="no"),
    ]
    tally = counted([*lost, *refused, ItemTaken(key="c"), *(evolve(event, key="c") for event in refused)])
    assert (tally.unknown, tally.failed, tally.taken) == (1, {"CreditInsufficient": 1}, 3)
    assert tally.under_way[Stage.WAITING] == 1


def test_an_item_that_a_stopped_batch_has_left_was_not_taken() -> None:
    """The totals show what is done, and what is under way."""
    tally = counted([ItemTaken(key="a"), ItemTaken(key="b"), *made("b", "t"), ItemLeft(key="a")])
    assert tally.taken == 1
    assert tally.under_way[Stage.PROCESSING] == 1


KEYS = some.sampled_from(["", "a", "b", "t1"])
TASKS = some.sampled_from(["", "t1", "t2", "a"])
STATES = some.sampled_from(TaskState)
COSTS = some.none() | some.integers(0, 50)
PAID = some.sampled_from(["", "no", "maybe", "yes"])
NAMES: dict[str, Any] = {"key": KEYS, "task_id": TASKS}
EVENTS = some.one_of(
    some.builds(ItemTaken, key=KEYS, place=some.sampled_from(["", "jobs.jsonl:3"])),
    some.builds(Submitted, key=KEYS, endpoint=some.sampled_from(["text2video", "subjects"])),
    some.builds(Retrying, key=KEYS, attempt=some.just(1), pause=some.just(1.0), error=some.just("reset")),
    some.builds(Throttled, key=KEYS, pause=some.just(1.0)),
    some.builds(SubmissionFailed, key=KEYS, reason=some.just("E"), paid=some.sampled_from(["no", "maybe"])),
    some.builds(ItemLeft, key=KEYS),
    some.builds(Accepted, credits=COSTS, **NAMES),
    some.builds(StateChanged, before=some.none(), state=STATES, **NAMES),
    some.builds(Finished, state=STATES, credits=COSTS, err_code=some.none() | some.just("E"), **NAMES),
    some.builds(Downloading, task_id=TASKS, received=some.just(1), size=some.none()),
    some.builds(Downloaded, task_id=TASKS, path=some.just("a.mp4"), size=some.just(1)),
    some.builds(
        ItemEnded, reason=some.sampled_from(["", "E"]), paid=PAID, credits=COSTS, is_recalled=some.booleans(), **NAMES
    ),
)


@given(some.lists(EVENTS, max_size=40))
def test_whatever_is_told_in_whatever_order_everything_is_somewhere(events: list[Event]) -> None:
    """What was taken has ended or is in one stage, no count is negative, and all that is under way is remembered."""
    tally = Tally()
    for now, event in enumerate(events):
        tally(event, now / 2)
        under_way = sum(tally.under_way.values())
        assert tally.taken == tally.ended + under_way
        assert under_way == sum(course.weight for course in tally._courses.values())
        assert min(tally.taken, *tally.under_way.values(), tally.spent, tally.unpriced, tally.rate(now)) >= 0


@given(some.permutations([(f"k{n}", step) for n in range(4) for step in range(11)]))
def test_what_has_ended_is_forgotten(order: list[tuple[str, int]]) -> None:
    """Items that pass through each other in any way leave nothing behind but counts."""
    tally, steps = Tally(), {}
    for key in {key for key, _ in order}:
        task = f"t{key}"
        events = [ItemTaken(key=key), *made(key, task), *finished(key, task), Downloading(task_id=task, received=1)]
        steps[key] = iter([*events, ItemEnded(key=key, task_id=task, credits=10)])
    for now, (key, _) in enumerate(order):
        tally(next(steps[key]), float(now))
    assert (tally.taken, tally.succeeded, tally.spent) == (4, 4, 40)
    assert (tally._courses, tally._keys, tally.transfers) == ({}, {}, {})
    assert set(tally.under_way.values()) == {0}


def test_many_items_take_no_more_than_those_under_way() -> None:
    """Nothing grows with the number of items, failed ones and all rates included."""
    tally = Tally()
    for n in range(20_000):
        worked(tally, str(n), n / 10, n / 10 + 1)
    assert tally.succeeded == 20_000
    assert len(tally._pace._ends) < 200
    assert (len(tally._courses), len(tally._keys), len(tally.transfers)) == (0, 0, 0)
    assert list(tally.under_way) == list(Stage)
