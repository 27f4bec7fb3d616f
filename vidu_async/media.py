"""Pictures and clips on their way out: found in a request, looked into, and judged before anything is sent.

Where a request has media is told by the names of its fields; bytes, paths, open files and pictures in memory are found
anywhere. Each becomes a `LocalFile`, whose kind is read from its bytes (`pictures.py`), and goes out as a data URL
(`bodies.py`). Data URLs that somebody else made are looked into as well and stay as they are. Links pass.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from vidu_async import data_urls
from vidu_async.in_hand import bytes_of
from vidu_async.kinds import CLIPS, PICTURES, advice
from vidu_async.local_files import LocalFile, Stamp, facts_of, stamp_of, why
from vidu_async.protocol.catalog import BODY_LIMIT
from vidu_async.protocol.checks import path_shown, shown
from vidu_async.protocol.errors import ValidationError
from vidu_async.protocol.given import is_content, is_data_url, is_remote
from vidu_async.protocol.validation.pictures import Seen, doubts, limit_of, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vidu_async.pictures import Facts

_FIELDS = {
    "images": PICTURES,
    "videos": CLIPS,
    "start_image": PICTURES,
    "key_image": PICTURES,
    "image": PICTURES,
}
"""Fields whose strings are media, with the kinds that Vidu takes there. https://platform.vidu.com/docs/image-to-video"""

UPLOAD_LIMIT = 10 * 1024 * 1024
"""Bytes that a picture in Vidu's storage must stay below. https://platform.vidu.com/docs/image-upload"""
_SMALLER = "Save it smaller, or as JPEG; or give links"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_BASE64, _LONG = re.compile(r"[A-Za-z0-9+/_\s-]+=*\s*"), 100
"""What a text is made of that is no path, and from how many characters on."""
_AT_ONCE = 64 * 1024
"""Characters of a data URL that are looked into at once; of longer ones in a thread."""


def base64_size(length: int) -> int:
    """Return how many bytes so many become as base64."""
    return 4 * -(-length // 3)


def has_local(body: Mapping[str, Any] | None) -> bool:
    """Whether a body has media that take a while to look at, so that `resolved` belongs in a thread."""
    try:
        return _is_slow(body, accepted=None)
    except RecursionError:
        return True  # `resolved` refuses it


def _is_slow(value: object, accepted: frozenset[str] | None) -> bool:
    if isinstance(value, dict):
        return any(_is_slow(item, _FIELDS.get(name)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return any(_is_slow(item, accepted) for item in value)
    if accepted and is_data_url(value):
        return len(value) > _AT_ONCE  # type: ignore[arg-type]  # a text, that is
    return _is_local(value, accepted)


def _is_local(value: object, accepted: frozenset[str] | None) -> bool:
    if value is None or type(value) in _PLAIN:  # quick: the commonest
        return type(value) is str and bool(accepted) and not is_remote(value)
    if isinstance(value, str) and not isinstance(value, PathLike):
        return bool(accepted) and not is_remote(value)
    return isinstance(value, PathLike) or is_content(value)


_PLAIN = (str, int, float, bool)


@frozen
class Examined:
    """A body whose media were looked at."""

    body: dict[str, Any]
    """The body, with a `LocalFile` in each place that goes out as a data URL."""
    doubts: tuple[ValidationError, ...]
    """What pages leave open about its pictures and clips."""


def resolved(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a creation's body with every local file in it opened and checked, as `LocalFile`; else as `examined`."""
    return examined(body, "").body


def examined(body: Mapping[str, Any], endpoint: str, upload_above: int | None = None) -> Examined:
    """Look at all media of a creation's body, by the rules of its endpoint; "" has none.

    Raises:
        ValidationError: one is missing, unreadable, cut short, or of a kind or size that Vidu does not take; or all
            that go out within the request (`is_uploaded` says which do not), as base64, are larger than it may be.

    """
    look = _Look(endpoint)
    try:
        found: dict[str, Any] = look.resolve(dict(body), "", None)
    except RecursionError:
        raise ValidationError("the request is nested without end") from None
    for error in refusals(endpoint, look.seen):
        raise error
    inline = sum(base64_size(file.size) for file in files(found) if not is_uploaded(file, upload_above))
    if inline > BODY_LIMIT:
        said = f"the local files take {inline} bytes as base64; a request holds {BODY_LIMIT}. {_SMALLER}"
        raise ValidationError(said, field="images", value=inline, allowed=(BODY_LIMIT,))
    return Examined(found, tuple(doubts(endpoint, look.seen)))


@define(eq=False)
class _Look:
    """One look at a body; it collects what was seen."""

    _endpoint: str
    seen: list[Seen] = field(factory=list, init=False)

    def resolve(self, value: Any, place: str, accepted: frozenset[str] | None) -> Any:  # noqa: ANN401 - JSON, and files in it
        """Open what is local, wherever it is; texts only where a field is for media. `place` is for messages."""
        if isinstance(value, dict):
            prefix = f"{place}." if place else ""
            return {name: self.resolve(item, f"{prefix}{name}", _FIELDS.get(name)) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.resolve(item, f"{place}[{index}]", accepted) for index, item in enumerate(value)]
        if accepted and is_data_url(value):
            self._look_into(value, place, accepted)
        elif _is_local(value, accepted):
            return self._opened(value, place, accepted or PICTURES | CLIPS)
        return value

    def _look_into(self, url: str, place: str, accepted: frozenset[str]) -> None:
        """Check a data URL, which stays as it is."""
        if len(url) > BODY_LIMIT:
            said = f"{place}: the data URL has {len(url)} characters; a request holds {BODY_LIMIT}. {_SMALLER}"
            raise ValidationError(said, field=place, value=url, allowed=(BODY_LIMIT,))
        stated, content = data_urls.opened(url, place)
        facts = facts_of(content, None)
        kind = self._accepted(facts, place, url, " in a data URL", accepted)
        if data_urls.contradicts(stated, kind):
            said = f"{place}: the data URL says {stated}, but what it holds is {kind}"
            raise ValidationError(said, field=place, value=url, allowed=(kind,))

    def _opened(self, value: Any, place: str, accepted: frozenset[str]) -> LocalFile:  # noqa: ANN401 - as it is given
        """Look at a file or at what is in memory."""
        limit = limit_of(self._endpoint, place, is_picture=accepted <= PICTURES)
        source, stamp = (bytes_of(value, place, limit), None) if is_content(value) else _found(value, place)
        size, name = (stamp.size, f" ({source!s})") if stamp else (len(source), "")  # type: ignore[arg-type]  # bytes
        if size > limit:
            said = f"{place} takes files of up to {limit} bytes, and this one has more{name}. {_SMALLER}"
            raise ValidationError(said, field=place, value=value, allowed=(limit,))
        try:
            facts = facts_of(source, stamp)
        except OSError as error:
            raise _unreadable(value, place, error) from None
        kind = self._accepted(facts, place, value, name, accepted)
        return LocalFile(source, kind, size, stamp, facts.pixels)

    def _accepted(self, facts: Facts, place: str, value: object, name: str, accepted: frozenset[str]) -> str:
        """Refuse what Vidu refuses of any picture or clip; return the kind."""
        if facts.kind not in accepted:
            said = f"{place} must be one of {', '.join(sorted(accepted))}, not {facts.found}{name}"
            said += advice(facts.kind, accepted)
            raise ValidationError(said, field=place, value=value, allowed=sorted(accepted))
        if facts.trouble:
            said = f"{place}: this {facts.found}{name} {facts.trouble}. Fetch or make it anew"
            raise ValidationError(said, field=place, value=value)
        self.seen.append(Seen(place, name, facts.pixels, facts.is_animated))
        return facts.found


def _found(value: str | PathLike[str], place: str) -> tuple[Path, Stamp]:
    """Return a file's path, and what tells it from any other."""
    try:
        path = Path(value).expanduser()
        return path, stamp_of(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(value, place, error) from None


def _unreadable(value: object, place: str, error: Exception) -> ValidationError:
    text, reason = str(value), why(error)
    scheme = _SCHEME.match(text)
    if scheme:
        reason = f"{scheme[1]}: is no link that Vidu follows"
    elif len(text) > _LONG and _BASE64.fullmatch(text):
        reason = "is it base64? Give the bytes, or put data:image/png;base64, with the right type before it"
    elif isinstance(error, FileNotFoundError) and not Path(text).is_absolute():
        reason = f"{reason} in {Path.cwd()}"
    name = path_shown(value) if isinstance(value, Path) else shown(text)
    said = f"{place}: {name} is neither an http(s) or data URL nor a readable file ({reason})"
    return ValidationError(said, field=place, value=value)


def files(value: object) -> Iterator[LocalFile]:
    """Iterate over the files of a resolved body."""
    if isinstance(value, LocalFile):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from files(item)


def is_uploaded(file: LocalFile, above: int | None) -> bool:
    """Whether a file goes to Vidu's storage instead of into the request: a picture of more bytes than `above`."""
    return above is not None and file.kind in PICTURES and above < file.size < UPLOAD_LIMIT


def picture(value: object, place: str) -> LocalFile:
    """Return a picture of this machine, opened and checked for being uploaded; `place` is for messages.

    Raises:
        ValidationError: it is missing, unreadable, none, or too large.

    """
    look = _Look("")
    found = look.resolve(value, place, PICTURES)
    if not isinstance(found, LocalFile):
        said = f"{place} must be a picture of this machine, not {shown(value)}; a URL goes into requests as it is"
        raise ValidationError(said, field=place, value=value)
    if found.size >= UPLOAD_LIMIT:
        said = f"{place} must be smaller than {UPLOAD_LIMIT} bytes to be uploaded, not {found.size}. {_SMALLER}"
        raise ValidationError(said, field=place, value=value, allowed=(UPLOAD_LIMIT,))
    for error in refusals("img2video", look.seen):  # whose rules for pixels are those of the storage's page
        raise error
    return found


def swapped(value: Any, places: Mapping[LocalFile, str]) -> Any:  # noqa: ANN401 - JSON, and files in it
    """Return a resolved body with texts in the places of some of its files."""
    if isinstance(value, LocalFile):
        return places.get(value, value)
    if isinstance(value, dict):
        return {name: swapped(item, places) for name, item in value.items()}
    return [swapped(item, places) for item in value] if isinstance(value, list) else value


def has_files(body: Mapping[str, Any]) -> bool:
    """Whether a resolved body has local files in it, so that `digest` will read them."""
    return any(True for _ in files(body))


def encoded(body: Mapping[str, Any], place: Callable[[LocalFile], object]) -> bytes:
    """Return a resolved body as compact JSON in UTF-8, with what `place` says where its files are, in their order.

    Raises:
        ValidationError: a value that JSON does not hold.

    """

    def stand_in(value: object) -> object:
        if isinstance(value, LocalFile):
            return place(value)
        raise ValidationError(f"{shown(value)} is nothing that JSON holds", value=value)

    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=stand_in).encode()
    except ValidationError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ValidationError(f"the request holds what JSON cannot: {error}") from None


def digest(body: Mapping[str, Any]) -> str:
    """Return a hash that two resolved bodies share only if they ask for the same, files included.

    Files are read, in constant memory: call it in a thread if `has_files`.

    Raises:
        ValidationError: a value that JSON does not hold, or a file that has changed since it was looked at.

    """
    mark = secrets.token_hex()
    text = encoded(body, lambda file: {mark: file.sha256()})
    # Read back first: only then are all names texts, which can be sorted.
    canonical = json.dumps(json.loads(text), sort_keys=True)
    # A name without quotes is no JSON, so that no body without a file can have the same text.
    return hashlib.sha256(canonical.replace(f'"{mark}"', "sha256").encode()).hexdigest()
