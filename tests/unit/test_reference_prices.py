"""The market price from which on a watcher brings an order back: never too late, with and without quotes."""

from decimal import Decimal

import pytest
from order_engine.adapters.mock_market.pools import POOLS, price, spot
from order_engine.domain.order import Order
from order_engine.domain.order_types import type_of
from order_engine.domain.swaps import Quote, VenueName

from tests.support.builders import an_order

_DEEP = {"amount_in": Decimal(1500)}  # moves Raydium's price by 4 %, Meteora's by 7 %
ORDERS = [
    an_order(order_type="stop", trigger_price=Decimal(140), **_DEEP),
    an_order(order_type="stop", trigger_price=Decimal(140), max_price_impact_bps=10_000, **_DEEP),
    an_order(order_type="takeProfit", trigger_price=Decimal(160), **_DEEP),
    an_order(order_type="limit", limit_price=Decimal(160), **_DEEP),
]


def quotes(order: Order, level: int, *names: VenueName) -> list[Quote]:
    """What venues quote while a SOL is worth so much."""
    return [price(order, POOLS[name], name, Decimal(level)) for name in names]


@pytest.mark.parametrize("names", [(), tuple(VenueName)], ids=["no quote", "both quotes"])
@pytest.mark.parametrize("order", ORDERS, ids=lambda one: f"{one.order_type} {one.max_price_impact_bps}")
def test_an_order_whose_own_quote_meets_its_condition_is_due(order: Order, names: tuple[VenueName, ...]) -> None:
    kind = type_of(order)
    reference = kind.reference_price(order, quotes(order, 150, *names))
    for level in range(100, 220):
        best = max(quotes(order, level, *VenueName), key=lambda quote: quote.amount_out)
        market = max(spot(POOLS[name], Decimal(level)) for name in VenueName)
        due = market >= reference if kind.rises else market <= reference
        assert due or not kind.met(order, best), level
