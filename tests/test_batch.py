"""A batch: every item has its outcome, nothing is paid twice, and no cap is passed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import faulty
import pytest

from vidu_async import (
    Batch,
    BudgetExceededError,
    ConfigError,
    ConnectError,
    DownloadError,
    IdempotencyConflictError,
    Limits,
    Outcome,
    SubmissionUnknownError,
    TaskFailedError,
    TaskTimeoutError,
    TextToVideo,
    ValidationError,
    ViduClient,
)
from vidu_async.events import BatchSized, Event, ItemEnded, ItemTaken
from vidu_async.testing import DROP_AFTER, Refusal, Reply, Serve, Simulator, Throttle, run_in_thread, run_virtual
from vidu_async.testing.intercept import Drop

JOBS = Path(__file__).parent.parent / "examples" / "jobs.jsonl"
PRICE = 45
"""Credits that the simulator asks for a request of `asked`."""


def asked(prompt: object) -> TextToVideo:
    """Return a request."""
    return TextToVideo(model="viduq3-turbo", prompt=f"a fox {prompt}")


async def outcomes(batch: Batch) -> dict[str | None, Outcome]:
    """Run a batch, and return what became of each item, by its key."""
    async with batch:
        found = [outcome async for outcome in batch]
    by_key = {outcome.key: outcome for outcome in found}
    assert len(by_key) == len(found), "an item has one outcome"
    return by_key


async def losing(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Drop | None:
    """Have the answers of creations lost whose prompts say so."""
    return DROP_AFTER if b"lost" in body else None


def charged(sim: Simulator) -> int:
    """Return what the account was charged in all."""
    return 100_000 - sim.credits


# What becomes of items


async def test_every_row_of_a_file_becomes_a_file(vidu: ViduClient, tmp_path: Path) -> None:
    """Named after the key, if it is the user's, and the task."""
    batch = Batch(vidu, JOBS, download=tmp_path / "out")
    found = await outcomes(batch)
    assert len(found) == 7
    for key, outcome in found.items():
        (path,) = outcome.paths
        assert outcome.is_success
        assert outcome.task is not None
        prefix = "" if str(key).startswith("row-") else f"{key}-"
        assert path.stem == f"{prefix}{outcome.task.id}"
        assert path.stat().st_size > 1000
    assert {outcome.place for outcome in found.values()} == {f"jobs.jsonl:{line}" for line in range(1, 8)}
    assert (batch.summary.succeeded, batch.summary.accepted, batch.summary.is_success) == (7, 7, True)


async def test_run_again_it_pays_nothing(sim: Simulator, tmp_path: Path) -> None:
    """The journal knows every item, and the files are there."""
    for run in range(2):
        async with sim.client(journal=tmp_path / "journal.db") as vidu:
            batch = Batch(vidu, JOBS, download=tmp_path / "out", budget=1000)
            summary = await batch.run()
        assert (summary.succeeded, summary.accepted, summary.recalled) == (7, 7 - 7 * run, 7 * run)
        assert summary.spent == charged(sim)
    assert len(sim.accepted) == 7
    assert len(list((tmp_path / "out").iterdir())) == 7


async def test_no_failure_of_an_item_raises(sim: Simulator, vidu: ViduClient) -> None:
    """Each is told with what it means for the credits."""

    async def refuse(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        return Refusal("TaskPromptPolicyViolation", "no") if b"refused" in body else None

    sim.intercept = refuse
    given: list[Any] = [asked("runs"), ("named", asked("refused")), {"prompt": "a fox"}, ("wrong", 7), None]
    async with Batch(vidu, given) as batch:
        found = [outcome async for outcome in batch]
    errors = Counter(type(outcome.error).__name__ for outcome in found)
    assert errors == {"NoneType": 1, "PolicyViolationError": 1, "ValidationError": 3}
    assert all(outcome.error is None or outcome.error.paid == "no" for outcome in found)
    assert batch.summary.failed == {"TaskPromptPolicyViolation": 1, "ValidationError": 3}
    assert str(batch.summary).startswith("1 of 5 succeeded; 4 failed (1 TaskPromptPolicyViolation, 3 ValidationError)")


async def test_what_a_row_has_wrong_is_told_with_its_line(vidu: ViduClient, tmp_path: Path) -> None:
    """The others go through."""
    path = tmp_path / "jobs.jsonl"
    rows = ['{"prompt": "a fox"}', "nonsense", '{"prompt": "a fox", "images": ["none.png"], "endpoint": "img2video"}']
    path.write_text("\n".join(rows), encoding="utf-8")
    async with Batch(vidu, path, endpoint="text2video") as batch:
        found = {outcome.place: outcome.error async for outcome in batch}
    assert str(found["jobs.jsonl:2"]).startswith("jobs.jsonl:2: no JSON")
    assert "model" in str(found["jobs.jsonl:1"])
    assert "jobs.jsonl:3" in str(found["jobs.jsonl:3"])


@pytest.mark.parametrize(
    ("code", "tasks"),
    [("InternalServiceFailure", 3), ("SystemThrottling", 3), ("CreationPolicyViolation", 1), ("Undocumented", 1)],
)
async def test_what_fails_for_a_reason_that_passes_is_made_again(code: str, tasks: int) -> None:
    """At once, and three times in all; a request that is at fault never is, nor what nobody has explained."""
    async with Simulator(fails=lambda _: code) as sim, sim.client() as vidu:
        (outcome,) = (await outcomes(Batch(vidu, [("fox", asked("runs"))], budget=100))).values()
        assert isinstance(outcome.error, TaskFailedError)
        assert (outcome.reason, outcome.error.paid, outcome.credits) == (code, "no", 0)
        assert len(sim.accepted) == tasks
        assert charged(sim) == 0


async def test_what_was_made_again_succeeds(tmp_path: Path) -> None:
    """Only its success is charged, and only that counts for the budget."""
    fails = iter(["InternalServiceFailure", None])
    async with Simulator(fails=lambda _: next(fails)) as sim, sim.client(journal=tmp_path / "journal.db") as vidu:
        batch = Batch(vidu, [asked("runs")], budget=PRICE)
        assert (await batch.run()).succeeded == 1
        assert batch.summary.spent == charged(sim) == PRICE


async def test_a_failure_of_an_earlier_run_is_judged_by_the_same_rule(tmp_path: Path) -> None:
    """A refused prompt is not made again by running the batch again; a server's trouble is."""
    codes = {"policy": "CreationPolicyViolation", "trouble": "InternalServiceFailure"}
    given = [(key, asked(key)) for key in codes]

    def fails(body: Mapping[str, Any]) -> str | None:
        return next((code for key, code in codes.items() if key in body["prompt"]), None)

    async with Simulator(fails=fails) as sim:
        async with sim.client(journal=tmp_path / "journal.db") as vidu:
            await Batch(vidu, given).run()
        codes.clear()
        made = len(sim.accepted)
        async with sim.client(journal=tmp_path / "journal.db") as vidu:
            found = await outcomes(Batch(vidu, given))
        assert isinstance(found["policy"].error, TaskFailedError)
        assert found["trouble"].is_success
        assert len(sim.accepted) == made + 1


def test_a_network_that_is_gone_is_waited_out() -> None:
    """Half an hour without one costs no item its place, and nothing is paid twice."""

    async def main() -> None:
        async with Simulator() as gone:
            port = int(gone.url.rpartition(":")[2])
        async with ViduClient("sk-simulator", base_url=gone.url) as vidu:
            running = asyncio.create_task(Batch(vidu, [asked(number) for number in range(8)]).run())
            await asyncio.sleep(1800)
            async with Simulator(port=port) as sim:
                summary = await running
                assert (summary.succeeded, len(sim.accepted)) == (8, 8)

    run_virtual(main())


def test_a_network_that_stays_away_ends_the_item() -> None:
    """After an hour, unpaid."""

    async def main() -> None:
        async with Simulator() as gone:
            pass
        async with ViduClient("sk-simulator", base_url=gone.url) as vidu:
            began = asyncio.get_running_loop().time()
            (outcome,) = (await outcomes(Batch(vidu, [("fox", asked("runs"))]))).values()
            assert isinstance(outcome.error, ConnectError)
            assert outcome.error.paid == "no"
            assert 3000 < asyncio.get_running_loop().time() - began < 3700

    run_virtual(main())


@pytest.mark.parametrize("trouble", [faulty.hang, faulty.close, faulty.answer(503, b"")])
@pytest.mark.slow
def test_a_storage_that_stays_away_ends_the_item_too(tmp_path: Path, trouble: faulty.Script) -> None:
    """After an hour, be it silent or quick to refuse; what was paid for can be fetched later."""

    async def main() -> None:
        async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
            server.looks = [faulty.success(f"{server.url}/film")]
            server.others = {"GET /film": trouble}
            began = asyncio.get_running_loop().time()
            (outcome,) = (await outcomes(Batch(vidu, [("fox", asked("runs"))], download=tmp_path))).values()
            assert isinstance(outcome.error, DownloadError)
            assert outcome.error.paid == "yes"
            assert 3000 < asyncio.get_running_loop().time() - began < 4400

    run_virtual(main())


async def test_what_may_be_paid_is_told_with_the_worst_case(tmp_path: Path) -> None:
    """And never sent again by running the batch again."""
    async with Simulator(lists=False) as sim:
        sim.intercept = losing
        given = [("first", asked("first")), ("lost", asked("is lost"))]
        for _ in range(2):
            async with sim.client(journal=tmp_path / "journal.db") as vidu:
                batch = Batch(vidu, given, budget=10 * PRICE)
                found = await outcomes(batch)
            assert isinstance(found["lost"].error, SubmissionUnknownError)
            assert (batch.summary.unknown, batch.summary.worst_case) == (1, PRICE)
            assert f"1 may be paid (up to {PRICE} credits)" in str(batch.summary)
        assert len(sim.accepted) == 2


async def test_what_was_lost_is_waited_for(sim: Simulator, tmp_path: Path) -> None:
    """Where the gateway lists tasks it is found, and the item has its result after all."""
    sim.intercept = losing
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        batch = Batch(vidu, [asked("is lost")], budget=PRICE, unknown_price=PRICE)
        summary = await batch.run()
    assert (summary.succeeded, summary.spent, len(sim.accepted)) == (1, PRICE, 1)


async def test_without_credits_the_batch_asks_once(sim: Simulator) -> None:
    """A26: the first refusal for lack of credits stops all that have not been sent."""
    posts: list[str] = []

    async def broke(method: str, *_: object) -> Refusal | None:
        posts.append(method)
        return Refusal("CreditInsufficient", "no credits") if method == "POST" else None

    sim.intercept = broke
    async with sim.client(limits=Limits(submissions=1)) as vidu:
        summary = await Batch(vidu, [asked(number) for number in range(200)]).run()
    assert summary.failed == {"CreditInsufficient": 200}
    assert posts.count("POST") == 1


async def test_a_key_is_recalled_where_its_task_is(tmp_path: Path) -> None:
    """An id of one gateway names nothing, or something else, at another. Nothing is sent to either."""
    journal = tmp_path / "journal.db"
    async with Simulator() as here, Simulator() as elsewhere:
        async with here.client(journal=journal) as vidu:
            handle = await vidu.submit(asked("runs"), key="k")
            assert await vidu.recall("k") == handle
            assert await vidu.recall("nobody's") is None
        async with elsewhere.client(journal=journal) as vidu:
            assert await vidu.recall("k") is None
            found = await outcomes(Batch(vidu, [("k", asked("runs"))]))
        assert isinstance(found["k"].error, IdempotencyConflictError)
        assert (len(here.accepted), len(elsewhere.accepted)) == (1, 0)


# Which item is which


async def test_identical_items_are_told_apart_by_how_often_they_came(sim: Simulator, tmp_path: Path) -> None:
    """Three of the same are three films, also for the next run; a fourth is one more."""
    for count in (3, 4):
        async with sim.client(journal=tmp_path / "journal.db") as vidu:
            found = await outcomes(Batch(vidu, [asked("runs")] * count))
        assert len(found) == len(sim.accepted) == count


async def test_a_changed_row_is_a_new_item(sim: Simulator, tmp_path: Path) -> None:
    """Its content is what it is known by, a picture's bytes included."""
    picture = tmp_path / "fox.png"
    row = {"endpoint": "img2video", "model": "viduq3-turbo", "images": ["fox.png"], "prompt": "the fox runs"}
    (tmp_path / "jobs.json").write_text(json.dumps([row, {**row, "key": "named"}]), encoding="utf-8")
    dawn, noon = (JOBS.with_name(name).read_bytes() for name in ("dawn.png", "noon.jpg"))
    picture.write_bytes(dawn)
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        assert (await Batch(vidu, tmp_path / "jobs.json").run()).succeeded == 2
        picture.write_bytes(noon)
        found = await outcomes(Batch(vidu, tmp_path / "jobs.json"))
    assert isinstance(found["named"].error, IdempotencyConflictError)
    assert len(sim.accepted) == 3


async def test_two_clients_with_one_journal_share_the_work(sim: Simulator, tmp_path: Path) -> None:
    """Both tell of every item, and each is paid once."""
    given = [asked(number) for number in range(40)]
    async with (
        sim.client(journal=tmp_path / "journal.db") as one,
        sim.client(journal=tmp_path / "journal.db") as other,
    ):
        both = [Batch(vidu, given, download=tmp_path / "out") for vidu in (one, other)]
        await asyncio.gather(*(batch.run() for batch in both))
    assert [batch.summary.succeeded for batch in both] == [40, 40]
    assert len(sim.accepted) == 40
    assert len(list((tmp_path / "out").iterdir())) == 40


# The window


async def test_no_more_is_taken_from_the_source_than_there_is_room_for(vidu: ViduClient) -> None:
    """An item keeps its place until its outcome was taken."""
    taken = 0

    def source() -> Iterator[TextToVideo]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield asked(number)

    async with Batch(vidu, source(), concurrency=5) as batch:
        told = 0
        async for _ in batch:
            told += 1
            assert taken <= told + 5 + 1
            await asyncio.sleep(0.01)
    assert told == taken == 50


async def test_a_source_may_be_asynchronous(vidu: ViduClient) -> None:
    """What comes late is taken when it comes."""

    async def source() -> AsyncIterator[tuple[str, TextToVideo]]:
        for number in range(3):
            await asyncio.sleep(0.01)
            yield f"row {number}", asked(number)

    assert set(await outcomes(Batch(vidu, source()))) == {"row 0", "row 1", "row 2"}


async def test_what_a_source_raises_comes_after_the_outcomes(vidu: ViduClient) -> None:
    """What was taken before is paid, so it is told first."""

    def source() -> Iterator[TextToVideo]:
        yield asked("runs")
        raise OSError("the disk is gone")

    async with Batch(vidu, source()) as batch:
        assert (await anext(batch)).is_success
        with pytest.raises(OSError, match="the disk is gone"):
            await anext(batch)
    assert not batch.summary.is_whole


async def test_a_stopped_batch_sends_nothing_more(sim: Simulator, tmp_path: Path) -> None:
    """What is under way comes to its outcome, and the next run does the rest."""

    async def slowly(method: str, *_: object) -> Serve | None:
        return Serve(delay=0.05) if method == "POST" else None

    sim.intercept = slowly
    given = [("wrong", None), *((str(number), asked(number)) for number in range(30))]
    async with sim.client(journal=tmp_path / "journal.db", limits=Limits(submissions=2)) as vidu:
        async with Batch(vidu, given) as batch:
            async for outcome in batch:
                if len(sim.accepted) < 2:
                    assert outcome.key == "wrong"
                    await asyncio.sleep(0.1)
                batch.stop()
        assert 2 <= len(sim.accepted) <= 8
        assert batch.summary.succeeded == len(sim.accepted)
        assert batch.summary.failed == {"ValidationError": 1}
        assert not batch.summary.is_whole
        again = Batch(vidu, given)
        await again.run()
    assert again.summary.succeeded == len(sim.accepted) == 30


async def test_what_failed_is_not_made_again_after_the_stop() -> None:
    """Its failure is its outcome."""
    async with Simulator(time_scale=3, fails=lambda _: "InternalServiceFailure") as sim, sim.client() as vidu:
        async with Batch(vidu, [("k", asked("runs"))]) as batch:
            while not sim.accepted:
                await asyncio.sleep(0.01)
            batch.stop()
            outcome = await anext(batch)
        assert isinstance(outcome.error, TaskFailedError)
        assert (outcome.credits, len(sim.accepted)) == (0, 1)


async def test_what_was_cancelled_is_not_made_again(tmp_path: Path) -> None:
    """Neither by this run nor by the next: somebody wanted it so."""
    async with Simulator(time_scale=20, concurrency=1) as sim:
        given = [("first", asked("first")), ("second", asked("second"))]
        async with sim.client(journal=tmp_path / "journal.db") as vidu:
            async with Batch(vidu, given) as batch:
                while len(sim.accepted) < 2:
                    await asyncio.sleep(0.01)
                await vidu.cancel(sim.accepted[1].id)
                found = [outcome async for outcome in batch]
            assert sorted(outcome.reason for outcome in found) == ["", "UserCancelled"]
            again = Batch(vidu, given)
            await again.run()
        assert again.summary.failed == {"UserCancelled": 1}
        assert len(sim.accepted) == 2


async def test_a_block_that_is_left_early_loses_nothing(sim: Simulator, tmp_path: Path) -> None:
    """No task of the loop is left behind, and the next run takes up what was sent."""
    given = [asked(number) for number in range(20)]
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        async with Batch(vidu, given) as batch:
            await anext(batch)
        assert not [task for task in asyncio.all_tasks() if "Batch" in repr(task.get_coro())]
        assert (await Batch(vidu, given).run()).succeeded == 20
    assert len(sim.accepted) == 20


async def test_time_that_is_up_ends_all(tmp_path: Path) -> None:
    """What is under way is told with the token that takes it up; nothing more is sent."""
    async with Simulator(time_scale=1000) as sim, sim.client(journal=tmp_path / "journal.db") as vidu:
        batch = Batch(vidu, [asked(number) for number in range(10)], deadline=0.5, concurrency=4)
        found = await outcomes(batch)
        assert len(found) == len(sim.accepted) == 4
        for outcome in found.values():
            assert isinstance(outcome.error, TaskTimeoutError)
            assert outcome.error.paid == "yes"
        assert batch.summary.failed == {"TaskTimeoutError": 4}
        assert batch.summary.spent == charged(sim)
        assert not batch.summary.is_whole


# Money


@pytest.mark.parametrize("cap", [PRICE - 1, PRICE, 10 * PRICE - 1, 10 * PRICE + 5])
async def test_a_cap_is_not_passed_by_a_hundred_at_once(cap: int) -> None:
    """Neither by one run nor by the next, and it is used to the full."""
    async with Simulator() as sim, sim.client(limits=Limits(submissions=100)) as vidu:
        await vidu.run(asked("whose price is now known"))
        before = charged(sim)
        for _ in range(2):
            batch = Batch(vidu, [asked(number) for number in range(100)], budget=cap, unknown_price=PRICE)
            found = await outcomes(batch)
            refused = [one for one in found.values() if isinstance(one.error, BudgetExceededError)]
            assert charged(sim) - before == cap // PRICE * PRICE == batch.summary.spent
            assert len(refused) == 100 - cap // PRICE


async def test_the_first_of_an_unknown_price_goes_alone(sim: Simulator, vidu: ViduClient) -> None:
    """Until it is priced, nothing else is sent: more than one unknown price would not be under control."""
    at_once = most = 0

    async def watch(method: str, *_: object) -> Serve | None:
        nonlocal at_once, most
        if method != "POST":
            return None
        known = len(sim.accepted)
        at_once += 1
        most = max(most, at_once if not known else 0)
        await asyncio.sleep(0.02)
        at_once -= 1
        return None

    sim.intercept = watch
    summary = await Batch(vidu, [asked(number) for number in range(20)], budget=3 * PRICE).run()
    assert (summary.succeeded, summary.failed) == (3, {"BudgetExceededError": 17})
    assert most == 1


async def test_what_an_earlier_run_has_spent_counts_before_anything_is_sent(sim: Simulator, tmp_path: Path) -> None:
    """Also of items that come last: the cap is one for all runs."""
    given = [(str(number), asked(number)) for number in range(10)]
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        await Batch(vidu, given[5:]).run()
        batch = Batch(vidu, given, budget=6 * PRICE)
        await batch.run()
    assert charged(sim) == 6 * PRICE == batch.summary.spent
    assert batch.summary.failed == {"BudgetExceededError": 4}


async def test_a_forecast_sends_nothing(sim: Simulator, tmp_path: Path) -> None:
    """It says what is refused, what is paid already, and what the rest costs, or that nobody knows."""
    rows = [{"endpoint": "text2video", "model": "viduq3-turbo", "prompt": f"a fox {number}"} for number in range(3)]
    rows.append({"endpoint": "text2video", "model": "viduq2", "prompt": "a fox"})
    rows.append({"endpoint": "text2video", "model": "viduq3-turbo", "promt": "a fox"})
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        await Batch(vidu, [asked(0)]).run()
        asked_before = sim.requests.total()
        found = await Batch(vidu, path).dry_run()
        assert (found.recalled, found.spent) == (1, PRICE)
        assert (found.new, found.cost, found.unpriced) == (3, 2 * PRICE, {"text2video viduq2": 1})
        assert [error.place for error in found.errors] == ["jobs.jsonl:5"]
        assert str(found) == (
            f"2 to submit for {2 * PRICE} credits; 1 to submit for an unknown price (1 text2video viduq2); "
            f"1 submitted before, for {PRICE} credits; 1 refused"
        )
        assert sim.requests.total() == asked_before


async def test_a_forecast_changes_nothing(sim: Simulator, tmp_path: Path) -> None:
    """The run after it has the whole budget, less what earlier runs have spent, once."""
    given = [(str(number), asked(number)) for number in range(4)]
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        await Batch(vidu, given[:2]).run()
        batch = Batch(vidu, given, budget=4 * PRICE)
        for _ in range(2):
            assert (await batch.dry_run()).spent == 2 * PRICE
        summary = await batch.run()
    assert (summary.succeeded, summary.spent) == (4, 4 * PRICE)


async def test_what_is_refused_costs_nothing(sim: Simulator, vidu: ViduClient) -> None:
    """In its outcome, in the summary and in the budget."""
    await vidu.run(asked("whose price is now known"))

    async def refuse(method: str, *_: object) -> Refusal | None:
        return Refusal("TaskPromptPolicyViolation", "no") if method == "POST" else None

    sim.intercept = refuse
    batch = Batch(vidu, [("a", asked("a")), ("b", asked("b"))], budget=PRICE, unknown_price=PRICE)
    found = await outcomes(batch)
    assert [outcome.credits for outcome in found.values()] == [0, 0]
    assert batch.summary.spent == 0
    assert batch.summary.failed == {"TaskPromptPolicyViolation": 2}


@pytest.mark.slow
def test_a_long_queue_is_waited_out() -> None:
    """Three hours, with places for all and one task processed at a time."""

    async def main() -> None:
        simulator = Simulator(time_scale=1000 * 3600 / 70, concurrency=1)  # an hour each
        async with simulator as sim, ViduClient("sk-simulator", base_url=sim.url) as vidu:
            summary = await Batch(vidu, [asked(number) for number in range(3)]).run()
        assert summary.succeeded == 3
        assert summary.seconds > 2.5 * 3600

    run_virtual(main())


async def test_a_changed_row_teaches_no_price(sim: Simulator, tmp_path: Path) -> None:
    """Its key names what it was before: that is its error, and says nothing of what it would cost now."""
    dearer = TextToVideo(model="viduq3-turbo", prompt="a fox", duration=16, resolution="1080p")
    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        await Batch(vidu, [("a", asked("runs"))]).run()
        given = [("a", dearer), *((str(number), dearer) for number in range(5))]
        forecast = await Batch(vidu, given).dry_run()
        assert (len(forecast.errors), forecast.unpriced) == (1, {"text2video viduq3-turbo": 5})
        batch = Batch(vidu, given, budget=300)
        found = await outcomes(batch)
    conflict = found["a"]
    assert isinstance(conflict.error, IdempotencyConflictError)
    assert (conflict.error.paid, conflict.credits, conflict.is_recalled) == ("no", 0, False)
    assert charged(sim) == PRICE + batch.summary.spent
    assert batch.summary.spent <= 300


async def test_what_is_on_its_way_counts_for_the_next_batch(sim: Simulator) -> None:
    """Of the same client, in whatever order the items come."""

    async def slowly(method: str, *_: object) -> Serve | None:
        return Serve(delay=0.2) if method == "POST" else None

    given = [(str(number), asked(number)) for number in range(16)]
    async with sim.client() as vidu:
        await vidu.run(asked("whose price is now known"))
        before = charged(sim)
        sim.intercept = slowly
        async with Batch(vidu, [(str(n), asked(n)) for n in range(8)], budget=8 * PRICE, unknown_price=PRICE):
            await asyncio.sleep(0.1)
        await Batch(vidu, given[::-1], budget=8 * PRICE, unknown_price=PRICE).run()
    assert charged(sim) - before <= 8 * PRICE


async def test_a_price_that_is_told_at_the_end_is_waited_for() -> None:
    """Where creations name none: the first goes alone until its task has ended, and then the cap holds."""
    ids = [str(10**17 + number) for number in range(5)]
    made, told = iter(ids), iter(ids)

    async def mute(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        if method != "POST":
            return None
        said = {"task_id": next(told), "state": "created", "payload": json.loads(body)["payload"]}
        return Reply(body=said, after=True)

    async with Simulator(intercept=mute, new_id=lambda: next(made)) as sim, sim.client() as vidu:
        batch = Batch(vidu, [asked(number) for number in range(5)], budget=2 * PRICE + 1)
        summary = await batch.run()
        assert (summary.succeeded, summary.failed) == (2, {"BudgetExceededError": 3})
        assert summary.spent == charged(sim) == 2 * PRICE


async def test_what_is_given_up_meanwhile_is_not_paid_again(tmp_path: Path) -> None:
    """The item ends as what may be paid; the next run makes it anew."""
    async with (
        Simulator(list_lag=60, intercept=losing) as sim,
        sim.client(journal=tmp_path / "journal.db") as vidu,
        Batch(vidu, [("k", asked("is lost"))], unknown_price=PRICE) as batch,
    ):
        while not vidu.unresolved():
            await asyncio.sleep(0.01)
        await vidu.resolve("k", give_up=True)
        outcome = await anext(batch)
        assert isinstance(outcome.error, SubmissionUnknownError)
        assert len(sim.accepted) == 1


@pytest.mark.slow
def test_a_quota_is_waited_out_however_long_it_takes() -> None:
    """One task at a time, of an hour each, and a 429 for every other: not one item is lost."""

    async def main() -> None:
        simulator = Simulator(time_scale=1000 * 3600 / 70, throttle=Throttle(quota=1))
        async with simulator as sim, ViduClient("sk-simulator", base_url=sim.url) as vidu:
            summary = await Batch(vidu, [asked(number) for number in range(4)]).run()
        assert (summary.succeeded, len(sim.accepted)) == (4, 4)

    run_virtual(main())


def test_a_stopped_batch_does_not_answer_a_429_with_another_try() -> None:
    """What is refused after the stop was not taken."""

    async def main() -> None:
        posts = 0

        async def refuse(method: str, *_: object) -> Refusal | None:
            nonlocal posts
            if method == "POST":
                posts += 1
                await asyncio.sleep(1)
                return Refusal("TooManyRequests", "no")
            return None

        async with Simulator(intercept=refuse) as sim, sim.client() as vidu:
            async with Batch(vidu, [("k", asked("runs"))]) as batch:
                await asyncio.sleep(0.5)
                batch.stop()
                with pytest.raises(StopAsyncIteration):
                    await anext(batch)
            assert posts == 1

    run_virtual(main())


async def test_a_folder_that_cannot_be_used_is_found_out_before_anything_is_paid(
    sim: Simulator, vidu: ViduClient, tmp_path: Path
) -> None:
    """Here a file is in its place."""
    (tmp_path / "films").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="no folder that can be used"):
        await Batch(vidu, [asked("runs")], download=tmp_path / "films").run()
    assert not sim.accepted


async def test_a_long_key_in_any_script_names_a_file(vidu: ViduClient, tmp_path: Path) -> None:
    """As much of it as fits."""
    key = "一只狐狸在雪地里奔跑" * 30
    (outcome,) = (await outcomes(Batch(vidu, [(key, asked("runs"))], download=tmp_path))).values()
    assert outcome.paths[0].name.startswith("一只狐狸在雪地里奔跑")


async def test_the_outcome_names_the_latest_task() -> None:
    """The first has failed and was made again; the second is still running when the time is up."""
    fails = iter(["InternalServiceFailure", None])
    async with Simulator(fails=lambda _: next(fails), time_scale=5) as sim, sim.client() as vidu:
        (outcome,) = (await outcomes(Batch(vidu, [("k", asked("runs"))], deadline=0.6))).values()
        assert isinstance(outcome.error, TaskTimeoutError)
        assert outcome.task is not None
        assert outcome.task.id == outcome.error.task_id == sim.accepted[-1].id
        assert len(sim.accepted) == 2


@pytest.mark.parametrize("key", ["a", f"row-{'0' * 32}-1"])
async def test_keys_are_each_items_own(key: str, sim: Simulator, vidu: ViduClient) -> None:
    """One that stands twice, or looks like one that is made, is that item's error."""
    given = [("a", asked("runs")), (key, asked("sits"))]
    async with Batch(vidu, given) as batch:
        found = [outcome async for outcome in batch]
    (wrong,) = [outcome.error for outcome in found if outcome.error]
    assert isinstance(wrong, ValidationError)
    assert wrong.field == "key"
    assert len(sim.accepted) == 1


async def test_a_source_that_can_be_read_once_is_read_once(sim: Simulator, tmp_path: Path) -> None:
    """Looking for what earlier runs have cost must not eat it."""

    class Once:
        def __init__(self) -> None:
            self.left = iter([asked("a"), asked("b")])

        def __iter__(self) -> Iterator[TextToVideo]:
            return self.left

    async with sim.client(journal=tmp_path / "journal.db") as vidu:
        await vidu.run(asked("whose price is now known"), key="known")
        summary = await Batch(vidu, Once(), budget=10 * PRICE).run()
    assert summary.succeeded == 2


async def test_a_batch_that_is_stopped_first_reads_nothing(vidu: ViduClient) -> None:
    """However long the source is."""

    def endless() -> Iterator[TextToVideo]:
        while True:
            yield asked("runs")

    batch = Batch(vidu, endless())
    batch.stop()
    assert (await batch.run()).items == 0


@pytest.mark.slow
async def test_links_that_do_not_answer_are_tried_again(sim: Simulator, vidu: ViduClient, tmp_path: Path) -> None:
    """A film that is paid and finished is worth some patience."""
    downs = iter([503, 503, 503, 503])

    async def down(method: str, path: str, *_: object) -> Reply | None:
        return Reply(next(downs, 200)) if "/results/" in path or path.endswith(".mp4") else None

    async def mended(method: str, path: str, *rest: object) -> Reply | None:
        said = await down(method, path)
        return None if said is None or said.status == 200 else said

    sim.intercept = mended
    (outcome,) = (await outcomes(Batch(vidu, [("k", asked("runs"))], download=tmp_path))).values()
    assert outcome.is_success
    assert next(downs, None) is None


# Being told, and mistakes


async def test_observers_hear_of_each_item(sim: Simulator) -> None:
    """In the client's own stream of events."""
    events: list[Event] = []
    async with sim.client(on_event=events.append) as vidu:
        await Batch(vidu, [("a", asked("runs")), ("b", None)]).run()
    assert [event.items for event in events if isinstance(event, BatchSized)] == [2]
    assert {event.key for event in events if isinstance(event, ItemTaken)} == {"a", "b"}
    ended = {event.key: event for event in events if isinstance(event, ItemEnded)}
    assert (ended["a"].reason, ended["a"].credits) == ("", PRICE)
    assert (ended["b"].reason, ended["b"].paid) == ("ValidationError", "no")


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 7},
        {"requests": asked("runs")},
        {"requests": ("key", asked("runs"))},
        {"requests": "jobs.txt"},
        {"budget": 0},
        {"budget": "100"},
        {"unknown_price": 1.5},
        {"concurrency": 0},
        {"deadline": -1},
        {"download": 7},
    ],
    ids=str,
)
async def test_what_cannot_work_is_refused_when_it_is_given(vidu: ViduClient, wrong: dict[str, Any]) -> None:
    """Before anything is paid."""
    settings: dict[str, Any] = {"requests": [asked("runs")], **wrong}
    with pytest.raises((ConfigError, ValidationError)):
        Batch(vidu, **settings)


async def test_a_batch_runs_in_its_block_and_once(vidu: ViduClient) -> None:
    """Anything else is a mistake that is told."""
    batch = Batch(vidu, [asked("runs")])
    with pytest.raises(ConfigError, match="async with"):
        await anext(batch)
    await batch.run()
    with pytest.raises(StopAsyncIteration):
        await anext(batch)
    with pytest.raises(ConfigError, match="once"):
        await batch.run()


_NO_ROOM = """
import asyncio, resource, signal, sys
from vidu_async import Batch, Polling, TextToVideo, ViduClient
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))

async def main():
    polling = Polling(min_interval=0.02, max_interval=0.05)
    films = [TextToVideo(model="viduq3-turbo", prompt=f"fox {number}") for number in range(40)]
    async with ViduClient(sys.argv[2], base_url=sys.argv[1], polling=polling) as vidu:
        summary = await Batch(vidu, films, download=sys.argv[3], concurrency=2).run()
    print(summary.succeeded, sum(summary.failed.values()), summary.is_whole)

asyncio.run(main())
"""


async def told(program: str, sim: Simulator, path: Path) -> tuple[str, str]:
    """Run a program that a full disk is to stop, and return what it printed and logged."""
    command = [sys.executable, "-c", program, sim.url, sim.api_key, str(path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, logged = await process.communicate()
    return said.decode(), logged.decode()


async def test_a_batch_whose_results_find_no_room_pays_for_nothing_more(tmp_path: Path) -> None:
    """What is under way is tried to be saved; the rest is for the next run."""
    with run_in_thread(Simulator(time_scale=0.001)) as sim:
        said, logged = await told(_NO_ROOM, sim, tmp_path / "films")
        paid = len(sim.accepted)
    succeeded, failed, is_whole = said.split()
    assert (succeeded, is_whole) == ("0", "False")
    assert int(failed) == paid < 10
    assert logged.count("nothing more is submitted") == 1
    assert f"Make room in {tmp_path / 'films'}, and run the batch again" in logged


_NO_JOURNAL = """
import asyncio, resource, signal, sys
from vidu_async import Batch, Polling, TextToVideo, ViduClient
from vidu_async.events import Committed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def fill(event):
    if isinstance(event, Committed):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

async def main():
    url, key, journal = sys.argv[1:]
    polling = Polling(min_interval=0.02, max_interval=0.05)
    async with ViduClient(key, base_url=url, polling=polling, journal=journal, on_event=fill) as vidu:
        async with Batch(vidu, [TextToVideo(model="viduq3-turbo", prompt="a fox")]) as batch:
            async for outcome in batch:
                print(outcome.task.state, outcome.error)
        print(batch.summary.succeeded, batch.summary.spent > 0)

asyncio.run(main())
"""


async def test_a_paid_item_whose_journal_is_full_by_then_is_seen_through(tmp_path: Path) -> None:
    """It is waited for and counted like any other; the log says what the journal does not know."""
    with run_in_thread(Simulator(time_scale=0.001)) as sim:
        said, logged = await told(_NO_JOURNAL, sim, tmp_path / "journal.db")
    assert said == "success None\n1 True\n", logged
    assert "is paid, and the journal could not be told" in logged
