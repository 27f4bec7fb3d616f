"""What was meant, sent, accepted and finished: the memory that keeps a submission from being paid twice or forgotten.

This one lasts as long as the client. A crash loses it, and with it the ids of paid tasks: keep `handle.token` of what
must survive.
"""

from __future__ import annotations

import base64
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import define, field

from vidu_async.protocol.errors import IdempotencyConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vidu_async.protocol.models import Task


class RowState(StrEnum):
    """Where a submission is."""

    SENDING = "sending"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    FINISHED = "finished"


@define
class Row:
    """One submission. `digest` is "" where nobody named it, since then nobody can name it again."""

    key: str
    digest: str
    state: RowState = RowState.SENDING
    task_id: str = ""
    evidence: str = ""
    off_peak: bool = False
    """Whether the request said so; not every gateway's answers do."""
    task: Task | None = None
    """What the creation was answered, until the task ends."""


def new_key() -> str:
    """Return 128 random bits as 26 lower-case letters and digits."""
    return base64.b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()


@define(eq=False)
class MemoryJournal:
    """Rows by key, for the life of a client."""

    _rows: dict[str, Row] = field(factory=dict, init=False)
    _by_task: dict[str, Row] = field(factory=dict, init=False)

    def find(self, key: str, digest: str) -> Row | None:
        """Return the row of a key.

        Raises:
            IdempotencyConflictError: the key names a submission with another request.

        """
        row = self._rows.get(key)
        if row is not None and row.digest and row.digest != digest:
            error = IdempotencyConflictError(f"key {key!r} already names another request")
            error.key = key
            raise error
        return row

    def begin(self, key: str, digest: str, *, off_peak: bool = False) -> Row:
        """Note what is about to be sent."""
        row = self._rows[key] = Row(key, digest, off_peak=off_peak)
        return row

    def accepted(self, row: Row, task: Task) -> None:
        """Note the task that a submission became."""
        row.state, row.task_id, row.task = RowState.ACCEPTED, task.id, task
        self._by_task[task.id] = row

    def unknown(self, row: Row, evidence: str) -> None:
        """Note that a submission may have become a task."""
        row.state, row.evidence = RowState.UNKNOWN, evidence

    def forget(self, row: Row) -> None:
        """Drop a submission that came to nothing, so that its key may be used again."""
        if self._rows.get(row.key) is row:
            del self._rows[row.key]

    def finished(self, task_id: str) -> None:
        """Note that a task ended; tasks of others are none of the journal's, and nobody can ask for an unnamed one."""
        if row := self._by_task.pop(task_id, None):
            row.state, row.task = RowState.FINISHED, None
            if not row.digest:
                del self._rows[row.key]

    def unfinished(self) -> Iterator[Row]:
        """Yield what was accepted and is not known to have ended."""
        yield from self._by_task.values()
