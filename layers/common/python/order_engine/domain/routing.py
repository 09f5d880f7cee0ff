"""The routing decision: quotes in, the better venue out. Pure: no network, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from order_engine.domain.amounts import base_unit, to_wire
from order_engine.domain.errors import AmountTooSmall, ExecutionError, PriceImpactTooHigh
from order_engine.domain.order import Order
from order_engine.domain.order_types import type_of
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
Results = Sequence[tuple[VenueName, QuoteResult]]


def best_of(order: Order, results: Results) -> Quote:
    """Return the quote that gives the user most, after fee and impact; of equal ones the venue that was asked first.

    A venue that failed is rejected, and so is one whose quote gives less than a base unit or moves the price by more
    than maxPriceImpactBps. Without any acceptable quote it raises the venues' error: a transient one if there is one,
    because another attempt can help.
    """
    return _best(*acceptable(order, results))


def _best(quotes: tuple[Quote, ...], failures: list[tuple[VenueName, ExecutionError]]) -> Quote:
    if not quotes:
        worst = next((error for _, error in failures if error.transient), failures[0][1])
        raise type(worst)("; ".join(dict.fromkeys(str(error) for _, error in failures))) from worst
    return max(quotes, key=lambda quote: quote.amount_out)


def choose(order: Order, results: Results) -> RoutingDecision:
    """Choose the best quote. Raises what `best_of` does, and SlippageExceeded if it can't hold the order's floor."""
    quotes, failures = acceptable(order, results)
    best = _best(quotes, failures)
    return RoutingDecision(
        best=best,
        quotes=quotes,
        rejected=tuple(Rejection(venue=venue, code=error.code, error=str(error)) for venue, error in failures),
        min_amount_out=type_of(order).floor(order, best),
        reason=_reason(order, best, quotes, failures),
    )


def acceptable(order: Order, results: Results) -> tuple[tuple[Quote, ...], list[tuple[VenueName, ExecutionError]]]:
    """Return the acceptable quotes, and the venues without one."""
    checked = [(venue, _acceptable(order, result)) for venue, result in results]
    quotes = tuple(result for _, result in checked if isinstance(result, Quote))
    return quotes, [(venue, result) for venue, result in checked if isinstance(result, ExecutionError)]


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
