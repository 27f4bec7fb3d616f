"""Creations whose large pictures are uploaded first: each once, while nothing is sent, and nothing paid for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import faulty
import pytest
from stored import BEGIN, FINISH, PUT, TAKEN, URI, Site, picture, png, site

from vidu_async import (
    APIError,
    AuthenticationError,
    ConfigError,
    Gateway,
    ImageToVideo,
    Limits,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    ServerError,
    Subject,
    Timeouts,
    UnsupportedError,
    ValidationError,
    ViduClient,
    ViduError,
    testing,
)
from vidu_async.events import Event
from vidu_async.testing import Simulator, run_virtual

ABOVE = 1000
LINK = "https://example.com/a.png"


def moving(*images: Any, **fields: Any) -> ImageToVideo:
    """Return a request of a picture."""
    return ImageToVideo(model="viduq3-turbo", images=list(images), prompt="the fox runs", **fields)


# What goes which way


async def test_what_is_larger_goes_to_the_storage_and_the_rest_with_the_request(tmp_path: Path) -> None:
    """Exactly so many bytes stay; so do URLs, and what is uploaded already."""
    small, large = picture(tmp_path / "small.png", ABOVE), picture(tmp_path / "large.png", ABOVE + 1)
    request = ReferenceToImage(model="viduq2", prompt="both", images=[small, LINK, large, "ssupload:?id=7"])
    async with site(upload_above=ABOVE) as at:
        await at.vidu.submit(request)
        images = json.loads(at.gateway.creations[0].body)["images"]
        assert [image[:21] for image in images] == ["data:image/png;base64", LINK[:21], URI, "ssupload:?id=7"]
        assert [asked.body for asked in at.storage.asked] == [large.read_bytes()]


@pytest.mark.parametrize("upload_above", [None, 5_000_000])
async def test_nothing_is_uploaded_unless_it_is_told(upload_above: int | None) -> None:
    """By default every picture goes with its request."""
    async with site(upload_above=upload_above) as at:
        await at.vidu.submit(moving(png(2_000_000)))
        assert at.counted == {"create": 1}
        assert at.gateway.creations[0].length > 2_000_000


async def test_a_clip_stays_in_its_request() -> None:
    """The storage takes pictures alone."""
    clip = Path(testing.__file__).with_name("sample.mp4")
    request = RawRequest("reference2video", {"model": "viduq2-pro", "prompt": "p", "videos": [clip]})
    async with site(upload_above=0) as at:
        await at.vidu.submit(request)
        assert at.counted == {"create": 1}


async def test_subjects_and_other_endpoints_take_part(sim: Simulator) -> None:
    """Wherever in a request the picture is; the service has it."""
    fox = Subject(name="fox", images=[png(2000)])
    async with sim.client(upload_above=ABOVE) as vidu:
        await vidu.submit(ReferenceToVideo(model="viduq3-turbo", prompt="@fox runs", subjects=[fox]))
        await vidu.submit(RawRequest("img2video", {"model": "viduq2-pro", "images": [png(3000)]}))
        await vidu.create_subject(Subject(name="cat", images=[png(4000)]))
    uris = [upload.uri for upload in sim.uploads]
    assert [task.order.media for task in sim.accepted] == [[uris[0]], [uris[1]]]
    assert [upload.size for upload in sim.uploads] == [2000, 3000, 4000]


async def test_the_limit_of_a_request_counts_what_is_in_it(tmp_path: Path) -> None:
    """Three pictures of 9 MB are too much within, and nothing when they are uploaded."""
    images = [picture(tmp_path / f"{salt}.png", 9_000_000, salt) for salt in range(3)]
    request = ReferenceToImage(model="viduq2", prompt="all", images=images)
    async with site() as at, site(upload_above=ABOVE) as other:
        with pytest.raises(ValidationError, match="a request holds 20971520"):
            await at.vidu.submit(request)
        await other.vidu.check(request)
        await other.vidu.submit(request)
        assert not at.counted
        assert other.gateway.creations[0].length < 1000


async def test_what_the_storage_does_not_take_stays_in_its_request() -> None:
    """From 10 MB on, as long as a request holds it: the setting refuses nothing that was accepted without it."""
    async with site(upload_above=ABOVE) as at:
        await at.vidu.submit(moving(png(10 * 1024 * 1024)))
        assert at.counted == {"create": 1}


@pytest.mark.parametrize("upload_above", [-1, 1.5, "1 MB", True])
def test_a_number_of_bytes_that_is_none_is_refused(upload_above: Any) -> None:
    """When it is given."""
    with pytest.raises(ConfigError, match="upload_above= must be a number of bytes"):
        ViduClient("key", upload_above=upload_above)


def test_a_gateway_that_takes_no_uploads_is_no_place_for_it() -> None:
    """Which is known beforehand."""
    with pytest.raises(ConfigError, match="upload_above= needs a gateway that takes uploads"):
        ViduClient("key", gateway=Gateway(base_url="https://a.example", uploads=False), upload_above=1)


# Once


async def test_one_picture_of_fifty_submissions_at_once_is_uploaded_once(tmp_path: Path) -> None:
    """Under two names, too; every request holds its URI, and the permits are those of the limits."""
    paths = [picture(tmp_path / name) for name in ("fox.png", "copy.png")]
    requests = [moving(paths[number % 2], seed=number + 1) for number in range(50)]
    async with site(upload_above=ABOVE, limits=Limits(submissions=50)) as at:
        await asyncio.gather(*map(at.vidu.submit, requests))
        assert at.counted == {"begin": 1, "put": 1, "finish": 1, "create": 50}
        assert {json.loads(asked.body)["images"][0] for asked in at.gateway.creations} == {URI}


async def test_the_fingerprint_is_that_of_the_content() -> None:
    """Whichever way it goes."""
    async with site() as at, site(upload_above=0) as other:
        request = moving(png(2000))
        assert await at.vidu.fingerprint(request) == await other.vidu.fingerprint(request)
        assert not other.counted


async def test_a_key_that_names_a_task_uploads_nothing(tmp_path: Path) -> None:
    """In the next run, which has the same request and nothing in its memory."""
    path = picture(tmp_path / "fox.png")
    async with site(journal=tmp_path / "vidu.db") as at:
        handle = await at.vidu.submit(moving(path), key="fox")
        await at.vidu.aclose()
        gateway = at.vidu.gateway
        async with ViduClient("sk", gateway=gateway, journal=tmp_path / "vidu.db", upload_above=0) as again:
            assert (await again.submit(moving(path), key="fox")).task_id == handle.task_id
        assert at.counted == {"create": 1}


def test_a_creation_that_is_sent_again_uploads_nothing_again() -> None:
    """As after a 429."""

    async def main() -> None:
        async with site(upload_above=ABOVE) as at:
            at.gateway.creates = [*[faulty.refuse(429, "TooManyRequests")] * 2, faulty.created()]
            await at.vidu.submit(moving(png(2000)))
            assert at.counted == {"begin": 1, "put": 1, "finish": 1, "create": 3}

    run_virtual(main())


# Failing

REFUSALS: dict[str, tuple[str, faulty.Script, type[ViduError]]] = {
    "no uploads": (BEGIN, faulty.refuse(404, "NotFound"), UnsupportedError),
    "refused": (PUT, faulty.refuse(400, "no"), APIError),
    "throttled": (BEGIN, faulty.refuse(429, "TooManyRequests"), APIError),
    "a server that fails": (PUT, faulty.refuse(500, "no"), ServerError),
    "cut": (PUT, faulty.raw(b"HTTP/1.1 200 OK\r\nETag"), ViduError),
    "hung": (PUT, faulty.hang, ViduError),
    "not finished": (FINISH, faulty.refuse(400, "FieldInvalid"), APIError),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_failed_upload_is_an_unpaid_submission_and_its_key_is_free(name: str, tmp_path: Path) -> None:
    """Nothing of the creation was sent, the permit is back, and the same key submits once all is well."""
    step, script, kind = REFUSALS[name]

    async def main() -> None:
        events: list[Event] = []
        settings: dict[str, Any] = {"journal": tmp_path / "vidu.db", "limits": Limits(submissions=1)}
        async with site(upload_above=ABOVE, on_event=events.append, **settings) as at:
            servers = {BEGIN: at.gateway, FINISH: at.gateway, PUT: at.storage}
            well = servers[step].others[step]
            at.play(step, script)
            with pytest.raises(kind) as told:
                await at.vidu.submit(moving(png(2000)), key="fox")
            assert (told.value.paid, told.value.key, told.value.phase) == ("no", "fox", "queued")
            assert told.value.__context__ is None
            tries = sum(asked.place == step for asked in servers[step].asked)
            assert 1 <= tries <= 8
            assert not at.gateway.creations
            assert not at.vidu.unresolved()
            assert [type(event).__name__ for event in events] == ["Submitted", "SubmissionFailed"]
            if kind is UnsupportedError:
                return
            servers[step].others[step] = well
            await at.vidu.submit(moving(png(2000)), key="fox")
            await at.vidu.submit(moving(png(2000), seed=7), key="another")
            assert len(at.gateway.creations) == 2

    run_virtual(main())


def test_each_of_those_who_waited_is_told_of_its_own_submission() -> None:
    """One upload, two errors, with their own keys."""

    async def main() -> None:
        async with site(upload_above=ABOVE) as at:
            at.play(PUT, faulty.refuse(500, "no"))
            submits = [at.vidu.submit(moving(png(2000), seed=seed), key=f"row {seed}") for seed in (1, 2)]
            errors = await asyncio.gather(*submits, return_exceptions=True)
            assert [getattr(error, "key", None) for error in errors] == ["row 1", "row 2"]
            assert at.counted == {"begin": 1, "put": 4}

    run_virtual(main())


async def test_a_file_that_has_changed_is_not_uploaded(tmp_path: Path) -> None:
    """What was looked at is what is sent, or nothing is; here it changes while another submission is on its way."""
    path = picture(tmp_path / "fox.png")
    came, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        came.set()
        await go_on.wait()
        await faulty.created()(connection, asked)

    async with site(upload_above=ABOVE, limits=Limits(submissions=1)) as at:
        at.gateway.creates = [slowly, faulty.created()]
        first = asyncio.create_task(at.vidu.submit(moving(LINK)))
        await came.wait()
        second = asyncio.create_task(at.vidu.submit(moving(path)))
        while at.vidu._limiter.waiting != 1:
            await asyncio.sleep(0.01)
        picture(path, 3000, salt=1)
        go_on.set()
        with pytest.raises(ValidationError, match=r"fox\.png has changed"):
            await second
        await first
        assert at.counted == {"create": 1}


def taken_after(go_on: asyncio.Event) -> faulty.Script:
    """Return a storage's script that takes a picture once it may."""

    async def script(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await go_on.wait()
        await TAKEN(connection, asked)

    return script


async def test_what_stops_all_submissions_also_stops_one_whose_picture_is_on_its_way() -> None:
    """It would be refused like the others."""
    go_on = asyncio.Event()
    async with site(upload_above=ABOVE) as at:
        at.play(PUT, taken_after(go_on))
        at.gateway.creates = [faulty.refuse(401, "Unauthorized")]
        submit = asyncio.create_task(at.vidu.submit(moving(png(2000))))
        await until_it_hangs(at)
        with pytest.raises(AuthenticationError):
            await at.vidu.submit(moving(LINK))
        go_on.set()
        with pytest.raises(AuthenticationError, match="not sent, since all submissions stopped") as told:
            await submit
        assert told.value.paid == "no"
        assert len(at.gateway.creations) == 1


# Leaving


async def until_it_hangs(at: Site) -> None:
    """Wait until the picture has come to a storage that does not answer."""
    while not at.storage.asked:
        await asyncio.sleep(0.01)


async def test_a_caller_who_leaves_during_the_upload_withdraws_its_submission() -> None:
    """Nothing was sent; the key is free at once, and so is the place."""
    async with site(upload_above=ABOVE, limits=Limits(submissions=1)) as at:
        at.play(PUT, faulty.hang)
        submit = asyncio.create_task(at.vidu.submit(moving(png(2000)), key="fox"))
        await until_it_hangs(at)
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
        at.play(PUT, TAKEN)
        await at.vidu.submit(moving(LINK), key="fox")
        assert at.counted == {"begin": 1, "put": 1, "create": 1}


async def test_one_who_leaves_costs_the_other_submissions_nothing() -> None:
    """They wait for the same picture, which still goes there once."""
    go_on = asyncio.Event()
    async with site(upload_above=ABOVE) as at:
        at.play(PUT, taken_after(go_on))
        submits = [asyncio.create_task(at.vidu.submit(moving(png(2000), seed=seed))) for seed in (1, 2)]
        await until_it_hangs(at)
        while sum(delivery.waiting for delivery in at.vidu._deposits._under_way.values()) < 2:
            await asyncio.sleep(0.01)
        submits[0].cancel()
        await asyncio.wait(submits[:1])
        go_on.set()
        await submits[1]
        assert at.counted == {"begin": 1, "put": 1, "finish": 1, "create": 1}


async def test_a_client_that_is_closed_during_an_upload_sends_nothing() -> None:
    """And says so, at once."""
    async with site(upload_above=ABOVE, timeouts=Timeouts(read=60)) as at:
        at.play(PUT, faulty.hang)
        submit = asyncio.create_task(at.vidu.submit(moving(png(2000)), key="fox"))
        await until_it_hangs(at)
        await at.vidu.aclose()
        with pytest.raises(ConfigError, match="nothing is paid") as told:
            await submit
        assert told.value.paid == "no"
        assert not at.gateway.creations
