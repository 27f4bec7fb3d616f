"""Every point at which a creation can fail, by its number: what is told, paid, written down and done next.

The numbers are those of the steps a creation goes through, from a value nobody can send (1) to a relay that sends it
twice (39). All files and sockets are real; time is virtual.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import faulty
import pytest
from fates import (
    ACCEPTED,
    FOUND,
    HEALTHY,
    KEY,
    LARGE,
    LOST,
    NO_CONNECTION,
    REDIRECTED,
    REFUSED,
    REQUEST,
    TRUSTED,
    UNSENT,
    Fate,
    Place,
    S,
    certified,
    check_again,
    check_row,
    check_told,
    client,
    crowded,
    journal_at,
    play,
    stall,
    suffered,
    told,
    unreachable,
)
from pictures import png

from vidu_async import (
    APIError,
    AuthenticationError,
    ConnectError,
    ImageToVideo,
    InsufficientCreditsError,
    Journal,
    JournalError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    ProxyError,
    RateLimitError,
    RawRequest,
    TaskHandle,
    Timeouts,
    TLSError,
    ValidationError,
)
from vidu_async.testing import run_virtual

# After the last byte: what the server answers, or does not


def relayed(reason: str) -> faulty.Script:
    """Return a script that fails as the software of most gateways does."""
    return faulty.answer(500, {"code": reason, "message": "no", "data": None})


PAGE = b"<html>please log in</html>"
CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"task_id": "12'

LOSSES: dict[str, tuple[faulty.Script, str]] = {
    "11 reset": (faulty.reset, r"broke \(ClientOSError: Connection reset"),
    "11 closed": (faulty.close, r"broke \(ServerDisconnectedError"),
    "12 silence": (faulty.hang, "no answer from 127.* in time"),
    "13 half a status line": (faulty.raw(b"HTTP/1."), "HTTP|broke"),
    "13 half the headers": (faulty.raw(b"HTTP/1.1 200 OK\r\nContent-Le"), "broke|HTTP"),
    "14 garbage": (faulty.raw(b"\x16\x03\x01 hello"), "does not answer in HTTP"),
    "15 a body cut short": (faulty.raw(CUT), "cut short"),
    "15 a body that stalls": (stall(CUT), "no answer from 127.* in time"),
    "16 a page": (faulty.answer(200, PAGE, Content_Type="text/html"), "200 without a task.*text/html.*please log in"),
    "16 cut JSON": (faulty.answer(200, b'{"task_id": "12'), "200 without a task"),
    "16 null": (faulty.answer(200, None), "200 without a task"),
    "16 a list": (faulty.answer(200, []), "200 without a task"),
    "16 nothing": (faulty.answer(200, b""), "200 without a task"),
    "17 a null id": (faulty.answer(200, {"task_id": None, "state": "created"}), "200 without a task"),
    "23 in process": (faulty.refuse(400, "OperationInProcess", "please retry later"), "400 OperationInProcess"),
    "24 408": (faulty.refuse(408, ""), "answer 408"),
    "25 conflict": (faulty.refuse(409, "Conflict", "resource key conflict"), "409 Conflict: resource key conflict"),
    "27 499": (faulty.refuse(499, "Canceled"), "499 Canceled"),
    "28 500": (faulty.refuse(500, "InternalServiceFailure"), "500 InternalServiceFailure"),
    "29 read failed": (relayed("read_response_body_failed"), "500 read_response_body_failed"),
    "29 unmarshal failed": (relayed("unmarshal_response_failed"), "500 unmarshal_response_failed"),
    "29 request failed": (relayed("do_request_failed"), "500 do_request_failed"),
    "30 502": (faulty.answer(502, b"<html>bad gateway</html>", Content_Type="text/html"), "answer 502.*text/html"),
    "30 504": (faulty.answer(504, b""), "answer 504"),
    "31 503": (faulty.refuse(503, "Unavailable"), "503 Unavailable"),
}
TRACED = {"23", "24", "25", "27", "28", "31"}
"""Answers that name their trace."""


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_answer_is_unknown_held_and_never_sent_again(name: str, tmp_path: Path) -> None:
    """Where tasks are not listed, whether it was accepted stays open: the caller is told so, and so is the journal."""
    script, said = LOSSES[name]
    known = {"evidence": re.compile(said), "trace_id": "trace-1" if name[:2] in TRACED else ""}
    error = play(LOST.but(said, **known), tmp_path, script)
    assert re.search(said, error.evidence)
    assert error.trace_id == known["trace_id"]


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_creation_that_was_accepted_is_found(name: str, tmp_path: Path) -> None:
    """Where tasks are listed, the caller gets its handle as if nothing had happened, and it is paid once."""
    play(FOUND, tmp_path, faulty.accepting(LOSSES[name][0]), remembers=True)


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_creation_that_was_not_accepted_is_held(name: str, tmp_path: Path) -> None:
    """Not to be in the list is no proof, so it is not sent again; others' tasks are not taken for it."""
    script, said = LOSSES[name]
    play(LOST.but(said), tmp_path, script, remembers=True)


def test_a_task_that_failed_at_once_is_accepted_and_over(tmp_path: Path) -> None:
    """18: nothing is asked about it, and its key gives the same task."""
    failed = faulty.created(state="failed", err_code="AuditFailed")
    handle = play(ACCEPTED.but(state=S.FAILED, task_id="911045603801182208"), tmp_path, failed)
    assert isinstance(handle, TaskHandle)
    assert (handle.state, handle.task and handle.task.err_code) == ("failed", "AuditFailed")


@pytest.mark.parametrize("payload", ["", "somebody else's"])
def test_a_payload_that_comes_back_otherwise_costs_no_task(payload: str, tmp_path: Path) -> None:
    """19: the answer names the task, and that is what counts."""
    play(ACCEPTED.but(task_id="911045603801182208"), tmp_path, faulty.created(payload=payload))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_refusal(status: int, tmp_path: Path) -> None:
    """20: who redirects has created nothing. It is not followed."""
    said = "redirects to https://elsewhere.invalid/, which is not followed"
    fate = REDIRECTED.but(said, evidence=re.compile(said))
    play(fate, tmp_path, faulty.answer(status, b"", Location="https://elsewhere.invalid/?token=1"))


REFUSALS: dict[str, tuple[int, str, type[APIError]]] = {
    "21 400": (400, "FieldInvalid", APIError),
    "21 401": (401, "Unauthorized", AuthenticationError),
    "21 403": (403, "Forbidden", PermissionDeniedError),
    "21 404": (404, "NotFound", NotFoundError),
    "21 405": (405, "", APIError),
    "21 413": (413, "", APIError),
    "21 414": (414, "", APIError),
    "21 415": (415, "", APIError),
    "21 422": (422, "", APIError),
    "22 no credits": (400, "CreditInsufficient", InsufficientCreditsError),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_typed_and_its_key_is_free_again(name: str, tmp_path: Path) -> None:
    """21, 22: nothing was created, and the journal knows why."""
    status, reason, kind = REFUSALS[name]
    known = {"status": status, "reason": reason, "trace_id": "trace-1", "evidence": ""}
    said = f"{status} {reason}".strip() + ": the fox may not.*trace-1"
    error = play(REFUSED.but(said, kind=kind, **known), tmp_path, faulty.refuse(status, reason, "the fox may not"))
    assert (error.status, error.reason, error.trace_id) == (status, reason, "trace-1")


def test_after_no_credits_nothing_more_is_sent(tmp_path: Path) -> None:
    """22: until `resume()` the next one is refused without a word to the server, and stays prepared."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.refuse(400, "CreditInsufficient")]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            await told(vidu, key="the one before")
            fate = UNSENT.but("not sent.*resume", kind=InsufficientCreditsError, phase="queued", arrived=1)
            await suffered(fate, vidu, server, journal)
            assert server.connections == 2

    run_virtual(main())


THROTTLES: dict[str, faulty.Script] = {
    "QuotaExceeded": faulty.refuse(429, "QuotaExceeded"),
    "TooManyRequests": faulty.refuse(429, "TooManyRequests"),
    "SystemThrottling": faulty.refuse(429, "SystemThrottling"),
    "bare": faulty.answer(429, b""),
    "a page": faulty.answer(429, PAGE, Content_Type="text/html"),
    "503": faulty.refuse(503, "SystemThrottling"),
}


@pytest.mark.parametrize("name", THROTTLES)
def test_what_is_refused_at_the_door_is_sent_again(name: str, tmp_path: Path) -> None:
    """26: twice throttled and then accepted, with the same mark each time and one payment."""
    play(ACCEPTED.but(arrived=3, attempt=3), tmp_path, THROTTLES[name], THROTTLES[name], faulty.created())


@pytest.mark.parametrize("name", THROTTLES)
def test_throttled_without_end_is_a_refusal_in_the_end(name: str, tmp_path: Path) -> None:
    """26: at the deadline of the submission, and its key is free again."""
    status = 503 if name == "503" else 429
    fate = REFUSED.but(str(status), kind=RateLimitError, status=status)

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[THROTTLES[name]]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal, timeouts=Timeouts(submit=30)) as vidu,
        ):
            check_told(fate, await told(vidu))
            assert asyncio.get_running_loop().time() <= 30
            sent = len(server.creations)
            assert 3 < sent < 30
            row = check_row(fate.but(attempt=sent), journal)
            server.creates = [faulty.created(HEALTHY)]
            await check_again(fate, vidu, server, row)
            assert len(server.ledger) == 1

    run_virtual(main())


# Before the last byte: the connection


def test_a_name_that_does_not_exist_is_told_as_such(tmp_path: Path) -> None:
    """4: it is asked for more than once."""
    fate = NO_CONNECTION.but(r"no-such-host\.invalid cannot be resolved", phase="dns")
    run_virtual(unreachable(fate.but(within=(0.001, 4)), Place("https://no-such-host.invalid"), tmp_path))


def test_a_refused_connection_is_tried_again(tmp_path: Path) -> None:
    """5: nobody listens there."""

    async def main() -> None:
        async with faulty.FaultyServer() as server:
            nobody = server.url
        await unreachable(NO_CONNECTION.but("cannot be reached", within=(0.001, 4)), Place(nobody), tmp_path)

    run_virtual(main())


TOO_LATE = NO_CONNECTION.but("no connection to 127.* in time", within=(40, 48))


def test_a_handshake_that_hangs_is_given_up_as_unsent(tmp_path: Path) -> None:
    """6: a server that takes the connection and says nothing; four times ten seconds."""

    async def main() -> None:
        async with faulty.FaultyServer() as silent:
            await unreachable(TOO_LATE, Place(silent.url.replace("http:", "https:")), tmp_path)

    run_virtual(main())


def test_a_connection_that_does_not_come_about_is_given_up_as_unsent(tmp_path: Path) -> None:
    """6: a server that takes no more; four times ten seconds."""
    with crowded() as door:
        run_virtual(unreachable(TOO_LATE, Place(f"http://127.0.0.1:{door.getsockname()[1]}"), tmp_path))


LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
CERTIFICATES: dict[str, tuple[ssl.SSLContext, Any, str]] = {
    "nobody vouches for it": (certified("localhost"), True, "certificate of localhost.*self.signed|unable to get"),
    "of another name": (certified("elsewhere.test"), TRUSTED, "certificate of localhost.*Hostname mismatch"),
    "expired": (
        certified("localhost", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)),
        TRUSTED,
        "certificate of localhost.*expired",
    ),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_a_refused_certificate_is_told_and_not_tried_twice(name: str, tmp_path: Path) -> None:
    """7: a configuration fault, named by host and reason."""
    context, trust, said = CERTIFICATES[name]

    async def main() -> None:
        async with faulty.FaultyServer(tls=context) as server:
            fate = UNSENT.but(said, kind=TLSError, phase="tls", within=(0, 0))
            await unreachable(fate, Place(server.url, {"ssl": trust}), tmp_path)
            assert server.creations == []

    run_virtual(main())


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close before a word was said."""
    writer.close()


async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a handshake in HTTP."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("greeting", "fate", "most"),
    [
        (speak_plainly, UNSENT.but("no TLS with 127", kind=TLSError, phase="tls"), 1),
        (hang_up, NO_CONNECTION.but("cannot be reached"), 4),
    ],
    ids=["plain HTTP", "closed"],
)
def test_no_handshake_means_unsent(greeting: Any, fate: Fate, most: int, tmp_path: Path) -> None:
    """7: what is no TLS at all is a configuration fault; a connection that breaks is tried again."""
    tries: list[object] = []

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tries.append(reader)
            await greeting(reader, writer)

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            place = Place(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            await unreachable(fate, place, tmp_path)

    run_virtual(main())
    assert len(tries) == most


PROXIES: dict[str, tuple[faulty.Script, Fate]] = {
    "wants a password": (faulty.answer(407, b"who are you"), UNSENT.but("answered 407 for api", kind=ProxyError)),
    "reaches nobody": (faulty.answer(502, b"bad gateway"), UNSENT.but("answered 502 for api", kind=ProxyError)),
    "closes": (faulty.close, UNSENT.but("connection to api.* broke|Disconnected", kind=ConnectError)),
    "resets": (faulty.reset, UNSENT.but("connection to api.* broke", kind=ConnectError)),
    "hangs": (faulty.hang, UNSENT.but("no connection to api.* in time", kind=ConnectError)),
    "speaks no HTTP": (faulty.raw(b"220 smtp ready\r\n"), UNSENT.but("api", kind=ConnectError)),
}


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_lets_nothing_through_means_unsent(name: str, tmp_path: Path) -> None:
    """8: by the type of some of these alone, anything might have happened. Its password is not shown."""
    script, fate = PROXIES[name]

    async def main() -> None:
        async with faulty.FaultyServer(others={"CONNECT api.vidu.com:443": script}) as proxy:
            address = proxy.url.replace("//", "//user:s3cret@")
            place = Place("https://api.vidu.com", {"proxy": address})
            await unreachable(fate.but(phase="proxy", said=f"^(?!.*s3cret).*({fate.said})"), place, tmp_path)
            assert proxy.connections == 4

    run_virtual(main())


# Before the last byte: the body


@pytest.mark.parametrize("end", [faulty.close, faulty.reset], ids=["closed", "reset"])
def test_a_connection_dropped_in_the_middle_of_the_body_is_unsent(end: faulty.Script, tmp_path: Path) -> None:
    """9: four times, and in the end the caller knows that nothing is paid."""
    fate = UNSENT.but("connection broke before all of the request had left|broke")
    play(fate, tmp_path, faulty.after(0.5, end), request=LARGE, narrow=True)


def test_a_connection_dropped_once_is_made_again(tmp_path: Path) -> None:
    """9: the body goes out whole the second time, and is paid once."""
    play(ACCEPTED, tmp_path, faulty.after(0.5, faulty.reset), faulty.created(), request=LARGE, narrow=True)


async def refuse_and_read_on(connection: faulty.Connection, asked: faulty.Asked) -> None:
    """Refuse, and let the client finish hearing it."""
    await connection.answer(413, {"code": 413, "reason": "", "message": "too large"})
    connection.writer.write_eof()
    await connection.reader.read()


EARLY: dict[str, tuple[faulty.Script, Fate]] = {
    "24 408": (faulty.refuse(408, ""), UNSENT.but("answered before it had seen the request whole.*408")),
    "24 500": (faulty.refuse(500, ""), UNSENT.but("answered before it had seen the request whole.*500")),
    "32 401": (
        faulty.refuse(401, "Unauthorized"),
        REFUSED.but("401", kind=AuthenticationError, phase="uploading", arrived=0, attempt=0, status=401),
    ),
    "32 413": (refuse_and_read_on, REFUSED.but("413: too large", phase="uploading", arrived=0, attempt=0, status=413)),
}


@pytest.mark.parametrize("name", EARLY)
def test_an_answer_in_the_middle_of_the_body_means_unpaid(name: str, tmp_path: Path) -> None:
    """24, 32: a refusal is one, and anything else is tried again: the request was not seen whole."""
    script, fate = EARLY[name]
    play(fate, tmp_path, faulty.after(0.3, script), request=LARGE, narrow=True)


def test_a_file_that_changes_under_way_is_never_sent_whole(tmp_path: Path) -> None:
    """1: what arrived of it is no JSON, and the journal was never told that it would leave."""
    picture = tmp_path / "fox.png"
    picture.write_bytes(png(size=750_000))

    async def change(connection: faulty.Connection, _: faulty.Asked) -> None:
        picture.write_bytes(png(size=750_001))
        await connection.reader.read()

    fate = UNSENT.but("has changed", kind=ValidationError)

    async def main() -> None:
        request = ImageToVideo(model="viduq3-turbo", images=[picture])
        async with (
            faulty.FaultyServer(creates=[faulty.after(0.1, change)], narrow=True) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            check_told(fate, await told(vidu, request))
            check_row(fate, journal)
            assert (server.connections, server.creations) == (1, [])
            server.creates = [faulty.created(HEALTHY)]
            await check_again(fate, vidu, server, check_row(fate, journal), request)

    run_virtual(main())


@pytest.mark.parametrize(
    "request_of",
    [
        lambda folder: ImageToVideo(model="viduq3-turbo", images=[folder / "missing.png"]),
        lambda folder: RawRequest("extend", {"seed": float("nan")}),
        lambda folder: RawRequest("extend", {"prompt": "x" * 21_000_000}),
    ],
    ids=["no file", "no JSON", "too large"],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(request_of: Any, tmp_path: Path) -> None:
    """1: the caller's mistake, which the server never hears of; the key stays free."""

    async def main() -> None:
        async with (
            faulty.FaultyServer() as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            outcome = await told(vidu, request_of(tmp_path))
            assert isinstance(outcome, ValidationError), outcome
            assert outcome.paid == "no"
            row = journal.find(KEY)
            assert row is None or (row.state, row.attempt) == (S.PREPARED, 0)
            assert server.connections == 0
            assert isinstance(await told(vidu), TaskHandle)  # the same key, for another request
            assert len(server.ledger) == 1

    run_virtual(main())


# Before the last byte: the journal

Break = Callable[[Journal, Path], Awaitable[Callable[[], object]]]
"""Makes a journal refuse, and returns what mends it."""


async def fill(journal: Journal, _: Path) -> Callable[[], object]:
    """Let the disk be full, to the last line."""
    file = journal._writer.file
    assert file is not None
    await pragma(journal, "max_page_count = 1")  # it never gets smaller than the file
    line = "INSERT INTO events VALUES ('', 0, 0, '', '')"
    with contextlib.suppress(JournalError):
        for _line in range(1000):
            await journal._writer.ask(lambda store: store._connection.execute(line).fetchone())
    return lambda: file._connection.execute("PRAGMA max_page_count = 100000")


async def protect(journal: Journal, _: Path) -> Callable[[], object]:
    """Let the file be read only."""
    file = journal._writer.file
    assert file is not None
    await pragma(journal, "query_only = 1")
    return lambda: file._connection.execute("PRAGMA query_only = 0")


async def lock(_: Journal, path: Path) -> Callable[[], object]:
    """Let somebody else have the file locked."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other.close


async def take_away(_: Journal, path: Path) -> Callable[[], object]:
    """Let somebody else take the file away."""
    away = path.rename(path.with_name("away.db"))
    return lambda: away.rename(path)


async def pragma(journal: Journal, setting: str) -> None:
    """Set something in the journal's own connection."""
    await journal._writer.ask(lambda store: store._connection.execute(f"PRAGMA {setting}").fetchone())


BREAKS: dict[str, tuple[Break, str]] = {
    "full": (fill, "is full.*Make room"),
    "read only": (protect, "readonly.*writable"),
    "locked": (lock, "locked.*another program"),
    "taken away": (take_away, "removed or replaced"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_the_journal_cannot_be_told_does_not_leave(name: str, tmp_path: Path) -> None:
    """2: it fails in the middle of the body; the last byte is kept back, at once and for good."""
    break_it, said = BREAKS[name]
    fate = UNSENT.but(f"(?i){said}", kind=JournalError)
    mends: list[Callable[[], object]] = []

    async def main() -> None:
        async def spoil(connection: faulty.Connection, asked: faulty.Asked) -> None:
            mends.append(await break_it(journal, tmp_path / "j.db"))
            assert len(await connection.reader.read()) < asked.length

        journal = Journal(tmp_path / "j.db", busy_timeout=0.05)
        async with (
            faulty.FaultyServer(creates=[faulty.Early(spoil)], narrow=True) as server,
            client(server, journal) as vidu,
        ):
            check_told(fate, await told(vidu, LARGE))
            mends.pop()()
            assert server.connections == 1
            row = check_row(fate, journal)
            server.creates = [faulty.created(HEALTHY)]
            await check_again(fate, vidu, server, row, LARGE)
        await journal.aclose()

    run_virtual(main())


def test_a_connection_that_breaks_while_the_journal_writes_is_unsent(tmp_path: Path) -> None:
    """2, 9: the file says that it leaves and takes that back; then it is sent again, and paid once."""

    async def break_now(connection: faulty.Connection, asked: faulty.Asked) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await connection.reader.readexactly(asked.length - 1)
            await a_moment()
            connection.reset()
            await a_moment()

    async def a_moment() -> None:
        for _ in range(20):  # time itself stands still while the journal waits for its file
            await asyncio.sleep(0)

    play(ACCEPTED, tmp_path, faulty.Early(break_now), faulty.created(), request=LARGE, narrow=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "j.db")) as file:
        states = [state for (state,) in file.execute("SELECT state FROM events ORDER BY rowid")]
    assert [state for state, _ in itertools.groupby(states)] == [
        *("prepared", "committed", "prepared"),
        *("committed", "accepted"),
    ]


def make_folder(path: Path) -> None:
    """Put a folder where the journal should be."""
    path.mkdir()


def make_empty(path: Path) -> None:
    """Leave a file that has lost what it knew."""
    path.touch()


def make_foreign(path: Path) -> None:
    """Put another program's database there."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE films (name)")


def make_noise(path: Path) -> None:
    """Put something there that is no database."""
    path.write_bytes(b"once upon a time " * 1000)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (make_folder, "is a folder.*another path"),
    "an empty file": (make_empty, "is an empty file"),
    "another program's": (make_foreign, "another program's"),
    "no database": (make_noise, "not a database"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_without_a_journal_nothing_begins(name: str, tmp_path: Path) -> None:
    """2: what cannot be opened is left alone, and no connection is made."""
    spoil, said = SPOILT[name]
    spoil(tmp_path / "j.db")

    async def main() -> None:
        async with faulty.FaultyServer() as server:
            vidu = client(server, Journal(tmp_path / "j.db"))
            outcome = await told(vidu)
            assert isinstance(outcome, JournalError), outcome
            assert outcome.paid == "no"
            assert re.search(said, str(outcome))
            assert server.connections == 0
            await vidu.aclose()

    run_virtual(main())


# While it waits, and after all


@pytest.mark.parametrize("is_timeout", [False, True], ids=["cancelled", "timed out"])
def test_who_gives_up_while_waiting_its_turn_has_sent_nothing(is_timeout: bool, tmp_path: Path) -> None:
    """3: its row stays prepared, and its key free."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[stall(b"")]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal, limits=Limits(submissions=1)) as vidu,
        ):
            first = asyncio.create_task(told(vidu, key="first"))
            await asyncio.sleep(1)
            waiting = asyncio.create_task(vidu.submit(REQUEST, key=KEY))
            await asyncio.sleep(1)
            if not is_timeout:
                waiting.cancel()
            with pytest.raises(TimeoutError if is_timeout else asyncio.CancelledError):
                await asyncio.wait_for(waiting, 1)
            row = check_row(UNSENT, journal)
            await first
            assert len(server.creations) == 1
            server.creates = [faulty.created(HEALTHY)]
            await check_again(UNSENT, vidu, server, row)

    run_virtual(main())


def test_who_gives_up_in_the_middle_of_the_body_leaves_it_to_the_client(tmp_path: Path) -> None:
    """10: what is on its way is completed, and the same key brings its task."""

    async def main() -> None:
        half, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
            start = await connection.reader.readexactly(asked.length // 2)
            half.set()
            await go_on.wait()
            asked.body = start + await connection.reader.readexactly(asked.length - len(start))
            await faulty.created()(connection, asked)

        async with (
            faulty.FaultyServer(creates=[faulty.Early(slowly)], narrow=True) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            caller = asyncio.create_task(vidu.submit(LARGE, key=KEY))
            await half.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            check_row(UNSENT, journal)
            go_on.set()
            await asyncio.sleep(1)
            await check_again(ACCEPTED, vidu, server, check_row(ACCEPTED, journal), LARGE)
            assert len(server.ledger) == 1

    run_virtual(main())


def test_a_loop_that_ends_in_the_middle_of_the_body_leaves_nothing_sent(tmp_path: Path) -> None:
    """10: the row stays prepared, and the next loop sends it."""
    journal = Journal(tmp_path / "j.db")

    async def begin() -> None:
        half = asyncio.Event()

        async def note(connection: faulty.Connection, asked: faulty.Asked) -> None:
            half.set()
            await faulty.hang(connection, asked)

        async with faulty.FaultyServer(creates=[faulty.after(0.5, note)], narrow=True) as server:
            sending = asyncio.create_task(client(server, journal).submit(LARGE, key=KEY))
            await half.wait()
            assert not sending.done()

    async def go_on() -> None:
        async with faulty.FaultyServer(creates=[faulty.created(HEALTHY)]) as server, client(server, journal) as vidu:
            await check_again(UNSENT, vidu, server, check_row(UNSENT, journal), LARGE)
        await journal.aclose()

    run_virtual(begin())
    run_virtual(go_on())


def test_a_clock_that_is_wrong_by_hours_hides_no_task(tmp_path: Path) -> None:
    """38: the server's answers tell its own time, and its list is asked for that."""
    for off in (-7200.0, 86400.0):
        folder = tmp_path / str(off)
        folder.mkdir()
        play(FOUND, folder, faulty.accepting(faulty.reset), remembers=True, clock_off=off)


def test_a_relay_that_sends_twice_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """39: both tasks carry the mark; the older is used, and the log names what was paid for nothing."""
    with caplog.at_level(logging.ERROR, "vidu_async"):
        play(FOUND.but(charged=2, task_id="71"), tmp_path, faulty.accepting(faulty.reset, "71", "72"), remembers=True)
    assert "film-7 became several tasks, all paid: 71 is used, not 72" in caplog.text
