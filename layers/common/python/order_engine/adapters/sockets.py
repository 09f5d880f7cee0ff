"""The WebSocket side of API Gateway: posting to a connection by its management API."""

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
        limits.require("socket", limits.POST)
        try:
            self._api.post_to_connection(ConnectionId=connection_id, Data=message.encode())
        except ClientError as error:
            if code_of(error) in ("GoneException", "410"):
                raise SocketGone(connection_id) from error
            raise SocketUnreachable(f"{connection_id}: {error}") from error
        except BotoCoreError as fault:
            raise SocketUnreachable(f"{connection_id}: {fault}") from fault
