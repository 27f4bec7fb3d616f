"""How Vidu says no: one exception, the HTTP status of each reason, and the body they travel in.

Every rule of the simulator refuses by raising `Refusal`; nothing else decides on a status.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from vidu_async.protocol.reasons import REASONS
from vidu_async.testing import checks

STATUS: Final[Mapping[str, int]] = {
    **{word: reason.status for word, reason in REASONS.items()},
    # What HTTP itself asks for.
    "MethodNotAllowed": 405,
    "RequestEntityTooLarge": 413,
}
"""The HTTP status of each reason."""

_SERVER_ERROR: Final = 500


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of the simulator
    """A request the service answers with an error.

    `reason` is one of Vidu's error codes, `message` says which field or object it is about. With a `delay` the answer
    comes so many seconds later. Raises ValueError for other reasons: a `Reply` can say anything.
    """

    def __init__(self, reason: str, message: str, *, delay: float = 0.0) -> None:
        checks.known("reason", reason, STATUS)
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.delay = delay

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


class RelayRefusal(Refusal):
    """A bare HTTP status: the refusal of a relay in front of Vidu, in the relay's own words."""

    def __init__(self, status: int, *, delay: float = 0.0) -> None:
        super().__init__("Unknown", f"upstream answered with status {status}", delay=delay)
        self._status = status

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    def body(self) -> dict[str, Any]:
        """Return the body of the relay's middleware below 500, and of its task relay from there on."""
        if self._status >= _SERVER_ERROR:
            return {"code": "do_request_failed", "message": self.message, "data": None}
        return relay_error(self.message, secrets.token_hex(16))


def relay_error(message: str, request_id: str) -> dict[str, Any]:
    """Return the error body of a relay's own middleware."""
    return {"error": {"message": f"{message} (request id: {request_id})", "type": "new_api_error", "code": ""}}


def refuse_unless(accepted: object, reason: str, message: str) -> None:
    """Raise `Refusal` unless `accepted` is true: a rule in one line."""
    if not accepted:
        raise Refusal(reason, message)
