"""What several files of tests begin with: a simulated Vidu, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from vidu_async import ViduClient
from vidu_async.testing import Simulator


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
