"""What once went wrong, or nearly: each a way to lose money, a result or an hour."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import threading
import traceback
import weakref
from pathlib import Path
from typing import Any

import faulty
import pytest
from pictures import png

from vidu_async import (
    APIError,
    ConfigError,
    Creation,
    DownloadError,
    Gateway,
    ImageToVideo,
    InsufficientCreditsError,
    Limits,
    NotFoundError,
    Polling,
    RateLimitError,
    RawRequest,
    SubmissionUnknownError,
    Task,
    TaskState,
    TextToVideo,
    Timeouts,
    ValidationError,
    ViduClient,
)
from vidu_async.polling import Kind, Waiting
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.wire import read_task, without_inlined_files
from vidu_async.testing import Reply, Simulator, run_in_thread, run_virtual

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 8


def client(server: faulty.FaultyServer, **settings: Any) -> ViduClient:
    """Return a client of that server."""
    return ViduClient("test-key", gateway=Gateway(base_url=server.url, lists=False), **settings)


def test_closing_never_calls_a_sent_creation_unpaid() -> None:
    """After the thirty seconds of draining, its caller is told that it may be paid."""

    async def main() -> None:
        async with faulty.FaultyServer(creates=[faulty.hang]) as server:
            vidu = client(server, timeouts=Timeouts(read=600))
            caller = asyncio.create_task(vidu.submit(REQUEST, key="k"))
            while not server.creations:
                await asyncio.sleep(0.01)
            await vidu.aclose()
            with pytest.raises(SubmissionUnknownError) as caught:
                await caller
            assert (caught.value.paid, caught.value.key) == ("maybe", "k")

    run_virtual(main())


def test_a_server_that_says_come_back_at_once_is_not_hammered() -> None:
    """`Retry-After: 0` gets the usual pauses."""

    async def main() -> None:
        busy = faulty.refuse(429, "TooManyRequests", Retry_After="0")
        async with faulty.FaultyServer(creates=[busy]) as server, client(server, timeouts=Timeouts(submit=60)) as vidu:
            with pytest.raises(RateLimitError):
                await vidu.submit(REQUEST)
            assert len(server.creations) < 60

    run_virtual(main())


def test_an_answer_that_trickles_is_given_up() -> None:
    """A byte a minute is no silence, yet no answer either: neither a submission nor a look waits for it for ever."""

    async def trickle(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await connection.write(b" ")
            await asyncio.sleep(60)

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[trickle], looks=[trickle]) as server,
            ViduClient("test-key", gateway=Gateway(base_url=server.url, lists=False)) as vidu,
        ):
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(REQUEST)
            assert asyncio.get_running_loop().time() == pytest.approx(180, abs=1)
            with pytest.raises(TimeoutError):
                await vidu.fetch_task("1")

    run_virtual(main())


@pytest.mark.parametrize("reason", ["", "SomethingNew"])
def test_a_429_is_a_429_whatever_new_reason_it_has(reason: str) -> None:
    """It is waited out, not taken for a loss."""

    async def main() -> None:
        creates = [faulty.refuse(429, reason), faulty.created()]
        async with faulty.FaultyServer(creates=creates) as server, client(server) as vidu:
            await vidu.submit(REQUEST)
            assert len(server.creations) == 2

    run_virtual(main())


async def test_a_429_for_want_of_credits_is_told_as_such() -> None:
    """Waiting would not fill the account."""
    async with (
        faulty.FaultyServer(creates=[faulty.refuse(429, "CreditInsufficient")]) as server,
        client(server) as vidu,
    ):
        with pytest.raises(InsufficientCreditsError) as caught:
            await vidu.submit(REQUEST)
    assert caught.value.paid == "no"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 422])
async def test_a_refusal_by_a_page_may_be_anybodys(status: int) -> None:
    """Some proxy's HTML proves nothing about what stands behind it."""
    page = faulty.answer(status, b"<html>no</html>", Content_Type="text/html")
    async with faulty.FaultyServer(creates=[page]) as server, client(server) as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(REQUEST)


@pytest.mark.parametrize("identity", [0, -1, "0", " ", "null", "None", "undefined", "-5"])
async def test_what_can_be_no_id_is_none(identity: Any) -> None:
    """The answer is as good as lost."""
    async with (
        faulty.FaultyServer(creates=[faulty.answer(200, {"task_id": identity})]) as server,
        client(server) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(REQUEST)


@pytest.mark.parametrize(
    "body", [{"id": "req-1", "error": {"message": "no"}}, {"id": "req-1", "code": 500, "message": ""}]
)
async def test_the_id_of_an_error_is_no_task(body: dict[str, Any]) -> None:
    """It is the request's."""
    async with faulty.FaultyServer(creates=[faulty.answer(200, body)]) as server, client(server) as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(REQUEST)


def test_a_refresh_brings_fresh_links() -> None:
    """The state is final; the links are not."""

    async def main() -> None:
        looks = [
            faulty.success("https://r.invalid/a?Signature=OLD"),
            faulty.success("https://r.invalid/a?Signature=NEW"),
        ]
        async with faulty.FaultyServer(looks=[*looks, faulty.state("processing")]) as server, client(server) as vidu:
            handle = vidu.attach("1")
            assert str((await handle).creations[0].url).endswith("OLD")
            assert str((await handle.refresh()).creations[0].url).endswith("NEW")
            assert str((await handle).creations[0].url).endswith("NEW")
            assert (await handle.refresh()).state is TaskState.SUCCESS
            assert [task.state async for task in handle.events()] == [TaskState.SUCCESS]

    run_virtual(main())


def test_a_late_file_is_found_by_refresh() -> None:
    """What `ResultMissingError` advises works."""

    async def main() -> None:
        looks = [faulty.state("success")] * 6 + [faulty.success()]
        async with faulty.FaultyServer(looks=looks) as server, client(server) as vidu:
            handle = vidu.attach("1")
            assert not (await handle.wait()).has_result
            assert (await handle.refresh()).has_result
            assert (await handle).has_result

    run_virtual(main())


@pytest.mark.parametrize("result", [None, "soon", 0, -1, float("inf"), float("nan")])
def test_a_policy_that_returns_nonsense_costs_nobody_a_task(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The default takes over, and the submission still returns its handle."""

    class Odd:
        max_per_second = None

        def interval(self, waiting: Waiting) -> Any:
            return result

        def finished(self, kind: Kind, seconds: float) -> None:
            """Learn nothing."""

    async def main() -> None:
        looks = [faulty.state("processing"), faulty.success()]
        async with (
            faulty.FaultyServer(looks=looks) as server,
            client(server, polling=Odd(), limits=Limits(in_flight=1)) as vidu,
        ):
            for _ in range(2):
                assert (await vidu.run(REQUEST)).has_result

    run_virtual(main())
    assert "the polling policy failed" in caplog.text


def test_an_echoed_picture_is_cut_out_in_the_blink_of_an_eye() -> None:
    """Twenty megabytes of it, without twenty gigabytes of memory."""
    picture = "data:image/png;base64," + "A" * 20_000_000
    body = json.dumps({"task_id": "7", "state": "created", "images": [picture]}).encode()
    lean = without_inlined_files(body)
    assert len(lean) < 200
    assert read_task(Answer(200, body)).raw["images"] == ["data:image/png;base64,..."]


def test_in_flight_places_come_back_in_the_next_loop() -> None:
    """The tasks of the first run end while nobody runs; the second run finds out."""
    with run_in_thread(Simulator()) as sim:
        vidu = sim.client(limits=Limits(in_flight=1))

        async def submit() -> None:
            async with asyncio.timeout(10):
                await vidu.submit(REQUEST)  # the handle is dropped

        for _ in range(3):
            asyncio.run(submit())
            gc.collect()
        assert len(sim.accepted) == 3


async def test_the_same_task_accepted_twice_gives_back_both_places() -> None:
    """A gateway that answers two creations with one id."""
    async with faulty.FaultyServer() as server, client(server, limits=Limits(in_flight=2)) as vidu:
        async with asyncio.timeout(10):
            for _ in range(6):
                await vidu.submit(REQUEST)


async def test_a_second_loop_disturbs_nobody() -> None:
    """Waiting or closing there is refused, and the first loop's waiters go on."""
    async with Simulator() as sim, sim.client() as vidu:
        handle = await vidu.submit(REQUEST)
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(0)
        errors: list[str] = []

        def elsewhere() -> None:
            for use in (handle.wait, vidu.aclose):
                try:
                    asyncio.run(use())
                except ConfigError as error:
                    errors.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        assert (await waiting).has_result
        await asyncio.to_thread(thread.join)
        assert [error.count("another running event loop") for error in errors] == [1, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_loop_closed_without_a_word_leaves_nobody_deaf() -> None:
    """A waiter that died with its loop does not keep the news from the living, nor its submission the places."""
    with run_in_thread(Simulator(time_scale=5)) as sim:
        vidu = sim.client(limits=Limits(submissions=1))
        loop = asyncio.new_event_loop()
        handle = loop.run_until_complete(vidu.submit(REQUEST))
        tasks = [loop.create_task(handle.result()), loop.create_task(vidu.submit(REQUEST, key="cut"))]
        loop.run_until_complete(asyncio.sleep(0.005))
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

        async def go_on() -> None:
            async with asyncio.timeout(10):
                assert (await handle).has_result
                await vidu.submit(REQUEST)
                await vidu.aclose()

        asyncio.run(go_on())
    del tasks, task
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_key_whose_loop_ended_before_its_first_step_can_be_used_again() -> None:
    """It was never sent."""
    with run_in_thread(Simulator()) as sim:
        vidu = sim.client()

        async def begin() -> None:
            asyncio.create_task(vidu.submit(REQUEST, key="row-17"))  # noqa: RUF006 - left behind on purpose
            await asyncio.sleep(0)

        async def again() -> str:
            return (await vidu.submit(REQUEST, key="row-17")).task_id

        asyncio.run(begin())
        assert asyncio.run(again()) in sim.tasks
        assert len(sim.accepted) == 1


def test_lag_is_still_lag_in_the_next_loop() -> None:
    """A task that was accepted is not believed missing at the first 404."""

    async def submit(vidu: ViduClient) -> Any:
        return await vidu.submit(REQUEST)

    with run_in_thread(Simulator()) as sim:
        missing = {"left": 3}

        async def lag(method: str, *_: object) -> Any:
            if method == "GET" and missing["left"]:
                missing["left"] -= 1
                return Reply(404, {"code": 404, "reason": "TaskNotFound", "message": "", "metadata": {}})
            return None

        vidu = sim.client()
        handle = asyncio.run(submit(vidu))
        sim.intercept = lag

        async def wait() -> Task:
            return await handle.result()  # type: ignore[no-any-return]

        assert asyncio.run(wait()).has_result


def test_gather_tells_the_failure_it_saw() -> None:
    """Also if somebody else waits for the same task anew."""

    async def main() -> None:
        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            if asked.path.endswith("/1/creations"):
                await faulty.refuse(404, "TaskNotFound")(connection, asked)
            else:
                await asyncio.sleep(30)
                await faulty.success()(connection, asked)

        async def insist(vidu: ViduClient) -> None:
            for _ in range(20):
                with pytest.raises(NotFoundError):
                    await vidu.attach("1")
                await asyncio.sleep(1)

        async with faulty.FaultyServer(looks=[look]) as server, client(server) as vidu:
            insisting = asyncio.create_task(insist(vidu))
            outcomes = await vidu.gather([vidu.attach("1"), vidu.attach("2")], return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [NotFoundError, Task]
            await insisting

    run_virtual(main())


@pytest.mark.parametrize(
    "script",
    [
        faulty.refuse(403, "TooManyRequests"),
        faulty.refuse(400, "SystemThrottling"),
        faulty.refuse(400, "OperationInProcess"),
    ],
)
def test_a_throttled_look_does_not_end_a_wait(script: faulty.Script) -> None:
    """Whatever status it comes with."""

    async def main() -> None:
        async with faulty.FaultyServer(looks=[script, script, faulty.success()]) as server, client(server) as vidu:
            assert (await vidu.attach("1")).has_result

    run_virtual(main())


def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not for each look, and again only after it was over."""

    async def main() -> None:
        looks = [faulty.reset] * 9 + [faulty.state("processing")] + [faulty.close] * 9 + [faulty.success()]
        async with faulty.FaultyServer(looks=looks) as server, client(server) as vidu:
            await vidu.attach("1")

    with caplog.at_level(logging.WARNING, "vidu_async"):
        run_virtual(main())
    assert caplog.text.count("waiting goes on") == 2


@pytest.mark.parametrize("question", ["credits", "refresh", "cancel"])
async def test_a_cancelled_question_shows_no_key(question: str) -> None:
    """Not in the locals of any frame, causes included."""
    async with faulty.FaultyServer(looks=[faulty.hang]) as server, client(server) as vidu:
        server.others = {"GET /ent/v2/credits": faulty.hang, "POST /ent/v2/tasks/1/cancel": faulty.hang}
        handle = vidu.attach("1")
        ask = vidu.credits if question == "credits" else getattr(handle, question)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await ask()
    error: BaseException | None = caught.value
    while error is not None:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames = [frame for frame in shown.stack if frame.filename not in {__file__, faulty.__file__}]
        assert "test-key" not in str([frame.locals for frame in frames])
        assert not any("aiohttp" in frame.filename for frame in frames)
        error = error.__cause__ or error.__context__


async def test_downloads_at_once_never_take_each_others_names(tmp_path: Path) -> None:
    """With "rename" each gets its own, with "error" one wins."""
    async with faulty.FaultyServer() as server, client(server) as vidu:
        server.others = {"GET /film": faulty.answer(200, MP4)}
        creation = Creation(task_id="7", id="1", url=f"{server.url}/film")
        paths = await asyncio.gather(*(vidu.download(creation, tmp_path / "a", exists="rename") for _ in range(12)))
        assert len(set(paths)) == len(os.listdir(tmp_path / "a")) == 12
        ends = await asyncio.gather(
            *(vidu.download(creation, tmp_path / "b") for _ in range(12)), return_exceptions=True
        )
        assert sum(isinstance(end, Path) for end in ends) == 1
        assert {type(end) for end in ends if not isinstance(end, Path)} == {DownloadError}
        assert len(os.listdir(tmp_path / "b")) == 1


async def test_more_downloads_than_connections_wait_their_turn(tmp_path: Path) -> None:
    """Waiting for a connection of ours is no fault of the server's."""

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(0.3)
        await connection.answer(200, MP4)

    async with faulty.FaultyServer() as server, client(server, timeouts=Timeouts(connect=0.25)) as vidu:
        server.others = {"GET /film": slowly}
        creations = [Creation(task_id=str(number), url=f"{server.url}/film") for number in range(1, 131)]
        paths = await asyncio.gather(*(vidu.download(creation, tmp_path) for creation in creations))
    assert len(set(paths)) == 130


async def test_an_error_in_plain_words_is_no_result(tmp_path: Path) -> None:
    """Nor is a name that no file system takes a crash."""
    async with faulty.FaultyServer() as server, client(server) as vidu:
        server.others = {
            "GET /film": faulty.answer(200, "Quota exceeded, sorry é…".encode(), Content_Type="text/plain")
        }
        creation = Creation(task_id="7", url=f"{server.url}/film")
        with pytest.raises(DownloadError, match="a page instead of a result"):
            await vidu.download(creation, tmp_path)
        for target in (tmp_path / ("x" * 300), tmp_path / "y" / ("x" * 300 + ".mp4")):
            with pytest.raises((ConfigError, DownloadError)):
                await vidu.download(creation, target)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_finished_loops_are_let_go() -> None:
    """A client that serves thousands of runs keeps none of them."""
    with run_in_thread(Simulator()) as sim:
        vidu = sim.client()
        loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

        async def ask() -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await vidu.credits()

        for _ in range(10):
            asyncio.run(ask())
        gc.collect()
        assert sum(loop() is not None for loop in loops) <= 1


async def test_a_key_that_the_client_chose_can_be_asked_about() -> None:
    """The key of an error names the lost submission, not a new one."""
    async with faulty.FaultyServer(creates=[faulty.reset]) as server, client(server) as vidu:
        with pytest.raises(SubmissionUnknownError) as caught:
            await vidu.submit(REQUEST)
        with pytest.raises(SubmissionUnknownError, match="sent before"):
            await vidu.submit(REQUEST, key=caught.value.key)
    assert len(server.creations) == 1


@pytest.mark.parametrize("key", [None, "row-1"])
async def test_a_request_that_no_json_holds_is_refused(key: str | None) -> None:
    """Whatever is odd about it."""
    circle: list[Any] = []
    circle.append(circle)
    async with faulty.FaultyServer() as server, client(server) as vidu:
        for fields in ({("a", "b"): 1}, {"prompt": circle}, {"prompt": {1, 2}}, {"seed": float("nan")}):
            with pytest.raises(ValidationError) as caught:
                await vidu.submit(RawRequest("extend", fields), key=key)  # type: ignore[arg-type]
            assert caught.value.paid == "no"
    assert server.connections == 0


async def test_a_submission_that_fails_with_its_caller_there_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller was told."""
    async with faulty.FaultyServer(creates=[faulty.reset]) as server, client(server) as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(REQUEST)
        await asyncio.sleep(0.01)
    assert "whose caller left" not in caplog.text


def test_an_off_peak_request_is_given_its_time_even_if_no_answer_says_so() -> None:
    """The client knows what it sent."""

    async def main() -> None:
        request = TextToVideo(model="viduq3-turbo", prompt="x", off_peak=True)
        polling = Polling(600, 600)
        async with (
            faulty.FaultyServer(looks=[faulty.state("queueing")]) as server,
            client(server, polling=polling) as vidu,
        ):
            with pytest.raises(TimeoutError, match="176400 s"):
                await vidu.run(request)

    run_virtual(main())


async def test_a_file_still_being_read_at_closing_is_not_sent_afterwards(tmp_path: Path) -> None:
    """Its caller is told that nothing is paid."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(png(size=5_000_000))
    async with faulty.FaultyServer(creates=[faulty.hang]) as server:
        vidu = client(server, timeouts=Timeouts(read=0.3))
        first = asyncio.create_task(vidu.submit(REQUEST))
        while not server.creations:
            await asyncio.sleep(0.001)
        request = ImageToVideo(model="viduq3-turbo", images=[picture])
        late = asyncio.create_task(vidu.submit(request, key="late"))  # its digest is made in a thread
        await asyncio.sleep(0)
        await vidu.aclose()
        with pytest.raises(ConfigError) as caught:
            await late
        assert caught.value.paid == "no"
        with pytest.raises(SubmissionUnknownError):
            await first
    assert len(server.creations) == 1


def test_a_look_cut_off_by_the_end_of_its_loop_still_holds_its_place() -> None:
    """The place in flight comes back once a later loop has seen the task end."""

    async def silent(method: str, *_: object) -> Any:
        if method == "GET":
            looking.set()
            await asyncio.sleep(30)

    looking = threading.Event()
    with run_in_thread(Simulator()) as sim:
        sim.intercept = silent
        vidu = sim.client(limits=Limits(in_flight=1))

        async def first() -> None:
            await vidu.submit(REQUEST)  # the handle is dropped
            await asyncio.to_thread(looking.wait, 10)

        async def second() -> None:
            async with asyncio.timeout(10):
                await vidu.submit(REQUEST)

        asyncio.run(first())
        gc.collect()
        sim.intercept = None
        asyncio.run(second())
        assert len(sim.accepted) == 2


async def test_several_workers_may_share_one_iterator() -> None:
    """Each handle goes to one of them, and all of them end."""
    async with Simulator() as sim, sim.client() as vidu:
        completed = vidu.as_completed([await vidu.submit(REQUEST) for _ in range(5)])

        async def work() -> list[str]:
            return [handle.task_id async for handle in completed]

        async with asyncio.timeout(10):
            shares = await asyncio.gather(*(work() for _ in range(3)))
    assert sorted(task_id for share in shares for task_id in share) == sorted(sim.tasks)


async def test_the_same_key_can_be_used_at_once_after_a_timeout() -> None:
    """What was withdrawn from the queue is forgotten at once."""
    async with (
        faulty.FaultyServer(creates=[faulty.hang, faulty.created()]) as server,
        client(server, limits=Limits(submissions=1), timeouts=Timeouts(read=1)) as vidu,
    ):
        blocking = asyncio.create_task(vidu.submit(REQUEST))
        while not server.creations:
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await vidu.submit(REQUEST, key="k")
        assert (await vidu.submit(REQUEST, key="k")).key == "k"
        with pytest.raises(SubmissionUnknownError):
            await blocking


def test_what_nobody_waits_for_is_not_tried_again() -> None:
    """A 429 after its caller has left ends the submission, unpaid; and closing does not wait for a Retry-After."""

    async def busy(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(1)
        await faulty.refuse(429, "TooManyRequests", Retry_After="5")(connection, asked)

    async def main() -> None:
        async with faulty.FaultyServer(creates=[busy, faulty.created()]) as server:
            vidu = client(server)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await vidu.submit(REQUEST)
            await asyncio.sleep(60)
            assert len(server.creations) == 1
            server.creates = [busy]
            closing = asyncio.create_task(vidu.submit(REQUEST))
            await asyncio.sleep(0.5)
            began = asyncio.get_running_loop().time()
            await vidu.aclose()
            assert asyncio.get_running_loop().time() - began < 2
            with pytest.raises(RateLimitError):
                await closing

    run_virtual(main())


def test_a_cancellation_of_earlier_is_not_taken_for_one_of_now() -> None:
    """A caller that survived one is still told that its submission may be paid."""

    async def main() -> None:
        async with faulty.FaultyServer(creates=[faulty.hang]) as server:
            vidu = client(server, timeouts=Timeouts(read=600))

            async def survivor() -> None:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                await vidu.submit(REQUEST)

            caller = asyncio.create_task(survivor())
            while not server.creations:
                await asyncio.sleep(0.01)
            await vidu.aclose()
            with pytest.raises(SubmissionUnknownError):
                await caller

    run_virtual(main())


async def test_an_off_peak_task_keeps_its_patience_everywhere() -> None:
    """In its token, under its key, and among the unfinished."""
    request = TextToVideo(model="viduq3-turbo", prompt="x", off_peak=True)
    async with faulty.FaultyServer() as server, client(server) as vidu:
        token = (await vidu.submit(request, key="k")).token
        gc.collect()
        (unfinished,) = vidu.unfinished()
        again = await vidu.submit(request, key="k")
        assert token == unfinished.token == again.token
        async with client(server) as other:
            plain = other.attach(unfinished.task_id)
            assert other.attach(token) == plain
            assert plain.token == token


@pytest.mark.parametrize(
    ("body", "is_task"),
    [
        ({"task_id": "", "id": "req-1", "error": {"message": "no"}}, False),
        ({"task_id": None, "id": "req-1", "code": 500}, False),
        ({"id": "911", "code": 200, "status": "created"}, True),
        ({"id": "911"}, True),
    ],
)
def test_an_error_in_a_success_is_told_from_a_task(body: dict[str, Any], is_task: bool) -> None:
    """By what else the answer says."""
    answer = Answer(200, json.dumps(body).encode())
    if is_task:
        assert read_task(answer).id == "911"
    else:
        with pytest.raises(APIError):
            read_task(answer)


async def test_a_success_without_files_is_shown_but_ends_no_wait() -> None:
    """What the creation said stays known, and a look returns what it saw."""
    empty = {"state": "success", "credits": 8, "creations": []}
    full = {**empty, "creations": [{"id": "1", "url": "https://a.example/fox.mp4"}]}
    looks = [empty, full]

    async def early(method: str, *_: object) -> Reply:
        if method == "POST":
            return Reply(200, {"task_id": "911", "state": "success", "model": "viduq2-turbo", "credits": 30})
        return Reply(200, looks.pop(0) if len(looks) > 1 else looks[0])

    async with Simulator(intercept=early) as sim, sim.client() as vidu:
        handle = await vidu.submit(REQUEST)
        assert handle.task is not None
        assert (handle.task.credits, handle.state) == (30, TaskState.SUCCESS)
        seen = await handle.refresh()
        assert (seen.state, seen.credits, seen.has_result) == (TaskState.SUCCESS, 8, False)
        task = await handle
        assert (task.model, task.credits, task.has_result) == ("viduq2-turbo", 8, True)
        assert [event.has_result async for event in handle.events()] == [True]


async def test_a_header_that_is_no_text_costs_no_task() -> None:
    """The answer's body is what counts."""
    body = json.dumps({"task_id": "911", "state": "created"}).encode()
    head = b"HTTP/1.1 200 OK\r\nX-Odd: \xff\xfe\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with faulty.FaultyServer(creates=[faulty.raw(head % len(body) + body)]) as server, client(server) as vidu:
        assert (await vidu.submit(REQUEST)).task_id == "911"
