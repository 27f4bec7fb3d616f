"""Sends callbacks: moves the account while a task with a `callback_url` is under way, signs what is due, posts it.

Imports aiohttp, so imported late. Nothing is posted to another machine, lest a test call the world.
"""

from __future__ import annotations

import asyncio
import io
import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

import aiohttp
from attrs import define, field
from yarl import URL

from vidu_async.protocol import signing
from vidu_async.protocol.validation.callback_url import fault_of
from vidu_async.testing.account import Account, Task
from vidu_async.testing.callbacks import Change, Outgoing, is_taken

_log = logging.getLogger("vidu_async.testing")

_AT_ONCE: Final = 64
_SHORTEST_NAP: Final = 0.0005
"""Less might be lost in rounding: Unix seconds have seven digits behind the point."""
_LEFT: Final = "the Simulator was left before"


@define(kw_only=True, eq=False)
class Courier:
    """One courier for one account, on the loop on which it is started."""

    account: Account
    outgoing: Outgoing
    lock: AbstractContextManager[object]
    """Held while account and outgoing are asked: they may be looked at from another thread."""
    clock: Callable[[], float]
    """Unix seconds."""
    api_key: str = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False, repr=False)
    _bell: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _slots: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False, repr=False)
    _queues: dict[str, deque[Change]] = field(factory=dict, init=False, repr=False)
    """By task: its callbacks go out one after the other."""
    _ends: dict[str, asyncio.Event] = field(factory=dict, init=False, repr=False)
    """By task, set when its end has been told: where somebody waits for that."""
    _session: aiohttp.ClientSession = field(init=False, repr=False)
    _task: asyncio.Task[None] = field(init=False, repr=False)

    def start(self) -> None:
        """Begin to look for what is due."""
        # A connection kept open would fail a callback for which there is one try only.
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        self._task = asyncio.create_task(self._run(), name="callbacks of a Simulator")
        with self.lock:
            self.outgoing.ring = self._ring

    async def stop(self) -> None:
        """Break off what is under way. What is not due yet is kept for the next courier."""
        with self.lock:
            self.outgoing.silence()
        self._task.cancel()
        try:
            await asyncio.wait([self._task])
        finally:
            await self._session.close()
        for queue in self._queues.values():
            self.outgoing.deliveries += [change.became((), change.unsent or _LEFT) for change in queue]
        with suppress(asyncio.CancelledError):
            self._task.result()

    def _ring(self) -> None:
        self.loop.call_soon_threadsafe(self._bell.set)

    async def told(self, task: Task) -> None:
        """Wait until the end of a new task has been told, where `Callbacks.before_answer` asks for it."""
        if self.outgoing.callbacks.before_answer and task.id in self.outgoing.unended:
            await self._ends.setdefault(task.id, asyncio.Event()).wait()

    async def forge(
        self,
        url: str,
        body: bytes,
        *,
        key: str | None,
        age: float,
        nonce: str | None,
        headers: Mapping[str, str | None],
    ) -> int:
        """Post one callback, once, and return what it is answered; see `Simulator.forge`."""
        signed = self._signed(url, key=key, age=age, nonce=nonce)
        changed = {name.lower() for name in headers}
        sent = {name: value for name, value in signed.items() if name.lower() not in changed}
        sent |= {name: value for name, value in headers.items() if value is not None}
        status = await self._post(self._address(url), body, sent)
        if status is None:
            raise ConnectionError(f"the callback to {url} got no answer")
        return status

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._bell.clear()
                with self.lock:
                    self.account.advance(self.clock())
                    due = self.outgoing.take()
                    # Without a task that calls back, nothing moves until the account is asked.
                    moment = self.account.next_moment() if self.outgoing.unended else math.inf
                self._hand_out(due, group)
                await self._nap(moment)

    async def _nap(self, moment: float) -> None:
        """Wait for a moment, or until the bell rings."""
        seconds = max(_SHORTEST_NAP, moment - self.clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                await self._bell.wait()

    def _hand_out(self, due: Iterable[Change], group: asyncio.TaskGroup) -> None:
        for change in due:
            if change.task_id not in self._queues:
                self._queues[change.task_id] = deque()
                group.create_task(self._walk(change.task_id))
            self._queues[change.task_id].append(change)

    async def _walk(self, task_id: str) -> None:
        """Deliver what is due of one task, in order."""
        queue = self._queues[task_id]
        signed: dict[str, dict[str, str]] = {}
        while queue:
            await self._deliver(queue.popleft(), signed)
        del self._queues[task_id]
        if task_id in self._ends and task_id not in self.outgoing.unended:
            self._ends.pop(task_id).set()

    async def _deliver(self, change: Change, signed: dict[str, dict[str, str]]) -> None:
        """See one callback to its end, and write down what became of it."""
        statuses: list[int | None] = []
        unsent = change.unsent or _LEFT
        try:
            await asyncio.sleep(change.at + self.outgoing.callbacks.delay - self.clock())
            if not change.unsent:
                address = self._address(change.url)
                unsent = ""
                await self._try(change, address, signed, statuses)
        except ValueError as error:
            unsent = str(error)
        finally:
            self.outgoing.deliveries.append(change.became(tuple(statuses), unsent))

    async def _try(
        self, change: Change, address: URL, signed: dict[str, dict[str, str]], statuses: list[int | None]
    ) -> None:
        """Post until it is taken, or has been tried often enough."""
        while not (statuses and is_taken(statuses[-1])):
            callbacks = self.outgoing.callbacks
            if len(statuses) >= callbacks.tries_of(change.state):
                return
            if statuses:
                await asyncio.sleep(callbacks.pause)
            if change.state not in signed or not callbacks.same_headers:
                signed[change.state] = self._signed(change.url)
            statuses.append(None)
            statuses[-1] = await self._post(address, change.body, signed[change.state])

    def _signed(
        self, url: str, *, key: str | None = None, age: float = 0.0, nonce: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a callback, signed for the registered URL."""
        if fault := fault_of(url):
            raise ValueError(f"callback_url {fault}")
        keys = (key, self.outgoing.callbacks.key, self.api_key)
        # The world's time, whatever clock the loop runs on: a receiver compares it with its own.
        date = signing.http_date(datetime.fromtimestamp(time.time() - age, UTC))
        signed = signing.sign(
            method="POST",
            url=url,
            key=next(one for one in keys if one is not None),
            date=date,
            nonce=str(uuid.uuid4()) if nonce is None else nonce,
        )
        return {"Content-Type": "application/json", **signed}

    def _address(self, url: str) -> URL:
        """Return where a callback is posted to. Raises ValueError for another machine's address, and for none."""
        route = self.outgoing.callbacks.route
        target = url if route is None else _routed(route, url)
        if fault := fault_of(target):
            raise ValueError(f"{'callback_url' if route is None else 'what route returns'} {fault}")
        address = URL(target, encoded=True)
        if not _is_here(address.host or ""):
            raise ValueError(f"{address.host} is not this machine; Callbacks(route=...) says where else to post")
        return address

    async def _post(self, address: URL, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Return the status of the answer, None if none came."""
        timeout = aiohttp.ClientTimeout(total=self.outgoing.callbacks.timeout)
        async with self._slots:
            try:
                async with self._session.post(
                    address,
                    data=io.BytesIO(body),
                    headers=headers,
                    skip_auto_headers={"Content-Type"},
                    timeout=timeout,
                    allow_redirects=False,
                ) as response:
                    return response.status
            except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
                return None


def _routed(route: Callable[[str], str], url: str) -> str:
    try:
        target: object = route(url)
    except Exception as error:
        _log.exception("route failed for %s", url)
        raise ValueError(f"route failed: {error!r}") from error
    if not isinstance(target, str) or not target:
        raise ValueError(f"route must return a URL, not {target!r}")
    return target


def _is_here(host: str) -> bool:
    """Whether a host is this machine, under a name that can mean no other."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
