"""The owners' quotas in DynamoDB: an item each (`quota#<owner>`, beside the API keys)."""

from typing import Any

from order_engine.adapters.buckets import DynamoBuckets
from order_engine.domain.quota import Allowance, Quota
from order_engine.ports import Clock


class DynamoQuotas(DynamoBuckets):
    """Implements `ports.Quotas`."""

    def __init__(self, dynamodb: Any, table: str, quota: Quota, now: Clock) -> None:
        super().__init__(dynamodb, "quotas", table, "keyId", quota, now)

    def take(self, owner: str) -> Allowance:
        return self._take(f"quota#{owner}")[0]
