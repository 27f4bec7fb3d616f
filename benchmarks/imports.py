"""What an import costs: CPU of a new interpreter that does nothing else, over one that does nothing at all."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from benchmarks.peers import MISSING, PEERS, is_installed, labelled
from benchmarks.report import Part, Row, Table
from benchmarks.server import Server
from benchmarks.setting import Setting

_CLIENT = "vidu_async, its client"
"""Names are imported when they are used: this is what a program pays that uses the client."""
_OWN = {"vidu_async": "import vidu_async", _CLIENT: "from vidu_async import ViduClient", "aiohttp": "import aiohttp"}


def measure(_: Server, setting: Setting) -> Part:
    """Import in turns, and compare."""
    modules = _OWN | {labelled(name): f"import {kind.package}" for name, kind in PEERS.items() if is_installed(name)}
    if setting.contenders is not None:
        modules = _OWN
    programs = {"": "pass"} | modules
    setting.say(f"imports: {len(programs)} programs, {setting.rounds} times each")
    found: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(1 + setting.rounds):
        for name, program in programs.items():
            seconds = _cpu(program)
            found[name] += [seconds] if number else []  # the first compiles
    usual = {name: statistics.median(seconds) for name, seconds in found.items()}
    over = {name: usual[name] - usual[""] for name in modules}
    return Part((_row(over),), (_table(over),))


def _cpu(program: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _row(over: dict[str, float]) -> Row:
    ratio = over["vidu_async"] / over["aiohttp"]
    client = f"; `{_OWN[_CLIENT]}` takes {over[_CLIENT] * 1e3:.0f} ms, {over[_CLIENT] / over['aiohttp']:.2f}x"
    note = f"{over['vidu_async'] * 1e3:.0f} ms against {over['aiohttp'] * 1e3:.0f} ms{client}"
    return Row.of("`import vidu_async` against `import aiohttp`", f"{ratio:.2f}x", "<= 0.6", note)


def _table(over: dict[str, float]) -> Table:
    lines = [(name, f"{seconds * 1e3:.0f}") for name, seconds in over.items()]
    lines += [(name, f"**NOT INSTALLED** ({MISSING})") for name in PEERS if not is_installed(name)]
    return Table("Imports", ("module", "ms of CPU over an empty interpreter"), tuple(lines))
