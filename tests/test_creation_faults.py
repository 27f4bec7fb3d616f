"""Faults of network and HTTP while something is created, A01 to A40: each to its figure.

What `test_failure_points.py` shows of every step, the verdict, is here shown for faults that pass, that last, that are
huge or slow, and that meet a thousand submissions at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import tempfile
import tracemalloc
import zlib
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import faulty
import pytest
from aiohttp.resolver import DefaultResolver, ThreadedResolver
from fates import (
    ACCEPTED,
    FOUND,
    HEALTHY,
    KEY,
    LOST,
    REDIRECTED,
    REFUSED,
    TRUSTED,
    UNSENT,
    Fate,
    S,
    certified,
    check_again,
    check_row,
    check_told,
    client,
    crowded,
    journal_at,
    play,
    suffered,
    told,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from named import NamedLoop
from pictures import data_url, png

from vidu_async import (
    APIError,
    AuthenticationError,
    ConnectError,
    Gateway,
    ImageToVideo,
    InsufficientCreditsError,
    Limits,
    PermissionDeniedError,
    PolicyViolationError,
    RateLimitError,
    RequestTimeoutError,
    SubmissionUnknownError,
    TaskHandle,
    TextToVideo,
    TLSError,
    ViduClient,
)
from vidu_async.testing import VirtualClockLoop, run_virtual

# A01 to A06: no connection, until there is one


def run_named(main: Coroutine[Any, Any, None], *answers: list[str]) -> None:
    """Run on virtual time with these answers to questions for names."""
    with asyncio.Runner(loop_factory=lambda: NamedLoop(*answers)) as runner:
        runner.run(main)


needs_asyncios_resolver = pytest.mark.skipif(
    DefaultResolver is not ThreadedResolver, reason="names are looked up past the event loop"
)


async def by_name(fate: Fate, folder: Path) -> None:
    """Submit to a server on 127.0.0.1 by a name, and make sure of the fate."""
    async with faulty.FaultyServer(creates=[faulty.created(HEALTHY)]) as server, journal_at(folder) as journal:
        gateway = Gateway(base_url=f"http://vidu.test:{server.port}", allow_insecure=True, lists=False)
        async with ViduClient("test-key", gateway=gateway, journal=journal) as vidu:
            await suffered(fate, vidu, server, journal)


@needs_asyncios_resolver
def test_a_name_that_is_unknown_three_times_is_known_the_fourth_time(tmp_path: Path) -> None:
    """A01: it is paid once, and the journal counts one attempt."""
    run_named(by_name(ACCEPTED.but(within=(0.001, 4)), tmp_path), [], [], [], ["127.0.0.1"])


@needs_asyncios_resolver
def test_a_name_that_is_unknown_four_times_is_not_asked_for_again(tmp_path: Path) -> None:
    """A01: until somebody submits the same key again."""
    fate = UNSENT.but("vidu.test.* cannot be resolved", kind=ConnectError, phase="dns")
    run_named(by_name(fate, tmp_path), [], [], [], [], ["127.0.0.1"])


class LateLoop(VirtualClockLoop):
    """A loop on virtual time that counts who knocks at a door, and may open it for the fourth."""

    door: asyncio.Server | None = None
    opens = False
    knocks = 0

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect, or be refused."""
        if self.door is not None and address == self.door.sockets[0].getsockname():
            self.knocks += 1
            if self.knocks == 4 and self.opens:
                await self.door.start_serving()
        await super().sock_connect(sock, address)


@pytest.mark.parametrize(
    ("opens", "fate"),
    [(True, ACCEPTED), (False, UNSENT.but("cannot be reached", kind=ConnectError, phase="connect"))],
    ids=["open", "closed"],
)
def test_a_refused_connection_is_tried_four_times(opens: bool, fate: Fate, tmp_path: Path) -> None:
    """A02: at the fourth time it may go through, and there is no fifth."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, LateLoop)
        async with faulty.FaultyServer() as server, journal_at(tmp_path) as journal:
            front = partial(join, port=server.port)
            loop.door, loop.opens = await asyncio.start_server(front, "127.0.0.1", 0, start_serving=False), opens
            gateway = Gateway(base_url=f"http://127.0.0.1:{loop.door.sockets[0].getsockname()[1]}", lists=False)
            async with ViduClient("k", gateway=gateway, journal=journal) as vidu, client(server, journal) as healed:
                same_place = None if opens else healed
                await suffered(fate.but(within=(0.001, 4)), vidu, server, journal, healed=same_place)
            assert loop.knocks == 4
            loop.door.close()

    with asyncio.Runner(loop_factory=LateLoop) as runner:
        runner.run(main())


@needs_asyncios_resolver
def test_a_dead_ipv6_address_costs_a_quarter_of_a_second(tmp_path: Path) -> None:
    """A39: the other address is tried while the first still hangs."""

    async def main() -> None:
        async with faulty.FaultyServer() as server, journal_at(tmp_path) as journal:
            with crowded("::1", server.port):
                gateway = Gateway(base_url=f"http://vidu.test:{server.port}", allow_insecure=True, lists=False)
                async with ViduClient("test-key", gateway=gateway, journal=journal) as vidu:
                    await suffered(ACCEPTED.but(within=(0.2, 1)), vidu, server, journal)

    run_named(main(), ["::1", "127.0.0.1"])


@needs_asyncios_resolver
def test_an_ipv6_address_that_refuses_costs_nothing(tmp_path: Path) -> None:
    """A39: nobody listens there, somebody does at the other."""
    run_named(by_name(ACCEPTED.but(within=(0, 0.5)), tmp_path), ["::1", "127.0.0.1"])


def test_a_full_door_is_tried_again_after_ten_seconds(tmp_path: Path) -> None:
    """A03: by then there is room, and it is paid once."""

    async def main() -> None:
        async with faulty.FaultyServer() as server, journal_at(tmp_path) as journal:
            with crowded() as door:
                gateway = Gateway(base_url=f"http://127.0.0.1:{door.getsockname()[1]}", lists=False)
                async with ViduClient("test-key", gateway=gateway, journal=journal) as vidu:
                    opening = asyncio.create_task(open_late(door, server.port))
                    await suffered(ACCEPTED.but(within=(9, 12)), vidu, server, journal)
                    (await opening).close()
            await asyncio.sleep(1)  # for those who stood in the queue to be let go

    async def open_late(door: socket.socket, port: int) -> asyncio.Server:
        await asyncio.sleep(5)
        return await asyncio.start_server(partial(join, port=port), sock=door)

    run_virtual(main())


def test_a_key_is_free_for_who_trusts_the_right_authority(tmp_path: Path) -> None:
    """A04: what was refused for its certificate is sent once it is trusted, at the same place."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(tls=certified("localhost")) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as wary,
            client(server, journal, ssl=TRUSTED) as trusting,
        ):
            fate = UNSENT.but("certificate of localhost", kind=TLSError, phase="tls", within=(0, 0))
            await suffered(fate, wary, server, journal, healed=trusting)

    run_virtual(main())


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, until its end."""
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Join a connection with another one."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer), return_exceptions=True)
    far_writer.close()
    writer.close()


def test_handshakes_that_break_are_begun_anew(tmp_path: Path) -> None:
    """A05: closed three times in the handshake, and then served."""

    async def main() -> None:
        async with faulty.FaultyServer(tls=certified("localhost")) as server, journal_at(tmp_path) as journal:
            tries: list[object] = []

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tries.append(reader)
                if len(tries) <= 3:
                    writer.close()
                else:
                    await join(reader, writer, server.port)

            async with await asyncio.start_server(serve, "127.0.0.1", 0) as front:
                gateway = Gateway(base_url=f"https://localhost:{front.sockets[0].getsockname()[1]}", lists=False)
                async with ViduClient("test-key", gateway=gateway, journal=journal, ssl=TRUSTED) as vidu:
                    await suffered(ACCEPTED.but(within=(0.001, 4)), vidu, server, journal)
            assert len(tries) == 4

    run_virtual(main())


@pytest.mark.parametrize(
    "trouble",
    [faulty.answer(502, b""), faulty.close, faulty.reset, faulty.hang],
    ids=["502", "closes", "resets", "hangs"],
)
def test_a_proxy_that_recovers_lets_one_creation_through(trouble: faulty.Script, tmp_path: Path) -> None:
    """A06: the key and the request are seen by the server alone, over TLS through its tunnel."""

    async def main() -> None:
        async with faulty.FaultyServer(tls=certified("localhost")) as server, journal_at(tmp_path) as journal:
            plays = [trouble, trouble, trouble]

            async def tunnel(connection: faulty.Connection, asked: faulty.Asked) -> None:
                assert asked.headers["proxy-authorization"].startswith("Basic ")
                assert "authorization" not in asked.headers
                if plays:
                    await plays.pop()(connection, asked)
                    return
                await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await join(connection.reader, connection.writer, server.port)

            async with faulty.FaultyServer(others={f"CONNECT localhost:{server.port}": tunnel}) as proxy:
                address = proxy.url.replace("//", "//user:s3cret@")
                async with client(server, journal, proxy=address, ssl=TRUSTED) as vidu:
                    await suffered(ACCEPTED, vidu, server, journal)
                assert proxy.connections == 4
                assert "proxy-authorization" not in server.creations[0].headers

    run_virtual(main())


# A07, A08: fifteen megabytes on their way

HUGE = ImageToVideo(model="viduq3-turbo", images=[png(size=11_250_000)])
"""Fifteen megabytes on the wire."""


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_large_upload_that_breaks_is_sent_again_whole(share: float, tmp_path: Path) -> None:
    """A07: of the broken one nothing is paid, and what arrives in the end is the picture as it was."""

    async def main() -> None:
        creates: list[faulty.Script] = [faulty.after(share, faulty.reset), faulty.created()]
        async with (
            faulty.FaultyServer(creates=creates, narrow=True) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            await suffered(ACCEPTED, vidu, server, journal, request=HUGE)
            assert server.connections == 2
            (asked,) = server.creations
            assert asked.length == len(asked.body) > 15_000_000
            assert json.loads(asked.body)["images"] == [data_url("image/png", png(size=11_250_000))]

    run_virtual(main())


def test_an_upload_that_stalls_is_given_up_after_a_minute(tmp_path: Path) -> None:
    """A08: four times a minute without progress, and nothing is paid."""
    fate = UNSENT.but("in time.*write", kind=RequestTimeoutError, within=(240, 250))
    play(fate, tmp_path, faulty.after(0.1, park), request=HUGE, narrow=True)


def test_an_upload_that_stalls_once_is_sent_again(tmp_path: Path) -> None:
    """A08: the second time it goes through, and is paid once."""
    play(ACCEPTED.but(within=(60, 62)), tmp_path, faulty.after(0.1, park), faulty.created(), request=HUGE, narrow=True)


def test_an_upload_that_creeps_is_not_given_up(tmp_path: Path) -> None:
    """A08: what makes a little progress within each minute is waited for, here for a quarter of an hour."""

    async def creep(connection: faulty.Connection, asked: faulty.Asked) -> None:
        for _ in range(20):
            await connection.reader.readexactly(asked.length // 21)
            await asyncio.sleep(50)
        await connection.reader.readexactly(asked.length - asked.length // 21 * 20)
        asked.body = b'{"payload": ""}'
        await faulty.created()(connection, asked)

    play(ACCEPTED.but(arrived=0, within=(1000, 1010)), tmp_path, faulty.Early(creep), request=HUGE, narrow=True)


async def park(connection: faulty.Connection, _: faulty.Asked) -> None:
    """Read no more, for longer than anybody waits."""
    await asyncio.sleep(1000)


# A09 to A13, A36: an answer that does not come


@pytest.mark.parametrize("end", [faulty.reset, faulty.close], ids=["A09", "A10"])
def test_what_broke_after_the_last_byte_is_found_at_the_first_look(end: faulty.Script, tmp_path: Path) -> None:
    """Five seconds later the caller has its handle."""
    play(FOUND.but(within=(4.9, 5.1)), tmp_path, faulty.accepting(end), remembers=True)


def test_what_was_not_accepted_is_reported_and_not_sent_again(tmp_path: Path) -> None:
    """A11: after two looks the caller knows, after ten minutes the journal does; nothing is sent for two days."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.close], remembers=True) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            fate = LOST.but("ServerDisconnectedError", within=(14.9, 15.1))
            await suffered(fate, vidu, server, journal)
            assert len(server.queries) == 5  # after 5, 15, 60, 180 and 600 seconds
            await asyncio.sleep(2 * 86400)
            (open_,) = vidu.unresolved()
            assert (open_.key, open_.state, open_.endpoint) == (KEY, "held", "text2video")
            assert len(server.creations) == 1

    run_virtual(main())


@pytest.mark.parametrize("seconds", [100, 119])
def test_a_late_answer_is_waited_for(seconds: float, tmp_path: Path) -> None:
    """A12: to wait is cheaper than to pay twice."""

    async def late(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(seconds)
        await faulty.created()(connection, asked)

    play(ACCEPTED.but(within=(seconds, seconds + 1)), tmp_path, late)


def test_silence_is_given_up_after_two_minutes(tmp_path: Path) -> None:
    """A13, A36: a line that is dead after the last byte looks just the same."""
    play(LOST.but("no answer", within=(120, 121)), tmp_path, faulty.hang)


def test_an_answer_a_byte_a_second_is_given_up_after_three_minutes(tmp_path: Path) -> None:
    """A37: it is no silence, and no answer either."""

    async def trickle(connection: faulty.Connection, _: faulty.Asked) -> None:
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await connection.write(b" ")
            await asyncio.sleep(1)

    play(LOST.but("no answer", within=(180, 181)), tmp_path, trickle)


# A14 to A22: an answer that is none

TASK = b'{"task_id": "911045603801182208", "state": "created"}'


def whole(head: bytes, body: bytes = TASK) -> faulty.Script:
    """Return a script that answers with these first lines."""
    return faulty.raw(b"%s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (head, len(body), body))


BOMB = zlib.compressobj(9, zlib.DEFLATED, 31)
_HEAD = BOMB.compress(bytes(2**20)) + BOMB.flush(zlib.Z_FULL_FLUSH)
_MORE = BOMB.compress(bytes(2**20)) + BOMB.flush(zlib.Z_FULL_FLUSH)
GIGABYTE = _HEAD + _MORE * 1023
"""A gigabyte of zeros, as gzip."""


async def flood(connection: faulty.Connection, _: faulty.Asked) -> None:
    """Answer without end."""
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    for _piece in range(15_000):
        await connection.write(b" " * 2**16)


HUGE_ANSWERS: dict[str, tuple[faulty.Script, str]] = {
    "A14 a header of a megabyte": (whole(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20), "does not answer in HTTP"),
    "A14 ten thousand headers": (
        whole(b"HTTP/1.1 200 OK" + b"".join(b"\r\nX-%d: x" % n for n in range(10_000))),
        "does not answer in HTTP",
    ),
    "A21 a hundred thousand brackets": (faulty.answer(200, b"[" * 100_000), "200 without a task"),
    "A21 a hundred thousand objects": (faulty.answer(200, b'{"a":' * 100_000), "200 without a task"),
    "A21 a gigabyte": (flood, "longer than"),
    "A21 a gigabyte in gzip": (
        faulty.answer(200, GIGABYTE, Content_Encoding="gzip"),
        "longer than",
    ),
}


@pytest.mark.parametrize("name", HUGE_ANSWERS)
def test_a_huge_answer_is_unknown_and_fills_no_memory(name: str, tmp_path: Path) -> None:
    """It is read to a bound, and what is kept of it fits into a line."""
    script, said = HUGE_ANSWERS[name]
    tracemalloc.start()
    try:
        error = play(LOST.but(said), tmp_path, script)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert len(str(error)) < 1000


NO_ANSWERS: dict[str, tuple[faulty.Script, str]] = {
    "A14 half a status line": (faulty.raw(b"HTTP/1.1 2"), "broke"),
    "A14 half the headers": (faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Type: appl"), "broke"),
    "A15 noise": (faulty.raw(bytes(range(256)) * 4), "does not answer in HTTP"),
    "A15 HTTP/0.9": (faulty.raw(TASK), "does not answer in HTTP"),
    "A15 HTTP/2": (faulty.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "does not answer in HTTP"),
    "A15 HTTP/2 settings": (faulty.raw(b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0"), "does not answer in HTTP"),
    "A16 cut short": (faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + TASK), "cut short"),
    "A17 cut JSON": (faulty.answer(200, TASK[:-9]), "200 without a task"),
    "A19 {}": (faulty.answer(200, {}), "200 without a task"),
    "A19 []": (faulty.answer(200, []), "200 without a task"),
    "A19 null": (faulty.answer(200, None), "200 without a task"),
    "A19 a null id": (faulty.answer(200, {"task_id": None}), "200 without a task"),
    "A19 text": (faulty.answer(200, ""), "200 without a task"),
    "A19 0": (faulty.answer(200, 0), "200 without a task"),
    "A19 true": (faulty.answer(200, True), "200 without a task"),  # noqa: FBT003 - the whole answer
    "A19 an id that is true": (faulty.answer(200, {"task_id": True}), "200 without a task"),
    "A21 two ids": (faulty.answer(200, b'{"task_id": "1", "task_id": "2"}'), "names two tasks"),
    "A22 UTF-16": (faulty.answer(200, TASK.decode().encode("utf-16")), "200 without a task"),
    "A22 UTF-32": (faulty.answer(200, TASK.decode().encode("utf-32")), "200 without a task"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_unknown(name: str, tmp_path: Path) -> None:
    """It may have been paid, and never becomes a task called None."""
    script, said = NO_ANSWERS[name]
    play(LOST.but(said, evidence=re.compile(said)), tmp_path, script)


def test_a_page_is_shown_by_its_beginning(tmp_path: Path) -> None:
    """A18: with its content type, two hundred bytes and no control characters: it may come from anybody."""
    page = b"<html>\x1b[2J\r\n\0please log in" + b"x" * 5000
    error = play(LOST.but("text/html"), tmp_path, faulty.answer(200, page, Content_Type="text/html"))
    assert "please log in" in str(error)
    assert str(error).isprintable()
    assert str(error).count("x") < 200


ODD_ANSWERS: dict[str, tuple[faulty.Script, str]] = {
    "A20 a number": (faulty.answer(200, b'{"task_id": 911045603801182209}'), "911045603801182209"),
    "A21 the same id twice": (faulty.answer(200, b'{"task_id": "71", "state": "x", "task_id": "71"}'), "71"),
    "A22 a byte order mark": (faulty.answer(200, b"\xef\xbb\xbf" + TASK), "911045603801182208"),
    "A22 text/plain": (faulty.answer(200, TASK, Content_Type="text/plain"), "911045603801182208"),
    "A22 no type": (whole(b"HTTP/1.1 200 OK"), "911045603801182208"),
    "A22 another charset": (
        faulty.answer(200, TASK, Content_Type="application/json; charset=latin-1"),
        "911045603801182208",
    ),
    "A38 100": (faulty.raw(b"HTTP/1.1 100 Continue\r\n\r\n"), "911045603801182208"),
    "A38 103": (faulty.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), "911045603801182208"),
    "A38 both, twice": (
        faulty.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" * 2),
        "911045603801182208",
    ),
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_odd_answer_that_names_its_task_is_one(name: str, tmp_path: Path) -> None:
    """A paid task is not lost for a matter of form."""
    script, task_id = ODD_ANSWERS[name]

    async def accept(connection: faulty.Connection, asked: faulty.Asked) -> None:
        connection.accept(asked, task_id)
        await script(connection, asked)
        if name.startswith("A38"):
            await connection.answer(200, TASK)

    play(ACCEPTED.but(task_id=task_id, within=(0, 1)), tmp_path, accept)


# A23 to A34: what the server says


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_another_place_is_told_and_sees_nothing(status: int, tmp_path: Path) -> None:
    """A23: to follow it would hand key and request to somebody else."""

    async def main() -> None:
        async with faulty.FaultyServer() as other, faulty.FaultyServer() as server, journal_at(tmp_path) as journal:
            server.creates = [faulty.answer(status, b"", Location=f"{other.url}/ent/v2/text2video?token=1")]
            async with client(server, journal) as vidu:
                fate = REDIRECTED.but(f"text2video redirects to {other.url}/ent/v2/text2video,.*base_url")
                error = await suffered(fate, vidu, server, journal)
            assert "token" not in str(error)
            assert other.connections == 0

    run_virtual(main())


def test_a_redirect_to_https_names_what_to_change(tmp_path: Path) -> None:
    """A24: it is base_url, and the message says where it leads."""
    answer = faulty.answer(301, b"", Location="https://127.0.0.1/ent/v2/text2video")
    play(REDIRECTED.but("redirects to https://127.0.0.1/ent/v2/text2video.*base_url"), tmp_path, answer)


DOCUMENTED: dict[type[APIError], tuple[str, ...]] = {
    APIError: (
        *("BadRequest", "FieldLacking", "FieldUnwanted", "FieldItemCountOutOfRange", "FieldInvalid"),
        *("PageSizeOutOfRange", "ImageFormatInvalid", "ImageSizeInvalid", "VideoFormatInvalid"),
        *("ImageDownloadFailure", "VideoDownloadFailure", "ModelUnavailable", "UserCancelled"),
        *("ImageCheckBodyJointsFailed", "ImageCheckFaceFailed", "ImageObjectsUndetected", "FaceDetectFailure"),
        *("FaceDetectNotPass", "NoFaceDetected", "MultiFaceDetected"),
    ),
    PolicyViolationError: (
        *("TaskPromptPolicyViolation", "AuditSubmitIllegal", "CreationPolicyViolation", "PhotoAuditNotPass"),
        "AuditFailed",
    ),
    InsufficientCreditsError: ("CreditInsufficient",),
}
"""Reasons of a 400. https://platform.vidu.com/docs/error-code"""


@pytest.mark.parametrize(
    ("kind", "reason"), [(kind, reason) for kind, reasons in DOCUMENTED.items() for reason in reasons]
)
def test_each_documented_reason_is_a_refusal(kind: type[APIError], reason: str, tmp_path: Path) -> None:
    """A25: typed, with its reason and its trace, and not tried again."""
    known = {"status": 400, "reason": reason, "trace_id": "trace-1"}
    fate = REFUSED.but(f"400 {reason}: no.*trace-1", kind=kind, within=(0, 1), **known)
    error = play(fate, tmp_path, faulty.refuse(400, reason, "no"))
    assert (error.reason, error.trace_id, error.status) == (reason, "trace-1", 400)


STOPPERS: dict[str, tuple[faulty.Script, type[APIError], int, int]] = {
    "A26 no credits": (faulty.refuse(400, "CreditInsufficient"), InsufficientCreditsError, 1000, 8),
    "A27 401": (faulty.refuse(401, "Unauthorized"), AuthenticationError, 100, 1),
    "A27 403": (faulty.refuse(403, "Forbidden"), PermissionDeniedError, 100, 1),
}


@pytest.mark.parametrize("name", STOPPERS)
def test_the_first_of_many_that_all_would_be_refused_stops_the_rest(name: str, tmp_path: Path) -> None:
    """A26, A27: at most as many are sent as at once; all are unpaid, and `resume()` lets each through."""
    script, kind, count, at_once = STOPPERS[name]
    keys = [f"row {number}" for number in range(count)]

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[script]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal, limits=Limits(submissions=at_once)) as vidu,
        ):
            outcomes = await asyncio.gather(*(told(vidu, key=key) for key in keys))
            assert {type(outcome) for outcome in outcomes} == {kind}
            assert {outcome.paid for outcome in outcomes if isinstance(outcome, APIError)} == {"no"}
            assert len(server.creations) <= at_once
            states = [check.state for key in keys if (check := journal.find(key))]
            assert states.count(S.REFUSED) == len(server.creations)
            assert states.count(S.PREPARED) == count - len(server.creations)
            server.creates = [faulty.accepting(answer_with_own_id)]
            vidu.resume()
            again = await asyncio.gather(*(told(vidu, key=key) for key in keys))
            assert all(isinstance(outcome, TaskHandle) for outcome in again)
            assert len(server.ledger) == count

    run_virtual(main())


async def answer_with_own_id(connection: faulty.Connection, asked: faulty.Asked) -> None:
    """Name the task that was accepted last."""
    (task_id,) = [paid.task_id for paid in connection.server.ledger if paid.asked is asked]
    await connection.answer(200, {"task_id": task_id, "state": "created"})


def test_a_429_closes_the_gate_for_all(tmp_path: Path) -> None:
    """A28: for two seconds and a little nobody's request arrives; then all do."""
    arrivals: list[float] = []

    async def main() -> None:
        now = asyncio.get_running_loop().time

        async def once_busy(connection: faulty.Connection, asked: faulty.Asked) -> None:
            arrivals.append(now())
            if len(arrivals) == 1:
                await faulty.refuse(429, "QuotaExceeded", Retry_After="2")(connection, asked)
            else:
                await faulty.accepting(answer_with_own_id)(connection, asked)

        async with (
            faulty.FaultyServer(creates=[once_busy]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            first = asyncio.create_task(told(vidu))
            while len(arrivals) < 1:
                await asyncio.sleep(0.01)
            others = [asyncio.create_task(told(vidu, key=f"row {number}")) for number in range(20)]
            fates = await asyncio.gather(first, *others)
            assert all(isinstance(outcome, TaskHandle) for outcome in fates)
            check_row(ACCEPTED.but(attempt=2), journal)
            assert len(server.ledger) == 21

    run_virtual(main())
    assert min(arrivals[1:]) >= arrivals[0] + 2
    assert max(arrivals[1:]) <= arrivals[0] + 2.3


SENSIBLE = st.floats(0, 120).map(lambda seconds: f"{seconds:.3f}") | st.integers(0, 120).map(str)
ENDLESS = st.floats(120.001, 1e30).map(repr) | st.integers(121, 10**30).map(str)
SENSELESS = st.sampled_from(
    (
        *("-1", "nan", "inf", "garbage", "", "1e999", "--5", "0x10", "\xff", "None", "1,5", "2 s", "9" * 5000),
        *("Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"),
    )
)
A_LITTLE = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def throttled_once(hint: str, fate: Fate, folder: Path) -> Any:
    """Be asked to come back later, in whatever words."""
    busy = faulty.refuse(429, "QuotaExceeded", Retry_After=hint)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        return play(fate, Path(fresh), busy, faulty.created())


@given(hint=SENSIBLE)
@example(hint="0")
@example(hint="120")
@A_LITTLE
def test_a_sensible_retry_after_is_waited_for(hint: str, tmp_path: Path) -> None:
    """A29: that long and at most a tenth longer; none at all gets the usual pause."""
    least = float(hint)
    throttled_once(hint, ACCEPTED.but(arrived=2, attempt=2, within=(least, least * 1.1 + 0.7)), tmp_path)


@given(hint=ENDLESS)
@example(hint="1e9")
@example(hint="99999999999999999999")
@A_LITTLE
def test_a_retry_after_of_more_than_two_minutes_is_told(hint: str, tmp_path: Path) -> None:
    """A29: at once, with how long it was asked to wait."""
    fate = REFUSED.but("429 QuotaExceeded", kind=RateLimitError, status=429, within=(0, 0.1))
    assert throttled_once(hint, fate, tmp_path).retry_after == float(hint)


@given(hint=SENSELESS)
@A_LITTLE
def test_a_senseless_retry_after_gets_the_usual_pause(hint: str, tmp_path: Path) -> None:
    """A29: also a date, which would have to be compared with somebody's clock."""
    throttled_once(hint, ACCEPTED.but(arrived=2, attempt=2, within=(0, 0.7)), tmp_path)


def test_429s_for_ever_end_after_ten_minutes(tmp_path: Path) -> None:
    """A30: a little earlier, if the next pause would end later."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.refuse(429, "TooManyRequests", Retry_After="60")]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            fate = REFUSED.but("429 TooManyRequests", kind=RateLimitError, status=429)
            check_told(fate, await told(vidu))
            assert 534 <= asyncio.get_running_loop().time() <= 600
            row = check_row(fate.but(attempt=len(server.creations)), journal)
            server.creates = [faulty.created(HEALTHY)]
            await check_again(fate, vidu, server, row)

    run_virtual(main())


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_of_two_equal_requests_only_the_accepted_one_is_found(status: int, tmp_path: Path) -> None:
    """A31: before and after accepting, the answer is the same; the mark in the task tells them apart."""

    async def main() -> None:
        failed = faulty.refuse(status, "")
        async with (
            faulty.FaultyServer(creates=[failed, faulty.accepting(failed)], remembers=True) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            before = asyncio.create_task(told(vidu, key="before"))
            await asyncio.sleep(1)
            after = await told(vidu, key="after")
            assert isinstance(after, TaskHandle)
            assert isinstance(await before, SubmissionUnknownError)
            assert after.task_id == server.ledger[0].task_id
            check_row(FOUND, journal, "after")
            await asyncio.sleep(2000)
            check_row(LOST.but(f"answer {status}"), journal, "before")
            assert len(server.creations) == 2

    run_virtual(main())


@pytest.mark.parametrize(
    ("status", "reason"), [(408, ""), (409, "Conflict"), (499, "Canceled"), (400, "OperationInProcess")]
)
def test_what_may_speak_of_an_earlier_request_stops_nobody_else(status: int, reason: str, tmp_path: Path) -> None:
    """A32: one is held, the next goes through."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.refuse(status, reason), faulty.created()]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            check_told(LOST.but(f"answer {status} {reason}".strip(), within=(0, 1)), await told(vidu))
            assert isinstance(await told(vidu, key="next"), TaskHandle)
            await asyncio.sleep(1)
            check_row(LOST.but(trace_id="trace-1"), journal)
            assert (len(server.creations), len(server.ledger)) == (2, 1)

    run_virtual(main())


VIDUS = {"code": 400, "reason": "FieldInvalid", "message": "duration", "metadata": {"trace_id": "t-9"}}


def nested(depth: int) -> dict[str, Any]:
    """Return Vidu's refusal as gateways repeat it, each as text in its own."""
    inner: dict[str, Any] = VIDUS
    for _ in range(depth):
        inner = {"code": "fail_to_fetch_task", "message": json.dumps(inner), "data": None}
    return inner


RELAYED: dict[str, tuple[faulty.Script, Fate]] = {
    **{
        f"a 400 {depth} deep": (faulty.answer(400, nested(depth)), REFUSED.but("FieldInvalid.*duration"))
        for depth in (1, 2, 3)
    },
    "a 400 4 deep": (faulty.answer(400, nested(4)), LOST.but("answer 400 FieldInvalid")),
    "a 500 around a 400": (faulty.answer(500, nested(2)), LOST.but("FieldInvalid.*duration")),
    "a 400 around a 500": (
        faulty.answer(400, {"code": "x", "message": json.dumps({"code": 500, "reason": "InternalServiceFailure"})}),
        LOST.but("InternalServiceFailure"),
    ),
    "another quota": (
        faulty.answer(403, {"error": {"message": "quota exhausted (request id: r-123456)", "type": "new_api_error"}}),
        REFUSED.but("403.*quota exhausted", kind=PermissionDeniedError, trace_id="r-123456"),
    ),
    "a 400 9 deep": (faulty.answer(400, nested(9)), LOST.but("answer 400")),
}


@pytest.mark.parametrize("name", RELAYED)
def test_a_refusal_that_was_handed_on_is_read_to_its_core(name: str, tmp_path: Path) -> None:
    """A33: the reason is Vidu's own. What says otherwise on the way, or is too deep to be read, leaves it open."""
    script, fate = RELAYED[name]
    play(fate, tmp_path, script)


def test_an_endpoint_that_repeats_no_payload_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A34: what is lost there cannot be found again. The task is accepted all the same."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.accepting(without_payload)]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            for number in range(3):
                check_told(ACCEPTED, await told(vidu, key=f"row {number}"))
            assert len(server.ledger) == 3

    with caplog.at_level(logging.WARNING, "vidu_async"):
        run_virtual(main())
    (record,) = [record for record in caplog.records if "payload" in record.getMessage()]
    assert "text2video" in record.getMessage()


async def without_payload(connection: faulty.Connection, asked: faulty.Asked) -> None:
    """Name the task, with an empty payload."""
    (task_id,) = [paid.task_id for paid in connection.server.ledger if paid.asked is asked]
    await connection.answer(200, {"task_id": task_id, "state": "created", "payload": ""})


# A35, A40: many at once


def test_a_server_that_closes_each_connection_loses_nothing(tmp_path: Path) -> None:
    """A35: no creation leaves on a connection that was used before, so none meets its end."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.accepting(answer_with_own_id)]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            for number in range(50):
                check_told(ACCEPTED, await told(vidu, key=f"row {number}"))
            assert len(server.ledger) == server.connections == 50
            assert {asked.headers["connection"] for asked in server.creations} == {"close"}
            assert {check_row(ACCEPTED, journal, f"row {number}").attempt for number in range(50)} == {1}

    run_virtual(main())


def test_a_thousand_at_once_go_eight_at_a_time_and_in_order(tmp_path: Path) -> None:
    """A40: the last waits two hours for its turn, which no timeout counts."""

    async def main() -> None:
        async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
            await asyncio.sleep(60)
            await faulty.accepting(answer_with_own_id)(connection, asked)

        async with (
            faulty.FaultyServer(creates=[slowly]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            requests = [TextToVideo(model="viduq3-turbo", prompt=str(number)) for number in range(1000)]
            handles = await asyncio.gather(*(vidu.submit(request) for request in requests))
            assert asyncio.get_running_loop().time() >= 125 * 60
            assert server.most_open == 8
            assert len({handle.task_id for handle in handles}) == len(server.ledger) == 1000
            order = [int(json.loads(asked.body)["prompt"]) for asked in server.creations]
            assert all(abs(number - place) < 8 for place, number in enumerate(order))

    run_virtual(main())
