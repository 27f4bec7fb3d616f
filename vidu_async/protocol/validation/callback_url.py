"""Whether a callback can arrive: what is wrong with its URL, and what may go wrong. No name is looked up.

https://platform.vidu.com/docs/callback-signature
"""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def fault_of(url: str) -> str:
    """Return what makes a URL none that a callback can be posted to, as the end of a sentence; "" if nothing does."""
    if not url:
        return ""
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "must be a URL, https://host/path"
    if not parts.hostname:
        return "must name a host, https://host/path"
    return "must have no fragment ('#' and what follows is never sent)" if "#" in url else ""


def risk_of(url: str) -> str:
    """Return why callbacks may not arrive, or should not, as the end of a sentence; "" if nothing speaks against it."""
    parts = _split(url)
    if parts is None:
        return ""
    if _is_private(parts.hostname or ""):
        return f"goes to {parts.hostname}, which nobody reaches from outside"
    if parts.username is not None:
        return "holds a user or password, which not every sender passes on"
    return "is http, so anybody on the way can read and change what arrives" if parts.scheme == "http" else ""


def _split(url: str) -> SplitResult | None:
    if any(char.isspace() or not char.isprintable() for char in url):  # which the parser would drop or keep silently
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # an address or a port that is none
        return None
    return parts


def _is_private(host: str) -> bool:
    name = host.lower().rstrip(".")
    try:
        return not ipaddress.ip_address(name.partition("%")[0]).is_global
    except ValueError:
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
