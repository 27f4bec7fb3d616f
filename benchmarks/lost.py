"""What one creation leaves behind whose answer is lost: the server takes it and closes the connection.

Each client is called once, with its defaults; the server counts the paid jobs until the client returns or raises.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import Any

from benchmarks.contenders import DEFAULT, OURS, TUNED
from benchmarks.peers import CONTENDERS, MISSING, PEERS, is_installed, labelled
from benchmarks.report import Bar, Chart, Part, Row, Table
from benchmarks.server import Server
from benchmarks.setting import Setting
from benchmarks.worker import Worker

_NAMES = (DEFAULT, TUNED, *PEERS)
_SHOWN_AS = {DEFAULT: OURS}
Ends = dict[str, dict[str, Any]]
"""By contender: `jobs` left behind, `told` (what the caller learned) and `seconds`; nothing of those not installed."""


def work(name: str, port: int, who: str, deadline: float) -> dict[str, Any]:
    """Have a contender create once; return what its caller is told, and after how many seconds."""
    return asyncio.run(_end(name, CONTENDERS[name].url(port, who, "lost"), deadline))


async def _end(name: str, url: str, deadline: float) -> dict[str, Any]:
    async with CONTENDERS[name].make(url) as contender:
        began, told, limit = time.monotonic(), "its job, found again", asyncio.timeout(deadline)
        try:
            async with limit:
                await contender.create()
        except Exception as error:  # noqa: BLE001 - whatever a client raises is what is asked for
            told = "nothing so far" if limit.expired() else type(error).__name__
        return {"told": told, "seconds": time.monotonic() - began}


def measure(server: Server, setting: Setting) -> Part:
    """Let all of them create at the same time: they mostly sleep between their tries."""
    names = [name for name in _NAMES if setting.contenders is None or name in setting.contenders]
    setting.say(f"lost answers: up to {setting.deadline:.0f} s for each to give up, all at the same time")
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker("lost")) for name in names if is_installed(name)}
        for name, worker in workers.items():
            worker.begin(name=name, port=server.port, who=_who(name), deadline=setting.deadline)
        ends = {name: worker.end() for name, worker in workers.items()}
    for name, end in ends.items():
        end["jobs"] = server.counts(f"{_who(name)}/lost").creations
    return Part((_row(ends),), (_table(ends, names),), (_chart(ends, names),))


def _who(name: str) -> str:
    return "".join(char for char in name if char.isalnum())


def _row(ends: Ends) -> Row:
    left = ", ".join(f"{name} {ends[name]['jobs'] if name in ends else 'NOT INSTALLED'}" for name in (TUNED, *PEERS))
    reached = str(ends[DEFAULT]["jobs"]) if DEFAULT in ends else "not measured"
    return Row.of("paid jobs that one creation leaves behind when its answer is lost", reached, "<= 1", left)


def _table(ends: Ends, names: list[str]) -> Table:
    return Table(
        "One creation whose answer is lost",
        ("client", "paid jobs", "what its caller is told", "after"),
        tuple(_line(name, ends.get(name)) for name in names),
        "The server takes the request, counts it and closes the connection; the client is called once.",
    )


def _line(name: str, end: dict[str, Any] | None) -> tuple[str, ...]:
    if end is None:
        return (_shown(name), "**NOT INSTALLED**", MISSING, "")
    return (_shown(name), str(end["jobs"]), str(end["told"]), f"{end['seconds']:.1f} s")


def _shown(name: str) -> str:
    return _SHOWN_AS.get(name) or labelled(name)


def _chart(ends: Ends, names: list[str]) -> Chart:
    bars = [_bar(name, ends.get(name)) for name in names]
    return Chart("Paid jobs that ONE creation leaves behind when its answer is lost", tuple(bars))


def _bar(name: str, end: dict[str, Any] | None) -> Bar:
    if end is None:
        return Bar(_shown(name), None, "not installed")
    return Bar(_shown(name), end["jobs"], f"{end['jobs']}: {end['told']}", is_ours=name == DEFAULT)
