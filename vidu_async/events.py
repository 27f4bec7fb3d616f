"""What happens, as frozen values: for an observer (`ViduClient(on_event=)`), and for the log.

Each event is also a record of the logger `vidu_async` with the event's name in `record.vidu_event` and its fields in
`record.vidu_key`, `record.vidu_task_id` and so on. None holds an API key, a file's content or a signed link.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, ClassVar

from attrs import asdict, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.protocol.models import TaskState

_log = logging.getLogger("vidu_async")


_SECRETS = (
    (re.compile(r"((?:\\?/){2}[^\s\"'<>?]*)\?[^\s\"'<>]*"), r"\1?..."),  # what follows a link's path
    (re.compile(r"(\?|%3F)[^\s\"'<>=?]*(?:=|%3D)[^\s\"'<>]*", re.IGNORECASE), r"\1..."),  # or anything like it
    (re.compile(r"(//)[^/\s\"'<>@]*@"), r"\1...@"),
    (re.compile(r"[A-Za-z0-9+/=_-]{80,}"), "..."),
)
_LONGEST = 300
_WORD = 40
"""Letters that may be a word; more may be somebody's secret."""


def plainly(text: str) -> str:
    """Return what a server said without what may be secret in it: a link's signature, a file's content; and not all."""
    if not text or (text.isalpha() and len(text) < _WORD):
        return text  # a state, a reason: most often
    short = text[: 20 * _LONGEST]
    for secret, shown in _SECRETS:
        short = secret.sub(shown, short)
    return short if len(short) <= _LONGEST else f"{short[:_LONGEST]}..."


@frozen(kw_only=True)
class Event:
    """Something that happened to a submission or a task; empty names are not known."""

    level: ClassVar[int] = logging.DEBUG
    key: str = ""
    """The name of the submission."""
    task_id: str = ""

    @property
    def name(self) -> str:
        """What happened: `submitted`, `state_changed` ... Stable, for filters."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


@frozen(kw_only=True)
class Submitted(Event):
    """A submission waits for its turn."""

    endpoint: str
    model: str = ""


@frozen(kw_only=True)
class Committed(Event):
    """A request is about to leave whole: from now on it may be paid."""

    attempt: int


@frozen(kw_only=True)
class Accepted(Event):
    """A task was created, and is paid."""

    level: ClassVar[int] = logging.INFO
    credits: int | None = None


@frozen(kw_only=True)
class SubmissionFailed(Event):
    """A submission came to no task, as far as anybody knows."""

    level: ClassVar[int] = logging.INFO
    reason: str
    """Vidu's word, or the error's class; `withdrawn` if its caller left before it was sent."""
    error: str = field(default="", converter=plainly)
    paid: str
    """What it means for the credits: "no" or "maybe"."""


@frozen(kw_only=True)
class Retrying(Event):
    """A request that was provably not seen whole is sent again."""

    level: ClassVar[int] = logging.INFO
    attempt: int
    """How often it was tried."""
    pause: float
    """Seconds until the next try."""
    error: str = field(converter=plainly)


@frozen(kw_only=True)
class Throttled(Event):
    """The server said that it is too much: for a submission (`key`), or for looks at tasks."""

    level: ClassVar[int] = logging.INFO
    pause: float
    """Seconds until the next try; infinite if there is none."""
    reason: str = field(default="", converter=plainly)
    retry_after: float | None = None
    """Seconds that the server asked for."""


@frozen(kw_only=True)
class StateChanged(Event):
    """A task was seen in another state."""

    before: TaskState | None
    state: TaskState
    state_text: str = field(default="", converter=plainly)
    """The state as the server calls it."""


@frozen(kw_only=True)
class StateRegressed(Event):
    """An ended task was answered as if it had not ended, or otherwise; the first end counts."""

    level: ClassVar[int] = logging.WARNING
    state: TaskState
    answered: TaskState


@frozen(kw_only=True)
class PollFailed(Event):
    """A look at a task, or at many through the list, brought nothing. Waiting goes on."""

    count: int = 1
    """Tasks that were asked about."""
    error: str = field(converter=plainly)


@frozen(kw_only=True)
class Finished(Event):
    """A task ended."""

    level: ClassVar[int] = logging.INFO
    state: TaskState
    credits: int | None = None
    err_code: str | None = None
    seconds: float | None = None
    """Since it was first heard of here."""


@frozen(kw_only=True)
class Downloaded(Event):
    """A result is on the disk."""

    level: ClassVar[int] = logging.INFO
    path: str
    size: int
    """Bytes."""


@frozen(kw_only=True)
class Downloading(Event):
    """A piece of a result has come."""

    received: int
    """Bytes so far."""
    size: int | None = None
    """Bytes of all, if the server says so."""


@frozen(kw_only=True)
class BatchSized(Event):
    """A batch knows how many items it has: only where that costs nothing to find out."""

    items: int


@frozen(kw_only=True)
class ItemTaken(Event):
    """A batch has begun with an item."""

    place: str = ""
    """Where it stands, such as `jobs.jsonl:3`."""


@frozen(kw_only=True)
class ItemLeft(Event):
    """A batch was stopped before it had sent an item it had begun with."""

    place: str = ""


@frozen(kw_only=True)
class ItemEnded(Event):
    """An item of a batch has its outcome."""

    reason: str = ""
    """Why there is no result, in one word; "" for a success."""
    error: str = field(default="", converter=plainly)
    paid: str = ""
    """What a failure means for the credits: "no", "maybe" or "yes"."""
    credits: int | None = None
    """What it cost, None if nobody knows."""
    is_recalled: bool = False
    """Whether it was submitted by an earlier run, or another process."""
    place: str = ""


@define(eq=False)
class Reporter:
    """Tells the log and the observer. Nothing that an observer does may cost anybody a task."""

    _observer: Callable[[Event], object] | None = None
    _has_failed: bool = field(default=False, init=False)

    def __call__(self, event: Event) -> None:
        """Tell of an event."""
        if _log.isEnabledFor(event.level):
            known = {name: value for name, value in asdict(event).items() if value not in ("", None)}
            said = " ".join((event.name, *(f"{name}={value}" for name, value in known.items())))
            names = {"key": "", "task_id": ""}  # every record has them, so that a format may name them
            extra = {"vidu_event": event.name, **{f"vidu_{name}": value for name, value in (names | known).items()}}
            _log.log(event.level, "%s", said, extra=extra)
        if self._observer is None:
            return
        try:
            self._observer(event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - logged with its traceback, the first time
            _log.error("on_event= failed on %r: %r", event, error, exc_info=not self._has_failed)
            self._has_failed = True
