"""What a subscriber does: come (with an order, perhaps after a sequence), ask, leave."""

import json
from dataclasses import dataclass, replace
from uuid import UUID

from order_engine.errors import FieldError, InvalidRequest, SocketGone, SocketUnreachable, UnknownOrder
from order_engine.observability import about, count, logger
from order_engine.orders import Subscriber
from order_engine.ports import CatchUps, Clock, Sockets, Subscribers


@dataclass(frozen=True)
class Subscription:
    """The use case of `ws_connect`."""

    subscribers: Subscribers
    sockets: Sockets
    catch_ups: CatchUps
    now: Clock

    def join(self, connection_id: str, order_id: str | None, after: str | None) -> None:
        """Keeps a new connection and has it brought up to date, from the status after `after` (0: from the first).

        Raises InvalidRequest: 400 for an `orderId` or `after` that can't be, 404 for an order that is not known.
        Raises TooManySubscribers.
        """
        parsed = _order_id(order_id)
        sent_through = _after(after or "0")
        with about(parsed):
            subscriber = Subscriber(parsed, connection_id, self.now(), sent_through=sent_through)
            try:
                subscriber = self.subscribers.join(subscriber)
            except UnknownOrder as unknown:
                raise InvalidRequest(404, "UNKNOWN_ORDER", f"there is no order {parsed}") from unknown
            self.catch_ups.request(subscriber)
            count("SubscribersJoined")
            logger.info("subscriber joined", extra={"connectionId": connection_id, "after": sent_through})

    def leave(self, connection_id: str) -> None:
        """Forgets a connection; one that is not kept is no error."""
        if subscriber := self.subscribers.find(connection_id):
            self.subscribers.leave(subscriber)
        logger.info("subscriber left", extra={"connectionId": connection_id})

    def hear(self, connection_id: str, text: str) -> None:
        """Answers a message on the socket: `{"action":"ping"}` or `{"action":"replay","after":n}`.

        Whatever is wrong with a message is said on the socket, and changes nothing else.
        """
        logger.info("message received", extra={"connectionId": connection_id, "length": len(text)})
        try:
            action, after = _action(text)
        except InvalidRequest as refusal:
            self._say(connection_id, {"type": "error", "code": refusal.code, "detail": refusal.detail})
            return
        if action == "ping":
            self._say(connection_id, {"type": "pong"})
            return
        watching = self.subscribers.find(connection_id)
        behind = self.subscribers.take_back([replace(watching, sent_through=after)]) if watching else []
        if behind:
            self.catch_ups.request(behind[0])
        else:
            detail = "this connection watches no order; please connect again"
            self._say(connection_id, {"type": "error", "code": "UNKNOWN_CONNECTION", "detail": detail})

    def _say(self, connection_id: str, message: dict[str, str]) -> None:
        try:
            self.sockets.post(connection_id, json.dumps(message))
        except (SocketGone, SocketUnreachable) as fault:
            logger.info("no answer could be given", extra={"reason": str(fault)})


def _order_id(text: str | None) -> UUID:
    if not text:
        raise _bad_query("orderId", "is required: connect with ?orderId=<the orderId of the 202 answer>")
    try:
        return UUID(text)
    except ValueError as fault:
        raise _bad_query("orderId", "must be a UUID") from fault


def _after(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _bad_query("after", "must be a sequence number, 0 or more")
    return int(text)


def _bad_query(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(400, "INVALID_FIELD", f"{field} {message}", (FieldError(field, message),))


def _action(text: str) -> tuple[str, int]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InvalidRequest(400, "INVALID_JSON", "a message must be JSON") from fault
    if not isinstance(message, dict):
        raise InvalidRequest(400, "INVALID_JSON", "a message must be a JSON object")
    match message:
        case {"action": "ping"}:
            return "ping", 0
        case {"action": "replay"}:
            after = message.get("after", 0)
            return "replay", _after("" if isinstance(after, bool) else str(after))
    raise InvalidRequest(400, "UNKNOWN_ACTION", 'action must be "ping" or "replay"')
