"""The orders in DynamoDB: an item for each order (`item`), changed by conditional writes only, and an item for each
clientOrderId that is taken.

A clientOrderId's item has the key `id`, its owner and itself (`<owner>#<clientOrderId>`; no owner has a # in it),
orderId, fingerprint and expiresAt (epoch seconds). One that has expired counts for nothing, deleted or not.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from botocore.exceptions import ClientError

from order_engine.adapters.aws import CONTENDED, code_of, retry_on_conflict, service_errors, update_if
from order_engine.adapters.journal.item import (
    NOBODY,
    in_milliseconds,
    in_seconds,
    is_set,
    key_of,
    live_attributes,
    milliseconds,
    moment_of,
    price_attributes,
    record_of,
    status_attributes,
    subscribers_of,
)
from order_engine.domain.access import PUBLIC
from order_engine.domain.errors import (
    BackingOff,
    LeaseHeld,
    LeaseLost,
    NotNow,
    OrderClosed,
    ServiceUnavailable,
    UnknownOrder,
)
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import ClientOrderIdReused
from order_engine.limits import DYNAMODB
from order_engine.ports import KEY_LIFETIME, Claim, Clock

# A closed order is kept for longer than the clientOrderId of any order can lead to it.
KEPT = KEY_LIFETIME + timedelta(days=1)

# The namespace in which releases before 2026-11-23 derived orderIds from clientOrderIds. Of use until such orders are
# forgotten, 31 days after the update; then it costs a write unit for nothing.
_EARLIER_KEYS = uuid5(NAMESPACE_URL, "urn:order-engine:client-order-id")

_CONDITION_FAILED = "ConditionalCheckFailedException"


class DynamoJournal:
    """Implements `ports.Journal` on a table whose key is orderId, and a table of clientOrderIds whose key is id.

    `lease` must be longer than a worker can run, so that a lease which has run out means a worker that is no more.
    """

    def __init__(self, dynamodb: Any, table: str, client_order_ids_table: str, now: Clock, lease: timedelta) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._client_order_ids_table = client_order_ids_table
        self._now = now
        self._lease = lease

    def create(self, record: OrderRecord, fingerprint: str) -> OrderRecord:
        item = {
            **key_of(record.order.order_id),
            "fingerprint": {"S": fingerprint},
            "owner": {"S": record.order.owner},
            "order": {"S": record.order.model_copy(update={"owner": PUBLIC}).to_json()},
            "events": {"L": [{"S": record.last.to_json()}]},
            "subscribers": {"M": {}},
            **status_attributes(record),
            **live_attributes(record),
        }
        if record.order.client_order_id is None:
            self._put(item)
            return record
        holder = self._put_with_key(record, item)
        if holder is None:
            return record
        if holder["fingerprint"] != item["fingerprint"]:
            raise ClientOrderIdReused(record.order.client_order_id)
        try:
            return self.read(UUID(holder["orderId"]["S"]))
        except UnknownOrder as missing:
            # Its write may be half seen yet. Never create another order for the key: this one may be executed.
            raise ServiceUnavailable(f"journal: order {missing} of a clientOrderId can't be seen") from missing

    def read(self, order_id: UUID) -> OrderRecord:
        with service_errors("journal", DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key=key_of(order_id), ConsistentRead=True)
        if "Item" not in response:
            raise UnknownOrder(str(order_id))
        return record_of(response["Item"])

    def named(self, owner: str, client_order_id: str) -> UUID | None:
        with service_errors("journal", DYNAMODB):
            response = self._dynamodb.get_item(
                TableName=self._client_order_ids_table, Key=_client_key(owner, client_order_id), ConsistentRead=True
            )
        return UUID(response["Item"]["orderId"]["S"]) if "Item" in response else None

    def withdraw(self, order_id: UUID) -> bool:
        """A withdrawn order's key stays taken."""
        with service_errors("journal", DYNAMODB):
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=key_of(order_id),
                    ConditionExpression=(
                        "#sequence = :first AND attribute_not_exists(leaseOwner) AND attribute_not_exists(takenFrom)"
                    ),
                    ExpressionAttributeNames={"#sequence": "sequence"},
                    ExpressionAttributeValues={":first": {"N": "1"}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise
                return not error.response.get("Item")  # gone already: this call's first try, whose response was lost
        return True

    def decide(self, record: OrderRecord) -> bool:
        event = {"S": record.last.to_json()}
        decided, item = update_if(
            self._dynamodb.update_item,
            "journal",
            TableName=self._table,
            Key=key_of(record.order.order_id),
            UpdateExpression=(
                "SET events = list_append(events, :event), #sequence = :sequence, #status = :status, "
                "behind = :behind, live = :live, placed = :placed "
                "REMOVE leaseOwner, leaseUntil, notBefore, watch, watchPrice"
            ),
            ConditionExpression="#sequence = :before AND attribute_not_exists(#transaction)",
            ExpressionAttributeNames={name: name[1:] for name in ("#sequence", "#status", "#transaction")},
            ExpressionAttributeValues={
                ":event": {"L": [event]},
                ":sequence": {"N": str(record.sequence)},
                ":status": {"S": record.status},
                ":behind": {"BOOL": True},
                ":before": {"N": str(record.sequence - 1)},
                **{f":{name}": value for name, value in live_attributes(record).items()},
            },
        )
        return decided or event in item.get("events", {"L": []})["L"]  # in it: our own write, repeated by botocore

    def claim(self, order_id: UUID) -> Claim:
        owner, now = str(uuid4()), self._now()
        with service_errors("journal", DYNAMODB):
            try:
                response = self._dynamodb.update_item(
                    TableName=self._table,
                    Key=key_of(order_id),
                    UpdateExpression=(
                        "SET leaseOwner = :owner, leaseUntil = :until, takenFrom = if_not_exists(leaseOwner, :nobody) "
                        "REMOVE notBefore"
                    ),
                    ConditionExpression=(
                        "attribute_exists(orderId) AND attribute_not_exists(closed) "
                        "AND (attribute_not_exists(leaseOwner) OR leaseUntil < :now) "
                        "AND (attribute_not_exists(notBefore) OR notBefore <= :now)"
                    ),
                    ExpressionAttributeValues={
                        ":owner": {"S": owner},
                        ":until": in_milliseconds(now + self._lease),
                        ":nobody": NOBODY,
                        ":now": in_milliseconds(now),
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
                item: dict[str, Any] = response["Attributes"]
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise
                item = error.response.get("Item", {})
                if item.get("leaseOwner") != {"S": owner}:  # else: our own write, repeated by botocore
                    raise _refusal(order_id, item, milliseconds(now)) from error
        return Claim(record_of(item), owner, interrupted=item["takenFrom"] != NOBODY)

    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        sets = ["events = list_append(events, :event)", "#sequence = :sequence", "#status = :status"]
        sets += ["attempt = :attempt", "errors = :errors", "behind = :behind"]
        event = {"S": record.last.to_json()}
        values = {
            ":event": {"L": [event]},
            ":before": {"N": str(record.sequence - 1)},
            **{f":{name}": value for name, value in status_attributes(record).items()},
        }
        if record.transaction is not None:
            sets.append("#transaction = :transaction")
        price = price_attributes(record)
        index = {**live_attributes(record), **price}
        sets += [f"{name} = :{name}" for name in index]
        values |= {f":{name}": value for name, value in index.items()}
        update = "SET " + ", ".join(sets) + ("" if price else " REMOVE watch, watchPrice")
        written, item = self._update(claim, update, values, " AND #sequence = :before")
        ours = item.get("leaseOwner") == {"S": claim.owner} and item["events"]["L"][-1] == event
        if not written and not ours:  # `ours`: our own write, repeated by botocore
            raise LeaseLost(str(record.order.order_id))
        seen = replace(record, subscribers=subscribers_of(item), crowded=is_set(item, "crowded"))
        return Claim(seen, claim.owner, interrupted=False)

    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        sets = ["errors = :errors", "behind = :behind", "releasedBy = :owner"]
        standing = status_attributes(claim.record)
        values = {":errors": standing["errors"], ":behind": standing["behind"]}
        if claim.record.misses:
            sets.append("misses = :misses")
            values[":misses"] = {"N": str(claim.record.misses)}
        if not_before is not None:
            sets.append("notBefore = :not_before")
            values[":not_before"] = in_milliseconds(not_before)
        if closed:
            sets += ["closed = :closed", "expiresAt = :expires_at"]
            values |= {":closed": {"BOOL": True}, ":expires_at": in_seconds(self._now() + KEPT)}
        update = "SET " + ", ".join(sets) + " REMOVE leaseOwner, leaseUntil" + (", live, placed" if closed else "")
        written, item = self._update(claim, update, values)
        ours = "leaseOwner" not in item and item.get("releasedBy") == {"S": claim.owner}
        if not written and not ours:  # `ours`: our own write, repeated by botocore
            raise LeaseLost(str(claim.record.order.order_id))

    def _put(self, item: dict[str, Any]) -> None:
        """Write an order without a key. Its id is random: if it exists, botocore has repeated this very write."""
        with service_errors("journal", DYNAMODB):
            try:
                self._dynamodb.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(orderId)"
                )
            except ClientError as error:
                if code_of(error) != _CONDITION_FAILED:
                    raise

    def _put_with_key(self, record: OrderRecord, item: dict[str, Any]) -> dict[str, Any] | None:
        """Write an order and its key. If the key is taken, write nothing and return its item.

        botocore gives each call a ClientRequestToken, the same for all its tries, so that a try whose response was lost
        is not made twice."""
        take_key = {
            "Put": {
                "TableName": self._client_order_ids_table,
                "Item": {
                    **_client_key(record.order.owner, str(record.order.client_order_id)),
                    "orderId": item["orderId"],
                    "fingerprint": item["fingerprint"],
                    "expiresAt": in_seconds(record.order.created_at + KEY_LIFETIME),
                },
                "ConditionExpression": "attribute_not_exists(id) OR expiresAt < :now",
                "ExpressionAttributeValues": {":now": in_seconds(self._now())},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        put_order = {
            "Put": {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(orderId)"}
        }
        # An earlier release derived the orderId from the key, and wrote no record of it. It had one owner.
        derived = uuid5(_EARLIER_KEYS, str(record.order.client_order_id))
        check_earlier = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": key_of(derived),
                "ConditionExpression": "attribute_not_exists(orderId)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        earlier = [check_earlier] if record.order.owner == PUBLIC else []
        with service_errors("journal", CONTENDED):
            try:
                retry_on_conflict(self._dynamodb.transact_write_items, TransactItems=[take_key, *earlier, put_order])
            except ClientError as error:
                reasons = error.response.get("CancellationReasons", [])
                holders: list[dict[str, Any]] = [reason["Item"] for reason in reasons if reason.get("Item")]
                if not holders:
                    raise
                return holders[0]
        return None

    def _update(
        self, claim: Claim, update: str, values: dict[str, Any], condition: str = ""
    ) -> tuple[bool, dict[str, Any]]:
        """Update under the lease, if the condition holds. Return whether it did, and the item as it is then."""
        return update_if(
            self._dynamodb.update_item,
            "journal",
            TableName=self._table,
            Key=key_of(claim.record.order.order_id),
            UpdateExpression=update,
            ConditionExpression="leaseOwner = :owner" + condition,
            ExpressionAttributeNames={
                name: name[1:] for name in ("#sequence", "#status", "#transaction") if name in update + condition
            },
            ExpressionAttributeValues={":owner": {"S": claim.owner}, **values},
        )


def _client_key(owner: str, client_order_id: str) -> dict[str, Any]:
    return {"id": {"S": f"{owner}#{client_order_id}"}}


def _refusal(order_id: UUID, item: dict[str, Any], now: int) -> UnknownOrder | OrderClosed | NotNow:
    """Return why an order can't be claimed now (epoch milliseconds); `item` is empty if there is no such order."""
    if not item:
        return UnknownOrder(str(order_id))
    if "closed" in item:
        return OrderClosed(str(order_id))
    if "leaseOwner" in item and int(item["leaseUntil"]["N"]) >= now:
        return LeaseHeld(order_id, moment_of(item["leaseUntil"]))
    return BackingOff(order_id, moment_of(item["notBefore"]))
