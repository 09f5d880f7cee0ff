"""Has outcomes written to PostgreSQL again, from the journal: after a database was restored to an earlier moment.

A row is written before its order is closed, and a closed order says when it was. So the orders that were closed since
that moment are all whose rows can be missing. Each is owed a row again, by one conditional write to the journal, and
its message is sent: a worker then does with it what it does with an order whose row it could not write at first.
Nothing else of a final order can change, and nothing is posted to anybody who has had it.
"""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from botocore.exceptions import BotoCoreError, ClientError
from order_client.display import say
from order_engine.adapters.aws import update_if
from order_engine.adapters.journal.item import in_seconds, key_of, live_attributes, record_of
from order_engine.adapters.journal.journal import KEPT
from order_engine.adapters.queue import SqsOrderQueue
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import FINAL
from order_engine.ports import OrderQueue

from local.deployment import Deployment
from local.errors import LocalStackError
from local.order import parse_order_id
from local.pause import pauses

_CLOCKS = timedelta(minutes=5)  # by which those of the workers, the database and the operator may differ
_MOST_WAITING = 50  # messages, behind which nobody's order has to wait for long
_EVERY_SECONDS = 1.0
_PAGE = 500  # items of the journal that are read at once


def rewrite_history(since: str, after: str, stack: str | None) -> int:
    """Have the outcomes of the orders that were closed since a moment (RFC 3339) written again. `after` is how far an
    earlier run has come, which says so each minute; empty for all. Prints how many. Raises LocalStackError."""
    moment, start = _moment(since), parse_order_id(after, "AFTER") if after else None
    where, sent, told_at = Deployment.named(stack), 0, time.monotonic()
    queue = SqsOrderQueue(where.client("sqs"), where.outputs["OrdersQueueUrl"])
    journal = Journal(where.client("dynamodb"), where.outputs["JournalTableName"])
    try:
        _require_running(where, sent, start)
        for items, end in journal.ended_since(moment, start):
            for batch in (items[at : at + _MOST_WAITING] for at in range(0, len(items), _MOST_WAITING)):
                _wait_for_room(queue, where, sent, start)
                for item in batch:
                    journal.owe(item)
                    queue.send(UUID(item["orderId"]["S"]))
                    sent += 1
            start = end
            if end and time.monotonic() - told_at > 60:
                told_at = time.monotonic()
                say(f"{sent} outcomes; to go on from here: --after {end}")
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(f"after {sent} outcomes: {error}; do it again, which does no harm") from error
    say(f"{sent} outcomes are written again, as soon as the workers come to them: `status` says how many are owed")
    return 0


class Journal:
    """The journal's table, as this command reads and changes it."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def ended_since(self, moment: datetime, after: UUID | None) -> Iterator[tuple[list[dict[str, Any]], UUID | None]]:
        """Yield pages of the orders that were closed since a moment, and of those that are final and owed a row, with
        the last order that was looked at; None at the end. All of the table is read."""
        start: dict[str, Any] = {"ExclusiveStartKey": key_of(after)} if after else {}
        final = {f":final{number}": {"S": str(status)} for number, status in enumerate(sorted(FINAL))}
        while True:
            page = self._dynamodb.scan(
                TableName=self._table,
                Limit=_PAGE,
                ConsistentRead=True,
                FilterExpression=(
                    "expiresAt >= :closed OR (attribute_not_exists(closed) AND #status IN (" + ", ".join(final) + "))"
                ),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":closed": in_seconds(moment - _CLOCKS + KEPT), **final},
                **start,
            )
            end = page.get("LastEvaluatedKey")
            yield page["Items"], UUID(end["orderId"]["S"]) if end else None
            if not end:
                return
            start = {"ExclusiveStartKey": end}

    def owe(self, item: dict[str, Any]) -> None:
        """Open a closed order again, as it was before its row was written; one that is not closed stays as it is."""
        record = record_of(item)
        update_if(
            self._dynamodb.update_item,
            "journal",
            TableName=self._table,
            Key=key_of(record.order.order_id),
            UpdateExpression="SET live = :live, placed = :placed REMOVE closed, expiresAt",
            ConditionExpression="attribute_exists(closed)",
            ExpressionAttributeValues={f":{name}": value for name, value in live_attributes(record).items()},
        )


def _wait_for_room(queue: OrderQueue, where: Deployment, sent: int, start: UUID | None) -> None:
    while queue.waiting() >= _MOST_WAITING:
        _require_running(where, sent, start)
        time.sleep(_EVERY_SECONDS)


def _require_running(where: Deployment, sent: int, start: UUID | None) -> None:
    if pauses(where).read():
        again = f"; {sent} outcomes are owed, so go on with --after {start}" if start else ""
        raise LocalStackError(f"the engine is paused, and nobody would write the rows: resume it first{again}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
    except ValueError as error:
        wanted = "a time such as 2026-11-23T12:00:00Z (with make: SINCE=)"
        raise LocalStackError(f"since when? Give {wanted}, not {text!r}") from error
    if moment.tzinfo is None:
        raise LocalStackError(f"{text} has no offset: write 2026-11-23T12:00:00Z for UTC")
    if moment.year < 2000:  # before all orders, and nothing is earlier than year 1
        raise LocalStackError(f"since when? There were no orders at {text}")
    if moment > datetime.now(UTC):
        raise LocalStackError(f"since when? {text} is yet to come")
    return moment.astimezone(UTC)
