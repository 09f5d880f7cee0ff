"""Orders, events and records: frozen, and as they are on the wire."""

import json
from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest
from order_engine.domain.errors import IllegalTransition
from order_engine.domain.events import parse_event
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from pydantic import ValidationError

from tests.support.builders import a_record, a_rejection, a_subscriber, advanced, an_order


@pytest.mark.parametrize("status", OrderStatus)
def test_every_event_of_an_orders_life_survives_the_wire_and_a_rollback(status: OrderStatus) -> None:
    for event in a_record(status).events:
        assert parse_event(event.to_json()) == event
        later = {**json.loads(event.to_json()), "fieldOfALaterRelease": "1"}
        assert parse_event(json.dumps(later)) == event


def test_amounts_are_decimal_strings_on_the_wire() -> None:
    order = an_order(amount_in=Decimal("1.50"), min_amount_out=Decimal("1E+2"))

    assert json.loads(order.to_json()) == {
        "orderId": str(order.order_id),
        "orderType": "market",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "1.5",
        "slippageBps": 50,
        "minAmountOut": "100",
        "createdAt": "2026-01-02T03:04:05.678901Z",
    }
    with pytest.raises(ValidationError, match="a float is no amount"):
        an_order(amount_in=0.1)


def test_a_status_carries_what_the_wire_promises_for_it() -> None:
    events = (*a_record(OrderStatus.CONFIRMED).events, a_record(OrderStatus.FAILED).last)
    by_status = {event.status.value: json.loads(event.to_json()) for event in events}
    always = {"orderId", "sequence", "status", "attempt", "timestamp", "message"}

    assert {status: set(message) - always for status, message in by_status.items()} == {
        "pending": set(),
        "routing": set(),
        "building": {"venue", "quotes", "minAmountOut"},
        "submitted": {"venue", "txHash"},
        "confirmed": {"venue", "txHash", "executedPrice", "amountOut"},
        "failed": {"code", "error", "attempts"},
    }
    assert set(by_status["building"]["quotes"][0]) == {"venue", "price", "fee", "priceImpactPct", "amountOut"}
    assert set(by_status["failed"]["attempts"][0]) == {"attempt", "code", "error", "timestamp"}
    rejected = advanced(a_record(OrderStatus.ROUTING), OrderStatus.BUILDING, rejected=(a_rejection(),)).last
    assert set(json.loads(rejected.to_json())["rejected"][0]) == {"venue", "code", "error"}


def test_a_message_is_never_edited() -> None:
    order = an_order()

    with pytest.raises(ValidationError, match="frozen"):
        order.amount_in = Decimal(1)
    with pytest.raises(FrozenInstanceError):
        a_subscriber(order.order_id).sent_through = 1  # type: ignore[misc]


def test_an_order_begins_as_pending_with_sequence_1_and_attempt_0() -> None:
    order = an_order(amount_in=Decimal("1E+2"))

    event = OrderRecord.accepted(order).last

    assert (event.order_id, event.sequence, event.status, event.attempt) == (order.order_id, 1, "pending", 0)
    assert event.timestamp == order.created_at
    assert event.message == "Order received: swap 100 SOL for USDC"


def test_a_record_takes_only_the_next_event_of_a_legal_move() -> None:
    routing = a_record(OrderStatus.ROUTING)
    building = advanced(routing, OrderStatus.BUILDING).last

    assert routing.followed_by(building).attempt == routing.attempt
    with pytest.raises(IllegalTransition, match="event 3 can't follow event 3"):
        advanced(routing, OrderStatus.ROUTING).followed_by(building)
    with pytest.raises(IllegalTransition, match="from confirmed to routing"):
        advanced(a_record(OrderStatus.CONFIRMED), OrderStatus.ROUTING)
