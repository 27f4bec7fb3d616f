"""Callbacks when much else goes wrong: nothing is paid twice, lost or adopted wrongly, and floods cost little."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shutil
import sqlite3
import weakref
from pathlib import Path
from typing import Any

import pytest
from test_called_back import FOX, LAGS, PUBLIC, QUERY, SELDOM, called_back, lost_answer, on_virtual_time

from vidu_async import CallbackReceiver, Journal, Polling, SubmissionUnknownError, TextToVideo, Timeouts, sign_callback
from vidu_async.testing import DROP_AFTER, Faults, Refusal, Reply, Serve, Simulator, run_in_thread, run_virtual

LISTS = "GET /ent/v2/tasks"

# Lost answers


@pytest.mark.parametrize(("options", "task_id"), [({"lists": False}, ""), (LAGS, ""), ({"lists": False}, None)])
def test_what_was_called_back_is_never_sent_again(options: dict[str, Any], task_id: str | None) -> None:
    """A callback proves that it became a task, even if that cannot be found: resending by consent would pay twice."""

    async def main() -> None:
        async def lossy_and_down(method: str, path: str, headers: object, body: bytes) -> Any:
            if method == "POST":
                return DROP_AFTER
            return Refusal("SystemThrottling", "down") if "creations" in path else None

        async with called_back(options, on_unknown="resend") as at:
            at.sim.intercept = lossy_and_down
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(3)
            assert await at.call("processing", task_id) == 204
            with pytest.raises(SubmissionUnknownError, match="a callback came for it"):
                await submitting
            assert len(at.sim.accepted) == 1
            (left,) = at.vidu.unresolved()
            assert left.state == "held"

    on_virtual_time(main())


def test_a_name_is_kept_until_the_server_has_answered(tmp_path: Path) -> None:
    """Though queries fail for minutes, and though another process is the one that asks in the end."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        down = True

        async def lossy(method: str, path: str, headers: object, body: bytes) -> Any:
            if method == "POST":
                return DROP_AFTER
            return Refusal("SystemThrottling", "down") if down else None

        async with called_back({"lists": False}, journal=path) as at:
            at.sim.intercept = lossy
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX, key="fox")
            assert await at.call("success") == 204
            await asyncio.sleep(30)
            await at.vidu.aclose()
            down = False
            async with at.sim.client(journal=path) as next_one:
                await asyncio.sleep(5)
                (found,) = next_one.unfinished()
                assert found.task_id == at.sim.accepted[0].id

    on_virtual_time(main())


@pytest.mark.parametrize("forged", ["1", ""])
def test_forged_names_neither_keep_the_list_away_nor_push_out_the_right_one(forged: str) -> None:
    """Who knows the URL may name anything, often: each name costs a look a second, and the schedule stays."""

    async def main() -> None:
        async with called_back({"list_lag": 7.0}) as at:
            at.sim.intercept = lost_answer
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
            for number in range(100):
                await at.call("success", f"{forged}{number}" if forged else "")
                await asyncio.sleep(0.02)
            assert await at.call("success") == 204
            handle = await submitting
            took = asyncio.get_running_loop().time() - began
            assert handle.task_id == at.sim.accepted[0].id
            assert took < 15
            assert at.sim.requests[QUERY] <= took + 2
            assert at.sim.requests[LISTS] <= 7

    on_virtual_time(main())


def test_an_old_task_that_looks_the_same_is_not_taken_for_a_lost_one() -> None:
    """Where payloads prove nothing: it has ended, as this client knows."""

    async def main() -> None:
        async with called_back({"lists": False}) as at:
            wanted = TextToVideo(model="viduq3-turbo", prompt="the fox runs", payload="the same for all")
            waiting = asyncio.create_task(at.vidu.run(wanted))
            await asyncio.sleep(20)
            assert await at.call("success") == 204
            old = await waiting
            at.sim.intercept = lost_answer
            submitting = asyncio.create_task(at.vidu.submit(wanted))
            await asyncio.sleep(1)
            assert [await at.call("success", old.id), await at.call("success")] == [204, 204]
            assert (await submitting).task_id == at.sim.accepted[1].id

    on_virtual_time(main())


def test_a_callback_that_only_the_journal_knows_of_yet_prevents_a_resend(tmp_path: Path) -> None:
    """It was written a moment before, perhaps by another process."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async with called_back({"lists": False}, journal=path, on_unknown="resend", timeouts=Timeouts(quiet=20)) as at:
            at.sim.intercept = lost_answer
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(19)
            at.vidu._bell = None  # nobody tells this client
            with contextlib.closing(sqlite3.connect(path)) as file, file:
                token = at.sim.accepted[0].request["callback_url"].rsplit("/", 1)[1]
                file.execute("INSERT INTO callbacks (token, task_id, state) VALUES (?, '', 'success')", [token])
            with pytest.raises(SubmissionUnknownError):
                await submitting
            assert len(at.sim.accepted) == 1

    on_virtual_time(main())


def test_a_journal_that_cannot_be_written_at_the_moment_loses_no_name(tmp_path: Path) -> None:
    """What a callback named is followed up when it can."""
    path, aside = tmp_path / "tasks.db", tmp_path / "aside.db"

    async def main() -> None:
        async def slow(method: str, path: str, headers: object, body: bytes) -> Any:
            return DROP_AFTER if method == "POST" else Serve(delay=5)

        async with called_back({"lists": False}, journal=path) as at:
            at.sim.intercept = slow
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            assert await at.call("success") == 204
            await asyncio.sleep(1)
            path.rename(aside)
            await asyncio.sleep(10)
            aside.rename(path)
            await asyncio.sleep(60)
            assert [handle.task_id for handle in at.vidu.unfinished()] == [at.sim.accepted[0].id]

    on_virtual_time(main())


def test_a_task_found_by_its_callback_is_not_waited_for_as_if_none_had_come() -> None:
    """Though the look that found it was answered by a replica that lags."""

    async def main() -> None:
        async def lagging(method: str, path: str, headers: object, body: bytes) -> Any:
            if method == "POST":
                return DROP_AFTER
            at.sim.intercept = None
            answer = {"id": path.split("/")[-2], "state": "processing", "err_code": "", "creations": []}
            return Reply(200, json.dumps(answer).encode())

        async with called_back({"lists": False}, polling=Polling()) as at:
            at.sim.intercept = lagging
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(12)
            assert await at.call("success") == 204
            now = asyncio.get_running_loop().time
            began = now()
            await (await submitting)
            assert now() - began < 3

    on_virtual_time(main())


def test_what_a_callback_said_is_followed_up_in_the_next_loop() -> None:
    """Also where only this process remembers it."""
    receiver = CallbackReceiver(PUBLIC)
    with run_in_thread(Simulator(lists=False)) as sim:
        vidu = sim.client(callbacks=receiver)

        async def first() -> str:
            sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(FOX)
            sim.faults = Faults(refusals={502: 1.0}, on="everything")
            url: str = sim.accepted[0].request["callback_url"]
            body = json.dumps({"id": sim.accepted[0].id, "state": "success"}).encode()
            assert await receiver.receive("POST", url, sign_callback(url=url, key=sim.api_key), body) == 204
            sim.faults = Faults()
            return sim.accepted[0].id

        async def second() -> str:
            await vidu.credits()
            while not vidu.unfinished():
                await asyncio.sleep(0.01)
            return vidu.unfinished()[0].task_id

        assert asyncio.run(first()) == asyncio.run(second())
        asyncio.run(vidu.aclose())


def test_what_was_settled_by_hand_is_followed_up_no_more() -> None:
    """And forgotten."""

    async def main() -> None:
        async with called_back({"lists": False}) as at:
            at.sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            assert await at.call("success", "1") == 204
            (left,) = at.vidu.unresolved()
            await at.vidu.resolve(left.key, give_up=True)
            asked = at.queries
            await asyncio.sleep(60)
            assert at.queries <= asked + 1
            assert not at.vidu._reconciler._hearsay._calls

    on_virtual_time(main())


def test_a_state_that_is_told_of_another_task_is_not_believed() -> None:
    """Two tasks of one submission, by the user's consent: the first one's failure is not the second's."""

    async def main() -> None:
        async with called_back({"lists": False}, verify="hmac") as at:
            at.sim.intercept = lost_answer
            with pytest.raises(SubmissionUnknownError):
                await at.vidu.submit(FOX)
            at.sim.intercept = None
            (left,) = at.vidu.unresolved()
            handle = await at.vidu.resolve(left.key, resend=True)
            assert handle is not None
            assert await at.call("failed", at.sim.accepted[0].id) == 204
            assert handle.state == "created"
            await at.until("success")
            assert await at.call("success") == 204
            assert (await handle).id == at.sim.accepted[1].id

    on_virtual_time(main())


def test_a_callback_may_be_as_long_as_the_payload_that_it_repeats(tmp_path: Path) -> None:
    """Also for the process that comes next."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async with called_back(journal=path) as at:
            await at.vidu.submit(TextToVideo(model="viduq3-turbo", prompt="x", payload="p" * 100_000))
            assert await at.call("processing", payload="p" * 1_400_000) == 204
            assert await at.call("processing", payload="p" * 1_500_000) == 413
            await at.vidu.aclose()
            at.receiver = CallbackReceiver(PUBLIC)
            async with at.sim.client(callbacks=at.receiver, journal=path):
                assert await at.call("processing", payload="p" * 1_400_000) == 204
                assert await at.call("processing", payload="p" * 1_500_000) == 413

    on_virtual_time(main())


# Beginnings and ends


def test_one_that_comes_while_the_client_closes_leaves_its_journal_alone(tmp_path: Path) -> None:
    """A creation is on its way: nobody may take this process for dead."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async def slow(method: str, path: str, headers: object, body: bytes) -> Serve | None:
            return Serve(delay=10) if method == "POST" else None

        async with called_back(journal=path) as at, at.sim.client(journal=path) as other:
            await at.vidu.submit(FOX)
            at.sim.intercept = slow
            submitting = asyncio.create_task(at.vidu.submit(FOX))
            await asyncio.sleep(1)
            closing = asyncio.create_task(at.vidu.aclose())
            await asyncio.sleep(1)
            assert await at.call("success", url=at.sim.accepted[0].request["callback_url"]) == 204
            assert other.unresolved() == []
            await closing
            assert (await submitting).task_id == at.sim.accepted[1].id

    on_virtual_time(main())


def test_a_journal_that_was_closed_is_closed_again_after_a_late_one(tmp_path: Path) -> None:
    """Whoever made it: nothing stays open for somebody who has gone."""

    async def main() -> None:
        journal = Journal(tmp_path / "tasks.db")
        async with called_back(journal=journal) as at:
            await at.vidu.submit(FOX)
            await at.vidu.aclose()
            await journal.aclose()
            assert [await at.call("success"), await at.call("success", url=f"{PUBLIC}/unknown")] == [204, 204]
            assert not journal.is_open

    on_virtual_time(main())


def test_a_dropped_client_that_listens_is_freed(tmp_path: Path) -> None:
    """What looks into the journal for it does not keep it alive."""

    async def main() -> None:
        receiver = CallbackReceiver(PUBLIC)
        async with Simulator() as sim:
            vidu = sim.client(callbacks=receiver, journal=tmp_path / "tasks.db")
            await vidu.run(FOX)
            await vidu.aclose()
            gone = weakref.ref(vidu)
            del vidu
            gc.collect()
            assert gone() is None

    asyncio.run(main())


async def test_what_a_callback_rings_in_another_loop_is_refused_and_comes_again(tmp_path: Path) -> None:
    """503: the client is this loop's. Here the next try is right."""
    receiver = CallbackReceiver(PUBLIC)
    async with Simulator() as sim, sim.client(callbacks=receiver, polling=SELDOM) as vidu:
        waiting = asyncio.create_task((await vidu.submit(FOX)).result())
        while sim.accepted[0].state != "success":
            await asyncio.sleep(0.01)
        url = sim.accepted[0].request["callback_url"]
        headers = sign_callback(url=url, key=sim.api_key)
        elsewhere = asyncio.to_thread(asyncio.run, receiver.receive("POST", url, headers, b"{}"))
        assert [await elsewhere, await receiver.receive("POST", url, headers, b"{}")] == [503, 204]
        await waiting


async def test_the_trouble_of_one_client_keeps_the_others_from_nothing(tmp_path: Path) -> None:
    """Its journal's folder is gone."""
    receiver = CallbackReceiver(PUBLIC)
    folder = tmp_path / "gone"
    folder.mkdir()
    async with Simulator() as sim, sim.client(callbacks=receiver, polling=SELDOM) as vidu:
        broken = sim.client(callbacks=receiver, journal=folder / "tasks.db")
        await broken.run(FOX)
        await broken.aclose()
        shutil.rmtree(folder)
        waiting = asyncio.create_task((await vidu.submit(FOX)).result())
        while sim.accepted[1].state != "success":
            await asyncio.sleep(0.01)
        url = sim.accepted[1].request["callback_url"]
        assert await receiver.receive("POST", url, sign_callback(url=url, key=sim.api_key), b"{}") == 204
        await waiting
        lost = sim.accepted[0].request["callback_url"]
        assert await receiver.receive("POST", lost, sign_callback(url=lost, key=sim.api_key), b"{}") == 503


# Several of a journal


def test_two_clients_of_one_journal_both_hear_what_another_process_does(tmp_path: Path) -> None:
    """They share its object, and neither takes the news from the other."""

    async def main() -> None:
        path = tmp_path / "tasks.db"
        journal, worker = Journal(path), CallbackReceiver(PUBLIC)
        async with (
            called_back(journal=journal) as at,
            at.sim.client(callbacks=at.receiver, journal=journal, polling=SELDOM) as second,
            at.sim.client(callbacks=worker, journal=path, polling=SELDOM),
        ):
            handles = [await at.vidu.submit(FOX), await second.submit(FOX)]
            waits = [asyncio.create_task(handle.result()) for handle in handles]
            await at.until("success")
            at.receiver = worker
            now = asyncio.get_running_loop().time
            began = now()
            for task in at.sim.accepted:
                assert await at.call("success", url=task.request["callback_url"]) == 204
            await asyncio.gather(*waits)
            assert now() - began < 0.2
        await journal.aclose()

    on_virtual_time(main())


def test_one_that_another_process_hears_while_a_look_hangs_is_heard_here(tmp_path: Path) -> None:
    """Who is being asked about is waited for, too."""

    async def main() -> None:
        async def hanging(method: str, path: str, headers: object, body: bytes) -> Serve | None:
            first, at.sim.intercept = at.sim.intercept, None
            assert first
            return Serve(delay=100)

        path = tmp_path / "tasks.db"
        worker = CallbackReceiver(PUBLIC)
        async with (
            called_back(journal=path) as at,
            at.sim.client(callbacks=worker, journal=path, polling=SELDOM),
        ):
            handle = await at.vidu.submit(FOX)
            at.sim.intercept = hanging
            looking = asyncio.create_task(handle.refresh())
            waiting = asyncio.create_task(at.vidu.attach(handle.token).result())
            await at.until("success")
            at.receiver = worker
            assert await at.call("success") == 204
            await waiting
            assert asyncio.get_running_loop().time() < 30
            looking.cancel()

    on_virtual_time(main())


def test_what_came_before_a_restart_is_no_news(tmp_path: Path) -> None:
    """An old "processing" does not count as said now; nor does a row of a newer version stop the listening."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async with called_back({"time_scale": 200.0}, journal=path) as at:
            handle = await at.vidu.submit(FOX)
            await at.until("processing")
            assert await at.call("processing") == 204
            await at.vidu.aclose()
            worker = CallbackReceiver(PUBLIC)
            async with (
                at.sim.client(callbacks=at.receiver, journal=path, polling=SELDOM) as again,
                at.sim.client(callbacks=worker, journal=path, polling=SELDOM),
            ):
                (found,) = again.unfinished()
                waiting = asyncio.create_task(found.result())
                await asyncio.sleep(1)
                assert found._watch.running_by is not None  # by the first look, not by the callback
                assert found._watch.idle_until is None
                with contextlib.closing(sqlite3.connect(path)) as file, file:
                    token = at.sim.accepted[0].request["callback_url"].rsplit("/", 1)[1]
                    file.execute("INSERT INTO callbacks (token, task_id, state) VALUES (?, '', 'paused')", [token])
                await at.until("success")
                at.receiver = worker
                assert await at.call("success") == 204
                assert (await waiting).id == handle.task_id

    on_virtual_time(main())


# Floods


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_flood_has_a_task_looked_at_once_a_second(is_held: bool, delay: float) -> None:
    """Whether or not anybody holds its handle, and however slow the answers are."""

    async def main() -> int:
        async def slow(method: str, path: str, headers: object, body: bytes) -> Serve | None:
            return Serve(delay=delay) if method == "GET" else None

        async with called_back({"time_scale": 10_000.0}, verify="token+fetch") as at:
            at.sim.intercept = slow
            handle = await at.vidu.submit(FOX)
            url = at.sim.accepted[0].request["callback_url"]
            if not is_held:
                del handle
            for _ in range(100):
                assert await at.receiver.receive("POST", url, [], b'{"state": "success"}') == 204
                await asyncio.sleep(0.05)
            return at.queries

    assert run_virtual(main()) <= 6


def test_an_id_that_is_none_is_not_kept(tmp_path: Path) -> None:
    """Neither a megabyte nor a line break finds its way into the journal or the log."""
    path = tmp_path / "tasks.db"

    async def main() -> None:
        async with called_back(journal=path) as at:
            await at.vidu.submit(FOX)
            for task_id in ("9" * 1_000_000, "1\n2", "9" * 129, "9" * 128):
                assert await at.call("processing", task_id) == 204

    on_virtual_time(main())
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert [len(name) for (name,) in file.execute("SELECT task_id FROM callbacks")] == [0, 0, 0, 128]


def test_where_no_callback_ever_comes_looks_become_as_frequent_as_without(caplog: pytest.LogCaptureFixture) -> None:
    """Once, and told once; a callback that does come makes them rare again."""

    async def main() -> None:
        async with called_back({"time_scale": 300.0}, polling=Polling()) as at:
            waiting = await at.vidu.submit(FOX)
            assert waiting._watch.is_called_back
            waiting._watch.looked = None  # it is still to be waited for
            for _ in range(8):
                await at.vidu.run(FOX)
            before = (await at.vidu.submit(FOX))._watch
            assert not waiting._watch.is_called_back
            assert not before.is_called_back
            assert await at.call("processing") == 204
            after = (await at.vidu.submit(FOX))._watch
            assert after.is_called_back

    on_virtual_time(main())
    assert caplog.text.count("no callback came for 5 tasks that have ended") == 1


async def test_one_signature_sent_many_times_at_once_is_taken_once() -> None:
    """The others are to come again, and are repeats by then."""
    receiver = CallbackReceiver(PUBLIC, keys=["key"])
    headers = sign_callback(url=f"{PUBLIC}/token", key="key")
    go = asyncio.Event()

    async def slow(most: int) -> bytes:
        await go.wait()
        return b"{}"

    answers = [asyncio.create_task(receiver.answer("POST", "/token", headers, slow)) for _ in range(20)]
    await asyncio.sleep(0)
    go.set()
    assert sorted([await answer for answer in answers]) == [204, *[503] * 19]
    assert await receiver.receive("POST", "/token", headers, b"{}") == 204
    assert receiver.counts["repeated"] == 1


async def test_what_is_wrong_here_is_logged_now_and_then_whoever_asks(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand requests of anybody make one line."""
    receiver = CallbackReceiver(PUBLIC)
    for _ in range(1_000):
        assert await receiver.receive("POST", "/token", sign_callback(url=f"{PUBLIC}/token", key="x"), b"{}") == 503
    assert len(caplog.records) == 1


def test_a_nonce_is_remembered_as_long_as_its_date_is_accepted() -> None:
    """Twice `max_age`: before the date, and after it."""

    async def main() -> None:
        now = 1_746_533_382.0
        receiver = CallbackReceiver(PUBLIC, keys=["key"], max_age=3600, clock=lambda: now)
        date = "Tue, 06 May 2025 12:09:42 GMT"
        headers = sign_callback(url=f"{PUBLIC}/token", key="key", date=date)
        for off in (-3599, 0, 601, 3599):
            now = 1_746_533_382.0 + off
            assert await receiver.receive("POST", "/token", headers, b"{}") == 204
        assert receiver.counts == {"unknown": 1, "repeated": 3}

    asyncio.run(main())
