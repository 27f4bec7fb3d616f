"""What it costs to save results: a hundred at once of 20 MB, each cut twice on its way.

    python -m benchmarks.downloads --size 20000000

The other side is hand-written aiohttp that asks for the rest after a cut and writes what comes, straight in the event
loop: it verifies nothing, keeps nothing after a crash, and never waits for the disk. Both take turns, each in a process
of its own; what they saved is compared byte for byte afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp

from benchmarks.worker import ROOT, Worker
from vidu_async import Creation, ViduClient

COUNT, SIZE, CUTS, ROUNDS = 100, 20_000_000, 2, 3
_PIECE = 256 * 1024
_HEAD = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2"
_KILO = 1024 * 1024 if sys.platform == "darwin" else 1024
_ASKED = re.compile(rb"GET /(\d+) HTTP.*?(?:range: bytes=(\d+)-.*?)?\r\n\r\n", re.IGNORECASE | re.DOTALL)


def content(number: int, size: int) -> bytes:
    """Return a result, another one for each number."""
    return _HEAD + random.Random(number).randbytes(1_000_003) * (size // 1_000_003) + bytes(size % 1_000_003)


async def serve(size: int) -> None:
    """Serve results, cut each so often at a point drawn by its number, and print the port."""
    served: Counter[int] = Counter()
    known = {number: content(number, size) for number in range(4)}

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                found = _ASKED.match(await reader.readuntil(b"\r\n\r\n"))
                assert found
                number, start = int(found[1]), int(found[2] or 0)
                film = memoryview(known[number % len(known)])
                served[number] += 1
                is_cut = served[number] % (CUTS + 1) != 0
                stop = random.Random(f"{number}/{start}").randrange(start, len(film)) if is_cut else len(film)
                ranged = f"Content-Range: bytes {start}-{len(film) - 1}/{len(film)}\r\n" if start else ""
                head = f'HTTP/1.1 {206 if start else 200} OK\r\nETag: "{number}"\r\n{ranged}'
                writer.write(f"{head}Content-Length: {len(film) - start}\r\n\r\n".encode())
                for at in range(start, stop, _PIECE):
                    writer.write(film[at : min(at + _PIECE, stop)])
                    await writer.drain()
                if is_cut:
                    break
        writer.close()

    server = await asyncio.start_server(play, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(url: str, folder: Path, count: int) -> None:
    """Save results with aiohttp alone."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one(number: int) -> None:
            with (folder / f"{number}.mp4").open("wb") as file:
                while True:
                    with suppress(aiohttp.ClientPayloadError):
                        headers = {"Range": f"bytes={file.tell()}-"} if file.tell() else {}
                        async with session.get(f"{url}/{number}", headers=headers) as response:
                            async for piece in response.content.iter_chunked(64 * 1024):
                                file.write(piece)
                        return

        await asyncio.gather(*map(one, range(count)))


async def ours(url: str, folder: Path, count: int) -> None:
    """Save results with this library."""
    async with ViduClient("benchmark-key", base_url=url) as vidu:
        films = [Creation(task_id=str(number), url=f"{url}/{number}") for number in range(count)]
        await asyncio.gather(*(vidu.download(film, folder) for film in films))


_WAYS = {"bare": bare, "ours": ours}


def work(kind: str, port: int, count: int, size: int) -> dict[str, float]:
    """Return the CPU seconds of saving all, and the largest size of the process in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        asyncio.run(_WAYS[kind](f"http://127.0.0.1:{port}", Path(folder), count))
        cpu = time.process_time() - began
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILO
        paths = sorted(Path(folder).iterdir())
        assert [path.name for path in paths] == sorted(f"{number}.mp4" for number in range(count)), paths
        for path in paths:
            wanted = hashlib.sha256(content(int(path.stem) % 4, size)).digest()
            assert hashlib.sha256(path.read_bytes()).digest() == wanted, path.name
    return {"cpu": cpu, "megabytes": megabytes}


@contextmanager
def serving(size: int) -> Iterator[int]:
    """Have results served by a process of its own, at this port."""
    command = [sys.executable, "-m", "benchmarks.downloads", "--serve", "--size", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def measured(rounds: int, count: int, size: int) -> dict[str, list[dict[str, float]]]:
    """Let both take turns."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in _WAYS}
    with serving(size) as port:
        for number in range(rounds):
            for kind in list(_WAYS)[:: 1 if number % 2 else -1]:
                with Worker("downloads", deadline=600) as worker:
                    found[kind].append(worker.ask(kind=kind, port=port, count=count, size=size))
    return found


def rows(rounds: int = ROUNDS, count: int = COUNT, size: int = SIZE) -> list[tuple[str, str, str]]:
    """Measure; return what was measured, what was reached, and the goal."""
    found = measured(rounds, count, size)
    pairs = zip(found["ours"], found["bare"], strict=True)
    ratio = statistics.median(one["cpu"] / other["cpu"] for one, other in pairs)
    short = measured(1, count, size // 4)["ours"][0]["megabytes"]
    most = max(one["megabytes"] for one in found["ours"])
    what = f"{count} downloads at once of {size / 1e6:g} MB, each cut {CUTS} times"
    return [
        (f"{what}: CPU, against aiohttp that reads and writes", f"{ratio:.2f}x", "<= 1.5"),
        (f"{what}: memory of the process, against files of {size / 4e6:g} MB", f"{most / short:.2f}x", "<= 1.1"),
    ]


def main() -> None:
    """Serve, or measure and print."""
    parser = argparse.ArgumentParser("python -m benchmarks.downloads", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE, help=f"bytes of a result ({SIZE})")
    parser.add_argument("--count", type=int, default=COUNT, help=f"results at once ({COUNT})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns ({ROUNDS})")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.size))
    for row in rows(options.rounds, options.count, options.size):
        print(" | ".join(row))


if __name__ == "__main__":
    main()
