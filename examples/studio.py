"""What web_app.py and fastapi_app.py do with Vidu, without a word of HTTP: films are ordered, told of and kept.

The journal and the films are in web-films/, so that a site that was killed goes on where it was. A simulated one
forgets everything, and costs nothing.
"""

import argparse
import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from vidu_async import (
    CallbackReceiver,
    ConfigError,
    DownloadError,
    IdempotencyConflictError,
    ImageToVideo,
    InsufficientCreditsError,
    LimiterFullError,
    NotFoundError,
    PolicyViolationError,
    RateLimitError,
    TaskHandle,
    TaskTimeoutError,
    ValidationError,
    ViduClient,
    ViduError,
)
from vidu_async.testing import Simulator

PAGE = Path(__file__).with_name("page.html")
LARGEST = 12 * 1024**2
"""Bytes of an order. Vidu takes 20 MB as base64, which is 15 MB of picture."""
SHAPE = r"vidu\d+\.[\w-]+"
"""What handles' tokens look like. They are no secrets: a task's id can be read from one, or made into one."""
PUBLIC_URL = os.environ.get("PUBLIC_URL", "").rstrip("/")
"""The site as the world sees it. With it Vidu calls when a film is done; without it is asked now and then."""
# Gateways sign callbacks with keys of their own. Where Vidu itself calls, leave out verify=: its signature is checked.
CALLBACKS = CallbackReceiver(f"{PUBLIC_URL}/vidu", verify="token+fetch") if PUBLIC_URL else None
STATUS: dict[type[ViduError], int] = {
    ValidationError: 422,
    PolicyViolationError: 422,
    IdempotencyConflictError: 409,
    ConfigError: 404,  # a token that is damaged, or of another gateway
    NotFoundError: 404,
    InsufficientCreditsError: 402,
    RateLimitError: 429,
    LimiterFullError: 503,
    TaskTimeoutError: 503,  # a film that is not there yet
}


class Studio:
    """One client with its journal, and a folder of films."""

    def __init__(self, vidu: ViduClient, folder: Path) -> None:
        self.vidu, self._folder = vidu, folder
        self._saving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def order(self, picture: bytes, prompt: str, key: str) -> dict[str, Any]:
        """Order a film and say how it is called. With the same key it is the same film, and is paid once."""
        self.vidu.resume()  # somebody who orders again after a refusal may have bought credits meanwhile
        wanted = ImageToVideo(model="viduq3-turbo", images=[picture], prompt=prompt)
        return called(await self.vidu.submit(wanted, key=key))

    async def recall(self, key: str) -> dict[str, Any] | None:
        """Say how the film of a key is called, to somebody who did not hear it; None if there is none."""
        handle = await self.vidu.recall(key)
        return called(handle) if handle else None

    async def news(self, handle: TaskHandle) -> AsyncIterator[dict[str, Any]]:
        """Yield each state of a film, and at the end where it is or why there is none.

        What may pass ends it without a word: the page comes back by itself.
        """
        try:
            async for task in handle.events(timeout=None):
                age = (datetime.now(UTC) - task.created_at).total_seconds() if task.created_at else None
                yield {"state": task.state.value, "age": age, "credits": task.credits}
            await self.film(handle)
            yield {"film": f"films/{handle.token}"}
        except ViduError as error:
            if not (isinstance(error, DownloadError) and error.is_passing):
                yield told(error)[0]

    async def film(self, handle: TaskHandle) -> Path:
        """Return the file of a film, downloaded once, by whoever asks first: links to results expire.

        Its name is a hash, so that nothing that was asked for becomes a path.
        """
        path = self._folder / f"{hashlib.sha256(handle.token.encode()).hexdigest()}.mp4"
        async with self._saving.setdefault(handle.token, asyncio.Lock()):
            if not path.exists():
                await self.vidu.download(await handle.result(timeout=10), path, exists="skip")
        return path


@asynccontextmanager
async def open_studio(*, simulate: bool) -> AsyncIterator[Studio]:
    """Open a studio as long as the site is up."""
    async with AsyncExitStack() as stack:
        if simulate:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            simulator = await stack.enter_async_context(Simulator(time_scale=60))
            vidu = simulator.client(journal=folder / "journal.db", callbacks=CALLBACKS)
        else:
            folder = Path("web-films")
            folder.mkdir(exist_ok=True)
            vidu = ViduClient(journal=folder / "journal.db", callbacks=CALLBACKS)
        yield Studio(await stack.enter_async_context(vidu), folder)


def called(handle: TaskHandle) -> dict[str, Any]:
    paid = handle.task.credits if handle.task else None
    return {"token": handle.token, "events": f"events/{handle.token}", "credits": paid}


def told(error: ViduError) -> tuple[dict[str, Any], int]:
    """Return an error in words that the page shows, with what it means for the credits, and the HTTP status for it."""
    said = str(error).replace("images[0]", "the picture")
    if error.paid == "maybe":
        said = "The answer to this order was lost, and it may be paid. Send it again as it is: it is not paid twice."
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 502)
    return {"error": said[:1].upper() + said[1:], "paid": error.paid}, status


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--simulate", action="store_true", help="make films on the built-in simulator, for nothing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port, 0 for a free one (%(default)s)")
    return parser.parse_args()
