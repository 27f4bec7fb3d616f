"""When to look, and how long to pause: pure functions of what is known, of age and of attempt."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import ConfigError, Polling, TaskState
from vidu_async.learning import Learner
from vidu_async.polling import Kind, PollingPolicy, Waiting
from vidu_async.retry import waits

FOX = Kind("img2video", "viduq3-turbo", "720p", 5)
QUEUEING, PROCESSING = TaskState.QUEUEING, TaskState.PROCESSING

anything = st.floats(allow_nan=True, allow_infinity=True)
names = st.sampled_from(["", "img2video", "viduq3-turbo", "x" * 1000])
kinds = st.builds(Kind, names, names, names, st.none() | anything)
sightings = st.lists(st.tuples(kinds, anything), max_size=30)
tasks = st.builds(
    Waiting,
    kind=kinds,
    state=st.none() | st.sampled_from(TaskState),
    age=anything,
    running=st.none() | anything,
    margin=anything,
    off_peak=st.booleans(),
    is_called_back=st.booleans(),
)
bounds = st.floats(1e-300, 1e300) | st.floats(0.001, 100)
pollings = st.tuples(bounds, bounds).map(lambda pair: Polling(min(pair), max(pair)))


def queued(age: float, kind: Kind = FOX) -> Waiting:
    """Return a task that waits for its turn."""
    return Waiting(kind, QUEUEING, age)


def processed(running: float, kind: Kind = FOX, margin: float = 0.0) -> Waiting:
    """Return a task that is being processed."""
    return Waiting(kind, PROCESSING, running, running, margin)


def told(seen: Iterable[tuple[Kind, float]], polling: Polling | None = None) -> Learner:
    """Return a learner that has heard of these tasks."""
    learner = Learner(polling or Polling())
    for kind, seconds in seen:
        learner.finished(kind, seconds)
    return learner


def times(median: float, sigma: float, number: int, seed: int = 1) -> list[float]:
    """Return how long tasks take, the same at each call."""
    dice = random.Random(seed)
    return [dice.lognormvariate(math.log(median), sigma) for _ in range(number)]


def learned(median: float = 60.0, sigma: float = 0.1, number: int = 100, kind: Kind = FOX) -> Learner:
    """Return a learner that knows a kind."""
    return told((kind, seconds) for seconds in times(median, sigma, number))


def looks(policy: PollingPolicy, seconds: float) -> list[float]:
    """Return when a task that takes so long is looked at, from its beginning on."""
    seen = [0.0]
    while seen[-1] < seconds:
        seen.append(seen[-1] + policy.interval(processed(seen[-1])))
    return seen[1:]


def cost(policy: PollingPolicy, lasting: list[float]) -> float:
    """Return looks per task times seconds of delay."""
    seen = [looks(policy, seconds) for seconds in lasting]
    delay = sum(when[-1] - seconds for when, seconds in zip(seen, lasting, strict=True))
    return sum(map(len, seen)) * delay / len(lasting) ** 2


# Bounds


@given(polling=pollings, seen=sightings, waiting=tasks)
def test_an_interval_is_within_its_bounds(polling: Polling, seen: list[tuple[Kind, float]], waiting: Waiting) -> None:
    """Whatever was learned and whatever is asked, except that off-peak tasks and callbacks stretch it threefold."""
    plain = evolve(waiting, off_peak=False, is_called_back=False)
    learner = told(seen, polling)
    assert polling.min_interval <= learner.interval(plain) <= polling.max_interval
    assert polling.min_interval <= learner.interval(waiting) <= 3 * polling.max_interval


@given(
    scale=st.floats(0.001, 1000),
    seen=st.lists(st.floats(0.01, 1000), max_size=30),
    age=st.floats(0, 1000),
    state=st.sampled_from([None, QUEUEING, PROCESSING]),
)
def test_bounds_set_the_pace(scale: float, seen: list[float], age: float, state: TaskState | None) -> None:
    """What is a thousand times as quick is waited for in the same way, a thousand times as quickly."""
    usual = told((FOX, seconds) for seconds in seen)
    quick = told(((FOX, seconds * scale) for seconds in seen), Polling(scale, 20 * scale))
    scaled = quick.interval(Waiting(FOX, state, age * scale))
    assert scaled == pytest.approx(usual.interval(Waiting(FOX, state, age)) * scale, rel=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        *({"min_interval": value} for value in (0, -1, float("nan"), float("inf"), "1", None, True)),
        *({"max_interval": value} for value in (0, -1, float("inf"))),
        *({"max_per_second": value} for value in (0, -1, "fast")),
        {"min_interval": 30, "max_interval": 25},
    ],
)
def test_polling_that_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Polling(**settings)


def test_one_bound_given_alone_moves_the_other() -> None:
    """Tests run fast with a small `max_interval`, and patient programs with a large `min_interval`."""
    assert Learner(Polling(max_interval=0.01)).interval(queued(100)) == 0.01
    assert Learner(Polling(min_interval=30)).interval(queued(0)) == 30


def test_a_bound_on_all_looks_is_handed_on() -> None:
    """The watcher keeps it, as only it sees all tasks."""
    assert Learner(Polling(max_per_second=3)).max_per_second == 3
    assert Learner(Polling()).max_per_second is None


def test_settings_are_no_policy() -> None:
    """They are shared by clients, and each client learns for itself."""
    assert isinstance(Learner(Polling()), PollingPolicy)
    assert not isinstance(Polling(), PollingPolicy)


# Before anything is learned


@given(
    ages=st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)).map(sorted),
    state=st.sampled_from([None, TaskState.CREATED, QUEUEING, TaskState.UNKNOWN]),
)
def test_older_tasks_are_looked_at_no_more_often(ages: list[float], state: TaskState | None) -> None:
    """As long as nothing is known, a task that has taken long will take longer."""
    young, old = (Learner(Polling(0.5, 60)).interval(Waiting(FOX, state, age)) for age in ages)
    assert young <= old


def test_a_task_that_waits_unseen_is_found_within_a_twentieth_of_its_age() -> None:
    """A gateway that never says `processing`, or says it in a word unknown here, costs nobody more than that."""
    assert Learner(Polling()).interval(queued(100)) == pytest.approx(5)
    assert learned().interval(Waiting(FOX, TaskState.UNKNOWN, 100)) == pytest.approx(5)


@pytest.mark.parametrize(
    ("seconds", "most", "delay"), [(5, 3, 3), (20, 9, 4), (60, 22, 4), (300, 80, 6), (900, 180, 10)]
)
def test_first_tasks_are_looked_at_sensibly(seconds: float, most: int, delay: float) -> None:
    """Of whatever length they are, although it was not known."""
    seen = looks(Learner(Polling()), seconds)
    assert len(seen) <= most
    assert all(later - earlier <= delay for earlier, later in itertools.pairwise(seen))


# What was learned


def test_a_kind_that_is_known_is_looked_at_when_it_may_end() -> None:
    """Rarely before, often then, and ever more rarely if it is long overdue."""
    learner = learned(60, sigma=0.1)
    early, soon, overdue, lost = (learner.interval(processed(seconds)) for seconds in (5, 60, 200, 900))
    assert early == 20
    assert soon < 2
    assert soon < overdue < lost == 20


def test_what_is_learned_is_worth_its_while() -> None:
    """Looks times delay come within a tenth of the least possible, 20.4; a fixed interval costs 33."""
    assert cost(learned(60, 0.4), times(60, 0.4, 2000, seed=2)) < 1.1 * 20.4


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.4])
def test_the_surer_an_end_the_less_it_costs_to_see_it(sigma: float) -> None:
    """More was learned from tasks alike."""
    lasting = times(60, sigma, 500, seed=2)
    assert cost(learned(60, sigma), lasting) < 0.8 * cost(learned(60, 2 * sigma), lasting)


@given(seconds=st.floats(1, 3600), running=st.floats(0, 1e5), more=st.floats(1, 1e5))
def test_a_task_long_overdue_is_looked_at_ever_more_rarely(seconds: float, running: float, more: float) -> None:
    """No experience tells when it ends."""
    learner = told([(FOX, seconds)] * 20)
    overdue = 20 * seconds + running
    assert learner.interval(processed(overdue)) <= learner.interval(processed(overdue + more))


def test_a_task_that_hangs_for_hours_is_neither_pestered_nor_forgotten() -> None:
    """After a while a look every 20 s."""
    seen = looks(learned(), 6 * 3600)
    assert 6 * 180 < len(seen) < 6 * 180 + 120
    assert seen[-1] - seen[-2] == pytest.approx(20)


def test_the_first_task_of_a_kind_is_expected_to_take_as_long_as_its_neighbours() -> None:
    """The nearer they are, the more."""
    learner = learned(200)
    neighbours = [evolve(FOX, resolution="1080p"), Kind("img2video", "viduq2"), Kind("text2video"), FOX]
    model, endpoint, other, same = (learner.interval(processed(20, kind)) for kind in neighbours)
    unknown = Learner(Polling()).interval(processed(20))
    assert unknown < other < endpoint < model < same


def test_a_task_of_which_nothing_is_known_is_expected_to_take_as_long_as_any() -> None:
    """As one that is taken up again by its id."""
    assert learned(200).interval(processed(20, Kind())) > Learner(Polling()).interval(processed(20, Kind()))


def test_learners_of_the_same_settings_learn_apart() -> None:
    """The default settings are one value for all clients."""
    polling = Polling()
    told([(FOX, 500.0)] * 20, polling)
    assert Learner(polling).snapshot()["seen"] == []


def test_a_service_that_becomes_slower_is_noticed() -> None:
    """After a dozen tasks, most of what was learned before counts no more."""
    changed = told((FOX, seconds) for seconds in [*times(60, 0.1, 200), *times(180, 0.1, 12)])
    assert cost(changed, times(180, 0.1, 200, seed=3)) < 0.5 * cost(learned(60), times(180, 0.1, 200, seed=3))


def test_one_odd_task_changes_little() -> None:
    """It may have hung somewhere."""
    odd = told((FOX, seconds) for seconds in [*times(60, 0.1, 100), 3000.0])
    assert cost(odd, times(60, 0.1, 500, seed=2)) < 1.2 * cost(learned(), times(60, 0.1, 500, seed=2))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_time_teaches_nothing(seconds: float) -> None:
    """A clock may have jumped."""
    assert told([(FOX, seconds)]).snapshot() == Learner(Polling()).snapshot()


# Beginnings


def test_in_a_queue_a_known_kind_is_looked_at_as_rarely_as_its_beginning_need_be_known() -> None:
    """The less certain the end, the less it helps to know the beginning; but nothing is to end unseen meanwhile."""
    sharp, wide, quick = (learned(*what).interval(queued(60)) for what in ((60, 0.1), (60, 0.2), (6, 0.2)))
    assert quick < sharp < wide <= 20


def test_the_first_look_into_a_queue_comes_earlier() -> None:
    """Many tasks do not wait at all."""
    learner = learned(60, 0.2)
    assert learner.interval(queued(0)) == pytest.approx(learner.interval(queued(60)) / 2)


def test_in_a_long_queue_looks_become_rare() -> None:
    """However well the kind is known."""
    assert learned(6, 0.1).interval(queued(7200)) == 20


def test_an_uncertain_beginning_spreads_the_looks() -> None:
    """Earlier ones, as the end may be nearer, and fewer where it was to be expected."""
    learner = learned(300, 0.1)
    assert learner.interval(processed(180, margin=90)) < learner.interval(processed(180))
    assert learner.interval(processed(300, margin=90)) > learner.interval(processed(300))


def test_a_task_found_being_processed_may_end_at_any_time() -> None:
    """Nobody knows since when: looked at more often than one that just began, less often than one about to end."""
    learner = learned(60, 0.1)
    found = learner.interval(Waiting(FOX, PROCESSING, 0))
    assert learner.interval(processed(60)) < found < learner.interval(processed(0))


# Stretches


def test_an_off_peak_task_is_looked_at_once_a_minute_until_it_begins() -> None:
    """Then as often as any other."""
    for learner in (Learner(Polling()), learned()):
        waiting, running = (evolve(task, off_peak=True) for task in (queued(5), processed(60)))
        assert learner.interval(waiting) == 60
        assert learner.interval(running) == learner.interval(processed(60))


def test_a_task_that_calls_back_is_looked_at_ever_more_rarely() -> None:
    """From 5 s to a minute: looks are only the safety net."""
    known, unknown = learned(600), Learner(Polling())
    intervals = [
        learner.interval(evolve(task, is_called_back=True))
        for learner, task in (
            *((unknown, task) for task in (queued(0), queued(5), processed(5), processed(30))),
            (known, processed(300)),
        )
    ]
    assert intervals == pytest.approx([5, 7.5, 7.5, 20, 60])


@given(silence=st.floats(121, 1e6))
def test_a_callback_that_does_not_come_is_taken_for_lost(silence: float) -> None:
    """After twice the time that such tasks take, looks are as usual again."""
    learner = told([(FOX, 60.0)] * 50)
    for task in (queued(silence), processed(silence)):
        assert learner.interval(evolve(task, is_called_back=True)) == learner.interval(task)


def test_the_first_look_after_a_lost_callback_is_not_late() -> None:
    """The stretched interval ends where patience does."""
    learner = told([(FOX, 60.0)] * 50)
    assert learner.interval(evolve(processed(100), is_called_back=True)) == pytest.approx(20, abs=0.1)


# Keeping what was learned


@given(seen=sightings, waiting=tasks)
def test_what_was_learned_can_be_kept(seen: list[tuple[Kind, float]], waiting: Waiting) -> None:
    """As JSON; another learner goes on where the first one was."""
    learner, other = told(seen), Learner(Polling())
    kept = learner.snapshot()
    other.restore(json.loads(json.dumps(kept, allow_nan=False)))
    assert other.snapshot() == kept
    learner.restore({})  # so that its forecasts, too, are made anew
    for task in (waiting, *(evolve(waiting, kind=kind) for kind, _ in seen)):
        assert other.interval(task) == learner.interval(task)


def test_restored_knowledge_takes_effect_at_once() -> None:
    """Also in a learner that has been asked before."""
    fresh, knowing = Learner(Polling()), learned(200)
    unlearned = fresh.interval(processed(20))
    fresh.restore(knowing.snapshot())
    assert fresh.interval(processed(20)) == knowing.interval(processed(20)) != unlearned


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(damaged=json_values | st.fixed_dictionaries({"version": st.just(1), "seen": json_values}))
def test_a_damaged_snapshot_is_left_out(damaged: Any) -> None:
    """The journal may have been written by another version, or by somebody else."""
    learner = learned()
    learner.restore(damaged)
    assert learner.snapshot() == learned().snapshot()


@given(place=st.integers(0, 6), value=json_values, waiting=tasks)
def test_a_damaged_row_does_no_harm(place: int, value: Any, waiting: Waiting) -> None:
    """It is left out if it makes no sense, and the others are taken in; whatever is taken in leads to an interval."""
    good, bad = (["img2video", "", "", None, weight, 4.0, 1.0] for weight in (5.0, 6.0))
    bad[place] = value
    learner = Learner(Polling())
    learner.restore({"version": 1, "seen": [bad, good]})
    assert good in learner.snapshot()["seen"]
    assert 1 <= learner.interval(evolve(waiting, off_peak=False, is_called_back=False)) <= 20


def test_a_snapshot_of_another_version_is_left_out() -> None:
    """It may mean something else."""
    learner = Learner(Polling())
    learner.restore(learned().snapshot() | {"version": 2})
    assert learner.snapshot()["seen"] == []


def test_the_kinds_of_which_nothing_is_heard_are_forgotten() -> None:
    """What is kept stays small; what all have in common, and what was heard of last, stays."""
    learner = told((Kind("img2video", f"model-{number}"), 60.0) for number in range(1000))
    rows = learner.snapshot()["seen"]
    kept = {tuple(row[:2]) for row in rows}
    assert len(rows) == 256
    assert {("", ""), ("img2video", ""), ("img2video", "model-999")} < kept
    assert ("img2video", "model-0") not in kept
    learner.restore({"version": 1, "seen": [[f"endpoint-{n}", "", "", None, 1.0, 1.0, 0.0] for n in range(1000)]})
    assert len(learner.snapshot()["seen"]) == 256


def test_any_number_of_kinds_may_be_asked_about() -> None:
    """Forecasts are kept for as long as they are few."""
    learner = learned()
    intervals = {learner.interval(processed(20, evolve(FOX, resolution=f"{lines} lines"))) for lines in range(1000)}
    assert len(intervals) == 1


# Pauses


def test_pauses_are_drawn_below_a_bound_that_doubles() -> None:
    """Full jitter: from nothing to the bound, and never above the largest."""
    drawn = [list(itertools.islice(waits(0.5, 20.0), 12)) for _ in range(200)]
    for attempt, pauses in enumerate(zip(*drawn, strict=True)):
        bound = min(0.5 * 2**attempt, 20.0)
        assert min(pauses) >= 0
        assert bound / 2 < max(pauses) <= bound
