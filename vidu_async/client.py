"""The client: one method for each thing you can ask, each a few lines over the parts that do it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import re
import ssl as ssl_module
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from vidu_async import media, targets
from vidu_async.abilities import Abilities
from vidu_async.bell import Bell
from vidu_async.callbacks import CallbackReceiver
from vidu_async.connections import Connections
from vidu_async.deposits import Deposits
from vidu_async.disk import Appender
from vidu_async.doubts import tell, weigh
from vidu_async.download import Download, kind_expected
from vidu_async.events import Accepted, Downloaded, Downloading, Event, Reporter
from vidu_async.guarded import Guarded, policy_of
from vidu_async.handle import DEFAULT_TIMEOUT, Completed, TaskHandle, Timeout, Token, check_timeout
from vidu_async.journal import ENDED, SUBJECTS, MemoryJournal, Row, RowState
from vidu_async.journal_file import Journal
from vidu_async.lessons import Lessons
from vidu_async.limiter import Limiter, Limits
from vidu_async.listing import Listing
from vidu_async.outbox import Order, Outbox
from vidu_async.polling import Polling, PollingPolicy
from vidu_async.protocol import calls
from vidu_async.protocol.errors import (
    APIError,
    CancelRefusedError,
    ConfigError,
    JournalError,
    TaskTimeoutError,
    ValidationError,
    ViduError,
)
from vidu_async.protocol.gateway import Gateway
from vidu_async.protocol.models import TaskState
from vidu_async.protocol.requests import RawRequest, Request
from vidu_async.protocol.validation.callback_url import risk_of
from vidu_async.reconcile import Reconciler, Unresolved
from vidu_async.settings import ApiKey, Timeouts, check, check_bytes, check_proxy, fault_of, gateway_from
from vidu_async.transport import Transport
from vidu_async.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Literal, NoReturn, Self

    import aiohttp

    from vidu_async.journal import Ledger
    from vidu_async.limiter import Permit
    from vidu_async.protocol.given import Media
    from vidu_async.protocol.models import Creation, Credits, Task
    from vidu_async.protocol.requests import Subject
    from vidu_async.protocol.wire import Page
    from vidu_async.watch import Watch

_log = logging.getLogger("vidu_async")

T = TypeVar("T")
R = TypeVar("R")

_LIMITS, _POLLING, _TIMEOUTS = Limits(), Polling(), Timeouts()


class ViduClient:
    """An asyncio client of the Vidu API.

    Use it as `async with ViduClient() as vidu:`, or without and call `aclose()` yourself; what is left open is closed
    when the event loop ends. One client serves one event loop at a time, successive ones included.

    Args:
        api_key: the key; by default the environment's VIDU_API_KEY.
        gateway: which site or reseller to talk to, `Gateway.kkiai()` by default.
        base_url: its URL alone (or VIDU_BASE_URL): picks the preset of that host, else a `Bearer` gateway there.
        limits: how much at once; a `Limiter` is shared with other clients.
        polling: when to look at waiting tasks.
        timeouts: how long to be patient.
        journal: a file's path, or a `Journal` that you close yourself: what was sent and accepted is on disk before you
            know of it, survives a crash, and nothing is spent while it cannot be written. None keeps it in memory: a
            crash loses the knowledge of paid tasks.
        on_unknown: what becomes of a submission whose answer was lost and whose task is not found: "hold" reports it,
            "resend" sends it again after `Timeouts.quiet`, at the risk of paying twice.
        upload_above: bytes above which a local picture is uploaded (`upload`) when it is submitted, and its URI sent in
            its place; None sends all pictures within their requests. No page says that today's creations take these
            URIs, so try one. What cannot be uploaded is not sent, and not paid. Pictures from 10 MB on, which the
            storage does not take, stay in their requests.
        callbacks: where this client is called back (`CallbackReceiver`). Each submission without a `callback_url` of
            its own is then given one, with a token in its path; tasks are looked at rarely, and at once when called
            back. With a journal file any process of this machine that has it may be the one that is called.
        strict: refuse what is otherwise warned of (`ViduWarning`) when it is submitted: a model or value that only some
            page has, or one without effect.
        on_event: called with each event (`vidu_async.events`), in the event loop: it should be quick.
        session: your own aiohttp session for everything but creations and downloads, which always go over
            connections of their own.
        proxy: an HTTP proxy's URL. Proxies of the environment are ignored.
        ssl: an SSL context to check certificates with.

    Raises:
        ConfigError: no key, or a setting that cannot work.

    """

    def __init__(  # noqa: PLR0913 - settings, each with its default
        self,
        api_key: str | None = None,
        *,
        gateway: Gateway | None = None,
        base_url: str | None = None,
        limits: Limits | Limiter = _LIMITS,
        polling: Polling | PollingPolicy = _POLLING,
        timeouts: Timeouts = _TIMEOUTS,
        journal: str | os.PathLike[str] | Journal | None = None,
        on_unknown: Literal["hold", "resend"] = "hold",
        upload_above: int | None = None,
        callbacks: CallbackReceiver | None = None,
        strict: bool = False,
        on_event: Callable[[Event], object] | None = None,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
    ) -> None:
        api_key = os.environ.get("VIDU_API_KEY", "") if api_key is None else api_key
        fault, self._key = fault_of(api_key), ApiKey(api_key)
        del api_key  # so that no traceback with locals shows it
        if fault:
            raise ConfigError(fault)
        check("gateway", gateway, Gateway | None)
        check("limits", limits, Limits | Limiter)
        check("timeouts", timeouts, Timeouts)
        check("journal", journal, str | os.PathLike | Journal | None)
        if journal == "":
            raise ConfigError("journal= must be a file's path or None, not ''")
        if on_unknown not in ("hold", "resend"):
            raise ConfigError(f'on_unknown= must be "hold" or "resend", not {on_unknown!r}')
        check_bytes("upload_above", upload_above)
        check("strict", strict, bool)
        called = [on_event, getattr(on_event, "__call__", None)]  # noqa: B004 - an object's own may be a coroutine's
        if on_event is not None and (not callable(on_event) or any(map(inspect.iscoroutinefunction, called))):
            raise ConfigError(f"on_event= must be a function, and no coroutine function, not {on_event!r}")
        check("ssl", ssl, ssl_module.SSLContext | bool | None)
        check_proxy(proxy)
        self._gateway = gateway_from(gateway, base_url)
        if upload_above is not None and self._gateway.uploads is False:
            raise ConfigError(
                "upload_above= needs a gateway that takes uploads; Gateway(uploads=False) says it does not"
            )
        check("callbacks", callbacks, CallbackReceiver | None)
        if callbacks is not None:
            callbacks.check_can_verify(self._gateway)
            if (risk := risk_of(callbacks.public_url)) and not self._gateway.is_local:
                _log.warning("callbacks to %s may not arrive: it %s", callbacks.public_url, risk)
        self._limiter = limits if isinstance(limits, Limiter) else Limiter(limits)
        self._owns_journal = not isinstance(journal, Journal)
        self._journal = _journal_of(journal)
        self._report = Reporter(on_event)
        policy = policy_of(polling)
        self._abilities = Abilities(self._gateway, self._bind)
        listing = Listing(partial(self._abilities.has, "lists"), self._list_page)
        self._lessons = Lessons(self._journal, policy, self._gateway.url(""))
        self._watcher = Watcher(self._look, listing, Guarded(policy), self._report, self._finished)
        self._connections = Connections(
            lambda: Transport(
                self._gateway,
                self._key,
                timeouts,
                given=session,
                proxy=proxy,
                ssl=True if ssl is None else ssl,
                downloads=self._limiter.limits.downloads,
            ),
            self._watcher.pause,
        )
        self._reconciler = Reconciler(
            self._journal,
            self._gateway.url(""),
            timeouts.quiet,
            partial(self._abilities.has, "lists"),
            lambda since, until: self._list_pages(created_from=since, created_to=until),
            self.fetch_task,
            self._forget_order,
        )
        self._deposits = Deposits(self._gateway, self._abilities, self._bind, upload_above)
        resends, place = on_unknown == "resend", self._deposits.placed
        call_back = callbacks.url_for if callbacks is not None else None
        self._outbox = Outbox(self._journal, self._limiter, self._reconciler, resends, place, call_back, self._report)
        self._home = {"site": self._gateway.url(""), "key_print": self._key.print}
        self._bound: Transport | None = None
        self._bell = self._bell_for(callbacks)
        self._strict = strict
        self._appender = Appender()

    def _bell_for(self, callbacks: CallbackReceiver | None) -> Bell | None:
        if callbacks is None:
            return None
        bell = Bell(
            self._key.signature_of if self._gateway.signs else None,
            self._home,
            self._owns_journal,
            self._journal,
            self._watcher,
            self._reconciler,
            self._watch_of,
            self._outbox.in_hand,
            lambda: self._bound.clock_offset if self._bound else 0.0,
            lambda: self._outbox.is_busy or self._watcher.is_waiting or self._reconciler.is_waiting,
        )
        callbacks.subscribe(bell)
        return bell

    @property
    def gateway(self) -> Gateway:
        """The site this client talks to."""
        return self._gateway

    def __repr__(self) -> str:
        if not hasattr(self, "_connections"):  # a debugger shows it while __init__ refuses a setting
            return "<ViduClient>"
        return f"<ViduClient {self._gateway.base_url}{' closed' if self._connections.is_closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ViduClient holds a key and connections and is not pickled; make one where it is needed")

    async def __aenter__(self) -> Self:
        await self._journal.open()
        self._bind()
        await self._lessons.recall()
        if self._bell:
            await self._bell.recall()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # Creating

    async def submit(self, request: Request, *, key: str | None = None, retry_failed: bool = False) -> TaskHandle:
        """Submit a creation, once, and return the handle of its task.

        The request is sent on a fresh connection, its last byte after the journal has taken note of it; again only if
        the server provably never saw it whole, or said 429. If its answer is lost its task is looked for, where the
        gateway lists tasks or calls back, 15 seconds long. Cancelling the caller withdraws it while it waits for its
        turn; once it is on its way it is completed, and `unfinished()` has its handle.

        Args:
            request: what to create; it costs credits.
            key: your name for this submission. The same key with the same request returns the same task and sends
                nothing, as long as the journal lasts. After a refusal it may be used again, also for another request.
            retry_failed: create anew what failed or was cancelled under this key.

        Raises:
            ValidationError: a picture or clip is missing, has changed, is cut short or is none that Vidu takes, or
                `strict=True` and the request is in doubt. Nothing is paid.
            IdempotencyConflictError: the key already names another request. Nothing is paid.
            LimiterFullError: too many submissions are waiting. Nothing is paid.
            UnsupportedError: `upload_above=` has a picture uploaded, and this gateway takes none. Nothing is paid.
            JournalError: the journal cannot be written. Nothing is paid.
            ConnectError, TransportError, RequestTimeoutError: the server did not see it whole in four tries (one, if it
                is a `TLSError`). Nothing is paid.
            APIError, ProtocolError: the server refused or redirected. Nothing is paid. After no credits, a 401 or a 403
                nothing more is sent until `resume()`.
            SubmissionUnknownError: the answer was lost, and no task was found. It may be paid.
            ConfigError: the client is closed, or in use by another running loop. Nothing is paid.

        """
        self._bind_to_pay()
        await self._lessons.recall()
        _check_submission(request, key)
        check("retry_failed", retry_failed, bool)
        weigh(request, self._gateway, strict=self._strict, key=key)
        call, found = await self._examined(request)
        tell(found.doubts, strict=self._strict, key=key)
        body = found.body
        digest = "" if key is None else await _digest(request, body)
        is_called_back = self._bell is not None and "callback_url" not in body
        known = {"digest": digest, "off_peak": _is_off_peak(request), "is_called_back": is_called_back}
        wanted = Row.of(request.endpoint, body, key=key, **known, **self._home)
        if self._bell:
            self._bell.note_payload(body.get("payload"))
        order = Order(wanted, call, body, self._accept, self._handle_of, retry_failed)
        # Bound again: the client may have been closed while files were read.
        return await self._outbox.send(order, self._bind_to_pay())

    async def check(self, request: Request, *, key: str | None = None) -> None:
        """Look at a request as `submit` would, its local files included, and send nothing.

        Raises:
            ValidationError: as `submit`.

        """
        _check_submission(request, key)
        weigh(request, self._gateway, strict=self._strict, key=key)
        _, found = await self._examined(request)
        tell(found.doubts, strict=self._strict, key=key)

    async def fingerprint(self, request: Request) -> str:
        """Return a hash, 64 hexadecimal digits, that two requests share only if they ask for the same.

        The content of local files counts, not their names.

        Raises:
            ValidationError: a local file is missing, has changed or is of a kind Vidu does not take.

        """
        _check_submission(request, None)
        _, found = await self._examined(request)
        return await _digest(request, found.body)

    async def _examined(self, request: Request) -> tuple[calls.Call[Task], media.Examined]:
        """Return the call of a request, and its body with its pictures and clips looked at."""
        call = calls.create(self._gateway, request)
        rules_of = "" if isinstance(request, RawRequest) else request.endpoint
        return call, await self._looked_into(call, rules_of)

    async def _looked_into(self, call: calls.Call[Any], rules_of: str) -> media.Examined:
        """Look at the pictures and clips of a call's body, by the rules of an endpoint."""
        body, above = call.body or {}, self._deposits.above
        return await _in_thread(media.has_local(body), media.examined, body, rules_of, above)

    async def recall(self, key: str) -> TaskHandle | None:
        """Return the handle of the task that a key names at this gateway, None if it names none. Nothing is sent.

        An answer that this client is waiting for is waited for.
        """
        self._bind()
        await self._journal.open()
        await self._outbox.answered(key)
        row = self._journal.find(key)
        is_ours = row is not None and row.site == self._home["site"]  # elsewhere its id means something else
        return self._handle_of(row) if row and is_ours and row.state in {RowState.ACCEPTED, *ENDED} else None

    def _accept(self, row: Row, task: Task, permit: Permit | None) -> TaskHandle:
        """Take in the answer of a creation. Nothing here may fail or wait: the task is paid."""
        if row.state in {RowState.PREPARED, RowState.COMMITTED}:  # else it was found, its answer being lost
            self._reconciler.note_echo(row, task)
            self._journal.note(row, RowState.ACCEPTED, task_id=task.id, credits=task.credits)
        self._report(Accepted(key=row.key, task_id=task.id, credits=task.credits))
        watch = self._watch_of(row, task.id)
        handle = TaskHandle(self, self._watcher, watch, row.key, is_original=True)
        self._watcher.observe(watch, task)
        watch.is_unread = isinstance(self._journal, MemoryJournal)
        if self._reconciler.answered(row):
            self._watcher.ring(watch)
        if permit is not None:
            permit.follow(handle)
        return handle

    def _forget_order(self, key: str) -> None:
        self._outbox.forget(key)

    def _finished(self, watch: Watch, task: Task) -> None:
        """Have the journal note the end of a task."""
        state = RowState.CANCELLED if task.is_cancelled else RowState(task.state.value)
        self._journal.finished(self._home["site"], watch.task_id, state, task.credits)
        self._lessons.count_end()
        if self._bell:
            self._bell.note_end(watch)

    async def run(
        self,
        request: Request,
        *,
        key: str | None = None,
        retry_failed: bool = False,
        timeout: Timeout = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - a deadline that moves
    ) -> Task:
        """Submit a creation and wait for its result: `submit` and then `TaskHandle.result`."""
        check_timeout(timeout)  # before anything is paid
        handle = await self.submit(request, key=key, retry_failed=retry_failed)
        return await handle.result(timeout=timeout)

    async def create_subject(self, subject: Subject) -> Subject:
        """Store a subject for 5 credits, and return it with the `server_id` that requests refer to it by.

        It is sent and fails like `submit`.
        """
        self._bind_to_pay()
        self._abilities.require("subjects")
        weigh(subject, self._gateway, strict=self._strict)
        call = calls.create_subject(self._gateway, subject)
        found = await self._looked_into(call, SUBJECTS)
        tell(found.doubts, strict=self._strict)
        wanted = Row.of(SUBJECTS, found.body, key=None, **self._home)

        def accept(row: Row, stored: Subject, permit: Permit | None) -> Subject:
            self._journal.note(row, RowState.ACCEPTED, task_id=stored.server_id)
            self._journal.finished(row.site, stored.server_id or "", RowState.SUCCESS, None)  # no task to follow
            if permit is not None:
                permit.release()
            return stored

        order = Order(wanted, call, found.body, accept, _nothing_to_recall)
        return await self._outbox.send(order, self._bind_to_pay())

    async def upload(self, file: Media) -> str:
        """Upload a picture to Vidu's storage, and return its URI: `ssupload:?id=...`, for requests to refer to it.

        The URI lasts for 7 days. Uploading costs no credits; no page says which creations of today take such URIs. A
        picture that this client has uploaded in the last 6 days, by its content, is not uploaded again. Start as many
        as you like: 16 go at once.

        Args:
            file: a picture as requests take it (a path, bytes, an open file, Pillow's or numpy's), which is PNG, JPEG
                or WebP, smaller than 10 MB, and from 1:4 to 4:1.

        Raises:
            ValidationError: it is missing, of another kind or too large, or has changed since it was looked at.
            UnsupportedError: this gateway takes no uploads.
            APIError: the server or its storage refused, after four tries if that may pass.
            ConnectError, TransportError, RequestTimeoutError, ProtocolError: no answer in four tries, or a wrong one.

        """
        self._bind()
        self._abilities.require("uploads")
        return await self._deposits.uri_of(await asyncio.to_thread(media.picture, file, "file"))

    # Following

    def attach(self, task: str) -> TaskHandle:
        """Return the handle of a task made elsewhere, by its id or by a handle's token. No I/O.

        Raises:
            ConfigError: the token is damaged, or of another gateway.

        """
        token = Token.parse(task, self._gateway)
        watch = self._watcher.watch(token.task_id, off_peak=token.off_peak)
        return TaskHandle(self, self._watcher, watch)

    def unfinished(self) -> list[TaskHandle]:
        """Return the handles of all accepted tasks that the journal does not know to have ended, oldest first.

        With a journal file also those of other clients, and of processes that ended. Nothing is asked of the server,
        but the event loop stands still while the file is read.
        """
        return [self._handle_of(row) for row in self._journal.unfinished(self._gateway.url(""))]

    # Finding out

    def unresolved(self) -> list[Unresolved]:
        """Return the submissions that may be paid and whose tasks were not found, oldest first; as `unfinished`."""
        return self._reconciler.shown()

    async def reconcile(self) -> list[TaskHandle]:
        """Look for the tasks of all that is unresolved, once, now; return the handles of those that were found.

        The tasks created at the time are listed, and each is queried for the payload that it repeats: only that is
        proof. Nothing is sent again. Where the gateway does not list tasks nothing can be found; see `resolve`.

        Raises:
            ViduError: the list or a query failed; what was found all the same is in `unfinished()`.

        """
        self._bind()
        await self._journal.open()
        return [self._handle_of(row) for row in await self._reconciler.reconcile()]

    async def resolve(
        self, key: str, *, task_id: str | None = None, resend: bool = False, give_up: bool = False
    ) -> TaskHandle | None:
        """Settle a submission that may be paid, in one of three ways.

        Args:
            key: its name (`error.key`, or `.key` of what `unresolved()` returns).
            task_id: the task that it became, which you found; its handle is returned.
            resend: send it again, at the risk of paying twice; the handle is returned. If this process does not know
                the request any more it returns None, and submitting it under the same key sends it.
            give_up: let it be. Returns None; the next submission under this key is a new one, and is paid. This way is
                open to accepted tasks, too, such as those that the server no longer knows.

        Raises:
            ConfigError: not exactly one way was chosen, nothing unresolved has this key, or the task is another
                submission's.
            ViduError: asking about the task failed, or sending, as in `submit`.

        """
        check("task_id", task_id, str | None)
        check("resend", resend, bool)
        check("give_up", give_up, bool)
        if [task_id is not None, resend, give_up].count(True) != 1:
            raise ConfigError("resolve() takes one of task_id='...', resend=True and give_up=True")
        transport = self._bind()
        await self._journal.open()
        row = self._reconciler.open_row(key, or_accepted=give_up)
        if resend:
            return cast("TaskHandle | None", await self._outbox.send_again(row, transport))
        if task_id is not None:
            row = await self._reconciler.adopt(row, task_id)
        else:
            self._journal.note(row, RowState.GIVEN_UP)
        self._outbox.forget(key)
        self._reconciler.answered(row)
        await self._journal.settled()
        return self._handle_of(row) if task_id is not None else None

    def resume(self) -> None:
        """Let submissions through again, after no credits, a 401 or a 403 had stopped them."""
        self._outbox.breaker.reset()

    def as_completed(self, handles: Iterable[TaskHandle]) -> Completed:
        """Iterate over handles in the order in which their tasks end, good or bad: `async for handle in ...`.

        Raises, while iterating:
            TaskTimeoutError: nothing ended for an hour (49, where a task left is off-peak).

        """
        waiting = list(handles)
        for handle in waiting:
            if not isinstance(handle, TaskHandle):
                close = getattr(handle, "close", None)
                if close is not None:
                    close()  # a coroutine that is never awaited would be warned of, too
                raise ConfigError(f"handles are needed, not {handle!r}: await submit() first, or attach() an id")
        return Completed(waiting)

    @overload
    async def gather(self, handles: Iterable[TaskHandle]) -> list[Task]: ...
    @overload
    async def gather(self, handles: Iterable[TaskHandle], return_exceptions: Literal[False]) -> list[Task]: ...
    @overload
    async def gather(self, handles: Iterable[TaskHandle], return_exceptions: bool) -> list[Task | ViduError]: ...
    async def gather(
        self, handles: Iterable[TaskHandle], return_exceptions: bool = False
    ) -> list[Task] | list[Task | ViduError]:
        """Wait for all and return their tasks in the order given.

        The first failure is raised at once, and the other tasks go on; with `return_exceptions` it stands in its
        task's place instead. Raises what `TaskHandle.result` and `as_completed` raise.
        """
        waiting = list(handles)
        completed = self.as_completed(waiting)
        failures: dict[TaskHandle, ViduError] = {}
        try:
            async for handle in completed:
                try:
                    await handle._filled()  # noqa: SLF001 - the client's and its handles' own
                    completed.outcome(handle)
                except ViduError as error:
                    if not return_exceptions:
                        raise
                    failures[handle] = error
        except TaskTimeoutError:
            if not return_exceptions:
                raise
        return [failures.get(handle) or _outcome_or_error(completed, handle) for handle in waiting]

    def _handle_of(self, row: Row) -> TaskHandle:
        """Return the handle of a task made here, with what is known of it."""
        return TaskHandle(self, self._watcher, self._watch_of(row), row.key)

    def _watch_of(self, row: Row, task_id: str = "") -> Watch:
        return self._watcher.watch(
            task_id or row.task_id,
            key=row.key,
            endpoint=row.endpoint,
            off_peak=row.off_peak,
            is_called_back=row.is_called_back and self._bell is not None and self._bell.is_expecting,
        )

    # Asking

    async def fetch_task(self, task_id: str) -> Task:
        """Look at a task once; `TaskHandle.refresh` does so and remembers."""
        return await self._bind().fetch(calls.query(self._gateway, task_id))

    async def tasks(
        self,
        *,
        states: Iterable[str] | None = None,
        task_ids: Iterable[str] | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Task]:
        """Iterate over the account's tasks, those of the last 7 days unless a window is given.

        Args:
            states: only tasks in one of these, such as `[TaskState.SUCCESS]` or `["success"]`.
            task_ids: only these tasks.
            created_from: only tasks created since; without a time zone it is local time.
            created_to: only tasks created until.
            page_size: tasks per request, 100 at most.

        Raises:
            UnsupportedError: this gateway does not list tasks.

        """
        filters: dict[str, Any] = {
            "states": _listed("states", states, list(TaskState)),
            "task_ids": _listed("task_ids", task_ids),
            "created_from": created_from,
            "created_to": created_to,
            "page_size": page_size,
        }
        async for page in self._list_pages(**filters):
            for task in page.tasks:
                yield task

    async def _look(self, watch: Watch) -> Task:
        return await self._bind().fetch(calls.query(self._gateway, watch.task_id, watch.task))

    async def _list_page(self, task_ids: list[str], token: str) -> Page:
        return await self._abilities.ask("lists", calls.list_tasks(self._gateway, task_ids=task_ids, token=token))

    def _list_pages(self, **filters: Any) -> AsyncIterator[Page]:  # noqa: ANN401 - those of `tasks`
        return self._abilities.pages("lists", partial(calls.list_tasks, self._gateway, **filters))

    async def cancel(self, task_id: str) -> None:
        """Cancel a task that still waits to be run. Its credits are returned.

        Raises:
            CancelRefusedError: it is running or has ended.
            UnsupportedError: this gateway cannot cancel.

        """
        failure: ViduError
        try:
            return await self._abilities.ask("cancels", calls.cancel(self._gateway, task_id))
        except APIError as error:
            if error.status != 400:  # noqa: PLR2004 - Bad Request is how the documentation refuses
                raise
            failure = CancelRefusedError(
                error.message, status=error.status, reason=error.reason, trace_id=error.trace_id
            )
        raise failure

    async def credits(self) -> Credits:
        """Ask what the account has left."""
        return await self._abilities.ask("credits", calls.account(self._gateway))

    async def subjects(self, *, ownership: str = "private") -> AsyncIterator[Subject]:
        """Iterate over the stored subjects, your own (`private`) or everybody's (`system`)."""
        ask = partial(calls.list_subjects, self._gateway, ownership=ownership)
        async for page in self._abilities.pages("subjects", ask):
            for subject in page.subjects:
                yield subject

    # Fetching results

    async def download(
        self,
        task_or_creation: Task | Creation,
        target: str | os.PathLike[str],
        *,
        exists: targets.Exists = "error",
        name: str | None = None,
        variant: targets.Variant = "url",
    ) -> Path:
        """Download the first result of a task, or one creation, and return the file's path.

        What is cut is gone on with where it ended, also by a later call: until it is whole it is a hidden `.part` file
        beside its target. An expired link is asked for anew. Files of at most 4 GiB are taken; links into a local
        network are refused unless the gateway is on one.

        Args:
            task_or_creation: a finished task (most have one result), or one of its creations.
            target: a folder (it exists, ends with a slash or has no suffix), or a file.
            exists: what to do if the file is there: "error", "skip", "overwrite" or "rename".
            name: the file's name in a folder, which may hold `{task_id}`, `{creation_id}`, `{index}` (from 1),
                `{variant}`, `{model}` and `{type}`, empty where no answer has told them. What no file's name should
                hold becomes `_`. By default it is the task id, with the creation's id (or place) where there are
                several; the suffix is that of the content.
            variant: "url", "cover_url" or "watermarked_url".

        Raises:
            DownloadError: no such link, a refused or broken transfer, something that is no result, a file that is there
                already, or a disk's no. The task is unaffected.
            ConfigError: an argument that cannot work.

        """
        creation = targets.creations_of(task_or_creation)[0]
        stem = targets.stem_of(task_or_creation, creation, variant, name)
        place = targets.Target.of(target, stem, exists, is_named=name is not None)
        return await self._download(task_or_creation, creation, place, variant)

    async def download_all(
        self,
        task: Task,
        folder: str | os.PathLike[str],
        *,
        exists: targets.Exists = "error",
        name: str | None = None,
        variant: targets.Variant = "url",
    ) -> list[Path]:
        """Download every result of a task into a folder, one after the other; else as `download`.

        Where there are several, a `name` without `{creation_id}` and `{index}` gets the creation's id at its end.
        """
        creations = targets.creations_of(task)
        if name is not None and len(creations) > 1 and not re.search(r"\{(creation_id|index)\b", name):
            name += "-{creation_id}"
        paths = []
        for creation in creations:
            stem = targets.stem_of(task, creation, variant, name)
            place = targets.Target.of(os.path.join(folder, ""), stem, exists)  # noqa: PTH118 - a trailing slash
            paths.append(await self._download(task, creation, place, variant))
        return paths

    async def _download(
        self, found: Task | Creation, creation: Creation, place: targets.Target, variant: targets.Variant
    ) -> Path:
        def told(received: int, size: int | None) -> None:
            self._report(Downloading(task_id=creation.task_id, received=received, size=size))

        async def refresh() -> Creation:
            return targets.again(creation, found, await self.fetch_task(creation.task_id))

        wanted = Download(creation, place, variant, kind_expected(found, variant), told, refresh, writer=self._appender)
        path = await wanted.run(self._bind())
        self._report(Downloaded(task_id=creation.task_id, path=str(path), size=_size_of(path)))
        return path

    # Beginning and ending

    def _bind_to_pay(self) -> Transport:
        try:
            return self._bind()
        except ConfigError as error:
            error.paid = "no"
            raise

    def _bind(self) -> Transport:
        """Return the connections of the running loop, and let the other parts know that it may be a new one."""
        transport = self._connections.here()
        if transport is not self._bound:
            self._outbox.write_off()
            self._bound = transport
            self._reconciler.begin()
            if self._bell:
                self._bell.listen()
        self._watcher.follow_loop()
        return transport

    async def aclose(self) -> None:
        """Close the client: requests on their way are given 30 seconds, those waiting are withdrawn.

        Tasks go on, and the journal's file or their handles' tokens name them to the next client. What may be paid and
        was not found is logged.
        """
        self._connections.refuse()
        if self._bell:
            self._bell.stop()
        await self._outbox.aclose()
        await self._reconciler.aclose()
        await self._watcher.aclose()
        self._lessons.keep()
        await self._connections.aclose()
        if self._bell:
            self._bell.close()
        if self._owns_journal:
            try:
                await self._journal.aclose()
            except JournalError as error:  # what was done is done: it must not hide how the block ended
                _log.error("the journal was closed before all was written that is known: %s", error)


def _check_submission(request: object, key: object) -> None:
    """Refuse what is no request, or no key."""
    if not isinstance(request, Request):
        said = f"submit() takes a request, not {type(request).__name__}; request_from_wire() builds one of a mapping"
        raise ValidationError(said, field="request", value=request)
    if key is not None and not (isinstance(key, str) and key):
        raise ValidationError(f"key must be text, not {key!r}", field="key", value=key)


def _journal_of(journal: str | os.PathLike[str] | Journal | None) -> Ledger:
    if journal is None:
        return MemoryJournal()
    return journal if isinstance(journal, Journal) else Journal(journal)


def _is_off_peak(request: Request) -> bool:
    return getattr(request, "off_peak", None) is True


def _listed(name: str, values: Iterable[str] | None, allowed: list[TaskState] | None = None) -> list[str]:
    """Take a filter's values, none that would silently match nothing: "not there" may be read as "pay again"."""
    if isinstance(values, str):
        raise ValidationError(f"{name} takes a list: {name}=[{values!r}]", field=name, value=values)
    found = list(values or ())
    for value in found:
        if allowed is not None and value not in allowed:
            names = ", ".join(allowed)
            raise ValidationError(f"{name} must be of {names}, not {value!r}", field=name, value=value, allowed=allowed)
    return found


def _size_of(path: Path) -> int:
    """Return how many bytes a file has; 0 if somebody has taken it away already, as whoever watches its folder may."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _outcome_or_error(completed: Completed, handle: TaskHandle) -> Task | ViduError:
    try:
        return completed.outcome(handle)
    except ViduError as error:
        return error


def _nothing_to_recall(row: Row) -> NoReturn:
    raise AssertionError(f"submission {row.key} has no name to be recalled by")


async def _digest(request: Request, body: dict[str, Any]) -> str:
    meant = {"endpoint": request.endpoint, "fields": body}
    return await _in_thread(media.has_files(body) or media.has_local(body), media.digest, meant)


async def _in_thread(is_slow: bool, call: Callable[..., R], *args: object) -> R:
    """Do something that reads files in a thread, and anything else at once."""
    return await asyncio.to_thread(call, *args) if is_slow else call(*args)
