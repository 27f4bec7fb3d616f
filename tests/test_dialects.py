"""Dialects: whatever words and envelopes a gateway uses, the same task is read, and no error is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import APIError, ProtocolError, Task, TaskState, ViduError
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.dialects import upright
from vidu_async.protocol.plain import plain
from vidu_async.protocol.wire import read_credits, read_id, read_nothing, read_page, read_rows, read_task

ASKED = "911045603801182209"
LINK = "https://files.example/fox.mp4?sig=1"
COVER = "https://files.example/fox.png"
AT = datetime(2026, 8, 5, 2, 24, 5, tzinfo=UTC)


def answer(value: object, status: int = 200) -> Answer:
    """Return an answer with JSON."""
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json"})


def created(value: object) -> Task:
    """Read the answer of a creation."""
    return read_task(answer(value))


def queried(value: object, status: int = 200) -> Task:
    """Read the answer of a query."""
    return read_task(answer(value, status), task_id=ASKED)


# Creations


@pytest.mark.parametrize(
    ("value", "task_id", "state"),
    [
        ({"task_id": ASKED, "state": "created"}, ASKED, TaskState.CREATED),
        ({"id": ASKED, "state": "queueing"}, ASKED, TaskState.QUEUEING),
        ({"task_id": "48038932-0ff5-4251", "status": "processing", "created_at": 1774494511}, None, "processing"),
        ({"id": "task_a", "task_id": "task_a", "object": "video", "status": "queued", "progress": 0}, None, "queueing"),
        ({"id": "video_123", "object": "video", "status": "queued", "seconds": "5"}, "video_123", "queueing"),
        ({"code": "success", "data": {"task_id": "task_y"}}, "task_y", TaskState.UNKNOWN),
        ({"code": "success", "message": "", "data": "task_y1"}, "task_y1", TaskState.UNKNOWN),
        ({"code": 0, "message": "SUCCEED", "data": {"task_id": "86", "task_status": "submitted"}}, "86", "created"),
        ({"code": 200, "msg": "ok", "data": {"taskId": "86", "state": "created"}}, "86", "created"),
        ({"code": 1000, "message": "success", "data": {"taskNo": "a1b2"}}, "a1b2", TaskState.UNKNOWN),
        ({"Response": {"TaskId": "15-AigcVideoTask-31t", "RequestId": "b39e"}}, "15-AigcVideoTask-31t", "unknown"),
        ({"output": {"task_id": "88"}, "request_id": "req-1"}, "88", TaskState.UNKNOWN),
        ({"data": {"id": 690033, "task_id": "task_x", "status": "SUBMITTED"}}, "task_x", "created"),
        ({"id": "log-1", "data": {"task_id": "task_x"}}, "task_x", TaskState.UNKNOWN),
        ({"task_id": "7", "state": "created", "error": {"message": "why"}}, "7", "created"),
        ({"task_id": "7", "state": "failed", "err_code": "CONTENT_RISK"}, "7", "failed"),
        ({"task_id": "7", "state": None}, "7", TaskState.UNKNOWN),
        ({"task_id": int(ASKED), "state": "created"}, ASKED, "created"),
    ],
)
def test_a_creation_is_read_in_any_envelope(value: dict[str, Any], task_id: str | None, state: str) -> None:
    """By its id, kept as exact text, and its state."""
    task = created(value)

    assert task.id == (task_id or value["task_id"])
    assert task.state == state
    assert task.raw == value


@pytest.mark.parametrize(
    "value",
    [
        {"state": "created"},
        {"data": {"id": None, "state": "created"}},
        {"code": "success", "data": "accepted"},
        {"code": "success", "data": "https://files.example/1"},
        {"code": "success", "message": "", "data": None},
        {"request_id": "req-1"},
        {"Response": {"RequestId": "req-1"}},
        {"success": True},
        [{"task_id": "7"}],
    ],
)
def test_a_creation_that_names_no_task_is_none(value: object) -> None:
    """The id of the request is not that of a task."""
    with pytest.raises(ProtocolError):
        created(value)


# Queries


def _vod(kind: str = "AigcVideoTask", **task: Any) -> dict[str, Any]:
    """Return the envelope in which Tencent's VOD answers. https://cloud.tencent.com/document/product/266/33431."""
    inner = {"TaskId": "15-x", "Status": "FINISH", "ErrCode": 0, "ErrCodeExt": "", "Message": "", "Progress": 100}
    infos = {"FileInfos": [{"FileUrl": LINK, "FileType": "", "ExpireTime": "2026-08-12T02:26:25Z", "FileId": ""}]}
    given_in = {"FileInfos": [], "ModelName": "Vidu", "Prompt": "a fox", "OutputConfig": {"Duration": 0}}
    whole = {"Input": given_in, "Output": infos, **inner, **task}
    others = {"AigcAudioTask": None, "AigcVideoTask": None, "AigcImageTask": None}
    return {
        "Response": {
            **others,
            kind: whole,
            "Status": whole["Status"],
            "TaskType": kind,
            "CreateTime": "2026-08-05T02:24:05Z",
            "FinishTime": "0000-00-00T00:00:00Z",
            "RequestId": "b39ebcc0",
        }
    }


def _wrapped(data: object, **more: Any) -> dict[str, Any]:
    """Return the envelope in which new-api and its kin answer queries. https://github.com/QuantumNous/new-api."""
    own = {"id": 112, "task_id": "task_x", "platform": "52", "progress": "100%", "fail_reason": "", "quota": 1656000}
    return {"code": "success", "message": "", "data": {**own, "status": "SUCCESS", "data": data, **more}}


VIDU = {"state": "success", "err_code": "", "creations": [{"id": "1", "url": LINK, "cover_url": COVER}]}

SUCCESSES: dict[str, Any] = {
    "vidu": VIDU,
    "with an id": {**VIDU, "id": ASKED, "task_id": "task_1"},
    "status": {"id": "67d2", "status": "success", "log_id": "as-1", "creations": VIDU["creations"]},
    "flat": {"id": "48", "status": "completed", "video_url": LINK, "status_update_time": 1774494622},
    "openai": {"id": "t", "object": "video", "status": "completed", "progress": 100, "metadata": {"url": LINK}},
    "wrapped": _wrapped(VIDU),
    "wrapped as text": _wrapped(json.dumps(VIDU)),
    "wrapped without a state": _wrapped({"creations": VIDU["creations"]}),
    "wrapped in capitals": _wrapped({}, result_url=LINK),
    "wrapped, the link as the reason of a failure": _wrapped(None, fail_reason=LINK),
    "wrapped, vod inside": _wrapped(_vod(), result_url=LINK),
    "vod": _vod(),
    "vod image": _vod("AigcImageTask"),
    "mps": {"Response": {"TaskId": "15", "Status": "DONE", "Message": "ok", "VideoUrls": [LINK]}},
    "kling": {
        "code": 0,
        "data": {"task_id": "86", "task_status": "succeed", "task_result": {"videos": [{"url": LINK}]}},
    },
    "dashscope": {"request_id": "r", "output": {"task_id": "88", "task_status": "SUCCEEDED", "video_url": LINK}},
    "zhipu": {"id": "83", "task_status": "SUCCESS", "video_result": [{"url": LINK, "cover_image_url": COVER}]},
    "novita": {
        "task": {"task_id": "9", "status": "TASK_STATUS_SUCCEED"},
        "videos": [{"video_url": LINK}],
        "images": [],
    },
    "replicate": {"id": "r1", "status": "succeeded", "output": [LINK]},
    "a list of links": {"code": 1000, "data": {"taskNo": "a1", "status": "success", "data": {"result": [LINK]}}},
    "bare links as creations": {"state": "success", "creations": [LINK]},
    "an object of creations": {"status": "success", "creations": {"videos": [{"url": LINK}]}},
    "v1": {"id": "23", "state": "success", "creations": [{"id": "1", "uri": LINK, "cover_uri": COVER}]},
    "audio": {"task_id": "95", "state": "success", "file_url": LINK},
    "one click": {"id": "95", "state": "success", "signed_url": LINK, "job_records": [{"jobs": [{"state": "failed"}]}]},
    "finish": {"id": "1", "status": "finished", "url": LINK},
}


@pytest.mark.parametrize("value", SUCCESSES.values(), ids=SUCCESSES)
def test_a_success_is_read_with_its_link(value: Any) -> None:
    """Wherever it stands."""
    task = queried(value)

    assert (task.id, task.state, task.err_code) == (ASKED, TaskState.SUCCESS, None)
    assert [creation.url for creation in task.creations] == [LINK]
    assert {creation.task_id for creation in task.creations} == {ASKED}
    assert task.raw == value


def test_the_cover_is_read_by_its_other_names() -> None:
    """As older and other APIs have it."""
    covers = [queried(SUCCESSES[name]).creations[0].cover_url for name in ("vidu", "v1", "zhipu")]

    assert covers == [COVER] * 3


FAILURES: dict[str, tuple[Any, str | None, str | None]] = {
    "vidu": ({"state": "failed", "err_code": "CreationPolicyViolation"}, "CreationPolicyViolation", None),
    "no code": ({"state": "failed"}, None, None),
    "a message": ({"state": "failed", "err_code": "E1001", "err_msg": "it failed"}, "E1001", "it failed"),
    "openai": (
        {"id": "t", "status": "failed", "error": {"code": "CreationPolicyViolation", "message": "not allowed"}},
        "CreationPolicyViolation",
        "not allowed",
    ),
    "an error's text": ({"id": "v", "status": "failed", "error": "content policy"}, None, "content policy"),
    "in a fine envelope": ({"code": 0, "data": {"status": "failed", "msg": "bad prompt"}}, None, "bad prompt"),
    "in an output": ({"output": {"task_status": "FAILED", "code": "E", "message": "x"}}, "E", "x"),
    "another word": ({"id": ASKED, "status": "error", "error": {"message": "boom"}}, None, "boom"),
    "aborted": (_vod(Status="ABORTED", Message="stopped", Output=None), None, "stopped"),
    "under a status message": ({"task_id": "1", "task_status": "failed", "task_status_msg": "risk"}, None, "risk"),
    "wrapped": (
        _wrapped({"state": "failed", "err_code": "invalid_asset"}, status="FAILURE", fail_reason="a face"),
        "invalid_asset",
        "a face",
    ),
    "wrapped, still processing inside": (_wrapped({"state": "processing"}, status="FAILURE"), None, None),
    "vod": (_vod(ErrCode=70000, Message="audit failed", Output={"FileInfos": []}), "70000", "audit failed"),
    "vod, a word": (_vod(ErrCode=1, ErrCodeExt="InvalidInput", Output=None), "InvalidInput", None),
    "dashscope": (
        {"output": {"task_id": "8", "task_status": "FAILED", "code": "InvalidParameter", "message": "no match"}},
        "InvalidParameter",
        "no match",
    ),
    "an envelope that thanks": (
        {"code": 1000, "message": "success", "data": {"taskNo": "a1", "status": "failed", "error": "no"}},
        None,
        "no",
    ),
    "in an error's object": (
        {"error": {"task_id": ASKED, "state": "failed", "err_code": "AuditFailed", "err_msg": "no"}},
        "AuditFailed",
        "no",
    ),
    "in an error's text": (
        {"code": "task_failed", "message": json.dumps({"id": ASKED, "state": "failed", "err_code": "AuditFailed"})},
        "AuditFailed",
        None,
    ),
}


@pytest.mark.parametrize(("value", "code", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_read_with_its_reason(value: Any, code: str | None, message: str | None) -> None:
    """Wherever it stands, also where the task is in an error's place."""
    task = queried(value)

    assert (task.id, task.state, task.err_code, task.err_msg) == (ASKED, TaskState.FAILED, code, message)
    assert not task.has_result


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_failed_task_with_the_status_of_an_error_is_the_one_asked_about(status: int) -> None:
    """Otherwise it may be the request that failed."""
    body = {"state": "failed", "err_code": "AuditFailed"}

    assert queried({"task_id": ASKED, **body}, status).state is TaskState.FAILED
    for other in (body, {"task_id": "7", **body}, {"task_id": ASKED, "state": "success"}):
        with pytest.raises(APIError):
            queried(other, status)
    with pytest.raises(APIError):
        read_task(answer({"task_id": ASKED, **body}, status))


@pytest.mark.parametrize(
    "value",
    [
        {"state": "failed", "err_code": "UserCancelled", "credits": 0},
        {"state": "cancelled"},
        {"state": "CANCELED", "err_code": ""},
        {"status": "user_cancelled", "id": "1"},
        {"state": "failed", "err_code": "USER_CANCELLED"},
        _wrapped({"state": "cancelled"}, status="FAILURE", fail_reason="cancelled by its user"),
    ],
)
def test_a_cancelled_task_is_a_failed_one_that_its_user_cancelled(value: Any) -> None:
    """Vidu has no state of its own for it."""
    task = queried(value)

    assert (task.state, task.err_code, task.is_cancelled) == (TaskState.FAILED, "UserCancelled", True)


@pytest.mark.parametrize(
    ("value", "state", "progress"),
    [
        ({"state": "processing"}, "processing", None),
        ({"status": "pending"}, "queueing", None),
        ({"id": "1", "status": "IN_QUEUE"}, "queueing", None),
        ({"id": "1", "status": "in progress"}, "processing", None),
        ({"id": "v", "object": "Video", "status": "processing", "progress": 50, "error": None}, "processing", 50),
        ({"code": "success", "data": {"task_id": "t", "status": "IN_PROGRESS", "progress": "30%"}}, "processing", 30),
        ({"code": "success", "data": {"task_id": "t", "status": "queued", "url": "", "error": None}}, "queueing", None),
        ({"code": "success", "data": {"task_id": "t", "status": "NOT_START"}}, "created", None),
        (_vod(Status="PROCESSING", Progress=35, Output=None), "processing", 35),
        (_vod(Status="WAITING", Progress=0, Output=None), "queueing", 0),
        ({"id": "1", "state": "scheduled"}, "unknown", None),
        ({"id": "1", "state": "moderating"}, "unknown", None),
    ],
)
def test_a_task_on_its_way_is_read_with_its_progress(value: Any, state: str, progress: int | None) -> None:
    """A word nobody documented is no end."""
    task = queried(value)

    assert (task.state, task.progress, task.creations) == (state, progress, ())


def test_the_innermost_state_is_believed() -> None:
    """The result exists, whatever the envelope still says of it; and a failure of the whole is one."""
    assert queried(_wrapped(VIDU, status="IN_PROGRESS")).has_result
    assert queried(_wrapped({"state": "processing"}, status="SUCCESS")).state is TaskState.PROCESSING
    assert queried(_wrapped({"state": "processing"}, status="FAILURE")).state is TaskState.FAILED


@pytest.mark.parametrize("word", ["success", "failed", "ok", 200])
def test_the_status_of_an_envelope_is_not_that_of_the_task(word: Any) -> None:
    """It says how asking went."""
    envelope = {"status": word, "message": "", "data": {"task_id": ASKED}}

    assert created(envelope).state is TaskState.UNKNOWN
    assert queried(envelope).state is TaskState.UNKNOWN
    assert queried({**envelope, "data": {"task_id": ASKED, "status": "processing"}}).state is TaskState.PROCESSING


def test_a_result_is_read_once() -> None:
    """Also where the envelope repeats it."""
    value = {"data": {"task_id": "1", "status": "success", "videos": [{"url": LINK}], "data": VIDU}}

    assert len(queried(value).creations) == 1


@pytest.mark.parametrize("code", ["Unauthorized", "rate_limited", 401, "429"])
def test_a_failed_question_is_no_failed_task(code: Any) -> None:
    """An id beside it may be that of the question."""
    error = {"code": code, "reason": "TooManyRequests", "message": "no"}

    for value in ({"status": "failed", "error": error}, {"id": "req-1", "status": "failed", "error": error}):
        with pytest.raises(APIError):
            queried(value)
    assert queried({"id": ASKED, "status": "failed", "error": error}).state is TaskState.FAILED


def test_what_a_task_was_given_is_not_its_result() -> None:
    """Answers repeat the pictures and clips of the request."""
    given_to = {"images": ["https://a/in.png"], "videos": ["https://a/in.mp4"]}
    for value in (
        {"state": "success", "creations": [], **given_to},
        {"state": "success", **given_to},
        {"state": "processing", **given_to, "video_url": "https://a/in.mp4"},
        {"id": "1", "state": "created", "video_url": "https://a/in.mp4"},
    ):
        assert queried(value).creations == ()


def test_several_results_are_read_in_their_order() -> None:
    """Some endpoints make more than one."""
    links = [f"https://a/{number}.mp4" for number in range(3)]

    assert [found.url for found in queried({"id": "1", "status": "success", "urls": links}).creations] == links
    assert [found.url for found in queried({"state": "success", "creations": links}).creations] == links


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        (1785896645, AT),
        (1785896645000, AT),
        ("1785896645", AT),
        ("2026-08-05T02:24:05Z", AT),
        ("2026-08-05T02:24:05.123Z", AT.replace(microsecond=123000)),
        ("2026-08-05T02:24:05.123456789Z", AT.replace(microsecond=123456)),
        ("2026-08-05T10:24:05.510141923+08:00", AT.replace(microsecond=510141)),
        ("2026-08-05T10:24:05+0800", AT),
        ("2026-08-05t02:24:05z", AT),
        ("0000-00-00T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-08-05 10:24:05", None),
        ("", None),
        (0, None),
    ],
)
@pytest.mark.parametrize("name", ["created_at", "CreateTime", "submit_time", "created"])
def test_a_moment_is_read_in_any_of_its_forms(name: str, said: Any, moment: datetime | None) -> None:
    """A time without its zone is no moment."""
    assert queried({"state": "processing", name: said}).created_at == moment


def test_zeros_are_no_measures() -> None:
    """What answers say of a picture's length."""
    video = {"duration": 0, "fps": 0, "resolution": None}

    assert queried({"state": "success", "creations": [{"url": LINK, "video": video}]}).creations[0].video is None


def test_what_is_of_another_kind_is_unread_and_named() -> None:
    """So that somebody can be told."""
    task = queried({"state": "processing", "credits": "abc", "seed": 1.9, "progress": "50%", "created_at": ""})

    assert (task.credits, task.seed, task.progress, task.created_at) == (None, None, 50, None)
    assert task.unread == ("credits", "seed")


# Errors


def repeated(value: object, depth: int, words: str) -> object:
    """Return an error as a chain of gateways tells it: each has the one before as text in its message."""
    for _ in range(depth):
        value = {"code": "fail_to_fetch_task", "message": f"{words}{json.dumps(value)}", "data": None}
    return value


words = st.text(st.characters(codec="utf-8", exclude_characters="{}[]"), min_size=1, max_size=12)
numbers = st.sampled_from([400, 401, 403, 404, 429, 500, 503])
reasons = st.sampled_from(["FieldInvalid", "Unauthorized", "QuotaExceeded", "E_NEW", "TaskNotFound"])
ids = st.sampled_from(["req-1", ASKED, "as-bx0000jgk"])
plain_errors: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        lambda c, r, m, t: {"code": c, "reason": r, "message": m, "metadata": {"trace_id": t}},
        numbers,
        reasons,
        words,
        ids,
    ),
    st.builds(lambda r, m: {"error": {"code": r, "message": m, "type": "new_api_error", "param": ""}}, reasons, words),
    st.builds(lambda r, m, i: {"error": {"code": r, "message": m}, "id": i}, reasons, words, ids),
    st.builds(lambda m: {"error": f"no: {m}"}, words),
    st.builds(lambda r: {"code": r}, reasons),
    st.builds(lambda r, m: {"code": r, "message": m, "data": None}, reasons, words),
    st.builds(lambda r: {"err_code": r}, reasons),
    st.builds(lambda c, m: {"code": c, "msg": m, "data": {}}, numbers, words),
    st.builds(lambda m: {"success": False, "message": m}, words),
    st.builds(lambda m: {"detail": [{"loc": ["body", "prompt"], "msg": m, "type": "missing"}]}, words),
    st.builds(lambda r, m, i: {"Response": {"Error": {"Code": r, "Message": m}, "RequestId": i}}, reasons, words, ids),
    st.builds(lambda m: {"errors": [{"message": m}]}, words),
    st.builds(lambda m: {"message": f"no: {m}"}, words),
    st.builds(lambda m: {"status": "failed", "message": f"no: {m}"}, words),
    st.builds(lambda r, m: {"status": "failed", "error": {"code": r, "message": m}}, st.just("Unauthorized"), words),
)
errors = st.builds(repeated, plain_errors, st.integers(0, 3), st.sampled_from(["", "upstream: "]))


@given(value=errors, status=st.sampled_from([200, 201, 400, 401, 429, 500, 503]))
def test_no_error_is_read_as_a_task(value: Any, status: int) -> None:
    """In any of the known forms, any number of times repeated, also with the status of a success."""
    for read in (
        lambda: read_task(answer(value, status)),
        lambda: read_task(answer(value, status), task_id=ASKED),
        lambda: read_page(answer(value, status)),
        lambda: read_credits(answer(value, status)),
        lambda: read_id(answer(value, status)),
    ):
        try:
            found = read()
        except ViduError:
            continue
        # What only has a message may be an account's answer that says nothing of credits, but it is no task.
        assert not isinstance(found, Task), found


@pytest.mark.parametrize(
    "value",
    [
        {"code": 400, "reason": "BadRequest", "message": "task state is scheduled, can not cancel"},
        {"error": {"message": "no"}},
        {"code": "fail_to_fetch_task", "message": "no", "data": None},
    ],
)
def test_a_refused_cancellation_with_the_status_of_a_success_is_refused(value: Any) -> None:
    """Nobody should believe the task cancelled."""
    with pytest.raises(APIError):
        read_nothing(answer(value))


@pytest.mark.parametrize(
    "value",
    [
        {},
        None,
        "",
        [],
        {"code": 0},
        {"code": "success", "data": None},
        {"state": "failed", "err_code": "UserCancelled"},
    ],
)
def test_any_other_success_is_a_cancellation(value: Any) -> None:
    """Documents disagree on what it answers."""
    read_nothing(answer(value))


# A law: a task that a gateway dresses in its dialect is the same task when read.

states = st.sampled_from(["created", "queueing", "processing", "success", "failed"])
OPENAI = {"created": "queued", "queueing": "queued", "processing": "in_progress", "success": "completed"}
NEW_API = {"created": "SUBMITTED", "queueing": "QUEUED", "processing": "IN_PROGRESS", "failed": "FAILURE"}
VOD = {"created": "WAITING", "queueing": "WAITING", "processing": "PROCESSING"}
DRESSES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "vidu": lambda row: row,
    "loud": lambda row: {name.upper(): item for name, item in row.items()} | {"STATE": row["state"].upper()},
    "camel": lambda row: {"taskId": row["id"], "errCode": row["err_code"], **row},
    "data": lambda row: {"code": 200, "message": "ok", "data": row},
    "response": lambda row: {"Response": {"RequestId": "r", "data": row}},
    "new-api": lambda row: _wrapped(row, status=NEW_API.get(row["state"], "SUCCESS"), fail_reason=row["err_code"]),
    "openai": lambda row: {
        "id": row["id"],
        "status": OPENAI.get(row["state"], "failed"),
        "error": {"code": row["err_code"], "message": ""} if row["err_code"] else None,
        "metadata": {"url": row["creations"][0]["url"]} if row["creations"] else None,
    },
    "vod": lambda row: _vod(
        TaskId=row["id"],
        Status=VOD.get(row["state"], "FINISH"),
        ErrCode=9 if row["err_code"] else 0,
        ErrCodeExt=row["err_code"],
        Output={"FileInfos": [{"FileUrl": creation["url"]} for creation in row["creations"]]},
    ),
}


@given(
    task_id=st.from_regex(r"[a-zA-Z][\w:.^-]{5,30}", fullmatch=True),
    state=states,
    names=st.lists(st.sampled_from(sorted(DRESSES)), min_size=1, max_size=3),
)
def test_a_task_in_the_dress_of_any_gateways_is_the_same_task(task_id: str, state: str, names: list[str]) -> None:
    """Also of one behind another."""
    creations = [{"id": "1", "url": LINK}] if state == "success" else []
    value: Any = {
        "id": task_id,
        "state": state,
        "err_code": "AuditFailed" if state == "failed" else "",
        "creations": creations,
    }
    value = DRESSES[names[0]](value)
    for _ in names[1:]:
        value = {"code": "success", "data": value}
    task = queried(value)

    coarse = {"created": "queueing"} if names[0] in {"openai", "vod"} else {}
    assert task.state == coarse.get(state, state)
    assert task.err_code == ("AuditFailed" if state == "failed" else None)
    assert [creation.url for creation in task.creations] == [creation["url"] for creation in creations]


# Accounts, subjects


@pytest.mark.parametrize(
    ("value", "remaining"),
    [
        ({"remains": [{"credit_remain": 1200}, {"credit_remain": "300"}], "packages": []}, 1500),
        ({"remaining_credits": [{"credit_remain": 1200}], "packages": []}, 1200),
        ({"remaining_credits": "80"}, 80),
        ({"code": 0, "message": "ok", "data": {"remains": [{"credit_remain": 7}]}}, 7),
        ({"data": {"remaining_credits": 7}}, 7),
        ({}, None),
    ],
)
def test_credits_are_summed_wherever_they_stand(value: Any, remaining: int | None) -> None:
    """Pages disagree on the name."""
    found = read_credits(answer(value))

    assert (found.remaining, found.raw) == (remaining, value)


def test_what_was_stored_is_read_in_its_envelope() -> None:
    """A subject's id is what requests refer to it by."""
    assert read_id(answer({"code": 200, "data": {"id": int(ASKED), "name": "fox"}})) == ASKED
    rows, token = read_rows(answer({"data": {"subjects": [{"id": "1"}], "next_page_token": None}}), "subjects")
    assert (rows, token) == ([{"id": "1"}], "")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
SOME_LINK = st.sampled_from(["https://results.invalid/a.mp4?sig=1", "", "ssupload:7", "911045603801182999"]) | SCALARS
RESULT = {"id": SCALARS, "url": SOME_LINK, "cover_url": SOME_LINK, "video": SCALARS, "uri": SOME_LINK}
RESULTS = st.lists(st.fixed_dictionaries({}, optional=RESULT) | SCALARS, max_size=3) | SCALARS
STATES = ["created", "queueing", "processing", "success", "failed", "Success", "scheduled"]
SOME_STATE = st.sampled_from(STATES) | SCALARS
SOME_ID = st.sampled_from(["911045603801182999", "7", "0", "-1", "abc", "\u0667"]) | SCALARS
OTHERS = ["credits", "payload", "model", "prompt", "created_at", "bgm", "off_peak", "duration", "images", "wm_url"]
SAID = {
    "id": SOME_ID,
    "task_id": SOME_ID,
    "state": SOME_STATE,
    "status": SOME_STATE,
    "creations": RESULTS,
    "err_code": st.sampled_from(["", "TaskFailed"]) | SCALARS,
    **dict.fromkeys(OTHERS, SCALARS),
}
MADE = {"id": SCALARS, "url": st.just("https://results.invalid/a.mp4"), "video": SCALARS, "cover_url": SOME_LINK}
WELL = {
    "state": st.sampled_from(STATES[:4]),
    "creations": st.just([]) | st.lists(st.fixed_dictionaries(MADE), min_size=1, max_size=2),
}
PLAIN = st.fixed_dictionaries(WELL, optional=dict.fromkeys(OTHERS, SCALARS))
NAMED = st.fixed_dictionaries({"id": st.just("911045603801182999")}) | st.fixed_dictionaries({"task_id": SOME_ID})
ODD = st.one_of(st.just({}), *(st.fixed_dictionaries({name: value}) for name, value in SAID.items()))
AS_VIDU_SAYS = st.builds(lambda said, named, odd: said | named | odd, PLAIN, NAMED, ODD)


@given(AS_VIDU_SAYS, st.sampled_from(["", "911045603801182999", "8"]))
def test_what_is_read_straight_is_what_translation_says(value: dict[str, Any], asked: str) -> None:
    """The short way is no dialect of its own; where it is not sure it leaves the answer to the long one."""
    said = plain(value, asked)
    assert said is None or said == upright(value, asked)


@pytest.mark.parametrize("state", ["created", "queueing", "processing", "success"])
def test_the_common_answers_take_the_short_way(state: str) -> None:
    """Those of the documentation, going well."""
    made = [{"id": "1", "url": "https://results.invalid/a.mp4", "cover_url": "", "watermarked_url": ""}]
    value = {"id": "7", "state": state, "err_code": "", "credits": 4, "payload": "mine", "bgm": False}
    value |= {"off_peak": False, "creations": made if state == "success" else []}
    assert plain(value) == upright(value) is not None
