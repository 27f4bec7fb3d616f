"""What the journal's file costs: CPU of a creation with it, as a ratio to one with the journal in memory.

100 submissions at once, each on a fresh connection to a server of a process of its own on the loopback. Both kinds take
turns; CPU is that of the client's process, its threads included, the medians' ratio is the result.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vidu_async import Limits, TextToVideo, ViduClient

CREATIONS, AT_ONCE, ROUNDS = 2000, 100, 9
REQUEST = TextToVideo(model="viduq3-turbo", prompt="a fox")
SERVER = r"""
import asyncio, itertools, json
ids = itertools.count(10**17)

async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
    payload = json.loads(await reader.readexactly(length))["payload"]
    body = json.dumps({"task_id": str(next(ids)), "state": "created", "payload": payload}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


async def cpu_of_a_creation(url: str, journal: Path | None, creations: int) -> float:
    """Return microseconds of CPU."""
    limits = Limits(submissions=AT_ONCE)
    async with ViduClient("sk-benchmark", base_url=url, journal=journal, limits=limits) as vidu:
        await vidu.submit(REQUEST)
        began = time.process_time()
        await asyncio.gather(*(vidu.submit(REQUEST) for _ in range(creations)))
        return (time.process_time() - began) / creations * 1e6


def measured(rounds: int, creations: int) -> tuple[list[float], list[float]]:
    """Return what a creation costs with the journal in memory and in a file, once for each round."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    memory, file = [], []
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        for _ in range(rounds):
            memory.append(asyncio.run(cpu_of_a_creation(url, None, creations)))
            with tempfile.TemporaryDirectory() as folder:
                file.append(asyncio.run(cpu_of_a_creation(url, Path(folder) / "journal.db", creations)))
    finally:
        server.terminate()
        server.communicate()
    return memory, file


def rows(rounds: int = ROUNDS, creations: int = CREATIONS) -> list[tuple[str, str, str]]:
    """Measure; return what was measured, what was reached, and the goal."""
    memory, file = (statistics.median(found) for found in measured(rounds, creations))
    return [
        ("CPU of a creation, journal in memory", f"{memory:.0f} us", ""),
        ("CPU of a creation, journal in a file", f"{file:.0f} us", ""),
        ("CPU of a creation, journal in a file, against one in memory", f"{file / memory:.2f}x", "<= 1.15"),
    ]


def main() -> None:
    """Measure, and print a table."""
    for row in rows():
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
