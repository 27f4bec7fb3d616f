"""The limiter: who may submit, in which order, and that no place is ever lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_async import ConfigError, LimiterFullError, Limits, RateLimitError
from vidu_async.limiter import Limiter, Permit
from vidu_async.testing import VirtualClockLoop, run_virtual
from vidu_async.turn import Turn


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


async def test_who_comes_again_goes_first() -> None:
    """A submission that comes back from a 429 is not sent to the end of the queue, and keeps no place meanwhile."""
    limiter = Limiter(Limits(submissions=1))
    held = await limiter.acquire()
    later = asyncio.create_task(limiter.acquire())
    await settle()
    again = asyncio.create_task(limiter.acquire(held))
    await settle()
    assert again.done()
    assert not later.done()
    again.result().release()
    (await later).release()


async def test_those_who_come_again_keep_their_order() -> None:
    """Of several that were refused the oldest is the first, whoever was refused first."""
    limiter = Limiter(Limits(submissions=3))
    held = [await limiter.acquire() for _ in range(3)]
    limiter.close_for(0.01)
    again = [asyncio.create_task(limiter.acquire(held[number])) for number in (2, 0, 1)]
    new = asyncio.create_task(limiter.acquire())
    await settle()
    permits = [await waiter for waiter in again]
    assert [permit.at_once for permit in permits] == [3, 1, 2]
    for permit in permits:
        permit.release()
    await new


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


class LateLoop(VirtualClockLoop):
    """Wakes a millisecond late each time, like a busy machine."""

    def skip(self, seconds: float) -> None:
        """Let time pass, and a little more."""
        super().skip(seconds + 0.001)


def test_a_late_timer_does_not_slow_the_rate_down() -> None:
    """A hundred starts at a hundred a second take a second, though each comes a little late."""

    async def main() -> float:
        limiter = Limiter(Limits(submissions=101, rate=100))
        for _ in range(101):
            await limiter.acquire()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        assert runner.run(main()) == pytest.approx(1, abs=0.002)


def test_a_start_is_given_back_with_its_permit() -> None:
    """Granted and cancelled in one turn of the loop: the next one starts in its stead, not an interval later."""

    async def main() -> float:
        limiter = Limiter(Limits(rate=1))
        await limiter.acquire()
        gone = asyncio.create_task(limiter.acquire())
        next_one = asyncio.create_task(limiter.acquire())
        loop = asyncio.get_running_loop()
        # At second 1 the timer grants it, and this one cancels it before it can hear of that.
        await asyncio.sleep(0)
        loop.call_at(1.0, gone.cancel)
        await next_one
        assert gone.cancelled()
        return loop.time()

    assert run_virtual(main()) == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(comers=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 8)), min_size=1, max_size=15))
def test_as_many_start_as_the_rate_says(comers: list[tuple[int, int | None]]) -> None:
    """Whoever comes and leaves whenever: each start is when its turn is due, not earlier and not later.

    Times are half intervals; somebody who leaves in the moment of the permit may have it or not.
    """

    async def main() -> list[tuple[float, float]]:
        limiter, loop = Limiter(Limits(submissions=99, rate=1)), asyncio.get_running_loop()
        starts: list[tuple[float, float]] = []

        async def submit(came: float, leaves: float | None) -> None:
            await asyncio.sleep(came)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(leaves):
                    await limiter.acquire()
                starts.append((came, loop.time()))

        async with asyncio.TaskGroup() as group:
            for came, leaves in comers:
                group.create_task(submit(came / 2, None if leaves is None else leaves / 2))
        return starts

    free = 0.0
    for came, start in run_virtual(main()):
        assert start == pytest.approx(max(came, free))
        free = start + 1


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


async def test_a_flood_of_waiters_who_leave_leaves_nothing_behind() -> None:
    """While nothing moves, what they left in the queue does not grow."""
    limiter = Limiter(Limits(submissions=1))
    held = await limiter.acquire()
    for _ in range(50):
        waiters = [asyncio.create_task(limiter.acquire()) for _ in range(20)]
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
    assert limiter.waiting == 0
    assert len(limiter._order) < 200
    held.release()
    (await limiter.acquire()).release()


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


# The queue's bound


async def test_whoever_left_the_queue_makes_room_at_once() -> None:
    """Even before they could notice themselves that they were cancelled."""
    limiter = Limiter(Limits(submissions=1, queue=1))
    held = await limiter.acquire()
    gone = asyncio.create_task(limiter.acquire())
    await settle()
    waiting = asyncio.create_task(limiter.acquire())  # its first step is taken before the cancelled one's last
    gone.cancel()
    refused = asyncio.create_task(limiter.acquire())
    await settle()
    assert gone.cancelled()
    assert isinstance(refused.exception(), LimiterFullError)
    held.release()
    (await waiting).release()


async def test_a_queue_of_none_refuses_what_would_have_to_wait_for_the_gate() -> None:
    """There is place, but the server asked to come back later."""
    limiter = Limiter(Limits(queue=0))
    limiter.close_for(60)
    with pytest.raises(LimiterFullError, match="queue=0"):
        await limiter.acquire()


def test_a_queue_of_none_refuses_what_would_have_to_wait_for_the_rate() -> None:
    """A second later it is let through."""

    async def main() -> None:
        limiter = Limiter(Limits(queue=0, rate=1))
        await limiter.acquire()
        with pytest.raises(LimiterFullError):
            await limiter.acquire()
        await asyncio.sleep(1)
        await limiter.acquire()

    run_virtual(main())


async def test_whoever_comes_again_finds_room_in_a_full_queue() -> None:
    """It was let in once; only who comes anew is refused."""
    limiter = Limiter(Limits(submissions=1, queue=1))
    held = await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await settle()
    limiter.close_for(0.01)
    again = asyncio.create_task(limiter.acquire(held))
    await settle()
    assert limiter.waiting == 2
    with pytest.raises(LimiterFullError, match="2 submissions are waiting"):
        await limiter.acquire()
    (await again).release()
    (await waiting).release()


# What the server lets in


@define(eq=False)
class Far:
    """A task far away, as a handle knows it."""

    is_over: bool = False
    is_looked_at: bool = False
    listeners: list[Callable[[], None]] = field(factory=list)

    def _at_end(self, listener: Callable[[], None]) -> None:
        self.is_looked_at = True
        listener() if self.is_over else self.listeners.append(listener)

    def end(self) -> None:
        """Be over, and tell those who listen."""
        self.is_over = True
        for listener in self.listeners:
            listener()


async def flying(limiter: Limiter, count: int) -> list[Far]:
    """Have some tasks accepted."""
    handles = [Far() for _ in range(count)]
    for handle in handles:
        permit = await limiter.acquire()
        permit.accepted()
        permit.follow(handle)
    return handles


def quota(retry_after: float | None = None) -> RateLimitError:
    """Return the refusal that speaks of tasks in flight."""
    return RateLimitError("exceeded concurrency limit", status=429, reason="QuotaExceeded", retry_after=retry_after)


def busy(retry_after: float | None = None) -> RateLimitError:
    """Return one that speaks of requests."""
    return RateLimitError("slow down", status=429, reason="TooManyRequests", retry_after=retry_after)


async def refused(limiter: Limiter, error: RateLimitError, pause: float = 1.0) -> Turn:
    """Return the turn of a submission that was sent and refused."""
    turn = Turn(limiter, patience=600)
    await turn.come()
    assert turn.refused(error, pause)
    return turn


def test_who_is_refused_for_the_quota_waits_for_a_task_to_end() -> None:
    """Not for a pause: it is sent in the moment when one of ours has ended."""

    async def main() -> None:
        limiter = Limiter()
        handles = await flying(limiter, 3)
        turn = await refused(limiter, quota(), pause=100)
        coming = asyncio.create_task(turn.come())
        await asyncio.sleep(2)
        assert not coming.done()
        handles[1].end()
        await settle()
        assert coming.done()

    run_virtual(main())


def test_who_waits_for_a_task_that_does_not_end_tries_again_all_the_same() -> None:
    """The cap may have moved, or somebody else's task have ended."""

    async def main() -> float:
        limiter = Limiter()
        handles = await flying(limiter, 3)
        await (await refused(limiter, quota())).come()
        assert not any(handle.is_over for handle in handles)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(5)


def test_with_nothing_of_ours_in_flight_the_quota_is_waited_for_with_the_gate_closed() -> None:
    """Others use the account: no end will be heard of, so everybody pauses."""

    async def main() -> list[float]:
        limiter, loop = Limiter(), asyncio.get_running_loop()
        turn = await refused(limiter, quota(), pause=7)

        async def at(coming: Coroutine[Any, Any, Permit]) -> float:
            permit = await coming
            permit.accepted()
            return loop.time()

        return await asyncio.gather(at(turn.come()), *(at(limiter.acquire()) for _ in range(3)))

    assert run_virtual(main()) == pytest.approx([7, 7, 7, 7])


@pytest.mark.parametrize("error", [quota(retry_after=3.0), busy(retry_after=3.0)])
def test_a_retry_after_closes_the_gate_for_all(error: RateLimitError) -> None:
    """Though there is room and tasks end; and nobody holds a permit meanwhile."""

    async def main() -> None:
        limiter = Limiter()
        handles = await flying(limiter, 2)
        turn = await refused(limiter, error)
        waiters = [asyncio.create_task(coming) for coming in (turn.come(), limiter.acquire())]
        handles[0].end()
        await asyncio.sleep(2.99)
        assert repr(limiter).startswith("<Limiter sending=0 in_flight=")
        assert limiter.waiting == 2
        await asyncio.sleep(0.35)  # a tenth more at most
        assert waiters[0].done()

    run_virtual(main())


def test_other_429s_pause_all_and_lower_the_requests_at_once() -> None:
    """Five of eight were taken: five at once are sent from then on, after one that tries."""

    async def main() -> None:
        limiter = Limiter()
        turns = [Turn(limiter, patience=600) for _ in range(8)]
        permits = [await turn.come() for turn in turns]
        for permit in permits[:5]:
            permit.accepted()
            permit.release()
        for turn in turns[5:]:
            assert turn.refused(busy(), 2)
        coming = [asyncio.create_task(turn.come()) for turn in turns[5:]]
        await asyncio.sleep(1.9)
        assert limiter.waiting == 3
        await asyncio.sleep(0.2)
        assert "at most 5 sending" in repr(limiter)
        for waiter in coming:
            (await waiter).accepted()
        waiters = [asyncio.create_task(limiter.acquire()) for _ in range(8)]
        await settle()
        assert sum(waiter.done() for waiter in waiters) == 5 + 1  # after the three the next try is due
        for waiter in waiters:
            waiter.cancel()

    run_virtual(main())


async def test_after_a_refusal_one_at_a_time_tries_until_one_is_accepted() -> None:
    """Eight at once would most likely be refused just the same."""
    limiter = Limiter()
    handles = await flying(limiter, 9)
    turn = await refused(limiter, quota())
    comers = [asyncio.create_task(coming) for coming in (turn.come(), *(limiter.acquire() for _ in range(3)))]
    for handle in handles[:4]:
        handle.end()
    await settle()
    assert [comer.done() for comer in comers] == [True, False, False, False]
    first = comers[0].result()
    first.accepted()
    first.follow(Far())
    await settle()
    assert [comer.done() for comer in comers] == [True, True, True, True]


async def test_the_users_own_bound_is_never_exceeded() -> None:
    """However much the server lets in, and however often it has refused."""
    limiter = Limiter(Limits(in_flight=3))
    handles = await flying(limiter, 2)
    turn = await refused(limiter, quota())
    handles[0].end()
    (await turn.come()).accepted()
    limiter._tasks.most = 100  # as if the server had let in that many since
    comers = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
    await settle()
    assert [comer.done() for comer in comers] == [True, False, False]
    handles[1].end()
    await settle()
    assert [comer.done() for comer in comers] == [True, True, False]
    comers[2].cancel()


async def test_tasks_are_looked_at_only_once_somebody_waits_for_their_places() -> None:
    """As long as the server takes everything, nobody is asked about a task that nobody waits for."""
    limiter = Limiter()
    handles = await flying(limiter, 5)
    assert not any(handle.is_looked_at for handle in handles)
    turn = await refused(limiter, quota())
    assert all(handle.is_looked_at for handle in handles)
    handles[0].end()
    permit = await turn.come()
    permit.accepted()
    permit.follow(late := Far())
    assert not late.is_looked_at
    waiting = asyncio.create_task(limiter.acquire())
    await settle()
    assert late.is_looked_at
    late.end()
    await waiting


async def test_a_task_that_nobody_knows_any_more_takes_no_place() -> None:
    """Its handle was dropped before anybody waited for the place, and nothing else tells of its end."""
    limiter = Limiter()
    handles = await flying(limiter, 5)
    handles[0].is_over = True  # known to have ended when the refusal comes
    del handles[3:]
    await refused(limiter, quota())
    assert "in_flight=3 " in repr(limiter)  # two, and the one that was refused
    assert "at most 2 in flight" in repr(limiter)


async def test_a_task_of_a_client_in_another_loop_takes_no_place() -> None:
    """That client cannot tell when it ends; nobody fails for that, and nothing waits for it."""

    class Elsewhere(Far):
        def _at_end(self, listener: Callable[[], None]) -> None:
            raise ConfigError("this client is in use by another running event loop")

    limiter = Limiter()
    permit = await limiter.acquire()
    permit.accepted()
    permit.follow(there := Elsewhere())
    turn = await refused(limiter, quota(), pause=0.01)
    (await turn.come()).release()
    assert "in_flight=0" in repr(limiter)
    del there


def test_a_cap_that_comes_and_goes_is_followed() -> None:
    """Twenty, eight and twenty again: what the account takes is used, with few refusals."""

    async def main() -> tuple[int, list[int]]:
        limiter, loop = Limiter(), asyncio.get_running_loop()
        account: set[Far] = set()
        refusals, seen = 0, []

        def cap() -> int:
            return 8 if 2000 <= loop.time() < 4000 else 20

        async def submit() -> None:
            nonlocal refusals
            turn = Turn(limiter, patience=10_000)
            while True:
                permit = await turn.come()
                await asyncio.sleep(1)
                if len(account) < cap():
                    break
                refusals += 1
                turn.refused(quota(), 1)
            account.add(handle := Far())
            permit.accepted()
            permit.follow(handle)
            await asyncio.sleep(60)
            account.remove(handle)
            handle.end()

        tasks = [asyncio.create_task(submit()) for _ in range(2000)]
        for moment in (1999, 3999, 5999):
            await asyncio.sleep(moment - loop.time())
            seen.append(len(account))
        for task in tasks:
            task.cancel()
        return refusals, seen

    refusals, seen = run_virtual(main())
    assert [count >= least for count, least in zip(seen, (19, 7, 19), strict=True)] == [True, True, True], seen
    assert refusals < 60


def test_who_is_refused_for_too_long_is_told_the_last_refusal() -> None:
    """Also while it waits for a task to end; and its place in the queue is free."""

    async def main() -> None:
        limiter = Limiter(Limits(in_flight=1))
        await flying(limiter, 1)
        limiter.limits = Limits(in_flight=2)
        turn = Turn(limiter, patience=30)
        await turn.come()
        limiter.limits = Limits(in_flight=1)
        error = quota()
        assert turn.refused(error, 1)
        with pytest.raises(RateLimitError) as caught:
            await turn.come()
        assert caught.value is error
        assert asyncio.get_running_loop().time() == pytest.approx(30)
        assert repr(limiter).startswith("<Limiter sending=0 in_flight=1 waiting=0")

    run_virtual(main())


@pytest.mark.parametrize(("retry_after", "is_over"), [(None, True), (29.0, True), (27.0, False), (121.0, True)])
def test_a_pause_beyond_the_end_of_patience_is_not_begun(retry_after: float | None, *, is_over: bool) -> None:
    """Nor one of more than two minutes."""

    async def main() -> None:
        turn = Turn(Limiter(), patience=28 * 1.1 if retry_after != 121 else 1000)
        await turn.come()
        if retry_after == 27:
            assert turn.refused(busy(retry_after), 1)
        elif retry_after == 29:
            assert turn.refused(busy(), 3)
            await turn.come()
            assert not turn.refused(busy(retry_after), 1)
        else:
            assert not turn.refused(busy(retry_after), 31)

    run_virtual(main())


# Laws


@define(eq=False)
class Play:
    """Submissions of any fate, under the eyes of somebody who counts."""

    limits: Limits
    limiter: Limiter = field(init=False)
    tasks: list[asyncio.Task[None]] = field(factory=list)
    sending: list[asyncio.Future[str]] = field(factory=list)
    handles: list[Far] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.limiter = Limiter(self.limits)

    async def submit(self) -> None:
        """Be one submission, as `Submission.run` is."""
        turn, step = Turn(self.limiter, patience=1e6), "quota"
        while step in {"quota", "busy"}:
            permit = await turn.come()
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self.sending.append(answer)
            self.check()
            keeps = False
            try:
                step = await answer
                if keeps := step == "accepted":
                    self.handles.append(handle := Far())
                    permit.accepted()
                    permit.follow(handle)
                elif step != "lost":
                    keeps = turn.refused(quota() if step == "quota" else busy(), 0.1)
            finally:
                self.sending.remove(answer)
                if not keeps:
                    permit.release()

    def take(self, step: str, number: int) -> None:
        """Have one thing happen; `number` chooses to whom."""
        if step == "comes":
            self.tasks.append(asyncio.create_task(self.submit()))
        elif step == "leaves" and self.tasks:
            self.tasks[number % len(self.tasks)].cancel()
        elif step == "ends" and self.handles:
            self.handles.pop(number % len(self.handles)).end()
        elif self.sending and step not in {"leaves", "ends"}:
            answer = self.sending[number % len(self.sending)]
            if not answer.done():
                answer.set_result(step)

    def check(self) -> None:
        """Count."""
        assert len(self.sending) <= self.limits.submissions
        assert self.limits.in_flight is None or len(self.sending) + len(self.handles) <= self.limits.in_flight

    async def finish(self) -> None:
        """Accept and end everything that is left: all get through, each in time."""
        while not all(task.done() for task in self.tasks) or self.handles:
            for step in ("accepted", "ends"):
                self.take(step, 0)
            await settle()
            if not self.sending and not self.handles and (left := [task for task in self.tasks if not task.done()]):
                began = asyncio.get_running_loop().time()
                while not self.sending and asyncio.get_running_loop().time() < began + 321:
                    await asyncio.sleep(1)
                assert self.sending, (self.limiter, left)
        assert repr(self.limiter).startswith("<Limiter sending=0 in_flight=0 waiting=0")
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends


STEPS = st.sampled_from(("comes", "comes", "comes", "leaves", "accepted", "accepted", "lost", "quota", "busy", "ends"))


@settings(max_examples=100, deadline=None)
@given(
    at_once=st.integers(1, 4),
    in_flight=st.none() | st.integers(1, 6),
    rate=st.none() | st.just(10.0),
    steps=st.lists(st.tuples(STEPS, st.integers(0, 20)), max_size=60),
)
def test_whatever_happens_the_bounds_hold_and_no_place_is_lost(
    at_once: int, in_flight: int | None, rate: float | None, steps: list[tuple[str, int]]
) -> None:
    """Any mix of asking, leaving, answers and ends keeps both bounds; then all get through, and nothing is left."""

    async def main() -> None:
        play = Play(Limits(submissions=at_once, in_flight=in_flight, rate=rate))
        for step, number in steps:
            play.take(step, number)
            if number % 3:
                await settle()
            if number % 5 == 4:
                await asyncio.sleep(number / 20)
        await play.finish()

    run_virtual(main())


# Event loops


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


def test_a_permit_given_in_a_loop_that_was_closed_at_once_is_not_lost() -> None:
    """Nobody had heard of it yet; nor is the place of a request that was on its way in there."""
    limiter = Limiter(Limits(submissions=2))
    loop = asyncio.new_event_loop()

    async def first() -> asyncio.Task[Permit]:
        held = [await limiter.acquire() for _ in range(2)]
        waiting = asyncio.create_task(limiter.acquire())
        await settle()
        held[0].release()
        return waiting

    waiting = loop.run_until_complete(first())
    assert "sending=2" in repr(limiter)
    loop.close()

    async def second() -> None:
        async with asyncio.timeout(1):
            for _ in range(2):
                await limiter.acquire()

    asyncio.run(second())
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_who_waits_in_a_loop_that_stands_still_is_told_when_another_takes_over() -> None:
    """It does not hang for ever should its loop go on."""
    limiter = Limiter(Limits(submissions=1))
    loop = asyncio.new_event_loop()

    async def wait_for_it() -> asyncio.Task[Permit]:
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        await settle()
        return waiting

    async def elsewhere() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await limiter.acquire()  # the request of the other loop may go on, and keeps its place

    waiting = loop.run_until_complete(wait_for_it())
    asyncio.run(elsewhere())
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()


def test_what_was_learned_outlives_the_loop() -> None:
    """A next `asyncio.run` does not start with a burst that is refused, and tries one more by its own clock."""
    limiter = Limiter()
    handles: list[Far] = []

    async def first() -> None:
        await asyncio.sleep(1000)
        handles.extend(await flying(limiter, 3))
        turn = await refused(limiter, quota())
        handles.pop().end()
        permit = await turn.come()
        permit.accepted()
        handles.append(last := Far())
        permit.follow(last)

    async def second() -> None:
        comers = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
        await asyncio.sleep(4.9)
        assert [comer.done() for comer in comers] == [False, False]
        await asyncio.sleep(0.2)
        assert [comer.done() for comer in comers] == [True, False]
        comers[1].cancel()

    run_virtual(first())
    run_virtual(second())


def test_a_timer_of_an_earlier_loop_is_not_relied_on() -> None:
    """Both clocks begin at zero, and what was to happen at second 7 of the first does not happen in the second."""
    limiter = Limiter()

    async def leave() -> None:
        limiter.close_for(7)
        asyncio.create_task(limiter.acquire())  # noqa: RUF006 - left behind on purpose
        await settle()

    async def wait() -> float:
        limiter.close_for(7)
        await limiter.acquire()
        return asyncio.get_running_loop().time()

    run_virtual(leave())
    assert run_virtual(wait()) == pytest.approx(7)


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


def test_who_is_not_refused_but_comes_again_keeps_its_place() -> None:
    """As after a connection that did not come about: it is let in next, and is never one too many."""

    async def main() -> None:
        limiter = Limiter(Limits(submissions=1, queue=2))
        turn = Turn(limiter, patience=600)
        first = await turn.come()
        second, third = (asyncio.create_task(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        first.release()
        fourth = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0)
        again = asyncio.create_task(turn.come())
        await asyncio.sleep(0)
        (await second).release()
        permit = await again
        assert not third.done()
        permit.release()
        (await third).release()
        (await fourth).release()

    run_virtual(main())
