"""What a batch may spend: an estimate is reserved before a submission, and settled with what the server says. Pure.

A price is known where a request of the same kind was priced before, or where you give one; nothing documents what a
model costs. Unknown is never 0: as long as nothing of a kind was priced, one request of it goes ahead and the others
wait. What may be paid but is not known to be stays reserved.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from vidu_async.protocol.checks import is_positive
from vidu_async.protocol.errors import BudgetExceededError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vidu_async.protocol.requests import Request

_REC, _SOUND = 10, 15
"""Credits more for a recommended prompt, and for the sound of a q2 model. https://platform.vidu.com/docs/pricing"""
_FREE = frozenset(
    {"prompt", "payload", "callback_url", "client_request_id", "meta_data", "seed", "voice_id", "wm_position", "wm_url"}
)
"""What a request says without changing its price."""
_KINDS = 500
"""Prices that are remembered; those learned last."""


@frozen
class PriceKind:
    """What requests have in common that cost the same: all but words, seeds, and what the pictures show."""

    endpoint: str
    options: frozenset[tuple[str, str]] = frozenset()
    """Names and values, these as JSON."""
    media: int = 0
    """Pictures and clips."""

    @classmethod
    def of(cls, request: Request) -> PriceKind:
        """Return the kind of a request."""
        fields: dict[str, Any] = request.to_wire()
        options = {
            (name, json.dumps(value))
            for name, value in fields.items()
            if name not in _FREE and isinstance(value, (str, int, float))
        }
        return cls(request.endpoint, frozenset(options), sum(map(_media_in, fields.values())))

    def has(self, name: str) -> bool:
        """Whether a switch is on."""
        return (name, "true") in self.options

    def without(self, name: str) -> PriceKind:
        """Return the same without a switch."""
        return evolve(self, options=self.options - {(name, "true")})

    @property
    def is_q2(self) -> bool:
        """Whether the model is one of those whose sound costs more."""
        return any(name == "model" and value.startswith('"viduq2') for name, value in self.options)


def _media_in(value: object) -> int:
    """Count what a field holds in lists, those of subjects included."""
    if isinstance(value, dict):
        return sum(map(_media_in, value.values()))
    return sum(_media_in(one) or 1 for one in value) if isinstance(value, (list, tuple)) else 0


@define(eq=False)
class Prices:
    """What requests cost, as far as was seen; the highest, where one kind had several prices."""

    _on_news: Callable[[], None] = lambda: None
    """Called when a price is new."""
    _seen: dict[PriceKind, int] = field(factory=dict, init=False)

    def snapshot(self) -> str:
        """Return what was seen, as JSON."""
        seen = [[kind.endpoint, sorted(kind.options), kind.media, price] for kind, price in self._seen.items()]
        return json.dumps(seen)

    def restore(self, snapshot: str) -> None:
        """Take in what was seen by an earlier run. What is no snapshot is left out."""
        with contextlib.suppress(ValueError, TypeError):
            for endpoint, options, media, price in json.loads(snapshot):
                kind = PriceKind(endpoint, frozenset((name, value) for name, value in options), media)
                self._seen[kind] = int(price)

    def note(self, kind: PriceKind, credits_: int) -> None:
        """Note what the server asked for one. Nothing is no price."""
        if credits_ > self._seen.get(kind, 0):
            self._seen[kind] = credits_
            if len(self._seen) > _KINDS:
                del self._seen[next(iter(self._seen))]
            self._on_news()

    def of(self, kind: PriceKind) -> int | None:
        """Return what one costs, by a neighbour's price where the pricing page says how; None if that is not known."""
        if kind in self._seen:
            return self._seen[kind]
        if kind.has("off_peak"):
            whole = self.of(kind.without("off_peak"))
            return None if whole is None else -(-whole // 2)  # half, rounded up
        for switch, more in (("is_rec", _REC), ("audio", _SOUND)):
            if kind.has(switch) and (switch != "audio" or kind.is_q2):
                less = self.of(kind.without(switch))
                return None if less is None else less + more
        return None


@define(eq=False)
class Reservation:
    """Credits set aside for one submission, until it is known what became of it."""

    kind: PriceKind
    credits: int | None
    """None is not known."""
    _budget: Budget
    is_open: bool = True
    """Whether it is being submitted."""
    is_held: bool = False
    """Whether it may be paid."""
    is_free: bool = False
    """Whether it was found to cost nothing."""
    is_over: bool = False
    """Whether nobody will say any more what it cost."""

    def settle(self, credits_: int | None) -> None:
        """Take note that it was accepted, at a price; one that the server does not say is taken to be as estimated."""
        if not (self.is_open or self.is_held):
            self.correct(credits_)  # it was settled before
            return
        self._close()
        if credits_:  # nothing is no price
            self._budget.prices.note(self.kind, credits_)
            self.credits = credits_
        self._budget.spent += self.credits or 0
        self._budget.watch_price(self)

    def correct(self, consumed: int | None) -> None:
        """Take note of what an accepted one cost in the end: nothing, if it failed."""
        if consumed is None:
            return
        if consumed > (self.credits or 0):
            self._budget.prices.note(self.kind, consumed)
        self._budget.spent += consumed - (self.credits or 0)
        self.credits = consumed
        self._budget.watch_price(self)

    def release(self) -> None:
        """Take note that nothing is paid."""
        self._close()
        self.credits, self.is_free = 0, True
        self._budget.watch_price(self)

    def hold(self) -> None:
        """Take note that it may be paid: what was set aside stays so, until it is settled."""
        self._close()
        self.is_held = True
        self._budget.held += self.credits or 0
        self._budget.watch_price(self)

    def end(self) -> None:
        """Take note that nothing more will be heard of it."""
        self.is_over = True

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._budget.closed(self)
        if self.is_held:
            self.is_held = False
            self._budget.held -= self.credits or 0


@define(eq=False)
class Budget:
    """A cap in credits, and what is spent and set aside of it."""

    cap: int | None = None
    """None is no cap."""
    unknown_price: int | None = None
    """What a request is taken to cost of whose kind nothing is known."""
    prices: Prices = field(factory=Prices)
    spent: int = field(default=0, init=False)
    reserved: int = field(default=0, init=False)
    """Of submissions under way."""
    held: int = field(default=0, init=False)
    """Of submissions that may be paid."""
    _trying: Reservation | None = field(default=None, init=False)
    """One of unknown price that is being submitted, to learn it: alone, since it may take all that is left."""
    _unpriced: set[Reservation] = field(factory=set, init=False)
    """What is paid, or may be, for nobody knows what."""
    _estimated: dict[PriceKind, Reservation] = field(factory=dict, init=False)
    """The first of each kind that goes by the estimate: the others wait, in case it is wrong."""

    def __attrs_post_init__(self) -> None:
        for name in ("cap", "unknown_price"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and is_positive(value)):
                shown = "budget" if name == "cap" else name
                raise ConfigError(f"{shown}= must be a positive whole number of credits, not {value!r}")

    def price(self, request: Request) -> int | None:
        """Return what a request is taken to cost, None if that is not known."""
        known = self.prices.of(PriceKind.of(request))
        return self.unknown_price if known is None else known

    def reserve(self, request: Request) -> Reservation | None:
        """Set aside what a request costs; None if it has to wait until more is known of others.

        Raises:
            BudgetExceededError: the cap would be passed.

        """
        kind, price = PriceKind.of(request), self.price(request)
        if self.cap is None:
            return self._open(kind, price)
        left = self.cap - self.spent - self.held
        if price is None and any(one.is_over for one in self._unpriced):
            said = "has an unknown price, as has what was submitted before (unknown_price= takes an estimate)"
            raise self._refusal(request, left, said)
        if (price or 1) > left:
            known = "costs an unknown number of" if price is None else f"costs {price}"
            raise self._refusal(request, left, f"{known} credits")
        is_alone = not (self._trying or self._unpriced or self.reserved)
        if self._trying or (price or 1) > left - self.reserved or (price is None and not is_alone):
            return None  # those under way may come to nothing, cost less, or tell the price
        if self._is_being_priced(kind):
            return None
        reservation = self._open(kind, price)
        if price is None:
            self._trying = reservation
        elif self.prices.of(kind) is None and (kind not in self._estimated or self._estimated[kind].is_free):
            self._estimated[kind] = reservation
        return reservation

    def _is_being_priced(self, kind: PriceKind) -> bool:
        """Whether another of a kind that goes by the estimate will tell soon what it costs."""
        first = self._estimated.get(kind)
        return first is not None and first.is_open and self.prices.of(kind) is None

    def earlier(self, request: Request) -> Reservation:
        """Set aside what an earlier run may have paid for a request, whatever the cap."""
        return self._open(PriceKind.of(request), self.price(request))

    def closed(self, reservation: Reservation) -> None:
        """Note that a reservation is none any more."""
        self.reserved -= reservation.credits or 0
        if reservation is self._trying:
            self._trying = None

    def watch_price(self, reservation: Reservation) -> None:
        """Remember what is paid, or may be, as long as nobody knows for what: if there is a cap, others wait for it."""
        if self.cap is not None and reservation.credits is None:
            self._unpriced.add(reservation)
        else:
            self._unpriced.discard(reservation)

    def _refusal(self, request: Request, left: int, what: str) -> BudgetExceededError:
        model = getattr(request, "model", "")
        which = f"{request.endpoint} with {model}" if model else request.endpoint
        error = BudgetExceededError(f"{which} {what}, and {max(0, left)} of {self.cap} are left")
        error.paid = "no"
        return error

    def _open(self, kind: PriceKind, price: int | None) -> Reservation:
        self.reserved += price or 0
        return Reservation(kind, price, self)
