"""What may become of a request: `SERVE`, `CUT`, `DROP`, `DROP_AFTER`, a `Reply` or a `Refusal`.

Values only; `server` acts on them. A test names them, or `faults` draws them by lot.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from vidu_async.testing import checks
from vidu_async.testing.refusals import Refusal


@frozen(kw_only=True)
class Serve:
    """The service's own answer, `delay` seconds after the service has acted.

    With `cut=True` the answer breaks off: its headers are whole, half of the body comes, and the connection is closed.
    An answer without a body breaks off in its headers.
    """

    delay: float = field(default=0.0, validator=checks.seconds)
    cut: bool = False
    after: bool = field(default=True, init=False)


@frozen
class Reply:
    """An answer in place of the service's.

    `body` is bytes, text, or anything JSON can hold. With `after=True` the service acts on the request first
    and its own answer is thrown away: a creation is accepted, but the client is told this instead. `delay` and `cut`
    as in `Serve`. Raises ValueError for a delay that is none, and for a cut answer with a Transfer-Encoding: what is
    cut must have a length to fall short of.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(factory=dict)
    after: bool = field(default=False, kw_only=True)
    delay: float = field(default=0.0, kw_only=True, validator=checks.seconds)
    cut: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.cut and "transfer-encoding" in map(str.lower, self.headers):
            msg = "a Reply that is cut is sent with its length, so headers must not hold Transfer-Encoding"
            raise ValueError(msg)

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


SERVE: Final = Serve()
"""Let the service answer."""
CUT: Final = Serve(cut=True)
"""Let the service act and answer, but only half of the answer arrives."""
DROP: Final = Drop()
"""Close the connection; the service never saw the request."""
DROP_AFTER: Final = Drop(after=True)
"""Let the service act on the request, then close the connection: the answer is lost."""

Verdict = Serve | Reply | Drop | Refusal | None
"""None leaves the request to chance, which is to the service unless there are `Faults`.

A `Refusal` is answered with its status and in the words of the dialect.
"""
Intercept = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Verdict]]
"""Called with method, path (without its query), headers (any case) and body of every request."""
