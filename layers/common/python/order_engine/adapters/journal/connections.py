"""The connections in DynamoDB: an item each, by connection ID, with orders (a map from orderId to the page on which
it is kept), owner and keyId (where keys are needed), lasting, closing (once its socket is to be closed), arrival (of
its messages' bucket) and expiresAt (epoch seconds).

orderId and page are there for the release before, which knew one order for each connection; what that one wrote has
nothing else. An index by owner counts who has how many.
"""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from order_engine import limits
from order_engine.adapters.aws import service_errors, update_if
from order_engine.adapters.buckets import DynamoBuckets, remember
from order_engine.adapters.journal.item import in_seconds
from order_engine.domain.access import PUBLIC
from order_engine.domain.quota import Quota
from order_engine.domain.refusals import TooManyMessages, TooManyStreams, TooManySubscriptions
from order_engine.domain.subscriber import Connection, Subscriber
from order_engine.ports import Clock

# API Gateway closes a WebSocket connection after two hours at the latest (its quota "connection duration").
LIFETIME = timedelta(hours=2)

MOST_ORDERS = 100
MESSAGES = Quota(120)  # of each connection
BY_OWNER = "ByOwner"

Item = dict[str, Any]


class DynamoConnections(DynamoBuckets):
    """Implements `ports.Connections`. An owner may have `most_streams` open; 0 is no limit."""

    def __init__(self, dynamodb: Any, table: str, now: Clock, most_streams: int = 0) -> None:
        super().__init__(dynamodb, "connections", table, "connectionId", MESSAGES, now, made=False)
        self._most_streams = most_streams
        self._told: OrderedDict[str, int] = OrderedDict()  # at which arrival a client was last told that it is too fast

    def admit(self, owner: str) -> None:
        if not self._most_streams or owner == PUBLIC:
            return
        with service_errors("connections", limits.DYNAMODB):
            response = self._dynamodb.query(
                TableName=self._table,
                IndexName=BY_OWNER,
                KeyConditionExpression="#owner = :owner AND expiresAt > :now",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": owner}, ":now": in_seconds(self._now())},
                Select="COUNT",
            )
        if response["Count"] >= self._most_streams:
            raise TooManyStreams(self._most_streams)

    def open(self, connection: Connection) -> None:
        item = {
            **_key(connection.connection_id),
            "orders": {"M": {str(order_id): {"N": str(page)} for order_id, page in connection.orders.items()}},
            "expiresAt": in_seconds(connection.opened_at + LIFETIME),
        }
        for order_id, page in connection.orders.items():
            item |= {"orderId": {"S": str(order_id)}, "page": {"N": str(page)}}
        if connection.owner != PUBLIC:
            item["owner"] = {"S": connection.owner}
        if connection.key_id:
            item["keyId"] = {"S": connection.key_id}  # by which it is found when the key is revoked
        if connection.lasting:
            item["lasting"] = {"BOOL": True}
        with service_errors("connections", limits.DYNAMODB):
            self._dynamodb.put_item(TableName=self._table, Item=item)

    def find(self, connection_id: str) -> Connection | None:
        with service_errors("connections", limits.DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key=_key(connection_id), ConsistentRead=True)
        return _connection(response["Item"]) if "Item" in response else None

    def hear(self, connection_id: str, cost: int) -> Connection | None:
        allowance, item = self._take(connection_id, cost)
        if allowance.retry_seconds:
            raise TooManyMessages(allowance.retry_seconds, told=self._tell(connection_id))
        return _connection(item) if item else None

    def add(self, subscriber: Subscriber) -> int | None:
        """A row of the release before has no map yet."""
        order = {"#order": str(subscriber.order_id)}
        page = {":page": {"N": str(subscriber.page)}, ":true": {"BOOL": True}}
        written, item = self._update(
            subscriber.connection_id,
            "SET orders.#order = if_not_exists(orders.#order, :page), lasting = :true",
            "attribute_exists(orders) AND attribute_not_exists(closing) "
            "AND (attribute_exists(orders.#order) OR size(orders) < :most)",
            order,
            {**page, ":most": {"N": str(MOST_ORDERS)}},
        )
        if not written and len(item.get("orders", {"M": {}})["M"]) >= MOST_ORDERS:
            raise TooManySubscriptions(MOST_ORDERS)
        return int(item["orders"]["M"][str(subscriber.order_id)]["N"]) if written else None

    def end(self, subscriber: Subscriber) -> bool:
        """One that is not kept may be closed: it has left."""
        written, item = self._update(
            subscriber.connection_id,
            "SET closing = :true",
            "attribute_exists(connectionId) AND attribute_not_exists(lasting)",
            {},
            {":true": {"BOOL": True}},
        )
        return written or not item

    def drop(self, subscriber: Subscriber) -> None:
        order = {"#order": str(subscriber.order_id)}
        self._update(subscriber.connection_id, "REMOVE orders.#order", "attribute_exists(orders.#order)", order, {})

    def forget(self, connection_id: str) -> None:
        with service_errors("connections", limits.DYNAMODB):
            self._dynamodb.delete_item(TableName=self._table, Key=_key(connection_id))

    def _tell(self, connection_id: str) -> bool:
        """Note that a client is told of this denial. Return whether it was told before."""
        arrival = self._arrivals[connection_id]
        told = self._told.get(connection_id) == arrival
        remember(self._told, connection_id, arrival)
        return told

    def _update(
        self, connection_id: str, update: str, condition: str, names: dict[str, str], values: Item
    ) -> tuple[bool, Item]:
        """Update a connection, if the condition holds. Return whether it did, and the item as it is then."""
        return update_if(
            self._dynamodb.update_item,
            "connections",
            TableName=self._table,
            Key=_key(connection_id),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )


def _key(connection_id: str) -> Item:
    return {"connectionId": {"S": connection_id}}


def _connection(row: Item) -> Connection:
    orders = row.get("orders", {"M": {}})["M"]
    if "orders" not in row and "orderId" in row:  # written by the release before
        orders = {row["orderId"]["S"]: row.get("page", {"N": "0"})}
    return Connection(
        connection_id=row["connectionId"]["S"],
        opened_at=datetime.fromtimestamp(int(row["expiresAt"]["N"]), UTC) - LIFETIME,
        orders={UUID(order_id): int(page["N"]) for order_id, page in orders.items()},
        owner=row.get("owner", {"S": PUBLIC})["S"],
        key_id=row.get("keyId", {"S": ""})["S"],
        lasting="lasting" in row,
    )
