"""What goes wrong with the simulated service, on purpose or by lot."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from asking import FOX, KEY, Caller, calling
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import SubmissionUnknownError, TextToVideo
from vidu_async.testing import CUT, DROP, DROP_AFTER, Faults, Refusal, Reply, Serve, Simulator, run_virtual
from vidu_async.testing.faults import Chance
from vidu_async.testing.intercept import SERVE, Drop
from vidu_async.testing.refusals import STATUS

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")


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


async def test_an_answer_can_break_off_in_the_middle(caller: Caller) -> None:
    """The headers name its whole length, half of it comes, and the task is there and paid."""

    async def cut(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Serve:
        return CUT

    caller.vidu.intercept = cut
    url = f"{caller.vidu.url}/ent/v2/img2video"
    async with caller.session.post(url, json=FOX, headers=KEY) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert caller.vidu.charged == 80


async def test_half_of_a_reply_can_be_sent(caller: Caller) -> None:
    """Exactly half of its bytes arrive."""

    async def cut(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Reply:
        return Reply(200, "0123456789", cut=True)

    caller.vidu.intercept = cut
    async with caller.session.get(f"{caller.vidu.url}/ent/v2/credits", headers=KEY) as response:
        assert response.headers["Content-Length"] == "10"
        assert await response.content.readexactly(5) == b"01234"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


@pytest.mark.parametrize(
    ("method", "reply"),
    [("GET", Reply(200, b"", cut=True)), ("HEAD", Reply(200, "fox", cut=True)), ("GET", Reply(204, "fox", cut=True))],
)
async def test_an_answer_without_a_body_breaks_off_in_its_headers(caller: Caller, method: str, reply: Reply) -> None:
    """Nobody can take it for whole."""

    async def cut(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Reply:
        return reply

    caller.vidu.intercept = cut
    _, port = caller.vidu.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(f"{method} /fox HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert await reader.read() == b"HTTP/1.1 "
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": True, "headers": {"transfer-encoding": "chunked"}}, "headers must not hold Transfer-Encoding"),
        ({"delay": -1}, "delay must be a number of seconds from 0 on, not -1"),
    ],
)
def test_a_reply_that_cannot_be_sent_is_refused(options: dict[str, Any], message: str) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=message):
        Reply(200, "fox", **options)


@pytest.mark.parametrize("verdict", [Serve(delay=120), Reply(200, {"state": "created"}, after=True, delay=120)])
def test_an_answer_can_be_late_after_the_service_has_acted(verdict: Serve | Reply) -> None:
    """The task is accepted at once, and the answer comes two minutes later."""

    async def late(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Serve | Reply:
        return verdict

    async def main() -> tuple[str, float, float]:
        loop = asyncio.get_running_loop()
        async with calling(intercept=late) as caller:
            asked_at, asked_on = loop.time(), time.time()
            state = (await caller.create())["state"]
            (task,) = caller.vidu.accepted
            return state, loop.time() - asked_at, task.created_at - asked_on

    state, took, accepted_after = run_virtual(main())
    assert (state, round(took)) == ("created", 120)
    assert accepted_after < 60


async def test_an_intercept_may_refuse_in_the_services_own_words(caller: Caller) -> None:
    """Status and body belong to the reason, whatever the message says."""

    async def busy(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Refusal:
        return Refusal("SystemThrottling", "come back later")

    caller.vidu.intercept = busy
    status, answer = await caller.post("img2video", FOX)
    assert (status, answer["code"], answer["reason"]) == (429, 429, "SystemThrottling")
    assert answer["message"] == "come back later"


def test_a_refusal_has_a_documented_reason() -> None:
    """A typing error would otherwise be tested as a reason of Vidu's."""
    with pytest.raises(ValueError, match="reason 'TooManyRequest' is unknown: did you mean 'TooManyRequests'"):
        Refusal("TooManyRequest", "come back later")


# By lot


async def test_accepted_tasks_fail_by_lot_with_their_code() -> None:
    """The failed ones cost nothing."""
    async with calling(faults=Faults(failures={"AuditFailed": 1.0})) as caller:
        answer = await caller.finished()
        assert (answer["state"], answer["err_code"]) == ("failed", "AuditFailed")
        assert caller.vidu.charged == 0


async def test_what_a_test_says_of_a_task_goes_before_the_lot() -> None:
    """And draws no lot away: the next task meets what it would have met."""

    async def codes(fails: Callable[[Mapping[str, Any]], str | None]) -> list[str]:
        faults = Faults(failures={"AuditFailed": 0.5})
        async with calling(faults=faults, seed=5, fails=fails) as caller:
            return [(await caller.finished())["err_code"] for _ in range(8)]

    drawn = await codes(lambda _request: None)
    assert set(drawn) == {"", "AuditFailed"}
    told = iter(["NotFound"])
    assert await codes(lambda _request: next(told, None)) == ["NotFound", *drawn[1:]]


@pytest.mark.parametrize("reason", STATUS)
async def test_creations_are_refused_by_lot_with_every_documented_reason(reason: str) -> None:
    """Each with its status and Vidu's body, and nothing is accepted."""
    async with calling(faults=Faults(refusals={reason: 1.0})) as caller:
        status, answer = await caller.post("img2video", FOX)
        assert (status, answer["code"], answer["reason"]) == (STATUS[reason], STATUS[reason], reason)
        assert caller.vidu.accepted == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_bare_status_comes_from_a_relay(status: int) -> None:
    """With the relay's task error, which knows nothing of Vidu's reasons."""
    async with calling(faults=Faults(refusals={status: 1.0})) as caller:
        found, answer = await caller.post("img2video", FOX)
        assert (found, answer["code"], answer["data"]) == (status, "do_request_failed", None)
        assert str(status) in answer["message"]
        assert caller.vidu.accepted == []


async def test_a_bare_status_below_500_comes_from_the_relays_middleware() -> None:
    """Its request id is in its message."""
    async with calling(faults=Faults(refusals={403: 1.0}), dialect="vod") as caller:
        status, answer = await caller.post("img2video", FOX)
    assert (status, answer["error"]["type"]) == (403, "new_api_error")
    assert "(request id: " in answer["error"]["message"]


@pytest.mark.parametrize(("faults", "accepted"), [(Faults(drops_before=1.0), 0), (Faults(drops_after=1.0), 1)])
async def test_connections_are_dropped_by_lot_before_or_after_accepting(faults: Faults, accepted: int) -> None:
    """Creations alone: everything else is answered."""
    async with calling(faults=faults) as caller:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await caller.create()
        assert len(caller.vidu.accepted) == accepted
        assert (await caller.ask("GET", "tasks"))[0] == 200


async def test_answers_are_cut_by_lot() -> None:
    """The task is accepted, but the client cannot read which."""
    async with calling(faults=Faults(cuts=1.0)) as caller:
        with pytest.raises(aiohttp.ClientPayloadError):
            await caller.create()
        assert len(caller.vidu.accepted) == 1


@pytest.mark.parametrize(("refusals", "status"), [({}, 200), ({502: 1.0}, 502), ({"TooManyRequests": 1.0}, 429)])
def test_every_answer_to_a_creation_can_be_slow(refusals: Mapping[str | int, float], status: int) -> None:
    """By so many seconds, whatever the time scale and whatever the answer; no query is."""

    async def main() -> tuple[int, float, float]:
        loop = asyncio.get_running_loop()
        async with calling(faults=Faults(slow=90, refusals=refusals), time_scale=10) as caller:
            started = loop.time()
            found, _ = await caller.post("img2video", FOX)
            created = loop.time()
            await caller.ask("GET", "tasks")
            return found, created - started, loop.time() - created

    found, created, queried = run_virtual(main())
    assert (found, round(created)) == (status, 90)
    assert queried < 60


async def test_faults_can_fall_on_everything() -> None:
    """Queries are refused, and result files break off."""
    async with calling(faults=Faults(on="everything", refusals={502: 1.0})) as caller:
        assert (await caller.ask("GET", "credits"))[0] == 502
    async with calling() as caller:
        link = (await caller.finished())["creations"][0]["url"]
        caller.vidu.faults = Faults(on="everything", cuts=1.0)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with caller.session.get(link) as response:
                await response.read()


async def test_the_same_seed_draws_the_same_lots() -> None:
    """Over real requests, in the order in which they come."""

    async def statuses(seed: int) -> list[int]:
        faults = Faults(refusals={"TooManyRequests": 0.3, 502: 0.3})
        async with calling(faults=faults, seed=seed) as caller:
            return [(await caller.post("img2video", FOX))[0] for _ in range(30)]

    first = await statuses(3)
    assert set(first) == {200, 429, 502}
    assert first == await statuses(3) != await statuses(4)


async def test_what_a_test_says_of_a_request_draws_no_lot_away() -> None:
    """The next request meets what it would have met."""

    async def statuses(verdicts: list[Reply]) -> list[int]:
        left = iter(verdicts)

        async def told(_method: str, _path: str, _headers: Mapping[str, str], _body: bytes) -> Reply | None:
            return next(left, None)

        faults = Faults(refusals={"TooManyRequests": 0.3, 502: 0.3})
        async with calling(faults=faults, seed=3, intercept=told) as caller:
            return [(await caller.post("img2video", FOX))[0] for _ in range(20)]

    drawn = await statuses([])
    assert await statuses([Reply(418, {})]) == [418, *drawn[1:]]


async def test_a_refusal_by_lot_says_so() -> None:
    """Nobody has to look for a rule that was broken."""
    async with calling(faults=Faults(refusals={"AuditFailed": 1.0})) as caller:
        _, answer = await caller.post("img2video", FOX)
    assert answer["message"] == "refused at random (Faults)"


@given(seed=st.integers(), shares=st.lists(st.floats(0, 1), min_size=3, max_size=3), failing=st.floats(0, 1))
def test_lots_of_requests_and_of_tasks_do_not_disturb_each_other(
    seed: int, shares: list[float], failing: float
) -> None:
    """What requests meet is the same whether or not tasks fail, and is drawn from the shares above zero alone."""
    before, after, cuts = (share / 3 for share in shares)
    network = Faults(drops_before=before, drops_after=after, cuts=cuts)
    alone, both = Chance(seed), Chance(seed)
    seen = []
    for _ in range(20):
        both.err_code(Faults(failures={"AuditFailed": failing}))
        seen.append(both.outcome(network))
    assert seen == [alone.outcome(network) for _ in range(20)]
    possible = {DROP: before, DROP_AFTER: after, CUT: cuts, SERVE: 1 - before - after - cuts}
    assert all(possible[outcome] > 0 for outcome in seen)


def test_lots_are_drawn_as_often_as_their_shares_say() -> None:
    """Within two of a hundred, over ten thousand requests."""
    faults, chance = Faults(drops_before=0.1, drops_after=0.2, cuts=0.3), Chance(1)
    drawn = Counter(chance.outcome(faults) for _ in range(10_000))
    expected: dict[Serve | Drop | Refusal, float] = {DROP: 0.1, DROP_AFTER: 0.2, CUT: 0.3, SERVE: 0.4}
    assert {verdict: drawn[verdict] / 10_000 for verdict in expected} == pytest.approx(expected, abs=0.02)


# With the client of this package


async def test_the_client_does_not_send_a_creation_again_whose_answer_was_lost() -> None:
    """It says that it does not know, and one task is paid."""
    async with Simulator(faults=Faults(drops_after=1.0), lists=False) as sim, sim.client() as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(LAKE)
    assert len(sim.accepted) == 1
