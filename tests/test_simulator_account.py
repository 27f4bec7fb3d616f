"""The simulated account: turns, cancelling, credits, subjects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import aiohttp
import pytest
from asking import FOX, KEY, LINK, TEXT, Caller, calling

from vidu_async.testing import Simulator
from vidu_async.testing.account import Account, Pace, Task
from vidu_async.testing.rules import read_order


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


@pytest.fixture
async def slow() -> AsyncIterator[Caller]:
    """A simulator in which a test can look at a task before it ends, one task at a time."""
    async with calling(time_scale=1000, concurrency=1) as caller:
        yield caller


# Concurrency, on the model alone: time is an argument there


def account(concurrency: int = 2) -> Account:
    """Return an account in which a task waits for two seconds at least and is processed for exactly two."""
    pace = Pace(created=1, queueing=1, processing=(2, 2))
    random = Random(1)
    return Account(credits=10_000, concurrency=concurrency, pace=pace, random=random, now=0.0)


def submit(model: Account, now: float) -> str:
    """Append a task and return its id."""
    return model.submit(read_order("text2video", dict(TEXT)), now).id


def test_tasks_beyond_the_limit_wait_and_run_in_the_order_they_came() -> None:
    """Five tasks at two slots start in pairs, each when a slot is free."""
    model = account()
    ids = [submit(model, 0.0) for _ in range(5)]
    model.advance(3.0)
    assert [model.tasks[name].state for name in ids] == ["processing"] * 2 + ["queueing"] * 3
    assert (model.running, model.waiting) == (2, 3)
    model.advance(100.0)
    assert [model.tasks[name].started_at for name in ids] == [2, 2, 4, 4, 6]
    assert [model.tasks[name].finished_at for name in ids] == [4, 4, 6, 6, 8]


def test_looking_often_or_once_gives_the_same_history() -> None:
    """The moments at which things happen do not depend on when somebody looks."""
    often, once = account(), account()
    for model in (often, once):
        for number in range(7):
            submit(model, number * 0.3)
    for step in range(200):
        often.advance(2 + step / 10)
    once.advance(22)
    for left, right in zip(often.tasks.values(), once.tasks.values(), strict=True):
        assert (left.started_at, left.finished_at, left.state) == (
            right.started_at,
            right.finished_at,
            right.state,
        )


def test_a_cancelled_task_leaves_its_place_to_the_next() -> None:
    """Whoever waits behind a cancelled task starts earlier."""
    model = account(concurrency=1)
    first, second, third = (submit(model, 0.0) for _ in range(3))
    model.cancel(second, 1.5)
    model.advance(50)
    assert (model.tasks[first].finished_at, model.tasks[third].started_at) == (4, 4)


def test_time_never_goes_back() -> None:
    """An earlier moment than the last changes nothing."""
    model = account()
    name = submit(model, 5.0)
    model.advance(50)
    model.advance(1)
    assert (model.now, model.tasks[name].state) == (50, "success")


# Ids and changes


def one_by_one(**options: Any) -> Account:
    """Return an account at time 0 in which every step of a task takes a second, one task at a time."""
    pace = Pace(created=1, queueing=1, processing=(1, 1))
    return Account(credits=1000, concurrency=1, pace=pace, random=Random(1), now=0.0, **options)


def test_an_id_that_was_given_already_is_said_so() -> None:
    """Nothing is taken for it."""
    model = one_by_one(new_id=lambda: "same")
    submit(model, 0.0)
    with pytest.raises(ValueError, match="new_id gave 'same' a second time"):
        submit(model, 1.0)
    assert (len(model.tasks), model.charged) == (1, 45)


def test_what_is_told_of_changes_and_fails_is_logged_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The task goes its way, told at each step."""
    told = []

    def stumble(task: Task) -> None:
        told.append(task.state)
        raise LookupError("no fox here")

    model = one_by_one(on_change=stumble)
    name = submit(model, 0.0)
    model.advance(100.0)
    assert (model.tasks[name].state, model.charged) == ("success", 45)
    assert told == ["created", "queueing", "processing", "success"]
    assert caplog.text.count("LookupError: no fox here") == 4
    assert f"on_change failed for task {name}, now queueing" in caplog.text


def _raise(_request: Mapping[str, Any]) -> str:
    raise LookupError("no fox here")


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (_raise, "LookupError: no fox here"),
        (lambda _: True, "what fails returns must be an err_code or None, not True"),
    ],
)
async def test_when_fails_fails_itself_nothing_is_booked(
    fails: Callable[[Mapping[str, Any]], str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The creation is answered with 500, and the log says why."""
    async with calling(fails=fails) as caller:
        async with caller.session.post(f"{caller.vidu.url}/ent/v2/img2video", json=FOX, headers=KEY) as response:
            assert response.status == 500
        assert (caller.vidu.accepted, caller.vidu.charged) == ([], 0)
    assert reason in caplog.text


def test_every_change_of_a_task_is_told_in_order() -> None:
    """Also of several tasks, and also when nobody looked meanwhile."""
    told: list[tuple[str, str, float]] = []

    def note(task: Task) -> None:
        told.append(("abc"[list(model.tasks).index(task.id)], task.state, model.now))

    model = one_by_one(on_change=note)
    ids = [submit(model, moment) for moment in (0.0, 0.5, 0.5)]
    model.cancel(ids[2], 0.75)
    model.advance(100.0)
    assert told == [
        ("a", "created", 0.0),
        ("b", "created", 0.5),
        ("c", "created", 0.5),
        ("c", "failed", 0.75),
        ("a", "queueing", 1.0),
        ("b", "queueing", 1.5),
        ("a", "processing", 2.0),
        ("a", "success", 3.0),
        ("b", "processing", 3.0),
        ("b", "success", 4.0),
    ]


# Cancel


async def test_a_waiting_task_can_be_cancelled_and_is_refunded(slow: Caller) -> None:
    """It reads failed, UserCancelled, no credits."""
    task_id = (await slow.create())["task_id"]
    assert await slow.cancel(task_id, {"id": task_id}) == (200, {})
    answer = await slow.query(task_id)
    assert (answer["state"], answer["err_code"], answer["credits"]) == ("failed", "UserCancelled", 0)
    assert slow.vidu.charged == 0


@pytest.mark.parametrize("body", [None, {}])
async def test_the_body_of_a_cancel_may_be_empty(slow: Caller, body: dict[str, str] | None) -> None:
    """The id is in the path."""
    task_id = (await slow.create())["task_id"]
    assert await slow.cancel(task_id, body) == (200, {})


async def test_the_body_of_a_cancel_must_not_name_another_task(slow: Caller) -> None:
    """Two ids in one request are a mistake."""
    task_id = (await slow.create())["task_id"]
    status, answer = await slow.cancel(task_id, {"id": "1"})
    assert (status, answer["reason"]) == (400, "BadRequest")


async def test_a_queueing_task_can_be_cancelled_but_a_running_one_cannot() -> None:
    """What has been handed to a worker is refused, with Vidu's own message."""
    async with Simulator(time_scale=5, concurrency=1) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        first, second = [(await caller.create())["task_id"] for _ in range(2)]
        await caller.until(first, "processing")
        status, answer = await caller.cancel(first)
        assert (status, answer["reason"]) == (400, "BadRequest")
        assert answer["message"] == "task state is scheduled, can not cancel"
        assert (await caller.query(second))["state"] == "queueing"
        assert await caller.cancel(second) == (200, {})


async def test_a_finished_task_cannot_be_cancelled(caller: Caller) -> None:
    """What was made is paid."""
    task_id = (await caller.finished())["id"]
    status, answer = await caller.cancel(task_id)
    assert (status, answer["message"]) == (400, "task state is success, can not cancel")
    assert caller.vidu.charged == 80


async def test_an_unknown_task_cannot_be_cancelled(caller: Caller) -> None:
    """404, as for a query."""
    status, answer = await caller.cancel("1")
    assert (status, answer["reason"]) == (404, "TaskNotFound")


# Credits and subjects


async def test_credits_are_taken_at_creation_and_reported(slow: Caller) -> None:
    """The account says what is left, what runs and what waits."""
    for _ in range(2):
        await slow.create()
    status, answer = await slow.ask("GET", "credits")
    (remains,) = answer["remains"]
    assert (status, remains["credit_remain"], answer["packages"]) == (200, 99_840, [])
    assert (remains["concurrency_limit"], remains["current_concurrency"], remains["queue_count"]) == (1, 0, 2)
    _, answer = await slow.ask("GET", "credits", params={"show_detail": "true"})
    assert (answer["packages"][0]["credit_amount"], answer["packages"][0]["credit_remain"]) == (
        100_000,
        99_840,
    )
    status, _ = await slow.ask("GET", "credits", params={"show_detail": "yes"})
    assert status == 400


async def test_too_few_credits_are_refused_and_nothing_is_taken() -> None:
    """159 credits pay for one task of 80."""
    async with Simulator(credits=159) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        await caller.create()
        status, answer = await caller.post("img2video", FOX)
    assert (status, answer["reason"]) == (400, "CreditInsufficient")
    assert (vidu.credits, vidu.charged, len(vidu.accepted)) == (79, 80, 1)


async def test_the_ledger_tells_every_taking_and_refund(slow: Caller) -> None:
    """Amounts are negative when taken, and add up to what was charged."""
    kept, dropped = [(await slow.create())["task_id"] for _ in range(2)]
    await slow.cancel(dropped)
    lines = [(entry.subject, entry.amount, entry.reason) for entry in slow.vidu.ledger]
    assert lines == [(kept, -80, "task"), (dropped, -80, "task"), (dropped, 80, "refund")]
    assert slow.vidu.charged == 80


async def test_a_stored_subject_can_be_listed_and_named_in_a_request(caller: Caller) -> None:
    """It costs 5 credits, and its id is what requests call server_id."""
    status, cat = await caller.ask("POST", "subjects", json={"name": "cat", "images": [LINK]})
    assert status == 200
    assert (cat["name"], cat["images"], cat["videos"], cat["credits"]) == ("cat", [LINK], [], 5)
    _, dog = await caller.ask("POST", "subjects", json={"name": "dog", "videos": [LINK], "voice_id": "v"})
    assert caller.vidu.charged == 10
    _, page = await caller.ask("GET", "subjects", params={"count": "1"})
    assert (page["subjects"], page["count"]) == ([dog], 1)
    _, page = await caller.ask("GET", "subjects", params={"next_page_token": page["next_page_token"]})
    assert (page["subjects"], page["next_page_token"]) == ([cat], "")
    _, page = await caller.ask("GET", "subjects", params=[("subject_ids", cat["id"])])
    assert page["subjects"] == [cat]
    _, page = await caller.ask("GET", "subjects", params={"ownership": "system"})
    assert page["subjects"] == []
    named = {"model": "viduq2", "prompt": "@cat", "subjects": [{"name": "cat", "server_id": cat["id"]}]}
    await caller.create("reference2video", named)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"images": [LINK]}, "FieldLacking"),
        ({"name": "cat"}, "FieldLacking"),
        ({"name": "cat", "images": [LINK] * 4}, "FieldItemCountOutOfRange"),
        ({"name": "cat", "images": [LINK], "colour": "red"}, "FieldUnwanted"),
    ],
)
async def test_a_subject_that_cannot_be_stored_is_refused(caller: Caller, body: dict[str, Any], reason: str) -> None:
    """A name, and one to three images or videos."""
    status, answer = await caller.ask("POST", "subjects", json=body)
    assert (status, answer["reason"]) == (400, reason)
