"""Presigned result links, as an object store makes and checks them.

A link is good for one method, one path and a time. It is a permission in itself and bears no other beside it.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html has the parameters' names.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote, urlencode

from attrs import field, frozen

from vidu_async.testing import checks

RESULT_LIFE: Final = 86_400
"""Seconds a video, or an image asked for, can be fetched."""
COVER_LIFE: Final = 3_600
_DATE: Final = "%Y%m%dT%H%M%SZ"


class LinkRefused(Exception):  # noqa: N818 - it is an answer, not a fault of the simulator
    """The store's refusal: an HTTP status and a code that travel as XML."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> str:
        """Return the XML document an object store answers with."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        )


@frozen
class Links:
    """Signs and checks links below `base_url`. No link lives longer than `link_life` seconds."""

    base_url: str
    _secret: bytes = field(repr=False)
    link_life: int = field(default=RESULT_LIFE, validator=checks.whole(0, RESULT_LIFE))

    def sign(self, path: str, now: float, life: int = RESULT_LIFE, method: str = "GET") -> str:
        """Return the link to `path`, quoted already, that works for `life` seconds from `now` (Unix seconds)."""
        life = min(life, self.link_life)
        date = datetime.fromtimestamp(now, UTC).strftime(_DATE)
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(life),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": self._signature(method, unquote(path), date, str(life)),
        }
        return f"{self.base_url}{path}?{urlencode(query)}"

    def check(self, method: str, path: str, query: Mapping[str, str], now: float) -> None:
        """Raise `LinkRefused` unless the link is good at `now`. `path` is not quoted: clients quote in many ways."""
        date, life = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        signature = self._signature(method, path, date, life)
        if not hmac.compare_digest(signature.encode(), query.get("X-Amz-Signature", "").encode()):
            raise LinkRefused(403, "SignatureDoesNotMatch", "The signature does not match")
        if now > datetime.strptime(date, _DATE).replace(tzinfo=UTC).timestamp() + int(life):
            raise LinkRefused(403, "AccessDenied", "Request has expired")

    def _signature(self, method: str, path: str, date: str, life: str) -> str:
        text = f"{method}\n{path}\n{date}\n{life}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
