"""What each order type waits for: its condition to the base unit, its floor, its words, and the market price from
which on it is looked at."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import permutations
from typing import Any

import pytest
from order_engine.adapters.mock_market.pools import POOLS, price, spot
from order_engine.domain.amounts import EXACT, base_unit
from order_engine.domain.errors import ExecutionError, SlippageExceeded, VenueUnavailable
from order_engine.domain.events import Opened
from order_engine.domain.order import Order
from order_engine.domain.order_types import ORDER_TYPES, least_of, rests, type_of
from order_engine.domain.record import OrderRecord
from order_engine.domain.resting import watch
from order_engine.domain.routing import QuoteResult, best_of
from order_engine.domain.steps import Proceed, Quoted
from order_engine.domain.swaps import Quote, VenueName
from order_engine.domain.tokens import TOKENS

from tests.support.builders import START, a_limit, a_quote, an_order

Results = list[tuple[VenueName, QuoteResult]]

DOWN = VenueUnavailable("down")


def a_stop(trigger: str = "148", **changes: Any) -> Order:
    return an_order(**{"order_type": "stop", "trigger_price": Decimal(trigger), **changes})


def a_take_profit(trigger: str = "148", **changes: Any) -> Order:
    return an_order(**{"order_type": "takeProfit", "trigger_price": Decimal(trigger), **changes})


def a_sniper(limit: str | None = None, **changes: Any) -> Order:
    return an_order(**{"order_type": "sniper", "limit_price": Decimal(limit) if limit else None, **changes})


# --- conditions -------------------------------------------------------------------------------------------------------

THIRDS = {"amount_in": Decimal("0.000000003"), "token_out": "MSOL"}
DUST = {"token_in": "BONK", "amount_in": Decimal("0.03")}


@pytest.mark.parametrize(
    ("order", "last_short", "first_met"),
    [
        (a_limit(slippage_bps=0), "1479.999999", "1480"),
        (a_limit(), "1487.437185", "1487.437186"),  # less 50 bps: 1479.999999 and 1480
        (a_limit(slippage_bps=9999), "14799999.999999", "14800000"),
        (a_limit("0.000000000000000001"), "0.000001", "0.000002"),  # one base unit, and one in reserve
        (a_limit("0.000000000000000001", slippage_bps=0), None, "0.000001"),
        (a_limit("0.0001", **DUST, slippage_bps=9999), "0.029999", "0.03"),  # rounded up to three base units
        (a_limit("148.000000000000000001", slippage_bps=0), "1480", "1480.000001"),
        (a_sniper("148"), "1487.437185", "1487.437186"),
        (a_sniper("148", slippage_bps=9999), "14799999.999999", "14800000"),
        (a_sniper(), None, "0.000001"),
        (an_order(), None, "0.000001"),
        (a_stop(), "1480.000001", "1480"),
        (a_stop("147.9999999999999999"), "1480", "1479.999999"),
        (a_stop("1.333333333333333333", **THIRDS), "0.000000004", "0.000000003"),  # 4/3 is more than that
        (a_stop("1.3333333333333333", **THIRDS), "0.000000004", "0.000000003"),
        (a_take_profit(), "1479.999999", "1480"),
        (a_take_profit("148.0000000000000001"), "1480", "1480.000001"),
        (a_take_profit("1.333333333333333334", **THIRDS), "0.000000004", "0.000000005"),
        (a_take_profit("1.333333333333333333", **THIRDS), "0.000000003", "0.000000004"),
    ],
    ids=lambda value: None if isinstance(value, Order) else str(value),
)
def test_a_condition_is_true_from_one_base_unit_on(order: Order, last_short: str | None, first_met: str) -> None:
    assert type_of(order).met(order, a_quote(amount_out=first_met))
    if last_short:
        assert not type_of(order).met(order, a_quote(amount_out=last_short))


@pytest.mark.parametrize(
    ("order", "amount_out", "floor"),
    [
        (a_limit(), "1490", "1482.55"),  # slippageBps less than the quote, which is more than it asks for
        (a_limit(), "1487.437186", "1480"),
        (a_limit(slippage_bps=9999), "14800000", "1480"),
        (a_limit("0.000000000000000001"), "0.000002", "0.000001"),
        (a_limit("148.00000001", slippage_bps=0), "1480.000001", "1480.000001"),  # rounded up
        (a_sniper("148"), "1490", "1482.55"),
        (a_sniper(), "1490", "1482.55"),
        (a_stop(), "1470", "1462.65"),
        (a_stop(min_amount_out=Decimal(1465)), "1470", "1465"),
        (a_take_profit(slippage_bps=10_000), "1490", "0.000001"),
        (a_take_profit(min_amount_out=Decimal(1400)), "1490", "1482.55"),
    ],
    ids=lambda value: None if isinstance(value, Order) else str(value),
)
def test_a_floor_is_what_the_order_asks_for(order: Order, amount_out: str, floor: str) -> None:
    assert type_of(order).floor(order, a_quote(amount_out=amount_out)) == Decimal(floor)


@pytest.mark.parametrize(
    ("order", "amount_out", "said"),
    [
        (
            a_limit(),
            "1487.437185",
            "the best quote, 1487.437185 USDC on raydium, is 1479.999999 less 50 slippageBps, "
            "and limitPrice asks for 1480",
        ),
        (a_sniper("148", slippage_bps=0), "1479", "is 1479 less 0 slippageBps, and limitPrice asks for 1480"),
        (a_stop(min_amount_out=Decimal(1465)), "1464.9", "1464.9 USDC on raydium, is below minAmountOut 1465"),
        (a_take_profit(min_amount_out=Decimal(1600)), "1500", "is below minAmountOut 1600"),
    ],
    ids=lambda value: value.order_type if isinstance(value, Order) else None,
)
def test_a_quote_that_can_not_hold_the_floor_is_refused(order: Order, amount_out: str, said: str) -> None:
    with pytest.raises(SlippageExceeded) as caught:
        type_of(order).floor(order, a_quote(amount_out=amount_out))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (an_order(), "nothing"),
        (a_limit(), "148 USDC a SOL, with 50 slippageBps in reserve"),
        (a_limit("148.10", slippage_bps=0), "148.1 USDC a SOL"),
        (a_stop("0.000000000000000001"), "0.000000000000000001 USDC a SOL or less"),
        (a_take_profit("1E3"), "1000 USDC a SOL or more"),
        (a_sniper(token_out=TOKENS["NOVA"].symbol), "a pool for SOL and NOVA"),
        (a_sniper("148"), "a pool for SOL and USDC, and 148 USDC a SOL, with 50 slippageBps in reserve"),
    ],
    ids=lambda value: value.order_type if isinstance(value, Order) else None,
)
def test_a_condition_is_said_in_words(order: Order, words: str) -> None:
    assert type_of(order).waits_for(order) == words


def test_which_orders_rest_and_which_way_they_come_due() -> None:
    waiting = [name for name in ORDER_TYPES if rests(an_order(order_type=name))]
    filled_or_killed = [name for name in ORDER_TYPES if rests(an_order(order_type=name, time_in_force="fok"))]

    assert (waiting, filled_or_killed) == (["limit", "stop", "takeProfit", "sniper"], [])
    assert [name for name, kind in ORDER_TYPES.items() if not kind.rises] == ["stop"]


# --- the reference price ----------------------------------------------------------------------------------------------


def reference_of(order: Order, results: Results) -> Decimal:
    """That of the order's first event at rest."""
    step = watch(OrderRecord.accepted(order), Quoted(results), START)
    assert isinstance(step, Proceed)
    assert isinstance(step.record.last, Opened)
    return step.record.last.reference_price


@dataclass(frozen=True)
class Moment:
    """The market at a moment: what each venue quotes for an order, and the price that the watcher sees."""

    results: Results
    market: Decimal

    @property
    def quotes(self) -> list[Quote]:
        return [result for _, result in self.results if isinstance(result, Quote)]


def moment_for(order: Order, dice: random.Random) -> Moment:
    """A moment at which the market is up to 20 % away from the token table's prices."""
    usual = TOKENS[order.token_in].usd_price / TOKENS[order.token_out].usd_price
    reference = EXACT.multiply(usual, Decimal(dice.randrange(8 * 10**11, 12 * 10**11)).scaleb(-12))
    results: Results = []
    spots = []
    for venue, pool in POOLS.items():
        price_now = pool.price_now(reference, Decimal(dice.randrange(10**9)).scaleb(-9))
        spots.append(spot(pool, price_now))
        try:
            results.append((venue, price(order, pool, venue, price_now)))
        except ExecutionError as error:
            results.append((venue, error))
    return Moment(results, max(spots))


def amount_of(token_in: str, usd: Decimal) -> Decimal:
    token = TOKENS[token_in]
    unit = base_unit(token.decimals)
    return max((usd / token.usd_price).quantize(unit, context=EXACT), unit)


def just_met(order: Order, best: Quote) -> Order | None:
    """The order with the price at which this quote just fulfils its condition; None if that has too many decimals."""
    name = "limit_price" if order.order_type in ("limit", "sniper") else "trigger_price"
    kept = Decimal(10_000 - order.slippage_bps) / 10_000 if name == "limit_price" else Decimal(1)
    gives = EXACT.multiply(best.amount_out, kept)
    if name == "limit_price":
        gives = gives.quantize(base_unit(TOKENS[order.token_out].decimals), context=EXACT)
    rounding = ROUND_FLOOR if type_of(order).rises else ROUND_CEILING
    context = Context(prec=60, rounding=rounding)
    own = context.quantize(context.divide(gives, order.amount_in), Decimal("1E-18"))
    return order.model_copy(update={name: own}) if own else None


def drawn(seed: int, usd: tuple[float, float], count: int = 400) -> Iterator[tuple[Order, Moment, random.Random]]:
    """Orders over all pairs, worth between two powers of ten of USD, each with a moment at which it is just met."""
    dice, pairs = random.Random(seed), list(permutations(TOKENS, 2))
    for number in range(count):
        token_in, token_out = pairs[number % len(pairs)]
        order = an_order(
            order_type=dice.choice(["limit", "limit", "stop", "stop", "takeProfit", "sniper"]),
            token_in=token_in,
            token_out=token_out,
            amount_in=amount_of(token_in, Decimal(10 ** dice.uniform(*usd))),
            slippage_bps=dice.choice([0, 1, 50, 500, 9999]),
            max_price_impact_bps=10_000,
        )
        moment = moment_for(order, dice)
        if moment.quotes and (met := just_met(order, best_of(order, moment.results))):
            assert type_of(met).met(met, best_of(met, moment.results))
            yield met, moment, dice


def is_due(order: Order, moment: Moment, reference: Decimal) -> bool:
    return moment.market >= reference if type_of(order).rises else moment.market <= reference


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("usd", [(-9, -3), (-3, 3), (3, 6)], ids=["dust", "usual", "whales"])
def test_an_order_is_due_whenever_its_own_quote_meets_its_condition(usd: tuple[float, float], seed: int) -> None:
    """However different the quotes were with which it came to rest, whichever venue was away then."""
    tried = 0
    for order, moment, dice in drawn(seed, usd):
        if len(moment.quotes) < len(POOLS):
            continue  # the market price is also a venue's on which nobody can swap so much or little
        opened = [(venue, dice.choice([result, result, DOWN])) for venue, result in moment_for(order, dice).results]
        for results in (opened, moment.results, []):
            reference = reference_of(order, results)
            assert is_due(order, moment, reference), (order, moment, results, reference)
            tried += 1
    assert tried > 500 or usd == (-9, -3)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("usd", "share"), [((-1, 3.85), "0.001"), ((3.85, 6), None)], ids=["usual", "whales"])
def test_an_order_is_not_due_long_before_its_condition(usd: tuple[float, float], share: str | None, seed: int) -> None:
    """Which venue will be the better one is not known, so that the difference of their price impacts is allowed for;
    that is 0.1 % at 7,500 USD."""
    tried = 0
    for order, moment, dice in drawn(seed, usd):
        results = moment_for(order, dice).results
        quotes = [result for _, result in results if isinstance(result, Quote)]
        least = least_of(order) if order.limit_price else min(quote.amount_out for quote in moment.quotes)
        if len(quotes) < len(POOLS) or least < 10**5 * base_unit(TOKENS[order.token_out].decimals):
            continue
        impacts = [quote.amount_out / (quote.price * (1 - quote.fee)) for quote in quotes]
        allowed = max(impacts) / min(impacts) - 1 if share is None else Decimal(share)
        reference = reference_of(order, results)
        early = (moment.market / reference if type_of(order).rises else reference / moment.market) - 1
        assert early <= allowed + Decimal("0.00004"), (order, moment, results)
        tried += 1
    assert tried > 100


def test_without_a_limit_price_a_sniper_is_due_at_any_price() -> None:
    assert reference_of(a_sniper(), [(VenueName.RAYDIUM, a_quote())]) == 0
    assert reference_of(a_sniper(), []) == 0


def test_a_price_of_18_decimals_is_neither_lost_nor_rounded_to_the_wrong_side() -> None:
    for order in (a_limit("123456789.123456789123456789", slippage_bps=0), a_take_profit("0.000000000000000001")):
        assert reference_of(order, []) <= (order.limit_price or order.trigger_price or 0)
    assert reference_of(a_stop("123456789.123456789123456789"), []) > Decimal("123456789.123456789123456789")


def test_a_quote_for_nothing_shows_no_price_impact() -> None:
    """Not even by a division by it."""
    nothing: Results = [(venue, a_quote(venue, "0")) for venue in VenueName]

    for order in (a_limit(), a_stop(), a_take_profit()):
        assert reference_of(order, nothing) == reference_of(order, [(venue, DOWN) for venue in VenueName])


def test_the_least_amount_is_rounded_up_to_the_base_unit() -> None:
    assert least_of(a_limit("148.00000001")) == Decimal("1480.000001")
    assert least_of(a_limit("0.000000000000000001")) == Decimal("0.000001")
    pair = {"token_in": "BONK", "token_out": "SOL"}
    bonk = a_limit("0.000000123456789012", **pair, amount_in=Decimal("0.00001"))
    assert least_of(bonk) == Decimal("0.000000001")
