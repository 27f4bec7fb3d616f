"""The pytest fixture `vidu_simulator`.

pytest loads this file in every run of every project that has the package, so it must not import aiohttp.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vidu_async.testing.simulator import Simulator
from vidu_async.testing.threaded import run_in_thread


@pytest.fixture
def vidu_simulator() -> Iterator[Simulator]:
    """Run a `Simulator`, fresh for each test, in a thread of its own: any async test framework will do."""
    with run_in_thread(Simulator()) as simulator:
        yield simulator
