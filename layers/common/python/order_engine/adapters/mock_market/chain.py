"""The mock chain, in DynamoDB: it outlives the workers.

Items have the key `id`: one for each transaction (its txHash) and, while one of an order's transactions can land or has
landed, a guard `order#<orderId>` that names it, so that an order lands at most once. A transaction's `state` goes
from `sent` to `landed`, `reverted` or `dead` by a conditional write, once and for good.

As on a real chain, only time drops a transaction: it lands at its time, if that is within its validity, and otherwise
never. It can be declared dead only after its validity has passed.

A token that was launched by a command has an item `launch#<symbol>`; `opensAt` is when its pools open, on all venues.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from order_engine import limits
from order_engine.adapters.aws import CONTENDED, code_of, retry_on_conflict, service_errors
from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import FailureCode
from order_engine.domain.swaps import Dropped, Ended, InFlight, Landed, NotFound, Reverted, Transaction


@dataclass(frozen=True)
class Execution:
    """What a transaction would give, and when it lands if it is still valid then."""

    lands_at: datetime
    amount_out: Decimal
    executed_price: Decimal


@dataclass(frozen=True)
class Sent:
    """A transaction that was sent and has not ended; it never lands if its validity passes before its time."""

    tx_hash: str
    lands_at: datetime | None
    ends_as: str  # the state that it lands in


class MockChain:
    """A ledger that the mock venues share. The caller passes the time."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def send(self, transaction: Transaction, execution: Execution, now: datetime) -> Sent | Ended | NotFound:
        """Accept a transaction and return its state.

        Nothing changes if it is known already (sent, ended or dead), if it is no longer valid, or if its order has
        another one that can land.
        """
        if _has_passed(transaction, now):
            return self.look_up(transaction.tx_hash)
        item = {
            **_key(transaction.tx_hash),
            "orderId": {"S": str(transaction.order_id)},
            "venue": {"S": transaction.venue},
            "state": {"S": "sent"},
            "amountOut": {"S": to_wire(execution.amount_out)},
            "executedPrice": {"S": to_wire(execution.executed_price)},
        }
        if not _has_passed(transaction, execution.lands_at):
            item["landsAt"] = {"N": str(_milliseconds(execution.lands_at))}
        if refusal := refusal_of(transaction, execution):
            item["reverted"] = {"S": refusal}
        guard = {**_guard(transaction), "txHash": {"S": transaction.tx_hash}}
        absent = {"TableName": self._table, "ConditionExpression": "attribute_not_exists(id)"}
        taken = self._transact({"Put": {**absent, "Item": item}}, {"Put": {**absent, "Item": guard}})
        return _standing(item) if taken else self.look_up(transaction.tx_hash)

    def look_up(self, tx_hash: str) -> Sent | Ended | NotFound:
        """Return the state of a transaction."""
        with service_errors("chain", limits.DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key=_key(tx_hash), ConsistentRead=True)
        item = response.get("Item")
        return NotFound() if item is None else _standing(item)

    def land(self, transaction: Sent) -> Ended:
        """End a transaction whose time has come, unless it has ended already. Return how it ended."""
        with service_errors("chain", CONTENDED):
            try:
                response = retry_on_conflict(
                    self._dynamodb.update_item,
                    Key=_key(transaction.tx_hash),
                    **self._ending(transaction.ends_as),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return _ended(error.response["Item"])
        return _ended(response["Attributes"])

    def declare_dead(self, transaction: Transaction, now: datetime) -> Ended | InFlight:
        """See to it that a transaction which has not landed never will. Return InFlight while it is valid: until then
        nothing stops it, whether it was seen or not."""
        found = self.look_up(transaction.tx_hash)
        if isinstance(found, Sent) and found.lands_at and found.lands_at <= now:
            return self.land(found)
        if not isinstance(found, Sent | NotFound):
            return found
        if not _has_passed(transaction, now):
            return InFlight()
        died = self._forestall(transaction) if isinstance(found, NotFound) else self._stop(transaction)
        return Dropped() if died else self.declare_dead(transaction, now)  # it has arrived or ended meanwhile

    def launch(self, symbol: str, at: datetime) -> datetime:
        """Open the pools of a token that launches, at a moment. Return when they open: the first launch holds."""
        item = {**_launch(symbol), "opensAt": {"N": str(_milliseconds(at))}}
        with service_errors("chain", limits.DYNAMODB):
            try:
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(id)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                item = error.response["Item"]
        return _moment(item["opensAt"])

    def opens_at(self, symbol: str) -> datetime | None:
        """Return the moment for which a token was launched; None if it was not."""
        with service_errors("chain", limits.DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key=_launch(symbol), ConsistentRead=True)
        return _moment(response["Item"]["opensAt"]) if "Item" in response else None

    def _forestall(self, transaction: Transaction) -> bool:
        """Record a transaction that was never seen as dead. Return False if it was seen meanwhile."""
        dead = {**_key(transaction.tx_hash), "orderId": {"S": str(transaction.order_id)}, "state": {"S": "dead"}}
        return self._transact(
            {"Put": {"TableName": self._table, "ConditionExpression": "attribute_not_exists(id)", "Item": dead}}
        )

    def _stop(self, transaction: Transaction) -> bool:
        """End a transaction in flight as dead, and make room for the order's next one. Return False if it has ended."""
        return self._transact(
            {"Update": {"Key": _key(transaction.tx_hash), **self._ending("dead")}},
            {"Delete": {"TableName": self._table, "Key": _guard(transaction)}},
        )

    def _ending(self, state: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "UpdateExpression": "SET #state = :state",
            "ConditionExpression": "#state = :sent",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":state": {"S": state}, ":sent": {"S": "sent"}},
        }

    def _transact(self, *actions: dict[str, Any]) -> bool:
        """Write all or nothing, with retries on conflict. Return False if a condition did not hold."""
        with service_errors("chain", CONTENDED):
            try:
                retry_on_conflict(self._dynamodb.transact_write_items, TransactItems=list(actions))
            except ClientError as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if code_of(error) == "TransactionCanceledException" and "ConditionalCheckFailed" in reasons:
                    return False
                raise
        return True


def refusal_of(transaction: Transaction, execution: Execution) -> str | None:
    """Return why the chain refuses a swap, if it does: it would give less than its floor, or nothing at all."""
    if execution.amount_out <= 0:
        return f"the swap would give no {transaction.token_out}"
    if execution.amount_out >= transaction.min_amount_out:
        return None
    return (
        f"the swap would give {to_wire(execution.amount_out)} {transaction.token_out}, "
        f"less than minAmountOut {to_wire(transaction.min_amount_out)}"
    )


def _has_passed(transaction: Transaction, moment: datetime) -> bool:
    """Return whether the validity is over. A transaction of an earlier release has none: it is."""
    return transaction.valid_until is None or moment > transaction.valid_until


def _standing(item: dict[str, Any]) -> Sent | Ended:
    if item["state"]["S"] != "sent":
        return _ended(item)
    lands_at = _moment(item["landsAt"]) if "landsAt" in item else None
    return Sent(item["id"]["S"], lands_at, "reverted" if "reverted" in item else "landed")


def _ended(item: dict[str, Any]) -> Ended:
    match item["state"]["S"]:
        case "landed":
            return Landed(Decimal(item["amountOut"]["S"]), Decimal(item["executedPrice"]["S"]))
        case "reverted":
            return Reverted(item["reverted"]["S"], FailureCode.SLIPPAGE_EXCEEDED)
        case _:
            return Dropped()


def _key(tx_hash: str) -> dict[str, Any]:
    return {"id": {"S": tx_hash}}


def _guard(transaction: Transaction) -> dict[str, Any]:
    return {"id": {"S": f"order#{transaction.order_id}"}}


def _launch(symbol: str) -> dict[str, Any]:
    return {"id": {"S": f"launch#{symbol}"}}


def _moment(number: dict[str, str]) -> datetime:
    return datetime.fromtimestamp(int(number["N"]) / 1000, UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
