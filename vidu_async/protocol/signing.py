"""The signature of a callback: what is signed, signing it, and refusing what is not signed so. Pure: `now` is given.

It covers the method, the callback's path and query, the date and the headers that it names, but **not the body**: who
holds a valid one knows that a callback is due, and asks the gateway what it is about.
https://platform.vidu.com/docs/callback-signature
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from urllib.parse import unquote

from vidu_async.protocol.errors import CallbackError, ConfigError

ALGORITHM, ACCESS_KEY = "hmac-sha256", "vidu"
_SIGNATURE, _ALGORITHM, _ACCESS_KEY, _SIGNED = (
    f"x-hmac-{name}" for name in ("signature", "algorithm", "access-key", "signed-headers")
)
_DATE, _NONCE = "Date", "x-request-nonce"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP_DATE = re.compile(rf"[A-Z][a-z]{{2}}, (\d\d) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
"""https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7"""
_BREAKS = re.compile(r"[\r\n\0]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#]*", re.IGNORECASE)

_MOST_SIGNED = 16
"""Headers that a callback may sign: two are documented."""
_SECRETS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that nobody has a reason to sign, and whose content a signature could be made to tell."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
Signer = Callable[[str], str]
"""Returns the signature of a text by a key that it keeps."""


def sign(*, method: str, url: str, key: str, date: str, nonce: str) -> dict[str, str]:
    """Return the headers with which Vidu would call back, at a date as HTTP writes it."""
    names = (_DATE, _NONCE)
    values = {_DATE: date, _NONCE: nonce}
    path, query = _target(url)
    text = signing_string(method, path, query, date, [(name, values[name]) for name in names])
    return {
        "X-HMAC-SIGNATURE": signature(key, text),
        "X-HMAC-ALGORITHM": ALGORITHM,
        "X-HMAC-ACCESS-KEY": ACCESS_KEY,
        "X-HMAC-SIGNED-HEADERS": ";".join(names),
        **values,
    }


def verify(
    *,
    method: str,
    urls: Iterable[str],
    headers: Headers,
    signers: Iterable[Signer],
    moments: Iterable[float],
    max_age: float,
    with_nonce: bool = False,
) -> str:
    """Refuse a callback that nobody has signed for one of the URLs, or within `max_age` seconds of any of the moments.

    Return its signed nonce, "" where it signs none and `with_nonce` does not ask for it.

    Raises:
        CallbackError: with the HTTP status to answer it with, 401 for all that is wrong with the headers.

    """
    found = folded(headers)
    date = _one(found, _DATE)
    lines = _signed(found, (_DATE, _NONCE) if with_nonce else (_DATE,))
    _check_scheme(found)
    targets = [target for url in urls for target in _targets(url)]
    texts = [signing_string(method, path, query, date, lines) for path, query in targets]
    given = _one(found, _SIGNATURE).strip().encode("utf-8", "backslashreplace")
    made = [sign_text(text).encode() for sign_text in signers for text in texts]
    if not sum(hmac.compare_digest(given, one) for one in made):  # each is compared: how long it takes tells nothing
        raise CallbackError("no key given has signed this callback for this method and URL", status=401)
    signed_at = _moment(date)
    age = min((now - signed_at for now in moments), key=abs)
    if abs(age) > max_age:
        raise CallbackError(f"the callback was signed {age:.0f} s ago, and {max_age:g} s are allowed", status=401)
    return next((value for name, value in lines if name.lower() == _NONCE), "")


def signing_string(method: str, path: str, query: str, date: str, lines: Iterable[tuple[str, str]]) -> str:
    """Return what is signed, each line with its end."""
    parts = (method.upper(), path, query, ACCESS_KEY, date, *(f"{name}:{value}" for name, value in lines))
    return "".join(f"{part}\n" for part in parts)


def signature(key: str, text: str) -> str:
    """Return the signature of a text."""
    digest = hmac.new(key.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")


def http_date(moment: datetime) -> str:
    """Write a moment as HTTP does, whatever the locale."""
    utc = moment.astimezone(UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[utc.weekday()]
    return f"{day}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} {utc:%H:%M:%S} GMT"


def signers_of(keys: Iterable[str]) -> list[Signer]:
    """Return what signs with each key."""
    return [partial(signature, key) for key in checked(keys)]


def checked(keys: Iterable[str]) -> list[str]:
    """Return the keys; to have none would be to accept nothing, or everything, by an oversight."""
    listed = [keys] if isinstance(keys, str) else list(keys)
    if not listed or not all(isinstance(key, str) and key for key in listed):
        raise ConfigError("keys= must hold the API key that created the task, as text")
    return listed


def _target(url: str) -> tuple[str, str]:
    """Split a callback's URL, or what stands in its request line, into path and query, each as it is."""
    origin = _ORIGIN.match(url)
    rest = (url[origin.end() :] if origin else url).partition("#")[0]
    path, _, query = rest.partition("?")
    path = path or "/"
    if not path.startswith("/") or _BREAKS.search(rest):
        raise CallbackError("the callback's URL must be one, or begin with its path", status=400)
    return path, query


def _targets(url: str) -> list[tuple[str, str]]:
    """Return the target with its path as it is, and decoded: Vidu's two samples differ in that."""
    path, query = _target(url)
    decoded = unquote(path, errors="surrogateescape")
    return [(path, query)] if decoded == path or _BREAKS.search(decoded) else [(path, query), (decoded, query)]


def folded(headers: Headers) -> dict[str, list[str]]:
    """Return the values of each header by its name in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _one(found: dict[str, list[str]], name: str) -> str:
    """Return a header that must be there, once."""
    values = found.get(name.lower(), [])
    if len(values) != 1 or _BREAKS.search(values[0]):
        how = "is missing" if not values else "is there more than once" if len(values) > 1 else "has more than a line"
        raise CallbackError(f"the callback's header {name} {how}", status=401)
    return values[0]


def _signed(found: dict[str, list[str]], needed: Iterable[str]) -> list[tuple[str, str]]:
    """Return the signed headers in their order, under the names that the sender gives them: it chooses which."""
    names = _one(found, _SIGNED).split(";")
    lower = [name.lower() for name in names]
    if len(names) > _MOST_SIGNED or len(set(lower)) < len(lower) or not _SECRETS.isdisjoint(lower):
        raise CallbackError("the callback signs headers that Vidu's do not, or too many", status=401)
    for name in needed:
        if name.lower() not in lower:
            raise CallbackError(f"the callback does not sign its {name}", status=401)
    return [(name, _one(found, name)) for name in names]


def _check_scheme(found: dict[str, list[str]]) -> None:
    """Refuse another scheme than the documented one."""
    for name, expected in ((_ALGORITHM, ALGORITHM), (_ACCESS_KEY, ACCESS_KEY)):
        if name in found and _one(found, name).strip() != expected:
            raise CallbackError(f"the callback's header {name} is not {expected}", status=401)


def _moment(date: str) -> float:
    """Read a date as HTTP writes it, in Unix seconds."""
    parts = _HTTP_DATE.fullmatch(date.strip())
    try:
        day, month, *rest = parts.groups() if parts else ()
        year, hour, minute, second = map(int, rest)
        return datetime(year, _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise CallbackError("the callback's Date is none as HTTP writes it", status=401) from None
