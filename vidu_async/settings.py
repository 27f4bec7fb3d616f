"""What a client is told: its key, its site and how patient to be. Wrong settings are refused when they are given."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, NoReturn
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import ConfigError
from vidu_async.protocol.gateway import Gateway
from vidu_async.protocol.signing import signature


def _seconds(_: object, attribute: Any, value: float) -> None:  # noqa: ANN401 - attrs' own generic
    if not is_positive(value):
        raise ConfigError(f"Timeouts({attribute.name}=) must be a positive number of seconds, not {value!r}")


@frozen
class Timeouts:
    """How long to be patient, in seconds.

    Args:
        connect: finding the address, connecting and shaking hands.
        read: silence of the server before an answer, or within one; of a question, until all of its answer is there.
        write: no progress while sending.
        submit: waiting through 429s before a submission fails with `RateLimitError`.
        quiet: looking for a creation whose answer was lost: five looks, after 1/120, 1/40, 1/10, 3/10 and all of it.

    """

    connect: float = field(default=10.0, validator=_seconds)
    read: float = field(default=120.0, validator=_seconds)
    write: float = field(default=60.0, validator=_seconds)
    submit: float = field(default=600.0, validator=_seconds)
    quiet: float = field(default=600.0, validator=_seconds)


_LEAST_SECRET = 12
"""Characters of a key below which hiding it would spoil the words around it."""


class ApiKey:
    """The key, which shows itself nowhere but in the header it is made for."""

    __slots__ = ("__forms", "__text")

    def __init__(self, text: str) -> None:
        self.__text = text
        self.__forms = re.compile("".join(map(_forms, text)).encode()) if len(text) >= _LEAST_SECRET else None

    def header(self, gateway: Gateway) -> dict[str, str]:
        """Return the header that carries the key, as this gateway wants it."""
        return {gateway.auth_header: f"{gateway.auth_scheme} {self.__text}".strip()}

    def signature_of(self, text: str) -> str:
        """Sign as Vidu signs its callbacks."""
        return signature(self.__text, text)

    def hidden_in(self, content: bytes) -> bytes:
        """Return an answer without the key, which a server may repeat in the text of a refusal."""
        return self.__forms.sub(b"***", content) if self.__forms else content

    def hidden_in_text(self, value: str) -> str:
        """Return the value of a header without the key. It may hold bytes that are no text, which aiohttp escapes."""
        return self.hidden_in(value.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    @property
    def print(self) -> str:
        """The beginning of its hash, which tells accounts apart and gives nothing away."""
        return hashlib.sha256(self.__text.encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled; make the client where it is needed")


def _forms(char: str) -> str:
    """Return a pattern of what a character may look like in JSON: itself, behind a backslash, or by its number."""
    return char if char.isalnum() else f"(?:\\\\?{re.escape(char)}|\\\\u00(?i:{ord(char):02x}))"


def fault_of(key: str) -> str | None:
    """Say what is wrong with an API key, without showing it."""
    if not isinstance(key, str):
        return f"the API key (api_key=, VIDU_API_KEY) must be text, not {type(key).__name__}"
    if not key:
        return "no API key: pass ViduClient(api_key=...) or set VIDU_API_KEY; without base_url it is for www.kkiai.com"
    if key.lower().startswith(("bearer ", "token ")) or key.lower() in {"bearer", "token"}:
        return "the API key (VIDU_API_KEY) must be the key alone; the word before it is Gateway(auth_scheme=)"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "the API key (VIDU_API_KEY) contains a space, a line break or a character no key has"
    return None


def check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401 - whatever isinstance takes
    """Refuse a setting of another type now: found out later, it might cost a paid task its waiter."""
    if not isinstance(value, kind):
        names = " or ".join(one.__name__ for one in getattr(kind, "__args__", (kind,)))
        raise ConfigError(f"{name}= must be {names.replace('NoneType', 'None')}, not {value!r}")


def check_bytes(name: str, value: object) -> None:
    """Refuse a number of bytes that is none; None is no bound."""
    if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        raise ConfigError(f"{name}= must be a number of bytes from 0 on, or None, not {value!r}")


def check_proxy(proxy: str | None) -> None:
    """Refuse what is no HTTP proxy's URL, without showing its password."""
    if proxy is None:
        return
    parts = urlsplit(proxy) if isinstance(proxy, str) else None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = f"{parts.scheme}://..." if parts and parts.password else repr(proxy)
        raise ConfigError(f"proxy= must be the URL of an HTTP proxy, http://host:port, not {shown}")


def gateway_from(gateway: Gateway | None, base_url: str | None) -> Gateway:
    """Choose the site: the gateway given (at the URL given, if both are), else the URL's preset, else the default."""
    if gateway is not None:
        return gateway if base_url is None else evolve(gateway, base_url=base_url)
    if base_url is not None:
        return Gateway.at(base_url)
    found = os.environ.get("VIDU_BASE_URL")
    return Gateway.at(found) if found else Gateway.kkiai()
