"""Requests for `notify`: asynchronous invocations of the function."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from order_engine.adapters.aws import service_errors
from order_engine.domain.subscriber import Subscriber
from order_engine.limits import INVOKE

_EPOCH = datetime.fromtimestamp(0, UTC)


class LambdaNotifyRequests:
    """Implements `ports.NotifyRequests`."""

    def __init__(self, lambda_: Any, function: str) -> None:
        self._lambda = lambda_
        self._function = function

    def send(self, subscriber: Subscriber) -> None:
        with service_errors("notify function", INVOKE):
            self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=event_for(subscriber))


def event_for(subscriber: Subscriber) -> str:
    """Return the event that `notify` is invoked with."""
    return json.dumps(
        {
            "orderId": str(subscriber.order_id),
            "connectionId": subscriber.connection_id,
            "generation": subscriber.generation,
            "page": subscriber.page,
        }
    )


def subscriber_of(event: dict[str, Any]) -> Subscriber:
    """Return the subscriber of an event of `event_for`; only its order, connection, generation and page are valid.

    Raises KeyError or ValueError for another event."""
    return Subscriber(
        order_id=UUID(event["orderId"]),
        connection_id=str(event["connectionId"]),
        connected_at=_EPOCH,
        generation=int(event["generation"]),
        page=int(event.get("page", 0)),  # an earlier release's events have none
    )
