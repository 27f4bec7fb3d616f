"""Cards: how a value is drawn in a notebook. Pure: words in, HTML out.

All words are strangers' and are escaped. A notebook is kept and passed on, so that of links only the host is shown:
they open files, and expire. Colours are the notebook's own where it has any, so that light and dark themes both do.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GOOD, BAD, DOUBTFUL, BUSY, IDLE = "good", "bad", "doubtful", "busy", "idle"
"""What a card's colour says."""
_COLOURS = {
    GOOD: "var(--jp-success-color1,#2e9e4f)",
    BAD: "var(--jp-error-color1,#d64545)",
    DOUBTFUL: "var(--jp-warn-color1,#d98a00)",
    BUSY: "var(--jp-info-color1,#2f80d0)",
    IDLE: "rgba(128,128,128,.6)",
}

_LONGEST, _LONGEST_PLAIN = 400, 20_000
"""Characters of one text that are shown, and of what is shown where there are no cards."""
_LINK = re.compile(
    r"((?:\b[a-z][a-z0-9+.-]*:)?(?:\\?/){2})(?:[^/\s\"'<>?#@]*@)?([^/\s\"'<>?#\\]+)[^\s\"'<>]*", re.IGNORECASE
)
_SIGNED = re.compile(r"([?&](?:X-Amz-[\w-]+|Signature|Expires|token)=)[^\s\"'<>&]+", re.IGNORECASE)
_SECRET = re.compile(r"(?<=base64,)[A-Za-z0-9+/=_-]+|[A-Za-z0-9+=_-]{80,}")
"""A file's content, or a token; words are shorter."""

FONT = (
    "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px);line-height:1.5"
)
WIDTH = "max-width:44rem"
_FRAME = (
    "box-sizing:border-box;margin:.3rem 0;padding:.6rem .9rem;border-radius:6px;overflow-wrap:anywhere;"
    "border:1px solid var(--jp-border-color2,rgba(128,128,128,.35))"
)
_ROW = "display:flex;flex-wrap:wrap;align-items:baseline;gap:0 1.1rem"
QUIET = "opacity:.7"


@frozen(kw_only=True)
class Card:
    """What is drawn of a value. What is empty is left out."""

    badge: str
    """Its state, in a word or two."""
    tone: str = IDLE
    title: str = ""
    name: str = ""
    """What it is called by machines."""
    text: str = ""
    """What somebody wrote, such as a prompt."""
    facts: Mapping[str, object]
    """Short ones by their names; None and "" are left out."""
    trouble: str = ""
    """What went wrong."""
    shares: Iterable[tuple[str, int]] = ()
    """Parts of a whole with their tones, drawn as a bar."""

    def html(self) -> str:
        """Return it as HTML that loads nothing, and reads well without its style."""
        colour = _COLOURS[self.tone]
        dot = f'<span style="color:{colour}" aria-hidden="true">&#9679;</span>'
        head = [
            f"<span>{dot} <strong>{_safe(self.badge)}</strong></span>",
            f"<span>{_safe(self.title)}</span>" if self.title else "",
            f'<span style="{QUIET};margin-left:auto">{_safe(self.name)}</span>' if self.name else "",
        ]
        facts = {name: value for name, value in self.facts.items() if value not in (None, "")}
        rows = [
            f'<div style="{_ROW}">{" ".join(filter(None, head))}</div>',
            f'<div dir="auto" style="margin-top:.2rem">{_safe(self.text)}</div>' if self.text else "",
            _bar(self.shares),
            f'<div style="{_ROW};margin-top:.2rem">{" ".join(map(_fact, facts, facts.values()))}</div>'
            if facts
            else "",
            f'<div dir="auto" style="margin-top:.2rem">{_safe(self.trouble)}</div>' if self.trouble else "",
        ]
        return f'<div style="{_FRAME};{WIDTH};border-left:4px solid {colour};{FONT}">{"".join(rows)}</div>'


def bundle(plain: str, card: Card) -> dict[str, str]:
    """Return what a notebook is told of a value: its repr, and a card."""
    return {"text/plain": _sendable(hidden(plain[:_LONGEST_PLAIN])), "text/html": card.html()}


def hidden(text: str) -> str:
    """Return a text whose links name no more than their host."""
    return _SIGNED.sub(r"\1...", _LINK.sub(r"\1\2/...", text))


def shortened(text: str) -> str:
    """Return strangers' text without links, without what may be secret or a file's content, and not all of it."""
    short = _SECRET.sub("...", hidden(text[: 20 * _LONGEST]))
    short = short if len(short) <= _LONGEST else f"{short[:_LONGEST]}..."
    return _sendable(short)


def _sendable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which cannot be sent."""
    return text.encode(errors="replace").decode()


def _safe(text: str) -> str:
    return escape(shortened(text))


def _fact(name: str, value: object) -> str:
    return f'<span><span style="{QUIET}">{_safe(name)}</span> {_safe(str(value))}</span>'


def _bar(shares: Iterable[tuple[str, int]]) -> str:
    parts = [f'<div style="flex:{count};background:{_COLOURS[tone]}"></div>' for tone, count in shares if count]
    look = "display:flex;gap:2px;height:6px;margin:.4rem 0 .2rem;border-radius:3px;overflow:hidden"
    return f'<div style="{look}">{"".join(parts)}</div>' if parts else ""
