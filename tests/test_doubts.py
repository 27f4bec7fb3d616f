"""Doubts: what the API may refuse is warned of when it is submitted, or refused if so asked."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from attrs import evolve
from pictures import animated_png, png

from vidu_async import (
    Gateway,
    ImageToVideo,
    RawRequest,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    TextToVideo,
    ValidationError,
    ViduClient,
    ViduWarning,
    request_from_wire,
)
from vidu_async.testing import Simulator

LINK = "https://example.com/fox.png"
FOX = TextToVideo(model="viduq3-turbo", prompt="a fox")


async def warned(vidu: ViduClient, request: Any) -> list[warnings.WarningMessage]:
    """Submit, and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (await vidu.submit(request)).token
    # Python may be collecting what an earlier test has left behind.
    return [one for one in caught if not issubclass(one.category, ResourceWarning)]


DOUBTFUL: list[tuple[Any, str, str]] = [
    (evolve(FOX, model="viduq2", movement_amplitude="large"), "movement_amplitude", "has no effect with viduq2"),
    (evolve(FOX, prompt="fox " * 501), "prompt", "2000"),
    (evolve(FOX, off_peak=True, audio=False), "off_peak", "needs audio"),
    (ImageToVideo(model="viduq2", images=[LINK], is_rec=True, prompt="a fox"), "is_rec", "ignore the prompt"),
]


@pytest.mark.parametrize(("request_", "name", "said"), DOUBTFUL, ids=[name for _, name, _ in DOUBTFUL])
async def test_a_doubt_is_warned_of_and_the_request_is_sent(
    request_: Any, name: str, said: str, vidu: ViduClient, sim: Simulator
) -> None:
    """Pages are not always right. The warning points at the line that submits."""
    (warning,) = await warned(vidu, request_)

    assert warning.category is ViduWarning
    assert said in str(warning.message)
    assert str(warning.message).startswith(name)
    assert warning.filename == __file__
    assert len(sim.accepted) == 1


@pytest.mark.parametrize(("request_", "name", "said"), DOUBTFUL, ids=[name for _, name, _ in DOUBTFUL])
async def test_a_strict_client_refuses_what_is_in_doubt(request_: Any, name: str, said: str, sim: Simulator) -> None:
    """Before anything is sent."""
    async with sim.client(strict=True) as vidu:
        with pytest.raises(ValidationError) as refused:
            await vidu.submit(request_)

        assert (refused.value.field, refused.value.paid) == (name, "no")
        assert said in str(refused.value)
        assert not sim.requests
        await vidu.submit(FOX)


async def test_an_unknown_model_is_warned_of_with_the_nearest_known(vidu: ViduClient) -> None:
    """It goes out all the same: new ones appear."""
    with pytest.warns(ViduWarning, match="Did you mean 'viduq3-turbo'"), pytest.raises(Exception, match="Unavailable"):
        await vidu.submit(evolve(FOX, model="viduq3-trubo"))


async def test_what_is_not_in_doubt_is_silent(vidu: ViduClient) -> None:
    """As is what is sent unchecked."""
    for request in (FOX, RawRequest("text2video", {"model": "viduq3-turbo", "prompt": "a fox", "style": "anime"})):
        assert await warned(vidu, request) == []


async def test_a_warning_that_is_an_error_stops_the_request(vidu: ViduClient, sim: Simulator) -> None:
    """With `python -W error`, say."""
    with pytest.raises(ViduWarning):  # every warning is an error here
        await vidu.run(DOUBTFUL[0][0])

    assert not sim.requests


async def test_a_warning_of_run_points_at_its_caller_too(vidu: ViduClient) -> None:
    """And not into the library."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ViduWarning)
        await vidu.run(DOUBTFUL[0][0])

    assert [one.filename for one in caught if one.category is ViduWarning] == [__file__]


async def test_a_model_that_the_gateway_does_not_offer_is_in_doubt() -> None:
    """Where it says which it does."""
    ways = Gateway(base_url="https://gateway.example", models={"viduq3-turbo", "viduq1"})
    async with Simulator(ways=ways) as sim, sim.client(strict=True) as vidu:
        await vidu.submit(FOX)
        with pytest.raises(ValidationError, match="viduq1, viduq3-turbo") as refused:
            await vidu.submit(evolve(FOX, model="viduq2"))

    assert (refused.value.field, refused.value.allowed) == ("model", ("viduq1", "viduq3-turbo"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/cb", "http://localhost/cb"])
async def test_a_callback_to_this_machine_is_in_doubt_unless_the_gateway_is_here_too(url: str, sim: Simulator) -> None:
    """Whoever tests against a simulator is right to be called back here."""
    request = evolve(FOX, callback_url=url)
    assert [doubt.field for doubt in request.doubts()] == ["callback_url"]

    async with sim.client(strict=True) as vidu:
        await vidu.submit(request)
    gateway = Gateway(base_url="https://gateway.invalid")
    async with ViduClient("sk-x", gateway=gateway, strict=True) as far:
        with pytest.raises(ValidationError, match="callback_url"):
            await far.submit(request)


async def test_a_subject_in_doubt_is_weighed_before_it_is_stored(sim: Simulator) -> None:
    """Storing costs credits."""
    slip = Subject(name="fox", images=[LINK], extra={"voise_id": "v1"})
    async with sim.client(strict=True) as vidu:
        with pytest.raises(ValidationError, match="Did you mean 'voice_id'"):
            await vidu.create_subject(slip)
        with pytest.raises(ValidationError, match=r"subjects\[0\]\.extra"):
            await vidu.submit(ReferenceToVideo(model="viduq3-turbo", prompt="@fox", subjects=[slip]))

    assert not sim.requests


async def test_a_slip_in_a_row_of_a_file_is_found(sim: Simulator) -> None:
    """The picture alone would make a video, and be paid."""
    row = {"model": "viduq3-turbo", "images": [LINK], "Prompt": "a fox"}
    async with sim.client(strict=True) as vidu:
        with pytest.raises(ValidationError, match="Did you mean 'prompt'"):
            await vidu.submit(request_from_wire("img2video", row))


def test_strict_is_a_flag() -> None:
    """`strict="false"` would be true."""
    with pytest.raises(Exception, match="strict"):
        ViduClient("sk-x", strict="false")  # type: ignore[arg-type]


# What only the files show

LONG, MOVING = png(2000, 500), animated_png()
FRAMES = StartEndToVideo(model="viduq3-turbo", images=[png(1000, 1000), png(1200, 1200)])
SEEN: list[tuple[Any, str, str]] = [
    (ImageToVideo(model="viduq3-turbo", images=[LONG]), "images[0]", "exactly 4:1"),
    (ImageToVideo(model="viduq3-turbo", images=[MOVING]), "images[0]", "animated"),
    (FRAMES, "images", "0.8 to 1.25"),
    (
        ReferenceToVideo(model="viduq3-turbo", prompt="@a", subjects=[Subject(name="a", images=[LONG])]),
        "subjects[0].images[0]",
        "exactly 4:1",
    ),
]


@pytest.mark.parametrize(("request_", "name", "said"), SEEN, ids=[said for _, _, said in SEEN])
async def test_a_doubt_about_a_picture_goes_the_way_of_the_others(
    request_: Any, name: str, said: str, vidu: ViduClient, sim: Simulator
) -> None:
    """Warned of at the line that submits, although a thread has looked; refused by a strict client."""
    (warning,) = await warned(vidu, request_)
    assert (warning.category, warning.filename) == (ViduWarning, __file__)
    assert str(warning.message).startswith(name)
    assert said in str(warning.message)
    assert len(sim.accepted) == 1

    async with sim.client(strict=True) as strict:
        for call in (strict.submit(request_), strict.check(request_), strict.run(request_)):
            with pytest.raises(ValidationError, match="strict=True") as refused:
                await call
            assert (refused.value.field, refused.value.paid) == (name, "no")
    assert len(sim.accepted) == 1


async def test_a_warning_about_a_picture_names_the_key(vidu: ViduClient) -> None:
    """One of ten thousand rows."""
    with pytest.warns(ViduWarning, match="row-7: images.0. is 2000x500"):
        await vidu.submit(SEEN[0][0], key="row-7")


async def test_a_fingerprint_is_silent_about_pictures(vidu: ViduClient) -> None:
    """Nothing is about to be paid."""
    assert await vidu.fingerprint(SEEN[0][0])


async def test_a_picture_of_a_stored_subject_is_weighed(sim: Simulator) -> None:
    """Storing costs credits; small ones are refused."""
    async with sim.client(strict=True) as vidu:
        with pytest.raises(ValidationError, match="exactly 4:1"):
            await vidu.create_subject(Subject(name="fox", images=[LONG]))
        with pytest.raises(ValidationError, match="of subjects it takes at least 128x128"):
            await vidu.create_subject(Subject(name="fox", images=[png(127, 128)]))

    assert not sim.requests
