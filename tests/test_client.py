"""The client against the simulated Vidu: everything a user does, over real HTTP."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import re
import threading
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import faulty
import pytest

from vidu_async import (
    APIError,
    CancelRefusedError,
    ConfigError,
    Gateway,
    ImageToVideo,
    InsufficientCreditsError,
    Limiter,
    Limits,
    NotFoundError,
    PolicyViolationError,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    Request,
    StartEndToVideo,
    Subject,
    TaskCancelledError,
    TaskFailedError,
    TaskHandle,
    TaskState,
    TextToVideo,
    Timeouts,
    UnsupportedError,
    ViduClient,
    request_from_wire,
)
from vidu_async.testing import DROP_AFTER, Reply, Simulator
from vidu_async.testing.results import picture as picture_of

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
URL = "https://pictures.invalid/fox.png"


EVERY: list[Request] = [
    ImageToVideo(
        model="viduq3-turbo", images=[URL], prompt="the fox runs", audio=False, seed=7, wm_position="top_left"
    ),
    StartEndToVideo(model="viduq1", images=[URL, URL], duration=5, bgm=True),
    ReferenceToVideo(model="viduq2", prompt="@fox runs", subjects=[Subject(name="fox", images=[URL])]),
    ReferenceToVideo(model="viduq2", prompt="a fox runs", images=[URL, URL], aspect_ratio="9:16"),
    ReferenceToImage(model="viduq2", prompt="a fox", resolution="2K"),
    TextToVideo(model="viduq3-turbo", prompt="a fox", duration=16, off_peak=True, payload="mine ✓"),
]


@pytest.mark.parametrize("request_", EVERY, ids=lambda request: f"{type(request).__name__}")
async def test_every_endpoint_works_from_request_to_file(vidu: ViduClient, request_: Request, tmp_path: Path) -> None:
    """Submitted, followed through its states, downloaded, and of the right kind."""
    handle = await vidu.submit(request_)
    assert [task.state for task in (handle.task,) if task] == [TaskState.CREATED]
    states = [task.state.value async for task in handle.events()]
    assert (states[0], states[-1]) == ("created", "success")
    task = await handle
    path = await vidu.download(task, tmp_path)
    is_picture = request_.endpoint == "reference2image"
    assert path.name == f"{handle.task_id}.{'png' if is_picture else 'mp4'}"
    head = path.read_bytes()[:8]
    assert head == b"\x89PNG\r\n\x1a\n" if is_picture else head[4:] == b"ftyp"
    assert task.payload == getattr(request_, "payload", None)


async def test_run_submits_and_waits(vidu: ViduClient) -> None:
    """The shortest way to a result."""
    task = await vidu.run(REQUEST, timeout=30)
    assert task.has_result


async def test_three_tasks_take_less_than_a_blink(vidu: ViduClient, sim: Simulator) -> None:
    """All of them at once, charged once each."""
    tasks = await vidu.gather([await vidu.submit(REQUEST) for _ in range(3)])
    assert len({task.id for task in tasks}) == 3
    assert [task.id for task in sim.accepted] == [task.id for task in tasks]
    assert sim.charged == sum(task.credits or 0 for task in tasks)


async def test_raw_requests_are_sent_as_they_are(vidu: ViduClient, sim: Simulator) -> None:
    """Any endpoint, with the same safety; the documented ones included."""
    handle = await vidu.submit(RawRequest("text2video", REQUEST.to_wire()))
    assert (await handle).has_result
    with pytest.raises(NotFoundError):
        await vidu.submit(RawRequest("/no-such-endpoint/", {"model": "x"}))
    assert len(sim.accepted) == 1


async def test_local_pictures_are_accepted(vidu: ViduClient, tmp_path: Path) -> None:
    """By path and as bytes."""
    picture = tmp_path / "fox.jpg"
    picture.write_bytes(picture_of("fox", "16:9"))
    first = await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[picture]))
    second = await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[picture.read_bytes()]))
    subject = Subject(name="fox", images=[picture])
    third = await vidu.submit(ReferenceToVideo(model="viduq2", prompt="@fox", subjects=[subject]))
    assert all(task.has_result for task in await vidu.gather([first, second, third]))


async def test_rows_of_a_file_find_their_pictures_beside_it(vidu: ViduClient, tmp_path: Path) -> None:
    """`base_dir` makes relative paths independent of the working directory."""
    (tmp_path / "fox.png").write_bytes(picture_of("fox", "16:9"))
    row = {"model": "viduq3-turbo", "images": ["fox.png"], "audio": "true", "duration": "4"}
    assert (await vidu.run(request_from_wire("img2video", row, base_dir=tmp_path))).has_result


async def test_a_refusal_comes_with_vidus_reason_and_trace(vidu: ViduClient, sim: Simulator) -> None:
    """And costs nothing."""
    with pytest.raises(APIError, match=r"400 \w+: .*duration.*trace") as caught:
        await vidu.submit(RawRequest("text2video", {"model": "viduq3-turbo", "prompt": "x", "duration": 99}))
    assert (caught.value.status, caught.value.paid) == (400, "no")
    assert caught.value.trace_id
    assert sim.charged == 0


async def test_an_empty_account_is_told() -> None:
    """The message says what to do."""
    async with Simulator(credits=10) as sim, sim.client() as vidu:
        with pytest.raises(InsufficientCreditsError, match="Buy credits"):
            await vidu.submit(REQUEST)


async def test_a_failed_generation_is_refunded() -> None:
    """The ledger and the error agree."""
    async with Simulator(fails=lambda _: "CreationPolicyViolation") as sim, sim.client() as vidu:
        with pytest.raises(TaskFailedError, match="CreationPolicyViolation") as caught:
            await vidu.run(REQUEST)
        assert (caught.value.paid, sim.charged) == ("no", 0)


async def test_a_policy_refusal_is_told_apart(sim: Simulator, vidu: ViduClient) -> None:
    """By its reason, not its status."""

    async def refuse(*_: object) -> Reply:
        return Reply(400, {"code": 400, "reason": "TaskPromptPolicyViolation", "message": "no", "metadata": {}})

    sim.intercept = refuse
    with pytest.raises(PolicyViolationError, match="Change the prompt"):
        await vidu.submit(REQUEST)


async def test_a_creation_accepted_but_unanswered_is_found_in_the_list(sim: Simulator, vidu: ViduClient) -> None:
    """Its task repeats the payload that it was sent with: the caller has its handle, and it is paid once."""

    async def drop(method: str, *_: object) -> Any:
        return DROP_AFTER if method == "POST" else None

    sim.intercept = drop
    handle = await vidu.submit(REQUEST)
    assert [handle.task_id] == list(sim.tasks)
    assert (await handle).has_result


async def test_tasks_are_listed_page_by_page(vidu: ViduClient, sim: Simulator) -> None:
    """Each once, with the filters passed on."""
    handles = [await vidu.submit(REQUEST) for _ in range(7)]
    ids = {handle.task_id for handle in handles}
    assert {task.id async for task in vidu.tasks(page_size=3)} == ids
    assert sim.requests["GET tasks"] == 3 or sum(sim.requests.values()) == 10
    wanted = [handles[2].task_id, handles[5].task_id]
    assert {task.id async for task in vidu.tasks(task_ids=wanted)} == set(wanted)
    await vidu.gather(handles)
    assert {task.id async for task in vidu.tasks(states=[TaskState.SUCCESS])} == ids
    assert [task async for task in vidu.tasks(states=["failed"])] == []
    now = datetime.now(UTC)
    window = vidu.tasks(created_from=now - timedelta(hours=1), created_to=now + timedelta(hours=1))
    assert {task.id async for task in window} == ids
    assert [task async for task in vidu.tasks(created_to=now - timedelta(hours=1))] == []


async def test_a_list_that_repeats_its_page_token_ends() -> None:
    """A server's fault must not make an endless loop."""
    page = {"tasks": [{"id": "1", "state": "success"}, {"no": "id"}, "junk"], "next_page_token": "again"}
    async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
        server.others["GET /ent/v2/tasks"] = faulty.answer(200, page)
        assert [task.id async for task in vidu.tasks()] == ["1", "1"]
        rows = {"subjects": [{"id": 5, "name": "fox", "images": ["https://a/b", 7]}], "next_page_token": "again"}
        server.others["GET /ent/v2/subjects"] = faulty.answer(200, rows)
        (first, _) = [subject async for subject in vidu.subjects(ownership="system")]
        assert (first.server_id, first.name, first.images) == ("5", "fox", ("https://a/b",))


async def test_a_waiting_task_can_be_cancelled_and_a_running_one_not() -> None:
    """B12: cancelled ones are refunded, and their wait says so."""
    async with Simulator(concurrency=1, time_scale=20) as sim, sim.client() as vidu:
        running, waiting = [await vidu.submit(REQUEST) for _ in range(2)]
        async for task in running.events():
            if task.state is TaskState.PROCESSING:
                break
        with pytest.raises(CancelRefusedError, match="can not cancel"):
            await running.cancel()
        await waiting.cancel()
        with pytest.raises(TaskCancelledError):
            await waiting
        assert sim.charged == sim.accepted[0].credits


async def test_a_gateway_without_list_and_cancel_says_so() -> None:
    """B13: found out by asking, or known beforehand without asking."""
    async with Simulator(lists=False, cancels=False) as sim, sim.client() as vidu:
        handle = await vidu.submit(REQUEST)
        with pytest.raises(UnsupportedError, match="cannot cancel tasks"):
            await handle.cancel()
        with pytest.raises(UnsupportedError, match="cannot list tasks"):
            await anext(vidu.tasks())
        asked = sum(sim.requests.values())
        known = Gateway(base_url=sim.url, lists=False, cancels=False)
        async with sim.client(gateway=known) as other:
            with pytest.raises(UnsupportedError):
                await other.cancel(handle.task_id)
            with pytest.raises(UnsupportedError):
                await anext(other.tasks())
        assert sum(sim.requests.values()) == asked


async def test_cancelling_what_does_not_exist_is_not_a_missing_ability(vidu: ViduClient) -> None:
    """A 404 with a reason speaks of the task."""
    with pytest.raises(NotFoundError, match="TaskNotFound"):
        await vidu.cancel("1")


async def test_credits_are_read(vidu: ViduClient) -> None:
    """What is left, and the documented rows."""
    await vidu.run(REQUEST)
    account = await vidu.credits()
    assert account.remaining is not None
    assert account.remaining < 100_000
    assert account.remains[0]["concurrency_limit"] == 5


async def test_subjects_are_stored_and_used(vidu: ViduClient, sim: Simulator) -> None:
    """Created for 5 credits, listed, and referred to by `server_id`."""
    stored = await vidu.create_subject(Subject(name="fox", images=[picture_of("fox", "16:9")]))
    assert stored.server_id
    assert sim.charged == 5
    assert [subject.server_id async for subject in vidu.subjects()] == [stored.server_id]
    used = Subject(name="fox", server_id=stored.server_id)
    assert (await vidu.run(ReferenceToVideo(model="viduq2", prompt="@fox runs", subjects=[used]))).has_result
    assert vidu.unfinished() == []


async def test_a_wrong_key_is_an_authentication_error(sim: Simulator) -> None:
    """With a hint at the scheme, since gateways differ."""
    async with sim.client(api_key="wrong") as vidu:
        with pytest.raises(APIError, match="auth_scheme"):
            await vidu.credits()


async def test_unfinished_lists_what_was_created_and_not_yet_awaited(vidu: ViduClient) -> None:
    """Also what nobody kept a handle of."""
    handles = [await vidu.submit(REQUEST, key=f"row {number}") for number in range(3)]
    await handles[1]
    assert [(handle.task_id, handle.key) for handle in vidu.unfinished()] == [
        (handles[0].task_id, "row 0"),
        (handles[2].task_id, "row 2"),
    ]


async def test_clients_may_share_a_limiter(sim: Simulator) -> None:
    """Two clients of one account, one bound."""
    limiter = Limiter(Limits(submissions=2))
    async with sim.client(limits=limiter) as first, sim.client(limits=limiter) as second:
        handles = await asyncio.gather(*(vidu.submit(REQUEST) for vidu in [first, second] * 5))
    assert len(handles) == 10


async def test_a_session_of_your_own_serves_the_questions_and_stays_open(sim: Simulator) -> None:
    """Creations still go over connections of their own; what was given is not closed."""
    headers: list[bool] = []
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session:

        async def look(method: str, _: str, sent: Any, __: bytes) -> None:
            headers.append(("X-Mine" in sent or "x-mine" in sent) == (method == "GET"))

        sim.intercept = look
        async with sim.client(session=session) as vidu:
            assert (await vidu.run(REQUEST)).has_result
        assert not session.closed
        assert headers
        assert all(headers)


async def test_an_already_closed_session_is_a_clear_error(sim: Simulator) -> None:
    """Not an hour of failing looks."""
    async with aiohttp.ClientSession() as session:
        pass
    async with sim.client(session=session) as vidu:
        with pytest.raises(ConfigError, match="session"):
            await vidu.credits()


async def test_a_second_running_loop_is_refused(vidu: ViduClient) -> None:
    """B20: two loops at once need two clients."""
    await vidu.credits()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(vidu.fetch_task("1"))
        except ConfigError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.005)
    assert "another running event loop" in str(errors[0])


async def test_a_closed_client_is_closed_for_good(sim: Simulator) -> None:
    """Closing twice is harmless, using it afterwards an error."""
    vidu = sim.client()
    await vidu.credits()
    await vidu.aclose()
    await vidu.aclose()
    assert "closed" in repr(vidu)
    for use in (vidu.submit(REQUEST), vidu.credits(), vidu.fetch_task("1")):
        with pytest.raises(ConfigError, match="the client is closed"):
            await use


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As do the URL and with it the gateway."""
    monkeypatch.setenv("VIDU_API_KEY", "key-from-environment")
    monkeypatch.delenv("VIDU_BASE_URL", raising=False)
    assert ViduClient().gateway == Gateway.kkiai()
    monkeypatch.setenv("VIDU_BASE_URL", "https://api.vidu.com/")
    assert ViduClient().gateway == Gateway.vidu()
    assert ViduClient(base_url="https://api.vidu.cn").gateway == Gateway.vidu_cn()
    assert ViduClient(base_url="https://other.example/ent/v2").gateway == Gateway(base_url="https://other.example")
    assert ViduClient(gateway=Gateway.vidu_cn()).gateway == Gateway.vidu_cn()
    moved = ViduClient(gateway=Gateway.vidu(), base_url="http://127.0.0.1:1").gateway
    assert (moved.base_url, moved.auth_scheme) == ("http://127.0.0.1:1", "Token")


@pytest.mark.parametrize(
    "key", ["", "two words", "line\nbreak", "Bearer abc", "Token abc", "ключ", "tab\t", "secret\r\n"]
)
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and never shows the key."""
    monkeypatch.delenv("VIDU_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="API key") as caught:
        ViduClient(key)
    shown = str(caught.value)
    for frame in traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack:
        shown += repr(frame.locals) if frame.filename != __file__ else ""
    assert not key or key.strip() not in shown


def test_a_missing_key_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first request."""
    monkeypatch.delenv("VIDU_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="VIDU_API_KEY"):
        ViduClient()


@pytest.mark.parametrize("name", ["connect", "read", "write", "submit"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_timeouts_that_cannot_work_are_refused(name: str, value: Any) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=name):
        Timeouts(**{name: value})


def test_a_client_is_not_pickled() -> None:
    """It holds a key."""
    with pytest.raises(TypeError, match="holds a key"):
        pickle.dumps(ViduClient("test-key"))
    with pytest.raises(TypeError):  # and nothing else is complained of
        copy.deepcopy(ViduClient("test-key").attach("7"))


async def test_clients_work_beside_each_other_in_one_loop(sim: Simulator) -> None:
    """Each with its own connections."""
    async with sim.client() as first, sim.client() as second:
        await asyncio.gather(first.run(REQUEST), second.run(REQUEST))
        await first.aclose()
        await second.run(REQUEST)


# Handles that are dropped


async def dropped(vidu: ViduClient, read: Callable[[TaskHandle], object] = lambda _: None) -> list[str]:
    """Submit, have the handle read, drop it, and return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        handle = await vidu.submit(REQUEST, key="film-1")
        if inspect.isawaitable(found := read(handle)):
            found = await found
        del handle, found
        await asyncio.sleep(0)  # asyncio itself lets go of it in the next turn of the loop
        gc.collect()
    said = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    return [message for message in said if "film-1" in message]  # not what other tests left behind


async def test_a_paid_task_that_nobody_can_name_any_more_is_warned_of_once(vidu: ViduClient) -> None:
    """B25: with the names of the submission and of the task, by which it is found again."""
    (said,) = await dropped(vidu)
    assert re.fullmatch(
        r"the handle of submission film-1 was dropped unread; its task \d+ is paid for\. "
        r"Await it, keep its token, or give ViduClient a journal",
        said,
    )
    assert await dropped(vidu) == []  # the same task, named before


READ: dict[str, Callable[[TaskHandle], object]] = {
    "its id": lambda handle: handle.task_id,
    "its token": lambda handle: handle.token,
    "its task": lambda handle: handle.task,
    "its repr": repr,
    "its result": lambda handle: handle.result(),
    "its events": lambda handle: anext(handle.events()),
}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
async def test_a_handle_that_was_read_may_be_dropped(vidu: ViduClient, read: Callable[[TaskHandle], object]) -> None:
    """B25: whoever read it knows of the task."""
    assert await dropped(vidu, read) == []


async def test_other_handles_of_a_task_may_be_dropped(vidu: ViduClient) -> None:
    """B25: those of `unfinished()`, and of the same key submitted again."""
    handle = await vidu.submit(REQUEST, key="film-1")
    assert await dropped(vidu) == []
    assert await dropped(vidu, lambda _: len(vidu.unfinished())) == []
    assert handle.key == "film-1"


async def test_a_wait_that_cannot_be_is_refused_before_anything_is_paid(vidu: ViduClient, sim: Simulator) -> None:
    """A slip in `timeout=` costs nothing."""
    for timeout in ("5", -1, True, float("nan")):
        with pytest.raises(ConfigError, match="timeout= must be seconds or None"):
            await vidu.run(REQUEST, timeout=timeout)  # type: ignore[arg-type]
    assert not sim.accepted


async def test_a_handle_whose_task_a_journal_remembers_may_be_dropped(sim: Simulator, tmp_path: Path) -> None:
    """B25: `unfinished()` has it."""
    async with sim.client(journal=tmp_path / "j.db") as vidu:
        assert await dropped(vidu) == []
        assert [handle.key for handle in vidu.unfinished()] == ["film-1"]
