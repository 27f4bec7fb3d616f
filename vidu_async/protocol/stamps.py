"""The mark that proves which submission a task came from.

Vidu has no idempotency key, but it repeats a creation's `payload` in each query of its task. Where the caller gives
none, a creation carries a random token there, and a task whose creation's answer was lost is known by it.
https://platform.vidu.com/docs/get-generation
"""

from __future__ import annotations

import re

_STAMP = re.compile(r"va1:([a-z2-7]{26})", re.ASCII)


def stamped(token: str) -> str:
    """Return the payload that carries a token."""
    return f"va1:{token}"


def token_in(payload: object) -> str | None:
    """Return the token that a payload carries, if it is such a mark."""
    found = _STAMP.fullmatch(payload) if isinstance(payload, str) else None
    return found[1] if found else None
