"""The subscribers in DynamoDB, in pages of their order.

Page 0 is the order's journal item. The others are items with the key orderId and page (1, 2 …), and with sequence (the
last event that was fanned out on the page), subscribers (a map by connection ID, as in the journal's item) and
expiresAt. An order with such pages is marked `crowded` before anyone enters one.
"""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from botocore.exceptions import ClientError

from order_engine import limits
from order_engine.adapters.aws import code_of, service_errors, update_if
from order_engine.adapters.journal.connections import LIFETIME
from order_engine.adapters.journal.item import in_seconds, is_set, key_of, owner_of, subscribers_of
from order_engine.domain.errors import ServiceUnavailable, UnknownOrder
from order_engine.domain.refusals import ReplayUnderWay, TooManySubscribers
from order_engine.domain.subscriber import OVERDUE_AFTER, Subscriber

# A write costs a unit for each KB of its item: a full page has three of them, an order's events as many at the most.
PAGE_SIZE = 20
PAGES = 25  # page 0 included; all but it are looked through by one Query, which ends at 1 MB
MOST_SUBSCRIBERS = PAGE_SIZE * PAGES

# How often a place on a page is looked for, where others were quicker each time.
_TRIES = 10


class DynamoSubscribers:
    """Implements `ports.Subscribers`."""

    def __init__(self, dynamodb: Any, pages_table: str, journal_table: str) -> None:
        self._dynamodb = dynamodb
        self._pages_table = pages_table
        self._journal_table = journal_table
        self._pool = ThreadPoolExecutor(8, "page")  # which starts its threads when it needs them

    def join(self, subscriber: Subscriber, admit: Callable[[str], object] = lambda _owner: None) -> Subscriber:
        order = self._order(subscriber.order_id)
        admit(owner_of(order))
        first = replace(subscriber, page=0)
        return first if _has_room(order) and self._enter(first) else self._enter_further(subscriber, order)

    def read(self, subscriber: Subscriber) -> Subscriber | None:
        with service_errors("subscribers", limits.DYNAMODB):
            response = self._dynamodb.get_item(**self._place(subscriber.order_id, subscriber.page), ConsistentRead=True)
        kept = subscribers_of(response["Item"]) if "Item" in response else ()
        return next((one for one in kept if one.connection_id == subscriber.connection_id), None)

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        # The order's item says what has been appended, a page's what has been fanned out on it, which may be less.
        unmoved = "#sequence <= :through" if subscriber.page else "#sequence = :through"
        written, _ = self._update(
            subscriber.order_id,
            subscriber.page,
            "SET subscribers.#connection.liveAfter = :through, subscribers.#connection.sentThrough = :through",
            f"{unmoved} AND subscribers.#connection.generation = :generation",
            {"#sequence": "sequence", "#connection": subscriber.connection_id},
            {":through": {"N": str(through)}, ":generation": {"N": str(subscriber.generation)}},
        )
        return written

    def fan_out(self, order_id: UUID, sequence: int) -> tuple[Subscriber, ...]:
        """All pages at once."""
        pages = _numbers(self._query(order_id))
        turned = [limits.run_in(self._pool, self._fan_out_page, order_id, page, sequence) for page in pages]
        return tuple(one for page in turned for one in page.result())

    def take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """More than a page has are only on page 0 as an earlier release has filled it."""
        return [
            taken
            for start in range(0, len(subscribers), PAGE_SIZE)
            for taken in self._take_back(subscribers[start : start + PAGE_SIZE])
        ]

    def replay(self, subscriber: Subscriber, at: datetime) -> Subscriber | None:
        entry = "subscribers.#connection"
        written, item = self._update(
            subscriber.order_id,
            subscriber.page,
            f"SET {entry}.sentThrough = :after, {entry}.generation = {entry}.generation + :one, "
            f"{entry}.replayedAt = :at REMOVE {entry}.liveAfter",
            f"attribute_exists({entry}.liveAfter) OR {entry}.replayedAt < :overdue "
            f"OR (attribute_not_exists({entry}.replayedAt) AND {entry}.connectedAt < :overdue)",
            {"#connection": subscriber.connection_id},
            {
                ":after": {"N": str(subscriber.sent_through)},
                ":one": {"N": "1"},
                ":at": {"S": at.isoformat()},
                ":overdue": {"S": (at - OVERDUE_AFTER).isoformat()},
            },
        )
        kept = {one.connection_id: one for one in subscribers_of(item)} if item else {}
        if not written and subscriber.connection_id in kept:
            raise ReplayUnderWay
        return kept.get(subscriber.connection_id)

    def leave(self, subscriber: Subscriber) -> None:
        self._update(
            subscriber.order_id,
            subscriber.page,
            "REMOVE subscribers.#connection",
            "attribute_exists(subscribers.#connection)",  # which also keeps a missing item from being made
            {"#connection": subscriber.connection_id},
        )

    def end(self, subscriber: Subscriber) -> bool:
        written, item = self._update(
            subscriber.order_id,
            subscriber.page,
            "REMOVE subscribers.#connection",
            "subscribers.#connection.generation = :generation",
            {"#connection": subscriber.connection_id},
            {":generation": {"N": str(subscriber.generation)}},
        )
        return written or not (item and _is_in(item, subscriber))

    # --- joining --------------------------------------------------------------------------------------------------

    def _order(self, order_id: UUID) -> dict[str, Any]:
        with service_errors("journal", limits.DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._journal_table, Key=key_of(order_id), ConsistentRead=True)
        if "Item" not in response:
            raise UnknownOrder(str(order_id))
        order: dict[str, Any] = response["Item"]
        return order

    def _enter_further(self, subscriber: Subscriber, order: dict[str, Any]) -> Subscriber:
        """Enter any page but 0, at random: simultaneous joins then conflict less."""
        crowded = is_set(order, "crowded")
        for _ in range(_TRIES):
            with_room, there = self._pages_with_room(subscriber.order_id)
            if not with_room and there == PAGES - 1:
                raise TooManySubscribers
            missing = [] if with_room else self._missing_pages(subscriber.order_id)
            if not (with_room or missing):
                continue  # somebody has just made the last one
            if not crowded:
                self._mark_crowded(subscriber.order_id)
                crowded = True
            kept = replace(subscriber, page=random.choice(with_room or missing[:1]))
            if (missing and self._open(kept)) or self._enter(kept):
                return kept
        raise ServiceUnavailable(f"subscribers: {_TRIES} times others were quicker to join {subscriber.order_id}")

    def _pages_with_room(self, order_id: UUID) -> tuple[list[int], int]:
        """Return the further pages that have room, and how many further pages exist."""
        response = self._query(order_id, {":most": {"N": str(PAGE_SIZE)}}, FilterExpression="size(subscribers) < :most")
        return _numbers(response), response["ScannedCount"]

    def _missing_pages(self, order_id: UUID) -> list[int]:
        """Return the further pages that do not exist."""
        there = _numbers(self._query(order_id))
        return [page for page in range(1, PAGES) if page not in there]

    def _mark_crowded(self, order_id: UUID) -> None:
        _, order = self._update(
            order_id,
            0,
            "SET crowded = :crowded",
            "attribute_exists(orderId) AND attribute_not_exists(crowded)",
            values={":crowded": {"BOOL": True}},
        )
        if not order:
            raise UnknownOrder(str(order_id))

    def _enter(self, subscriber: Subscriber) -> bool:
        """Enter the subscriber's page. Return False if it is full or gone.

        A try that botocore gave up and that takes effect after the next one must not undo a handover made meanwhile.
        """
        update, values = "SET subscribers.#connection = :row", {":row": _row(subscriber)}
        if subscriber.page:
            update += ", expiresAt = :expires_at"
            values[":expires_at"] = in_seconds(subscriber.connected_at + LIFETIME)
        written, item = self._update(
            subscriber.order_id,
            subscriber.page,
            update,
            "attribute_exists(orderId) AND size(subscribers) < :most AND attribute_not_exists(subscribers.#connection)",
            {"#connection": subscriber.connection_id},
            {**values, ":most": {"N": str(PAGE_SIZE)}},
        )
        return written or _is_in(item, subscriber)

    def _open(self, subscriber: Subscriber) -> bool:
        """Create the subscriber's page with it as the first. Return False if the page exists: then enter it."""
        item = {
            **self._place(subscriber.order_id, subscriber.page)["Key"],
            "sequence": {"N": "0"},
            "subscribers": {"M": {subscriber.connection_id: _row(subscriber)}},
            "expiresAt": in_seconds(subscriber.connected_at + LIFETIME),
        }
        with service_errors("subscribers", limits.DYNAMODB):
            try:
                self._dynamodb.put_item(
                    TableName=self._pages_table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(orderId)",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    # --- one page -------------------------------------------------------------------------------------------------

    def _fan_out_page(self, order_id: UUID, page: int, sequence: int) -> tuple[Subscriber, ...]:
        """Return the subscribers of a page at the moment when it reaches the sequence."""
        _, item = self._update(
            order_id,
            page,
            "SET #sequence = :sequence",
            "#sequence < :sequence",
            {"#sequence": "sequence"},
            {":sequence": {"N": str(sequence)}},
        )
        return subscribers_of(item) if item else ()

    def _take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Take them back in one write; repeat it without those that have left."""
        while subscribers:
            entries = [f"subscribers.#c{number}" for number in range(len(subscribers))]
            sets = [
                f"{entry}.sentThrough = :s{number}, {entry}.generation = {entry}.generation + :one"
                for number, entry in enumerate(entries)
            ]
            removes = [f"{entry}.liveAfter" for entry in entries]
            sent_through = {f":s{number}": {"N": str(one.sent_through)} for number, one in enumerate(subscribers)}
            written, item = self._update(
                subscribers[0].order_id,
                subscribers[0].page,
                f"SET {', '.join(sets)} REMOVE {', '.join(removes)}",
                " AND ".join(f"attribute_exists({entry})" for entry in entries),
                {f"#c{number}": one.connection_id for number, one in enumerate(subscribers)},
                {":one": {"N": "1"}, **sent_through},
            )
            kept = {one.connection_id: one for one in subscribers_of(item)} if item else {}
            if written:
                return [kept[one.connection_id] for one in subscribers]
            subscribers = [one for one in subscribers if one.connection_id in kept]
        return []

    def _query(self, order_id: UUID, values: dict[str, Any] | None = None, **only: Any) -> dict[str, Any]:
        """Query the further pages. Return their numbers only: with subscribers a response has 70 KB, slow to parse."""
        with service_errors("subscribers", limits.DYNAMODB):
            response: dict[str, Any] = self._dynamodb.query(
                TableName=self._pages_table,
                KeyConditionExpression="orderId = :order",
                ExpressionAttributeValues={":order": {"S": str(order_id)}, **(values or {})},
                ProjectionExpression="page",
                ConsistentRead=True,
                **only,
            )
        return response

    def _update(
        self,
        order_id: UUID,
        page: int,
        update: str,
        condition: str,
        names: dict[str, str] | None = None,
        values: dict[str, Any] | None = None,
    ) -> tuple[bool, dict[str, Any]]:
        """Update a page's item, if the condition holds. Return whether it did, and the item as it is then (empty
        if there is none)."""
        return update_if(
            self._dynamodb.update_item,
            "subscribers",
            **self._place(order_id, page),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
        )

    def _place(self, order_id: UUID, page: int) -> dict[str, Any]:
        """Return the table and the key of a page's item."""
        if page == 0:
            return {"TableName": self._journal_table, "Key": key_of(order_id)}
        return {"TableName": self._pages_table, "Key": {**key_of(order_id), "page": {"N": str(page)}}}


def _row(subscriber: Subscriber) -> dict[str, Any]:
    """Return what a page stores of a new subscriber."""
    return {
        "M": {
            "connectedAt": {"S": subscriber.connected_at.isoformat()},
            "sentThrough": {"N": str(subscriber.sent_through)},
            "generation": {"N": str(subscriber.generation)},
        }
    }


def _numbers(response: dict[str, Any]) -> list[int]:
    return [int(item["page"]["N"]) for item in response["Items"]]


def _has_room(item: dict[str, Any]) -> bool:
    return len(item["subscribers"]["M"]) < PAGE_SIZE


def _is_in(item: dict[str, Any], subscriber: Subscriber) -> bool:
    """Whether a subscriber has entered a page already: by this very write, which botocore has repeated."""
    return subscriber.connection_id in item.get("subscribers", {"M": {}})["M"]
