"""Virtual time: hours pass in a moment, in order, and real sockets and threads still work."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vidu_async import TextToVideo
from vidu_async.testing import Simulator, run_virtual


def test_a_day_of_sleep_takes_no_time() -> None:
    """And ends exactly then."""

    async def main() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert run_virtual(main()) == pytest.approx(86_400)
    assert time.monotonic() - began < 5


def test_timers_fire_in_their_order() -> None:
    """Whatever the order in which they were set."""
    fired: list[float] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        fired.append(seconds)

    async def main() -> None:
        await asyncio.gather(*(wait(seconds) for seconds in (300, 0.5, 7200, 60)))

    run_virtual(main())
    assert fired == [0.5, 60, 300, 7200]


def test_time_stands_still_while_a_thread_works() -> None:
    """So that nothing times out for a thread's sake."""

    async def main() -> float:
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(time.sleep, 0.2)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 0.01


def test_a_result_is_returned_and_an_error_raised() -> None:
    """As by `asyncio.run`."""

    async def main(fails: bool) -> str:
        await asyncio.sleep(1)
        if fails:
            raise KeyError("x")
        return "done"

    assert run_virtual(main(fails=False)) == "done"
    with pytest.raises(KeyError):
        run_virtual(main(fails=True))


def test_the_simulator_runs_at_the_real_pace_on_virtual_time() -> None:
    """Minutes of generation, in a moment."""

    async def main() -> float:
        async with Simulator(time_scale=600) as sim, sim.client() as vidu:
            await vidu.gather([await vidu.submit(TextToVideo(model="viduq3-turbo", prompt="a fox")) for _ in range(12)])
            return asyncio.get_running_loop().time()

    assert 60 < run_virtual(main()) < 600


class SlowToEnd(ThreadPoolExecutor):
    """Threads of a busy machine."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take a moment."""
        time.sleep(0.1)
        super().shutdown(wait, cancel_futures=cancel_futures)


def test_threads_that_end_slowly_do_not_make_time_run_out() -> None:
    """The loop waits for them at its end, for some minutes of its time in newer Pythons, and nothing warns."""

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(SlowToEnd())
        await asyncio.to_thread(time.sleep, 0.01)

    run_virtual(main())
