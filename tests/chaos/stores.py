"""Reads what the stores of a running stack hold, in the words of `tests.chaos.world`, and meddles with them."""

import json
import time
from collections.abc import Collection
from contextlib import suppress
from decimal import Decimal
from typing import Any

import psutil

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
        return [_on_chain(item) for item in items if "#" not in item["id"]["S"]]

    def launches(self) -> dict[str, float]:
        """When the pools of the tokens opened that were launched, in epoch seconds."""
        items = [item for item in self.items("ChainTableName") if "opensAt" in item]
        return {item["id"]["S"].removeprefix("launch#"): int(item["opensAt"]["N"]) / 1000 for item in items}

    def index(self) -> dict[str, tuple[str, Decimal]]:
        """The orders that the index by price has, each with its side and its price."""
        scan = self.dynamodb.get_paginator("scan")
        pages = scan.paginate(TableName=self.stack.outputs["JournalTableName"], IndexName="ByPrice")
        items = [item for page in pages for item in page["Items"]]
        return {item["orderId"]["S"]: (item["watch"]["S"], Decimal(item["watchPrice"]["N"])) for item in items}

    def watched(self) -> tuple[list[str], list[str]]:
        """What the watcher of the market looks at: sides of the market, and the ends of orders' times."""
        items = self.items("WatchTableName")
        sides = [item["name"]["S"] for item in items if "notedAt" in item]
        return sides, [item["name"]["S"] for item in items if item["kind"]["S"] == "expiry"]

    def watch(self) -> None:
        """Begin another run of the watcher, which takes over from the last."""
        self.functions.invoke(FunctionName=self.name_of("watch_market"), InvocationType="Event", Payload=b"{}")

    def stop_watching(self) -> None:
        """End every run of the watcher, and let none begin."""
        name = self.name_of("watch_market")
        self.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        for worker in self.workers("watch_market"):
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    def launch(self, token: str) -> None:
        """Launch a token. Raises TimeoutError if that can't be done in good time."""
        name, payload = self.name_of("launch"), json.dumps({"token": token})
        if not poll(lambda: "FunctionError" not in self.functions.invoke(FunctionName=name, Payload=payload), 30):
            raise TimeoutError(f"{token} could not be launched")

    def sequence(self, order_id: str) -> int:
        """The number of an order's newest event."""
        return int(self.journal_item(order_id)["sequence"]["N"])

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
    amount_out, price = (Decimal(item[name]["S"]) if name in item else None for name in ("amountOut", "executedPrice"))
    lands_at = int(item["landsAt"]["N"]) / 1000 if "landsAt" in item else None
    return OnChain(item["id"]["S"], item["orderId"]["S"], item["state"]["S"], amount_out, price, lands_at)


def _parse(text: str) -> Message:
    parsed: Message = json.loads(text, parse_float=Decimal)
    return parsed
