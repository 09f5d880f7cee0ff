"""Orders, quotes and the rest, ready-made: a test names only what it is about."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from order_engine.errors import FailureCode
from order_engine.orders import AttemptError, JournalEntry, Order, Quote, Rejection, Subscriber, Transaction, VenueName
from order_engine.orders import accepted as accepted
from order_engine.status import OrderStatus

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
        "attempt": attempt,
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


def an_entry(through: OrderStatus = OrderStatus.PENDING, order: Order | None = None) -> JournalEntry:
    """An order's entry after an undisturbed life up to a status; `failed` is a first attempt without liquidity."""
    order = order or an_order()
    entry = accepted(order)
    at = [START + timedelta(milliseconds=250 * step) for step in range(1, 5)]
    if through is OrderStatus.PENDING:
        return entry
    entry = entry.advanced(OrderStatus.ROUTING, at[0], "Comparing prices", attempt=1)
    if through is OrderStatus.ROUTING:
        return entry
    if through is OrderStatus.FAILED:
        error = AttemptError(attempt=1, code=FailureCode.INSUFFICIENT_LIQUIDITY, error="too much", timestamp=at[1])
        failed = JournalEntry(order, entry.events, errors=(error,))
        return failed.advanced(
            OrderStatus.FAILED, at[1], "The order failed", code=error.code, error="too much", attempts=(error,)
        )
    raydium, meteora = a_quote(), a_quote(VenueName.METEORA, "1480.000001", fee=Decimal("0.002"))
    floor = Decimal("1482.55")
    entry = entry.advanced(
        OrderStatus.BUILDING, at[1], "Building", venue=raydium.venue, quotes=(raydium, meteora), min_amount_out=floor
    )
    if through is OrderStatus.BUILDING:
        return entry
    transaction = a_transaction(order)
    entry = JournalEntry(order, entry.events, transaction=transaction)
    sent: dict[str, Any] = {"venue": transaction.venue, "tx_hash": transaction.tx_hash}
    entry = entry.advanced(OrderStatus.SUBMITTED, at[2], "Sent", **sent)
    if through is OrderStatus.SUBMITTED:
        return entry
    return entry.advanced(
        OrderStatus.CONFIRMED,
        at[3],
        "Swapped",
        **sent,
        executed_price=Decimal("148.900001"),
        amount_out=Decimal("1489.00001"),
    )


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
