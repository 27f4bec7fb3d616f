"""Mistakes that everybody makes: each is refused early, with the value in the message and what to do instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import faulty
import pytest

from vidu_async import (
    ConfigError,
    Creation,
    DownloadError,
    Limiter,
    NotFoundError,
    RawRequest,
    Subject,
    Task,
    TaskState,
    TextToVideo,
    UnsupportedError,
    ValidationError,
    ViduClient,
)
from vidu_async.testing import Simulator

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(64)


class Policy:
    """A policy that is none yet."""

    max_per_second: Any = None

    def interval(self, waiting: Any) -> float:
        """Look each second."""
        return 1.0


class Whole(Policy):
    """One that lacks nothing."""

    def finished(self, kind: Any, seconds: float) -> None:
        """Learn nothing."""


class Called(Whole):
    """One that means a method where a value is read."""

    def max_per_second(self) -> float:
        """Look twice a second."""
        return 2.0


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(), r"not <.*Policy object.*>, which has no finished$"),
        (Whole, r"an object, not a class: Whole\(\.\.\.\)"),
        (Called(), r"max_per_second must be a positive number or None, not <bound method"),
    ],
    ids=["lacks a method", "a class", "a method for a value"],
)
def test_what_is_no_policy_is_refused_with_what_it_lacks(policy: Any, said: str) -> None:
    """Found out later, it would only be logged, and the default would take its place."""
    with pytest.raises(ConfigError, match=said):
        ViduClient("test-key", polling=policy)


def test_a_limiter_takes_limits_and_nothing_else() -> None:
    """And says so when it is made."""
    with pytest.raises(ConfigError, match=r"Limiter\(\) takes Limits\(\.\.\.\), not 5"):
        Limiter(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gateway", "https://api.vidu.com"),
        ("limits", 5),
        ("polling", 5),
        ("timeouts", 5),
        ("timeouts", None),
    ],
)
def test_a_setting_of_another_type_is_refused_at_once(setting: str, value: Any) -> None:
    """Found out later, it might leave a paid task without its waiter."""
    with pytest.raises(ConfigError, match=f"{setting}= must be .*, not {value!r}"):
        ViduClient("test-key", **{setting: value})


@pytest.mark.parametrize("thing", [{"model": "x"}, [], None, "text2video", Subject(name="fox")])
async def test_what_is_no_request_is_not_submitted(vidu: ViduClient, sim: Simulator, thing: Any) -> None:
    """The message names what would do."""
    with pytest.raises(ValidationError, match="submit.. takes a request.*request_from_wire") as caught:
        await vidu.submit(thing)
    assert caught.value.paid == "no"
    assert not sim.requests


@pytest.mark.parametrize("key", ["", 17, b"row"])
async def test_a_key_is_text(vidu: ViduClient, key: Any) -> None:
    """An empty one would make all rows one."""
    with pytest.raises(ValidationError, match="key must be text"):
        await vidu.submit(REQUEST, key=key)


async def test_a_closed_client_is_not_entered_again(vidu: ViduClient) -> None:
    """It says so at the door, and a submission says that it is unpaid."""
    await vidu.aclose()
    with pytest.raises(ConfigError, match="the client is closed"):
        async with vidu:
            pass
    with pytest.raises(ConfigError) as caught:
        await vidu.submit(REQUEST)
    assert caught.value.paid == "no"


@pytest.mark.parametrize("timeout", ["10", [], object()])
async def test_a_timeout_is_a_number(vidu: ViduClient, timeout: Any) -> None:
    """Or None, written out."""
    with pytest.raises(ConfigError, match="timeout= must be seconds or None"):
        await vidu.attach("1").wait(timeout=timeout)


@pytest.mark.parametrize("filters", [{"states": "success"}, {"states": ["done"]}, {"task_ids": "123"}])
async def test_a_filter_that_would_match_nothing_is_refused(vidu: ViduClient, filters: dict[str, Any]) -> None:
    """An empty list might be read as "not there", and paid again."""
    with pytest.raises(ValidationError, match=next(iter(filters))):
        await anext(vidu.tasks(**filters))


async def test_a_wrong_path_is_shown(sim: Simulator) -> None:
    """With the URL that was asked, whose beginning is likely the mistake."""
    async with sim.client(base_url=f"{sim.url}/v1") as vidu:
        with pytest.raises(NotFoundError, match=f"at POST {sim.url}/v1/ent/v2/text2video.*base_url, api_root"):
            await vidu.submit(REQUEST)
        with pytest.raises(UnsupportedError, match="If base_url is right"):
            await vidu.credits()
    async with sim.client() as vidu:
        with pytest.raises(NotFoundError, match="text2vide.*Check the id or the endpoint"):
            await vidu.submit(RawRequest("text2vide", REQUEST.to_wire()))


async def test_a_refused_field_is_shown_with_its_value(vidu: ViduClient) -> None:
    """The server names the field alone."""
    with pytest.raises(Exception, match="duration=99"):
        await vidu.submit(RawRequest("text2video", {"model": "viduq3-turbo", "prompt": "x", "duration": 99}))


@pytest.mark.parametrize("path", ["/tmp", "fxo.png", "file:///tmp/fox.png", "~nobody-here/x.png"])
async def test_a_path_that_is_no_file_is_told_once(vidu: ViduClient, path: str) -> None:
    """With what would do."""
    request = RawRequest("img2video", {"model": "m", "images": [path]})
    with pytest.raises(ValidationError, match="neither an http.s. or data URL nor a readable file") as caught:
        await vidu.submit(request)
    assert str(caught.value).count("images[0]") == 1


@pytest.mark.parametrize("thing", ["911", 1, None])
async def test_what_is_no_handle_is_not_waited_for(vidu: ViduClient, thing: Any) -> None:
    """Such as an id, which attach() takes."""
    with pytest.raises(ConfigError, match="await submit"):
        await vidu.gather([thing])
    with pytest.raises(ConfigError, match="await submit"):
        vidu.as_completed([thing])


async def test_a_submission_that_was_not_awaited_is_no_handle(vidu: ViduClient, sim: Simulator) -> None:
    """And nothing is sent by it."""
    with pytest.raises(ConfigError, match="await submit"):
        await vidu.gather([vidu.submit(REQUEST)])  # type: ignore[list-item]
    assert not sim.accepted


@pytest.mark.parametrize("timeout", [-5, "600", True])
async def test_a_timeout_that_is_no_time_is_refused_even_at_the_end(vidu: ViduClient, timeout: Any) -> None:
    """Rather than be ignored where nothing is left to wait for."""
    handle = await vidu.submit(REQUEST)
    await handle
    for wait in (handle.result, handle.wait):
        with pytest.raises(ConfigError, match="timeout="):
            await wait(timeout=timeout)


async def test_a_handle_is_not_downloaded(vidu: ViduClient, tmp_path: Path) -> None:
    """It is awaited first."""
    handle = await vidu.submit(REQUEST)
    for thing in (handle, handle.task_id):
        with pytest.raises(ConfigError, match="await a handle first"):
            await vidu.download(thing, tmp_path)  # type: ignore[arg-type]
    failed = Task(id="7", state=TaskState.FAILED, err_code="CreationPolicyViolation")
    with pytest.raises(DownloadError, match="CreationPolicyViolation"):
        await vidu.download(failed, tmp_path)


async def test_a_name_may_have_the_suffix_of_its_kind(vidu: ViduClient, tmp_path: Path) -> None:
    """It is not doubled; beside a file it has no place."""
    task = await vidu.run(REQUEST)
    assert (await vidu.download(task, tmp_path, name="fox.mp4")).name == "fox.mp4"
    assert (await vidu.download(task, tmp_path, name="fox.v2")).name == "fox.v2.mp4"
    with pytest.raises(ConfigError, match="give one of the two"):
        await vidu.download(task, tmp_path / "x.mp4", name="fox")


async def test_the_files_of_a_task_do_not_share_a_name(vidu: ViduClient, tmp_path: Path) -> None:
    """Cover and film lie side by side, also with exists="skip"."""
    task = await vidu.run(REQUEST)
    cover = await vidu.download(task, tmp_path, variant="cover_url", exists="skip")
    film = await vidu.download(task, tmp_path, exists="skip")
    assert (cover.name, film.name) == (f"{task.id}-cover.png", f"{task.id}.mp4")
    assert film.read_bytes()[4:8] == b"ftyp"


async def test_all_results_of_a_task_are_fetched(tmp_path: Path) -> None:
    """Most have one; where there are several, each has its own name."""
    async with faulty.FaultyServer() as server, ViduClient("test-key", base_url=server.url) as vidu:
        server.others = {"GET /a": faulty.answer(200, MP4 + b"a"), "GET /b": faulty.answer(200, MP4 + b"b")}
        results = tuple(Creation(task_id="7", id=name, url=f"{server.url}/{name}") for name in "ab")
        task = Task(id="7", state=TaskState.SUCCESS, creations=results)
        paths = await vidu.download_all(task, tmp_path / "out")
        assert [path.name for path in paths] == ["7-a.mp4", "7-b.mp4"]
        assert [path.read_bytes()[-1:] for path in paths] == [b"a", b"b"]
        assert (await vidu.download(task, tmp_path)).name == "7-a.mp4"
        assert (await vidu.download(results[1], tmp_path)).name == "7-b.mp4"
        assert len(os.listdir(tmp_path / "out")) == 2


async def test_handles_of_one_task_are_equal(vidu: ViduClient, sim: Simulator) -> None:
    """Wherever they come from."""
    handle = await vidu.submit(REQUEST)
    other = await vidu.submit(REQUEST)
    assert handle == vidu.attach(handle.task_id) == vidu.attach(handle.token)
    assert len({handle, vidu.attach(handle.task_id), other}) == 2
    assert handle != handle.task_id
    async with sim.client() as second:
        assert second.attach(handle.token) == handle


async def test_what_is_unfinished_is_remembered_with_its_last_answer(vidu: ViduClient) -> None:
    """Also if nobody kept the handle."""
    await vidu.submit(REQUEST)
    (handle,) = vidu.unfinished()
    assert handle.state is TaskState.CREATED
    assert handle.task is not None
    assert handle.task.credits == 45


async def test_what_is_shown_is_short(vidu: ViduClient) -> None:
    """A repr names what is known, and nothing twice."""
    handle = await vidu.submit(REQUEST)
    completed = vidu.as_completed([handle])
    assert repr(completed) == "<Completed 0 of 1>"
    task = await handle
    assert "None" not in repr(task)
    assert "state=success" in repr(task)
    assert repr(handle.events()) == f"<Events of <TaskHandle {handle.task_id} success>>"
    assert repr(vidu.attach("5")) == "<TaskHandle 5 not looked at yet>"
    assert [repr(each) async for each in completed] == [repr(handle)]
    assert repr(completed) == "<Completed 1 of 1>"
