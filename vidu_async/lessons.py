"""Keeps what a polling policy has learned in the journal, so that the next run need not begin anew.

It is a convenience: whatever goes wrong with it costs nobody a task.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from attrs import define, field

from vidu_async.protocol.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidu_async.journal import Ledger

_log = logging.getLogger("vidu_async")

_EVERY = 16
"""Ends of tasks after which it is written down."""


@runtime_checkable
class Learning(Protocol):
    """A polling policy that can tell what it has learned."""

    def snapshot(self) -> Mapping[str, Any]:
        """Return what was learned, fit for JSON."""

    def restore(self, snapshot: Any) -> None:  # noqa: ANN401 - whatever a file holds
        """Take in what was learned earlier; what makes no sense is left out."""


@define(eq=False)
class Lessons:
    """What one client's policy learns about one gateway."""

    _journal: Ledger
    _policy: object
    _site: str
    _is_recalled: bool = field(default=False, init=False)
    _ends: int = field(default=0, init=False)

    async def recall(self) -> None:
        """Take in what earlier runs have learned, once."""
        if self._is_recalled or not isinstance(self._policy, Learning):
            return
        self._is_recalled = True
        try:
            if text := await self._journal.recall(self._name):
                self._policy.restore(json.loads(text))
        except JournalError:
            pass  # whoever wants to pay hears of it
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("what was learned about %s could not be taken in", self._site)

    def count_end(self) -> None:
        """Note that there is something to learn; now and then it is written down."""
        self._ends += 1
        if self._ends % _EVERY == 0:
            self.keep()

    def keep(self) -> None:
        """Write down what was learned, if anything was."""
        if not self._ends or not isinstance(self._policy, Learning):
            return
        try:
            self._journal.remember(self._name, json.dumps(self._policy.snapshot()))
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("what was learned about %s could not be written down", self._site)

    @property
    def _name(self) -> str:
        return f"polling {self._site}"
