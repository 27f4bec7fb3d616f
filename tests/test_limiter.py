"""The limiter: who may submit, in which order, and that no place is ever lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_async import ConfigError, LimiterFullError, Limits
from vidu_async.limiter import Limiter, Permit
from vidu_async.testing import run_virtual


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_requests_than_allowed_are_sent_at_once() -> None:
    """The ninth submission waits until one of eight has been sent."""
    limiter = Limiter()
    permits = [await limiter.acquire() for _ in range(8)]
    ninth = asyncio.create_task(limiter.acquire())
    await settle()
    assert not ninth.done()
    permits[3].sent()
    assert isinstance(await ninth, Permit)


async def test_permits_are_given_first_come_first_served() -> None:
    """Waiters get their permits in the order in which they asked."""
    limiter = Limiter(Limits(submissions=1))
    order: list[int] = []

    async def submit(number: int) -> None:
        permit = await limiter.acquire()
        order.append(number)
        await asyncio.sleep(0)
        permit.release()

    await asyncio.gather(*(submit(number) for number in range(50)))
    assert order == list(range(50))


async def test_who_has_waited_before_goes_first() -> None:
    """A submission that comes back from a 429 is not sent to the end of the queue."""
    limiter = Limiter(Limits(submissions=1))
    held = await limiter.acquire()
    later = asyncio.create_task(limiter.acquire())
    await settle()
    again = asyncio.create_task(limiter.acquire(first=True))
    await settle()
    held.release()
    (await again).release()
    (await later).release()


async def test_a_task_in_flight_keeps_its_place_until_it_ends() -> None:
    """`sent()` frees the request's place, `release()` the task's."""
    limiter = Limiter(Limits(in_flight=1))
    first = await limiter.acquire()
    first.sent()
    second = asyncio.create_task(limiter.acquire())
    await settle()
    assert not second.done()
    first.release()
    await second


async def test_a_permit_gives_back_its_places_once() -> None:
    """Giving back twice does not make room for two."""
    limiter = Limiter(Limits(submissions=1, in_flight=1))
    permit = await limiter.acquire()
    for _ in range(3):
        permit.sent()
        permit.release()
    await limiter.acquire()
    second = asyncio.create_task(limiter.acquire())
    await settle()
    assert not second.done()
    second.cancel()


async def test_a_full_queue_is_refused() -> None:
    """With `queue=2` a third waiter gets an error at once, and the two keep their places."""
    limiter = Limiter(Limits(submissions=1, queue=2))
    held = await limiter.acquire()
    waiters = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
    await settle()
    with pytest.raises(LimiterFullError, match="2 submissions are waiting") as caught:
        await limiter.acquire()
    assert caught.value.paid == "no"
    held.release()
    for waiter in waiters:
        (await waiter).release()


async def test_a_queue_of_none_still_lets_through_what_need_not_wait() -> None:
    """`queue=0` means: at once or not at all."""
    limiter = Limiter(Limits(submissions=1, queue=0))
    held = await limiter.acquire()
    with pytest.raises(LimiterFullError):
        await limiter.acquire()
    held.release()
    (await limiter.acquire()).release()


def test_the_rate_is_kept_exactly() -> None:
    """Ten submissions at four a second start a quarter of a second apart."""

    async def main() -> list[float]:
        limiter = Limiter(Limits(submissions=100, rate=4))
        loop = asyncio.get_running_loop()

        async def start() -> float:
            await limiter.acquire()
            return loop.time()

        return await asyncio.gather(*(start() for _ in range(10)))

    assert run_virtual(main()) == pytest.approx([number / 4 for number in range(10)])


def test_a_rest_does_not_save_up_a_burst() -> None:
    """After a pause the rate is the same as before."""

    async def main() -> float:
        limiter = Limiter(Limits(rate=1))
        await limiter.acquire()
        await asyncio.sleep(60)
        for _ in range(3):
            await limiter.acquire()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(62)


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """Whoever stood behind it moves up."""
    limiter = Limiter(Limits(submissions=1))
    held = await limiter.acquire()
    gone, waiting = (asyncio.create_task(limiter.acquire()) for _ in range(2))
    await settle()
    gone.cancel()
    await settle()
    assert limiter.waiting == 1
    held.release()
    (await waiting).release()


async def test_a_waiter_cancelled_in_the_moment_of_its_permit_gives_it_back() -> None:
    """Granted and cancelled in one turn of the loop: the place is not lost."""
    limiter = Limiter(Limits(submissions=1, in_flight=1))
    held = await limiter.acquire()
    waiter = asyncio.create_task(limiter.acquire())
    await settle()
    held.release()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    async with asyncio.timeout(1):
        await limiter.acquire()


@settings(max_examples=60, deadline=None)
@given(
    at_once=st.integers(1, 4),
    in_flight=st.none() | st.integers(1, 6),
    steps=st.lists(st.tuples(st.sampled_from("acsr"), st.integers(0, 20)), max_size=60),
)
def test_whatever_happens_the_bounds_hold_and_no_place_is_lost(  # noqa: C901 - a small machine in one piece
    at_once: int, in_flight: int | None, steps: list[tuple[str, int]]
) -> None:
    """Any mix of asking, cancelling, sending and releasing keeps both bounds, and leaves all places free at the end."""

    async def main() -> None:  # noqa: C901 - as above
        limiter = Limiter(Limits(submissions=at_once, in_flight=in_flight))
        waiting: list[asyncio.Task[Permit]] = []
        sending: list[Permit] = []
        flying: list[Permit] = []
        for step, number in steps:
            if step == "a":
                waiting.append(asyncio.create_task(limiter.acquire()))
            elif step == "c" and waiting:
                waiting.pop(number % len(waiting)).cancel()
            elif step == "s" and sending:
                permit = sending.pop(number % len(sending))
                permit.sent()
                flying.append(permit)
            elif step == "r" and flying:
                flying.pop(number % len(flying)).release()
            if number % 3:
                await settle()
            for task in [task for task in waiting if task.done()]:
                waiting.remove(task)
                sending.append(task.result())
            assert len(sending) <= at_once
            assert in_flight is None or len(sending) + len(flying) <= in_flight
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for permit in sending + flying:
            permit.release()
        async with asyncio.timeout(1):
            for permit in [await limiter.acquire() for _ in range(min(at_once, in_flight or at_once))]:
                permit.release()

    asyncio.run(main())


def test_a_limiter_serves_successive_loops() -> None:
    """What waited in a loop that ended is gone with it; a permit of its time is still given back."""
    limiter = Limiter(Limits(submissions=1, rate=1000))

    async def first() -> Permit:
        permit = await limiter.acquire()
        asyncio.create_task(limiter.acquire())  # noqa: RUF006 - left behind on purpose
        await settle()
        return permit

    async def second(permit: Permit) -> None:
        permit.release()
        async with asyncio.timeout(1):
            (await limiter.acquire()).release()

    asyncio.run(second(asyncio.run(first())))


async def test_a_limiter_refuses_a_second_running_loop() -> None:
    """Two loops at once would hand out permits behind each other's back."""
    limiter = Limiter()
    await limiter.acquire()

    def elsewhere() -> None:
        asyncio.run(limiter.acquire())

    with pytest.raises(ConfigError, match="one event loop"):
        await asyncio.to_thread(elsewhere)


@pytest.mark.parametrize(
    "settings",
    [
        *({"submissions": value} for value in (0, None, True, 2.5)),
        *({"rate": value} for value in (0, -1, float("nan"))),
        {"in_flight": 0},
        {"queue": -1},
    ],
)
def test_limits_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Limits(**settings)
