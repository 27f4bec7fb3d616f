"""Downloads in a process that is killed at any moment, again and again: a final name means a whole file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import faulty

from vidu_async import Creation, ViduClient

_SIZE, _FILMS, _KILLS = 3_000_000, 12, 20

_CHILD = """
import asyncio, sys
from vidu_async import Creation, Limits, ViduClient

async def main(url, folder, count):
    async with ViduClient("test-key", base_url=url, limits=Limits(downloads=6)) as vidu:
        films = [Creation(task_id=str(number), url=f"{url}/film-{number}") for number in range(count)]
        print("begun", flush=True)
        await asyncio.gather(*(vidu.download(film, folder, exists="skip") for film in films))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def film(number: int) -> bytes:
    """Return a film of its own for each number."""
    return b"\0\0\0\x18ftypisom" + random.Random(number).randbytes(_SIZE)


def whole(folder: Path, films: list[bytes]) -> int:
    """Count the files under final names, each of which is whole."""
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    for name in names:
        assert hashlib.sha256((folder / name).read_bytes()).digest() == hashlib.sha256(films[int(name[:-4])]).digest()
    return len(names)


async def test_a_final_name_means_a_whole_file_whenever_the_process_is_killed(tmp_path: Path) -> None:
    """C16: what was left is gone on with, and at the end all of it is there and nothing else."""
    films, dice = [film(number) for number in range(_FILMS)], random.Random(1)
    served: Counter[str] = Counter()
    sent: Counter[str] = Counter()

    async def play(connection: faulty.Connection, asked: faulty.Asked) -> None:
        content = films[int(asked.path.rpartition("-")[2])]
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        served["resumed" if start else "begun"] += 1
        ranged = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}\r\n" if start else ""
        head = (
            f'HTTP/1.1 {206 if start else 200} X\r\nETag: "x"\r\n{ranged}Content-Length: {len(content) - start}\r\n\r\n'
        )
        await connection.write(head.encode())
        for at in range(start, len(content), 100_000):
            await connection.write(content[at : at + 100_000])
            sent["bytes"] += 100_000
            await asyncio.sleep(0)

    async with faulty.FaultyServer() as server:
        server.others = {f"GET /film-{number}": play for number in range(_FILMS)}
        folder = tmp_path / "films"
        for _ in range(_KILLS):
            command = [sys.executable, "-c", _CHILD, server.url, str(folder), str(_FILMS)]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None
            assert await process.stdout.readline() == b"begun\n"
            enough = sent["bytes"] + dice.randint(0, 4 * _SIZE)
            while sent["bytes"] < enough and process.returncode is None:
                await asyncio.sleep(0.001)
            with contextlib.suppress(ProcessLookupError):  # it was done
                process.send_signal(signal.SIGKILL)
            await process.wait()
            whole(folder, films)
        async with ViduClient("test-key", base_url=server.url) as vidu:
            rest = [Creation(task_id=str(number), url=f"{server.url}/film-{number}") for number in range(_FILMS)]
            await asyncio.gather(*(vidu.download(one, folder, exists="skip") for one in rest))

    assert whole(folder, films) == _FILMS
    assert sorted(os.listdir(folder)) == sorted(f"{number}.mp4" for number in range(_FILMS))
    assert served["resumed"] > 0
