"""The error tree: its shape, what each error says, and that it survives a trip between processes."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vidu_async
from vidu_async import (
    APIError,
    AuthenticationError,
    BudgetExceededError,
    CallbackError,
    CancelRefusedError,
    ConfigError,
    ConnectError,
    DownloadError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    JournalError,
    LimiterFullError,
    MissingExtraError,
    NotFoundError,
    PermissionDeniedError,
    PolicyViolationError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    RequestTimeoutError,
    ResultMissingError,
    ServerError,
    SubmissionUnknownError,
    Task,
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskState,
    TaskTimeoutError,
    TLSError,
    TransportError,
    UnsupportedError,
    ValidationError,
    ViduError,
)
from vidu_async.protocol import errors
from vidu_async.protocol.answers import Answer
from vidu_async.protocol.refusals import error_from

TASK = Task(id="7", state=TaskState.FAILED, err_code="AuditFailed")
SAID: dict[str, Any] = {"status": 400, "reason": "Reason", "trace_id": "t-1", "readable": False}


def refusal(kind: type[APIError]) -> APIError:
    """Return a refusal with all it can hold."""
    return kind("message", **SAID)


def plain(kind: type[ViduError]) -> ViduError:
    """Return an error that holds nothing but its message."""
    return kind("message")


# How each class is made; a class that is missing here fails the tests below.
MADE: dict[type[ViduError], Callable[[Any], ViduError]] = {
    **dict.fromkeys(
        (
            ViduError,
            ConfigError,
            MissingExtraError,
            TransportError,
            RequestTimeoutError,
            ProtocolError,
            UnsupportedError,
            IdempotencyConflictError,
            LimiterFullError,
            JournalError,
            DownloadError,
            BudgetExceededError,
        ),
        plain,
    ),
    **dict.fromkeys(
        (
            APIError,
            AuthenticationError,
            PermissionDeniedError,
            NotFoundError,
            PolicyViolationError,
            InsufficientCreditsError,
            CancelRefusedError,
            ServerError,
        ),
        refusal,
    ),
    **dict.fromkeys((ConnectError, TLSError, ProxyError), lambda kind: kind("message", phase="proxy")),
    **dict.fromkeys(
        (TaskError, TaskFailedError, TaskCancelledError, ResultMissingError), lambda kind: kind("message", task=TASK)
    ),
    RateLimitError: lambda kind: kind("message", retry_after=2.5, **SAID),
    ValidationError: lambda kind: kind("message", field="images[0]", value=[1, "a"], allowed=[1, 2]),
    SubmissionUnknownError: lambda kind: kind("message", key="k-1", evidence="answer 502"),
    TaskTimeoutError: lambda kind: kind("message", token="vidu1.abc"),
    CallbackError: lambda kind: kind("message", status=401),
}


def tree(root: type[ViduError]) -> list[type[ViduError]]:
    """Return a class of the library and all below it."""
    children = [child for child in root.__subclasses__() if child.__module__.startswith("vidu_async.")]
    return [root, *(kind for child in children for kind in tree(child))]


for module in pkgutil.walk_packages(vidu_async.__path__, "vidu_async."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)  # so that an error defined anywhere is found
# Those with an underscore never leave their module.
EVERY = [
    kind for kind in dict.fromkeys(tree(ViduError)) if ".testing" not in kind.__module__ and kind.__name__[0] != "_"
]

every_error = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)


def held(error: ViduError) -> dict[str, Any]:
    """Return all that an error says and holds."""
    return {"args": error.args, "text": str(error), "paid": error.paid, "key": error.key, **vars(error)}


def test_the_tree_is_as_it_is_drawn() -> None:
    """The drawing at the top of errors.py is what a reader goes by."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+Error)(?: |$)", line):
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            drawn[match[2]] = path[depth - 1] if depth else ""

    def parent(kind: type[ViduError]) -> str:
        return next((base.__name__ for base in kind.__bases__ if issubclass(base, ViduError)), "")

    assert drawn == {kind.__name__: parent(kind) for kind in EVERY}


@every_error
def test_every_error_is_public(kind: type[ViduError]) -> None:
    """What can be raised can be caught."""
    assert getattr(vidu_async, kind.__name__) is kind
    assert kind.__name__ in vidu_async.__all__


@every_error
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_pickles_with_all_it_holds(kind: type[ViduError], protocol: int) -> None:
    """Workers send theirs home."""
    error = MADE[kind](kind)
    error.paid, error.key = "maybe", "k-2"
    error.add_note("row 7")

    arrived = pickle.loads(pickle.dumps(error, protocol))

    assert type(arrived) is kind
    assert held(arrived) == held(error)


@every_error
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_every_error_copies_with_all_it_holds(kind: type[ViduError], copied: Callable[[ViduError], ViduError]) -> None:
    """And the copy has attributes of its own."""
    error = MADE[kind](kind)
    error.paid = "no"

    twin = copied(error)
    twin_holds = held(twin)
    twin.paid = "yes"

    assert type(twin) is kind
    assert twin is not error
    assert twin_holds == held(error)
    assert error.paid == "no"


def test_a_refused_value_that_does_not_pickle_does_not_keep_the_error_from_it(tmp_path: Path) -> None:
    """Such as an open file given for a picture."""
    with (tmp_path / "fox.png").open("wb") as file:
        error = ValidationError("images[0] must be a URL, a path or bytes", field="images[0]", value=file)
        arrived = pickle.loads(pickle.dumps(error))

    assert (str(arrived), arrived.field) == (str(error), "images[0]")


@every_error
def test_every_error_says_what_happened_and_then_what_to_do(kind: type[ViduError]) -> None:
    """The advice of its class ends the message."""
    said = str(MADE[kind](kind))

    assert "message" in said
    assert said.endswith(kind.advice)
    assert ".." not in said


@every_error
def test_every_error_is_a_vidu_error_and_explains_itself(kind: type[ViduError]) -> None:
    """`except ViduError` catches all of them, and `help()` tells what they are."""
    with pytest.raises(ViduError):
        raise MADE[kind](kind)
    assert "__doc__" in vars(kind)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(ValidationError, ValueError), (RequestTimeoutError, TimeoutError), (TaskTimeoutError, TimeoutError)],
)
def test_an_error_is_caught_by_the_builtin_it_promises(kind: type[ViduError], builtin: type[Exception]) -> None:
    """For code that knows nothing of this library."""
    with pytest.raises(builtin, match="message"):
        raise MADE[kind](kind)


@pytest.mark.parametrize("kind", [ConnectError, TransportError, APIError, SubmissionUnknownError, ConfigError])
def test_no_other_error_is_caught_by_a_builtin(kind: type[ViduError]) -> None:
    """`except OSError` or `except ValueError` around a client takes only what it means to."""
    assert not issubclass(kind, (OSError, ValueError))


@pytest.mark.parametrize(
    ("kind", "paid"),
    [
        (SubmissionUnknownError, "maybe"),
        (IdempotencyConflictError, "no"),
        (LimiterFullError, "no"),
        (TaskFailedError, "no"),
        (TaskCancelledError, "no"),
        (ResultMissingError, "yes"),
        (TaskTimeoutError, "yes"),
        (APIError, None),
        (TransportError, None),
    ],
)
def test_an_error_after_a_submission_says_whether_it_is_paid(kind: type[ViduError], paid: str | None) -> None:
    """None where that depends on the request."""
    assert MADE[kind](kind).paid == paid


# Refusals, from their bodies. https://platform.vidu.com/docs/error-code

KINDS: dict[tuple[int, str], type[APIError]] = {
    **dict.fromkeys(
        (
            (400, reason)
            for reason in (
                *("BadRequest", "FieldLacking", "FieldUnwanted", "FieldItemCountOutOfRange", "FieldInvalid"),
                *("PageSizeOutOfRange", "ImageFormatInvalid", "ImageSizeInvalid", "VideoFormatInvalid"),
                *("ImageDownloadFailure", "VideoDownloadFailure", "OperationInProcess", "ModelUnavailable"),
                *("UserCancelled", "ImageCheckBodyJointsFailed", "ImageCheckFaceFailed", "ImageObjectsUndetected"),
                *("FaceDetectFailure", "FaceDetectNotPass", "NoFaceDetected", "MultiFaceDetected"),
            )
        ),
        APIError,
    ),
    **dict.fromkeys(
        (
            (400, reason)
            for reason in (
                *("TaskPromptPolicyViolation", "AuditSubmitIllegal", "CreationPolicyViolation"),
                *("PhotoAuditNotPass", "AuditFailed"),
            )
        ),
        PolicyViolationError,
    ),
    (400, "CreditInsufficient"): InsufficientCreditsError,
    (401, "Unauthorized"): AuthenticationError,
    (403, "Forbidden"): PermissionDeniedError,
    **dict.fromkeys(((404, reason) for reason in ("TaskNotFound", "CreationNotFound", "NotFound")), NotFoundError),
    (409, "Conflict"): APIError,
    **dict.fromkeys(
        ((429, reason) for reason in ("QuotaExceeded", "TooManyRequests", "SystemThrottling")), RateLimitError
    ),
    (499, "Canceled"): APIError,
    **dict.fromkeys(((500, reason) for reason in ("InternalServiceFailure", "Unknown")), ServerError),
}


def answered(status: int, body: object, **headers: str) -> APIError:
    """Read a refusal."""
    return error_from(Answer(status, json.dumps(body).encode(), headers))


def refused(status: int, reason: str) -> APIError:
    """Read a refusal as Vidu words it."""
    return answered(status, {"code": status, "reason": reason, "message": "so it is", "metadata": {"trace_id": "t-9"}})


@pytest.mark.parametrize(("status", "reason"), KINDS, ids=str)
def test_a_documented_refusal_has_its_class_and_keeps_what_it_said(status: int, reason: str) -> None:
    """Reason, message and trace id are what the support asks for."""
    error = refused(status, reason)

    assert type(error) is KINDS[status, reason]
    assert (error.status, error.reason, error.message, error.trace_id) == (status, reason, "so it is", "t-9")
    assert error.readable
    assert str(error).startswith(f"{status} {reason}: so it is (trace t-9)")


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS.values()), ids=lambda kind: kind.__name__)
def test_a_refusal_says_what_to_do_next(kind: type[APIError]) -> None:
    """After what the server said."""
    status, reason = next(said for said, found in KINDS.items() if found is kind)

    assert re.search(r"\(trace t-9\)\. [A-Z].{10,}\.$", str(refused(status, reason)))


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "CreditInsufficient", InsufficientCreditsError),
        (403, "QuotaExceeded", RateLimitError),
        (500, "AuditFailed", PolicyViolationError),
        (400, "TaskNotFound", NotFoundError),
        (429, "CreditInsufficient", InsufficientCreditsError),
        (400, "Unauthorized", AuthenticationError),
    ],
)
def test_the_reason_decides_before_the_status_does(status: int, reason: str, kind: type[APIError]) -> None:
    """Gateways put statuses of their own on Vidu's bodies."""
    error = refused(status, reason)

    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, APIError),
        (401, AuthenticationError),
        (402, InsufficientCreditsError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, APIError),
        (418, APIError),
        (429, RateLimitError),
        (499, APIError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (599, ServerError),
    ],
)
@pytest.mark.parametrize("reason", ["", "E1001", None, 7, ["E1001"]])
def test_the_status_decides_where_the_reason_is_unknown(status: int, kind: type[APIError], reason: object) -> None:
    """New words are kept, and no shape of them is an obstacle."""
    error = answered(status, {"code": status, "reason": reason, "message": "so it is"})

    assert type(error) is kind
    assert error.reason == (reason if isinstance(reason, str) else "")


@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"[]", b"null", b"{", b"\xff\xfe", b'"denied"'])
def test_a_refusal_without_a_body_of_its_own_shows_what_there_was(body: bytes) -> None:
    """A proxy on the way speaks HTML."""
    error = error_from(Answer(502, body, {"content-type": "text/html"}))

    assert type(error) is ServerError
    assert not error.readable
    assert "text/html" in str(error)
    assert repr(body)[:20] in str(error)


def test_a_refusal_shows_no_more_than_the_beginning_of_a_foreign_body() -> None:
    """A page of HTML has no place in a log line."""
    assert len(str(error_from(Answer(502, b"<p>" * 20_000)))) < 500


@pytest.mark.parametrize("metadata", [None, [], "t-1", {}, {"trace_id": None}, {"trace_id": {}}])
def test_a_refusal_without_a_trace_id_says_none(metadata: object) -> None:
    """Rather than "None"."""
    error = answered(400, {"message": "so it is", "metadata": metadata})

    assert error.trace_id == ""
    assert "None" not in str(error)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("soon", None),
        ("Tue, 06 May 2025 12:09:42 GMT", None),
        ("9" * 20, 1e20),
    ],
)
def test_a_rate_limit_keeps_how_long_to_wait(header: str, seconds: float | None) -> None:
    """In seconds, or not at all."""
    error = answered(429, {"reason": "TooManyRequests"}, **{"retry-after": header})

    assert isinstance(error, RateLimitError)
    assert error.retry_after == seconds


def test_a_rate_limit_without_the_header_does_not_say_how_long() -> None:
    """Vidu documents no Retry-After."""
    error = answered(429, {})

    assert isinstance(error, RateLimitError)
    assert error.retry_after is None


def test_a_refused_key_is_answered_with_where_to_look() -> None:
    """Keys differ per site, and so does the word before them."""
    said = str(refused(401, "Unauthorized"))

    assert "VIDU_API_KEY" in said
    assert "auth_scheme" in said
