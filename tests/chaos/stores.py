"""Reads what the stores of a running stack hold, in the words of `tests.chaos.world`, and meddles with them."""

import json
import time
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from tests.chaos.world import Journaled, Message, OnChain, Row
from tests.support.operations import Item, Operator, poll

_DIVERTING_SECONDS = 20.0
_DEADLINE_SECONDS = 60.0
_MOST_READY = 40  # messages that wait for a worker


class Stores(Operator):
    def journal(self) -> dict[str, Journaled]:
        return {item["orderId"]["S"]: _journaled(item) for item in self.items("JournalTableName")}

    def chain(self) -> list[OnChain]:
        """Every transaction; the chain's guards, which name an order's only swap, are left out."""
        items = self.items("ChainTableName")
        return [_on_chain(item) for item in items if not item["id"]["S"].startswith("order#")]

    def rows(self) -> dict[str, Row]:
        return {row["order_id"]: row for row in self.query("SELECT *, order_id::text AS order_id FROM orders")}

    def event_rows(self) -> list[Row]:
        return self.query("SELECT *, order_id::text AS order_id FROM order_events ORDER BY sequence")

    def dead_letters(self) -> list[str]:
        """The bodies in the dead-letter queue, which no function consumes from now on."""
        self.set_queue("DeadLettersQueueUrl", VisibilityTimeout=1)
        self.consume("dead_letters", enabled=False)
        bodies: dict[str, str] = {}

        def all_received() -> bool:  # the last that the function received are only visible again after a while
            bodies.update({one["MessageId"]: one["Body"] for one in self._receive("DeadLettersQueueUrl", 30)})
            return len(bodies) >= self.length("DeadLettersQueueUrl")

        poll(all_received, _DEADLINE_SECONDS, every=0.2)
        return list(bodies.values())

    def behind(self) -> bool:
        """Whether the workers have more to do than they get done soon, be it for want of processors."""
        return self.length("OrdersQueueUrl", states=[""]) > _MOST_READY

    def expire(self, client_order_id: str) -> None:
        """End the life of a clientOrderId, as thirty days would."""
        self.dynamodb.update_item(
            TableName=self.stack.outputs["ClientOrderIdsTableName"],
            Key={"id": {"S": f"public#{client_order_id}"}},
            UpdateExpression="SET expiresAt = :past",
            ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 1)}},
        )

    def divert(self, order_ids: Collection[str]) -> None:
        """Make dead letters of the messages of these orders, which no worker has received."""
        missing = set(order_ids)

        def none_missing() -> bool:
            for message in self._receive("OrdersQueueUrl", 1):
                if (order_id := json.loads(message["Body"])["orderId"]) in order_ids:
                    self.send("DeadLettersQueueUrl", message["Body"])
                    queue, handle = self.stack.outputs["OrdersQueueUrl"], message["ReceiptHandle"]
                    self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
                    missing.discard(order_id)
            return not missing

        if not poll(none_missing, _DIVERTING_SECONDS):
            raise TimeoutError(f"the orders queue has no message of {missing}")

    def _receive(self, queue: str, hidden_seconds: int) -> list[dict[str, Any]]:
        url = self.stack.outputs[queue]
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=hidden_seconds)
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


def _journaled(item: Item) -> Journaled:
    return Journaled(
        order=_parse(item["order"]["S"]),
        events=[_parse(event["S"]) for event in item["events"]["L"]],
        status=item["status"]["S"],
        sequence=int(item["sequence"]["N"]),
        closed="closed" in item,
        lease=item.get("leaseOwner", {}).get("S", ""),
        errors=[_parse(error["S"]) for error in item["errors"]["L"]],
    )


def _on_chain(item: Item) -> OnChain:
    numbers = [Decimal(item[name]["S"]) if name in item else None for name in ("amountOut", "executedPrice")]
    return OnChain(item["id"]["S"], item["orderId"]["S"], item["state"]["S"], *numbers)


def _parse(text: str) -> Message:
    parsed: Message = json.loads(text, parse_float=Decimal)
    return parsed
