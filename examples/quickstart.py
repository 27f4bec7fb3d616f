"""One picture becomes one video: on the built-in simulator, or with --live and VIDU_API_KEY for real credits."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from vidu_async import ImageToVideo, ViduClient
from vidu_async.testing import Simulator

PICTURE = Path(__file__).with_name("dawn.png")


async def main() -> None:
    async with AsyncExitStack() as stack:
        if "--live" in sys.argv:
            vidu = await stack.enter_async_context(ViduClient())
        else:
            simulator = await stack.enter_async_context(Simulator(time_scale=10))
            vidu = await stack.enter_async_context(simulator.client())

        request = ImageToVideo(model="viduq3-turbo", images=[PICTURE], prompt="The sun rises and the mist lifts.")
        handle = await vidu.submit(request)
        print(f"submitted as task {handle.task_id}")

        async for task in handle.events():
            print(f"it is {task.state}")

        path = await vidu.download(await handle, "results/")
        print(f"saved {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
