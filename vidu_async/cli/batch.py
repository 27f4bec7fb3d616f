"""`vidu-async batch`: all rows of a file, each paid once, however often it is begun."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict, define, field, frozen

from vidu_async.batch import Batch
from vidu_async.cli.connection import check_key, connect, observer
from vidu_async.cli.interrupts import Interrupts, run
from vidu_async.cli.output import Results, error_record, is_live, say
from vidu_async.cli.settings import DURATION, Settings, connected, examples, journaled
from vidu_async.cli.target import check_folder
from vidu_async.cli.troubles import FAILED, UNKNOWN, advice, can_look_for, fault_of_file, settle, status_of, told
from vidu_async.phrases import named, printable
from vidu_async.protocol.errors import ValidationError, ViduError
from vidu_async.protocol.requests import request_from_wire
from vidu_async.rows import check_suffix

if TYPE_CHECKING:
    from vidu_async.client import ViduClient
    from vidu_async.outcomes import Forecast, Outcome, Summary

_SHOWN = 20
"""Failures that are told one by one at the end; `--json` has them all."""


@frozen(kw_only=True)
class _Order:
    """What a batch was asked to do."""

    file: Path
    folder: Path
    journal: Path
    budget: int | None
    unknown_price: int | None
    concurrency: int | None
    deadline: float | None
    endpoint: str | None
    strict: bool

    def batch(self, client: ViduClient) -> Batch:
        """Return the batch of it."""
        names = ("budget", "unknown_price", "concurrency", "deadline", "endpoint")
        return Batch(client, self.file, download=self.folder, **{name: getattr(self, name) for name in names})


def _known(_ctx: click.Context, _param: click.Parameter, endpoint: str | None) -> str | None:
    """Refuse an endpoint that no row could have."""
    try:
        request_from_wire("img2video" if endpoint is None else endpoint, {})
    except ValidationError as error:
        if error.field == "endpoint":
            raise click.BadParameter(error.said) from None
    return endpoint


def _readable(_ctx: click.Context, _param: click.Parameter, file: Path) -> Path:
    """Refuse a file of a kind that is not read."""
    try:
        check_suffix(file)
    except ValidationError as error:
        raise click.BadParameter(error.said) from None
    return file


_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_CREDITS = click.IntRange(min=1)


@click.command(
    epilog=examples(
        "vidu-async batch jobs.jsonl --simulate",
        "vidu-async batch jobs.csv --endpoint text2video --dry-run",
        "vidu-async batch jobs.jsonl --out films --budget 2000 --deadline 8h",
        "vidu-async batch jobs.jsonl --json >outcomes.jsonl",
    )
)
@click.argument("file", type=_FILE, callback=_readable)
@click.option("--out", type=_FOLDER, help="Folder for the results.  [default: beside FILE, its name and -results]")
@click.option("--budget", type=_CREDITS, metavar="N", help="Credits that all may cost, earlier runs included.")
@click.option("--unknown-price", type=_CREDITS, metavar="N", help="Credits to count for a request of unknown price.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Rows under way at once.  [default: 100]")
@click.option("--deadline", type=DURATION, help="Time for all; then nothing more is sent.")
@click.option("--endpoint", metavar="NAME", callback=_known, help="For rows that name none, such as img2video.")
@click.option("--strict", is_flag=True, help="Refuse what is otherwise warned of.")
@click.option("--dry-run", is_flag=True, help="Check every row and say what it would cost; send nothing.")
@journaled
@connected
@click.pass_obj
def batch(settings: Settings, /, *, file: Path, out: Path | None, dry_run: bool, **given: Any) -> int:  # noqa: ANN401 - the options
    """Make all requests of FILE, wait for them and save their results.

    FILE is .jsonl, .json (an array) or .csv. Each row names its `endpoint`, may name its `key`, and has the fields of
    the API. The journal, by default OUT/journal.db, remembers what was sent: stopped in whatever way and given again,
    the same command goes on, and pays for nothing twice.

    Paths of saved files go to stdout, one per line; everything else to stderr.
    """
    ending = "simulated" if settings.simulate else "results"
    folder = file.with_name(f"{file.stem}-{ending}") if out is None else out.expanduser()
    journal = Path(settings.journal) if settings.journal else folder / "journal.db"
    order = _Order(file=file, folder=folder, journal=journal, **given)
    if not dry_run:
        check_folder(folder)
    return run(partial(_forecast if dry_run else _make, settings, order))


async def _make(settings: Settings, order: _Order, interrupts: Interrupts) -> int:
    """See the batch through; return the exit status."""
    check_key(settings)
    report = _Report(settings, order)
    async with AsyncExitStack() as stack:
        order.folder.mkdir(parents=True, exist_ok=True)
        show = observer()
        client = await connect(stack, settings, journal=order.journal, strict=order.strict, on_event=show)
        stack.enter_context(show)
        await _look_for_lost(client, settings)
        work = await stack.enter_async_context(order.batch(client))
        interrupts.stop = partial(_stop, work, settings)
        report.summary = work.summary
        try:
            async for outcome in work:
                report.note(outcome)
        except (ViduError, OSError) as fault:
            report.fault = fault
    return report.end(is_stopped=interrupts.is_stopped)


async def _look_for_lost(client: ViduClient, settings: Settings) -> None:
    """Look for what an earlier run lost, so that the batch takes it up."""
    if not client.unresolved():
        return
    try:
        await client.reconcile()
    except ViduError as error:
        say(f"What an earlier run lost could not be looked for: {told(error, settings)}")


def _stop(work: Batch, settings: Settings) -> None:
    work.stop()
    say("Stopped: nothing more is sent; what is under way goes on. Interrupt once more to leave at once.")
    if not settings.simulate:
        say(f"To go on later, paying for nothing twice: {settings.again}")


@define(eq=False)
class _Report:
    """Tells of outcomes as they come, and of all at the end."""

    _settings: Settings
    _order: _Order
    summary: Summary | None = None
    fault: Exception | None = None
    """What is wrong with the file itself."""
    _results: Results = field(init=False)
    _failed: list[str] = field(factory=list, init=False)
    _advice: dict[str, str] = field(factory=dict, init=False)
    """What helps, with the reason that it was first given for."""
    _unknown: list[str] = field(factory=list, init=False)
    """Keys of what may be paid."""
    _can_look: bool = field(default=True, init=False)
    """Whether their tasks may be in a list."""
    _saved: int = field(default=0, init=False)
    """Files on the disk."""
    _owed: int = field(default=0, init=False)
    """Rows that are paid and whose result is not on the disk."""

    def __attrs_post_init__(self) -> None:
        self._results = Results(self._settings.json)

    def note(self, outcome: Outcome) -> None:
        """Tell of one item."""
        self._saved += len(outcome.paths)
        if self._settings.json or not self._results.is_terminal:  # there the folder is told, at the end
            self._results.tell(_record(outcome), *map(str, outcome.paths))
        if outcome.error is None:
            return
        self._owed += outcome.error.paid == "yes"
        if outcome.error.paid == "maybe":
            self._unknown.append(outcome.key or "")
            self._can_look = self._can_look and can_look_for(outcome.error)
            return
        if len(self._failed) < _SHOWN:
            self._failed.append(_line(outcome))
        helps = advice(outcome.error, self._settings) if outcome.error.paid != "yes" else ""  # that is told together
        if helps and len(self._advice) < _SHOWN:
            self._advice.setdefault(helps, outcome.reason)

    def end(self, *, is_stopped: bool) -> int:
        """Tell of all; return the exit status."""
        assert self.summary is not None  # noqa: S101 - the batch was entered
        status = self._status(self.summary)
        if is_live():  # else each has been told as it came
            self._recall(self.summary)
        if self._saved and self._results.is_terminal and not self._settings.json:
            say(f"{self._saved} files are in {self._order.folder}{os.sep}")
        self._advise(self.summary)
        if self._owed and not self._settings.simulate:
            say(f"{self._owed} rows are paid and not done; the same command takes them up: {self._settings.again}")
        if self.fault is not None:
            say(f"error: {_fault(self.fault, self._settings)}")
        elif not self.summary.items and not is_stopped:
            say(f"{self._order.file} holds no requests")
        elif not self.summary.is_whole:
            say("Not all rows had their turn.")
        if self._settings.json:
            self._results.tell(_summary_record(self.summary, is_stopped=is_stopped, fault=self.fault))
        return status

    def _recall(self, summary: Summary) -> None:
        """Tell once more what failed: a progress bar keeps the latest alone."""
        for line in self._failed:
            say(line)
        if (others := sum(summary.failed.values()) - len(self._failed)) > 0:
            say(f"... and {others} more")

    def _advise(self, summary: Summary) -> None:
        """Tell what helps, once for all rows that it may help; and how to settle what may be paid."""
        for said, reason in self._advice.items():
            say(printable(f"{reason}: {said}"))
        if self._unknown:
            cost = _worst(summary)
            settle(self._unknown, self._settings, self._order.journal, can_look=self._can_look, cost=cost)

    def _status(self, summary: Summary) -> int:
        if summary.unknown:
            return UNKNOWN
        if self.fault is not None:
            return status_of(self.fault)
        return 0 if summary.is_success else FAILED


def _line(outcome: Outcome) -> str:
    """Return a failure in a line, with its place and, if it has one of its own, its key."""
    assert outcome.error is not None  # noqa: S101 - asked for failures alone
    place = printable(outcome.place)
    names = dict.fromkeys(filter(None, (place, named(outcome.key or "", "", place))))  # the same, without an own key
    return f"failed: {' '.join(names)}: {printable(outcome.error.said).removeprefix(f'{place}: ')}"


def _worst(summary: Summary) -> str:
    return "an unknown number of credits" if summary.worst_case is None else f"up to {summary.worst_case} credits"


def _fault(fault: Exception, settings: Settings) -> str:
    return told(fault, settings) if isinstance(fault, ViduError) else fault_of_file(fault)


def _record(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for programs."""
    task, error = outcome.task, outcome.error
    return {
        "type": "outcome",
        "key": outcome.key,
        "place": outcome.place,
        "success": outcome.is_success,
        "task_id": task.id if task else None,
        "state": task.state.value if task else None,
        "credits": outcome.credits,
        "recalled": outcome.is_recalled,
        "paths": [str(path) for path in outcome.paths],
        "reason": outcome.reason or None,
        "paid": error.paid if error else None,
        "message": error_record(error)["message"] if error else None,
    }


def _summary_record(summary: Summary, *, is_stopped: bool, fault: Exception | None) -> dict[str, Any]:
    known = asdict(summary)
    known["whole"] = known.pop("is_whole")
    said = {"items": summary.items, "success": summary.is_success, "stopped": is_stopped}
    return {"type": "summary", **known, **said, "fault": error_record(fault)["message"] if fault else None}


async def _forecast(settings: Settings, order: _Order, _interrupts: Interrupts) -> int:
    """Check every row, and tell what it would cost. Nothing is made, no folder and no journal."""
    async with AsyncExitStack() as stack:
        journal = order.journal if order.journal.exists() else None
        client = await connect(stack, settings, journal=journal, strict=order.strict, is_only_looking=True)
        found = await order.batch(client).dry_run()
    results = Results(settings.json)
    for refused in found.errors:
        say(_line(refused))
        if settings.json:
            results.tell(_record(refused))
    results.tell(_forecast_record(found), str(found) or f"{order.file} holds no requests")
    too_much = order.budget is not None and found.spent + found.cost > order.budget
    if too_much:
        say(f"That is more than the budget of {order.budget} credits")
    return FAILED if found.errors or too_much else 0


def _forecast_record(found: Forecast) -> dict[str, Any]:
    known = asdict(found, filter=lambda attribute, _: attribute.name != "errors", recurse=False)
    return {"type": "forecast", **known, "refused": len(found.errors)}
