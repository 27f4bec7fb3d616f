"""What a batch tells: what became of each item, what came of all, and what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from vidu_async import cards
from vidu_async.events import ItemEnded
from vidu_async.protocol.errors import TaskError, ViduError
from vidu_async.units import span

if TYPE_CHECKING:
    from pathlib import Path

    from vidu_async.protocol.models import Task
    from vidu_async.protocol.requests import Request


_FEW = 5
"""Refusals that a forecast's card names."""


class _Shown:
    """What a notebook draws a card of."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython picks itself
        return cards.bundle(repr(self), self._card())

    def _card(self) -> cards.Card:
        raise NotImplementedError


@frozen
class Outcome(_Shown):
    """What became of one item."""

    key: str | None
    """Its name: yours, or `row-` and a hash. None for an item that is no request and has no name."""
    request: Request | None
    """None for what is no request."""
    task: Task | None = None
    """The latest that is known of its task."""
    error: ViduError | None = None
    """Why there is no result, or why it is not on the disk. `error.paid` says what it means for the credits."""
    paths: tuple[Path, ...] = ()
    """The files of its result."""
    place: str = ""
    """Where it stands in its file, such as `jobs.jsonl:3`."""
    is_recalled: bool = False
    """Whether it was submitted by an earlier run, or another process."""
    credits: int | None = 0
    """What it cost, or costs at most where it may be paid; None if nobody knows."""

    def event(self) -> ItemEnded:
        """Return what an observer is told of it."""
        return ItemEnded(
            key=self.key or "",
            task_id=self.task.id if self.task else "",
            reason=self.reason,
            error=self.error.said if self.error else "",
            paid=(self.error.paid or "") if self.error else "",
            credits=self.credits,
            is_recalled=self.is_recalled,
            place=self.place,
        )

    @property
    def is_success(self) -> bool:
        """Whether all that was asked for is there."""
        return self.error is None

    @property
    def reason(self) -> str:
        """Why there is no result, in one word: Vidu's, or the error's class. "" for a success."""
        error = self.error
        said = error.task.err_code if isinstance(error, TaskError) else getattr(error, "reason", "")
        return "" if error is None else said or type(error).__name__

    def _card(self) -> cards.Card:
        made = self.task
        doubtful = self.error is not None and self.error.paid == "maybe"
        bad = cards.DOUBTFUL if doubtful else cards.BAD
        return cards.Card(
            badge=self.reason or "success",
            tone=bad if self.error else cards.GOOD,
            title=" · ".join(filter(None, [self.key, self.place])),
            name=made.id if made else "",
            text=getattr(self.request, "prompt", None) or "",
            facts={
                "credits": "unknown" if self.credits is None else self.credits,
                "paid": self.error.paid if self.error else None,
                "submitted": "before" if self.is_recalled else None,
                "saved": ", ".join(map(str, self.paths)),
            },
            trouble=self.error.said if self.error else "",
        )


@define
class Summary(_Shown):
    """What came of a batch so far. Credits are those that the server named, or else what a request is taken to cost."""

    accepted: int = 0
    """Tasks made by this run."""
    recalled: int = 0
    """Items that an earlier run, or another process, had submitted."""
    succeeded: int = 0
    failed: dict[str, int] = field(factory=dict)
    """Items by reason (`Outcome.reason`)."""
    unknown: int = 0
    """Items that may be paid: `client.reconcile()`, `unresolved()` and `resolve()` settle them."""
    worst_case: int | None = 0
    """Credits that those may have cost at most; None if nobody knows."""
    spent: int = 0
    """Credits of all items, those of earlier runs included."""
    unpriced: int = 0
    """Accepted tasks of which nobody knows what they cost."""
    seconds: float = 0.0
    """Wall time."""
    is_whole: bool = False
    """Whether every item had its turn: not if the batch was stopped before, or its time was up."""

    def count(self, outcome: Outcome) -> None:
        """Count an item that has ended."""
        self.recalled += outcome.is_recalled
        self.accepted += outcome.task is not None and not outcome.is_recalled
        if outcome.error is not None and outcome.error.paid == "maybe":
            self.unknown += 1
            known = self.worst_case is not None and outcome.credits is not None
            self.worst_case = (self.worst_case or 0) + (outcome.credits or 0) if known else None
            return
        if outcome.error is None:
            self.succeeded += 1
        else:
            self.failed[outcome.reason] = self.failed.get(outcome.reason, 0) + 1
        self.spent += outcome.credits or 0
        self.unpriced += outcome.credits is None and outcome.task is not None

    @property
    def items(self) -> int:
        """Items with an outcome."""
        return self.succeeded + self.unknown + sum(self.failed.values())

    @property
    def is_success(self) -> bool:
        """Whether every item has its result."""
        return self.is_whole and self.succeeded == self.items

    def _card(self) -> cards.Card:
        failed = sum(self.failed.values())
        bad = cards.DOUBTFUL if self.unknown else cards.BAD if failed else cards.BUSY
        return cards.Card(
            badge=f"{self.succeeded} of {self.items} succeeded",
            tone=cards.GOOD if self.is_success else bad,
            title="" if self.is_whole else "not all items had their turn",
            facts={
                "failed": failed or None,
                "may be paid": f"{self.unknown} ({_at_worst(self.worst_case)} credits)" if self.unknown else None,
                "credits": self.spent,
                "of unknown price": self.unpriced or None,
                "submitted before": self.recalled or None,
                "time": span(self.seconds),
            },
            trouble=_counted(self.failed),
            shares=[(cards.GOOD, self.succeeded), (cards.DOUBTFUL, self.unknown), (cards.BAD, failed)],
        )

    def __str__(self) -> str:
        reasons = _counted(self.failed)
        cost = f"{self.spent} credits" + (f" and {self.unpriced} tasks of unknown price" if self.unpriced else "")
        parts = [
            f"{self.succeeded} of {self.items} succeeded",
            f"{sum(self.failed.values())} failed ({reasons})" if reasons else "",
            f"{self.unknown} may be paid ({_at_worst(self.worst_case)} credits)" if self.unknown else "",
            cost,
            f"{self.seconds:.1f} s",
            "" if self.is_whole else "not all items had their turn",
        ]
        return "; ".join(filter(None, parts))


@define
class Forecast(_Shown):
    """What a batch would do, found out without a request."""

    errors: list[Outcome] = field(factory=list)
    """Items that are refused."""
    recalled: int = 0
    """Items that were submitted before, and have a task that has not failed."""
    spent: int = 0
    """Credits that those have cost, as far as it is known."""
    unknown: int = 0
    """Items that were submitted before, and may be paid."""
    worst_case: int | None = 0
    """Credits that those may have cost at most; None if nobody knows."""
    again: int = 0
    """Items whose task has failed: it is made again if its reason passes, for its price in `cost`."""
    new: int = 0
    """Items that would be submitted."""
    cost: int = 0
    """Credits that these two would cost, as far as prices are known."""
    unpriced: dict[str, int] = field(factory=dict)
    """Those of unknown price, by endpoint and model."""

    def count_earlier(self, credits_: int | None, *, may_be_paid: bool) -> None:
        """Count an item that was submitted before."""
        if may_be_paid:
            self.unknown += 1
            is_known = self.worst_case is not None and credits_ is not None
            self.worst_case = (self.worst_case or 0) + (credits_ or 0) if is_known else None
            return
        self.recalled += 1
        self.spent += credits_ or 0

    def count_next(self, request: Request, price: int | None, *, is_again: bool) -> None:
        """Count an item that would be submitted."""
        if is_again:
            self.again += 1
        else:
            self.new += 1
        if price is None:
            kind = f"{request.endpoint} {getattr(request, 'model', '')}".strip()
            self.unpriced[kind] = self.unpriced.get(kind, 0) + 1
        self.cost += price or 0

    def _card(self) -> cards.Card:
        unpriced = sum(self.unpriced.values())
        return cards.Card(
            badge=f"{self.new + self.again} to submit",
            tone=cards.BAD if self.errors else cards.DOUBTFUL if self.unknown else cards.IDLE,
            title="forecast",
            facts={
                "cost": f"{self.cost} credits",
                "of unknown price": f"{unpriced} ({_counted(self.unpriced)})" if unpriced else None,
                "again since they failed": self.again or None,
                "submitted before": f"{self.recalled}, for {self.spent} credits" if self.recalled else None,
                "may be paid": f"{self.unknown} ({_at_worst(self.worst_case)} credits)" if self.unknown else None,
                "refused": len(self.errors) or None,
            },
            trouble="; ".join(error.error.said for error in self.errors[:_FEW] if error.error),
        )

    def __str__(self) -> str:
        again = f", {self.again} of them again since they failed" if self.again else ""
        known = self.new + self.again - sum(self.unpriced.values())
        kinds = _counted(self.unpriced)
        parts = [
            f"{known} to submit for {self.cost} credits{again}" if known or not kinds else "",
            f"{self.new + self.again - known} to submit for an unknown price ({kinds})" if kinds else "",
            f"{self.recalled} submitted before, for {self.spent} credits" if self.recalled else "",
            f"{self.unknown} may be paid ({_at_worst(self.worst_case)} credits)" if self.unknown else "",
            f"{len(self.errors)} refused" if self.errors else "",
        ]
        return "; ".join(filter(None, parts))


def _counted(counts: dict[str, int]) -> str:
    """Say how many of what: `3 AuditFailed, 1 TaskTimeoutError`."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _at_worst(credits_: int | None) -> str:
    return "an unknown number of" if credits_ is None else f"up to {credits_}"
