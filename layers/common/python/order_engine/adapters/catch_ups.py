"""Asking for a subscriber to be brought up to date: an asynchronous invocation of the notify function."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from order_engine.aws import reaching
from order_engine.ports import Connection


class LambdaCatchUps:
    """Implements `ports.CatchUps`."""

    def __init__(self, lambda_: Any, function: str) -> None:
        self._lambda = lambda_
        self._function = function

    def request(self, connection: Connection) -> None:
        """See `ports.CatchUps`."""
        with reaching("notify function"):
            self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=event_for(connection))


def event_for(connection: Connection) -> str:
    """The event that `notify` is invoked with."""
    return json.dumps(
        {
            "orderId": str(connection.order_id),
            "connectionId": connection.connection_id,
            "generation": connection.generation,
            "connectedAt": connection.connected_at.isoformat(),
        }
    )


def connection_of(event: dict[str, Any]) -> Connection:
    """The connection that an event of `event_for` is about. Raises KeyError or ValueError for another event."""
    return Connection(
        order_id=UUID(event["orderId"]),
        connection_id=event["connectionId"],
        sent_through=0,
        live_after=None,
        generation=int(event["generation"]),
        connected_at=datetime.fromisoformat(event["connectedAt"]),
    )
