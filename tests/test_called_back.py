"""Clients that are called back: whatever comes, when and where, there is one right result, and it comes at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from attrs import define, evolve

from vidu_async import (
    CallbackReceiver,
    Journal,
    Polling,
    SubmissionUnknownError,
    TextToVideo,
    ViduClient,
    aiohttp_app,
    sign_callback,
)
from vidu_async.events import Event, Finished, StateRegressed
from vidu_async.testing import DROP_AFTER, Callbacks, Faults, Reply, Serve, Simulator, run_virtual

PUBLIC = "https://app.example/vidu"
FOX = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
SELDOM = Polling(min_interval=100, max_interval=1000)
"""So rarely that whatever is found out sooner was told by a callback."""
QUERY = "GET /ent/v2/tasks/{id}/creations"


@define
class Place:
    """A simulated Vidu, a receiver, a client of both, and what it reports."""

    sim: Simulator
    receiver: CallbackReceiver
    vidu: ViduClient
    events: list[Event]

    async def call(self, state: str, task_id: str | None = None, *, url: str = "", **fields: Any) -> int:
        """Call back about the newest task, as Vidu does."""
        task = self.sim.accepted[-1]
        url = url or task.request["callback_url"]
        body = {"id": task.id if task_id is None else task_id, "state": state, **fields}
        headers = sign_callback(url=url, key=self.sim.api_key)
        return await self.receiver.receive("POST", url, headers, json.dumps(body).encode())

    @property
    def queries(self) -> int:
        """How many times a task was asked about."""
        return self.sim.requests[QUERY]

    async def until(self, state: str) -> None:
        """Wait until all tasks are in a state."""
        while {task.state for task in self.sim.accepted} != {state}:
            await asyncio.sleep(0.25)


@asynccontextmanager
async def called_back(options: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Place]:
    """Begin; a task takes ten seconds of virtual time."""
    receiver = CallbackReceiver(PUBLIC, verify=settings.pop("verify", "hmac+fetch"))
    events: list[Event] = []
    settings = {"polling": SELDOM, "on_event": events.append, **settings}
    async with (
        Simulator(**{"time_scale": 100.0, **(options or {})}) as sim,
        sim.client(callbacks=receiver, **settings) as vidu,
    ):
        yield Place(sim, receiver, vidu, events)


def on_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    """Run on virtual time."""
    run_virtual(main)


def test_a_callback_ends_the_wait_at_once() -> None:
    """Long before the next look would have been; with one question, whose answer is the result."""

    async def main() -> None:
        async with called_back() as at:
            handle = await at.vidu.submit(FOX)
            assert at.sim.accepted[0].request["callback_url"].startswith(f"{PUBLIC}/")
            waiting = asyncio.create_task(handle.result())
            await at.until("success")
            now = asyncio.get_running_loop().time
            began = now()
            assert await at.call("success") == 204
            task = await waiting
            assert now() - began < 0.1
            assert str(task.creations[0].url).startswith(at.sim.url)
            assert at.queries == 1

    on_virtual_time(main())


def test_a_forged_success_exposes_nothing_and_ends_nothing() -> None:
    """D02: what a body says is asked for, and until that shows the end, looks go on as without callbacks."""

    async def main() -> None:
        async with called_back(polling=Polling(min_interval=1, max_interval=20)) as at:
            waiting = asyncio.create_task((handle := await at.vidu.submit(FOX)).result())
            await at.until("processing")
            evil = [{"id": "1", "url": "https://evil.example/film.mp4"}]
            assert await at.call("success", creations=evil) == 204
            await asyncio.sleep(1)
            assert handle.state == "processing"
            task = await waiting
            assert "evil" not in json.dumps(task.raw)
            assert str(task.creations[0].url).startswith(at.sim.url)

    on_virtual_time(main())


@pytest.mark.parametrize("order", [["success"] * 3, ["failed", "processing", "success"], ["success", "processing"]])
def test_repeats_and_any_order_end_it_once(order: list[str]) -> None:
    """D11, D12: the end is the end, and one question is enough."""

    async def main() -> None:
        async with called_back() as at:
            waiting = asyncio.create_task((handle := await at.vidu.submit(FOX)).result())
            await at.until("success")
            assert [await at.call(state) for state in order] == [204] * len(order)
            await waiting
            assert await at.call("failed") == 204
            await asyncio.sleep(5)
            assert handle.state == "success"
            assert [type(event) for event in at.events].count(Finished) == 1
            assert not any(isinstance(event, StateRegressed) for event in at.events)
            assert at.queries == 1

    on_virtual_time(main())


def test_one_that_says_it_began_puts_off_the_next_look_and_asks_nothing() -> None:
    """The wait is counted from then."""

    async def main() -> None:
        async with called_back({"time_scale": 1000.0}, polling=Polling(min_interval=1, max_interval=20)) as at:
            waiting = asyncio.create_task((await at.vidu.submit(FOX)).result())
            await at.until("processing")
            asked, now = at.queries, asyncio.get_running_loop().time
            began = now()
            assert await at.call("processing") == 204
            while at.queries == asked:
                await asyncio.sleep(0.25)
            assert 4.9 < now() - began < 5.5
            for _ in range(30):  # a flood of them does not keep the looks away
                await at.call("processing")
                await asyncio.sleep(1)
            assert at.queries > asked + 1
            await waiting

    on_virtual_time(main())


def test_with_callbacks_looks_are_fewer_and_never_stop() -> None:
    """D14: all of them lost, and each wait ends; half of the usual questions, or less."""

    async def looks(*, is_called: bool) -> int:
        async with called_back({"time_scale": 500.0}, polling=Polling()) as at:
            vidu = at.vidu if is_called else at.sim.client(polling=Polling())
            async with vidu:
                for _ in range(4):
                    await vidu.run(FOX)
            return sum(count for route, count in at.sim.requests.items() if route.startswith("GET"))

    assert run_virtual(looks(is_called=True)) <= run_virtual(looks(is_called=False)) / 2


def test_one_that_comes_before_the_answer_of_its_creation_is_remembered() -> None:
    """D13: the answer is slow, and the task has ended meanwhile."""

    async def main() -> None:
        async def slow(method: str, path: str, headers: object, body: bytes) -> Serve | None:
            return Serve(delay=60) if method == "POST" else None

        async with called_back() as at:
            at.sim.intercept = slow
            running = asyncio.create_task(at.vidu.run(FOX))
            while not at.sim.accepted:
                await asyncio.sleep(0.25)
            await at.until("success")
            assert await at.call("success") == 204
            now = asyncio.get_running_loop().time
            while at.queries == 0:
                await asyncio.sleep(0.25)
            assert now() < 61
            await running
            assert now() < 62

    on_virtual_time(main())


async def lost_answer(method: str, path: str, headers: object, body: bytes) -> Any:
    """Have each creation accepted and not answered."""
    return DROP_AFTER if method == "POST" else None


LAGS = {"list_lag": 1_000.0}
"""The list has no task as long as these tests last."""


@pytest.mark.parametrize("options", [{"lists": False}, LAGS])
def test_one_finds_a_task_whose_answer_was_lost_while_it_is_looked_for(options: dict[str, Any]) -> None:
    """Also where the gateway lists no tasks, or does so late; whoever submitted gets the handle at once."""

    async def main() -> None:
        async with called_back(options) as at:
            at.sim.intercept = lost_answer
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(3)
            assert await at.call("processing") == 204
            now = asyncio.get_running_loop().time
            began = now()
            handle = await submitting
            assert now() - began < 0.1
            assert handle.task_id == at.sim.accepted[0].id
            assert len(at.sim.accepted) == 1
            assert not at.vidu.unresolved()

    on_virtual_time(main())


def test_one_that_came_before_the_answer_was_lost_is_remembered() -> None:
    """The creation's answer is cut a minute after the callback."""

    async def main() -> None:
        async def cut(method: str, path: str, headers: object, body: bytes) -> Serve | None:
            return Serve(delay=60, cut=True) if method == "POST" else None

        async with called_back({"lists": False}) as at:
            at.sim.intercept = cut
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            while not at.sim.accepted:
                await asyncio.sleep(0.1)
            assert await at.call("processing") == 204
            assert (await submitting).task_id == at.sim.accepted[0].id
            assert asyncio.get_running_loop().time() < 61

    on_virtual_time(main())


@pytest.mark.parametrize("after", [50, 5_000])
def test_one_finds_a_task_that_was_given_up_already(after: float) -> None:
    """Who submitted was told that it may be paid; now the task is among the unfinished."""

    async def main() -> None:
        async with called_back({"lists": False}) as at:
            at.sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            await asyncio.sleep(after)
            assert len(at.vidu.unresolved()) == 1
            assert await at.call("processing") == 204
            await asyncio.sleep(1)
            assert [handle.task_id for handle in at.vidu.unfinished()] == [at.sim.accepted[0].id]
            assert not at.vidu.unresolved()

    on_virtual_time(main())


def test_one_that_names_no_task_has_the_list_looked_into() -> None:
    """The documented example has no id."""

    async def main() -> None:
        async with called_back({"list_lag": 20.0}) as at:
            at.sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            await asyncio.sleep(10)
            assert await at.call("processing", "") == 204
            await asyncio.sleep(1)
            assert [handle.task_id for handle in at.vidu.unfinished()] == [at.sim.accepted[0].id]

    on_virtual_time(main())


def test_one_that_names_the_task_of_another_finds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its body is not signed: what the task itself repeats speaks against it."""

    async def main() -> None:
        async with called_back({"lists": False}) as at:
            other = await at.vidu.submit(FOX)
            at.sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            assert await at.call("success", other.task_id) == 204
            await asyncio.sleep(1)
            assert len(at.vidu.unresolved()) == 1
            assert await at.call("success", "1") == 204  # no task at all
            await asyncio.sleep(60)
            assert len(at.vidu.unresolved()) == 1
            assert await at.call("success") == 204
            await asyncio.sleep(1)
            assert not at.vidu.unresolved()

    on_virtual_time(main())
    assert "which is another's: left alone" in caplog.text


# Nobody waits, or not here


def test_a_task_that_nobody_waits_for_is_looked_at_when_it_ends() -> None:
    """The observer hears of it, and the journal knows."""

    async def main() -> None:
        async with called_back() as at:
            await at.vidu.submit(FOX)
            await at.until("success")
            assert await at.call("success") == 204
            await asyncio.sleep(0.1)
            assert [event.state for event in at.events if isinstance(event, Finished)] == ["success"]
            assert at.vidu.unfinished() == []
            assert await at.call("success") == 204  # nobody knows the token any more
            await asyncio.sleep(5)
            assert at.queries == 1

    on_virtual_time(main())


def test_one_after_the_wait_was_given_up_or_the_client_closed_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """D16: it is in the journal, and whoever opens that next knows."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async with called_back(journal=path) as at:
            handle = await at.vidu.submit(FOX)
            with pytest.raises(TimeoutError):
                await handle.result(timeout=1)
            await at.until("success")
            await at.vidu.aclose()
            assert [await at.call("success"), await at.call("success")] == [204, 204]
            with contextlib.closing(sqlite3.connect(path)) as file:
                assert (
                    file.execute("SELECT task_id, state FROM callbacks").fetchall() == [(handle.task_id, "success")] * 2
                )
            async with at.sim.client(journal=path) as again:
                (left,) = again.unfinished()
                assert (await left).state == "success"

    on_virtual_time(main())
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


def test_one_that_another_client_of_the_journal_hears_ends_the_wait_here(tmp_path: Path) -> None:
    """D15: each web worker has a client of its own, and any of them may be called. At once, and with one look each."""

    async def main() -> None:
        path = tmp_path / "tasks.db"
        async with called_back(journal=path) as at:
            worker = CallbackReceiver(PUBLIC)
            async with at.sim.client(callbacks=worker, journal=path, polling=SELDOM):
                waiting = asyncio.create_task((await at.vidu.submit(FOX)).result())
                await at.until("success")
                here, at.receiver = at.receiver, worker
                now = asyncio.get_running_loop().time
                began = now()
                assert await at.call("success") == 204
                await waiting
                assert now() - began < 0.1
                assert here.counts == {}
                assert at.queries == 2

    on_virtual_time(main())


def test_one_that_another_client_hears_finds_a_lost_answer_here(tmp_path: Path) -> None:
    """Whoever of them adopts it first, whoever submitted it has the handle at once."""

    async def main() -> None:
        path = tmp_path / "tasks.db"
        async with called_back({"lists": False}, journal=path) as at:
            worker = CallbackReceiver(PUBLIC)
            async with at.sim.client(callbacks=worker, journal=path, polling=SELDOM):
                at.sim.intercept = lost_answer
                submitting = asyncio.create_task(at.vidu.submit(FOX))
                await asyncio.sleep(3)
                at.receiver = worker
                assert await at.call("processing") == 204
                now = asyncio.get_running_loop().time
                began = now()
                assert (await submitting).task_id == at.sim.accepted[0].id
                assert now() - began < 0.2
                assert not at.vidu.unresolved()

    on_virtual_time(main())


WORKER = """
import asyncio, sys
from aiohttp import web
from vidu_async import CallbackReceiver, Gateway, ViduClient, aiohttp_app

async def main(url, key, journal, public):
    receiver = CallbackReceiver(public, keys=[key])
    app = web.Application()
    app.add_subapp("/vidu", aiohttp_app(receiver))
    async with ViduClient(key, gateway=Gateway(base_url=url), journal=journal, callbacks=receiver):
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_one_that_another_process_hears_ends_the_wait_here(tmp_path: Path) -> None:
    """D15, with a process of its own and a socket."""
    path = tmp_path / "tasks.db"
    async with called_back({"time_scale": 1.0}, journal=path) as at:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", WORKER, at.sim.url, at.sim.api_key, path, PUBLIC),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        port = int(await worker.stdout.readline())
        waiting = asyncio.create_task((await at.vidu.submit(FOX)).result())
        await at.until("success")
        url = at.sim.accepted[0].request["callback_url"]
        headers = sign_callback(url=url, key=at.sim.api_key)
        async with aiohttp.ClientSession() as http:
            there = url.replace(PUBLIC, f"http://127.0.0.1:{port}/vidu")
            async with http.post(there, json={"state": "success"}, headers=headers) as answer:
                assert answer.status == 204
        assert (await waiting).state == "success"
        worker.stdin.close()
        assert await worker.wait() == 0


# What is set, and what is kept


def test_a_client_that_begins_anew_is_called_back_for_what_is_unfinished(tmp_path: Path) -> None:
    """The journal knows who is called back: looks stay rare after a restart."""

    async def main() -> None:
        path = tmp_path / "tasks.db"
        async with called_back(journal=path) as at:
            await at.vidu.submit(FOX)
            await at.vidu.aclose()
            async with at.sim.client(callbacks=at.receiver, journal=path, polling=SELDOM) as again:
                (handle,) = again.unfinished()
                waiting = asyncio.create_task(handle.result())
                await at.until("success")
                before = at.queries
                assert await at.call("success") == 204
                await waiting
                assert at.queries <= before + 1

    on_virtual_time(main())


def test_a_callback_url_of_ones_own_is_left_alone() -> None:
    """Those callbacks go elsewhere, so that this task is looked at as usual."""

    async def main() -> None:
        async with called_back(polling=Polling()) as at:
            elsewhere = "https://example.com/hook"
            await at.vidu.run(TextToVideo(model="viduq3-turbo", prompt="x", callback_url=elsewhere))
            assert at.sim.accepted[0].request["callback_url"] == elsewhere

    on_virtual_time(main())


def test_who_knows_a_token_cannot_have_a_task_asked_about_without_end() -> None:
    """Where signatures cannot be checked, repeats cost whoever sends them nothing: a look a second at most."""

    async def main() -> None:
        async with called_back({"time_scale": 10_000.0}, verify="token+fetch") as at:
            handle = await at.vidu.submit(FOX)
            url = at.sim.accepted[0].request["callback_url"]
            for _ in range(200):
                assert await at.receiver.receive("POST", url, [], b'{"state": "success"}') == 204
                await asyncio.sleep(0.05)
            assert handle.state != "success"
            assert at.queries <= 11

    on_virtual_time(main())


def test_a_state_may_be_taken_at_its_word_by_name() -> None:
    """Nothing is asked; the files come when they are asked for, and no link of the callback is taken."""

    async def main() -> None:
        async with called_back(verify="hmac") as at:
            handle = await at.vidu.submit(FOX)
            waiting = asyncio.create_task(handle.wait())
            await at.until("success")
            assert await at.call("success", creations=[{"id": "1", "url": "https://evil.example/film.mp4"}]) == 204
            task = await waiting
            assert (task.state, task.creations, at.queries) == ("success", (), 0)
            assert task.credits == at.sim.accepted[0].credits
            assert str((await handle).creations[0].url).startswith(at.sim.url)
            (again,) = await at.vidu.gather([handle])
            assert again.creations
            assert at.queries == 1
            failed = await at.vidu.submit(FOX)
            assert await at.call("failed") == 204
            assert ((await failed.wait()).state, failed.task and failed.task.credits) == ("failed", 0)

    on_virtual_time(main())


async def test_the_gateways_clock_counts_where_this_machines_is_far_off(caplog: pytest.LogCaptureFixture) -> None:
    """F05: as each of its answers tells."""

    async def ahead(method: str, path: str, headers: object, body: bytes) -> Reply | None:
        return (
            Reply(200, b'{"remains": []}', headers={"Date": "Tue, 06 May 2036 12:09:42 GMT"})
            if "credits" in path
            else None
        )

    async with called_back({"time_scale": 1.0}) as at:
        at.sim.intercept = ahead
        await at.vidu.submit(FOX)
        with contextlib.suppress(Exception):
            await at.vidu.credits()
        url = at.sim.accepted[0].request["callback_url"]
        late = sign_callback(url=url, key=at.sim.api_key, date="Tue, 06 May 2036 12:11:42 GMT")
        assert await at.receiver.receive("POST", url, late, b"{}") == 204
        assert await at.call("success") == 204  # by this machine's clock: either will do
    assert "clock differs" in caplog.text


async def test_a_journal_of_before_there_were_callbacks_is_taken_up(tmp_path: Path) -> None:
    """It gets the column that it lacks, and its rows are what they were."""
    path = tmp_path / "tasks.db"
    async with Simulator() as sim:
        async with sim.client(journal=path) as vidu:
            handle = await vidu.submit(FOX, key="fox")
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.executescript(
                "ALTER TABLE submissions DROP COLUMN is_called_back; DROP TABLE callbacks; PRAGMA user_version = 1"
            )
        journals = [Journal(path), Journal(path)]
        await asyncio.gather(*(journal.open() for journal in journals))
        for journal in journals:
            found = journal.find("fox")
            assert found is not None
            assert (found.task_id, found.is_called_back) == (handle.task_id, False)
            await journal.aclose()


# All the way: a simulated Vidu that calls, over a socket


@pytest.mark.parametrize(
    "ways",
    [
        Callbacks(),
        Callbacks(drops=1.0),
        Callbacks(drops=0.5, repeats=2, reorders=0.5, delay=0.2),
        Callbacks(repeats=2, same_headers=True),
        Callbacks(before_answer=True),
    ],
    ids=["as documented", "all lost", "some lost, repeated, late and in any order", "replayed", "before the answer"],
)
def test_each_task_comes_to_its_one_result_however_it_is_called_back(ways: Callbacks) -> None:
    """By a proxy that strips a prefix, while some fail; each end is reported once, and is the service's own."""

    async def main() -> None:
        receiver, events = CallbackReceiver(f"{PUBLIC}/hooks"), list[Event]()
        app = web.Application()
        app.add_subapp("/hooks", aiohttp_app(receiver))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ways_here = evolve(ways, route=lambda url: url.replace(PUBLIC, here))
        faults = Faults(failures={"AuditFailed": 0.3})
        options = {"callbacks": receiver, "polling": Polling(), "on_event": events.append}
        async with (
            Simulator(seed=1, time_scale=100.0, concurrency=20, callbacks=ways_here, faults=faults) as sim,
            sim.client(**options) as vidu,
        ):
            handles = await asyncio.gather(*(vidu.submit(FOX) for _ in range(20)))
            async for handle in vidu.as_completed(handles):
                assert handle.state.value == sim.tasks[handle.task_id].state
            ends = Counter(event.task_id for event in events if isinstance(event, Finished))
            assert ends == dict.fromkeys(sim.tasks, 1)
            assert receiver.counts["refused"] == receiver.counts["failed"] == 0
        await runner.cleanup()

    on_virtual_time(main())
