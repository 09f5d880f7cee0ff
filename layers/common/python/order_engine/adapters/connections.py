"""The subscribers in DynamoDB: key (orderId, connectionId), and an index that finds a connection by its id alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from botocore.exceptions import ClientError

from order_engine.aws import code_of, reaching
from order_engine.ports import Clock, Connection

# API Gateway closes a WebSocket connection after two hours at the latest (its quota "connection duration").
LIFETIME = timedelta(hours=2)

BY_CONNECTION = "byConnection"


class DynamoConnections:
    """Implements `ports.Connections`. Expired rows are ignored, because DynamoDB deletes them days late."""

    def __init__(self, dynamodb: Any, table: str, journal_table: str, now: Clock) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._journal_table = journal_table
        self._now = now

    def add(self, connection: Connection) -> None:
        """See `ports.Connections`."""
        with reaching("connections"):
            self._dynamodb.put_item(TableName=self._table, Item=_item(connection))

    def of_order(self, order_id: UUID) -> list[Connection]:
        """See `ports.Connections`."""
        with reaching("connections"):
            found = self._dynamodb.query(
                TableName=self._table,
                KeyConditionExpression="orderId = :order_id",
                ExpressionAttributeValues={":order_id": {"S": str(order_id)}},
                ConsistentRead=True,
            )["Items"]
        return [connection for item in found if self._lives(connection := _connection(item))]

    def get(self, order_id: UUID, connection_id: str) -> Connection | None:
        """See `ports.Connections`."""
        with reaching("connections"):
            answer = self._dynamodb.get_item(
                TableName=self._table, Key=_key(order_id, connection_id), ConsistentRead=True
            )
        if "Item" not in answer:
            return None
        connection = _connection(answer["Item"])
        return connection if self._lives(connection) else None

    def find(self, connection_id: str) -> Connection | None:
        """See `ports.Connections`. The index gives the order, the table the rest, consistently."""
        with reaching("connections"):
            found = self._dynamodb.query(
                TableName=self._table,
                IndexName=BY_CONNECTION,
                KeyConditionExpression="connectionId = :connection_id",
                ExpressionAttributeValues={":connection_id": {"S": connection_id}},
                Limit=1,
            )["Items"]
        return self.get(UUID(found[0]["orderId"]["S"]), connection_id) if found else None

    def hand_over(self, connection: Connection, through: int) -> bool:
        """See `ports.Connections`."""
        transaction = [
            {
                "ConditionCheck": {
                    "TableName": self._journal_table,
                    "Key": {"orderId": {"S": str(connection.order_id)}},
                    "ConditionExpression": "#sequence = :through",
                    "ExpressionAttributeNames": {"#sequence": "sequence"},
                    "ExpressionAttributeValues": {":through": {"N": str(through)}},
                }
            },
            {
                "Update": {
                    "TableName": self._table,
                    "Key": _key(connection.order_id, connection.connection_id),
                    "UpdateExpression": "SET liveAfter = :through, sentThrough = :through",
                    "ConditionExpression": "generation = :generation AND attribute_not_exists(liveAfter)",
                    "ExpressionAttributeValues": {
                        ":through": {"N": str(through)},
                        ":generation": {"N": str(connection.generation)},
                    },
                }
            },
        ]
        with reaching("connections"):
            try:
                self._dynamodb.transact_write_items(TransactItems=transaction)
            except ClientError as error:
                # A cancelled transaction changed nothing; one that collided with an append will find it, and try again.
                if code_of(error) in ("TransactionCanceledException", "TransactionConflictException"):
                    return False
                raise
        return True

    def take_back(self, connection: Connection, sent_through: int) -> Connection | None:
        """See `ports.Connections`."""
        with reaching("connections"):
            try:
                answer = self._dynamodb.update_item(
                    TableName=self._table,
                    Key=_key(connection.order_id, connection.connection_id),
                    UpdateExpression="SET sentThrough = :through ADD generation :one REMOVE liveAfter",
                    ConditionExpression="attribute_exists(connectionId)",
                    ExpressionAttributeValues={":through": {"N": str(sent_through)}, ":one": {"N": "1"}},
                    ReturnValues="ALL_NEW",
                )
            except ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    return None
                raise
        return _connection(answer["Attributes"])

    def remove(self, connection: Connection) -> None:
        """See `ports.Connections`."""
        with reaching("connections"):
            self._dynamodb.delete_item(TableName=self._table, Key=_key(connection.order_id, connection.connection_id))

    def _lives(self, connection: Connection) -> bool:
        return self._now() < connection.connected_at + LIFETIME


def _key(order_id: UUID, connection_id: str) -> dict[str, Any]:
    return {"orderId": {"S": str(order_id)}, "connectionId": {"S": connection_id}}


def _item(connection: Connection) -> dict[str, Any]:
    item = _key(connection.order_id, connection.connection_id) | {
        "sentThrough": {"N": str(connection.sent_through)},
        "generation": {"N": str(connection.generation)},
        "connectedAt": {"S": connection.connected_at.isoformat()},
        "expiresAt": {"N": str(int((connection.connected_at + LIFETIME).timestamp()))},
    }
    if connection.live_after is not None:
        item["liveAfter"] = {"N": str(connection.live_after)}
    return item


def _connection(item: dict[str, Any]) -> Connection:
    return Connection(
        order_id=UUID(item["orderId"]["S"]),
        connection_id=item["connectionId"]["S"],
        sent_through=int(item["sentThrough"]["N"]),
        live_after=int(item["liveAfter"]["N"]) if "liveAfter" in item else None,
        generation=int(item["generation"]["N"]),
        connected_at=datetime.fromisoformat(item["connectedAt"]["S"]).astimezone(UTC),
    )
