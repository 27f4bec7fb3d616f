"""A batch that is killed at any moment and run again: each item is done or told, and paid once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import Any

from kill_child import API_KEY
from lives import Nursery

from vidu_async.testing import Serve, Simulator

ITEMS = 200
KILLS = 30
PRICE = 45
"""Credits that the simulator asks for one."""
CREDITS = 1_000_000


async def slowly(method: str, *_: object) -> Serve | None:
    """Give kills something to meet."""
    return Serve(delay=0.1) if method == "POST" else None


async def moment(sim: Simulator, chance: random.Random) -> None:
    """Wait for the moment of a kill: some creations later and a little more, or half a second if that is less."""
    enough = len(sim.accepted) + chance.randint(0, 12)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while len(sim.accepted) < enough:
                await asyncio.sleep(0.005)
    await asyncio.sleep(chance.uniform(0, 0.1))


async def test_killed_at_thirty_points_it_makes_every_item_once(tmp_path: Path) -> None:
    """B22: after the last kill each item is done, or told as unknown: those are the ones that no task was made of."""
    chance = random.Random(6)
    prompts = [f"fox {number}" for number in range(ITEMS)]
    async with Simulator(api_key=API_KEY, credits=CREDITS, concurrency=20, intercept=slowly) as sim:
        order: dict[str, Any] = {
            "play": "batch",
            "url": sim.url,
            "permits": 8,
            "read": 5.0,
            "prompts": prompts,
            "budget": ITEMS * PRICE,
            **{name: str(tmp_path / name) for name in ("journal", "told", "log", "out")},
        }
        met = 0
        with Nursery(tmp_path / "nursery.log") as nursery:
            for _ in range(KILLS):
                life = await nursery.bear(**order)
                await life.hear()
                await moment(sim, chance)
                met += len(sim.accepted) < ITEMS
                await life.kill()
            last = await nursery.bear(**order)
            await last.hear()
            summary = await last.hear()
            await last.bury()
        assert met > KILLS // 2, f"of {KILLS} kills only {met} met work"
        made = Counter(task.request["prompt"] for task in sim.accepted)
        assert max(made.values()) == 1, "something was paid twice"
        assert summary["succeeded"] == len(made), summary["said"]
        assert summary["unknown"] == ITEMS - len(made), summary["said"]
        assert CREDITS - sim.credits == len(made) * PRICE <= order["budget"]
        files = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".mp4"]
        assert {path.stem for path in files} == {task.id for task in sim.accepted}
