"""The simulated storage: a place is given, filled once by whoever has its link, and taken note of by its etag."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import Any

import pytest
from asking import KEY, TEXT, Caller, calling
from stored import png

from vidu_async import Gateway
from vidu_async.protocol.gateway import DOCUMENTED
from vidu_async.testing import Simulator, run_virtual

UPLOADS = "../../tools/v2/files/uploads"
PNG = png(500)
PLAIN = {"Content-Type": "image/png"}


async def begun(caller: Caller) -> dict[str, Any]:
    """Return what the first step is answered with."""
    status, answer = await caller.ask("POST", UPLOADS, json={"scene": "vidu"})
    assert status == 200
    return dict(answer)


async def put(
    caller: Caller, slot: dict[str, Any], content: bytes = PNG, headers: dict[str, str] = PLAIN
) -> tuple[int, str, str]:
    """Put a picture where the first step has said; return status, etag and the body."""
    async with caller.session.put(slot["put_url"], data=io.BytesIO(content), headers=headers) as response:
        return response.status, response.headers.get("ETag", ""), await response.text()


async def finished(caller: Caller, slot: dict[str, Any], etag: str) -> tuple[int, dict[str, Any]]:
    """Say that a picture is there."""
    return await caller.ask("PUT", f"{UPLOADS}/{slot['id']}/finish", json={"etag": etag})


async def test_a_picture_is_uploaded_in_three_steps() -> None:
    """And then a creation may refer to it, and a test look at it."""
    async with calling() as caller:
        slot = await begun(caller)
        assert set(slot) == {"id", "put_url", "expires_at"}
        status, etag, _ = await put(caller, slot)
        assert (status, etag[0], etag[-1]) == (200, '"', '"')
        assert not caller.vidu.uploads
        status, answer = await finished(caller, slot, etag)
        assert (status, set(answer)) == (200, {"uri"})
        created = await caller.create("img2video", {"model": "viduq2-pro", "images": [answer["uri"]]})
        (upload,) = caller.vidu.uploads
    assert created["images"] == [answer["uri"]] == [upload.uri]
    assert (upload.content_type, upload.size) == ("image/png", 500)
    assert upload.sha256 == hashlib.sha256(PNG).hexdigest()


@pytest.mark.parametrize(
    ("content", "headers", "said"),
    [
        (PNG, {"Authorization": KEY["Authorization"]}, "Only one auth mechanism allowed"),
        (PNG, {"X-Key": "sk-simulator"}, "Only one auth mechanism allowed"),
        (PNG, {"Content-Type": "image/jpeg"}, "not of the type image/jpeg"),
        (PNG, {"Content-Type": "application/json"}, "not of the type application/json"),
        (b"GIF89a" + bytes(500), {"Content-Type": "image/gif"}, "not of the type image/gif"),
        (b"", {}, "not of the type image/png"),
        (png(10 * 1024 * 1024), {}, "too large"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_the_storage_takes_nothing_but_a_picture_of_its_type_without_the_key(
    content: bytes, headers: dict[str, str], said: str
) -> None:
    """It refuses in its own words, as an object store."""
    async with calling() as caller:
        slot = await begun(caller)
        status, etag, body = await put(caller, slot, content, PLAIN | headers)
        assert (status, etag) == (400, "")
        assert said in body
        assert (await finished(caller, slot, '"1"'))[0] == 400


async def test_a_picture_of_unknown_length_is_not_taken() -> None:
    """An object store wants to know it beforehand."""

    async def pieces() -> Any:
        yield PNG

    async with calling() as caller:
        slot = await begun(caller)
        async with caller.session.put(slot["put_url"], data=pieces(), headers=PLAIN) as response:
            assert response.status == 400
            assert "Content-Length" in await response.text()


@pytest.mark.parametrize("etag", ["", '"1"', "bare"])
async def test_an_upload_is_finished_by_its_etag_as_it_was_given(etag: str) -> None:
    """With its quotes; another, or none at all, is refused."""
    async with calling() as caller:
        slot = await begun(caller)
        _, right, _ = await put(caller, slot)
        status, answer = await finished(caller, slot, right.strip('"') if etag == "bare" else etag)
        assert (status, answer["reason"], answer["message"]) == (400, "FieldInvalid", "etag")
        assert (await finished(caller, slot, right))[0] == 200


async def test_the_steps_of_the_gateway_want_the_key() -> None:
    """And what they are asked for must be there."""
    async with calling() as caller:
        for method, path in (("POST", UPLOADS), ("PUT", f"{UPLOADS}/1/finish")):
            status, answer = await caller.ask(method, path, headers={}, json={"scene": "vidu"})
            assert (status, answer["reason"]) == (401, "Unauthorized")
        status, answer = await caller.ask("POST", UPLOADS, json={"scene": "other"})
        assert (status, answer["message"]) == (400, "scene")
        assert (await caller.ask("PUT", f"{UPLOADS}/1/finish", json={"etag": "1"}))[0] == 404


async def test_a_link_is_good_for_putting_and_nothing_else() -> None:
    """Neither is it for reading, nor another's for this."""
    async with calling() as caller:
        slot, other = await begun(caller), await begun(caller)
        async with caller.session.get(slot["put_url"]) as response:
            assert response.status == 405
        forged = slot["put_url"].replace(f"/{slot['id']}?", f"/{other['id']}?")
        assert (await put(caller, {"put_url": forged}))[0] == 403


@pytest.mark.parametrize("link_life", [0, None])
def test_a_link_expires_after_an_hour_or_sooner(link_life: int | None) -> None:
    """The storage says so; the picture is not taken."""

    async def main() -> None:
        async with calling(link_life=link_life) as caller:
            slot = await begun(caller)
            await asyncio.sleep(3_590 if link_life is None else 0)
            assert (await put(caller, slot))[0] == (200 if link_life is None else 403)
            await asyncio.sleep(20)
            assert (await put(caller, slot))[0] == 403

    run_virtual(main())


@pytest.mark.parametrize("endpoint", ["img2video", "reference2video", "subjects"])
async def test_a_uri_of_nothing_is_refused_and_costs_nothing(endpoint: str) -> None:
    """Be it unknown, or of an upload that was not finished."""
    bodies: dict[str, Any] = {
        "img2video": lambda uri: {"model": "viduq2-pro", "images": [uri]},
        "reference2video": lambda uri: TEXT | {"subjects": [{"name": "fox", "images": [uri]}]},
        "subjects": lambda uri: {"name": "fox", "images": [uri]},
    }
    async with calling() as caller:
        slot = await begun(caller)
        await put(caller, slot)
        for uri in ("ssupload:?id=12", f"ssupload:?id={slot['id']}"):
            status, answer = await caller.post(endpoint, bodies[endpoint](uri))
            assert (status, answer["reason"]) == (400, "ImageDownloadFailure")
        assert caller.vidu.charged == 0


def test_a_uri_lasts_for_seven_days() -> None:
    """Then a creation is refused that names it."""

    async def main() -> None:
        async with calling() as caller:
            slot = await begun(caller)
            _, etag, _ = await put(caller, slot)
            _, answer = await finished(caller, slot, etag)
            body = {"model": "viduq2-pro", "images": [answer["uri"]]}
            await asyncio.sleep(7 * 86_400 - 60)
            assert (await caller.post("img2video", body))[0] == 200
            await asyncio.sleep(120)
            assert (await caller.post("img2video", body))[0] == 400

    run_virtual(main())


@pytest.mark.parametrize("name", ["Vidu", "powertokens", "Comfy", "Baidu Qianfan"])
async def test_a_client_of_any_gateway_uploads(name: str) -> None:
    """Below the gateway's address, with its key, and beside its root."""
    async with Simulator(ways=DOCUMENTED[name]) as sim, sim.client() as vidu:
        assert await vidu.upload(PNG) == sim.uploads[0].uri


async def test_a_gateway_without_uploads_has_none() -> None:
    """404 of a path."""
    async with calling(ways=Gateway(base_url="https://example.com", uploads=False)) as caller:
        status, answer = await caller.ask("POST", UPLOADS, json={"scene": "vidu"})
    assert (status, answer["reason"]) == (404, "NotFound")
