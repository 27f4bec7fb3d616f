"""Debian's Chromium for tests, without a window: started once for a file of tests, with a fresh page for each.

Where there is no browser its tests are skipped; with VIDU_ASYNC_REQUIRE_BROWSER=1, as in CI, they fail.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

_CHROMIUM = Path("/usr/bin/chromium")


def _lacking() -> str:
    """Say what there is to install, "" if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "NO BROWSER IS TESTED: pip install playwright"
    return "" if _CHROMIUM.exists() else "NO BROWSER IS TESTED: apt-get install --no-install-recommends chromium"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a browser; skip the tests that want it if there is none."""
    if lacking := _lacking():
        (pytest.fail if os.environ.get("VIDU_ASYNC_REQUIRE_BROWSER") else pytest.skip)(lacking)
    from playwright.async_api import async_playwright  # noqa: PLC0415 - what may be missing

    async with async_playwright() as playwright:
        # In a container its sandbox refuses to run as root, and there is little shared memory.
        settings = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=settings)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def fresh_page(browser: Browser, complaints: list[str]) -> AsyncIterator[Page]:
    """Open a page that remembers nothing; what its console says of errors is added to `complaints`."""
    context = await browser.new_context(viewport={"width": 390, "height": 844})
    page = await context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
