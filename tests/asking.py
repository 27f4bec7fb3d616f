"""Asking a simulated Vidu with nothing but an HTTP client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define

from vidu_async.testing import Simulator

KEY = {"Authorization": "Bearer sk-simulator"}
LINK = "https://example.com/fox.png"
FOX = {"model": "viduq1", "images": [LINK], "prompt": "the fox runs"}
TEXT = {"model": "viduq2", "prompt": "a quiet lake"}
# A whole PNG of one pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def data_url(mime: str, content: bytes) -> str:
    """Return content as a data URL."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


@define
class Caller:
    """Asks a simulator as a client would."""

    vidu: Simulator
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Return status and JSON of an API answer."""
        options.setdefault("headers", KEY)
        async with self.session.request(method, f"{self.vidu.url}/ent/v2/{path}", **options) as response:
            return response.status, await response.json()

    async def post(self, endpoint: str, body: object) -> tuple[int, Any]:
        """Create, whatever comes of it."""
        return await self.send(endpoint, json.dumps(body).encode())

    async def send(self, endpoint: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        """Create with a body of any bytes; through a file, as aiohttp wants large ones."""
        return await self.ask("POST", endpoint, data=io.BytesIO(body), headers=KEY | {"Content-Type": kind})

    async def create(self, endpoint: str = "img2video", body: Mapping[str, Any] = FOX) -> dict[str, Any]:
        """Create, and return the answer to an accepted request."""
        status, answer = await self.post(endpoint, body)
        assert status == 200, answer
        return dict(answer)

    async def query(self, task_id: str) -> dict[str, Any]:
        """Return what the service says about a task."""
        status, answer = await self.ask("GET", f"tasks/{task_id}/creations")
        assert status == 200, answer
        return dict(answer)

    async def until(self, task_id: str, *states: str) -> list[dict[str, Any]]:
        """Query until the task is in one of the states; return an answer for each state seen."""
        seen: list[dict[str, Any]] = []
        async with asyncio.timeout(5):
            while True:
                answer = await self.query(task_id)
                if not seen or seen[-1]["state"] != answer["state"]:
                    seen.append(answer)
                if answer["state"] in states:
                    return seen

    async def finished(self, endpoint: str = "img2video", body: Mapping[str, Any] = FOX) -> dict[str, Any]:
        """Create and wait for success."""
        task_id = (await self.create(endpoint, body))["task_id"]
        return (await self.until(task_id, "success", "failed"))[-1]

    async def cancel(self, task_id: str, body: dict[str, str] | None = None) -> tuple[int, Any]:
        """Cancel, whatever comes of it."""
        return await self.ask("POST", f"tasks/{task_id}/cancel", json=body)


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Caller]:
    """Run a simulator with these options, and a session."""
    async with Simulator(**options) as vidu, aiohttp.ClientSession() as session:
        yield Caller(vidu, session)
