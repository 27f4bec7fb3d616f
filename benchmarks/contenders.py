"""Who is measured: hand-written aiohttp, this library, and the peers (peers.py), all with the same two verbs.

A contender is a context manager made of the URL of its service. `create` asks for a job, with the client's defaults;
`finish` takes what `create` returned and asks until the job is finished, as fast as the client lets one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from attrs import frozen

LOOKS = 5
"""Looks at a job: four times it is not finished, then it is."""
PROMPT = "the fox runs"
FIELDS = {"model": "viduq3-turbo", "prompt": PROMPT, "duration": 5, "resolution": "720p"}
KEY = "sk-benchmark-0123456789"


@frozen
class Contender:
    """One client, ready to be used."""

    create: Callable[[], Awaitable[Any]]
    finish: Callable[[Any], Awaitable[object]]


Make = Callable[[str], AbstractAsyncContextManager[Contender]]


@frozen
class Kind:
    """How to make a contender, which service it speaks to, and which installed package it needs."""

    make: Make
    dialect: str = "vidu"
    package: str = ""
    """What to import."""
    looks: int = LOOKS
    """Looks at the state; fewer by one where the result is fetched by a request of its own."""

    def url(self, port: int, who: str, looks: int | str | None = None) -> str:
        """Return the URL of its service."""
        return f"http://127.0.0.1:{port}/{who}/{self.looks if looks is None else looks}/{self.dialect}"


@asynccontextmanager
async def tuned(url: str, *, is_fresh: bool = False) -> AsyncIterator[Contender]:
    """Aiohttp by hand: one session, no bound on connections, one timeout, json.loads, and no check of anything.

    With `is_fresh` each creation has a connection of its own, as it must where no payment may be made twice.
    """
    import aiohttp  # noqa: PLC0415 - a worker imports what it measures, and no more

    timeout, headers = aiohttp.ClientTimeout(total=60), {"Authorization": f"Bearer {KEY}"}
    looking = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout, headers=headers)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    creating = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) if is_fresh else looking

    async def create() -> str:
        async with creating.post(f"{url}/ent/v2/text2video", json=FIELDS) as answer:
            return str(json.loads(await answer.read())["task_id"])

    async def finish(task_id: str) -> None:
        while True:
            async with looking.get(f"{url}/ent/v2/tasks/{task_id}/creations") as answer:
                if json.loads(await answer.read())["state"] == "success":
                    return
            await asyncio.sleep(0)

    async with looking, creating:
        yield Contender(create, finish)


@asynccontextmanager
async def fresh(url: str) -> AsyncIterator[Contender]:
    """The same with a connection of its own for each creation."""
    async with tuned(url, is_fresh=True) as contender:
        yield contender


@asynccontextmanager
async def ours(url: str, *, lists: bool | None = False, interval: float = 1e-6) -> AsyncIterator[Contender]:
    """This library with its defaults, but for the pace of its looks, and one GET for each of them."""
    from vidu_async import Gateway, Polling, TextToVideo, ViduClient  # noqa: PLC0415 - as above

    request = TextToVideo(model="viduq3-turbo", prompt=PROMPT, duration=5, resolution="720p")
    polling = Polling(min_interval=interval, max_interval=interval)
    async with ViduClient(KEY, gateway=Gateway(base_url=url, lists=lists), polling=polling) as vidu:
        yield Contender(lambda: vidu.submit(request), lambda handle: handle.result())


@asynccontextmanager
async def listed(url: str) -> AsyncIterator[Contender]:
    """The same where the gateway lists tasks: looks are shared, 20 ms apart so that there is something to share."""
    async with ours(url, lists=True, interval=0.02) as contender:
        yield contender


@asynccontextmanager
async def default(url: str) -> AsyncIterator[Contender]:
    """This library as it is when nothing is set but the URL."""
    from vidu_async import TextToVideo, ViduClient  # noqa: PLC0415 - as above

    request = TextToVideo(model="viduq3-turbo", prompt=PROMPT, duration=5, resolution="720p")
    async with ViduClient(KEY, base_url=url) as vidu:
        yield Contender(lambda: vidu.submit(request), lambda handle: handle.result())


TUNED, FRESH, NULL = "aiohttp by hand", "aiohttp by hand, fresh creates", "aiohttp by hand, again"
OURS, LISTED, DEFAULT = "vidu_async", "vidu_async, shared looks", "vidu_async, defaults"

OWN: dict[str, Kind] = {
    TUNED: Kind(tuned),
    FRESH: Kind(fresh),
    NULL: Kind(tuned),
    OURS: Kind(ours),
    LISTED: Kind(listed),
    DEFAULT: Kind(default),
}
