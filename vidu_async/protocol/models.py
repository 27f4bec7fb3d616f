"""What Vidu answers, as values.

The floor of the package: imports nothing of it but how a value is drawn (`cards.py`), once one is. Every value is
frozen, and an unknown thing is a value too: a state nobody documented reads as `TaskState.UNKNOWN` with its text kept,
an undocumented field stays in `.raw`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from attrs import evolve, field, fields, frozen

if TYPE_CHECKING:
    from vidu_async.cards import Card


class TaskState(StrEnum):
    """Where a task is. https://platform.vidu.com/docs/get-generation."""

    CREATED = "created"
    QUEUEING = "queueing"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A state this version does not know. It is not terminal: waiting goes on."""

    @property
    def is_terminal(self) -> bool:
        """Whether the task will never change again."""
        return self in _TERMINAL


_TERMINAL = (TaskState.SUCCESS, TaskState.FAILED)  # a tuple asks whether it is one of them before it asks for a hash

CANCELLED = "UserCancelled"
"""The `err_code` of a cancelled task: Vidu has no state of its own for it."""


@frozen(repr=False)
class _Shown:
    """A value whose repr names only what is known, and of a link the host: it opens the file to whoever reads it."""

    def __repr__(self) -> str:
        pairs = ((a.name, getattr(self, a.name)) for a in fields(type(self)) if a.repr)
        known = (f"{name}={_short(value)}" for name, value in pairs if value is not None and value != ())
        return f"{type(self).__name__}({', '.join(known)})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython picks itself
        """Return what a notebook shows. No link: it expires, and opens the file to whoever reads the notebook."""
        from vidu_async import cards  # noqa: PLC0415 - only a notebook asks

        return cards.bundle(repr(self), self._card())

    def _card(self) -> Card:
        from vidu_async import cards  # noqa: PLC0415 - only a notebook asks

        shown = {a.name: getattr(self, a.name) for a in fields(type(self)) if a.repr}
        facts = {name: value for name, value in shown.items() if isinstance(value, (int, float))}
        return cards.Card(badge=type(self).__name__, facts=facts)


def _short(value: object) -> str:
    from vidu_async import cards  # noqa: PLC0415 - most values are never shown

    if isinstance(value, (datetime, StrEnum)):
        return str(value)
    return repr(cards.hidden(value)) if isinstance(value, str) else repr(value)


@frozen(repr=False)
class VideoInfo(_Shown):
    """Measures of a finished video: seconds, frames per second, pixels. None where the answer has none."""

    duration: float | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}" if self.width and self.height else ""
        length = f"{self.duration:g} s" if self.duration else ""
        return ", ".join(filter(None, [size, length, f"{self.fps:g} fps" if self.fps else ""]))


@frozen(repr=False)
class Creation(_Shown):
    """One result of a task. Links are signed and expire, `url` after about 24 hours and `cover_url` after one.

    A later query signs new links, so keep the task id rather than the link.
    """

    task_id: str
    id: str | None = None
    url: str | None = None
    cover_url: str | None = None
    watermarked_url: str | None = None
    video: VideoInfo | None = None

    @property
    def expires_at(self) -> datetime | None:
        """When `url` stops working (UTC), read from its signature; None if the link does not say."""
        return _link_expiry(self.url) if self.url else None

    def _card(self) -> Card:
        from vidu_async import cards  # noqa: PLC0415 - only a notebook asks

        facts = {"task": self.task_id, "video": self.video and str(self.video)}
        return cards.Card(badge="result", tone=cards.GOOD, name=self.id or "", facts=facts)


def _link_expiry(url: str) -> datetime | None:
    """Read S3's `X-Amz-Date` + `X-Amz-Expires`, or CloudFront's `Expires`, from a signed link."""
    try:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "X-Amz-Date" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed + timedelta(seconds=int(query["X-Amz-Expires"]))
        return datetime.fromtimestamp(int(query["Expires"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None


@frozen(repr=False)
class Task(_Shown):
    """A generation task as last answered. Fields the answer lacks are None.

    A query answers less than the creation did; what an earlier answer said (model, prompt ...) is kept, so that the
    task you await has both.
    """

    id: str
    state: TaskState
    type: str | None = None
    """`img2video`, `headtailimg2video`, `character2video`, `text2video` ... as Vidu names it."""
    model: str | None = None
    prompt: str | None = field(default=None, repr=False)
    credits: int | None = None
    """The price in credits: as quoted at creation, as consumed once finished (0 if failed or cancelled)."""
    payload: str | None = field(default=None, repr=False)
    """Your own pass-through text; the mark that the client puts there where you give none is `stamp`."""
    stamp: str | None = field(default=None, repr=False)
    """The random token by which the task's submission is proven."""
    err_code: str | None = None
    err_msg: str | None = None
    creations: tuple[Creation, ...] = ()
    created_at: datetime | None = None
    progress: int | None = None
    """Percent, on the few endpoints that report it."""
    duration: float | None = None
    resolution: str | None = None
    seed: int | None = None
    off_peak: bool | None = None
    state_text: str = field(default="", repr=False)
    """The state word exactly as answered; tells apart the states that read as UNKNOWN."""
    unread: tuple[str, ...] = field(default=(), repr=False, eq=False)
    """Fields that were answered, but as nothing of their kind (`credits` as "abc"): None here, and in `raw`."""
    body: bytes = field(default=b"{}", repr=False, eq=False)
    """The answer's JSON, with inlined files cut out."""

    @property
    def raw(self) -> dict[str, Any]:
        """The whole answer, undocumented fields included; decoded anew on each access."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def is_cancelled(self) -> bool:
        """Whether the task was cancelled, by hand or because an off-peak task ran out of its 48 hours."""
        return self.state is TaskState.FAILED and self.err_code == CANCELLED

    @property
    def has_result(self) -> bool:
        """Whether the answer names a file to download."""
        return any(creation.url for creation in self.creations)

    def _card(self) -> Card:
        return card_of(self)

    def over(self, earlier: Task | None) -> Task:
        """Return this answer with what only the earlier one told filled in."""
        if earlier is None:
            return self
        kept = {name: getattr(earlier, name) for name in _CARRIED if getattr(self, name) is None}
        return evolve(self, **kept)


def card_of(task: Task) -> Card:
    """Return what a notebook shows of a task."""
    from vidu_async import cards  # noqa: PLC0415 - only a notebook asks

    tones = {TaskState.SUCCESS: cards.GOOD, TaskState.FAILED: cards.BAD, TaskState.PROCESSING: cards.BUSY}
    videos = ", ".join(filter(None, (str(creation.video or "") for creation in task.creations)))
    word = task.state_text if task.state is TaskState.UNKNOWN else task.state.value
    return cards.Card(
        badge="cancelled" if task.is_cancelled else word or task.state.value,
        tone=cards.IDLE if task.is_cancelled else tones.get(task.state, cards.IDLE),
        title=" · ".join(filter(None, [task.model, task.type])),
        name=task.id,
        text=task.prompt or "",
        facts={
            "credits": task.credits,
            "progress": None if task.progress is None or task.state.is_terminal else f"{task.progress} %",
            "duration": None if videos or task.duration is None else f"{task.duration:g} s",
            "resolution": None if videos else task.resolution,
            "off-peak": "yes" if task.off_peak else None,
            "created": task.created_at and f"{task.created_at:%Y-%m-%d %H:%M %Z}".strip(),
            "video": videos,
            "files": len(task.creations) if task.creations and not videos else None,
        },
        trouble=": ".join(filter(None, [task.err_code, task.err_msg])),
    )


_CARRIED = tuple(f.name for f in fields(Task) if f.default is None and not f.name.startswith("err_"))


@frozen(repr=False)
class Credits(_Shown):
    """What the account has. https://platform.vidu.com/docs/get-account-info."""

    remaining: int | None
    """Credits left over all kinds; None if the answer does not say."""
    remains: tuple[dict[str, Any], ...] = ()
    """One row a kind: type, credit_remain, concurrency_limit, current_concurrency, queue_count."""
    packages: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    raw: dict[str, Any] = field(factory=dict, repr=False)
