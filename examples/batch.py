"""Every row of jobs.jsonl becomes a file: on the simulator in results/, or with --live, for credits, in live-results/.

Stopped in whatever way and started again it goes on, and pays for no row twice: live-results/journal.db knows what was
sent. A creation whose answer was lost is looked for; what is not found is held until you settle it.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from vidu_async import Batch, ViduClient
from vidu_async.testing import Simulator

JOBS = Path(__file__).with_name("jobs.jsonl")
RESULTS = Path("live-results" if "--live" in sys.argv else "results")


async def main() -> int:
    RESULTS.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        if "--live" in sys.argv:
            vidu = await stack.enter_async_context(ViduClient(journal=RESULTS / "journal.db"))
        else:
            simulator = await stack.enter_async_context(Simulator(time_scale=10))
            vidu = await stack.enter_async_context(simulator.client())
        batch = await stack.enter_async_context(Batch(vidu, JOBS, budget=1000, unknown_price=60, download=RESULTS))
        async for outcome in batch:
            print(f"{outcome.place}  {outcome.error or f'saved {outcome.paths[0]}'}", flush=True)
    print(batch.summary)
    return 0 if batch.summary.is_success else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
