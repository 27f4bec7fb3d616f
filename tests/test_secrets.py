"""The API key is nowhere but in the Authorization header. These tests look for its bytes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import io
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import faulty
import pytest
from pictures import png

from vidu_async import (
    Gateway,
    ImageToVideo,
    Limits,
    TextToVideo,
    Timeouts,
    ViduClient,
    ViduError,
)
from vidu_async.settings import ApiKey

KEY = "sk-2f6c/very+secret=="
ESCAPED = KEY.replace("/", "\\/").replace("+", "\\u002B").replace("=", "\\u003d")
REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")


def everything_shown(error: BaseException) -> str:
    """Return all that a traceback could show of an error: causes, contexts and the locals of each frame."""
    pickled = b""
    with contextlib.suppress(TypeError):
        pickled = pickle.dumps(error)
    seen = [repr(error), str(error), repr(vars(error)), repr(pickled)]
    with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
    # Frames of the tests hold the server, which was sent the key and remembers it.
    frames = [frame for frame in with_locals.stack if Path(frame.filename).parent != Path(__file__).parent]
    assert frames
    seen += [repr(frame.locals) for frame in frames]
    return "\n".join([*seen, *traceback.format_exception(error)])


SCRIPTS: dict[str, faulty.Script] = {
    "refused": faulty.refuse(401, "Unauthorized"),
    "lost": faulty.reset,
    "silent": faulty.hang,
    "garbage": faulty.raw(b"\x00garbage"),
    "cut": faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "a page": faulty.answer(200, b"<html>", Content_Type="text/html"),
    "a redirect": faulty.answer(302, b"", Location="https://elsewhere.invalid/"),
    "a refusal that repeats the key": faulty.answer(401, f'{{"error": "{KEY} is wrong"}}'.encode()),
    "a success that repeats the key": faulty.answer(200, f'{{"error": "Bearer {KEY} is wrong"}}'.encode()),
    "a refusal that repeats the key in escapes": faulty.answer(401, f'{{"error": "{ESCAPED} is wrong"}}'.encode()),
    "a redirect that repeats the key": faulty.answer(302, b"", Location=f"https://{KEY}@elsewhere.invalid/{KEY}#{KEY}"),
    "throttled": faulty.refuse(429, "QuotaExceeded", Retry_After="999"),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_no_error_shows_the_key(script: faulty.Script, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in its text, pickle or context, nor in the locals of our frames, nor in a log at DEBUG."""
    errors: list[BaseException] = []
    with caplog.at_level(logging.DEBUG):
        async with (
            faulty.FaultyServer(creates=[script], looks=[script]) as server,
            ViduClient(KEY, base_url=server.url, timeouts=Timeouts(connect=0.5, read=0.05, quiet=0.05)) as vidu,
        ):
            for ask in (vidu.submit(REQUEST), vidu.fetch_task("1"), vidu.credits(), vidu.attach("1").wait(timeout=0.1)):
                try:
                    await ask
                except ViduError as error:
                    errors.append(error)
            assert any(KEY in str(asked.headers) for asked in server.queries)
    assert len(errors) >= 3
    for caught in errors:
        assert KEY not in everything_shown(caught)
        assert caught.__context__ is None or isinstance(caught.__context__, ViduError)
        assert caught.__cause__ is None or isinstance(caught.__cause__, ViduError)
    assert KEY not in caplog.text


async def test_an_unreachable_server_shows_no_key() -> None:
    """Also in a chain of four attempts."""
    async with faulty.FaultyServer() as server:
        nobody = server.url
    async with ViduClient(KEY, base_url=nobody) as vidu:
        with pytest.raises(ViduError) as caught:
            await vidu.credits()
    assert KEY not in everything_shown(caught.value)
    assert caught.value.__context__ is None


async def test_nothing_that_is_looked_at_shows_the_key() -> None:
    """repr, str, vars and copies of the client and its parts."""
    async with (
        faulty.FaultyServer() as server,
        ViduClient(KEY, base_url=server.url, limits=Limits(in_flight=5)) as vidu,
    ):
        handle = await vidu.submit(REQUEST)
        task = await handle
        for thing in (vidu, vidu.gateway, handle, task, handle.events(), vidu.as_completed([handle])):
            assert KEY not in repr(thing)
            assert KEY not in str(thing)
        assert KEY not in deep_text(vidu)
        assert KEY not in handle.token
        assert KEY.encode() not in pickle.dumps((task, vidu.gateway))


def deep_text(thing: object, depth: int = 4) -> str:
    """Return the repr of an object and of all that hangs on it, as a curious debugger would print it."""
    inner = [repr(thing)]
    if depth:
        names = [*getattr(thing, "__dict__", {}), *getattr(type(thing), "__slots__", ())]
        for name in names:
            if isinstance(thing, ApiKey):
                continue  # the one object that holds it, and shows nothing by its own repr
            inner.append(deep_text(getattr(thing, name, None), depth - 1))
    return "\n".join(inner)


def test_a_key_in_escapes_is_hidden_too() -> None:
    """As JSON has several ways to write a character."""
    key = ApiKey(KEY)

    assert json.loads(f'"{ESCAPED}"') == KEY
    assert key.hidden_in(f"a {ESCAPED} b {KEY}".encode()) == b"a *** b ***"


def test_the_key_itself_shows_nothing_and_does_not_travel() -> None:
    """No repr, no pickle, no copy."""
    key = ApiKey(KEY)
    assert KEY not in f"{key!r}{key}"
    for carry in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            carry(key)
    assert key.header(Gateway.vidu()) == {"Authorization": f"Token {KEY}"}
    assert key.header(Gateway(base_url="https://raw.example", auth_scheme="")) == {"Authorization": KEY}


async def test_the_key_goes_nowhere_but_to_the_gateway(tmp_path: Path) -> None:
    """Not with a download, not after a redirect, not to a proxy's own eyes in a URL."""
    async with faulty.FaultyServer() as elsewhere, faulty.FaultyServer() as server:
        film = faulty.answer(200, b"\0\0\0\x18ftypisom" + bytes(64))
        seen: list[Any] = []

        async def look(connection: faulty.Connection, asked: faulty.Asked) -> None:
            seen.append(asked)
            await film(connection, asked)

        elsewhere.others["GET /film"] = look
        server.looks = [faulty.success(f"{elsewhere.url}/film?X-Amz-Signature=1")]
        async with ViduClient(KEY, base_url=server.url) as vidu:
            await vidu.download(await vidu.attach("1"), tmp_path)
        assert len(seen) == 1
        assert KEY not in str(seen)
        assert KEY not in server.queries[0].path


async def test_links_are_shown_by_their_host_alone() -> None:
    """Whoever reads a log must not be able to open the file, and some gateways' links are not even signed."""
    async with (
        faulty.FaultyServer(looks=[faulty.success("https://r.invalid/a?X-Amz-Signature=5ecre7")]) as server,
        ViduClient(KEY, base_url=server.url) as vidu,
    ):
        task = await vidu.attach("1")
    assert "5ecre7" not in f"{task!r}{task.creations[0]!r}"
    assert "url='https://r.invalid/...'" in repr(task)


def test_a_traceback_printed_by_the_loop_shows_no_key() -> None:
    """What asyncio prints of a failed task is what its error shows."""
    screen = io.StringIO()

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.reset]) as server,
            ViduClient(KEY, base_url=server.url, timeouts=Timeouts(quiet=0.05)) as vidu,
        ):
            try:
                await vidu.submit(REQUEST)
            except ViduError:
                traceback.print_exc(file=screen)

    asyncio.run(main())
    assert "SubmissionUnknownError" in screen.getvalue()
    assert KEY not in screen.getvalue()
    assert "aiohttp" not in screen.getvalue()


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_the_journal_holds_no_key_no_prompt_no_payload_and_no_picture(
    script: faulty.Script, tmp_path: Path
) -> None:
    """Look for their bytes in all that is left on the disk, whatever became of the creation."""
    picture = png(label=b"a picture of a fox" * 10)
    request = ImageToVideo(model="viduq3-turbo", images=[picture], prompt="the fox runs", payload="row 17 of mine")
    async with faulty.FaultyServer(creates=[script]) as server:
        gateway, timeouts = Gateway(base_url=server.url, lists=False), Timeouts(read=0.05, submit=0.01)
        async with ViduClient(KEY, gateway=gateway, journal=tmp_path / "j.db", timeouts=timeouts) as vidu:
            with contextlib.suppress(ViduError):
                await vidu.submit(request, key="my row")
            left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"my row" in left
    for secret in (
        KEY,
        "the fox runs",
        "row 17 of mine",
        base64.b64encode(picture[48:96]).decode(),
        "picture of a fox",
    ):
        assert secret.encode() not in left
