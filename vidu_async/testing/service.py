"""The service without its network: a question that has been read in, the answer's body out, or a `Refusal`.

Plain functions of account and time; whoever calls them sees to it that one runs at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import define, field, frozen
from attrs.validators import optional

from vidu_async.testing import answers, checks, timestamps
from vidu_async.testing.account import Account, StoredSubject, Task
from vidu_async.testing.dialects import Dialect
from vidu_async.testing.faults import Chance, Faults
from vidu_async.testing.intercept import Intercept
from vidu_async.testing.links import Links
from vidu_async.testing.refusals import Refusal, RelayRefusal, refuse_unless
from vidu_async.testing.rules import ENDPOINTS, check_stored_subject
from vidu_async.testing.throttle import Door
from vidu_async.testing.uploads import Uploads
from vidu_async.testing.ways import Ways

_WINDOW: Final = 7 * 86_400 * 1_000_000_000
_MOST_PER_PAGE: Final = 100
_MOST_DIGITS: Final = 20
_TOO_MANY: Final = 429
_UPLOADS: Final = "/tools/v2/files/uploads"
"""Below the base URL, not below the API root."""


@frozen
class Asked:
    """One API request. `task_id` is the one in its path, if any, be it a task's or an upload's."""

    task_id: str
    query: Mapping[str, Sequence[str]]
    content_type: str
    body: bytes

    def first(self, *names: str, default: str = "") -> str:
        """Return the first value of the first of `names` that the query has."""
        return next((self.query[name][0] for name in names if name in self.query), default)

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object. Raises `Refusal`."""
        refuse_unless(self.content_type.lower() == "application/json", "BadRequest", "Content-Type must be json")
        try:
            content = json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refusal("BadRequest", "body is not valid JSON") from None
        if not isinstance(content, dict):
            raise Refusal("BadRequest", "body is not a JSON object")
        return content


Row = TypeVar("Row", Task, StoredSubject)
Handler = Callable[[Asked, float], dict[str, Any]]
"""Called with the question and the time in Unix seconds."""


@frozen
class Route:
    """Where a question is asked, and who answers it."""

    method: str
    path: str
    """With `{id}` in the place of a task's id."""
    answer: Handler
    creates: bool = False


def _no_constant(name: str) -> object:
    """Refuse NaN and Infinity, which Python's parser takes but which are no JSON."""
    raise ValueError(name)


@define(kw_only=True, eq=False)
class Service:
    """Answers every question of the API about one account."""

    account: Account
    links: Links
    dialect: Dialect
    ways: Ways
    door: Door
    chance: Chance
    faults: Faults = field(validator=checks.a(Faults, "a Faults"))
    fails: Callable[[Mapping[str, Any]], str | None] = field(validator=checks.function)
    intercept: Intercept | None = field(validator=optional(checks.function))
    """What sees each request before; a test may set another one at any time."""
    lists: bool = field(default=True, validator=checks.a(bool, "True or False"))
    cancels: bool = field(default=True, validator=checks.a(bool, "True or False"))
    list_lag: float = field(default=0.0, validator=checks.seconds)
    query_lag: float = field(default=0.0, validator=checks.seconds)
    uploads: Uploads = field(factory=Uploads, init=False)

    def __attrs_post_init__(self) -> None:
        for place, times in Counter(f"{route.method} {route.path}" for route in self.routes()).items():
            if times > 1:
                raise ValueError(f"ways must not put two things at {place}")

    def routes(self) -> Iterable[Route]:
        """Yield each endpoint there is."""
        path = self.ways.path
        for endpoint in ENDPOINTS:
            yield Route("POST", path(endpoint), self._creator(endpoint), creates=True)
        yield Route("GET", self.ways.query_path, self.query)
        if self.lists and self.ways.has("lists"):
            yield Route("GET", path("tasks"), self.list_tasks)
        if self.cancels and self.ways.has("cancels"):
            yield Route("POST", path("tasks/{id}/cancel"), self.cancel)
        if self.ways.has("credits"):
            yield Route("GET", path("credits"), self.credits)
        if self.ways.has("uploads"):
            yield Route("POST", path(_UPLOADS), self.begin_upload)
            yield Route("PUT", path(f"{_UPLOADS}/{{id}}/finish"), self.finish_upload)
        if self.ways.has("subjects"):
            yield Route("POST", path("subjects"), self.store_subject)
            yield Route("GET", path("subjects"), self.list_subjects)

    def refused(self, refusal: Refusal) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        """Return status, body and headers of a refusal."""
        status, body = refusal.status, refusal.body()
        headers = self.door.throttle.headers if status == _TOO_MANY else {}
        if not isinstance(refusal, RelayRefusal):
            status, body = self.dialect.refused(status, body)
        return status, body, headers

    def _creator(self, endpoint: str) -> Handler:
        def create(asked: Asked, now: float) -> dict[str, Any]:
            self.door.admit(self.account, now)
            order = self.ways.read_order(endpoint, asked.json())
            self.uploads.check(order.media, now)
            task = self.account.submit(order, now, self._doom)
            return self.dialect.created(answers.created(task, self.links), task)

        return create

    def _doom(self, request: Mapping[str, Any]) -> str:
        """Return the err_code a task will fail with, "" for none."""
        # The lot is drawn in any case: what one task is told to do changes nothing for the next.
        drawn = self.chance.err_code(self.faults)
        told = self.fails(request)
        checks.require(told is None or isinstance(told, str), "what fails returns", "an err_code or None", told)
        return told or drawn

    def query(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer GET tasks/{id}/creations."""
        name = self.ways.query_name
        task = self.account.find(asked.first(name) if name else asked.task_id, now)
        refuse_unless(task.created_at + self.query_lag <= now, "TaskNotFound", f"task {task.id} not found")
        return self.told(task, now)

    def told(self, task: Task, now: float) -> dict[str, Any]:
        """Return what is said of a task to whoever asks about it, and to its `callback_url`."""
        return self.dialect.queried(answers.queried(task, self.links, now), task)

    def cancel(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer POST tasks/{id}/cancel. The body may be missing; an id in it must be the path's."""
        named = asked.json().get("id", asked.task_id) if asked.body else asked.task_id
        refuse_unless(named == asked.task_id, "BadRequest", "id")
        self.account.cancel(asked.task_id, now)
        return {}

    def credits(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer GET credits."""
        detail = asked.first("show_detail", default="false")
        refuse_unless(detail in {"true", "false"}, "FieldInvalid", "show_detail")
        self.account.advance(now)
        return answers.credits_left(self.account, show_detail=detail == "true")

    def list_tasks(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer GET tasks: the newest first."""
        self.account.advance(now)
        chosen = _choice(asked, now)
        known = [task for task in self.account.tasks.values() if task.created_at + self.list_lag <= now]
        found = [task for task in reversed(known) if chosen(task)]
        # Older pages spell the prefix "paper".
        size = _number(asked, ("pager.pagesz", "paper.pagesz"), default=10, least=1, most=_MOST_PER_PAGE)
        number = _number(asked, ("pager.page", "paper.page"), default=0)
        page, token = _page(found, size, number, asked.first("pager.page_token", "paper.page_token"))
        rows = [self.dialect.row(answers.row(task, self.links, now), task) for task in page]
        return {"next_page_token": token, "tasks": rows}

    def begin_upload(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer POST uploads: where a picture can be put."""
        return self.uploads.begin(asked.json(), self.links, now)

    def finish_upload(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer PUT uploads/{id}/finish: the URI of a picture that is there."""
        return self.uploads.finish(asked.task_id, asked.json(), now)

    def store_subject(self, asked: Asked, now: float) -> dict[str, Any]:
        """Answer POST subjects."""
        body = asked.json()
        check_stored_subject(body)
        self.uploads.check(body.get("images", ()), now)
        return answers.stored(self.account.store(body, now), self.links)

    def list_subjects(self, asked: Asked, _now: float) -> dict[str, Any]:
        """Answer GET subjects: the newest first. The service's own subjects, "system", are none here."""
        ownership = asked.first("ownership", default="private")
        refuse_unless(ownership in {"system", "private"}, "FieldInvalid", "ownership")
        found = list(reversed(self.account.subjects.values())) if ownership == "private" else []
        if wanted := asked.query.get("subject_ids"):
            found = [subject for subject in found if subject.id in wanted]
        size = _number(asked, ("count",), default=20, least=1, most=_MOST_PER_PAGE)
        page, token = _page(found, size, 0, asked.first("next_page_token"))
        subjects = [answers.stored(subject, self.links) for subject in page]
        return {"subjects": subjects, "next_page_token": token, "count": len(subjects)}


def _choice(asked: Asked, now: float) -> Callable[[Task], bool]:
    """Return the filter that a list's query describes; values of one name are alternatives."""
    query = asked.query
    since = _moment(asked, "created_at.from", timestamps.nanoseconds(now) - _WINDOW)
    until = _moment(asked, "created_at.to", timestamps.nanoseconds(now))
    looked_at: dict[str, Callable[[Task], str]] = {
        "task_ids": lambda task: task.id,
        "states": lambda task: task.state,
        "model_versions": lambda task: task.model.removeprefix("vidu"),
        "resolutions": lambda task: task.order.resolution,
        "templates": lambda _task: "",
    }

    def chosen(task: Task) -> bool:
        in_time = since <= timestamps.nanoseconds(task.created_at) <= until
        return in_time and all(value(task) in query.get(name, (value(task),)) for name, value in looked_at.items())

    return chosen


def _moment(asked: Asked, name: str, default: int) -> int:
    if name not in asked.query:
        return default
    try:
        return timestamps.read(asked.first(name))
    except ValueError:
        raise Refusal("FieldInvalid", name) from None


def _number(asked: Asked, names: tuple[str, ...], *, default: int, least: int = 0, most: int = 10**9) -> int:
    text = asked.first(*names, default=str(default))
    refuse_unless(_is_number(text) and least <= int(text) <= most, "FieldInvalid", names[0])
    return int(text)


def _is_number(text: str) -> bool:
    # Longer than any task's is no number of ours, and a very long one Python refuses to read.
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


def _page(found: Sequence[Row], size: int, number: int, token: str) -> tuple[Sequence[Row], str]:
    """Return one page and the token of the next, "" at the end.

    A token is the last number shown: numbers only grow, so what is created meanwhile shifts no page.
    """
    refuse_unless(not token or _is_number(token), "FieldInvalid", "page_token")
    rest = [item for item in found if item.number < int(token)] if token else found[number * size :]
    page = rest[:size]
    return page, str(page[-1].number) if len(rest) > size else ""
