"""What a test may put in place of the service's own answer: `Reply`, `DROP`, `DROP_AFTER`.

Values only; `server` acts on them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen


@frozen
class Reply:
    """An answer in place of the service's.

    `body` is bytes, text, or anything JSON can hold. With `after=True` the service acts on the request first
    and its own answer is thrown away: a creation is accepted, but the client is told this instead.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(factory=dict)
    after: bool = field(default=False, kw_only=True)

    @property
    def content(self) -> bytes:
        """The bytes that are sent."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def content_type(self) -> str:
        """The Content-Type unless `headers` has one: JSON for what was given as a JSON value."""
        return "text/plain" if isinstance(self.body, bytes | str) else "application/json"


@frozen
class Drop:
    """No answer: the connection is closed. With `after` the service acts on the request first."""

    after: bool = False


DROP: Final = Drop()
"""Close the connection; the service never saw the request."""
DROP_AFTER: Final = Drop(after=True)
"""Let the service act on the request, then close the connection: the answer is lost."""

Verdict = Reply | Drop | None
Intercept = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Verdict]]
"""Called with method, path (without its query), headers (any case) and body of every request."""
