"""When to look, and how long to pause: pure functions of age and attempt."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import ConfigError, Polling, Task, TaskState
from vidu_async.retry import waits


@given(age=st.floats(0, 1e6), task=st.none() | st.builds(Task, id=st.just("1"), state=st.sampled_from(TaskState)))
def test_an_interval_is_within_its_bounds(age: float, task: Task | None) -> None:
    """Whatever the age, and whether or not anything is known."""
    assert 1.0 <= Polling().interval(task, age) <= 20.0


@given(ages=st.lists(st.floats(0, 1e6), min_size=2, max_size=2).map(sorted))
def test_older_tasks_are_looked_at_no_more_often(ages: list[float]) -> None:
    """A task that has taken long will take longer."""
    young, old = (Polling(0.5, 60).interval(None, age) for age in ages)
    assert young <= old


def test_an_off_peak_task_is_looked_at_once_a_minute_until_it_begins() -> None:
    """Then as often as any other."""
    waiting = Task(id="1", state=TaskState.QUEUEING, off_peak=True)
    running = Task(id="1", state=TaskState.PROCESSING, off_peak=True)
    assert Polling().interval(waiting, 5.0) == 60.0
    assert Polling().interval(running, 5.0) == 1.0


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
    assert Polling(max_interval=0.01).interval(None, 100) == 0.01
    assert Polling(min_interval=30).interval(None, 0) == 30


def test_pauses_are_drawn_below_a_bound_that_doubles() -> None:
    """Full jitter: from nothing to the bound, and never above the largest."""
    drawn = [list(itertools.islice(waits(0.5, 20.0), 12)) for _ in range(200)]
    for attempt, pauses in enumerate(zip(*drawn, strict=True)):
        bound = min(0.5 * 2**attempt, 20.0)
        assert min(pauses) >= 0
        assert bound / 2 < max(pauses) <= bound
