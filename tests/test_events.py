"""What happens is told: to an observer as values, and to the log under stable names. No secret is in it."""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import faulty
import pytest
from pictures import png

from vidu_async import (
    ConfigError,
    Gateway,
    ImageToVideo,
    Limits,
    PolicyViolationError,
    TaskFailedError,
    TextToVideo,
    ViduClient,
)
from vidu_async.events import (
    Accepted,
    Committed,
    Downloaded,
    Downloading,
    Event,
    Finished,
    PollFailed,
    Retrying,
    StateChanged,
    StateRegressed,
    SubmissionFailed,
    Submitted,
    Throttled,
)
from vidu_async.protocol.models import TaskState
from vidu_async.testing import Refusal, Simulator, run_virtual

S = TaskState
REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
LARGE = ImageToVideo(model="viduq3-turbo", images=[png(size=750_000)])
KEY = "sk-not-to-be-found-anywhere"


def client(server: faulty.FaultyServer, told: list[Event], **settings: Any) -> ViduClient:
    """Return a client that tells of what happens."""
    return ViduClient(KEY, gateway=Gateway(base_url=server.url, lists=False), on_event=told.append, **settings)


async def test_a_submission_that_comes_to_nothing_is_told_of(sim: Simulator) -> None:
    """With Vidu's word, or that its caller withdrew it."""
    told: list[Event] = []

    async def refuse(method: str, *_: object) -> Refusal | None:
        await asyncio.sleep(0.05)
        return Refusal("CreationPolicyViolation", "no") if method == "POST" else None

    sim.intercept = refuse
    async with sim.client(on_event=told.append, limits=Limits(submissions=1)) as vidu:
        refused = asyncio.create_task(vidu.submit(REQUEST, key="refused"))
        await asyncio.sleep(0.01)
        withdrawn = asyncio.create_task(vidu.submit(REQUEST, key="withdrawn"))
        await asyncio.sleep(0.01)
        withdrawn.cancel()
        await asyncio.wait([refused, withdrawn])
        assert isinstance(refused.exception(), PolicyViolationError)
    failed = {event.key: event for event in told if isinstance(event, SubmissionFailed)}
    assert (failed["refused"].reason, failed["refused"].paid) == ("CreationPolicyViolation", "no")
    assert (failed["withdrawn"].reason, failed["withdrawn"].paid) == ("withdrawn", "no")


async def test_a_film_is_told_from_its_submission_to_its_file(tmp_path: Path) -> None:
    """Each step once, in order, with the names that the caller knows it by."""
    told: list[Event] = []
    async with Simulator() as sim, sim.client(on_event=told.append) as vidu:
        handle = await vidu.submit(REQUEST, key="film-7")
        task = await handle
        path = await vidu.download(task, tmp_path / "fox.mp4")
    steps = [event for event in told if not isinstance(event, StateChanged)]
    (took,) = [event.seconds for event in told if isinstance(event, Finished)]
    assert steps == [
        Submitted(key="film-7", endpoint="text2video", model="viduq3-turbo"),
        Committed(key="film-7", attempt=1),
        Accepted(key="film-7", task_id=task.id, credits=task.credits),
        Finished(key="film-7", task_id=task.id, state=S.SUCCESS, credits=task.credits, seconds=took),
        Downloading(task_id=task.id, received=path.stat().st_size, size=path.stat().st_size),
        Downloaded(task_id=task.id, path=str(path), size=path.stat().st_size),
    ]
    assert took is not None
    assert took > 0
    states = [(event.before, event.state) for event in told if isinstance(event, StateChanged)]
    assert states[0] == (None, S.CREATED)
    assert states[-1][1] is S.SUCCESS
    assert all(after == before for (_, after), (before, _) in pairwise(states))


def test_trouble_on_the_way_is_told() -> None:
    """A try that was not seen, a 429, a look that failed, a failed end, and an answer that takes the end back."""
    told: list[Event] = []
    full = faulty.refuse(429, "TooManyRequests", Retry_After="3")

    async def main() -> None:
        async with (
            faulty.FaultyServer([faulty.Early(faulty.reset), full, faulty.created()], narrow=True) as server,
            client(server, told) as vidu,
        ):
            server.looks = [faulty.refuse(500, "oops"), faulty.state("failed"), faulty.state("processing")]
            handle = await vidu.submit(LARGE, key="film-7")
            with pytest.raises(TaskFailedError):
                await handle
            await handle.refresh()

    run_virtual(main())
    kinds = [type(event) for event in told]
    assert kinds == [
        *(Submitted, Retrying, Committed, Throttled, Committed, Accepted, StateChanged, PollFailed, StateChanged),
        *(Finished, StateRegressed),
    ]
    (throttled,) = [event for event in told if isinstance(event, Throttled)]
    assert (throttled.reason, throttled.retry_after, 3 <= throttled.pause <= 3.3) == ("TooManyRequests", 3, True)
    assert told[-1] == StateRegressed(key="film-7", task_id=handle_id(told), state=S.FAILED, answered=S.PROCESSING)


def handle_id(told: list[Event]) -> str:
    """Return the task of the one that was accepted."""
    (accepted,) = [event for event in told if isinstance(event, Accepted)]
    return accepted.task_id


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
async def test_an_observer_that_fails_costs_nobody_a_task(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, the first time with its traceback, and everything goes on: also if it asks what was cancelled."""

    def fail(event: Event) -> None:
        raise kind(f"cannot take {event.name}")

    async with Simulator() as sim, sim.client(on_event=fail) as vidu:
        assert (await vidu.run(REQUEST)).has_result
    assert "on_event= failed" in caplog.text
    assert "cannot take accepted" in caplog.text
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize("observer", ["print", 7, asyncio.sleep], ids=["text", "number", "coroutine"])
def test_what_is_no_function_is_refused_as_an_observer(observer: Any) -> None:
    """A coroutine function would never be awaited."""
    with pytest.raises(ConfigError, match="on_event"):
        ViduClient(KEY, on_event=observer)


async def test_the_log_has_the_same_under_stable_names(caplog: pytest.LogCaptureFixture) -> None:
    """With the fields of each event as `vidu_...`, for whoever filters or counts."""
    caplog.set_level(logging.DEBUG, "vidu_async")
    told: list[Event] = []
    async with Simulator() as sim, sim.client(on_event=told.append) as vidu:
        await vidu.run(REQUEST, key="film-7")
    records: list[Any] = [record for record in caplog.records if hasattr(record, "vidu_event")]
    assert [record.vidu_event for record in records] == [event.name for event in told]
    accepted = next(record for record in records if record.vidu_event == "accepted")
    assert (accepted.vidu_key, accepted.vidu_task_id) == ("film-7", handle_id(told))
    assert accepted.getMessage().startswith(f"accepted key=film-7 task_id={handle_id(told)}")
    assert accepted.levelno == logging.INFO


async def test_a_format_of_the_log_may_name_what_each_event_has(caplog: pytest.LogCaptureFixture) -> None:
    """Its name, its key and its task: empty, where there is none."""
    line = logging.Formatter("%(vidu_event)s %(vidu_key)s %(vidu_task_id)s")
    with caplog.at_level(logging.DEBUG, "vidu_async"):
        async with Simulator() as sim, sim.client() as vidu:
            task = await vidu.run(REQUEST, key="film-1")
    lines = [line.format(record) for record in caplog.records if hasattr(record, "vidu_event")]
    assert lines[0] == "submitted film-1 "
    assert lines[-1] == f"finished film-1 {task.id}"


async def test_no_event_holds_a_secret(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Neither the API key, nor a picture, nor a signed link, nor the prompt; in the log neither."""
    caplog.set_level(logging.DEBUG, "vidu_async")
    told: list[Event] = []
    request = ImageToVideo(model="viduq3-turbo", images=[png(size=3000)], prompt="my own words")
    async with Simulator() as sim, sim.client(on_event=told.append, limits=Limits(submissions=1)) as vidu:
        task = await vidu.run(request)
        await vidu.download(task, tmp_path)
    records = [str(vars(record)) for record in caplog.records if hasattr(record, "vidu_event")]
    for said in (*map(repr, told), *records):
        assert not any(secret in said for secret in (sim.api_key, "base64", "AAAA", "Signature", "my own words", "?"))
    assert len(records) == len(told) > 6


LINK = "https://results.invalid/a.png?X-Amz-Signature=deadbeef"
PICTURE = "iVBORw0KGgo" * 20


SAID = [
    *(LINK, f"see {LINK} there", LINK.upper().replace("DEADBEEF", "deadbeef"), LINK.removeprefix("https:")),
    json.dumps({"message": LINK}).replace("/", "\\/"),
    quote(LINK, safe=""),
    "https://me:deadbeef@results.invalid/a.png",
    *(PICTURE, f"data:image/png;base64,{PICTURE}"),
]


@pytest.mark.parametrize("said", SAID)
def test_what_a_server_says_is_told_without_its_secrets(said: str, caplog: pytest.LogCaptureFixture) -> None:
    """As the message of a refusal, and as a state that nobody knows; and never at full length."""
    caplog.set_level(logging.DEBUG, "vidu_async")
    told: list[Event] = []

    async def main() -> None:
        async with faulty.FaultyServer() as server, client(server, told) as vidu:
            server.looks = [faulty.refuse(500, "oops", said), faulty.refuse(429, said), faulty.state(said)]
            server.looks += [faulty.state("x" * 100_000), faulty.success()]
            await (await vidu.submit(REQUEST))

    run_virtual(main())
    assert {PollFailed, Throttled, StateChanged} <= set(map(type, told))
    for text in (*map(repr, told), *(str(vars(record)) for record in caplog.records)):
        assert "Signature" not in text
        assert PICTURE not in text
        assert len(text) < 5000


@pytest.mark.parametrize("kind", Event.__subclasses__())
def test_every_event_is_a_frozen_value_with_a_name(kind: type[Any]) -> None:
    """Names are those of the classes, as one writes them in a filter."""
    event = kind(**{one.name: "" for one in attrs.fields(kind) if one.default is attrs.NOTHING})
    assert event.name.replace("_", "") == kind.__name__.lower()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.key = "other"
