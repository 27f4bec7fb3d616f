"""What a batch costs over the same tasks by hand, and the memory it takes however long it is.

    python -m benchmarks.batch --rows 100000

By hand is this library's client, a hundred callers that each submit, wait and do the next. Both share their looks
through the list, and every task is finished at its fifth look.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.contenders import FRESH, KEY, LOOKS
from benchmarks.report import Part, Row
from benchmarks.server import Server
from benchmarks.setting import Setting
from benchmarks.worker import Worker
from vidu_async import Batch, Gateway, Polling, TextToVideo, ViduClient

_AT_ONCE = 100
_INTERVAL = 0.02
"""Seconds between two looks at a task, as many as are shared."""
_PAIRS = (
    ("batch", "by hand", "submit and wait, journal in memory"),
    ("batch, file", "by hand, file", "submit and wait, journal in a file"),
    ("batch", FRESH, f"{FRESH}, a GET per look"),
)
_GOAL = 150
"""Megabytes for a hundred thousand rows."""


def work(kind: str, port: int, rows: int) -> dict[str, float]:
    """Return the CPU seconds of a row, and the largest size of the process in megabytes."""
    cpu = asyncio.run(_cpu(kind, f"http://127.0.0.1:{port}/batch/{LOOKS}/vidu", rows))
    return {"cpu": cpu / rows, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILO}


_KILO = 1024 * 1024 if sys.platform == "darwin" else 1024


def _requests(rows: int) -> Iterator[tuple[str, TextToVideo]]:
    for number in range(rows):
        yield f"row {number}", TextToVideo(model="viduq3-turbo", prompt=f"fox {number} runs")


async def _cpu(kind: str, url: str, rows: int) -> float:
    gateway, polling = Gateway(base_url=url, lists=True), Polling(min_interval=_INTERVAL, max_interval=_INTERVAL)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        journal = Path(folder, "journal.db") if "file" in kind else None
        vidu = await stack.enter_async_context(ViduClient(KEY, gateway=gateway, polling=polling, journal=journal))
        await vidu.run(TextToVideo(model="viduq3-turbo", prompt="a fox that opens the connections"))
        began = time.process_time()
        if "batch" in kind:
            summary = await Batch(vidu, _requests(rows), concurrency=_AT_ONCE).run()
            assert summary.succeeded == rows, str(summary)
        else:
            await _by_hand(vidu, rows)
        return time.process_time() - began


async def _by_hand(vidu: ViduClient, rows: int) -> None:
    left = _requests(rows)

    async def one_after_another() -> None:
        for key, request in left:
            await vidu.run(request, key=key)

    await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))


def measure(server: Server, setting: Setting) -> Part:
    """Let both take turns, with the journal in memory and in a file."""
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(max(1, setting.rounds // 2)):
        setting.say(f"batch: round {number + 1}")
        with Worker("lifecycle") as worker:
            cpu = worker.ask(name=FRESH, port=server.port, count=setting.rows // 4, at_once=_AT_ONCE)
            found.setdefault(FRESH, []).append({"cpu": cpu})
        for kind in ("by hand", "batch", "by hand, file", "batch, file"):
            with Worker("batch") as worker:
                found.setdefault(kind, []).append(worker.ask(kind=kind, port=server.port, rows=setting.rows))
    return Part(tuple(_rows(found, setting.rows)))


def _rows(found: dict[str, list[dict[str, float]]], rows: int) -> Iterator[Row]:
    for ours, theirs, what in _PAIRS:
        pairs = zip(found[ours], found[theirs], strict=True)
        ratio = statistics.median(ours["cpu"] / theirs["cpu"] for ours, theirs in pairs)
        cost = statistics.median(one["cpu"] for one in found[ours]) * 1e6
        yield Row.of(f"batch: CPU of a row, against {what}", f"{ratio:.2f}x", "<= 2", f"{cost:,.0f} us")
    most = max(one["megabytes"] for one in found["batch, file"])
    yield Row.of(f"batch: memory of the process, {rows:,} rows", f"{most:,.0f} MB", f"<= {_GOAL}", "journal in a file")


def main() -> None:
    """Run one batch with each kind of journal, and print what it cost."""
    parser = argparse.ArgumentParser("python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with Server.start() as server:
        for kind in ("batch", "batch, file"):
            began = time.monotonic()
            with Worker("batch", deadline=3600) as worker:
                cost = worker.ask(kind=kind, port=server.port, rows=rows)
            took = time.monotonic() - began
            said = f"{cost['megabytes']:.0f} MB, {cost['cpu'] * 1e6:,.0f} us a row, {took:.0f} s"
            print(f"{kind}, {rows:,} rows: {said}", flush=True)


if __name__ == "__main__":
    main()
