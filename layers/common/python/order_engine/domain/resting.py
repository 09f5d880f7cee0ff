"""The decisions about an order that rests: when it opens, is triggered, and goes back. Pure, like `decisions`."""

from datetime import datetime

from order_engine.domain.amounts import price_of, to_wire
from order_engine.domain.errors import ExecutionError, FailureCode, InsufficientLiquidity
from order_engine.domain.events import Opened, Triggered
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order_types import rests, type_of
from order_engine.domain.record import OrderRecord
from order_engine.domain.routing import Results, acceptable, best_of
from order_engine.domain.steps import Proceed, Quoted, Rest

# What the market does not give now, and may again.
MISSES = (
    FailureCode.SLIPPAGE_EXCEEDED,
    FailureCode.NO_POOL,
    FailureCode.INSUFFICIENT_LIQUIDITY,
    FailureCode.PRICE_IMPACT_TOO_HIGH,
)


def watch(record: OrderRecord, quoted: Quoted, now: datetime) -> Proceed | Rest:
    """Let a resting order rest until its own best quote is what it waits for."""
    kind = type_of(record.order)
    if record.status is OrderStatus.PENDING:
        return Proceed(_opened(record, quoted.results, "Waiting for", now, record.attempt), quoted)
    try:
        best = best_of(record.order, quoted.results)
    except ExecutionError as error:
        return Rest(record, str(error))
    price = price_of(best.amount_out, record.order.amount_in)
    said = f"{to_wire(price)} {record.order.token_out} a {record.order.token_in} on {best.venue}"
    if not kind.met(record.order, best):
        return Rest(record, f"its best quote is {said}")
    if not kind.rises and _is_silent(quoted.results):
        return Rest(record, f"its best quote is {said}, and a venue gave none")
    event = Triggered(**record.header(now), message=f"Triggered at {said}", venue=best.venue, price=price)
    return Proceed(record.followed_by(event), quoted)


def too_large(results: Results) -> InsufficientLiquidity | None:
    """Return why an order that has just come can't be filled at any price: no pool is large enough."""
    errors = [result for _, result in results if isinstance(result, InsufficientLiquidity)]
    return errors[0] if len(errors) == len(results) else None


def _is_silent(results: Results) -> bool:
    """Return whether a venue did not say what it gives. It may give more than the others: that the price has fallen is
    not known then."""
    return any(isinstance(result, ExecutionError) and result.transient for _, result in results)


def _opened(record: OrderRecord, results: Results, why: str, now: datetime, attempt: int) -> OrderRecord:
    """Return the record with `open`."""
    kind = type_of(record.order)
    quotes, without = acceptable(record.order, results)
    event = Opened(
        **record.header(now, attempt),
        message=f"{why} {kind.waits_for(record.order)}",
        reference_price=kind.reference_price(record.order, () if without else quotes),
    )
    return record.followed_by(event)


def may_return(record: OrderRecord) -> bool:
    """Return whether the order, once triggered, can go back to rest: while nothing of it was ever sent, as whoever was
    told that it is too late to cancel it is not to be believed later."""
    begun = record.status in (OrderStatus.ROUTING, OrderStatus.BUILDING) and record.transaction is None
    return begun and rests(record.order) and type_of(record.order).returns


def rest_on(record: OrderRecord, results: Results, error: ExecutionError, now: datetime, attempt: int) -> Rest:
    """Let a triggered order rest again after an attempt, begun or not: the next one has another number."""
    return Rest(_opened(record, results, f"{error}; waiting on for", now, attempt), str(error))
