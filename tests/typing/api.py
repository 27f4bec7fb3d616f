"""The whole public surface as a type checker sees it. Never executed: mypy in strict mode is the test."""

from __future__ import annotations

import io
import ssl
import tempfile
import warnings
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, assert_type

import aiohttp
import numpy as np
from aiohttp import web
from fastapi import FastAPI
from PIL import Image

from vidu_async import (
    APIError,
    Batch,
    CallbackReceiver,
    Creation,
    Credits,
    Forecast,
    Gateway,
    ImageToVideo,
    Journal,
    Limiter,
    Limits,
    Outcome,
    Polling,
    RateLimitError,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    Request,
    StartEndToVideo,
    Subject,
    SubmissionUnknownError,
    Summary,
    Task,
    TaskError,
    TaskHandle,
    TaskState,
    TaskTimeoutError,
    TextToVideo,
    Timeouts,
    Unresolved,
    ValidationError,
    VideoInfo,
    ViduClient,
    ViduError,
    ViduWarning,
    WatermarkPosition,
    aiohttp_app,
    asgi_app,
    request_from_wire,
    sign_callback,
    verify_callback,
)
from vidu_async.display import show
from vidu_async.events import ItemEnded
from vidu_async.items import Source
from vidu_async.progress import LogProgress, RichProgress, Tally, TqdmProgress
from vidu_async.protocol.given import Media
from vidu_async.testing import (
    CUT,
    DROP,
    DROP_AFTER,
    Callbacks,
    Delivery,
    Faults,
    Refusal,
    Reply,
    Serve,
    Simulator,
    Throttle,
    run_virtual,
)


def in_hand(path: Path, buffer: bytearray, file: BinaryIO, drawn: Image.Image) -> list[Media]:
    """Every way to give a picture."""
    array = np.zeros((128, 128, 3), np.uint8)
    with path.open("rb") as opened, tempfile.NamedTemporaryFile() as named:
        some: list[Media] = [
            path,
            str(path),
            bytes(buffer),
            buffer,
            memoryview(buffer),
            file,
            opened,
            named,
            drawn,
            array,
        ]
        return [*some, io.BytesIO(buffer), path.open("rb", buffering=0)]


def requests(picture: Path, content: bytes) -> list[Request]:
    """Every request with every kind of medium."""
    ImageToVideo(model="m", images=[np.zeros((128, 128), np.uint8)])
    Subject(name="fox", images=[io.BytesIO(content), Image.new("RGB", (128, 128))])
    subject = Subject(name="fox", images=[picture], voice_id="v", server_id=None, extra={"style": "x"})
    return [
        ImageToVideo(model="m", images=["https://a.invalid/x.png"], audio=True, seed=1, wm_position="top_left"),
        StartEndToVideo(model="m", images=[picture, content], wm_position=WatermarkPosition.TOP_LEFT, duration=5),
        ReferenceToVideo(model="m", prompt="p", subjects=[subject], auto_subjects=False),
        ReferenceToVideo(model="m", prompt="p", images=(picture,), videos=["clip.mp4"]),
        ReferenceToImage(model="m", prompt="p", resolution="2K", payload="x", callback_url="https://a.invalid/"),
        TextToVideo(model="m", prompt="p", off_peak=True, meta_data="{}", extra={"client_request_id": "1"}),
        RawRequest("extend", {"model": "m", "images": [picture]}),
        request_from_wire("img2video", {"model": "m"}, base_dir=picture.parent),
        TextToVideo.from_wire({"model": "m", "prompt": "p"}),
    ]


async def client(session: aiohttp.ClientSession) -> None:
    """Every method of the client."""
    async with ViduClient(
        "key",
        gateway=Gateway(
            base_url="https://a.invalid",
            api_root="/v2",
            auth_header="X-Key",
            auth_scheme="",
            headers={"X-Tenant": "den"},
            query_path="creations?task_id={id}",
            lists=True,
            cancels=None,
            credits=False,
            subjects=False,
            uploads=None,
            models={"viduq2"},
            model_aliases={"viduq2": "q2"},
            subject_key="id",
        ),
        strict=True,
        limits=Limits(submissions=8, in_flight=None, rate=2.5, queue=100),
        polling=Polling(min_interval=1.0, max_interval=20.0, max_per_second=None),
        timeouts=Timeouts(connect=10, read=120, write=60, submit=600, quiet=600),
        journal=Journal("vidu.db", durability="process", busy_timeout=1.0),
        on_unknown="resend",
        upload_above=1_000_000,
        session=session,
        proxy="http://127.0.0.1:3128",
        ssl=ssl.create_default_context(),
    ) as vidu:
        request = TextToVideo(model="m", prompt="p")
        handle = await vidu.submit(request, key="row")
        assert_type(handle, TaskHandle)
        assert_type(await vidu.run(request, timeout=None), Task)
        assert_type(vidu.attach(handle.token), TaskHandle)
        assert_type(await vidu.submit(request, key="row", retry_failed=True), TaskHandle)
        assert_type(vidu.unfinished(), list[TaskHandle])
        assert_type(vidu.unresolved(), list[Unresolved])
        assert_type(await vidu.reconcile(), list[TaskHandle])
        assert_type(await vidu.resolve("row", task_id="1"), TaskHandle | None)
        assert_type(await vidu.resolve("row", resend=True), TaskHandle | None)
        assert_type(await vidu.resolve("row", give_up=True), TaskHandle | None)
        vidu.resume()
        assert_type(await vidu.gather([handle]), list[Task])
        assert_type(await vidu.gather([handle], return_exceptions=True), list[Task | ViduError])
        async for one in vidu.as_completed([handle]):
            assert_type(one, TaskHandle)
        async for task in vidu.tasks(states=[TaskState.FAILED], task_ids=["1"], created_from=datetime.min, page_size=5):  # noqa: DTZ901
            assert_type(task, Task)
        async for subject in vidu.subjects(ownership="system"):
            assert_type(subject, Subject)
        assert_type(await vidu.credits(), Credits)
        assert_type([await vidu.upload(picture) for picture in ("fox.png", Path("fox.png"), b"")], list[str])
        assert_type(await vidu.create_subject(Subject(name="fox")), Subject)
        assert_type(await vidu.download(await handle, "out/", exists="skip", name="fox", variant="cover_url"), Path)
        await vidu.cancel(handle.task_id)
        await vidu.aclose()


async def handles(handle: TaskHandle) -> None:
    """Everything a handle can do."""
    assert_type(await handle, Task)
    assert_type(await handle.result(timeout=5.0), Task)
    assert_type(await handle.wait(timeout=None), Task)
    assert_type(await handle.refresh(), Task)
    assert_type(handle.state, TaskState)
    assert_type(handle.task, Task | None)
    assert_type(handle.token, str)
    assert_type(handle.key, str | None)
    async for task in handle.events():
        assert_type(task.state.is_terminal, bool)
    await handle.cancel()


def doubts(request: TextToVideo) -> None:
    """What may be warned of."""
    assert_type(request.doubts(), tuple[ValidationError, ...])
    warnings.simplefilter("error", ViduWarning)


def values(task: Task, creation: Creation) -> None:
    """What answers hold."""
    assert_type(task.creations, tuple[Creation, ...])
    assert_type(task.created_at, datetime | None)
    assert_type(task.credits, int | None)
    assert_type(task.raw, dict[str, Any])
    assert_type(creation.expires_at, datetime | None)
    assert_type(creation.video, VideoInfo | None)


def errors(error: ViduError) -> object:  # noqa: PLR0911 - one for each class
    """What errors carry."""
    if isinstance(error, RateLimitError):
        return assert_type(error.retry_after, float | None)
    if isinstance(error, APIError):
        return error.status, error.statuses, error.reason, error.message, error.trace_id, error.is_upstream
    if isinstance(error, SubmissionUnknownError):
        return error.key, error.token, error.endpoint, error.evidence, error.committed_at, error.trace_id
    if isinstance(error, ValidationError):
        return error.field, error.value, error.allowed
    if isinstance(error, TaskTimeoutError):
        return assert_type(error.token, str)
    if isinstance(error, TaskError):
        return assert_type(error.task, Task)
    return error.paid, error.phase, error.key, error.task_id


async def called_back() -> None:
    """A receiver is given to clients, and mounted."""
    receiver = CallbackReceiver("https://a.invalid/vidu", keys=("new", "old"), verify="hmac+fetch", max_age=60)
    CallbackReceiver(["https://a.invalid", "https://b.invalid"], verify="token+fetch")
    ViduClient(gateway=Gateway(base_url="https://c.invalid", signs=True), callbacks=receiver)
    app = web.Application()
    app.add_subapp("/vidu", aiohttp_app(receiver))
    FastAPI().mount("/vidu", asgi_app(receiver))

    async def read(most: int) -> bytes:
        return b"{}"[:most]

    assert_type(await receiver.receive("POST", "/token", {"Date": "x"}, b"{}"), int)
    assert_type(await receiver.answer("POST", "/token", [("Date", "x")], read), int)
    assert_type(receiver.counts, Counter[str])
    assert_type(receiver.url_for("token") + receiver.public_url, str)


def callbacks() -> None:
    """A callback is signed for a test, and checked."""
    headers = sign_callback(
        url="https://example.com/vidu?job=7", key="k", date="Tue, 06 May 2025 12:09:42 GMT", nonce="n"
    )
    assert_type(headers, dict[str, str])
    verify_callback(method="POST", url="/vidu?job=7", headers=headers, keys=["k"], now=1.0, max_age=60)
    verify_callback(method="POST", url="/vidu?job=7", headers=headers.items(), keys=("k",))


async def simulated_callbacks() -> None:
    """The simulator calls back as told, and forges."""
    ways = Callbacks(key="k", drops=0.1, repeats=1, reorders=0.5, route=lambda url: url)
    async with Simulator(callbacks=ways) as simulator:
        assert_type(await simulator.forge("1", state="failed", key="x", age=400, nonce="n"), int)
        assert_type(simulator.deliveries, list[Delivery])


def lost(row: Unresolved) -> None:
    """What is known of a lost creation."""
    assert_type(row.committed_at, datetime | None)
    assert_type(row.likely, tuple[str, ...])
    assert_type((row.key, row.token, row.endpoint, row.state, row.evidence), tuple[str, str, str, str, str])


async def batches(vidu: ViduClient, request: Request) -> None:
    """What works through many."""
    sources: tuple[Source, ...] = ("jobs.jsonl", Path("jobs.csv"), [request], [("key", request)], iter([request]))
    for source in sources:
        Batch(vidu, source)
    async with Batch(
        vidu,
        [request],
        budget=100,
        unknown_price=45,
        concurrency=8,
        download="out/",
        deadline=60.0,
        endpoint="text2video",
    ) as batch:
        assert_type(await batch.dry_run(), Forecast)
        async for outcome in batch:
            assert_type(outcome, Outcome)
            assert_type((outcome.key, outcome.request, outcome.task), tuple[str | None, Request | None, Task | None])
            assert_type((outcome.error, outcome.paths), tuple[ViduError | None, tuple[Path, ...]])
        batch.stop()
    assert_type(await batch.run(), Summary)
    assert_type((batch.summary.failed, batch.summary.worst_case), tuple[dict[str, int], int | None])
    assert_type(await vidu.fingerprint(request), str)
    assert_type(await vidu.recall("key"), TaskHandle | None)
    await vidu.check(request, key="key")


async def progress() -> None:
    """What shows what goes on."""
    with RichProgress(total=3) as region, TqdmProgress() as bar, LogProgress(write=print, every=5.0) as lines:
        for show in (region, bar, lines):
            assert_type(ViduClient(on_event=show), ViduClient)
            assert_type(show.tally, Tally)
        assert_type(region.svg(width=80, title="a batch"), str)
    tally = Tally(items=7)
    tally(ItemEnded(key="fox"), 0.0)
    assert_type((tally.items, tally.rate(0.0), tally.eta(0.0)), tuple[int | None, float, float | None])


def notebook(task: Task, paths: list[Path]) -> None:
    """What shows a result in a notebook."""
    show(task, paths[0])
    show(task, paths, most=50_000_000)
    show(None, ("fox.mp4", "cat.png"))


async def testing() -> None:
    """What tests of users use."""
    async with Simulator(
        time_scale=1.0,
        credits=5,
        fails=lambda _: None,
        dialect="deepwl",
        ways=Gateway(base_url="https://a.invalid", query_path="task/{id}/creations"),
        new_id=lambda: "video_1",
        faults=Faults(failures={"AuditFailed": 0.1}, refusals={"TooManyRequests": 0.1, 502: 0.1}, on="everything"),
        throttle=Throttle(rate=5, quota=10, retry_after=1),
        list_lag=1.0,
        query_lag=1.0,
        link_life=60,
        on_change=print,
        seed=7,
    ) as sim:
        assert_type(sim.client(limits=Limiter(Limits(rate=1))), ViduClient)
        assert_type([(upload.uri, upload.size, upload.sha256) for upload in sim.uploads], list[tuple[str, int, str]])
        sim.faults = Faults(drops_before=0.1, drops_after=0.1, cuts=0.1, slow=0.1)
        sim.intercept = intercept


async def intercept(_method: str, path: str, *_: object) -> Reply | Serve | Refusal | None:
    """Every kind of verdict that is not a constant."""
    verdicts = (Reply(503, after=True, cut=True), Serve(delay=1), Refusal("AuditFailed", "no"), CUT, DROP, DROP_AFTER)
    assert verdicts
    return None if path else Reply(200, {"task_id": "7"})


def virtual() -> None:
    """Virtual time returns what the coroutine does."""
    assert_type(run_virtual(testing()), None)
