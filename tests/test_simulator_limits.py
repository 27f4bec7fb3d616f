"""How much the simulated service lets in, and how late it shows what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import accumulate
from random import Random
from typing import Any

import pytest
from asking import FOX, KEY, Caller, calling
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import TextToVideo
from vidu_async.testing import Faults, Refusal, Simulator, Throttle, run_virtual
from vidu_async.testing.account import Account, Pace
from vidu_async.testing.throttle import Door

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")


TODAY = 1_800_000_000.0


def knock(door: Door, moments: Iterable[float]) -> list[bool]:
    """Return for each moment whether a creation is let in."""
    account = Account(credits=1, concurrency=1, pace=Pace(), random=Random(1), now=TODAY)

    def is_let_in(moment: float) -> bool:
        try:
            door.admit(account, moment)
        except Refusal:
            return False
        return True

    return [is_let_in(moment) for moment in moments]


@given(st.floats(0.01, 100), st.integers(1, 50))
def test_whoever_comes_exactly_as_often_as_allowed_is_always_let_in(rate: float, times: int) -> None:
    """Rounding refuses nobody, although the second's worth is used up."""
    door = Door(Throttle(rate=rate))
    assert knock(door, [TODAY] * 101)[-1] is False
    assert all(knock(door, [TODAY + number / rate for number in range(1, times + 1)]))


@given(st.floats(0.01, 100), st.lists(st.floats(0, 3), min_size=1, max_size=200))
def test_never_more_are_let_in_than_the_rate_and_one_seconds_worth(rate: float, pauses: list[float]) -> None:
    """Whenever they come."""
    moments = [TODAY + moment for moment in accumulate(pauses)]
    let_in = sum(knock(Door(Throttle(rate=rate)), moments))
    assert let_in <= max(rate, 1) + rate * (moments[-1] - moments[0]) + 0.01


def test_permits_are_not_lost_where_time_seems_to_go_back() -> None:
    """The account's time stands still instead."""
    assert knock(Door(Throttle(rate=2)), [TODAY + 10, TODAY, TODAY]) == [True, True, False]


def test_creations_above_the_rate_are_refused_until_time_has_passed() -> None:
    """A second's worth may come at once, then one at each interval; a refusal uses nothing up."""

    async def main() -> list[list[int]]:
        async with calling(throttle=Throttle(rate=2)) as caller:
            found = []
            for pause in (0, 0.6, 10):
                await asyncio.sleep(pause)
                found.append([(await caller.post("img2video", FOX))[0] for _ in range(3)])
            return found

    assert run_virtual(main()) == [[200, 200, 429], [200, 429, 429], [200, 200, 429]]


async def test_tasks_above_the_quota_are_refused_until_one_has_ended() -> None:
    """Cancelled ones have ended, too."""
    async with calling(throttle=Throttle(quota=2), time_scale=1000) as caller:
        first = (await caller.create())["task_id"]
        await caller.create()
        status, answer = await caller.post("img2video", FOX)
        assert (status, answer["reason"]) == (429, "QuotaExceeded")
        await caller.cancel(first)
        await caller.create()


@pytest.mark.parametrize(("seconds", "value"), [(None, None), (2, "2"), (0.25, "1"), (1e20, "1" + "0" * 20)])
async def test_a_429_may_say_when_to_come_again(seconds: float | None, value: str | None) -> None:
    """In whole seconds of its Retry-After header, refusals by lot included."""
    faults = Faults(refusals={"SystemThrottling": 1.0})
    async with (
        calling(faults=faults, throttle=Throttle(retry_after=seconds)) as caller,
        caller.session.post(f"{caller.vidu.url}/ent/v2/img2video", json=FOX, headers=KEY) as response,
    ):
        assert (response.status, response.headers.get("Retry-After")) == (429, value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "rate must be a finite number above 0, not 0"),
        ({"rate": "1"}, "rate must be a finite number above 0, not '1'"),
        ({"quota": -1}, "quota must be a whole number from 1 on, not -1"),
        ({"quota": 0.5}, "quota must be a whole number from 1 on, not 0.5"),
        ({"retry_after": -1}, "retry_after must be a number of seconds from 0 on, not -1"),
    ],
)
def test_a_throttle_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    """A closed door is no throttle."""
    with pytest.raises(ValueError, match=message):
        Throttle(**options)


def test_a_new_task_cannot_be_queried_before_the_lag_has_passed() -> None:
    """It is not found meanwhile, though accepted."""

    async def main() -> list[int]:
        async with calling(query_lag=30, time_scale=10) as caller:
            task_id = (await caller.create())["task_id"]
            found = []
            for pause in (0, 29, 2):
                await asyncio.sleep(pause)
                found.append((await caller.ask("GET", f"tasks/{task_id}/creations"))[0])
            return found

    assert run_virtual(main()) == [404, 404, 200]


def test_a_new_task_is_not_listed_before_the_lag_has_passed() -> None:
    """It can be queried meanwhile."""

    async def main() -> list[int]:
        async with calling(list_lag=30) as caller:
            task_id = (await caller.create())["task_id"]
            await caller.query(task_id)
            found = []
            for pause in (0, 31):
                await asyncio.sleep(pause)
                found.append(len((await caller.ask("GET", "tasks"))[1]["tasks"]))
            return found

    assert run_virtual(main()) == [0, 1]


def test_a_link_lives_as_long_as_it_was_told() -> None:
    """Covers, too; and a query after that signs anew."""

    async def main() -> list[int]:
        async with calling(link_life=60) as caller:
            task_id = (await caller.create())["task_id"]
            await asyncio.sleep(1)
            answer = await caller.query(task_id)
            links = [answer["creations"][0][name] for name in ("url", "cover_url")]
            assert all("X-Amz-Expires=60&" in link for link in links)
            await asyncio.sleep(50)
            found = [await status(caller, link) for link in links]
            await asyncio.sleep(20)
            found += [await status(caller, link) for link in links]
            renewed = (await caller.query(task_id))["creations"][0]["url"]
            return [*found, await status(caller, renewed)]

    assert run_virtual(main()) == [200, 200, 403, 403, 200]


async def status(caller: Caller, link: str) -> int:
    """Return the status of a link."""
    async with caller.session.get(link) as response:
        return response.status


def test_the_client_waits_through_a_throttle() -> None:
    """It is told when to come again, and does."""

    async def main() -> tuple[int, int]:
        async with Simulator(throttle=Throttle(rate=0.1, retry_after=10)) as sim, sim.client() as vidu:
            handles = await asyncio.gather(*(vidu.submit(LAKE) for _ in range(3)))
            await asyncio.gather(*handles)
            return len(sim.accepted), sim.requests["POST /ent/v2/text2video"]

    accepted, asked = run_virtual(main())
    assert accepted == 3
    assert asked > 3
