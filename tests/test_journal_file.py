"""The journal's file: what it refuses, what it survives, and what several processes make of it. All files are real."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from vidu_async import ConfigError, IdempotencyConflictError, Journal, JournalError
from vidu_async.journal import Row, RowState
from vidu_async.owners import Owner
from vidu_async.places import network_of
from vidu_async.testing import run_virtual

SITE = "https://api.vidu.com"
S = RowState


def row(key: str = "film-7", **known: Any) -> Row:
    """Return a submission that the caller named."""
    return Row(key=key, is_named=True, **{"site": SITE, "digest": "d", **known})


async def accepted(journal: Journal, key: str = "film-7") -> Row:
    """Take a submission to its task."""
    found, _ = await journal.prepare(row(key))
    await journal.commit(found)
    journal.note(found, S.ACCEPTED, task_id=f"task of {key}")
    await journal.settled()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be."""
    return tmp_path / "journal.db"


def used(path: Path) -> None:
    """Leave a journal with one task in it."""

    async def use() -> None:
        journal = Journal(path)
        await accepted(journal)
        await journal.aclose()

    asyncio.run(use())


def left(path: Path) -> None:
    """Leave one without a farewell, with another task in it."""
    run(path, "await accepted('film-8'); os.kill(os.getpid(), signal.SIGKILL)", expected=-signal.SIGKILL)


PRELUDE = f"""
import asyncio, logging, os, signal, sys
from vidu_async import Journal, JournalError
from vidu_async.journal import Row, RowState
logging.getLogger("asyncio").setLevel(logging.ERROR)  # in debug mode it warns of whatever takes 0.1 s on a busy machine
journal, SITE = Journal(sys.argv[1]), {SITE!r}
def row(key):
    return Row(key=key, is_named=True, site={SITE!r}, digest="d")
async def accepted(key):
    found, _ = await journal.prepare(row(key))
    await journal.commit(found)
    journal.note(found, RowState.ACCEPTED, task_id="task of " + key)
    await journal.settled()
"""


def started(path: Path, body: str) -> subprocess.Popen[str]:
    """Start a process of its own that runs a few lines with a journal."""
    program = f"{PRELUDE}\nasync def main():\n{textwrap.indent(body, '    ')}\nasyncio.run(main())"
    command = [sys.executable, "-W", "error", "-c", program, str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run(path: Path, body: str, expected: int = 0) -> str:
    """Return what such a process prints."""
    with started(path, body) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (expected, "")
    return out


@contextlib.contextmanager
def sibling(path: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """Run another process until it says `ready`; it ends when its input does, or is killed."""
    with started(path, f"{body}\nprint('ready', flush=True)\nsys.stdin.read()") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str]) -> None:
    """End a process without a farewell."""
    process.kill()
    process.wait()


# Where it is, and what is refused


async def test_a_new_file_is_whole_and_private(path: Path) -> None:
    """Nobody else may read it, nor what SQLite keeps beside it; nothing half-made stays."""
    journal = Journal(path)
    await accepted(journal)
    beside = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert beside == {
        "journal.db": 0o600,
        "journal.db-wal": 0o600,
        "journal.db-shm": 0o600,
        "journal.db-owners": 0o700,
    }
    await journal.aclose()
    assert sorted(os.listdir(path.parent)) == ["journal.db", "journal.db-owners"]
    assert os.listdir(path.parent / "journal.db-owners") == []


def printed(program: str, path: Path) -> str:
    """Return what a program prints that is given the path of a journal; whatever warns makes it fail."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_making_one_touches_no_disk(path: Path) -> None:
    """And loads no SQLite; an unused one leaves nothing."""
    program = "import sys; from vidu_async import Journal; Journal(sys.argv[1]); print('sqlite3' in sys.modules)"
    assert printed(program, path) == "False\n"
    assert os.listdir(path.parent) == []


def test_where_there_are_no_file_locks_it_says_so(path: Path) -> None:
    """As on Windows; without a file the client works there, too."""
    opening = """
try:
    sys.modules["fcntl"] = None
    asyncio.run(journal.open())
except JournalError as error:
    print(error)
"""
    assert "needs POSIX file locks" in printed(f"{PRELUDE}{opening}", path)


def test_one_that_may_not_be_written_is_refused() -> None:
    """Now, not when something was paid. Root may write everything, so it becomes nobody first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        Path(folder).chmod(0o755)
        used(path)
        path.chmod(0o444)
        opening = """
if os.geteuid() == 0:
    import sqlite3
    os.setuid(65534)
try:
    asyncio.run(journal.open())
except JournalError as error:
    print(error)
"""
        assert "may not be written" in printed(f"{PRELUDE}{opening}", path)


async def test_one_that_others_can_read_is_made_private(path: Path) -> None:
    """An old umask's file is taken from everybody else."""
    await asyncio.to_thread(used, path)
    path.chmod(0o644)
    journal = Journal(path)
    await journal.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await journal.aclose()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"durability": "fast"}, "durability"), ({"busy_timeout": 0}, "busy_timeout"), ({"busy_timeout": "5"}, "busy")],
)
def test_wrong_settings_are_refused_when_given(path: Path, options: dict[str, Any], named: str) -> None:
    """With their name."""
    with pytest.raises(ConfigError, match=named):
        Journal(path, **options)
    with pytest.raises(ConfigError, match="path"):
        Journal(7)  # type: ignore[arg-type]


def make_foreign(path: Path) -> None:
    """Make another program's database."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE submissions (token)")


def make_newer(path: Path) -> None:
    """Make a journal of a later version."""
    used(path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (Path.touch, "empty file.*move it away"),
    "a folder": (Path.mkdir, "is a folder"),
    "a pipe": (os.mkfifo, "no regular file"),
    "text": (lambda path: path.write_text("no journal at all\n" * 100), "not a database.*no SQLite file"),
    "foreign": (make_foreign, "another program's"),
    "newer": (make_newer, "newer vidu_async.*Update"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_journal_is_refused_and_left_alone(path: Path, name: str) -> None:
    """Before anything is spent, saying what is there and what to do."""
    make, said = REFUSED[name]
    make(path)
    before = path.read_bytes() if path.is_file() else None

    async def open_it() -> None:
        journal = Journal(path)
        with pytest.raises(JournalError, match=said) as caught:
            await journal.open()
        assert caught.value.__context__ is None
        assert str(path) in str(caught.value)
        with pytest.raises(JournalError, match=said):
            await journal.prepare(Row(key="unnamed"))
        await journal.aclose()

    asyncio.run(open_it())
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing/journal.db", "does not exist.*Make the folder"),
        ("/proc/journal.db", "/proc/journal.db cannot be used"),
        ("/sys/journal.db", "/sys/journal.db cannot be used"),
        ("nul\0byte", "embedded null"),
    ],
)
async def test_where_none_can_be_made_it_says_so(tmp_path: Path, place: str, said: str) -> None:
    """A missing folder is not made, and a read-only place is named."""
    with pytest.raises(JournalError, match=said) as caught:
        await Journal(tmp_path / place).open()
    assert caught.value.__context__ is None
    assert os.listdir(tmp_path) == []


MOUNTS = r"""21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:40 / /mnt/share rw,relatime shared:9 - nfs4 server:/x rw,vers=4.2
31 21 0:41 / /mnt/my\040films rw - fuse.sshfs host:/ rw
32 30 0:42 / /mnt/share/local rw - tmpfs tmpfs rw
33 21 0:43 / /twice rw - cifs //server/x rw
34 33 0:44 / /twice rw - ext4 /dev/vdb rw
broken"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/a/journal.db", None),
        ("/mnt/share/journal.db", "nfs4"),
        ("/mnt/shared/journal.db", None),
        ("/mnt/my films/journal.db", "fuse.sshfs"),
        ("/mnt/share/local/journal.db", None),
        ("/twice/journal.db", None),
    ],
)
def test_network_file_systems_are_told_from_local_ones(place: str, kind: str | None) -> None:
    """By the mount that holds the file: the deepest, and of two on one place the later."""
    assert network_of(MOUNTS, place) == kind


async def test_a_link_leads_to_the_same_journal(path: Path) -> None:
    """Locks and logs are beside the file itself, so that both names share them."""
    await accepted(journal := Journal(path))
    link = path.with_name("link.db")
    link.symlink_to(path)
    other = Journal(link)
    assert not (await other.prepare(row()))[1]
    assert not list(path.parent.glob("link.db-*"))
    await other.aclose()
    await journal.aclose()


# What it survives


def overwrite(path: Path) -> None:
    """Damage a file in its middle, page after page."""
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 512)


async def test_a_damaged_file_is_refused_after_an_unclean_end(path: Path) -> None:
    """It may hold paid tasks, so it stays as it is until the user takes it away."""
    await asyncio.to_thread(used, path)
    await asyncio.to_thread(left, path)
    overwrite(path)
    with pytest.raises(JournalError, match=r"damaged.*may hold paid tasks.*move it away"):
        await Journal(path).open()
    assert path.exists()


async def test_a_whole_file_opens_after_an_unclean_end(path: Path) -> None:
    """With everything that was settled."""
    await asyncio.to_thread(left, path)
    assert path.with_name("journal.db-wal").stat().st_size > 0
    journal = Journal(path)
    assert [one.key for one in journal.unfinished(SITE)] == ["film-8"]
    await journal.aclose()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


async def test_nothing_is_committed_to_a_locked_file(path: Path) -> None:
    """The submission stays prepared, here and in the file, and can be sent later."""
    journal = Journal(path, busy_timeout=0.05)
    claimed, _ = await journal.prepare(row())
    with locked(path):
        with pytest.raises(JournalError, match=r"locked.*busy_timeout") as caught:
            await journal.commit(claimed)
        assert caught.value.__context__ is None
        assert (claimed.state, claimed.attempt, claimed.committed_at) == (S.PREPARED, 0, None)
        with pytest.raises(JournalError, match="locked"):
            journal.find("film-7")
    found = journal.find("film-7")
    assert found is not None
    assert found.state is S.PREPARED
    await journal.commit(claimed)
    assert claimed.attempt == 1
    await journal.aclose()


async def test_a_file_locked_when_it_is_opened_leaves_no_owner(path: Path) -> None:
    """Nothing is sent, and it opens as soon as it can."""
    await asyncio.to_thread(used, path)
    journal = Journal(path, busy_timeout=0.05)
    with locked(path), pytest.raises(JournalError, match="locked"):
        await journal.prepare(Row(key="unnamed"))
    assert os.listdir(path.parent / "journal.db-owners") == []
    assert (await journal.prepare(Row(key="unnamed")))[1]
    await journal.aclose()


async def test_a_fact_that_cannot_be_written_is_written_later(path: Path) -> None:
    """In its order, before anything new; until then whoever asks whether all is settled hears that it is not."""
    journal = Journal(path, busy_timeout=0.05)
    claimed, _ = await journal.prepare(row())
    await journal.commit(claimed)
    with locked(path):
        journal.note(claimed, S.ACCEPTED, task_id="7")
        for _ in range(2):
            with pytest.raises(JournalError, match="locked"):
                await journal.settled()
        journal.finished(SITE, "7", S.SUCCESS, 4)
    await journal.settled()
    found = journal.find("film-7")
    assert found is not None
    assert (found.state, found.task_id, found.credits) == (S.SUCCESS, "7", 4)
    await journal.aclose()


async def test_closing_owes_nothing_silently(path: Path) -> None:
    """If a fact cannot be written, it lets go of the file all the same, says so, and writes it when used again."""
    journal = Journal(path, busy_timeout=0.05)
    claimed, _ = await journal.prepare(row())
    await journal.commit(claimed)
    with locked(path):
        journal.note(claimed, S.ACCEPTED, task_id="7")
        with pytest.raises(JournalError, match="locked"):
            await journal.aclose()
    assert os.listdir(path.parent / "journal.db-owners") == []
    await journal.settled()
    assert [one.task_id for one in journal.unfinished(SITE)] == ["7"]
    await journal.aclose()


async def fill(journal: Journal) -> None:
    """Write more than there is room for."""
    for number in range(1000):
        await journal.commit(Row(key=f"filler {number}", evidence="x" * 1000))


async def test_a_full_disk_stops_the_spending_and_loses_no_fact(path: Path) -> None:
    """What is learned meanwhile arrives once there is room."""
    journal = Journal(path)
    claimed, _ = await journal.prepare(row())
    await journal.commit(claimed)
    await journal._writer.ask(lambda store: store._connection.execute("PRAGMA max_page_count = 20").fetchone())
    with pytest.raises(JournalError, match=r"is full.*Make room"):
        await fill(journal)
    journal.note(claimed, S.ACCEPTED, task_id="7", trace_id="x" * 9000)
    with pytest.raises(JournalError, match="full"):
        await journal.settled()
    assert journal._writer.file is not None
    journal._writer.file._connection.execute("PRAGMA max_page_count = 10000")
    await journal.settled()
    assert [one.task_id for one in journal.unfinished(SITE)] == ["7"]
    await journal.aclose()


async def test_a_file_taken_away_is_noticed(path: Path) -> None:
    """Whatever is written to a file without a name is lost, so nothing is sent."""
    journal = Journal(path)
    await accepted(journal)
    away = path.rename(path.with_name("away.db"))
    with pytest.raises(JournalError, match=r"removed or replaced.*Put it back"):
        await journal.commit(row("film-8"))
    away.rename(path)
    await journal.commit(row("film-8"))
    await journal.aclose()


async def test_a_server_may_answer_anything(path: Path) -> None:
    """Numbers that no file holds and text that is none break nothing."""
    journal = Journal(path)
    claimed, _ = await journal.prepare(row("\ud800"))
    await journal.commit(claimed)
    journal.note(claimed, S.ACCEPTED, task_id="7\ud800", credits=10**30, reason="a\0b")
    await journal.settled()
    (found,) = journal.unfinished(SITE)
    assert (found.task_id, found.credits, found.reason) == ("7\\ud800", 2**63 - 1, "a\0b")
    journal.finished(SITE, "7\ud800", S.FAILED, -(10**30))
    assert journal.tokens_of(SITE, ["7\ud800"]) == {"7\\ud800": claimed.token}
    assert journal.unfinished(SITE) == []
    await journal.aclose()


async def test_a_conflict_fails_alone(path: Path) -> None:
    """Others in the same transaction are written."""
    journal = Journal(path)
    await accepted(journal)
    answers = await asyncio.gather(
        journal.prepare(row("a")),
        journal.prepare(row(digest="other")),
        journal.prepare(row("b")),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [tuple, IdempotencyConflictError, tuple]
    assert journal.find("a")
    assert journal.find("b")
    await journal.aclose()


async def test_a_cancelled_commit_leaves_nothing_committed(path: Path) -> None:
    """Whoever did not hear of it sends nothing, so the row can be sent by whoever asks next."""
    journal = Journal(path)
    claimed, _ = await journal.prepare(row())
    committing = asyncio.create_task(journal.commit(claimed))
    await asyncio.sleep(0)
    committing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await committing
    await journal.settled()
    found = journal.find("film-7")
    assert found is not None
    assert (found.state, claimed.state) == (S.PREPARED, S.PREPARED)
    await journal.aclose()


# Who has it in hand


async def test_one_key_is_claimed_once_by_the_clients_of_a_journal(path: Path) -> None:
    """Of many at once a single one sends; when it lets go, another may."""
    journal = Journal(path)
    claims = await asyncio.gather(*(journal.prepare(row()) for _ in range(20)))
    assert [is_ours for _, is_ours in claims].count(True) == 1
    (mine,) = [found for found, is_ours in claims if is_ours]
    with pytest.raises(IdempotencyConflictError):
        await journal.prepare(row(digest="other"))
    journal.drop(mine)
    again, is_ours = await journal.prepare(row())
    assert (is_ours, again.token) == (True, mine.token)
    await journal.aclose()


async def test_a_cancelled_claim_is_free_again(path: Path) -> None:
    """Nobody is left who would send it."""
    journal = Journal(path)
    await journal.open()
    wanted = row()
    claiming = asyncio.create_task(journal.prepare(wanted))
    await asyncio.sleep(0)
    claiming.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await claiming
    await journal.settled()
    journal.drop(wanted)
    assert (await journal.prepare(row()))[1]
    await journal.aclose()


async def test_what_one_journal_learned_no_other_undoes(path: Path) -> None:
    """Two with the same doubtful submission in hand: the task that one found stays, and the other sends nothing."""
    one, other = Journal(path), Journal(path)
    claimed, _ = await one.prepare(row())
    await one.commit(claimed)
    one.note(claimed, S.UNKNOWN, evidence="answer 502")
    await one.settled()
    (theirs,) = other.unresolved(SITE)
    one.note(claimed, S.ACCEPTED, task_id="7")
    await one.settled()
    other.note(theirs, S.PREPARED, possible_duplicate=True)
    with pytest.raises(JournalError, match="another process"):
        await other.commit(theirs)
    assert [found.task_id for found in other.unfinished(SITE)] == ["7"]
    await one.aclose()
    await other.aclose()


async def test_a_submission_sent_again_by_consent_is_marked(path: Path) -> None:
    """With the same token, and as this process's."""
    journal = Journal(path)
    claimed, _ = await journal.prepare(row())
    await journal.commit(claimed)
    journal.note(claimed, S.UNKNOWN)
    await journal.settled()
    (doubtful,) = journal.unresolved(SITE)
    journal.note(doubtful, S.PREPARED, possible_duplicate=True)
    await journal.commit(doubtful)
    found = journal.find("film-7")
    assert found is not None
    assert (found.state, found.attempt, found.possible_duplicate, found.token) == (S.COMMITTED, 2, True, claimed.token)
    await journal.aclose()


async def test_a_live_siblings_rows_are_its_own_and_a_dead_ones_are_unknown(path: Path) -> None:
    """However it ended: the kernel tells. A key it held is free again only if nothing was sent."""
    body = """
        a, _ = await journal.prepare(row('sent')); await journal.commit(a)
        b, _ = await journal.prepare(row('prepared'))
        """
    journal = Journal(path)
    with sibling(path, textwrap.dedent(body)) as process:
        assert journal.unresolved(SITE) == []
        found, is_ours = await journal.prepare(row("sent"))
        assert (is_ours, found.state) == (False, S.COMMITTED)
        found, is_ours = await journal.prepare(row("prepared"))
        assert (is_ours, found.state) == (False, S.PREPARED)
        killed(process)
    (lost,) = journal.unresolved(SITE)
    assert (lost.key, lost.evidence) == ("sent", "the process that sent it ended before its answer came")
    assert not (await journal.prepare(row("sent")))[1]
    assert (await journal.prepare(row("prepared")))[1]
    assert len(os.listdir(path.parent / "journal.db-owners")) == 1
    await journal.aclose()


async def test_a_siblings_death_is_noticed_by_whoever_asks_for_the_key(path: Path) -> None:
    """Also without looking for doubtful ones first; and when the journal is opened."""
    journal = Journal(path)
    await journal.open()
    for asks in (lambda: journal.prepare(row()), Journal(path).open):
        with sibling(path, "a, _ = await journal.prepare(row('film-7')); await journal.commit(a)") as process:
            killed(process)
        await asks()
        found = journal.find("film-7")
        assert found is not None
        assert found.state is S.UNKNOWN
        journal.note(found, S.PREPARED)
        await journal.settled()
    await journal.aclose()


def test_two_processes_write_one_journal(path: Path) -> None:
    """Each row once, whoever comes first; a key that both want is sent by one."""
    body = """
        ours = 0
        for number in range(60):
            found, is_ours = await journal.prepare(row(str(number)))
            if is_ours:
                ours += 1
                await journal.commit(found)
                journal.note(found, RowState.ACCEPTED, task_id="task " + str(number))
        await journal.aclose()
        print(ours)
        """
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(started(path, textwrap.dedent(body))) for _ in range(3)]
        ends = [process.communicate(timeout=60) for process in both]
    assert [err for _, err in ends] == ["", "", ""]
    assert sum(int(out) for out, _ in ends) == 60

    async def look() -> None:
        journal = Journal(path)
        assert sorted(int(one.key) for one in journal.unfinished(SITE)) == list(range(60))
        await journal.aclose()

    asyncio.run(look())


FORKING = """
    await accepted('film-7')
    child = os.fork()
    if not child:
        said = []
        for ask in (lambda: journal.find('film-7'), lambda: journal.finished(SITE, '7', RowState.SUCCESS, 1),
                    lambda: Journal(sys.argv[1]).find('film-7')):
            try:
                ask()
            except JournalError as error:
                said.append('forked' in str(error) and 'spawn' in str(error))
        print(said, flush=True)
        os.read(0, 1)
        os._exit(0)
    """


def test_a_forked_child_uses_nothing_of_its_parents(path: Path) -> None:
    """B21: neither the connection nor another one to the same file: SQLite's state does not survive a fork."""
    body = FORKING + "\n    os.waitpid(child, 0)\n    print(journal.find('film-7').state)\n"
    with started(path, textwrap.dedent(body)) as process:
        out, err = process.communicate("x", timeout=30)
    assert err == ""
    assert out == "[True, True, True]\naccepted\n"


async def test_a_forked_child_keeps_no_dead_parent_alive(path: Path) -> None:
    """What the parent had sent is unknown although its child still runs."""
    body = "found, _ = await journal.prepare(row('sent')); await journal.commit(found)\n" + textwrap.dedent(FORKING)
    with started(path, body + "\nos.kill(os.getpid(), signal.SIGKILL)") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[True, True, True]\n"
        assert process.wait() == -signal.SIGKILL
        journal = Journal(path)
        assert [one.key for one in journal.unresolved(SITE)] == ["sent"]
        await journal.aclose()


def test_a_child_forked_before_the_first_use_has_it_to_itself(path: Path) -> None:
    """A journal that was made and not used is just a path."""
    program = f"""{PRELUDE}
child = os.fork()
asyncio.run(accepted('parent' if child else 'child'))
asyncio.run(journal.aclose())
if child:
    os.waitpid(child, 0)
    print(sorted(one.key for one in journal.unfinished({SITE!r})))
"""
    assert printed(program, path) == "['child', 'parent']\n"


async def test_a_file_holds_what_a_row_holds_and_no_more(path: Path) -> None:
    """There is no place in it for a prompt, a payload or a key."""
    claimed = await accepted(journal := Journal(path))
    await journal.aclose()
    with contextlib.closing(sqlite3.connect(path)) as file:
        tables = file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        columns = {table: {name for _, name, *_ in file.execute(f"PRAGMA table_info({table})")} for (table,) in tables}
    assert columns == {
        "submissions": set(attrs.asdict(claimed)),
        "events": {"token", "at", "attempt", "state", "reason"},
        "notes": {"name", "value"},
        "callbacks": {"place", "token", "task_id", "state"},
        "sqlite_sequence": {"name", "seq"},  # of the table above
    }


async def test_a_note_is_there_for_the_next_who_opens_the_file(path: Path) -> None:
    """The latest under a name counts."""
    first = Journal(path)
    assert await first.recall("polling") is None
    first.remember("polling", "early")
    first.remember("polling", "late")
    await first.aclose()
    assert await Journal(path).recall("polling") == "late"


def test_what_a_file_says_of_an_owner_leads_nowhere_else(tmp_path: Path) -> None:
    """Only what looks like an owner's name is looked for, and perhaps removed."""
    (tmp_path / "precious.lock").touch()
    owner = Owner.enter(tmp_path / "owners")
    assert not owner.is_alive("../precious")
    assert (tmp_path / "precious.lock").exists()
    owner.release()


# Loops and ends


def test_it_serves_one_loop_after_another(path: Path) -> None:
    """With nothing closed in between."""
    journal = Journal(path)
    asyncio.run(accepted(journal, "a"))
    asyncio.run(accepted(journal, "b"))
    assert [one.key for one in journal.unfinished(SITE)] == ["a", "b"]
    asyncio.run(journal.aclose())
    asyncio.run(journal.aclose())
    assert journal.find("a"), "used again, it opens again"
    asyncio.run(journal.aclose())


@pytest.mark.parametrize("end", ["pass", "del journal; import gc; gc.collect()", "os._exit(0)"])
def test_dropping_it_warns_of_nothing_and_keeps_every_fact(path: Path, end: str) -> None:
    """A loop that ends at once takes no note with it, for the thread still writes it."""
    note = "journal.finished(SITE, 'task of film-7', RowState.SUCCESS, 4)" if end == "pass" else "pass"
    last = f"async def last():\n    {note}\nasyncio.run(last())\n{end}"
    program = f"{PRELUDE}\nasyncio.run(accepted('film-7'))\n{last}"
    assert printed(program, path) == ""

    async def look() -> None:
        journal = Journal(path)
        found = journal.find("film-7")
        assert found is not None
        assert found.state is (S.SUCCESS if note != "pass" else S.ACCEPTED)
        await journal.aclose()

    asyncio.run(look())


def test_a_dropped_journal_lets_go_of_its_file(path: Path) -> None:
    """So that its rows are free for others."""
    journal = Journal(path)
    asyncio.run(accepted(journal))
    del journal
    while os.listdir(path.parent / "journal.db-owners"):
        gc.collect()  # the thread may be the last to have had it


def test_virtual_time_stands_still_while_it_writes(path: Path) -> None:
    """No timeout fires for a disk's sake."""

    async def main() -> float:
        journal = Journal(path)
        async with asyncio.timeout(0.001):
            for number in range(20):
                await accepted(journal, str(number))
        await journal.aclose()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 0.001


async def test_many_at_once_are_all_written(path: Path) -> None:
    """More than fit into one transaction, too."""
    journal = Journal(path)
    await journal.open()
    rows = [Row(key=str(number), site=SITE) for number in range(1000)]
    await asyncio.gather(*map(journal.commit, rows))
    assert {one.state for one in rows} == {S.COMMITTED}
    await journal.aclose()
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM submissions WHERE state = 'committed'").fetchone() == (1000,)


async def test_a_row_comes_back_as_it_went(path: Path) -> None:
    """Every field, with its type."""
    journal = Journal(path)
    full = Row(
        key="k", is_named=True, token="t", site=SITE, endpoint="img2video", digest="d", proof="p", model="viduq3-turbo",
        duration=5, prompt="h", off_peak=True, key_print="12345678", reason="r", status=200, trace_id="t-1", credits=4,
        evidence="e", answered_at=2.5, possible_duplicate=True,
    )  # fmt: skip
    claimed, _ = await journal.prepare(full)
    await journal.commit(claimed)
    journal.note(claimed, S.ACCEPTED, task_id="911045603801182208")
    await journal.settled()
    found = journal.find("k")
    assert found is not None
    assert attrs.asdict(found) == attrs.asdict(claimed)
    assert all(type(getattr(found, name)) is bool for name in ("is_named", "off_peak", "possible_duplicate"))
    assert all(value not in (None, "") for value in attrs.asdict(found).values()), "a new field needs a value above"
    await journal.aclose()


async def test_all_rows_are_told_oldest_first(path: Path) -> None:
    """Of every site and in every state, however many; one whose key was used anew has none."""
    journal = Journal(path)
    keys = [f"film-{number}" for number in range(1001)]
    for key in keys:
        await journal.prepare(Row(key=key, is_named=True, site=key, digest="d"))
    given_up = await accepted(journal, "again")
    journal.note(given_up, RowState.GIVEN_UP)
    await journal.prepare(Row(key="again", is_named=True, site="elsewhere", digest="d"))
    found = [(row.key, row.state) async for row in journal.rows()]
    assert found[:-2] == [(key, RowState.PREPARED) for key in keys]
    assert found[-2:] == [("", RowState.GIVEN_UP), ("again", RowState.PREPARED)]
    await journal.aclose()
