"""The storage of pictures that requests refer to by `ssupload:` URIs: a place is given, filled, and taken note of.

https://platform.vidu.com/docs/image-upload
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import define, field

from vidu_async.testing import timestamps
from vidu_async.testing.links import LinkRefused, Links
from vidu_async.testing.media import picture_kind
from vidu_async.testing.refusals import Refusal, refuse_unless

PUT_LIFE: Final = 3_600
"""Seconds in which a picture can be put where it was said to go."""
_URI_LIFE: Final = 7 * 86_400
"""Seconds for which requests may refer to a picture."""
_MOST_BYTES: Final = 10 * 1024 * 1024
_SCHEME: Final = "ssupload:?id="


@define(eq=False)
class Upload:
    """One picture, from the place that was made for it to the URI it is known by. Of its content the hash is kept."""

    id: str
    uri: str = ""
    """"" until it was finished."""
    content_type: str = ""
    size: int = 0
    sha256: str = ""
    etag: str = field(default="", repr=False)
    """With its quotes, "" until the picture is there."""
    finished_at: float = 0.0
    """Unix seconds."""


@define(eq=False)
class Uploads:
    """All pictures of an account. Time is an argument, in Unix seconds."""

    _by_id: dict[str, Upload] = field(factory=dict, init=False)

    @property
    def finished(self) -> list[Upload]:
        """Those that requests may refer to, in the order in which they were begun."""
        return [upload for upload in self._by_id.values() if upload.uri]

    def begin(self, body: Mapping[str, Any], links: Links, now: float) -> dict[str, Any]:
        """Make a place for a picture; return the answer. Raises `Refusal`."""
        refuse_unless(body.get("scene") == "vidu", "FieldInvalid", "scene")
        number = str(int(now * 1_000) * 1_000 + len(self._by_id))
        self._by_id[number] = Upload(number)
        put_url = links.sign(f"/storage/{number}", now, PUT_LIFE, method="PUT")
        return {"id": number, "put_url": put_url, "expires_at": timestamps.write(now + PUT_LIFE)}

    def fill(self, number: str, headers: Mapping[str, str], content: bytes) -> str:
        """Take a picture into its place, over one that is there already; return its etag. Raises `LinkRefused`."""
        upload, kind = self._by_id[number], headers.get("Content-Type", "")
        for is_right, said in (
            ("Content-Length" in headers, "Content-Length is missing"),
            (len(content) < _MOST_BYTES, "the object is too large"),
            (picture_kind(content) == kind, f"the object is not of the type {kind}"),
        ):
            if not is_right:
                raise LinkRefused(400, "InvalidRequest", said)
        upload.content_type, upload.size = kind, len(content)
        upload.sha256 = hashlib.sha256(content).hexdigest()
        upload.etag = f'"{upload.sha256[:32]}"'
        return upload.etag

    def finish(self, number: str, body: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Take note of a picture that is there; return the answer. Raises `Refusal`."""
        upload = self._by_id.get(number)
        if upload is None:
            raise Refusal("NotFound", f"upload {number} not found")
        refuse_unless(upload.etag and body.get("etag") == upload.etag, "FieldInvalid", "etag")
        upload.uri, upload.finished_at = f"{_SCHEME}{number}", now
        return {"uri": upload.uri}

    def check(self, media: Iterable[str], now: float) -> None:
        """Refuse a medium that is said to be here and is not."""
        for uri in media:
            if uri.startswith(_SCHEME):
                upload = self._by_id.get(uri.removeprefix(_SCHEME))
                is_here = upload is not None and upload.uri and now < upload.finished_at + _URI_LIFE
                refuse_unless(is_here, "ImageDownloadFailure", f"{uri} was not uploaded, or has expired")
