"""Orders, events and records: frozen, and the same after a round trip over the wire."""

import json
from dataclasses import FrozenInstanceError
from datetime import timedelta
from decimal import Decimal

import pytest
from order_engine.domain.errors import FailureCode, IllegalTransition
from order_engine.domain.events import AttemptError, StatusEvent
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import Transaction, VenueName
from pydantic import ValidationError

from tests.support.builders import (
    START,
    a_record,
    a_rejection,
    a_subscriber,
    a_transaction,
    advanced,
    an_order,
)


@pytest.mark.parametrize(
    "order",
    [
        an_order(),
        an_order(min_amount_out=Decimal("1400.5"), client_order_id="my order №1"),
        an_order(amount_in=Decimal("1E+3")),
        an_order(amount_in=Decimal("0.000000001")),
    ],
)
def test_an_order_survives_the_wire(order: Order) -> None:
    assert Order.model_validate_json(order.to_json()) == order


@pytest.mark.parametrize("status", OrderStatus)
def test_every_event_of_an_orders_life_survives_the_wire(status: OrderStatus) -> None:
    for event in a_record(status).events:
        assert StatusEvent.model_validate_json(event.to_json()) == event


def test_a_transaction_survives_the_wire() -> None:
    transaction = a_transaction(an_order())

    assert Transaction.model_validate_json(transaction.to_json()) == transaction


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


def test_an_amount_that_is_a_float_is_no_amount() -> None:
    with pytest.raises(ValidationError, match="a float is no amount"):
        an_order(amount_in=0.1)


def test_a_status_carries_what_the_wire_promises_for_it() -> None:
    by_status = {event.status.value: json.loads(event.to_json()) for event in a_record(OrderStatus.CONFIRMED).events}
    always = {"orderId", "sequence", "status", "attempt", "timestamp", "message"}

    assert {status: set(message) - always for status, message in by_status.items()} == {
        "pending": set(),
        "routing": set(),
        "building": {"venue", "quotes", "minAmountOut"},
        "submitted": {"venue", "txHash"},
        "confirmed": {"venue", "txHash", "executedPrice", "amountOut"},
    }
    assert set(by_status["building"]["quotes"][0]) == {"venue", "price", "fee", "priceImpactPct", "amountOut"}


def test_a_failed_status_says_why_and_how_each_attempt_ended() -> None:
    message = json.loads(a_record(OrderStatus.FAILED).last.to_json())

    assert (message["code"], message["error"]) == ("INSUFFICIENT_LIQUIDITY", "too much")
    assert [(attempt["attempt"], attempt["code"]) for attempt in message["attempts"]] == [(1, "INSUFFICIENT_LIQUIDITY")]


def test_a_message_is_never_edited() -> None:
    order, subscriber = an_order(), a_subscriber(an_order().order_id)

    with pytest.raises(ValidationError, match="frozen"):
        order.amount_in = Decimal(1)
    with pytest.raises(FrozenInstanceError):
        subscriber.sent_through = 1  # type: ignore[misc]


def test_a_field_of_a_later_release_is_ignored() -> None:
    event = a_record().last

    assert StatusEvent.model_validate({**event.model_dump(), "price": Decimal(1)}) == event


def test_an_order_begins_as_pending_with_sequence_1_and_attempt_0() -> None:
    order = an_order(amount_in=Decimal("1E+2"))

    event = OrderRecord.accepted(order).last

    assert (event.order_id, event.sequence, event.status, event.attempt) == (order.order_id, 1, "pending", 0)
    assert event.timestamp == order.created_at
    assert event.message == "Order received: swap 100 SOL for USDC"


def test_sequences_count_up_without_gaps_whatever_the_attempts() -> None:
    record = a_record(OrderStatus.SUBMITTED).advanced(OrderStatus.ROUTING, START, attempt=2)

    assert [event.sequence for event in record.events] == [1, 2, 3, 4, 5]
    assert [event.attempt for event in record.events] == [0, 1, 1, 1, 2]


def test_a_step_without_an_attempt_belongs_to_the_current_one() -> None:
    record = a_record(OrderStatus.ROUTING).advanced(OrderStatus.ROUTING, START, attempt=2)

    assert advanced(record, OrderStatus.BUILDING, START, rejected=(a_rejection(),)).attempt == 2


def test_an_entry_takes_no_move_that_the_lifecycle_does_not_have() -> None:
    with pytest.raises(IllegalTransition):
        a_record(OrderStatus.CONFIRMED).advanced(OrderStatus.ROUTING, START)


def test_an_attempt_has_failed_once_it_has_an_error_of_its_number() -> None:
    record = a_record(OrderStatus.ROUTING)
    error = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=START)
    failed = type(record)(record.order, record.events, errors=(error,))

    assert not record.attempt_failed
    assert failed.attempt_failed
    assert not advanced(failed, OrderStatus.ROUTING, START, attempt=2).attempt_failed


def test_the_newest_event_of_a_status_is_found() -> None:
    record = a_record(OrderStatus.BUILDING).advanced(OrderStatus.ROUTING, START, attempt=2)
    routing = record.event_of(OrderStatus.ROUTING)

    assert routing is not None
    assert routing.attempt == 2
    assert record.event_of(OrderStatus.CONFIRMED) is None


def test_a_subscriber_is_found_by_its_connection() -> None:
    order = an_order()
    here, there = a_subscriber(order.order_id, "here"), a_subscriber(order.order_id, "there")
    record = OrderRecord.accepted(order)
    watched = type(record)(order, record.events, subscribers=(here, there))

    assert watched.subscriber("there") == there
    assert watched.subscriber("nowhere") is None


def test_a_new_subscriber_is_brought_up_to_date_from_the_first_status() -> None:
    subscriber = Subscriber(an_order().order_id, "connection", START + timedelta(seconds=1))

    assert (subscriber.sent_through, subscriber.generation, subscriber.live_after) == (0, 1, None)


def test_the_venues_are_the_two_of_the_assignment() -> None:
    assert set(VenueName) == {"raydium", "meteora"}
