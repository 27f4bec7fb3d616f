"""What the benchmarks show is what they found, and each of them runs: next to nothing is measured here, and no time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import callbacks, downloads, imports, lifecycle, lost, waiting  # noqa: E402 - the checkout is found first
from benchmarks.contenders import DEFAULT, FRESH, LOOKS, OURS, TUNED, Kind, tuned  # noqa: E402
from benchmarks.peers import PEERS, is_installed  # noqa: E402
from benchmarks.report import Bar, Chart, Part, Row, Table, judged, markdown, svg  # noqa: E402
from benchmarks.server import Counts, Server  # noqa: E402
from benchmarks.setting import Setting  # noqa: E402

TINY = Setting(
    rounds=1,
    share=0.0,
    levels=(1, 100),
    waiting=20,
    naive=10,
    period=0.05,
    window=0.2,
    deadline=0.5,
    contenders=(TUNED, FRESH, OURS, DEFAULT),
)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The server of the benchmarks."""
    with Server.start() as running:
        yield running


def ask(server: Server, method: str, path: str, body: str | None = None) -> str:
    """Ask the server once, on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


# What is shown


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["<=", ">="]))
def test_a_goal_is_met_when_the_figure_is_on_its_side(figure: int, bound: int, sign: str) -> None:
    """Whatever unit stands behind the figure, and whatever words behind the bound."""
    is_met = figure <= bound if sign == "<=" else figure >= bound

    assert judged(f"{figure:,} MB", f"{sign} {bound:,} in all") is is_met


@pytest.mark.parametrize(
    ("reached", "goal", "met"),
    [
        ("0.16", "<= 1/6", True),
        ("0.17", "<= 1/6", False),
        ("0.99; 0.02", ">= 0.99; <= 0.03", True),
        ("0.99; 0.04", ">= 0.99; <= 0.03", False),
        ("2,014", "<= 2,000", False),
        ("1.04x of the optimum", "at most 1.10x of the optimum", True),
        ("13", "at least 14", False),
        ("0.5x", "", None),
        ("not measured", "<= 1", None),
        ("0.99", ">= 0.99; <= 0.03", None),
    ],
)
def test_each_bound_has_a_figure_of_its_own(reached: str, goal: str, met: bool | None) -> None:
    """Fractions and thousands are numbers, and without as many figures as bounds nothing is judged."""
    assert Row.of("something", reached, goal).met is met


def test_a_goal_that_was_not_reached_is_said_loudly() -> None:
    """Beside the figure and the goal, in the same line."""
    text = markdown([Part((Row.of("CPU", "2.5x", "<= 1.25"), Row.of("jobs", "1", "<= 1")))], "Results", ["About."])

    assert "| CPU | 2.5x | <= 1.25 | **no** |  |" in text
    assert "| jobs | 1 | <= 1 | yes |  |" in text


@given(st.lists(st.text(), min_size=5, max_size=5))
def test_whatever_a_cell_holds_a_row_is_one_line_of_as_many_cells(cells: list[str]) -> None:
    """Pipes and line breaks do not break the table."""
    table = Table("T", ("a", "b", "c", "d", "e"), (tuple(cells),))

    lines = markdown([Part(tables=(table,))], "Results", []).split("\n## T\n\n")[1].rstrip("\n").split("\n")

    assert [line.replace("\\|", "").count("|") for line in lines] == [6, 6, 6]


def test_bars_are_as_long_as_their_values() -> None:
    """The longest fills the space; ours has a colour of its own."""
    chart = Chart("Jobs", (Bar("ours", 1, "1", is_ours=True), Bar("a peer", 4, "4"), Bar("another", None, "missing")))

    picture = ET.fromstring(svg([chart]))
    bars = {bar.get("y"): bar for bar in picture.iter(f"{SVG}rect") if bar.get("class") != "paper"}
    widths = [float(bar.get("width", "")) for bar in bars.values()]

    assert [bar.get("class") for bar in bars.values()] == ["ours", "bar", "bar"]
    assert widths[1] == pytest.approx(4 * widths[0])
    assert widths[2] == 0


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\x7f￾￿")))
def test_names_are_drawn_as_they_are(name: str) -> None:
    """Brackets and quotes do not break the picture."""
    picture = ET.fromstring(svg([Chart("C", (Bar(name, 1, "1"),))]))

    assert name in {text.text or "" for text in picture.iter(f"{SVG}text")}


# The server


def test_a_job_is_finished_at_its_last_look(server: Server) -> None:
    """The URL says how many there are."""
    created = ask(server, "POST", "/a/2/vidu/ent/v2/text2video", '{"payload": "mine"}')
    task_id = created.partition('"task_id":"')[2][:18]

    answers = [ask(server, "GET", f"/a/2/vidu/ent/v2/tasks/{task_id}/creations") for _ in range(3)]

    assert [answer.partition('"state":"')[2].partition('"')[0] for answer in answers] == [
        "processing",
        "success",
        "success",
    ]
    assert all('"payload":"mine"' in answer for answer in (created, *answers))
    assert server.counts("a/2") == Counts(creations=1, requests=4, looks=3)


def test_a_list_looks_at_each_of_its_tasks(server: Server) -> None:
    """One request, and as many looks; no task without an end ever has one."""
    ids = [str(number) for number in range(10**17, 10**17 + 3)]

    answer = ask(server, "GET", f"/b/0/vidu/ent/v2/tasks?task_ids={'&task_ids='.join(ids)}&pager.pagesz=100")

    assert [task_id in answer for task_id in ids] == [True] * 3
    assert answer.count('"processing"') == 3
    assert server.counts("b/0") == Counts(creations=0, requests=1, looks=3)


def test_a_lost_answer_is_a_job_all_the_same(server: Server) -> None:
    """It is counted, and the connection closed."""
    with pytest.raises(RemoteDisconnected):
        ask(server, "POST", "/c/lost/fal/owner/name", '{"prompt": "a fox"}')

    assert server.counts("c/lost") == Counts(creations=1, requests=1)


async def test_every_look_of_a_lifecycle_reaches_the_server(server: Server) -> None:
    """A job takes its creation and five looks, by whatever client."""
    async with tuned(Kind(tuned).url(server.port, "d")) as contender:
        await contender.finish(await contender.create())

    assert server.counts(f"d/{LOOKS}") == Counts(creations=1, requests=1 + LOOKS, looks=LOOKS)


# The scenarios


def test_lifecycles_are_compared(server: Server) -> None:
    """Each goal has a row, and each contender a line with a figure for each level."""
    part = lifecycle.measure(server, TINY)

    (table,) = part.tables
    assert [line[0] for line in table.lines] == [TUNED, FRESH, OURS]
    assert all(cell for line in table.lines for cell in line)
    assert [row.met is None for row in part.rows[:2]] == [False, False]


def test_a_peer_that_is_not_installed_is_named(server: Server) -> None:
    """In the table, in the rows and in the chart, wherever figures of it would stand."""
    here = [name for name in PEERS if is_installed(name)]
    missing = tuple(name for name in PEERS if name not in here)

    part = lost.measure(server, Setting(contenders=missing))

    assert [line[1] for line in part.tables[0].lines] == ["**NOT INSTALLED**"] * len(missing)
    assert [bar.text for bar in part.charts[0].bars] == ["not installed"] * len(missing)
    assert all(f"{name} NOT INSTALLED" in part.rows[0].note for name in missing)


def test_one_creation_of_ours_leaves_one_job_behind(server: Server) -> None:
    """And its answer being lost, its caller is still waiting when time is up: it is looked for."""
    part = lost.measure(server, TINY)

    ours, by_hand = part.tables[0].lines
    assert ours[:3] == (OURS, "1", "nothing so far")
    assert by_hand[:3] == (TUNED, "1", "ServerDisconnectedError")
    assert part.rows[0].met


def test_waiting_is_compared_and_weighed(server: Server) -> None:
    """For both: looks, requests, CPU and bytes."""
    part = waiting.measure(server, TINY)

    assert [line[0] for line in part.tables[0].lines] == [waiting.NAIVE, waiting.OURS]
    assert all(row.met is not None for row in part.rows)


def test_imports_are_compared(server: Server) -> None:
    """Ours and aiohttp's, each more than nothing."""
    part = imports.measure(server, TINY)

    assert [line[0] for line in part.tables[0].lines[:3]] == ["vidu_async", "vidu_async, its client", "aiohttp"]
    assert part.rows[0].met is not None


def test_the_command_writes_a_table_and_a_picture(tmp_path: Path) -> None:
    """Where it is told to, and it prints the same table."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "imports", "--out", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert (tmp_path / "RESULTS.md").read_text("utf-8") == done.stdout
    assert "| `import vidu_async` against `import aiohttp` |" in done.stdout
    assert ET.parse(tmp_path / "results.svg").getroot().tag == f"{SVG}svg"


def test_callbacks_are_dispatched_and_forged_ones_refused() -> None:
    """Each is answered as it should be, which the benchmark itself sees to."""
    found = callbacks.rows(100, 100)
    assert [row[0].split(":")[0] for row in found] == ["callbacks"] * 3
    assert all(float(row[1].replace(",", "")) >= 0 for row in found)


def test_downloads_are_cut_and_compared() -> None:
    """By both sides, which save the same bytes."""
    cpu, memory = downloads.rows(rounds=1, count=3, size=3_000_000)

    assert cpu[0] == "3 downloads at once of 3 MB, each cut 2 times: CPU, against aiohttp that reads and writes"
    assert "files of 0.75 MB" in memory[0]
