"""What a job costs the client's process in CPU: one creation and five looks, so many at a time."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections import defaultdict
from contextlib import ExitStack

from attrs import field, frozen

from benchmarks.contenders import FRESH, LISTED, LOOKS, NULL, OURS, TUNED, Contender
from benchmarks.peers import CONTENDERS, MISSING, PEERS, is_installed, labelled
from benchmarks.report import Bar, Chart, Part, Row, Table
from benchmarks.server import Server
from benchmarks.setting import Setting
from benchmarks.worker import Worker

_OWN = (TUNED, FRESH, NULL, OURS, LISTED)
_COUNTS = {1: 100, 10: 200, 100: 400, 1000: 1000}
"""Lifecycles measured, by how many at a time."""
_PEER_COUNTS = {1: 15, 10: 30, 100: 100}
"""Peers are dearer: fewer, not a thousand at a time, and in every other round only."""
_FEW = {NULL: {100: 400}, LISTED: {100: 400, 1000: 1000}}
"""Looks of one task cannot be shared."""
_WARM = 1.0
"""CPU seconds that a process has lived, its imports included, before anything of it is measured."""
_MANY = 1000
"""At a time, from where on it is measured in every other round only."""
_SHOWN = 100
"""At a time, in the rows and the chart."""


def work(name: str, port: int, count: int, at_once: int) -> float:
    """Return a contender's CPU seconds for one lifecycle."""
    kind = CONTENDERS[name]
    return asyncio.run(_cpu(name, kind.url(port, "lifecycle"), count, at_once))


async def _cpu(name: str, url: str, count: int, at_once: int) -> float:
    async with CONTENDERS[name].make(url) as contender:
        await _live(contender, at_once, at_once)  # connections are open from here on
        while time.process_time() < _WARM:  # and what a young process does once has been done
            await _live(contender, at_once, at_once)
        gc.collect()
        began = time.process_time()
        await _live(contender, count, at_once)
        return (time.process_time() - began) / count


async def _live(contender: Contender, count: int, at_once: int) -> None:
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await contender.finish(await contender.create())

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))


@frozen
class Figures:
    """CPU seconds by contender and level, and then by round."""

    levels: tuple[int, ...]
    found: dict[tuple[str, int], dict[int, float]] = field(factory=lambda: defaultdict(dict))

    def usual(self, name: str, level: int) -> float | None:
        """Return the median, None where nothing was measured."""
        seconds = self.found[name, level].values()
        return statistics.median(seconds) if seconds else None

    def ratio(self, name: str, against: str, level: int) -> float | None:
        """Return the median of the rounds' ratios: what drifts with the machine drifts for both."""
        mine, theirs = self.found[name, level], self.found[against, level]
        ratios = [seconds / theirs[number] for number, seconds in mine.items() if number in theirs]
        return statistics.median(ratios) if ratios else None


def measure(server: Server, setting: Setting) -> Part:
    """Let the contenders take turns, and compare them."""
    names = [name for name in (*_OWN, *PEERS) if setting.contenders is None or name in setting.contenders]
    figures = Figures(setting.levels)
    here = [name for name in names if is_installed(name)]
    for number in range(setting.rounds):
        # There and back: who is always the next after somebody hungry would pay for it.
        _play(here[:: -1 if number % 2 else 1], number, figures, server, setting)
    return Part(tuple(_rows(figures)), (_table(figures, names),), (_chart(figures, names),))


def _play(names: list[str], number: int, figures: Figures, server: Server, setting: Setting) -> None:
    """Measure everybody once, in new processes: some are faster than others all their life, by luck."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker("lifecycle")) for name in names if _plays(name, number)}
        for level in setting.levels:
            setting.say(f"lifecycles: round {number + 1} of {setting.rounds}, {level:,} at a time")
            for name, worker in workers.items():
                if count := _count(name, level, number, setting.share):
                    job = {"name": name, "port": server.port, "count": count, "at_once": level}
                    figures.found[name, level][number] = worker.ask(**job)


def _plays(name: str, number: int) -> bool:
    return name not in PEERS or number % 2 == 0


def _count(name: str, level: int, number: int, share: float) -> int:
    counts = _PEER_COUNTS if name in PEERS else _FEW.get(name, _COUNTS)
    is_turn = level < _MANY or number % 2 == 0
    return max(level, round(counts[level] * share)) if level in counts and is_turn else 0


def _rows(figures: Figures) -> list[Row]:
    at = f"CPU of a lifecycle, {_SHOWN} at a time: "
    others = [level for level in figures.levels if level < _SHOWN]
    peers = [ratio for name in PEERS if (ratio := figures.ratio(name, OURS, _SHOWN))]
    least = statistics.median(peers) if peers else None
    return [
        _row(figures, f"{at}a GET for each look, against {FRESH}", (OURS, FRESH), "<= 1.25", others),
        _row(figures, f"{at}a GET for each look, against {TUNED}", (OURS, TUNED), "<= 1.6", others),
        _row(figures, f"{at}shared looks, against {FRESH}", (LISTED, FRESH), "<= 0.70", []),
        Row.of(f"{at}the median peer against ours", _times(least), ">= 6", _missing()),
        _row(
            figures, f"CPU of a lifecycle, 1,000 at a time: against {TUNED}", (OURS, TUNED), "<= 1.0", [], level=_MANY
        ),
        _row(figures, f"{at}the same code twice (null test)", (NULL, TUNED), "", []),
    ]


def _row(figures: Figures, what: str, pair: tuple[str, str], goal: str, others: list[int], level: int = _SHOWN) -> Row:
    note = ", ".join(f"{_times(figures.ratio(*pair, other))} at {other}" for other in others)
    return Row.of(what, _times(figures.ratio(*pair, level)), goal, note)


def _times(ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{ratio:.2f}x"


def _missing() -> str:
    names = [name for name in PEERS if not is_installed(name)]
    return f"WITHOUT {', '.join(names)}: {MISSING}" if names else f"of {len(PEERS)}: {', '.join(PEERS)}"


def _table(figures: Figures, names: list[str]) -> Table:
    lines = tuple((labelled(name), *(_cell(figures, name, level) for level in figures.levels)) for name in names)
    return Table(
        f"CPU of a lifecycle (1 creation, {LOOKS} looks), x {TUNED}",
        ("client", *(f"{level:,} at a time" for level in figures.levels)),
        lines,
        "In brackets microseconds of the client's process. What is empty is not measured.",
    )


def _cell(figures: Figures, name: str, level: int) -> str:
    cost, ratio = figures.usual(name, level), figures.ratio(name, TUNED, level)
    if cost is None:
        return "" if is_installed(name) else f"**NOT INSTALLED** ({MISSING})"
    return f"{cost * 1e6:,.0f} us" if ratio is None else f"{ratio:.2f} ({cost * 1e6:,.0f})"


def _chart(figures: Figures, names: list[str]) -> Chart:
    bars = (_bar(figures, name) for name in names if name != NULL)
    return Chart(f"CPU of a job (1 creation, {LOOKS} looks), {_SHOWN} at a time, x {TUNED}", tuple(bars))


def _bar(figures: Figures, name: str) -> Bar:
    ratio = figures.ratio(name, TUNED, _SHOWN)
    text = "not installed" if not is_installed(name) else "not measured" if ratio is None else f"{ratio:.1f}"
    return Bar(labelled(name), ratio, text, is_ours=name in {OURS, LISTED})
