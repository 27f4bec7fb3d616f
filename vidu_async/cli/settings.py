"""What every command is told: the options that all share, kept in one object, before or after the command's name."""

from __future__ import annotations

import logging
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = "vidu-async"
COMPLETE = "_VIDU_ASYNC_COMPLETE"
"""The variable by which a shell asks for completions."""

F = TypeVar("F", bound="Callable[..., Any]")

_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)\s*([smhd]?))")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def examples(*lines: str) -> str:
    """Return the end of a help text. The control character keeps click from filling the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@define(eq=False)
class Settings:
    """The shared options as they were given, and how the program was called."""

    base_url: str | None = None
    journal: str | None = None
    timeout: float | None = None
    simulate: bool = False
    json: bool = False
    verbose: int = 0
    program: str = PROGRAM
    arguments: tuple[str, ...] = ()
    out: Path | None = None
    """The folder that this command saves one task's result in, if it does."""
    saved_as: tuple[str, ...] = ()
    """The options that say which of its files, and under which name."""
    client: dict[str, Any] = field(factory=dict)
    """Arguments for each `ViduClient`, over those of the options."""

    def command(self, *words: str) -> str:
        """Return a command line that the user may copy, for the same site."""
        site = ("--base-url", self.base_url) if self.base_url else ()
        return " ".join((self.program, *map(shlex.quote, (*words, *site))))

    def taking_up(self, task: str) -> str:
        """Return the command that goes on with a task, an id or a handle's token, where this one has left it."""
        if self.out is None:
            return self.command("wait", task)
        return self.command("download", task, "--out", str(self.out), *self.saved_as)

    @property
    def again(self) -> str:
        """The command line that was given."""
        return f"{self.program} {shlex.join(self.arguments)}"


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.5
    """Seconds, written as 90, 45s, 10m, 8h, 2d or 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's own
        """Return the seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        text = value.strip().lower()
        parts = _PARTS.findall(text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        if "".join(f"{number}{unit}" for number, unit in parts) != text.replace(" ", "") or not seconds:
            self.fail(f"{value!r} is no time: write 90, 45s, 10m, 8h, 2d or 1h30m.", param, ctx)
        return seconds


DURATION = Duration()


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time: how long ago, or a date."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone()
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=DURATION.convert(value, param, ctx))


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ANN401 - any option's
    """Keep a shared option where all commands find it; what was not given leaves an earlier one alone."""
    if value and param.name:
        settings = ctx.ensure_object(Settings)
        setattr(settings, param.name, value)
        if param.name == "verbose":
            logging.getLogger("vidu_async").setLevel(logging.INFO if value == 1 else logging.DEBUG)


def _shared(*names: str, **attributes: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own
    return click.option(*names, expose_value=False, callback=_keep, **attributes)


def spoken(command: F) -> F:
    """Give a command the options of how it tells what it found."""
    command = _shared("-v", "--verbose", count=True, help="Show the log on stderr; twice for every step.")(command)
    return _shared("--json", is_flag=True, help="One JSON object per line on stdout, for programs.")(command)


def connected(command: F) -> F:
    """Give a command the options of how to reach Vidu."""
    add = (
        _shared("--base-url", metavar="URL", help="The site or gateway of your key; else VIDU_BASE_URL."),
        _shared("--timeout", type=DURATION, help="How long one answer may take.  [default: 2m]"),
        _shared("--simulate", is_flag=True, help="Use the built-in simulator: no key, nothing is sent or paid."),
        spoken,
    )
    for option in reversed(add):
        command = option(command)
    return command


def journaled(command: F) -> F:
    """Give a command the option of a journal."""
    return _shared("--journal", metavar="PATH", help="The file that remembers what was sent, so that it is paid once.")(
        command
    )
