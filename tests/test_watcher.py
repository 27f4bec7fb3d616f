"""Waiting for many tasks at once: what is asked how often, whom the list is believed, and what trouble costs."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    AuthenticationError,
    Polling,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    Task,
    TaskState,
    TransportError,
    UnsupportedError,
    ViduError,
)
from vidu_async.agenda import Agenda
from vidu_async.events import Event, PollFailed, StateChanged, StateRegressed, Throttled
from vidu_async.guarded import Guarded
from vidu_async.learning import Learner
from vidu_async.listing import Listing
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.models import Creation
from vidu_async.protocol.wire import Page, read_page
from vidu_async.testing import VirtualClockLoop, run_virtual
from vidu_async.watch import Watch
from vidu_async.watcher import Watcher

S = TaskState


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


def task(task_id: str, state: TaskState) -> Task:
    """Return what a task answers."""
    made = (Creation(task_id, url="https://results.invalid/fox.mp4"),) if state is S.SUCCESS else ()
    return Task(task_id, state, state_text=state.value, creations=made, body=f'{{"state": "{state}"}}'.encode())


@define
class World:
    """Tasks far away, each processed until a moment of its own; a list that tells of them; and a log of questions."""

    ends: dict[str, float] = field(factory=dict)
    """Each task's id, and when it ends well."""
    has_list: bool = True
    unlisted: set[str] = field(factory=set)
    list_of: Callable[[str], TaskState] | None = None
    """What the list says of a task instead of the truth."""
    trouble: ViduError | None = None
    """What everything fails with."""
    list_trouble: ViduError | None = None
    """What the list fails with."""
    key_refused: bool = False
    silent: str = ""
    """A task whose own answer never comes."""
    page_size: int = 100
    is_filtered: bool = True
    delay: float = 0.01
    list_delay: float = 0.0
    queries: list[float] = field(factory=list)
    lists: list[float] = field(factory=list)
    listed: int = 0
    """Tasks that the list was asked about, in all."""
    events: list[Event] = field(factory=list)
    asked: Counter[str] = field(factory=Counter)
    firsts: dict[str, float] = field(factory=dict)
    """When each task was first asked about by itself."""

    def state(self, task_id: str) -> TaskState:
        """Return how it really is."""
        return S.SUCCESS if now() >= self.ends[task_id] else S.PROCESSING

    async def query(self, watch: Watch) -> Task:
        """Answer a question about one task."""
        self.queries.append(now())
        self.asked[watch.task_id] += 1
        self.firsts.setdefault(watch.task_id, now())
        await asyncio.sleep(130 if watch.task_id == self.silent else self.delay)
        if watch.task_id == self.silent:
            raise RequestTimeoutError("no answer")
        if self.key_refused:
            raise AuthenticationError("revoked", status=401, readable=True)
        if self.trouble:
            raise self.trouble
        return task(watch.task_id, self.state(watch.task_id))

    async def page(self, task_ids: list[str], token: str) -> Page:
        """Answer a page of the list."""
        self.lists.append(now())
        self.listed += len(task_ids)
        await asyncio.sleep(self.list_delay or self.delay)
        if not self.has_list:
            raise UnsupportedError("this gateway cannot list tasks")
        if error := self.list_trouble or self.trouble:
            raise error
        shown = [one for one in (task_ids if self.is_filtered else self.ends) if one not in self.unlisted]
        start = int(token or 0)
        rows = [
            {"id": one, "state": (self.list_of or self.state)(one)} for one in shown[start : start + self.page_size]
        ]
        rest = start + self.page_size
        body = {"tasks": rows, "next_page_token": str(rest) if rest < len(shown) else ""}
        return read_page(Answer(200, json.dumps(body).encode()))

    def watcher(
        self, polling: Polling | None = None, *, policy: Learner | None = None, on_finished: Any = lambda *_: None
    ) -> Watcher:
        """Return a watcher of this world."""
        listing = Listing(lambda: self.has_list, self.page)
        guarded = Guarded(policy or Learner(polling or Polling()))
        return Watcher(self.query, listing, guarded, self.events.append, on_finished)

    async def all_ended(self, watcher: Watcher) -> dict[str, float]:
        """Wait for all tasks at once; return when the end of each was heard of."""
        heard: dict[str, float] = {}

        async def one(task_id: str) -> None:
            watch = watcher.watch(task_id)
            while not watch.is_over:
                await watcher.changed(watch)
                if watch.failure:
                    raise watch.failure
            heard[task_id] = now()

        await asyncio.gather(*map(one, self.ends))
        return heard

    def distrusted(self) -> float:
        """Return the share of looks that did not go through the list, but for the one that brought each result."""
        own = self.asked.total() - len(self.ends)
        return own / (own + self.listed)

    def kinds(self, kind: type[Event]) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


def play(test: Callable[[], Awaitable[None]]) -> None:
    """Run on virtual time, without asyncio's debug mode: in it each of a hundred thousand looks costs a traceback."""

    async def main() -> None:
        asyncio.get_running_loop().set_debug(False)
        await test()

    run_virtual(main())


def births(count: int, first: float = 30.0, last: float = 90.0) -> dict[str, float]:
    """Return tasks that end between two moments."""
    chance = random.Random(count)
    return {f"task-{number}": chance.uniform(first, last) for number in range(count)}


def most_in(moments: list[float], span: float) -> int:
    """Return the most moments that lie within any span of so many seconds."""
    moments, first, most = sorted(moments), 0, 0
    for place, moment in enumerate(moments):
        while moments[first] <= moment - span:
            first += 1
        most = max(most, place - first + 1)
    return most


# Through the list


def test_a_hundred_tasks_are_looked_at_with_one_request_and_each_end_is_asked_for_by_itself() -> None:
    """A result has one source, the task's own answer; and it is known soon."""

    async def test() -> None:
        world = World(births(100))
        heard = await world.all_ended(world.watcher())
        assert world.distrusted() < 0.1  # one look in 25, and in ten once few are left
        assert len(world.lists) < 200  # two a second at the very most
        assert most_in(world.lists, 10.0) <= 20
        assert max(heard[one] - end for one, end in world.ends.items()) < 10

    play(test)


@pytest.mark.slow
def test_ten_thousand_tasks_cost_a_twentieth_of_the_requests() -> None:
    """B14: of one for each task and look."""

    async def test() -> None:
        polling = Polling(min_interval=2, max_interval=2)
        shared = World(births(1000, 60, 120))
        await shared.all_ended(shared.watcher(polling))
        began = now()
        single = World(births(1000, began + 60, began + 120), has_list=False)
        await single.all_ended(single.watcher(polling))
        ends = shared.ends
        waiting = len(shared.lists) + len(shared.queries) - len(ends)  # each end costs one
        assert waiting * 20 < len(single.queries)

    play(test)


def test_one_task_needs_no_list() -> None:
    """Its own answer brings the result at once."""

    async def test() -> None:
        world = World(births(1))
        await world.all_ended(world.watcher())
        assert not world.lists

    play(test)


def test_a_gateway_without_a_list_is_noticed_once_and_nothing_is_lost() -> None:
    """The client remembers it; those who asked together are then looked at one by one."""

    async def test() -> None:
        world = World(births(150))
        watcher = world.watcher()
        listing = watcher._listing

        async def page(task_ids: list[str], token: str) -> Page:
            world.has_list = False
            world.lists.append(now())
            raise UnsupportedError("this gateway cannot list tasks")

        listing._page = page
        await world.all_ended(watcher)
        assert len(world.lists) == 1

    play(test)


FAILURES: dict[str, ViduError] = {
    "500": ServerError("oops", status=500),
    "401": AuthenticationError("not you", status=401),
    "a page of 404": UnsupportedError("this gateway cannot list tasks: it answered 404"),
    "broken off": TransportError("the connection broke"),
    "429": RateLimitError("slow down", status=429, reason="TooManyRequests"),
    "429 with Retry-After": RateLimitError("slow down", status=429, reason="TooManyRequests", retry_after=10),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("count", [2, 50, 300])
def test_a_list_that_fails_where_tasks_answer_is_left_alone_for_a_while(name: str, count: int) -> None:
    """It is tried again later, less and less often, and nobody's wait ends for it, nor takes long."""

    async def test() -> None:
        world = World(births(count, 300, 400), list_trouble=FAILURES[name])
        heard = await world.all_ended(world.watcher())
        assert 3 < len(world.lists) < 12 + count / 25
        assert max(heard[one] - end for one, end in world.ends.items()) < 40

    play(test)


def test_a_list_that_never_answers_holds_nobody_up_for_long() -> None:
    """It gets fifteen seconds, then each task is looked at by itself."""

    async def test() -> None:
        world = World(births(50, 100, 200), list_delay=1e6)
        heard = await world.all_ended(world.watcher())
        assert len(world.lists) < 10
        assert max(heard[one] - end for one, end in world.ends.items()) < 40

    play(test)


@pytest.mark.parametrize("count", [3, 50, 150])
@pytest.mark.parametrize("silent", ["", "task-0"])
def test_a_list_that_stops_answering_holds_no_result_up_for_long(count: int, silent: str) -> None:
    """Not even where tasks have just ended, or where one of them does not answer, either."""

    async def test() -> None:
        world = World(births(count, 103, 104), silent=silent)
        asyncio.get_running_loop().call_later(100, setattr, world, "list_delay", 1e6)
        watcher = world.watcher()
        watches = [watcher.watch(task_id) for task_id in world.ends]
        waiting = asyncio.create_task(world.all_ended(watcher))
        await asyncio.sleep(150)
        assert {watch.task_id for watch in watches if not watch.is_over} <= {silent}
        waiting.cancel()

    play(test)


@pytest.mark.parametrize("has_list", [True, False])
def test_a_key_that_was_revoked_is_told_to_everybody_at_once(has_list: bool) -> None:
    """Whether the list refuses it or each task."""

    async def test() -> None:
        world = World(births(300, 1000, 2000), has_list=has_list)
        watcher = world.watcher(Polling(min_interval=2, max_interval=2))
        watches = [watcher.watch(task_id) for task_id in world.ends]
        waiting = asyncio.create_task(world.all_ended(watcher))
        await asyncio.sleep(20)
        world.key_refused = True
        world.list_trouble = AuthenticationError("revoked", status=401)
        await asyncio.sleep(10)
        assert all(watch.failure for watch in watches)
        waiting.cancel()

    play(test)


def test_a_list_that_heals_is_used_again() -> None:
    """After its rest."""

    async def test() -> None:
        world = World(births(50, 300, 400), list_trouble=ServerError("oops", status=500))
        asyncio.get_running_loop().call_later(30, setattr, world, "list_trouble", None)
        await world.all_ended(world.watcher())
        assert len([moment for moment in world.lists if moment > 60]) > 20

    play(test)


def test_what_the_list_does_not_have_is_looked_at_by_itself() -> None:
    """A list may lag behind, or leave out what is old."""

    async def test() -> None:
        world = World(births(50))
        world.unlisted = {"task-7", "task-8"}
        await world.all_ended(world.watcher())
        least = min(world.asked["task-7"], world.asked["task-8"])
        assert max(world.asked[one] for one in world.ends if one not in world.unlisted) < least / 2

    play(test)


def test_a_list_that_is_stale_delays_little_and_is_not_believed_for_long() -> None:
    """A few of a crowd are asked about by themselves; after three ends that the list did not tell of it rests."""

    async def test() -> None:
        world = World(births(50, 60, 90), list_of=lambda _: S.PROCESSING)
        heard = await world.all_ended(world.watcher(Polling(min_interval=1, max_interval=2)))
        late = sorted(heard[one] - end for one, end in world.ends.items())
        assert late[-1] < 100
        assert world.lists[-1] < 90

    play(test)


def test_an_end_that_only_the_list_knows_of_ends_no_wait() -> None:
    """The task itself says that it goes on."""

    async def test() -> None:
        world = World(births(10), list_of=lambda _: S.FAILED)
        heard = await world.all_ended(world.watcher())
        assert all(heard[one] >= end for one, end in world.ends.items())
        assert {event.state for event in world.kinds(StateChanged) if event.state.is_terminal} == {S.SUCCESS}

    play(test)


def test_of_two_accounts_of_one_end_the_task_s_own_counts_once_repeated() -> None:
    """B07: both are told of."""

    async def test() -> None:
        world = World(dict.fromkeys("ab", 0.0), list_of=lambda _: S.FAILED)
        watcher = world.watcher()
        await world.all_ended(watcher)
        assert watcher.watch("a").task is None or watcher.watch("a").is_over
        assert [(event.state, event.answered) for event in world.kinds(StateRegressed)] == [(S.FAILED, S.SUCCESS)] * 2
        assert world.asked == {"a": 2, "b": 2}

    play(test)


def test_a_list_that_lags_behind_moves_no_task_back() -> None:
    """What the task itself has said stands."""

    async def test() -> None:
        world = World(births(5), list_of=lambda one: S.QUEUEING if now() < world.ends[one] else S.SUCCESS)
        watcher = world.watcher()
        watches = [watcher.watch(one) for one in world.ends]
        for watch in watches:
            watcher.observe(watch, task(watch.task_id, S.PROCESSING))
        await world.all_ended(watcher)
        assert {event.state for event in world.kinds(StateChanged)} == {S.PROCESSING, S.SUCCESS}

    play(test)


def test_a_list_with_ten_tasks_a_page_is_read_page_by_page() -> None:
    """Whatever size was asked for."""

    async def test() -> None:
        world = World(births(45), page_size=10)
        await world.all_ended(world.watcher())
        assert world.distrusted() < 0.15

    play(test)


def test_a_list_that_does_not_filter_is_not_read_to_its_end() -> None:
    """Its first page may help; the others of an account are nobody's business here."""

    async def test() -> None:
        world = World(births(300), is_filtered=False)
        watcher = world.watcher()
        waited = {one: world.ends[one] for one in list(world.ends)[150:160]}
        all_of_them, world.ends = world.ends, waited
        waiting = asyncio.create_task(world.all_ended(watcher))
        await asyncio.sleep(0)
        world.ends = all_of_them
        await waiting
        assert most_in(world.lists, 0.1) <= 1

    play(test)


def test_ids_that_make_a_long_request_are_asked_in_several() -> None:
    """Servers refuse addresses of more than some 8 kB."""

    async def test() -> None:
        world = World({f"{number:0200}": 5.0 for number in range(60)})
        lengths: list[int] = []
        answer = world.page

        async def page(task_ids: list[str], token: str) -> Page:
            lengths.append(sum(map(len, task_ids)))
            return await answer(task_ids, token)

        found = await Listing(lambda: True, page).find(list(world.ends), 0.0)
        assert len(found) == 60
        assert max(lengths) < 8000
        assert len(lengths) == 3

    play(test)


# Trouble


@pytest.mark.parametrize("has_list", [True, False])
def test_trouble_of_everything_makes_no_more_of_itself(has_list: bool) -> None:
    """Ten minutes without a server: what is tried again is bounded, nobody's wait ends, and all end afterwards."""

    async def test() -> None:
        world = World(births(300, 700, 800), has_list=has_list, trouble=TransportError("no route"))
        asyncio.get_running_loop().call_later(600, setattr, world, "trouble", None)
        watcher = world.watcher(Polling(min_interval=10, max_interval=10))
        await world.all_ended(watcher)
        looks = [moment for moment in world.queries + world.lists if moment < 600]
        base = 60 * (3 if has_list else 300)  # what would be asked if all went well
        assert len(looks) < base * 2.2 + 500 / 14 + 100
        assert len(world.kinds(PollFailed)) == len([moment for moment in looks if moment < 600 - world.delay])

    play(test)


def test_a_429_closes_the_gate_for_all_looks_and_no_burst_follows() -> None:
    """The server speaks of the account."""

    async def test() -> None:
        world = World(births(300, 60, 70), has_list=False)

        async def throttle() -> None:
            await asyncio.sleep(20)
            world.trouble = RateLimitError("slow down", status=429, reason="TooManyRequests", retry_after=15)
            await asyncio.sleep(5)
            world.trouble = None

        throttling = asyncio.create_task(throttle())
        await world.all_ended(world.watcher(Polling(min_interval=5, max_interval=5)))
        await throttling
        refused = world.kinds(Throttled)
        assert 1 <= len(refused) <= 64
        assert refused[0].retry_after == 15
        first = next(moment for moment in world.queries if moment > 20)
        assert not [moment for moment in world.queries if first + 1 < moment < first + 15]
        after = [moment for moment in world.queries if moment >= first + 15]
        assert most_in(after, 0.1) <= 30

    play(test)


# Faults of others


def test_whoever_waits_is_told_even_if_the_end_cannot_be_noted() -> None:
    """A journal that fails costs nobody the result."""

    async def test() -> None:
        world = World({"a": 5.0})
        watcher = world.watcher(on_finished=broken)
        async with asyncio.timeout(60):
            await world.all_ended(watcher)

    play(test)


def broken(*_: object) -> NoReturn:
    """Fail."""
    raise RuntimeError("the disk is gone")


def test_a_place_that_cannot_be_given_back_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Each is given back, whatever becomes of those before."""
    watch, given = Watch("a"), list[int]()
    watch.releases = (lambda: given.append(1), broken, lambda: given.append(2))
    watch.let_go()
    assert given == [1, 2]
    assert "could not be given back" in caplog.text


def test_a_policy_whose_bound_fails_stops_nobody() -> None:
    """Looks are then not bounded."""

    class Unsure(Learner):
        @property
        def max_per_second(self) -> float | None:
            return broken()

    async def test() -> None:
        world = World(births(20))
        async with asyncio.timeout(200):
            await world.all_ended(world.watcher(policy=Unsure(Polling())))

    play(test)


def test_loops_in_turn_do_not_double_the_looks() -> None:
    """A look that a loop left behind ends when it goes on, and is no second stream."""
    world = World({"a": 1e6}, has_list=False, delay=1.0)
    watcher = world.watcher(Polling(min_interval=5, max_interval=5))
    watch = watcher.watch("a")

    async def listen(seconds: float) -> int:
        before = len(world.queries)
        stop = watcher.listen(watch, lambda: None)
        await asyncio.sleep(seconds)
        stop()
        return len(world.queries) - before

    first, second = VirtualClockLoop(), VirtualClockLoop()
    for loop in (first, second) * 3:
        loop.run_until_complete(listen(0.5))
    assert first.run_until_complete(listen(120)) <= 21
    for loop in (first, second):
        for pending in asyncio.all_tasks(loop):
            pending.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


# Never many at once


def test_looks_that_take_long_come_round_to_everybody() -> None:
    """A thousand tasks, and answers that take ten seconds: what is overdue is no sign that the loop stood still."""

    async def test() -> None:
        world = World(births(1000, 3000, 3001), has_list=False, delay=10.0)
        waiting = asyncio.create_task(world.all_ended(world.watcher()))
        await asyncio.sleep(1000)
        least, most = min(world.asked[one] for one in world.ends), max(world.asked.values())
        assert least >= 4  # a round of all takes 156 s
        assert most <= 2 * least
        waiting.cancel()

    play(test)


@pytest.mark.parametrize("has_list", [True, False])
def test_five_hundred_born_together_do_not_stay_together(has_list: bool) -> None:
    """No tenth of a second holds more than a tenth of the looks."""

    async def test() -> None:
        world = World(births(500), has_list=has_list)
        watcher = world.watcher()
        watches = [watcher.watch(task_id) for task_id in world.ends]
        for watch in watches:
            watcher.observe(watch, task(watch.task_id, S.CREATED))
        await world.all_ended(watcher)
        looks = world.queries + world.lists
        assert most_in(looks, 0.1) <= len(looks) / 10
        if not has_list:
            assert most_in(list(world.firsts.values()), 0.1) <= 50

    play(test)


def test_results_that_come_all_at_once_are_not_fetched_all_at_once() -> None:
    """The list tells of five hundred ends in one moment; a server that takes 300 requests a second refuses none."""

    async def test() -> None:
        world = World(births(500, 100, 100))
        heard = await world.all_ended(world.watcher())
        assert most_in(world.queries, 0.1) <= 50
        assert most_in(world.queries + world.lists, 1.0) <= 300
        assert sorted(heard.values())[250] < 105

    play(test)


def test_five_hundred_attached_together_are_not_asked_about_together() -> None:
    """Nothing is known of them, so each is looked at as soon as may be."""

    async def test() -> None:
        world = World(births(500), has_list=False)
        waiting = asyncio.create_task(world.all_ended(world.watcher(Polling(min_interval=5))))
        await asyncio.sleep(4)
        assert set(world.asked) == set(world.ends)
        assert most_in(world.queries, 0.1) <= 50
        await waiting

    play(test)


@pytest.mark.parametrize("has_list", [True, False])
def test_after_a_laptop_slept_each_is_looked_at_once_over_ten_seconds(has_list: bool) -> None:
    """F06: eight hours later all are overdue."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        world = World(births(1000, 40_000, 40_001), has_list=has_list)
        waiting = asyncio.create_task(world.all_ended(world.watcher(Polling(min_interval=20, max_interval=20))))
        await asyncio.sleep(100)
        loop.skip(8 * 3600)
        world.queries.clear()
        world.lists.clear()
        world.asked.clear()
        await asyncio.sleep(10.5)
        looks = world.queries + world.lists
        if not has_list:
            assert world.asked == dict.fromkeys(world.ends, 1)
        assert most_in(looks, 0.1) <= max(3, len(looks) / 50)
        assert max(looks) - min(looks) > 5
        waiting.cancel()

    play(test)


@pytest.mark.parametrize("debug", [True, False])
def test_a_loop_that_stood_still_is_told_of_in_debug_mode(debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    """F11: whoever looks for what was late learns who made it so."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop.set_debug(debug)
        world = World(births(3, 100, 101))
        waiting = asyncio.create_task(world.all_ended(world.watcher(Polling(min_interval=2, max_interval=2))))
        await asyncio.sleep(10)
        loop.skip(5)
        await waiting

    play(test)
    said = [record.message for record in caplog.records if "stood still" in record.message]
    assert [message[:31] for message in said] == ["the event loop stood still for "] * debug


def test_a_bound_on_requests_holds_where_looks_are_shared() -> None:
    """Ends among them, and whatever is asked to see whether the list is stale."""

    async def test() -> None:
        world = World(births(60))
        await world.all_ended(world.watcher(Polling(max_per_second=2)))
        assert most_in(world.queries + world.lists, 0.99) <= 2

    play(test)


# The agenda

MOMENTS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=40)


def filled(entries: list[tuple[float, float]]) -> tuple[Agenda, dict[str, tuple[float, float]]]:
    """Return an agenda with a wanted watch for each moment and slack."""
    agenda, known = Agenda(), {}
    for number, (due, slack) in enumerate(entries):
        watch = Watch(str(number))
        watch.looked, watch.listeners = due - 2 * slack, (lambda: None,)
        agenda.enter(watch, due)
        known[watch.task_id] = (due, slack)
    return agenda, known


@given(MOMENTS, st.floats(0, 120), st.integers(1, 10))
def test_nothing_is_taken_before_it_is_due_but_to_share_within_its_slack(
    entries: list[tuple[float, float]], moment: float, most: int
) -> None:
    """And the first that is taken is the first that was due."""
    agenda, known = filled(entries)
    taken = [known[watch.task_id] for watch in agenda.take(moment, most)]
    assert len(taken) <= most
    assert all(due <= moment + slack for due, slack in taken)
    assert bool(taken) == any(due <= moment for due, _ in entries)
    assert not taken or taken[0][0] == min(due for due, _ in entries)
    assert len(agenda) == len(entries) - len(taken)


@given(MOMENTS, st.floats(0, 120), st.floats(0.1, 10))
def test_what_is_overdue_is_spread_evenly_and_loses_nobody(
    entries: list[tuple[float, float]], moment: float, over: float
) -> None:
    """In its order; what is not yet due keeps its moment."""
    agenda, known = filled(entries)
    agenda.spread(moment, over)
    late = sorted(due for due, _ in entries if due <= moment)
    expected = [moment + over * place / len(late) for place in range(len(late))]
    expected += [due for due, _ in entries if due > moment]
    found = []
    while agenda.first is not None:
        found.append(agenda.first)
        agenda.take(agenda.first)
    assert found == sorted(expected)
    assert len(found) == len(known)
