"""Makes the rounds: starts looks when they are due, with one timer, and never many at once.

Whatever made looks wait (a crowd that comes at once, a 429, a loop that stood still, a laptop that slept), they are
spread over some time afterwards. What a look is, others know.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.agenda import Agenda
from vidu_async.listing import BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from vidu_async.watch import Watch

_log = logging.getLogger("vidu_async")

_AT_ONCE = 64
"""Requests at once."""
_CROWDED = 2.0
"""Seconds over which a crowd's looks are spread that nothing else makes wait."""
_CROWD = 500
"""Tasks that are a crowd."""
TOGETHER = 100 - BESIDE
"""Tasks of a shared request: a page has a hundred."""
_LATE = 1.0
"""Seconds by which a timer is late only if the loop stood still, or the machine slept."""
_CATCH_UP = 10.0
"""Seconds over which what was missed is caught up with."""


@define(eq=False)
class Rounds:
    """Who is looked at when."""

    _ask: Callable[[list[Watch]], Coroutine[None, None, None]]
    """Looks at some tasks with one request."""
    _can_share: Callable[[float], bool]
    """Whether some may share a request, at a moment."""
    _max_per_second: Callable[[], float | None]
    """A positive number, or None for no bound. It must not fail."""
    _alone: Agenda = field(factory=Agenda, init=False)
    """What is looked at by itself next time."""
    _shared: Agenda = field(factory=Agenda, init=False)
    """What is looked at with others next time, if it can be."""
    _looks: set[asyncio.Task[None]] = field(factory=set, init=False)
    _sharing: int = field(default=0, init=False)
    """Requests under way that are shared."""
    _next_turn: float = field(default=0.0, init=False)
    """When the next of a crowd may be looked at."""
    _next_start: float = field(default=0.0, init=False)
    """When `max_per_second` permits the next look."""
    _opens: float = field(default=0.0, init=False)
    """When looks start again after the server said that it is too much."""
    _was_shut: float = field(default=0.0, init=False)
    """For how many seconds they did not."""
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _timer_at: float = field(default=0.0, init=False)

    def __len__(self) -> int:
        return len(self._alone) + len(self._shared)

    @property
    def is_busy(self) -> bool:
        """Whether anything is looked at, or is to be."""
        return bool(self._looks) or len(self) > 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that is served, if any."""
        return self._loop

    def enter(self, watch: Watch, due: float, *, alone: bool = False) -> None:
        """Have a task looked at at a moment, by itself or with others."""
        (self._alone if alone else self._shared).enter(watch, due)
        watch.is_scheduled = True
        if self._timer is None or due < self._timer_at:
            self._set_timer()

    def next_turn(self, now: float) -> float:
        """Return the moment for a look that should be at once, but not at once for a crowd."""
        turn = max(self._next_turn, now)
        self._next_turn = turn + _CROWDED / max(_CROWD, len(self))
        return turn

    def close_for(self, seconds: float) -> None:
        """Start nothing for a while: the server said that it is too much."""
        if self._loop is not None:
            self._opens = max(self._opens, self._loop.time() + seconds)
            self._was_shut = max(self._was_shut, seconds)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve another event loop: the old one's timer and clock are worth nothing there."""
        self._loop, self._timer = loop, None
        self._next_turn = self._next_start = self._opens = self._was_shut = 0.0
        self._sharing = 0
        self._looks.clear()
        self._alone.clear()
        self._shared.clear()

    def pause(self) -> None:
        """Start no more looks in this loop, which is ending."""
        if self._loop is not asyncio.get_running_loop():
            return  # a loop of earlier ends late
        if self._timer is not None:
            self._timer.cancel()
        self._loop = self._timer = None

    async def aclose(self) -> None:
        """Break off the looks that are under way."""
        self.pause()
        looks = list(self._looks)
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def _set_timer(self) -> None:
        """Wake for the first entry, unless as many looks are under way as may be."""
        if self._loop is None or len(self._looks) >= _AT_ONCE:
            return
        shared = None if self._is_gathering(self._loop.time()) else self._shared.first
        moments = [moment for moment in (self._alone.first, shared) if moment is not None]
        if not moments:
            return
        # Not before now: what is overdue since others were looked at is no sign that the loop stood still.
        when = max(min(moments), self._next_start, self._opens, self._loop.time())
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        # The time is kept beside the handle: not every event loop's handles tell it.
        self._timer, self._timer_at = self._loop.call_at(when, self._wake), when

    def _wake(self) -> None:
        """Start the looks that are due."""
        self._timer = None
        if self._loop is None:
            return
        now = self._loop.time()
        self._catch_up(now)
        while len(self._looks) < _AT_ONCE and max(self._next_start, self._opens) <= now:
            watches = self._alone.take(now) or self._take_shared(now)
            if not watches:
                break
            self._start(self._loop, watches, now)
        self._set_timer()

    def _is_gathering(self, now: float) -> bool:
        """Whether to wait for answers: while a request is under way for each hundred, more gather for the next."""
        return self._sharing * TOGETHER > len(self._shared) and self._can_share(now)

    def _take_shared(self, now: float) -> list[Watch]:
        """Take a request's worth."""
        if self._is_gathering(now):
            return []
        return self._shared.take(now, TOGETHER if self._can_share(now) else 1)

    def _catch_up(self, now: float) -> None:
        """Spread what could not be looked at in time."""
        late = now - self._timer_at
        if late > _LATE and self._loop is not None and self._loop.get_debug():
            _log.warning("the event loop stood still for %.1f s: whoever waits hears of results that much later", late)
        if now >= self._opens and self._was_shut:
            late, self._was_shut = max(late, self._was_shut), 0.0
        elif late <= _LATE:
            return
        for agenda in (self._alone, self._shared):
            agenda.spread(now, min(late, _CATCH_UP))

    def _start(self, loop: asyncio.AbstractEventLoop, watches: list[Watch], now: float) -> None:
        most = self._max_per_second()
        self._next_start = now + (1 / most if most else 0.0)
        for watch in watches:
            watch.is_scheduled = True  # until it was looked at
        look = loop.create_task(self._ask(watches))
        is_shared = len(watches) > 1
        self._sharing += is_shared
        self._looks.add(look)
        look.add_done_callback(partial(self._looked, is_shared=is_shared))

    def _looked(self, look: asyncio.Task[None], *, is_shared: bool) -> None:
        if look in self._looks:  # else it is a loop's of earlier
            self._looks.discard(look)
            self._sharing -= is_shared
            self._set_timer()
