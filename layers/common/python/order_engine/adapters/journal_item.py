"""The journal's item in DynamoDB, which `adapters.journal` and `adapters.subscribers` both write to.

Attributes: orderId (key), sequence, status, attempt, order / events / transaction / errors (JSON, the wire form),
subscribers (a map by connection ID), fingerprint, leaseOwner and leaseUntil (epoch milliseconds), closed, and expiresAt
(epoch seconds, once closed). That subscribers stand in their order's item is what makes each handover and each append
see the other.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from order_engine.orders import AttemptError, JournalEntry, Order, StatusEvent, Subscriber, Transaction


def key_of(order_id: UUID) -> dict[str, Any]:
    """The item's key."""
    return {"orderId": {"S": str(order_id)}}


def milliseconds(moment: datetime) -> int:
    """The moment in epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def standing_of(entry: JournalEntry) -> dict[str, Any]:
    """Where the order stands: the attributes that every event may change."""
    standing: dict[str, Any] = {
        "sequence": {"N": str(entry.sequence)},
        "status": {"S": entry.status},
        "attempt": {"N": str(entry.attempt)},
        "errors": {"L": [{"S": error.to_json()} for error in entry.errors]},
    }
    if entry.transaction is not None:
        standing["transaction"] = {"S": entry.transaction.to_json()}
    return standing


def entry_of(item: dict[str, Any]) -> JournalEntry:
    """The entry in an item."""
    transaction = item.get("transaction")
    return JournalEntry(
        order=Order.model_validate_json(item["order"]["S"]),
        events=tuple(StatusEvent.model_validate_json(event["S"]) for event in item["events"]["L"]),
        transaction=Transaction.model_validate_json(transaction["S"]) if transaction else None,
        errors=tuple(AttemptError.model_validate_json(error["S"]) for error in item["errors"]["L"]),
        subscribers=subscribers_of(item),
    )


def subscribers_of(item: dict[str, Any]) -> tuple[Subscriber, ...]:
    """The subscribers in an item."""
    order_id = UUID(item["orderId"]["S"])
    return tuple(subscriber_of(order_id, name, row["M"]) for name, row in item["subscribers"]["M"].items())


def subscriber_of(order_id: UUID, connection_id: str, row: dict[str, Any]) -> Subscriber:
    """The subscriber in an entry of the map."""
    return Subscriber(
        order_id=order_id,
        connection_id=connection_id,
        connected_at=datetime.fromisoformat(row["connectedAt"]["S"]).astimezone(UTC),
        sent_through=int(row["sentThrough"]["N"]),
        generation=int(row["generation"]["N"]),
        live_after=int(row["liveAfter"]["N"]) if "liveAfter" in row else None,
    )
