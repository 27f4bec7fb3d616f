"""What several files of tests begin with: a simulated Vidu, and a client of it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from vidu_async import ViduClient
from vidu_async.testing import Simulator

settings.register_profile("no deadline", deadline=None)  # the machine may be busy: no test is timed
settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def hears_interrupts() -> None:
    """Some tests interrupt a child, which would be as deaf to it as what a shell starts in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A running simulator."""
    async with Simulator() as running:
        yield running


@pytest.fixture
async def vidu(sim: Simulator) -> AsyncIterator[ViduClient]:
    """A client of it."""
    async with sim.client() as client:
        yield client
