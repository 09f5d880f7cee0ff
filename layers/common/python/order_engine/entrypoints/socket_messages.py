"""What a client says on the WebSocket: the query of its handshake, and its messages."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from order_engine.domain.errors import FieldError, InvalidRequest
from order_engine.observability import logger
from order_engine.use_cases.subscribe import Subscription


@dataclass(frozen=True)
class Ping:
    """`{"action":"ping"}`"""


@dataclass(frozen=True)
class Replay:
    """`{"action":"replay","after":n}`"""

    after: int


def parse_query(query: dict[str, str]) -> tuple[UUID, int]:
    """Return the orderId of a handshake, and after which status the client wants to go on (0: from the first).

    Raises InvalidRequest.
    """
    text = query.get("orderId")
    if not text:
        raise _invalid("orderId", "is required: connect with ?orderId=<the orderId of the 202 answer>")
    try:
        order_id = UUID(text)
    except ValueError as fault:
        raise _invalid("orderId", "must be a UUID") from fault
    return order_id, _after(query.get("after") or "0")


def answer(subscription: Subscription, connection_id: str, text: str) -> None:
    """Do what a message asks for. Whatever is wrong with it is said on the socket, and changes nothing else."""
    logger.info("message received", extra={"connectionId": connection_id, "length": len(text)})
    try:
        match _parse(text):
            case Ping():
                subscription.pong(connection_id)
            case Replay(after=after):
                subscription.replay(connection_id, after)
    except InvalidRequest as refusal:
        subscription.refuse(connection_id, refusal)


def _parse(text: str) -> Ping | Replay:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InvalidRequest("INVALID_JSON", "a message must be JSON") from fault
    if not isinstance(message, dict):
        raise InvalidRequest("INVALID_JSON", "a message must be a JSON object")
    match message:
        case {"action": "ping"}:
            return Ping()
        case {"action": "replay"}:
            after: Any = message.get("after", 0)
            return Replay(_after("" if isinstance(after, bool) else str(after)))
    raise InvalidRequest("UNKNOWN_ACTION", 'action must be "ping" or "replay"')


def _after(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _invalid("after", "must be a sequence number, 0 or more")
    return int(text)


def _invalid(field: str, message: str) -> InvalidRequest:
    return InvalidRequest("INVALID_FIELD", f"{field} {message}", (FieldError(field, message),))
