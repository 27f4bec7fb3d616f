"""What a notebook shows: cards that hold whatever strangers write, and move while somebody waits; the result itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from vidu_async import (
    Batch,
    Creation,
    Credits,
    DownloadError,
    NotFoundError,
    Outcome,
    Summary,
    Task,
    TaskHandle,
    TaskState,
    TextToVideo,
    ValidationError,
    VideoInfo,
    ViduClient,
    cards,
)
from vidu_async.display import show
from vidu_async.testing import Simulator, run_in_thread, run_virtual

FOX = TextToVideo(model="viduq3-turbo", prompt="a fox")
FILM = Path(__file__).parent.parent / "vidu_async" / "testing" / "sample.mp4"
PICTURE = Path(__file__).parent.parent / "examples" / "dawn.png"
LINK = "https://user:pass@files.example/results/7.mp4?X-Amz-Signature=5ecre7"
HOSTILE = f"""<script>alert(1)</script>"><img src=x onerror="alert(2)">' onload='alert(3) &lt;b&gt; \ud800 {LINK}"""

SENDABLE = HOSTILE.replace("\ud800", "")


class Drawing(HTMLParser):
    """What a browser makes of HTML: its elements, their attributes, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        """A block ends a line."""
        self.words += "\n" * (tag == "div")

    def handle_data(self, data: str) -> None:
        """Note words."""
        self.words += data


def bundle(thing: object) -> dict[str, str]:
    """Return what a notebook is told of something."""
    told: dict[str, str] = thing._repr_mimebundle_()  # type: ignore[attr-defined]
    return told


def words(thing: object) -> str:
    """Return what is read on the card of something."""
    return read(bundle(thing)["text/html"])


def read(html: str) -> str:
    """Return the words of HTML, one space between them."""
    return " ".join(Drawing(html).words.split())


CREATION = Creation(HOSTILE, HOSTILE, url=LINK, cover_url=LINK, video=VideoInfo(5.0, 24.0, 1280, 720))
HOSTILE_TASK = Task(
    HOSTILE,
    TaskState.UNKNOWN,
    type=HOSTILE,
    model=HOSTILE,
    prompt=HOSTILE,
    err_code=HOSTILE,
    err_msg=HOSTILE,
    creations=(CREATION,),
    resolution=HOSTILE,
    state_text=HOSTILE,
)
ERROR = DownloadError(HOSTILE)
VALUES: dict[str, Any] = {
    "task": HOSTILE_TASK,
    "creation": CREATION,
    "handle": ViduClient("sk-2f6c1e-very-secret").attach(HOSTILE),
    "outcome": Outcome(HOSTILE, TextToVideo(model="viduq3-turbo", prompt=SENDABLE), HOSTILE_TASK, ERROR, place=HOSTILE),
    "summary": Summary(succeeded=1, failed={HOSTILE: 1}, unknown=1, is_whole=True),
}


# Cards


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_strangers_words_are_words_and_nothing_else(value: object) -> None:
    """Whatever a prompt, an id, a model or an error says: no element, no attribute, and UTF-8 can carry it."""
    html = bundle(value)["text/html"]
    drawn = Drawing(html)
    assert "<script>alert(1)</script>" in drawn.words
    assert drawn.tags <= {"div", "span", "strong"}
    assert drawn.attributes <= {"style", "dir", "aria-hidden"}
    assert html.encode()


async def test_what_is_kept_in_a_notebook_opens_no_file() -> None:
    """Links expire, and whoever is given the notebook must not be able to open them: only their host is shown."""
    made = Creation("7", "1", url=LINK, cover_url=LINK, watermarked_url=LINK)
    task = Task("7", TaskState.SUCCESS, creations=(made,), err_msg=f"see {LINK}")
    vidu = ViduClient("sk-2f6c1e-very-secret")
    handle = vidu.attach("7")
    handle._observe(task)
    error = DownloadError(f"the link {LINK} answered 403")
    for value in (task, made, handle, Outcome("fox", FOX, task), Outcome("fox", FOX, task, error)):
        html, plain = bundle(value)["text/html"], bundle(value)["text/plain"]
        plain = plain.replace(repr(error), "")  # an error's text is its own
        for secret in ("results/7.mp4", "5ecre7", "user:pass", "very-secret"):
            assert secret not in html
            assert secret not in plain
    assert "url='https://files.example/...'" in repr(made)
    await vidu.aclose()


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_the_text_beside_a_card_is_its_repr(value: object) -> None:
    """A notebook that draws nothing says what it always did, less what opens files: it is kept, too."""
    plain = bundle(value)["text/plain"]
    assert plain == cards.hidden(repr(value)).encode(errors="replace").decode()
    assert "5ecre7" not in plain
    assert "user:pass" not in plain


@pytest.mark.parametrize(
    "link",
    [
        "s3://user:pass@bucket/results/7.mp4",
        "wss://files.example/7?token=5ecre7",
        "//files.example/7.mp4?X-Amz-Signature=5ecre7",
        "bucket.s3.example/7.mp4?X-Amz-Date=1&X-Amz-Signature=5ecre7",
    ],
)
def test_a_link_of_any_kind_opens_nothing(link: str) -> None:
    """Whatever its scheme, with none, or without slashes."""
    shown = bundle(Task("7", TaskState.FAILED, err_msg=f"cannot store {link}, sorry"))
    assert not [
        text for text in shown.values() if "5ecre7" in text or "user:pass" in text or "7.mp4?X-Amz-Sig=5" in text
    ]
    assert "sorry" in shown["text/html"]


def test_a_card_says_what_is_known_and_no_more() -> None:
    """One line for each state of a task, of which the prompt is the user's own."""
    task = Task("77", TaskState.PROCESSING, model="viduq3-turbo", type="img2video", prompt="the fox runs", credits=0)
    assert words(task) == "● processing viduq3-turbo · img2video 77 the fox runs credits 0"
    dated = Task("7", TaskState.QUEUEING, created_at=datetime(2026, 5, 6, 7, 8, tzinfo=UTC), off_peak=True, progress=40)
    assert "progress 40 % off-peak yes created 2026-05-06 07:08 UTC" in words(dated)
    assert words(Task("7", TaskState.FAILED, err_code="UserCancelled")).startswith("● cancelled")
    assert words(Task("7", TaskState.UNKNOWN, state_text="daydreaming")).startswith("● daydreaming")
    made = Task("7", TaskState.SUCCESS, duration=5.0, creations=(Creation("7", video=VideoInfo(4.0, 24.0, 640, 360)),))
    assert words(made).endswith("video 640x360, 4 s, 24 fps")
    assert words(Task("7", TaskState.SUCCESS, creations=(Creation("7"), Creation("7")))).endswith("files 2")
    assert "1000" in words(Credits(1000))
    assert len(words(Task("7", TaskState.CREATED, prompt="fox " * 1000))) < 500


def test_a_token_or_a_file_in_an_error_is_not_shown() -> None:
    """As it may be repeated by a server."""
    task = Task("7", TaskState.FAILED, err_msg=f"bad {'k' * 90} in data:image/png;base64,iVBORw0KGgo= here")
    assert words(task).endswith("bad ... in data:image/png;base64,... here")


async def test_a_batch_is_one_card() -> None:
    """Before and after; what failed is named."""
    films = [("fox", FOX), ("cat", TextToVideo(model="viduq3-turbo", prompt="a cat"))]
    sim = Simulator(fails=lambda body: "AuditFailed" if body["prompt"] == "a cat" else None)
    async with sim, sim.client() as vidu:
        assert words(await Batch(vidu, films).dry_run()).startswith("● 2 to submit")
        async with Batch(vidu, films) as batch:
            outcomes = {outcome.key: words(outcome) async for outcome in batch}
        summary = words(batch.summary)
    assert outcomes["fox"].startswith("● success fox ")
    assert "a cat" in outcomes["cat"]
    assert "AuditFailed" in outcomes["cat"]
    assert summary.startswith("● 1 of 2 succeeded")
    assert summary.endswith("1 AuditFailed")
    stopped = Summary(unknown=2, worst_case=None, is_whole=False)
    assert "not all items had their turn" in words(stopped)
    assert "may be paid 2 (an unknown number of credits)" in words(stopped)


def test_a_card_needs_no_ipython_and_nothing_needs_cards() -> None:
    """`import vidu_async` and a repr load neither; a card loads no IPython."""
    program = """
import sys
from vidu_async import Task, TaskState, ViduClient
handle = ViduClient("test-key").attach("77")
before = "vidu_async.cards" in sys.modules or "vidu_async.display" in sys.modules or "html" in sys.modules
print(before, sorted(handle._repr_mimebundle_()), "IPython" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    said = subprocess.check_output([sys.executable, "-W", "error", "-c", program], text=True, env=environment)
    assert said == "False ['text/html', 'text/plain'] False\n"


# A handle's card moves


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """IPython itself, which keeps what it is to publish."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # it takes that place
    settings = Config({"HistoryManager": {"enabled": False}})
    yield InteractiveShell.instance(config=settings, display_pub_class=CapturingDisplayPublisher)
    InteractiveShell.clear_instance()


def shown(shell: Any, form: str = "text/html") -> list[str]:
    """Return what was published so far, words only."""
    return [read(output["data"][form]) for output in shell.display_pub.outputs]


def display(shell: Any, thing: object) -> None:
    """Show something, as the last line of a cell does."""
    data, _ = shell.display_formatter.format(thing)
    assert data == {}, "it shows itself"


def simulated(test: Callable[[Simulator, ViduClient], Any], **settings: Any) -> Any:
    """Run a test on a simulator whose tasks take about 4 seconds of virtual time."""

    async def main() -> Any:
        async with Simulator(time_scale=40, seed=7, **settings) as sim, sim.client() as vidu:
            return await test(sim, vidu)

    return run_virtual(main())


def test_a_card_moves_while_its_task_is_awaited(shell: Any) -> None:
    """Each state, each second, up to the end; one display, and nothing after it."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handle = await vidu.submit(FOX)
        display(shell, handle)
        await handle
        count = len(shown(shell))
        await handle.refresh()
        await asyncio.sleep(60)
        assert len(shown(shell)) == count
        assert handle._watch.onlookers == ()

    simulated(test)
    cards = shown(shell)
    states = [card.split()[1] for card in cards]
    assert list(dict.fromkeys(states)) == ["created", "queueing", "processing", "success"]
    ages = [found[1] for card in cards if (found := re.search(r"watched (\d+) s", card))]
    assert {"0", "1", "2", "3"} <= set(ages)
    assert ages == sorted(ages)
    assert len(set(cards)) == len(cards), "what has not changed is not sent again"
    first, *others = shell.display_pub.outputs
    assert not first["update"]
    assert all(output["update"] and output["transient"] == first["transient"] for output in others)
    assert first["transient"]["display_id"]
    assert "credits 45" in cards[-1]
    assert re.fullmatch(r"<TaskHandle \d+ success>", others[-1]["data"]["text/plain"])


def test_a_shown_card_asks_nothing_of_the_server(shell: Any) -> None:
    """An hour long: nobody waits. Then it stands still, too."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        display(shell, await vidu.submit(FOX))
        asked = sim.requests.copy()
        await asyncio.sleep(3600)
        assert sim.requests == asked
        assert len(shown(shell)) == 1

    simulated(test)


def test_all_ways_of_waiting_move_the_cards_they_wait_for(shell: Any) -> None:
    """Also a look by hand; one task shown twice has one card, in two places."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handles = [await vidu.submit(FOX) for _ in range(3)]
        for handle in [*handles, handles[0]]:
            display(shell, handle)
        assert len(handles[0]._watch.onlookers) == 1
        async for _ in vidu.as_completed(handles[:1]):
            pass
        await vidu.gather(handles[1:2])
        await handles[2].refresh()
        last = {output["transient"]["display_id"]: output["data"]["text/plain"] for output in shell.display_pub.outputs}
        assert [said.rstrip(">").split()[-1] for said in last.values()] == ["success"] * 3

    simulated(test)


def test_waiting_again_makes_it_move_again(shell: Any) -> None:
    """In between it stands still."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handle = await vidu.submit(FOX)
        display(shell, handle)
        with pytest.raises(TimeoutError):
            await handle.result(timeout=1.5)
        await asyncio.sleep(0.8)
        count = len(shown(shell))
        await asyncio.sleep(600)
        assert len(shown(shell)) == count
        await handle
        assert "success" in shown(shell)[-1]

    simulated(test)


def test_a_card_that_cannot_be_drawn_disturbs_nobody(shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The notebook may be gone: that is logged, once, and the wait goes on."""

    class Gone(CapturingDisplayPublisher):
        def publish(self, *_: Any, update: bool = False, **__: Any) -> None:
            if update:
                raise BrokenPipeError

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handle = await vidu.submit(FOX)
        display(shell, handle)
        assert (await handle).state is TaskState.SUCCESS

    shell.display_pub = Gone()
    with caplog.at_level(logging.WARNING):
        simulated(test)
    assert caplog.text.count("a card shows nothing any more: BrokenPipeError()") == 1


CELL = ContextVar("CELL", default="")


def test_what_moves_a_card_belongs_to_the_cell_that_waits(shell: Any) -> None:
    """Whoever runs notebooks without a window drops what a cell that has ended says."""
    cells: list[str] = []

    class Noting(CapturingDisplayPublisher):
        def publish(self, *_: Any, **__: Any) -> None:
            cells.append(CELL.get())

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        CELL.set("first")
        handle = await vidu.submit(FOX)
        display(shell, handle)
        other = asyncio.create_task(vidu.run(FOX))
        await asyncio.sleep(0.1)
        CELL.set("second")
        await handle
        await other

    shell.display_pub = Noting()
    simulated(test)
    assert cells[0] == "first"
    assert set(cells[1:]) == {"second"}


def test_a_card_keeps_nothing_alive(shell: Any) -> None:
    """Neither what is known of the task, the client, nor the loop in which somebody waited."""
    kept: list[weakref.ref[Any]] = []

    async def test(vidu: ViduClient) -> TaskHandle:
        handle = await vidu.submit(FOX)
        display(shell, handle)
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0)
        await handle.refresh()
        kept.extend(weakref.ref(thing) for thing in (vidu, asyncio.get_running_loop(), handle._watch))
        return handle

    with run_in_thread(Simulator(time_scale=600)) as sim:
        handle = asyncio.run(test(sim.client()))
    assert handle.state is TaskState.CREATED
    del handle
    gc.collect()
    assert [thing() for thing in kept] == [None] * 3


def test_a_wait_that_was_given_up_is_told(shell: Any) -> None:
    """And why, in the server's words."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handle = vidu.attach("77")
        display(shell, handle)
        with pytest.raises(NotFoundError):
            await handle

    simulated(test)
    assert "not looked at yet" in shown(shell)[0]
    assert "waiting was given up: 404" in shown(shell)[-1]


def test_a_terminal_is_given_one_line(shell: Any) -> None:
    """What cannot be drawn anew is written once."""

    async def test(sim: Simulator, vidu: ViduClient) -> None:
        handle = await vidu.submit(FOX)
        display(shell, handle)
        await handle

    shell.display_formatter.active_types = ["text/plain"]
    shell.display_formatter.ipython_display_formatter.enabled = True
    simulated(test)
    assert len(shown(shell, "text/plain")) == 1


# The result itself


def published(shell: Any) -> str:
    """Return the HTML of what was published last."""
    html: str = shell.display_pub.outputs[-1]["data"]["text/html"]
    return html


TASK = Task("7", TaskState.SUCCESS, prompt='a "fox"')


def test_a_video_plays_and_a_picture_is_seen(shell: Any, tmp_path: Path) -> None:
    """By their content, whatever their names; one or all of a task. In the middle of a cell, too."""
    film, picture = tmp_path / "a.png", tmp_path / "b.mp4"
    film.write_bytes(FILM.read_bytes())
    picture.write_bytes(PICTURE.read_bytes())
    assert show(TASK, [film, str(picture)]) is None  # type: ignore[func-returns-value]
    html = published(shell)
    tag = '<video controls loop muted playsinline aria-label="a &quot;fox&quot;" style="{}" src="data:video/mp4;base64,'
    assert re.search(tag.format('[^"]*max-width:100%[^"]*'), html)
    assert '<img alt="a &quot;fox&quot;"' in html
    assert "data:image/png;base64,iVBOR" in html
    assert (
        shell.display_pub.outputs[-1]["data"]["text/plain"]
        == f"{film} (video/mp4, 7.6 kB)\n{picture} (image/png, {picture.stat().st_size / 1000:.1f} kB)"
    )


def test_what_is_too_large_or_no_browsers_is_named(shell: Any, tmp_path: Path) -> None:
    """With where it is and why: a notebook keeps what is embedded."""
    show(None, [PICTURE, FILM], most=FILM.stat().st_size)
    assert published(shell).count("src=") == 1
    assert str(PICTURE) in published(shell) or "dawn.png" in published(shell)
    assert "not embedded, since the notebook would grow by that much" in published(shell)
    (tmp_path / "a.mov").write_bytes(b"\0\0\0\x14ftypqt  " + bytes(20))
    show(TASK, tmp_path / "a.mov")
    assert "src=" not in published(shell)
    assert "browsers do not show video/quicktime; open the file itself" in published(shell)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"there is no file '.*'; path = await client.download"),
        (b"", "is neither a video nor a picture$"),
        (b"<html>no", "is neither a video nor a picture but text/html"),
        (b"ID3" + bytes(40), "is neither a video nor a picture but audio/mpeg"),
    ],
)
def test_what_cannot_be_shown_is_refused(shell: Any, tmp_path: Path, content: bytes | None, said: str) -> None:
    """With what it is."""
    if content is not None:
        (tmp_path / "it").write_bytes(content)
    with pytest.raises(ValidationError, match=said):
        show(TASK, tmp_path / "it")
    assert shell.display_pub.outputs == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((TASK, os.sep), "cannot be read: Is a directory"),
        ((TASK, []), "takes a path, or paths"),
        ((TASK, None), "takes a path, or paths"),
        ((FILM, FILM), "takes a task"),
        ((TASK, FILM, "1"), "most must be a number"),
    ],
)
def test_what_is_given_wrongly_is_refused(arguments: tuple[Any, ...], said: str) -> None:
    """With what would do."""
    with pytest.raises(ValidationError, match=said):
        show(*arguments[:2], **dict(zip(["most"], arguments[2:], strict=False)))


def test_without_a_notebook_a_result_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """In a plain interpreter."""
    show(TASK, FILM)
    assert capsys.readouterr().out == f"{FILM} (video/mp4, 7.6 kB)\n"


def test_without_ipython_the_command_that_installs_it_is_told() -> None:
    """In an interpreter that has none."""
    program = (
        f"import sys; sys.modules['IPython'] = None; from vidu_async.display import show; show(None, {str(FILM)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = "vidu_async.protocol.errors.MissingExtraError: pip install 'vidu_async[notebook]'"
    assert done.stderr.splitlines()[-1] == said
