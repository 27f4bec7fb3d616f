"""Every row of jobs.jsonl becomes a file: on the simulator in results/, or with --live, for credits, in live-results/.

Stopped in whatever way and started again it goes on, and pays for no row twice: live-results/journal.db knows what was
sent. A creation whose answer was lost is looked for; what is not found is held until you settle it.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vidu_async import ViduClient, ViduError, request_from_wire
from vidu_async.testing import Simulator

JOBS = Path(__file__).with_name("jobs.jsonl")
RESULTS = Path("live-results" if "--live" in sys.argv else "results")


async def work(vidu: ViduClient, key: str, endpoint: str, fields: dict[str, Any]) -> None:
    if found := next(RESULTS.glob(f"{key}.*"), None):
        print(f"{key:<10} there      {found}, nothing is paid again")
        return
    request = request_from_wire(endpoint, fields, base_dir=JOBS.parent)
    handle = await vidu.submit(request, key=key, retry_failed=True)  # failed tasks cost nothing
    async for task in handle.events():
        print(f"{key:<10} {task.state:<10} task {task.id}", flush=True)
    path = await vidu.download(await handle, RESULTS, name=key)
    print(f"{key:<10} saved      {path}, {path.stat().st_size} bytes", flush=True)


async def main() -> int:
    rows = [json.loads(line) for line in JOBS.read_text(encoding="utf-8").splitlines()]
    named = [(row.pop("key", f"line-{number}"), row.pop("endpoint"), row) for number, row in enumerate(rows, start=1)]
    RESULTS.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        simulator = None if "--live" in sys.argv else await stack.enter_async_context(Simulator(time_scale=10))
        client = simulator.client() if simulator else ViduClient(journal=RESULTS / "journal.db")
        vidu = await stack.enter_async_context(client)
        try:
            await vidu.reconcile()  # finds what an earlier run lost
        except ViduError as trouble:
            print(f"what an earlier run lost could not be looked for: {trouble}")
        ends = await asyncio.gather(*(work(vidu, *row) for row in named), return_exceptions=True)
    failed = {row[0]: end for row, end in zip(named, ends, strict=True) if end is not None}
    for key, error in failed.items():
        print(f"{key:<10} {type(error).__name__}: {error}")
    print(f"{len(rows) - len(failed)} of {len(rows)} results are in {RESULTS}/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
