"""Reading answers: nothing is made up, nothing is lost, and no shape is an obstacle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vidu_async import APIError, ProtocolError, Task, TaskState, VideoInfo, ViduError
from vidu_async.protocol import words
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.dialects import is_error
from vidu_async.protocol.refusals import error_from
from vidu_async.protocol.values import squeezed
from vidu_async.protocol.wire import (
    read_credits,
    read_id,
    read_nothing,
    read_object,
    read_page,
    read_task,
    without_inlined_files,
)

BIG = 911045603801182209
"""A task id that a float would change."""
CONTENT = "iVBORw0KGgo" + "A" * 300
DATA_URL = f"data:image/png;base64,{CONTENT}"


def ok(value: object) -> Answer:
    """Return a 200 with JSON."""
    return Answer(200, json.dumps(value).encode(), {"content-type": "application/json"})


def task(**row: Any) -> Task:
    """Read a task's answer."""
    return read_task(ok({"task_id": "7", "state": "processing", **row}))


any_text = st.text(st.characters(), max_size=20)
# Names and words of the API, so that random JSON comes close to it.
NAMES = (
    *("task_id", "id", "state", "status", "type", "model", "prompt", "credits", "payload", "err_code"),
    *("err_msg", "creations", "created_at", "progress", "duration", "resolution", "seed", "off_peak", "video"),
    *("url", "cover_url", "fps", "width", "tasks", "next_page_token", "remains", "remaining_credits"),
    *("packages", "credit_remain", "code", "reason", "message", "metadata", "trace_id", "body", "raw"),
    *("state_text"),
)
names = st.sampled_from(NAMES) | any_text
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.sampled_from(["success", "false", "1e400", "2026-01-20T04:01:53.5Z", "0001-01-01T00:00:00Z", BIG, 10**400, ""]),
)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)
# Other words for an id, and places where another task may stand, are for the tests of dialects.
ELSEWHERE = {*words.TASK_IDS, *words.ENVELOPES, "id", "error"}
rows = st.dictionaries(
    names.filter(lambda name: name in {"task_id", "id"} or next(iter(squeezed({name: 0}))) not in ELSEWHERE),
    any_json,
    max_size=8,
)
bodies = st.one_of(
    (any_json | rows).map(lambda value: json.dumps(value).encode()),
    rows.map(lambda value: b"\xef\xbb\xbf" + json.dumps(value).encode()),
    rows.map(lambda value: json.dumps({"tasks": [value, value], "remains": [value]}).encode()),
    any_json.map(lambda value: json.dumps({"task_id": "7", "state": "success", "creations": [value]}).encode()),
    st.binary(max_size=60),
)
answers = st.builds(
    Answer,
    st.just(200) | st.integers(100, 599),
    bodies,
    st.dictionaries(st.sampled_from(["content-type", "retry-after"]), any_text),
)
READERS: list[Callable[[Answer], object]] = [read_task, read_page, read_credits, read_id, read_nothing, read_object]


@given(answer=answers)
def test_no_answer_is_read_into_anything_but_a_value_or_this_librarys_error(answer: Answer) -> None:
    """Whatever bytes a gateway, a proxy or a login page sends."""
    for read in READERS:
        try:
            value = read(answer)
        except ViduError as error:
            failure = error
        else:
            assert answer.is_ok
            assert repr(value)
            continue
        assert str(failure)
        assert isinstance(failure, (ProtocolError, APIError) if answer.is_ok else APIError)


@given(answer=answers)
def test_every_refusal_reads_into_an_error_with_its_status(answer: Answer) -> None:
    """Whatever the body; in a success it may name another."""
    error = error_from(answer)

    assert error.status == answer.status or answer.is_ok
    assert error.status in error.statuses or error.reason == "model_not_found"
    assert {type(said) for said in (error.reason, error.message, error.trace_id)} == {str}


@given(row=rows)
@example(row={"task_id": None})
@example(row={"task_id": True, "id": None})
@example(row={"task_id": {}, "id": []})
@example(row={"task_id": 1.5})
@example(row={"task_id": 0})
@example(row={"task_id": -1, "id": "0"})
@example(row={"task_id": BIG})
def test_a_task_has_the_id_that_its_answer_names_or_there_is_no_task(row: dict[str, Any]) -> None:
    """Never one made up, such as "None"."""
    named = {str(row[name]).strip() for name in ("task_id", "id") if type(row.get(name)) in {str, int}}
    named = {name for name in named if name not in {"", "0"} and not name.startswith("-")}
    try:
        found = read_task(ok(row))
    except ViduError:
        assert not named or is_error(row)
    else:
        assert found.id in named
        assert {creation.task_id for creation in found.creations} <= {found.id}


@given(row=rows)
def test_a_task_keeps_its_whole_answer(row: dict[str, Any]) -> None:
    """B17: what this version has no field for is in `raw`."""
    body = json.dumps({**row, "task_id": "7", "state": "created"}).encode()

    assert json.dumps(read_task(Answer(200, body)).raw).encode() == body


@given(rows=st.lists(rows, max_size=3))
@settings(max_examples=40)
def test_a_page_has_a_task_for_each_row_with_an_id(rows: list[dict[str, Any]]) -> None:
    """The others are left out, since nothing can be asked about them."""
    numbered = [{**row, "id": str(place)} for place, row in enumerate(rows, start=1)]
    for row in numbered:
        row.pop("task_id", None)
    page = read_page(ok({"tasks": [*numbered, {"id": ""}, {"task_id": None}, None, 5]}))

    assert [found.id for found in page.tasks] == [row["id"] for row in numbered]
    assert [json.dumps(found.raw) for found in page.tasks] == [json.dumps(row) for row in numbered]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'""',
        b"0",
        b"true",
        b"<html>",
        b'{"task_id": null}',
        b'{"task_id": ""}',
        b'{"task_id": true}',
        b'{"task_id": 1.5}',
        b'{"task_id": {}}',
        b'{"task_id": "7"',
        b'[{"task_id": "7"}]',
        '{"task_id": "7"}'.encode("utf-16"),
        b'{"task_id": "\xff"}',
        b'{"a":' * 100_000,
        json.dumps(dict.fromkeys(map(str, range(10_000)))).encode(),
    ],
)
def test_an_answer_without_a_task_is_no_task(body: bytes) -> None:
    """And the error shows its beginning, or its fields."""
    with pytest.raises(ProtocolError) as refused:
        read_task(Answer(200, body))

    assert len(str(refused.value)) < 1200


def test_deep_nesting_is_read_or_refused_at_any_depth() -> None:
    """Neither a task nor a page of them makes the stack overflow."""
    for depth in [10, *range(700, 1000, 3), *range(1000, 1100, 10), 100_000]:
        nest = "[" * depth + "]" * depth
        for read, body in (
            (read_task, '{"task_id": "7", "off_peak": NEST, "created_at": NEST, "model": NEST, "video": NEST}'),
            (read_page, '{"tasks": [{"task_id": "7", "off_peak": NEST, "x": NEST}]}'),
            (read_credits, '{"remains": [{"credit_remain": NEST}]}'),
        ):
            try:
                read(Answer(200, body.replace("NEST", nest).encode()))
            except ProtocolError:
                assert depth > 500


def test_a_query_fills_in_the_id_that_its_answer_lacks() -> None:
    """Vidu's own site answers a query without one."""
    found = read_task(ok({"state": "success", "creations": [{"id": "1", "url": "https://a/b"}]}), task_id="7")

    assert found.id == "7"
    assert found.creations[0].task_id == "7"


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b" \r\n"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_a_mark_before_the_json_and_a_wrong_type_are_no_obstacles(prefix: bytes, kind: str) -> None:
    """Nobody reads the JSON differently for it."""
    found = read_task(Answer(200, prefix + b'{"task_id": "7", "state": "created"}', {"content-type": kind}))

    assert (found.id, found.state) == ("7", TaskState.CREATED)
    assert found.raw == {"task_id": "7", "state": "created"}


@pytest.mark.parametrize("name", ["task_id", "id"])
@pytest.mark.parametrize("value", [BIG, str(BIG)])
def test_a_large_id_keeps_each_digit(name: str, value: object) -> None:
    """Also one sent as a number: through a float it would end in 8."""
    assert read_task(ok({name: value, "state": "created"})).id == "911045603801182209"


def test_other_large_ids_keep_each_digit_too() -> None:
    """Of a creation and of what was stored."""
    assert task(creations=[{"id": BIG}]).creations[0].id == str(BIG)
    assert read_id(ok({"id": BIG})) == str(BIG)


@pytest.mark.parametrize("seed", [BIG, str(BIG), 2**63 - 1, str(2**63 - 1)])
def test_a_large_number_keeps_each_digit(seed: Any) -> None:
    """As text, too."""
    assert task(seed=seed).seed == int(seed)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        *((state.value, state) for state in TaskState),
        ("SUCCESS", TaskState.SUCCESS),
        ("Queueing", TaskState.QUEUEING),
        ("scheduled", TaskState.UNKNOWN),
        ("moderating", TaskState.UNKNOWN),
    ],
)
@pytest.mark.parametrize("name", ["state", "status"])
def test_a_state_is_read_under_either_name_and_kept_as_worded(name: str, word: str, state: TaskState) -> None:
    """A state that nobody documented is a state of its own, and not an end."""
    found = read_task(ok({"task_id": "7", name: word}), task_id="7")

    assert (found.state, found.state_text) == (state, word)


@pytest.mark.parametrize(("state", "text"), [(7, "7"), ("", ""), (None, ""), ([], ""), (True, "")])
def test_a_state_that_is_no_word_is_unknown(state: object, text: str) -> None:
    """So waiting goes on."""
    found = task(state=state)

    assert (found.state, found.state_text) == (TaskState.UNKNOWN, text)


def test_state_goes_before_status() -> None:
    """Bodies have the one, prose the other."""
    assert task(state="success", status="failed").state is TaskState.SUCCESS


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (80, 80),
        ("80", 80),
        (80.0, 80),
        ("80.0", 80),
        (0, 0),
        ("0", 0),
        (1.9, None),
        ("1.9", None),
        ("abc", None),
        ("", None),
        (None, None),
        (True, None),
        (False, None),
        ([80], None),
        ("nan", None),
        ("1e999", None),
    ],
)
def test_credits_are_a_whole_number_or_not_known(value: object, number: int | None) -> None:
    """B15: older pages and some gateways send text; 1.9 is never 1."""
    found = task(credits=value, progress=value, seed=value)

    assert (found.credits, found.progress, found.seed) == (number, number, number)
    assert type(found.credits) in {int, type(None)}


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("False", False),
        (1, True),
        (0, False),
        ("1", True),
        ("0", False),
        ("", None),
        (None, None),
        ("no", None),
        (2, None),
        ([False], None),
    ],
)
def test_a_flag_in_words_is_read_by_its_meaning(value: object, flag: bool | None) -> None:
    """B16: `"false"` is a text, and every text but the empty one is true to Python."""
    assert task(off_peak=value).off_peak is flag


NINE = "123456789"


@pytest.mark.parametrize("digits", range(10))
def test_a_moment_has_nought_to_nine_fractional_digits(digits: int) -> None:
    """B18: of which a datetime holds six."""
    fraction = f".{NINE[:digits]}" if digits else ""
    microsecond = int(f"{NINE[:digits]:0<6}"[:6])

    assert task(created_at=f"2026-01-20T04:01:53{fraction}Z").created_at == datetime(
        2026, 1, 20, 4, 1, 53, microsecond, UTC
    )


@given(
    moment=st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)),  # noqa: DTZ001 - the zone is drawn beside it
    zone=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_a_moment_in_any_zone_is_read_as_utc(moment: datetime, zone: timezone) -> None:
    """To the microsecond."""
    there = moment.replace(tzinfo=zone)
    found = task(created_at=there.isoformat()).created_at

    assert found == there
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize("value", [1768881713, 1768881713.0, "1768881713"])
def test_a_moment_may_be_seconds_of_the_epoch(value: object) -> None:
    """As one gateway sends it."""
    assert task(created_at=value).created_at == datetime(2026, 1, 20, 4, 1, 53, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "",
        None,
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00.000000000Z",
        -62135596800,
        0,
        "0",
        True,
        "yesterday",
        "2026-01-20",
        "2026-13-20T04:01:53Z",
        "2026-01-20T25:01:53Z",
        "2026-01-20T04:01:53",
        "2026-01-20T04:01:53.1234567890Z",
        "0001-01-01T00:00:00+08:00",
        "9999-12-31T23:59:59-08:00",
        10**30,
        float("nan"),
        [],
        {},
    ],
)
def test_a_moment_that_is_none_is_not_known(value: object) -> None:
    """B18: Go's zero time among them, which its servers send for "not yet"."""
    assert task(created_at=value).created_at is None


def test_a_finished_task_is_read_with_its_results() -> None:
    """As Vidu answers a query, and as it has been seen to."""
    found = task(
        state="success",
        err_code="",
        credits=80,
        payload="p-1",
        bgm=False,
        creations=[
            {
                "id": "9",
                "url": "https://files.example/a.mp4?sig=1",
                "cover_url": "https://files.example/a.png?sig=2",
                "watermarked_url": "",
                "video": {"duration": 5.04, "fps": 24, "resolution": {"width": 1280, "height": 720}},
                "moderation_url": ["https://files.example/m.jpg"],
            }
        ],
    )
    (creation,) = found.creations

    assert (found.err_code, found.err_msg, found.payload, found.credits) == (None, None, "p-1", 80)
    assert (creation.task_id, creation.id) == ("7", "9")
    assert creation.url == "https://files.example/a.mp4?sig=1"
    assert creation.cover_url == "https://files.example/a.png?sig=2"
    assert creation.watermarked_url is None
    assert creation.video == VideoInfo(duration=5.04, fps=24.0, width=1280, height=720)
    assert found.raw["creations"][0]["moderation_url"] == ["https://files.example/m.jpg"]


@pytest.mark.parametrize("creations", [None, "soon", {}, {"videos": "soon"}, 5, [], [None, "soon", 5, []]])
def test_results_of_another_shape_are_no_results(creations: object) -> None:
    """They stay in `raw`."""
    found = task(state="success", creations=creations)

    assert found.creations == ()
    assert found.raw["creations"] == creations


@pytest.mark.parametrize("video", [None, "5 s", [], 5, {"duration": {}, "fps": "x", "resolution": "720p"}])
def test_measures_of_another_shape_are_not_known(video: object) -> None:
    """And no obstacle to the result."""
    (creation,) = task(creations=[{"url": "https://a/b", "video": video}]).creations

    assert creation.url == "https://a/b"
    assert creation.video in (None, VideoInfo())


def test_an_answers_own_words_do_not_pass_for_what_this_library_adds() -> None:
    """Fields of an answer that happen to be called like ours."""
    found = task(body="x", raw="y", state_text="z", is_cancelled=True)

    assert (found.state_text, found.state) == ("processing", TaskState.PROCESSING)
    assert not found.is_cancelled
    assert found.raw == {
        "task_id": "7",
        "state": "processing",
        "body": "x",
        "raw": "y",
        "state_text": "z",
        "is_cancelled": True,
    }


# Inlined files


def test_files_that_an_answer_echoes_are_cut_out() -> None:
    """Some gateways send the pictures back, megabytes a task."""
    found = task(images=[DATA_URL, "https://example.com/fox.png"], cover={"deep": [DATA_URL]})

    assert found.raw["images"] == ["data:image/png;base64,...", "https://example.com/fox.png"]
    assert found.raw["cover"] == {"deep": ["data:image/png;base64,..."]}
    assert len(found.body) < 300


def test_a_file_with_escaped_slashes_is_cut_out_too() -> None:
    """As PHP and some others write JSON."""
    echoed = json.dumps({"task_id": "7", "images": [f"data:image/png;base64,{CONTENT}/+=="]}).replace("/", "\\/")

    assert CONTENT not in read_task(Answer(200, echoed.encode())).body.decode()


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({"image": DATA_URL}),
        json.dumps({"image": DATA_URL, "row": 5}),
        json.dumps([json.dumps([DATA_URL])]),
        f'"{DATA_URL}"',
        f"{DATA_URL}\\",
        f'{DATA_URL}" and more',
    ],
    ids=["JSON", "JSON, more of it", "JSON in JSON", "in quotes", "before a backslash", "before a quote"],
)
def test_a_file_inside_a_text_leaves_the_answer_readable(payload: str) -> None:
    """A payload is the user's own, and often JSON: its answer must not read as broken."""
    found = task(payload=payload, prompt="a fox")

    assert (found.id, found.prompt) == ("7", "a fox")
    assert found.raw["prompt"] == "a fox"


@pytest.mark.parametrize("payload", [DATA_URL, json.dumps({"image": DATA_URL})], ids=["a data URL", "JSON"])
def test_a_payload_comes_back_byte_for_byte(payload: str) -> None:
    """It is no echo of a file, whatever it looks like."""
    assert task(payload=payload).payload == payload


pieces = st.lists(
    st.sampled_from([DATA_URL, '"', "\\", "/", "{", "data:;base64,", CONTENT, "a", ",", "\n"]), max_size=6
)


@given(texts=st.lists(pieces.map("".join), max_size=4), ascii_only=st.booleans())
def test_cutting_files_out_changes_no_more_than_the_files(texts: list[str], ascii_only: bool) -> None:
    """The JSON keeps its shape, and every text that is no data URL stays as it is."""
    body = json.dumps({"texts": texts}, ensure_ascii=ascii_only).encode()
    kept = json.loads(without_inlined_files(body))

    assert kept.keys() == {"texts"}
    for before, after in zip(texts, kept["texts"], strict=True):
        assert after == before or before.startswith("data:")


# Pages, credits and the rest


def test_a_page_names_the_next_one() -> None:
    """By a token, which is empty on the last page."""
    page = read_page(ok({"next_page_token": "t-2", "tasks": [{"id": "7", "state": "success", "credits": 4}]}))

    assert page.next_token == "t-2"
    assert [(found.id, found.state, found.credits) for found in page.tasks] == [("7", TaskState.SUCCESS, 4)]


@pytest.mark.parametrize("value", [{}, {"tasks": []}, {"tasks": None}, {"next_page_token": ""}])
def test_a_page_without_tasks_is_empty_and_the_last(value: object) -> None:
    """Rather than a failure."""
    page = read_page(ok(value))

    assert (page.tasks, page.next_token) == ((), "")


@pytest.mark.parametrize(
    "value", [{"tasks": {}}, {"tasks": "x"}, {"unexpected": True}, {"data": {}}, {"data": {"total": 0}}]
)
def test_an_answer_that_lists_nothing_is_no_empty_page(value: object) -> None:
    """That a task is not there may be read as leave to pay again."""
    with pytest.raises(ProtocolError, match="lists no tasks"):
        read_page(ok(value))


@pytest.mark.parametrize(
    "value",
    [
        {"data": {"tasks": [{"id": "7"}], "next_page_token": "p2"}},
        {"code": 0, "data": [{"id": "7"}], "next_page_token": "p2"},
        {"data": {"items": [{"task_id": "7"}], "nextPageToken": "p2"}},
    ],
)
def test_a_page_is_found_in_its_envelope(value: object) -> None:
    """With the token of the next, wherever it stands."""
    page = read_page(ok(value))

    assert ([found.id for found in page.tasks], page.next_token) == (["7"], "p2")


@pytest.mark.parametrize(
    ("value", "remaining"),
    [
        ({"remains": [{"type": "metered", "credit_remain": 1530}]}, 1530),
        ({"remains": [{"credit_remain": 1500}, {"credit_remain": "30"}]}, 1530),
        ({"remains": [{"credit_remain": 1500}, {"credit_remain": "x"}]}, 1500),
        ({"remaining_credits": 42}, 42),
        ({"remaining_credits": "42", "remains": [{"credit_remain": 1}]}, 42),
        ({"remains": [{"credit_remain": 0}]}, 0),
        ({"remains": []}, None),
        ({"remains": [{"type": "metered"}]}, None),
        ({"remains": "1530"}, None),
        ({}, None),
    ],
)
def test_credits_are_summed_or_taken_as_told(value: dict[str, Any], remaining: int | None) -> None:
    """The page's table and its example have different names."""
    found = read_credits(ok(value))

    assert found.remaining == remaining
    assert found.raw == value


def test_credits_keep_the_rows_of_the_account() -> None:
    """Concurrency and packages are for the reader."""
    row = {"type": "concurrent", "concurrency_limit": 5, "current_concurrency": 1, "queue_count": 0}
    found = read_credits(ok({"remains": [row, None], "packages": [{"id": "1", "credit_amount": 5}, 5]}))

    assert found.remains == (row,)
    assert found.packages == ({"id": "1", "credit_amount": 5},)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"ok", b'{"anything": 1}'])
def test_a_cancellation_is_any_success(body: bytes) -> None:
    """Pages disagree on what it answers."""
    for status in (200, 202, 204):
        read_nothing(Answer(status, body))
    with pytest.raises(APIError):
        read_nothing(Answer(400, body))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_a_refusal_is_never_read_as_an_answer(read: Callable[[Answer], object], status: int) -> None:
    """Not even if its body looks like one."""
    with pytest.raises(APIError) as refused:
        read(Answer(status, b'{"task_id": "7", "id": "7", "state": "success"}'))

    assert refused.value.status == status


@pytest.mark.parametrize("value", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": []}])
def test_what_was_stored_without_an_id_is_an_error(value: object) -> None:
    """Nothing could refer to it."""
    with pytest.raises(ProtocolError):
        read_id(ok(value))


def test_an_answer_shows_neither_its_body_nor_its_headers() -> None:
    """They may hold signed links and cookies."""
    answer = Answer(200, b'{"url": "https://a/b?sig=s3cret"}', {"set-cookie": "s3cret"})

    assert repr(answer) == "Answer(status=200)"
