"""The whole API on one screen: a short function per endpoint, each returning a `Call`.

A `Call` is a question that nobody has asked yet: method, URL, body and how to read the answer. What differs between
gateways is applied here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import evolve, field, frozen

from vidu_async.protocol import wire
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.dialects import identity_of
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.models import Credits, Task
from vidu_async.protocol.requests import ReferenceToVideo, Subject
from vidu_async.protocol.values import squeezed, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.requests import Request

T = TypeVar("T")


@frozen
class Call(Generic[T]):
    """One question to a gateway. `body` may hold local media, which `media.py` turns into data URLs."""

    method: str
    url: str
    read: Callable[[Answer], T] = field(repr=False)
    body: dict[str, Any] | None = field(default=None, repr=False)
    params: tuple[tuple[str, str], ...] = ()


def create(gateway: Gateway, request: Request) -> Call[Task]:
    """Ask for a video or picture. This is the call that costs credits."""
    body = request.to_wire()
    if body.get("model") in gateway.model_aliases:
        body["model"] = gateway.model_aliases[body["model"]]
    if isinstance(request, ReferenceToVideo) and request.subjects:
        body["subjects"] = [_referred(gateway, subject) for subject in body["subjects"]]
    return Call("POST", gateway.url(request.endpoint.strip("/")), wire.read_task, body)


def _referred(gateway: Gateway, subject: dict[str, Any]) -> dict[str, Any]:
    """Name a subject by the gateway's key, and leave out a stored one's files: its `server_id` stands for them."""
    left_out = _FILES if "server_id" in subject else frozenset[str]()
    renamed = {"name": gateway.subject_key}
    return {renamed.get(name, name): item for name, item in subject.items() if name not in left_out}


_FILES = frozenset({"images", "videos"})


def query(gateway: Gateway, task_id: str, known: Task | None = None) -> Call[Task]:
    """Look at one task, of which something may be known. https://platform.vidu.com/docs/get-generation."""
    read = partial(wire.read_task, task_id=task_id, known=known)
    return Call("GET", gateway.url(gateway.task_path(task_id)), read)


def list_tasks(
    gateway: Gateway,
    *,
    states: Iterable[str] | None = None,
    task_ids: Iterable[str] | None = None,
    created_from: datetime | None = None,
    created_to: datetime | None = None,
    page_size: int = 100,
    token: str = "",
) -> Call[wire.Page]:
    """List tasks, a page at a time; arrays repeat their key. https://platform.vidu.com/docs/tasks-list."""
    params = [
        *(("states", str(state)) for state in states or ()),
        *(("task_ids", task_id) for task_id in task_ids or ()),
        *((("created_at.from", _moment(created_from)),) if created_from else ()),
        *((("created_at.to", _moment(created_to)),) if created_to else ()),
        ("pager.pagesz", str(page_size)),
        *((("pager.page_token", token),) if token else ()),
    ]
    return Call("GET", gateway.url("tasks"), wire.read_page, params=tuple(params))


def _moment(moment: datetime) -> str:
    """Write RFC 3339 in UTC; a moment without a zone is local time, as everywhere in Python."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def cancel(gateway: Gateway, task_id: str) -> Call[None]:
    """Cancel a task that still waits. https://platform.vidu.com/docs/cancel-generation."""
    path = gateway.task_path(task_id, "tasks/{id}/cancel")
    return Call("POST", gateway.url(path), wire.read_nothing, {"id": task_id})


def account(gateway: Gateway) -> Call[Credits]:
    """Ask what the account has left. https://platform.vidu.com/docs/get-account-info."""
    return Call("GET", gateway.url("credits"), wire.read_credits, params=(("show_detail", "true"),))


def create_subject(gateway: Gateway, subject: Subject) -> Call[Subject]:
    """Store a subject, for 5 credits. https://platform.vidu.com/docs/reference-to-video."""

    def read(answer: Answer) -> Subject:
        return evolve(subject, server_id=wire.read_id(answer))

    return Call("POST", gateway.url("subjects"), read, subject.to_wire())


_UPLOADS = "/tools/v2/files/uploads"
"""Below the base URL, not below the API root."""


def begin_upload(gateway: Gateway) -> Call[wire.Slot]:
    """Ask where a picture can be put: the first of three steps. https://platform.vidu.com/docs/image-upload."""
    read = partial(wire.read_slot, plainly=gateway.is_plain)
    return Call("POST", gateway.url(_UPLOADS), read, {"scene": "vidu"})


def finish_upload(gateway: Gateway, upload_id: str, etag: str) -> Call[str]:
    """Say that a picture is there, by the `etag` it was answered with, and learn its URI: the last of three steps."""
    path = gateway.task_path(upload_id, f"{_UPLOADS}/{{id}}/finish")
    return Call("PUT", gateway.url(path), wire.read_uri, {"etag": etag})


@frozen
class SubjectPage:
    """One page of stored subjects; `next_token` is "" on the last."""

    subjects: tuple[Subject, ...]
    next_token: str


def list_subjects(gateway: Gateway, *, ownership: str = "private", token: str = "") -> Call[SubjectPage]:
    """List stored subjects, `private` or `system`, a page at a time."""
    params = (("ownership", ownership), ("count", "100"), *((("next_page_token", token),) if token else ()))
    return Call("GET", gateway.url("subjects"), _read_subjects, params=params)


def _read_subjects(answer: Answer) -> SubjectPage:
    rows, token = wire.read_rows(answer, "subjects")
    return SubjectPage(tuple(_subject_from(row) for row in rows if identity_of([squeezed(row)])), token)


def _subject_from(row: dict[str, Any]) -> Subject:
    """Read a stored subject, whose `id` is what requests call `server_id`."""
    identity = identity_of([squeezed(row)])
    files: dict[str, Any] = {
        name: [link for link in row[name] if isinstance(link, str) and link][:most]
        for name, most in (("images", 3), ("videos", 1))
        if isinstance(row.get(name), list)
    }
    name = (text(row.get("name")) or "").replace("\0", "").strip() or identity
    try:
        return Subject(name=name, server_id=identity, voice_id=text(row.get("voice_id")), **files)
    except ValidationError:  # its id is all that a request needs of it, and the others of the page are wanted, too
        return Subject(name=identity, server_id=identity)
