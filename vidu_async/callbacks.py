"""Callbacks: what comes in is checked in a fixed order, kept, and passed on to the clients that want to know.

The signature does not cover the body, so a callback only says that it is time to look: what the task has come to is
asked of the gateway. The receiver knows no framework (`mounts.py`) and no client (they subscribe).
https://platform.vidu.com/docs/callback-signature
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit
from weakref import WeakSet

from attrs import define, field, setters

from vidu_async.nonces import AGE, Nonces
from vidu_async.protocol import signing
from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import CallbackError, ConfigError, JournalError
from vidu_async.protocol.notices import Notice, read_notice
from vidu_async.protocol.validation.callback_url import fault_of
from vidu_async.settings import ApiKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vidu_async.protocol.gateway import Gateway

    Read = Callable[[int], Awaitable[bytes]]
    """Reads a request's body, of at most so many bytes, or raises `CallbackError`."""

__all__ = ["CallbackReceiver", "sign_callback", "verify_callback"]

_log = logging.getLogger("vidu_async")

Verify = Literal["hmac+fetch", "token+fetch", "hmac"]
_MODES = ("hmac+fetch", "token+fetch", "hmac")
_MOST_BYTES, _MOST_PER_CHARACTER = 1024 * 1024, 4
"""Of a body, and as many more for each character of the longest payload, which it repeats."""
_LARGE = 64 * 1024
"""Bytes from which reading it would hold up the event loop."""
_SKEW = 30.0
"""Seconds by which the gateway's clock may differ from this machine's before it is taken for the right one."""
_COMPLAINTS_APART = 60.0  # seconds
_TOLD = frozenset({401, 413, 415})
"""Refusals that may mean that something is set up wrongly; any scanner of the web causes the others."""
_TARGET = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://[^/?#]*)?((?:/[^/?#]+)*)/([\w-]{1,128})(?:\?[^#]*)?", re.ASCII | re.IGNORECASE
)
"""The path of a request: what leads here, and the token."""
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_NO_KEYS = (
    "no key is known to check callbacks with: give CallbackReceiver(keys=) the API key that creates the tasks, or give "
    "the receiver to a ViduClient of Vidu itself"
)


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
            of what you accepted for as long; `CallbackReceiver` does.

    Raises:
        CallbackError: it is not signed so; `status` is what to answer.
        ConfigError: no key is given.

    """
    now = time.time() if now is None else now
    signers = signing.signers_of(keys)
    signing.verify(method=method, urls=[url], headers=headers, signers=signers, moments=[now], max_age=max_age)


def sign_callback(
    *, method: str = "POST", url: str, key: str, date: str | None = None, nonce: str | None = None
) -> dict[str, str]:
    """Return the headers with which Vidu would call back, for your tests.

    `date` is as HTTP writes it, `Tue, 06 May 2025 12:09:42 GMT`; by default it is now. `nonce` is random by default.
    """
    signing.checked([key])
    date = signing.http_date(datetime.now(UTC)) if date is None else date
    nonce = secrets.token_hex(16) if nonce is None else nonce
    return signing.sign(method=method, url=url, key=key, date=date, nonce=nonce)


class Subscriber(Protocol):
    """Who wants to hear of callbacks: a client."""

    @property
    def signer(self) -> signing.Signer | None:
        """Signs as those who call it back do, if it can."""

    @property
    def clock_offset(self) -> float:
        """Seconds by which the gateway's clock is ahead of this machine's."""

    @property
    def longest_payload(self) -> int:
        """Characters of the longest payload of its submissions."""

    async def knows(self, token: str) -> bool:
        """Whether it has a submission with this token."""

    async def hear(self, notice: Notice, *, is_believed: bool) -> bool:
        """Keep a notice, so that it outlives this process, and act on it; return whether the token is known.

        It acts without waiting. `is_believed` has the state taken from the notice, where else it is asked for.
        """


def _bases(public_url: str | Iterable[str]) -> tuple[str, ...]:
    """Return the URLs without a trailing slash; what cannot be called back is refused."""
    is_one = isinstance(public_url, (str, bytes)) or not isinstance(public_url, Iterable)
    given: tuple[object, ...] = (public_url,) if is_one else tuple(public_url)
    for url in given:
        if fault := _fault_of(url):
            raise ConfigError(f"CallbackReceiver(public_url=) must be a URL such as https://example.com/vidu: {fault}")
    if not given:
        raise ConfigError("CallbackReceiver(public_url=) must name at least one URL")
    return tuple(str(url).rstrip("/") for url in given)


def _fault_of(url: object) -> str:
    """Return what is wrong with a public URL, without its password; "" if nothing is."""
    if not isinstance(url, str) or not url:
        return f"{url!r} is none"
    if fault := fault_of(url):
        return f"{url!r} {fault}"
    parts = urlsplit(url)
    if parts.username is not None:
        return f"that of {parts.hostname} holds a user or password"
    if not url.isascii():
        return f"{url!r} must be written as it is sent, with escapes and punycode"
    return f"{url!r} has a query, or an empty part in its path" if "?" in url or "//" in parts.path.rstrip("/") else ""


def _signers(keys: Iterable[str] | None) -> tuple[signing.Signer, ...]:
    """Return what signs with each key, and shows none of them."""
    return () if keys is None else tuple(ApiKey(key).signature_of for key in signing.checked(keys))


@define(eq=False, repr=False)
class CallbackReceiver:
    """Takes callbacks in, for the clients that it is given to: `ViduClient(callbacks=receiver)`.

    Each submission of such a client is called back at `public_url/TOKEN`, a path of its own. Mount the receiver there:
    `aiohttp_app(receiver)`, `asgi_app(receiver)`, or `receive` in any other framework.

    Args:
        public_url: what the sender sees, `https://example.com/vidu`, whatever proxies make of it on the way: callbacks
            are signed for it. Several while you move: the first is registered, all are accepted.
        keys: the API keys that sign, newest first while you rotate them. By default the client's own, which signs at
            Vidu's own sites. What a gateway sends on is signed with the gateway's key, which nobody else has.
        verify: "hmac+fetch" checks the signature and asks for the result. "token+fetch", where nobody can check the
            signature, trusts who knows the token of the path (130 random bits), and asks for the result. "hmac" checks
            the signature and takes the state that the body tells, which is **not signed**, at its word; only a result's
            files are asked for. There is no way to take in what is not checked.
        max_age: seconds by which the signed date may differ from the clock.
        clock: Unix seconds, for tests.

    Its `counts` tells what came in so far: "accepted", "repeated", "unknown" (no submission is known to have the token;
    one without a journal file is forgotten with its task's end), "refused", "failed".

    Raises:
        ConfigError: a setting that cannot work.

    """

    _public: tuple[str, ...] = field(converter=_bases, alias="public_url")
    _signers: tuple[signing.Signer, ...] = field(default=None, kw_only=True, converter=_signers, alias="keys")
    verify: Verify = field(default="hmac+fetch", kw_only=True, on_setattr=setters.frozen)
    max_age: float = field(default=300.0, kw_only=True, on_setattr=setters.frozen)
    _clock: Callable[[], float] = field(default=time.time, kw_only=True)
    counts: Counter[str] = field(factory=Counter, init=False)
    """What came in so far."""
    _nonces: Nonces = field(init=False)
    _in_hand: set[str] = field(factory=set, init=False)
    """Nonces of callbacks that are being taken in."""
    _subscribers: WeakSet[Subscriber] = field(factory=WeakSet, init=False)
    _is_skewed: bool = field(default=False, init=False)
    _told: float = field(default=-math.inf, init=False)
    """When it was last said that one was refused."""
    _complained: float = field(default=-math.inf, init=False)
    """When it was last said that callbacks cannot be taken in."""

    def __attrs_post_init__(self) -> None:
        if self.verify not in _MODES:
            raise ConfigError(f"CallbackReceiver(verify=) must be one of {', '.join(_MODES)}, not {self.verify!r}")
        if not is_positive(self.max_age):
            raise ConfigError(f"CallbackReceiver(max_age=) must be a positive number, not {self.max_age!r}")
        self._nonces = Nonces(age=max(AGE, 2 * self.max_age))

    def __repr__(self) -> str:
        return f"<CallbackReceiver {self.public_url} {self.verify}>"

    @property
    def public_url(self) -> str:
        """Where new submissions are called back, less the token."""
        return self._public[0]

    @property
    def checks_signatures(self) -> bool:
        """Whether a signature is needed."""
        return self.verify != "token+fetch"

    def url_for(self, token: str) -> str:
        """Return the `callback_url` of a submission."""
        return f"{self.public_url}/{token}"

    def check_can_verify(self, gateway: Gateway) -> None:
        """Refuse callbacks of a gateway whose signature nobody here could check.

        Raises:
            ConfigError: it signs with a key of its own, or it is not known with which, and none was given.

        """
        if not self.checks_signatures or gateway.signs or (gateway.signs is None and self._signers):
            return
        why = "which signs with a key of its own" if gateway.signs is False else "and how that signs is not known"
        keys = "" if gateway.signs is False else "; or give keys=[...] if you have those that it signs with"
        raise ConfigError(
            f'CallbackReceiver(verify="{self.verify}") cannot check callbacks of {gateway.base_url}, {why}: use '
            f'verify="token+fetch" there{keys}'
        )

    def subscribe(self, subscriber: Subscriber) -> None:
        """Pass callbacks on to somebody, who is not kept alive by that."""
        self._subscribers.add(subscriber)

    async def receive(self, method: str, target: str, headers: signing.Headers, body: bytes) -> int:
        """Take in a request and return the HTTP status to answer it with, with an empty body.

        Args:
            method: "POST", else it is a 405.
            target: its path as it came, undecoded; what leads to the last part of it may be of your routing.
            headers: all of them, those that came twice included: pairs, or a multi-dict.
            body: the whole body. Where it can be read later, `answer` refuses before anything is read.

        204 is also the answer to repeats and to tokens of nobody; 401 to what is not signed, 400 to what is no JSON
        object, 404 to another path, 413 to more than 1 MiB (and 4 bytes for each character of the longest payload that
        was submitted), 415 to what is compressed, 503 while the journal cannot be written, so that it comes again.
        """
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"receive() takes the body as bytes, as it came, not {type(body).__name__}")

        async def read(most: int) -> bytes:
            check_size(len(body), most)
            return bytes(body)

        return await self.answer(method, target, headers, read)

    async def answer(self, method: str, target: str, headers: signing.Headers, read: Read) -> int:
        """Take in a request as `receive`, whose body is read only when all else is well.

        `read(most)` returns the body, and raises `CallbackError` if it has more than `most` bytes or does not come.
        """
        try:
            word, status = await self._take(method, target, headers, read), 204
        except CallbackError as error:
            self._tell_of_refusal(error)
            word, status = "refused", error.status
        except (JournalError, ConfigError) as error:  # they try again, and by then it may be well
            self._complain(error)
            word, status = "failed", 503
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            self._complain(error, exc_info=True)
            word, status = "failed", 500
        self.counts[word] += 1
        return status

    def _tell_of_refusal(self, error: CallbackError) -> None:
        """Log why a callback was refused: a wrong key would be silent else, and a flood of forged ones would not."""
        now, is_told = self._clock(), error.status in _TOLD
        if is_told and abs(now - self._told) > _COMPLAINTS_APART:
            self._told = now
            _log.warning("a callback was refused, of %d in all: %s", self.counts["refused"] + 1, error.said)
        else:
            _log.debug("a callback was refused: %s", error.said)

    def _complain(self, error: Exception, *, exc_info: bool = False) -> None:
        """Log what is wrong here, now and then: anybody can make it happen again."""
        now = self._clock()
        if abs(now - self._complained) > _COMPLAINTS_APART:
            self._complained = now
            _log.error("callbacks cannot be taken in: %s", error, exc_info=exc_info)

    async def _take(self, method: str, target: str, headers: signing.Headers, read: Read) -> str:
        """Check in this order, keep, pass on, then remember the nonce: a 503 must not make the next one a repeat."""
        if method != "POST":
            raise CallbackError(f"callbacks come by POST, not {method}", status=405)
        token, found = self._token_in(target), signing.folded(headers)
        most = _MOST_BYTES + _MOST_PER_CHARACTER * max((one.longest_payload for one in self._subscribers), default=0)
        check_size(_length(found), most)
        nonce = self._nonce_of_signed(token, headers) if self.checks_signatures else ""
        if nonce and self._nonces.knows(nonce, self._clock()):
            return "repeated"
        if found.get("content-encoding", ["identity"]) != ["identity"]:
            raise CallbackError("the callback's body is compressed, which Vidu's are not", status=415)
        if not self.checks_signatures and not await self._is_known(token):
            return "unknown"  # before anybody without a token has anything read
        if nonce in self._in_hand:
            raise CallbackError("the same callback is being taken in", status=503)
        self._in_hand |= {nonce} - {""}
        try:
            body = await read(most)
            is_large = len(body) > _LARGE
            notice = await asyncio.to_thread(read_notice, token, body) if is_large else read_notice(token, body)
            is_known = await self._tell(notice)
        finally:
            self._in_hand.discard(nonce)
        if nonce:
            self._nonces.add(nonce, self._clock())
        return "accepted" if is_known else "unknown"

    def _token_in(self, target: str) -> str:
        """Return the last part of the path; its routing is others', but it must be plain, and not the prefix alone."""
        found = _TARGET.fullmatch(target)
        bases = [urlsplit(base).path for base in self._public]
        if found is None or _DOTS.search(target) or f"{found[1]}/{found[2]}" in bases:
            raise CallbackError("this is no path of a callback", status=404)
        if found[1] not in bases and found[1].lower() in {base.lower() for base in bases}:
            raise CallbackError("this is no path of a callback: it is in another case", status=404)
        return found[2]

    def _nonce_of_signed(self, token: str, headers: signing.Headers) -> str:
        """Check the signature for the public URLs, whatever the path that a proxy has made of them."""
        signers = self._signers or tuple(one for each in self._subscribers if (one := each.signer))
        if not signers:
            raise ConfigError(_NO_KEYS)
        return signing.verify(
            method="POST",
            urls=[f"{base}/{token}" for base in self._public],
            headers=headers,
            signers=signers,
            moments=self._moments(),
            max_age=self.max_age,
            with_nonce=True,
        )

    def _moments(self) -> list[float]:
        """Return the time, also by the clocks of gateways from which this machine's is far off."""
        now, offsets = self._clock(), [one.clock_offset for one in self._subscribers]
        far = [off for off in offsets if abs(off) > _SKEW]
        if far and not self._is_skewed:
            said = "this machine's clock differs by %.0f s from the gateway's, by which callbacks are dated"
            _log.warning(said, max(far, key=abs))
        self._is_skewed = self._is_skewed or bool(far)
        return [now, *(now + off for off in far)]

    async def _is_known(self, token: str) -> bool:
        return await self._ask_all(lambda one: one.knows(token))

    async def _tell(self, notice: Notice) -> bool:
        return await self._ask_all(lambda one: one.hear(notice, is_believed=self.verify == "hmac"))

    async def _ask_all(self, ask: Callable[[Subscriber], Awaitable[bool]]) -> bool:
        """Return whether any subscriber says yes. The trouble of one keeps the others from nothing."""
        answers = await asyncio.gather(*map(ask, list(self._subscribers)), return_exceptions=True)
        troubles = [answer for answer in answers if isinstance(answer, BaseException)]
        if troubles and True not in answers:
            raise troubles[0]
        return True in answers


def check_size(size: int, most: int) -> None:
    """Refuse a body of more bytes than a callback can have."""
    if size > most:
        raise CallbackError(f"the callback's body has more than {most} bytes", status=413)


def _length(found: dict[str, list[str]]) -> int:
    """Return what the headers say of the body's length; 0 if they say nothing."""
    said = found.get("content-length", ["0"])[0].strip()
    if not (said.isascii() and said.isdigit() and len(said) < len("999999999999999999999")):
        raise CallbackError("the callback's Content-Length is no number", status=400)
    return int(said)
