"""What it costs to send large pictures: 50 of 10 MB, 8 on their way at a time, to a consumer that never waits.

Run it with `python -m benchmarks.bodies`. CPU is a ratio to `binascii.b2a_base64` plus `hashlib.sha256` of the same
bytes in memory, both in the same run and in turns. Ours hashes each file once and streams it once, from the page cache.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import hashlib
import os
import statistics
import struct
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

from vidu_async.bodies import body_of
from vidu_async.media import digest, resolved
from vidu_async.testing.results import picture

PICTURES, AT_ONCE, SIZE, ROUNDS = 50, 8, 10**7, 7
TICK = 0.001


async def send(path: Path, free: asyncio.Semaphore) -> None:
    """Look at a picture, hash it and stream it: all that a submission does with it."""
    async with free:
        body = await asyncio.to_thread(resolved, {"model": "m", "images": [path], "prompt": "the fox runs"})
        await asyncio.to_thread(digest, body)
        async for _ in body_of(body).pieces():
            pass


async def send_all(paths: list[Path]) -> None:
    """Send every picture, each as one that was never seen: its hash would be remembered."""
    for path in paths:
        path.touch()
    free = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(send(path, free) for path in paths))


async def holds(paths: list[Path], pause: float) -> float:
    """Return by how many seconds, at worst, something that wants its turn after a pause gets it too late."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            began = time.perf_counter()
            await asyncio.sleep(pause)
            worst = max(worst, time.perf_counter() - began - pause)

    ticking = asyncio.create_task(tick())
    await send_all(paths)
    ticking.cancel()
    return worst


async def longest_step(paths: list[Path]) -> float:
    """Return the most CPU seconds that the loop's own thread takes from one turn to the next."""
    worst, began = 0.0, time.thread_time()
    sending = asyncio.create_task(send_all(paths))
    while not sending.done():
        await asyncio.sleep(0)
        worst, began = max(worst, time.thread_time() - began), time.thread_time()
    return worst


def peak(paths: list[Path]) -> float:
    """Return the most bytes in memory at any time."""
    tracemalloc.start()
    asyncio.run(send_all(paths))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def at_least(path: Path) -> float:
    """Return CPU seconds per picture of what nobody can do without."""
    content = path.read_bytes()
    began = time.process_time()
    for _ in range(PICTURES):
        binascii.b2a_base64(content)
        hashlib.sha256(content).digest()
    return (time.process_time() - began) / PICTURES


def ours(paths: list[Path]) -> float:
    """Return our CPU seconds per picture, all threads together."""
    began = time.process_time()
    asyncio.run(send_all(paths))
    return (time.process_time() - began) / PICTURES


@contextlib.contextmanager
def pictures() -> Iterator[list[Path]]:
    """Make as many different pictures."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.png") for number in range(PICTURES)]
        for path in paths:
            path.write_bytes(_noise(SIZE))
        yield paths


def _noise(size: int) -> bytes:
    """Return a PNG of so many bytes, which nothing compresses."""
    one, end = picture("", "1:1"), 12
    content = b"fiLl" + os.urandom(size - len(one) - 12)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return one[:-end] + chunk + one[-end:]


def rows(rounds: int = ROUNDS) -> list[tuple[str, str, str]]:
    """Measure; return what was measured, what was reached, and the goal. Medians of the rounds (and the worst)."""
    with pictures() as paths:
        asyncio.run(send_all(paths))  # the page cache is warm from here on
        most = peak(paths)
        pairs = [(at_least(paths[0]), ours(paths)) for _ in range(rounds)]
        late = [asyncio.run(holds(paths, TICK)) for _ in range(rounds)]
        turns = [asyncio.run(holds(paths, 0)) for _ in range(rounds)]
        steps = [asyncio.run(longest_step(paths)) for _ in range(rounds)]
    ratio = statistics.median(mine / least for least, mine in pairs)
    what = f"{PICTURES} pictures of {SIZE / 1e6:.0f} MB, {AT_ONCE} at a time: "
    return [
        (what + "peak memory in all", f"{most / 1e6:.1f} MB", "<= 10"),
        (what + "CPU of one, against b2a_base64 and sha256", f"{ratio:.2f}x", "<= 1.5"),
        (what + "CPU of one", f"{statistics.median(mine for _, mine in pairs) * 1e3:.1f} ms", ""),
        (what + "lateness of a 1 ms tick", _ms(late), "<= 15"),
        (what + "time between two turns of the loop", _ms(turns), "<= 15"),
        (what + "of it, CPU of the loop's thread", _ms(steps), ""),
    ]


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} ms ({max(seconds) * 1e3:.1f})"


def main() -> None:
    """Measure, and print a table."""
    for row in rows():
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
