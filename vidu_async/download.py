"""From a finished task to a file on disk, over as many connections as it takes.

A transfer that is cut is gone on with where it ended, if the server proves by its ETag that the rest is the rest of the
same file. A link that has expired is asked for anew. What arrives is looked at: an error page is no result. Under its
final name a file is never partial (`part.py`), and its name is of our making (`targets.py`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.disk import Appender, at_once, in_thread
from vidu_async.kinds import CLIPS, HEAD, PICTURES, kind_of
from vidu_async.part import Part
from vidu_async.protocol.errors import (
    ConnectError,
    DownloadError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TLSError,
    TransportError,
    ViduError,
)
from vidu_async.protocol.models import Task
from vidu_async.retry import waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vidu_async.protocol.answers import Answer
    from vidu_async.protocol.models import Creation
    from vidu_async.targets import Target, Variant
    from vidu_async.transport import Transport

Told = Callable[[int, int | None], None]
"""Hears of the bytes that have come, and of how many there are, if the server says so."""

SIZE_LIMIT = 4 * 1024**3
"""Bytes of a result that are accepted."""
_CHUNK = 256 * 1024
"""Bytes written at once, in a thread: a disk may be slow, and the event loop is not to wait for it."""
_TRIES = 5
"""Times that it is tried without coming further."""
_STEP = 64 * 1024
"""Bytes that count as having come further."""
_LONGEST = 120.0
"""Seconds that a server may have the next try wait."""
_ERROR = 1024
"""Bytes of a refusal that are read."""

_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})")
_PARTIAL, _BEYOND, _TOO_MANY = 206, 416, 429
_ENDS = frozenset({"content-length", "transfer-encoding"})
"""One of these says where an answer ends; else its connection's end does, which proves nothing."""
_EXPIRED = frozenset({401, 403, 404, 410})


class _StaleLinkError(DownloadError):
    """The link is no longer any good; a fresh one may be."""


class _TooLargeError(DownloadError):
    """What has arrived is not kept."""


class _PassingError(DownloadError):
    """The server's trouble, which waiting may help."""

    is_passing = True
    retry_after: float | None = None
    """Seconds that the server asks to wait."""


_PASSING = (ConnectError, TransportError, RequestTimeoutError, ServerError, RateLimitError, _PassingError)


def kind_expected(found: Task | Creation, variant: Variant) -> str:
    """Return `image` or `video`, as far as it is known what a result is; else ""."""
    if variant == "cover_url":
        return "image"
    made = (found.type or "") if isinstance(found, Task) else ""
    return next((kind for kind in ("image", "video") if made.endswith(f"2{kind}")), "")


@define(eq=False)
class Download:
    """One result on its way: from which link, and to where."""

    creation: Creation
    target: Target
    variant: Variant
    kind: str
    """`image` or `video`; "" if that is not known."""
    _told: Told
    _refresh: Callable[[], Awaitable[Creation]]
    """Asks for the creation anew, with fresh links."""
    most: int = SIZE_LIMIT
    """Bytes that are accepted."""
    _writer: Appender = field(factory=Appender)

    async def run(self, transport: Transport) -> Path:
        """Download it.

        Raises:
            DownloadError: no link, a refused or broken transfer, something that is no picture or video, or a disk's no.

        """
        target = self.target
        present = await in_thread(partial(target.present, self.kind))
        if present and target.exists == "skip":
            return present
        if present and target.exists == "error":
            raise target.refusal(present)
        failure: DownloadError
        try:
            return await self._saved(transport)
        except ViduError as error:
            failure = DownloadError(f"the result of task {self.creation.task_id} was not saved: {error.said}")
            failure.advice, failure.task_id = error.advice, self.creation.task_id
            failure.is_passing = isinstance(error, _PASSING) or getattr(error, "is_passing", False)
            failure.errno = getattr(error, "errno", None)
        raise failure

    def _link(self) -> str:
        link: str | None = getattr(self.creation, self.variant)
        if not link:
            raise DownloadError(f"it has no {self.variant}")
        return link

    async def _saved(self, transport: Transport) -> Path:
        folder, title = self.target.folder, self.target.title
        await in_thread(partial(folder.mkdir, parents=True, exist_ok=True))
        what = f"{self.creation.task_id} {self.creation.id} {self.variant}"
        part = at_once(partial(Part.open, folder, title, what, shares=self.target.exists != "rename"))
        keeps = True
        try:
            await self._receive_all(transport, part)
            head = part.head(HEAD)
            return await in_thread(partial(part.publish, lambda path: self.target.publish(path, head)))
        except _TooLargeError:
            keeps = False
            raise
        finally:
            part.close(keeps=keeps)

    async def _receive_all(self, transport: Transport, part: Part) -> None:
        """Ask until all of it is there: with a fresh link once, and again where it was cut as long as it comes on."""
        link, is_refreshed = self._link(), False
        pauses, stalls, most = waits(), 0, part.size
        while True:
            try:
                link = link or await self._fresh_link()
                return await transport.download(link, partial(self._receive, part), _rest_of(part))
            except _StaleLinkError:
                if is_refreshed:
                    raise
                link, is_refreshed = "", True
                continue
            except _PASSING as error:
                has_come_on, most = part.size >= most + _STEP, max(most, part.size)
                stalls = 0 if has_come_on else stalls + 1
                if stalls >= _TRIES or isinstance(error, TLSError):
                    raise
                pauses = waits() if has_come_on else pauses
                wanted = getattr(error, "retry_after", None) or 0.0
            await asyncio.sleep(max(next(pauses), min(wanted, _LONGEST)))

    async def _fresh_link(self) -> str:
        self.creation = await self._refresh()
        return self._link()

    async def _receive(self, part: Part, head: Answer, pieces: AsyncIterator[bytes]) -> None:
        """Take in an answer: all of the result, or the rest of it."""
        if head.status in {_PARTIAL, _BEYOND}:
            total = _total_of(head, part)
            if total is None:
                at_once(partial(part.begin, None))
                raise _PassingError("the server did not go on where it was cut")
            await self._write(part, pieces, total)
        elif head.is_ok:
            length = head.headers.get("content-length", "") if _is_plain(head) else ""
            total = int(length) if length.isascii() and length.isdigit() else None
            self._check_size(total or 0)
            first = await self._first(pieces)
            # Not in a thread, either: if the connection breaks now, what nobody has read is lost.
            at_once(partial(part.begin, head.headers.get("etag") if _is_plain(head) else None))
            await self._write(part, pieces, total, first)
        else:
            raise _refused(head, await _beginning(pieces))
        if total is not None and part.size != total:
            raise TransportError(f"{part.size} of {total} bytes have come")
        if not _is_end_known(head):
            await in_thread(partial(_check_end, part))

    async def _first(self, pieces: AsyncIterator[bytes]) -> list[bytes]:
        """Return the first pieces, once it is known that they are of a result: until then what is there stays."""
        first: list[bytes] = []
        async for piece in pieces:
            first.append(piece)
            if sum(map(len, first)) >= HEAD:
                break
        self._check(b"".join(first)[:HEAD])
        return first

    async def _write(
        self, part: Part, pieces: AsyncIterator[bytes], total: int | None, held: list[bytes] | None = None
    ) -> None:
        """Write all pieces, a quarter of a megabyte at a time; what has come before a cut, too."""
        held = held or []
        size = sum(map(len, held))
        try:
            async for piece in pieces:
                held.append(piece)
                size += len(piece)
                if size >= _CHUNK:
                    self._check_size(part.size + size)
                    await self._append(part, held, total)
                    held, size = [], 0
        except ViduError:
            raise
        except Exception:  # a cut, which transport names
            await self._append(part, held, total)
            raise
        await self._append(part, held, total)

    async def _append(self, part: Part, held: list[bytes], total: int | None) -> None:
        if held:
            await self._writer.append(part, held)
            self._told(part.size, total)

    def _check_size(self, size: int) -> None:
        if size > self.most:
            raise _TooLargeError(f"the result is larger than {self.most} bytes")

    def _check(self, first: bytes) -> None:
        """Refuse what is no result: nothing at all, an error page in its place, or a picture where a film should be."""
        kind = kind_of(first) or ""
        if not first:
            raise DownloadError("the link answered an empty file")
        if not kind and _is_xml(first):
            raise _StaleLinkError(f"a fresh link answered an error, too: {first!r}")
        if not kind and _is_text(first):
            raise DownloadError(f"the link answered a page instead of a result: {first!r}")
        if self.kind and kind.startswith(("image/", "video/")) and not kind.startswith(self.kind):
            raise DownloadError(f"the link answered {kind} where the result is {self.kind}")


def _rest_of(part: Part) -> dict[str, str]:
    """Return the headers that ask for what is missing, and for all of it if it is another file by now."""
    if part.etag is None or not part.size:
        return {}
    return {"Range": f"bytes={part.size}-", "If-Range": part.etag}


def _total_of(head: Answer, part: Part) -> int | None:
    """Return how long the whole is of which the rest has been answered; None if this is not that rest."""
    found = _RANGE.fullmatch(head.headers.get("content-range", ""))
    is_same = part.etag is not None and head.headers.get("etag") == part.etag
    is_rest = head.status == _PARTIAL and found and int(found[1]) == part.size and is_same and _is_plain(head)
    return int(found[2]) if found and is_rest else None


def _is_plain(head: Answer) -> bool:
    """Whether lengths, ranges and ETags are those of the file, rather than of something it was packed into."""
    return head.headers.get("content-encoding", "identity") == "identity"


def _refused(head: Answer, said: bytes) -> DownloadError:
    """Return what a refusal means: ask for a fresh link, try again, or neither."""
    if head.status in _EXPIRED or _is_xml(said):
        return _StaleLinkError(f"a fresh link answered {head.status}, too")
    if head.status >= 500 or head.status == _TOO_MANY:  # noqa: PLR2004 - the server's trouble
        error = _PassingError(f"the link answered {head.status}")
        error.retry_after = head.retry_after
        return error
    return DownloadError(f"the link answered {head.status}")


def _is_end_known(head: Answer) -> bool:
    """Whether a cut would have shown, rather than passed for the end."""
    return bool(_ENDS & head.headers.keys()) and _is_plain(head)


def _check_end(part: Part) -> None:
    """Look whether a result is whole that no length was told of, or that was packed."""
    facts = part.look()
    if facts.kind not in PICTURES | CLIPS:
        raise DownloadError("the link's server does not say where the result ends, so that a cut would not show")
    if facts.trouble:
        raise TransportError(f"what has come {facts.trouble}")


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """Return as much of a refusal's text as shows what it is."""
    said = b""
    async for piece in pieces:
        said += piece
        if len(said) >= _ERROR:
            break
    return said[:_ERROR]


def _is_xml(first: bytes) -> bool:
    """Whether this is how an object store refuses. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html."""
    return first.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"<?xml", b"<Error"))


def _is_text(first: bytes) -> bool:
    """Whether bytes are readable, which no picture, film or sound is; a page is, in whatever alphabet it goes on."""
    if first.lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t\0")[:1] in {b"<", b"{", b"["}:
        return True
    try:
        said = first.decode()
    except UnicodeDecodeError as error:
        said = first[: error.start].decode() if error.start > HEAD - 4 else "\0"  # a character cut at the end
    return all(char.isprintable() or char.isspace() for char in said)
