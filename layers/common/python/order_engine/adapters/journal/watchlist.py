"""The resting orders: an index of the journal by price, and a table of what is to be watched.

The index `ByPrice` has each resting order once, by its side (`watch`) and its reference price (`watchPrice`); see
`item`. The table's key is `kind` and `name`:

- `watch` / `runner`: who watches (`runner`), which `watch` / `stopped` overrules (`adapters.pause`).
- `watch` / a side: orders may rest on it; `notedAt` (epoch milliseconds).
- `expiry` / `<epoch milliseconds>#<orderId>`: an order, resting or no longer, whose time is over then.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from botocore.exceptions import ClientError

from order_engine.adapters.aws import code_of, service_errors
from order_engine.adapters.journal.item import in_milliseconds, milliseconds, moment_of, side_name, side_named, side_of
from order_engine.domain.order import Order
from order_engine.limits import DYNAMODB
from order_engine.ports import Clock, Cursor, Side, Watched

# A side is noted at most once in this time by one execution environment; a side is forgotten only long after that.
_NOTED_ANEW = timedelta(minutes=1)

BY_PRICE = "ByPrice"
_RUNNER = {"kind": {"S": "watch"}, "name": {"S": "runner"}}
# Moments of the same length sort as text as they do in time.
_DIGITS = 15


class DynamoWatchlist:
    """Implements `ports.Watchlist`."""

    def __init__(self, dynamodb: Any, table: str, journal_table: str, now: Clock) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._journal_table = journal_table
        self._now = now
        self._noted: dict[Side, datetime] = {}

    def note(self, order: Order) -> None:
        side, now = side_of(order), self._now()
        if order.expires_at is not None:
            self._put(_expiry(f"{_moment_name(order.expires_at)}#{order.order_id}"))
        if side not in self._noted or now - self._noted[side] > _NOTED_ANEW:
            self._put({**_side(side), "notedAt": in_milliseconds(now)})
            self._noted[side] = now

    def take_over(self, runner: str) -> None:
        self._put({**_RUNNER, "runner": {"S": runner}})

    def read(self) -> Watched:
        runner, sides, start = "", {}, None
        while True:
            page = _query(
                self._dynamodb.query,
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": "watch"}},
                ExclusiveStartKey=start,
            )
            for item in page["Items"]:  # in the order of their names
                if "runner" in item:
                    runner = item["runner"]["S"]
                else:
                    sides[side_named(item["name"]["S"])] = moment_of(item["notedAt"])
            start = page.get("LastEvaluatedKey")
            if not start:
                return Watched(runner, sides)

    def forget(self, side: Side, noted_at: datetime) -> None:
        with service_errors("watchlist", DYNAMODB):
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=_side(side),
                    ConditionExpression="notedAt = :noted_at",
                    ExpressionAttributeValues={":noted_at": in_milliseconds(noted_at)},
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise

    def due(self, side: Side, price: Decimal, most: int, after: Cursor) -> tuple[list[UUID], Cursor]:
        if after is not None and _is_beyond(Decimal(after["watchPrice"]["N"]), price, side):
            after = None  # the price has gone back: DynamoDB refuses a start that is out of range
        page = _query(
            self._dynamodb.query,
            TableName=self._journal_table,
            IndexName=BY_PRICE,
            KeyConditionExpression=f"watch = :side AND watchPrice {'<=' if side.rises else '>='} :price",
            ExpressionAttributeValues={":side": {"S": side_name(side)}, ":price": {"N": f"{price:f}"}},
            ScanIndexForward=side.rises,
            Limit=most,
            ExclusiveStartKey=after,
        )
        return [UUID(item["orderId"]["S"]) for item in page["Items"]], page.get("LastEvaluatedKey")

    def is_empty(self, side: Side) -> bool:
        page = _query(
            self._dynamodb.query,
            TableName=self._journal_table,
            IndexName=BY_PRICE,
            KeyConditionExpression="watch = :side",
            ExpressionAttributeValues={":side": {"S": side_name(side)}},
            Limit=1,
        )
        return not page["Items"]

    def expiring(self, now: datetime, most: int) -> list[tuple[UUID, str]]:
        page = _query(
            self._dynamodb.query,
            TableName=self._table,
            KeyConditionExpression="kind = :kind AND #name < :now",
            ExpressionAttributeNames={"#name": "name"},
            ExpressionAttributeValues={":kind": {"S": "expiry"}, ":now": {"S": _moment_name(now)}},
            Limit=most,
        )
        entries = [item["name"]["S"] for item in page["Items"]]
        return [(UUID(entry.partition("#")[2]), entry) for entry in entries]

    def swept(self, entry: str) -> None:
        with service_errors("watchlist", DYNAMODB):
            self._dynamodb.delete_item(TableName=self._table, Key=_expiry(entry))

    def _put(self, item: dict[str, Any]) -> None:
        with service_errors("watchlist", DYNAMODB):
            self._dynamodb.put_item(TableName=self._table, Item=item)


def _query(query: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Ask for a page; arguments that are None are left out."""
    given = {name: value for name, value in arguments.items() if value is not None}
    with service_errors("watchlist", DYNAMODB):
        page: dict[str, Any] = query(**given)
    return page


def _is_beyond(reference: Decimal, price: Decimal, side: Side) -> bool:
    return reference > price if side.rises else reference < price


def _side(side: Side) -> dict[str, Any]:
    return {"kind": {"S": "watch"}, "name": {"S": side_name(side)}}


def _expiry(entry: str) -> dict[str, Any]:
    return {"kind": {"S": "expiry"}, "name": {"S": entry}}


def _moment_name(moment: datetime) -> str:
    return f"{milliseconds(moment):0{_DIGITS}d}"
