"""The dialects of the simulated service, each against its documented shape."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asking import FOX, TEXT, Caller, calling

from vidu_async import APIError, TaskFailedError, TextToVideo
from vidu_async.testing import Faults, Simulator, run_virtual
from vidu_async.testing.dialects import DIALECTS

UNKNOWN = "tasks/911045603801182208/creations"


@asynccontextmanager
async def speaking(dialect: str, **options: Any) -> AsyncIterator[Caller]:
    """Run a simulator with a dialect."""
    async with calling(dialect=dialect, **options) as caller:
        yield caller


async def said(caller: Caller, body: dict[str, Any] = FOX, endpoint: str = "img2video") -> list[dict[str, Any]]:
    """Create, and return the first answer of each state: of creation, of queries, whatever they look like."""
    answers = [await caller.create(endpoint, body)]
    states = ["created"]
    (task,) = caller.vidu.accepted
    while not task.is_terminal:
        answer = await caller.query(task.id)
        if states[-1] != task.state:
            states.append(task.state)
            answers.append(answer)
    # The last answer may have been given a moment before the end.
    return [*answers[:-1], await caller.query(task.id)]


def statuses(answers: list[dict[str, Any]]) -> list[str]:
    """Return the different values of `status`, in order."""
    return list(dict.fromkeys(answer["status"] for answer in answers))


async def test_vidu_overseas_does_not_repeat_the_id_in_a_query() -> None:
    """Everything else is there."""
    async with speaking("vidu-com") as caller:
        created, *_, done = await said(caller)
    assert "task_id" in created
    assert "id" not in done
    assert (done["state"], len(done["creations"])) == ("success", 1)


async def test_aiid_names_the_id_twice() -> None:
    """In every answer."""
    async with speaking("aiid") as caller:
        for answer in await said(caller):
            assert answer["id"] == answer["task_id"] == caller.vidu.accepted[0].id


async def test_powertokens_writes_credits_as_text() -> None:
    """In every answer, the list included."""
    async with speaking("powertokens") as caller:
        assert {answer["credits"] for answer in await said(caller)} == {"80"}
        assert (await caller.ask("GET", "tasks"))[1]["tasks"][0]["credits"] == "80"


async def test_dmx_counts_seconds() -> None:
    """The moment of creation is a whole number of Unix seconds."""
    async with speaking("dmx") as caller:
        created = await caller.create()
        assert created["created_at"] == int(caller.vidu.accepted[0].created_at)
        assert created["wm_position"] == "unspecified"


async def test_qianfan_says_status_and_names_its_log() -> None:
    """In place of Vidu's `state`."""
    async with speaking("qianfan") as caller:
        answers = await said(caller)
    assert all("state" not in answer and answer["log_id"] for answer in answers)
    assert (statuses(answers)[0], statuses(answers)[-1]) == ("created", "success")


async def test_loud_shouts_states_and_writes_numbers_as_text() -> None:
    """Booleans, too, and inside of creations."""
    async with speaking("loud") as caller:
        created, *_, done = await said(caller)
    assert (created["status"], created["duration"], created["credits"], created["off_peak"]) == (
        "CREATED",
        "5",
        "80",
        "false",
    )
    assert (done["status"], done["bgm"]) == ("SUCCESS", "false")
    assert "state" not in done
    assert done["creations"][0]["video"]["resolution"] == {"width": "1920", "height": "1080"}


@pytest.mark.parametrize("dialect", ["octopusx", "deepwl"])
async def test_octopusx_and_deepwl_have_three_states_and_a_link(dialect: str) -> None:
    """The link comes with the last one."""
    async with speaking(dialect) as caller:
        created, *later, done = await said(caller)
        (task,) = caller.vidu.accepted
    assert created == {"task_id": task.id, "status": "processing", "created_at": int(task.created_at)}
    assert all(set(answer) == {"id", "status", "status_update_time"} for answer in later)
    assert (done.pop("video_url").startswith("http://"), isinstance(done.pop("status_update_time"), int)) == (
        True,
        True,
    )
    assert done == {"id": task.id, "status": "completed"}


async def test_a_failed_task_of_deepwl_has_no_link_and_no_reason() -> None:
    """As documented."""
    async with speaking("deepwl", fails=lambda _: "AuditFailed") as caller:
        *_, done = await said(caller)
    assert set(done) == {"id", "status", "status_update_time"}
    assert done["status"] == "failed"


async def test_openai_answers_video_objects() -> None:
    """Of the same form from the beginning to the end."""
    async with speaking("openai") as caller:
        created, *_, done = await said(caller)
        (task,) = caller.vidu.accepted
    assert created == {
        "id": task.id,
        "task_id": task.id,
        "object": "video",
        "model": "viduq1",
        "status": "queued",
        "progress": 0,
        "created_at": int(task.created_at),
        "error": None,
        "metadata": {},
    }
    assert (done["status"], done["progress"], done["error"]) == ("completed", 100, None)
    assert done["metadata"]["url"].startswith(caller.vidu.url)


async def test_a_failed_video_object_says_why() -> None:
    """In `error`, without a link."""
    async with speaking("openai", fails=lambda _: "AuditFailed") as caller:
        *_, done = await said(caller)
    assert (done["status"], done["error"]["code"], done["metadata"]) == ("failed", "AuditFailed", {})


async def test_new_api_wraps_vidus_answer() -> None:
    """Its own words outside, Vidu's body inside."""
    async with speaking("new-api") as caller:
        created, *_, done = await said(caller)
        (task,) = caller.vidu.accepted
    assert (created["id"], created["object"], created["status"]) == (task.id, "video", "queued")
    data = done["data"]
    assert (done["code"], done["message"]) == ("success", "")
    assert (data["task_id"], data["status"], data["fail_reason"], data["progress"]) == (task.id, "SUCCESS", "", "100%")
    assert (data["data"]["state"], data["data"]["credits"]) == ("success", 80)


async def test_old_versions_of_new_api_have_the_link_in_fail_reason() -> None:
    """On success only."""
    async with speaking("new-api-old") as caller:
        *_, done = await said(caller)
    assert done["data"]["fail_reason"] == done["data"]["data"]["creations"][0]["url"]
    async with speaking("new-api-old", fails=lambda _: "AuditFailed") as caller:
        *_, failed = await said(caller)
    assert (failed["data"]["status"], failed["data"]["fail_reason"]) == ("FAILURE", "AuditFailed")


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"), [("img2video", FOX, "AigcVideoTask"), ("reference2image", TEXT, "AigcImageTask")]
)
async def test_vod_puts_answers_into_an_envelope(endpoint: str, body: dict[str, Any], kind: str) -> None:
    """One for videos, another for pictures; a creation is answered as by Vidu."""
    async with speaking("vod") as caller:
        created, *_, done = await said(caller, body, endpoint)
    response = done["Response"]
    inner = response[kind]
    assert created["state"] == "created"
    assert (response["Status"], response["TaskType"], inner["TaskId"]) == ("FINISH", kind, created["task_id"])
    assert (inner["ErrCode"], inner["Message"], inner["Progress"]) == (0, "", 100)
    assert inner["Output"]["FileInfos"][0]["FileUrl"].startswith(caller.vidu.url)
    assert response["RequestId"]


async def test_a_failed_task_of_vod_is_finished_with_an_error() -> None:
    """The state alone does not say that it failed."""
    async with speaking("vod", fails=lambda _: "AuditFailed") as caller:
        *_, done = await said(caller)
    inner = done["Response"]["AigcVideoTask"]
    assert (inner["Status"], inner["Message"], inner["Output"]["FileInfos"]) == ("FINISH", "AuditFailed", [])
    assert inner["ErrCode"] != 0


async def refusals(dialect: str) -> list[tuple[int, Any]]:
    """Return what is said to a query of an unknown task, and to a wrong key."""
    async with speaking(dialect) as caller:
        return [await caller.ask("GET", UNKNOWN), await caller.ask("GET", UNKNOWN, headers={})]


async def test_openai_and_new_api_refuse_a_key_in_the_words_of_their_middleware() -> None:
    """With the id of the request in the message."""
    for dialect in ("openai", "new-api", "chain"):
        _, (status, answer) = await refusals(dialect)
        assert (status, answer["error"]["type"]) == (401, "new_api_error")
        assert "invalid api key (request id: " in answer["error"]["message"]


@pytest.mark.parametrize(("dialect", "depth"), [("new-api", 1), ("chain", 3)])
async def test_relays_put_the_error_they_got_into_a_text(dialect: str, depth: int) -> None:
    """As often as there are relays, with the status of the first."""
    (status, answer), _ = await refusals(dialect)
    for _ in range(depth):
        assert (answer["code"], answer["data"]) == ("fail_to_fetch_task", None)
        answer = json.loads(answer["message"])
    assert (status, answer["code"], answer["reason"]) == (404, 404, "TaskNotFound")


async def test_some_refuse_with_status_200() -> None:
    """The error is in the body alone."""
    (status, answer), (_, keyless) = await refusals("errors-in-200")
    assert (status, answer["code"], answer["reason"], keyless["code"]) == (200, 404, "TaskNotFound", 401)
    (status, answer), _ = await refusals("vod")
    assert (status, answer["Response"]["Error"]["Code"]) == (200, "TaskNotFound")


async def test_bare_refuses_with_one_text() -> None:
    """Nothing but the status says what kind of error it is."""
    (status, answer), _ = await refusals("bare")
    assert (status, answer) == (404, {"detail": "task 911045603801182208 not found"})


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_speaks_of_every_state(dialect: str) -> None:
    """From the creation to success or failure, and of refusals, in JSON objects."""
    async with speaking(dialect) as caller:
        assert all(isinstance(answer, dict) for answer in await said(caller))
        assert (await caller.ask("GET", "tasks"))[0] == 200
    async with speaking(dialect, fails=lambda _: "AuditFailed") as caller:
        assert all(isinstance(answer, dict) for answer in await said(caller))
    assert all(isinstance(answer, dict) for _, answer in await refusals(dialect))


# With the client of this package

LAKE = TextToVideo(model="viduq2", prompt="a quiet lake")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_client_follows_a_task_to_its_result_in_every_dialect(dialect: str) -> None:
    """The id is the service's, and the link works."""
    async with speaking(dialect) as caller, caller.vidu.client() as vidu:
        task = await vidu.run(LAKE)
        async with caller.session.get(str(task.creations[0].url)) as response:
            assert response.status == 200
    assert [task.id] == list(caller.vidu.tasks)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_client_learns_of_a_failure_in_every_dialect(dialect: str) -> None:
    """Also where the state alone would not say so."""
    async with speaking(dialect, fails=lambda _: "AuditFailed") as caller, caller.vidu.client() as vidu:
        with pytest.raises(TaskFailedError):
            await vidu.run(LAKE)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_client_takes_a_refusal_for_one_in_every_dialect(dialect: str) -> None:
    """Nothing was paid, and nothing is in doubt, whatever the status says."""
    async with speaking(dialect, credits=1) as caller, caller.vidu.client() as vidu:
        with pytest.raises(APIError) as refused:
            await vidu.submit(LAKE)
    assert (refused.value.paid, caller.vidu.accepted) == ("no", [])


async def a_night(dialect: str) -> Counter[str]:
    """Run a batch on a bad night, and return how many rows ended how."""
    faults = Faults(failures={"AuditFailed": 0.3}, refusals={"TooManyRequests": 0.1, 502: 0.05}, drops_after=0.05)
    async with (
        Simulator(seed=3, dialect=dialect, faults=faults, concurrency=20, lists=False) as sim,
        sim.client() as vidu,
    ):
        runs = (vidu.run(TextToVideo(model="viduq3-turbo", prompt=f"fox {row}")) for row in range(30))
        ends = await asyncio.gather(*runs, return_exceptions=True)
        assert len(sim.accepted) <= 30
        return Counter(type(end).__name__ for end in ends)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in {"vidu", "bare"}])
def test_a_bad_night_goes_the_same_in_every_dialect(dialect: str) -> None:
    """As many rows end well, fail and are in doubt, and none is paid twice."""
    night = run_virtual(a_night(dialect))

    assert night == run_virtual(a_night("vidu"))
    assert set(night) == {"Task", "TaskFailedError", "SubmissionUnknownError"}
