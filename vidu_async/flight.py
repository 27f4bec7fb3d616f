"""How far one paid request has come: known, not guessed from what was raised.

No exception's type tells whether a server read a request; the same ones appear either way. So each step is noted when
it is taken. What is not COMMITTED is provably unpaid.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from vidu_async.protocol.errors import ViduError


class Phase(IntEnum):
    """The steps of a paid request, in order."""

    QUEUED = 0
    CONNECTING = 1
    UPLOADING = 2
    """Its head may have left."""
    COMMITTING = 3
    """All but its last byte was handed over, and the journal is being told."""
    COMMITTED = 4
    """Its last byte is handed over: from here on it may be paid."""

    @property
    def word(self) -> str:
        """The name that errors give it."""
        return "uploading" if self is Phase.COMMITTING else self.name.lower()


@define(eq=False)
class Flight:
    """One attempt at one paid request."""

    phase: Phase = Phase.QUEUED
    is_over: bool = False
    """Whether nobody listens to it any more: then its last byte is kept back for good."""
    failure: ViduError | None = None
    """What of ours stopped it: a file that changed, a journal that cannot write."""

    @property
    def may_be_paid(self) -> bool:
        """Whether the server may have seen all of it."""
        return self.phase is Phase.COMMITTED
