"""Creations whose answer was lost: found by what their tasks repeat, or told, or settled by the user's own word."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import faulty
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    ConfigError,
    NotFoundError,
    ServerError,
    SubmissionUnknownError,
    TaskState,
    TextToVideo,
    Timeouts,
    ViduClient,
)
from vidu_async.evidence import candidates, proven, windows
from vidu_async.journal import Row, hashed
from vidu_async.protocol.models import Task
from vidu_async.testing import DROP_AFTER, Reply, Serve, Simulator, run_virtual

FOX = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
OWL = TextToVideo(model="viduq3-turbo", prompt="the owl flies")


def losing(most: int = 1, verdict: Any = DROP_AFTER) -> Callable[..., Any]:
    """Return an intercept that loses the answers of the first creations, each accepted all the same."""
    left = most

    async def intercept(method: str, path: str, *_: object) -> Any:
        nonlocal left
        if method == "POST" and left:
            left -= 1
            return verdict
        return None

    return intercept


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Either of the two journals."""
    return tmp_path / "journal.db" if request.param == "file" else None


@pytest.fixture
async def lost(journal: Path | None) -> AsyncIterator[tuple[Simulator, ViduClient]]:
    """A service that lists tasks only much later, and a client that has lost one answer there, named "fox"."""
    async with (
        Simulator(intercept=losing(), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        yield sim, vidu


def listed_at_once(sim: Simulator) -> None:
    """Let the list lag no more."""
    sim._service.list_lag = 0.0


async def test_a_lost_answer_costs_the_caller_nothing_but_a_moment(journal: Path | None) -> None:
    """The task is found in the list by its payload, and `submit` returns its handle."""
    async with Simulator(intercept=losing()) as sim, sim.client(journal=journal) as vidu:
        handle = await vidu.submit(FOX, key="fox")
        task = await handle
        assert [task.id] == list(sim.tasks)
        assert task.payload is None
        assert vidu.unresolved() == []
        assert (await vidu.submit(FOX, key="fox")).task_id == handle.task_id
    assert len(sim.accepted) == 1


async def test_each_of_two_like_tasks_is_told_from_the_other(journal: Path | None) -> None:
    """Nothing but the token tells them apart."""
    async with Simulator(intercept=losing(4)) as sim, sim.client(journal=journal) as vidu:
        handles = await asyncio.gather(*(vidu.submit(FOX, key=f"fox-{number}") for number in range(4)))
    assert {handle.task_id for handle in handles} == set(sim.tasks)


async def test_a_payload_of_ones_own_is_sent_as_it_is_and_proves_as_much(journal: Path | None) -> None:
    """As long as no other submission has the same."""
    mine = TextToVideo(model="viduq3-turbo", prompt="the fox runs", payload='{"row": 17}')
    async with Simulator(intercept=losing()) as sim, sim.client(journal=journal) as vidu:
        task = await vidu.run(mine)
        assert task.payload == sim.accepted[0].payload == '{"row": 17}'


async def test_a_payload_that_two_submissions_share_proves_nothing(journal: Path | None) -> None:
    """Either task may be either's: the user is told."""
    mine = TextToVideo(model="viduq3-turbo", prompt="the fox runs", payload="same")
    async with Simulator() as sim, sim.client(journal=journal) as vidu:
        await vidu.submit(mine, key="first")
        sim.intercept = losing()
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(mine, key="second")
        assert [row.key for row in vidu.unresolved()] == ["second"]


async def test_what_was_never_accepted_is_held_and_not_sent_again(journal: Path | None) -> None:
    """A search that finds nothing proves nothing: the list may lag."""
    broken = losing(verdict=Reply(502, "<html>bad gateway</html>"))
    async with (
        Simulator(intercept=broken) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError) as caught:
            await vidu.submit(FOX, key="fox")
        assert (caught.value.paid, caught.value.phase, caught.value.endpoint) == ("maybe", "committed", "text2video")
        async with asyncio.timeout(5):
            while vidu.unresolved()[0].state != "held":
                await asyncio.sleep(0.01)
        (row,) = vidu.unresolved()
        assert (row.key, row.token) == ("fox", caught.value.token)
        assert row.committed_at is not None
        assert abs(datetime.now(UTC) - row.committed_at) < timedelta(minutes=5)
        assert "502" in row.evidence
        assert await vidu.reconcile() == []
        with pytest.raises(SubmissionUnknownError, match="sent before"):
            await vidu.submit(FOX, key="fox")
    assert sim.accepted == []
    assert sim.requests["POST /ent/v2/text2video"] == 1


async def test_a_task_that_shows_up_late_is_found_by_itself(
    lost: tuple[Simulator, ViduClient], caplog: pytest.LogCaptureFixture
) -> None:
    """The looks go on after the caller was told."""
    sim, vidu = lost
    listed_at_once(sim)
    async with asyncio.timeout(5):
        while vidu.unresolved():
            await asyncio.sleep(0.01)
    (handle,) = vidu.unfinished()
    assert [handle.task_id] == list(sim.tasks)
    assert (await handle).has_result


async def test_reconcile_finds_what_was_held(lost: tuple[Simulator, ViduClient]) -> None:
    """It returns the handles; the same key then gives the same task."""
    sim, vidu = lost
    async with asyncio.timeout(5):
        while vidu.unresolved()[0].state != "held":
            await asyncio.sleep(0.01)
    listed_at_once(sim)
    (handle,) = await vidu.reconcile()
    assert [handle.task_id] == list(sim.tasks)
    assert (await vidu.submit(FOX, key="fox")).task_id == handle.task_id
    assert await vidu.reconcile() == []
    assert len(sim.accepted) == 1


async def test_reconcile_raises_what_kept_it_from_looking(lost: tuple[Simulator, ViduClient]) -> None:
    """Nothing is lost by it."""
    sim, vidu = lost

    async def down(*_: object) -> Reply:
        return Reply(500, {"code": 500, "reason": "InternalServiceFailure"})

    sim.intercept = down
    with pytest.raises(ServerError):
        await vidu.reconcile()
    assert len(vidu.unresolved()) == 1


async def test_one_look_serves_all_that_are_lost(journal: Path | None) -> None:
    """Twenty lost answers do not ask the list twenty times as often."""
    async with (
        Simulator(intercept=losing(20)) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=10)) as vidu,
    ):
        await asyncio.gather(*(vidu.submit(FOX) for _ in range(20)))
        assert sim.requests["GET /ent/v2/tasks"] <= 20
        assert sim.requests["GET /ent/v2/tasks/{id}/creations"] <= 40


async def test_strangers_are_queried_once(lost: tuple[Simulator, ViduClient]) -> None:
    """An account has other tasks; what they repeat never changes."""
    sim, vidu = lost
    async with sim.client() as other:
        strangers = [await other.submit(FOX) for _ in range(5)]
    listed_at_once(sim)
    lost_id = next(iter(sim.tasks))
    before = sim.requests["GET /ent/v2/tasks/{id}/creations"]
    found = await vidu.reconcile()
    assert [handle.task_id for handle in found] in ([lost_id], [])  # the looks in the background may have been first
    await vidu.reconcile()
    assert sim.requests["GET /ent/v2/tasks/{id}/creations"] - before <= 2 * (len(strangers) + 1)


async def test_a_task_seen_before_its_answer_was_lost_is_found_all_the_same(journal: Path | None) -> None:
    """Another's search may come across it while its own creation is still being answered."""

    async def lose(method: str, _path: str, _headers: object, body: bytes) -> Any:
        if method == "POST":
            return Serve(delay=0.5, cut=True) if b"the owl" in body else DROP_AFTER
        return None

    async with (
        Simulator(intercept=lose) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=4)) as vidu,
    ):
        owl = asyncio.create_task(vidu.submit(OWL))
        while not sim.accepted:
            await asyncio.sleep(0.005)
        fox = await vidu.submit(FOX)
        assert not owl.done()
        assert {fox.task_id, (await owl).task_id} == set(sim.tasks)


async def test_a_gateway_without_a_list_is_not_waited_for(journal: Path | None) -> None:
    """The caller is told at once, and the submission is held."""
    async with Simulator(intercept=losing(), lists=False) as sim, sim.client(journal=journal) as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        async with asyncio.timeout(5):
            while vidu.unresolved()[0].state != "held":
                await asyncio.sleep(0.01)
        assert await vidu.reconcile() == []


async def test_a_task_that_only_looks_alike_is_shown_and_not_taken(journal: Path | None) -> None:
    """A gateway that repeats no payload leaves the choice to the user."""

    async def mute(method: str, path: str, _: object, body: bytes) -> Any:
        if method == "POST":
            return DROP_AFTER
        if path.endswith("/creations"):
            return Reply(200, {"id": path.split("/")[4], "state": "processing", "creations": []})
        return None

    async with Simulator(intercept=mute) as sim, sim.client(journal=journal) as vidu:
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX, key="fox")
        (row,) = vidu.unresolved()
        assert row.likely == tuple(sim.tasks)
        sim.intercept = None
        handle = await vidu.resolve("fox", task_id=row.likely[0])
        assert handle is not None
        assert (await handle).has_result
        assert vidu.unresolved() == []


async def test_an_endpoint_that_repeats_no_payload_is_told_of_once(
    journal: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What is lost there may not be found, which is good to know before."""
    answer = Reply(200, {"task_id": "7", "state": "created"})
    async with Simulator(intercept=losing(2, answer)) as sim, sim.client(journal=journal) as vidu:
        await vidu.submit(FOX)
        await vidu.submit(OWL)
    assert caplog.text.count("does not repeat the payload") == 1


async def test_one_submission_that_became_two_tasks_is_told(
    journal: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway may have sent it twice by itself; the older is used."""
    first: list[bytes] = []

    async def twice(method: str, path: str, _: object, body: bytes) -> Any:
        if method == "POST":
            first.append(body)
            return DROP_AFTER
        return None

    async with (
        Simulator(intercept=twice, list_lag=0.1) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=20)) as vidu,
    ):
        submission = asyncio.create_task(vidu.submit(FOX, key="fox"))
        while not first:
            await asyncio.sleep(0.005)
        sim.intercept = None
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {sim.api_key}", "Content-Type": "application/json"}
            async with session.post(f"{sim.url}/ent/v2/text2video", data=first[0], headers=headers) as answer:
                assert answer.status == 200
        handle = await submission
    assert handle.task_id == min(sim.tasks)
    assert "became several tasks" in caplog.text


# The user's word


async def test_resolving_with_a_task_adopts_it(lost: tuple[Simulator, ViduClient]) -> None:
    """The one that the user found."""
    sim, vidu = lost
    (task_id,) = sim.tasks
    handle = await vidu.resolve("fox", task_id=task_id)
    assert handle is not None
    assert (handle.task_id, handle.key) == (task_id, "fox")
    assert (await handle).state is TaskState.SUCCESS
    assert vidu.unresolved() == []
    assert vidu.unfinished() == []


async def test_resolving_with_another_submissions_task_is_refused(lost: tuple[Simulator, ViduClient]) -> None:
    """Its payload names whose it is."""
    _, vidu = lost
    owl = await vidu.submit(OWL, key="owl")
    with pytest.raises(ConfigError, match="another submission"):
        await vidu.resolve("fox", task_id=owl.task_id)
    with pytest.raises(NotFoundError):
        await vidu.resolve("fox", task_id="1")
    assert [row.key for row in vidu.unresolved()] == ["fox"]


async def test_resolving_by_sending_again_is_the_users_consent(lost: tuple[Simulator, ViduClient]) -> None:
    """It may be paid twice, and is, here; the journal says so."""
    sim, vidu = lost
    handle = await vidu.resolve("fox", resend=True)
    assert handle is not None
    assert (await handle).has_result
    assert len(sim.accepted) == 2
    assert sim.accepted[0].payload == sim.accepted[1].payload
    assert vidu.unresolved() == []
    row = vidu._journal.find("fox")
    assert row is not None
    assert (row.possible_duplicate, row.attempt) == (True, 2)


async def test_an_unnamed_submission_is_sent_again_by_the_key_of_its_error(journal: Path | None) -> None:
    """Every submission has a name."""
    async with (
        Simulator(intercept=losing(), list_lag=3600) as sim,
        sim.client(journal=journal, timeouts=Timeouts(quiet=0.1)) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError) as caught:
            await vidu.submit(FOX)
        assert caught.value.key is not None
        handle = await vidu.resolve(caught.value.key, resend=True)
        assert handle is not None
        assert handle.task_id == sim.accepted[1].id


async def test_a_task_that_the_server_no_longer_knows_can_be_let_go(journal: Path | None) -> None:
    """Else it would be unfinished for ever, and its key worth nothing."""
    async with Simulator() as sim, sim.client(journal=journal) as vidu:
        handle = await vidu.submit(FOX, key="fox")
        sim._account.tasks.clear()
        assert await vidu.resolve("fox", give_up=True) is None
        assert vidu.unfinished() == []
        again = await vidu.submit(FOX, key="fox")
        assert [again.task_id] == list(sim.tasks) != [handle.task_id]


async def test_giving_up_frees_the_key(lost: tuple[Simulator, ViduClient]) -> None:
    """Also for another request."""
    sim, vidu = lost
    assert await vidu.resolve("fox", give_up=True) is None
    assert vidu.unresolved() == []
    assert (await vidu.submit(OWL, key="fox")).task_id == sim.accepted[1].id


async def test_what_is_not_unresolved_is_not_resolved(lost: tuple[Simulator, ViduClient]) -> None:
    """A typo in a key, a task that is known, no way or two ways."""
    _, vidu = lost
    await vidu.submit(OWL, key="owl")
    with pytest.raises(ConfigError, match="'fux' is not in the journal"):
        await vidu.resolve("fux", give_up=True)
    with pytest.raises(ConfigError, match="'owl' is accepted, not unresolved"):
        await vidu.resolve("owl", resend=True)
    mistakes: list[dict[str, Any]] = [
        {},
        {"resend": True, "give_up": True},
        {"task_id": "1", "resend": True},
        {"task_id": 1},
        {"give_up": "yes"},
        {"resend": "yes", "give_up": True},
    ]
    for ways in mistakes:
        with pytest.raises(ConfigError, match="takes one of|must be"):
            await vidu.resolve("fox", **ways)


def test_on_unknown_resend_sends_again_after_the_quiet_time() -> None:
    """By the user's choice, and only once."""

    async def main() -> None:
        async with (
            Simulator(intercept=losing(verdict=Reply(502, ""))) as sim,
            sim.client(on_unknown="resend", timeouts=Timeouts()) as vidu,
        ):
            handle = await vidu.submit(FOX, key="fox")
            assert asyncio.get_running_loop().time() > 590
            assert [handle.task_id] == list(sim.tasks)
            assert sim.requests["POST /ent/v2/text2video"] == 2

    run_virtual(main())


# After a crash


async def test_a_new_client_takes_up_what_an_earlier_one_left(tmp_path: Path) -> None:
    """Accepted tasks are waited for, lost ones found, by the file alone; nothing is sent."""
    path = tmp_path / "journal.db"
    async with Simulator(intercept=losing(), list_lag=3600, time_scale=3) as sim:
        async with sim.client(journal=path, timeouts=Timeouts(quiet=0.1)) as vidu:
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(FOX, key="fox")
            owl = await vidu.submit(OWL, key="owl")
        listed_at_once(sim)
        sent = sim.requests["POST /ent/v2/text2video"]
        async with sim.client(journal=path) as vidu:
            async with asyncio.timeout(5):
                while vidu.unresolved():
                    await asyncio.sleep(0.01)
            tasks = {handle.key: await handle for handle in vidu.unfinished()}
            assert {task.id for task in tasks.values()} == set(sim.tasks)
            assert tasks["owl"].id == owl.task_id
            assert vidu.unfinished() == []
        assert sim.requests["POST /ent/v2/text2video"] == sent


async def test_after_a_restart_consent_lets_the_next_submission_through(tmp_path: Path) -> None:
    """The journal holds no request: who has it submits it again, under the same key and token."""
    path = tmp_path / "journal.db"
    async with Simulator(intercept=losing(), list_lag=3600) as sim:
        async with sim.client(journal=path, timeouts=Timeouts(quiet=0.1)) as vidu:
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(FOX, key="fox")
        async with sim.client(journal=path) as vidu:
            assert await vidu.resolve("fox", resend=True) is None
            handle = await vidu.submit(FOX, key="fox")
            assert handle.task_id == sim.accepted[1].id
        assert sim.accepted[0].payload == sim.accepted[1].payload


async def test_another_gateways_submissions_are_none_of_a_clients(tmp_path: Path) -> None:
    """One file may serve several; a key names one submission in all of it."""
    path = tmp_path / "journal.db"
    async with Simulator() as one, Simulator() as two:
        async with one.client(journal=path) as vidu:
            await vidu.submit(FOX, key="fox")
        async with two.client(journal=path) as vidu:
            assert vidu.unfinished() == []
            with pytest.raises(Exception, match="already names another request at"):
                await vidu.submit(FOX, key="fox")
        assert two.accepted == []


async def test_a_failed_task_is_created_anew_only_when_asked_for(tmp_path: Path, journal: Path | None) -> None:
    """The same key gives the failed task until then."""
    dooms = iter(["AuditFailed"])
    async with Simulator(fails=lambda _: next(dooms, None)) as sim, sim.client(journal=journal) as vidu:
        first = await vidu.submit(FOX, key="fox")
        await first.wait()
        assert (await vidu.submit(FOX, key="fox")).task_id == first.task_id
        again = await vidu.submit(FOX, key="fox", retry_failed=True)
        assert again.task_id == sim.accepted[1].id
        assert (await again).has_result
        assert (await vidu.submit(FOX, key="fox", retry_failed=True)).task_id == again.task_id
    assert len(sim.accepted) == 2


# What is looked for, and what proves it


ROWS = st.builds(
    Row,
    key=st.text(min_size=1),
    committed_at=st.floats(1.7e9, 1.8e9),
    model=st.sampled_from(["", "a", "b"]),
    duration=st.sampled_from([None, 4.0, 8.0]),
    prompt=st.sampled_from(["", hashed("x"), hashed("y")]),
)


@given(st.lists(ROWS, max_size=20), st.floats(60, 4000))
def test_every_lost_creation_is_looked_for_in_its_time(rows: list[Row], skew: float) -> None:
    """Each in one time that holds its own with all doubts, and no two times touch."""
    found = windows(rows, skew)
    assert sorted(row.key for _, _, group in found for row in group) == sorted(row.key for row in rows)
    for since, until, group in found:
        for row in group:
            moment = row.committed_at or 0.0
            assert since.timestamp() <= moment - skew + 1
            assert until.timestamp() >= moment + 120 + skew - 1
    assert all(one[1] < two[0] for one, two in itertools.pairwise(found))


@given(ROWS, st.sampled_from([None, "a", "b"]), st.sampled_from([None, 4.0, 8.0]), st.sampled_from([None, "x", "z"]))
def test_whatever_carries_the_token_is_a_candidate_and_proven(
    row: Row, model: str | None, length: float | None, prompt: str | None
) -> None:
    """Whatever else the list tells of it, before all others; and nothing else is proven."""
    task = Task("1", TaskState.CREATED, model=model, duration=length, prompt=prompt, stamp=row.token)
    other = Task("2", TaskState.CREATED, model=model, duration=length, prompt=prompt, stamp="a" * 26)
    plain = Task("3", TaskState.CREATED, model=model, duration=length, prompt=prompt)
    assert proven(task, [row], lambda _: True) is row
    assert proven(other, [row], lambda _: True) is None
    assert proven(plain, [row], lambda _: True) is None
    assert candidates([other, plain, task], [row], {}) == [task, plain]
    assert candidates([task], [row], {"1": "another token"}) == []


async def test_a_clock_that_is_hours_off_hides_nothing() -> None:
    """The server's answers show its time, and the tasks of that time are listed, too."""
    asked: list[str] = []

    async def page(connection: faulty.Connection, question: faulty.Asked) -> None:
        asked.append(unquote(question.path))
        date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
        await connection.answer(200, {"tasks": [], "next_page_token": ""}, Date=date)

    timeouts = Timeouts(quiet=0.1)
    async with (
        faulty.FaultyServer(creates=[faulty.reset], others={"GET /ent/v2/tasks": page}) as server,
        ViduClient("test-key", base_url=server.url, timeouts=timeouts) as vidu,
    ):
        with pytest.raises(SubmissionUnknownError):
            await vidu.submit(FOX)
    until = [datetime.fromisoformat(path.partition("created_at.to=")[2].partition("&")[0]) for path in asked]
    assert until[0] < datetime.now(UTC) + timedelta(hours=1)
    assert until[-1] > datetime.now(UTC) + timedelta(hours=2)
