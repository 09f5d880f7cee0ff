"""The order types, one class for each: what it waits for, and the least that its swap may give.

A price is always tokenOut for one tokenIn. An order's own price is what the whole of it would net, after fee and price
impact; the market's is what a very small order would, after the fee. An order's own stays the same share of the
market's, by its price impact, so that each condition can be said as a market price: its reference price.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import ROUND_CEILING, Context, Decimal
from typing import ClassVar

from order_engine.domain.amounts import EXACT, base_unit, floor_to_unit, price_of, to_wire
from order_engine.domain.errors import SlippageExceeded
from order_engine.domain.order import OrderTerms
from order_engine.domain.swaps import Quote
from order_engine.domain.tokens import TOKENS

_AMOUNT_UP = Context(prec=60, rounding=ROUND_CEILING)
_UP = Context(prec=18, rounding=ROUND_CEILING)


class OrderType(ABC):
    """What sets an order type apart."""

    rests: ClassVar[bool] = True  # it waits for its condition, unless it is fok
    at_once: ClassVar[bool] = False  # it can be fok
    rises: ClassVar[bool] = True  # the condition comes true as the price rises, else as it falls
    returns: ClassVar[bool] = False  # triggered, and the market gives less again, it waits on; else it fails
    required: ClassVar[frozenset[str]] = frozenset()  # fields, besides those that every order has
    optional: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def met(self, order: OrderTerms, best: Quote) -> bool:
        """Return whether the condition is true, given the best quote for the whole order."""

    @abstractmethod
    def waits_for(self, order: OrderTerms) -> str:
        """Say the condition in words."""

    @abstractmethod
    def reference_price(self, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
        """Return the market price from which on the condition can be true. `quotes` show the order's price impact on
        every venue; the price is never too late, and without them early by as much as that can be."""

    def floor(self, order: OrderTerms, best: Quote) -> Decimal:
        """Return the least amountOut of its swap: slippageBps less than the quote, or minAmountOut if that is more.

        Raises SlippageExceeded if the quote can't hold the order's own floor."""
        floor = _less_slippage(order, best.amount_out)
        if order.min_amount_out is None:
            return floor
        if best.amount_out < order.min_amount_out:
            raise SlippageExceeded(
                f"the best quote, {to_wire(best.amount_out)} {order.token_out} on {best.venue}, "
                f"is below minAmountOut {to_wire(order.min_amount_out)}"
            )
        return max(floor, order.min_amount_out)


class Market(OrderType):
    """Executed at once, whatever the price."""

    rests = False
    at_once = True
    optional = frozenset({"min_amount_out"})

    def met(self, _order: OrderTerms, _best: Quote) -> bool:
        return True

    def waits_for(self, _order: OrderTerms) -> str:
        return "nothing"

    def reference_price(self, _order: OrderTerms, _quotes: Sequence[Quote]) -> Decimal:
        return Decimal(0)


class Limit(OrderType):
    """Executed once the best quote, less slippageBps, nets limitPrice; its swap gives no less than that."""

    at_once = True
    returns = True
    required = frozenset({"limit_price"})

    def met(self, order: OrderTerms, best: Quote) -> bool:
        return EXACT.multiply(best.amount_out, _kept(order)) >= least_of(order)

    def waits_for(self, order: OrderTerms) -> str:
        reserve = f", with {order.slippage_bps} slippageBps in reserve" if order.slippage_bps else ""
        return f"{to_wire(_given(order.limit_price))} {order.token_out} a {order.token_in}{reserve}"

    def reference_price(self, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
        return _rising_to(EXACT.divide(_given(order.limit_price), _kept(order)), order, quotes)

    def floor(self, order: OrderTerms, best: Quote) -> Decimal:
        floor = _less_slippage(order, best.amount_out)
        if not self.met(order, best):
            raise SlippageExceeded(
                f"the best quote, {to_wire(best.amount_out)} {order.token_out} on {best.venue}, is {to_wire(floor)} "
                f"less {order.slippage_bps} slippageBps, and limitPrice asks for {to_wire(least_of(order))}"
            )
        return floor


class Stop(OrderType):
    """Executed as a market order once its own price is at or below triggerPrice."""

    rises = False
    required = frozenset({"trigger_price"})
    optional = frozenset({"min_amount_out"})

    def met(self, order: OrderTerms, best: Quote) -> bool:
        return best.amount_out <= _triggering(order)

    def waits_for(self, order: OrderTerms) -> str:
        return f"{to_wire(_given(order.trigger_price))} {order.token_out} a {order.token_in} or less"

    def reference_price(self, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
        # Rounded down, its quote may be a base unit below what the market price comes to.
        own = EXACT.add(_triggering(order), base_unit(TOKENS[order.token_out].decimals))
        shares = [EXACT.divide(quote.amount_out, _market(quote.price.next_plus(_UP), quote)) for quote in quotes]
        least = Decimal(max(9_999 - order.max_price_impact_bps, 1)).scaleb(-4)  # a bp less, as the impact is rounded
        return _UP.divide(own, min(shares, default=EXACT.multiply(least, order.amount_in)))


class TakeProfit(OrderType):
    """Executed as a market order once its own price is at or above triggerPrice."""

    required = frozenset({"trigger_price"})
    optional = frozenset({"min_amount_out"})

    def met(self, order: OrderTerms, best: Quote) -> bool:
        return best.amount_out >= _triggering(order)

    def waits_for(self, order: OrderTerms) -> str:
        return f"{to_wire(_given(order.trigger_price))} {order.token_out} a {order.token_in} or more"

    def reference_price(self, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
        return _rising_to(_given(order.trigger_price), order, quotes)


class Sniper(OrderType):
    """Executed as soon as a venue has a pool for the pair: as a limit order with limitPrice, else as a market order."""

    returns = True
    optional = frozenset({"limit_price"})

    def met(self, order: OrderTerms, best: Quote) -> bool:
        return _afterwards(order).met(order, best)

    def waits_for(self, order: OrderTerms) -> str:
        price = f", and {_LIMIT.waits_for(order)}" if order.limit_price else ""
        return f"a pool for {order.token_in} and {order.token_out}{price}"

    def reference_price(self, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
        return _afterwards(order).reference_price(order, quotes)

    def floor(self, order: OrderTerms, best: Quote) -> Decimal:
        return _afterwards(order).floor(order, best)


_MARKET, _LIMIT = Market(), Limit()

ORDER_TYPES: dict[str, OrderType] = {
    "market": _MARKET,
    "limit": _LIMIT,
    "stop": Stop(),
    "takeProfit": TakeProfit(),
    "sniper": Sniper(),
}


def type_of(order: OrderTerms) -> OrderType:
    """Return the order's type."""
    return ORDER_TYPES[order.order_type]


def rests(order: OrderTerms) -> bool:
    """Return whether the order waits for its condition."""
    return type_of(order).rests and order.time_in_force != "fok"


def least_of(order: OrderTerms) -> Decimal:
    """Return the least amountOut that nets limitPrice: rounded up to tokenOut's base unit."""
    unit = base_unit(TOKENS[order.token_out].decimals)
    return max(_AMOUNT_UP.quantize(_AMOUNT_UP.multiply(_given(order.limit_price), order.amount_in), unit), unit)


def _afterwards(order: OrderTerms) -> OrderType:
    return _LIMIT if order.limit_price else _MARKET


def _kept(order: OrderTerms) -> Decimal:
    """Return what slippageBps leaves of an amount, as a fraction."""
    return EXACT.divide(Decimal(10_000 - order.slippage_bps), Decimal(10_000))


def _less_slippage(order: OrderTerms, amount_out: Decimal) -> Decimal:
    """Return slippageBps less than the amount, rounded down, but one base unit at least."""
    decimals = TOKENS[order.token_out].decimals
    return max(floor_to_unit(EXACT.multiply(amount_out, _kept(order)), decimals), base_unit(decimals))


def _triggering(order: OrderTerms) -> Decimal:
    """Return the amountOut that comes to triggerPrice; not rounded to a base unit."""
    return EXACT.multiply(_given(order.trigger_price), order.amount_in)


def _rising_to(own: Decimal, order: OrderTerms, quotes: Sequence[Quote]) -> Decimal:
    """Return the market price at which the order's own can have risen to `own`: on the venue whose price it moves
    least, and as if nothing were rounded off. Rounded down to 18 digits."""
    unit = base_unit(TOKENS[order.token_out].decimals)
    shares = [EXACT.divide(EXACT.add(quote.amount_out, unit), _market(quote.price, quote)) for quote in quotes]
    return price_of(own, EXACT.divide(max(shares, default=order.amount_in), order.amount_in))


def _market(price: Decimal, quote: Quote) -> Decimal:
    """Return the market price on a venue that is at a price."""
    return EXACT.multiply(price, 1 - quote.fee)


def _given(price: Decimal | None) -> Decimal:
    if price is None:
        raise AssertionError("a price that the order's type requires")
    return price
