"""The routing decision: the venue that gives most after fee and impact, and the floor for the swap."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.adapters.mock_market.pools import POOLS, price
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
from order_engine.domain.routing import Answer, choose
from order_engine.domain.swaps import Quote, VenueName
from order_engine.domain.tokens import TOKENS

from tests.support.builders import a_quote, an_order

RAYDIUM, METEORA = VenueName.RAYDIUM, VenueName.METEORA


def answers(raydium: Answer, meteora: Answer) -> list[tuple[VenueName, Answer]]:
    return [(RAYDIUM, raydium), (METEORA, meteora)]


def test_the_venue_that_gives_more_is_chosen_and_the_decision_says_why() -> None:
    raydium, meteora = a_quote(RAYDIUM, "1490"), a_quote(METEORA, "1490.000001")

    decision = choose(an_order(), answers(raydium, meteora))

    assert decision.best == meteora
    assert decision.quotes == (raydium, meteora)
    assert decision.rejected == ()
    assert decision.reason == "meteora gives 1490.000001 USDC, more than raydium (1490)"


def test_a_better_spot_price_loses_to_what_the_user_receives() -> None:
    # Raydium's spot is better by less than its fee is worse.
    order = an_order(amount_in=Decimal(10))
    raydium = price(order, POOLS[RAYDIUM], RAYDIUM, Decimal("0.5"))  # spot 1.00
    meteora = price(order, POOLS[METEORA], METEORA, Decimal("0.594"))  # spot 0.9997

    decision = choose(order, answers(raydium, meteora))

    assert raydium.price > meteora.price
    assert decision.best == meteora


def test_a_large_order_goes_to_the_deeper_pool_in_spite_of_price_and_fee() -> None:
    order = an_order(amount_in=Decimal(10_000), max_price_impact_bps=10_000)
    raydium = price(order, POOLS[RAYDIUM], RAYDIUM, Decimal("0.5"))
    meteora = price(order, POOLS[METEORA], METEORA, Decimal("0.7"))

    decision = choose(order, answers(raydium, meteora))

    assert raydium.price < meteora.price
    assert raydium.fee > meteora.fee
    assert decision.best == raydium


def test_of_equal_quotes_the_venue_that_was_asked_first_is_chosen() -> None:
    quotes = a_quote(RAYDIUM, "1490"), a_quote(METEORA, "1490")

    for first, second in permutations(quotes):
        decision = choose(an_order(), [(first.venue, first), (second.venue, second)])
        assert decision.best == first
        assert "as much as" in decision.reason


@pytest.mark.parametrize("error", [VenueUnavailable("away"), RateLimited("slower"), InsufficientLiquidity("too much")])
def test_with_one_venue_down_the_order_goes_to_the_other_and_the_decision_says_so(error: ExecutionError) -> None:
    decision = choose(an_order(), answers(error, a_quote(METEORA, "1200")))

    assert decision.best.venue == METEORA
    assert [(one.venue, one.code, one.error) for one in decision.rejected] == [(RAYDIUM, error.code, str(error))]
    assert f"raydium gave no quote ({error.code})" in decision.reason


@pytest.mark.parametrize(
    ("raydium", "meteora", "raised"),
    [
        (VenueUnavailable("away"), RateLimited("slower"), VenueUnavailable),
        (InsufficientLiquidity("too much"), RateLimited("slower"), RateLimited),
        (RateLimited("slower"), InsufficientLiquidity("too much"), RateLimited),
        (InsufficientLiquidity("too much"), InsufficientLiquidity("far too much"), InsufficientLiquidity),
    ],
)
def test_with_both_venues_down_the_error_is_transient_if_either_was(
    raydium: ExecutionError, meteora: ExecutionError, raised: type[ExecutionError]
) -> None:
    with pytest.raises(raised) as caught:
        choose(an_order(), answers(raydium, meteora))

    assert type(caught.value) is raised
    assert str(caught.value) == f"{raydium}; {meteora}"


@pytest.mark.parametrize(
    ("slippage_bps", "amount_out", "floor"),
    [
        (50, "1490", "1482.55"),
        (0, "1490.000001", "1490.000001"),
        (10_000, "1490", "0.000001"),  # a swap that gives nothing is no swap
        (50, "0.000001", "0.000001"),  # 0.000000995 rounded down would be nothing
        (1, "1234567.890123", "1234444.433333"),  # …4.4333339877
    ],
)
def test_the_floor_is_slippage_below_the_quote_rounded_down(slippage_bps: int, amount_out: str, floor: str) -> None:
    order = an_order(slippage_bps=slippage_bps)

    assert choose(order, answers(a_quote(RAYDIUM, amount_out), VenueUnavailable("away"))).min_amount_out == Decimal(
        floor
    )


def test_the_clients_floor_holds_where_it_is_the_higher_one() -> None:
    order = an_order(min_amount_out=Decimal("1485.5"))

    assert choose(order, answers(a_quote(), VenueUnavailable("away"))).min_amount_out == Decimal("1485.5")


def test_the_clients_floor_does_not_lower_that_of_slippage() -> None:
    order = an_order(min_amount_out=Decimal(1))

    assert choose(order, answers(a_quote(), VenueUnavailable("away"))).min_amount_out == Decimal("1482.55")


def test_a_quote_of_exactly_the_clients_floor_is_enough() -> None:
    order = an_order(min_amount_out=Decimal(1490))

    assert choose(order, answers(a_quote(), VenueUnavailable("away"))).min_amount_out == Decimal(1490)


def test_a_best_quote_below_the_clients_floor_ends_the_attempt_for_good() -> None:
    order = an_order(min_amount_out=Decimal("1490.000001"))

    with pytest.raises(SlippageExceeded, match=r"1490 USDC on raydium, is below minAmountOut 1490.000001") as caught:
        choose(order, answers(a_quote(RAYDIUM, "1490"), a_quote(METEORA, "1489")))

    assert not caught.value.transient


def test_a_quote_that_gives_nothing_is_rejected() -> None:
    nothing = a_quote(RAYDIUM, "0.0000001")

    assert choose(an_order(), answers(nothing, a_quote(METEORA, "1"))).rejected[0].code == "AMOUNT_TOO_SMALL"
    with pytest.raises(AmountTooSmall, match="10 SOL buys no USDC"):
        choose(an_order(), answers(nothing, nothing))


def test_a_quote_that_moves_the_price_too_far_is_rejected() -> None:
    order, limit = an_order(max_price_impact_bps=100), a_quote(METEORA, "1400", price_impact_pct=Decimal(1))
    beyond = a_quote(RAYDIUM, "1490", price_impact_pct=Decimal("1.0001"))

    decision = choose(order, answers(beyond, limit))

    assert (decision.best, decision.rejected[0].code) == (limit, "PRICE_IMPACT_TOO_HIGH")
    with pytest.raises(PriceImpactTooHigh, match=r"1.0001 %, more than maxPriceImpactBps 100"):
        choose(order, answers(beyond, beyond))


outs = st.decimals(min_value="0.00001", max_value="1000000000", places=6)
failures = st.sampled_from(
    [VenueUnavailable("away"), RateLimited("slower"), InsufficientLiquidity("no"), OrderExpired("old")]
)
answer_lists = st.lists(
    st.tuples(st.sampled_from(VenueName), st.one_of(outs, failures)), min_size=1, max_size=5
).filter(lambda given_answers: any(isinstance(answer, Decimal) for _, answer in given_answers))


@given(answer_lists, st.integers(0, 10_000))
def test_no_quote_is_ever_better_than_the_chosen_one(
    given_answers: list[tuple[VenueName, Decimal | ExecutionError]], slippage_bps: int
) -> None:
    said: list[tuple[VenueName, Answer]] = [
        (venue, answer if isinstance(answer, ExecutionError) else a_quote(venue, str(answer)))
        for venue, answer in given_answers
    ]

    decision = choose(an_order(slippage_bps=slippage_bps), said)

    assert all(decision.best.amount_out >= answer.amount_out for _, answer in said if isinstance(answer, Quote))
    assert len(decision.quotes) + len(decision.rejected) == len(said)


@given(outs, st.integers(0, 10_000), st.sampled_from(sorted(TOKENS)))
def test_the_floor_is_within_one_base_unit_of_what_was_asked_and_never_above_it(
    amount_out: Decimal, slippage_bps: int, token_out: str
) -> None:
    order = an_order(slippage_bps=slippage_bps, token_out=token_out)

    floor = choose(order, answers(a_quote(RAYDIUM, str(amount_out)), VenueUnavailable("away"))).min_amount_out

    exact, unit = amount_out * (10_000 - slippage_bps) / 10_000, Decimal(10) ** -TOKENS[token_out].decimals
    assert floor == unit if exact < unit else 0 <= exact - floor < unit
    assert decimal_places(floor) <= TOKENS[token_out].decimals
