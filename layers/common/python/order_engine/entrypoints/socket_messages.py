"""What a client says on the WebSocket: the query of its handshake, and its messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import FieldError, InvalidRequest, RequestRefused, TooManyMessages, UnknownConnection
from order_engine.domain.subscriber import Connection
from order_engine.entrypoints.orders import order_id_of
from order_engine.entrypoints.problems import unknown
from order_engine.observability import logger
from order_engine.use_cases.access import Access
from order_engine.use_cases.subscribe import Subscription


@dataclass(frozen=True)
class Ping:
    """`{"action":"ping"}`. `cost`: as how many messages it counts."""

    cost: ClassVar = 1


@dataclass(frozen=True)
class Replay:
    """`{"action":"replay","after":n,"orderId":…}`; without an order it is about the only one that is watched."""

    cost: ClassVar = 10
    order_id: UUID | None
    after: int


@dataclass(frozen=True)
class Subscribe:
    """`{"action":"subscribe","orderId":…,"after":n,"token":…}`"""

    cost: ClassVar = 1
    order_id: UUID
    after: int
    token: str | None


@dataclass(frozen=True)
class Unsubscribe:
    """`{"action":"unsubscribe","orderId":…}`"""

    cost: ClassVar = 1
    order_id: UUID


@dataclass(frozen=True)
class Handshake:
    """The query of a handshake. Without an order the connection watches none until it subscribes."""

    order_id: UUID | None
    after: int
    token: str | None


def parse_query(query: Mapping[str, str]) -> Handshake:
    """Return what a handshake asks for; `after` says with which status the client wants to go on (0: from the first).

    Raises InvalidRequest.
    """
    token = query.get("token")
    if "orderId" in query:
        return Handshake(order_id_of(query["orderId"]), _after(query.get("after") or "0"), token)
    if strange := sorted(set(query) - {"token"}):
        needed = f"is required with {strange[0][:64]!r}: ?orderId=<the orderId of the 202 answer>"
        raise InvalidRequest.of(FieldError("orderId", needed))
    return Handshake(None, 0, token)


def answer(access: Access, subscription: Subscription, connection_id: str, text: str) -> None:
    """Do what a message asks for. Whatever is wrong with it is said on the socket, and changes nothing else."""
    logger.info("message received", extra={"connectionId": connection_id, "length": len(text)})
    about: UUID | None = None
    try:
        message: Ping | Replay | Subscribe | Unsubscribe | InvalidRequest
        try:
            given = _read(text)
            about = _named(given)
            message = _parse(given)
        except InvalidRequest as refusal:
            message = refusal
        connection = subscription.hear(connection_id, getattr(message, "cost", 1))
        if isinstance(message, InvalidRequest):
            raise message
        if isinstance(message, Ping):
            subscription.pong(connection_id)
        elif connection is None:
            raise UnknownConnection
        else:
            _obey(access, subscription, connection, message)
    except TooManyMessages as refusal:
        if not refusal.told:
            subscription.refuse(connection_id, refusal)
    except UnknownOrder as order:
        subscription.refuse(connection_id, unknown(order), about)
    except RequestRefused as refusal:
        subscription.refuse(connection_id, refusal, about)


def _obey(
    access: Access, subscription: Subscription, connection: Connection, message: Replay | Subscribe | Unsubscribe
) -> None:
    match message:
        case Subscribe(order_id=order_id, after=after, token=token):
            known = order_id in connection.orders  # by whatever let it in the first time
            caller = None if known else access.subscriber(connection.key_id, token, order_id)
            subscription.subscribe(connection, order_id, after, caller)
        case Unsubscribe(order_id=order_id):
            subscription.unsubscribe(connection, order_id)
        case Replay(order_id=None) if len(connection.orders) != 1:
            raise InvalidRequest.of(
                FieldError("orderId", f"is required: this connection watches {len(connection.orders)} orders")
            )
        case Replay(order_id=order_id, after=after):
            subscription.replay(connection, order_id or next(iter(connection.orders)), after)


def _read(text: str) -> dict[str, Any]:
    """Return the fields of a message; null is the same as leaving one out, but for `after`."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InvalidRequest("INVALID_JSON", "a message must be JSON") from fault
    if not isinstance(message, dict):
        raise InvalidRequest("INVALID_JSON", "a message must be a JSON object")
    return {name: value for name, value in message.items() if value is not None or name == "after"}


def _named(given: dict[str, Any]) -> UUID | None:
    """Return the order that a message is about, whatever else is wrong with it."""
    try:
        return order_id_of(given.get("orderId"))
    except InvalidRequest:
        return None


def _parse(given: dict[str, Any]) -> Ping | Replay | Subscribe | Unsubscribe:
    match given.get("action"):
        case "ping":
            return Ping()
        case "replay":
            order_id = order_id_of(given["orderId"]) if "orderId" in given else None
            return Replay(order_id, _sequence(given))
        case "subscribe":
            token = given.get("token")
            if token is not None and not isinstance(token, str):
                raise InvalidRequest.of(FieldError("token", "must be a string, that of the order's streamUrl"))
            after = _sequence(given)
            return Subscribe(order_id_of(given.get("orderId")), after, token)
        case "unsubscribe":
            return Unsubscribe(order_id_of(given.get("orderId")))
    raise InvalidRequest("UNKNOWN_ACTION", 'action must be "subscribe", "unsubscribe", "replay" or "ping"')


def _sequence(given: dict[str, Any]) -> int:
    after = given.get("after", 0)
    return _after("" if isinstance(after, bool) else str(after))


def _after(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest.of(FieldError("after", "must be a sequence number: 0 or more, of nine digits at most"))
    return int(text)
