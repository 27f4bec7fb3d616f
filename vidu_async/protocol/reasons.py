"""The reasons for which Vidu and its gateways refuse, and tasks fail: a table.

Each row: the status a reason comes with, the class it is raised as, and what to do about it.
"""

from __future__ import annotations

from attrs import frozen

from vidu_async.protocol.errors import (
    APIError,
    AuthenticationError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    PolicyViolationError,
    RateLimitError,
    ServerError,
)


@frozen
class Reason:
    """A documented reason: the status it comes with, the class it is raised as, and what to do about it."""

    status: int
    kind: type[APIError]
    advice: str = ""
    """"" where the class has advice of its own."""
    is_certain: bool = False
    """Whether it shows that nothing was created, whatever status it came with."""


def _reasons(
    status: int, kind: type[APIError], *words: str, advice: str = "", is_certain: bool = False
) -> dict[str, Reason]:
    return dict.fromkeys(words, Reason(status, kind, advice, is_certain))


REASONS: dict[str, Reason] = {
    **_reasons(
        400,
        APIError,
        "BadRequest",
        "FieldLacking",
        "FieldUnwanted",
        "FieldItemCountOutOfRange",
        "FieldInvalid",
        advice="Correct the field that the message names; the same request will be refused again.",
    ),
    **_reasons(
        400,
        APIError,
        "PageSizeOutOfRange",  # of an image, in spite of its name
        "ImageFormatInvalid",
        "ImageSizeInvalid",
        "VideoFormatInvalid",
        advice="Give a picture (PNG, JPEG, WebP) or clip (MP4, AVI, MOV) within the documented sizes.",
    ),
    **_reasons(
        400,
        APIError,
        "ImageDownloadFailure",
        "VideoDownloadFailure",
        advice="Check that the link opens without a login, or give the file itself.",
    ),
    **_reasons(
        400,
        APIError,
        "OperationInProcess",
        advice="Look whether the task exists before you submit it again: this may speak of your own request.",
    ),
    **_reasons(
        400,
        PolicyViolationError,
        "TaskPromptPolicyViolation",
        "AuditSubmitIllegal",
        "CreationPolicyViolation",
        "PhotoAuditNotPass",
        "AuditFailed",
    ),
    **_reasons(400, InsufficientCreditsError, "CreditInsufficient"),
    **_reasons(400, APIError, "ModelUnavailable", advice="Choose a model that this endpoint and this account have."),
    **_reasons(400, APIError, "UserCancelled", advice="Submit it again if it is still wanted."),
    **_reasons(
        400,
        APIError,
        "ImageCheckBodyJointsFailed",
        "ImageCheckFaceFailed",
        "ImageObjectsUndetected",
        "FaceDetectFailure",
        "FaceDetectNotPass",
        "NoFaceDetected",
        "MultiFaceDetected",
        advice="Give another picture: Vidu does not find in this one what the request needs.",
    ),
    **_reasons(401, AuthenticationError, "Unauthorized"),
    **_reasons(403, PermissionDeniedError, "Forbidden"),
    **_reasons(404, NotFoundError, "TaskNotFound", "CreationNotFound", "NotFound"),
    **_reasons(409, APIError, "Conflict", advice="Look whether it exists already before you send it again."),
    **_reasons(429, RateLimitError, "QuotaExceeded", "TooManyRequests", "SystemThrottling"),
    **_reasons(499, APIError, "Canceled", advice="Look whether the task exists before you submit it again."),
    **_reasons(500, ServerError, "InternalServiceFailure", "Unknown"),
}
"""Vidu's reasons; in failed tasks the same words are `err_code`. https://platform.vidu.com/docs/error-code"""


GATEWAY_REASONS: dict[str, Reason] = {
    **_reasons(403, InsufficientCreditsError, "quota_not_enough", "insufficient_user_quota", "insufficient_quota"),
    **_reasons(401, AuthenticationError, "invalid_api_key", "AuthFailure", "UnauthorizedOperation"),
    **_reasons(404, NotFoundError, "task_not_exist", "ResourceNotFound"),
    **_reasons(400, APIError, "InvalidParameter", "InvalidParameterValue", "MissingParameter", "UnknownParameter"),
    **_reasons(429, RateLimitError, "RequestLimitExceeded"),
    **_reasons(
        404,
        ServerError,
        "model_not_found",
        advice="This gateway has no channel for the model now: choose another, or ask its operator.",
        is_certain=True,  # it is said before anything is passed on, with 503 or 404
    ),
    # The gateway's own troubles with its supplier, after which nobody knows what became of a creation.
    **_reasons(
        500,
        ServerError,
        "do_request_failed",
        "read_response_body_failed",
        "unmarshal_response_failed",
        "insert_task_failed",
    ),
}
"""Words of the software that most gateways run, and of Tencent's cloud behind some.

https://github.com/QuantumNous/new-api and https://www.tencentcloud.com/document/product/266/31668
"""


def known_reason(word: str) -> Reason | None:
    """Return what is known of a word; of one such as `InvalidParameterValue.Prompt`, by its beginning."""
    return REASONS.get(word) or GATEWAY_REASONS.get(word) or GATEWAY_REASONS.get(word.partition(".")[0])


def advice_on(word: str | None) -> str:
    """Return what to do about a failed task's `err_code`, "" if it is none of the request's own faults."""
    known = REASONS.get(word or "")
    is_yours = known is not None and known.kind in {APIError, PolicyViolationError}
    return (known.advice or known.kind.advice) if known and is_yours else ""


def is_passing(word: str | None) -> bool:
    """Whether a task that failed with this `err_code` may succeed if made again: not if the request is at fault.

    A word that nobody has documented may mean the request.
    """
    known = known_reason(word or "")
    return not word or (known is not None and known.kind in {ServerError, RateLimitError})
