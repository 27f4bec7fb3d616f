"""A part-file: locked, gone on with only if it is known what it holds, and never in anybody's way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vidu_async import DownloadError
from vidu_async.part import Part, is_strong


def left_behind(folder: Path, content: bytes = b"half", etag: str = '"v1"') -> Path:
    """Leave a part-file."""
    part = Part.open(folder, "77", shares=True)
    part.begin(etag)
    part.append(content)
    part.close(keeps=True)
    return folder / ".77.part"


def test_a_part_is_gone_on_with_where_it_ends(tmp_path: Path) -> None:
    """With the ETag that it was begun with."""
    left_behind(tmp_path)
    part = Part.open(tmp_path, "77", shares=True)
    part.append(b"-whole")

    assert (part.etag, part.size, part.head(6)) == ('"v1"', 10, b"half-w")
    part.append(b"!")
    assert part.publish(lambda path: path.replace(tmp_path / "77.mp4")).read_bytes() == b"half-whole!"
    assert os.listdir(tmp_path) == ["77.mp4"]


def test_a_part_from_before_the_machine_started_is_not_trusted(tmp_path: Path) -> None:
    """With the power its end may have got lost, and be zeros now."""
    path = left_behind(tmp_path)
    before = time.time() - time.monotonic() - 60
    os.utime(path, (before, before))

    part = Part.open(tmp_path, "77", shares=True)
    assert (part.etag, part.size) == (None, 0)
    part.close(keeps=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("note", [None, b"", b"v1", b'W/"v1"', b'"\xff"', b'"v\n1"'])
def test_a_part_that_nothing_identifies_is_begun_anew(tmp_path: Path, note: bytes | None) -> None:
    """Its content may be anybody's."""
    path = left_behind(tmp_path)
    etag = path.with_name(".77.part.etag")
    etag.unlink() if note is None else etag.write_bytes(note)

    part = Part.open(tmp_path, "77", shares=True)
    assert (part.etag, part.size) == (None, 0)
    part.begin('"v2"')
    part.append(b"x")
    part.publish(lambda part_file: part_file.replace(tmp_path / "77.mp4"))
    assert (tmp_path / "77.mp4").read_bytes() == b"x"


def test_a_part_that_is_not_worth_it_is_not_kept(tmp_path: Path) -> None:
    """Without an ETag, without a byte, or not wanted."""
    for etag, content, keeps in ((None, b"half", True), ('"v1"', b"", True), ('"v1"', b"half", False)):
        part = Part.open(tmp_path, "77", shares=True)
        part.begin(etag)
        part.append(content)
        part.close(keeps=keeps)
        assert os.listdir(tmp_path) == []


_OTHER = """
import sys
import threading
from pathlib import Path
from vidu_async.part import Part
Part.open(Path(sys.argv[1]), "77", shares=True)
"""


def test_a_part_in_use_is_refused_or_stepped_aside(tmp_path: Path) -> None:
    """Also by another process; one of its own is never left behind."""
    used = Part.open(tmp_path, "77", shares=True)
    with pytest.raises(DownloadError, match=f"another download is writing to {tmp_path}/77"):
        Part.open(tmp_path, "77", shares=True)
    other = subprocess.run([sys.executable, "-c", _OTHER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "another download is writing" in other.stderr

    own = Part.open(tmp_path, "77", shares=False)
    own.begin('"v1"')
    own.append(b"x")
    own.close(keeps=True)
    used.close(keeps=True)
    assert os.listdir(tmp_path) == []


def test_a_part_that_has_its_final_name_already_is_not_written_to(tmp_path: Path) -> None:
    """A process may end between giving that one and taking this one away."""
    path = left_behind(tmp_path, b"whole")
    os.link(path, tmp_path / "77.mp4")

    part = Part.open(tmp_path, "77", shares=True)
    part.begin('"v2"')
    part.append(b"other")
    part.close(keeps=False)
    assert (tmp_path / "77.mp4").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["77.mp4"]


def test_a_part_that_cannot_be_moved_is_not_kept(tmp_path: Path) -> None:
    """Nobody could say any more what it is."""
    part = Part.open(tmp_path, "77", shares=True)
    part.begin('"v1"')
    part.append(b"whole")

    def refuse(_: Path) -> Path:
        raise DownloadError("exists already")

    with pytest.raises(DownloadError):
        part.publish(refuse)
    part.close(keeps=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_in_its_place_is_refused(tmp_path: Path, kind: str) -> None:
    """It is not waited for, either."""
    (os.mkfifo if kind == "pipe" else Path.mkdir)(tmp_path / ".77.part")
    with pytest.raises(OSError, match=r"77\.part"):
        Part.open(tmp_path, "77", shares=True)


def test_each_target_has_a_part_of_its_own_however_long_its_name(tmp_path: Path) -> None:
    """A file system takes 255 bytes."""
    titles = ["é" * 120 + end for end in "ab"]
    parts = [Part.open(tmp_path, title, shares=True) for title in titles]
    assert len({part.path for part in parts}) == 2
    for part in parts:
        part.begin('"v1"')
        part.close(keeps=False)


@pytest.mark.parametrize(
    ("etag", "is_it"), [('"a"', True), ('"a-5"', True), ('W/"a"', False), ("a", False), ('""', False), ('"é"', False)]
)
def test_a_strong_etag_is_known(etag: str, is_it: bool) -> None:
    """RFC 9110: only that promises the same bytes."""
    assert is_strong(etag) is is_it


def test_a_part_of_another_result_is_not_gone_on_with(tmp_path: Path) -> None:
    """Two results may have the same ETag, such as a number of their own."""
    part = Part.open(tmp_path, "film.mp4", "7 1 url", shares=True)
    part.begin('"1"')
    part.append(b"half")
    part.close(keeps=True)

    for what, held in (("7 1 url", 4), ("8 1 url", 0)):
        part = Part.open(tmp_path, "film.mp4", what, shares=True)
        assert part.size == held
        part.close(keeps=True)


def test_a_note_is_not_written_through_a_link(tmp_path: Path) -> None:
    """Its name can be guessed, and what it holds is a server's."""
    (tmp_path / "precious").write_bytes(b"mine")
    (tmp_path / ".77.part.etag").symlink_to(tmp_path / "precious")
    left_behind(tmp_path)
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (tmp_path / ".77.part.etag").is_symlink()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself"])
def test_a_note_that_is_no_file_says_nothing_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    """The part-file is closed all the same, which a warning would tell."""
    note = left_behind(tmp_path).with_name(".77.part.etag")
    note.unlink()
    if kind == "link to itself":
        note.symlink_to(note)
    else:
        (os.mkfifo if kind == "pipe" else Path.mkdir)(note)
    part = Part.open(tmp_path, "77", shares=True)
    assert (part.etag, part.size) == (None, 0)
    part.close(keeps=False)


def test_whoever_leaves_a_part_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """The thread that waits for it closes the part-file when it has done, and what it was doing is done."""
    part = Part.open(tmp_path, "77", shares=True)
    part.begin('"v1"')
    part.append(b"whole")
    moving, go_on = threading.Event(), threading.Event()

    def move(path: Path) -> Path:
        moving.set()
        assert go_on.wait(60)
        return path.replace(tmp_path / "77.mp4")

    thread = threading.Thread(target=part.publish, args=(move,))
    thread.start()
    assert moving.wait(60)
    part.close(keeps=True)  # while the thread still works
    assert os.listdir(tmp_path) == [".77.part"]
    go_on.set()
    thread.join()
    assert os.listdir(tmp_path) == ["77.mp4"]


def test_a_part_that_was_left_is_kept_or_not_as_was_said(tmp_path: Path) -> None:
    """Also if the thread that had it fails."""
    part = Part.open(tmp_path, "77", shares=True)
    part.begin('"v1"')
    part.append(b"whole")

    def refuse(_: Path) -> Path:
        part.close(keeps=True)
        raise DownloadError("exists already")

    with pytest.raises(DownloadError):
        part.publish(refuse)
    assert os.listdir(tmp_path) == []
    Part.open(tmp_path, "77", shares=True).close(keeps=False)  # it is free
