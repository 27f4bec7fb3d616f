"""The simulated service in the guise of gateways: their ways and their ids."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from asking import FOX, KEY, LINK, TEXT, calling
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_async import Gateway, ImageToVideo, ReferenceToVideo, Subject, TextToVideo, UnsupportedError
from vidu_async.protocol.gateway import DOCUMENTED
from vidu_async.testing import Simulator

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")


# Ways


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_every_documented_gateway_can_be_imitated(name: str) -> None:
    """A client of it submits, waits and gets a result, below the gateway's own path."""
    ways = DOCUMENTED[name]
    model = next(iter(ways.models), "viduq2-pro")
    async with Simulator(ways=ways) as sim, sim.client() as vidu:
        assert sim.gateway.base_url.startswith(sim.url)
        task = await vidu.run(ImageToVideo(model=model, images=[LINK]))
    assert str(task.creations[0].url).startswith(sim.url)


@pytest.mark.parametrize(
    "query_path",
    [
        "tasks/{id}/creations",
        "task/{id}/creations",
        "tasks/{id}",
        "/v1/videos/{id}",
        "creations?task_id={id}",
        "/v1/query?kind=video&task_id={id}",
    ],
)
async def test_a_task_is_found_at_the_path_of_queries_and_nowhere_else(query_path: str) -> None:
    """Below the API root or, with a slash at its beginning, below the base URL; also as a parameter."""
    ways = Gateway(base_url="https://example.com/vidu", api_root="/v2", query_path=query_path)
    async with calling(ways=ways) as caller, caller.vidu.client() as vidu:
        assert (await vidu.run(LAKE)).state == "success"
        (task_id,) = caller.vidu.tasks
        async with caller.session.get(f"{caller.vidu.url}/vidu/v2/jobs/{task_id}") as response:
            assert response.status == 404
    assert set(caller.vidu.requests) - {"GET /vidu/v2/jobs/" + task_id} == {
        "POST /vidu/v2/text2video",
        "GET /vidu" + (query_path if query_path.startswith("/") else f"/v2/{query_path}").partition("?")[0],
    }


@pytest.mark.parametrize("api_root", ["/a!$&'()*+,;=:@~._-b", "/a//b", "", "/..a"])
async def test_every_plain_path_is_served(api_root: str) -> None:
    """Whatever signs are in it."""
    async with Simulator(ways=Gateway(base_url="https://example.com", api_root=api_root)) as sim, sim.client() as vidu:
        assert (await vidu.run(LAKE)).state == "success"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "https://example.com/a%20b"}, "one that needs no quoting, not '/a%20b/ent/v2/tasks'"),
        ({"base_url": "https://example.com/ü"}, "one that needs no quoting, not '/ü/ent/v2/tasks'"),
        ({"api_root": "/{tenant}"}, "one that needs no quoting, not '/{tenant}/tasks'"),
        ({"api_root": "/a/../b"}, "one that needs no quoting, not '/a/../b/tasks'"),
        ({"query_path": "tasks/{id}/ü"}, "one that needs no quoting, not '/ent/v2/tasks/1/ü'"),
        ({"query_path": "find?task_id=v{id}"}, "a path with one {id}, or with it as a whole parameter, not 'find?"),
        ({"query_path": "tasks?id={id}"}, "ways must not put two things at GET /ent/v2/tasks"),
    ],
)
def test_ways_that_cannot_be_served_are_refused(options: dict[str, Any], message: str) -> None:
    """Clients write such paths in many ways, the id cannot be read, or two things are at one place."""
    ways = Gateway(**{"base_url": "https://example.com"} | options)
    with pytest.raises(ValueError, match=re.escape(message)):
        Simulator(ways=ways)


@pytest.mark.parametrize(
    ("ways", "headers", "status"),
    [
        ({"auth_scheme": "Bearer"}, {"Authorization": "Bearer sk-simulator"}, 200),
        ({"auth_scheme": "Bearer"}, {"Authorization": "Token sk-simulator"}, 401),
        ({"auth_scheme": ""}, {"Authorization": "sk-simulator"}, 200),
        ({"auth_scheme": ""}, {"Authorization": "Bearer sk-simulator"}, 401),
        ({"auth_scheme": "", "auth_header": "X-Api-Key"}, {"x-api-key": "sk-simulator"}, 200),
        ({"auth_scheme": "", "auth_header": "X-Api-Key"}, {"Authorization": "sk-simulator"}, 401),
        ({"headers": {"X-Tenant": "den"}}, {"Authorization": "Bearer sk-simulator", "X-Tenant": "den"}, 200),
        ({"headers": {"X-Tenant": "den"}}, {"Authorization": "Bearer sk-simulator", "X-Tenant": "pit"}, 401),
        ({"headers": {"X-Tenant": "den"}}, {"Authorization": "Bearer sk-simulator"}, 401),
    ],
)
async def test_the_key_and_the_headers_must_be_the_gateways(
    ways: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    """Its header, its scheme or none, and every static header with its value."""
    async with calling(ways=Gateway(base_url="https://example.com", **ways)) as caller:
        found, answer = await caller.ask("GET", "credits", headers=headers)
    assert (found, answer.get("reason")) == (status, None if status == 200 else "Unauthorized")


@pytest.mark.parametrize(
    ("lacking", "method", "path"),
    [
        ("lists", "GET", "tasks"),
        ("cancels", "POST", "tasks/1/cancel"),
        ("credits", "GET", "credits"),
        ("subjects", "GET", "subjects"),
    ],
)
async def test_what_the_gateway_lacks_is_not_there(lacking: str, method: str, path: str) -> None:
    """404 of a path, not of a task; where it is not known whether the gateway has it, it is there."""
    options: dict[str, Any] = {lacking: False}
    async with calling(ways=Gateway(base_url="https://example.com", **options)) as caller:
        status, answer = await caller.ask(method, path)
        assert (status, answer["reason"]) == (404, "NotFound")
    async with calling(ways=Gateway(base_url="https://example.com")) as caller:
        _, answer = await caller.ask(method, path)
        assert answer.get("reason") in {None, "TaskNotFound"}


async def test_a_model_is_known_by_the_gateways_own_name() -> None:
    """The answer repeats that name, and Vidu's own is none there."""
    ways = Gateway(base_url="https://example.com", model_aliases={"viduq2": "vidu-q2"})
    async with calling(ways=ways) as caller, caller.vidu.client() as vidu:
        assert (await vidu.run(LAKE)).state == "success"
        (task,) = caller.vidu.accepted
        assert (task.model, task.request["model"], task.order.price) == ("vidu-q2", "vidu-q2", 45)
        status, answer = await caller.post("text2video", TEXT)
    assert (status, answer["reason"]) == (400, "ModelUnavailable")


async def test_a_model_that_the_gateway_does_not_offer_is_unavailable() -> None:
    """Although Vidu has it."""
    ways = Gateway(base_url="https://example.com", models={"viduq2"})
    async with calling(ways=ways) as caller:
        await caller.create("text2video", TEXT)
        status, answer = await caller.post("img2video", FOX)
    assert (status, answer["reason"]) == (400, "ModelUnavailable")


@pytest.mark.parametrize(("key", "other"), [("name", "id"), ("id", "name")])
async def test_a_subject_is_named_by_the_gateways_word(key: str, other: str) -> None:
    """And by no other."""
    ways = Gateway(base_url="https://example.com", subject_key=key)
    body = {"model": "viduq2", "prompt": "@cat", "subjects": [{other: "cat", "images": [LINK]}]}
    async with calling(ways=ways) as caller, caller.vidu.client() as vidu:
        cat = Subject(name="cat", images=[LINK])
        await vidu.submit(ReferenceToVideo(model="viduq2", prompt="@cat", subjects=[cat]))
        assert caller.vidu.accepted[0].request["subjects"][0][key] == "cat"
        status, answer = await caller.post("reference2video", body)
    assert (status, answer["reason"], answer["message"]) == (400, "FieldUnwanted", f"subjects[0].{other}")


async def test_the_client_learns_what_the_gateway_lacks() -> None:
    """From the 404, or from the gateway's own word."""
    async with Simulator(ways=Gateway(base_url="https://example.com", cancels=False)) as sim, sim.client() as vidu:
        handle = await vidu.submit(LAKE)
        with pytest.raises(UnsupportedError):
            await handle.cancel()


# Ids


@pytest.mark.parametrize("query_path", ["tasks/{id}/creations", "creations?task_id={id}"])
@given(ids=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1), max_size=3))
@settings(max_examples=20, deadline=None)
def test_an_id_may_be_any_text(query_path: str, ids: list[str]) -> None:
    """Quoted in a path or in a query, it finds its task, and the task its result."""
    distinct = [name for name in dict.fromkeys(ids) if name not in {".", ".."}]
    left = iter(distinct)

    async def main() -> None:
        ways = Gateway(base_url="https://example.com", query_path=query_path)
        async with calling(new_id=lambda: next(left), ways=ways, time_scale=0.01) as caller:
            for name in distinct:
                assert (await caller.create())["task_id"] == name
                path = query_path.replace("{id}", quote(name, safe=""))
                answer: dict[str, Any] = {}
                while not answer.get("creations"):
                    status, answer = await caller.ask("GET", path)
                    assert (status, answer["id"]) == (200, name)
                async with caller.session.get(answer["creations"][0]["url"]) as response:
                    assert response.status == 200

    asyncio.run(main())


@pytest.mark.parametrize("name", ["0b5b-41-uuid", "video_01HZX", "a:b", "a^^b", "a/b", "a b", "a%2Fb", "ü"])
async def test_the_client_follows_a_task_of_such_an_id(name: str) -> None:
    """From the submission to the file's link, and to a refused cancel."""
    async with Simulator(new_id=lambda: name) as sim, sim.client() as vidu:
        task = await vidu.run(LAKE)
    assert (task.id, task.state) == (name, "success")


@pytest.mark.parametrize("name", ["", ".", "..", 7, uuid.UUID(int=7), None])
async def test_an_id_that_no_path_can_hold_is_refused_before_anything_is_booked(
    name: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The creation is answered with 500, and the log says why."""
    async with calling(new_id=lambda: name) as caller:
        url = f"{caller.vidu.url}/ent/v2/img2video"
        async with caller.session.post(url, json=FOX, headers=KEY) as response:
            assert response.status == 500
        assert (caller.vidu.accepted, caller.vidu.charged) == ([], 0)
    assert f"new_id must return text that a path can hold, not {name!r}" in caplog.text


async def test_a_list_is_paged_whatever_ids_look_like() -> None:
    """Newest first, each task once."""
    ids = ["c", "a", "b"]
    left = iter(ids)
    async with Simulator(new_id=lambda: next(left)) as sim, sim.client() as vidu:
        for _ in ids:
            await vidu.submit(LAKE)
        assert [task.id async for task in vidu.tasks(page_size=1)] == ["b", "a", "c"]
