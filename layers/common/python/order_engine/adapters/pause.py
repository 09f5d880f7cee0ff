"""Whether the engine is paused: an item of the watchlist's table, there from `pause` to `resume`, with since (RFC 3339)
and by.

Its key is `watch` / `stopped`, and it has an empty `runner`: a watcher that reads who watches finds this item last, and
that it is not itself. So every watcher rests, one of an earlier release too, without a call of its own.
"""

from datetime import datetime
from typing import Any

from order_engine.adapters.aws import service_errors
from order_engine.limits import DYNAMODB
from order_engine.ports import Pause

_PAUSE = {"kind": {"S": "watch"}, "name": {"S": "stopped"}}


class DynamoPauses:
    """Implements `ports.Pauses`, and what an operator does. Any method may raise ServiceUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def read(self) -> Pause | None:
        with service_errors("pause", DYNAMODB):
            response = self._dynamodb.get_item(TableName=self._table, Key=_PAUSE, ConsistentRead=True)
        return _pause(response["Item"]) if "Item" in response else None

    # --- an operator's ------------------------------------------------------------------------------------------------

    def pause(self, at: datetime, by: str) -> Pause:
        """Pause the engine, and return since when it is and by whom: a pause that there is stays as it is."""
        with service_errors("pause", DYNAMODB):
            response = self._dynamodb.update_item(
                TableName=self._table,
                Key=_PAUSE,
                UpdateExpression="SET runner = :nobody, since = if_not_exists(since, :at), "
                "#by = if_not_exists(#by, :by)",
                ExpressionAttributeNames={"#by": "by"},
                ExpressionAttributeValues={":nobody": {"S": ""}, ":at": {"S": at.isoformat()}, ":by": {"S": by}},
                ReturnValues="ALL_NEW",
            )
        return _pause(response["Attributes"])

    def resume(self) -> None:
        """End the pause; without one nothing happens."""
        with service_errors("pause", DYNAMODB):
            self._dynamodb.delete_item(TableName=self._table, Key=_PAUSE)


def _pause(item: dict[str, Any]) -> Pause:
    return Pause(datetime.fromisoformat(item["since"]["S"]), item["by"]["S"])
