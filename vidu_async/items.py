"""What a batch works through: requests from anywhere, each under a key by which the next run knows it again.

An item's key is the caller's, or else made of what the request asks for, the content of its files included, and of how
often the same was asked for before. So a changed row is a new item, and twice the same are two.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Sized
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from vidu_async import rows
from vidu_async.protocol.errors import ConfigError, ValidationError, ViduError
from vidu_async.protocol.requests import Request

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Source = str | os.PathLike[str] | Iterable[object] | AsyncIterable[object]
"""A file's path, or anything to iterate over that yields requests or pairs of key and request."""

_PAIR = 2
_MADE = re.compile(r"row-[0-9a-f]{32}-\d+")
_DIGITS = 32
"""Hexadecimal digits of a hash that make a key."""


@frozen
class Item:
    """One thing to create, or what is wrong with it."""

    key: str | None
    """None where it is wrong and nobody named it."""
    request: Request | None
    is_named: bool = False
    """Whether the key is the caller's own."""
    place: str = ""
    """Where it stands, such as `jobs.jsonl:3`; "" if it comes from no file."""
    error: ViduError | None = None


@define(eq=False)
class Namer:
    """Gives keys to items that have none, and none twice. It keeps some hundred bytes for each item."""

    _fingerprint: Callable[[Request], Awaitable[str]]
    """The hash of a request, its files included."""
    _times: Counter[bytes] = field(factory=Counter, init=False)
    _keys: set[str] = field(factory=set, init=False)
    """The callers' own."""

    async def named(self, item: Item) -> Item:
        """Return an item with a key; or with what is wrong with it: a file that cannot be read, a key used before."""
        if item.request is None:
            return item
        if item.key is not None:
            return self._with_own(item, item.key)
        try:
            digest = (await self._fingerprint(item.request))[:_DIGITS]
        except ViduError as error:
            return evolve(item, error=placed(error, item.place))
        self._times[bytes.fromhex(digest)] += 1
        return evolve(item, key=f"row-{digest}-{self._times[bytes.fromhex(digest)]}")

    def _with_own(self, item: Item, key: str) -> Item:
        said = "looks like one that a batch makes itself" if _MADE.fullmatch(key) else ""
        said = "stands here twice: each item needs one of its own" if key in self._keys else said
        self._keys.add(key)
        if not said:
            return item
        return evolve(item, error=placed(ValidationError(f"key {key!r} {said}", field="key", value=key), item.place))


def placed(error: ViduError, place: str) -> ViduError:
    """Return an error that says where the request stands that is wrong."""
    if not place or not isinstance(error, ValidationError):
        return error
    return ValidationError(f"{place}: {error.said}", field=error.field, value=error.value, allowed=error.allowed)


def check_source(source: object) -> None:
    """Refuse what cannot be iterated over, before anything is paid."""
    if isinstance(source, (Request, tuple)) or not isinstance(source, (str, os.PathLike, Iterable, AsyncIterable)):
        said = f"requests= must be a file's path or yield requests or (key, request), not {type(source).__name__}"
        raise ConfigError(said)
    if isinstance(source, (str, os.PathLike)):
        rows.check_suffix(source)


def is_rereadable(source: Source) -> bool:
    """Whether a source may be iterated over twice."""
    return isinstance(source, (str, os.PathLike, Collection))


async def size_of(source: Source) -> int | None:
    """Return how many items a source has, None where only iterating over it would tell."""
    if isinstance(source, (str, os.PathLike)):
        return await asyncio.to_thread(rows.count, source)
    return len(source) if isinstance(source, Sized) else None


async def items(source: Source, endpoint: str | None) -> AsyncGenerator[Item, None]:
    """Iterate over the items of a source. Close it when done: a file is open meanwhile."""
    if isinstance(source, (str, os.PathLike)):
        for entry in rows.read(source, endpoint=endpoint):
            request = entry.found if isinstance(entry.found, Request) else None
            error = entry.found if isinstance(entry.found, ViduError) else None
            yield Item(entry.key, request, entry.key is not None, entry.place, error)
    elif isinstance(source, AsyncIterable):
        async for given in source:
            yield _item(given)
    else:
        for given in source:
            yield _item(given)


def _item(given: object) -> Item:
    """Read what an iterable of the caller's yields."""
    if isinstance(given, Request):
        return Item(None, given)
    if isinstance(given, tuple) and len(given) == _PAIR and isinstance(given[0], str) and given[0]:
        key, request = given
        if isinstance(request, Request):
            return Item(key, request, is_named=True)
        return Item(key, None, is_named=True, error=_no_request(request))
    return Item(None, None, error=_no_request(given))


def _no_request(given: object) -> ValidationError:
    said = f"a request or a pair of key and request is needed, not {type(given).__name__}"
    return ValidationError(f"{said}; request_from_wire() builds one of a mapping", field="request", value=given)
