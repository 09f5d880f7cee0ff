"""The orders that are not closed, by owner: the journal's index `Live`, which `item` describes."""

from datetime import datetime
from typing import Any

from order_engine.adapters.aws import service_errors
from order_engine.adapters.journal.item import place_name, place_named, record_of
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.record import OrderRecord
from order_engine.domain.summary import Position
from order_engine.limits import DYNAMODB

LIVE = "Live"
_MOST_ITEMS = 100  # of one BatchGetItem
_ROUNDS = 3  # for items that DynamoDB leaves out of its response
_LAST_PLACE = "~"  # after every position, as text


class DynamoLiveOrders:
    """Implements `ports.LiveOrders`."""

    def __init__(self, dynamodb: Any, journal_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = journal_table

    def page(
        self, owner: str, after: Position | None, since: datetime | None, most: int
    ) -> tuple[list[OrderRecord], Position | None]:
        low = since.isoformat(timespec="microseconds") if since else "0"
        high = place_name(after) if after else _LAST_PLACE
        if low >= high:
            return [], None
        with service_errors("journal", DYNAMODB):
            page = self._dynamodb.query(
                TableName=self._table,
                IndexName=LIVE,
                KeyConditionExpression="live = :live AND placed BETWEEN :low AND :high",
                ExpressionAttributeValues={
                    ":live": {"S": owner},
                    ":low": {"S": low},
                    ":high": {"S": high},
                },
                ScanIndexForward=False,
                Limit=most + 1,  # `after` itself may be among them
            )
        places = [item for item in page["Items"] if item["placed"]["S"] != high]
        seen = places[:most]
        items = self._read([{"orderId": item["orderId"]} for item in seen])
        records = [record_of(items[item["orderId"]["S"]]) for item in seen if item["orderId"]["S"] in items]
        more = len(places) > most or "LastEvaluatedKey" in page
        return records, place_named(seen[-1]["placed"]["S"]) if more and seen else None

    def some(self, most: int) -> list[OrderRecord]:
        """Return orders of all owners, in no order and at most so many: an operator's. May raise ServiceUnavailable."""
        with service_errors("journal", DYNAMODB):
            page = self._dynamodb.scan(TableName=self._table, IndexName=LIVE, Limit=most)
        return [record_of(item) for item in self._read([{"orderId": one["orderId"]} for one in page["Items"]]).values()]

    def _read(self, keys: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the items that are there, by orderId."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _MOST_ITEMS):
            wanted = {self._table: {"Keys": keys[start : start + _MOST_ITEMS], "ConsistentRead": True}}
            for _ in range(_ROUNDS):
                with service_errors("journal", DYNAMODB):
                    response = self._dynamodb.batch_get_item(RequestItems=wanted)
                found |= {item["orderId"]["S"]: item for item in response["Responses"].get(self._table, [])}
                wanted = response.get("UnprocessedKeys", {})
                if not wanted:
                    break
            else:
                raise ServiceUnavailable("journal: it did not return every order")
        return found
