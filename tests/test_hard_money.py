"""Hard cases of the paid call: races, second losses, and what a careless client would pay twice or never hear of."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty
import pytest
import trustme
from pictures import png

from vidu_async import (
    APIError,
    ConfigError,
    Gateway,
    IdempotencyConflictError,
    ImageToVideo,
    InsufficientCreditsError,
    JournalError,
    Limits,
    RequestTimeoutError,
    SubmissionUnknownError,
    TaskHandle,
    TextToVideo,
    Timeouts,
    ViduClient,
)
from vidu_async.testing import DROP_AFTER, Faults, Reply, Simulator, run_virtual

FOX = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
OWL = TextToVideo(model="viduq3-turbo", prompt="the owl flies")


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Either of the two journals."""
    return tmp_path / "journal.db" if request.param == "file" else None


def creations(*verdicts: Any) -> Callable[..., Any]:
    """Return an intercept that gives the first creations these verdicts, and leaves the others alone."""
    left = list(verdicts)

    async def intercept(method: str, *_: object) -> Any:
        return left.pop(0) if method == "POST" and left else None

    return intercept


# The bytes


@pytest.mark.parametrize("size", [0, 20_000, 100_000, 3_000_000])
async def test_a_body_of_any_size_goes_out_over_tls(size: int) -> None:
    """In pieces, each of which has left the process before the next is made."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    picture = png(size=500 + size)
    async with (
        faulty.FaultyServer(tls=context) as server,
        ViduClient("test-key", base_url=server.url, ssl=trusting, timeouts=Timeouts(write=5)) as vidu,
    ):
        await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[picture]))
    (asked,) = server.creations
    assert len(asked.body) > size * 4 / 3


@pytest.mark.slow
async def test_an_upload_that_stands_still_leaves_nothing_open() -> None:
    """Neither descriptors, nor bytes that would go out when nobody listens any more."""
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        door.bind(("127.0.0.1", 0))
        door.listen(50)
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        timeouts = Timeouts(write=0.1, read=0.1, quiet=0.05)
        async with ViduClient("test-key", base_url=url, timeouts=timeouts) as vidu:
            before = len(os.listdir("/proc/self/fd"))
            with pytest.raises(RequestTimeoutError):
                await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[png(size=6_000_000)]))
            await asyncio.sleep(0)
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) <= before


# Sent again by consent


def test_the_last_look_is_made_before_anything_is_sent_again() -> None:
    """A task that the list shows only after three minutes is found, and paid once."""

    async def main() -> None:
        async with (
            Simulator(intercept=creations(DROP_AFTER), list_lag=400, time_scale=600) as sim,
            sim.client(on_unknown="resend", timeouts=Timeouts()) as vidu,
        ):
            handle = await vidu.submit(FOX)
            assert [handle.task_id] == list(sim.tasks)

    run_virtual(main())


def test_nothing_is_sent_again_where_nobody_could_look() -> None:
    """A list that fails shows nothing, which is not the same as not showing the task."""

    async def no_list(method: str, path: str, *_: object) -> Any:
        if method == "POST":
            return DROP_AFTER
        return Reply(500, {"code": 500, "reason": "InternalServiceFailure"}) if path.endswith("/tasks") else None

    async def main() -> None:
        async with Simulator(intercept=no_list) as sim, sim.client(on_unknown="resend", timeouts=Timeouts()) as vidu:
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(FOX)
            assert len(sim.accepted) == 1

    run_virtual(main())


async def test_nothing_is_sent_again_while_a_listed_task_cannot_be_asked_for_its_payload() -> None:
    """It may be the lost one: a replica that queries are answered from may lag behind the list."""
    async with (
        Simulator(intercept=creations(DROP_AFTER), query_lag=3600) as sim,
        sim.client(on_unknown="resend", timeouts=Timeouts(quiet=0.3)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX)
        assert len(sim.accepted) == 1


async def test_a_refusal_of_the_second_attempt_says_nothing_of_the_first(journal: Path | None) -> None:
    """The first may be paid: it stays unresolved, and can be sent again once more."""
    refusal = Reply(400, {"code": 400, "reason": "FieldInvalid", "message": "no"})
    async with (
        Simulator(intercept=creations(DROP_AFTER, refusal), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        with pytest.raises(APIError, match="FieldInvalid") as caught:
            await vidu.resolve("fox", resend=True)
        assert caught.value.paid == "maybe"
        (row,) = vidu.unresolved()
        assert (row.key, row.state, row.possible_duplicate) == ("fox", "held", True)
        sim._service.list_lag = 0.0
        await vidu.reconcile()  # unless a look in the background was first
        (handle,) = vidu.unfinished()
        assert [handle.task_id] == list(sim.tasks)


async def test_a_second_loss_is_looked_for_like_the_first(journal: Path | None) -> None:
    """And not sent a third time."""
    settings: dict[str, Any] = {"on_unknown": "resend", "timeouts": Timeouts(quiet=0.6), "journal": journal}
    async with (
        Simulator(intercept=creations(Reply(502, ""), DROP_AFTER)) as sim,
        sim.client(**settings) as vidu,
    ):
        assert [(await vidu.submit(FOX)).task_id] == list(sim.tasks)
    async with (
        Simulator(intercept=creations(*[Reply(502, "")] * 3)) as sim,
        sim.client(**settings) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX)
        async with asyncio.timeout(5):
            while [row.state for row in vidu.unresolved()] != ["held"]:
                await asyncio.sleep(0.05)
        assert sim.requests["POST /ent/v2/text2video"] == 2


async def test_what_is_still_looked_for_is_not_sent_again_beside_it(journal: Path | None) -> None:
    """The search may find it in the next moment."""
    async with (
        Simulator(intercept=creations(DROP_AFTER), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=20)) as vidu,
    ):
        caller = asyncio.create_task(vidu.submit(FOX, key="fox"))
        while not vidu.unresolved():
            await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="still being looked for"):
            await vidu.resolve("fox", resend=True)
        with pytest.raises(SubmissionUnknownError):
            await caller
        assert len(sim.accepted) == 1


async def test_a_key_given_up_never_gets_its_old_request_for_a_new_one(journal: Path | None) -> None:
    """The owl is lost, too: the fox that shows up in the list is not taken for it."""
    async with (
        Simulator(intercept=creations(DROP_AFTER, Reply(502, "")), list_lag=0.5) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="mine")
        await vidu.resolve("mine", give_up=True)
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(OWL, key="mine")
        await asyncio.sleep(0.6)
        assert len(sim.tasks) == 1
        assert await vidu.reconcile() == []
        assert [row.key for row in vidu.unresolved()] == ["mine"]


# Races


async def test_who_loses_a_race_for_a_row_leaves_the_winners_alone(tmp_path: Path) -> None:
    """Whatever has become of the locks: what another has on its way is not called unsent."""
    path = tmp_path / "journal.db"
    async with faulty.FaultyServer(creates=[faulty.hang]) as server:
        gateway = Gateway(base_url=server.url, lists=False)
        loser = ViduClient("test-key", gateway=gateway, journal=path)
        winner = ViduClient("test-key", gateway=gateway, journal=path, timeouts=Timeouts(read=0.3))
        async with loser, winner:
            loser._limiter.close_for(0.3)
            first = asyncio.create_task(loser.submit(FOX, key="fox"))
            await asyncio.sleep(0.05)
            shutil.rmtree(f"{path}-owners")  # as a cleaner of temporary files would
            Path(f"{path}-owners").mkdir()
            second = asyncio.create_task(winner.submit(FOX, key="fox"))
            with pytest.raises(JournalError, match="another process") as caught:
                await first
            assert caught.value.paid == "no"
            with pytest.raises(SubmissionUnknownError):
                await second
    assert len(server.creations) == 1


async def test_a_claim_cancelled_while_the_file_is_busy_leaves_the_key_free(tmp_path: Path) -> None:
    """Even if somebody keeps the error."""
    path = tmp_path / "journal.db"
    async with Simulator() as sim, sim.client(journal=path) as vidu:
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
        (kept,) = await asyncio.gather(asyncio.wait_for(vidu.submit(FOX, key="fox"), 0.1), return_exceptions=True)
        assert isinstance(kept, TimeoutError)
        other.rollback()
        other.close()
        async with asyncio.timeout(10):
            assert isinstance(await vidu.submit(FOX, key="fox"), TaskHandle)


async def test_what_the_user_settles_meanwhile_is_what_the_caller_gets(journal: Path | None) -> None:
    """A search that is overtaken does not say that nobody knows."""
    async with (
        Simulator(intercept=creations(DROP_AFTER), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=20)) as vidu,
    ):
        caller = asyncio.create_task(vidu.submit(FOX, key="fox"))
        while not vidu.unresolved():
            await asyncio.sleep(0.01)
        (task_id,) = sim.tasks
        settled = await vidu.resolve("fox", task_id=task_id)
        assert settled is not None
        await settled
        assert (await caller).task_id == task_id


async def test_settling_twice_at_once_is_refused_the_second_time(journal: Path | None) -> None:
    """With an error that says so."""
    async with (
        Simulator(intercept=creations(DROP_AFTER), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        (task_id,) = sim.tasks
        both = (vidu.resolve("fox", task_id=task_id) for _ in range(2))
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["ConfigError", "TaskHandle"]


def test_a_429_closes_the_gate_before_the_place_is_given_on() -> None:
    """With one place, nobody slips through while the server has asked for two seconds."""

    async def main() -> None:
        moments: list[float] = []

        async def busy_at_first(connection: faulty.Connection, asked: faulty.Asked) -> None:
            moments.append(asyncio.get_running_loop().time())
            busy = faulty.refuse(429, "TooManyRequests", Retry_After="2")
            await (busy if moments[-1] < 1 else faulty.created())(connection, asked)

        async with (
            faulty.FaultyServer(creates=[busy_at_first]) as server,
            ViduClient("test-key", base_url=server.url, limits=Limits(submissions=1)) as vidu,
        ):
            await asyncio.gather(*(vidu.submit(FOX) for _ in range(4)))
        assert [moment < 1 for moment in moments] == [True, False, False, False, False]

    run_virtual(main())


# What proves a task, and what does not


@pytest.mark.parametrize("row", [{"model": "their own name"}, {"duration": 0}, {"model": "VIDUQ3-TURBO"}])
async def test_a_list_that_tells_of_a_task_in_words_of_its_own_hides_nothing(row: dict[str, Any]) -> None:
    """Only its payload counts."""
    lost: list[bytes] = []

    async def lose(connection: faulty.Connection, asked: faulty.Asked) -> None:
        lost.append(asked.body)

    async def page(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.answer(200, {"tasks": [{"id": "7", "state": "success", **row}], "next_page_token": ""})

    async def look(connection: faulty.Connection, _: faulty.Asked) -> None:
        payload = json.loads(lost[0])["payload"]
        await faulty.success(payload=payload)(connection, _)

    async with (
        faulty.FaultyServer(creates=[lose], looks=[look], others={"GET /ent/v2/tasks": page}) as server,
        ViduClient("test-key", base_url=server.url, timeouts=Timeouts(quiet=1)) as vidu,
    ):
        assert (await vidu.submit(FOX)).task_id == "7"


async def test_a_task_with_another_payload_is_nobody_elses(journal: Path | None) -> None:
    """Not even by the user's word."""
    async with (
        Simulator(intercept=creations(DROP_AFTER), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        stranger = ViduClient(sim.api_key, gateway=sim.gateway)
        other = await stranger.submit(TextToVideo(model="viduq3-turbo", prompt="the fox runs", payload="row 18"))
        await stranger.aclose()
        with pytest.raises(ConfigError, match="another submission"):
            await vidu.resolve("fox", task_id=other.task_id)


async def test_a_payload_used_before_proves_nothing_although_its_task_has_ended(journal: Path | None) -> None:
    """Memory is as careful as the file."""
    mine = TextToVideo(model="viduq3-turbo", prompt="the fox runs", payload="same")
    async with Simulator() as sim, sim.client(journal=journal, timeouts=Timeouts(quiet=1)) as vidu:
        await vidu.run(mine)
        sim.intercept = creations(Reply(502, ""))
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(mine)


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "soon", ""])
async def test_a_senseless_date_of_a_list_is_not_believed(date: str) -> None:
    """It is no reason to fail."""

    async def page(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.answer(200, {"tasks": [], "next_page_token": ""}, Date=date)

    async with (
        faulty.FaultyServer(creates=[faulty.reset], others={"GET /ent/v2/tasks": page}) as server,
        ViduClient("test-key", base_url=server.url, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX)
        assert await vidu.reconcile() == []


async def test_the_same_id_at_two_gateways_is_two_tasks(tmp_path: Path) -> None:
    """In one file: the end of one is not the end of the other, and each client settles its own only."""
    path, ids = tmp_path / "journal.db", (lambda: "1001")
    failing = Simulator(new_id=ids, fails=lambda _: "AuditFailed")
    async with Simulator(new_id=ids) as one, failing as two:
        async with one.client(journal=path) as a, two.client(journal=path) as b:
            good = await a.submit(FOX, key="good")
            await (await b.submit(FOX, key="bad")).wait()
            assert [handle.key for handle in a.unfinished()] == ["good"]
            assert b.unfinished() == []
            two.intercept = creations(DROP_AFTER)
            await good
        async with two.client(journal=path, gateway=Gateway(base_url=two.url, lists=False)) as b:
            two.intercept, two._service.account.new_id = creations(DROP_AFTER), lambda: "1002"
            with pytest.raises(SubmissionUnknownError):
                await b.submit(OWL, key="lost")
            async with one.client(journal=path) as a:
                with pytest.raises(ConfigError, match="only a client of that gateway"):
                    await a.resolve("lost", give_up=True)


async def test_another_request_is_no_new_try_of_a_failed_one(journal: Path | None) -> None:
    """`retry_failed` is about the request that failed."""
    async with Simulator(faults=Faults(failures={"AuditFailed": 1})) as sim, sim.client(journal=journal) as vidu:
        await (await vidu.submit(FOX, key="fox")).wait()
        with pytest.raises(IdempotencyConflictError):
            await vidu.submit(OWL, key="fox", retry_failed=True)


async def test_what_stopped_all_submissions_is_told_with_each(journal: Path | None) -> None:
    """In one readable sentence, with what to do."""
    async with Simulator(credits=0) as sim, sim.client(journal=journal) as vidu:
        with pytest.raises(InsufficientCreditsError):
            await vidu.submit(FOX)
        with pytest.raises(InsufficientCreditsError) as caught:
            await vidu.submit(FOX, key="fox")
        assert "not sent, since all submissions stopped at the first such answer" in str(caught.value)
        assert str(caught.value).endswith("Buy credits, then submit again. Then call client.resume().")
        assert (caught.value.paid, caught.value.key, caught.value.phase) == ("no", "fox", "queued")
        assert sum(sim.requests.values()) == 1


async def test_what_was_found_is_not_kept_for_a_second_sending(journal: Path | None) -> None:
    """Bodies may be large."""
    async with (
        Simulator(intercept=creations(DROP_AFTER, DROP_AFTER)) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=1)) as vidu,
    ):
        await vidu.submit(FOX)
        sim._service.list_lag = 1_000.0
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(OWL, key="owl")
        assert list(vidu._outbox._lost) == ["owl"]
        sim._service.list_lag = 0.0
        await vidu.reconcile()
        assert not vidu.unresolved()
        assert vidu._outbox._lost == {}


async def test_a_journal_that_cannot_be_opened_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the error; nothing is logged beside it."""
    with pytest.raises(JournalError, match="does not exist"):
        async with ViduClient("test-key", journal=tmp_path / "nowhere" / "journal.db"):
            pass
    assert caplog.text == ""


def test_asking_a_journal_as_the_interpreter_ends_says_so(tmp_path: Path) -> None:
    """There are no threads any more; it does not wait for one."""
    program = f"""
import atexit
from vidu_async import Journal, JournalError
journal = Journal({str(tmp_path / "j.db")!r})
@atexit.register
def at_the_end():
    for _ in range(2):
        try:
            journal.unresolved("x")
        except JournalError as error:
            print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("JournalError\nJournalError\n", "", 0)
