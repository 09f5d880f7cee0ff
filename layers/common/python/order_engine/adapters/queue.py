"""The orders queue in SQS. A message carries the order's id and nothing else; the journal has the rest."""

import json
from typing import Any
from uuid import UUID

from order_engine.adapters.aws import service_errors
from order_engine.limits import QUEUE


class SqsOrderQueue:
    """Implements `ports.OrderQueue`."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        with service_errors("order queue", QUEUE):
            self._sqs.send_message(
                QueueUrl=self._queue_url, MessageBody=json.dumps({"orderId": str(order_id)}), DelaySeconds=delay_seconds
            )

    def waiting(self) -> int:
        name = "ApproximateNumberOfMessages"
        with service_errors("order queue", QUEUE):
            response = self._sqs.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=[name])
        return int(response["Attributes"][name])


def order_id_of(body: str) -> UUID:
    """Return the order of a message. Raises ValueError for a body that `send` did not write."""
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get("orderId"), str):
        raise ValueError("the message has no orderId")
    return UUID(message["orderId"])
