"""What a server answered, before anybody has read it."""

from __future__ import annotations

import re

from attrs import field, frozen

from vidu_async.protocol.values import number

TRACE_HEADERS = ("x-trace-id", "trace-id", "x-request-id", "x-oneapi-request-id", "request-id")
"""Where servers say by what name they have noted a request."""
HEADERS = ("content-type", "date", "location", "retry-after", *TRACE_HEADERS)
"""All that are read of an answer."""

_QUERY = re.compile(rb'((?:\\?/){2}[^\s"?]*)\?[^\s"]*')
"""The query of a link, which may be signed: whoever reads a message must not be able to open it."""


@frozen
class Answer:
    """A status, headers with lower-case names, and the body's bytes."""

    status: int
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(factory=dict, repr=False)
    asked: str = field(default="", repr=False)
    """Method and URL of the question."""

    @property
    def is_ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the range is the definition

    @property
    def looks_like(self) -> str:
        """The content type and the beginning of the body, for error messages. Links are shown without their queries."""
        kind = self.headers.get("content-type", "no content type")
        beginning = _QUERY.sub(rb"\1?...", self.body[:200])
        return f"{kind}, {beginning!r}"

    @property
    def retry_after(self) -> float | None:
        """The seconds the server asks to wait; None if it does not say, or nothing sensible.

        Only the form in seconds is read: a date would have to be compared with somebody's clock.
        """
        seconds = number(self.headers.get("retry-after", ""))
        return seconds if seconds is not None and seconds >= 0 else None
