"""The level: how many a server lets in, learned from its refusals."""

from __future__ import annotations

import math

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from vidu_async.level import Level

LONGEST = 320.0
"""Seconds after which one more is tried, however many tries were refused."""


@define
class Crowd:
    """As many as may come to a door with a cap, one after the other; none leaves by itself."""

    cap: int
    level: Level = field(factory=Level)
    there: int = 0
    now: float = 0.0
    refusals: int = 0

    def come(self, wanted: int) -> None:
        """Have as many come as may at this moment."""
        for _ in range(wanted):
            self.now += 1e-6
            if self.level.opens(self.there, self.now) > self.now:
                return
            self.ask()

    def ask(self) -> None:
        """Have one ask and be answered."""
        asked, count = self.now, self.there + 1
        self.level.asked(count, asked)
        self.now += 1e-6
        if self.there < self.cap:
            self.there = count
            self.level.accepted(count, asked)
        else:
            self.refusals += 1
            self.level.refused(self.there, asked, self.now)

    def wait(self) -> None:
        """Let pass what there is to wait for."""
        self.now = max(self.now, self.level.opens(self.there, self.now))


def refused_at(others: int) -> Level:
    """Return a level that has learned of one refusal, at second 1."""
    level = Level()
    level.refused(others, asked=0, now=1)
    return level


def test_without_a_refusal_everybody_may_come() -> None:
    """Vidu queues what exceeds the account's concurrency, so nothing is held back in advance."""
    level = Level()
    level.accepted(1000, asked=0)
    assert level.most == math.inf
    assert level.opens(10**6, 5) == 5


def test_a_refusal_sets_the_level_to_what_was_there() -> None:
    """Twenty others were there: twenty may be there from now on."""
    level = refused_at(20)
    assert level.most == 20
    assert level.opens(19, 1) == 1
    assert level.opens(20, 1) > 1


@given(order=st.permutations(range(20, 28)))
def test_the_refusals_of_one_burst_are_one_piece_of_news(order: list[int]) -> None:
    """Eight of twenty-eight are refused, in any order: the level is twenty, and the next try is no farther away."""
    burst, single = Level(), refused_at(20)
    for others in order:
        burst.refused(others, asked=0, now=1)
    assert burst.most == 20
    assert burst.opens(20, 1) == single.opens(20, 1)


def test_a_refusal_with_nobody_there_says_nothing_about_how_many() -> None:
    """Others have filled the server; how many of ours it takes is no less for that."""
    level = refused_at(0)
    assert level.most == math.inf
    assert level.is_doubtful
    again = refused_at(7)
    again.refused(0, asked=2, now=3)
    assert again.most == 7


def test_a_refusal_below_the_level_lets_one_at_a_time_try_until_one_is_let_in() -> None:
    """The cap has moved down by nobody knows how much."""
    level = refused_at(20)
    level.accepted(20, asked=2)
    assert not level.is_doubtful
    level.refused(12, asked=3, now=4)
    assert level.is_doubtful
    assert level.most == 12
    level.accepted(9, asked=5)
    assert not level.is_doubtful


def test_a_refused_try_leaves_the_level_and_doubles_the_while() -> None:
    """One more than twenty is tried again and again, at growing intervals, up to a longest."""
    level, now, whiles = refused_at(20), 1.0, []
    for _ in range(9):
        opens = level.opens(20, now)
        whiles.append(opens - now)
        level.asked(21, opens)
        now = opens + 1
        level.refused(20, asked=opens, now=now)
        assert level.most == 20
        assert not level.is_doubtful
    assert whiles == pytest.approx([5, 10, 20, 40, 80, 160, 320, 320, 320])


def test_a_try_also_comes_after_many_were_let_in() -> None:
    """Where tasks are short nobody waits for seconds: one in some that were let in is a try."""
    level = refused_at(20)
    level.accepted(20, asked=2)
    assert level.opens(20, 2) > 2
    level.accepted(20, asked=2)
    assert level.opens(20, 2) == 2


def test_a_try_is_on_its_way_alone() -> None:
    """Whether it is answered or not, the next one keeps its distance."""
    level = refused_at(20)
    level.asked(21, 100)
    assert level.opens(20, 100) == pytest.approx(105)


def test_what_was_asked_before_the_last_refusal_raises_nothing() -> None:
    """Its place may have been free at the time."""
    level = Level()
    level.refused(20, asked=1, now=3)
    level.accepted(25, asked=2)
    assert level.most == 20


@given(cap=st.integers(1, 50))
def test_a_cap_is_found_with_one_refusal(cap: int) -> None:
    """Asked one after the other, whoever is one too many tells the level."""
    crowd = Crowd(cap)
    crowd.come(100)
    assert crowd.there == crowd.level.most == cap
    assert crowd.refusals == 1


@given(first=st.integers(1, 30), more=st.integers(1, 30), refused=st.integers(0, 8))
def test_a_cap_that_moved_up_is_followed_to_its_end(first: int, more: int, refused: int) -> None:
    """After the wait for one try all others follow at once, and one refusal tells that it is enough."""
    crowd = Crowd(first)
    crowd.come(first + 1)
    for _ in range(refused):
        crowd.wait()
        crowd.come(1)
    crowd.cap, crowd.refusals, began = first + more, 0, crowd.now
    crowd.wait()
    crowd.come(100)
    assert crowd.there == crowd.level.most == first + more
    assert crowd.refusals == 1
    assert crowd.now - began <= LONGEST + 1


@given(first=st.integers(2, 40), less=st.integers(1, 39))
def test_a_cap_that_moved_down_is_followed(first: int, less: int) -> None:
    """One leaves, one asks, one is refused, until they fit."""
    crowd = Crowd(first)
    crowd.come(first + 1)
    crowd.cap = max(1, first - less)
    for _ in range(first):
        crowd.there -= 1
        crowd.come(1)
    assert crowd.level.most <= crowd.there + 1
    assert crowd.there <= crowd.cap


EVENTS = st.tuples(st.sampled_from(("asked", "accepted", "refused", "restart")), st.integers(0, 40), st.floats(0, 10))


@given(events=st.lists(EVENTS, max_size=60))
def test_whatever_it_is_told_one_may_always_come_in_time(events: list[tuple[str, int, float]]) -> None:
    """Never below one, and never later than after the longest while: progress is always made."""
    level, now, asked = Level(), 0.0, 0.0
    for kind, count, pause in events:
        before, now = now, now + pause
        if kind == "asked":
            asked = now
            level.asked(count, now)
        elif kind == "accepted":
            level.accepted(count, asked)
        elif kind == "refused":
            level.refused(count, min(asked, before), now)
        else:
            level.restart(now)
        assert level.most >= 1
        assert level.opens(0, now) == now
        for there in (1, count, 10**6):
            assert now <= level.opens(there, now) <= now + LONGEST


def test_another_clock_keeps_what_was_learned() -> None:
    """A later event loop starts with the level of the one before, and waits no longer than for any try."""
    level = refused_at(20)
    level.refused(10, asked=10**6, now=10**6)
    level.restart(3.0)
    assert level.most == 10
    assert level.opens(10, 3.0) == pytest.approx(8)
    level.refused(9, asked=4, now=5)
    assert level.most == 9
