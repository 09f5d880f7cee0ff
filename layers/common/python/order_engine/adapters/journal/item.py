"""The item of an order in DynamoDB, which `journal` and `subscribers` both write to, and what a page of further
subscribers has in common with it.

Attributes: orderId (key), owner, sequence, status, attempt, order / events / transaction / errors (JSON, the wire
form), misses, behind, subscribers (page 0: a map by connection ID), crowded (there are further pages), fingerprint,
leaseOwner and leaseUntil, takenFrom (who held the lease before, or NOBODY), releasedBy (who gave it back last),
notBefore, closed, and expiresAt (epoch seconds, once closed). Until it is closed, also live (its owner, the key of
the index Live) and placed (when it was, and its id: the index's order). While it rests, also watch
(its side, the key of the index ByPrice) and watchPrice (the market price from which on it is due, the index's order):
`open` writes them, and any further event takes them away. leaseUntil and notBefore are epoch milliseconds. That
subscribers stand in their order's item is what makes each handover and each append see the other.

An item that an earlier release wrote lacks some of these, one of a later release has more: both are read.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from order_engine.domain.access import PUBLIC
from order_engine.domain.events import AttemptError, Opened, parse_event
from order_engine.domain.order import Order
from order_engine.domain.order_types import type_of
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.summary import Position
from order_engine.domain.swaps import Transaction
from order_engine.ports import Side

# In `takenFrom`: the lease was free.
NOBODY = {"S": "nobody"}


def key_of(order_id: UUID) -> dict[str, Any]:
    """Return the item's key."""
    return {"orderId": {"S": str(order_id)}}


def in_milliseconds(moment: datetime) -> dict[str, str]:
    """Return the moment as an attribute, in epoch milliseconds."""
    return {"N": str(milliseconds(moment))}


def milliseconds(moment: datetime) -> int:
    """Return the moment in epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def in_seconds(moment: datetime) -> dict[str, str]:
    """Return the moment as an attribute, in epoch seconds, as DynamoDB's time to live needs it."""
    return {"N": str(int(moment.timestamp()))}


def moment_of(attribute: dict[str, str]) -> datetime:
    """Return the moment of an attribute in epoch milliseconds."""
    return datetime.fromtimestamp(int(attribute["N"]) / 1000, UTC)


def status_attributes(record: OrderRecord) -> dict[str, Any]:
    """Return the attributes that an event may change."""
    standing: dict[str, Any] = {
        "sequence": {"N": str(record.sequence)},
        "status": {"S": record.status},
        "attempt": {"N": str(record.attempt)},
        "errors": {"L": [{"S": error.to_json()} for error in record.errors]},
        "behind": {"BOOL": record.behind},
    }
    if record.transaction is not None:
        standing["transaction"] = {"S": record.transaction.to_json()}
    return standing


def live_attributes(record: OrderRecord) -> dict[str, Any]:
    """Return the attributes by which an order is listed until it is closed."""
    order = record.order
    place = place_name(Position(order.created_at, order.order_id))
    return {"live": {"S": order.owner}, "placed": {"S": place}}


def place_name(position: Position) -> str:
    """Return a position as text, which sorts as positions do."""
    return f"{position.created_at.isoformat(timespec='microseconds')}#{position.order_id}"


def place_named(name: str) -> Position:
    """Return the position of a text."""
    created_at, _, order_id = name.partition("#")
    return Position(datetime.fromisoformat(created_at), UUID(order_id))


def price_attributes(record: OrderRecord) -> dict[str, Any]:
    """Return the attributes by which a resting order is found; none for one that does not rest."""
    if not isinstance(record.last, Opened):
        return {}
    return {"watch": {"S": side_name(side_of(record.order))}, "watchPrice": {"N": f"{record.last.reference_price:f}"}}


def side_of(order: Order) -> Side:
    """Return with which others a resting order comes due."""
    return Side((order.token_in, order.token_out), type_of(order).rises)


def side_name(side: Side) -> str:
    """Return the key of a side in the index."""
    return f"{'/'.join(side.pair)}#{'rise' if side.rises else 'fall'}"


def side_named(name: str) -> Side:
    """Return the side of a key."""
    pair, _, direction = name.partition("#")
    token_in, _, token_out = pair.partition("/")
    return Side((token_in, token_out), direction == "rise")


def record_of(item: dict[str, Any]) -> OrderRecord:
    """Return the record of an item."""
    transaction = item.get("transaction")
    return OrderRecord(
        order=Order.model_validate_json(item["order"]["S"]).model_copy(update={"owner": owner_of(item)}),
        events=tuple(parse_event(event["S"]) for event in item["events"]["L"]),
        transaction=Transaction.model_validate_json(transaction["S"]) if transaction else None,
        errors=tuple(AttemptError.model_validate_json(error["S"]) for error in item["errors"]["L"]),
        subscribers=subscribers_of(item),
        crowded=is_set(item, "crowded"),
        behind=is_set(item, "behind"),
        misses=int(item.get("misses", {"N": "0"})["N"]),
        held="leaseOwner" in item,
        closed=is_set(item, "closed"),
        taken_up="takenFrom" in item or "leaseOwner" in item or item["attempt"] != {"N": "0"},
    )


def owner_of(item: dict[str, Any]) -> str:
    """Return whose order an item is; one that an earlier release wrote has no owner."""
    return str(item.get("owner", {"S": PUBLIC})["S"])


def is_set(item: dict[str, Any], mark: str) -> bool:
    """Return whether a flag of an item is set."""
    return bool(item.get(mark, {}).get("BOOL", False))


def subscribers_of(item: dict[str, Any]) -> tuple[Subscriber, ...]:
    """Return the subscribers in an order's item, or in the item of a further page."""
    order_id, page = UUID(item["orderId"]["S"]), int(item.get("page", {"N": "0"})["N"])
    return tuple(
        Subscriber(
            order_id=order_id,
            connection_id=connection_id,
            connected_at=_moment(row["M"]["connectedAt"]["S"]),
            sent_through=int(row["M"]["sentThrough"]["N"]),
            generation=int(row["M"]["generation"]["N"]),
            live_after=int(row["M"]["liveAfter"]["N"]) if "liveAfter" in row["M"] else None,
            page=page,
            replayed_at=_moment(row["M"]["replayedAt"]["S"]) if "replayedAt" in row["M"] else None,
        )
        for connection_id, row in item["subscribers"]["M"].items()
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
