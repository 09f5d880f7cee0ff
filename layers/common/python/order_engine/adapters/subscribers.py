"""The subscribers in DynamoDB: each in its order's journal item and, by connection ID, in a table that tells
what order a connection watches."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from botocore.exceptions import ClientError

from order_engine.adapters.journal_item import key_of, subscriber_of
from order_engine.aws import code_of, reaching
from order_engine.errors import TooManySubscribers, UnknownOrder
from order_engine.orders import Subscriber

# API Gateway closes a WebSocket connection after two hours at the latest (its quota "connection duration").
LIFETIME = timedelta(hours=2)

# An item has 400 KB at the most; 500 subscribers take some 60 KB of it, an order's events under 10 KB.
MOST_SUBSCRIBERS = 500


class DynamoSubscribers:
    """Implements `ports.Subscribers`."""

    def __init__(self, dynamodb: Any, table: str, journal_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._journal_table = journal_table

    def join(self, subscriber: Subscriber) -> None:
        """See `ports.Subscribers`. The table's row is written last: a refused subscriber leaves none."""
        row = {
            "connectedAt": {"S": subscriber.connected_at.isoformat()},
            "sentThrough": {"N": str(subscriber.sent_through)},
            "generation": {"N": str(subscriber.generation)},
        }
        joined = self._update(
            subscriber.order_id,
            subscriber.connection_id,
            "SET subscribers.#connection = :row",
            "attribute_exists(orderId) AND size(subscribers) < :most",
            {":row": {"M": row}, ":most": {"N": str(MOST_SUBSCRIBERS)}},
        )
        if joined is None:
            raise TooManySubscribers
        with reaching("subscribers"):
            self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    "connectionId": {"S": subscriber.connection_id},
                    "orderId": {"S": str(subscriber.order_id)},
                    "expiresAt": {"N": str(int((subscriber.connected_at + LIFETIME).timestamp()))},
                },
            )

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """See `ports.Subscribers`."""
        written = self._change(
            subscriber.order_id,
            subscriber.connection_id,
            "SET subscribers.#connection.liveAfter = :through, subscribers.#connection.sentThrough = :through",
            "#sequence = :through AND subscribers.#connection.generation = :generation",
            {":through": {"N": str(through)}, ":generation": {"N": str(subscriber.generation)}},
        )
        return written is not None

    def take_back(self, subscriber: Subscriber, sent_through: int) -> Subscriber | None:
        """See `ports.Subscribers`."""
        written = self._change(
            subscriber.order_id,
            subscriber.connection_id,
            "SET subscribers.#connection.sentThrough = :through, "
            "subscribers.#connection.generation = subscribers.#connection.generation + :one "
            "REMOVE subscribers.#connection.liveAfter",
            "attribute_exists(subscribers.#connection)",
            {":through": {"N": str(sent_through)}, ":one": {"N": "1"}},
        )
        if written is None:
            return None
        row = written["subscribers"]["M"][subscriber.connection_id]["M"]
        return subscriber_of(subscriber.order_id, subscriber.connection_id, row)

    def order_of(self, connection_id: str) -> UUID | None:
        """See `ports.Subscribers`."""
        with reaching("subscribers"):
            answer = self._dynamodb.get_item(
                TableName=self._table, Key={"connectionId": {"S": connection_id}}, ConsistentRead=True
            )
        return UUID(answer["Item"]["orderId"]["S"]) if "Item" in answer else None

    def leave(self, connection_id: str) -> None:
        """See `ports.Subscribers`."""
        with reaching("subscribers"):
            answer = self._dynamodb.delete_item(
                TableName=self._table, Key={"connectionId": {"S": connection_id}}, ReturnValues="ALL_OLD"
            )
        if "Attributes" not in answer:
            return
        self._change(
            UUID(answer["Attributes"]["orderId"]["S"]),
            connection_id,
            "REMOVE subscribers.#connection",
            "attribute_exists(subscribers.#connection)",
        )

    def _change(self, *update: Any) -> dict[str, Any] | None:
        """Does what `_update` does for a subscriber that may be gone, with its order even (which has expired then)."""
        try:
            return self._update(*update)
        except UnknownOrder:
            return None

    def _update(
        self,
        order_id: UUID,
        connection_id: str,
        update: str,
        condition: str,
        values: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Updates a subscriber in its order's item; answers the item as it is then, None if the condition did not hold.

        Raises UnknownOrder where there is no such item."""
        names = {"#connection": connection_id}
        if "#sequence" in condition:
            names["#sequence"] = "sequence"
        with reaching("journal"):
            try:
                answer = self._dynamodb.update_item(
                    TableName=self._journal_table,
                    Key=key_of(order_id),
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **({"ExpressionAttributeValues": values} if values else {}),
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                if not error.response.get("Item"):
                    raise UnknownOrder(str(order_id)) from error
                return None
        written: dict[str, Any] = answer["Attributes"]
        return written
