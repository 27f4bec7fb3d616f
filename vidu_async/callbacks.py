"""Callbacks: what Vidu signs is checked against the clock. A callback only says that it is time to look.

The signature does not cover the body, so what the task has come to is asked of the gateway (`TaskHandle.refresh`).
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vidu_async.protocol import signing

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["sign_callback", "verify_callback"]


def verify_callback(
    *,
    method: str,
    url: str,
    headers: signing.Headers,
    keys: Iterable[str],
    now: float | None = None,
    max_age: float = 300.0,
) -> None:
    """Refuse a request that Vidu did not send. Nothing of its body is proven: ask for the task.

    Args:
        method: that of the request, "POST".
        url: the `callback_url` as it was registered, with its query. Behind a proxy that rewrites paths the request's
            own is another. Its path alone, with the query, will do.
        headers: those of the request; names in any spelling.
        keys: the API keys that may have created the task. At a gateway it is the gateway's own key that signs, not
            yours, so that you cannot check it.
        now: Unix seconds; by default the clock's.
        max_age: seconds by which the signed date may differ from `now`. To refuse repeats, keep the `x-request-nonce`
            of what you accepted for as long.

    Raises:
        CallbackError: it is not signed so; `status` is what to answer.
        ConfigError: no key is given.

    """
    now = time.time() if now is None else now
    signing.verify(method=method, url=url, headers=headers, keys=keys, now=now, max_age=max_age)


def sign_callback(
    *, method: str = "POST", url: str, key: str, date: str | None = None, nonce: str | None = None
) -> dict[str, str]:
    """Return the headers with which Vidu would call back, for your tests.

    `date` is as HTTP writes it, `Tue, 06 May 2025 12:09:42 GMT`; by default it is now. `nonce` is random by default.
    """
    date = signing.http_date(datetime.now(UTC)) if date is None else date
    nonce = secrets.token_hex(16) if nonce is None else nonce
    return signing.sign(method=method, url=url, key=key, date=date, nonce=nonce)
