"""Data URLs as somebody else made them: checked to the letter, and sent as they are.

Nothing is repaired silently: what one reader forgives another garbles, and the credits are spent by then.
"""

from __future__ import annotations

import binascii
import re

from vidu_async.protocol.errors import ValidationError

_HEAD = re.compile(r"data:([^,]*),")
_TYPE = re.compile(r"([\w.+-]+/[\w.+-]+);base64", re.ASCII)
_ALIASES = {
    "image/jpg": "image/jpeg",
    "video/mov": "video/quicktime",
    "video/avi": "video/x-msvideo",
    "video/vnd.avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
}
_FOREIGN = re.compile(r"[^A-Za-z0-9+/=]")
_SAME = frozenset({"video/mp4", "video/quicktime"})
"""Two names of one way to write films, which many programs do not tell apart."""


def opened(url: str, place: str) -> tuple[str, bytes]:
    """Return the media type that a data URL states, and the content.

    Raises:
        ValidationError: it is not written as the API wants it.

    """
    head = _HEAD.match(url)
    stated = _TYPE.fullmatch(head[1]) if head else None
    if head is None or stated is None:
        said = f"{place}: a data URL is data:image/png;base64,... with the file's own type, not {_start(url)}"
        raise ValidationError(said, field=place, value=url)
    kind = stated[1].lower()
    try:
        return _ALIASES.get(kind, kind), binascii.a2b_base64(url[head.end() :].encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        why = _why(url, head.end()) or str(error)
    said = f"{place}: the content of the data URL is no base64 ({why}); write it with base64.b64encode"
    raise ValidationError(said, field=place, value=url)


def contradicts(stated: str, kind: str) -> bool:
    """Whether the bytes are of another type than was stated."""
    return stated != kind and not {stated, kind} <= _SAME


def _start(url: str) -> str:
    head = url[:40].partition(",")[0]
    return f"'{head},...'"


def _why(url: str, start: int) -> str:
    """Say what is wrong with base64, if a character is."""
    wrong = _FOREIGN.search(url, start)
    if wrong is None:
        return ""
    kind = "white space" if wrong[0].isspace() else _KINDS.get(wrong[0], "none of its letters")
    return f"{wrong[0]!r} at character {wrong.start() - start} is {kind}"


_KINDS = {"-": "of the alphabet for URLs", "_": "of the alphabet for URLs", "%": "escaped for a URL"}
