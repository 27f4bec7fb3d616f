"""The asyncio-native client of the Vidu video and image generation API.

Each name is imported when it is first used: whoever needs only an error class, or nothing yet, waits for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidu_async.batch import Batch
    from vidu_async.callbacks import CallbackReceiver, sign_callback, verify_callback
    from vidu_async.client import ViduClient
    from vidu_async.handle import TaskHandle
    from vidu_async.journal_file import Journal
    from vidu_async.limiter import Limiter, Limits
    from vidu_async.mounts import aiohttp_app, asgi_app
    from vidu_async.outcomes import Forecast, Outcome, Summary
    from vidu_async.polling import Polling, PollingPolicy
    from vidu_async.protocol.checks import WatermarkPosition
    from vidu_async.protocol.errors import (
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
        TaskCancelledError,
        TaskError,
        TaskFailedError,
        TaskTimeoutError,
        TLSError,
        TransportError,
        UnsupportedError,
        ValidationError,
        ViduError,
        ViduWarning,
    )
    from vidu_async.protocol.gateway import Gateway
    from vidu_async.protocol.models import Creation, Credits, Task, TaskState, VideoInfo
    from vidu_async.protocol.requests import (
        ImageToVideo,
        RawRequest,
        ReferenceToImage,
        ReferenceToVideo,
        Request,
        StartEndToVideo,
        Subject,
        TextToVideo,
        request_from_wire,
    )
    from vidu_async.reconcile import Unresolved
    from vidu_async.settings import Timeouts

__all__ = [
    "APIError",
    "AuthenticationError",
    "Batch",
    "BudgetExceededError",
    "CallbackError",
    "CallbackReceiver",
    "CancelRefusedError",
    "ConfigError",
    "ConnectError",
    "Creation",
    "Credits",
    "DownloadError",
    "Forecast",
    "Gateway",
    "IdempotencyConflictError",
    "ImageToVideo",
    "InsufficientCreditsError",
    "Journal",
    "JournalError",
    "Limiter",
    "LimiterFullError",
    "Limits",
    "MissingExtraError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "PolicyViolationError",
    "Polling",
    "PollingPolicy",
    "ProtocolError",
    "ProxyError",
    "RateLimitError",
    "RawRequest",
    "ReferenceToImage",
    "ReferenceToVideo",
    "Request",
    "RequestTimeoutError",
    "ResultMissingError",
    "ServerError",
    "StartEndToVideo",
    "Subject",
    "SubmissionUnknownError",
    "Summary",
    "TLSError",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskHandle",
    "TaskState",
    "TaskTimeoutError",
    "TextToVideo",
    "Timeouts",
    "TransportError",
    "Unresolved",
    "UnsupportedError",
    "ValidationError",
    "VideoInfo",
    "ViduClient",
    "ViduError",
    "ViduWarning",
    "WatermarkPosition",
    "aiohttp_app",
    "asgi_app",
    "request_from_wire",
    "sign_callback",
    "verify_callback",
]

_HOMES = (
    *("protocol.errors", "protocol.models", "protocol.checks", "protocol.gateway", "protocol.requests"),
    *(
        "settings",
        "polling",
        "limiter",
        "reconcile",
        "journal_file",
        "handle",
        "client",
        "outcomes",
        "batch",
        "callbacks",
        "mounts",
    ),
)
"""Where the names are, what needs least first."""


if not TYPE_CHECKING:  # a type checker would take it for leave to use any name

    def __getattr__(name: str) -> object:
        if name in __all__:
            for home in _HOMES:
                found = vars(import_module(f"vidu_async.{home}"))
                if name in found:
                    globals()[name] = found[name]
                    return found[name]
        raise AttributeError(f"module 'vidu_async' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
