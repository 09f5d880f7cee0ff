"""Asking for a subscriber to be brought up to date: an asynchronous invocation of the notify function."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from order_engine.aws import reaching
from order_engine.limits import INVOKE
from order_engine.orders import Subscriber

_EPOCH = datetime.fromtimestamp(0, UTC)


class LambdaCatchUps:
    """Implements `ports.CatchUps`."""

    def __init__(self, lambda_: Any, function: str) -> None:
        self._lambda = lambda_
        self._function = function

    def request(self, subscriber: Subscriber) -> None:
        """See `ports.CatchUps`."""
        with reaching("notify function", INVOKE):
            self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=event_for(subscriber))


def event_for(subscriber: Subscriber) -> str:
    """The event that `notify` is invoked with."""
    return json.dumps(
        {
            "orderId": str(subscriber.order_id),
            "connectionId": subscriber.connection_id,
            "generation": subscriber.generation,
            "page": subscriber.page,
        }
    )


def wanted_by(event: dict[str, Any]) -> Subscriber:
    """The subscriber that an event of `event_for` is about; only its order, connection, generation and page count.

    Raises KeyError or ValueError for another event."""
    return Subscriber(
        order_id=UUID(event["orderId"]),
        connection_id=str(event["connectionId"]),
        connected_at=_EPOCH,
        generation=int(event["generation"]),
        page=int(event.get("page", 0)),  # an earlier release's events have none
    )
