"""What a benchmark found, as values, and how it is shown: a Markdown table, and a picture drawn by hand. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

_BOUND = re.compile(r"(<=|>=|at most|at least)\s*(\d[\d,]*\.?\d*)(?:\s*/\s*(\d+))?")
_NUMBER = re.compile(r"\d[\d,]*\.?\d*")
_SENTENCE = re.compile(r"[^;]+")


@frozen
class Row:
    """One figure beside its goal. `met` is None where there is no goal, or nothing was measured."""

    what: str
    reached: str
    goal: str = ""
    met: bool | None = None
    note: str = ""

    @classmethod
    def of(cls, what: str, reached: str, goal: str = "", note: str = "") -> Row:
        """Make a row, and judge whether the goal was met."""
        return cls(what, reached, goal, judged(reached, goal), note)


@frozen
class Table:
    """Figures beside each other: a heading, the names of the columns, and lines of as many cells."""

    heading: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    note: str = ""


@frozen
class Bar:
    """One bar of a chart; without a value it says why."""

    name: str
    value: float | None
    text: str
    is_ours: bool = False


@frozen
class Chart:
    """Bars of one unit, the shorter the better."""

    heading: str
    bars: tuple[Bar, ...]


@frozen
class Part:
    """What one scenario found."""

    rows: tuple[Row, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()


def judged(reached: str, goal: str) -> bool | None:
    """Hold "0.98; 0.02" against ">= 0.99; <= 0.03": the first number of each part against the bound of each.

    None if there is no bound, or not one number for each.
    """
    bounds = _BOUND.findall(goal)
    figures = [number for part in _SENTENCE.findall(reached) if (number := _NUMBER.search(part))]
    if not bounds or len(bounds) != len(figures):
        return None
    return all(
        _holds(_float(figure[0]), sign, _float(top) / _float(bottom or "1"))
        for figure, (sign, top, bottom) in zip(figures, bounds, strict=True)
    )


def _float(text: str) -> float:
    return float(text.replace(",", ""))


def _holds(figure: float, sign: str, bound: float) -> bool:
    return figure <= bound if sign in {"<=", "at most"} else figure >= bound


def markdown(parts: Sequence[Part], title: str, about: Iterable[str]) -> str:
    """Return the whole report: the rows of all parts in one table, then each part's own tables."""
    rows = [row for part in parts for row in part.rows]
    lines = [f"# {title}", "", *about, "", *_grid(_ROW_COLUMNS, [_cells(row) for row in rows])]
    for table in (table for part in parts for table in part.tables):
        lines += ["", f"## {table.heading}", "", *_grid(table.columns, table.lines)]
        lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


_ROW_COLUMNS = ("what", "reached", "goal", "met", "note")
_MET = {True: "yes", False: "**no**", None: ""}


def _cells(row: Row) -> tuple[str, ...]:
    return (row.what, row.reached, row.goal, _MET[row.met], row.note)


def _grid(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    whole = [columns, ["---"] * len(columns), *lines]
    return [f"| {' | '.join(_cell(cell) for cell in line)} |" for line in whole]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


_WIDTH, _NAMES, _BARS, _LINE, _HEAD = 760, 240, 300, 24, 44
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f } .head { font-weight: 600 } .none { fill: #8c959f }
.bar { fill: #afb8c1 } .ours { fill: #1a7f37 } .paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .none { fill: #8c959f } .bar { fill: #57606a } .ours { fill: #3fb950 } .paper { fill: #0d1117 }
}"""


def svg(charts: Sequence[Chart]) -> str:
    """Return the charts below each other as one picture."""
    drawn: list[str] = []
    top = 12
    for chart in charts:
        drawn += _drawn(chart, top)
        top += _HEAD + _LINE * len(chart.bars)
    said = escape("; ".join(chart.heading for chart in charts))
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}"'
    paper = f'<rect class="paper" width="{_WIDTH}" height="{top}" rx="6"/>'
    return "\n".join(
        [f'{frame} role="img">', f"<title>{said}</title>", f"<style>{_STYLE}</style>", paper, *drawn, "</svg>\n"]
    )


def _drawn(chart: Chart, top: int) -> list[str]:
    longest = max((bar.value for bar in chart.bars if bar.value), default=1.0)
    lines = [f'<text class="head" x="12" y="{top + 14}">{escape(chart.heading)}</text>']
    for place, bar in enumerate(chart.bars):
        lines += _drawn_bar(bar, top + 26 + _LINE * place, longest)
    return lines


def _drawn_bar(bar: Bar, top: int, longest: float) -> list[str]:
    width = 0.0 if bar.value is None else _BARS * bar.value / longest
    name = f'<text x="{_NAMES}" y="{top + 13}" text-anchor="end">{escape(bar.name)}</text>'
    kind = "ours" if bar.is_ours else "bar"
    shape = f'<rect class="{kind}" x="{_NAMES + 10}" y="{top}" width="{width:.1f}" height="17" rx="2"/>'
    word = f'class="{"none" if bar.value is None else "value"}" x="{_NAMES + 18 + width:.1f}" y="{top + 13}"'
    return [name, shape, f"<text {word}>{escape(bar.text)}</text>"]
