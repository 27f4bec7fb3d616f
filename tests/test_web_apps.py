"""The two web applications among the examples, as processes of their own, in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from attrs import define, field
from browser import chromium, fresh_page
from pictures import jpeg, png

from vidu_async.testing import Faults, Reply, Serve, Simulator

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

    from vidu_async.testing.account import Task

    Story = Callable[[Page, "Site"], Awaitable[None]]

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = Path(__file__).parent.parent / "examples"
PICTURE: Any = {"name": "../../etc/passwd", "mimeType": "image/png", "buffer": png(320, 180)}
PATIENCE = 20.0


@define(eq=False)
class Site:
    """One of the applications, at work in a folder of its own."""

    name: str
    folder: Path
    sim: Simulator
    url: str = ""
    public_url: str = ""
    """Where it is called back, "" if it is to ask."""
    complaints: list[str] = field(factory=list)
    """What the browser's console said of errors."""
    _before: int = 0
    _process: asyncio.subprocess.Process | None = None

    async def start(self, *arguments: str) -> None:
        """Start it, again at the port it had before, and wait until it listens."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VIDU_")}
        environment |= {"VIDU_BASE_URL": self.sim.url, "VIDU_API_KEY": self.sim.api_key, "PYTHONUNBUFFERED": "1"}
        warnings = "default" if self.public_url else "error"  # it is warned of that this machine is called back
        if self.public_url:
            environment["PUBLIC_URL"] = self.public_url
        port = self.url.rpartition(":")[2] or "0"
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", warnings, str(EXAMPLES / self.name), "--port", port, *arguments),
            cwd=self.folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        said = b""
        async with asyncio.timeout(PATIENCE):
            while (found := re.search(rb"http://127\.0\.0\.1:\d+", said)) is None:
                line = await self._process.stdout.readline()
                assert line, said.decode()
                said += line
        self.url = found[0].decode()

    async def end(self, how: signal.Signals) -> str:
        """End it and return what it said."""
        assert self._process is not None
        with suppress(ProcessLookupError):  # it may have ended by itself
            self._process.send_signal(how)
        async with asyncio.timeout(PATIENCE):
            said, _ = await self._process.communicate()
        self._process = None
        return said.decode()

    async def begin(self) -> None:
        """Begin with another story: nothing goes wrong, and nothing is ordered yet."""
        self.release()
        self.sim.faults, self._before = Faults(), len(self.sim.accepted)
        self.complaints.clear()
        if self._process is None:
            await self.start()

    @property
    def accepted(self) -> list[Task]:
        """What was paid in this story."""
        return self.sim.accepted[self._before :]

    def hold(self, state: str) -> None:
        """Have the service say that every task is in a state, until `release`."""

        async def held(method: str, path: str, *_: object) -> Reply | None:
            if path.endswith("/creations"):
                return Reply(body={"state": state, "creations": []})
            return Reply(404) if method == "GET" and path.endswith("/tasks") else None  # no list tells otherwise

        self.sim.intercept = held

    def release(self) -> None:
        """Let the service answer for itself."""
        self.sim.intercept = None

    async def close(self) -> None:
        """End it if it is still at work."""
        if self._process is not None:
            await self.end(signal.SIGKILL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Site]]:
    """Both applications, each with a service that outlives it."""
    async with Simulator() as one, Simulator() as other:
        named = (("web_app.py", one), ("fastapi_app.py", other))
        running = [Site(name, tmp_path_factory.mktemp(name), sim) for name, sim in named]
        try:
            yield running
        finally:
            await asyncio.gather(*(site.close() for site in running))


def on_both(story: Story) -> Callable[[Browser, list[Site]], Awaitable[None]]:
    """Make a test of a story: it is played on both applications at once, most of whose time is spent waiting."""

    async def play(browser: Browser, site: Site) -> None:
        try:
            await site.begin()
            async with fresh_page(browser, site.complaints) as page:
                await page.goto(site.url)
                await story(page, site)
        except BaseException as error:
            error.add_note(f"at {site.name}, where the browser says {site.complaints}")
            raise

    async def test(browser: Browser, sites: list[Site]) -> None:
        # None is cancelled for the other's failure: it might be starting a process that nobody would end.
        ends = await asyncio.gather(*(play(browser, site) for site in sites), return_exceptions=True)
        if failures := [end for end in ends if end is not None]:
            raise BaseExceptionGroup(story.__doc__ or "", failures)

    test.__doc__ = story.__doc__
    return test


async def order(page: Page, prompt: str, picture: Any = PICTURE, *, clicks: int = 1) -> None:
    """Fill in the form and send it."""
    await page.get_by_label("Choose a picture").set_input_files(picture)
    await page.get_by_label("What happens in it?").fill(prompt)
    await page.get_by_role("button", name="Make the film").click(click_count=clicks, delay=5)


async def seen(page: Page, prompt: str, state: str) -> None:
    """Wait until a film is in a state, as the page calls it."""
    film = page.get_by_role("listitem").filter(has_text=prompt)
    await film.locator("b", has_text=state).wait_for()


async def plays(page: Page, place: int = 0) -> None:
    """Wait until a film of the list moves."""
    video = page.locator("video").nth(place)
    async with asyncio.timeout(PATIENCE):
        while not await video.evaluate("film => film.currentTime > 0 && film.readyState >= 3 && film.videoWidth > 0"):
            await video.evaluate("film => film.scrollIntoView({ block: 'center' })")  # elsewhere it rests
            await asyncio.sleep(0.1)


@on_both
async def test_a_picture_becomes_a_film(page: Page, site: Site) -> None:
    """And its states are told; a double click pays once, and a reload finds both films, the newest first."""
    site.hold("processing")
    async with page.expect_response("**/orders") as answered:
        await order(page, "the fox runs", clicks=2)
    assert (await (await answered.value).request.response()).status == 202  # type: ignore[union-attr]
    await seen(page, "the fox runs", "Being made")
    await page.get_by_text("45 credits").wait_for()
    await order(page, "<b>the owl flies</b>")
    site.release()
    for place, prompt in enumerate(["<b>the owl flies</b>", "the fox runs"]):
        await seen(page, prompt, "Ready")
        await plays(page, place)
    await page.reload()
    await plays(page)
    assert "owl" in (await page.get_by_role("listitem").all_inner_texts())[0]
    assert len(site.accepted) == 2
    assert site.complaints == []
    names = {path.name for path in (site.folder / "web-films").iterdir() if path.suffix == ".mp4"}
    assert len(names) >= 2
    assert all(re.fullmatch(r"[0-9a-f]{64}\.mp4", name) for name in names)


@on_both
async def test_a_film_survives_whatever_ends_its_page_or_its_server(page: Page, site: Site) -> None:
    """In the middle of it: a reload, Ctrl-C, which does not wait for pages, and a kill. Journal and token know it."""
    site.hold("processing")
    await order(page, "the fox runs")
    await seen(page, "the fox runs", "Being made")
    await page.reload()
    await seen(page, "the fox runs", "Being made")
    said = await site.end(signal.SIGINT)
    assert not re.search(r"Traceback|vidu1\.", said), said
    assert "Cancel 2" not in said  # uvicorn tells how many it had to end: the page that was left is none of them
    await site.start()
    await seen(page, "the fox runs", "Being made")
    await site.end(signal.SIGKILL)
    await seen(page, "the fox runs", "Connecting")
    site.release()
    await site.start()
    await plays(page)
    assert len(site.accepted) == 1


@on_both
async def test_an_order_whose_answer_was_lost_is_paid_once(page: Page, site: Site) -> None:
    """A page that was left asks for what became of its key; one that is there sends it again under the same."""
    await order_slowly(page, site, "the owl flies")
    await page.reload()
    await seen(page, "the owl flies", "Ready")
    await order_slowly(page, site, "the fox runs")
    await site.end(signal.SIGKILL)
    await site.start()
    await seen(page, "the fox runs", "Ready")
    assert len(site.accepted) == 2


async def order_slowly(page: Page, site: Site, prompt: str) -> None:
    """Send an order, and return once it is paid but not answered."""

    async def slowly(method: str, *_: object) -> Serve | None:
        return Serve(delay=1) if method == "POST" else None

    site.sim.intercept = slowly
    before = len(site.accepted)
    await order(page, prompt)
    async with asyncio.timeout(PATIENCE):
        while len(site.accepted) == before:
            await asyncio.sleep(0.01)


@on_both
async def test_errors_are_told_in_words(page: Page, site: Site) -> None:
    """Of a file that is no picture, of one that is too large, and of a film that failed; none is paid."""
    await order(page, "the fox runs", {"name": "fox.png", "mimeType": "image/png", "buffer": b"no picture"})
    await page.get_by_role("alert").filter(has_text="The picture must be one of image/jpeg").wait_for()
    large = site.folder / "fox.png"
    large.write_bytes(bytes(13 * 1024**2))
    await page.get_by_label("Choose a picture").set_input_files(large)
    await page.get_by_role("alert").filter(has_text="larger than 12 MB").wait_for()
    site.sim.faults = Faults(failures={"CreationPolicyViolation": 1})
    await order(page, "the fox runs")
    await seen(page, "the fox runs", "No film")
    await page.get_by_text("Failed tasks are not charged").first.wait_for()
    await page.get_by_role("button", name="Remove the film: the fox runs").click()
    await page.reload()
    await page.get_by_text("Your films will be here").wait_for()
    assert len(site.complaints) == 1  # the browser itself notes each 422
    assert [task.credits for task in site.accepted] == [0]


@on_both
async def test_strangers_get_clean_answers(page: Page, site: Site) -> None:
    """Nothing is ordered without a key, beyond the limit or without a picture, and no token leads anywhere else."""

    def form(picture: bytes, prompt: str = "the fox runs") -> aiohttp.FormData:
        made = aiohttp.FormData({"prompt": prompt})
        made.add_field("image", BytesIO(picture), filename="../../fox.jpg")
        return made

    fetched = site.sim.requests["GET /results/{id}/{name}"]
    key = {"Idempotency-Key": "9b2f7c1e-0000-4000-8000-000000000001"}
    async with aiohttp.ClientSession(site.url) as session:

        async def status(method: str, path: str, **options: Any) -> int:
            async with session.request(method, path, **options) as answer:
                assert answer.status == 413 or answer.headers["X-Content-Type-Options"] == "nosniff"
                return answer.status

        for headers in ({}, {"Idempotency-Key": "../journal.db"}):
            assert await status("POST", "/orders", data=form(jpeg()), headers=headers) in {400, 422}
        assert await status("POST", "/orders", data={"prompt": "no picture"}, headers=key) in {400, 422}
        assert await status("POST", "/orders", data=form(bytes(13 * 1024**2)), headers=key) == 413
        assert await status("GET", f"/orders/{key['Idempotency-Key']}") == 404
        for token in ("911045603801182208", "vidu1.AAAA", "..%2fjournal.db", "vidu1.WyIxIiwiaHR0cDovL2EiLDBd"):
            assert await status("GET", f"/events/{token}") in {400, 404, 422}
            assert await status("GET", f"/films/{token}") in {400, 404, 422}
        assert site.accepted == []

        async with session.post("/orders", data=form(jpeg()), headers=key) as answer:
            named = await answer.json()
        async with session.post("/orders", data=form(jpeg(), "the owl flies"), headers=key) as answer:
            assert answer.status == 409

        async def told() -> list[dict[str, Any]]:
            async with session.get(f"/{named['events']}") as stream:
                assert stream.content_type == "text/event-stream"
                return [json.loads(line[6:]) async for line in stream.content if line.startswith(b"data: ")]

        first, second = await asyncio.gather(told(), told())
        assert first[0].keys() == {"state", "age", "credits"}
        assert first[-1] == second[-1]
        async with session.get(f"/{first[-1]['film']}", headers={"Range": "bytes=4-7"}) as part:
            assert (part.status, part.content_type, await part.read()) == (206, "video/mp4", b"ftyp")
    assert site.sim.requests["GET /results/{id}/{name}"] == fetched + 1


async def test_a_simulated_site_needs_nothing(browser: Browser, tmp_path: Path) -> None:
    """No key and no folder: it is a demonstration."""
    async with Simulator() as unused:
        site = Site("web_app.py", tmp_path, unused)
        await site.start("--simulate")
        try:
            async with fresh_page(browser, site.complaints) as page:
                await page.goto(site.url)
                await order(page, "the fox runs")
                await seen(page, "the fox runs", "Being made")
            assert unused.accepted == []
        finally:
            await site.close()
    assert list(tmp_path.iterdir()) == []


@on_both
async def test_a_site_with_a_public_url_is_called_back(page: Page, site: Site) -> None:
    """And the film is there all the same."""
    await site.end(signal.SIGINT)
    site.public_url = site.url
    await site.start()
    await page.reload()
    await order(page, "the fox runs")
    await seen(page, "the fox runs", "Ready")
    assert site.accepted[0].request["callback_url"].startswith(f"{site.url}/vidu/")
    async with asyncio.timeout(PATIENCE):
        while not any(delivery.delivered for delivery in site.sim.deliveries):
            await asyncio.sleep(0.01)
