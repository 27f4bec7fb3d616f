"""The simulator's HTTP: aiohttp.web around `service`, and the store of results.

Reads a whole request, asks, writes the answer. This file and `courier` import aiohttp, so both are imported late.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from attrs import define, field

from vidu_async.testing import answers
from vidu_async.testing.account import Task
from vidu_async.testing.intercept import SERVE, Drop, Reply, Serve
from vidu_async.testing.links import LinkRefused
from vidu_async.testing.refusals import Refusal, refuse_unless
from vidu_async.testing.service import Asked, Route, Service

_MOST_BYTES = 20 * 1024 * 1024
_SHUTDOWN_SECONDS = 0.1
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - said by whoever listens there
"""Where this machine finds what listens on every address: no client may be sent to those."""
_WITHOUT_BODY = {204, 304}

# aiohttp's own pattern leaves out braces.
_ID = "{id:[^/]+}"
_REASONS = {404: "NotFound", 405: "MethodNotAllowed", 413: "RequestEntityTooLarge"}

WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@define(kw_only=True, eq=False)
class Server:
    """One listening socket for one service."""

    service: Service
    api_key: str = field(repr=False)
    lock: AbstractContextManager[object]
    """Held while the service is asked: its account may be looked at from another thread."""
    clock: Callable[[], float]
    """Unix seconds."""
    requests: Counter[str]
    told: Callable[[Task], Awaitable[None]]
    """Awaited with each new task before its creation is answered."""
    _creations: set[str] = field(factory=set, init=False)
    """Method and path of each way to create."""
    _runner: web.AppRunner | None = field(default=None, init=False)

    async def start(self, host: str, port: int) -> str:
        """Listen, and return the base URL."""
        app = web.Application(client_max_size=_MOST_BYTES, middlewares=[self._middleware()])
        for route in self.service.routes():
            app.router.add_route(route.method, route.path.replace("{id}", _ID), self._api(route))
            self._creations |= {f"{route.method} {route.path}"} if route.creates else set()
        # HEAD comes here too, to be refused: a link is signed for one method.
        app.router.add_get(f"/results/{_ID}/{{name}}", self._result)
        app.router.add_put(f"/storage/{_ID}", self._put)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            # What is compressed is refused, which the server must not do in words of its own.
            auto_decompress=False,
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except BaseException:
            await self.stop()
            raise
        name, number, *_ = self._runner.addresses[0]
        name = _LOOPBACK.get(name, name)
        return f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _middleware(self) -> Middleware:
        @web.middleware
        async def counted(request: web.Request, handler: WebHandler) -> web.StreamResponse:
            self.requests[f"{request.method} {_route(request)}"] += 1
            return await self._spoken(self._answered(request, handler))

        return counted

    async def _answered(self, request: web.Request, handler: WebHandler) -> web.StreamResponse:
        verdict = await self._verdict(request)
        if isinstance(verdict, Refusal):
            await asyncio.sleep(verdict.delay)
            return self._refused(verdict)
        response: web.StreamResponse = web.Response()
        if verdict.after:
            response = await self._spoken(handler(request))
        if isinstance(verdict, Drop):
            # What is returned then has nowhere to go, and aiohttp lets it.
            return _hung_up(request, response)
        if isinstance(verdict, Reply):
            response = _reply(verdict)
        await asyncio.sleep(verdict.delay)
        return await _cut(request, response) if verdict.cut else response

    async def _verdict(self, request: web.Request) -> Serve | Reply | Drop | Refusal:
        """Draw a lot, and ask the test, whose word goes before it."""
        drawn = self._lot(request)
        intercept = self.service.intercept
        if intercept is None:
            return drawn
        return await intercept(request.method, request.path, request.headers, await request.read()) or drawn

    def _lot(self, request: web.Request) -> Serve | Drop | Refusal:
        faults = self.service.faults
        is_creation = f"{request.method} {_route(request)}" in self._creations
        return self.service.chance.outcome(faults) if is_creation or faults.on == "everything" else SERVE

    async def _spoken(self, answer: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        """Return an answer, also where it is a refusal."""
        try:
            return await answer
        except Refusal as refusal:
            return self._refused(refusal)
        except web.HTTPException as error:
            return self._refused(Refusal(_REASONS.get(error.status, "BadRequest"), error.reason))

    def _refused(self, refusal: Refusal) -> web.Response:
        status, body, headers = self.service.refused(refusal)
        return web.json_response(body, status=status, headers=headers)

    def _api(self, route: Route) -> WebHandler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.service.ways.check_key(request.headers, self.api_key)
            asked = await _asked(request)
            with self.lock:
                answer = route.answer(asked, self.clock())
                task = next(reversed(self.service.account.tasks.values())) if route.creates else None
            if task is not None:
                await self.told(task)
            return web.json_response(answer)

        return handle

    def _check_link(self, request: web.Request) -> None:
        if hdrs.AUTHORIZATION in request.headers or any(self.api_key in value for value in request.headers.values()):
            raise LinkRefused(400, "InvalidArgument", "Only one auth mechanism allowed")
        self.service.links.check(request.method, request.path, request.query, self.clock())

    async def _put(self, request: web.Request) -> web.StreamResponse:
        """Take a picture into the storage."""
        content = await request.read()
        try:
            self._check_link(request)
            with self.lock:
                etag = self.service.uploads.fill(request.match_info["id"], request.headers, content)
        except LinkRefused as refused:
            return _refused_link(refused)
        return web.Response(headers={hdrs.ETAG: etag})

    async def _result(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check_link(request)
        except LinkRefused as refused:
            return _refused_link(refused)
        # The signature vouches for the task and the name.
        task = self.service.account.tasks[request.match_info["id"]]
        name = request.match_info["name"]
        content = answers.content(task, name)
        disposition = f'attachment; filename="general-6-{int(task.created_at)}.{name.rpartition(".")[2]}"'
        return _stored(request, content, {hdrs.CONTENT_DISPOSITION: disposition})


def _refused_link(refused: LinkRefused) -> web.Response:
    return web.Response(status=refused.status, text=refused.body(), content_type="application/xml")


def _route(request: web.Request) -> str:
    """Return the template of the path, or the path itself where there is no such route."""
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical


async def _asked(request: web.Request) -> Asked:
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    refuse_unless(encoding == "identity", "BadRequest", f"Content-Encoding {encoding} is not read here")
    return Asked(
        task_id=request.match_info.get("id", ""),
        query={name: request.query.getall(name) for name in request.query},
        content_type=request.content_type,
        body=await request.read(),
    )


def _reply(verdict: Reply) -> web.Response:
    headers: Mapping[str, str] = {hdrs.CONTENT_TYPE: verdict.content_type, **verdict.headers}
    return web.Response(status=verdict.status, body=verdict.content, headers=headers)


def _hung_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response


async def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send the headers of a response, its length among them, half of its body, and no more.

    Where there is no body, half of its first line.
    """
    content = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b""
    if not content or request.method == hdrs.METH_HEAD or response.status in _WITHOUT_BODY:
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 ")
        return _hung_up(request, response)
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(content)
    await cut.prepare(request)
    await cut.write(content[: len(content) // 2])
    return _hung_up(request, cut)


def _stored(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    """Return the bytes, or the one range of them that was asked for, as an object store would."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    kind = "video/mp4" if request.path.endswith(".mp4") else "image/png"
    headers |= {hdrs.CONTENT_TYPE: kind, hdrs.ETAG: etag, hdrs.ACCEPT_RANGES: "bytes"}
    wanted = _range(request, etag)
    if wanted is None:
        return web.Response(body=content, headers=headers)
    start, stop, _ = wanted.indices(len(content))
    if start >= stop:
        refused = LinkRefused(416, "InvalidRange", "The requested range is not satisfiable")
        limits = {hdrs.CONTENT_RANGE: f"bytes */{len(content)}"}
        return web.Response(status=416, text=refused.body(), content_type="application/xml", headers=limits)
    headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(status=206, body=content[start:stop], headers=headers)


def _range(request: web.Request, etag: str) -> slice | None:
    """Return the range that was asked for; None for no range, a malformed one, or one of another content."""
    if hdrs.RANGE not in request.headers or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return None
    try:
        return request.http_range
    except ValueError:
        return None
