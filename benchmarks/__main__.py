"""Measure it all side by side, in about eight minutes: README.md says what each row means."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from attrs import evolve

from benchmarks import batch, imports, lifecycle, lost, waiting
from benchmarks.peers import PEERS, is_installed, labelled
from benchmarks.report import Part, Row, markdown, svg
from benchmarks.server import Server
from benchmarks.setting import QUICK, Setting

_HERE = Path(__file__).parent
Scenario = Callable[[Server, Setting], Part]


def _told(module: str, _: Server, setting: Setting) -> Part:
    """Run a benchmark that is also a script of its own, and returns its rows as tuples."""
    setting.say(module)
    try:
        found = import_module(f"benchmarks.{module}")
    except ModuleNotFoundError as error:
        return Part((Row(module, "NOT HERE", note=str(error)),))
    sizes = {
        "bodies": (-(-setting.rounds // 2),),
        "creates": (setting.rounds, setting.creations),
        "kills": (setting.kills,),
        "downloads": (-(-setting.rounds // 2), setting.films, setting.film),
    }
    return Part(tuple(Row.of(*row) for row in found.rows(*sizes.get(module, ()))))


SCENARIOS: dict[str, Scenario] = {
    "lifecycle": lifecycle.measure,
    "lost": lost.measure,
    "waiting": waiting.measure,
    "batch": batch.measure,
    "imports": imports.measure,
    **{name: partial(_told, name) for name in ("bodies", "creates", "kills", "downloads", "detection", "goodput")},
}


def run(names: list[str], setting: Setting) -> Iterator[Part]:
    """Run the scenarios one after the other, against one server."""
    with Server.start() as server:
        for name in names:
            yield SCENARIOS[name](server, setting)


def about(setting: Setting, seconds: float) -> list[str]:
    """Say where and with what it was measured."""
    peers = ", ".join(labelled(name) if is_installed(name) else f"{name} NOT INSTALLED" for name in PEERS)
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}, aiohttp {version('aiohttp')}"
    return [
        f"Made by `python -m benchmarks` in {seconds:.0f} s: {where}, {setting.rounds} round(s).",
        f"Peers: {peers}.",
        "[README.md](README.md) says what each row means. Ratios are medians of the rounds' ratios.",
    ]


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="this scenario; may be given several times")
    parser.add_argument("--quick", action="store_true", help="in a minute or so, and rough")
    parser.add_argument("--rounds", type=int, help="in each of which all take turns (4)")
    parser.add_argument("--out", type=Path, help="where RESULTS.md and results.svg go (a whole run: benchmarks/)")
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, print the table, and write it and the picture."""
    chosen, began = options(), time.monotonic()
    setting = QUICK if chosen.quick else Setting()
    if chosen.rounds:
        setting = evolve(setting, rounds=chosen.rounds)
    parts = list(run(chosen.only or list(SCENARIOS), setting))
    text = markdown(parts, "Results", about(setting, time.monotonic() - began))
    sys.stdout.write(text)
    is_whole = not (chosen.only or chosen.quick)
    folder = chosen.out or (_HERE if is_whole else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "RESULTS.md").write_text(text, "utf-8")
        (folder / "results.svg").write_text(svg([chart for part in parts for chart in part.charts]), "utf-8")


if __name__ == "__main__":
    main()
