"""Hard readings: answers that look like something else than they are, and what must be made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vidu_async import (
    APIError,
    Gateway,
    NotFoundError,
    RateLimitError,
    TextToVideo,
    ViduError,
)
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.refusals import dig, error_from
from vidu_async.protocol.wire import read_credits, read_id, read_nothing, read_page, read_task
from vidu_async.verdict import LostAnswerError, is_throttle, judge

ASKED = "911045603801182209"
IN, OUT = "https://a.example/in.png", "https://a.example/out.mp4"
CREATION = calls.create(Gateway.kkiai(), TextToVideo(model="viduq3-turbo", prompt="a fox"))


def told(status: int, body: object) -> Answer:
    """Return an answer with JSON, or with these bytes."""
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def created(status: int, body: object) -> Any:
    """Return the task that a creation's answer is, or the error it means."""
    try:
        return judge(CREATION, told(status, body))
    except (ViduError, LostAnswerError) as error:
        return error


def queried(body: object, status: int = 200) -> Any:
    """Return the task that a query's answer is, or the error."""
    try:
        return read_task(told(status, body), task_id=ASKED)
    except ViduError as error:
        return error


def repeated(code: int, reason: str = "", **more: Any) -> dict[str, Any]:
    """Return the refusal of a gateway that repeats another's."""
    inner = {"code": code, "message": "no", **({"reason": reason} if reason else {}), **more}
    return {"code": "fail_to_fetch_task", "message": json.dumps(inner), "data": None}


# Creations


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, repeated(504)),
        (429, {"code": "do_request_failed", "message": "context deadline exceeded"}),
        (429, {"code": 500, "reason": "InternalServiceFailure"}),
        (200, {"code": 429, "message": json.dumps({"code": 504})}),
        (200, {"code": 429, "reason": "InternalServiceFailure"}),
        (400, {"statusCode": 504, "message": "timeout"}),
        (400, {"status": 504, "error": "Gateway Timeout"}),
        (400, {"code": "x", "message": '[upstream] {"code":500,"reason":"InternalServiceFailure"}'}),
        (400, {"code": "x", "message": '[500] {"code":500,"message":"no"}'}),
        (400, {"code": "x", "message": '{a} {b} {c} {d} {"code":504,"message":"no"}'}),
        (429, {"details": [{"code": 429}] * 6 + [{"code": 502}]}),
        (400, {"details": [{"code": 400}] * 2000}),
        (500, {"errors": [{"code": "read_response_body_failed"}, {"code": "model_not_found"}]}),
        (504, {"error": {"code": "model_not_found"}}),
        (503, {"code": "fail_to_fetch_task", "message": json.dumps({"error": {"code": "model_not_found"}})}),
        (429, {"code": "x", "message": 'request {"model":"q3"} answered {"code":504,"message":"timeout"}'}),
        (400, {"code": "x", "message": '[400] {"code":400,"message":"a"} {"code":504,"message":"b"}'}),
        (400, {"code": "x", "message": "{} " * 40 + '{"code":504,"message":"b"}'}),
        (400, {"code": "x", "message": "x" * 70_000 + '{"code":504,"message":"b"}'}),
        (429, {"upstream_status": 504, "message": "no"}),
        (429, {"upstream_status_code": 504, "message": "no"}),
        (429, {"error": {"inner_error": {"code": 504}}}),
        (429, {"error": {"code": "gateway_timeout", "type": "upstream_error"}}),
        (400, {"data": {"error": {"http_code": 504}}}),
        (400, {"error_msg": json.dumps({"code": 504})}),
    ],
)
def test_a_word_in_a_refusal_that_is_no_refusal_makes_it_unknown(status: int, body: Any) -> None:
    """Such a creation is neither sent again nor called unpaid."""
    error = created(status, body)

    assert type(error) is LostAnswerError
    assert error.paid == "maybe"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": 429, "message": "concurrency limit, queued", "data": {"task_id": ASKED}}),
        (200, {"success": False, "code": 429, "message": "queued", "task_id": ASKED}),
        (200, {"task_id": ASKED, "code": 400, "message": "x"}),
        (429, {"task_id": ASKED, "state": "created"}),
        (403, {"task_id": ASKED, "state": "created"}),
        (400, {"code": "x", "message": json.dumps({"task_id": ASKED, "state": "created"})}),
        (502, {"message": "bad gateway", "task_id": ASKED, "state": "created"}),
        (502, {"prompt": "x" * 300, "task_id": ASKED}),
        (429, {"id": ASKED, "object": "video", "status": "queued", "created_at": 1, "progress": 0}),
        (429, {"id": ASKED, "state": "created"}),
        (400, {"id": ASKED, "state": "created"}),
        (400, {"code": "x", "message": json.dumps({"id": ASKED, "state": "created"})}),
        (200, {"code": 429, "message": "queued", "data": {"id": ASKED}}),
        (200, {"code": 429, "message": "queued", "data": [{"id": ASKED}]}),
        (200, {"code": 429, "message": "queued", "async_id": ASKED}),
        (200, {"code": 429, "message": "queued", "data": ASKED}),
        (503, {"code": 503, "reason": "SystemThrottling", "data": ASKED}),
        (429, {"code": 429, "message": "queued", "task": ASKED}),
        (302, {"task_id": ASKED, "state": "created"}),
        (429, {"code": 429, "message": "queued", "data": {"taskIds": [ASKED]}}),
    ],
)
def test_a_refusal_that_names_a_task_is_unknown_and_keeps_its_id(status: int, body: Any) -> None:
    """It is all there is to find the task by."""
    error = created(status, body)

    assert type(error) is LostAnswerError
    assert not is_throttle(error)
    assert ASKED in error.evidence


@pytest.mark.parametrize("task_id", ["7", "task", "a/b c", 7])
@pytest.mark.parametrize("dress", [lambda one: {"task_id": one}, lambda one: {"data": {"id": one}}])
def test_a_named_task_counts_whatever_its_id_looks_like(task_id: Any, dress: Any) -> None:
    """Gateways make ids of their own."""
    error = created(429, {"code": 429, "message": "queued", **dress(task_id)})

    assert type(error) is LostAnswerError
    assert str(task_id) in error.evidence


@pytest.mark.parametrize("task_id", [None, "", "null", 0, "0", "none"])
def test_what_is_no_id_names_no_task(task_id: Any) -> None:
    """A throttle stays one."""
    assert is_throttle(created(429, {"code": 429, "message": "slow down", "task_id": task_id}))


@pytest.mark.parametrize(
    "body",
    [
        {"id": ASKED, "_id": "65f0c0ffee"},
        {"_id": "65f0c0ffee", "id": ASKED},
        {"task_id": ASKED, "TaskId": ""},
        {"taskId": None, "task_id": ASKED},
        {"id": "req-1", "data": {"id": ASKED}},
        {"id": ASKED, "status": "queued", "data": {"id": "upstream", "state": "created"}},
        {"code": 20000, "msg": "success", "data": {"task_id": ASKED}},
        {"code": 10000, "message": "请求成功", "data": {"task_id": ASKED}},
        {"code": 10000, "message": "well done", "data": {"task_id": ASKED}},
        {"task_id": ASKED, "err_code": "00000"},
        {"task_id": ASKED, "error": {"code": 0}},
        {"task_id": ASKED, "error": {"code": "", "message": ""}},
        {"task_id": ASKED, "status": "accepted", "reason": "queued behind others"},
        {"code": 0, "data": int(ASKED)},
        {"status": "success", "task_id": ASKED},
        {"status": "success", "result": {"task_id": ASKED}},
        {"id": "req-1", "status": "success", "data": {"id": ASKED}},
        {"id": "req-1", "status": 200, "data": {"id": ASKED, "state": "created"}},
    ],
)
def test_a_created_task_is_taken_by_its_own_id(body: Any) -> None:
    """Whatever else is called an id, and whatever codes say that all is well. It has not ended yet."""
    task = created(200, body)

    assert task.id == ASKED
    assert not task.state.is_terminal


@pytest.mark.parametrize(
    "body",
    [
        {"id": "as-bx0", "status": "failed", "message": "upstream timeout"},
        {"id": "req-1", "status": "error", "error": {"message": "boom"}},
        b'{"task_id":"one","task_id":"two","state":"created"}',
    ],
)
def test_a_failed_request_is_no_failed_task(body: Any) -> None:
    """What became of the creation, nobody knows."""
    assert type(created(200, body)) is LostAnswerError


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("InvalidParameterValue.Prompt", APIError),
        ("MissingParameter", APIError),
        ("RequestLimitExceeded", RateLimitError),
    ],
)
def test_a_refusal_in_a_clouds_envelope_is_a_refusal(word: str, kind: type[APIError]) -> None:
    """Tencent answers everything with 200."""
    error = created(200, {"Response": {"Error": {"Code": word, "Message": "no"}, "RequestId": "b39e"}})

    assert type(error) is kind
    assert (error.paid, error.trace_id) == ("no", "b39e")
    assert is_throttle(error) is (kind is RateLimitError)


# Queries


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("word", ["fail", "failed", "error"])
def test_a_question_that_failed_is_no_task_that_did(status: int, word: str) -> None:
    """Although the answer repeats the id."""
    assert isinstance(queried({"task_id": ASKED, "status": word, "message": "slow down"}, status), APIError)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "failed", "error": "Too many requests"},
        {"status": "failed", "error": {"message": "database is locked"}},
        {"status": "failed", "message": "invalid token"},
        {"status": "fail", "err_code": "TooManyRequests"},
        {"status": "failed", "err_code": "Unauthorized"},
        {"status": "failed", "code": 429, "id": "req_1", "message": "rate limited"},
        {"id": "video_1", "status": "failed", "error": {"code": "401", "message": "no"}},
        {"code": 502, "message": 'upstream said {"id":"other","state":"failed","err_code":"x"}'},
        {"error": {"message": 'cannot query: {"state":"failed"}'}},
        {"data": [{"id": "other", "state": "success", "creations": [{"url": OUT}]}]},
        {"task_id": ASKED, "status": "failed", "code": 429, "message": "rate limited"},
        {"task_id": ASKED, "status": "failed", "code": 401, "message": "no"},
        {"code": 502, "message": "upstream", "data": {"task_id": ASKED, "status": "error"}},
        {"code": "fail_to_fetch_task", "data": {"task_id": ASKED, "status": "fail"}},
    ],
)
def test_what_may_be_the_questions_failure_ends_no_wait(body: Any) -> None:
    """Nor what speaks of another task."""
    assert isinstance(queried(body), ViduError)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((status, {"task_id": ASKED, "status": "error", "error": {"code": "timeout"}}) for status in (400, 404, 500)),
        (500, {"task_id": ASKED, "status": "failed", "code": "fail_to_fetch_task"}),
        (500, {"task_id": ASKED, "status": "failed", "code": "internal_error"}),
    ],
)
def test_a_word_about_the_question_is_no_code_of_the_task(status: int, body: Any) -> None:
    """With the status of an error, only what a task itself says counts."""
    assert isinstance(queried(body, status), APIError)


SUPPLIERS = {"id": 690033, "task_id": "task_upstream", "status": "FAILURE", "progress": "100%"}


@pytest.mark.parametrize(
    "body",
    [
        {"code": "success", "data": {**SUPPLIERS, "fail_reason": "InternalServiceFailure"}},
        {"code": "success", "data": {**SUPPLIERS, "fail_reason": json.dumps({"code": 500, "message": "no"})}},
        {"code": "success", "data": {**SUPPLIERS, "fail_reason": "task timeout"}},
        {"code": 0, "message": "ok", "data": {"status": "failed", "err_code": "TooManyRequests", "creations": []}},
        {"id": "up", "status": "failed", "err_code": "InternalServiceFailure", "creations": []},
        {"id": "other", "object": "video", "status": "failed", "error": {"code": "500"}, "progress": 30},
        {"Response": {"AigcVideoTask": {"TaskId": "up", "Status": "FINISH", "ErrCode": 500}}},
        {"id": ASKED, "status": "timeout"},
        {"state": "failed", "err_code": "InternalServiceFailure"},
    ],
)
def test_a_tasks_own_failure_ends_a_wait_whatever_its_code(body: Any) -> None:
    """Words that only tasks have beside it tell."""
    task = queried(body)

    assert (task.id, task.state) == (ASKED, "failed")


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success", "result": {"task_id": ASKED, "status": "scheduled"}},
        {"id": "req", "status": "success", "data": {"id": ASKED, "progress": 10}},
        {"status": "success", "output": {"task_id": ASKED, "task_status": "UNKNOWN"}},
        {"status": "completed", "id": "req-1", "result": {"state": "moderating"}},
        {"status": "success", "task_id": ASKED, "task_status": "processing"},
        {"data": {"status": "processing"}},
        {"status": "success", "message": "query ok", "data": {"status": "processing"}},
    ],
)
def test_an_envelopes_success_is_not_the_tasks(body: Any) -> None:
    """Waiting goes on."""
    task = queried(body)

    assert task.id == ASKED
    assert not task.state.is_terminal


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success", "url": OUT},
        {"code": 0, "data": {"status": "success", "url": OUT}},
        {"status": "completed", "video_urls": [OUT]},
        {"status": "SUCCESS", "result_url": OUT},
        {"status": "success", "result": OUT},
        {"data": {"status": "success", "video": {"url": OUT}}},
        {"id": ASKED, "status": "success", "video": OUT},
        {"id": ASKED, "status": "success", "outputs": [OUT]},
        {"id": ASKED, "status": "success", "results": [{"url": OUT}]},
        {"id": ASKED, "status": "success", "data": [{"url": OUT}]},
        {"id": ASKED, "status": "success", "output": [{"url": OUT}]},
        {"id": ASKED, "status": "success", "creations": {"url": OUT}},
        {"id": ASKED, "status": "success", "content": {"video_url": OUT}},
        {"id": ASKED, "state": "success", "creations": [{"uri": "https://a/marked.mp4", "nomark_uri": OUT}]},
        {"status": "completed", "images": [{"url": IN}], "video_url": OUT},
        {"status": "completed", "videos": [{"url": IN}], "output_url": OUT},
        {"status": "completed", "image_url": IN, "file_url": OUT},
        {"status": "completed", "video_url": IN, "result_url": OUT},
        {"state": "success", "creations": [], "video_url": IN, "result_url": OUT},
        {"data": {"task_id": ASKED, "status": "SUCCESS", "result_url": OUT, "data": {"id": ASKED, "state": "created"}}},
        {"data": {"task_id": ASKED, "status": "SUCCESS", "fail_reason": OUT, "data": {"status": "queued"}}},
        {"status": "completed", "video_url": OUT, "task": {"state": "processing"}},
        {"id": ASKED, "state": "success", "creations": [{"url": OUT}], "result": {"status": "processing"}},
    ],
)
def test_a_result_is_found_and_what_the_task_was_given_is_not_taken_for_it(body: Any) -> None:
    """A success with a link is proof enough, also without an id."""
    task = queried(body)

    assert (task.id, task.state) == (ASKED, "success")
    assert [creation.url for creation in task.creations] == [OUT]


@pytest.mark.parametrize(
    "body",
    [
        {"state": "success", "creations": [], "video_url": IN},
        {"state": "success", "creations": [{"id": "c", "url": ""}], "video_url": IN},
        {"id": ASKED, "status": "success", "metadata": {"image_url": IN}},
    ],
)
def test_what_a_task_was_given_is_no_result(body: Any) -> None:
    """The files may still come."""
    assert not queried(body).has_result


def test_a_gateway_that_does_not_know_a_task_says_so_in_its_own_word() -> None:
    """With a status of its own: a task just made may still appear."""
    error = error_from(told(400, {"code": "task_not_exist", "message": "task_not_exist", "data": None}))

    assert type(error) is NotFoundError


# Lists, cancellations, accounts


@pytest.mark.parametrize(
    "row",
    [
        {"id": "1", "status": "failed", "err_code": "InternalServiceFailure"},
        {"id": "1", "status": "failed", "code": 401},
        {"id": "1", "status": "error", "message": "x"},
        {"id": "1", "error": {"code": "TooManyRequests"}, "created_at": 1},
        {"id": "1", "error": '{"id":"2","state":"failed"}'},
    ],
)
def test_a_listed_task_is_one_whatever_else_it_says(row: dict[str, Any]) -> None:
    """One that vanished from a list might be paid again."""
    assert [task.id for task in read_page(told(200, {"tasks": [row]})).tasks] == ["1"]


@pytest.mark.parametrize(
    "body",
    [
        {"code": 1, "message": "internal error", "data": []},
        {"status": "error", "message": "no", "data": []},
        {"success": False, "data": []},
        {"ok": False, "tasks": []},
        {"code": "fail", "tasks": []},
    ],
)
def test_a_failed_list_is_no_empty_one(body: Any) -> None:
    """That a task is not there may be read as leave to pay again."""
    with pytest.raises(ViduError):
        read_page(told(200, body))


@pytest.mark.parametrize(
    "body",
    [
        {"code": 400, "reason": "BadRequest", "message": "can not cancel", "state": "processing"},
        {"status": "failed", "code": 400, "message": "can not cancel"},
        {"success": False, "message": "no", "data": {"state": "processing"}},
        {"status": "error", "message": "no"},
        {"code": 1, "message": "can not cancel"},
        {"ok": False},
        b"<html>Please log in</html>",
    ],
)
def test_a_cancellation_that_was_refused_is_not_done(body: Any) -> None:
    """Nobody should believe that credits come back."""
    with pytest.raises(ViduError):
        read_nothing(told(200, body))


@pytest.mark.parametrize(
    "body",
    [
        {"id": ASKED, "state": "failed", "err_code": "UserCancelled", "credits": 0},
        {"id": ASKED, "status": "cancelled"},
        {"data": {"task_id": ASKED, "state": "cancelled"}},
        {"id": ASKED, "state": "queueing"},
        {"code": 200, "message": "success", "data": None},
        b"",
        b"ok",
    ],
)
def test_a_cancellation_that_was_done_is(body: Any) -> None:
    """Some answer with the task."""
    read_nothing(told(200, body))


@pytest.mark.parametrize("read", [read_credits, read_id])
@pytest.mark.parametrize(
    "body",
    [
        {"status": "error", "message": "invalid"},
        {"code": 1, "msg": "bad"},
        {"id": "3", "status": "failed", "message": "name exists"},
    ],
)
def test_an_error_is_neither_an_account_nor_something_stored(read: Any, body: Any) -> None:
    """With the status of a success."""
    with pytest.raises(ViduError):
        read(told(200, body))


# Words


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": 'Invalid token {"id": 5}'}},
        {"message": "[401] invalid token"},
        {"message": 'must be one of ["540p"], not {"a":1}'},
        {"message": 'balance too low {"need":5}'},
    ],
)
def test_json_in_a_message_that_is_nobodys_answer_stays_part_of_it(body: Any) -> None:
    """It is the gateway's own message, about your own key."""
    error = error_from(told(401, body))
    said = body.get("message") or body["error"]["message"]

    assert (error.message, error.is_upstream) == (said, False)
    assert "VIDU_API_KEY" in str(error)


def test_no_word_of_an_answer_is_longer_than_a_line_or_two() -> None:
    """A log has to hold it."""
    body = {"code": "x" * 100_000, "message": "y" * 100_000, "request_id": "z" * 100_000}

    assert len(str(error_from(told(400, body)))) < 2000


def test_a_text_full_of_brackets_is_not_read_for_ever() -> None:
    """Looking for what it repeats stops after a while, and then it is not known whole."""
    said = dig({"message": "[1," * 33 + "1," * 10**6})

    assert not said.is_whole


def test_a_text_names_its_reason_under_any_name() -> None:
    """Baidu's, for one."""
    assert error_from(told(400, {"error_msg": "no face"})).message == "no face"
    assert queried({"id": ASKED, "status": "failed", "error_msg": "no face"}).err_msg == "no face"


def test_names_of_any_length_are_not_kept() -> None:
    """A server chooses them."""
    assert not dig({"x" * 1000 + str(number): 1 for number in range(2000)})
