"""What a batch may spend: never more than its cap where prices are known, and unknown is never 0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_async import BudgetExceededError, ConfigError, ImageToVideo, RawRequest, ReferenceToImage, TextToVideo
from vidu_async.budget import Budget, PriceKind, Prices, Reservation

FOX = TextToVideo(model="viduq3-turbo", prompt="the fox runs", duration=5)
CAT = TextToVideo(model="viduq3-pro", prompt="a cat")
LINK = "https://example.com/fox.png"


def opened(budget: Budget, request: Any = FOX) -> Reservation:
    """Reserve, where nothing has to be waited for."""
    found = budget.reserve(request)
    assert found is not None
    return found


def test_the_first_of_an_unknown_kind_goes_alone() -> None:
    """Whatever else there is waits for its price, since it may take all that is left."""
    budget = Budget(100)
    first = opened(budget)
    assert budget.reserve(FOX) is None
    assert budget.reserve(TextToVideo(model="viduq3-pro", prompt="a fox")) is None
    first.settle(60)
    with pytest.raises(
        BudgetExceededError, match=r"text2video with viduq3-turbo costs 60 credits, and 40 of 100 are left"
    ):
        budget.reserve(FOX)


def test_what_nobody_priced_goes_when_nothing_else_is_under_way() -> None:
    """What is set aside for others may not be all that they cost."""
    budget = Budget(100)
    budget.prices.note(PriceKind.of(FOX), 10)
    known = opened(budget)
    assert budget.reserve(CAT) is None
    known.settle(10)
    assert opened(budget, CAT).credits is None


def test_a_server_that_names_no_price_is_not_taken_to_be_free() -> None:
    """The others wait for the end of the first, which may tell; if it does not, they are refused."""
    budget = Budget(100)
    first = opened(budget)
    first.settle(0)
    assert budget.reserve(FOX) is None
    assert budget.reserve(CAT) is None, "one unknown price is enough"
    first.correct(30)
    assert budget.spent == 30
    assert opened(budget).credits == 30
    silent = Budget(100)
    first = opened(silent)
    first.settle(None)
    first.end()
    for request in (FOX, CAT):
        with pytest.raises(BudgetExceededError, match=r"unknown_price= takes an estimate"):
            silent.reserve(request)


def test_a_first_that_failed_keeps_nobody_waiting() -> None:
    """It cost nothing, and its price is still to be learned."""
    budget = Budget(100)
    first = opened(budget)
    first.settle(None)
    first.correct(0)
    first.end()
    assert opened(budget).credits is None


def test_a_price_is_waited_for_while_others_may_come_to_nothing() -> None:
    """Refused is only what would pass the cap by what is spent."""
    budget = Budget(100)
    budget.prices.note(PriceKind.of(FOX), 60)
    first = opened(budget)
    assert budget.reserve(FOX) is None
    first.release()
    assert opened(budget).credits == 60


def test_what_an_earlier_run_paid_counts_once() -> None:
    """Whatever it is found to have cost later, and however the price has changed meanwhile."""
    budget = Budget(200)
    paid, lost = budget.earlier(FOX), budget.earlier(FOX)
    paid.settle(60)
    lost.hold()
    assert (budget.spent, budget.held, budget.reserved) == (60, 0, 0)
    lost.settle(60)
    paid.settle(60)
    assert (budget.spent, budget.held) == (120, 0)


def test_what_an_earlier_run_left_does_not_free_the_one_that_goes_alone() -> None:
    """Its own end does."""
    budget = Budget(100)
    first = opened(budget)
    budget.earlier(CAT).release()
    assert budget.reserve(FOX) is None
    first.settle(45)
    assert opened(budget).credits == 45


def test_a_price_above_the_estimate_is_learned() -> None:
    """The creation says one, the end of the task another."""
    budget = Budget(100, unknown_price=10)
    first = opened(budget)
    first.settle(20)
    first.correct(30)
    assert (budget.spent, budget.price(FOX)) == (30, 30)


def test_kinds_are_what_differs_in_price() -> None:
    """Words, seeds and marks do not; unknown fields may."""
    plain = RawRequest("text2video", {"model": "x", "prompt": "a", "seed": 1, "meta_data": "1"})
    other = RawRequest("text2video", {"model": "x", "prompt": "b", "seed": 2, "meta_data": "2"})
    assert PriceKind.of(plain) == PriceKind.of(other)
    assert PriceKind.of(plain) != PriceKind.of(
        RawRequest("text2video", {"model": "x", "prompt": "a", "style": "anime"})
    )


def test_prices_outlive_the_run() -> None:
    """As JSON; the one who keeps it hears of each that is new."""
    news: list[str] = []
    prices = Prices(lambda: news.append("new"))
    prices.note(PriceKind.of(FOX), 45)
    prices.note(PriceKind.of(FOX), 45)
    assert news == ["new"]
    again = Prices()
    again.restore(prices.snapshot())
    assert again.of(PriceKind.of(FOX)) == 45


def test_a_first_that_came_to_nothing_lets_the_next_go() -> None:
    """Its price is still to be learned."""
    budget = Budget(100)
    opened(budget).release()
    assert opened(budget).credits is None
    assert (budget.spent, budget.reserved) == (0, 0)


def test_the_first_of_a_kind_tells_whether_the_estimate_is_right() -> None:
    """The others of its kind wait for it; other kinds go by their own."""
    budget = Budget(100, unknown_price=2)
    first = opened(budget)
    assert budget.reserve(FOX) is None
    assert opened(budget, CAT).credits == 2
    first.settle(90)
    with pytest.raises(BudgetExceededError, match="costs 90 credits, and 10 of 100 are left"):
        budget.reserve(FOX)


def test_an_estimate_stands_where_the_server_names_no_price() -> None:
    """After the first of a kind, all go by it."""
    budget = Budget(100, unknown_price=40)
    opened(budget).settle(None)
    assert (budget.spent, opened(budget).credits) == (40, 40)
    assert budget.reserve(FOX) is None, "20 are left"


def test_a_first_that_was_refused_is_followed_by_another_first() -> None:
    """Nothing was learned from it."""
    budget = Budget(100, unknown_price=40)
    opened(budget).release()
    opened(budget)
    assert budget.reserve(FOX) is None


def test_what_may_be_paid_stays_set_aside() -> None:
    """Until somebody knows better."""
    budget = Budget(100, unknown_price=60)
    opened(budget).hold()
    with pytest.raises(BudgetExceededError, match="40 of 100 are left"):
        budget.reserve(FOX)
    assert (budget.spent, budget.held, budget.reserved) == (0, 60, 0)


def test_what_failed_is_not_charged() -> None:
    """Its credits are there again."""
    budget = Budget(100, unknown_price=60)
    reservation = opened(budget)
    reservation.settle(60)
    reservation.correct(0)
    assert budget.spent == 0
    assert opened(budget).credits == 60


def test_without_a_cap_nobody_waits() -> None:
    """And what is spent is counted all the same."""
    budget = Budget()
    first, second = opened(budget), opened(budget)
    first.settle(7)
    second.settle(7)
    assert budget.spent == 14


def test_prices_follow_from_those_of_neighbours_where_that_is_documented() -> None:
    """Off-peak is half of it, rounded up; a recommended prompt and q2's sound cost more."""
    prices = Prices()
    plain = ImageToVideo(model="viduq2", images=[LINK], duration=4)
    prices.note(PriceKind.of(plain), 25)

    def price(**more: Any) -> int | None:
        return prices.of(PriceKind.of(ImageToVideo(model="viduq2", images=[LINK], duration=4, **more)))

    assert (price(), price(off_peak=True), price(is_rec=True), price(audio=True)) == (25, 13, 35, 40)
    assert price(resolution="1080p") is None
    assert prices.of(PriceKind.of(ReferenceToImage(model="viduq2", prompt="a fox"))) is None


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "10"])
def test_a_budget_that_is_none_is_refused(value: Any) -> None:
    """Whole credits, above 0."""
    with pytest.raises(ConfigError, match="budget= must be a positive whole number"):
        Budget(value)


STEPS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["settle", "release", "hold", "fail"])), max_size=60)


@given(STEPS, st.integers(1, 200), st.integers(1, 50))
def test_no_more_is_spent_than_the_cap_however_submissions_end(
    steps: list[tuple[int, str]], cap: int, price: int
) -> None:
    """Up to three at once, in any order, at a known price."""
    budget = Budget(cap)
    budget.prices.note(PriceKind.of(FOX), price)
    under_way: list[Reservation] = []
    for at_once, end in steps:
        try:
            while len(under_way) < at_once and (reserved := budget.reserve(FOX)):
                under_way.append(reserved)
        except BudgetExceededError:
            pass
        if under_way:
            reservation = under_way.pop(0)
            if end in {"settle", "fail"}:
                reservation.settle(price)
            if end == "fail":
                reservation.correct(0)
            if end in {"release", "hold"}:
                getattr(reservation, end)()
        assert 0 <= budget.spent + budget.held + budget.reserved <= cap
