"""Reads what the stores of a running stack hold, in the words of `tests.chaos.world`."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from local.stack import LocalStack
from tests.chaos.world import Journaled, OnChain, Row

_IN_QUEUE = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_DEADLINE_SECONDS = 60


class Stores:
    """The journal, the chain, PostgreSQL and the queues of a stack."""

    def __init__(self, stack: LocalStack) -> None:
        self._outputs = stack.outputs
        self._postgres = stack.postgres
        self._dynamodb = stack.gateway.client("dynamodb")
        self._sqs = stack.gateway.client("sqs")
        self._lambda = stack.gateway.client("lambda")

    def journal(self) -> dict[str, Journaled]:
        """Every order, by id."""
        return {item["orderId"]["S"]: _journaled(item) for item in self._items("JournalTableName")}

    def chain(self) -> list[OnChain]:
        """Every transaction; the chain's guards, which name an order's only swap, are left out."""
        items = self._items("ChainTableName")
        return [_on_chain(item) for item in items if not item["id"]["S"].startswith("order#")]

    def rows(self) -> dict[str, Row]:
        """PostgreSQL's orders, by id."""
        return {row["order_id"]: row for row in self._select("SELECT *, order_id::text AS order_id FROM orders")}

    def event_rows(self) -> list[Row]:
        """PostgreSQL's order_events."""
        return self._select("SELECT *, order_id::text AS order_id FROM order_events ORDER BY sequence")

    def waiting(self) -> int:
        """Messages in the orders queue: ready, being worked on, and delayed."""
        return self._length("OrdersQueueUrl")

    def dead(self) -> int:
        """Messages in the dead-letter queue."""
        return self._length("DeadLettersQueueUrl")

    def dead_letters(self) -> list[str]:
        """The bodies in the dead-letter queue. Takes it away from its consumer for good."""
        queue = self._outputs["DeadLettersQueueUrl"]
        self._sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
        sources = self._lambda.list_event_source_mappings(FunctionName=self._outputs["DeadLettersFunctionName"])
        for source in sources["EventSourceMappings"]:
            self._lambda.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
        bodies: dict[str, str] = {}
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while len(bodies) < self.dead() and time.monotonic() < deadline:  # the consumer's last come back one by one
            answer = self._sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=30, WaitTimeSeconds=1
            )
            bodies |= {message["MessageId"]: message["Body"] for message in answer.get("Messages", [])}
        return list(bodies.values())

    def _length(self, queue: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=self._outputs[queue], AttributeNames=list(_IN_QUEUE))
        return sum(int(answer["Attributes"][name]) for name in _IN_QUEUE)

    def _items(self, table: str) -> Iterator[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._outputs[table], ConsistentRead=True)
        return (item for page in pages for item in page["Items"])

    def _select(self, query: str) -> list[Row]:
        with psycopg.connect(self._postgres.url, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()


def _journaled(item: dict[str, Any]) -> Journaled:
    return Journaled(
        order=_parse(item["order"]["S"]),
        events=[_parse(event["S"]) for event in item["events"]["L"]],
        status=item["status"]["S"],
        sequence=int(item["sequence"]["N"]),
        closed="closed" in item,
        lease=item.get("leaseOwner", {}).get("S", ""),
        errors=[_parse(error["S"]) for error in item["errors"]["L"]],
    )


def _on_chain(item: dict[str, Any]) -> OnChain:
    return OnChain(
        tx_hash=item["id"]["S"],
        order_id=item["orderId"]["S"],
        state=item["state"]["S"],
        amount_out=Decimal(item["amountOut"]["S"]) if "amountOut" in item else None,
        executed_price=Decimal(item["executedPrice"]["S"]) if "executedPrice" in item else None,
    )


def _parse(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return parsed
