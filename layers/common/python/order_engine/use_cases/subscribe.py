"""Subscribe to an order: join, ask for a replay, leave."""

import json
from dataclasses import dataclass, replace
from uuid import UUID

from order_engine.domain.access import Caller
from order_engine.domain.errors import RequestRefused, SocketGone, SocketUnreachable
from order_engine.domain.subscriber import Subscriber
from order_engine.observability import count, log_context, logger
from order_engine.ports import Clock, NotifyRequests, Sockets, Subscribers


@dataclass(frozen=True)
class Subscription:
    """The use case of `ws_connect`."""

    subscribers: Subscribers
    sockets: Sockets
    notify_requests: NotifyRequests
    now: Clock

    def join(self, connection_id: str, order_id: UUID, after: int = 0, caller: Caller | None = None) -> None:
        """Keep a new connection and have `notify` post every status after `after`. With `caller` the order must be its
        owner's; another's is as unknown as none.

        Raises UnknownOrder and TooManySubscribers.
        """
        with log_context(order_id, caller.owner if caller else None):
            subscriber = Subscriber(order_id, connection_id, self.now(), sent_through=after)
            subscriber = self.subscribers.join(subscriber, caller)
            self.notify_requests.send(subscriber)
            count("SubscribersJoined")
            logger.info("subscriber joined", extra={"connectionId": connection_id, "after": after})

    def leave(self, connection_id: str) -> None:
        """Forget a connection; one that is not kept is no error."""
        if subscriber := self.subscribers.find(connection_id):
            self.subscribers.leave(subscriber)
        logger.info("subscriber left", extra={"connectionId": connection_id})

    def replay(self, connection_id: str, after: int) -> None:
        """Have `notify` post every status after `after` once more; say so on the socket if it watches no order."""
        watching = self.subscribers.find(connection_id)
        taken_back = self.subscribers.take_back([replace(watching, sent_through=after)]) if watching else []
        if taken_back:
            self.notify_requests.send(taken_back[0])
        else:
            detail = "this connection watches no order; please connect again"
            self._say(connection_id, {"type": "error", "code": "UNKNOWN_CONNECTION", "detail": detail})

    def pong(self, connection_id: str) -> None:
        """Answer a ping."""
        self._say(connection_id, {"type": "pong"})

    def refuse(self, connection_id: str, refusal: RequestRefused) -> None:
        """Say on the socket what is wrong with a message."""
        self._say(connection_id, {"type": "error", "code": refusal.code, "detail": str(refusal)})

    def _say(self, connection_id: str, message: dict[str, str]) -> None:
        try:
            self.sockets.post(connection_id, json.dumps(message))
        except (SocketGone, SocketUnreachable) as fault:
            logger.info("the client could not be told", extra={"reason": str(fault)})
