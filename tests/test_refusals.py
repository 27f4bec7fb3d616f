"""Refusals: what went wrong is found in whatever shape it is said, and so is what it means for the money."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import (
    APIError,
    AuthenticationError,
    Gateway,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    PolicyViolationError,
    RateLimitError,
    ServerError,
    TextToVideo,
    ViduError,
)
from vidu_async.protocol import calls
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.reasons import REASONS
from vidu_async.protocol.refusals import error_from
from vidu_async.testing import Reply, Simulator
from vidu_async.verdict import LostAnswerError, is_throttle, judge

TRACE = "04e5c2fe159ff7c574acd0424e78c35f"
FOX = TextToVideo(model="viduq3-turbo", prompt="a fox")


def kratos(reason: str, message: str = "no", code: int = 400) -> dict[str, Any]:
    """Return Vidu's own form. https://platform.vidu.com/docs/error-code."""
    return {"code": code, "reason": reason, "message": message, "metadata": {"trace_id": TRACE}}


def repeated(value: object, times: int = 1, words: str = "") -> dict[str, Any]:
    """Return an error as a chain of gateways tells it."""
    for _ in range(times):
        value = {"code": "fail_to_fetch_task", "message": f"{words}{json.dumps(value)}", "data": None}
    assert isinstance(value, dict)
    return value


def refused(status: int, body: object, **headers: str) -> APIError:
    """Read a refusal."""
    return error_from(
        Answer(status, json.dumps(body).encode(), {name.replace("_", "-"): v for name, v in headers.items()})
    )


def judged(status: int, body: object) -> ViduError | LostAnswerError:
    """Return what a creation's answer means."""
    call = calls.create(Gateway.kkiai(), FOX)
    with pytest.raises((ViduError, LostAnswerError)) as raised:
        judge(call, Answer(status, json.dumps(body).encode()))
    return raised.value  # type: ignore[return-value]


# Digging


@pytest.mark.parametrize(
    ("body", "reason", "message", "trace"),
    [
        (kratos("FieldInvalid", "resolution"), "FieldInvalid", "resolution", TRACE),
        ({"code": "CreditInsufficient", "message": "no"}, "CreditInsufficient", "no", ""),
        ({"code": "QuotaExceeded"}, "QuotaExceeded", "", ""),
        ({"message": "QuotaExceeded"}, "QuotaExceeded", "", ""),
        ({"message": "no"}, "", "no", ""),
        ({"msg": "no", "code": 10001, "requestId": "r-1234"}, "", "no", "r-1234"),
        ({"error": "no"}, "", "no", ""),
        ({"error": {"code": "E", "message": "no", "type": "new_api_error"}}, "E", "no", ""),
        ({"error": {"code": "", "message": "no (request id: 2026abcd)", "type": "brand_error"}}, "", None, "2026abcd"),
        ({"error": {"code": 403, "message": "no", "status": "DENIED"}}, "", "no", ""),
        ({"err_code": "AuditFailed", "err_msg": "no"}, "AuditFailed", "no", ""),
        ({"detail": "Not Found"}, "", "Not Found", ""),
        ({"detail": [{"loc": ["body"], "msg": "missing", "type": "missing"}]}, "", "missing", ""),
        ({"errors": [{"message": "no", "code": "E"}]}, "E", "no", ""),
        ({"description": "no", "type": "upstream_error", "code": 4}, "", "no", ""),
        ({"success": False, "message": "no", "log_id": "as-bx0000"}, "", "no", "as-bx0000"),
        ({"Response": {"Error": {"Code": "E.F", "Message": "no"}, "RequestId": "b39e"}}, "E.F", "no", "b39e"),
        ({"code": 0, "data": {"error_code": "E", "error_message": "no"}}, "E", "no", ""),
        ([{"message": "no", "code": "E"}], "E", "no", ""),
        (json.dumps(kratos("FieldInvalid")), "FieldInvalid", "no", TRACE),
    ],
)
def test_what_went_wrong_is_found_in_any_shape(body: Any, reason: str, message: str | None, trace: str) -> None:
    """Reason, message and the id that the operator asks for."""
    error = refused(400, body)

    assert (error.reason, error.trace_id, error.readable) == (reason, trace, True)
    assert message is None or error.message == message
    assert error.message in str(error)
    assert trace in str(error)


@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize("words", ["", "upstream: 400 - ", "Exception{x} [a] "])
def test_an_error_repeated_by_gateways_is_found_in_their_words(times: int, words: str) -> None:
    """Each puts the one before, as text, into its message."""
    error = refused(400, repeated(kratos("CreditInsufficient", "not enough"), times, words))

    assert type(error) is InsufficientCreditsError
    assert (error.reason, error.message, error.trace_id) == ("CreditInsufficient", "not enough", TRACE)
    assert error.is_upstream is (times > 0)


def test_three_kinds_of_envelope_in_one_another_are_opened() -> None:
    """As a chain of different programs makes them."""
    inner = {"error": {"message": f"Exception - {json.dumps({'error': {'message': 'busy'}})}", "code": "503"}}
    error = refused(503, repeated(inner))

    assert (type(error), error.message, error.reason) == (ServerError, "busy", "fail_to_fetch_task")


def test_a_documented_word_goes_before_others_and_the_innermost_before_the_outer() -> None:
    """It is nearest to what happened."""
    assert refused(400, repeated({"error": {"code": "E_NSFW", "message": "no"}})).reason == "E_NSFW"
    assert refused(400, {"code": "AuditFailed", "error": {"code": "E1"}}).reason == "AuditFailed"


def test_digging_has_a_bottom() -> None:
    """Whatever somebody sends, it ends."""
    nested: object = kratos("AuditFailed")
    for _ in range(40):
        nested = {"error": nested}

    assert refused(400, nested).reason == ""
    assert refused(400, {"errors": [{"errors": [{"message": "x"}] * 9}] * 9}).message == "x"
    assert len(refused(400, {"message": "x" * 60_000}).message) < 1100


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "reason", "data", "metadata", "trace_id", "errors"]), inner
        )
        | inner.map(json.dumps)
    ),
    max_leaves=30,
)


@given(value=json_values, status=st.integers(200, 599))
def test_no_shape_of_a_refusal_raises_anything_else(value: Any, status: int) -> None:
    """It is an error with text in it."""
    error = refused(status, value)

    assert isinstance(error, APIError)
    assert all(isinstance(said, str) for said in (error.reason, error.message, error.trace_id))


@pytest.mark.parametrize("name", ["x-request-id", "x-oneapi-request-id", "x-trace-id"])
def test_a_trace_id_may_be_in_a_header(name: str) -> None:
    """Where the body has none."""
    answer = Answer(502, b"<html>", {name: "t-1"})

    assert error_from(answer).trace_id == "t-1"


@pytest.mark.parametrize("word", ["CONTENT_RISK", "E_NSFW", "content_moderation", "InputImageSensitiveContent.P"])
def test_other_words_for_broken_content_rules_are_known_by_what_they_share(word: str) -> None:
    """Gateways invent their own; the same request will be refused again."""
    assert type(refused(400, {"error": {"code": word}})) is PolicyViolationError
    assert type(refused(500, {"error": {"code": word}})) is ServerError


def test_the_message_is_the_servers_own_and_the_text_says_more() -> None:
    """What was asked, or sent, is in the text of the error alone."""
    missing = error_from(Answer(404, b'{"message": "task not found"}', asked="GET https://a.example/tasks/1"))
    field = error_from(Answer(400, json.dumps(kratos("FieldInvalid", "resolution")).encode()), {"resolution": "540p"})

    assert missing.message == "task not found"
    assert "at GET https://a.example/tasks/1" in str(missing)
    assert field.message == "resolution"
    assert "resolution='540p'" in str(field)


# Whose key


@pytest.mark.parametrize(
    "body",
    [
        repeated(kratos("Unauthorized", code=401)),
        repeated(kratos("Unauthorized", code=401), 3),
        repeated({"error": {"message": "Invalid token", "code": "401"}}),
        {"code": "fail_to_fetch_task", "message": "no balance", "data": None},
        {"error": {"code": "Unauthorized", "message": "no", "type": "upstream_error"}},
        {"error": {"code": "channel:invalid_key", "message": "no"}},
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_the_gateways_own_key_failing_is_told_apart_from_yours(status: int, body: dict[str, Any]) -> None:
    """Whoever asks for a new key then asks in vain."""
    error = refused(status, body)

    assert type(error) is ServerError
    assert error.is_upstream
    assert "VIDU_API_KEY" not in str(error)
    assert "not yours: tell its operator" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, kratos("Unauthorized", code=401), AuthenticationError),
        (401, {"error": {"code": "", "message": "Invalid token", "type": "new_api_error"}}, AuthenticationError),
        (401, {}, AuthenticationError),
        (403, {"error": {"message": "this token may not use the model"}}, PermissionDeniedError),
    ],
)
def test_your_own_key_failing_says_where_to_look(status: int, body: Any, kind: type[APIError]) -> None:
    """Nothing in these speaks of anybody behind the gateway."""
    error = refused(status, body)

    assert type(error) is kind
    assert not error.is_upstream


def test_the_gateways_own_empty_account_is_told_apart_from_yours() -> None:
    """Buying credits would not help."""
    theirs, yours = refused(400, repeated(kratos("CreditInsufficient"))), refused(400, kratos("CreditInsufficient"))

    assert type(theirs) is type(yours) is InsufficientCreditsError
    assert "not yours" in str(theirs)
    assert "Buy credits" in str(yours)


# What it means for the money


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (kratos("FieldInvalid"), APIError),
        (repeated(kratos("CreditInsufficient")), InsufficientCreditsError),
        ({"code": "AuditFailed", "message": "no"}, PolicyViolationError),
        ({"error": {"code": 401, "message": "Invalid token"}}, AuthenticationError),
        ({"code": 403, "msg": "no"}, PermissionDeniedError),
        ({"error": {"code": "insufficient_user_quota", "message": "no"}}, InsufficientCreditsError),
        (kratos("TooManyRequests", code=429), RateLimitError),
    ],
)
def test_a_refusal_with_the_status_of_a_success_is_a_refusal(body: Any, kind: type[ViduError]) -> None:
    """The body says which status it would have had."""
    error = judged(200, body)

    assert type(error) is kind
    assert error.paid == "no"
    assert is_throttle(error) is (kind is RateLimitError)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": "fail_to_fetch_task", "message": "no", "data": None}),
        (200, {"error": {"message": "no"}}),
        (200, {"code": 500, "message": "no"}),
        (200, kratos("InternalServiceFailure", code=500)),
        (200, kratos("Conflict", code=409)),
        (200, kratos("OperationInProcess")),
        (200, {"code": 0, "message": "ok", "data": None}),
        (200, {"status": "failed", "message": "no"}),
        (400, repeated(kratos("InternalServiceFailure", code=500))),
        (400, repeated({"code": 504, "message": "timeout"})),
        (400, {"code": "do_request_failed", "message": "no"}),
        (400, {"code": "insert_task_failed", "message": "no"}),
        (400, kratos("Canceled", code=499)),
        (500, repeated(kratos("FieldInvalid"))),
        (502, {"task_id": "911", "state": "created"}),
        (503, repeated(kratos("TooManyRequests", code=429))),
    ],
)
def test_what_may_have_been_created_is_unknown(status: int, body: Any) -> None:
    """Every status counts that the answer has or repeats; one that is no refusal outweighs the others."""
    error = judged(status, body)

    assert type(error) is LostAnswerError
    assert error.paid == "maybe"


def test_the_evidence_holds_what_was_answered() -> None:
    """An id in there is worth keeping."""
    error = judged(502, {"task_id": "911", "state": "created"})

    assert isinstance(error, LostAnswerError)
    assert "911" in error.evidence


@pytest.mark.parametrize("status", [404, 503])
def test_a_gateway_without_a_channel_for_the_model_has_created_nothing(status: int) -> None:
    """It says so before it passes anything on."""
    error = judged(status, {"error": {"code": "model_not_found", "message": "No available channel for model x"}})

    assert type(error) is ServerError
    assert error.paid == "no"
    assert "choose another" in str(error)


def test_a_throttled_creation_behind_a_gateway_is_tried_again() -> None:
    """The supplier refused it at the door."""
    assert is_throttle(judged(400, repeated(kratos("QuotaExceeded", code=429))))
    assert not is_throttle(judged(503, repeated(kratos("QuotaExceeded", code=429))))


@pytest.mark.parametrize("reason", REASONS)
def test_a_documented_reason_has_its_advice(reason: str) -> None:
    """What to do next ends the message, and none says only that somebody should read the documentation."""
    known = REASONS[reason]
    said = str(refused(known.status, kratos(reason, code=known.status)))

    assert said.endswith(known.advice or known.kind.advice)
    assert "explains the reason" not in said


# Waiting


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, repeated(kratos("Unauthorized", code=401))),
        Reply(200, repeated(kratos("Unauthorized", code=401))),
        Reply(404, {"error": {"code": "model_not_found", "message": "No available channel for model x"}}),
        Reply(200, {"code": "fail_to_fetch_task", "message": "no", "data": None}),
        Reply(200, {"error": {"message": "busy"}}),
        Reply(400, repeated(kratos("InternalServiceFailure", code=500))),
    ],
)
async def test_a_gateways_own_trouble_ends_no_wait(reply: Reply) -> None:
    """The task goes on, and so does looking."""
    left = [reply] * 3

    async def trouble(method: str, *_: object) -> Reply | None:
        return left.pop() if method == "GET" and left else None

    async with Simulator(intercept=trouble) as sim, sim.client() as vidu:
        assert (await vidu.run(FOX)).has_result
    assert not left


async def test_a_key_refused_with_the_status_of_a_success_ends_a_wait() -> None:
    """Looking again would not help."""

    async def refuse(method: str, *_: object) -> Reply | None:
        return Reply(200, kratos("Unauthorized", code=401)) if method == "GET" else None

    async with Simulator(intercept=refuse) as sim, sim.client() as vidu:
        handle = await vidu.submit(FOX)
        with pytest.raises(AuthenticationError) as raised:
            await handle
    assert raised.value.paid == "yes"


async def test_a_task_that_is_not_found_inside_a_success_is_not_found() -> None:
    """As where a gateway answers everything with 200."""

    async def refuse(*_: object) -> Reply | None:
        return Reply(200, kratos("TaskNotFound", code=404))

    async with Simulator(intercept=refuse) as sim, sim.client() as vidu:
        with pytest.raises(NotFoundError):
            await vidu.fetch_task("911")
