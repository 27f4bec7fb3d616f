"""What goes wrong with the simulated service, on purpose or by lot."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from asking import FOX, KEY, Caller, calling

from vidu_async.testing import DROP, DROP_AFTER, Reply
from vidu_async.testing.intercept import Drop


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


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
