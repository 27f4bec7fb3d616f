"""The list of commands, and the way in and out: each command is loaded when it is asked for, each error told here."""

from __future__ import annotations

import logging
import shlex
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidu_async.cli.interrupts import INTERRUPTED
from vidu_async.cli.output import Results, error_record, open_missing, say
from vidu_async.cli.settings import COMPLETE, PROGRAM, Settings, connected, examples, journaled
from vidu_async.cli.troubles import USAGE, complain, fault_of_file, status_of
from vidu_async.phrases import printable
from vidu_async.protocol.errors import ViduError, ViduWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "run": ("run", "Make one request, wait for it and save its result."),
    "batch": ("batch", "Make all requests of a file, each paid once, and save their results."),
    "wait": ("tasks", "Wait until tasks have ended."),
    "status": ("tasks", "Look at tasks once."),
    "list": ("tasks", "List the account's tasks."),
    "cancel": ("tasks", "Cancel tasks that still wait to be run."),
    "download": ("tasks", "Save the results of tasks."),
    "credits": ("tasks", "Say what the account has left."),
    "upload": ("upload", "Put pictures into Vidu's storage and print their URIs."),
    "journal": ("journal", "Read and settle what a journal remembers."),
    "verify-callback": ("callback", "Check the signature of a callback."),
    "simulate": ("tools", "Serve a simulated Vidu to try programs on."),
    "completion": ("tools", "Print the completion of a shell."),
}
"""The file and the summary of each: listing them loads none."""


_STATUSES = """

\b
Exit status:
  0    all succeeded
  1    something failed
  2    it cannot work as it was given
  3    something may be paid, and it is told what
  130  interrupted: batch, and run with --key and --journal, go on when they
       are given again; for any other run it is told how its task is had
"""


class _Group(click.Group):
    """Commands that are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _COMMANDS:
            return None
        home = import_module(f"vidu_async.cli.{_COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(home, name, None) or getattr(home, f"{name}_")  # `list` is taken
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 - click's own
        if args and args[0] not in _COMMANDS:
            from difflib import get_close_matches  # noqa: PLC0415 - for a slip alone

            near = get_close_matches(args[0], _COMMANDS, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else "."))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'vidu-async run text2video model=viduq3-turbo prompt="the fox runs"',
        "vidu-async batch jobs.jsonl --simulate",
        "vidu-async batch jobs.jsonl --out films --budget 2000",
        "vidu-async wait 911045603801182208",
    )
    + _STATUSES,
)
@click.version_option(package_name="vidu_async", message="vidu-async %(version)s")
@connected
@journaled
def group() -> None:
    """Make videos and pictures with Vidu: submit, follow, download; pay once.

    The key is that of VIDU_API_KEY, the site that of VIDU_BASE_URL.
    """


def main(arguments: Sequence[str] | None = None, settings: Settings | None = None) -> int:
    """Run a command line, by default the process's own; return the exit status."""
    open_missing()
    settings = Settings() if settings is None else settings
    settings.arguments = tuple(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and Path(sys.argv[0]).name == "__main__.py":
        settings.program = f"{shlex.quote(sys.orig_argv[0])} -m vidu_async"
    log, handler = logging.getLogger("vidu_async"), _Spoken()
    level = log.level
    log.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", ViduWarning)
            warnings.showwarning = _Doubts()
            return _run(settings)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)  # -v is for this command line alone


def _run(settings: Settings) -> int:
    """Run a command line, and tell of what keeps it from working."""
    try:
        status = group.main(list(settings.arguments), PROGRAM, COMPLETE, standalone_mode=False, obj=settings)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last to hear of it
        return _failed(error, settings)
    return status if isinstance(status, int) else 0


def _misused(error: click.ClickException) -> int:
    """Tell of a command that was not given as it must be, and where to read how."""
    say(f"error: {printable(error.format_message())}")
    context = getattr(error, "ctx", None)
    if context is not None:
        say(f"Read {context.command_path} --help")
    return USAGE


def _failed(error: Exception, settings: Settings) -> int:
    """Tell of an error in a line or two, with its traceback if the log is asked for; return the exit status."""
    if settings.verbose:
        traceback.print_exception(error)
    if isinstance(error, ViduError):
        complain(error, settings)
    elif isinstance(error, OSError):
        say(f"error: {fault_of_file(error)}")
    else:
        say(f"error: {printable(repr(error))}. That is a fault of vidu_async; with -v its traceback is shown.")
    if settings.json:
        Results(is_json=True).tell(error_record(error))
    return status_of(error)


class _Spoken(logging.Handler):
    """Writes the log where stderr is now: a progress bar takes sys.stderr over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        say(f"{record.levelname.lower()}: {printable(record.getMessage())}")
        if record.exc_info and record.exc_info[1] and logging.getLogger("vidu_async").isEnabledFor(logging.INFO):
            traceback.print_exception(record.exc_info[1])


class _Doubts:
    """Tells of each doubt once, although every row of a file may have it."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, message: Warning | str, *_: object, **__: object) -> None:
        """Tell of a warning, as `warnings.showwarning`. What stands before its colon is the row's key."""
        said = str(message).partition(": ")[2]
        if said not in self._told:
            self._told.add(said)
            say(f"warning: {printable(str(message))}")
