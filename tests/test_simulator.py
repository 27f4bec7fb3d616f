"""The simulated service, asked with nothing but an HTTP client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from attrs import define
from source_pages import PAGES

from vidu_async.protocol.errors import AuthenticationError
from vidu_async.testing import DROP, DROP_AFTER, Reply, Simulator, run_in_thread, run_virtual
from vidu_async.testing.account import Account, Pace
from vidu_async.testing.intercept import Drop
from vidu_async.testing.links import LinkRefused, Links
from vidu_async.testing.rules import read_order

KEY = {"Authorization": "Bearer sk-simulator"}
LINK = "https://example.com/fox.png"
FOX = {"model": "viduq1", "images": [LINK], "prompt": "the fox runs"}
TEXT = {"model": "viduq2", "prompt": "a quiet lake"}
# A whole PNG of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "
MP4 = b"\x00\x00\x00\x18ftypisom"
AVI = b"RIFF\x00\x00\x00\x00AVI LIST"


def data_url(mime: str, content: bytes) -> str:
    """Return content as a data URL."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


@define
class Caller:
    """Asks a simulator as a client would."""

    vidu: Simulator
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return status and JSON of an API answer."""
        options.setdefault("headers", KEY)
        async with self.session.request(method, f"{self.vidu.url}/ent/v2/{path}", **options) as response:
            return response.status, await response.json()

    async def post(self, endpoint: str, body: object) -> tuple[int, Any]:
        """Create, whatever comes of it."""
        return await self.send(endpoint, json.dumps(body).encode())

    async def send(self, endpoint: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        """Create with a body of any bytes; through a file, as aiohttp wants large ones."""
        return await self.ask("POST", endpoint, data=io.BytesIO(body), headers=KEY | {"Content-Type": kind})

    async def create(self, endpoint: str = "img2video", body: Mapping[str, Any] = FOX) -> dict[str, Any]:
        """Create, and return the answer to an accepted request."""
        status, answer = await self.post(endpoint, body)
        assert status == 200, answer
        return dict(answer)

    async def query(self, task_id: str) -> dict[str, Any]:
        """Return what the service says about a task."""
        status, answer = await self.ask("GET", f"tasks/{task_id}/creations")
        assert status == 200, answer
        return dict(answer)

    async def until(self, task_id: str, *states: str) -> list[dict[str, Any]]:
        """Query until the task is in one of the states; return an answer for each state seen."""
        seen: list[dict[str, Any]] = []
        async with asyncio.timeout(5):
            while True:
                answer = await self.query(task_id)
                if not seen or seen[-1]["state"] != answer["state"]:
                    seen.append(answer)
                if answer["state"] in states:
                    return seen

    async def finished(self, endpoint: str = "img2video", body: Mapping[str, Any] = FOX) -> dict[str, Any]:
        """Create and wait for success."""
        task_id = (await self.create(endpoint, body))["task_id"]
        return (await self.until(task_id, "success", "failed"))[-1]

    async def cancel(self, task_id: str, body: dict[str, str] | None = None) -> tuple[int, Any]:
        """Cancel, whatever comes of it."""
        return await self.ask("POST", f"tasks/{task_id}/cancel", json=body)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """Run a simulator and a session."""
    async with Simulator() as vidu, aiohttp.ClientSession() as session:
        yield Caller(vidu, session)


@pytest.fixture
async def slow() -> AsyncIterator[Caller]:
    """Run a simulator in which a test can look at a task before it ends, one task at a time."""
    async with Simulator(time_scale=1000, concurrency=1) as vidu, aiohttp.ClientSession() as session:
        yield Caller(vidu, session)


@pytest.fixture
def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# The walk


async def test_a_task_walks_through_every_state_and_succeeds(caller: Caller) -> None:
    """Created, queueing, processing, success, in this order and without a step back."""
    created = await caller.create()
    assert created["state"] == "created"
    walked = [answer["state"] for answer in await caller.until(created["task_id"], "success")]
    order = ["created", "queueing", "processing", "success"]
    assert walked == sorted(walked, key=order.index)
    assert walked[-1] == "success"


async def test_time_scale_multiplies_every_duration() -> None:
    """A hundredth of the time is over before a tenth of a second would be."""
    async with Simulator(time_scale=0.01) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        answer = await caller.finished()
    task = vidu.tasks[answer["id"]]
    assert task.finished_at is not None
    assert 0 < task.finished_at - task.created_at < 0.05


async def test_a_task_that_is_to_fail_ends_failed_with_its_code_and_costs_nothing() -> None:
    """The code that `fails` gives for a request is what its task fails with."""

    def fails(request: Mapping[str, Any]) -> str | None:
        return "CreationPolicyViolation" if "war" in request["prompt"] else None

    async with Simulator(fails=fails) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        bad = await caller.finished(body=FOX | {"prompt": "a war of foxes"})
        good = await caller.finished()
    assert (bad["state"], bad["err_code"], bad["credits"], bad["creations"]) == (
        "failed",
        "CreationPolicyViolation",
        0,
        [],
    )
    assert (good["state"], good["err_code"]) == ("success", "")
    assert vidu.charged == 80


async def test_fails_may_look_at_the_simulator_it_belongs_to() -> None:
    """Deciding by the number of tasks so far does not hang."""
    vidu = Simulator(fails=lambda _request: "NotFound" if len(vidu.tasks) == 2 else None)
    async with vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        states = [(await caller.finished())["state"] for _ in range(3)]
    assert states == ["success", "failed", "success"]


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


# Creation answers


async def test_a_video_answer_has_the_recorded_fields(caller: Caller) -> None:
    """Every field of a recorded answer, and no other, with the service's own defaults."""
    answer = await caller.create(body=FOX | {"payload": "row 7", "seed": 12345})
    created_at = answer.pop("created_at")
    task_id = answer.pop("task_id")
    assert answer == {
        "type": "img2video",
        "state": "created",
        "model": "viduq1",
        "style": "general",
        "prompt": "the fox runs",
        "images": [LINK],
        "duration": 5,
        "seed": 12345,
        "aspect_ratio": "",
        "resolution": "1080p",
        "movement_amplitude": "auto",
        "credits": 80,
        "payload": "row 7",
        "cus_priority": 0,
        "off_peak": False,
        "watermark": False,
        "is_rec": False,
        "wm_position": "unspecified",
        "wm_url": "",
        "meta_data": "",
        "client_request_id": "",
    }
    assert len(created_at) == len("2026-01-20T04:01:53.504648743Z")
    assert created_at.endswith("Z")
    assert len(task_id) == 18
    assert int(task_id) > 2**53


async def test_an_image_answer_has_its_own_smaller_set_of_fields(caller: Caller) -> None:
    """reference2image says neither type nor resolution."""
    answer = await caller.create("reference2image", {"model": "viduq2", "prompt": "a cat"})
    assert set(answer) == {
        "task_id",
        "state",
        "model",
        "prompt",
        "images",
        "seed",
        "aspect_ratio",
        "callback_url",
        "payload",
        "cus_priority",
        "credits",
        "created_at",
        "watermark",
    }
    assert (answer["credits"], answer["aspect_ratio"], answer["images"]) == (6, "auto", [])


@pytest.mark.parametrize("given", [{}, {"seed": 0}])
async def test_a_seed_is_chosen_where_none_is_given(caller: Caller, given: dict[str, int]) -> None:
    """Zero asks for a random seed as absence does."""
    assert (await caller.create(body=FOX | given))["seed"] > 0


@pytest.mark.parametrize("place", [3, "3", "bottom_right"])
async def test_a_watermark_position_is_answered_by_name(caller: Caller, place: object) -> None:
    """A number, the number in quotes and the name are one position."""
    assert (await caller.create(body=FOX | {"wm_position": place}))["wm_position"] == "bottom_right"


async def test_a_data_url_is_answered_as_a_link(caller: Caller) -> None:
    """The service stores what was sent and does not send it back."""
    answer = await caller.create(body=FOX | {"images": [data_url("image/png", PNG)]})
    assert answer["images"][0].startswith(f"{caller.vidu.url}/uploads/")
    assert answer["images"][0].endswith(".png")


async def test_ids_are_unique_and_increase(caller: Caller) -> None:
    """A later task has a greater id."""
    ids = [int((await caller.create())["task_id"]) for _ in range(20)]
    assert ids == sorted(set(ids))


# The bodies printed on the documentation pages

DOCUMENTED = {page.endpoint: page.request for page in PAGES}


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_every_documented_example_is_accepted(caller: Caller, name: str) -> None:
    """What a page prints as an example cannot be wrong."""
    await caller.create(name, DOCUMENTED[name])


@pytest.mark.parametrize(
    ("endpoint", "body", "credits_", "kind"),
    [
        ("img2video", FOX, 80, "img2video"),
        ("start-end2video", FOX | {"images": [LINK, LINK]}, 80, "headtailimg2video"),
        ("reference2video", DOCUMENTED["reference2video"], 45, "character2video"),
        ("text2video", TEXT, 45, "text2video"),
        ("img2video", FOX | {"is_rec": True}, 90, "img2video"),
        ("text2video", TEXT | {"off_peak": True}, 23, "text2video"),
        ("img2video", FOX | {"model": "viduq2", "audio": True}, 60, "img2video"),
    ],
)
async def test_the_answer_names_price_and_type(
    caller: Caller, endpoint: str, body: dict[str, Any], credits_: int, kind: str
) -> None:
    """Prices are the documented ones; recommended prompts cost 10 more, off-peak half, rounded up."""
    answer = await caller.create(endpoint, body)
    assert (answer["credits"], answer["type"]) == (credits_, kind)


ACCEPTED = [
    ("img2video", {"model": "viduq2"}),
    ("img2video", {"model": "viduq3-turbo", "duration": 16, "resolution": "540p", "audio": True}),
    ("img2video", {"model": "vidu2.0", "duration": 8}),
    ("img2video", {"prompt": ""}),
    ("img2video", {"images": ["ssupload:?id=12"]}),
    ("img2video", {"images": [data_url("image/jpg", JPEG)]}),
    ("img2video", {"images": [data_url("image/webp", WEBP)]}),
    ("start-end2video", {"model": "viduq2", "images": [LINK, LINK], "duration": 10}),
    ("start-end2video", {"model": "viduq2-turbo", "images": [LINK, LINK], "duration": 8}),
    ("reference2video", {"model": "viduq3", "aspect_ratio": "7:5"}),
    ("reference2video", {"model": "viduq3-mix", "aspect_ratio": "auto"}),
    ("reference2video", {"model": "viduq2-pro", "videos": [data_url("video/mp4", MP4)], "duration": 0}),
    ("reference2video", {"model": "viduq2-pro", "videos": [data_url("video/x-msvideo", AVI)]}),
    ("reference2image", {"model": "viduq2", "images": [], "resolution": "4K", "aspect_ratio": "21:9"}),
    ("reference2image", {"model": "viduq2", "resolution": "2k"}),
]


@pytest.mark.parametrize(("endpoint", "change"), ACCEPTED)
async def test_what_some_page_allows_is_accepted(caller: Caller, endpoint: str, change: dict[str, Any]) -> None:
    """Models, durations and forms that only some of the pages list."""
    await caller.create(endpoint, FOX | change)


async def test_a_duration_of_zero_lets_the_service_choose(caller: Caller) -> None:
    """The answer names the duration chosen."""
    answer = await caller.create("reference2video", FOX | {"model": "viduq2-pro", "duration": 0})
    assert answer["duration"] == 5


# Refusals

SUBJECT = {"name": "cat", "images": [LINK]}


def subjects(*items: Mapping[str, Any], model: str = "viduq2") -> dict[str, Any]:
    """Return a reference2video body."""
    return {"model": model, "prompt": "@cat", "subjects": list(items)}


LACKING, INVALID, UNWANTED = "FieldLacking", "FieldInvalid", "FieldUnwanted"
COUNT, IMAGE, VIDEO = "FieldItemCountOutOfRange", "ImageFormatInvalid", "VideoFormatInvalid"
REFERENCE = "reference2video"

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    # Fields
    ("img2video", {"images": [LINK]}, LACKING, "model"),
    ("img2video", {"model": "", "images": [LINK]}, LACKING, "model"),
    ("img2video", {"model": "viduq1"}, LACKING, "images"),
    ("text2video", {"model": "viduq2"}, LACKING, "prompt"),
    ("text2video", {"model": "viduq2", "prompt": ""}, LACKING, "prompt"),
    ("reference2image", {"model": "viduq2"}, LACKING, "prompt"),
    ("img2video", FOX | {"sparkle": 1}, UNWANTED, "sparkle"),
    ("img2video", FOX | {"task_id": "1"}, UNWANTED, "task_id"),
    ("text2video", TEXT | {"images": [LINK]}, UNWANTED, "images"),
    ("reference2image", TEXT | {"duration": 5}, UNWANTED, "duration"),
    ("reference2image", TEXT | {"off_peak": True}, UNWANTED, "off_peak"),
    ("img2video", FOX | {"prompt": None}, INVALID, "prompt"),
    ("img2video", FOX | {"seed": None}, INVALID, "seed"),
    ("img2video", FOX | {"audio": "true"}, INVALID, "audio"),
    ("img2video", FOX | {"off_peak": 1}, INVALID, "off_peak"),
    ("img2video", FOX | {"seed": "0"}, INVALID, "seed"),
    ("img2video", FOX | {"duration": 5.0}, INVALID, "duration"),
    ("img2video", FOX | {"duration": True}, INVALID, "duration"),
    ("img2video", FOX | {"images": LINK}, INVALID, "images"),
    ("img2video", FOX | {"images": [{"url": LINK}]}, INVALID, "images"),
    ("img2video", FOX | {"payload": {"row": 7}}, INVALID, "payload"),
    ("img2video", FOX | {"meta_data": {"Label": "x"}}, INVALID, "meta_data"),
    # Values
    ("img2video", FOX | {"model": "viduq9"}, "ModelUnavailable", "viduq9"),
    ("text2video", TEXT | {"model": "viduq2-pro"}, "ModelUnavailable", "viduq2-pro"),
    ("img2video", FOX | {"duration": 6}, INVALID, "duration"),
    ("img2video", FOX | {"resolution": "720p"}, INVALID, "resolution"),
    ("img2video", FOX | {"model": "viduq3-pro-fast", "resolution": "540p"}, INVALID, "resolution"),
    ("img2video", FOX | {"model": "vidu2.0", "duration": 8, "resolution": "360p"}, INVALID, "resolution"),
    ("img2video", FOX | {"movement_amplitude": "huge"}, INVALID, "movement_amplitude"),
    ("img2video", FOX | {"audio_type": "some"}, INVALID, "audio_type"),
    ("text2video", TEXT | {"style": "noir"}, INVALID, "style"),
    ("text2video", TEXT | {"aspect_ratio": "21:9"}, INVALID, "aspect_ratio"),
    ("text2video", TEXT | {"model": "viduq1", "aspect_ratio": "4:3"}, INVALID, "aspect_ratio"),
    ("start-end2video", FOX | {"images": [LINK, LINK], "aspect_ratio": "1:1"}, INVALID, "aspect_ratio"),
    (REFERENCE, FOX | {"model": "viduq2", "aspect_ratio": "wide"}, INVALID, "aspect_ratio"),
    ("img2video", FOX | {"wm_position": 5}, INVALID, "wm_position"),
    ("img2video", FOX | {"wm_position": "middle"}, INVALID, "wm_position"),
    ("img2video", FOX | {"prompt": "x" * 5001}, INVALID, "prompt"),
    ("reference2image", TEXT | {"prompt": "x" * 2001}, INVALID, "prompt"),
    (REFERENCE, FOX | {"prompt": "x" * 2001}, INVALID, "prompt"),
    ("img2video", FOX | {"payload": "x" * 1_048_577}, INVALID, "payload"),
    # Counts
    ("img2video", FOX | {"images": []}, COUNT, "images"),
    ("img2video", FOX | {"images": [LINK] * 2}, COUNT, "images"),
    ("start-end2video", FOX, COUNT, "images"),
    ("reference2image", TEXT | {"images": [LINK] * 8}, COUNT, "images"),
    (REFERENCE, FOX | {"images": [LINK] * 8}, COUNT, "images"),
    (REFERENCE, FOX | {"images": []}, COUNT, "images"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "images": [LINK] * 5, "videos": [LINK]}, COUNT, "images"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "videos": [LINK] * 3}, COUNT, "videos"),
    (REFERENCE, subjects(), COUNT, "subjects"),
    (REFERENCE, subjects(*[SUBJECT] * 8), COUNT, "subjects"),
    (REFERENCE, subjects(*[SUBJECT | {"images": [LINK] * 3}] * 3), COUNT, "subjects"),
    (REFERENCE, subjects(SUBJECT | {"images": [LINK] * 4}), COUNT, "subjects[0].images"),
    (REFERENCE, subjects(*[SUBJECT] * 5, model="viduq2-pro"), COUNT, "subjects"),
    # Subjects and references
    (REFERENCE, TEXT, LACKING, "images"),
    (REFERENCE, subjects(SUBJECT) | {"images": [LINK]}, UNWANTED, "images"),
    (REFERENCE, FOX | {"videos": [LINK]}, UNWANTED, "videos"),
    (REFERENCE, subjects({"images": [LINK]}), LACKING, "subjects[0].name"),
    (REFERENCE, subjects(SUBJECT | {"id": "cat"}), UNWANTED, "subjects[0].id"),
    (REFERENCE, subjects(SUBJECT | {"colour": "red"}), UNWANTED, "subjects[0].colour"),
    (REFERENCE, subjects(SUBJECT | {"server_id": "1"}), UNWANTED, "subjects[0].images"),
    (REFERENCE, subjects({"name": "cat", "server_id": "1"}), INVALID, "subjects[0].server_id"),
    (REFERENCE, subjects({"name": "cat", "videos": [LINK]}), UNWANTED, "subjects[0].videos"),
    (REFERENCE, {"model": "viduq2", "prompt": "x", "subjects": ["cat"]}, INVALID, "subjects"),
    # Media
    ("img2video", FOX | {"images": ["fox.png"]}, INVALID, "images[0]"),
    ("img2video", FOX | {"images": [""]}, INVALID, "images[0]"),
    ("img2video", FOX | {"images": ["data:image/png;base64,!!"]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": ["data:image/png,abc"]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/png", b"not an image")]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/png", JPEG)]}, IMAGE, "images[0]"),
    ("img2video", FOX | {"images": [data_url("image/gif", b"GIF89a")]}, IMAGE, "images[0]"),
    ("start-end2video", FOX | {"images": [LINK, data_url("image/png", b"")]}, IMAGE, "images[1]"),
    (REFERENCE, FOX | {"model": "viduq2-pro", "videos": [data_url("video/mp4", PNG)]}, VIDEO, "videos[0]"),
    (REFERENCE, subjects(SUBJECT | {"images": ["data:image/png;base64,abc"]}), IMAGE, "subjects[0].images[0]"),
]


@pytest.mark.parametrize(("endpoint", "body", "reason", "field"), REFUSED)
async def test_a_documented_refusal(
    caller: Caller, endpoint: str, body: dict[str, Any], reason: str, field: str
) -> None:
    """Status 400, the service's own error body, the field's name in it, and nothing accepted or charged."""
    status, answer = await caller.post(endpoint, body)
    assert status == 400
    assert (answer["code"], answer["reason"]) == (400, reason)
    assert field in answer["message"]
    assert answer["metadata"]["trace_id"]
    assert (caller.vidu.accepted, caller.vidu.charged) == ([], 0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"seed": NaN}', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (json.dumps(FOX).encode(), "text/plain"),
        (json.dumps(FOX).encode(), "application/octet-stream"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes, kind: str) -> None:
    """Broken JSON, another kind of value, and another content type are bad requests."""
    status, answer = await caller.send("img2video", body, kind)
    assert (status, answer["reason"]) == (400, "BadRequest")


async def test_a_body_above_twenty_mebibytes_is_refused(caller: Caller) -> None:
    """One byte more than the limit is too much, the limit is not."""
    limit = 20 * 1024 * 1024
    body = json.dumps(FOX).encode()
    status, answer = await caller.send("img2video", body.ljust(limit + 1))
    assert (status, answer["code"]) == (413, 413)
    status, answer = await caller.send("img2video", body.ljust(limit))
    assert (status, answer["state"]) == (200, "created")


async def test_an_unknown_path_and_a_wrong_method_are_refused_in_the_same_form(caller: Caller) -> None:
    """404 and 405 come with Vidu's error body too."""
    status, answer = await caller.ask("GET", "nothing")
    assert (status, answer["reason"]) == (404, "NotFound")
    status, answer = await caller.ask("PUT", "img2video")
    assert (status, answer["reason"]) == (405, "MethodNotAllowed")


async def test_an_unknown_task_is_not_found(caller: Caller) -> None:
    """The id of another run is nobody's."""
    status, answer = await caller.ask("GET", "tasks/911045603801182208/creations")
    assert (status, answer["reason"]) == (404, "TaskNotFound")


# Authorization


@pytest.mark.parametrize("scheme", ["Bearer", "Token"])
async def test_both_schemes_are_accepted(caller: Caller, scheme: str) -> None:
    """Vidu says Token, gateways say Bearer."""
    status, _ = await caller.ask("GET", "credits", headers={"Authorization": f"{scheme} sk-simulator"})
    assert status == 200


@pytest.mark.parametrize("value", [None, "", "sk-simulator", "Bearer", "Bearer other", "Basic sk-simulator"])
async def test_any_other_authorization_is_refused(caller: Caller, value: str | None) -> None:
    """401 in Vidu's form."""
    headers = {} if value is None else {"Authorization": value}
    status, answer = await caller.ask("POST", "img2video", json=FOX, headers=headers)
    assert (status, answer["code"], answer["reason"]) == (401, 401, "Unauthorized")
    assert caller.vidu.accepted == []


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


# List


async def listed(caller: Caller, *query: tuple[str, str]) -> dict[str, Any]:
    """Return one page."""
    status, answer = await caller.ask("GET", "tasks", params=list(query))
    assert status == 200, answer
    return dict(answer)


async def test_a_list_is_paged_by_token_newest_first(slow: Caller) -> None:
    """Ten to a page unless said otherwise, and the token of the last page is empty."""
    ids = [(await slow.create())["task_id"] for _ in range(12)]
    first = await listed(slow)
    assert [row["id"] for row in first["tasks"]] == ids[:1:-1]
    second = await listed(slow, ("pager.page_token", first["next_page_token"]))
    assert [row["id"] for row in second["tasks"]] == ids[1::-1]
    assert second["next_page_token"] == ""


async def test_a_task_created_between_two_pages_shifts_nothing(slow: Caller) -> None:
    """The second page goes on where the first ended."""
    ids = [(await slow.create())["task_id"] for _ in range(4)]
    first = await listed(slow, ("pager.pagesz", "2"))
    await slow.create()
    token = first["next_page_token"]
    second = await listed(slow, ("pager.pagesz", "2"), ("pager.page_token", token))
    assert [row["id"] for row in second["tasks"]] == [ids[1], ids[0]]


@pytest.mark.parametrize("prefix", ["pager", "paper"])
async def test_both_spellings_of_the_page_parameters_are_taken(slow: Caller, prefix: str) -> None:
    """Pages are counted from 0."""
    ids = [(await slow.create())["task_id"] for _ in range(3)]
    page = await listed(slow, (f"{prefix}.page", "1"), (f"{prefix}.pagesz", "2"))
    assert [row["id"] for row in page["tasks"]] == ids[:1]


async def test_a_list_is_filtered_by_every_name_and_repeated_names_are_alternatives(caller: Caller) -> None:
    """Ids, states, models, resolutions, templates."""
    fox = (await caller.finished())["id"]
    lake = (await caller.finished("text2video", TEXT))["id"]

    async def found(*query: tuple[str, str]) -> set[str]:
        return {row["id"] for row in (await listed(caller, *query))["tasks"]}

    assert await found(("task_ids", fox)) == {fox}
    assert await found(("task_ids", fox), ("task_ids", lake)) == {fox, lake}
    assert await found(("states", "failed")) == set()
    assert await found(("states", "success"), ("model_versions", "q1")) == {fox}
    assert await found(("resolutions", "720p")) == {lake}
    assert await found(("templates", "hugging")) == set()


async def test_a_list_is_bounded_by_time_to_the_nanosecond(slow: Caller) -> None:
    """Both bounds are included."""
    first, second = [await slow.create() for _ in range(2)]

    async def found(*query: tuple[str, str]) -> list[str]:
        return [row["id"] for row in (await listed(slow, *query))["tasks"]]

    assert await found(("created_at.from", second["created_at"])) == [second["task_id"]]
    assert await found(("created_at.to", first["created_at"])) == [first["task_id"]]
    assert await found(("created_at.from", "2020-01-01T00:00:00Z"), ("created_at.to", "2020-01-02")) == []


async def test_a_row_has_no_payload_and_no_err_code(caller: Caller) -> None:
    """A list alone cannot tell two equal requests apart."""
    await caller.finished(body=FOX | {"payload": "row 7"})
    (row,) = (await listed(caller))["tasks"]
    assert set(row) == {
        "id",
        "key_id",
        "type",
        "template",
        "model",
        "prompt",
        "images",
        "duration",
        "resolution",
        "aspect_ratio",
        "state",
        "creations",
        "created_at",
        "credits",
    }
    assert row["creations"][0]["url"].startswith(caller.vidu.url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pager.pagesz", "101"),
        ("pager.pagesz", "0"),
        ("pager.page", "-1"),
        ("pager.page_token", "x"),
        ("pager.page_token", "9" * 5000),
        ("created_at.from", "yesterday"),
    ],
)
async def test_a_list_refuses_what_it_cannot_read(caller: Caller, name: str, value: str) -> None:
    """At most a hundred to a page; numbers are numbers, times are RFC 3339."""
    status, answer = await caller.ask("GET", "tasks", params={name: value})
    assert (status, answer["reason"]) == (400, "FieldInvalid")


async def test_a_gateway_without_list_and_cancel_answers_404() -> None:
    """As one that has never heard of them."""
    async with Simulator(lists=False, cancels=False) as vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        task_id = (await caller.create())["task_id"]
        assert (await caller.ask("GET", "tasks"))[0] == 404
        assert (await caller.cancel(task_id))[0] == 404


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
    await caller.create("reference2video", subjects({"name": "cat", "server_id": cat["id"]}))


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


# Results


def boxes(content: bytes) -> list[tuple[str, bytes]]:
    """Return the boxes of an MP4 file; fails unless they cover it exactly."""
    found = []
    while content:
        size, kind = struct.unpack(">I4s", content[:8])
        assert 8 <= size <= len(content)
        found.append((kind.decode(), content[8:size]))
        content = content[size:]
    return found


def pixels(content: bytes) -> tuple[int, int, set[bytes]]:
    """Return width, height and the distinct pixels of a PNG; fails unless every checksum is right."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        checked = content[at + 4 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size]) == (zlib.crc32(checked),)
        chunks[checked[:4]] = checked[4:]
        at += 12 + size
    assert list(chunks)[-1] == b"IEND"
    width, height = struct.unpack(">2I", chunks[b"IHDR"][:8])
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (1 + 3 * width)
    rows = [raw[row * (1 + 3 * width) + 1 : (row + 1) * (1 + 3 * width)] for row in range(height)]
    return width, height, {row[at : at + 3] for row in rows for at in range(0, len(row), 3)}


async def test_a_finished_video_can_be_fetched_and_is_a_film(caller: Caller) -> None:
    """The link needs no key, and the file is made of whole MP4 boxes, its own id in the last."""
    answer = await caller.finished(body=FOX | {"watermark": True})
    (creation,) = answer["creations"]
    assert creation["video"] == {
        "duration": 5.0,
        "fps": 24,
        "resolution": {"width": 1920, "height": 1080},
    }
    contents = {}
    for name in ("url", "watermarked_url"):
        async with caller.session.get(creation[name]) as response:
            assert (response.status, response.content_type) == (200, "video/mp4")
            contents[name] = await response.read()
        kinds = [kind for kind, _ in boxes(contents[name])]
        assert kinds[:2] == ["ftyp", "moov"]
        assert kinds[-1] == "free"
        assert "mdat" in kinds
    assert boxes(contents["url"])[-1] == ("free", answer["id"].encode())
    assert contents["url"] != contents["watermarked_url"]


@pytest.mark.parametrize(("ratio", "size"), [("16:9", (384, 216)), ("2:3", (256, 384)), ("auto", (384, 216))])
async def test_a_finished_image_has_the_shape_asked_for(caller: Caller, ratio: str, size: tuple[int, int]) -> None:
    """A whole PNG with more than one colour, and a cover beside it."""
    answer = await caller.finished("reference2image", TEXT | {"aspect_ratio": ratio})
    (creation,) = answer["creations"]
    assert "video" not in creation
    for name in ("url", "cover_url"):
        async with caller.session.get(creation[name]) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            width, height, colours = pixels(await response.read())
        assert (width, height) == size
        assert len(colours) > 20


async def test_two_tasks_never_yield_the_same_bytes(caller: Caller) -> None:
    """Nor do two queries of one task yield different ones."""
    contents = []
    first, second = [await caller.finished() for _ in range(2)]
    for answer in (first, second, await caller.query(first["id"])):
        async with caller.session.get(answer["creations"][0]["url"]) as response:
            contents.append(await response.read())
    assert contents[0] != contents[1]
    assert contents[0] == contents[2]


async def test_a_link_bears_no_key_beside_it_and_no_change(caller: Caller) -> None:
    """As an object store: 400 for a second permission, 403 for another signature, path or method."""
    url = (await caller.finished())["creations"][0]["url"]

    async def status(method: str, link: str, headers: Mapping[str, str] | None = None) -> tuple[int, bool]:
        async with caller.session.request(method, link, headers=headers) as response:
            return response.status, response.content_type == "application/xml"

    assert await status("GET", url, KEY) == (400, True)
    assert await status("GET", url.replace("Expires=86400", "Expires=99999")) == (403, True)
    assert await status("GET", url.replace("general.mp4", "cover.png")) == (403, True)
    assert await status("GET", url.partition("?")[0]) == (403, True)
    assert await status("HEAD", url) == (403, True)
    assert await status("GET", url) == (200, False)


def test_a_link_expires() -> None:
    """A second after its time, and not before."""
    links = Links("http://x", b"secret")
    path, _, query = links.sign("/results/1/general.mp4", 1000.0, 60).removeprefix("http://x").partition("?")
    parameters = dict(part.split("=") for part in query.split("&"))
    links.check("GET", path, parameters, 1060.0)
    with pytest.raises(LinkRefused, match="expired") as refused:
        links.check("GET", path, parameters, 1061.0)
    assert (refused.value.status, refused.value.code) == (403, "AccessDenied")


async def test_a_part_of_a_result_can_be_fetched(caller: Caller) -> None:
    """Ranges, as a download that goes on where it stopped asks for them."""
    url = (await caller.finished())["creations"][0]["url"]
    async with caller.session.get(url) as response:
        whole, etag = await response.read(), response.headers["ETag"]

    async def part(wanted: str, **headers: str) -> tuple[int, str | None, bytes]:
        async with caller.session.get(url, headers={"Range": wanted, **headers}) as response:
            return response.status, response.headers.get("Content-Range"), await response.read()

    size = len(whole)
    assert await part("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", whole[100:])
    assert await part("bytes=0-9") == (206, f"bytes 0-9/{size}", whole[:10])
    assert await part("bytes=-5") == (206, f"bytes {size - 5}-{size - 1}/{size}", whole[-5:])
    assert await part("bytes=100-", **{"If-Range": etag}) == (
        206,
        f"bytes 100-{size - 1}/{size}",
        whole[100:],
    )
    assert await part("bytes=100-", **{"If-Range": '"other"'}) == (200, None, whole)
    assert await part("lines=1-2") == (200, None, whole)
    assert (await part(f"bytes={size}-"))[:2] == (416, f"bytes */{size}")


# Intercepting


async def test_an_intercept_answers_in_place_of_the_service(caller: Caller) -> None:
    """It sees the whole request, and nothing is accepted."""
    seen = []

    async def busy(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        seen.append((method, path, headers["authorization"], json.loads(body)))
        return Reply(429, {"code": 429, "reason": "TooManyRequests"}, {"Retry-After": "1"})

    caller.vidu.intercept = busy
    headers = KEY
    async with caller.session.post(f"{caller.vidu.url}/ent/v2/img2video", json=FOX, headers=headers) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert await response.json() == {"code": 429, "reason": "TooManyRequests"}
    assert seen == [("POST", "/ent/v2/img2video", "Bearer sk-simulator", FOX)]
    assert caller.vidu.accepted == []


async def test_an_intercept_that_returns_none_changes_nothing(caller: Caller) -> None:
    """The service answers as ever."""

    async def look(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> None:
        return None

    caller.vidu.intercept = look
    assert (await caller.finished())["state"] == "success"


@pytest.mark.parametrize(("verdict", "accepted"), [(DROP, 0), (DROP_AFTER, 1)])
async def test_a_dropped_connection_gives_no_answer(caller: Caller, verdict: Drop, accepted: int) -> None:
    """Before the service acted nothing was accepted; after it, the task is there and paid."""

    async def drop(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Drop:
        return verdict

    caller.vidu.intercept = drop
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.post("img2video", FOX)
    assert len(caller.vidu.accepted) == accepted
    assert caller.vidu.charged == 80 * accepted


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"])
async def test_an_accepted_request_can_be_answered_with_an_error(caller: Caller, body: bytes | str) -> None:
    """As when a proxy in between gives up too early."""

    async def bad(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Reply:
        return Reply(502, body, {"Content-Type": "text/html"}, after=True)

    caller.vidu.intercept = bad
    url = f"{caller.vidu.url}/ent/v2/img2video"
    async with caller.session.post(url, json=FOX, headers=KEY) as response:
        assert (response.status, response.content_type) == (502, "text/html")
        assert await response.text() == "<html>Bad Gateway</html>"
    assert len(caller.vidu.accepted) == 1


async def test_an_answer_can_be_lost_where_the_path_is_unknown(caller: Caller) -> None:
    """Even a 404 is thrown away."""

    async def drop(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Drop:
        return DROP_AFTER

    caller.vidu.intercept = drop
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await caller.ask("GET", "nothing")


# The object itself


async def test_requests_are_counted_by_method_and_route(caller: Caller) -> None:
    """So that a test can say how often a client asked."""
    task_id = (await caller.create())["task_id"]
    for _ in range(3):
        await caller.query(task_id)
    await caller.ask("GET", "nothing")
    assert caller.vidu.requests == {
        "POST /ent/v2/img2video": 1,
        "GET /ent/v2/tasks/{id}/creations": 3,
        "GET /ent/v2/nothing": 1,
    }


async def test_tasks_can_be_looked_at_as_they_were_received(caller: Caller) -> None:
    """By id and in order, with the body as sent and the state of this moment."""
    bodies: list[dict[str, Any]] = [FOX, FOX | {"payload": "row 2"}]
    ids = [(await caller.create(body=body))["task_id"] for body in bodies]
    assert list(caller.vidu.tasks) == ids == [task.id for task in caller.vidu.accepted]
    assert [task.request for task in caller.vidu.accepted] == bodies
    await caller.until(ids[-1], "success")
    task = caller.vidu.tasks[ids[1]]
    assert task.is_terminal
    assert (task.endpoint, task.model, task.payload, task.state, task.credits, task.err_code) == (
        "img2video",
        "viduq1",
        "row 2",
        "success",
        80,
        "",
    )


async def test_the_repr_says_where_and_how_much_but_never_the_key() -> None:
    """Useful in a failing test's output."""
    vidu = Simulator(api_key="sk-very-secret")
    assert repr(vidu) == "<Simulator not running, 0 tasks, 100000 credits left>"
    async with vidu:
        assert repr(vidu) == f"<Simulator {vidu.url}, 0 tasks, 100000 credits left>"


async def test_a_simulator_has_no_url_before_it_is_entered() -> None:
    """And cannot be entered twice at once."""
    vidu = Simulator()
    with pytest.raises(RuntimeError, match="no URL"):
        _ = vidu.url
    async with vidu:
        with pytest.raises(RuntimeError, match="running already"):
            await vidu.__aenter__()


async def test_leaving_and_entering_again_is_a_restart_with_everything_kept(free_port: int) -> None:
    """While it is away nobody answers; afterwards the task is still known at the same port."""
    vidu = Simulator(port=free_port)
    async with aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        async with vidu:
            url = vidu.url
            task_id = (await caller.create())["task_id"]
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.query(task_id)
        async with vidu:
            assert vidu.url == url
            await caller.until(task_id, "success")


async def test_a_port_that_is_taken_is_said_so_and_can_be_tried_again() -> None:
    """The error is the operating system's, and nothing is left half open."""
    async with Simulator() as vidu:
        other = Simulator(port=int(vidu.url.rpartition(":")[2]))
        with pytest.raises(OSError, match="in use"):
            await other.__aenter__()
    async with other:
        assert other.url == vidu.url


@pytest.mark.parametrize("options", [{"time_scale": 0}, {"time_scale": -1}, {"concurrency": 0}])
def test_a_knob_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """Time passes, and something runs."""
    with pytest.raises(ValueError, match="time_scale must be"):
        Simulator(**options)


async def test_leaving_is_quick_although_clients_stay_connected() -> None:
    """An idle connection and one in the middle of a request are both closed."""
    loop = asyncio.get_running_loop()
    entered = asyncio.Event()

    async def hang(_method: str, _path: str, _headers: Mapping[str, str], body: bytes) -> None:
        if body:
            entered.set()
            await asyncio.sleep(60)

    async with aiohttp.ClientSession() as session:
        async with Simulator(intercept=hang) as vidu:
            caller = Caller(vidu, session)
            await caller.ask("GET", "credits")
            asking = asyncio.create_task(caller.post("img2video", FOX))
            await entered.wait()
            left = loop.time()
        assert loop.time() - left < 2
        with pytest.raises(aiohttp.ClientConnectionError):
            await asking


def test_on_a_virtual_clock_hours_of_queueing_pass_at_once() -> None:
    """The service tells time by the loop it runs on."""

    async def main() -> tuple[str, str]:
        async with Simulator(time_scale=100_000) as vidu, aiohttp.ClientSession() as session:
            caller = Caller(vidu, session)
            task_id = (await caller.create())["task_id"]
            await asyncio.sleep(3600)
            early = (await caller.query(task_id))["state"]
            await asyncio.sleep(3 * 3600)
            return early, (await caller.query(task_id))["state"]

    assert run_virtual(main()) == ("processing", "success")


def test_successive_loops_each_have_a_simulator_of_their_own() -> None:
    """Nothing of one loop reaches into the next."""

    async def once() -> str:
        async with Simulator() as vidu, aiohttp.ClientSession() as session:
            return str((await Caller(vidu, session).finished())["id"])

    assert len({asyncio.run(once()) for _ in range(3)}) == 3


def test_a_simulator_in_a_thread_serves_callers_without_a_loop() -> None:
    """And can be looked at from outside while it runs."""
    with run_in_thread(Simulator()) as vidu:
        request = urllib.request.Request(
            f"{vidu.url}/ent/v2/img2video",
            data=json.dumps(FOX).encode(),
            headers=KEY | {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            task_id = json.load(response)["task_id"]
        assert list(vidu.tasks) == [task_id]
    assert repr(vidu).startswith("<Simulator not running, 1 task")


def test_a_thread_that_cannot_start_says_why() -> None:
    """The error is raised where the context was entered."""
    with (
        run_in_thread(Simulator()) as vidu,
        pytest.raises(OSError, match="in use"),
        run_in_thread(Simulator(port=int(vidu.url.rpartition(":")[2]))),
    ):
        pass


def test_the_same_seed_gives_the_same_choices() -> None:
    """Durations and seeds repeat; ids do not matter."""

    async def seeds() -> list[tuple[int, float]]:
        async with Simulator(seed=7) as vidu, aiohttp.ClientSession() as session:
            for _ in range(5):
                await Caller(vidu, session).create()
            return [(task.seed, task.work) for task in vidu.accepted]

    assert asyncio.run(seeds()) == asyncio.run(seeds())


def test_the_command_serves_until_interrupted() -> None:
    """It says where, with which key, and what happens; it leaves without a traceback."""
    command = [sys.executable, "-m", "vidu_async.testing", "--port", "0", "--time-scale", "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    url = lines[2].strip().removeprefix("export VIDU_BASE_URL=")
    assert url in lines[0]
    assert lines[3] == "export VIDU_API_KEY=sk-simulator\n"
    body, headers = json.dumps(FOX).encode(), KEY | {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/ent/v2/img2video", body, headers)
    with urllib.request.urlopen(request) as response:
        task_id = json.load(response)["task_id"]
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[1:] == [
        f"{task_id}  accepted  img2video viduq1, 80 credits\n",
        f"{task_id}  success  80 credits\n",
    ]
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")


def test_the_command_says_what_is_wrong_with_its_arguments() -> None:
    """In one line, without a traceback."""
    command = [sys.executable, "-m", "vidu_async.testing", "--time-scale", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.endswith("error: time_scale must be above 0 and concurrency at least 1\n")


async def test_gateway_and_client_are_made_for_it() -> None:
    """A client comes with key, gateway and a polling of the same pace, unless told otherwise."""
    async with Simulator(time_scale=2, api_key="sk-other") as vidu:
        assert vidu.gateway.base_url == vidu.url
        async with vidu.client() as client:
            credits_ = await client.credits()
        assert credits_.remaining == vidu.credits
        async with vidu.client(api_key="sk-wrong") as client:
            with pytest.raises(AuthenticationError):
                await client.credits()


LEAK_FREE = """
import asyncio, aiohttp
from vidu_async.testing import Simulator

async def main():
    # On a busy machine a slow step is no leak.
    asyncio.get_running_loop().slow_callback_duration = 60
    async with aiohttp.ClientSession() as session:
        async with Simulator() as vidu:
            async with session.get(vidu.url) as response:
                assert response.status == 404

for _ in range(3):
    asyncio.run(main())
"""


def test_nothing_is_left_open_in_development_mode() -> None:
    """With every warning an error and the loop in debug mode, a run ends in silence."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", LEAK_FREE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


A_TEST = """
import json, urllib.request

def test_it(vidu_simulator):
    assert "aiohttp" in __import__("sys").modules
    request = urllib.request.Request(
        vidu_simulator.url + "/ent/v2/credits", headers={"Authorization": "Token sk-simulator"}
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["remains"][0]["credit_remain"] == vidu_simulator.credits
"""


def test_the_pytest_fixture_gives_a_running_simulator(tmp_path: Path) -> None:
    """To a synchronous test too."""
    (tmp_path / "test_it.py").write_text(A_TEST)
    command = [sys.executable, "-m", "pytest", "-p", "vidu_async.testing.pytest_plugin", str(tmp_path)]
    # Where the package is installed its plugin is found anyway, and none may be named twice.
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout.decode()


def test_the_pytest_plugin_does_not_import_aiohttp() -> None:
    """It is loaded in every run of every project that has the package."""
    code = "import sys, vidu_async.testing.pytest_plugin; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
