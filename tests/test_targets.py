"""What results are called: one plain name in the folder that was asked for, whatever anybody put into it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import ConfigError, Creation, DownloadError, Task, TaskState
from vidu_async.part import Part
from vidu_async.targets import Target, again, safe, stem_of

FOX = Creation(task_id="911045603801182208", id="42", url="https://example.com/fox.mp4")
DONE = Task(id=FOX.task_id, state=TaskState.SUCCESS, type="img2video", model="viduq3-turbo", creations=(FOX,))

HOSTILE = {
    "../../etc/passwd": "_.._etc_passwd",
    "..\\..\\x": "_.._x",
    "/abs": "_abs",
    "a:b": "a_b",
    "CON": "_CON",
    "nul.txt": "_nul.txt",
    "com1 .tar.gz": "_com1 .tar.gz",
    "a\0b": "a_b",
    "gpj.\u202efox": "gpj._fox",
    "fox\u200b\n\ud800": "fox___",
    "fox. . ": "fox",
    ".fox": "fox",
    "--force": "force",
    "-fox-": "fox-",
    "x" * 300: "x" * 137 + "-0d4e2ca9e9cb",
    "é" * 300: "é" * 68 + "-7250b66610f8",
    "🦊 läuft": "🦊 läuft",
    'a<b>|?*"': "a_b_____",
}


@pytest.mark.parametrize(("name", "safer"), HOSTILE.items())
def test_a_name_is_made_plain(name: str, safer: str) -> None:
    """C07: nothing of it leads anywhere, is hidden, or means a device."""
    assert stem_of(DONE, FOX, "url", name) == safer


@pytest.mark.parametrize("name", ["", ".", "..", "...", " ", ". .", "\0" * 0])
def test_a_name_of_nothing_is_the_usual_one(name: str) -> None:
    """C07: the task's id."""
    assert stem_of(DONE, FOX, "url", name) == FOX.task_id


@given(name=st.text(max_size=300).map(lambda text: text.replace("{", "").replace("}", "")))
def test_any_name_stays_in_its_folder(name: str) -> None:
    """C07: whatever it is, its path is a child of the folder, and a file system takes it."""
    folder = Path("/films")
    path = folder / f"{stem_of(DONE, FOX, 'url', name)}.mp4"

    assert path.resolve().parent == folder
    assert path.name == path.name.strip()
    assert len(path.name.encode()) <= 155
    assert not path.name.startswith((".", "-"))
    assert path.name.isprintable()


@given(name=st.text(max_size=300))
def test_what_is_safe_stays_as_it_is(name: str) -> None:
    """Once is enough."""
    assert safe(safe(name)) == safe(name) or safe(name).startswith("_")


@given(task_id=st.text(min_size=1, max_size=300), name=st.text(max_size=300), model=st.text(max_size=30))
def test_whatever_a_server_answers_makes_a_plain_name(task_id: str, name: str, model: str) -> None:
    """C07: letters, digits, dots and dashes of it, and nothing that could be read otherwise."""
    film = Creation(task_id=task_id, id=name or None, url="https://example.com/fox.mp4")
    done = Task(id=task_id, state=TaskState.SUCCESS, model=model, creations=(film,) * 2)

    for template in (None, "{task_id}-{creation_id}-{model}"):
        stem = stem_of(done, film, "cover_url", template)
        assert re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,149}", stem, re.ASCII)


def test_several_results_have_several_names() -> None:
    """By their ids; by their places where ids lack or are the same, to a file system at least."""
    for ids in ((None, None), ("", "a"), ("0", "0"), ("a", "A"), ("a/b", "a:b"), (None, "1")):
        creations = tuple(Creation(task_id="7", id=name, url=f"https://x/{n}") for n, name in enumerate(ids))
        several = Task(id="7", state=TaskState.SUCCESS, creations=creations)
        for name, expected in ((None, ["7-1", "7-2"]), ("fox {creation_id}", ["fox 1", "fox 2"])):
            assert [stem_of(several, one, "url", name) for one in creations] == expected


def test_a_long_name_is_still_told_from_others() -> None:
    """What tells them apart often stands at the end."""
    assert safe("x" * 200 + "1") != safe("x" * 200 + "2")
    assert safe("x" * 150) == "x" * 150


def test_a_template_is_filled_with_what_is_known() -> None:
    """What is not known is nothing."""
    more = Creation(task_id=FOX.task_id, id="43")
    several = Task(id=FOX.task_id, state=TaskState.SUCCESS, creations=(FOX, more))

    assert stem_of(DONE, FOX, "url", "{model} {type} {task_id}") == f"viduq3-turbo img2video {FOX.task_id}"
    assert stem_of(several, more, "cover_url", "fox-{index:03d}-{creation_id}-{variant}") == "fox-002-43-cover"
    assert stem_of(FOX, FOX, "url", "{index}{model}") == "1"


@pytest.mark.parametrize("name", ["{prompt}", "{", "}", "{}", "{0}", "{task_id.nothing}", "{task_id!x}", "{index:q}"])
def test_a_template_that_cannot_be_filled_is_refused(name: str) -> None:
    """With the fields that there are."""
    with pytest.raises(ConfigError, match=r"it may hold \{task_id\}, \{creation_id\}, \{index\}"):
        stem_of(DONE, FOX, "url", name)


@pytest.mark.parametrize(
    ("name", "stem"), [("fox.MP4", "fox"), ("fox.v2", "fox.v2"), (".mp4", "mp4"), ("a.png.b", "a.png.b")]
)
def test_a_suffix_of_a_film_or_picture_is_left_to_the_content(name: str, stem: str) -> None:
    """A name may have any other dots."""
    assert stem_of(DONE, FOX, "url", name) == stem


def test_a_name_and_a_file_are_one_too_many(tmp_path: Path) -> None:
    """Nobody could say which is meant."""
    with pytest.raises(ConfigError, match="give one of the two"):
        Target.of(tmp_path / "fox.mp4", "fox", "error", is_named=True)


@pytest.mark.parametrize("target", ["fox\0", "fo\0x.mp4", "~nobody-at-all/films/", "x" * 300])
def test_a_target_that_is_none_is_refused(target: str) -> None:
    """Before anything is fetched."""
    with pytest.raises(ConfigError, match="cannot be used"):
        Target.of(target, "77", "error")


def test_a_folder_that_leads_elsewhere_is_the_users_choice(tmp_path: Path) -> None:
    """Only the last part of a path must be what it seems."""
    (tmp_path / "real").mkdir()
    (tmp_path / "films").symlink_to(tmp_path / "real")
    part = Part.open(tmp_path / "films", "77", shares=True)
    part.append(b"\0\0\0\x18ftypisom")
    target = Target.of(tmp_path / "films", "77", "error")

    assert part.publish(lambda path: target.publish(path, b"\0\0\0\x18ftypisom")) == tmp_path / "films" / "77.mp4"
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["77.mp4"]


@pytest.mark.parametrize("exists", ["error", "rename"])
def test_where_there_are_no_hard_links_a_name_is_still_nobody_elses(tmp_path: Path, exists: str) -> None:
    """A part-file that is gone stands for a file system that links nothing: what is there stays."""
    (tmp_path / "77.mp4").write_bytes(b"mine")
    target = Target.of(tmp_path, "77", "rename" if exists == "rename" else "error")
    part = tmp_path / "gone" / ".77.part"

    with pytest.raises((DownloadError, FileNotFoundError)):
        target.publish(part, b"\0\0\0\x18ftypisom")
    assert (tmp_path / "77.mp4").read_bytes() == b"mine"


def test_a_creation_asked_for_anew_is_the_same_one() -> None:
    """By its id; by its place where ids change or lack, and never another's."""
    one, two = Creation(task_id="7", id="a"), Creation(task_id="7", id="b")
    before = Task(id="7", state=TaskState.SUCCESS, creations=(one, two))
    turned = Task(id="7", state=TaskState.SUCCESS, creations=(two, one))
    renamed = Task(id="7", state=TaskState.SUCCESS, creations=(Creation(task_id="7", id="x"), Creation(task_id="7")))

    assert again(two, before, turned) is two
    assert again(two, before, renamed) is renamed.creations[1]
    fewer = Task(id="7", state=TaskState.SUCCESS, creations=(one,))
    assert again(Creation(task_id="7"), Creation(task_id="7"), fewer) is one
    for found, now in (
        (before, fewer),
        (two, renamed),
        (before, Task(id="7", state=TaskState.SUCCESS, creations=(one, one))),
    ):
        with pytest.raises(DownloadError, match=f"7 has {len(now.creations)} results, and none is known to be this"):
            again(two, found, now)
    with pytest.raises(DownloadError, match="no result"):
        again(one, before, Task(id="7", state=TaskState.FAILED))
