"""What a task tells of a creation whose answer was lost: whether it may be its own, and what proves it. No I/O.

A list tells neither payload nor all fields, so it only names candidates. The query of each repeats the payload of its
creation, and only that is proof: a random token, or the caller's own payload where no other submission has the same.
https://platform.vidu.com/docs/get-generation
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from vidu_async.journal import hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vidu_async.journal import Row
    from vidu_async.protocol.models import Task

SKEW = 60.0
"""Seconds by which the server's clock may differ; more, if its answers show more."""
_LATE = 120.0
"""Seconds after the last byte in which a task may have been created."""


def windows(rows: Iterable[Row], skew: float) -> list[tuple[datetime, datetime, list[Row]]]:
    """Return the times, by the server's clock, in which the rows' tasks were created; those that touch as one."""
    found: list[tuple[float, float, list[Row]]] = []
    for row in sorted(rows, key=left_at):
        since, until = left_at(row) - skew, left_at(row) + _LATE + skew
        if found and since <= found[-1][1]:
            earliest, _, group = found.pop()
            since, group = earliest, [*group, row]
        else:
            group = [row]
        found.append((since, until, group))
    return [
        (datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC), group) for since, until, group in found
    ]


def left_at(row: Row) -> float:
    """Return when the last byte left."""
    return row.committed_at or 0.0


def looks_like(task: Task, row: Row) -> bool:
    """Whether nothing that a list tells of a task speaks against it. Gateways have words of their own for models."""
    is_model = not (task.model and row.model) or task.model == row.model
    is_length = not (task.duration and row.duration) or task.duration == row.duration
    return is_model and is_length and task.stamp in {None, row.token}


def candidates(listed: Iterable[Task], rows: Sequence[Row], known: dict[str, str]) -> list[Task]:
    """Return the tasks worth a query of their own, the likeliest first; `known` has the journal's tokens by task."""
    prompts, tokens = {row.prompt for row in rows if row.prompt}, {row.token for row in rows}
    found = {
        task.id: task for task in listed if known.get(task.id) in {None, *tokens} and task.stamp in {None, *tokens}
    }

    def rank(task: Task) -> tuple[bool, bool, bool]:
        is_unlike = not any(looks_like(task, row) for row in rows)
        return task.stamp is None, hashed(task.prompt) not in prompts, is_unlike

    return sorted(found.values(), key=rank)


def proven(task: Task, rows: Iterable[Row], is_unique: Callable[[Row], bool]) -> Row | None:
    """Return the row whose task this is, by the payload that it repeats."""
    payload = hashed(task.payload)
    for row in rows:
        if task.stamp == row.token or (payload and row.proof == payload and is_unique(row)):
            return row
    return None


def may_be_its_own(task: Task, row: Row, owner: str | None, skew: float) -> bool:
    """Whether a task that a callback for this row names is its own. `owner` is the journal's token of that task.

    The URL of the callback was told to nobody but with this row, so it is enough that nothing speaks against it. The
    server's clock may differ by `skew` seconds.
    """
    if owner is not None or task.stamp is not None:
        return row.token == (owner or task.stamp)
    if task.created_at is not None and task.created_at.timestamp() < left_at(row) - skew:
        return False
    is_payload = not task.payload or hashed(task.payload) == row.proof
    is_prompt = not (task.prompt and row.prompt) or hashed(task.prompt) == row.prompt
    return is_payload and is_prompt and looks_like(task, row)
