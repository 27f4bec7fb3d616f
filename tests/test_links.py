"""Pictures named by a URL or written out in one: checked to the letter, without telling secrets."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import PNG, PNG_URL, avi, data_url, jpeg, mov, mp4, png

from vidu_async import (
    Gateway,
    ImageToVideo,
    RawRequest,
    ReferenceToVideo,
    Subject,
    ValidationError,
    ViduClient,
    ViduWarning,
)
from vidu_async.media import examined, has_local, resolved
from vidu_async.protocol.checks import shown
from vidu_async.testing import Simulator

SECRET = "s3cret"
CONTENT = base64.b64encode(PNG).decode()


def picture(given_as: Any, field: str = "images") -> dict[str, Any]:
    """Return a body with one picture."""
    return {"model": "m", field: [given_as]}


def refused(given_as: Any, field: str = "images") -> str:
    """Have it refused, and return the message."""
    with pytest.raises(ValidationError) as caught:
        resolved(picture(given_as, field))
    assert (caught.value.field, caught.value.paid) == (f"{field}[0]", "no")
    assert len(str(caught.value)) < 400
    return str(caught.value)


# Data URLs


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (PNG_URL, "images"),
        (PNG_URL.replace("image/png", "Image/PNG"), "images"),
        (data_url("image/jpg", jpeg()), "images"),
        (data_url("video/mp4", mov()), "videos"),
        (data_url("video/quicktime", mp4()), "videos"),
        (data_url("video/avi", avi()), "videos"),
    ],
)
def test_e20_a_data_url_that_is_right_goes_out_byte_for_byte(url: str, field: str) -> None:
    """E20: also under another name of its type."""
    assert resolved(picture(url, field)) == picture(url, field)


@given(label=st.binary(max_size=50))
def test_e20_whatever_base64_makes_is_taken(label: bytes) -> None:
    """E20: of any length, with whichever padding."""
    url = data_url("image/png", png(label=label))

    assert resolved(picture(url)) == picture(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"data:;base64,{CONTENT}", "'data:;base64,...'"),
        (f"data:base64,{CONTENT}", "with the file's own type"),
        (f"data:image/png,{CONTENT}", "with the file's own type"),
        (f"DATA:image/png;base64,{CONTENT}", "with the file's own type"),
        (f"data:image/png;BASE64,{CONTENT}", "with the file's own type"),
        (f"data:image/png;base64{CONTENT}", "with the file's own type"),
        (f"data:image/png;charset=utf-8;base64,{CONTENT}", "with the file's own type"),
        (f"data: image/png;base64,{CONTENT}", "with the file's own type"),
        ("data:", "with the file's own type"),
        (f"data:image/png;base64, {CONTENT}", "' ' at character 0 is white space"),
        (f"data:image/png;base64,{CONTENT[:76]}\n{CONTENT[76:]}", r"'\n' at character 76 is white space"),
        (f"data:image/png;base64,{CONTENT}\n", "white space"),
        (f"data:image/png;base64,-{CONTENT[1:]}", "'-' at character 0 is of the alphabet for URLs"),
        (f"data:image/png;base64,{CONTENT[:-9]}_{CONTENT[-8:]}", "of the alphabet for URLs"),
        (f"data:image/png;base64,{CONTENT.rstrip('=')[:-1]}%3D", "escaped for a URL"),
        (f"data:image/png;base64,{CONTENT}ü", "none of its letters"),
        (f"data:image/png;base64,{CONTENT[:-1]}", "no base64"),
        (f"data:image/png;base64,{CONTENT}====", "no base64"),
        (f"data:image/png;base64,{CONTENT[:8]}=={CONTENT[8:]}", "no base64"),
        ("data:image/png;base64,", "an empty file"),
        (data_url("image/png", jpeg()), "says image/png, but what it holds is image/jpeg"),
        (data_url("text/plain", PNG), "says text/plain, but what it holds is image/png"),
        (data_url("image/png", b"GIF89a"), "not image/gif"),
        (data_url("image/gif", b"GIF89a"), "not image/gif"),
        (data_url("text/html", b"<html>"), "not text/html"),
        (data_url("video/mp4", mp4()), "not video/mp4"),
        (data_url("image/png", PNG[:-1]), "cut short"),
    ],
)
def test_e20_a_data_url_that_is_wrong_is_refused_and_never_repaired(url: str, said: str) -> None:
    """E20: the message says what is wrong with it, and shows nothing of the picture."""
    message = refused(url)

    assert said in message
    assert CONTENT[20:60] not in message


def test_e20_data_urls_follow_the_rules_of_their_place(tmp_path: Path) -> None:
    """E20, E21: pixels and proportions; beside files, too."""
    with pytest.raises(ValidationError, match=r"subjects\[0\]\.images\[0\] is 100x100 pixels in a data URL"):
        examined({"subjects": [{"images": [data_url("image/png", png(100, 100))]}]}, "reference2video")
    (tmp_path / "fox.png").write_bytes(png(500, 500))
    frames = [data_url("image/png", png(1920, 1080)), tmp_path / "fox.png"]
    with pytest.raises(ValidationError, match="1920x1080 and 500x500"):
        examined({"images": frames}, "start-end2video")
    with pytest.raises(ValidationError, match="cut short"):
        resolved({"settings": [{"key_image": PNG_URL[:-40]}]})


def test_e20_a_text_that_looks_like_a_data_url_stays_one_elsewhere() -> None:
    """E20: a prompt may begin so."""
    body = {"prompt": "data: a fox", "watermark": {"wm_url": "data:,x"}}

    assert resolved(body) == body


def test_e20_a_data_url_larger_than_a_request_is_refused_undecoded() -> None:
    """E20: and one that takes a while is looked at in a thread."""
    assert "give links" in refused("data:image/png;base64," + "A" * (20 * 2**20))
    assert has_local(picture(data_url("image/png", png(size=100_000))))
    assert not has_local(picture(PNG_URL))


# Links


@pytest.mark.parametrize(
    "url",
    [
        "file:///home/ada/fox.png",
        f"ftp://ada:{SECRET}@example.com/fox.png",
        f"s3://bucket/fox.png?X-Amz-Signature={SECRET}",
        f"blob:https://ada:{SECRET}@example.com/1",
        f" https://example.com/fox.png?sig={SECRET}",
        f"htps://example.com/fox.png?{SECRET}",
    ],
)
def test_e18_e19_what_is_neither_a_link_nor_a_file_is_refused_without_its_secrets(url: str) -> None:
    """E18, E19: a mistyped or unknown scheme is no path, and what is signed is not shown."""
    message = refused(url)

    assert "neither an http(s) or data URL nor a readable file" in message
    assert SECRET not in message


DOUBTFUL = {
    "http://localhost/fox.png": "out of reach",
    "https://LOCALHOST:8000/fox.png": "out of reach",
    "http://127.0.0.1:8000/fox.png": "out of reach",
    "http://[::1]/fox.png": "out of reach",
    "http://10.1.2.3/fox.png": "out of reach",
    "http://192.168.1.2/fox.png": "out of reach",
    "http://169.254.169.254/latest/meta-data": "out of reach",
    "http://nas/fox.png": "out of reach",
    "https:///fox.png": "no URL that can be asked for",
    "https://example.com:fox/fox.png": "no URL that can be asked for",
    f"https://ada:{SECRET}@example.com/fox.png": "user or password",
    f"https://example.com/fox.png?sig={SECRET}&pad={'x' * 2048}": "characters",
}


@pytest.mark.parametrize("url", DOUBTFUL)
def test_e19_a_link_that_may_not_be_fetched_is_in_doubt(url: str) -> None:
    """E19: in a request and in a subject of one; the doubt shows no secret."""
    cast = Subject(name="fox", images=[url])
    for request, field in (
        (ImageToVideo(model="viduq3-turbo", images=[url]), "images[0]"),
        (ReferenceToVideo(model="viduq3-turbo", prompt="@fox", subjects=[cast]), "subjects[0].images[0]"),
        (cast, "images[0]"),
    ):
        (doubt,) = request.doubts()
        assert doubt.field == field
        assert DOUBTFUL[url] in str(doubt)
        assert SECRET not in str(doubt)
        assert SECRET not in repr(request)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/fox.png",
        "http://8.8.8.8/fox.png?a@b",
        f"https://example.com/{'x' * 2028}",
        "ssupload:?id=1",
    ],
)
def test_e19_a_common_link_is_in_no_doubt(url: str) -> None:
    """E19: up to 2048 characters."""
    assert ImageToVideo(model="viduq3-turbo", images=[url]).doubts() == ()


async def test_e19_a_link_to_this_machine_is_right_where_the_gateway_is_here_too(sim: Simulator) -> None:
    """E19: whoever tests against a simulator serves pictures beside it."""
    request = ImageToVideo(model="viduq3-turbo", images=["http://127.0.0.1:8000/fox.png"])
    async with sim.client(strict=True) as vidu:
        await vidu.submit(request)
    async with ViduClient("sk-x", gateway=Gateway(base_url="https://gateway.invalid"), strict=True) as far:
        with pytest.raises(ValidationError, match="out of reach") as caught:
            await far.submit(request)
    assert (caught.value.field, caught.value.paid) == ("images[0]", "no")


async def test_e19_no_secret_of_a_link_is_logged_or_warned_of(
    vidu: ViduClient, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """E19: from the submission to the end."""
    caplog.set_level(logging.DEBUG)
    request = ImageToVideo(model="viduq3-turbo", images=[f"https://ada:{SECRET}@example.com/fox.png?sig={SECRET}"])
    with pytest.warns(ViduWarning, match="user or password") as told:
        await vidu.run(request)

    assert len(sim.accepted) == 1
    assert SECRET not in caplog.text
    assert not any(SECRET in str(one.message) for one in told)


def test_e19_of_a_raw_request_nothing_is_known() -> None:
    """E19: its links pass."""
    assert RawRequest("extend", {"images": ["http://localhost/fox.png"]}).doubts() == ()


@given(url=st.text(max_size=60).map(lambda text: f"https://{text}"))
def test_e19_any_link_is_in_doubt_or_not(url: str) -> None:
    """E19: nothing else comes of the oddest."""
    if url.isprintable():
        assert len(ImageToVideo(model="viduq3-turbo", images=[url]).doubts()) < 2
    assert len(shown(url)) <= 100
