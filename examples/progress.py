"""A batch of eighty prompts with live progress, on the built-in simulator; some fail, and are told of.

`--log` writes plain lines instead, `--tqdm` one bar; `--slow` takes minutes, as the real service does. `--svg FILE`
saves a picture of the region in the middle of it.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from vidu_async import Batch, Limits, TextToVideo
from vidu_async.progress import LogProgress, RichProgress, TqdmProgress
from vidu_async.testing import Faults, Simulator

ITEMS = 80
FAULTS = Faults(failures={"CreationPolicyViolation": 0.07}, drops_after=0.02)


def requests() -> Iterator[tuple[str, TextToVideo]]:
    for number in range(1, ITEMS + 1):
        yield f"film-{number}", TextToVideo(model="viduq3-turbo", prompt=f"a fox runs through scene {number}")


def observer() -> LogProgress | RichProgress | TqdmProgress:
    if "--log" in sys.argv:
        return LogProgress(total=ITEMS, every=2.0)
    return TqdmProgress(total=ITEMS) if "--tqdm" in sys.argv else RichProgress(total=ITEMS)


async def main() -> None:
    ended, pace = count(1), 600 if "--slow" in sys.argv else 12
    simulator = Simulator(time_scale=pace, concurrency=8, faults=FAULTS, lists=False, seed=7)
    with observer() as show:
        async with (
            simulator,
            simulator.client(on_event=show, limits=Limits(in_flight=16)) as vidu,
            Batch(vidu, requests(), concurrency=24, download="results/") as batch,
        ):
            async for _ in batch:
                if "--svg" in sys.argv and next(ended) == ITEMS // 2 and isinstance(show, RichProgress):
                    Path(sys.argv[-1]).write_text(show.svg(), encoding="utf-8")
    print(batch.summary)


if __name__ == "__main__":
    asyncio.run(main())
