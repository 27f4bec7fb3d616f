"""What `RichProgress` draws: a tally as a few lines of a terminal, at any width. Imports rich.

A frame is made at one moment and holds nothing that changes: it is drawn by another thread than the one that counts.
"""

from __future__ import annotations

import io
import re
from itertools import islice
from typing import TYPE_CHECKING

from attrs import frozen
from rich.console import Console, Group
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from vidu_async import phrases
from vidu_async.tally import Stage
from vidu_async.units import span, volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import ConsoleOptions, RenderResult

    from vidu_async.tally import Tally

_SUCCESS, _FAILURE, _UNKNOWN = "green", "red", "yellow"
_STYLES = {
    Stage.DOWNLOADING: "magenta",
    Stage.PROCESSING: "cyan",
    Stage.QUEUEING: "blue",
    Stage.WAITING: "bright_black",
}
_GAP = "  "
_FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_NARROWEST = 10
"""Cells of a bar below which there is none."""
_TRANSFERS = 4
"""Downloads that are shown."""
_ENDED, _UNDER_WAY, _LEFT = ("━", "="), ("─", "-"), ("·", ".")
"""What a bar is made of, and the same in ASCII. Without colours they tell enough apart."""


@frozen
class Bar:
    """One bar of what ended and what is under way, each in its colour, and a label beside it."""

    parts: Sequence[tuple[int, str, tuple[str, str]]]
    """Counts, with their styles and letters."""
    total: int
    label: str
    longest: int = 100

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        width = min(self.longest, options.max_width - len(self.label) - len(_GAP))
        if width >= _NARROWEST:
            yield from self._cells(width, is_ascii=options.ascii_only)
            yield Segment(_GAP)
        yield Segment(self.label[: options.max_width], Style(bold=True))
        yield Segment.line()

    def _cells(self, width: int, *, is_ascii: bool) -> Iterable[Segment]:
        drawn = counted = 0
        for count, style, letters in (*self.parts, (self.total or 1, _STYLES[Stage.WAITING], _LEFT)):
            counted = min(self.total or 1, counted + count)
            until = width * counted // (self.total or 1)
            if until > drawn:
                yield Segment(letters[is_ascii] * (until - drawn), Style.parse(style))
            drawn = until


@frozen
class Flow:
    """Pieces of text beside each other, as many on a line as there is room for; none is broken."""

    pieces: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them."""
        line = Text(no_wrap=True, overflow="ellipsis")
        for piece in self.pieces:
            if line and line.cell_len + len(_GAP) + piece.cell_len > options.max_width:
                yield line
                line = Text(no_wrap=True, overflow="ellipsis")
            line.append(_GAP if line else "").append_text(piece)
        if line:
            yield line


def frame(tally: Tally, now: float) -> Group:
    """Return what is shown while it goes on."""
    going = [_count(tally.under_way[stage], stage.value, _STYLES[stage]) for stage in reversed(Stage)]
    pace = [Text(part) for part in phrases.pace(tally, now).split(", ") if part]
    about = [*pace, *_about(tally, now)]
    return Group(_bar(tally), Flow(_ends(tally)), Flow(going), Flow(about), *_transfers(tally), *_failures(tally))


def last_frame(tally: Tally, now: float) -> Group:
    """Return what stays when it is over."""
    going = [_count(count, stage.value, _STYLES[stage]) for stage, count in tally.under_way.items() if count]
    why = [Text(f"failed: {phrases.reasons(tally, 5)}", _FAILURE)] if tally.failed else []
    return Group(_bar(tally), Flow([*_ends(tally), *going, *_about(tally, now)]), *why)


def picture(drawn: Group, *, width: int, title: str) -> str:
    """Return a frame as an SVG image that loads nothing."""
    console = Console(file=io.StringIO(), width=width, record=True, force_terminal=True, color_system="truecolor")
    console.print(drawn)
    exported = console.export_svg(title=title, theme=SVG_EXPORT_THEME)
    return re.sub(r"@font-face {.*?}\s+", "", exported, flags=re.DOTALL).replace("Fira Code, monospace", _FONTS)


def _bar(tally: Tally) -> Bar:
    ends = (
        (tally.succeeded, _SUCCESS, _ENDED),
        (sum(tally.failed.values()), _FAILURE, _ENDED),
        (tally.unknown, _UNKNOWN, _ENDED),
    )
    going = [(tally.under_way[stage], _STYLES[stage], _UNDER_WAY) for stage in reversed(Stage)]
    total = tally.taken if tally.items is None else tally.items
    return Bar((*ends, *going), total, phrases.share(tally))


def _about(tally: Tally, now: float) -> list[Text]:
    return [Text(f"{span(tally.elapsed(now))} elapsed"), Text(phrases.cost(tally))]


def _ends(tally: Tally) -> list[Text]:
    pieces = [
        _count(tally.succeeded, "succeeded", _SUCCESS),
        _count(sum(tally.failed.values()), "failed", _FAILURE),
    ]
    if tally.unknown:
        pieces.append(_count(tally.unknown, "may be paid", f"bold {_UNKNOWN}"))
    if tally.recalled:
        pieces.append(_count(tally.recalled, "submitted before", ""))
    return pieces


def _count(count: int, word: str, style: str) -> Text:
    return Text(f"{count} {word}", style if count else _STYLES[Stage.WAITING])


def _transfers(tally: Tally) -> list[Text]:
    """Show the downloads that are on their way."""
    shown = []
    for task_id, transfer in islice(tally.transfers.items(), _TRANSFERS):
        size = f" of {volume(transfer.size)}" if transfer.size else ""
        said = f"saving {phrases.named(transfer.key, task_id)}{_GAP}{volume(transfer.received)}{size}"
        shown.append(_line(said, _STYLES[Stage.DOWNLOADING]))
    more = len(tally.transfers) - len(shown)
    return [*shown, _line(f"and {more} more", _STYLES[Stage.DOWNLOADING])] if more > 0 else shown


def _failures(tally: Tally) -> list[Text]:
    return [
        _line(
            f"{phrases.named(event.key, event.task_id, event.place)}{_GAP}{phrases.ending(event)}",
            _UNKNOWN if event.paid == "maybe" else _FAILURE,
        )
        for event in tally.failures
    ]


def _line(said: str, style: str) -> Text:
    return Text(said, style, no_wrap=True, overflow="ellipsis")
