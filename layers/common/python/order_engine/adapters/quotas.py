"""The owners' quotas in DynamoDB: an item each (`quota#<owner>`, beside the API keys) with `arrival`, in epoch
milliseconds."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from order_engine import limits
from order_engine.adapters.aws import code_of, service_errors
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.quota import Allowance, Quota

_TRIES = 4  # others may be quicker


class DynamoQuotas:
    """Implements `ports.Quotas`: one conditional write a request as a rule, none for a while after a denial."""

    def __init__(self, dynamodb: Any, table: str, quota: Quota, now: Callable[[], datetime]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._quota = quota
        self._now = now
        self._arrivals: dict[str, int] = {}  # as last seen

    def take(self, owner: str) -> Allowance:
        now, quota = int(self._now().timestamp() * 1000), self._quota
        for _ in range(_TRIES):
            known = self._arrivals.get(owner, 0)
            if known > quota.latest(now):
                return quota.denied(now, known)  # others can only have moved it on
            taken, self._arrivals[owner] = self._move(owner, now, ahead=known > now)
            if taken:
                return quota.allowed(now, self._arrivals[owner])
        raise ServiceUnavailable(f"quotas: {_TRIES} times others were quicker")

    def _move(self, owner: str, now: int, ahead: bool) -> tuple[bool, int]:
        """Move the arrival time by one request: on from where it is, if that is `ahead` of now and not too far; from
        now, if it is not. Return whether it was moved, and where it is."""
        if ahead:
            update = "SET arrival = arrival + :interval"
            condition = "arrival > :now AND arrival <= :latest"
            values = {":interval": self._quota.interval, ":now": now, ":latest": self._quota.latest(now)}
        else:
            update = "SET arrival = :next"
            condition = "attribute_not_exists(arrival) OR arrival <= :now"
            values = {":next": now + self._quota.interval, ":now": now}
        with service_errors("quotas", limits.DYNAMODB):
            try:
                response = self._dynamodb.update_item(
                    TableName=self._table,
                    Key={"keyId": {"S": f"quota#{owner}"}},
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={name: {"N": str(value)} for name, value in values.items()},
                    ReturnValues="UPDATED_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if code_of(error) != "ConditionalCheckFailedException":
                    raise
                item = error.response.get("Item", {})
                return False, int(item.get("arrival", {"N": "0"})["N"])
        return True, int(response["Attributes"]["arrival"]["N"])
