"""Reading the rows of a file: each a request or an error with its place, and never the end of the others."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidu_async import ImageToVideo, ReferenceToVideo, Request, TextToVideo, ValidationError
from vidu_async.rows import Entry, count, read

FOX = {"endpoint": "text2video", "model": "viduq3-turbo", "prompt": "the fox runs"}


def rows(folder: Path, name: str, content: str | bytes, **options: Any) -> list[Entry]:
    """Write a file, and read it."""
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return list(read(folder / name, **options))


def said(entry: Entry) -> str:
    """Return what is wrong with a row."""
    assert isinstance(entry.found, ValidationError)
    return entry.found.said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.jsonl", "\n".join(json.dumps(row) for row in ({**FOX, "key": "a"}, FOX))),
        ("jobs.ndjson", "\ufeff" + "\r\n".join(json.dumps(row) for row in ({**FOX, "key": "a"}, FOX)) + "\n\n"),
        ("jobs.json", json.dumps([{**FOX, "key": "a"}, FOX], indent=1)),
        (
            "jobs.csv",
            (
                "key,model,prompt,endpoint\na,viduq3-turbo,the fox runs,text2video\n"
                ",viduq3-turbo,the fox runs,text2video\n"
            ),
        ),
    ],
)
def test_a_row_is_a_request_whatever_the_file(name: str, content: str, tmp_path: Path) -> None:
    """With its key, if it has one."""
    found = rows(tmp_path, name, content)
    assert [entry.key for entry in found] == ["a", None]
    assert [entry.found for entry in found] == [TextToVideo(model="viduq3-turbo", prompt="the fox runs")] * 2
    assert all(entry.place.startswith(f"{name}:") for entry in found)


def test_a_wrong_row_is_told_of_with_its_line_and_keeps_nobody_back(tmp_path: Path) -> None:
    """As a mistake in one of ten thousand should."""
    lines = [json.dumps(FOX), "{oops", "[1]", json.dumps({**FOX, "endpoint": "txt2video"}), "", json.dumps(FOX)]
    found = rows(tmp_path, "jobs.jsonl", "\n".join(lines))
    assert [entry.place for entry in found] == [f"jobs.jsonl:{number}" for number in (1, 2, 3, 4, 6)]
    assert said(found[1]).startswith("jobs.jsonl:2: no JSON (")
    assert said(found[2]) == "jobs.jsonl:3: a row must be a JSON object, not [1]"
    assert "Did you mean 'text2video'?" in said(found[3])
    assert isinstance(found[4].found, TextToVideo)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """So that a folder of jobs may be moved."""
    content = "endpoint,model,images,duration,audio\nimg2video,viduq3-turbo,fox.png,5,false\n"
    (entry,) = rows(tmp_path, "jobs.csv", content)
    assert entry.found == ImageToVideo(model="viduq3-turbo", images=[tmp_path / "fox.png"], duration=5, audio=False)


def test_a_cell_may_hold_json_where_several_values_go(tmp_path: Path) -> None:
    """And what is none is told of."""
    lines = ('reference2video,viduq2,a fox,"[""a.png"", ""b.png""]"', "img2video,viduq2,x,[oops")
    content = "\n".join(("endpoint,model,prompt,images", *lines))
    first, second = rows(tmp_path, "jobs.csv", content)
    assert isinstance(first.found, ReferenceToVideo)
    assert first.found.images == (tmp_path / "a.png", tmp_path / "b.png")
    assert said(second).startswith("jobs.csv:3: images is no JSON (")


def test_rows_that_name_no_endpoint_get_the_one_that_was_given(tmp_path: Path) -> None:
    """Else they are told of."""
    bare = json.dumps({"model": "viduq3-turbo", "prompt": "a fox"})
    assert isinstance(rows(tmp_path, "a.jsonl", bare, endpoint="text2video")[0].found, TextToVideo)
    assert "names no endpoint, and none is given for all; it has 'model', 'prompt'" in said(
        rows(tmp_path, "a.jsonl", bare)[0]
    )


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("jobs.txt", "", "must end with .jsonl, .ndjson, .json, .csv"),
        ("jobs.json", "{}", "must hold a JSON array"),
        ("jobs.json", '[{"a": 1}, {"b"', "line 1: the array is cut or no JSON"),
        ("jobs.csv", b"endpoint\n\xff\n", "is no UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused(name: str, content: str | bytes, why: str, tmp_path: Path) -> None:
    """By what is wrong with it."""
    with pytest.raises(ValidationError, match=why):
        rows(tmp_path, name, content)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=3), max_size=20))
@settings(deadline=None)  # it touches the disk
def test_an_array_is_read_as_a_decoder_would(items: list[dict[str, Any]]) -> None:
    """Item by item, however it is laid out."""
    with tempfile.TemporaryDirectory() as folder:
        for indent in (None, 1):
            found = rows(Path(folder), "jobs.json", json.dumps(items, indent=indent))
            assert len(found) == len(items)


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """One of the two would be lost without a word; the other rows are read."""
    row = '{"endpoint": "text2video", "model": "viduq3-turbo", "prompt": "a fox"}'
    twice = row.replace("}", ', "prompt": "a cat"}')
    (tmp_path / "jobs.jsonl").write_text(f"{twice}\n{row}\n", encoding="utf-8")
    (tmp_path / "jobs.json").write_text(f"[{twice},\n{row}]", encoding="utf-8")
    for name in ("jobs.jsonl", "jobs.json"):
        wrong, right = read(tmp_path / name)
        assert said(wrong).startswith(f"{name}:1: 'prompt' stands here twice")
        assert isinstance(right.found, Request)


def test_a_row_that_is_nested_without_end_is_refused_like_any_other_wrong_one(tmp_path: Path) -> None:
    """It is short enough to be read, and too deep to be shown."""
    deep = "[" * 900 + "]" * 900
    content = f'{{"endpoint": "img2video", "model": "viduq3-turbo", "images": [{deep}]}}\n{json.dumps(FOX)}\n'
    wrong, right = rows(tmp_path, "jobs.jsonl", content)

    assert said(wrong).startswith("jobs.jsonl:1: images[0] must be a URL")  # how deep is too deep, Python decides
    assert isinstance(right.found, TextToVideo)


def test_rows_are_counted_without_being_checked(tmp_path: Path) -> None:
    """What cannot be read has no count: whoever reads it is told why."""
    (tmp_path / "jobs.jsonl").write_text('{"a": 1}\n\nnonsense\n', encoding="utf-8")
    (tmp_path / "jobs.json").write_text("[{}, {}", encoding="utf-8")
    assert (count(tmp_path / "jobs.jsonl"), count(tmp_path / "jobs.json")) == (2, None)
