"""A Vidu of one's own: the whole service on a loopback port, for tests and for trying things out.

This file ties account, service and server together and is what a test holds in its hand.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve, field, frozen

from vidu_async.client import ViduClient
from vidu_async.polling import Polling
from vidu_async.protocol.gateway import Gateway
from vidu_async.settings import Timeouts
from vidu_async.testing import checks
from vidu_async.testing.account import Account, Pace, Task
from vidu_async.testing.callbacks import Callbacks, Outgoing, posing
from vidu_async.testing.dialects import DIALECTS
from vidu_async.testing.faults import Chance, Faults, seeded
from vidu_async.testing.intercept import Intercept, Reply
from vidu_async.testing.links import RESULT_LIFE, Links
from vidu_async.testing.service import Service
from vidu_async.testing.throttle import Door, Throttle
from vidu_async.testing.view import View
from vidu_async.testing.ways import Ways

if TYPE_CHECKING:
    from vidu_async.testing.courier import Courier
    from vidu_async.testing.server import Server

_QUICKEST = 0.001
_SHORTEST_POLL = 0.005
_LONGEST_POLL = 0.05
_SHORTEST_QUIET, _REAL_QUIET = 1.0, 600.0
_FAULTS, _THROTTLE, _CALLBACKS = Faults(), Throttle(), Callbacks()
_AS_SIGNED: Mapping[str, str | None] = MappingProxyType({})


def _never(_request: Mapping[str, Any]) -> None:
    return None


def _nobody(_task: Task) -> None:
    return None


@frozen(kw_only=True)
class _Own:
    """The settings that no part of the service takes and checks."""

    time_scale: float = field(validator=checks.above_zero)
    api_key: str = field(repr=False, validator=checks.a(str, "text"))
    host: str = field(validator=checks.a(str, "text"))
    port: int = field(validator=checks.whole(0, 65_535))
    dialect: str = field()
    on_change: Callable[[Task], None] = field(repr=False, validator=checks.function)

    @dialect.validator
    def _is_known(self, _: object, name: str) -> None:
        checks.known("dialect", name, DIALECTS)


class Simulator(View):
    """A faithful Vidu over real HTTP, as an async context manager.

    Credits, tasks and ids live as long as the object: leaving it and entering it again is an outage and a
    restart (give a `port` to be found at the same place again). Its clock never goes back, whichever loop it runs on.

    Raises ValueError for a setting that cannot work, with its name and value.

    The service:

    - `time_scale` multiplies the time that tasks take. At 1.0 a task takes a tenth of a second; 600 is about real.
      Every setting given in seconds means these seconds, whatever the scale.
    - `api_key` is the one key that is accepted, after `Bearer` or `Token`.
    - `credits` the account starts with.
    - `concurrency` is how many tasks are processed at once; the others wait in `queueing`.
    - `lists=False`, `cancels=False`: those paths answer 404, as at a gateway that lacks them.
    - `list_lag`, `query_lag`: seconds until a new task is in the list, and until it can be queried; a query answers
      404 `TaskNotFound` before, as from a replica that lags.
    - `link_life`: whole seconds until result links expire, 0 for links expired when signed, at most a day. None (the
      default) is as documented: a day; covers never live longer than an hour, nor do links by which pictures are
      uploaded. Every query signs anew.
    - `throttle`: how many creations are let in; see `Throttle`.
    - `host` and `port` to listen on; port 0 takes a free one. Where `host` means every address, as "0.0.0.0" and "::"
      do, `url` and all links name the loopback.

    A task created with a `callback_url` is called back as it enters `processing` and when it ends, with the body of a
    query, signed like Vidu's; `deliveries` says what became of that, and `forge` sends what Vidu would not. Only this
    machine is called.

    The gateway it is:

    - `dialect` is how bodies and errors are dressed: "vidu", or another name from the table in `dialects`.
    - `ways`: the gateway to imitate in its API root, its base URL's path, key header, static headers, path of queries,
      models and their aliases, key of subjects, and in which endpoints it lacks. `gateway` is then that one, here.
      Its paths must need no quoting, and hold one `{id}`, in the path of a query or as the whole of a parameter.
    - `new_id` is called for the id of each task, which is a number of 18 digits without it. It must return text other
      than "", "." and "..", each only once.

    What goes wrong:

    - `faults`: failing tasks, refusals, dropped and cut connections by their shares; see `Faults`. They may be
      replaced at any time.
    - `callbacks`: by whose key they are signed and how often they are tried, whether they are dropped, repeated, late,
      or told in another order; see `Callbacks`. They may be replaced at any time.
    - `fails` is called with the body of each creation that is about to be accepted. The task will fail with the
      err_code it returns, "CreationPolicyViolation" for example; None leaves it to `faults`.
    - `intercept` is an async callable that sees method, path (without query), headers and body of every
      request, and says what becomes of it: None to let the service answer, a `Reply` to answer in its place, a
      `Refusal`, `DROP` to close the connection without an answer, `DROP_AFTER` to do so once the service has acted,
      `CUT` to send half of the answer, or `Serve(delay=...)`. It may be set at any time, and goes before `faults`; the
      lot is drawn all the same, so that the next request meets what it would have met.

    Where `new_id`, `fails` or `intercept` raises or returns what it must not, the request is answered with 500, nothing
    is booked, and the traceback is in the log of `aiohttp.server`.

    For the test:

    - `seed` makes durations, chosen seeds, `faults` and `callbacks` repeatable; ids differ in every run all the same.
    - `on_change` is called with each task when it is created and whenever its state has changed. Nothing moves by
      itself unless a task with a `callback_url` is under way: the service catches up when it is asked, and so does
      this object when it is looked at. What it raises is in the log of `vidu_async.testing`, and changes no answer.
    """

    requests: Counter[str]
    """How many requests came, by method and route: `requests["GET /ent/v2/tasks/{id}/creations"]`."""

    def __init__(  # noqa: PLR0913 - these are the knobs, each with a default
        self,
        *,
        time_scale: float = 1.0,
        api_key: str = "sk-simulator",
        credits: int = 100_000,  # noqa: A002 - Vidu's word
        concurrency: int = 5,
        lists: bool = True,
        cancels: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        fails: Callable[[Mapping[str, Any]], str | None] | None = None,
        intercept: Intercept | None = None,
        dialect: str = "vidu",
        ways: Gateway | None = None,
        new_id: Callable[[], str] | None = None,
        faults: Faults = _FAULTS,
        throttle: Throttle = _THROTTLE,
        callbacks: Callbacks = _CALLBACKS,
        list_lag: float = 0.0,
        query_lag: float = 0.0,
        link_life: int | None = None,
        on_change: Callable[[Task], None] = _nobody,
    ) -> None:
        self._own = _Own(
            time_scale=time_scale, api_key=api_key, host=host, port=port, dialect=dialect, on_change=on_change
        )
        self._outgoing = Outgoing(callbacks=callbacks, chance=seeded(seed, "callbacks"))
        self.requests = Counter()
        self._clock: Callable[[], float] = time.time
        self._server: Server | None = None
        self._courier: Courier | None = None
        # Reentrant: `fails` is called with it held, and may want to look at the tasks.
        self._lock = threading.RLock()
        self._account = Account(
            credits=credits,
            concurrency=concurrency,
            pace=Pace().scaled(time_scale),
            random=Random(seed),  # noqa: S311 - repeatable on purpose
            now=time.time(),
            new_id=new_id,
            on_change=self._changed,
        )
        self._service = Service(
            account=self._account,
            links=Links("", secrets.token_bytes(32), RESULT_LIFE if link_life is None else link_life),
            dialect=DIALECTS[dialect],
            ways=Ways(ways),
            door=Door(throttle),
            chance=Chance(seed),
            faults=faults,
            fails=_never if fails is None else fails,
            intercept=intercept,
            lists=lists,
            cancels=cancels,
            list_lag=list_lag,
            query_lag=query_lag,
        )

    async def __aenter__(self) -> Self:
        """Start to listen."""
        # Importing aiohttp takes longer than all the rest of the package; a pytest plugin must not.
        from vidu_async.testing.courier import Courier  # noqa: PLC0415
        from vidu_async.testing.server import Server  # noqa: PLC0415

        if self._server is not None:
            msg = "this Simulator is running already"
            raise RuntimeError(msg)
        # The loop's time, so that under a virtual clock whole hours of queueing pass at once.
        loop = asyncio.get_running_loop()
        # Never earlier than before: under a virtual clock it may have run ahead of the world.
        origin = max(time.time(), self._account.now) - loop.time()
        self._clock = lambda: origin + loop.time()
        courier = Courier(
            account=self._account,
            outgoing=self._outgoing,
            lock=self._lock,
            clock=self._clock,
            api_key=self.api_key,
        )
        self._server = Server(
            service=self._service,
            api_key=self.api_key,
            lock=self._lock,
            clock=self._clock,
            requests=self.requests,
            told=courier.told,
        )
        try:
            base_url = await self._server.start(self._own.host, self._own.port)
        except BaseException:
            self._server = None
            raise
        self._service.links = evolve(self._service.links, base_url=base_url)
        courier.start()
        self._courier = courier
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and calling back, and close every connection, at once."""
        server, self._server = self._server, None
        courier, self._courier = self._courier, None
        try:
            if courier is not None:
                await courier.stop()
        finally:
            if server is not None:
                await server.stop()

    def _changed(self, task: Task) -> None:
        now = self._account.now
        self._outgoing.note(task, now, lambda: self._service.told(task, now))
        self._own.on_change(task)

    @property
    def api_key(self) -> str:
        """The one key that is accepted."""
        return self._own.api_key

    @property
    def url(self) -> str:
        """Scheme, host and port, `http://127.0.0.1:40000`. Raises RuntimeError before the Simulator was entered."""
        if not self._service.links.base_url:
            msg = "a Simulator has no URL before `async with`"
            raise RuntimeError(msg)
        return self._service.links.base_url

    @property
    def gateway(self) -> Gateway:
        """The gateway a client needs to speak to it."""
        found = self._service.ways.gateway(self.url)
        return found if self.callbacks.key is None else evolve(found, signs=None)

    @property
    def faults(self) -> Faults:
        """What goes wrong by lot; assign another to begin or end an outage."""
        return self._service.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._service.faults = faults

    @property
    def callbacks(self) -> Callbacks:
        """How it calls back; assign another at any time."""
        return self._outgoing.callbacks

    @callbacks.setter
    def callbacks(self, callbacks: Callbacks) -> None:
        self._outgoing.callbacks = callbacks

    @property
    def intercept(self) -> Intercept | None:
        """What sees each request before the service; assign another, or None."""
        return self._service.intercept

    @intercept.setter
    def intercept(self, intercept: Intercept | None) -> None:
        self._service.intercept = intercept

    def client(self, **options: Any) -> ViduClient:  # noqa: ANN401 - handed on as they are
        """Return a client of this service that polls, and looks for lost tasks, at its pace.

        `options` go to `ViduClient` and win.
        """
        shortest, longest = (max(_QUICKEST, pause * self._own.time_scale) for pause in (_SHORTEST_POLL, _LONGEST_POLL))
        settings: dict[str, Any] = {
            "api_key": self.api_key,
            "gateway": self.gateway,
            "polling": Polling(min_interval=shortest, max_interval=longest),
            "timeouts": Timeouts(quiet=min(_REAL_QUIET, max(_SHORTEST_QUIET, 10 * self._own.time_scale))),
        }
        return ViduClient(**settings | options)

    async def forge(
        self,
        task_id: str,
        state: str = "success",
        *,
        body: object = None,
        key: str | None = None,
        age: float = 0.0,
        nonce: str | None = None,
        headers: Mapping[str, str | None] = _AS_SIGNED,
    ) -> int:
        """Call back as somebody would who wants to be taken for Vidu, once; return what the receiver answered.

        Without options it is a right one for the `state`, which need not be that of the task. May be awaited on any
        loop.

        Args:
            task_id: that of a task that was created with a `callback_url`.
            state: what the body says: "processing", "success" or "failed".
            body: bytes, text, or anything JSON can hold, in place of what the service would say.
            key: the key that signs; by default the right one.
            age: seconds by which the signed date is past, negative for one to come.
            nonce: what is signed as such; by default it is fresh.
            headers: what to send in place of headers or beside them, once all is signed; None leaves a header out.

        Raises:
            ConnectionError: no answer came.
            ValueError: there is no such task or state, or its `callback_url` may not be posted to.
            RuntimeError: the Simulator is not running.

        """
        courier = self._courier
        if courier is None:
            msg = "a Simulator can forge callbacks only inside `async with`"
            raise RuntimeError(msg)
        with self._lock:
            task = posing(self.tasks.get(task_id), state)
            said = self._service.told(task, self._account.now) if body is None else body
        url, content = task.request["callback_url"], Reply(body=said).content
        posting = courier.forge(url, content, key=key, age=age, nonce=nonce, headers=headers)
        # The courier's loop may run in another thread.
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(posting, courier.loop))

    def __repr__(self) -> str:
        where = self.url if self._server is not None else "not running"
        account = self._account
        return f"<Simulator {where}, {len(account.tasks)} tasks, {account.credits} credits left>"
