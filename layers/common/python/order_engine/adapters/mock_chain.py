"""The mock chain, in DynamoDB: what a worker forgets in a crash, the chain still knows.

Items have the key `id`: one for each transaction (its txHash) and, while one of an order's transactions can land or has
landed, a guard `order#<orderId>` that names it, so that an order lands at most once. A transaction's `state` goes
from `sent` to `landed`, `reverted` or `dead` by a conditional write, once and for good.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

from order_engine.amounts import to_wire
from order_engine.aws import code_of, reaching, uncontended
from order_engine.orders import Landed, Outlook, Reverted, Transaction, TransactionStatus


@dataclass(frozen=True)
class Execution:
    """How a transaction will end, and when, unless it is declared dead before."""

    lands_at: datetime
    amount_out: Decimal
    executed_price: Decimal
    reverted: str | None  # the reason, where the chain will refuse the swap

    @property
    def ends_as(self) -> str:
        """The state that it ends in."""
        return "reverted" if self.reverted else "landed"


@dataclass(frozen=True)
class Pending:
    """A transaction that was sent and has not ended."""

    tx_hash: str
    lands_at: datetime
    ends_as: str


class MockChain:
    """A ledger that the mock venues share."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def send(self, transaction: Transaction, execution: Execution) -> Pending | None:
        """Takes a transaction in. One that is known already (sent, ended or dead), or whose order has another one that
        can land, changes nothing, and None is answered."""
        item = {
            **_key(transaction.tx_hash),
            "orderId": {"S": str(transaction.order_id)},
            "venue": {"S": transaction.venue},
            "state": {"S": "sent"},
            "landsAt": {"N": str(_milliseconds(execution.lands_at))},
            "amountOut": {"S": to_wire(execution.amount_out)},
            "executedPrice": {"S": to_wire(execution.executed_price)},
        }
        if execution.reverted:
            item["reverted"] = {"S": execution.reverted}
        guard = {**_guard(transaction), "txHash": {"S": transaction.tx_hash}}
        absent = {"TableName": self._table, "ConditionExpression": "attribute_not_exists(id)"}
        taken = self._transact({"Put": {**absent, "Item": item}}, {"Put": {**absent, "Item": guard}})
        return Pending(transaction.tx_hash, execution.lands_at, execution.ends_as) if taken else None

    def look_up(self, tx_hash: str) -> TransactionStatus | Pending:
        """How a transaction stands."""
        with reaching("chain"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(tx_hash), ConsistentRead=True)
        item = answer.get("Item")
        if item is None:
            return Outlook.UNKNOWN
        if item["state"]["S"] == "sent":
            lands_at = datetime.fromtimestamp(int(item["landsAt"]["N"]) / 1000, UTC)
            return Pending(tx_hash, lands_at, "reverted" if "reverted" in item else "landed")
        return _ended(item)

    def land(self, pending: Pending) -> TransactionStatus:
        """Ends a transaction whose time has come, unless it has been declared dead; answers how it ended."""
        with reaching("chain"):
            try:
                answer = self._dynamodb.update_item(
                    Key=_key(pending.tx_hash),
                    **self._ending(pending.ends_as),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                return _ended(error.response["Item"])
        return _ended(answer["Attributes"])

    def declare_dead(self, transaction: Transaction, now: datetime) -> TransactionStatus:
        """Sees to it that a transaction whose time has not come never lands; answers how it ended."""
        dead = {**_key(transaction.tx_hash), "orderId": {"S": str(transaction.order_id)}, "state": {"S": "dead"}}
        if self._transact(
            {"Put": {"TableName": self._table, "ConditionExpression": "attribute_not_exists(id)", "Item": dead}}
        ):
            return Outlook.DEAD
        status = self.look_up(transaction.tx_hash)
        if not isinstance(status, Pending):
            return status
        if status.lands_at <= now:
            return self.land(status)
        died = self._transact(
            {"Update": {"Key": _key(transaction.tx_hash), **self._ending("dead")}},
            {"Delete": {"TableName": self._table, "Key": _guard(transaction)}},
        )
        return Outlook.DEAD if died else self.land(status)  # somebody else has ended it: `land` says how

    def _ending(self, state: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "UpdateExpression": "SET #state = :state",
            "ConditionExpression": "#state = :sent",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":state": {"S": state}, ":sent": {"S": "sent"}},
        }

    def _transact(self, *actions: dict[str, Any]) -> bool:
        """Writes all or nothing; False when a condition did not hold. Contention with another caller is repeated."""
        with reaching("chain"):
            try:
                uncontended(self._dynamodb.transact_write_items, TransactItems=list(actions))
            except ClientError as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", [])]
                if code_of(error) == "TransactionCanceledException" and "ConditionalCheckFailed" in reasons:
                    return False
                raise
        return True


def _ended(item: dict[str, Any]) -> TransactionStatus:
    match item["state"]["S"]:
        case "landed":
            return Landed(Decimal(item["amountOut"]["S"]), Decimal(item["executedPrice"]["S"]))
        case "reverted":
            return Reverted(item["reverted"]["S"])
        case _:
            return Outlook.DEAD


def _key(tx_hash: str) -> dict[str, Any]:
    return {"id": {"S": tx_hash}}


def _guard(transaction: Transaction) -> dict[str, Any]:
    return {"id": {"S": f"order#{transaction.order_id}"}}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
