"""Waiting for a task: one stream of looks, deadlines, and what ends a wait and what does not."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import faulty
import pytest

from vidu_async import (
    AuthenticationError,
    ConfigError,
    NotFoundError,
    Polling,
    RateLimitError,
    ResultMissingError,
    ServerError,
    Task,
    TaskCancelledError,
    TaskFailedError,
    TaskHandle,
    TaskState,
    TaskTimeoutError,
    TextToVideo,
    ViduClient,
)
from vidu_async.polling import Kind, Waiting
from vidu_async.testing import VirtualClockLoop, run_virtual

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")


def play(
    looks: list[faulty.Script], test: Callable[[ViduClient, faulty.FaultyServer], Awaitable[None]], **settings: Any
) -> None:
    """Run a test against a server that answers looks by a script, on virtual time."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(looks=looks) as server,
            ViduClient("test-key", base_url=server.url, **settings) as vidu,
        ):
            await test(vidu, server)

    run_virtual(main())


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


def test_everybody_who_waits_shares_one_stream_of_looks() -> None:
    """B24: two awaits and three iterators on one handle cause as many looks as one await."""
    looks = [faulty.state("queueing"), faulty.state("processing"), faulty.state("processing"), faulty.success()]

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)

        async def states(one: TaskHandle) -> list[str]:
            return [task.state.value async for task in one.events()]

        first, second, *seen = await asyncio.gather(
            handle, vidu.attach(handle.task_id), states(handle), states(handle), states(vidu.attach(handle.token))
        )
        assert first is second
        assert seen == [["created", "queueing", "processing", "success"]] * 3
        assert len(server.queries) == 4

    play(looks, test)


def test_a_task_nobody_waits_for_is_not_looked_at() -> None:
    """A submitted task costs nothing until somebody wants to know."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        await asyncio.sleep(600)
        assert server.queries == []
        await handle
        assert len(server.queries) == 1

    play([faulty.success()], test)


def test_looks_stop_when_the_last_waiter_leaves() -> None:
    """B11: a cancelled wait leaves the task alone and the network quiet."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(30)
        waiting.cancel()
        await asyncio.sleep(5)
        asked = len(server.queries)
        assert asked > 3
        await asyncio.sleep(600)
        assert len(server.queries) == asked
        assert [asked.path for asked in server.creations] == ["/ent/v2/text2video"]

    play([faulty.state("processing")], test)


def test_the_latest_task_keeps_what_the_creation_told() -> None:
    """A query answers less than a creation: model and price stay."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        task = await (await vidu.submit(REQUEST))
        assert (task.model, task.credits, task.state) == ("viduq3-turbo", 80, TaskState.SUCCESS)
        assert task.creations[0].url == "https://results.invalid/a.mp4"
        assert "model" not in task.raw

    play([faulty.success()], test)


TROUBLES: dict[str, faulty.Script] = {
    "429": faulty.refuse(429, "TooManyRequests"),
    "500": faulty.refuse(500, "InternalServiceFailure"),
    "502 in HTML": faulty.answer(502, b"<html>bad gateway</html>", Content_Type="text/html"),
    "a reset": faulty.reset,
    "an end without an answer": faulty.close,
    "garbage": faulty.raw(b"\x00\x01\x02"),
    "a login page": faulty.answer(200, b"<html>log in</html>", Content_Type="text/html"),
    "a 403 in HTML": faulty.answer(403, b"<html>log in</html>", Content_Type="text/html"),
    "a body cut short": faulty.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"state": "succ'),
    "a list": faulty.answer(200, []),
    "a redirect": faulty.answer(302, b"", Location="https://login.invalid/"),
}


@pytest.mark.parametrize("script", TROUBLES.values(), ids=TROUBLES)
def test_trouble_on_the_way_never_ends_a_wait(script: faulty.Script) -> None:
    """B01: twenty failed looks later the result still arrives."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        task = await vidu.attach("911045603801182208")
        assert task.state is TaskState.SUCCESS
        assert len(server.queries) == 21 or now() < 600  # aiohttp repeats a look that a reset cut off

    play([*[script] * 20, faulty.success()], test)


def test_a_wait_ends_at_its_deadline_with_the_last_trouble_as_cause() -> None:
    """B02: an hour of 500s: the task is not called failed, and the error carries the token."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        began = now()
        with pytest.raises(TaskTimeoutError, match="still created after 3600 s; the last look failed: 500") as caught:
            await handle
        assert now() - began == pytest.approx(3600)
        assert isinstance(caught.value.__cause__, ServerError)
        assert (caught.value.token, caught.value.paid) == (handle.token, "yes")
        assert isinstance(caught.value, TimeoutError)

    play([faulty.refuse(500, "InternalServiceFailure")], test)


@pytest.mark.slow
def test_an_off_peak_task_is_waited_for_49_hours() -> None:
    """B10: as soon as any answer shows `off_peak`, and with a look a minute."""
    looks = [faulty.state("queueing")] * 3 + [faulty.state("queueing", off_peak=True)]

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        with pytest.raises(TaskTimeoutError, match="after 176400 s"):
            await vidu.attach("1")
        assert now() == pytest.approx(49 * 3600)
        assert len(server.queries) < 49 * 60 + 10

    play(looks, test, polling=Polling())


def test_a_wait_without_end_must_be_asked_for() -> None:
    """`timeout=None` outlasts the default."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = vidu.attach("1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3 * 86400):
                await handle.result(timeout=None)

    play([faulty.state("processing")], test, polling=Polling(max_interval=900, min_interval=900))


@pytest.mark.parametrize("timeout", [0, 0.001, 2.5])
def test_a_given_timeout_is_kept(timeout: float) -> None:
    """In seconds from the call."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        with pytest.raises(TaskTimeoutError):
            await vidu.attach("1").wait(timeout=timeout)
        assert now() == pytest.approx(timeout, abs=1e-6)

    play([faulty.state("processing")], test)


def test_a_timed_out_wait_can_be_taken_up_again() -> None:
    """B09, B19: by the same handle, or by another client with the token."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        with pytest.raises(TaskTimeoutError) as caught:
            await handle.result(timeout=3)
        server.looks = [faulty.success()]
        async with ViduClient("test-key", base_url=server.url) as other:
            assert (await other.attach(caught.value.token)).state is TaskState.SUCCESS
        assert (await handle).state is TaskState.SUCCESS

    play([faulty.state("processing")], test)


def test_a_deadline_that_passed_while_the_loop_stood_still_loses_no_result() -> None:
    """F11: what arrived meanwhile is heard of first; a task that goes on has timed out all the same."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        for looks, expected in (([faulty.success()], TaskState.SUCCESS), ([faulty.state("processing")], None)):
            server.looks = looks
            handle = vidu.attach((await vidu.submit(REQUEST)).task_id + str(expected))
            await handle.refresh() if expected is None else None
            wait = asyncio.create_task(handle.wait(timeout=3))
            await asyncio.sleep(0)
            loop.skip(5)
            if expected is None:
                with pytest.raises(TaskTimeoutError):
                    await wait
            else:
                assert (await wait).state is expected

    play([], test)


def test_an_unknown_state_is_reported_once_and_waited_through(caplog: pytest.LogCaptureFixture) -> None:
    """B04: new words appear; none of them is taken for an end."""
    words = ["scheduled", "moderating", "scheduled", "moderating"]

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        seen = [(task.state.value, task.state_text) async for task in vidu.attach("1").events()]
        assert seen == [("unknown", "scheduled"), ("unknown", "moderating"), ("success", "success")]

    with caplog.at_level(logging.WARNING, "vidu_async"):
        play([*map(faulty.state, words), faulty.success()], test)
    assert [record.getMessage().count("waiting goes on") for record in caplog.records] == [1, 1]


def test_states_are_read_in_any_case_and_under_either_name() -> None:
    """B05: `status` and `SUCCESS` will do."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        assert (await vidu.attach("1")).state is TaskState.SUCCESS

    play([faulty.answer(200, {"status": "SUCCESS", "creations": [{"id": 1, "url": "https://r.invalid/1"}]})], test)


def test_terminal_is_sticky() -> None:
    """B06: a replica that lags behind does not take a result back."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = vidu.attach("1")
        await handle
        assert (await handle.refresh()).state is TaskState.SUCCESS
        assert handle.state is TaskState.SUCCESS

    play([faulty.success(), faulty.state("processing")], test)


def test_a_success_without_files_is_asked_again_before_it_counts() -> None:
    """B08: the files may come a moment later; if they never do, the error says that it is paid."""
    empty = faulty.state("success")

    async def late(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        assert (await vidu.attach("1")).has_result
        assert len(server.queries) == 4

    async def never(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = vidu.attach("1")
        with pytest.raises(ResultMissingError) as caught:
            await handle
        assert (caught.value.paid, len(server.queries)) == ("yes", 6)
        assert (await handle.wait()).state is TaskState.SUCCESS

    play([empty, empty, empty, faulty.success()], late)
    play([empty], never)


def test_a_failed_task_raises_its_reason_and_cost_nothing() -> None:
    """`result()` raises, `wait()` returns the task."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        with pytest.raises(TaskFailedError, match="CreationPolicyViolation") as caught:
            await handle
        assert (caught.value.task.err_code, caught.value.paid) == ("CreationPolicyViolation", "no")
        assert (await handle.wait()).state is TaskState.FAILED

    play([faulty.state("failed", err_code="CreationPolicyViolation", credits=0)], test)


def test_a_cancelled_task_is_told_apart_from_a_failed_one() -> None:
    """Vidu says so only by `err_code`."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        with pytest.raises(TaskCancelledError):
            await vidu.attach("1")

    play([faulty.state("failed", err_code="UserCancelled", credits=0)], test)


def test_a_task_that_does_not_exist_ends_the_wait() -> None:
    """A task nobody vouched for is believed to be missing at the first 404."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        with pytest.raises(NotFoundError, match="404 TaskNotFound"):
            await vidu.attach("no-such-task")
        assert (now() < 1, len(server.queries)) == (True, 1)

    play([faulty.refuse(404, "TaskNotFound")], test)


def test_a_404_just_after_the_creation_is_lag() -> None:
    """B03: for a minute after any sign of the task; then it counts."""
    missing = faulty.refuse(404, "TaskNotFound")

    async def lag(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        asyncio.get_running_loop().call_later(50, server.looks.append, faulty.success())
        assert (await handle).has_result
        assert now() > 50

    async def gone(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        with pytest.raises(NotFoundError) as caught:
            await handle
        assert 60 <= now() < 65
        assert caught.value.paid == "yes"

    play([missing], lag)
    play([missing], gone)


def test_a_key_that_is_refused_ends_every_wait() -> None:
    """Each waiter gets an error of its own; a later wait asks again."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handle = vidu.attach("1")
        outcomes = await asyncio.gather(handle, handle.wait(), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [AuthenticationError] * 2
        assert outcomes[0] is not outcomes[1]
        server.looks = [faulty.success()]
        assert (await handle).has_result

    play([faulty.refuse(401, "Unauthorized")], test)


def test_a_retry_after_of_a_look_is_honoured() -> None:
    """A throttled look comes again when the server asked for it."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        await vidu.attach("1")
        assert now() == pytest.approx(45, abs=0.1)

    play([faulty.refuse(429, "TooManyRequests", Retry_After="45"), faulty.success()], test)


def test_looks_a_second_are_bounded_if_asked() -> None:
    """Fifty tasks and `max_per_second=10` take five seconds for a round."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        await vidu.gather([vidu.attach(str(number)) for number in range(50)])
        assert len(server.queries) == 50
        assert now() == pytest.approx(4.9, abs=0.2)

    play([faulty.success()], test, polling=Polling(max_per_second=10))


def test_a_policy_of_your_own_decides_when_to_look() -> None:
    """Any object with the method will do."""

    class EveryMinute:
        max_per_second = None

        def interval(self, waiting: Waiting) -> float:
            return 60.0

        def finished(self, kind: Kind, seconds: float) -> None:
            """Learn nothing."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        await (await vidu.submit(REQUEST))
        assert now() == pytest.approx(180, abs=0.1)

    play([faulty.state("queueing"), faulty.state("processing"), faulty.success()], test, polling=EveryMinute())


@pytest.mark.parametrize("fault", [ZeroDivisionError, asyncio.CancelledError])
def test_a_policy_that_breaks_does_not_hang_anybody(
    fault: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The fault is logged, once with its traceback, and the default policy takes over."""

    class Broken:
        max_per_second = None

        def interval(self, waiting: Waiting) -> float:
            raise fault

        def finished(self, kind: Kind, seconds: float) -> None:
            raise fault

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        assert (await (await vidu.submit(REQUEST))).has_result

    play([faulty.state("queueing"), faulty.success()], test, polling=Broken())
    assert "the polling policy failed" in caplog.text
    assert caplog.text.count("Traceback") == 1


def test_handles_of_many_tasks_come_in_the_order_in_which_they_end() -> None:
    """`as_completed` yields each once, failed ones and unknown ones too."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            number = int(asked.path.split("/")[-2])
            if number == 5:
                await faulty.refuse(404, "TaskNotFound")(connection, asked)
            elif now() < (9 - number) * 10:
                await faulty.state("processing")(connection, asked)
            else:
                await (faulty.state("failed") if number == 3 else faulty.success())(connection, asked)

        server.looks = [look]
        handles = [vidu.attach(str(number)) for number in range(8)]
        order = [handle.task_id async for handle in vidu.as_completed(handles)]
        assert order == ["5", "7", "6", "4", "3", "2", "1", "0"]
        assert [handle.task_id async for handle in vidu.as_completed(handles[:3])] == ["0", "1", "2"]
        assert [handle async for handle in vidu.as_completed([])] == []

    play([], test, polling=Polling(max_interval=1))


def test_an_abandoned_iteration_stops_the_looks() -> None:
    """Leaving the loop early leaves nothing behind that would go on asking."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handles = [vidu.attach(str(number)) for number in range(5)]
        async for _ in vidu.as_completed(handles):
            server.looks = [faulty.state("processing")]
            break
        gc.collect()
        await asyncio.sleep(60)
        asked = len(server.queries)
        await asyncio.sleep(600)
        assert len(server.queries) == asked

    play([faulty.success(), faulty.state("processing")], test)


def test_as_completed_gives_up_when_nothing_ends_for_an_hour() -> None:
    """Waits have a deadline unless told otherwise; a completion starts it anew."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        handles = [vidu.attach(str(number)) for number in range(2)]

        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            is_done = asked.path.endswith("/0/creations") and now() > 1800
            await (faulty.success() if is_done else faulty.state("processing"))(connection, asked)

        server.looks = [look]
        completed = vidu.as_completed(handles)
        assert (await anext(completed)).task_id == "0"
        with pytest.raises(TaskTimeoutError, match="task 1 is still processing"):
            await anext(completed)
        assert now() == pytest.approx(5400, abs=30)

    play([], test)


def test_gather_returns_tasks_in_the_order_given() -> None:
    """Or raises the first failure at once, or puts failures in their places."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            failed = asked.path.endswith("/1/creations")
            await (faulty.state("failed") if failed else faulty.success())(connection, asked)

        server.looks = [look]
        good = [vidu.attach(number) for number in "032"]
        assert [task.id for task in await vidu.gather(good)] == ["0", "3", "2"]
        every = [vidu.attach(number) for number in "0123"]
        with pytest.raises(TaskFailedError, match="task 1 failed"):
            await vidu.gather(every)
        outcomes = await vidu.gather(every, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Task, TaskFailedError, Task, Task]

    play([], test)


def test_gather_puts_timeouts_in_their_places_if_asked() -> None:
    """What ended is not lost because something else did not."""

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            done = asked.path.endswith("/0/creations")
            await (faulty.success() if done else faulty.state("processing"))(connection, asked)

        server.looks = [look]
        handles = [vidu.attach(number) for number in "01"]
        outcomes = await vidu.gather(handles, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Task, TaskTimeoutError]
        with pytest.raises(TaskTimeoutError):
            await vidu.gather(handles)

    play([], test)


def test_waiters_are_told_when_the_client_is_closed() -> None:
    """They do not hang, and learn how to go on."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handle = await vidu.submit(REQUEST)
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(10)
        await vidu.aclose()
        with pytest.raises(ConfigError, match="the client was closed"):
            await waiting
        with pytest.raises(ConfigError, match="the client is closed"):
            await handle

    play([faulty.state("processing")], test)


def test_ten_thousand_tasks_are_waited_for_by_one_timer() -> None:
    """B14: waiting takes no asyncio task of its own."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        handles = [vidu.attach(str(number)) for number in range(10_000)]
        before = len(asyncio.all_tasks())
        completed = vidu.as_completed(handles)
        waiting = asyncio.create_task(anext(completed))
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= before + 1
        waiting.cancel()

    play([faulty.state("processing")], test)


def test_a_look_that_is_throttled_is_a_rate_limit_to_refresh() -> None:
    """`refresh()` is one GET and tells what it got."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        with pytest.raises(RateLimitError) as caught:
            await vidu.attach("1").refresh()
        assert caught.value.retry_after == 2

    play([faulty.refuse(429, "TooManyRequests", Retry_After="2")], test)


def test_a_token_is_short_plain_and_fit_for_json() -> None:
    """And holds no key."""

    async def test(vidu: ViduClient, _: faulty.FaultyServer) -> None:
        for task_id in ("911045603801182208", "video_01J9ZK", "a:b^^c/d?e", "任务", "x" * 512):
            token = vidu.attach(task_id).token
            assert json.loads(json.dumps(token)) == token
            assert token.isascii()
            assert len(token) < 1000
            assert "test-key" not in token
            assert vidu.attach(token).task_id == task_id

    play([], test)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "takes a task id"),
        ("vidu1.", "damaged"),
        ("vidu1.WyIx", "damaged"),
        ("vidu1.MQ", "damaged"),
        ("vidu2.WyIxIl0", "another version"),
    ],
)
def test_a_damaged_token_is_refused(token: str, said: str) -> None:
    """It is never taken for a task id."""
    with pytest.raises(ConfigError, match=said):
        ViduClient("test-key").attach(token)


def test_a_token_of_another_gateway_is_refused() -> None:
    """Its task is not to be found here."""
    token = ViduClient("test-key").attach("1").token
    with pytest.raises(ConfigError, match=r"task is at https://www\.kkiai\.com.*gateway is https://api\.vidu\.com"):
        ViduClient("test-key", base_url="https://api.vidu.com").attach(token)


def test_an_off_peak_token_remembers_its_patience() -> None:
    """The new process need not see an answer first."""
    looks = [faulty.refuse(500, "InternalServiceFailure")]

    async def test(vidu: ViduClient, server: faulty.FaultyServer) -> None:
        server.creates = [faulty.created(off_peak=True)]
        token = (await vidu.submit(REQUEST)).token
        async with ViduClient("test-key", base_url=server.url, polling=Polling(600, 600)) as other:
            with pytest.raises(TaskTimeoutError, match="176400 s"):
                await other.attach(token)

    play(looks, test)
