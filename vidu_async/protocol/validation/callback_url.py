"""Whether a callback can arrive: what is wrong with its URL, and what may go wrong. No name is looked up.

https://platform.vidu.com/docs/callback-signature
"""

from vidu_async.protocol.validation.links import is_public, split


def fault_of(url: str) -> str:
    """Return what makes a URL none that a callback can be posted to, as the end of a sentence; "" if nothing does."""
    if not url:
        return ""
    parts = split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "is no URL such as https://host/path"
    if not parts.hostname:
        return "names no host, as https://host/path does"
    return "has a fragment ('#' and what follows), which is never sent" if "#" in url else ""


def risk_of(url: str) -> str:
    """Return why callbacks may not arrive, or should not, as the end of a sentence; "" if nothing speaks against it."""
    parts = split(url)
    if parts is None:
        return ""
    if parts.hostname and not is_public(parts.hostname):
        return f"goes to {parts.hostname}, which may be out of reach from outside"
    if parts.port == 0:
        return "goes to port 0, where nothing listens"
    if parts.username is not None:
        return "holds a user or password, which not every sender passes on"
    return "is http, so anybody on the way can read and change what arrives" if parts.scheme == "http" else ""
