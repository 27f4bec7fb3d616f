"""Everything that can go wrong, as one tree.

ViduError
├── ConfigError                     the client was set up wrongly; nothing was sent
│   └── MissingExtraError           an optional dependency is not installed
├── ValidationError                 (ValueError) a value the API certainly refuses; nothing was sent
├── ConnectError                    no connection came about; nothing was sent
│   ├── TLSError                    ... because certificates or the handshake failed
│   └── ProxyError                  ... because the proxy refused
├── TransportError                  the connection broke after the request had begun
├── RequestTimeoutError             (TimeoutError) no answer in time
├── ProtocolError                   an answer that is no answer of this API
├── APIError                        a refusal by the server, read from its body
│   ├── AuthenticationError         401
│   ├── PermissionDeniedError       403
│   ├── NotFoundError               404
│   ├── PolicyViolationError        prompt, image or result broke the content rules
│   ├── InsufficientCreditsError    the account is empty
│   ├── RateLimitError              429 for longer than you were willing to wait
│   ├── CancelRefusedError          the task is already running or finished
│   └── ServerError                 5xx
├── UnsupportedError                this gateway has no such endpoint
├── SubmissionUnknownError          a creation was sent and its answer was lost: it may be paid
├── IdempotencyConflictError        the key already names another request
├── LimiterFullError                too many submissions are waiting already
├── BudgetExceededError             a batch would spend more than its budget
├── JournalError                    the journal's file cannot be used; without it nothing is sent
├── TaskError                       a task ended without a result
│   ├── TaskFailedError             ... because generation failed
│   ├── TaskCancelledError          ... because it was cancelled
│   └── ResultMissingError          ... although it reads as a success
├── TaskTimeoutError                (TimeoutError) the wait ended before the task did
├── DownloadError                   a result could not be saved
└── CallbackError                   a callback that Vidu did not sign

ViduWarning (UserWarning)           a value that may be refused or have no effect; `strict=True` refuses it

All pickle. No error of aiohttp ever leaves the library, not even as a context: its repr holds request headers.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from vidu_async.protocol.models import Task

Paid = Literal["no", "maybe", "yes"]


def _rebuild(cls: type[ViduError], args: tuple[Any, ...], state: dict[str, Any]) -> ViduError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ViduWarning(UserWarning):
    """A value that some page allows, or that has no effect. `strict=True` refuses it with a `ValidationError`."""


class ViduError(Exception):
    """The root of every error this library raises."""

    paid: Paid | None = None
    """After a submission: whether credits were spent. None where no submission is concerned."""
    key: str | None = None
    """The key of the submission concerned, if any."""
    task_id: str | None = None
    """The id of the task concerned, if any."""
    phase: str | None = None
    """How far a submission came: queued, connecting, uploading (its last byte was withheld) or committed. A
    `ConnectError` names the step of connecting instead."""
    advice: str = ""
    """What to do next; ends the message. `said` is the message without it."""

    def __init__(self, message: str) -> None:
        self.said = message
        super().__init__(f"{message.rstrip('. ')}. {self.advice}" if self.advice else message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self._state())

    def _state(self) -> dict[str, Any]:
        return self.__dict__

    def __copy__(self) -> ViduError:
        return _rebuild(type(self), self.args, self.__dict__)


class ConfigError(ViduError):
    """The client was set up or used wrongly. Nothing was sent."""


class MissingExtraError(ConfigError):
    """An optional dependency is missing; the message is the command that installs it."""


class ValidationError(ViduError, ValueError):
    """A value that the API certainly refuses, or a doubtful one with `strict=True`. Nothing was sent, nothing is paid.

    `field` names the value's place (`images[0]`), `allowed` what would do.
    """

    paid = "no"

    def __init__(
        self, message: str, *, field: str = "", value: object = None, allowed: Iterable[object] | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.allowed = None if allowed is None else tuple(allowed)

    def _state(self) -> dict[str, Any]:
        try:
            pickle.dumps((self.value, self.allowed))
        except Exception:  # noqa: BLE001 - a value's own pickling may raise anything
            return {**self.__dict__, "value": repr(self.value), "allowed": repr(self.allowed)}
        return self.__dict__


class ConnectError(ViduError):
    """No connection came about, so nothing was sent. `phase` is `dns`, `connect`, `tls` or `proxy`."""

    advice = "Nothing was sent. Check base_url and the network, then try again."

    def __init__(self, message: str, *, phase: str = "connect") -> None:
        super().__init__(message)
        self.phase = phase


class TLSError(ConnectError):
    """The certificate was refused or the handshake failed."""

    advice = "Check base_url, or pass your own certificates as ssl=."


class ProxyError(ConnectError):
    """The proxy did not let the request through."""

    advice = "Check proxy=, its user and its password."


class TransportError(ViduError):
    """The connection broke after the request had begun."""

    advice = "Try again."


class RequestTimeoutError(ViduError, TimeoutError):
    """No answer in time; `Timeouts` sets how long that is."""

    advice = "Try again, or allow more time with Timeouts."


class ProtocolError(ViduError):
    """An answer that is none of this API: a login page, a redirect, a cut or oversized body."""

    advice = "Check that base_url is the API's own."


class APIError(ViduError):
    """The server refused. `reason` is Vidu's word for it, `trace_id` what its support asks for.

    https://platform.vidu.com/docs/error-code
    """

    advice = "Correct the request; https://platform.vidu.com/docs/error-code explains the reason."
    is_upstream: bool = False
    """Whether a gateway tells of its own supplier's refusal."""
    tasks: tuple[str, ...] = ()
    """Ids of tasks that the answer names although it is a refusal."""
    is_whole: bool = True
    """Whether the whole answer was looked into; a hostile one may be too deep."""

    def __init__(
        self,
        message: str = "",
        *,
        status: int,
        reason: str = "",
        trace_id: str = "",
        readable: bool = True,
        advice: str = "",
        shown: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.trace_id = trace_id
        self.readable = readable
        """False if the body was no JSON, so that the refusal may be some proxy's on the way."""
        self.statuses: tuple[int, ...] = (status,)
        """Every status that speaks in the answer: its own, and those that its body repeats."""
        self.advice = advice or type(self).advice
        said = ": ".join(part for part in (f"{status} {reason}".strip(), shown or message) if part)
        super().__init__(f"{said} (trace {trace_id})" if trace_id and trace_id not in message else said)


class AuthenticationError(APIError):
    """401: the key is not accepted."""

    advice = (
        "Check VIDU_API_KEY, and that the key belongs to this gateway: keys differ per site, and so do auth_scheme "
        "(Bearer or Token), auth_header and headers."
    )


class PermissionDeniedError(APIError):
    """403: the key may not do this."""

    advice = "Check what this key is allowed to use, or ask the gateway's operator."


class NotFoundError(APIError):
    """404: no such task, or no such path on this gateway."""

    advice = "Check the id or the endpoint, and that base_url, api_root and query_path are this gateway's own."


class PolicyViolationError(APIError):
    """The prompt, an image or the result broke the content rules. The same request will be refused again."""

    advice = "Change the prompt or the images; the same request will be refused again."


class InsufficientCreditsError(APIError):
    """The account has no credits left."""

    advice = "Buy credits, then submit again."


class RateLimitError(APIError):
    """The server asks to come back later; `retry_after` is in seconds, None if it did not say.

    A submission waits such answers out: it fails with this only after `Timeouts.submit`, or if it was asked to wait for
    more than two minutes.
    """

    advice = "Ask again later, or for less at once (Limits)."

    def __init__(self, message: str = "", *, retry_after: float | None = None, **said: Any) -> None:  # noqa: ANN401
        super().__init__(message, **said)
        self.retry_after = retry_after


class CancelRefusedError(APIError):
    """The task can no longer be cancelled: it is running or has ended."""

    advice = "Await its handle to learn how it ends."


class ServerError(APIError):
    """5xx: the server failed, or a gateway whose own key its supplier refused (`is_upstream`)."""

    advice = "Try again later."


class UnsupportedError(ViduError):
    """This gateway does not have the endpoint."""

    advice = "If base_url is right, use a gateway that has it, such as Gateway.vidu()."


class SubmissionUnknownError(ViduError):
    """A creation was sent and no usable answer came back: a task may exist and be paid.

    It is not sent again without your consent. `evidence` says what came instead of an answer, `token` is what its
    task repeats as payload, and `committed_at` when its last byte left (UTC).
    """

    paid = "maybe"
    phase = "committed"
    advice = (
        "Do not submit it anew: client.reconcile() looks for its task, client.unresolved() shows what is still open, "
        "and client.resolve() settles it by its key."
    )

    def __init__(  # noqa: PLR0913 - what is known of it
        self,
        message: str,
        *,
        key: str,
        evidence: str,
        token: str = "",
        endpoint: str = "",
        committed_at: datetime | None = None,
        trace_id: str = "",
        advice: str = "",
    ) -> None:
        self.advice = advice or type(self).advice
        super().__init__(message)
        self.key, self.token, self.endpoint = key, token, endpoint
        self.evidence, self.committed_at, self.trace_id = evidence, committed_at, trace_id


class IdempotencyConflictError(ViduError):
    """The key already names another request; nothing was sent."""

    paid = "no"
    advice = "Use another key for another request."


class LimiterFullError(ViduError):
    """As many submissions as `Limits.queue` allows are waiting already; nothing was sent."""

    paid = "no"
    advice = "Submit again later, or raise Limits(queue=)."


class BudgetExceededError(ViduError):
    """A batch would spend more than its budget; nothing was sent."""

    paid = "no"
    advice = "Raise the budget to go on: what is done already is not paid again."


class JournalError(ViduError):
    """The journal's file cannot be used, and without it nothing is sent. The message ends with what to do."""

    advice = "Nothing is sent without it: make the file usable again, or use another journal."

    def __init__(self, message: str, *, advice: str = "") -> None:
        self.advice = advice or type(self).advice
        super().__init__(message)


class TaskError(ViduError):
    """A task ended without a result; `task` is its last answer."""

    def __init__(self, message: str, *, task: Task, advice: str = "") -> None:
        self.task, self.task_id = task, task.id
        self.advice = advice or type(self).advice
        super().__init__(message)


class TaskFailedError(TaskError):
    """Generation failed. Vidu charges nothing for it; `task.err_code` says why."""

    paid = "no"
    advice = "https://platform.vidu.com/docs/error-code explains the reason."


class TaskCancelledError(TaskError):
    """The task was cancelled, and its credits returned."""

    paid = "no"
    advice = "Submit it again if it is still wanted."


class ResultMissingError(TaskError):
    """The task succeeded but its answer names no file."""

    paid = "yes"
    advice = "Ask again later with handle.refresh(); the task is paid."


class TaskTimeoutError(ViduError, TimeoutError):
    """The wait ended before the task did. The task goes on; `client.attach(token)` takes the wait up again."""

    paid = "yes"
    advice = "The task goes on: client.attach(error.token) takes the wait up again, also in another process."

    def __init__(self, message: str, *, token: str) -> None:
        super().__init__(message)
        self.token = token


class DownloadError(ViduError):
    """A result could not be saved. The task is unaffected; its result can be downloaded again."""

    paid = "yes"
    is_passing: bool = False
    """Whether it was the network's or the server's trouble, so that waiting may help."""
    errno: int | None = None
    """The system's number of what the disk refused (`errno.ENOSPC` ...)."""


class CallbackError(ViduError):
    """A callback is not signed by a key you gave, or too old. `status` is the HTTP status to answer it with.

    https://platform.vidu.com/docs/callback-signature
    """

    advice = "Answer it with its status, and do nothing else."

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
