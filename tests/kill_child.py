"""The process that gets killed: a client with a journal, told over a socket what to do.

Started as `python kill_child.py <fd>`, it is a nursery: for each socket that comes in over its own it forks one child,
which is a real process to kill and costs no start-up. A child reads one order, a line of JSON, and plays `night`,
`steps` or `batch`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import socket
import sqlite3  # noqa: F401 - as aiohttp
import sys
from collections import Counter
from typing import Any

import aiohttp  # noqa: F401 - imported once by the nursery, and not by each child on first use
from attrs import define, field
from pictures import png

from vidu_async import Batch, ImageToVideo, Limits, Polling, TaskHandle, TextToVideo, Timeouts, ViduClient, ViduError

API_KEY = "sk-not-to-be-found-anywhere"


def payload_of(key: str) -> str:
    """Return the payload that this key's request has; three in ten have one of their own."""
    return f'{key} "é\U0001f98a\\' if key.endswith(("2", "5", "8")) else ""


def request_of(key: str, bounds: tuple[int, int] = (0, 0), word: str = "runs") -> ImageToVideo:
    """Return a key's request, the same in each life. Its prompt begins with the key, so that the books can tell.

    The size of its picture, in bytes, is within `bounds`.
    """
    size = random.Random(key).randint(*bounds)
    return ImageToVideo(
        model="viduq3-turbo",
        images=[png(size=500 + size)],
        prompt=f"{key} the fox {word}",
        payload=payload_of(key) or None,
    )


def client(order: dict[str, Any]) -> ViduClient:
    """Return a client of the order's gateway and journal, as impatient as it says."""
    return ViduClient(
        API_KEY,
        base_url=order["url"],
        journal=order["journal"],
        limits=Limits(submissions=order["permits"]),
        polling=Polling(min_interval=0.02, max_interval=0.1),
        timeouts=Timeouts(read=order["read"], submit=5, quiet=order.get("quiet", 0.3)),
    )


async def night(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
    """Submit many keys at once, write down each handle that comes back, wait for the tasks; then tell how it went."""
    told = os.open(order["told"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def one(key: str) -> str:
        try:
            handle = await vidu.submit(request_of(key, order["bounds"]), key=key)
            os.write(told, f"{key} {handle.task_id}\n".encode())
            await handle.result()
        except ViduError as error:
            return type(error).__name__
        return "done"

    async with client(order) as vidu:
        await _say(writer, ready=True)
        ends = Counter(await asyncio.gather(*(one(f"row-{n}") for n in range(order["first"], order["last"]))))
        if order["reconcile"]:
            await vidu.reconcile()
        await _say(writer, ends=ends, unresolved=len(vidu.unresolved()), unfinished=len(vidu.unfinished()))


async def batch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
    """Make a film of each prompt, write down each outcome, and tell what came of all."""
    told = os.open(order["told"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    requests = [TextToVideo(model="viduq3-turbo", prompt=prompt) for prompt in order["prompts"]]
    async with client(order) as vidu, Batch(vidu, requests, budget=order["budget"], download=order["out"]) as running:
        await _say(writer, ready=True)
        async for outcome in running:
            os.write(told, f"{outcome.key} {outcome.reason or 'done'}\n".encode())
    await _say(writer, succeeded=running.summary.succeeded, unknown=running.summary.unknown, said=str(running.summary))


@define
class Steps:
    """One thing after the other, as told; each method is a step."""

    vidu: ViduClient
    _begun: dict[str, asyncio.Task[TaskHandle]] = field(factory=dict)

    async def begin(self, key: str, word: str) -> None:
        """Have a caller submit, and do not wait for it."""
        self._begun[key] = asyncio.create_task(self.vidu.submit(request_of(key, word=word), key=key))

    async def cancel(self, key: str) -> None:
        """Cancel the caller that began."""
        self._begun.pop(key).cancel()

    async def end(self, key: str) -> str:
        """Wait for the caller that began."""
        return (await self._begun.pop(key)).task_id

    async def submit(self, key: str, word: str) -> str:
        """Submit, and return the task's id."""
        return (await self.vidu.submit(request_of(key, word=word), key=key)).task_id

    async def wait(self, key: str) -> None:
        """Wait until the task of a key has ended."""
        for handle in self.vidu.unfinished():
            if handle.key == key:
                await handle.result()

    async def resolve(self, key: str, **how: Any) -> str | None:
        """Decide about a key."""
        handle = await self.vidu.resolve(key, **how)
        return None if handle is None else handle.task_id

    async def reconcile(self) -> None:
        """Look for what is lost."""
        await self.vidu.reconcile()

    async def unresolved(self) -> dict[str, str]:
        """Return the state of each key that nobody can say about."""
        return {row.key: str(row.state) for row in self.vidu.unresolved()}


async def steps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, order: dict[str, Any]) -> None:
    """Do what each line says, and tell how it went."""
    async with client(order) as vidu:
        can = Steps(vidu)
        while line := await reader.readline():
            said = json.loads(line)
            try:
                await _say(writer, done=await getattr(can, said.pop("step"))(**said))
            except ViduError as error:
                await _say(writer, error=type(error).__name__, why=str(error))


async def _say(writer: asyncio.StreamWriter, **said: Any) -> None:
    writer.write(json.dumps(said).encode() + b"\n")
    await writer.drain()


async def live(link: socket.socket) -> None:
    """Be one child: say who it is, read the order, carry it out."""
    reader, writer = await asyncio.open_connection(sock=link)
    await _say(writer, pid=os.getpid())
    order = json.loads(await reader.readline())
    logging.basicConfig(filename=order["log"], level=logging.DEBUG)
    await {"night": night, "steps": steps, "batch": batch}[order["play"]](reader, writer, order)
    writer.close()


def main() -> None:
    """Fork a child for each socket that arrives, one at a time, until the parent hangs up."""
    control, child = socket.socket(fileno=int(sys.argv[1])), 0
    while True:
        _, (*links,), _, _ = socket.recv_fds(control, 1, 1)
        if child:
            os.waitpid(child, 0)  # only now: until then nobody else can have its number
        if not links:
            return
        child = os.fork()
        if not child:
            control.close()
            asyncio.run(live(socket.socket(fileno=links[0])))
            return
        os.close(links[0])


if __name__ == "__main__":
    main()
