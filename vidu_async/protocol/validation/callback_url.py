"""Whether a callback can arrive: what is wrong with its URL, and what may go wrong. No name is looked up.

https://platform.vidu.com/docs/callback-signature
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit


def fault_of(url: str) -> str:
    """Return what makes a URL none that a callback can be posted to, as the end of a sentence; "" if nothing does."""
    if not url:
        return ""
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "is no URL such as https://host/path"
    if not parts.hostname:
        return "names no host, as https://host/path does"
    return "has a fragment ('#' and what follows), which is never sent" if "#" in url else ""


def risk_of(url: str) -> str:
    """Return why callbacks may not arrive, or should not, as the end of a sentence; "" if nothing speaks against it."""
    parts = _split(url)
    if parts is None:
        return ""
    if parts.hostname and not _is_public(parts.hostname):
        return f"goes to {parts.hostname}, which may be out of reach from outside"
    if parts.port == 0:
        return "goes to port 0, where nothing listens"
    if parts.username is not None:
        return "holds a user or password, which not every sender passes on"
    return "is http, so anybody on the way can read and change what arrives" if parts.scheme == "http" else ""


def _split(url: str) -> SplitResult | None:
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


def _is_public(host: str) -> bool:
    name = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return _PRIVATE.fullmatch(name) is None
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_global and not address.is_multicast
