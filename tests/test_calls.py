"""The API as questions: method, address, body and how the answer is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    APIError,
    Gateway,
    ImageToVideo,
    ProtocolError,
    RawRequest,
    ReferenceToImage,
    ReferenceToVideo,
    StartEndToVideo,
    Subject,
    TaskState,
    TextToVideo,
    ViduError,
)
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer

GATEWAY = Gateway.vidu()
ROOT = "https://api.vidu.com/ent/v2"
LINK = "https://example.com/fox.png"
FIELDS: dict[str, Any] = {"model": "m", "images": [LINK]}


def ok(value: object) -> Answer:
    """Return a 200 with JSON."""
    return Answer(200, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (ImageToVideo(model="m", images=[LINK]), "img2video"),
        (StartEndToVideo(model="m", images=[LINK, LINK]), "start-end2video"),
        (ReferenceToVideo(model="m", prompt="p", images=[LINK]), "reference2video"),
        (ReferenceToImage(model="m", prompt="p"), "reference2image"),
        (TextToVideo(model="m", prompt="p"), "text2video"),
        (RawRequest("extend", FIELDS), "extend"),
        (RawRequest("/one-click/mv/", FIELDS), "one-click/mv"),
    ],
)
def test_a_creation_posts_its_request_to_its_endpoint(request_: Any, path: str) -> None:
    """And reads a task from the answer."""
    call = calls.create(GATEWAY, request_)

    assert (call.method, call.url, call.params) == ("POST", f"{ROOT}/{path}", ())
    assert call.body == request_.to_wire()
    assert call.read(ok({"task_id": "7", "state": "created"})).state is TaskState.CREATED


def test_a_query_gets_a_task_and_knows_its_id() -> None:
    """Which the answer may lack."""
    call = calls.query(GATEWAY, "7/8")

    assert (call.method, call.url, call.body) == ("GET", f"{ROOT}/tasks/7%2F8/creations", None)
    assert call.read(ok({"state": "success"})).id == "7/8"


def test_a_list_asks_for_large_pages_and_nothing_else_by_default() -> None:
    """The window is the server's own: seven days."""
    call = calls.list_tasks(GATEWAY)

    assert (call.method, call.url, call.body) == ("GET", f"{ROOT}/tasks", None)
    assert call.params == (("pager.pagesz", "100"),)


def test_a_list_repeats_the_key_of_what_there_may_be_several_of() -> None:
    """As the API takes arrays."""
    call = calls.list_tasks(
        GATEWAY,
        states=[TaskState.SUCCESS, "failed"],
        task_ids=["7", "8"],
        created_from=datetime(2026, 1, 20, tzinfo=UTC),
        created_to=datetime(2026, 1, 21, 1, 2, 3, tzinfo=UTC),
        page_size=20,
        token="t-2",
    )

    assert call.params == (
        ("states", "success"),
        ("states", "failed"),
        ("task_ids", "7"),
        ("task_ids", "8"),
        ("created_at.from", "2026-01-20T00:00:00Z"),
        ("created_at.to", "2026-01-21T01:02:03Z"),
        ("pager.pagesz", "20"),
        ("pager.page_token", "t-2"),
    )
    assert call.read(ok({"tasks": [{"id": "7"}], "next_page_token": "t-3"})).next_token == "t-3"


def test_a_cancellation_posts_the_id() -> None:
    """In the path and in the body, as documented; where a gateway looks for results does not matter."""
    call = calls.cancel(Gateway(base_url="https://gateway.example", query_path="task/{id}"), "a/7")

    assert (call.method, call.url) == ("POST", "https://gateway.example/ent/v2/tasks/a%2F7/cancel")
    assert call.body == {"id": "a/7"}
    call.read(Answer(200, b""))
    with pytest.raises(APIError, match="can not cancel"):
        call.read(Answer(400, b'{"code": 400, "reason": "BadRequest", "message": "can not cancel"}'))


def test_the_account_is_asked_in_detail() -> None:
    """The parameter is marked as required."""
    call = calls.account(GATEWAY)

    assert (call.method, call.url, call.params) == ("GET", f"{ROOT}/credits", (("show_detail", "true"),))
    assert call.read(ok({"remaining_credits": 80})).remaining == 80


def test_a_subject_is_stored_and_comes_back_with_its_id() -> None:
    """Which requests then give as server_id."""
    subject = Subject(name="cat", images=[LINK], voice_id="v1")
    call = calls.create_subject(GATEWAY, subject)
    stored = call.read(ok({"id": 911045603801182209, "name": "cat", "credits": 5}))

    assert (call.method, call.url) == ("POST", f"{ROOT}/subjects")
    assert call.body == {"name": "cat", "images": [LINK], "voice_id": "v1"}
    assert stored == Subject(name="cat", images=[LINK], voice_id="v1", server_id="911045603801182209")
    with pytest.raises(ProtocolError):
        call.read(ok({"name": "cat"}))


def test_subjects_are_listed_a_page_at_a_time() -> None:
    """Your own, unless you ask for everybody's."""
    first, second = calls.list_subjects(GATEWAY), calls.list_subjects(GATEWAY, ownership="system", token="t-2")

    assert (first.method, first.url) == ("GET", f"{ROOT}/subjects")
    assert first.params == (("ownership", "private"), ("count", "100"))
    assert second.params == (("ownership", "system"), ("count", "100"), ("next_page_token", "t-2"))


def test_stored_subjects_are_read_as_requests_take_them() -> None:
    """With `id` as server_id; what the API adds is left out."""
    rows = [
        {
            "id": "42",
            "name": "cat",
            "images": [LINK],
            "videos": [],
            "voice_id": "",
            "style": "flat",
            "description": "x",
        },
        {"id": "43"},
        {"name": "no id"},
        None,
    ]
    page = calls.list_subjects(GATEWAY).read(ok({"subjects": rows, "next_page_token": "t-2"}))

    assert page.subjects == (
        Subject(name="cat", server_id="42", images=[LINK]),
        Subject(name="43", server_id="43"),
    )
    assert page.next_token == "t-2"


@pytest.mark.parametrize("files", [None, "", LINK, 5, True, {"url": LINK}, [None, 5, "", {}]])
@pytest.mark.parametrize("field", ["images", "videos"])
def test_a_stored_subjects_files_of_another_shape_are_none(field: str, files: object) -> None:
    """A link is never taken for a list of its letters."""
    page = calls.list_subjects(GATEWAY).read(ok({"subjects": [{"id": "42", "name": "cat", field: files}]}))

    assert page.subjects == (Subject(name="cat", server_id="42"),)


any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    rows=any_json
    | st.lists(st.dictionaries(st.sampled_from(["id", "name", "images", "videos", "voice_id"]), any_json), max_size=3)
)
def test_no_list_of_subjects_fails_in_a_way_of_its_own(rows: object) -> None:
    """Whatever a gateway answers."""
    try:
        page = calls.list_subjects(GATEWAY).read(ok({"subjects": rows}))
    except ViduError:
        return
    assert all(subject.server_id for subject in page.subjects)


@pytest.mark.parametrize("name", [" ", "a\0b"])
def test_a_subject_with_an_odd_name_is_listed_with_the_others(name: str) -> None:
    """One stored long ago should not hide the rest."""
    rows = [{"id": "42", "name": name}, {"id": "43", "name": "cat"}]
    page = calls.list_subjects(GATEWAY).read(ok({"subjects": rows}))

    assert [subject.server_id for subject in page.subjects] == ["42", "43"]


def test_a_call_shows_its_question_but_not_its_body() -> None:
    """Which may hold files, prompts and signed links."""
    call = calls.create(GATEWAY, ImageToVideo(model="m", images=[b"content"], prompt="s3cret"))

    assert repr(call) == f"Call(method='POST', url='{ROOT}/img2video', params=())"


@pytest.mark.parametrize(
    "row", [{"id": "3", "name": "a\ud800"}, {"id": "3", "voice_id": "v\0"}, {"id": "3", "images": ["https://a/\0"]}]
)
def test_a_stored_subject_that_no_request_could_hold_is_still_listed(row: dict[str, Any]) -> None:
    """By its id, which is all that a request needs, and with the others of its page."""
    call = calls.list_subjects(GATEWAY)
    page = call.read(Answer(200, json.dumps({"subjects": [row, {"id": "4", "name": "cat"}]}).encode()))

    assert [subject.server_id for subject in page.subjects] == ["3", "4"]
