"""The simulated service calls back: what it sends, how often, in which order, and what can be made to go wrong."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from asking import TEXT, Caller, calling
from attrs import define, evolve, field

from vidu_async import CallbackError, verify_callback
from vidu_async.testing import Callbacks, Delivery, Faults, Simulator, run_in_thread, run_virtual

API_KEY = "sk-simulator"
UPSTREAM = "vda-of-a-reseller"


@define
class Call:
    """One request as it came."""

    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def said(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)

    @property
    def state(self) -> str:
        """What it says of the task."""
        return str(self.said["state"])

    @property
    def nonce(self) -> str:
        """Its nonce."""
        return dict(self.headers)["x-request-nonce"]

    def verify(self, url: str, key: str = API_KEY) -> None:
        """Raise CallbackError unless it is signed for the URL by the key, now."""
        verify_callback(method="POST", url=url, headers=self.headers, keys=[key])


@define(eq=False)
class Receiver:
    """Takes callbacks; `answer` says with which status, and may take its time."""

    url: str = ""
    calls: list[Call] = field(factory=list)
    answer: Callable[[Call], Any] = field(default=lambda _call: 204)
    at_once: int = 0
    most_at_once: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """Note a request and answer it."""
        call = Call(request.raw_path, list(request.headers.items()), await request.read())
        self.calls.append(call)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        status = self.answer(call)
        try:
            status = await status if asyncio.iscoroutine(status) else status
        finally:
            self.at_once -= 1
        headers = {"Location": f"{self.url}/elsewhere"} if status == 307 else {}
        return web.Response(status=status, headers=headers)

    @property
    def states(self) -> list[str]:
        """What was said, in order."""
        return [call.state for call in self.calls]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def called(**options: Any) -> AsyncIterator[tuple[Caller, Receiver]]:
    """Run a receiver, and a simulator with these options."""
    async with receiving() as receiver, calling(**options) as caller:
        yield caller, receiver


async def create(caller: Caller, url: str, **more: Any) -> str:
    """Create a task that calls back."""
    return str((await caller.create("text2video", TEXT | {"callback_url": url} | more))["task_id"])


async def delivered(vidu: Simulator, number: int, *, every: float = 0.005) -> list[Delivery]:
    """Wait, without a look at the tasks, until there are as many deliveries."""
    async with asyncio.timeout(20):
        while len(vidu.deliveries) < number:
            await asyncio.sleep(every)
    return vidu.deliveries


async def test_a_task_calls_back_as_it_starts_and_as_it_ends() -> None:
    """Though nobody asks: to the very URL, signed, with the body of a query, and each with a nonce of its own."""
    async with called() as (caller, receiver):
        url = f"{receiver.url}/cb%20x/%E4%BD%A0?a=%E5%A5%BD&b=1+2"
        task_id = await create(caller, url, payload="p-1")
        first, last = await delivered(caller.vidu, 2)
        processing, success = receiver.calls
        answer = await caller.query(task_id)
    for call in receiver.calls:
        assert call.target == url.removeprefix(receiver.url)
        assert ("Content-Type", "application/json") in call.headers
        call.verify(url)
    assert processing.nonce != success.nonce
    assert (processing.said["state"], processing.said["creations"]) == ("processing", [])
    assert {**success.said, "creations": []} == {**answer, "creations": []}
    assert success.said["creations"][0]["url"].startswith(caller.vidu.url)
    assert first == Delivery(task_id=task_id, state="processing", url=url, statuses=(204,))
    assert (last.state, last.tries, last.delivered, last.dropped) == ("success", 1, True, False)


async def test_a_failure_calls_back_with_its_code() -> None:
    """And a cancelled task too, which has never been processed."""
    async with called(faults=Faults(failures={"AuditFailed": 1}), concurrency=1) as (caller, receiver):
        await create(caller, receiver.url)
        cancelled = await create(caller, receiver.url)
        assert (await caller.cancel(cancelled))[0] == 200
        await delivered(caller.vidu, 3)
    codes = {(call.said["id"] == cancelled, call.state, call.said["err_code"]) for call in receiver.calls}
    assert codes == {(True, "failed", "UserCancelled"), (False, "processing", ""), (False, "failed", "AuditFailed")}


async def test_a_task_that_does_not_call_back_moves_as_it_is_looked_at() -> None:
    """As ever: nothing is sent for it."""
    async with called() as (caller, receiver):
        await caller.create("text2video", TEXT)
        await create(caller, "")
        await create(caller, receiver.url)
        await delivered(caller.vidu, 2)
        assert {task.state for task in caller.vidu.tasks.values()} >= {"success"}
    assert len(caller.vidu.deliveries) == len(receiver.calls) == 2


async def test_a_dialect_dresses_callbacks_too() -> None:
    """As it does the answer to a query."""
    async with called(dialect="openai") as (caller, receiver):
        await create(caller, receiver.url)
        await delivered(caller.vidu, 2)
    assert [call.said["status"] for call in receiver.calls] == ["in_progress", "completed"]


async def test_an_end_is_tried_three_times_and_a_start_once() -> None:
    """Each signed anew."""
    async with called(callbacks=Callbacks(pause=0.01)) as (caller, receiver):
        receiver.answer = lambda _call: 503
        await create(caller, receiver.url)
        start, end = await delivered(caller.vidu, 2)
    assert (start.statuses, end.statuses) == ((503,), (503, 503, 503))
    assert (end.delivered, end.dropped) == (False, False)
    assert len({call.nonce for call in receiver.calls}) == 4


async def test_a_2xx_ends_the_tries() -> None:
    """Any of them."""
    async with called(callbacks=Callbacks(tries=9, pause=0.01)) as (caller, receiver):
        receiver.answer = lambda _call: 500 if len(receiver.calls) < 4 else 299
        await create(caller, receiver.url)
        _, end = await delivered(caller.vidu, 2)
    assert (end.statuses, end.delivered) == ((500, 500, 299), True)


def test_a_receiver_that_does_not_answer_in_time_is_tried_again() -> None:
    """As is one where nobody listens; a redirect is followed nowhere."""

    async def main() -> None:
        async with called(callbacks=Callbacks(timeout=5, tries=2)) as (caller, receiver):
            receiver.answer = lambda call: asyncio.sleep(60, 204) if call.target == "/slow" else 307
            for url in (f"{receiver.url}/slow", f"{receiver.url}/moved", "http://127.0.0.1:1/nobody"):
                await create(caller, url)
            await delivered(caller.vidu, 6, every=1)
        ends = {one.url.rpartition("/")[2]: one.statuses for one in caller.vidu.deliveries if one.state == "success"}
        assert ends == {"slow": (None, None), "moved": (307, 307), "nobody": (None, None)}
        assert {call.target for call in receiver.calls} == {"/slow", "/moved"}

    run_virtual(main())


async def test_a_slow_receiver_holds_up_no_other_and_the_order_of_a_task_holds() -> None:
    """Sixty-four at once, and no more."""
    async with called(concurrency=100, callbacks=Callbacks(timeout=20)) as (caller, receiver):
        gate = asyncio.Event()

        async def slow() -> int:
            await gate.wait()
            return 200

        receiver.answer = lambda call: slow() if call.target == "/slow" else 204
        patient = await create(caller, f"{receiver.url}/slow")
        quick = await create(caller, f"{receiver.url}/quick")
        assert [one.task_id for one in await delivered(caller.vidu, 2)] == [quick, quick]
        assert [call.state for call in receiver.calls if call.target == "/slow"] == ["processing"]
        for _ in range(69):
            await create(caller, f"{receiver.url}/slow")
        async with asyncio.timeout(10):
            while receiver.at_once < 64:
                await asyncio.sleep(0.005)
        assert all(task.is_terminal or task.state == "processing" for task in caller.vidu.accepted[:2])
        await asyncio.sleep(0.1)
        gate.set()
        states = [one.state for one in await delivered(caller.vidu, 142) if one.task_id == patient]
    assert receiver.most_at_once == 64
    assert states == ["processing", "success"]


async def test_only_this_machine_is_called() -> None:
    """What goes elsewhere is written down with the reason, and so is what is no URL."""
    urls = ["https://example.com/cb", "http://192.168.0.7/cb", "ftp://127.0.0.1/cb", "http://127.0.0.1/cb#part"]
    async with calling() as caller:
        for url in urls:
            await create(caller, url)
        found = {one.url: one for one in await delivered(caller.vidu, 8)}
    assert all((one.dropped, one.tries, one.delivered) == (True, 0, False) for one in found.values())
    assert [found[url].unsent.partition(";")[0] for url in urls] == [
        "example.com is not this machine",
        "192.168.0.7 is not this machine",
        "callback_url is no URL such as https://host/path",
        "callback_url has a fragment ('#' and what follows), which is never sent",
    ]


async def test_a_route_says_where_to_post_what_is_signed_for_the_registered_url() -> None:
    """As a proxy does that takes a prefix away. It leads to this machine too, and whatever it raises is told."""
    url = "https://example.com/app/vidu/cb?job=7"
    async with called() as (caller, receiver):
        here = receiver.url.replace("127.0.0.1", "localhost")
        route = {url: f"{here}/cb?job=7", "https://example.com/": "https://example.org/"}
        caller.vidu.callbacks = Callbacks(route=lambda url: route[url])
        await create(caller, url)
        await delivered(caller.vidu, 2)
        await create(caller, "https://example.com/")
        await create(caller, "https://example.net/")
        others = {one.url: one.unsent for one in (await delivered(caller.vidu, 6))[2:]}
        caller.vidu.callbacks = Callbacks(route=lambda _url: receiver.url)
        await create(caller, "ftp://example.com/cb")
        (*_, unsigned) = await delivered(caller.vidu, 8)
        caller.vidu.callbacks = Callbacks(route=lambda _url: "")
        await create(caller, url)
        (*_, nowhere) = await delivered(caller.vidu, 10)
    assert [call.target for call in receiver.calls] == ["/cb?job=7"] * 2
    receiver.calls[0].verify(url)
    with pytest.raises(CallbackError):
        receiver.calls[0].verify(receiver.calls[0].target)
    assert others["https://example.com/"].startswith("example.org is not this machine")
    assert others["https://example.net/"] == "route failed: KeyError('https://example.net/')"
    assert unsigned.unsent == "callback_url is no URL such as https://host/path"
    assert nowhere.unsent == "route must return a URL, not ''"


async def test_another_key_may_sign() -> None:
    """That of a reseller, which its customers do not have; the knobs may be changed at any time."""
    async with called(callbacks=Callbacks(key=UPSTREAM)) as (caller, receiver):
        await create(caller, receiver.url)
        await delivered(caller.vidu, 2)
        caller.vidu.callbacks = evolve(caller.vidu.callbacks, key=None)
        await create(caller, receiver.url)
        await delivered(caller.vidu, 4)
    for call, key in zip(receiver.calls, [UPSTREAM, UPSTREAM, API_KEY, API_KEY], strict=True):
        call.verify(receiver.url, key)
    with pytest.raises(CallbackError):
        receiver.calls[0].verify(receiver.url)
    assert UPSTREAM not in repr(Callbacks(key=UPSTREAM))


def test_a_share_of_callbacks_is_dropped_repeatably() -> None:
    """By the seed; what was dropped is in the record, and did not arrive."""

    async def dropped() -> list[tuple[int, str, bool]]:
        async with called(seed=7, callbacks=Callbacks(drops=0.5), concurrency=1) as (caller, receiver):
            names = [await create(caller, receiver.url) for _ in range(10)]
            found = await delivered(caller.vidu, 20)
            assert len(receiver.calls) == sum(not one.dropped for one in found)
            return sorted((names.index(one.task_id), one.state, one.dropped) for one in found)

    first, second = run_virtual(dropped()), run_virtual(dropped())
    assert first == second
    assert 3 < sum(one[2] for one in first) < 17


@pytest.mark.parametrize("same", [False, True])
async def test_callbacks_are_repeated(same: bool) -> None:
    """Signed anew, or with the very headers of the first, to be recognised by their nonce."""
    async with called(callbacks=Callbacks(repeats=2, same_headers=same)) as (caller, receiver):
        await create(caller, receiver.url)
        assert len(await delivered(caller.vidu, 6)) == 6
    assert receiver.states == ["processing"] * 3 + ["success"] * 3
    assert len({call.nonce for call in receiver.calls}) == (2 if same else 6)
    for call in receiver.calls:
        call.verify(receiver.url)


async def test_further_tries_bear_the_same_headers_on_request() -> None:
    """A receiver that failed must not take them for a replay."""
    async with called(callbacks=Callbacks(same_headers=True, pause=0.01)) as (caller, receiver):
        receiver.answer = lambda call: 500 if receiver.states.count("success") < 3 else 204
        await create(caller, receiver.url)
        await delivered(caller.vidu, 2)
    assert receiver.states == ["processing", "success", "success", "success"]
    assert len({call.nonce for call in receiver.calls}) == 2


async def test_the_start_may_be_told_after_the_end() -> None:
    """Of the share of tasks that `reorders` says."""
    async with called(callbacks=Callbacks(reorders=1.0)) as (caller, receiver):
        await create(caller, receiver.url)
        assert [one.state for one in await delivered(caller.vidu, 2)] == ["success", "processing"]
    assert receiver.states == ["success", "processing"]


async def test_a_callback_may_come_before_the_answer_to_its_creation() -> None:
    """Even where the answer never comes."""
    async with called(callbacks=Callbacks(before_answer=True)) as (caller, receiver):
        task_id = await create(caller, receiver.url)
        assert receiver.states == ["processing", "success"]
        assert receiver.calls[-1].said["id"] == task_id
        await caller.create("text2video", TEXT)
        caller.vidu.faults = Faults(drops_after=1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await create(caller, receiver.url)
        assert receiver.states == ["processing", "success"] * 2


def test_on_a_virtual_clock_hours_pass_and_what_is_signed_is_dated_in_the_world() -> None:
    """Delays are in seconds, whatever the scale."""

    async def main() -> tuple[list[str], float]:
        callbacks = Callbacks(delay=1800.0, timeout=60)
        async with called(time_scale=100_000, callbacks=callbacks) as (caller, receiver):
            loop, url = asyncio.get_running_loop(), f"{receiver.url}/cb"
            began = loop.time()
            await create(caller, url)
            while len(receiver.calls) < 2:
                await asyncio.sleep(60)
            for call in receiver.calls:
                call.verify(url)
            (task,) = caller.vidu.accepted
            assert task.finished_at is not None
            assert loop.time() - began == pytest.approx(task.finished_at - task.created_at + 1800, abs=120)
            return receiver.states, loop.time() - began

    began = time.monotonic()
    states, took = run_virtual(main())
    assert (states, took > 2 * 3600) == (["processing", "success"], True)
    assert time.monotonic() - began < 10


async def test_a_simulator_in_a_thread_calls_back_and_forges_on_request() -> None:
    """Into the loop of the test, from which it is looked at meanwhile."""
    async with receiving() as receiver, aiohttp.ClientSession() as session:
        with run_in_thread(Simulator()) as vidu:
            task_id = await create(Caller(vidu, session), receiver.url)
            async with asyncio.timeout(10):
                while len(vidu.deliveries) < 2:
                    assert len(vidu.tasks) == 1
                    await asyncio.sleep(0.001)
            assert await vidu.forge(task_id, "failed") == 204
    assert receiver.states == ["processing", "success", "failed"]


def test_what_is_under_way_is_broken_off_and_what_is_to_come_waits_for_the_next_start() -> None:
    """At once. A task may end while nothing runs, and that is told later."""

    async def main() -> None:
        async with receiving() as receiver, aiohttp.ClientSession() as session:
            vidu = Simulator(time_scale=100, callbacks=Callbacks(timeout=600))
            receiver.answer = lambda call: asyncio.sleep(600, 204) if call.target == "/slow" else 204
            async with vidu:
                slow = await create(Caller(vidu, session), f"{receiver.url}/slow")
                await asyncio.sleep(15)
                assert vidu.tasks[slow].state == "success"
                late = await create(Caller(vidu, session), f"{receiver.url}/late")
                await asyncio.sleep(5)
                left_at = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() < left_at + 1
            started, ended = vidu.deliveries[-2:]
            assert (started.task_id, started.state, started.statuses) == (slow, "processing", (None,))
            assert (ended.task_id, ended.state, ended.unsent) == (slow, "success", "the Simulator was left before")
            await asyncio.sleep(15)
            assert vidu.tasks[late].state == "success"
            assert receiver.states == ["processing", "processing"]
            async with vidu:
                (*_, last) = await delivered(vidu, 4)
            assert (last.task_id, last.state, last.delivered) == (late, "success", True)

    run_virtual(main())


QUIET = """
import asyncio, sys
from aiohttp import web
from vidu_async import TextToVideo
from vidu_async.testing import Callbacks, Simulator

async def take(request):
    return web.Response(status=500)

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    runner = web.AppRunner(app := web.Application(), access_log=None)
    app.router.add_post("/", take)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with Simulator(callbacks=Callbacks(pause=30)) as vidu:
        async with vidu.client() as client:
            handle = await client.submit(TextToVideo(model="viduq3-turbo", prompt="a fox", callback_url=url))
            await handle
        while not vidu.deliveries:
            await asyncio.sleep(0.01)
    await runner.cleanup()
    assert len(asyncio.all_tasks()) == 1

for _ in range(2):
    asyncio.run(main())
"""


def test_nothing_is_left_open_in_development_mode() -> None:
    """Though the last try of a callback was still to come."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", QUIET]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_forged_body_is_signed_as_well_as_a_true_one() -> None:
    """For the signature does not cover it: a success with a foreign link, while the task is still processing."""
    async with called(time_scale=100) as (caller, receiver):
        task_id = await create(caller, receiver.url)
        lie = {"id": task_id, "state": "success", "creations": [{"id": "1", "url": "https://evil.example/x.mp4"}]}
        assert await caller.vidu.forge(task_id, body=lie) == 204
        assert caller.vidu.tasks[task_id].state != "success"
        assert await caller.vidu.forge(task_id, body=b"{") == 204
        assert await caller.vidu.forge(task_id, "failed") == 204
        assert caller.vidu.deliveries == []
    forged, broken, failed = receiver.calls
    assert (forged.said, broken.body) == (lie, b"{")
    assert (failed.said["id"], failed.said["credits"]) == (task_id, 0)
    assert failed.said["err_code"] != ""
    for call in receiver.calls:
        call.verify(receiver.url)


async def test_a_forgery_may_have_a_wrong_key_an_old_date_and_a_used_nonce() -> None:
    """Each of which a receiver can see, and it says so."""
    async with called(time_scale=100) as (caller, receiver):

        def checked(call: Call) -> int:
            try:
                call.verify(receiver.url)
            except CallbackError as error:
                return error.status
            return 204

        receiver.answer = checked
        task_id = await create(caller, receiver.url)
        forge = caller.vidu.forge
        assert await forge(task_id, key="sk-wrong") == 401
        assert await forge(task_id, age=301) == 401
        assert await forge(task_id, age=-302) == 401
        assert await forge(task_id, age=250) == 204
        assert await forge(task_id, headers={"date": None}) == 401
        assert await forge(task_id, headers={"X-HMAC-ALGORITHM": "hmac-sha1"}) == 401
        assert [await forge(task_id, nonce="n-1") for _ in range(2)] == [204, 204]
    assert [call.nonce for call in receiver.calls[-2:]] == ["n-1", "n-1"]


async def test_what_cannot_be_forged_is_refused() -> None:
    """An unknown task or state, an address elsewhere, nobody who answers, a simulator that does not run."""
    async with calling(time_scale=100, callbacks=Callbacks(timeout=1)) as caller:
        forge = caller.vidu.forge
        plain = (await caller.create("text2video", TEXT))["task_id"]
        for name in ("7", plain):
            with pytest.raises(ValueError, match="that of a task with a callback_url"):
                await forge(name)
        far = await create(caller, "https://example.com/cb")
        with pytest.raises(ValueError, match="state 'succes' is unknown: did you mean 'success'"):
            await forge(far, "succes")
        with pytest.raises(ValueError, match=r"example\.com is not this machine"):
            await forge(far)
        nobody = await create(caller, "http://127.0.0.1:1/cb")
        with pytest.raises(ConnectionError, match="http://127.0.0.1:1/cb got no answer"):
            await forge(nobody)
    with pytest.raises(RuntimeError, match="only inside"):
        await forge(far)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": 5}, "key must be text, not 5"),
        ({"tries": 0}, "tries must be a whole number from 1 on, not 0"),
        ({"pause": -1}, "pause must be a number of seconds from 0 on, not -1"),
        ({"timeout": math.inf}, "timeout must be a finite number above 0, not inf"),
        ({"route": "http://127.0.0.1"}, "route must be a function, not 'http://127.0.0.1'"),
        ({"drops": 1.5}, "drops must be a share from 0 to 1, not 1.5"),
        ({"repeats": 0.5}, "repeats must be a whole number from 0 on, not 0.5"),
        ({"same_headers": 1}, "same_headers must be True or False, not 1"),
        ({"reorders": "1"}, "reorders must be a share from 0 to 1, not '1'"),
        ({"delay": math.nan}, "delay must be a number of seconds from 0 on, not nan"),
        ({"before_answer": None}, "before_answer must be True or False, not None"),
    ],
)
def test_a_knob_that_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    """With its name and value."""
    with pytest.raises(ValueError, match=message):
        Callbacks(**options)


def test_what_is_no_callbacks_is_refused_now_and_later() -> None:
    """What was set before stays."""
    with pytest.raises(ValueError, match="callbacks must be a Callbacks, not 5"):
        Simulator(callbacks=5)  # type: ignore[arg-type]
    vidu = Simulator()
    with pytest.raises(ValueError, match="callbacks must be a Callbacks"):
        vidu.callbacks = {}  # type: ignore[assignment]
    assert vidu.callbacks == Callbacks()
