"""How progress is said in words, wherever it is shown: names, outcomes, totals. One line each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vidu_async.events import Downloaded
from vidu_async.tally import Stage
from vidu_async.units import span, volume

if TYPE_CHECKING:
    from vidu_async.events import ItemEnded
    from vidu_async.tally import Tally

_NO_NAME = re.compile(r"row-.+|[a-z2-7]{26}")
"""Keys that nobody chose: those of items, by what they ask for, and of submissions, by lot."""
_ENDINGS = {"no": "failed, not paid", "maybe": "may be paid", "yes": "failed, paid"}


def named(key: str, task_id: str, place: str = "") -> str:
    """Return what a reader knows something by: the key they chose, else its place in a file, else its task."""
    is_own = key and not _NO_NAME.fullmatch(key)
    return printable(key if is_own else place or (f"task {task_id}" if task_id else key or "an item"))


def printable(text: str) -> str:
    """Return a text on one line, without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def share(tally: Tally) -> str:
    """Say how many ended of how many: `412/1000 41%`; `412/500+` where nobody knows how many there will be."""
    if tally.items is None:
        return f"{tally.ended}/{tally.taken}+"
    return f"{tally.ended}/{tally.items}" + (f" {100 * tally.ended // tally.items}%" if tally.items else "")


def cost(tally: Tally) -> str:
    """Say what was spent."""
    unpriced = f" + {tally.unpriced} of unknown price" if tally.unpriced else ""
    return f"{tally.spent} credits{unpriced}"


def pace(tally: Tally, now: float) -> str:
    """Say how fast it goes and when it will be over; "" if nothing tells."""
    rate, eta = tally.rate(now), tally.eta(now)
    parts = [f"{round(rate, 1):g}/min" if rate else "", f"ETA {span(eta)}" if eta else ""]
    return ", ".join(filter(None, parts))


def reasons(tally: Tally, most: int) -> str:
    """Name the most frequent reasons of failures: `3 AuditFailed, 1 TaskTimeoutError, ...`."""
    ordered = sorted(tally.failed.items(), key=lambda pair: -pair[1])
    named_ = [f"{count} {printable(reason)}" for reason, count in ordered[:most]]
    return ", ".join([*named_, *(["..."] if len(ordered) > most else [])])


def totals(tally: Tally, now: float) -> str:
    """Say everything on one line, for a log."""
    failed = sum(tally.failed.values())
    ends = {"succeeded": tally.succeeded, f"failed ({reasons(tally, 5)})": failed, "may be paid": tally.unknown}
    going = {stage.value: tally.under_way[stage] for stage in reversed(Stage)}
    files = f"{tally.saved} files, {volume(tally.saved_bytes)}" if tally.saved else ""
    parts = [
        f"{share(tally)} ended",
        ", ".join(f"{count} {word}" for word, count in ends.items() if count),
        f"{tally.recalled} of them submitted before" if tally.recalled else "",
        ", ".join(f"{count} {word}" for word, count in going.items() if count),
        pace(tally, now) if any(tally.under_way.values()) else "",
        files,
        cost(tally),
        f"{span(tally.elapsed(now))} elapsed",
    ]
    return "; ".join(filter(None, parts))


def told(event: ItemEnded | Downloaded) -> str:
    """Say what became of an item, or that a file is on the disk."""
    name = named(event.key, event.task_id, getattr(event, "place", ""))
    if isinstance(event, Downloaded):
        return printable(f"{name}: saved as {event.path}, {volume(event.size)}")
    if event.reason and event.place and name != event.place:
        name = f"{event.place} {name}"
    task = f"task {event.task_id}" if event.task_id else ""
    earlier = "submitted before" if event.is_recalled else ""
    price = "unknown price" if event.credits is None else f"{event.credits} credits"
    price = price if event.task_id or event.credits else ""
    said = ", ".join(filter(None, [ending(event), earlier, "" if name == task else task, price]))
    error = event.error.removeprefix(f"{event.place}: ")
    return printable(f"{name}: {said}{f': {error}' if error else ''}")


def ending(event: ItemEnded) -> str:
    """Say how an item ended, what that means for the credits, and why."""
    if not event.reason:
        return "succeeded"
    return printable(f"{_ENDINGS.get(event.paid, 'failed')} ({event.reason})")
