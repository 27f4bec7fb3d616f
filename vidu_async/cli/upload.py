"""`vidu-async upload`: pictures into Vidu's storage, and what requests call them there."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

from vidu_async.cli import interrupts
from vidu_async.cli.connection import connect
from vidu_async.cli.output import Results, error_record
from vidu_async.cli.settings import Settings, connected, examples
from vidu_async.cli.troubles import complain, status_of
from vidu_async.protocol.errors import ViduError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidu_async.cli.interrupts import Interrupts
    from vidu_async.client import ViduClient

_AT_ONCE = 4


@click.command(
    epilog=examples(
        "vidu-async upload fox.png",
        'vidu-async run img2video model=viduq3-turbo images="$(vidu-async upload fox.png)"',
    )
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@connected
@click.pass_obj
def upload(settings: Settings, *, files: tuple[str, ...]) -> int:
    """Put each FILE, a picture, into Vidu's storage and print its URI, in their order.

    Requests may refer to it for 7 days. Nothing is paid for it. Not every gateway takes uploads.
    """
    return interrupts.run(partial(_upload, settings, files))


async def _upload(settings: Settings, files: Sequence[str], _interrupts: Interrupts) -> int:
    """Upload few at once, tell of them in their order, and return the worst exit status."""
    results, places = Results(settings.json), asyncio.Semaphore(_AT_ONCE)

    async def one(vidu: ViduClient, file: str) -> str | ViduError:
        try:
            async with places:
                return await vidu.upload(file)
        except ViduError as error:
            return error

    async with AsyncExitStack() as stack:
        vidu = await connect(stack, settings)
        found = await asyncio.gather(*(one(vidu, file) for file in files))
    return max(_told(settings, results, file, uri) for file, uri in zip(files, found, strict=True))


def _told(settings: Settings, results: Results, file: str, uri: str | ViduError) -> int:
    """Tell what became of a file; return the exit status that it means."""
    if isinstance(uri, str):
        results.tell({"type": "upload", "file": file, "uri": uri}, uri)
        return 0
    complain(uri, settings)
    if settings.json:
        results.tell(error_record(uri) | {"file": file})
    return status_of(uri)
