"""Other services' SDKs, each used as its own README does: its helper that waits, if it lets one set the pace.

The modules are imported by name: none is needed to check or to run the rest. Each speaks to the loopback server alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from benchmarks.contenders import KEY, LOOKS, OWN, PROMPT, Contender, Kind


@asynccontextmanager
async def fal(url: str) -> AsyncIterator[Contender]:
    """fal-client: `submit` and the handle's `get`, which asks for the state and then for the result.

    Its host can be set, but not that it speaks https: the address is put where it keeps it.
    """
    module: Any = import_module("fal_client.client")
    module.QUEUE_URL_FORMAT = f"{url}/"
    client = import_module("fal_client").AsyncClient(key=KEY)
    yield Contender(
        lambda: client.submit("owner/name", arguments={"prompt": PROMPT}), lambda handle: handle.get(interval=0)
    )
    await (await client._client).aclose()  # noqa: SLF001 - it cannot be closed otherwise


@asynccontextmanager
async def runway(url: str) -> AsyncIterator[Contender]:
    """runwayml: its `wait_for_task_output` looks every six seconds or so and cannot be told otherwise."""
    async with import_module("runwayml").AsyncRunwayML(api_key=KEY, base_url=url) as client:

        async def finish(task: Any) -> None:  # noqa: ANN401 - none of these is typed here
            while (await client.tasks.retrieve(task.id)).status != "SUCCEEDED":
                pass

        picture = "https://cdn.example/fox.png"
        settings = {"model": "gen4_turbo", "ratio": "1280:720", "duration": 5}
        yield Contender(
            lambda: client.image_to_video.create(prompt_image=picture, prompt_text=PROMPT, **settings), finish
        )


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Contender]:
    """openai: `videos.create` and `videos.poll`."""
    async with import_module("openai").AsyncOpenAI(api_key=KEY, base_url=url) as client:
        yield Contender(
            lambda: client.videos.create(model="sora-2", prompt=PROMPT, seconds="4", size="1280x720"),
            lambda video: client.videos.poll(video.id, poll_interval_ms=0),
        )


@asynccontextmanager
async def replicate(url: str) -> AsyncIterator[Contender]:
    """replicate: `predictions.async_create` and the prediction's `async_wait`."""
    client = import_module("replicate").Client(api_token=KEY, base_url=url)
    client.poll_interval = 0
    yield Contender(
        lambda: client.predictions.async_create(version="v1", input={"prompt": PROMPT}),
        lambda prediction: prediction.async_wait(),
    )
    await client._async_client.aclose()  # noqa: SLF001 - it cannot be closed otherwise


@asynccontextmanager
async def luma(url: str) -> AsyncIterator[Contender]:
    """lumaai: it has no helper that waits."""
    async with import_module("lumaai").AsyncLumaAI(auth_token=KEY, base_url=url) as client:

        async def finish(generation: Any) -> None:  # noqa: ANN401 - as above
            while (await client.generations.get(generation.id)).state != "completed":
                pass

        yield Contender(lambda: client.generations.create(model="ray-2", prompt=PROMPT), finish)


@asynccontextmanager
async def dashscope(url: str) -> AsyncIterator[Contender]:
    """dashscope: its `wait` looks every one to five seconds and cannot be told otherwise."""
    module: Any = import_module("dashscope")
    module.base_http_api_url = url
    videos = import_module("dashscope.aigc.video_synthesis").AioVideoSynthesis

    async def create() -> Any:  # noqa: ANN401 - as above
        answer = await videos.async_call(model="wan2.2-t2v-plus", prompt=PROMPT, api_key=KEY)
        assert answer.status_code == 200, answer
        return answer

    async def finish(task: Any) -> None:  # noqa: ANN401 - as above
        while (await videos.fetch(task, api_key=KEY)).output.task_status != "SUCCEEDED":
            pass

    yield Contender(create, finish)
    session = await import_module("dashscope.api_entities.aio_session").get_shared_aio_session()
    await session.close()


PEERS: dict[str, Kind] = {
    "fal-client": Kind(fal, "fal", "fal_client", LOOKS - 1),
    "runwayml": Kind(runway, "runway", "runwayml"),
    "openai": Kind(openai, "openai", "openai"),
    "replicate": Kind(replicate, "replicate", "replicate"),
    "lumaai": Kind(luma, "luma", "lumaai"),
    "dashscope": Kind(dashscope, "dashscope", "dashscope"),
}
CONTENDERS = OWN | PEERS
MISSING = "not installed: `pip install '.[bench]'`"


def is_installed(name: str) -> bool:
    """Whether what a contender needs is here."""
    package = CONTENDERS[name].package
    return not package or find_spec(package) is not None


def labelled(name: str) -> str:
    """Return a contender's name, a peer's with its version."""
    return f"{name} {version(name)}" if name in PEERS and is_installed(name) else name
