"""What the venues would give now."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from order_engine.domain.errors import ExecutionError
from order_engine.domain.order import Order, OrderTerms
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable
from order_engine.domain.routing import acceptable, choose
from order_engine.domain.swaps import Quote, Rejection
from order_engine.ports import Clock
from order_engine.use_cases.venue_calls import VenueCalls


@dataclass(frozen=True)
class Comparison:
    """Both venues' quotes for an amount, at a moment. `best` gives most, and an order now would swap for no less than
    `min_amount_out`; both are None where no venue would take it."""

    at: datetime
    quotes: tuple[Quote, ...]
    rejected: tuple[Rejection, ...]
    best: Quote | None
    min_amount_out: Decimal | None


@dataclass(frozen=True)
class Market:
    """The use case of `market`."""

    venues: VenueCalls
    now: Clock

    def compare(self, terms: OrderTerms) -> Comparison:
        """Quote every venue, and compare as an order's routing does. Nothing is stored.

        Raises NotNowAvailable if no venue has said whether it would take it."""
        at = self.now()
        order = Order(**terms.model_dump(), order_id=uuid4(), created_at=at)
        results = self.venues.quotes(OrderRecord.accepted(order)).results
        quotes, failures = acceptable(order, results)
        if all(error.transient for _, error in failures) and not quotes:
            raise NotNowAvailable("no venue gave a quote")
        try:
            decision = choose(order, results)
        except ExecutionError:
            decision = None
        return Comparison(
            at=at,
            quotes=quotes,
            rejected=tuple(Rejection(venue=venue, code=error.code, error=str(error)) for venue, error in failures),
            best=decision.best if decision else None,
            min_amount_out=decision.min_amount_out if decision else None,
        )
