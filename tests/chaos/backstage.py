"""What a campaign does behind the system's back, by the API of the services that it runs on."""

import json
import time
from collections.abc import Collection
from typing import Any

from local.stack import LocalStack
from tests.chaos.relay import Relay

_PAST_SECONDS = 1  # by which an expired key has expired
_DIVERTING_SECONDS = 20
_MOST_READY = 40  # messages that wait for a worker


class Backstage:
    """Of one stack, whose functions are behind a relay."""

    def __init__(self, stack: LocalStack, relay: Relay) -> None:
        self._outputs = stack.outputs
        self._relay = relay
        self._dynamodb = stack.gateway.client("dynamodb")
        self._lambda = stack.gateway.client("lambda")
        self._sqs = stack.gateway.client("sqs")

    def closed(self, order_id: str) -> bool:
        """Whether nothing is owed any more for an order."""
        answer = self._dynamodb.get_item(
            TableName=self._outputs["JournalTableName"], Key={"orderId": {"S": order_id}}, ConsistentRead=True
        )
        return "closed" in answer.get("Item", {})

    def expire(self, client_order_id: str) -> None:
        """Ends the life of a clientOrderId, as thirty days would."""
        self._dynamodb.update_item(
            TableName=self._outputs["ClientOrderIdsTableName"],
            Key={"id": {"S": f"public#{client_order_id}"}},
            UpdateExpression="SET expiresAt = :past",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - _PAST_SECONDS)}},
        )

    def mute(self, order_id: str) -> None:
        """Lets every post hang to whoever watches an order now."""
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._outputs["ConnectionsTableName"], ConsistentRead=True
        )
        rows = [row for page in pages for row in page["Items"] if row["orderId"]["S"] == order_id]
        self._relay.mute({row["connectionId"]["S"] for row in rows})

    def behind(self) -> bool:
        """Whether the workers have more to do than they get done soon, be it for want of processors."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._outputs["OrdersQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"]) > _MOST_READY

    def consume_orders(self, enabled: bool) -> None:
        """Has the workers take messages from the orders queue, or not."""
        name = self._outputs["RouteExecuteFunctionName"]
        for source in self._lambda.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            self._lambda.update_event_source_mapping(UUID=source["UUID"], Enabled=enabled)

    def divert(self, order_ids: Collection[str]) -> None:
        """Makes dead letters of the messages of these orders, which are in the orders queue and nobody has had."""
        orders, dead = self._outputs["OrdersQueueUrl"], self._outputs["DeadLettersQueueUrl"]
        missing, deadline = set(order_ids), time.monotonic() + _DIVERTING_SECONDS
        while missing:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the orders queue has no message of {missing}")
            answer: dict[str, Any] = self._sqs.receive_message(
                QueueUrl=orders, MaxNumberOfMessages=10, VisibilityTimeout=1
            )
            for message in answer.get("Messages", []):
                order_id = json.loads(message["Body"])["orderId"]
                if order_id in order_ids:
                    self._sqs.send_message(QueueUrl=dead, MessageBody=message["Body"])
                    self._sqs.delete_message(QueueUrl=orders, ReceiptHandle=message["ReceiptHandle"])
                    missing.discard(order_id)
