"""The routing decision: quotes in, the better venue out. Pure: no network, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from order_engine.domain.amounts import EXACT, base_unit, floor_to_unit, to_wire
from order_engine.domain.errors import AmountTooSmall, ExecutionError, PriceImpactTooHigh, SlippageExceeded
from order_engine.domain.order import Order
from order_engine.domain.swaps import Quote, Rejection, VenueName
from order_engine.domain.tokens import TOKENS


@dataclass(frozen=True)
class RoutingDecision:
    """The chosen quote, everything it was compared with, the floor for the swap, and the reason in words."""

    best: Quote
    quotes: tuple[Quote, ...]
    rejected: tuple[Rejection, ...]
    min_amount_out: Decimal
    reason: str


QuoteResult = Quote | ExecutionError


def choose(order: Order, results: Sequence[tuple[VenueName, QuoteResult]]) -> RoutingDecision:
    """Choose the quote that gives the user most, after fee and impact; of equal ones the venue that was asked first.

    A venue that failed is rejected, and so is one whose quote gives less than a base unit or moves the price by more
    than maxPriceImpactBps. Raises SlippageExceeded if the best quote is below the client's minAmountOut. Without any
    acceptable quote it raises the venues' error: a transient one if there is one, because another attempt can help.
    """
    checked = [(venue, _acceptable(order, result)) for venue, result in results]
    quotes = tuple(result for _, result in checked if isinstance(result, Quote))
    failures = [(venue, result) for venue, result in checked if isinstance(result, ExecutionError)]
    if not quotes:
        worst = next((error for _, error in failures if error.transient), failures[0][1])
        raise type(worst)("; ".join(dict.fromkeys(str(error) for _, error in failures))) from worst
    best = max(quotes, key=lambda quote: quote.amount_out)
    return RoutingDecision(
        best=best,
        quotes=quotes,
        rejected=tuple(Rejection(venue=venue, code=error.code, error=str(error)) for venue, error in failures),
        min_amount_out=_min_amount_out(order, best),
        reason=_reason(order, best, quotes, failures),
    )


def _acceptable(order: Order, result: QuoteResult) -> QuoteResult:
    """Return an acceptable quote as it is, else the reason for its rejection."""
    if isinstance(result, ExecutionError):
        return result
    if result.amount_out < base_unit(TOKENS[order.token_out].decimals):
        return AmountTooSmall(f"{to_wire(order.amount_in)} {order.token_in} buys no {order.token_out}")
    if result.price_impact_pct * 100 > order.max_price_impact_bps:
        return PriceImpactTooHigh(
            f"{result.venue} would be moved by {to_wire(result.price_impact_pct)} %, more than maxPriceImpactBps "
            f"{order.max_price_impact_bps} allows"
        )
    return result


def _min_amount_out(order: Order, best: Quote) -> Decimal:
    """Return the floor for the swap: slippageBps below the quote, rounded down, but one base unit at least; or the
    client's own floor if that is higher."""
    decimals = TOKENS[order.token_out].decimals
    share = EXACT.divide(Decimal(10_000 - order.slippage_bps), Decimal(10_000))
    floor = max(floor_to_unit(EXACT.multiply(best.amount_out, share), decimals), base_unit(decimals))
    if order.min_amount_out is None:
        return floor
    if best.amount_out < order.min_amount_out:
        raise SlippageExceeded(
            f"the best quote, {to_wire(best.amount_out)} {order.token_out} on {best.venue}, "
            f"is below minAmountOut {to_wire(order.min_amount_out)}"
        )
    return max(floor, order.min_amount_out)


def _reason(
    order: Order, best: Quote, quotes: tuple[Quote, ...], failures: list[tuple[VenueName, ExecutionError]]
) -> str:
    said = f"{best.venue} gives {to_wire(best.amount_out)} {order.token_out}"
    others = [quote for quote in quotes if quote is not best]
    for other in others:
        word = "as much as" if other.amount_out == best.amount_out else "more than"
        said += f", {word} {other.venue} ({to_wire(other.amount_out)})"
    for venue, error in failures:
        said += f"; {venue} gave no quote ({error.code})"
    return said
