"""The routing decision: the venue that gives most after fee and impact, and the floor for the swap."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.amounts import decimal_places
from order_engine.domain.errors import (
    AmountTooSmall,
    ExecutionError,
    InsufficientLiquidity,
    OrderExpired,
    PriceImpactTooHigh,
    RateLimited,
    SlippageExceeded,
    VenueUnavailable,
)
from order_engine.domain.order import Order
from order_engine.domain.routing import QuoteResult, RoutingDecision, choose
from order_engine.domain.swaps import Quote, VenueName
from order_engine.domain.tokens import TOKENS

from tests.support.builders import a_quote, an_order

RAYDIUM, METEORA = VenueName.RAYDIUM, VenueName.METEORA
DOWN = VenueUnavailable("down")


def route(order: Order, raydium: QuoteResult, meteora: QuoteResult = DOWN) -> RoutingDecision:
    return choose(order, [(RAYDIUM, raydium), (METEORA, meteora)])


def test_the_venue_that_gives_more_is_chosen_whatever_its_spot_price() -> None:
    raydium, meteora = a_quote(RAYDIUM, "1490", price=Decimal(200)), a_quote(METEORA, "1490.000001", fee=Decimal("0.1"))

    decision = route(an_order(), raydium, meteora)

    assert (decision.best, decision.quotes, decision.rejected) == (meteora, (raydium, meteora), ())
    assert decision.reason == "meteora gives 1490.000001 USDC, more than raydium (1490)"


def test_of_equal_quotes_the_venue_that_was_asked_first_is_chosen() -> None:
    quotes = a_quote(RAYDIUM, "1490"), a_quote(METEORA, "1490")

    for first, second in permutations(quotes):
        decision = choose(an_order(), [(first.venue, first), (second.venue, second)])
        assert decision.best == first
        assert "as much as" in decision.reason


@pytest.mark.parametrize("error", [DOWN, RateLimited("slower"), InsufficientLiquidity("too much")])
def test_with_one_venue_down_the_order_goes_to_the_other(error: ExecutionError) -> None:
    decision = route(an_order(), error, a_quote(METEORA, "1200"))

    assert decision.best.venue == METEORA
    assert [(one.venue, one.code, one.error) for one in decision.rejected] == [(RAYDIUM, error.code, str(error))]
    assert f"raydium gave no quote ({error.code})" in decision.reason


@pytest.mark.parametrize(
    ("raydium", "meteora", "raised"),
    [
        (DOWN, RateLimited("slower"), VenueUnavailable),
        (InsufficientLiquidity("too much"), RateLimited("slower"), RateLimited),
        (RateLimited("slower"), InsufficientLiquidity("too much"), RateLimited),
        (InsufficientLiquidity("too much"), InsufficientLiquidity("far too much"), InsufficientLiquidity),
    ],
)
def test_with_both_venues_down_the_error_is_transient_if_either_was(
    raydium: ExecutionError, meteora: ExecutionError, raised: type[ExecutionError]
) -> None:
    with pytest.raises(raised) as caught:
        route(an_order(), raydium, meteora)

    assert type(caught.value) is raised
    assert str(caught.value) == f"{raydium}; {meteora}"


@pytest.mark.parametrize(
    ("slippage_bps", "clients_floor", "amount_out", "floor"),
    [
        (50, None, "1490", "1482.55"),
        (0, None, "1490.000001", "1490.000001"),
        (10_000, None, "1490", "0.000001"),  # a swap that gives nothing is no swap
        (50, None, "0.000001", "0.000001"),  # 0.000000995 rounded down would be nothing
        (1, None, "1234567.890123", "1234444.433333"),  # …4.4333339877
        (50, "1485.5", "1490", "1485.5"),
        (50, "1490", "1490", "1490"),
        (50, "1", "1490", "1482.55"),
    ],
)
def test_the_floor_is_slippage_below_the_quote_or_the_clients_higher_one(
    slippage_bps: int, clients_floor: str | None, amount_out: str, floor: str
) -> None:
    order = an_order(slippage_bps=slippage_bps, min_amount_out=Decimal(clients_floor) if clients_floor else None)

    assert route(order, a_quote(RAYDIUM, amount_out)).min_amount_out == Decimal(floor)


def test_a_best_quote_below_the_clients_floor_ends_the_attempt_for_good() -> None:
    order = an_order(min_amount_out=Decimal("1490.000001"))

    with pytest.raises(SlippageExceeded, match=r"1490 USDC on raydium, is below minAmountOut 1490.000001") as caught:
        route(order, a_quote(RAYDIUM, "1490"), a_quote(METEORA, "1489"))

    assert not caught.value.transient


@pytest.mark.parametrize(
    ("unacceptable", "error", "message"),
    [
        ({"amount_out": "0.0000001"}, AmountTooSmall, "10 SOL buys no USDC"),
        ({"price_impact_pct": Decimal("1.0001")}, PriceImpactTooHigh, "1.0001 %, more than maxPriceImpactBps 100"),
    ],
)
def test_a_quote_for_nothing_or_with_too_much_impact_is_rejected(
    unacceptable: dict[str, str], error: type[ExecutionError], message: str
) -> None:
    order = an_order(max_price_impact_bps=100)
    good, bad = a_quote(METEORA, "1", price_impact_pct=Decimal(1)), a_quote(RAYDIUM, **unacceptable)

    decision = route(order, bad, good)

    assert (decision.best, decision.rejected[0].code) == (good, error.code)
    with pytest.raises(error, match=message):
        route(order, bad, bad)


outs = st.decimals(min_value="0.00001", max_value="1000000000", places=6)
failures = st.sampled_from([DOWN, RateLimited("slower"), InsufficientLiquidity("no"), OrderExpired("old")])
result_lists = st.lists(
    st.tuples(st.sampled_from(VenueName), st.one_of(outs, failures)), min_size=1, max_size=5
).filter(lambda results: any(isinstance(result, Decimal) for _, result in results))


@given(result_lists, st.integers(0, 10_000))
def test_no_quote_is_ever_better_than_the_chosen_one(
    drawn: list[tuple[VenueName, Decimal | ExecutionError]], slippage_bps: int
) -> None:
    results: list[tuple[VenueName, QuoteResult]] = [
        (venue, one if isinstance(one, ExecutionError) else a_quote(venue, str(one))) for venue, one in drawn
    ]

    decision = choose(an_order(slippage_bps=slippage_bps), results)

    assert all(decision.best.amount_out >= result.amount_out for _, result in results if isinstance(result, Quote))
    assert len(decision.quotes) + len(decision.rejected) == len(results)


@given(outs, st.integers(0, 10_000), st.sampled_from(sorted(TOKENS)))
def test_the_floor_is_at_most_one_base_unit_below_the_exact_one(
    amount_out: Decimal, slippage_bps: int, token_out: str
) -> None:
    order = an_order(slippage_bps=slippage_bps, token_out=token_out)

    floor = route(order, a_quote(RAYDIUM, str(amount_out))).min_amount_out

    exact, unit = amount_out * (10_000 - slippage_bps) / 10_000, Decimal(10) ** -TOKENS[token_out].decimals
    assert floor == unit if exact < unit else 0 <= exact - floor < unit
    assert decimal_places(floor) <= TOKENS[token_out].decimals
