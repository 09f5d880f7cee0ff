"""The journal in DynamoDB: one item an order (`adapters.journal_item`), written to by conditional updates only."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from botocore.exceptions import ClientError

from order_engine.adapters.journal_item import entry_of, key_of, milliseconds, standing_of, subscribers_of
from order_engine.aws import code_of, reaching
from order_engine.errors import ClientOrderIdReused, LeaseHeld, LeaseLost, OrderClosed, UnknownOrder
from order_engine.orders import JournalEntry, Order
from order_engine.ports import Claim, Clock

# A closed order stays this long: as long as a clientOrderId is remembered, and a late subscriber is served.
KEPT = timedelta(days=30)

_CONDITION_FAILED = "ConditionalCheckFailedException"


class DynamoJournal:
    """Implements `ports.Journal` on a table whose key is orderId.

    `lease` must be longer than a worker can run, so that a lease which has run out means a worker that is no more.
    """

    def __init__(self, dynamodb: Any, table: str, now: Clock, lease: timedelta) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._now = now
        self._lease = lease

    def create(self, entry: JournalEntry, fingerprint: str) -> Order:
        """See `ports.Journal`."""
        item = {
            "orderId": {"S": str(entry.order.order_id)},
            "fingerprint": {"S": fingerprint},
            "order": {"S": entry.order.to_json()},
            "events": {"L": [{"S": entry.last.to_json()}]},
            "subscribers": {"M": {}},
            **standing_of(entry),
        }
        with reaching("journal"):
            try:
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(orderId)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise
                there: dict[str, Any] = error.response["Item"]
                if there["fingerprint"]["S"] != fingerprint:
                    raise ClientOrderIdReused(str(entry.order.client_order_id)) from error
                return entry_of(there).order
        return entry.order

    def read(self, order_id: UUID) -> JournalEntry:
        """See `ports.Journal`."""
        with reaching("journal"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=key_of(order_id), ConsistentRead=True)
        if "Item" not in answer:
            raise UnknownOrder(str(order_id))
        return entry_of(answer["Item"])

    def withdraw(self, order_id: UUID) -> bool:
        """See `ports.Journal`."""
        with reaching("journal"):
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=key_of(order_id),
                    ConditionExpression="#sequence = :first AND attribute_not_exists(leaseOwner)",
                    ExpressionAttributeNames={"#sequence": "sequence"},
                    ExpressionAttributeValues={":first": {"N": "1"}},
                )
            except ClientError as error:
                if code_of(error) == _CONDITION_FAILED:
                    return False
                raise
        return True

    def claim(self, order_id: UUID) -> Claim:
        """See `ports.Journal`."""
        owner, now = str(uuid4()), self._now()
        with reaching("journal"):
            try:
                answer = self._dynamodb.update_item(
                    TableName=self._table,
                    Key=key_of(order_id),
                    UpdateExpression="SET leaseOwner = :owner, leaseUntil = :until",
                    ConditionExpression=(
                        "attribute_exists(orderId) AND attribute_not_exists(closed) "
                        "AND (attribute_not_exists(leaseOwner) OR leaseUntil < :now)"
                    ),
                    ExpressionAttributeValues={
                        ":owner": {"S": owner},
                        ":until": {"N": str(milliseconds(now + self._lease))},
                        ":now": {"N": str(milliseconds(now))},
                    },
                    ReturnValues="ALL_OLD",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise
                there: dict[str, Any] | None = error.response.get("Item")
                if not there:
                    raise UnknownOrder(str(order_id)) from error
                if "closed" in there:
                    raise OrderClosed(str(order_id)) from error
                if there["leaseOwner"]["S"] == owner:  # our own write, whose answer was lost and which was repeated
                    return Claim(entry_of(there), owner, interrupted=True)
                raise LeaseHeld(f"{order_id} is another worker's until {there['leaseUntil']['N']}") from error
        before = answer["Attributes"]
        return Claim(entry_of(before), owner, interrupted="leaseOwner" in before)

    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        """See `ports.Journal`."""
        sets = ["events = list_append(events, :event)", "#sequence = :sequence", "#status = :status"]
        sets += ["attempt = :attempt", "errors = :errors"]
        values = {
            ":event": {"L": [{"S": entry.last.to_json()}]},
            ":before": {"N": str(entry.sequence - 1)},
            **{f":{name}": value for name, value in standing_of(entry).items()},
        }
        if entry.transaction is not None:
            sets.append("#transaction = :transaction")
        written = self._update(claim, "SET " + ", ".join(sets), values, " AND #sequence = :before")
        return Claim(replace(entry, subscribers=subscribers_of(written)), claim.owner, interrupted=False)

    def release(self, claim: Claim, closed: bool = False) -> None:
        """See `ports.Journal`."""
        update, values = "SET errors = :errors", {":errors": standing_of(claim.entry)["errors"]}
        if closed:
            update += ", closed = :closed, expiresAt = :expires_at"
            values |= {
                ":closed": {"BOOL": True},
                ":expires_at": {"N": str(int((self._now() + KEPT).timestamp()))},
            }
        self._update(claim, update + " REMOVE leaseOwner, leaseUntil", values)

    def _update(self, claim: Claim, update: str, values: dict[str, Any], condition: str = "") -> dict[str, Any]:
        """Writes under the lease; answers the item as it is then."""
        names = {name: name[1:] for name in ("#sequence", "#status", "#transaction") if name in update + condition}
        with reaching("journal"):
            try:
                answer = self._dynamodb.update_item(
                    TableName=self._table,
                    Key=key_of(claim.entry.order.order_id),
                    UpdateExpression=update,
                    ConditionExpression="leaseOwner = :owner" + condition,
                    ExpressionAttributeValues={":owner": {"S": claim.owner}, **values},
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **({"ExpressionAttributeNames": names} if names else {}),
                )
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise
                there: dict[str, Any] = error.response.get("Item", {})
                event = values.get(":event")
                last = there["events"]["L"][-1:] if there else []
                ours = there.get("leaseOwner") == {"S": claim.owner} and event and last == event["L"]
                if not ours:
                    raise LeaseLost(str(claim.entry.order.order_id)) from error
                return there  # our own write, whose answer was lost and which was repeated
        written: dict[str, Any] = answer["Attributes"]
        return written
