"""The simulated service as an object: its walk through a task, its knobs, its loops, threads and ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from asking import FOX, KEY, Caller, calling

from vidu_async import TextToVideo
from vidu_async.protocol.errors import AuthenticationError
from vidu_async.testing import Simulator, Throttle, run_in_thread, run_virtual

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


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
    """Deciding by the number of tasks so far does not hang; the one in question is none yet."""
    vidu = Simulator(fails=lambda _request: "NotFound" if len(vidu.tasks) == 1 else None)
    async with vidu, aiohttp.ClientSession() as session:
        caller = Caller(vidu, session)
        states = [(await caller.finished())["state"] for _ in range(3)]
    assert states == ["success", "failed", "success"]


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


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
async def test_what_listens_everywhere_is_reached_on_the_loopback(host: str, reached: str) -> None:
    """The client takes the gateway, and result links lead there, too."""
    async with Simulator(host=host) as sim, sim.client() as vidu:
        assert sim.url.startswith(f"http://{reached}:")
        task = await vidu.run(LAKE)
    assert str(task.creations[0].url).startswith(sim.url)


def test_the_clock_never_goes_back_from_one_loop_to_the_next() -> None:
    """An hour ahead of the world, then in a loop that starts anew: tasks are let in, found and done as ever."""
    vidu = Simulator(throttle=Throttle(rate=1))

    async def once(pause: float) -> tuple[str, int]:
        async with vidu, aiohttp.ClientSession() as session:
            caller = Caller(vidu, session)
            await asyncio.sleep(pause)
            task_id = (await caller.create())["task_id"]
            await asyncio.sleep(2)
            state = (await caller.query(task_id))["state"]
            return state, len((await caller.ask("GET", "tasks"))[1]["tasks"])

    assert run_virtual(once(3600)) == ("success", 1)
    assert run_virtual(once(0)) == ("success", 2)


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
