"""What is shown of a client's events: on a terminal, on one bar, in plain lines. It never costs anybody a task."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from rich.console import Console
from rich.logging import RichHandler

from vidu_async import Batch, ConfigError, Summary, TextToVideo
from vidu_async.events import Accepted, Downloaded, Downloading, Event, Finished, ItemEnded, ItemTaken, StateChanged
from vidu_async.phrases import named
from vidu_async.progress import LogProgress, RichProgress, TqdmProgress
from vidu_async.protocol.models import TaskState
from vidu_async.testing import Simulator
from vidu_async.units import span, volume

Show = LogProgress | RichProgress | TqdmProgress
FILMS = [(f"film-{n}", TextToVideo(model="viduq3-turbo", prompt=f"fox {n}")) for n in range(10)]
ROOT = Path(__file__).parent.parent


def doomed(body: Any) -> str | None:
    """Have two of the films fail."""
    return "CreationPolicyViolation" if body["prompt"] in {"fox 3", "fox 7"} else None


async def run(show: Show, folder: Path | None = None) -> Summary:
    """Run a batch of ten, two of which fail."""
    async with Simulator(fails=doomed, concurrency=20) as sim, sim.client(on_event=show) as vidu:
        return await Batch(vidu, FILMS, download=folder).run()


def terminal(width: int = 80, **settings: Any) -> Console:
    """Return the console of a terminal that keeps what is drawn on it."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, **settings)


def drawn(console: Console) -> str:
    """Return what was drawn, without colours and without what moves the cursor."""
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


SHOWS: list[Callable[[], Show]] = [
    lambda: LogProgress(write=io.StringIO().write),
    lambda: RichProgress(console=terminal()),
    lambda: TqdmProgress(file=io.StringIO()),
]
EACH = pytest.mark.parametrize("make", SHOWS, ids=["log", "rich", "tqdm"])


# What all have in common


@EACH
async def test_what_is_shown_is_what_the_batch_says(make: Callable[[], Show], tmp_path: Path) -> None:
    """The counts of the events are those of the summary."""
    with make() as show:
        summary = await run(show, tmp_path)
    tally = show.tally
    assert (tally.succeeded, tally.failed, tally.unknown) == (summary.succeeded, summary.failed, summary.unknown)
    assert (tally.succeeded, tally.failed) == (8, {"CreationPolicyViolation": 2})
    assert (tally.spent, tally.recalled, tally.unpriced) == (summary.spent, summary.recalled, summary.unpriced)
    assert (tally.items, tally.taken, tally.saved, set(tally.under_way.values())) == (10, 10, 8, {0})


@EACH
async def test_outside_its_block_it_counts_and_shows_nothing(make: Callable[[], Show]) -> None:
    """And may be entered later, and again."""
    show = make()
    await run(show)
    assert show.tally.succeeded == 8
    for _ in range(2):
        with show:
            show(ItemEnded(key="late", task_id="t"))
    assert show.tally.succeeded == 10


@EACH
@pytest.mark.parametrize("total", [-1, 1.5, True, "7"])
def test_a_total_that_is_no_number_of_items_is_refused(make: Callable[[], Show], total: Any) -> None:
    """Before anything is drawn."""
    with pytest.raises(ConfigError, match="total="):
        type(make())(total=total)


class Broken(io.StringIO):
    """A pipe whose reader goes after a few lines."""

    def write(self, text: str) -> int:
        """Take the first ones."""
        if self.tell() > 20:
            raise BrokenPipeError("nobody reads")
        return super().write(text)


@pytest.mark.parametrize(
    "make", [lambda: LogProgress(write=Broken().write), lambda: TqdmProgress(file=Broken())], ids=["log", "tqdm"]
)
async def test_one_that_cannot_draw_any_more_says_so_once_and_counts_on(
    make: Callable[[], Show], caplog: pytest.LogCaptureFixture
) -> None:
    """The client and the batch hear nothing of it."""
    with make() as show:
        summary = await run(show)
    assert (summary.succeeded, show.tally.succeeded) == (8, 8)
    assert "on_event= failed" not in caplog.text
    assert caplog.text.count("shows nothing any more") == 1


def test_importing_it_loads_neither_rich_nor_tqdm() -> None:
    """They come with the first that needs them."""
    program = "import sys, vidu_async.progress as p; p.LogProgress(); print({'rich', 'tqdm'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [("RichProgress", "rich", "pip install 'vidu_async[cli]'"), ("TqdmProgress", "tqdm", "pip install tqdm")],
)
def test_what_is_not_installed_is_told_with_the_command_that_installs_it(name: str, module: str, command: str) -> None:
    """In an interpreter that has no such module."""
    program = f"import sys; sys.modules[{module!r}] = None; import vidu_async.progress as p; p.{name}()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"vidu_async.protocol.errors.MissingExtraError: {command}"


# Plain lines


async def test_a_log_has_a_line_for_each_item_and_one_for_all() -> None:
    """With what it is known by, how it ended, its task and its price; a failure says why, and whether it is paid."""
    lines: list[str] = []
    with LogProgress(write=lines.append) as show:
        await run(show)
    assert len(lines) == 11
    assert sum(bool(re.fullmatch(r"film-\d: succeeded, task \d+, \d+ credits", line)) for line in lines) == 8
    failed = [line for line in lines if "failed, not paid (CreationPolicyViolation), task " in line]
    assert [line.partition(":")[0] for line in sorted(failed)] == ["film-3", "film-7"]
    assert lines[-1].startswith("10/10 100% ended; 8 succeeded, 2 failed (2 CreationPolicyViolation); ")
    assert f"{show.tally.spent} credits" in lines[-1]


async def test_a_wait_and_a_download_without_a_batch_are_told_as_well(tmp_path: Path) -> None:
    """By the task, where nobody has named it."""
    lines: list[str] = []
    with LogProgress(write=lines.append) as show:
        async with Simulator() as sim, sim.client(on_event=show) as vidu:
            task = await vidu.run(TextToVideo(model="viduq3-turbo", prompt="the fox runs"))
            path = await vidu.download(task, tmp_path)
    assert lines[0] == f"task {task.id}: succeeded, {task.credits} credits"
    assert lines[1] == f"task {task.id}: saved as {path}, {volume(path.stat().st_size)}"
    assert lines[2].startswith("1/1+ ended; 1 succeeded; 1 files, ")


def test_totals_come_now_and_then() -> None:
    """At most every so many seconds, however many events there are, and at the end."""
    lines: list[str] = []
    clock = iter(range(1000)).__next__
    with LogProgress(total=50, write=lines.append, every=10, clock=clock) as show:
        for n in range(35):
            show(Accepted(key=f"film-{n}", task_id=f"t{n}", credits=10))
    assert [line.partition(";")[0] for line in lines] == ["0/50 0% ended"] * 4
    assert lines[0].endswith("; 10 queueing; 100 credits; 9 s elapsed")
    assert lines[-1].endswith("; 35 queueing; 350 credits; 35 s elapsed")


@pytest.mark.parametrize("every", [-1, float("nan")])
def test_an_interval_that_is_none_is_refused(every: float) -> None:
    """Nor would it ever pass."""
    with pytest.raises(ConfigError, match="every="):
        LogProgress(every=every)


LINES: list[tuple[Event, str]] = [
    (
        ItemEnded(key="row-0123-1", place="jobs.jsonl:3", task_id="t7", credits=20, is_recalled=True),
        "jobs.jsonl:3: succeeded, submitted before, task t7, 20 credits",
    ),
    (
        ItemEnded(place="jobs.jsonl:4", reason="ValidationError", error="jobs.jsonl:4: no", paid="no", credits=0),
        "jobs.jsonl:4: failed, not paid (ValidationError): no",
    ),
    (
        ItemEnded(key="fox", reason="SubmissionUnknownError", error="lost", paid="maybe", credits=20),
        "fox: may be paid (SubmissionUnknownError), 20 credits: lost",
    ),
    (
        ItemEnded(key="fox", task_id="t7", reason="DownloadError", paid="yes", credits=None),
        "fox: failed, paid (DownloadError), task t7, unknown price",
    ),
    (
        ItemEnded(key="fox\x1b[2J\nfilm-8: succeeded", reason="E\r", paid="no"),
        "fox [2J film-8: succeeded: failed, not paid (E )",
    ),
    (Downloaded(task_id="t7", path="out/a.mp4", size=12_400_000), "task t7: saved as out/a.mp4, 12.4 MB"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=[line[:20] for _, line in LINES])
def test_a_line_says_it_in_words(event: Event, line: str) -> None:
    """One line each, whatever a server or a file may hold."""
    lines: list[str] = []
    with LogProgress(write=lines.append) as show:
        show(event)
    assert lines[0] == line


def test_names_and_numbers_are_those_of_people() -> None:
    """A key that nobody chose is the last thing to be known by."""
    assert [span(s) for s in (0, 59.6, 90, 3600, 12_000, 187_000)] == [
        *("0 s", "1 min", "1 min 30 s", "1 h", "3 h 20 min", "2 d 3 h")
    ]
    assert [volume(size) for size in (7_600, 12_400_000, 2_500_000_000)] == ["7.6 kB", "12.4 MB", "2.5 GB"]
    lot = "abcdefghijklmnopqrstuvwx27"
    assert named("fox", "t7", "jobs.jsonl:3") == "fox"
    assert [named(lot, "t7"), named(lot, ""), named("row-1-1", "t7", "a.csv:2"), named("", "")] == [
        *("task t7", lot, "a.csv:2", "an item")
    ]


# The terminal


async def test_a_terminal_shows_a_compact_end() -> None:
    """What is drawn last are counts, credits and reasons."""
    console = terminal()
    with RichProgress(console=console) as show:
        await run(show)
    bar, counts, reasons = drawn(console).splitlines()[-3:]
    assert re.fullmatch("━+  10/10 100%", bar)
    assert re.fullmatch(rf"8 succeeded  2 failed  \d+ s elapsed  {show.tally.spent} credits", counts)
    assert reasons == "failed: 2 CreationPolicyViolation"


def busy(show: Show) -> None:
    """Tell of a batch in the middle: everything there is to see."""
    for n in range(40):
        show(ItemTaken(key=f"film-{n}"))
    for n in range(30):
        show(Accepted(key=f"film-{n}", task_id=f"t{n}", credits=10))
        show(StateChanged(key=f"film-{n}", task_id=f"t{n}", before=None, state=TaskState.PROCESSING))
    for n in range(10):
        show(Finished(key=f"film-{n}", task_id=f"t{n}", state=TaskState.SUCCESS))
        show(Downloading(task_id=f"t{n}", received=3_100_000, size=12_400_000))
    for n in range(10, 14):
        error = {"reason": "CreationPolicyViolation", "paid": "no"} if n % 2 else {"reason": "Lost", "paid": "maybe"}
        show(ItemEnded(key=f"film-{n}", task_id=f"t{n}", credits=0, is_recalled=n == 11, **error))
    show(ItemEnded(key="film-0", task_id="t0", credits=10))


def shown(width: int, **settings: Any) -> list[str]:
    """Return the region of a batch in the middle, at a width."""
    console, times = terminal(width, **settings), iter([0.0] * 1000)
    show = RichProgress(total=100, console=console, clock=lambda: next(times, 60.0))
    busy(show)
    console.print(show._frame())
    return drawn(console).splitlines()


def test_a_terminal_shows_all_that_goes_on() -> None:
    """Bar, counts, pace, credits; a few of the downloads, and the latest failures."""
    assert shown(80) == [
        f"{'━' * 3}{'─' * 25}{'·' * 42}  5/100 5%",
        "1 succeeded  2 failed  2 may be paid  1 submitted before",
        "9 downloading  16 processing  0 queueing  10 waiting",
        "0 s elapsed  260 credits",
        *(f"saving film-{n}  3.1 MB of 12.4 MB" for n in range(1, 5)),
        "and 5 more",
        "film-11  failed, not paid (CreationPolicyViolation)",
        "film-12  may be paid (Lost)",
        "film-13  failed, not paid (CreationPolicyViolation)",
    ]


@pytest.mark.parametrize("width", [4, 11, 24, 40, 80, 200])
def test_no_line_is_longer_than_a_terminal_is_wide(width: int) -> None:
    """Counts go to the next line, names are cut."""
    lines = shown(width)
    assert max(map(len, lines)) <= width
    assert "0 queueing" in "\n".join(lines) or width < 10


def test_where_there_are_no_colours_and_no_lines_there_are_letters() -> None:
    """A terminal of plain ASCII tells ended, under way and left apart, too."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=ascii_only, force_terminal=True, width=80, no_color=True)
    show = RichProgress(total=100, console=console)
    busy(show)
    console.print(show._frame())
    ascii_only.seek(0)
    assert re.search(r"={3}-{25}\.{42}  \x1b\[1m5/100 5%", ascii_only.read())


def test_what_is_printed_warned_and_logged_meanwhile_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real terminal: the last of the region is below all of it, and each line is whole."""
    program = """
import logging, sys, warnings
from vidu_async.events import ItemTaken
from vidu_async.progress import RichProgress
with RichProgress(total=3) as show:
    logging.basicConfig(level="INFO")
    show(ItemTaken(key="a"))
    print("printed")
    warnings.warn("warned")
    logging.info("logged")
    show(ItemTaken(key="b"))
print("after", sys.stdout.isatty())
"""
    monkeypatch.setenv("TERM", "xterm")
    parent, child = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdin=child, stdout=child, stderr=child) as running:
        os.close(child)
        said = b""
        while piece := _read(parent):
            said += piece
    os.close(parent)
    assert running.returncode == 0
    pieces = re.split(r"[\r\n]+|\x1b\[2K|\x1b\[1A", said.decode())  # a line that is erased makes room for another
    lines = [line for piece in pieces if (line := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece))]
    above = ["printed", "<string>:9: UserWarning: warned", "INFO:root:logged"]
    assert [line for line in lines if line in above] == above
    assert lines[-3].endswith("0/3 0%")
    assert lines[-2:] == ["0 succeeded  0 failed  2 waiting  0 s elapsed  0 credits", "after True"]


def _read(terminal_: int) -> bytes:
    """Read from a terminal, whose other end closes with an error on Linux."""
    try:
        return os.read(terminal_, 65536)
    except OSError:
        return b""


def test_a_log_drawn_on_its_console_does_not_tear_it() -> None:
    """As its docstring says."""
    console = terminal(color_system=None)
    logger = logging.getLogger("test_progress")
    with RichProgress(console=console) as show:
        handler = RichHandler(console=show.console, show_time=False, show_path=False)
        logger.addHandler(handler)
        try:
            logger.warning("careful")
        finally:
            logger.removeHandler(handler)
    assert "WARNING  careful" in [line.rstrip() for line in drawn(console).splitlines()]


def test_what_is_piped_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """Standard output is a file while the terminal shows progress on standard error: it gets what is printed."""
    program = "from vidu_async.progress import RichProgress\nwith RichProgress():\n    print('data')"
    parent, child = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdin=child, stdout=out, stderr=child, check=True)
    os.close(child)
    assert b"credits" in os.read(parent, 65536)
    os.close(parent)
    assert (tmp_path / "out").read_bytes() == b"data\n"


async def test_on_no_terminal_only_the_end_is_drawn() -> None:
    """Once, without colours, as whole lines."""
    file = io.StringIO()
    with RichProgress(console=Console(file=file, width=60)) as show:
        await run(show)
    assert file.getvalue().startswith("━")
    assert file.getvalue().endswith("CreationPolicyViolation\n")
    assert len(file.getvalue().splitlines()) == 3


def test_a_picture_of_the_region_loads_nothing() -> None:
    """It is whole by itself, and shows what the terminal shows."""
    show = RichProgress(total=100, console=terminal())
    busy(show)
    picture = show.svg(width=80, title="a batch")
    assert picture.startswith("<svg")
    assert "16&#160;processing" in picture
    assert "a&#160;batch" in picture
    assert "url(http" not in picture


# One bar


async def test_a_bar_shows_counts_and_our_own_rate() -> None:
    """What is drawn last is the end."""
    file = io.StringIO()
    with TqdmProgress(file=file) as show:
        await run(show)
    last = file.getvalue().rstrip("\n").split("\r")[-1]
    assert last.startswith("100%|")
    assert "| 10/10 [" in last
    assert f", 2 failed, {show.tally.spent} credits]" in last


async def test_drawing_is_throttled() -> None:
    """A thousand events in one moment are drawn once, and the end."""
    file, ticks = io.StringIO(), iter([0.0] * 1002)
    with TqdmProgress(total=1000, file=file, clock=lambda: next(ticks, 99.0)) as show:
        for n in range(1000):
            show(ItemEnded(key=str(n)))
    drawings = file.getvalue().split("\r")
    assert "| 1000/1000 [" in drawings[-1]
    assert len(drawings) < 8


# A notebook

PRELUDE = """
from vidu_async import Batch, TextToVideo
from vidu_async.progress import *
from vidu_async.testing import Simulator
from vidu_async.units import span, volume
async def go(show):
    films = [TextToVideo(model="viduq3-turbo", prompt=f"fox {n}") for n in range(5)]
    async with Simulator() as sim, sim.client(on_event=show) as vidu:
        with show:
            print("within")
            await Batch(vidu, films).run()
"""


def test_a_notebook_shows_them_all(tmp_path: Path) -> None:
    """In a real kernel without widgets: a bar as text, the end of the region, and lines; nothing printed is lost."""
    cells = [PRELUDE, *(f"await go({name}(total=5))" for name in ("RichProgress", "TqdmProgress", "LogProgress"))]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    region, bar, lines = ("".join(map(str, cell.outputs)) for cell in notebook.cells[1:])
    for said in (region, bar, lines):
        assert "within" in said
        assert "5/5" in said
        assert "225 credits" in said
