"""A site where a picture becomes a film, in aiohttp: the page orders it, shows how far it is, and plays it.

`--simulate` needs no key and spends nothing; without it VIDU_API_KEY (and VIDU_BASE_URL) say who pays. What is done
with Vidu is in studio.py. The site knows no users: put your own log-in before it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

from aiohttp import web
from studio import CALLBACKS, LARGEST, PAGE, SHAPE, Studio, arguments, open_studio, told

from vidu_async import ViduError, aiohttp_app

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HEARTBEAT = 15.0
"""Seconds: a proxy may take a stream that is silent for longer for a dead one."""
SIMULATE = web.AppKey("simulate", bool)
STUDIO = web.AppKey("studio", Studio)
routes = web.RouteTableDef()


async def lifespan(app: web.Application) -> AsyncIterator[None]:
    async with open_studio(simulate=app[SIMULATE]) as app[STUDIO]:
        yield


@routes.get("/")
async def page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


@routes.post("/orders")
async def order(request: web.Request) -> web.Response:
    """Order a film under the key that the page has made for it.

    The key is in a header, so that other sites cannot order in the name of whoever visits them.
    """
    key = key_of(request.headers.get("Idempotency-Key", ""))
    try:
        form = await request.post()
    except (ValueError, LookupError) as error:  # no form, or one in no known encoding
        raise web.HTTPBadRequest from error
    image, prompt = form.get("image"), form.get("prompt")
    if not isinstance(image, web.FileField) or not isinstance(prompt, str):
        raise web.HTTPBadRequest
    return web.json_response(await request.app[STUDIO].order(image.file.read(), prompt, key), status=202)


@routes.get("/orders/{key}")
async def recall(request: web.Request) -> web.Response:
    """Tell a page that was left in the middle of an order what became of it."""
    answer = await request.app[STUDIO].recall(key_of(request.match_info["key"]))
    return web.json_response(answer, status=200 if answer else 404)


@routes.get(f"/events/{{token:{SHAPE}}}", allow_head=False)
async def events(request: web.Request) -> web.StreamResponse:
    """Tell what happens to a film, as server-sent events, until it is there or the page is closed."""
    studio = request.app[STUDIO]
    handle = studio.vidu.attach(request.match_info["token"])
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = web.StreamResponse(headers=headers)
    try:
        await stream.prepare(request)
        await stream.write(b"retry: 1000\n\n")  # milliseconds until the page comes back to a server that was away
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(beat(stream))
            async for news in studio.news(handle):
                await stream.write(f"data: {json.dumps(news)}\n\n".encode())
            heart.cancel()
    except* ConnectionResetError:
        pass  # the page is gone; the task goes on
    return stream


async def beat(stream: web.StreamResponse) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        await stream.write(b": still here\n\n")


@routes.get(f"/films/{{token:{SHAPE}}}")
async def film(request: web.Request) -> web.FileResponse:
    """Play a film, or any range of it."""
    studio = request.app[STUDIO]
    path = await studio.film(studio.vidu.attach(request.match_info["token"]))
    return web.FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})


def key_of(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise web.HTTPBadRequest from None


@web.middleware
async def in_its_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ViduError as error:
        said, status = told(error)
        return web.json_response(said, status=status)


async def take_at_its_word(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Content-Type-Options"] = "nosniff"


if __name__ == "__main__":
    options = arguments("A site where a picture becomes a film, in aiohttp.")
    app = web.Application(client_max_size=LARGEST, middlewares=[in_its_words])
    app[SIMULATE] = options.simulate
    app.add_routes(routes)
    app.on_response_prepare.append(take_at_its_word)
    app.cleanup_ctx.append(lifespan)
    if CALLBACKS:
        app.add_subapp("/vidu", aiohttp_app(CALLBACKS))
    # A page that is closed ends its handler, and Ctrl-C does not wait for pages. Paths hold tokens: no access log.
    web.run_app(
        app, host=options.host, port=options.port, handler_cancellation=True, shutdown_timeout=1, access_log=None
    )
