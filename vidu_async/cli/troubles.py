"""What went wrong, in one or two lines: what happened, and the command that helps; and the exit status it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidu_async.cli.output import say
from vidu_async.phrases import printable
from vidu_async.protocol.errors import (
    BudgetExceededError,
    ConfigError,
    DownloadError,
    JournalError,
    ResultMissingError,
    SubmissionUnknownError,
    TaskTimeoutError,
    ValidationError,
    ViduError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from vidu_async.cli.settings import Settings

FAILED, USAGE, UNKNOWN = 1, 2, 3
"""Exit statuses: something failed; the command cannot work as it was given; something may be paid."""
_BLIND = "This gateway lists no tasks: look for them where it shows them."


def status_of(error: Exception) -> int:
    """Return the exit status of a command that ended with an error."""
    if getattr(error, "paid", None) == "maybe":
        return UNKNOWN
    if isinstance(error, ViduError):  # first: a timeout is an OSError, too
        return USAGE if isinstance(error, (ConfigError, ValidationError, JournalError)) else FAILED
    return USAGE if isinstance(error, OSError) else FAILED


def fault_of_file(error: Exception) -> str:
    """Return what the system says of a file."""
    name, reason = getattr(error, "filename", None), getattr(error, "strerror", None)
    return printable(f"{name}: {reason}" if name and reason else str(error))


def told(error: ViduError, settings: Settings) -> str:
    """Return an error with advice that fits a shell: its own speaks of Python."""
    helps = advice(error, settings)
    said = error.said.rstrip(". ")
    return printable(f"{said}. {helps}" if helps else said)


def advice(error: ViduError, settings: Settings) -> str:
    """Return what to do about an error in a shell, "" if nothing but reading it."""
    if isinstance(error, TaskTimeoutError):
        return "" if settings.simulate else f"The task goes on, and is paid: {settings.taking_up(error.token)}"
    if (
        isinstance(error, (DownloadError, ResultMissingError))
        and error.task_id
        and settings.out
        and not settings.simulate
    ):
        return f"The task is paid; to save its result: {settings.taking_up(error.task_id)}"
    if isinstance(error, SubmissionUnknownError):
        return "Do not send it anew: it may be paid."
    if isinstance(error, BudgetExceededError):
        return "Run it again with a higher --budget to go on: what is done already is not paid again."
    if isinstance(error, ConfigError):
        return ""
    known = type(error).advice
    return known if known and error.advice.startswith(known) else error.advice  # what is added calls a client


def complain(error: ViduError, settings: Settings, journal: str | os.PathLike[str] | None = None) -> None:
    """Tell an error on stderr, and what settles it if something may be paid."""
    say(f"error: {told(error, settings)}")
    if error.paid == "maybe" and error.key:
        settle([error.key], settings, journal or settings.journal, can_look=can_look_for(error))


def can_look_for(error: ViduError) -> bool:
    """Whether its task may be in a list: where a gateway has none, the error's own advice is another."""
    return error.advice == type(error).advice


def settle(
    keys: Sequence[str],
    settings: Settings,
    journal: str | os.PathLike[str] | None,
    *,
    can_look: bool = True,
    cost: str = "",
) -> None:
    """Tell how to settle what may be paid, and at most what it may cost."""
    if settings.simulate:
        return
    if journal is None:
        looked = settings.command("list", "--since", "1h")
        known = f"Look for its task: {looked}. With --journal the next run would look for it."
        say(known if can_look else _BLIND)
        return
    say(f"{len(keys)} may be paid{f', {cost}' if cost else ''}.")
    if can_look:
        say("To look for their tasks once more:")
        say(f"  {settings.command('journal', 'reconcile', str(journal))}")
    else:
        say(_BLIND)
    say("To settle them by hand, with --task-id ID, --resend or --give-up:")
    for key in keys:
        say(f"  {settings.command('journal', 'resolve', key, '--journal', str(journal))} --task-id ID")
