"""A command's client: of the site in the options, or of a simulator of its own; and who shows what happens to it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidu_async.cli.output import is_live, say
from vidu_async.client import ViduClient
from vidu_async.progress import LogProgress, RichProgress
from vidu_async.protocol.errors import ConfigError
from vidu_async.settings import Timeouts

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from vidu_async.cli.settings import Settings
    from vidu_async.journal_file import Journal

_SLOW, _AT_ONCE = 5.0, 50
"""A simulated task takes half a second, and that many are processed at once."""
_SIMULATED = "Simulated: a Vidu on this machine answers; nothing is sent anywhere, and nothing is paid."
_NOBODYS_KEY = "no-key-is-needed-to-look"


async def connect(
    stack: AsyncExitStack,
    settings: Settings,
    *,
    journal: str | os.PathLike[str] | Journal | None = None,
    is_only_looking: bool = False,
    **options: Any,  # noqa: ANN401 - those of ViduClient
) -> ViduClient:
    """Return a client that is closed with the stack.

    What is only looking at files needs no key.

    Raises:
        ConfigError: there is no key, or a setting cannot work.

    """
    if settings.timeout:
        options["timeouts"] = Timeouts(read=settings.timeout)
    options |= settings.client
    if settings.simulate:
        return await _simulated(stack, settings, **options)
    if not is_only_looking:
        check_key(settings)
    key = os.environ.get("VIDU_API_KEY") or _NOBODYS_KEY
    client = ViduClient(key, base_url=settings.base_url, journal=journal, **options)
    return await stack.enter_async_context(client)


def check_key(settings: Settings) -> None:
    """Refuse to go on without a key where one is needed, before anything is made.

    Raises:
        ConfigError: there is none.

    """
    if not (settings.simulate or os.environ.get("VIDU_API_KEY")):
        raise ConfigError("no API key: set VIDU_API_KEY to yours. --simulate needs none")


async def _simulated(stack: AsyncExitStack, settings: Settings, **options: Any) -> ViduClient:  # noqa: ANN401 - as above
    """Return a client of a simulator, with a journal of its own: simulated tasks are never taken for paid ones."""
    from vidu_async.testing.simulator import Simulator  # noqa: PLC0415 - where it is asked for

    if settings.journal or settings.base_url:
        given = "--journal" if settings.journal else "--base-url"
        raise ConfigError(f"--simulate and {given} exclude each other: simulated tasks are no paid ones")
    say(_SIMULATED)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vidu-async-"))
    simulator = await stack.enter_async_context(Simulator(time_scale=_SLOW, concurrency=_AT_ONCE))
    client = simulator.client(journal=Path(folder) / "journal.db", **options)
    return await stack.enter_async_context(client)


def observer() -> RichProgress | LogProgress:
    """Return what shows events on stderr once it is entered: live on a terminal that can, else as plain lines."""
    return RichProgress() if is_live() else LogProgress(write=say)
