"""An order as it is listed: what was asked for, where it stands, and what came of it."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from order_engine.domain.amounts import Amount
from order_engine.domain.errors import FailureCode
from order_engine.domain.events import BuildingStarted, Confirmed, Expired, Failed
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order, OrderTypeName
from order_engine.domain.record import OrderRecord
from order_engine.domain.swaps import VenueName


class OrderSummary(Order):
    """An order without its events. `venue` is that of its last routing decision; `fee` is what the venue kept, in units
    of token_in; `sequence` is the number of its last event."""

    status: OrderStatus
    attempt: int
    sequence: int
    venue: VenueName | None = None
    tx_hash: str | None = None
    executed_price: Amount | None = None
    amount_out: Amount | None = None
    fee: Amount | None = None
    code: FailureCode | None = None
    error: str | None = None
    completed_at: datetime | None = None

    @property
    def position(self) -> "Position":
        """Where the order stands in a list."""
        return Position(self.created_at, self.order_id)

    def to_wire(self) -> dict[str, Any]:
        """Return what its owner is shown: without the fields that do not apply."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"owner"}, exclude_none=True)
        return {name: fields[name] for name in ("orderId", "status", "createdAt")} | fields


def summary_of(record: OrderRecord) -> OrderSummary:
    """Return the summary of an order's record."""
    last = record.last
    routed = last_decision(record)
    confirmed = last if isinstance(last, Confirmed) else None
    failed = last if isinstance(last, Failed | Expired) else None
    return OrderSummary(
        **record.order.model_dump(),
        status=last.status,
        attempt=record.attempt,
        sequence=record.sequence,
        venue=routed.venue if routed else None,
        tx_hash=confirmed.tx_hash if confirmed else None,
        executed_price=confirmed.executed_price if confirmed else None,
        amount_out=confirmed.amount_out if confirmed else None,
        fee=record.transaction.fee if confirmed and record.transaction else None,
        code=failed.code if failed else None,
        error=failed.error if failed else None,
        completed_at=last.timestamp if record.is_final else None,
    )


def last_decision(record: OrderRecord) -> BuildingStarted | None:
    """Return the order's last routing decision."""
    return next((event for event in reversed(record.events) if isinstance(event, BuildingStarted)), None)


@dataclass(frozen=True, order=True)
class Position:
    """A place in a list of orders, which has the newest first: what comes after it is older, or as old and of a lesser
    id."""

    created_at: datetime
    order_id: UUID


@dataclass(frozen=True)
class OrderFilter:
    """Which orders are wanted: those that have each value that is given. `created_from` is inclusive, `created_before`
    is not; `token_in` and `token_out` are given together."""

    status: OrderStatus | None = None
    order_type: OrderTypeName | None = None
    venue: VenueName | None = None
    token_in: str | None = None
    token_out: str | None = None
    code: FailureCode | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def matches(self, order: OrderSummary) -> bool:
        """Return whether an order is wanted."""
        if self.created_from and order.created_at < self.created_from:
            return False
        if self.created_before and order.created_at >= self.created_before:
            return False
        same = (field.name for field in fields(self) if not field.name.startswith("created_"))
        return all(getattr(self, name) in (None, getattr(order, name)) for name in same)
