"""A client against an account that takes so many tasks and no more: what it is paid for, how often it is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import faulty
import pytest
from fates import journal_at

from vidu_async import (
    Limiter,
    Limits,
    RateLimitError,
    TaskHandle,
    TextToVideo,
    Timeouts,
    ViduClient,
)
from vidu_async.journal import RowState
from vidu_async.testing import Simulator, Throttle, run_virtual

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")
CREATE, QUERY = "POST /ent/v2/text2video", "GET /ent/v2/tasks/{id}/creations"
MINUTE = 600.0
"""The scale on which a task takes about a minute."""


def test_a_quota_below_what_is_wanted_is_used_with_few_refusals() -> None:
    """Forty runs through a quota of four: all end well, and most requests are taken."""

    async def main() -> tuple[int, int]:
        async with (
            Simulator(throttle=Throttle(quota=4), time_scale=MINUTE, seed=1) as sim,
            sim.client(timeouts=Timeouts(submit=36_000)) as vidu,
        ):
            tasks = await asyncio.gather(*(vidu.run(LAKE) for _ in range(40)))
            assert all(task.has_result for task in tasks)
            return len(sim.accepted), sim.requests[CREATE]

    accepted, asked = run_virtual(main())
    assert accepted == 40
    assert asked < 60


def test_places_of_tasks_that_have_ended_meanwhile_are_given_out_once() -> None:
    """After a batch through the quota, one run after the other: nobody asks about a task until its place is wanted."""

    async def main() -> None:
        async with (
            Simulator(throttle=Throttle(quota=4), time_scale=MINUTE, seed=1) as sim,
            sim.client(limits=Limits(submissions=2)) as vidu,
        ):
            kept = []

            async def one() -> None:
                kept.append(await vidu.submit(LAKE))
                await kept[-1]

            for size in (5, *[1] * 11):
                await asyncio.gather(*(one() for _ in range(size)))
            assert len(sim.accepted) == 16

    run_virtual(main())


def test_the_quota_of_an_account_is_shared_by_its_clients() -> None:
    """Two of them with one limiter learn together."""

    async def main() -> None:
        limiter = Limiter()
        async with (
            Simulator(throttle=Throttle(quota=3), time_scale=MINUTE, seed=1) as sim,
            sim.client(limits=limiter) as first,
            sim.client(limits=limiter) as second,
        ):
            tasks = await asyncio.gather(*(vidu.run(LAKE) for vidu in [first, second] * 6))
            assert all(task.has_result for task in tasks)
            assert sim.requests[CREATE] < 30

    run_virtual(main())


def test_places_come_back_though_nobody_waits_for_the_tasks() -> None:
    """Submissions wait for them, so their ends are looked for; before the first refusal nobody is asked."""

    async def main() -> None:
        async with (
            Simulator(throttle=Throttle(quota=3), time_scale=MINUTE, seed=1) as sim,
            sim.client() as vidu,
        ):
            handles = [await vidu.submit(LAKE) for _ in range(3)]
            await asyncio.sleep(300)
            assert sim.requests[QUERY] == 0
            handles += [await vidu.submit(LAKE) for _ in range(9)]
            assert sim.requests[QUERY] > 0
            assert len(sim.accepted) == len(handles) == 12

    run_virtual(main())


def test_who_waits_for_a_place_until_the_deadline_is_told_why(tmp_path: Path) -> None:
    """The one task of the account outlasts `Timeouts.submit`: nothing is paid, and the key is free again."""

    async def main() -> None:
        async with (
            Simulator(throttle=Throttle(quota=1), time_scale=MINUTE * 100, seed=1) as sim,
            journal_at(tmp_path) as journal,
            sim.client(journal=journal, timeouts=Timeouts(submit=100)) as vidu,
        ):
            first = await vidu.submit(LAKE)
            began = asyncio.get_running_loop().time()
            with pytest.raises(RateLimitError, match="QuotaExceeded") as caught:
                await vidu.submit(LAKE, key="late")
            assert asyncio.get_running_loop().time() - began == pytest.approx(100, abs=0.1)
            assert (caught.value.paid, caught.value.key) == ("no", "late")
            row = journal.find("late")
            assert row is not None
            assert (row.state, row.status) == (RowState.REFUSED, 429)
            await first.wait(timeout=None)
            assert isinstance(await vidu.submit(LAKE, key="late"), TaskHandle)

    run_virtual(main())


def test_who_leaves_while_it_waits_for_a_place_is_not_sent() -> None:
    """It was refused once; its caller gives up before a task has ended."""

    async def main() -> None:
        async with (
            Simulator(throttle=Throttle(quota=1), time_scale=MINUTE, seed=1) as sim,
            sim.client() as vidu,
        ):
            first = await vidu.submit(LAKE)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await vidu.submit(LAKE)
            await first
            assert len(sim.accepted) == 1
            await vidu.submit(LAKE)
            assert len(sim.accepted) == 2

    run_virtual(main())


def test_throttled_submissions_go_out_in_the_order_of_asking() -> None:
    """Nobody younger overtakes one that was refused."""
    order: list[int] = []

    async def now_and_then(connection: faulty.Connection, asked: faulty.Asked) -> None:
        order.append(int(json.loads(asked.body)["prompt"]))
        busy = faulty.refuse(429, "TooManyRequests")
        await (busy if len(order) % 3 == 0 else faulty.created(str(len(order))))(connection, asked)

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[now_and_then]) as server,
            ViduClient("test-key", base_url=server.url, limits=Limits(submissions=1)) as vidu,
        ):
            requests = [TextToVideo(model="viduq2", prompt=str(number)) for number in range(12)]
            await asyncio.gather(*map(vidu.submit, requests))

    run_virtual(main())
    assert order == sorted(order)
    assert [number for number in range(12) if order.count(number) == 2] == [2, 4, 6, 8, 10]
