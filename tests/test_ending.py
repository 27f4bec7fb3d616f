"""How a process may end, or be short of everything, while it creates: what the next one finds.

Processes here are real ones, ended by real signals; they share a journal's file and nothing else. The numbers are those
of `test_failure_points.py`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import textwrap
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import faulty
import pytest
from fates import (
    ACCEPTED,
    FOUND,
    HEALTHY,
    KEY,
    LARGE,
    LOST,
    REQUEST,
    UNSENT,
    S,
    check_again,
    check_row,
    check_told,
    client,
    journal_at,
    told,
)

from vidu_async import Journal, Limits, TaskHandle, Timeouts
from vidu_async.testing import run_virtual

PRELUDE = f"""
import asyncio, contextlib, json, os, resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pictures import png
from vidu_async import ConnectError, Gateway, ImageToVideo, Limits, TaskHandle, TextToVideo, ViduClient, ViduError
url, path = sys.argv[1:]
TEXT = TextToVideo(model="viduq3-turbo", prompt="the fox runs")
PICTURE = ImageToVideo(model="viduq3-turbo", images=[png(size=750_100)])
def client(**settings):
    return ViduClient("test-key", gateway=Gateway(base_url=url, lists=False), journal=path, **settings)
KEY = {KEY!r}
"""


@asynccontextmanager
async def child(server: faulty.FaultyServer, folder: Path, body: str) -> AsyncIterator[Process]:
    """Run a process whose main coroutine is this, with a journal in the folder."""
    program = f"{PRELUDE}\nasync def main():\n{textwrap.indent(textwrap.dedent(body), '    ')}\nasyncio.run(main())"
    command = (sys.executable, "-W", "error", "-c", program, server.url, str(folder / "j.db"))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> str:
    """Wait for a good end, and return what was printed."""
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


def telling(arrived: asyncio.Event, script: faulty.Script) -> faulty.Script:
    """Return a script that tells that it was reached."""

    async def tell(connection: faulty.Connection, asked: faulty.Asked) -> None:
        arrived.set()
        await script(connection, asked)

    return tell


async def killed_when(server: faulty.FaultyServer, folder: Path, arrived: asyncio.Event, request: str) -> None:
    """Let a process submit, and kill it when something has arrived."""
    async with child(server, folder, f"await client().submit({request}, key=KEY)") as process:
        async with asyncio.timeout(30):
            await arrived.wait()
        process.kill()
        await process.wait()


# Killed


async def test_who_is_killed_in_the_middle_of_the_body_has_sent_nothing(tmp_path: Path) -> None:
    """10, 33: the row is still prepared, and who comes next sends it with the same mark."""
    half = asyncio.Event()
    creates = [faulty.after(0.5, telling(half, faulty.hang))]
    async with faulty.FaultyServer(creates=[*creates], narrow=True) as server:
        await killed_when(server, tmp_path, half, "PICTURE")
        async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
            row = check_row(UNSENT, journal)
            server.creates = [faulty.created(HEALTHY)]
            await check_again(UNSENT, vidu, server, row, LARGE)
            assert len(server.ledger) == 1


async def test_who_is_killed_after_the_last_byte_may_have_paid(tmp_path: Path) -> None:
    """34: the row says so at the next start, and nothing is sent again."""
    whole = asyncio.Event()
    async with faulty.FaultyServer(creates=[telling(whole, faulty.hang)]) as server:
        await killed_when(server, tmp_path, whole, "TEXT")
        async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
            fate = LOST.but(evidence="the process that sent it ended before its answer came")
            await until(journal, S.HELD)
            await check_again(fate, vidu, server, check_row(fate, journal))
            assert [one.key for one in vidu.unresolved()] == [KEY]


async def test_what_a_killed_process_had_paid_is_found(tmp_path: Path) -> None:
    """34: at the next start, where tasks are listed."""
    whole = asyncio.Event()
    script = faulty.accepting(telling(whole, faulty.hang))
    async with faulty.FaultyServer(creates=[script], remembers=True) as server:
        await killed_when(server, tmp_path, whole, "TEXT")
        async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
            await until(journal, S.ACCEPTED)
            await check_again(FOUND, vidu, server, check_row(FOUND, journal))
            assert len(server.ledger) == 1


async def test_what_was_accepted_before_the_kill_is_taken_up_again(tmp_path: Path) -> None:
    """35: its caller had the handle, and the next process has it, too."""
    async with faulty.FaultyServer() as server:
        body = """
            await client().submit(TEXT, key=KEY)
            os.kill(os.getpid(), signal.SIGKILL)
        """
        async with child(server, tmp_path, body) as process:
            assert await process.wait() == -signal.SIGKILL
        async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
            row = check_row(ACCEPTED, journal)
            (handle,) = vidu.unfinished()
            assert handle.task_id == row.task_id == server.ledger[0].task_id
            await check_again(ACCEPTED, vidu, server, row)
            assert (await handle).has_result
            await journal.settled()
            check_row(ACCEPTED.but(state=S.SUCCESS), journal)


async def until(journal: Journal, state: S, key: str = KEY) -> None:
    """Wait for a row's state."""
    async with asyncio.timeout(20):
        while (row := journal.find(key)) is None or row.state is not state:
            await asyncio.sleep(0.01)


# Cancelled, closed, ended


def test_a_caller_that_leaves_after_the_last_byte_loses_no_task(tmp_path: Path) -> None:
    """36: what comes is written down, and the same key brings it."""

    async def main() -> None:
        whole, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
            whole.set()
            await go_on.wait()
            await faulty.created()(connection, asked)

        async with (
            faulty.FaultyServer(creates=[slowly]) as server,
            journal_at(tmp_path) as journal,
            client(server, journal) as vidu,
        ):
            caller = asyncio.create_task(vidu.submit(REQUEST, key=KEY))
            await whole.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            check_row(ACCEPTED.but(state=S.COMMITTED), journal)
            go_on.set()
            await asyncio.sleep(1)
            await check_again(ACCEPTED, vidu, server, check_row(ACCEPTED, journal))

    run_virtual(main())


@pytest.mark.parametrize("remembers", [False, True], ids=["not listed", "listed"])
def test_closing_waits_half_a_minute_and_leaves_the_rest_to_the_next(remembers: bool, tmp_path: Path) -> None:
    """37: what was not answered by then is unknown, until somebody can look."""

    async def main() -> None:
        script = faulty.accepting(faulty.hang) if remembers else faulty.hang
        async with faulty.FaultyServer(creates=[script], remembers=remembers) as server:
            async with journal_at(tmp_path) as journal:
                vidu = client(server, journal, timeouts=Timeouts(read=600))
                caller = asyncio.create_task(told(vidu))
                while not server.creations:
                    await asyncio.sleep(0.01)
                began = asyncio.get_running_loop().time()
                await vidu.aclose()
                assert asyncio.get_running_loop().time() - began == pytest.approx(30, abs=0.5)
                closed = "the client or its event loop was closed before the answer came"
                fate = LOST.but(f"film-7.*{closed}", state=S.UNKNOWN, evidence=closed)
                check_told(fate, await caller)
                check_row(fate, journal)
            async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
                await asyncio.sleep(2000)
                fate = FOUND if remembers else fate.but(state=S.HELD)
                await check_again(fate, vidu, server, check_row(fate, journal))

    run_virtual(main())


async def test_an_interpreter_that_ends_in_between_leaves_word(tmp_path: Path) -> None:
    """37: nothing was closed; still the file says what may be paid."""
    async with faulty.FaultyServer(creates=[faulty.hang]) as server:
        body = """
            sending = asyncio.create_task(client().submit(TEXT, key=KEY))
            await asyncio.to_thread(sys.stdin.readline)
        """
        async with child(server, tmp_path, body) as process:
            assert process.stdin is not None
            async with asyncio.timeout(30):
                while not server.creations:
                    await asyncio.sleep(0.01)
            process.stdin.write(b"\n")
            async with asyncio.timeout(30):
                _, err = await process.communicate()
            assert process.returncode == 0
            assert err.decode() == f"submission {KEY} was interrupted on its way: it may be paid\n"
        async with journal_at(tmp_path) as journal, client(server, journal) as vidu:
            await until(journal, S.HELD)
            await check_again(LOST, vidu, server, check_row(LOST, journal))


async def test_sigterm_in_the_middle_of_sending_ends_well(tmp_path: Path) -> None:
    """F18: what is on its way is completed and written down, what waits is withdrawn, and the process ends with 0."""
    stopped = asyncio.Event()

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await stopped.wait()
        await faulty.created()(connection, asked)

    body = """
        main = asyncio.current_task()
        def stop():
            print("stopping", flush=True)
            main.cancel()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        with contextlib.suppress(asyncio.CancelledError):
            async with client(limits=Limits(submissions=1)) as vidu:
                first = asyncio.create_task(vidu.submit(TEXT, key=KEY))
                await asyncio.to_thread(sys.stdin.readline)
                await asyncio.gather(first, *(vidu.submit(TEXT, key=f"row {n}") for n in range(20)))
    """
    async with faulty.FaultyServer(creates=[slowly]) as server, journal_at(tmp_path) as journal:
        async with child(server, tmp_path, body) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            await until(journal, S.COMMITTED)
            process.stdin.write(b"\n")
            await until(journal, S.PREPARED, "row 19")
            process.terminate()
            assert await process.stdout.readline() == b"stopping\n"
            stopped.set()
            assert await ended(process) == ""
        async with client(server, journal) as vidu:
            await check_again(ACCEPTED, vidu, server, check_row(ACCEPTED, journal))
        for number in range(20):
            check_row(UNSENT, journal, f"row {number}")
        assert len(server.creations) == 1


# Two of them, and too little of everything


async def test_two_processes_with_one_journal_pay_once_for_each_key(tmp_path: Path) -> None:
    """F08: both get the same twenty tasks, whoever came first with each."""
    body = """
        async with client() as vidu:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            handles = await asyncio.gather(*(vidu.submit(TEXT, key=f"row {n}") for n in range(20)))
            print(json.dumps([handle.task_id for handle in handles]))
    """

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(0.01)
        await answer_each(connection, asked)

    async with (
        faulty.FaultyServer(creates=[slowly]) as server,
        child(server, tmp_path, body) as one,
        child(server, tmp_path, body) as two,
    ):
        for process in (one, two):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write(b"\n")
        ids, same = (json.loads(out) for out in await asyncio.gather(ended(one), ended(two)))
        assert ids == same
        assert sorted(ids) == sorted(paid.task_id for paid in server.ledger)
        assert len(server.creations) == 20
    async with journal_at(tmp_path) as journal:
        assert [check_row(ACCEPTED, journal, f"row {n}").task_id for n in range(20)] == ids


def test_a_key_that_one_process_gave_up_is_free_for_another(tmp_path: Path) -> None:
    """F08: the other need not wait for the end of the first."""

    async def main() -> None:
        async with (
            faulty.FaultyServer(creates=[faulty.hang, faulty.created()]) as server,
            journal_at(tmp_path) as journal,
            journal_at(tmp_path) as other_journal,
            client(server, journal, limits=Limits(submissions=1)) as vidu,
            client(server, other_journal) as other,
        ):
            blocker = asyncio.create_task(told(vidu, key="blocker"))
            queued = asyncio.create_task(told(vidu))
            while journal.find(KEY) is None:
                await asyncio.sleep(0.01)
            queued.cancel()
            async with asyncio.timeout(5):
                assert isinstance(await told(other), TaskHandle)
            blocker.cancel()

    run_virtual(main())


SHORT = """
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    async with client(limits=Limits(submissions={at_once})) as vidu:
        sends = (vidu.submit(TEXT, key=f"row {{n}}") for n in range({count}))
        ends = await asyncio.gather(*sends, return_exceptions=True)
    print(json.dumps([end.task_id if isinstance(end, TaskHandle) else [type(end).__name__, end.paid] for end in ends]))
"""


async def answer_each(connection: faulty.Connection, asked: faulty.Asked) -> None:
    """Accept, each under an id of its own."""
    connection.accept(asked)
    payload = json.loads(asked.body)["payload"]
    await connection.answer(200, {"task_id": connection.server.ledger[-1].task_id, "payload": payload})


@pytest.mark.slow
async def test_a_thousand_creations_need_few_files(tmp_path: Path) -> None:
    """F09: with sixty-four in all, none fails."""
    async with faulty.FaultyServer(creates=[answer_each]) as server:
        async with child(server, tmp_path, SHORT.format(at_once=8, count=1000)) as process:
            ids = json.loads(await ended(process))
        assert ids == [paid.task_id for paid in sorted(server.ledger, key=lambda paid: ids.index(paid.task_id))]
        assert len(set(ids)) == 1000


@pytest.mark.slow
async def test_a_creation_without_a_file_to_connect_with_is_unsent(tmp_path: Path) -> None:
    """F09: where more go at once than there are files, those left over are unpaid, and the rest is paid once."""

    async def slowly(connection: faulty.Connection, asked: faulty.Asked) -> None:
        await asyncio.sleep(1.5)
        await answer_each(connection, asked)

    async with faulty.FaultyServer(creates=[slowly]) as server:
        async with child(server, tmp_path, SHORT.format(at_once=150, count=150)) as process:
            ends = json.loads(await ended(process))
        ids = [end for end in ends if isinstance(end, str)]
        unsent = [end for end in ends if not isinstance(end, str)]
        assert unsent
        assert all(end == ["ConnectError", "no"] for end in unsent)
        assert sorted(ids) == sorted(paid.task_id for paid in server.ledger)
    async with journal_at(tmp_path) as journal:
        for number, end in enumerate(ends):
            check_row(ACCEPTED.but(task_id=end) if isinstance(end, str) else UNSENT, journal, f"row {number}")
