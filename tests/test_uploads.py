"""Uploads: three steps, each of which may fail; a picture that goes there once; and nothing of it is ever paid."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import faulty
import pictures
import pytest
from fates import crowded
from stored import BEGIN, ETAG, FINISH, KEY, PUT, SIGNATURE, TAKEN, URI, Site, picture, png, site

from vidu_async import (
    APIError,
    AuthenticationError,
    ConfigError,
    ConnectError,
    Gateway,
    ProtocolError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    Timeouts,
    TransportError,
    UnsupportedError,
    ValidationError,
    ViduError,
    media,
)
from vidu_async.deposits import Content
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer
from vidu_async.testing import Simulator, run_in_thread, run_virtual
from vidu_async.transport import _failure

LIMIT = 10 * 1024 * 1024


# What is sent


async def test_a_picture_goes_to_the_storage_as_it_is_and_comes_back_as_a_uri(tmp_path: Path) -> None:
    """With its exact type and length, to the very URL that was signed; the steps around it are asked of the gateway."""
    path = picture(tmp_path / "fox.jpg", 200_000)
    async with site() as at:
        assert await at.vidu.upload(path) == URI
        begun, put, finished = *at.gateway.asked[:1], *at.storage.asked, *at.gateway.asked[1:]
    assert put.body == path.read_bytes()
    assert put.path == f"/bucket/a%2Fb?X-Amz-Credential=k%2F1&X-Amz-Signature={SIGNATURE}"
    assert put.headers["content-type"] == "image/png"
    assert put.headers["content-length"] == "200000"
    assert "transfer-encoding" not in put.headers
    assert [(asked.place, json.loads(asked.body)) for asked in (begun, finished)] == [
        (BEGIN, {"scene": "vidu"}),
        (FINISH, {"etag": ETAG}),
    ]
    assert {asked.headers["authorization"] for asked in (begun, finished)} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("ways", [{}, {"auth_header": "X-Key", "auth_scheme": ""}, {"headers": {"X-Tenant": "hush"}}])
async def test_no_byte_of_the_key_or_of_what_is_the_gateways_reaches_the_storage(ways: dict[str, Any]) -> None:
    """Neither in the head nor in the body of any try, nor a cookie that the gateway has set."""
    async with site() as at:
        gateway = Gateway(base_url=at.gateway.url, **ways)
        at.play(BEGIN, faulty.answer(200, at.slot, Set_Cookie="session=hush; Path=/"))
        at.play(PUT, faulty.refuse(503, "busy", Set_Cookie="c=1"), faulty.refuse(403, "expired"), TAKEN)
        async with type(at.vidu)(KEY, gateway=gateway) as vidu:
            assert await vidu.upload(png(500)) == URI
        assert len(at.storage.asked) == 3
        for asked in at.storage.asked:
            seen = asked.head.lower() + asked.body
            for secret in (KEY, "hush", "authorization", "cookie", "x-key", "x-tenant"):
                assert secret.encode() not in seen


async def test_a_picture_in_memory_goes_the_same_way(sim: Simulator) -> None:
    """The service has it byte for byte."""
    async with sim.client() as vidu:
        uri = await vidu.upload(png(300_000))
    (upload,) = sim.uploads
    assert (upload.uri, upload.size, upload.content_type) == (uri, 300_000, "image/png")


async def test_a_large_picture_takes_little_memory(tmp_path: Path) -> None:
    """It is read as it is sent: of almost 10 MB a fraction is ever held."""
    path = picture(tmp_path / "fox.png", LIMIT - 1)
    received = 0

    async def drink(connection: faulty.Connection, asked: faulty.Asked) -> None:
        nonlocal received
        while received < asked.length:
            received += len(await connection.reader.read(2**16))
        await TAKEN(connection, asked)

    async with site(narrow=True) as at:
        at.storage.others[PUT] = faulty.Early(drink)
        await at.vidu.upload(png(500))  # whatever is imported is imported now
        received = 0
        tracemalloc.start()
        try:
            assert await at.vidu.upload(path) == URI
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received == LIMIT - 1
    assert peak < 3 * 2**20


# What is refused before any request


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("https://example.com/fox.png?token=hush", "file must be a picture of this machine"),
        ("ssupload:?id=1", "a URL goes into requests as it is"),
        ("missing.png", "file: 'missing.png' is neither"),
        ("clip.mp4", "file must be one of image/jpeg"),
        ("empty.png", "an empty file"),
        (b"GIF89a" + bytes(500), "not image/gif"),
        (png(LIMIT), f"file must be smaller than {LIMIT} bytes to be uploaded, not {LIMIT}"),
        (pictures.png(500, 100), "file is 500x100 pixels, which is 5:1"),
        ([png(500)], "file must be a picture of this machine"),
        (None, "file must be a picture of this machine"),
        (7, "file must be a picture of this machine"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_what_is_no_picture_of_this_machine_is_refused_before_any_request(
    file: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the message says so of `file`, without a URL's query."""
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
    Path("empty.png").touch()
    async with site() as at:
        with pytest.raises(ValidationError) as refused:
            await at.vidu.upload(file)
        assert not at.counted
    assert said in str(refused.value)
    assert "hush" not in str(refused.value)
    assert refused.value.field == "file"


async def test_a_closed_client_uploads_nothing() -> None:
    """As it does nothing else."""
    async with site() as at:
        await at.vidu.aclose()
        with pytest.raises(ConfigError, match="closed"):
            await at.vidu.upload(png(500))
        assert not at.counted


# Passing troubles

PASSING: dict[str, faulty.Script] = {
    "500": faulty.refuse(500, "InternalServiceFailure"),
    "503": faulty.answer(503, b"<html>", Content_Type="text/html"),
    "429": faulty.refuse(429, "TooManyRequests"),
    "429 with a Retry-After": faulty.refuse(429, "TooManyRequests", Retry_After="60"),
    "closed": faulty.close,
    "reset": faulty.reset,
    "hung": faulty.hang,
    "noise": faulty.raw(b"\0garbage"),
    "half an answer": faulty.raw(b"HTTP/1.1 200 OK\r\nContent-"),
}
STEPS = pytest.mark.parametrize("step", [BEGIN, PUT, FINISH], ids=["begin", "put", "finish"])


@STEPS
@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING)
def test_a_trouble_that_passes_is_waited_out_at_each_step(step: str, trouble: faulty.Script) -> None:
    """The step is taken again, three times if need be, and no other with it."""

    async def main() -> None:
        async with site() as at:
            well = (at.storage if step == PUT else at.gateway).others[step]
            at.play(step, trouble, trouble, trouble, well)
            assert await at.vidu.upload(png(70_000)) == URI
            name = {BEGIN: "begin", PUT: "put", FINISH: "finish"}[step]
            assert at.counted == {"begin": 1, "put": 1, "finish": 1} | {name: 4}

    run_virtual(main())


LASTING: dict[str, tuple[faulty.Script, type[ViduError]]] = {
    "500": (PASSING["500"], ServerError),
    "429": (PASSING["429"], RateLimitError),
    "closed": (faulty.close, TransportError),
    "hung": (faulty.hang, RequestTimeoutError),
}


@STEPS
@pytest.mark.parametrize("name", LASTING)
def test_a_trouble_that_lasts_is_told_after_four_tries(step: str, name: str) -> None:
    """As what it is, by itself, and without what the URL was signed with."""
    trouble, kind = LASTING[name]

    async def main() -> None:
        async with site() as at:
            at.play(step, trouble)
            with pytest.raises(kind) as told:
                await at.vidu.upload(png(70_000))
            tries = sum(asked.place == step for asked in (*at.gateway.asked, *at.storage.asked))
            assert tries in ({4, 8} if name == "closed" else {4})  # aiohttp asks once more by itself where that is safe
            assert told.value.__context__ is None
            assert SIGNATURE not in repr(vars(told.value)) + str(told.value)

    run_virtual(main())


async def test_a_storage_that_cannot_be_reached_is_told_with_its_host(caplog: pytest.LogCaptureFixture) -> None:
    """And neither there nor in a log at DEBUG is the URL that was signed."""
    async with faulty.FaultyServer() as gone:
        port = gone.port
    with caplog.at_level(logging.DEBUG):
        async with site() as at:
            link = f"http://127.0.0.1:{port}?X-Amz-Signature={SIGNATURE}"
            at.play(BEGIN, faulty.answer(200, {"id": "u1", "put_url": link}))
            with pytest.raises(ConnectError, match=f"127.0.0.1:{port} cannot be reached") as told:
                await at.vidu.upload(png(500))
    assert SIGNATURE not in str(told.value) + caplog.text


def test_a_storage_that_lets_nobody_in_is_told_as_no_connection() -> None:
    """After `Timeouts.connect`, four times."""

    async def main() -> None:
        with crowded() as door:
            async with site() as at:
                at.play(BEGIN, faulty.answer(200, at.slot | {"put_url": f"http://127.0.0.1:{door.getsockname()[1]}/a"}))
                with pytest.raises(ConnectError, match="no connection to 127.0.0.1"):
                    await at.vidu.upload(png(500))

    run_virtual(main())


def test_a_server_that_asks_for_much_patience_is_not_waited_for() -> None:
    """More than two minutes are told at once."""

    async def main() -> None:
        async with site() as at:
            at.play(PUT, faulty.refuse(429, "TooManyRequests", Retry_After="121"))
            with pytest.raises(RateLimitError) as told:
                await at.vidu.upload(png(500))
            assert told.value.retry_after == 121
            assert at.counted["put"] == 1

    run_virtual(main())


@pytest.mark.parametrize("status", [400, 403, 413])
async def test_an_early_refusal_is_heard_while_the_picture_is_still_on_its_way(status: int) -> None:
    """The rest of it stays here, although the storage leaves the connection open and reads no more."""
    told_of = asyncio.Event()

    async def refuse(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await faulty.answer(status, b"<Error/>")(connection, asked)
        await told_of.wait()

    async with site(narrow=True) as at:
        at.storage.others[PUT] = faulty.after(0.1, refuse)
        with pytest.raises(APIError, match=f"{status}: the storage refused the picture") as told:
            await at.vidu.upload(png(LIMIT - 1))
        told_of.set()
    assert told.value.status == status


@pytest.mark.parametrize("trouble", ["reset", "closed", "stalled"])
def test_a_connection_that_breaks_or_stands_still_midway_is_made_anew(trouble: str) -> None:
    """Four times at most by us; the picture arrives whole, or what happened is told without the signed URL."""

    async def stall(connection: faulty.Connection, _: faulty.Asked) -> None:
        await asyncio.sleep(60)

    async def take(connection: faulty.Connection, asked: faulty.Asked) -> None:
        arrived.append(await connection.reader.readexactly(asked.length))
        await TAKEN(connection, asked)

    arrived: list[bytes] = []
    break_ = faulty.after(0.5, {"reset": faulty.reset, "closed": faulty.close, "stalled": stall}[trouble])

    async def main() -> None:
        async with site(narrow=True) as at:
            at.storage.others[PUT] = faulty.Early(faulty.in_turn(break_, take))
            assert await at.vidu.upload(png(LIMIT - 1)) == URI
            at.storage.others[PUT] = break_
            with pytest.raises(RequestTimeoutError if trouble == "stalled" else TransportError) as told:
                await at.vidu.upload(png(LIMIT - 2))
            assert SIGNATURE not in str(told.value)
            assert told.value.__context__ is None

    run_virtual(main())
    assert arrived == [png(LIMIT - 1)]


def test_what_aiohttp_says_of_a_broken_write_is_told_without_its_url() -> None:
    """It names the URL of the request in the text of some errors of the system."""
    error = aiohttp.ClientOSError(32, f"Can not write request body for https://storage.example/a?{SIGNATURE}")
    told = _failure(error, "https://storage.example")
    assert str(told) == "the connection to storage.example broke (ClientOSError). Try again."


# What is not tried again


@STEPS
@pytest.mark.parametrize("status", [400, 413])
async def test_a_refusal_is_told_and_not_tried_again(step: str, status: int) -> None:
    """Only the finish is, once, without the quotes of its etag."""
    async with site() as at:
        at.play(step, faulty.refuse(status, "FieldInvalid", "scene"))
        with pytest.raises(APIError) as told:
            await at.vidu.upload(png(500))
        tries = 2 if (step, status) == (FINISH, 400) else 1
        assert sum(asked.place == step for asked in (*at.gateway.asked, *at.storage.asked)) == tries
    assert told.value.status == status


async def test_a_key_that_is_refused_is_refused_once() -> None:
    """Before any picture is sent."""
    async with site() as at:
        at.play(BEGIN, faulty.refuse(401, "Unauthorized"))
        with pytest.raises(AuthenticationError):
            await at.vidu.upload(png(500))
        assert at.counted == {"begin": 1}


@STEPS
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_followed_nowhere(step: str, status: int) -> None:
    """Neither with the picture nor with the key."""
    async with site() as at, faulty.FaultyServer() as elsewhere:
        at.play(step, faulty.answer(status, b"", Location=f"{elsewhere.url}/elsewhere"))
        with pytest.raises(ProtocolError if step == PUT else APIError, match=f"{status}"):
            await at.vidu.upload(png(500))
        assert elsewhere.connections == 0
        assert at.counted == {BEGIN: {"begin": 1}, PUT: {"begin": 1, "put": 1}}.get(
            step, {"begin": 1, "put": 1, "finish": 1}
        )


# Etags and expiry


async def test_an_etag_that_is_refused_with_its_quotes_is_told_without_them() -> None:
    """No page says whether they belong to it."""
    async with site() as at:
        at.play(FINISH, faulty.refuse(400, "FieldInvalid", "etag"), faulty.answer(200, {"uri": URI}))
        assert await at.vidu.upload(png(500)) == URI
        told = [json.loads(asked.body)["etag"] for asked in at.gateway.asked if asked.place == FINISH]
    assert told == [ETAG, ETAG.strip('"')]


async def test_an_etag_without_quotes_is_told_once() -> None:
    """There is nothing else to try."""
    async with site() as at:
        at.play(PUT, faulty.answer(200, b"", ETag="d41d8"))
        at.play(FINISH, faulty.refuse(400, "FieldInvalid", "etag"))
        with pytest.raises(APIError, match="FieldInvalid"):
            await at.vidu.upload(png(500))
        assert at.counted == {"begin": 1, "put": 1, "finish": 1}


async def test_a_storage_that_names_no_etag_is_told() -> None:
    """Without it nobody can say that the picture is there."""
    async with site() as at:
        at.play(PUT, faulty.answer(200, b""))
        with pytest.raises(ProtocolError, match="named no etag"):
            await at.vidu.upload(png(500))
        assert at.counted == {"begin": 1, "put": 1}


@pytest.mark.parametrize("step", [PUT, FINISH], ids=["put", "finish"])
@pytest.mark.parametrize("status", [403, 404, 409, 410])
async def test_a_place_that_is_gone_is_asked_for_anew_once(step: str, status: int) -> None:
    """As when the signature expired while others were waited for, or the end of an upload was lost."""
    async with site() as at:
        well = (at.storage if step == PUT else at.gateway).others[step]
        at.play(step, faulty.refuse(status, "gone"), well)
        assert await at.vidu.upload(png(500)) == URI
        assert at.counted["begin"] == 2
        at.play(step, faulty.refuse(status, "gone"))
        with pytest.raises(APIError) as told:
            await at.vidu.upload(png(501))
        assert at.counted["begin"] == 4
    assert told.value.status == status


# Answers that are none


ANSWERS: dict[str, tuple[str, Any]] = {
    "no put_url": (BEGIN, {"id": "u1"}),
    "no id": (BEGIN, {"put_url": f"https://storage.example/a?X-Amz-Signature={SIGNATURE}"}),
    "an id that no path holds": (BEGIN, {"id": "..", "put_url": "http://127.0.0.1/"}),
    "a put_url of another type": (BEGIN, {"id": "u1", "put_url": {"href": "http://127.0.0.1/"}}),
    "a list": (BEGIN, []),
    "a page": (BEGIN, b"<html>"),
    "no uri": (FINISH, {"id": "u1"}),
    "a uri of another kind": (FINISH, {"uri": "/files/42"}),
    "a uri with a line break": (FINISH, {"uri": "ssupload:?id=1\n"}),
    "nothing": (FINISH, {}),
}


@pytest.mark.parametrize(("step", "body"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_without_what_is_needed_is_a_protocol_error(step: str, body: Any) -> None:
    """Nothing is made up, and no signature is quoted."""
    async with site() as at:
        at.play(step, faulty.answer(200, body))
        with pytest.raises(ProtocolError) as told:
            await at.vidu.upload(png(500))
    assert SIGNATURE not in str(told.value)


@pytest.mark.parametrize(
    ("gateway", "put_url", "is_taken"),
    [
        (Gateway.vidu(), "https://storage.example/a?sig=hush", True),
        (Gateway.vidu(), "http://storage.example/a?sig=hush", False),
        (Gateway.vidu(), "http://127.0.0.1/a?sig=hush", False),
        (Gateway(base_url="http://127.0.0.1:1"), "http://storage.example/a?sig=hush", True),
        (Gateway(base_url="https://127.0.0.1:1"), "http://127.0.0.1:2/a?sig=hush", True),
        (Gateway(base_url="http://gateway.example", allow_insecure=True), "http://storage.example/?sig=hush", True),
        *(
            (Gateway(base_url="http://127.0.0.1:1"), put_url, False)
            for put_url in (
                "file:///etc/passwd?hush",
                "ftp://storage.example/a?sig=hush",
                "data:image/png;base64,hush",
                "//storage.example/hush",
                "storage.example/hush",
                "https://user:hush@storage.example/a",
                "https:///hush",
                "https://storage.example:99999/hush",
                "https://[storage.example/hush",
                "https://storage.example/a?sig=hush\r\nX-Evil: 1",
                "https://storage.example/a b?sig=hush",
                "https://störage.example/a?sig=hush",
            )
        ),
    ],
)
def test_a_picture_goes_over_https_or_as_plainly_as_the_key_does(
    gateway: Gateway, put_url: str, is_taken: bool
) -> None:
    """And to nothing but a host; the URL itself is not told."""
    answer = Answer(200, json.dumps({"id": "u1", "put_url": put_url}).encode())
    if is_taken:
        slot = calls.begin_upload(gateway).read(answer)
        assert slot.put_url == put_url
        assert "hush" not in repr(slot)
        return
    with pytest.raises(ProtocolError, match="nothing is sent there") as refused:
        calls.begin_upload(gateway).read(answer)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("wrap", ["data", "result"])
def test_an_envelope_is_opened(wrap: str) -> None:
    """As of any other answer."""
    slot = Answer(200, json.dumps({"code": 0, wrap: {"id": 7, "putUrl": "https://storage.example/a"}}).encode())
    uri = Answer(200, json.dumps({"code": 0, wrap: {"uri": URI}}).encode())
    assert calls.begin_upload(Gateway.vidu()).read(slot).id == "7"
    assert calls.finish_upload(Gateway.vidu(), "7", ETAG).read(uri) == URI


def test_uploads_are_below_the_address_and_not_below_the_root() -> None:
    """Whatever the gateway's own prefix is, and whatever the id holds."""
    gateway = Gateway(base_url="https://gateway.example/vidu/ent/v2")
    assert calls.begin_upload(gateway).url == "https://gateway.example/vidu/tools/v2/files/uploads"
    assert calls.finish_upload(gateway, "a/b", ETAG).url == f"{calls.begin_upload(gateway).url}/a%2Fb/finish"


# Gateways without


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_gateway_without_uploads_is_asked_once(status: int) -> None:
    """And never again, nor is any picture sent."""
    async with site() as at:
        at.play(BEGIN, faulty.refuse(status, "NotFound"))
        for _ in range(3):
            with pytest.raises(UnsupportedError, match="cannot take uploads"):
                await at.vidu.upload(png(500))
        assert at.counted == {"begin": 1}


# Files that change


async def test_a_file_that_changes_while_it_is_read_never_arrives_whole(tmp_path: Path) -> None:
    """It is refused by its name, is not remembered, and is uploaded as what it is the next time."""
    path = picture(tmp_path / "fox.png", LIMIT - 1)
    came = []

    async def spoil(connection: faulty.Connection, asked: faulty.Asked) -> None:
        path.write_bytes(png(400_000, salt=1))
        came.append(len(await connection.reader.read(-1)) + asked.length // 10 < asked.length)

    async with site(narrow=True) as at:
        at.storage.others[PUT] = faulty.after(0.1, spoil)
        with pytest.raises(ValidationError, match=r"fox\.png has changed since it was looked at"):
            await at.vidu.upload(path)
        at.storage.others[PUT] = TAKEN
        assert await at.vidu.upload(path) == URI
        assert at.storage.asked[-1].body == png(400_000, salt=1)
    assert came == [True]


async def test_the_last_piece_is_no_end_if_the_file_has_changed_by_then(tmp_path: Path) -> None:
    """Whoever holds back the last byte of all pieces then keeps it for good."""
    path = picture(tmp_path / "fox.png", 300_000)
    pieces = Content(media.picture(path, "file")).pieces()
    read = b"".join([await anext(pieces) for _ in range(5)])
    assert read == path.read_bytes()
    picture(path, 300_000, salt=1)
    with pytest.raises(ValidationError, match="has changed"):
        await anext(pieces)


# Who waits, and who leaves


def hanging(at: Site) -> asyncio.Event:
    """Have the storage hang; return what is set once the picture has come."""
    came = asyncio.Event()

    async def hang(connection: faulty.Connection, asked: faulty.Asked) -> None:
        came.set()
        await faulty.hang(connection, asked)

    at.storage.others[PUT] = hang
    return came


async def test_a_cancelled_upload_leaves_nothing_behind() -> None:
    """Neither a connection nor a task; the next one begins anew."""
    async with site() as at:
        came = hanging(at)
        before = asyncio.all_tasks()
        upload = asyncio.create_task(at.vidu.upload(png(500)))
        await came.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        while at.storage.open_now or [task for task in asyncio.all_tasks() - before if "_serve" not in repr(task)]:
            await asyncio.sleep(0.01)
        at.storage.others[PUT] = TAKEN
        assert await at.vidu.upload(png(500)) == URI
        assert at.counted == {"begin": 2, "put": 2, "finish": 1}


async def test_who_leaves_ends_no_upload_that_others_wait_for() -> None:
    """Also the one who began it."""
    async with site() as at:
        came, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
            came.set()
            await go_on.wait()
            await TAKEN(connection, asked)

        at.storage.others[PUT] = slowly
        uploads = [asyncio.create_task(at.vidu.upload(png(500))) for _ in range(3)]
        await came.wait()
        while len(at.vidu._deposits._under_way) != 1 or _waiting(at) < 3:
            await asyncio.sleep(0.01)
        uploads[0].cancel()
        uploads[1].cancel()
        await asyncio.wait(uploads[:2])
        go_on.set()
        assert await uploads[2] == URI
        assert at.counted == {"begin": 1, "put": 1, "finish": 1}


def _waiting(at: Site) -> int:
    return sum(delivery.waiting for delivery in at.vidu._deposits._under_way.values())


async def test_an_upload_that_somebody_cancels_is_no_cancellation_of_who_waits() -> None:
    """As where all tasks of a loop are cancelled but one's own."""
    async with site() as at:
        came = hanging(at)
        upload = asyncio.create_task(at.vidu.upload(png(500)))
        await came.wait()
        (delivery,) = at.vidu._deposits._under_way.values()
        delivery.done.cancel()
        with pytest.raises(ConfigError, match="the upload was ended with all other tasks"):
            await upload
        at.storage.others[PUT] = TAKEN
        assert await at.vidu.upload(png(500)) == URI


async def test_another_file_that_changes_spoils_nobody_elses_upload(tmp_path: Path) -> None:
    """Two files are the same, one is being read and changes: the other one is uploaded in its place."""
    mine, other = (picture(tmp_path / name, LIMIT - 1) for name in ("mine.png", "other.png"))
    went_on = asyncio.Event()

    async def spoil(connection: faulty.Connection, _: faulty.Asked) -> None:
        await went_on.wait()
        other.write_bytes(b"spoilt")
        at.storage.others[PUT] = TAKEN
        await connection.reader.read(-1)

    async with site(narrow=True) as at:
        at.storage.others[PUT] = faulty.after(0.1, spoil)
        first = asyncio.create_task(at.vidu.upload(other))
        while not at.vidu._deposits._under_way:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(at.vidu.upload(mine))
        while _waiting(at) < 2:
            await asyncio.sleep(0.01)
        went_on.set()
        assert await second == URI
        with pytest.raises(ValidationError, match=r"other\.png has changed"):
            await first


# What is remembered


async def test_a_picture_is_known_by_its_content(tmp_path: Path) -> None:
    """Under whatever name, and in memory; another one is another."""
    async with site() as at:
        for file in (picture(tmp_path / "a.png"), str(picture(tmp_path / "b.png")), png(2000)):
            assert await at.vidu.upload(file) == URI
        assert at.counted == {"begin": 1, "put": 1, "finish": 1}
        await at.vidu.upload(png(2000, salt=1))
        assert at.counted["put"] == 2


def test_a_uri_is_given_again_for_six_days_and_then_there_is_a_new_one() -> None:
    """It lasts for seven."""

    async def main() -> None:
        async with Simulator() as sim, sim.client() as vidu:
            uris = []
            for days in (0, 5.9, 0.2, 5.9):
                await asyncio.sleep(days * 86_400)
                uris.append(await vidu.upload(png(500)))
            assert uris[0] == uris[1] != uris[2] == uris[3]
            assert len(sim.uploads) == 2

    run_virtual(main())


async def test_a_failed_upload_is_not_remembered() -> None:
    """It is tried anew by whoever comes next."""
    async with site() as at:
        at.play(PUT, faulty.refuse(400, "no"), TAKEN)
        with pytest.raises(APIError):
            await at.vidu.upload(png(500))
        assert await at.vidu.upload(png(500)) == URI


def test_pictures_that_wait_for_their_turn_do_not_fail_for_it() -> None:
    """A storage that many go to is slow to each, and no place is asked for before it is needed."""

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(100)
        await TAKEN(connection, asked)

    async def main() -> None:
        async with site(timeouts=Timeouts(connect=10, read=120, write=60)) as at:
            at.storage.others[PUT] = slowly
            uploads = [asyncio.create_task(at.vidu.upload(png(500, salt=number))) for number in range(150)]
            while not at.storage.asked:
                await asyncio.sleep(1)
            assert at.counted["begin"] == 16
            assert set(await asyncio.gather(*uploads)) == {URI}
            assert at.counted == {"begin": 150, "put": 150, "finish": 150}
            assert at.storage.most_open == 16

    run_virtual(main())


async def test_only_so_many_pictures_are_remembered() -> None:
    """The oldest are forgotten first."""
    async with site() as at:
        at.vidu._deposits.most = 2
        for salt in (0, 1, 2, 2, 1, 0):
            await at.vidu.upload(png(500, salt))
        assert at.counted["put"] == 4


def test_another_event_loop_uploads_anew() -> None:
    """Its clock is another, and so are its tasks."""
    with run_in_thread(Simulator()) as sim:
        vidu = sim.client()
        uris = {asyncio.run(vidu.upload(png(500))) for _ in range(2)}
        assert {upload.uri for upload in sim.uploads} == uris
        assert len(uris) == 2
