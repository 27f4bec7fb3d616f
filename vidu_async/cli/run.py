"""`vidu-async run`: one request, from its fields to the file."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field, frozen

from vidu_async.cli import interrupts
from vidu_async.cli.connection import connect, observer
from vidu_async.cli.interrupts import Interrupts
from vidu_async.cli.output import Results, interruption_record, say
from vidu_async.cli.settings import Settings, connected, examples, journaled
from vidu_async.cli.target import check_folder
from vidu_async.cli.tasks import DEADLINE, about, patience, record
from vidu_async.events import Accepted
from vidu_async.protocol.requests import request_from_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vidu_async.client import ViduClient
    from vidu_async.events import Event
    from vidu_async.progress import LogProgress, RichProgress
    from vidu_async.protocol.models import Task
    from vidu_async.protocol.requests import Request

_SEVERAL = ("images", "videos", "subjects", "extra")
"""Fields that hold more than one value: given more than once, or as JSON."""


@click.command(
    epilog=examples(
        'vidu-async run text2video model=viduq3-turbo prompt="the fox runs" duration=5',
        "vidu-async run img2video model=viduq3-turbo images=fox.png --out fox.mp4",
        "vidu-async run --file request.json --journal vidu.db --key fox",
    )
)
@click.argument("words", nargs=-1, metavar="[ENDPOINT] [FIELD=VALUE]...")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A JSON object of fields.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="A folder, or the file.  [default: .]")
@click.option("--key", help="Your name for it: with the same --journal it is paid once.")
@click.option("--strict", is_flag=True, help="Refuse what is otherwise warned of.")
@DEADLINE
@journaled
@connected
@click.pass_obj
def run(settings: Settings, /, *, words: tuple[str, ...], file: Path | None, out: Path, **given: Any) -> int:  # noqa: ANN401 - the options
    """Make one request at ENDPOINT, wait for it, save its result and print the path.

    Fields are those of the API. Give images= more than once for several; subjects= and extra= take JSON. With --key and
    --journal the same command may be given again: it goes on, or prints the path once more, and sends nothing.
    """
    if given["key"] is not None and not settings.journal:
        raise click.UsageError("--key means nothing without --journal, the file that remembers it.")
    order = _Order(request=_request(words, file), out=out.expanduser(), **given)
    if order.is_there and order.key is None:
        raise _taken(order)
    check_folder(order.folder)
    settings.out = order.folder
    return interrupts.run(partial(_run, settings, order))


@frozen(kw_only=True)
class _Order:
    """What is to be made, and where it is to go."""

    request: Request
    out: Path
    key: str | None
    strict: bool
    deadline: float | None
    is_file: bool = field(init=False)
    """Whether the result is to become the very file `out`, and not one in that folder."""
    is_there: bool = field(init=False)
    """Whether that file was there before."""

    @is_file.default
    def _names_file(self) -> bool:
        return bool(self.out.suffix) and not self.out.is_dir()

    @is_there.default
    def _finds_file(self) -> bool:
        return self.is_file and self.out.exists()

    @property
    def folder(self) -> Path:
        """The folder that the result goes to."""
        return self.out.parent if self.is_file else self.out


def _taken(order: _Order) -> click.UsageError:
    return click.UsageError(f"{order.out} is there already; nothing was sent.")


def _request(words: Sequence[str], file: Path | None) -> Request:
    """Return the request of a command line, its fields over those of a file."""
    fields = {} if file is None else _fields_of(file)
    endpoint = fields.pop("endpoint", "")
    if words and "=" not in words[0]:
        endpoint, words = words[0], words[1:]
    if not endpoint:
        raise click.UsageError("an endpoint is needed, such as text2video, or a --file that names its endpoint.")
    fields.update(_fields(words))
    return request_from_wire(endpoint, fields, base_dir=file and file.parent)


def _fields_of(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise click.UsageError(f"{file} is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise click.UsageError(f"{file} must hold a JSON object, the fields of one request.")
    return fields


def _fields(words: Iterable[str]) -> dict[str, Any]:
    """Return the fields of `name=value`. Values are texts, which the request reads as what its field holds."""
    fields: dict[str, Any] = {}
    for word in words:
        name, is_given, text = word.partition("=")
        if not is_given:
            raise click.UsageError(f"{word!r} must look like field=value.")
        if name in _SEVERAL:
            _add(fields, name, text)
        elif name in fields:
            raise click.UsageError(f"{name} is given twice.")
        else:
            fields[name] = text
    return fields


def _add(fields: dict[str, Any], name: str, text: str) -> None:
    """Add a value to a field that holds several: one more, or JSON."""
    value: Any = [text]
    if text.lstrip()[:1] in {"[", "{"}:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise click.UsageError(f"{name} is no JSON: {error}") from None
    earlier = fields.get(name)
    fields[name] = [*earlier, *value] if isinstance(earlier, list) and isinstance(value, list) else value


@define(eq=False)
class _Accepted:
    """An observer that keeps the id of what was paid for, for whoever interrupts the wait for it."""

    show: RichProgress | LogProgress
    task_id: str = ""

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self.show(event)
        if isinstance(event, Accepted):
            self.task_id = event.task_id


async def _run(settings: Settings, order: _Order, interrupts: Interrupts) -> int:
    async with AsyncExitStack() as stack:
        accepted = _Accepted(observer())
        vidu = await connect(stack, settings, journal=settings.journal, strict=order.strict, on_event=accepted)
        if order.is_there and not (order.key and await vidu.recall(order.key)):
            raise _taken(order)
        if sys.stderr.isatty():
            stack.enter_context(accepted.show)
        stack.push_async_callback(_tell_of_rest, vidu, settings, accepted, interrupts)
        handle = await vidu.submit(order.request, key=order.key)
        accepted.task_id = handle.task_id  # of an earlier run's, nothing was reported
        task = await handle.result(timeout=patience(order.deadline))
        paths = await _saved(vidu, task, order)
    Results(settings.json).tell(record(task, paths), *map(str, paths))
    return 0


async def _saved(vidu: ViduClient, task: Task, order: _Order) -> list[Path]:
    """Save a result; one that an earlier run under the same key has saved is left as it is."""
    with about(task):
        if order.is_file:
            return [await vidu.download(task, order.out, exists="skip" if order.is_there else "error")]
        return await vidu.download_all(task, order.out, exists="skip")


async def _tell_of_rest(vidu: ViduClient, settings: Settings, accepted: _Accepted, interrupts: Interrupts) -> None:
    """Say how to go on with what was interrupted, once the answer that may be on its way has come."""
    if not interrupts.is_stopped or settings.simulate:
        return
    await vidu.aclose()
    if accepted.task_id:
        said = f"The task goes on, and is paid: {settings.taking_up(accepted.task_id)}"
        say(said)
        if settings.json:
            Results(is_json=True).tell(interruption_record(accepted.task_id, said))
