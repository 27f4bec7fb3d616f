"""Bodies on their way: JSON of a length known beforehand, read from its files while it is sent, or never ended."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import itertools
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import PNG, png

from vidu_async import ValidationError
from vidu_async.bodies import Body, body_of
from vidu_async.local_files import LocalFile, _unchanged
from vidu_async.media import digest, resolved

LIMIT = 20 * 1024 * 1024
LARGE = 10**6
"""Bytes of a file that takes several reads."""

_texts = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text("0123456789abcdef", min_size=30, max_size=70)
    | st.sampled_from(['"', "\\", '\\"', "data:image/png;base64,", "Füchsin 狐 🦊", "\0\n\u2028", "x" * 200_000])
)
_pictures = st.binary(max_size=300).map(lambda rest: png(label=rest))
_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts
_names = _texts.filter(lambda name: name not in {"images", "videos", "image", "start_image", "key_image"})
_bodies: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    _names,
    st.recursive(_leaves | _pictures, lambda inner: st.lists(inner) | st.dictionaries(_names, inner), max_leaves=8),
)


def by_hand(value: Any) -> Any:
    """Return a body with data URLs for the bytes in it."""
    if isinstance(value, dict):
        return {name: by_hand(item) for name, item in value.items()}
    if isinstance(value, list):
        return [by_hand(item) for item in value]
    if isinstance(value, Path):
        value = value.read_bytes()
    return f"data:image/png;base64,{base64.b64encode(value).decode()}" if isinstance(value, bytes) else value


def as_json(body: dict[str, Any]) -> bytes:
    """Return what is to be sent, made in memory."""
    return json.dumps(by_hand(body), ensure_ascii=False, separators=(",", ":")).encode()


async def pieces_of(body: Body) -> list[bytes]:
    """Return all of a body's pieces."""
    return [piece async for piece in body.pieces()]


async def take(pieces: AsyncIterator[bytes], sent: bytearray, until: int = LIMIT) -> None:
    """Send pieces up to a length."""
    while len(sent) < until and (piece := await anext(pieces, None)) is not None:
        sent += piece


def picture(path: Path, size: int = LARGE) -> Path:
    """Make a picture of a size, no two bytes of which are likely to be taken for each other."""
    path.write_bytes(png(size=size))
    return path


# What is sent


@given(body=_bodies)
@pytest.mark.slow
def test_the_pieces_are_the_json_with_data_urls_in_it(body: dict[str, Any]) -> None:
    """Whatever the texts look like, and wherever the files are; its length was known before."""
    made = body_of(resolved(body))
    pieces = asyncio.run(pieces_of(made))

    assert b"".join(pieces) == as_json(body)
    assert made.size == len(as_json(body))
    assert all(0 < len(piece) <= 64 * 1024 for piece in pieces)
    assert pieces[-1].endswith(b"}")


@pytest.mark.parametrize("over", range(-3, 4))
@pytest.mark.parametrize("unit", [36 * 1024, 360 * 1024, 720 * 1024])
async def test_files_go_out_whole_wherever_they_are_cut(tmp_path: Path, unit: int, over: int) -> None:
    """Around every length at which something begins anew, from the disk and from memory."""
    path = picture(tmp_path / "fox.png", unit + over)
    body = {"images": [path, path.read_bytes()], "prompt": "x" * (unit + over)}
    made = body_of(resolved(body))
    pieces = await pieces_of(made)

    assert b"".join(pieces) == as_json(body)
    assert made.size == len(as_json(body))
    assert all(0 < len(piece) <= 64 * 1024 for piece in pieces)


async def test_a_body_is_sent_again_from_its_start(tmp_path: Path) -> None:
    """Also after an attempt that broke off, and while another is under way."""
    body = {"images": [picture(tmp_path / "fox.png")], "seed": 1}
    made = body_of(resolved(body))
    broken = made.pieces()
    for _ in range(5):
        await anext(broken)
    first, second = await asyncio.gather(pieces_of(made), pieces_of(made))
    await broken.aclose()

    assert b"".join(first) == b"".join(second) == as_json(body)


async def test_a_body_without_files_is_compact_json_in_utf_8() -> None:
    """Every letter as short as it gets, in one piece."""
    made = body_of({"prompt": "狐 & ü", "off_peak": False, "seed": 0})

    assert await pieces_of(made) == ['{"prompt":"狐 & ü","off_peak":false,"seed":0}'.encode()]


@pytest.mark.parametrize("is_on_disk", [True, False])
async def test_the_loop_is_let_go_between_two_pieces(tmp_path: Path, is_on_disk: bool) -> None:
    """A consumer that takes all at once does not keep others from their turn."""
    path = picture(tmp_path / "fox.png")
    made = body_of(resolved({"images": [path if is_on_disk else path.read_bytes()]}))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    seen = [turns async for _ in made.pieces()]
    waiting.cancel()

    assert all(later > earlier for earlier, later in itertools.pairwise(seen))
    assert len(seen) > made.size // (64 * 1024)


# What is refused


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1, 2}, object(), "half \ud800 pair", {(1, 2): 3}, {b"a": 1}, 1j],
    ids=lambda value: type(value).__name__,
)
def test_what_json_does_not_hold_is_refused(value: object) -> None:
    """Before it is sent as something else."""
    with pytest.raises(ValidationError):
        body_of(resolved({"a": [value]}))


def test_bytes_that_nobody_has_looked_at_are_refused() -> None:
    """Nothing goes out whose kind is not known."""
    with pytest.raises(ValidationError, match=f"<{len(PNG)} bytes>"):
        body_of({"images": [PNG]})


@pytest.mark.parametrize("is_text", [True, False])
def test_a_body_may_be_as_large_as_vidu_takes_and_no_larger(is_text: bool) -> None:
    """To the byte, with base64 and JSON counted, whether a data URL came as one or is made here."""
    content = png(size=LIMIT // 4 * 3 - 3000)
    body = {"a": by_hand(content) if is_text else content, "b": ""}
    room = "x" * (LIMIT - len(as_json(body)))

    assert body_of(resolved({**body, "b": room})).size == LIMIT
    with pytest.raises(ValidationError, match="give links") as refused:
        body_of(resolved({**body, "b": f"{room}x"}))
    assert (refused.value.value, refused.value.allowed) == (LIMIT + 1, (LIMIT,))


def test_a_body_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    """Its files need not even be there any more."""
    path = picture(tmp_path / "fox.png", LIMIT // 4 * 3)
    found = resolved({"images": [path]})
    path.unlink()

    with pytest.raises(ValidationError, match="give links"):
        body_of(found)


# What changes underneath


def _truncate(path: Path) -> None:
    os.truncate(path, LARGE - 1)


def _grow(path: Path) -> None:
    os.truncate(path, 2**40)


def _replace(path: Path) -> None:
    """Put another file of the same size and age in its place."""
    status = path.stat()
    other = picture(path.with_suffix(".new"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def _rewrite(path: Path) -> None:
    """Write to it, keeping its size, at a later time than the clock of the file system can confuse."""
    before = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.write(PNG.lower())
    os.utime(path, ns=(before, before + 1000))


def _become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _become_unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


CHANGES = [
    _truncate, _grow, _replace, _rewrite, Path.unlink, _become_a_pipe, _become_a_folder, _become_a_device,
    _become_unreadable,
]  # fmt: skip
each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))


@each_change
@pytest.mark.parametrize("part", [0, 0.2, 1], ids=["before", "midway", "at the end"])
async def test_e17_a_file_that_changes_underneath_is_never_sent_to_its_end(
    tmp_path: Path, change: Callable[[Path], None], part: float
) -> None:
    """E17: the request stays unfinished, and is unpaid: half of it would be another picture, or none."""
    path = picture(tmp_path / "fox.png")
    body = {"images": [path], "prompt": "the fox runs"}
    made = body_of(resolved(body))
    whole = as_json(body)
    end = len(whole) - len(b'"],"prompt":"the fox runs"}')
    sent, pieces = bytearray(), made.pieces()
    await take(pieces, sent, int(part * end))
    change(path)

    with pytest.raises(ValidationError, match=r"fox\.png has changed since it was looked at") as refused:
        await take(pieces, sent)
    assert refused.value.paid == "no"
    assert whole.startswith(sent)
    assert len(sent) <= end


@each_change
def test_a_file_that_has_changed_is_not_hashed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """The hash would be of something that is never sent."""
    path = picture(tmp_path / "fox.png")
    found = resolved({"images": [path]})
    change(path)

    with pytest.raises(ValidationError, match=r"fox\.png has changed since it was looked at") as refused:
        digest(found)
    assert refused.value.value == path


@pytest.mark.parametrize(
    ("change", "why"),
    [(Path.unlink, "No such file"), (_become_a_pipe, "not a regular file"), (_rewrite, "replaced or written to")],
)
def test_the_reason_for_a_refusal_is_told(tmp_path: Path, change: Callable[[Path], None], why: str) -> None:
    """It says what to look for."""
    path = picture(tmp_path / "fox.png")
    found = resolved({"images": [path]})
    change(path)

    with pytest.raises(ValidationError, match=why):
        digest(found)


async def test_the_first_of_two_files_is_looked_at_again_in_the_end(tmp_path: Path) -> None:
    """It may have been half written when it was looked at and read."""
    first, second = picture(tmp_path / "fox.png"), picture(tmp_path / "hen.png")
    made = body_of(resolved({"images": [first, second]}))
    sent, pieces = bytearray(), made.pieces()
    await take(pieces, sent, made.size * 3 // 4)
    _grow(first)

    with pytest.raises(ValidationError, match=r"fox\.png has changed"):
        await take(pieces, sent)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    """What was read is of no use then."""
    path = picture(tmp_path / "fox.png")
    file: LocalFile = resolved({"images": [path]})["images"][0]

    with pytest.raises(ValidationError, match=r"fox\.png has changed"), _unchanged(path, file.stamp):
        _rewrite(path)


async def test_a_file_that_holds_less_than_its_size_says_is_never_sent_to_its_end(tmp_path: Path) -> None:
    """Some file systems make sizes up; the length of the body is promised by then."""
    path = picture(tmp_path / "fox.png")
    file: LocalFile = resolved({"images": [path]})["images"][0]
    made = body_of({"images": [LocalFile(path, file.kind, LARGE + 9, file.stamp)]})

    with pytest.raises(ValidationError, match="it ends after 1000000 bytes"):
        await pieces_of(made)


async def test_a_file_that_is_only_read_moved_or_linked_meanwhile_is_sent(tmp_path: Path) -> None:
    """It is the same one."""
    path = picture(tmp_path / "fox.png")
    body = {"images": [path]}
    whole, made = as_json(body), body_of(resolved(body))
    os.link(path, tmp_path / "hen.png")
    path.chmod(0o600)
    path.unlink()
    (tmp_path / "hen.png").rename(path)

    assert b"".join(await pieces_of(made)) == whole


# What is left behind


def open_files() -> int:
    """Count this process's descriptors."""
    return len(os.listdir("/dev/fd"))


async def test_a_body_keeps_no_file_open_between_its_pieces(tmp_path: Path) -> None:
    """So whoever stops taking them, in whatever way, leaves nothing behind."""
    made = body_of(resolved({"images": [picture(tmp_path / "fox.png")]}))
    await asyncio.to_thread(int)
    before = open_files()

    pieces = made.pieces()
    async for _ in pieces:
        assert open_files() == before


@pytest.mark.parametrize("taken", range(4))
async def test_a_body_whose_sending_is_cancelled_closes_its_files(tmp_path: Path, taken: int) -> None:
    """Even amid a read, which its thread ends alone."""
    made = body_of(resolved({"images": [picture(tmp_path / "fox.png")]}))
    before = open_files()
    pieces = made.pieces()
    for _ in range(taken):
        await anext(pieces)
    step = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    step.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await step
    del pieces, step
    gc.collect()
    await asyncio.get_running_loop().shutdown_default_executor()

    assert open_files() == before


@pytest.mark.slow
async def test_many_large_pictures_on_their_way_take_little_memory(tmp_path: Path) -> None:
    """50 of 10 MB, 8 at a time: less than one of them in all."""
    path = picture(tmp_path / "fox.png", 10**7)
    free = asyncio.Semaphore(8)

    async def send() -> int:
        async with free:
            return sum([len(piece) async for piece in body_of(resolved({"images": [path]})).pieces()])

    tracemalloc.start()
    try:
        sizes = await asyncio.gather(*(send() for _ in range(50)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert min(sizes) > 13 * 10**6
    assert peak < 5 * 10**6


def test_a_body_shows_nothing_of_what_is_sent() -> None:
    """Its repr ends up in logs."""
    assert repr(body_of({"prompt": "s3cret"})) == "Body(size=19)"
