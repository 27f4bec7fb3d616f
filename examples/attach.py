"""Submit in one process, finish in another: all that travels is the handle's token.

Without arguments it does both on the simulator. `attach.py submit` prints a token and `attach.py TOKEN` waits for its
task, with VIDU_API_KEY (and VIDU_BASE_URL) set: that is the real service, or `python -m vidu_async.testing`.
"""

import asyncio
import os
import sys

from vidu_async import TextToVideo, ViduClient
from vidu_async.testing import Simulator


async def submit() -> None:
    async with ViduClient() as vidu:
        handle = await vidu.submit(TextToVideo(model="viduq3-turbo", prompt="Rain on a tin roof at night."))
        print(handle.token)


async def finish(token: str) -> None:
    async with ViduClient() as vidu:
        path = await vidu.download(await vidu.attach(token), "results/", exists="skip")
        print(f"saved {path}")


async def both() -> None:
    async with Simulator(time_scale=10) as simulator:
        environment = {**os.environ, "VIDU_BASE_URL": simulator.url, "VIDU_API_KEY": "sk-simulator"}
        me = [sys.executable, __file__]
        first = await asyncio.create_subprocess_exec(*me, "submit", env=environment, stdout=asyncio.subprocess.PIPE)
        token = (await first.communicate())[0].decode().strip()
        print(f"the first process is gone, and left {token}", flush=True)
        second = await asyncio.create_subprocess_exec(*me, token, env=environment)
        sys.exit(await second.wait())


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else ""
    asyncio.run(submit() if argument == "submit" else finish(argument) if argument else both())
