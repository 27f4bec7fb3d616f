"""How Vidu says no: one exception, the HTTP status of each reason, and the body they travel in.

Every rule of the simulator refuses by raising `Refusal`; nothing else decides on a status.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

# https://platform.vidu.com/docs/error-code
STATUS: Final = {
    "BadRequest": 400,
    "FieldLacking": 400,
    "FieldInvalid": 400,
    "FieldUnwanted": 400,
    "FieldItemCountOutOfRange": 400,
    "ImageFormatInvalid": 400,
    "VideoFormatInvalid": 400,
    "ModelUnavailable": 400,
    "CreditInsufficient": 400,
    "Unauthorized": 401,
    "NotFound": 404,
    "TaskNotFound": 404,
    "MethodNotAllowed": 405,
    "RequestEntityTooLarge": 413,
}


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of the simulator
    """A request the service answers with an error.

    `reason` is one of Vidu's error codes, `message` says which field or object it is about.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that goes with the reason."""
        return STATUS[self.reason]

    def body(self) -> dict[str, Any]:
        """Return the error body, with a fresh trace id."""
        return {
            "code": self.status,
            "reason": self.reason,
            "message": self.message,
            "metadata": {"trace_id": secrets.token_hex(16)},
        }


def refuse_unless(accepted: object, reason: str, message: str) -> None:
    """Raise `Refusal` unless `accepted` is true: a rule in one line."""
    if not accepted:
        raise Refusal(reason, message)
