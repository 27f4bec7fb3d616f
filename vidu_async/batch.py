"""An overnight's work: any number of requests, a bounded window of them under way, an outcome for each.

The client's journal is the batch's memory. Ended in whatever way and run again with the same journal it finishes what
it had begun and pays for nothing twice: every item has a key (`items.py`), and what a key names already is taken up,
not sent. `budget.py` says what may be sent, `work.py` does it for one item; here are the window and who waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidu_async.budget import Budget, Prices
from vidu_async.events import BatchSized, ItemLeft, ItemTaken
from vidu_async.items import Namer, check_source, is_rereadable, items, size_of
from vidu_async.outcomes import Forecast, Outcome, Summary
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError, ViduError
from vidu_async.work import NotTakenError, Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType
    from typing import Self

    from vidu_async.client import ViduClient
    from vidu_async.items import Item, Source

_log = logging.getLogger("vidu_async")

_CONCURRENCY = 100


class Batch:
    """Submits requests, waits for their tasks and saves the results; `async for outcome in batch` tells of each.

    Outcomes come as items end, in any order, each once; no item's failure raises. What fails for a reason that passes
    is made again at once, three times in all; a 429 is waited out, and for an hour a network that is gone; what is
    wrong with a prompt, a picture or a field is never tried again. Memory is bounded by `concurrency`: an item keeps
    its place until its outcome was taken. Leaving the block withdraws what is not on its way; tasks go on, and the next
    run with the same journal takes them up. Several processes may share a journal, and the work.

    Args:
        client: its journal and limits hold.
        requests: the path of a .jsonl, .ndjson, .json or .csv file, or anything to iterate over, also asynchronously,
            that yields requests or pairs of key and request. Without a key an item is known by what it asks for.
        budget: credits that all items together may cost, earlier runs included; None is no bound. What would pass it
            ends with `BudgetExceededError`. Of a kind whose price is unknown the first goes alone, to learn it.
        unknown_price: credits that such a first one is taken to cost; then only those of its own kind wait for it.
        concurrency: items under way at once, 100 by default. For off-peak tasks, which take hours, rather thousands.
        download: a folder for the results. Files are named after the task, and after the key before it if it is yours.
        deadline: seconds for all. Then nothing more is sent, and what is under way ends with `TaskTimeoutError`, as it
            does without one after 49 hours.
        endpoint: that of a file's rows that name none.

    Raises:
        ConfigError: an argument that cannot work.
        ValidationError: a file of a kind that is not read.

    Raises, on entering:
        ConfigError: the folder cannot be written to.
        JournalError: the journal cannot be used.

    Raises, while iterating, once all outcomes were told:
        whatever the source itself raised.

    """

    def __init__(  # noqa: PLR0913 - settings, each with its default
        self,
        client: ViduClient,
        requests: Source,
        *,
        budget: int | None = None,
        unknown_price: int | None = None,
        concurrency: int | None = None,
        download: str | os.PathLike[str] | None = None,
        deadline: float | None = None,
        endpoint: str | None = None,
    ) -> None:
        check_source(requests)
        if concurrency is not None and not (isinstance(concurrency, int) and is_positive(concurrency)):
            raise ConfigError(f"concurrency= must be a positive whole number of items, not {concurrency!r}")
        if deadline is not None and not is_positive(deadline):
            raise ConfigError(f"deadline= must be a positive number of seconds, not {deadline!r}")
        if download is not None and not isinstance(download, (str, os.PathLike)):
            raise ConfigError(f"download= must be a folder's path, not {download!r}")
        self._client, self._source, self._endpoint = client, requests, endpoint
        self._journal = client._journal  # noqa: SLF001 - the client's is the batch's
        self._report = client._report  # noqa: SLF001 - as above: one stream of events
        self._prices = Prices(self._keep_prices)
        self._budget = Budget(budget, unknown_price, self._prices)
        self._deadline = deadline
        self._places = asyncio.Semaphore(_CONCURRENCY if concurrency is None else concurrency)
        self._can_look = partial(client._abilities.has, "lists")  # noqa: SLF001 - as above
        self._folder = None if download is None else Path(download)
        self._work = Work(client, self._journal, self._budget, self._can_look, self._folder)
        self._alarm: asyncio.TimerHandle | None = None
        self._reading: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue()
        """None is the end."""
        self._fault: Exception | None = None
        """What the source raised."""
        self._began = 0.0
        self.summary = Summary()
        """What has come of it so far."""

    def __repr__(self) -> str:
        return f"<Batch {self.summary}>"

    async def __aenter__(self) -> Self:
        if self._feeding is not None:
            raise ConfigError("a batch is run once; make another one of the same requests and the same journal")
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        _make_folder(self._folder)
        await self._recall()
        if self._deadline is not None:
            self._work.deadline = self._began + self._deadline
            self._alarm = loop.call_at(self._work.deadline, self.stop)
        self._reading = loop.create_task(self._read())
        self._feeding = loop.create_task(self._feed(self._reading))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = [task for task in (self._reading, self._feeding, *self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._note_time()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._feeding is None:
            raise ConfigError("a batch runs in its block: async with Batch(...) as batch")
        outcome = await self._outcomes.get()
        if outcome is not None:
            self._places.release()
            return outcome
        self._outcomes.put_nowait(None)  # for whoever asks again
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        raise StopAsyncIteration

    async def run(self) -> Summary:
        """See all items through, and return what came of them. For whoever needs no outcomes."""
        async with self:
            async for _ in self:
                pass
        return self.summary

    def stop(self) -> None:
        """Take no more items, and withdraw what is not on its way. What is under way goes on to its outcome."""
        if self._reading is not None:
            self._reading.cancel()
        self._work.stop()

    # Reading and feeding

    async def _feed(self, reading: asyncio.Task[None]) -> None:
        """Wait for the end of the source, and of all that was taken from it."""
        await asyncio.wait([reading])
        if not reading.cancelled():
            fault = reading.exception()
            self._fault = fault if isinstance(fault, Exception) or fault is None else ViduError(repr(fault))
            self.summary.is_whole = fault is None and not self._work.is_stopped
        elif not self._work.is_stopped:
            self._fault = ViduError("the source of requests was cancelled while it was read")
        if self._under_way:
            await asyncio.wait(self._under_way)
        self._note_time()
        self._outcomes.put_nowait(None)

    async def _read(self) -> None:
        """Take items as there is room for them."""
        if self._work.is_stopped:
            return
        if (size := await size_of(self._source)) is not None:
            self._report(BatchSized(items=size))
        try:
            await self._client.reconcile()  # what a run lost that was killed
        except ViduError as error:
            _log.warning("what earlier runs lost could not be looked for: %s", error.said)
        await self._count_earlier()
        async with aclosing(self._named()) as named:
            async for item in named:
                await self._places.acquire()
                task = asyncio.get_running_loop().create_task(self._see_through(item))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        self._work.no_more()

    async def _named(self) -> AsyncGenerator[Item, None]:
        namer = Namer(self._client.fingerprint)
        async with aclosing(items(self._source, self._endpoint)) as found:
            async for item in found:
                yield await namer.named(item)
                await asyncio.sleep(0)  # there may be a hundred thousand, and no wait in any of them

    async def _count_earlier(self) -> None:
        """Have the budget know what earlier runs have cost, so that not even their last items pass it."""
        is_known = self._budget.cap is None or self._journal.is_empty()
        if is_known or not is_rereadable(self._source):
            return
        async with aclosing(self._named()) as named:
            async for item in named:
                await self._work.count(item)

    async def _see_through(self, item: Item) -> None:
        self._report(ItemTaken(key=item.key or "", place=item.place))
        try:
            outcome = await self._work.outcome(item)
        except NotTakenError:
            self._report(ItemLeft(key=item.key or "", place=item.place))
            self.summary.is_whole = False
            self._places.release()
            return
        self.summary.count(outcome)
        self._note_time()
        self._report(outcome.event())
        self._outcomes.put_nowait(outcome)

    def _note_time(self) -> None:
        self.summary.seconds = asyncio.get_running_loop().time() - self._began

    # What is known beforehand

    async def dry_run(self) -> Forecast:
        """Look at every item, and say what it would cost. Nothing is sent. The source is read to its end.

        Raises:
            JournalError: the journal cannot be used.
            Exception: whatever the source itself raises.

        """
        await self._recall()
        found, books = Forecast(), Budget(None, self._budget.unknown_price, self._prices)
        work = Work(self._client, self._journal, books, self._can_look)
        async with aclosing(self._named()) as named:
            async for item in named:
                await self._foresee(item, work, found)
        return found

    async def _foresee(self, item: Item, work: Work, found: Forecast) -> None:
        error, earlier = item.error, None
        if item.request is not None and error is None:
            try:
                await self._client.check(item.request, key=item.key)
                earlier = await work.earlier(item)
            except ViduError as refusal:
                error = refusal
        if item.request is None or error is not None:
            found.errors.append(Outcome(item.key, item.request, error=error, place=item.place))
        elif earlier and (earlier.is_held or not earlier.is_free):
            found.count_earlier(earlier.credits, may_be_paid=earlier.is_held)
        else:
            found.count_next(item.request, self._budget.price(item.request), is_again=earlier is not None)

    async def _recall(self) -> None:
        """Take in the prices that earlier runs have seen."""
        await self._journal.open()
        if text := await self._journal.recall(self._name):
            self._prices.restore(text)

    def _keep_prices(self) -> None:
        self._journal.remember(self._name, self._prices.snapshot())

    @property
    def _name(self) -> str:
        return f"prices {self._client.gateway.url('')}"


def _make_folder(folder: Path | None) -> None:
    """Make the folder of the results, or find out now that nothing can be saved there.

    Raises:
        ConfigError: it cannot be made, or not be written to.

    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        failure = ConfigError(f"download={str(folder)!r} is no folder that can be used: {error.strerror}")
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return
        failure = ConfigError(f"download={str(folder)!r} cannot be written to")
    failure.paid = "no"
    raise failure
