"""The README's web applications, as printed: served, called back, and asked for what was ordered."""

from __future__ import annotations

import asyncio
import re
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from vidu_async.testing import Callbacks, Simulator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PUBLIC = "https://app.example"


@asynccontextmanager
async def aiohttps(app: web.Application) -> AsyncIterator[int]:
    """Serve an application of aiohttp, on a free port."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def uvicorns(app: Any) -> AsyncIterator[int]:
    """Serve an application of ASGI."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize(("heading", "serve"), [("In an aiohttp app", aiohttps), ("In FastAPI", uvicorns)])
async def test_the_applications_of_the_readme_order_and_are_called_back(
    heading: str, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film is ordered twice under one key, which is one task; the callback ends the wait."""
    (block,) = re.findall(rf"### {heading}\n.*?```python\n(.*?)```", README, re.DOTALL)[:1]
    (tmp_path / "app.py").write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    here: list[int] = []
    ways = Callbacks(route=lambda url: url.replace(PUBLIC, f"http://127.0.0.1:{here[0]}"))
    async with Simulator(callbacks=ways) as sim:
        monkeypatch.setenv("VIDU_BASE_URL", sim.url)
        monkeypatch.setenv("VIDU_API_KEY", sim.api_key)
        found = runpy.run_path("app.py")
        async with serve(found["app"]) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            here.append(port)
            tokens = []
            for _ in range(2):
                async with http.post("/films", json={"key": "k", "prompt": "a fox"}) as answer:
                    assert answer.status == 202
                    tokens.append((await answer.json())["token"])
            async with http.get(f"/films/{tokens[0]}") as answer:
                assert (await answer.json())["url"].startswith(sim.url)
            while not any(one.delivered and one.state == "success" for one in sim.deliveries):
                await asyncio.sleep(0.01)
            assert tokens[0] == tokens[1]
            assert len(sim.accepted) == 1
            assert found["receiver"].counts["accepted"] >= 1
            assert not found["receiver"].counts["refused"]
