"""The paid call: sent once, and what each way of losing its answer means for the money."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faulty
import pytest
import trustme
from attrs import evolve
from pictures import PNG, png

from vidu_async import (
    APIError,
    AuthenticationError,
    ConfigError,
    ConnectError,
    IdempotencyConflictError,
    ImageToVideo,
    InsufficientCreditsError,
    LimiterFullError,
    Limits,
    NotFoundError,
    PolicyViolationError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    RawRequest,
    RequestTimeoutError,
    SubmissionUnknownError,
    TaskState,
    TextToVideo,
    Timeouts,
    TLSError,
    ValidationError,
    ViduClient,
    ViduError,
)
from vidu_async.testing import run_virtual

REQUEST = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
QUIET = 0.2
"""Seconds in place of ten minutes."""


@pytest.fixture
async def server() -> AsyncIterator[faulty.FaultyServer]:
    """A server that accepts everything, until told otherwise."""
    async with faulty.FaultyServer() as running:
        yield running


def client(server: faulty.FaultyServer, **settings: Any) -> ViduClient:
    """Return a client of that server."""
    timeouts = evolve(settings.pop("timeouts", Timeouts()), quiet=QUIET)
    return ViduClient("test-key", base_url=server.url, timeouts=timeouts, **settings)


async def test_a_creation_arrives_whole_and_authorised(server: faulty.FaultyServer) -> None:
    """Method, path, header, length and body are as documented, on a connection that is closed afterwards."""
    async with client(server) as vidu:
        handle = await vidu.submit(REQUEST)
    (asked,) = server.creations
    assert (asked.method, asked.path) == ("POST", "/ent/v2/text2video")
    assert asked.headers["authorization"] == "Bearer test-key"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["connection"] == "close"
    assert "transfer-encoding" not in asked.headers
    sent = json.loads(asked.body)
    assert re.fullmatch("va1:[a-z2-7]{26}", sent.pop("payload"))
    assert sent == {"model": "viduq3-turbo", "prompt": "the fox runs"}
    assert (handle.task_id, handle.state) == ("911045603801182208", TaskState.CREATED)
    assert handle.task is not None
    assert handle.task.credits == 80


async def test_each_creation_has_a_connection_of_its_own(server: faulty.FaultyServer) -> None:
    """A kept connection may be closed by the server just as a creation leaves on it."""
    async with client(server) as vidu:
        for _ in range(5):
            await vidu.submit(REQUEST)
    assert server.connections == 5


LOST: dict[str, faulty.Script] = {
    "closed without an answer": faulty.close,
    "reset": faulty.reset,
    "half a status line": faulty.raw(b"HTTP/1."),
    "half the headers": faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "garbage instead of HTTP": faulty.raw(b"\x16\x03\x01 hello"),
    "a body cut short": faulty.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"task_id": "12'),
    "JSON cut in the middle": faulty.answer(200, b'{"task_id": "12'),
    "a login page": faulty.answer(200, b"<html>please log in</html>", Content_Type="text/html"),
    "an empty body": faulty.answer(200, b""),
    "a list": faulty.answer(200, []),
    "null": faulty.answer(200, None),
    "a null id": faulty.answer(200, {"task_id": None, "state": "created"}),
    "an empty id": faulty.answer(200, {"task_id": "", "id": ""}),
    "an id that is true": faulty.answer(200, {"task_id": True}),
    "an error inside a 200": faulty.answer(200, {"code": 500, "reason": "InternalServiceFailure", "message": "no"}),
    "a text in UTF-16": faulty.answer(200, '{"task_id": "1"}'.encode("utf-16")),
    "a very deep body": faulty.answer(200, b"[" * 100_000),
    "500": faulty.refuse(500, "InternalServiceFailure"),
    "502": faulty.answer(502, b"<html>bad gateway</html>", Content_Type="text/html"),
    "503": faulty.answer(503, b""),
    "504": faulty.refuse(504, ""),
    "408": faulty.refuse(408, ""),
    "409": faulty.refuse(409, "Conflict"),
    "499": faulty.refuse(499, "Canceled"),
    "in process already": faulty.refuse(400, "OperationInProcess"),
}


@pytest.mark.parametrize("script", LOST.values(), ids=LOST)
async def test_a_lost_answer_is_unknown_and_never_sent_again(
    server: faulty.FaultyServer, script: faulty.Script
) -> None:
    """The server may have accepted: the error says so, carries the key, and one request is all that was sent."""
    server.creates = [script]
    async with client(server) as vidu:
        with pytest.raises(SubmissionUnknownError, match="may be paid") as caught:
            await vidu.submit(REQUEST, key="row 1")
        assert (caught.value.paid, caught.value.key) == ("maybe", "row 1")
        assert caught.value.evidence
        assert caught.value.__context__ is None
        with pytest.raises(SubmissionUnknownError, match="sent before"):
            await vidu.submit(REQUEST, key="row 1")
    assert len(server.creations) == 1


REFUSED: dict[str, tuple[faulty.Script, type[ViduError]]] = {
    "400": (faulty.refuse(400, "FieldInvalid", "resolution"), APIError),
    "a policy": (faulty.refuse(400, "TaskPromptPolicyViolation"), PolicyViolationError),
    "no credits": (faulty.refuse(400, "CreditInsufficient"), InsufficientCreditsError),
    "401": (faulty.refuse(401, "Unauthorized"), AuthenticationError),
    "401 without a word": (faulty.answer(401, b""), AuthenticationError),
    "404": (faulty.answer(404, b"<html>nothing here</html>", Content_Type="text/html"), NotFoundError),
    "413": (faulty.answer(413, b"too large", Content_Type="text/plain"), APIError),
    "a redirect": (faulty.answer(307, b"", Location="https://elsewhere.invalid/?token=1"), ProtocolError),
}


@pytest.mark.parametrize(("script", "kind"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_is_typed_unpaid_and_not_repeated(
    server: faulty.FaultyServer, script: faulty.Script, kind: type[ViduError]
) -> None:
    """Nothing was created; the key may be used again."""
    server.creates = [script, faulty.created()]
    async with client(server) as vidu:
        with pytest.raises(kind) as caught:
            await vidu.submit(REQUEST, key="row 1")
        assert type(caught.value) is kind
        assert (caught.value.paid, caught.value.key) == ("no", "row 1")
        assert len(server.creations) == 1
        vidu.resume()  # some refusals stop all submissions
        handle = await vidu.submit(REQUEST, key="row 1")
    assert handle.task_id == "911045603801182208"


async def test_a_redirect_is_named_and_its_target_sees_nothing(server: faulty.FaultyServer) -> None:
    """Following it would hand the key and a paid request to somebody else."""
    async with faulty.FaultyServer() as other:
        server.creates = [faulty.answer(301, b"", Location=f"{other.url}/ent/v2/text2video")]
        async with client(server) as vidu:
            with pytest.raises(ProtocolError, match=f"redirects to {other.url}"):
                await vidu.submit(REQUEST)
        assert other.connections == 0


def test_a_429_is_waited_out_and_sent_again() -> None:
    """Retry-After is honoured, and the same bytes go out again."""

    async def main() -> None:
        busy = faulty.refuse(429, "QuotaExceeded", Retry_After="7")
        async with faulty.FaultyServer(creates=[busy, busy, faulty.created()]) as server, client(server) as vidu:
            await vidu.submit(REQUEST)
            assert 14 <= asyncio.get_running_loop().time() < 16  # everybody comes back a little later, not all at once
            assert len({asked.body for asked in server.creations}) == 1
            assert len(server.creations) == 3

    run_virtual(main())


def test_a_throttling_503_counts_as_a_429() -> None:
    """`SystemThrottling` is refused at the door, whatever its status."""

    async def main() -> None:
        busy = faulty.refuse(503, "SystemThrottling")
        async with faulty.FaultyServer(creates=[busy, faulty.created()]) as server, client(server) as vidu:
            await vidu.submit(REQUEST)
            assert len(server.creations) == 2

    run_virtual(main())


def test_429s_without_end_end_with_the_submission_deadline() -> None:
    """After `Timeouts.submit` the caller learns it, unpaid."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.refuse(429, "TooManyRequests")]) as server,
            client(server, timeouts=Timeouts(submit=90)) as vidu,
        ):
            with pytest.raises(RateLimitError, match="429 TooManyRequests") as caught:
                await vidu.submit(REQUEST)
            assert caught.value.paid == "no"
            assert asyncio.get_running_loop().time() <= 90

    run_virtual(main())


@pytest.mark.parametrize("hint", ["-1", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_a_senseless_retry_after_is_ignored(hint: str) -> None:
    """The usual pauses take its place."""

    async def main() -> None:
        busy = faulty.refuse(429, "QuotaExceeded", Retry_After=hint)
        async with faulty.FaultyServer(creates=[busy, faulty.created()]) as server, client(server) as vidu:
            await vidu.submit(REQUEST)
            assert asyncio.get_running_loop().time() < 5

    run_virtual(main())


async def test_a_retry_after_of_hours_is_not_waited_for(server: faulty.FaultyServer) -> None:
    """The error says how long the server asked for."""
    server.creates = [faulty.refuse(429, "QuotaExceeded", Retry_After="86400")]
    async with client(server) as vidu:
        with pytest.raises(RateLimitError) as caught:
            await vidu.submit(REQUEST)
    assert caught.value.retry_after == 86400


def test_a_refused_connection_is_tried_four_times() -> None:
    """No connection, nothing sent: safe to try again, and in the end unpaid."""

    async def main() -> None:
        async with faulty.FaultyServer() as server:
            nobody = server.url
        async with ViduClient("test-key", base_url=nobody) as vidu:
            with pytest.raises(ConnectError, match="cannot be reached") as caught:
                await vidu.submit(REQUEST)
            assert (caught.value.paid, caught.value.phase) == ("no", "connect")
            assert 0 < asyncio.get_running_loop().time() < 4

    run_virtual(main())


def test_an_unknown_name_is_told_as_such() -> None:
    """The message points at base_url and the network."""

    async def main() -> None:
        async with ViduClient("test-key", base_url="https://no-such-host.invalid") as vidu:
            with pytest.raises(ConnectError, match=r"no-such-host\.invalid cannot be resolved") as caught:
                await vidu.submit(REQUEST)
            assert (caught.value.paid, caught.value.phase) == ("no", "dns")

    run_virtual(main())


async def test_a_certificate_nobody_vouches_for_is_not_tried_twice() -> None:
    """A configuration fault: retrying would not help."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    seen = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    async with await asyncio.start_server(serve, "localhost", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with ViduClient("test-key", base_url=f"https://localhost:{port}") as vidu:
            with pytest.raises(TLSError, match="certificate of localhost") as caught:
                await vidu.submit(REQUEST)
    assert (caught.value.paid, seen) == ("no", 0)


def test_a_proxy_that_refuses_is_told_without_its_password() -> None:
    """By its phase nothing was sent, so it is tried again like any lack of a connection."""

    async def main() -> None:
        async with faulty.FaultyServer() as proxy:
            proxy.others = {"CONNECT api.vidu.com:443": faulty.answer(407, b"who are you")}
            address = proxy.url.replace("//", "//user:s3cret@")
            async with ViduClient("test-key", base_url="https://api.vidu.com", proxy=address) as vidu:
                with pytest.raises(ProxyError, match="407") as caught:
                    await vidu.submit(REQUEST)
            assert caught.value.paid == "no"
            assert "s3cret" not in str(caught.value)
            assert proxy.connections == 4

    run_virtual(main())


async def test_a_silent_server_is_given_up_as_unknown(server: faulty.FaultyServer) -> None:
    """It has read the request and may have accepted it."""
    server.creates = [faulty.hang]
    async with client(server, timeouts=Timeouts(read=0.05)) as vidu:
        with pytest.raises(SubmissionUnknownError, match="no answer"):
            await vidu.submit(REQUEST)
    assert len(server.creations) == 1


async def test_a_server_that_stops_reading_is_noticed() -> None:
    """`Timeouts.write` bounds the time without progress. The last byte was kept back: nothing is paid."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ViduClient("test-key", base_url=url, timeouts=Timeouts(write=0.2)) as vidu:
            picture = png(size=12_000_000)
            with pytest.raises(RequestTimeoutError, match="in time") as caught:
                await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[picture]))
        assert (caught.value.paid, caught.value.phase, len(writers)) == ("no", "uploading", 4)
        for writer in writers:
            writer.close()


async def test_a_cancelled_caller_loses_no_paid_task(server: faulty.FaultyServer) -> None:
    """The send goes on without its caller, and the client keeps the handle."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        arrived.set()
        await go_on.wait()
        await faulty.created("77")(connection, asked)

    server.creates = [slowly]
    async with client(server) as vidu:
        caller = asyncio.create_task(vidu.submit(REQUEST))
        await arrived.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()
        async with asyncio.timeout(5):
            while not vidu.unfinished():
                await asyncio.sleep(0.005)
        (handle,) = vidu.unfinished()
        assert handle.task_id == "77"
        await handle
        assert vidu.unfinished() == []


async def test_closing_the_client_waits_for_what_is_on_its_way(server: faulty.FaultyServer) -> None:
    """`aclose()` lets a request come to its answer."""
    arrived = asyncio.Event()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        arrived.set()
        await asyncio.sleep(0.05)
        await faulty.created()(connection, asked)

    server.creates = [slowly]
    vidu = client(server)
    caller = asyncio.create_task(vidu.submit(REQUEST))
    await arrived.wait()
    await vidu.aclose()
    assert (await caller).task_id == "911045603801182208"


async def test_a_caller_cancelled_while_it_waits_its_turn_sends_nothing(server: faulty.FaultyServer) -> None:
    """Before the request leaves, cancelling withdraws it, and its place goes to the next."""
    go_on = asyncio.Event()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await go_on.wait()
        await faulty.created()(connection, asked)

    server.creates = [slowly]
    async with client(server, limits=Limits(submissions=1)) as vidu:
        first = asyncio.create_task(vidu.submit(REQUEST))
        second = asyncio.create_task(vidu.submit(REQUEST))
        third = asyncio.create_task(vidu.submit(REQUEST))
        await asyncio.sleep(0.02)
        second.cancel()
        go_on.set()
        assert (await first).task_id == (await third).task_id
        assert second.cancelled() or await asyncio.gather(second, return_exceptions=True)
    assert len(server.creations) == 2


async def test_closing_the_client_withdraws_what_still_waits(server: faulty.FaultyServer) -> None:
    """Its caller is told that nothing was sent."""
    server.creates = [faulty.hang]
    vidu = client(server, limits=Limits(submissions=1), timeouts=Timeouts(read=0.1))
    first = asyncio.create_task(vidu.submit(REQUEST))
    second = asyncio.create_task(vidu.submit(REQUEST, key="waits"))
    await asyncio.sleep(0.02)
    await vidu.aclose()
    with pytest.raises(ConfigError, match="closed before submission waits was sent") as caught:
        await second
    assert caught.value.paid == "no"
    with pytest.raises(SubmissionUnknownError):
        await first
    assert len(server.creations) == 1


def test_a_loop_that_ends_mid_way_is_logged_as_maybe_paid(caplog: pytest.LogCaptureFixture) -> None:
    """`asyncio.run` cancels everything; what had left by then is named in the log."""

    async def main() -> None:
        arrived = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                arrived.set()
                await reader.read()
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        vidu = ViduClient("test-key", base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        task = asyncio.create_task(vidu.submit(REQUEST, key="left"))
        await arrived.wait()
        server.close()
        del task

    with caplog.at_level(logging.WARNING, "vidu_async"):
        asyncio.run(main())
    assert "submission left was interrupted on its way: it may be paid" in caplog.text


async def test_the_failure_of_a_submission_whose_caller_left_is_logged(
    server: faulty.FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else would ever hear of it."""
    arrived = asyncio.Event()

    async def slowly(connection: faulty.Connection, _: faulty.Asked) -> None:
        arrived.set()
        await asyncio.sleep(0.02)
        connection.reset()

    server.creates = [slowly]
    async with client(server) as vidu:
        caller = asyncio.create_task(vidu.submit(REQUEST, key="alone"))
        await arrived.wait()
        caller.cancel()
    assert "submission alone, whose caller left, failed" in caplog.text


async def test_the_same_key_gives_the_same_task_and_sends_nothing(server: faulty.FaultyServer) -> None:
    """Also while the first is still on its way, and after it has ended."""
    async with client(server) as vidu:
        handles = await asyncio.gather(*(vidu.submit(REQUEST, key="row 1") for _ in range(5)))
        assert {handle.task_id for handle in handles} == {"911045603801182208"}
        await handles[0]
        again = await vidu.submit(REQUEST, key="row 1")
        assert again.state is TaskState.SUCCESS
    assert len(server.creations) == 1


async def test_one_of_two_callers_of_a_key_may_leave(server: faulty.FaultyServer) -> None:
    """A submission is withdrawn only when nobody waits for it any more."""
    server.creates = [faulty.hang, faulty.created()]
    async with client(server, limits=Limits(submissions=1), timeouts=Timeouts(read=0.1)) as vidu:
        blocker = asyncio.create_task(vidu.submit(REQUEST))
        first, second = (asyncio.create_task(vidu.submit(REQUEST, key="shared")) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        assert (await second).task_id == "911045603801182208"
        with pytest.raises(SubmissionUnknownError):
            await blocker


async def test_a_key_names_one_request_only(server: faulty.FaultyServer, tmp_path: Path) -> None:
    """Another request, or another content of the same file, is a conflict."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(PNG)
    request = ImageToVideo(model="viduq3-turbo", images=[picture])
    async with client(server) as vidu:
        await vidu.submit(request, key="row 1")
        with pytest.raises(IdempotencyConflictError) as caught:
            await vidu.submit(REQUEST, key="row 1")
        assert (caught.value.paid, caught.value.key) == ("no", "row 1")
        picture.write_bytes(png(label=b"changed"))
        with pytest.raises(IdempotencyConflictError):
            await vidu.submit(request, key="row 1")
    assert len(server.creations) == 1


async def test_local_pictures_go_out_as_what_they_are(server: faulty.FaultyServer, tmp_path: Path) -> None:
    """A PNG named .jpg is sent as image/png."""
    picture = tmp_path / "fox.jpg"
    picture.write_bytes(PNG)
    async with client(server) as vidu:
        await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[str(picture)]))
        await vidu.submit(ImageToVideo(model="viduq3-turbo", images=[PNG]))
        await vidu.submit(RawRequest("template", {"template": "hugging", "images": [picture]}))
    sent = [json.loads(asked.body)["images"] for asked in server.creations]
    assert sent[0] == sent[1] == sent[2]
    assert sent[0][0].startswith("data:image/png;base64,iVBORw0KGgo")
    assert server.creations[2].path == "/ent/v2/template"


async def test_a_missing_picture_is_refused_before_anything_is_sent(server: faulty.FaultyServer) -> None:
    """The message names the field and the path."""
    async with client(server) as vidu:
        with pytest.raises(ValidationError, match=r"images\[0\]: 'fix\.png' is neither an http.* nor a readable file"):
            await vidu.submit(ImageToVideo(model="viduq3-turbo", images=["fix.png"]))
    assert server.connections == 0


async def test_five_hundred_submissions_at_once_all_arrive() -> None:
    """On the defaults, with no error and never more than eight connections."""
    async with faulty.FaultyServer() as server, client(server) as vidu:
        handles = await asyncio.gather(*(vidu.submit(REQUEST) for _ in range(500)))
    assert len(handles) == len(server.creations) == 500
    assert server.most_open <= 8


def test_a_task_in_flight_frees_its_place_though_nobody_awaits_it() -> None:
    """With `in_flight=2` five submissions go through by themselves, as tasks end."""

    async def main() -> None:
        looks = [faulty.state("processing"), faulty.success()] * 5
        async with (
            faulty.FaultyServer(creates=[faulty.created(str(n)) for n in range(1, 6)], looks=looks) as server,
            client(server, limits=Limits(in_flight=2)) as vidu,
        ):
            handles = [await vidu.submit(REQUEST) for _ in range(5)]
            assert len(handles) == 5
            assert asyncio.get_running_loop().time() > 1

    run_virtual(main())


async def test_places_come_back_after_every_kind_of_failure(server: faulty.FaultyServer) -> None:
    """Refused, lost and cancelled submissions leave room for the next."""
    server.creates = [faulty.refuse(400, "FieldInvalid"), faulty.reset, faulty.hang, faulty.created()]
    async with client(server, limits=Limits(submissions=1, in_flight=1), timeouts=Timeouts(read=0.05)) as vidu:
        with pytest.raises(APIError):
            await vidu.submit(REQUEST)
        for _ in range(2):
            with pytest.raises(SubmissionUnknownError):
                await vidu.submit(REQUEST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await vidu.submit(REQUEST)
        assert (await vidu.submit(REQUEST)).task_id == "911045603801182208"


async def test_too_many_waiting_submissions_are_refused(server: faulty.FaultyServer) -> None:
    """`Limits.queue` bounds the memory that a flood of handlers takes."""
    async with client(server, limits=Limits(submissions=1, queue=3)) as vidu:
        outcomes = await asyncio.gather(*(vidu.submit(REQUEST) for _ in range(10)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, LimiterFullError)]
    assert len(refused) == 6
    assert len(server.creations) == 4


async def test_a_task_that_failed_at_once_is_accepted_and_over(server: faulty.FaultyServer) -> None:
    """A creation may answer a terminal state: no further look is needed."""
    server.creates = [faulty.created(state="failed", err_code="AuditFailed")]
    async with client(server) as vidu:
        handle = await vidu.submit(REQUEST)
        assert (await handle.wait()).err_code == "AuditFailed"
        assert vidu.unfinished() == []
    assert server.queries == []


async def test_a_numeric_id_keeps_every_digit(server: faulty.FaultyServer) -> None:
    """Through a float it would end in 208."""
    server.creates = [faulty.answer(200, b'{"task_id": 911045603801182209, "state": "created"}')]
    async with client(server) as vidu:
        assert (await vidu.submit(REQUEST)).task_id == "911045603801182209"


async def test_an_endless_answer_is_not_read_to_its_end(server: faulty.FaultyServer) -> None:
    """Memory stays bounded, and the submission is unknown."""

    async def flood(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _count in range(1000):
            await connection.write(b" " * 65536)

    server.creates = [flood]
    async with client(server) as vidu:
        with pytest.raises(SubmissionUnknownError, match="longer than"):
            await vidu.submit(REQUEST)
