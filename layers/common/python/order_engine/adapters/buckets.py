"""Limits in DynamoDB: a table with a bucket in each item, whose attribute is `arrival`, in epoch milliseconds."""

from collections import OrderedDict
from typing import Any

from order_engine.adapters.aws import update_if
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.quota import Allowance, Quota
from order_engine.ports import Clock

_TRIES = 4  # others may be quicker
_MOST_KNOWN = 10_000


class DynamoBuckets:
    """A table with a bucket in each item: one conditional write a request as a rule, none for a while after a denial.

    With `made` an item that is missing is made; without it nothing is counted."""

    def __init__(
        self,
        dynamodb: Any,
        service: str,
        table: str,
        key: str,
        quota: Quota,
        now: Clock,
        made: bool = True,
    ) -> None:
        self._dynamodb = dynamodb
        self._service = service
        self._table = table
        self._key = key
        self._quota = quota
        self._now = now
        self._there = "" if made else f"attribute_exists({key}) AND "
        self._arrivals: OrderedDict[str, int] = OrderedDict()  # as last seen

    def _known_denial(self, name: str, cost: int = 1) -> Allowance | None:
        """Return what a request is told of which it is known, without a call, that it would not be let through."""
        now, known = self._milliseconds(), self._arrivals.get(name, 0)
        # Others can only have moved it on.
        return self._quota.denied(now, known, cost) if known > self._quota.latest(now, cost) else None

    def _take(self, name: str, cost: int = 1) -> tuple[Allowance, dict[str, Any]]:
        """Count a request that counts as so many. Return what it is told, and the item as it is then: empty, if it is
        missing or was not asked for."""
        now, item = self._milliseconds(), dict[str, Any]()
        for _ in range(_TRIES):
            if denial := self._known_denial(name, cost):
                return denial, item
            taken, item = self._move(name, now, cost, ahead=self._arrivals.get(name, 0) > now)
            arrival = int(item.get("arrival", {"N": "0"})["N"])
            remember(self._arrivals, name, arrival)
            if taken or not item:
                return self._quota.allowed(now, arrival), item
        raise ServiceUnavailable(f"{self._service}: {_TRIES} times others were quicker")

    def _move(self, name: str, now: int, cost: int, ahead: bool) -> tuple[bool, dict[str, Any]]:
        """Move the arrival time by one request: on from where it is, if that is `ahead` of now and not too far; from
        now, if it is not. Return whether it was moved, and the item as it is."""
        by = cost * self._quota.interval
        if ahead:
            update = "SET arrival = arrival + :by"
            condition = "arrival > :now AND arrival <= :latest"
            values = {":by": by, ":now": now, ":latest": self._quota.latest(now, cost)}
        else:
            update = "SET arrival = :next"
            condition = "(attribute_not_exists(arrival) OR arrival <= :now)"
            values = {":next": now + by, ":now": now}
        return update_if(
            self._dynamodb.update_item,
            self._service,
            TableName=self._table,
            Key={self._key: {"S": name}},
            UpdateExpression=update,
            ConditionExpression=self._there + condition,
            ExpressionAttributeValues={name: {"N": str(value)} for name, value in values.items()},
        )

    def _milliseconds(self) -> int:
        return int(self._now().timestamp() * 1000)


def remember(moments: OrderedDict[str, int], name: str, moment: int) -> None:
    """Note a moment, and forget whoever was noted longest ago, so that they never become too many."""
    moments[name] = moment
    moments.move_to_end(name)
    while len(moments) > _MOST_KNOWN:
        moments.popitem(last=False)
