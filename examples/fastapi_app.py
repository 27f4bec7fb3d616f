"""A site where a picture becomes a film, in FastAPI: the page orders it, shows how far it is, and plays it.

`--simulate` needs no key and spends nothing; without it VIDU_API_KEY (and VIDU_BASE_URL) say who pays. What is done
with Vidu is in studio.py. The site knows no users: put your own log-in before it.
"""

from asyncio import CancelledError
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Form, Header, HTTPException, Path, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from studio import CALLBACKS, LARGEST, PAGE, SHAPE, Studio, arguments, open_studio, told

from vidu_async import TaskHandle, ViduError, asgi_app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with open_studio(simulate=app.state.simulate) as app.state.studio:
        yield


def studio_of(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


StudioHere = Annotated[Studio, Depends(studio_of)]


def film_of(studio: StudioHere, token: Annotated[str, Path(pattern=f"^{SHAPE}$")]) -> TaskHandle:
    return studio.vidu.attach(token)


Film = Annotated[TaskHandle, Depends(film_of)]

app = FastAPI(title="A picture becomes a film", lifespan=lifespan, max_body_size=LARGEST)
app.state.simulate = False


@app.get("/")
async def page() -> FileResponse:
    return FileResponse(PAGE, headers={"Cache-Control": "no-cache"})


@app.post("/orders", status_code=202)
async def order(
    studio: StudioHere,
    image: UploadFile,
    prompt: Annotated[str, Form()] = "",
    *,
    idempotency_key: Annotated[UUID, Header()],
) -> dict[str, Any]:
    """Order a film under the key that the page has made for it.

    The key is in a header, so that other sites cannot order in the name of whoever visits them.
    """
    return await studio.order(await image.read(), prompt, str(idempotency_key))


@app.get("/orders/{key}")
async def recall(studio: StudioHere, key: UUID) -> dict[str, Any]:
    """Tell a page that was left in the middle of an order what became of it."""
    if answer := await studio.recall(str(key)):
        return answer
    raise HTTPException(404)


@app.get("/events/{token}", response_class=EventSourceResponse)  # noqa: FAST003 - film_of takes it
async def events(studio: StudioHere, film: Film) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens to a film, as server-sent events, until it is there or the page is closed."""
    yield ServerSentEvent(retry=1000)  # milliseconds until the page comes back to a server that was away
    async for news in studio.news(film):
        yield ServerSentEvent(data=news)


@app.get("/films/{token}")  # noqa: FAST003 - film_of takes it
async def play(studio: StudioHere, film: Film) -> FileResponse:
    """Play a film, or any range of it."""
    return FileResponse(await studio.film(film), headers={"Cache-Control": "private, max-age=86400"})


@app.exception_handler(ViduError)
async def in_its_words(_: Request, error: ViduError) -> JSONResponse:
    said, status = told(error)
    return JSONResponse(said, status)


class Careful:
    """Has browsers take types at their word, and lets Ctrl-C end what is still told without a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-content-type-options", b"nosniff"))
            await send(message)

        with suppress(CancelledError):
            await self._app(scope, receive, sent)


app.add_middleware(Careful)
if CALLBACKS:
    app.mount("/vidu", asgi_app(CALLBACKS))


if __name__ == "__main__":
    options = arguments("A site where a picture becomes a film, in FastAPI.")
    app.state.simulate = options.simulate
    # Ctrl-C does not wait for pages to be closed. Paths hold tokens: no access log.
    uvicorn.run(app, host=options.host, port=options.port, access_log=False, timeout_graceful_shutdown=1)
