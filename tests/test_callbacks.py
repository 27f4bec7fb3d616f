"""What comes in as a callback: taken, refused, repeated, broken off; by the bare receiver and through both mounts."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
import yarl
from aiohttp import web
from attrs import define, field
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    CallbackReceiver,
    ConfigError,
    Gateway,
    TextToVideo,
    ViduClient,
    aiohttp_app,
    asgi_app,
    sign_callback,
)
from vidu_async.nonces import Nonces
from vidu_async.protocol import signing
from vidu_async.protocol.notices import Notice, read_notice
from vidu_async.testing import Simulator, run_virtual

PUBLIC, KEY, TOKEN = "https://app.example/hooks/vidu", "vda_0123456789abcdef", "abcdefghijklmnopqrstuvwxyz"
URL = f"{PUBLIC}/{TOKEN}"
DONE = json.dumps({"id": "7", "state": "success", "creations": []}).encode()

Pairs = list[tuple[str, str]]
Post = Callable[..., Awaitable[int]]


@define(eq=False)
class Listener:
    """Somebody who wants to hear of one submission."""

    signer: signing.Signer | None = None
    clock_offset: float = 0.0
    longest_payload: int = 0
    heard: list[Notice] = field(factory=list)
    trouble: Exception | None = None

    async def knows(self, token: str) -> bool:
        """Whether it is that submission's."""
        return token == TOKEN

    async def hear(self, notice: Notice, *, is_believed: bool) -> bool:
        """Note it, unless something is wrong."""
        if self.trouble:
            raise self.trouble
        self.heard.append(notice)
        return await self.knows(notice.token)


def receiver(**options: Any) -> tuple[CallbackReceiver, Listener]:
    """Return a receiver with a key, and who listens to it."""
    made = CallbackReceiver(PUBLIC, **{"keys": [KEY], **options})
    made.subscribe(listener := Listener())
    return made, listener


def signed(url: str = URL, key: str = KEY, at: float | None = None, **changes: str | None) -> Pairs:
    """Return the headers of a callback, some changed or, where None, missing."""
    date = signing.http_date(datetime.fromtimestamp(time.time() if at is None else at, UTC))
    found = sign_callback(url=url, key=key, date=date) | {k.replace("_", "-"): v for k, v in changes.items()}
    return [(name, value) for name, value in found.items() if value is not None]


# Three ways in


@asynccontextmanager
async def bare(made: CallbackReceiver) -> AsyncIterator[Post]:
    """The receiver as any framework may call it."""

    async def post(headers: Pairs, body: Any = DONE, path: str = f"/vidu/{TOKEN}", method: str = "POST") -> int:
        content = body if isinstance(body, bytes) else b"".join([part async for part in body])
        return await made.receive(method, path, headers, content)

    yield post


@asynccontextmanager
async def over_http(port: int) -> AsyncIterator[Post]:
    """Real requests."""
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def post(headers: Pairs, body: Any = DONE, path: str = f"/vidu/{TOKEN}", method: str = "POST") -> int:
            address = yarl.URL(f"http://127.0.0.1:{port}{path}", encoded=True)
            async with http.request(method, address, data=body, headers=headers) as answer:
                assert await answer.read() == b""
                return answer.status

        yield post


@asynccontextmanager
async def by_aiohttp(made: CallbackReceiver) -> AsyncIterator[Post]:
    """A sub-application, whose path is another than the public one."""
    app = web.Application()
    app.add_subapp("/vidu", aiohttp_app(made))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with over_http(runner.addresses[0][1]) as post:
        try:
            yield post
        finally:
            await runner.cleanup()


@asynccontextmanager
async def by_asgi(made: CallbackReceiver) -> AsyncIterator[Post]:
    """An application mounted in FastAPI, served by uvicorn."""
    app = FastAPI()
    app.mount("/vidu", asgi_app(made))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    async with over_http(server.servers[0].sockets[0].getsockname()[1]) as post:
        try:
            yield post
        finally:
            server.should_exit = True
            await serving


WAYS = {"bare": bare, "aiohttp": by_aiohttp, "asgi": by_asgi}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
async def test_what_is_signed_is_taken(way: Any) -> None:
    """By the public URL, whatever path it came in by (D18); 204, as nothing is to be said."""
    made, listener = receiver()
    async with way(made) as post:
        assert await post(signed()) == 204
        assert await post(signed(), b'{"state": "processing"}') == 204
        assert await post(signed(f"https://elsewhere.example/vidu/{TOKEN}")) == 401
    assert [(one.token, one.task_id, one.state) for one in listener.heard] == [
        (TOKEN, "7", "success"),
        (TOKEN, "", "processing"),
    ]
    assert made.counts == {"accepted": 2, "refused": 1}


@ways
async def test_what_is_not_signed_is_refused_before_its_body_is_read(way: Any) -> None:
    """D01, D03, D06: 401 to all alike, so that nobody learns what was wrong (D20)."""
    made, listener = receiver()
    names = ("X-HMAC-SIGNATURE", "X-HMAC-SIGNED-HEADERS", "Date", "x-request-nonce")
    found: list[Pairs] = [
        signed(key="another"),
        signed(X_HMAC_SIGNATURE="PrO4+kG4W+b3HOSimdHMHn8pnQ6YXQTseBDC/8yvvNA="),
        *([pair for pair in signed() if pair[0] != name] for name in names),
        *([*signed(), (name, "x")] for name in names),
        [*signed(), ("Date", dict(signed())["Date"])],
        signed(X_HMAC_ALGORITHM="hmac-sha1"),
        signed(X_HMAC_ALGORITHM=""),
        signed(X_HMAC_ACCESS_KEY="other"),
        signed(at=time.time() - 302),
        signed(at=time.time() + 302),
        list(sign_callback(url=URL, key=KEY, date="Tue, 06 May 2025 12:09:42 +0200").items()),
        signed(X_HMAC_SIGNED_HEADERS="Date"),
        signed(X_HMAC_SIGNED_HEADERS="x-request-nonce"),
        [*signed(X_HMAC_SIGNED_HEADERS="Date;x-request-nonce;Authorization"), ("Authorization", "Token x")],
        signed(X_HMAC_SIGNED_HEADERS=";".join(f"x-{number}" for number in range(1_000))),
        [],
    ]
    async with way(made) as post:
        assert [await post(headers, b"no JSON") for headers in found] == [401] * len(found)
    assert not listener.heard
    assert made.counts == {"refused": len(found)}


async def test_a_signature_over_the_date_alone_is_refused() -> None:
    """Although it is right: without a nonce it could be sent again and again."""
    made, _ = receiver()
    date = dict(signed())["Date"]
    text = signing.signing_string("POST", f"/hooks/vidu/{TOKEN}", "", date, [("Date", date)])
    headers = signed(X_HMAC_SIGNED_HEADERS="Date", X_HMAC_SIGNATURE=signing.signature(KEY, text), Date=date)
    assert await made.receive("POST", f"/{TOKEN}", headers, DONE) == 401
    assert await made.receive("POST", f"/{TOKEN}", [*headers, ("content-length", "1e3")], DONE) == 400


@ways
async def test_a_repeat_is_told_that_all_is_well_and_changes_nothing(way: Any) -> None:
    """D04: with 401 they would try again."""
    made, listener = receiver()
    async with way(made) as post:
        once = signed()
        assert [await post(once), await post(once), await post(signed())] == [204, 204, 204]
    assert len(listener.heard) == 2
    assert made.counts == {"accepted": 2, "repeated": 1}


@ways
async def test_what_is_no_object_is_refused(way: Any) -> None:
    """D09, after the signature was checked; and its nonce is not used up."""
    made, listener = receiver()
    bodies = [b"", b"x", b"[]", b"null", b'{"a": NaN}', b'{"a": 1, "a": 2}', b'"\\ud800"', b'{"a": "\\ud800"}', b"\xff"]
    async with way(made) as post:
        once = signed()
        assert [await post(once, body) for body in [*bodies, b"[" * 100_000]] == [400] * (len(bodies) + 1)
        assert await post(once, '{"state": "failed", "prompt": "\N{SNOWMAN}", "x": "\\u2603"}'.encode()) == 204
    assert [one.state for one in listener.heard] == ["failed"]


@ways
async def test_a_body_that_is_too_large_or_compressed_is_not_read(way: Any) -> None:
    """D07, D08: by its length if it tells one, else as soon as it is too much."""
    made, listener = receiver()

    async def large(chunks: int) -> AsyncIterator[bytes]:
        yield DONE
        for _ in range(chunks):
            yield b" " * 64 * 1024

    async with way(made) as post:
        assert await post(signed(), large(17)) == 413
        assert await post([*signed(), ("Content-Encoding", "gzip")], gzip.compress(DONE)) == 415
        assert await post(signed(), large(15)) == 204
        listener.longest_payload = 1024 * 1024
        assert await post(signed(), large(60)) == 204
        assert await post(signed(), large(100)) == 413
    assert await made.receive("POST", f"/{TOKEN}", [("Content-Length", str(10 * 1024**3))], b"") == 413
    assert len(listener.heard) == 2


@ways
async def test_only_posts_to_a_path_of_its_own_are_callbacks(way: Any) -> None:
    """D17: 405 or 404, whether or not it is signed."""
    made, listener = receiver()
    async with way(made) as post:
        for method in ("GET", "PUT", "DELETE", "OPTIONS"):
            assert await post(signed(), method=method) == 405
        for path in (f"{TOKEN}/", f"x/%2e%2e/{TOKEN}", f"%2E/{TOKEN}", f"{TOKEN}%2F", "%00", "a%20b", "x" * 129, ""):
            assert await post(signed(), path=f"/vidu/{path}") == 404, path
        assert await post(signed(), path=f"/vidu/{TOKEN.upper()}") == 401
    for path in (f"/HOOKS/VIDU/{TOKEN.upper()}", f"/Hooks/vidu/{TOKEN}", "/hooks/vidu", f"/hooks/../vidu/{TOKEN}", ""):
        assert await made.receive("POST", path, signed(), DONE) == 404, path
    assert not listener.heard


@ways
async def test_an_unknown_token_is_told_no_more_than_a_known_one(way: Any) -> None:
    """D10: 204 if it is signed, 401 if it is not."""
    made, listener = receiver()
    async with way(made) as post:
        assert await post(signed(f"{PUBLIC}/unknown"), path="/vidu/unknown") == 204
        assert await post(signed(key="other"), path="/vidu/unknown") == 401
    assert made.counts == {"unknown": 1, "refused": 1}
    assert len(listener.heard) == 1


@ways
async def test_where_nobody_can_check_signatures_the_token_is_what_counts(way: Any) -> None:
    """Who does not know it has nothing read."""
    made, listener = receiver(keys=None, verify="token+fetch")
    async with way(made) as post:
        assert [await post([]), await post([], b"no JSON"), await post([], path="/vidu/unknown")] == [204, 400, 204]
        assert await post([], b"no JSON", path="/vidu/unknown") == 204
    assert len(listener.heard) == 1
    assert made.counts == {"accepted": 1, "refused": 1, "unknown": 2}


@ways
async def test_what_fails_here_is_to_come_again(way: Any, caplog: pytest.LogCaptureFixture) -> None:
    """D21, D22: 500 for a fault of ours and 503 for the journal's; the same callback is no repeat then."""
    made, listener = receiver()
    listener.trouble = ZeroDivisionError("a fault")
    async with way(made) as post:
        once = signed()
        assert await post(once) == 500
        listener.trouble = ConfigError("the client is in use by another loop")
        assert await post(once) == 503
        listener.trouble = None
        assert await post(once) == 204
    assert len(listener.heard) == 1
    assert "ZeroDivisionError" in caplog.text
    assert KEY not in caplog.text


async def test_a_journal_that_is_gone_is_a_503(tmp_path: Path) -> None:
    """D22, with a real one; put back, it takes the next try."""
    made = CallbackReceiver(PUBLIC)
    path, aside = tmp_path / "tasks.db", tmp_path / "aside.db"
    async with Simulator() as sim, sim.client(callbacks=made, journal=path) as vidu:
        handle = await vidu.submit(TextToVideo(model="viduq3-turbo", prompt="the fox runs"))
        url = sim.tasks[handle.task_id].request["callback_url"]
        once = sign_callback(url=url, key=sim.api_key)
        path.rename(aside)
        assert await made.receive("POST", url, once, DONE) == 503
        aside.rename(path)
        assert await made.receive("POST", url, once, DONE) == 204
        assert (await handle).state == "success"


@pytest.mark.parametrize("way", [by_aiohttp, by_asgi])
def test_a_body_that_does_not_come_is_given_up(way: Any) -> None:
    """D07: after ten seconds."""

    async def main() -> tuple[int, float]:
        made, _ = receiver()

        async def stalled() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(60)
            yield b"}"

        async with way(made) as post:
            now = asyncio.get_running_loop().time
            began = now()
            return await post(signed(), stalled()), now() - began

    status, seconds = run_virtual(main())
    assert status == 408
    assert 10 <= seconds < 11


@pytest.mark.parametrize("way", [by_aiohttp, by_asgi])
async def test_who_hangs_up_in_the_middle_leaves_nothing_behind(way: Any) -> None:
    """Neither an error in the log nor a nonce."""
    made, listener = receiver()
    async with way(made) as post:
        once = signed()

        async def broken() -> AsyncIterator[bytes]:
            yield b"{"
            raise OSError("gone")

        with pytest.raises((OSError, aiohttp.ClientError)):
            await post(once, broken())
        while not made.counts:
            await asyncio.sleep(0.01)
        assert await post(once) == 204
    assert made.counts == {"refused": 1, "accepted": 1}
    assert len(listener.heard) == 1


async def test_keys_are_rotated_with_the_new_and_the_old_in_use() -> None:
    """D19: each is tried, however many there are."""
    made, _ = receiver(keys=["new", "old"])
    for key, status in (("new", 204), ("old", 204), ("older", 401)):
        assert await made.receive("POST", f"/{TOKEN}", signed(key=key), DONE) == status


async def test_two_public_urls_are_accepted_while_one_moves() -> None:
    """The first is where new submissions are called back."""
    made = CallbackReceiver(["https://new.example/vidu/", PUBLIC], keys=[KEY])
    assert made.url_for(TOKEN) == f"https://new.example/vidu/{TOKEN}"
    for url in (URL, made.url_for(TOKEN)):
        assert await made.receive("POST", f"/{TOKEN}", signed(url), DONE) == 204
    assert repr(made) == "<CallbackReceiver https://new.example/vidu hmac+fetch>"


async def test_a_path_with_escapes_may_be_signed_as_it_is_or_decoded() -> None:
    """Vidu's two samples differ in that."""
    made = CallbackReceiver("https://app.example/caf%C3%A9", keys=[KEY])
    for path in ("/caf%C3%A9", "/caf\N{LATIN SMALL LETTER E WITH ACUTE}"):
        assert await made.receive("POST", f"/{TOKEN}", signed(f"{path}/{TOKEN}"), DONE) == 204


async def test_a_clock_that_is_far_off_is_set_right_by_the_gateways(caplog: pytest.LogCaptureFixture) -> None:
    """F05: callbacks are dated by the sender's clock; it is said once."""
    made, listener = receiver(clock=lambda: time.time() - 600)
    assert await made.receive("POST", f"/{TOKEN}", signed(), DONE) == 401
    listener.clock_offset = 600
    for _ in range(2):
        assert await made.receive("POST", f"/{TOKEN}", signed(), DONE) == 204
    assert caplog.text.count("differs by 600 s") == 1


async def test_without_a_key_nothing_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    """503, as a client that has one may be on its way; and the log says why."""
    made = CallbackReceiver(PUBLIC)
    assert await made.receive("POST", f"/{TOKEN}", signed(), DONE) == 503
    assert "no key is known to check callbacks with" in caplog.text
    made.subscribe(listener := Listener(signer=lambda text: signing.signature(KEY, text)))
    assert await made.receive("POST", f"/{TOKEN}", signed(), DONE) == 204
    assert len(listener.heard) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"verify": "none"}, "must be one of hmac\\+fetch, token\\+fetch, hmac, not 'none'"),
        ({"max_age": 0}, "max_age"),
        ({"keys": []}, "keys= must hold"),
        ({"public_url": "app.example/vidu"}, "public_url"),
        ({"public_url": "https://app.example/vidu?job=1"}, "has a query"),
        ({"public_url": "https://me:secret@app.example/vidu"}, "holds a user or password"),
        ({"public_url": []}, "at least one"),
    ],
)
def test_a_receiver_that_cannot_work_is_refused(options: dict[str, Any], said: str) -> None:
    """When it is made."""
    with pytest.raises(ConfigError, match=said):
        CallbackReceiver(**{"public_url": PUBLIC, **options})


def test_a_gateway_that_signs_with_its_own_key_needs_another_way() -> None:
    """Nobody else has that key; where it is not known, it may be given."""
    for verify in ("hmac+fetch", "hmac"):
        for keys in (None, [KEY]):
            with pytest.raises(ConfigError, match=r"signs with a key of its own: use verify=\"token\+fetch\""):
                ViduClient("key", callbacks=CallbackReceiver(PUBLIC, keys=keys, verify=verify))
    elsewhere = Gateway(base_url="https://gateway.example")
    with pytest.raises(ConfigError, match=r"use verify=\"token\+fetch\" there; or give keys=\[...\]"):
        ViduClient("key", gateway=elsewhere, callbacks=CallbackReceiver(PUBLIC))
    ViduClient("key", gateway=elsewhere, callbacks=CallbackReceiver(PUBLIC, keys=[KEY]))
    ViduClient("key", gateway=Gateway.vidu(), callbacks=CallbackReceiver(PUBLIC))
    ViduClient("key", callbacks=CallbackReceiver(PUBLIC, verify="token+fetch"))
    with pytest.raises(ConfigError, match="callbacks= must be CallbackReceiver or None"):
        ViduClient("key", callbacks=PUBLIC)  # type: ignore[arg-type]


def test_a_receiver_keeps_its_keys_to_itself() -> None:
    """In no representation."""
    made, _ = receiver()
    assert KEY not in repr(made)
    assert KEY not in repr(made._nonces)


async def test_forged_requests_leave_nothing_in_memory() -> None:
    """D05: only what was taken in is remembered."""
    made, _ = receiver()
    for _ in range(1_000):
        assert await made.receive("POST", f"/{TOKEN}", signed(key="forged"), DONE) == 401
    assert len(made._nonces) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 300)), max_size=60))
def test_the_memory_of_nonces_is_bounded_and_right(seen: list[tuple[str, float]]) -> None:
    """D05: in number and age; what is young enough and among the newest is known."""
    nonces, now, added = Nonces(most=4, age=600), 0.0, dict[str, float]()
    for nonce, pause in seen:
        now += pause
        nonces.add(nonce, now)
        added.pop(nonce, None)
        added[nonce] = now
        newest = dict(list(added.items())[-4:])
        assert len(nonces) <= 4
        for one in "abcdefgh":
            assert nonces.knows(one, now) == (one in newest and now - newest[one] <= 600)
    assert not nonces.knows("a", now + 601)


leaves = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_a_body_holds_it_is_read_or_refused(value: Any) -> None:
    """And never anything else."""
    from vidu_async import CallbackError  # noqa: PLC0415 - as above

    for body in (json.dumps(value).encode(), json.dumps({"id": value, "state": value, "data": value}).encode()):
        with suppress(CallbackError):
            assert read_notice(TOKEN, body).token == TOKEN
