"""How many callbacks are verified and dispatched, and whether forged ones take memory.

    python -m benchmarks.callbacks --forged 1000000

The ASGI application is called without a server, signed and with a nonce each, about two hundred tasks of one client
that are waited for. "processing" reaches the watch of its task and asks nothing of the gateway; what a GET of an end
costs is in `lifecycle`. CPU is that of this process, with all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from vidu_async import CallbackReceiver, TextToVideo, asgi_app, sign_callback
from vidu_async.testing import Simulator

_KEY, _PUBLIC = "vda_0123456789abcdef", "https://app.example/vidu"
_TASKS, _AT_ONCE = 200, 50
_BODY = b'{"id": "1", "state": "processing", "err_code": "", "creations": []}'

Message = MutableMapping[str, Any]


def _scope(url: str, key: str, nonce: str) -> Message:
    headers = sign_callback(url=url, key=key, nonce=nonce).items()
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    path = url.removeprefix("https://app.example")
    return {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": raw}


async def _statuses(receiver: CallbackReceiver, scopes: Iterator[Message]) -> dict[int, int]:
    """Have the application answer all, some at once; return how often it answered what."""
    app, found = asgi_app(receiver), dict[int, int]()

    async def body() -> Message:
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found[message["status"]] = found.get(message["status"], 0) + 1

    async def one_after_another() -> None:
        for scope in scopes:
            await app(scope, body, send)

    await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))
    return found


async def _dispatched(count: int, journal: Path | None) -> tuple[float, float]:
    """Return callbacks by the second, and by the CPU second."""
    receiver = CallbackReceiver(_PUBLIC, keys=[_KEY])
    async with (
        Simulator(time_scale=100_000) as sim,
        sim.client(api_key=sim.api_key, callbacks=receiver, journal=journal) as vidu,
    ):
        handles = [await vidu.submit(TextToVideo(model="viduq3-turbo", prompt="a fox")) for _ in range(_TASKS)]
        waits = [asyncio.ensure_future(handle.result(timeout=None)) for handle in handles]
        await asyncio.sleep(1)
        urls = [task.request["callback_url"] for task in sim.accepted]
        scopes = [_scope(urls[number % _TASKS], _KEY, f"nonce {number}") for number in range(count)]
        began, cpu = time.perf_counter(), time.process_time()
        assert await _statuses(receiver, iter(scopes)) == {204: count}
        found = count / (time.perf_counter() - began), count / (time.process_time() - cpu)
        assert receiver.counts == {"accepted": count}
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return found


async def _forged(count: int) -> tuple[float, float]:
    """Return forged requests refused by the second, and the kilobytes that they left behind."""
    receiver = CallbackReceiver(_PUBLIC, keys=[_KEY])
    real = _scope(f"{_PUBLIC}/token", "another key", "nonce")
    others = [pair for pair in real["headers"] if pair[0] != b"x-request-nonce"]
    assert await _statuses(receiver, iter([real] * 1000)) == {401: 1000}
    gc.collect()
    tracemalloc.start()
    began = time.perf_counter()
    scopes = ({**real, "headers": [*others, (b"x-request-nonce", b"%d" % number)]} for number in range(count))
    assert await _statuses(receiver, scopes) == {401: count}
    took = time.perf_counter() - began
    gc.collect()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return count / took, left / 1024


def rows(count: int = 20_000, forged: int = 20_000) -> list[tuple[str, str, str, str]]:
    """Return the figures, their goals and notes."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, journal in (("in memory", None), ("in a file", Path(folder, "journal.db"))):
            whole, cpu = asyncio.run(_dispatched(count, journal))
            what = f"callbacks: verified and dispatched by the second, journal {name}"
            found.append((what, f"{whole:,.0f}", ">= 2000", f"{cpu:,.0f} by the CPU second"))
    rate, left = asyncio.run(_forged(forged))
    note = f"{rate:,.0f} by the second, with tracemalloc at work"
    found.append((f"callbacks: kilobytes that {forged:,} forged ones leave behind", f"{left:,.0f}", "<= 100", note))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.callbacks", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--forged", type=int, default=1_000_000)
    chosen = parser.parse_args()
    for what, reached, goal, note in rows(chosen.count, chosen.forged):
        sys.stdout.write(f"{what}: {reached} (goal {goal}; {note})\n")


if __name__ == "__main__":
    main()
