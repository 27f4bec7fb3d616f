"""The simulated store of results."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Mapping

import pytest
from asking import FOX, KEY, TEXT, Caller, calling

from vidu_async.testing.links import LinkRefused, Links


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    """A simulator, and somebody who asks it."""
    async with calling() as caller:
        yield caller


def boxes(content: bytes) -> list[tuple[str, bytes]]:
    """Return the boxes of an MP4 file; fails unless they cover it exactly."""
    found = []
    while content:
        size, kind = struct.unpack(">I4s", content[:8])
        assert 8 <= size <= len(content)
        found.append((kind.decode(), content[8:size]))
        content = content[size:]
    return found


def pixels(content: bytes) -> tuple[int, int, set[bytes]]:
    """Return width, height and the distinct pixels of a PNG; fails unless every checksum is right."""
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        checked = content[at + 4 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size]) == (zlib.crc32(checked),)
        chunks[checked[:4]] = checked[4:]
        at += 12 + size
    assert list(chunks)[-1] == b"IEND"
    width, height = struct.unpack(">2I", chunks[b"IHDR"][:8])
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * (1 + 3 * width)
    rows = [raw[row * (1 + 3 * width) + 1 : (row + 1) * (1 + 3 * width)] for row in range(height)]
    return width, height, {row[at : at + 3] for row in rows for at in range(0, len(row), 3)}


async def test_a_finished_video_can_be_fetched_and_is_a_film(caller: Caller) -> None:
    """The link needs no key, and the file is made of whole MP4 boxes, its own id in the last."""
    answer = await caller.finished(body=FOX | {"watermark": True})
    (creation,) = answer["creations"]
    assert creation["video"] == {
        "duration": 5.0,
        "fps": 24,
        "resolution": {"width": 1920, "height": 1080},
    }
    contents = {}
    for name in ("url", "watermarked_url"):
        async with caller.session.get(creation[name]) as response:
            assert (response.status, response.content_type) == (200, "video/mp4")
            contents[name] = await response.read()
        kinds = [kind for kind, _ in boxes(contents[name])]
        assert kinds[:2] == ["ftyp", "moov"]
        assert kinds[-1] == "free"
        assert "mdat" in kinds
    assert boxes(contents["url"])[-1] == ("free", answer["id"].encode())
    assert contents["url"] != contents["watermarked_url"]


@pytest.mark.parametrize(("ratio", "size"), [("16:9", (384, 216)), ("2:3", (256, 384)), ("auto", (384, 216))])
async def test_a_finished_image_has_the_shape_asked_for(caller: Caller, ratio: str, size: tuple[int, int]) -> None:
    """A whole PNG with more than one colour, and a cover beside it."""
    answer = await caller.finished("reference2image", TEXT | {"aspect_ratio": ratio})
    (creation,) = answer["creations"]
    assert "video" not in creation
    for name in ("url", "cover_url"):
        async with caller.session.get(creation[name]) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            width, height, colours = pixels(await response.read())
        assert (width, height) == size
        assert len(colours) > 20


async def test_two_tasks_never_yield_the_same_bytes(caller: Caller) -> None:
    """Nor do two queries of one task yield different ones."""
    contents = []
    first, second = [await caller.finished() for _ in range(2)]
    for answer in (first, second, await caller.query(first["id"])):
        async with caller.session.get(answer["creations"][0]["url"]) as response:
            contents.append(await response.read())
    assert contents[0] != contents[1]
    assert contents[0] == contents[2]


async def test_a_link_bears_no_key_beside_it_and_no_change(caller: Caller) -> None:
    """As an object store: 400 for a second permission, 403 for another signature, path or method."""
    url = (await caller.finished())["creations"][0]["url"]

    async def status(method: str, link: str, headers: Mapping[str, str] | None = None) -> tuple[int, bool]:
        async with caller.session.request(method, link, headers=headers) as response:
            return response.status, response.content_type == "application/xml"

    assert await status("GET", url, KEY) == (400, True)
    assert await status("GET", url.replace("Expires=86400", "Expires=99999")) == (403, True)
    assert await status("GET", url.replace("general.mp4", "cover.png")) == (403, True)
    assert await status("GET", url.partition("?")[0]) == (403, True)
    assert await status("HEAD", url) == (403, True)
    assert await status("GET", url) == (200, False)


def test_a_link_expires() -> None:
    """A second after its time, and not before."""
    links = Links("http://x", b"secret")
    path, _, query = links.sign("/results/1/general.mp4", 1000.0, 60).removeprefix("http://x").partition("?")
    parameters = dict(part.split("=") for part in query.split("&"))
    links.check("GET", path, parameters, 1060.0)
    with pytest.raises(LinkRefused, match="expired") as refused:
        links.check("GET", path, parameters, 1061.0)
    assert (refused.value.status, refused.value.code) == (403, "AccessDenied")


async def test_a_part_of_a_result_can_be_fetched(caller: Caller) -> None:
    """Ranges, as a download that goes on where it stopped asks for them."""
    url = (await caller.finished())["creations"][0]["url"]
    async with caller.session.get(url) as response:
        whole, etag = await response.read(), response.headers["ETag"]

    async def part(wanted: str, **headers: str) -> tuple[int, str | None, bytes]:
        async with caller.session.get(url, headers={"Range": wanted, **headers}) as response:
            return response.status, response.headers.get("Content-Range"), await response.read()

    size = len(whole)
    assert await part("bytes=100-") == (206, f"bytes 100-{size - 1}/{size}", whole[100:])
    assert await part("bytes=0-9") == (206, f"bytes 0-9/{size}", whole[:10])
    assert await part("bytes=-5") == (206, f"bytes {size - 5}-{size - 1}/{size}", whole[-5:])
    assert await part("bytes=100-", **{"If-Range": etag}) == (
        206,
        f"bytes 100-{size - 1}/{size}",
        whole[100:],
    )
    assert await part("bytes=100-", **{"If-Range": '"other"'}) == (200, None, whole)
    assert await part("lines=1-2") == (200, None, whole)
    assert (await part(f"bytes={size}-"))[:2] == (416, f"bytes */{size}")
