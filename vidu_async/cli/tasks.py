"""The commands for tasks that are there: wait, status, list, cancel, download; and what the account has left."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidu_async.cli import interrupts
from vidu_async.cli.connection import connect, observer
from vidu_async.cli.interrupts import Interrupts
from vidu_async.cli.output import Results, error_record, say
from vidu_async.cli.settings import DURATION, Settings, connected, examples, moment
from vidu_async.cli.troubles import complain, status_of
from vidu_async.handle import DEFAULT_TIMEOUT, checked
from vidu_async.phrases import printable
from vidu_async.protocol.errors import DownloadError, ViduError
from vidu_async.protocol.models import TaskState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from vidu_async.client import ViduClient
    from vidu_async.handle import TaskHandle
    from vidu_async.protocol.models import Task
    from vidu_async.targets import Exists, Variant

_AT_ONCE = 8
_LINKS: dict[str, Variant] = {"result": "url", "cover": "cover_url", "watermarked": "watermarked_url"}
_STATES = [state.value for state in TaskState if state is not TaskState.UNKNOWN]
_KINDS = ("type", "credit_remain", "concurrency_limit", "current_concurrency", "queue_count")
"""What is told of each kind of credits. https://platform.vidu.com/docs/get-account-info"""
_NAME = (
    "Names of the files, without suffix, such as 'fox-{task_id}'; without '{task_id}' in it a name that is taken is "
    "an error.  [default: '{task_id}']"
)
DEADLINE = click.option("--deadline", type=DURATION, help="How long to wait.  [default: 1h, off-peak 49h]")
_TASKS = click.argument("tasks", nargs=-1, required=True, metavar="TASK...")


@contextmanager
def about(task: Task) -> Iterator[None]:
    """Say in an error of saving which task it is about, so that its result can be fetched later."""
    try:
        yield
    except DownloadError as error:
        error.task_id = task.id
        raise


def patience(deadline: float | None) -> Any:  # noqa: ANN401 - the default is a value of its own
    """Return how long to wait, in seconds or as the library would."""
    return DEFAULT_TIMEOUT if deadline is None else deadline


# wait, status, cancel, download


@click.command(
    epilog=examples(
        "vidu-async wait 911045603801182208",
        "vidu-async wait 911045603801182208 911045603801182209 --deadline 2h --json",
    )
)
@_TASKS
@DEADLINE
@connected
@click.pass_obj
def wait(settings: Settings, *, tasks: tuple[str, ...], deadline: float | None) -> int:
    """Wait until each TASK, an id or a handle's token, has ended, and say how."""

    async def end(_: ViduClient, handle: TaskHandle) -> Task:
        task = await handle.wait(timeout=patience(deadline))
        return checked(task)

    return interrupts.run(partial(_each, settings, tasks, end, is_shown=True))


@click.command(
    epilog=examples(
        "vidu-async status 911045603801182208",
    )
)
@_TASKS
@connected
@click.pass_obj
def status(settings: Settings, *, tasks: tuple[str, ...]) -> int:
    """Look at each TASK, an id or a handle's token, once."""

    async def look(_: ViduClient, handle: TaskHandle) -> Task:
        return await handle.refresh()

    return interrupts.run(partial(_each, settings, tasks, look))


@click.command(
    epilog=examples(
        "vidu-async cancel 911045603801182208",
    )
)
@_TASKS
@connected
@click.pass_obj
def cancel(settings: Settings, *, tasks: tuple[str, ...]) -> int:
    """Cancel each TASK that still waits to be run. Its credits are returned."""

    async def withdraw(_: ViduClient, handle: TaskHandle) -> Task:
        await handle.cancel()
        return await handle.refresh()

    return interrupts.run(partial(_each, settings, tasks, withdraw))


@click.command(
    epilog=examples(
        "vidu-async download 911045603801182208 --out films",
        "vidu-async download 911045603801182208 911045603801182209 --deadline 2h",
        "vidu-async download 911045603801182208 --variant cover --name 'cover-{task_id}'",
    )
)
@_TASKS
@DEADLINE
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder.  [default: .]")
@click.option("--name", help=_NAME)
@click.option("--variant", type=click.Choice(tuple(_LINKS)), default="result", help="Which of a result's files.")
@connected
@click.pass_obj
def download(
    settings: Settings,
    *,
    tasks: tuple[str, ...],
    deadline: float | None,
    out: Path,
    name: str | None,
    variant: str,
) -> int:
    """Wait until each TASK, an id or a handle's token, has ended, save its results and print their paths.

    What is there already is not fetched again.
    """
    settings.out = out
    settings.saved_as = ("--variant", variant) if variant != "result" else ()
    settings.saved_as += ("--name", name) if name else ()
    # Under a name of any task's what is there may be another's result.
    exists: Exists = "skip" if name is None or "{task_id" in name else "error"

    async def save(vidu: ViduClient, handle: TaskHandle) -> tuple[Task, list[Path]]:
        task = await handle.wait(timeout=patience(deadline))
        with about(task):
            link = _LINKS[variant]
            return task, await vidu.download_all(checked(task), out, exists=exists, name=name, variant=link)

    return interrupts.run(partial(_each, settings, tasks, save, is_shown=True))


async def _each(
    settings: Settings,
    tasks: Sequence[str],
    do: Callable[[ViduClient, TaskHandle], Awaitable[Task | tuple[Task, list[Path]]]],
    _interrupts: Interrupts,
    *,
    is_shown: bool = False,
) -> int:
    """Do something with each task, few at once, and tell of each as it is done; return the worst exit status."""
    results, places = Results(settings.json), asyncio.Semaphore(_AT_ONCE)

    async def one(vidu: ViduClient, name: str) -> int:
        try:
            async with places:
                done = await do(vidu, vidu.attach(name))
        except ViduError as error:
            complain(error, settings)
            if settings.json:
                results.tell(error_record(error) | {"task_id": error.task_id or name})
            return status_of(error)
        task, paths = done if isinstance(done, tuple) else (done, None)
        results.tell(record(task, paths), *([_line(task)] if paths is None else map(str, paths)))
        return 0

    async with AsyncExitStack() as stack:
        show = observer()
        vidu = await connect(stack, settings, on_event=show)
        if is_shown and sys.stderr.isatty():
            stack.enter_context(show)
        return max(await asyncio.gather(*(one(vidu, name) for name in dict.fromkeys(tasks))))


def record(task: Task, paths: Iterable[Path] | None = None) -> dict[str, Any]:
    """Return a task for programs. Links are left out: whoever has one can open the file."""
    names = ("id", "type", "model", "credits", "err_code", "err_msg", "progress", "duration", "resolution", "off_peak")
    known = {name: getattr(task, name) for name in names}
    created = task.created_at.isoformat() if task.created_at else None
    said = {"type": "task", "kind": known.pop("type"), "state": task.state.value, "created_at": created}
    return {**said, **known, "has_result": task.has_result, "paths": None if paths is None else list(map(str, paths))}


def _line(task: Task) -> str:
    cost = None if task.credits is None else f"{task.credits} credits"
    why = ": ".join(filter(None, (task.err_code, task.err_msg)))
    progress = None if task.progress is None or task.state.is_terminal else f"{task.progress} %"
    state = task.state_text if task.state is TaskState.UNKNOWN and task.state_text else task.state.value
    return printable("  ".join(filter(None, (task.id, state, progress, task.model, cost, why))))


# list


@click.command(
    "list",
    epilog=examples(
        "vidu-async list --state processing --state queueing",
        "vidu-async list --since 2d --limit 1000 --json",
    ),
)
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these; repeatable.")
@click.option("--since", callback=moment, metavar="TIME", help="8h, 2d, 2026-05-01.  [default: 7 days]")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most so many."
)
@connected
@click.pass_obj
def list_(settings: Settings, *, states: tuple[str, ...], since: datetime | None, limit: int) -> int:
    """List the tasks of the account, as the server orders them. Not every gateway has a list."""
    return interrupts.run(partial(_list, settings, states, since, limit))


async def _list(
    settings: Settings, states: tuple[str, ...], since: datetime | None, limit: int, _interrupts: Interrupts
) -> int:
    found: list[Task] = []
    async with AsyncExitStack() as stack:
        vidu = await connect(stack, settings)
        async for task in vidu.tasks(states=states or None, created_from=since, page_size=min(limit + 1, 100)):
            found.append(task)
            if len(found) > limit:
                break
    results = Results(settings.json)
    if settings.json:
        for task in found[:limit]:
            results.tell(record(task))
    else:
        results.table("task", ("id", "state", "model", "credits", "created", "why"), map(_cells, found[:limit]))
    if len(found) > limit:
        say(f"There are more than {limit}; --limit raises that.")
    elif not found:
        say("No tasks.")
    return 0


def _cells(task: Task) -> Sequence[object]:
    created = task.created_at.astimezone().strftime("%Y-%m-%d %H:%M") if task.created_at else None
    return (task.id, task.state.value, task.model, task.credits, created, task.err_code)


# credits


@click.command(
    "credits",
    epilog=examples(
        "vidu-async credits",
        "vidu-async credits --json",
    ),
)
@connected
@click.pass_obj
def credits_(settings: Settings) -> int:
    """Say how many credits the account has left. Not every gateway tells."""
    return interrupts.run(partial(_credits, settings))


async def _credits(settings: Settings, _interrupts: Interrupts) -> int:
    async with AsyncExitStack() as stack:
        vidu = await connect(stack, settings)
        left = await vidu.credits()
    kinds = [{name: row.get(name) for name in _KINDS} for row in left.remains]
    words = [f"{'unknown' if left.remaining is None else left.remaining} credits left"]
    words += [printable(f"  {kind['type']}: {kind['credit_remain']}") for kind in kinds if len(kinds) > 1]
    Results(settings.json).tell({"type": "credits", "remaining": left.remaining, "kinds": kinds}, *words)
    return 0
