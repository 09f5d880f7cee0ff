"""Orders, quotes and the rest, ready-made: a test names only what it is about."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from order_engine.domain.errors import FailureCode
from order_engine.domain.events import (
    AttemptError,
    BuildingStarted,
    Cancelled,
    Confirmed,
    Expired,
    Failed,
    Opened,
    RoutingStarted,
    StatusEvent,
    Submitted,
    Triggered,
)
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.order_types import rests
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import Quote, Rejection, Transaction, VenueName

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def an_order(**changes: Any) -> Order:
    """10 SOL for USDC, with an id of its own."""
    fields: dict[str, Any] = {
        "order_id": uuid4(),
        "order_type": "market",
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": Decimal(10),
        "slippage_bps": 50,
        "created_at": START,
    }
    return Order(**{**fields, **changes})


def a_limit(price: str = "148", **changes: Any) -> Order:
    """10 SOL for 1,480 USDC or more, which `a_quote` gives with its slippageBps in reserve."""
    return an_order(**{"order_type": "limit", "limit_price": Decimal(price), **changes})


_RESTING = (OrderStatus.OPEN, OrderStatus.TRIGGERED)


def a_quote(venue: VenueName = VenueName.RAYDIUM, amount_out: str = "1490", **changes: Any) -> Quote:
    """A quote for `an_order`."""
    fields: dict[str, Any] = {
        "venue": venue,
        "price": Decimal("149.5"),
        "fee": Decimal("0.003"),
        "price_impact_pct": Decimal("0.0299"),
        "amount_out": Decimal(amount_out),
    }
    return Quote(**{**fields, **changes})


def a_transaction(order: Order, attempt: int = 1, **changes: Any) -> Transaction:
    """The transaction of an attempt, on Raydium."""
    fields: dict[str, Any] = {
        "tx_hash": f"tx-{order.order_id}-{attempt}",
        "order_id": order.order_id,
        "request_id": f"{order.order_id}/{attempt}",
        "venue": VenueName.RAYDIUM,
        "token_in": order.token_in,
        "token_out": order.token_out,
        "amount_in": order.amount_in,
        "fee": Decimal("0.03"),
        "quoted_amount_out": Decimal(1490),
        "min_amount_out": Decimal("1482.55"),
        "steps": ("wrap 10 SOL", "swap 10 SOL for USDC on raydium"),
    }
    return Transaction(**{**fields, **changes})


_EVENTS: dict[OrderStatus, Callable[..., StatusEvent]] = {
    OrderStatus.OPEN: Opened,
    OrderStatus.TRIGGERED: Triggered,
    OrderStatus.ROUTING: RoutingStarted,
    OrderStatus.BUILDING: BuildingStarted,
    OrderStatus.SUBMITTED: Submitted,
    OrderStatus.CONFIRMED: Confirmed,
    OrderStatus.FAILED: Failed,
    OrderStatus.CANCELLED: Cancelled,
    OrderStatus.EXPIRED: Expired,
}


def advanced(
    record: OrderRecord, status: OrderStatus, at: datetime = START, attempt: int | None = None, **details: Any
) -> OrderRecord:
    """The record with one more event, whose details are plausible where they are not given."""
    transaction = record.transaction or a_transaction(record.order)
    sent = {"venue": transaction.venue, "tx_hash": transaction.tx_hash}
    error = {"code": FailureCode.INSUFFICIENT_LIQUIDITY, "error": "too much"}
    usual: dict[OrderStatus, dict[str, Any]] = {
        OrderStatus.OPEN: {"reference_price": Decimal("149.5")},
        OrderStatus.TRIGGERED: {"venue": VenueName.RAYDIUM, "price": Decimal(149)},
        OrderStatus.BUILDING: {"venue": VenueName.RAYDIUM, "quotes": (a_quote(),), "min_amount_out": Decimal(1482)},
        OrderStatus.SUBMITTED: sent,
        OrderStatus.CONFIRMED: {**sent, "executed_price": Decimal("148.900001"), "amount_out": Decimal("1489.00001")},
        OrderStatus.FAILED: {**error, "attempts": record.errors},
        OrderStatus.EXPIRED: {"code": FailureCode.ORDER_EXPIRED, "error": "too late", "attempts": record.errors},
    }
    fields = {"message": status.value, **usual.get(status, {}), **details}
    return record.followed_by(_EVENTS[status](**record.header(at, attempt), **fields))


def a_record(through: OrderStatus = OrderStatus.PENDING, order: Order | None = None) -> OrderRecord:
    """An order's record after an undisturbed life up to a status; `failed` is a first attempt without liquidity,
    `cancelled` and `expired` ended while it was quoted. An order that rests is open and triggered before."""
    order = order or (a_limit() if through in _RESTING else an_order())
    record = OrderRecord.accepted(order)
    at = [START + timedelta(milliseconds=250 * step) for step in range(1, 5)]
    if through is OrderStatus.PENDING:
        return record
    if rests(order) or through in _RESTING:
        record = advanced(record, OrderStatus.OPEN)
        if through is OrderStatus.OPEN:
            return record
        record = advanced(record, OrderStatus.TRIGGERED)
        if through is OrderStatus.TRIGGERED:
            return record
    record = advanced(record, OrderStatus.ROUTING, at[0], attempt=1)
    if through is OrderStatus.ROUTING:
        return record
    if through in (OrderStatus.CANCELLED, OrderStatus.EXPIRED):
        return advanced(record, through, at[1])
    if through is OrderStatus.FAILED:
        error = AttemptError(attempt=1, code=FailureCode.INSUFFICIENT_LIQUIDITY, error="too much", timestamp=at[1])
        return advanced(replace(record, errors=(error,)), OrderStatus.FAILED, at[1])
    quotes = (a_quote(), a_quote(VenueName.METEORA, "1480.000001", fee=Decimal("0.002")))
    record = advanced(record, OrderStatus.BUILDING, at[1], quotes=quotes, min_amount_out=Decimal("1482.55"))
    if through is OrderStatus.BUILDING:
        return record
    record = advanced(replace(record, transaction=a_transaction(order)), OrderStatus.SUBMITTED, at[2])
    return record if through is OrderStatus.SUBMITTED else advanced(record, OrderStatus.CONFIRMED, at[3])


def a_rejection(venue: VenueName = VenueName.METEORA) -> Rejection:
    """A venue that was away."""
    return Rejection(venue=venue, code=FailureCode.VENUE_UNAVAILABLE, error=f"{venue} is unavailable")


def a_subscriber(order_id: UUID, connection_id: str = "connection=", **changes: Any) -> Subscriber:
    """A connection that has just come."""
    return Subscriber(order_id, connection_id, **{"connected_at": START, **changes})


@dataclass
class LambdaContext:
    """What the functions use of Lambda's context object."""

    remaining_ms: int = 20_000
    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """How long the function may still run."""
        return self.remaining_ms


def sqs_event(*bodies: str) -> dict[str, Any]:
    """The event of a batch; the messages' ids are message-0, message-1 …"""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:orders",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def http_event(body: str, **headers: str) -> dict[str, Any]:
    """An HTTP API's event (payload format 2.0) of a JSON post; a header's underscores stand for hyphens."""
    return {
        "version": "2.0",
        "routeKey": "POST /api/orders/execute",
        "rawPath": "/api/orders/execute",
        "headers": {"content-type": "application/json"}
        | {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"requestId": "request", "http": {"method": "POST", "path": "/api/orders/execute"}},
        "body": body,
        "isBase64Encoded": False,
    }


def socket_event(route: str, connection_id: str, body: str | None = None, **query: str) -> dict[str, Any]:
    """A WebSocket API's event."""
    event: dict[str, Any] = {
        "requestContext": {"routeKey": route, "connectionId": connection_id, "stage": "live"},
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = query
    if body is not None:
        event["body"] = body
    return event
