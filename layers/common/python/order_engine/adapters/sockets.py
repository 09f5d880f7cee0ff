"""The WebSocket side of API Gateway: posting to a connection, and closing it, by its management API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from order_engine import limits
from order_engine.adapters.aws import code_of
from order_engine.domain.errors import SocketGone, SocketUnreachable


class GatewaySockets:
    """Implements `ports.Sockets`."""

    def __init__(self, management_api: Any) -> None:
        self._api = management_api

    def post(self, connection_id: str, message: str) -> None:
        with _socket_errors(connection_id, limits.POST):
            self._api.post_to_connection(ConnectionId=connection_id, Data=message.encode())

    def close(self, connection_id: str) -> bool:
        try:
            with _socket_errors(connection_id, limits.CLOSE):
                self._api.delete_connection(ConnectionId=connection_id)
        except SocketGone:
            return False
        return True


@contextmanager
def _socket_errors(connection_id: str, seconds: float) -> Iterator[None]:
    """Guard one call that may take so many seconds, and translate the SDK's errors."""
    limits.require("socket", seconds)
    try:
        yield
    except ClientError as error:
        if code_of(error) in ("GoneException", "410"):
            raise SocketGone(connection_id) from error
        raise SocketUnreachable(f"{connection_id}: {error}") from error
    except BotoCoreError as fault:
        raise SocketUnreachable(f"{connection_id}: {fault}") from fault
