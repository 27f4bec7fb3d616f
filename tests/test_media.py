"""Pictures and clips: known by their bytes wherever a request has them, or refused before anything is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import PNG, avi, data_url, jpeg, mov, mp4, png, webp

from vidu_async import (
    ImageToVideo,
    RawRequest,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    ValidationError,
    ViduClient,
    request_from_wire,
)
from vidu_async.bodies import body_of
from vidu_async.kinds import SUFFIXES, kind_of
from vidu_async.local_files import LocalFile
from vidu_async.media import digest, has_files, has_local, resolved

JPEG, WEBP, MP4, MOV, AVI = jpeg(), webp(), mp4(), mov(), avi()
LINK = "https://example.com/fox.png"
LIMIT = 20 * 1024 * 1024

PICTURES = {"image/png": PNG, "image/jpeg": JPEG, "image/webp": WEBP}
CLIPS = {"video/mp4": MP4, "video/quicktime": MOV, "video/x-msvideo": AVI}


_names = st.sampled_from(["a", "b", "images2"])
_values = st.sampled_from([None, 0, 1, True, 1.0, "", "1", "sha256", PNG, png(label=b"2")])
_bodies: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    _names,
    st.recursive(_values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_names, inner, max_size=2)),
)


def sent(body: dict[str, Any]) -> Any:
    """Return what a body is on the wire, read back."""

    async def whole() -> bytes:
        return b"".join([piece async for piece in body_of(resolved(body)).pieces()])

    return json.loads(asyncio.run(whole()))


def picture(content: Any) -> dict[str, Any]:
    """Return a body with one picture."""
    return {"model": "m", "images": [content]}


def write(path: Path, content: bytes) -> Path:
    """Make a file."""
    path.write_bytes(content)
    return path


# What a file is


@pytest.mark.parametrize(("kind", "content"), {**PICTURES, **CLIPS}.items())
def test_a_file_is_what_its_first_bytes_say(kind: str, content: bytes) -> None:
    """And there is a suffix for each kind that results come in."""
    assert kind_of(content) == kind
    assert kind in SUFFIXES


@given(content=st.binary(max_size=40))
def test_any_first_bytes_are_a_kind_or_none(content: bytes) -> None:
    """Bytes too few to tell are none."""
    assert kind_of(content) is None or "/" in str(kind_of(content))
    assert kind_of(content[:1]) is None


@pytest.mark.parametrize(("kind", "content"), PICTURES.items())
@pytest.mark.parametrize("name", ["fox.jpg", "fox.png", "fox", "fox.txt", "fox.mp4", "Füchsin mit Spaß.JPEG"])
def test_a_picture_goes_out_as_what_it_is_whatever_its_name(
    tmp_path: Path, kind: str, content: bytes, name: str
) -> None:
    """A PNG called .jpg is a PNG."""
    path = write(tmp_path / name, content)

    for given_as in (path, str(path), os.fspath(path)):
        assert sent(picture(given_as)) == picture(data_url(kind, content))


@pytest.mark.parametrize(("kind", "content"), CLIPS.items())
def test_a_clip_goes_out_as_what_it_is(tmp_path: Path, kind: str, content: bytes) -> None:
    """In the field for clips."""
    path = write(tmp_path / "clip", content)

    assert sent({"videos": [path, content, str(path)]}) == {"videos": [data_url(kind, content)] * 3}


@given(rest=st.binary(max_size=3000))
def test_a_data_url_decodes_to_the_same_bytes(rest: bytes) -> None:
    """Whatever follows the first ones."""
    (url,) = sent(picture(png(label=rest)))["images"]
    head, _, content = url.partition(",")

    assert head == "data:image/png;base64"
    assert base64.b64decode(content, validate=True) == png(label=rest)


@pytest.mark.parametrize(
    "url",
    [
        LINK,
        "HTTPS://example.com/fox.png",
        "http://example.com/fox.png?sig=1&b=%20",
        "ssupload:?id=42",
    ],
)
def test_what_is_remote_goes_out_untouched(url: str) -> None:
    """And costs no look at the disk."""
    body = {**picture(url), "subjects": [{"videos": [url]}]}

    assert not has_local(body)
    assert sent(body) == body


def test_a_home_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell would."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "fox.png", PNG)

    assert sent(picture("~/fox.png")) == picture(data_url("image/png", PNG))


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """It is the file that counts."""
    (tmp_path / "link").symlink_to(write(tmp_path / "fox.png", PNG))

    assert sent(picture(tmp_path / "link")) == picture(data_url("image/png", PNG))


# What is refused


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("image/gif", b"GIF89a\x80\0\x80\0"),
        ("image/gif", b"GIF87a\x80\0\x80\0"),
        ("image/bmp", b"BM\x8a\0\0\0\0\0\0\0"),
        ("image/tiff", b"II*\0\x08\0\0\0"),
        ("image/tiff", b"MM\0*\0\0\0\x08"),
        ("image/avif", b"\0\0\0\x20ftypavif\0\0\0\0"),
        ("image/heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
        ("image/heic", b"\0\0\0\x18ftyptmap\0\0\0\0mif1heic"),
        ("image/x-canon-cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
        ("image/svg", b'<svg xmlns="http://www.w3.org/2000/svg">'),
        ("xml", b'<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg">'),
        ("text/html", b"<!DOCTYPE html><html><body>Not found"),
        ("text/html", b"\n<html>\n<head>"),
        ("video/mp4", MP4),
        ("video/webm", b"\x1aE\xdf\xa3\x9fB\x86\x81"),
        ("empty", b""),
    ],
)
def test_what_is_no_picture_is_refused_with_its_real_type(tmp_path: Path, kind: str, content: bytes) -> None:
    """Whatever it is called, and as bytes as well; the message also says what would do."""
    for given_as in (write(tmp_path / "fox.png", content), content):
        with pytest.raises(ValidationError) as refused:
            resolved(picture(given_as))

        assert kind in str(refused.value)
        assert "image/png" in str(refused.value)
        assert refused.value.field == "images[0]"
        assert {*(refused.value.allowed or ())} == {*PICTURES}


@pytest.mark.parametrize("content", [PNG, b"\x1aE\xdf\xa3\x9fB\x86\x81", b"\0\0\0\x20ftypM4A \0\0\0\0", b"text"])
def test_what_is_no_clip_is_refused(content: bytes) -> None:
    """MP4, MOV and AVI are what is taken; sound alone has the box of an MP4."""
    with pytest.raises(ValidationError) as refused:
        resolved({"videos": [LINK, content]})

    assert refused.value.field == "videos[1]"
    assert {*(refused.value.allowed or ())} == {*CLIPS}


def test_an_unknown_files_message_shows_no_more_than_its_beginning() -> None:
    """It may be anybody's letter."""
    with pytest.raises(ValidationError) as refused:
        resolved(picture(b"Dear Ada, the password is s3cret"))

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "fox.png",
        "no/such/folder/fox.png",
        "file:///etc/hostname",
        "ftp://example.com/fox.png",
        "s3://bucket/fox.png",
        "example.com/fox.png",
        " https://example.com/fox.png",
        "the fox runs",
        base64.b64encode(png(size=2000)).decode(),
        "fox\0.png",
        "fox\ud800.png",
        "f" * 5000,
        "~nobody-of-this-name/fox.png",
        "",
    ],
)
def test_e18_a_text_that_is_neither_a_url_nor_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """E18: a mistyped name, or bare base64, is never sent to be charged for."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValidationError) as refused:
        resolved(picture(name))

    assert refused.value.field == "images[0]"
    assert len(str(refused.value)) < 300
    assert not isinstance(refused.value.__cause__, OSError)


@pytest.mark.parametrize(
    "link",
    [
        "htps://fox:5ecre7@example.com/fox.png?sig=5ecre7",
        "https:/example.com/fox.png?5ecre7",
        "//fox:5ecre7@example.com/fox.png",
        " https://fox:5ecre7@example.com/fox.png",
        "example.com/fox.png?X-Amz-Signature=5ecre7",
        Path("https://fox:5ecre7@example.com/fox.png?sig=5ecre7"),
    ],
)
def test_e19_a_link_that_was_mistyped_is_shown_without_its_secrets(link: str | Path) -> None:
    """E19: it is taken for a path then, also in a file of jobs, whose folder comes before it."""
    asked = ImageToVideo(model="viduq3-turbo", images=[link])
    below = request_from_wire("img2video", {"model": "viduq3-turbo", "images": [link]}, base_dir="jobs")

    for request in (asked, below):
        with pytest.raises(ValidationError, match=r"example\.com/fox\.png") as refused:
            resolved(request.to_wire())
        assert "5ecre7" not in f"{refused.value}{request!r}"


def test_e17_a_missing_file_in_a_deep_folder_is_named() -> None:
    """E17: a file of jobs may be far away; what is missing is at the end."""
    asked = request_from_wire("img2video", {"model": "viduq3-turbo", "images": ["fox.png"]}, base_dir="/a-folder" * 20)

    with pytest.raises(ValidationError, match=r"a-folder/fox\.png' is neither"):
        resolved(asked.to_wire())


@pytest.mark.parametrize("name", ["fox?.png", "why?/not=1.png", "fox@home/fox.png", "C:/fox@home/fox.png"])
def test_e18_a_mistyped_path_is_shown_whole(name: str) -> None:
    """E18: or nobody finds the slip."""
    with pytest.raises(ValidationError, match=re.escape(repr(name))):
        resolved(picture(name))


def test_e17_a_missing_file_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E17: before a permit is taken."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValidationError, match=r"fox\.png.*No such file") as refused:
        resolved({"images": [LINK, Path("fox.png")]})

    assert (refused.value.field, refused.value.value) == ("images[1]", Path("fox.png"))


def test_e17_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """E17: a folder; a pipe, which would wait for its writer; a device, which never ends."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")

    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null"), tmp_path / "link"):
        with pytest.raises(ValidationError, match="regular file"):
            resolved(picture(path))


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    """It leads nowhere."""
    path = write(tmp_path / "fox.png", PNG)

    with pytest.raises(ValidationError, match="Not a directory"):
        resolved(picture(path / "fox.png"))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_files_that_do_not_fit_into_a_body_are_refused(tmp_path: Path, count: int) -> None:
    """20 MiB is what the API takes, base64 and all."""
    path = write(tmp_path / "fox.png", png(size=LIMIT // count))

    with pytest.raises(ValidationError, match="links") as refused:
        resolved({"images": [path] * count})

    assert refused.value.allowed == (LIMIT,)


# Where files are looked for


def test_files_are_found_wherever_a_request_has_them(tmp_path: Path) -> None:
    """The typed ones."""
    path = write(tmp_path / "fox.png", PNG)
    clip = write(tmp_path / "fox.mp4", MP4)
    frames = StartEndToVideo(model="m", images=[str(path), LINK])
    cast = ReferenceToVideo(
        model="m", prompt="@a @b", subjects=[Subject(name="a", images=[path, LINK]), Subject(name="b", videos=[clip])]
    )

    assert sent(frames.to_wire())["images"] == [data_url("image/png", PNG), LINK]
    assert sent(cast.to_wire())["subjects"] == [
        {"name": "a", "images": [data_url("image/png", PNG), LINK]},
        {"name": "b", "videos": [data_url("video/mp4", MP4)]},
    ]


def test_a_refused_files_place_leads_to_it(tmp_path: Path) -> None:
    """Through lists and subjects."""
    cast = ReferenceToVideo(
        model="m",
        prompt="@a @b",
        subjects=[Subject(name="a", images=[LINK]), Subject(name="b", images=[LINK, b"GIF89a"])],
    )

    with pytest.raises(ValidationError, match=r"subjects\[1\]\.images\[1\]") as refused:
        resolved(cast.to_wire())
    assert refused.value.field == "subjects[1].images[1]"


def test_bytes_and_paths_are_found_at_any_depth_of_a_raw_request(tmp_path: Path) -> None:
    """Whose fields nobody here knows; a text may be anything there, and stays."""
    path = write(tmp_path / "fox.png", PNG)
    fields: dict[str, Any] = {
        "start_image": path,
        "prompt": str(path),
        "image_settings": [{"key_image": JPEG, "duration": 5}, {"deep": {"er": [(path, LINK)]}}],
        "video": MP4,
    }
    request = RawRequest("multiframe", fields)

    assert has_local(request.to_wire())
    assert sent(request.to_wire()) == {
        "start_image": data_url("image/png", PNG),
        "prompt": str(path),
        "image_settings": [
            {"key_image": data_url("image/jpeg", JPEG), "duration": 5},
            {"deep": {"er": [[data_url("image/png", PNG), LINK]]}},
        ],
        "video": data_url("video/mp4", MP4),
    }


def test_bytes_in_extra_go_out_like_any_others() -> None:
    """Fields of tomorrow may take files, too."""
    request = ImageToVideo(model="m", images=[LINK], extra={"last_frame": PNG})

    assert sent(request.to_wire())["last_frame"] == data_url("image/png", PNG)


@pytest.mark.parametrize("content", [b"GIF89a", b"text", b""])
def test_bytes_that_are_neither_a_picture_nor_a_clip_are_refused_anywhere(content: bytes) -> None:
    """Nobody knows what the field takes, but these nothing does."""
    with pytest.raises(ValidationError) as refused:
        resolved({"settings": [{"image": content}]})

    assert refused.value.field == "settings[0].image"


@pytest.mark.parametrize(
    ("body", "is_local"),
    [
        (None, False),
        ({}, False),
        (picture(LINK), False),
        (picture("fox.png"), True),
        (picture(PNG), True),
        ({"prompt": "fox.png"}, False),
        ({"subjects": [{"images": ["fox.png"]}]}, True),
        ({"a": {"b": [{"c": Path("fox.png")}]}}, True),
    ],
)
def test_it_is_known_beforehand_whether_the_disk_will_be_touched(body: dict[str, Any] | None, is_local: bool) -> None:
    """Which belongs in a thread."""
    assert has_local(body) is is_local


def test_the_given_body_stays_as_it_was(tmp_path: Path) -> None:
    """And the resolved one names its files without holding their content."""
    path = write(tmp_path / "fox.png", PNG)
    body = {"subjects": [{"images": [str(path)]}]}
    found = resolved(body)

    assert body == {"subjects": [{"images": [str(path)]}]}
    (file,) = found["subjects"][0]["images"]
    assert (file.source, file.kind, file.size) == (path, "image/png", len(PNG))
    assert has_files(found)
    assert not has_files(body)


# Digests


def test_a_digest_differs_when_a_files_content_does(tmp_path: Path) -> None:
    """Under the same name and of the same length."""
    path = write(tmp_path / "fox.png", png(label=b"a"))
    before = digest(resolved(picture(path)))
    again = digest(resolved(picture(path)))
    write(path, png(label=b"b"))

    assert again == before
    assert digest(resolved(picture(path))) != before


def test_a_digest_is_the_same_for_the_same_content(tmp_path: Path) -> None:
    """Wherever it is, and in whichever order the fields are."""
    path = write(tmp_path / "fox.png", PNG)

    assert digest(resolved({"images": [path], "model": "m"})) == digest(resolved({"model": "m", "images": [PNG]}))


@pytest.mark.parametrize(
    "other",
    [
        {"model": "m", "seed": 2},
        {"model": "m", "seed": "1"},
        {"model": "m", "seed": True},
        {"model": "m"},
        {"model": "m", "seed": 1, "images": []},
        {"model": "M", "seed": 1},
    ],
)
def test_a_digest_differs_when_anything_else_does(other: dict[str, Any]) -> None:
    """Types and letters' cases, too."""
    assert digest(other) != digest({"model": "m", "seed": 1})


@pytest.mark.parametrize("keys", [{1: "a", "b": "c"}, {None: 1, "b": 2}])
def test_a_digest_is_made_of_whatever_is_sent(keys: dict[Any, Any]) -> None:
    """JSON makes texts of such keys."""
    body = {"a": keys}

    assert digest(body) == digest(sent(body))


def test_a_digest_tells_a_file_from_what_looks_like_its_hash(tmp_path: Path) -> None:
    """No text, list or object that somebody writes can stand for a file."""
    path = write(tmp_path / "fox.png", PNG)
    value = hashlib.sha256(PNG).hexdigest()
    bodies: list[dict[str, Any]] = [
        {"a": look_alike}
        for look_alike in (value, {"sha256": value}, {"": value}, [value], f'{{sha256: "{value}"}}', "sha256")
    ]

    assert digest(resolved({"a": path})) not in {digest(body) for body in bodies}
    assert digest(resolved({"a": path, "b": {"sha256": value}})) != digest(
        resolved({"a": {"sha256": value}, "b": path})
    )


@given(body=_bodies, other=_bodies)
def test_two_bodies_share_a_digest_only_if_they_are_sent_alike(body: dict[str, Any], other: dict[str, Any]) -> None:
    """And always if they differ by the order of their fields alone."""
    turned = dict(reversed(body.items()))

    assert digest(resolved(body)) == digest(resolved(turned))
    is_same = json.dumps(sent(body), sort_keys=True) == json.dumps(sent(other), sort_keys=True)
    assert (digest(resolved(body)) == digest(resolved(other))) is is_same


def test_a_digest_of_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    """15 MB are read, and never held at once."""
    path = write(tmp_path / "fox.png", png(size=15 * 10**6))
    body = resolved(picture(path))

    tracemalloc.start()
    try:
        digest(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2 * 10**6


class Counting(ThreadPoolExecutor):
    """Counts what is done in its threads."""

    done = 0

    def submit(self, *call: Any, **more: Any) -> Future[Any]:
        """Count, and do it."""
        self.done += 1
        return super().submit(*call, **more)


@pytest.mark.parametrize(("size", "in_threads"), [(1000, 0), (200_000, 2)])
async def test_a_long_data_url_is_looked_into_and_hashed_beside_the_event_loop(
    size: int, in_threads: int, vidu: ViduClient
) -> None:
    """Twenty megabytes take a tenth of a second each time; a short one is not worth a thread."""
    threads = Counting()
    asyncio.get_running_loop().set_default_executor(threads)

    await vidu.fingerprint(ImageToVideo(model="viduq3-turbo", images=[data_url("image/png", png(size=size))]))

    assert threads.done == in_threads


_FORK = """
import os, sys
from vidu_async.local_files import _hashing
from vidu_async.media import digest, resolved
body = resolved({"model": "m", "images": [sys.argv[1]]})
with _hashing:
    child = os.fork()
    if not child:
        os._exit(digest(body) != sys.argv[2])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_forked_while_a_file_was_hashed_can_hash_its_own(tmp_path: Path) -> None:
    """The thread that had its turn does not exist there, and would never end it."""
    path = write(tmp_path / "fox.png", PNG)
    command = [sys.executable, "-c", _FORK, str(path), digest(resolved(picture(path)))]

    subprocess.run(command, check=True, timeout=30)


# What was looked at


def test_a_local_file_shows_no_content() -> None:
    """Its repr ends up in logs."""
    assert "s3cret" not in repr(LocalFile(PNG + b"s3cret", "image/png", 14))


def test_a_path_that_is_also_a_text_is_a_path_wherever_it_stands(tmp_path: Path) -> None:
    """Some libraries' paths are texts, too; its name would be paid for as if it were the picture."""

    class Named(str):
        __slots__ = ()

        def __fspath__(self) -> str:
            return str(self)

    (tmp_path / "fox.png").write_bytes(PNG)
    found = resolved({"first_frame": Named(tmp_path / "fox.png")})
    assert isinstance(found["first_frame"], LocalFile)


def test_a_text_of_an_enum_is_a_path_where_a_field_is_for_media(tmp_path: Path) -> None:
    """And the text that it is elsewhere."""
    (tmp_path / "fox.png").write_bytes(PNG)
    place = StrEnum("Place", {"FOX": str(tmp_path / "fox.png")}).FOX  # type: ignore[attr-defined]  # made here
    found = resolved({"images": [place], "style": place})

    assert isinstance(found["images"][0], LocalFile)
    assert found["style"] is place


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that can be opened and not read")
def test_a_file_that_cannot_be_read_is_refused() -> None:
    """Some disks say so only when they are asked."""
    with pytest.raises(ValidationError, match="nor a readable file .Input/output error."):
        resolved(picture("/proc/self/mem"))
