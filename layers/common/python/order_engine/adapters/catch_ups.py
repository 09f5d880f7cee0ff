"""Asking for a subscriber to be brought up to date: an asynchronous invocation of the notify function."""

import json
from typing import Any
from uuid import UUID

from order_engine.aws import reaching
from order_engine.orders import Subscriber


class LambdaCatchUps:
    """Implements `ports.CatchUps`."""

    def __init__(self, lambda_: Any, function: str) -> None:
        self._lambda = lambda_
        self._function = function

    def request(self, subscriber: Subscriber) -> None:
        """See `ports.CatchUps`."""
        with reaching("notify function"):
            self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=event_for(subscriber))


def event_for(subscriber: Subscriber) -> str:
    """The event that `notify` is invoked with."""
    return json.dumps(
        {
            "orderId": str(subscriber.order_id),
            "connectionId": subscriber.connection_id,
            "generation": subscriber.generation,
        }
    )


def wanted_by(event: dict[str, Any]) -> tuple[UUID, str, int]:
    """The order, the connection and its generation that an event of `event_for` is about.

    Raises KeyError or ValueError for another event."""
    return UUID(event["orderId"]), str(event["connectionId"]), int(event["generation"])
