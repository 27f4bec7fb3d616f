"""Observers that show what goes on, as `ViduClient(on_event=show)`: on a terminal, in a notebook, in a log.

All count the same (`tally.py`) and differ in how they tell. None ever costs anybody a task: one that cannot draw any
more says so in the log, and goes on counting.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from vidu_async import phrases
from vidu_async.protocol.errors import ConfigError, MissingExtraError
from vidu_async.tally import Stage, Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from rich.console import Console, Group
    from rich.live import Live

    from vidu_async.events import Downloaded, Event, ItemEnded

__all__ = ["LogProgress", "RichProgress", "Tally", "TqdmProgress"]

_log = logging.getLogger("vidu_async")

_FRAMES = 4
"""Drawn in a second."""


class _Progress:
    """What all observers have in common: they count, and draw only between entering and leaving, as long as they can.

    It may be called from several threads, and be entered more than once.
    """

    def __init__(self, total: int | None, clock: Callable[[], float]) -> None:
        if total is not None and (isinstance(total, bool) or not isinstance(total, int) or total < 0):
            raise ConfigError(f"total= must be a whole number of items, not {total!r}")
        self.tally = Tally(total)
        """The counts so far."""
        self._clock = clock
        self._lock = threading.Lock()
        self._draws = self._has_failed = False

    def __enter__(self) -> Self:
        self._draws, self._has_failed = True, False
        self._safely(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draws = False
        self._safely(self._end)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        now = self._clock()
        with self._lock:
            news = self.tally(event, now)
        if self._draws:
            self._safely(lambda: self._told(news, now))

    def _safely(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:  # noqa: BLE001 - a pipe that was closed, or a terminal: no reason to stop
            self._draws = False
            if not self._has_failed:
                _log.warning("%s shows nothing any more: %r", type(self).__name__, error)
            self._has_failed = True

    def _begin(self) -> None:
        """Begin to draw."""

    def _told(self, news: ItemEnded | Downloaded | None, now: float) -> None:
        """Draw what is new."""

    def _end(self) -> None:
        """Draw how it ended."""


class LogProgress(_Progress):
    """Writes plain lines, fit for a pipe or a file: one for each item that ended, and one of totals now and then.

    Args:
        total: how many items there will be, where no batch knows it.
        write: what takes a line without its end, `print` or a logger's `info`.
        every: seconds from one line of totals to the next, at least. The last one comes at the end of the block.
        clock: tells the time in seconds.

    Raises:
        ConfigError: an argument that cannot work.

    """

    def __init__(
        self,
        total: int | None = None,
        write: Callable[[str], object] = print,
        every: float = 10.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(total, clock)
        if not every >= 0:
            raise ConfigError(f"every= must be a number of seconds, not {every!r}")
        self._write, self._every, self._next = write, every, 0.0

    def _begin(self) -> None:
        self._next = self._clock() + self._every

    def _told(self, news: ItemEnded | Downloaded | None, now: float) -> None:
        if news is not None:
            self._write(phrases.told(news))
        if now >= self._next:
            self._next = now + self._every
            self._write(phrases.totals(self.tally, now))

    def _end(self) -> None:
        self._write(phrases.totals(self.tally, self._clock()))


class TqdmProgress(_Progress):
    """One bar of tqdm, which is a widget in a notebook.

    Args:
        total: how many items there will be, where no batch knows it.
        file: where to draw, stderr by default.
        clock: tells the time in seconds.

    Raises:
        ConfigError: an argument that cannot work.
        MissingExtraError: tqdm is not installed.

    """

    def __init__(
        self, total: int | None = None, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(total, clock)
        try:
            from tqdm.auto import tqdm  # noqa: PLC0415 - it may be missing
        except ImportError:
            raise MissingExtraError("pip install tqdm") from None
        self._tqdm, self._file, self._next = tqdm, file, 0.0
        self._bar: Any = None

    def _begin(self) -> None:
        # tqdm's own rate would count what an earlier run had made: ours stands in its place.
        layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        self._bar = self._tqdm(
            total=self.tally.items, file=self._file, unit="item", bar_format=layout, dynamic_ncols=True
        )

    def _told(self, news: ItemEnded | Downloaded | None, now: float) -> None:  # noqa: ARG002 - the counts say it
        if now >= self._next:
            self._next = now + 1 / _FRAMES
            self._draw(now)

    def _draw(self, now: float) -> None:
        tally = self.tally
        counts = {stage.value: tally.under_way[stage] for stage in reversed(Stage)}
        counts |= {"failed": sum(tally.failed.values()), "may be paid": tally.unknown}
        said = [phrases.pace(tally, now), *(f"{count} {word}" for word, count in counts.items() if count)]
        self._bar.total, self._bar.n = tally.items, tally.ended
        self._bar.set_postfix_str(", ".join(filter(None, [*said, phrases.cost(tally)])), refresh=False)
        self._bar.refresh()

    def _end(self) -> None:
        if self._bar is None:
            return
        try:
            self._draw(self._clock())
        finally:
            self._bar.close()


class RichProgress(_Progress):
    """One live region of a terminal: a bar, counts by state, pace, ETA, credits, downloads, the latest failures.

    What is printed meanwhile, and warned, appears above it. So does what is logged by handlers that are made within the
    block or draw on `show.console` (`rich.logging.RichHandler(console=show.console)`); one that holds the terminal's
    stderr from before writes into the region. On what is no terminal only the end is drawn; in a notebook, too, where
    ipywidgets is missing.

    Args:
        total: how many items there will be, where no batch knows it.
        console: the rich console to draw on; by default one of stderr, so that stdout may go elsewhere.
        clock: tells the time in seconds.

    Raises:
        ConfigError: an argument that cannot work.
        MissingExtraError: rich is not installed.

    """

    def __init__(
        self,
        total: int | None = None,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(total, clock)
        try:
            from rich.console import Console  # noqa: PLC0415 - it may be missing, and takes its time

            from vidu_async import panel  # noqa: PLC0415 - as above
        except ImportError:
            raise MissingExtraError("pip install 'vidu_async[cli]'") from None
        self.console: Console = console or Console(stderr=True)
        """What it draws on."""
        self._panel = panel
        self._live: Live | None = None
        self._is_over, self._next = False, 0.0

    def _begin(self) -> None:
        from rich.live import Live  # noqa: PLC0415 - as above

        self._is_over = False
        self._live = Live(
            console=self.console,
            get_renderable=self._frame,
            refresh_per_second=_FRAMES,
            # In a notebook a thread that draws would swallow what is printed at the same moment.
            auto_refresh=not self.console.is_jupyter,
            # What goes to a file or a pipe is not for the terminal.
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )
        self._live.start(refresh=True)

    def _told(self, news: ItemEnded | Downloaded | None, now: float) -> None:  # noqa: ARG002 - the counts say it
        if self._live is not None and self.console.is_jupyter and now >= self._next:
            self._next = now + 1 / _FRAMES
            self._live.refresh()

    def _end(self) -> None:
        self._is_over = True
        if self._live is None:
            return
        if self.console.is_jupyter and self._live.ipy_widget is not None:
            self._live.refresh()  # which leaving does elsewhere
        self._live.stop()
        if self.console.is_jupyter and self._live.ipy_widget is None:
            self.console.print(self._frame())
        elif not (self.console.is_terminal or self.console.is_jupyter):
            self.console.line()  # which leaving leaves out

    def _frame(self) -> Group:
        draw = self._panel.last_frame if self._is_over else self._panel.frame
        with self._lock:
            return draw(self.tally, self._clock())

    def svg(self, *, width: int = 80, title: str = "vidu_async") -> str:
        """Return the region as it looks now, as an SVG image that loads nothing."""
        return self._panel.picture(self._frame(), width=width, title=title)


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody reads there; a process without a terminal may have no stream at all."""
    return stream is not None and stream.isatty()
