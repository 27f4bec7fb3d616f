"""Whether Vidu can fetch what a link names: what may go wrong, seen from the text alone. No name is looked up."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from urllib.parse import SplitResult, urlsplit

from vidu_async.protocol.checks import fault, shown
from vidu_async.protocol.errors import ValidationError

LONGEST_LINK = 2048
"""Characters of a URL that whatever is on the way passes on; no page says what Vidu takes."""


def is_out_of_reach(value: object) -> bool:
    """Whether it is an http(s) link to a host that only this machine or its network can reach."""
    parts = split(value) if isinstance(value, str) else None
    return parts is not None and parts.scheme in {"http", "https"} and not is_public(parts.hostname or "")


def doubtful_links(name: str, items: Iterable[object]) -> Iterator[ValidationError]:
    """Doubt links that may not arrive, or that tell a secret."""
    for number, item in enumerate(items):
        if isinstance(item, str) and item[:8].lower().startswith(("http://", "https://")) and (risk := _risk(item)):
            yield fault(f"{name}[{number}]", f"{risk}: {shown(item)}", item)


def _risk(url: str) -> str:
    """Return why a link may not be fetched, or should not be, as the end of a sentence; "" if nothing speaks for it."""
    parts = split(url)
    if parts is None or not parts.hostname:
        return "is no URL that can be asked for"
    if not is_public(parts.hostname):
        return "is out of reach from outside: give the file instead"
    if parts.username is not None:
        return "holds a user or password, which the server is told and may keep: sign the link instead"
    return f"has {len(url)} characters, of which some may get lost" if len(url) > LONGEST_LINK else ""


def split(url: str) -> SplitResult | None:
    """Return the parts of a URL, None if it is none."""
    # Not what the parser would drop or keep silently.
    if not url or any(char.isspace() or not char.isprintable() for char in url):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # an address or a port that is none
        return None
    return parts


# One word, a private domain, or a number that some read as an address: 127.1, 0x7f000001.
_PRIVATE = re.compile(r"[^.]*|.*\.(?:localhost|local|internal|[0-9]+|0x[0-9a-f]*)")


def is_public(host: str) -> bool:
    """Whether a host's name does not say that it is out of reach from outside."""
    name = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return _PRIVATE.fullmatch(name) is None
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_global and not address.is_multicast
