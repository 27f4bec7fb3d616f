"""What a notebook shows beyond a value's card: a handle's card that moves, and the result itself.

IPython is asked only here, and only once something is shown. A card that moves has nothing asked of the server and
holds neither its handle nor its loop: it is drawn anew when its task's watch has news, and each second that somebody
waits. What goes wrong in drawing is logged, and never told to who waits.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import weakref
from contextvars import Context, copy_context
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from vidu_async import cards
from vidu_async.kinds import HEAD, kind_of, text_of
from vidu_async.protocol.errors import MissingExtraError, ValidationError
from vidu_async.protocol.models import Task, card_of
from vidu_async.units import span, volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vidu_async.watch import Watch

__all__ = ["show"]

_log = logging.getLogger("vidu_async")

MOST = 20_000_000
"""Bytes that are embedded in a notebook, which keeps them."""
_PACE = 1.0
"""Seconds after which a card of what is waited for is drawn anew."""
_PLAYED = frozenset({"video/mp4", "video/webm"})
_SEEN = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/bmp"})
"""What every browser shows."""
_HEAD = 1024
"""Bytes by which a file's kind is told."""
_CAPTION = f'<figcaption style="{cards.QUIET};margin-top:.2rem;overflow-wrap:anywhere">{{}}</figcaption>'
_LOOK = "display:block;max-width:100%;max-height:28rem;border-radius:6px"


# A handle's card


def bundle_of(watch: Watch, said: Callable[[Watch], str]) -> dict[str, str]:
    """Return what a notebook shows of a task far away: what is known of it, and how long it has been watched."""
    task = watch.early or watch.task
    card = card_of(task) if task else cards.Card(badge="not looked at yet", name=watch.task_id, facts={})
    card = evolve(card, facts={**card.facts, "watched": _watched(watch)})
    if not watch.is_over and (error := watch.failure or watch.trouble):
        goes_on = "waiting was given up" if watch.failure else "the last look failed, waiting goes on"
        card = evolve(card, trouble=f"{goes_on}: {error.said}", tone=cards.BAD if watch.failure else card.tone)
    return cards.bundle(said(watch), card)


def _watched(watch: Watch) -> str:
    """Say how long a task has been known here: its creation's date is by another clock."""
    try:
        now = watch.looked if watch.is_over else asyncio.get_running_loop().time()
    except RuntimeError:
        now = watch.looked
    return "" if now is None or watch.began is None else span(max(0.0, now - watch.began))


def follow(watch: Watch, said: Callable[[Watch], str]) -> None:
    """Show a task's card, and in a notebook have it move until the task ends."""
    from IPython.core.getipython import get_ipython  # noqa: PLC0415 - whoever calls this has it
    from IPython.display import display  # noqa: PLC0415 - as above

    shell = get_ipython()
    known = (looker for looker in watch.onlookers if isinstance(looker, MovingCard))
    card = next(known, None) or MovingCard(weakref.ref(watch), said)
    card.last = bundle_of(watch, said)
    display(_Drawn(card.last), display_id=card.name)
    draws = shell is not None and "text/html" in getattr(shell.display_formatter, "active_types", ())
    if draws and not watch.is_over:
        watch.onlookers = (*(looker for looker in watch.onlookers if looker is not card), card)


@define(eq=False)
class MovingCard:
    """A card that was shown. It lives as long as the watch it is drawn from, which it does not keep."""

    _watch: weakref.ref[Watch]
    _said: Callable[[Watch], str]
    name: str = field(factory=lambda: secrets.token_hex(16), init=False)
    """By what the notebook knows it."""
    last: dict[str, str] = field(factory=dict, init=False)
    """What it shows."""
    _context: Context | None = field(default=None, init=False)
    """That of who waits: it says which cell this is for."""
    _beat: int = field(default=0, init=False)
    """Which call of a loop is the next: only that counts. To keep the call itself would keep the loop."""

    def awaited(self) -> None:
        """Begin to move, for the cell that waits."""
        self._context = copy_context()
        self._safely(self._go_on)

    def changed(self) -> None:
        """Show what is new; at the end, for the last time."""
        watch = self._watch()
        if watch is not None and (watch.is_over or watch.listeners or not watch.failure):
            self._safely(self._draw)  # else nobody waited: nothing was given up

    def _tick(self, beat: int) -> None:
        """Move on if somebody still waits."""
        watch = self._watch()
        if beat != self._beat or watch is None:
            return
        if watch.listeners:
            self._safely(self._go_on)
        else:
            self._context = None

    def _go_on(self) -> None:
        self._draw()
        self._beat += 1
        asyncio.get_running_loop().call_later(_PACE, self._tick, self._beat)

    def _draw(self) -> None:
        watch = self._watch()
        if watch is None:
            return
        if watch.is_over:
            self._leave(watch)
        drawn = bundle_of(watch, self._said)
        if drawn != self.last:
            self.last = drawn
            (self._context or copy_context()).run(self._publish, drawn)

    def _publish(self, drawn: dict[str, str]) -> None:
        from IPython.display import update_display  # noqa: PLC0415 - it was there when the card was shown

        update_display(_Drawn(drawn), display_id=self.name)

    def _safely(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:  # noqa: BLE001 - a notebook that has gone is no reason to stop waiting
            if (watch := self._watch()) is not None:
                self._leave(watch)
            _log.warning("a card shows nothing any more: %r", error)

    def _leave(self, watch: Watch) -> None:
        watch.onlookers = tuple(looker for looker in watch.onlookers if looker is not self)
        self._beat += 1


@frozen(repr=False)
class _Drawn:
    """What was drawn, for IPython to show in whatever way it can."""

    _bundle: dict[str, str]

    def __repr__(self) -> str:
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython picks itself
        return self._bundle


# The result itself


def show(
    task: Task | None,
    path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    most: int = MOST,
) -> None:
    """Show a result in a notebook: a video plays, a picture is seen. At once, so that any line of a cell will do.

    The files are embedded, and saved with the notebook. What is too large for that, or no browser's, is named instead.

    Args:
        task: the task whose result it is, for the words beside it; None has none.
        path: the downloaded file, or all that `download_all` returned.
        most: bytes that are embedded in all, 20 MB by default.

    Raises:
        ValidationError: a file is missing, cannot be read, or is neither a video nor a picture.
        MissingExtraError: IPython is not installed.

    """
    try:
        from IPython.display import display  # noqa: PLC0415 - it may be missing, and takes its time
    except ImportError:
        raise MissingExtraError("pip install 'vidu_async[notebook]'") from None
    if task is not None and not isinstance(task, Task):
        said = f"show() takes a task (await its handle first), or None, and a path; not {task!r}"
        raise ValidationError(said, field="task", value=task)
    if isinstance(most, bool) or not isinstance(most, int) or most < 0:
        raise ValidationError(f"most must be a number of bytes, not {most!r}", field="most", value=most)
    display(_exhibit(task, _paths(path), most))


def _paths(given: object) -> list[Path]:
    """Return the paths that were given, one or many."""
    try:
        paths = [Path(one) for one in ([given] if isinstance(given, (str, os.PathLike)) else given)]  # type: ignore[attr-defined]
    except TypeError:
        paths = []
    if not paths:
        raise ValidationError(f"show() takes a path, or paths, not {given!r}", field="path", value=given)
    return paths


@frozen
class _File:
    """A result on the disk."""

    path: Path
    kind: str
    size: int
    content: bytes
    """Empty if it is not to be embedded."""

    def __str__(self) -> str:
        return f"{self.path} ({self.kind}, {volume(self.size)})"


def _read(path: Path, most: int) -> _File:
    """Read a file, and look at what it is by its content.

    Raises:
        ValidationError: it is missing, cannot be read, or is nothing that can be shown.

    """
    try:
        with path.open("rb") as file:
            head, size = file.read(_HEAD), os.fstat(file.fileno()).st_size
            kind = kind_of(head[:HEAD]) or text_of(head) or ""
            fits = size <= most and kind in _PLAYED | _SEEN
            content = head + file.read(max(0, most - len(head))) if fits else b""
    except FileNotFoundError:
        said = f"there is no file {str(path)!r}; path = await client.download(task, 'results/') makes one"
    except (OSError, ValueError) as error:  # such as a name with a null byte
        said = f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}"
    else:
        if kind.startswith(("video/", "image/")) and kind != "image/svg+xml":
            return _File(path, kind, size, content)
        said = f"{str(path)!r} is neither a video nor a picture{f' but {kind}' if kind else ''}"
    raise ValidationError(said, field="path", value=path)


def _exhibit(task: Task | None, paths: list[Path], most: int) -> _Drawn:
    """Draw files, and embed as many of them as there is room for."""
    files, figures = [], []
    label = (task.prompt or "") if task else ""
    for path in paths:
        file = _read(path, most)
        files.append(str(file))
        figures.append(_figure(file, label) if file.content else _instead(file, most))
        most -= len(file.content)
    html = f'<div style="display:flex;flex-wrap:wrap;gap:.5rem 1rem;{cards.FONT}">{"".join(figures)}</div>'
    return _Drawn({"text/plain": "\n".join(files), "text/html": html})


def _figure(file: _File, label: str) -> str:
    """Return a video that plays, or a picture."""
    data = f"data:{file.kind};base64,{base64.b64encode(file.content).decode()}"
    name = escape(cards.shortened(label or file.path.name))
    tag = f'<img alt="{name}" style="{_LOOK}" src="{data}">'
    if file.kind in _PLAYED:
        tag = f'<video controls loop muted playsinline aria-label="{name}" style="{_LOOK}" src="{data}"></video>'
    words = escape(cards.shortened(f"{file.path} · {volume(file.size)}"))
    return f'<figure style="margin:.3rem 0;min-width:0">{tag}{_CAPTION.format(words)}</figure>'


def _instead(file: _File, left: int) -> str:
    """Return a card that says where the file is, and why it is not shown."""
    why = f"browsers do not show {file.kind}; open the file itself"
    if file.kind in _PLAYED | _SEEN:
        why = f"not embedded, since the notebook would grow by that much; there is room for {volume(left)}: show(most=)"
    facts = {"size": volume(file.size), "kind": file.kind}
    return cards.Card(badge="on the disk", title=str(file.path), facts=facts, trouble=why).html()
