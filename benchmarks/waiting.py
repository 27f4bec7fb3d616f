"""What it costs to wait for ten thousand tasks: CPU, requests, and bytes.

A look costs what the CPU of a while divided by the looks of that while is, so that a client that cannot keep up with
the pace gains nothing by it. With a gateway that lists tasks a look at a hundred of them is a hundred looks.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen

from benchmarks.contenders import KEY
from benchmarks.report import Part, Row, Table
from benchmarks.server import Server, counts
from benchmarks.setting import Setting
from benchmarks.worker import Worker

NAIVE, OURS = "one asyncio task each, aiohttp", "vidu_async, shared looks"
_FIRST_TASK = 5 * 10**17
_WARM = 200
"""Tasks that open the connections and fill the caches before bytes are counted."""
_LONG = 3600.0
"""Seconds between two looks while bytes are counted: each task is looked at once."""
_LOOKS_A_SECOND = 1000
"""While bytes are counted, so that no more connections are opened than to begin with."""
Add = Callable[[list[str], float], None]
"""Has more tasks waited for, the first looks at them spread over so many seconds, where nobody else does it."""


@asynccontextmanager
async def naive(url: str, period: float) -> AsyncIterator[Add]:
    """Everybody's first version: each task is waited for by an asyncio task with a loop in it."""
    import aiohttp  # noqa: PLC0415 - a worker imports what it measures, and no more

    waiting: set[asyncio.Task[None]] = set()
    headers, timeout = {"Authorization": f"Bearer {KEY}"}, aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def is_over(task_id: str) -> bool:
            async with session.get(f"{url}/ent/v2/tasks/{task_id}/creations") as answer:
                return json.loads(await answer.read())["state"] in {"success", "failed"}

        async def wait(task_id: str, spread: float) -> None:
            await asyncio.sleep(random.random() * spread)
            # In a function of its own: the loop would keep its last answer, 5 kB of it.
            while not await is_over(task_id):  # noqa: ASYNC110 - it happens elsewhere
                await asyncio.sleep(period)

        yield lambda ids, spread: waiting.update(asyncio.create_task(wait(task_id, spread)) for task_id in ids)
        await _cancel(waiting)


@asynccontextmanager
async def shared(url: str, period: float) -> AsyncIterator[Add]:
    """This library: handles, and one `gather` that waits for all of them."""
    from vidu_async import Gateway, Polling, ViduClient  # noqa: PLC0415 - as above

    waiting: set[asyncio.Task[Any]] = set()
    gateway, polling = Gateway(base_url=url, lists=True), Polling(min_interval=period, max_interval=period)
    async with ViduClient(KEY, gateway=gateway, polling=polling) as vidu:

        async def wait(ids: list[str]) -> None:
            await vidu.gather([vidu.attach(task_id) for task_id in ids])

        yield lambda ids, _: waiting.add(asyncio.create_task(wait(ids)))
        await _cancel(waiting)


async def _cancel(waiting: set[asyncio.Task[Any]]) -> None:
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


_WAYS = {NAIVE: naive, OURS: shared}


def work(name: str, port: int, who: str, tasks: int, period: float, window: float) -> dict[str, float]:
    """Wait for tasks that never end: for a window of seconds, or, if that is 0, until each was looked at once."""
    url = f"http://127.0.0.1:{port}/{who}/0/vidu"
    measured = _weigh(name, url, port, who, tasks) if not window else _hold(name, url, port, who, tasks, period, window)
    return asyncio.run(measured)


async def _hold(name: str, url: str, port: int, who: str, tasks: int, period: float, window: float) -> dict[str, float]:
    async with _WAYS[name](url, period) as add:
        add(_ids(tasks), period)
        await _looked(port, who, tasks)
        await asyncio.sleep(period)
        before, began, cpu = counts(port, f"{who}/0"), time.monotonic(), time.process_time()
        await asyncio.sleep(window)
        cpu, seconds, after = time.process_time() - cpu, time.monotonic() - began, counts(port, f"{who}/0")
    looks, requests = after.looks - before.looks, after.requests - before.requests
    return {"cpu": cpu / seconds, "looks": looks / seconds, "requests": requests / seconds}


async def _weigh(name: str, url: str, port: int, who: str, tasks: int) -> dict[str, float]:
    ids = _ids(_WARM + tasks)
    tracemalloc.start()
    async with _WAYS[name](url, _LONG) as add:
        add(ids[:_WARM], 0.0)
        await _looked(port, who, _WARM)
        before = _traced()
        add(_copied(ids[_WARM:]), tasks / _LOOKS_A_SECOND)
        await _looked(port, who, _WARM + tasks)
        grown = _traced() - before
    tracemalloc.stop()
    return {"bytes": grown / tasks}


_fresh = itertools.count(_FIRST_TASK)


def _ids(count: int) -> list[str]:
    return [str(next(_fresh)) for _ in range(count)]


def _copied(ids: list[str]) -> list[str]:
    """Return new strings, which the waiting keeps and has to answer for."""
    return ["".join(task_id) for task_id in map(list, ids)]


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _looked(port: int, who: str, looks: int) -> None:
    """Wait until so many looks were counted, and their answers are read."""
    while counts(port, f"{who}/0").looks < looks:  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.2)
    await asyncio.sleep(0.5)


@frozen
class Pace:
    """What waiting cost in the usual round; per second."""

    cpu: float
    looks: float
    requests: float

    @classmethod
    def of(cls, rounds: list[dict[str, float]]) -> Pace:
        """Take the medians."""
        return cls(*(statistics.median(found[name] for found in rounds) for name in ("cpu", "looks", "requests")))

    @property
    def line(self) -> tuple[str, ...]:
        """The figures, as cells."""
        cost = self.cpu / self.looks * 1e6
        return (f"{self.cpu:.3f}", f"{self.looks:,.0f}", f"{self.requests:,.0f}", f"{cost:.1f}")


def measure(server: Server, setting: Setting) -> Part:
    """Let both wait in turns, and weigh both."""
    whos = (f"waiting{number}" for number in itertools.count())
    tasks = {NAIVE: setting.naive, OURS: setting.waiting}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tasks}
    for number in range(max(1, setting.rounds // 2)):
        setting.say(f"waiting: round {number + 1}")
        for name, count in tasks.items():
            found[name].append(_asked(server, setting, name, count, next(whos), setting.window))
    setting.say("waiting: bytes")
    weights = {name: _asked(server, setting, name, setting.waiting, next(whos), 0.0)["bytes"] for name in tasks}
    paces = {name: Pace.of(rounds) for name, rounds in found.items()}
    return Part(tuple(_rows(paces, weights, setting)), (_table(paces, weights, tasks, setting),))


def _asked(server: Server, setting: Setting, name: str, tasks: int, who: str, window: float) -> dict[str, float]:
    job = {"name": name, "port": server.port, "who": who, "tasks": tasks, "period": setting.period, "window": window}
    with Worker("waiting") as worker:
        found: dict[str, float] = worker.ask(**job)
    return found


def _rows(paces: dict[str, Pace], weights: dict[str, float], setting: Setting) -> Iterator[Row]:
    ours, theirs = paces[OURS], paces[NAIVE]
    wanted = setting.waiting / setting.period
    kept = f"{ours.looks:,.0f} looks a second of {wanted:,.0f}"
    note = kept if ours.looks > 0.8 * wanted else f"DOES NOT KEEP UP: {kept}"
    what = f"{setting.waiting:,} waiting"
    cpu = (ours.cpu / ours.looks) / (theirs.cpu / theirs.looks)
    requests = (ours.requests / ours.looks) / (theirs.requests / theirs.looks)
    yield Row.of(f"{what}: CPU of a look, against {NAIVE}", f"{cpu:.3f}", "<= 1/6", note)
    yield Row.of(f"{what}: requests for a look, against {NAIVE}", f"{requests:.3f}", "<= 1/20", note)
    said = f"{NAIVE}: {weights[NAIVE]:,.0f}; tracemalloc, handle, task, kept answer and listener"
    yield Row.of(f"{what}: bytes for each", f"{weights[OURS]:,.0f}", "<= 2,000", said)


def _table(paces: dict[str, Pace], weights: dict[str, float], tasks: dict[str, int], setting: Setting) -> Table:
    return Table(
        f"Waiting, a look every {setting.period:g} s",
        ("client", "tasks", "CPU a second", "looks a second", "requests a second", "us of a look", "bytes for a task"),
        tuple((name, f"{tasks[name]:,}", *pace.line, f"{weights[name]:,.0f}") for name, pace in paces.items()),
    )
