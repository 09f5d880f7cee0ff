"""The order's lifecycle: its statuses and the legal moves between them."""

from enum import StrEnum

from order_engine.domain.errors import IllegalTransition


class OrderStatus(StrEnum):
    """Where an order stands, as on the wire and in PostgreSQL."""

    PENDING = "pending"
    OPEN = "open"
    TRIGGERED = "triggered"
    ROUTING = "routing"
    BUILDING = "building"
    SUBMITTED = "submitted"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_S = OrderStatus

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    _S.PENDING: frozenset({_S.OPEN, _S.ROUTING, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    _S.OPEN: frozenset({_S.TRIGGERED, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    _S.TRIGGERED: frozenset({_S.ROUTING, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    # routing again: a worker crashed here and the attempt starts over; or all venues failed transiently
    # back to open, here and below: the market does not give any more what a resting order was triggered for
    _S.ROUTING: frozenset({_S.BUILDING, _S.ROUTING, _S.OPEN, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    # back to routing: a worker crashed here; nothing was sent, because `submitted` is journaled before sending
    _S.BUILDING: frozenset({_S.SUBMITTED, _S.ROUTING, _S.OPEN, _S.FAILED, _S.CANCELLED, _S.EXPIRED}),
    # back to routing, and expired: only once the transaction can't land any more
    _S.SUBMITTED: frozenset({_S.CONFIRMED, _S.ROUTING, _S.FAILED, _S.EXPIRED}),
    _S.CONFIRMED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.EXPIRED: frozenset(),
}

FINAL = frozenset(status for status, successors in TRANSITIONS.items() if not successors)


def check_transition(current: OrderStatus, following: OrderStatus) -> None:
    """Raise IllegalTransition unless the move is legal."""
    if following not in TRANSITIONS[current]:
        raise IllegalTransition(f"an order can't go from {current} to {following}")
