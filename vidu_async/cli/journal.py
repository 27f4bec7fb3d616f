"""`vidu-async journal`: what a file remembers, and settling what may be paid."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidu_async.cli import interrupts
from vidu_async.cli.audit import audited
from vidu_async.cli.connection import connect
from vidu_async.cli.interrupts import Interrupts
from vidu_async.cli.output import Results, say
from vidu_async.cli.settings import Settings, connected, examples, journaled, moment, spoken
from vidu_async.cli.troubles import FAILED, UNKNOWN, settle
from vidu_async.journal import UNRESOLVED, Row, RowState
from vidu_async.journal_file import Journal
from vidu_async.phrases import printable
from vidu_async.protocol.errors import ConfigError

if TYPE_CHECKING:
    from vidu_async.reconcile import Unresolved

_HEAD = ("key", "state", "task", "credits", "time", "endpoint", "model", "why")
_STATES = [state.value for state in RowState]
_PATH = click.argument(
    "path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PATH"
)


@click.group(
    epilog=examples(
        "vidu-async journal list films/journal.db --state held",
        "vidu-async journal audit films/journal.db",
    )
)
def journal() -> None:
    """Read and settle what a journal remembers: every submission that may cost, or has cost, credits."""


def _file(settings: Settings, path: Path | None) -> Path:
    """Return the journal that is meant, which must be there: reading makes none."""
    if path is None and not settings.journal:
        raise click.UsageError("the journal's PATH is needed.")
    found = path or Path(settings.journal or "")
    if not found.is_file():
        raise ConfigError(f"there is no journal {found}")
    if settings.simulate:
        raise ConfigError("--simulate and a journal exclude each other: simulated tasks are no paid ones")
    return found


@journal.command(
    "list",
    short_help="List what was submitted; needs neither key nor network.",
    epilog=examples(
        "vidu-async journal list films/journal.db",
        "vidu-async journal list films/journal.db --state unknown --state held",
        "vidu-async journal list films/journal.db --since 2d --json",
    ),
)
@_PATH
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these; repeatable.")
@click.option("--since", callback=moment, metavar="TIME", help="Only since then: 8h, 2d, 2026-05-01.")
@journaled
@spoken
@click.pass_obj
def list_(settings: Settings, /, *, path: Path | None, states: tuple[str, ...], since: datetime | None) -> int:
    """List the submissions that the journal PATH knows, oldest first. It needs neither a key nor the network."""
    return interrupts.run(partial(_list, settings, _file(settings, path), states, since))


async def _list(settings: Settings, path: Path, states: tuple[str, ...], since: datetime | None, _: Interrupts) -> int:
    kept, start = Journal(path), since.timestamp() if since else 0.0
    try:
        rows = [_cells(row) async for row in kept.rows() if _is_meant(row, states, start)]
    finally:
        await kept.aclose()
    Results(settings.json).table("submission", _HEAD, rows)
    if not rows:
        say("No submissions.")
    return 0


def _is_meant(row: Row, states: tuple[str, ...], start: float) -> bool:
    return (not states or row.state.value in states) and (_time_of(row) or 0.0) >= start


def _time_of(row: Row) -> float | None:
    return row.committed_at or row.prepared_at


def _cells(row: Row) -> tuple[object, ...]:
    time = _time_of(row)
    shown = None if time is None else datetime.fromtimestamp(time, UTC).astimezone().isoformat(" ", "seconds")
    why = row.reason or row.evidence or None
    return (row.key, row.state.value, row.task_id or None, row.credits, shown, row.endpoint, row.model, why)


@journal.command(
    short_help="Look for the tasks of what may be paid.",
    epilog=examples(
        "vidu-async journal reconcile films/journal.db",
    ),
)
@_PATH
@journaled
@connected
@click.pass_obj
def reconcile(settings: Settings, /, *, path: Path | None) -> int:
    """Look once, now, for the tasks of all submissions whose answer was lost. Nothing is sent again."""
    return interrupts.run(partial(_reconcile, settings, _file(settings, path)))


async def _reconcile(settings: Settings, path: Path, _: Interrupts) -> int:
    results, kept = Results(settings.json), Journal(path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(kept.aclose)
        lost = [row.key async for row in kept.rows() if row.state in UNRESOLVED]
        vidu = await connect(stack, settings, journal=kept)
        await vidu.reconcile()
        left = vidu.unresolved()
        found = [row for key in lost if (row := kept.find(key)) and row.task_id]  # a client looks by itself, too
    for row in found:
        said = {"type": "found", "key": row.key, "task_id": row.task_id}
        results.tell(said, printable(f"{row.key}  found  task {row.task_id}"))
    for lost_one in left:
        results.tell(_record(lost_one), printable(f"{lost_one.key}  {lost_one.state}  {lost_one.evidence}"))
        if lost_one.likely:
            say(printable(f"  These look like it, which proves nothing: {' '.join(lost_one.likely)}"))
    if left:
        can_look = vidu._abilities.has("lists")  # noqa: SLF001 - the client's own command line
        settle([row.key for row in left], settings, path, can_look=can_look)
    else:
        say("Nothing is unresolved.")
    return UNKNOWN if left else 0


def _record(row: Unresolved) -> dict[str, Any]:
    sent = row.committed_at.isoformat() if row.committed_at else None
    said = {
        name: getattr(row, name) for name in ("key", "state", "endpoint", "evidence", "likely", "possible_duplicate")
    }
    return {"type": "unresolved", **said, "committed_at": sent}


@journal.command(
    short_help="Settle by hand what may be paid.",
    epilog=examples(
        "vidu-async journal resolve row-17 --journal films/journal.db --task-id 911045603801182208",
        "vidu-async journal resolve row-17 --journal films/journal.db --resend",
        "vidu-async journal resolve row-17 --journal films/journal.db --give-up",
    ),
)
@click.argument("key")
@click.option("--task-id", metavar="ID", help="This is its task: you found it.")
@click.option("--resend", is_flag=True, help="Have it sent again, at the risk of paying twice.")
@click.option("--give-up", is_flag=True, help="Let it be; the next submission under this key is a new one.")
@journaled
@connected
@click.pass_obj
def resolve(settings: Settings, /, *, key: str, task_id: str | None, resend: bool, give_up: bool) -> int:
    """Settle the submission KEY, which may be paid, in one of three ways."""
    if [task_id is not None, resend, give_up].count(True) != 1:
        raise click.UsageError("give one of --task-id ID, --resend and --give-up.")
    path = _file(settings, None)
    return interrupts.run(partial(_resolve, settings, path, key, task_id=task_id, resend=resend, give_up=give_up))


async def _resolve(settings: Settings, path: Path, key: str, _: Interrupts, **way: Any) -> int:  # noqa: ANN401 - of `resolve`
    async with AsyncExitStack() as stack:
        vidu = await connect(stack, settings, journal=path)
        handle = await vidu.resolve(key, **way)
    if handle is not None:
        said, words = handle.task_id, f"{key} is task {handle.task_id}"
    elif way["resend"]:
        said, words = None, f"{key} is sent again when it is submitted next: run its batch again"
    else:
        said, words = None, f"{key} is given up; the next submission under this key is a new one, and is paid"
    Results(settings.json).tell({"type": "resolved", "key": key, "task_id": said}, printable(words))
    return 0


@journal.command(
    short_help="Compare the journal with the gateway's tasks.",
    epilog=examples(
        "vidu-async journal audit films/journal.db",
        "vidu-async journal audit films/journal.db --json",
    ),
)
@_PATH
@journaled
@connected
@click.pass_obj
def audit(settings: Settings, /, *, path: Path | None) -> int:
    """Compare the journal PATH with the tasks that the gateway lists, and say what could not be compared.

    Told are tasks that no submission names, submissions whose task the server does not know, that became several tasks,
    or whose price differs, and credits by state. The exit status is 3 if something may be paid, 1 if something does not
    fit. Tasks that no submission names do: others may use the account, too.
    """
    return interrupts.run(partial(_audit, settings, _file(settings, path)))


async def _audit(settings: Settings, path: Path, _: Interrupts) -> int:
    kept = Journal(path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(kept.aclose)
        vidu = await connect(stack, settings, journal=kept)
        rows = [row async for row in kept.rows()]
        found = await audited(vidu, rows)
    results = Results(settings.json)
    for record, words in found.told():
        results.tell(record, printable(words))
    if any(row.state in UNRESOLVED for row in found.rows):
        return UNKNOWN
    return 0 if found.fits else FAILED
