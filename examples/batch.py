"""Every row of jobs.jsonl becomes a file: on the simulator in results/, or with --live, for credits, in live-results/.

Stopped and started again it takes its tasks up, unpaid: their tokens are kept until their files are there. A creation
whose answer was lost is never sent again by itself: a file beside the results says so until you delete it.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from vidu_async import SubmissionUnknownError, ViduClient, request_from_wire
from vidu_async.testing import Simulator

JOBS = Path(__file__).with_name("jobs.jsonl")
RESULTS = Path("live-results" if "--live" in sys.argv else "results")


def token_of(vidu: ViduClient, key: str | None) -> Path:
    return RESULTS / f".{key}@{vidu.gateway.base_url.rpartition('/')[2]}"


def keep_tokens(vidu: ViduClient) -> None:
    for handle in vidu.unfinished():
        token_of(vidu, handle.key).write_text(handle.token)


async def work(vidu: ViduClient, key: str, endpoint: str, fields: dict[str, Any]) -> None:
    if found := next(RESULTS.glob(f"{key}.*"), None):
        print(f"{key:<10} there      {found}, nothing is paid again")
        return
    token, doubt = token_of(vidu, key), RESULTS / f"{key}-may-be-paid.txt"
    if token.exists():
        handle = vidu.attach(token.read_text())
    elif doubt.exists():
        raise FileExistsError(f"{doubt}: look for the task in your account, and delete this file to pay again")
    else:
        try:
            handle = await vidu.submit(request_from_wire(endpoint, fields, base_dir=JOBS.parent), key=key)
        except SubmissionUnknownError as error:
            doubt.write_text(f"{error}\n")
            raise
        token.write_text(handle.token)
    async for task in handle.events():
        print(f"{key:<10} {task.state:<10} task {task.id}", flush=True)
    if not (await handle.wait()).has_result:
        token.unlink()  # failed tasks cost nothing: the next run may try again
    path = await vidu.download(await handle, RESULTS, name=key)
    token.unlink()
    print(f"{key:<10} saved      {path}, {path.stat().st_size} bytes", flush=True)


async def main() -> int:
    rows = [json.loads(line) for line in JOBS.read_text(encoding="utf-8").splitlines()]
    named = [(row.pop("key", f"line-{number}"), row.pop("endpoint"), row) for number, row in enumerate(rows, start=1)]
    RESULTS.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        simulator = None if "--live" in sys.argv else await stack.enter_async_context(Simulator(time_scale=10))
        vidu = simulator.client() if simulator else ViduClient()
        stack.callback(keep_tokens, vidu)  # called last: what was on its way at a Ctrl-C has its answer by then
        await stack.enter_async_context(vidu)
        ends = await asyncio.gather(*(work(vidu, *row) for row in named), return_exceptions=True)
    failed = {row[0]: end for row, end in zip(named, ends, strict=True) if end is not None}
    for key, error in failed.items():
        print(f"{key:<10} {type(error).__name__}: {error}")
    print(f"{len(rows) - len(failed)} of {len(rows)} results are in {RESULTS}/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
