"""Connect, subscribe to orders, ask for a replay, leave."""

import json
from dataclasses import dataclass, replace
from uuid import UUID

from order_engine.domain.access import Caller
from order_engine.domain.errors import SocketGone, SocketUnreachable
from order_engine.domain.refusals import NotSubscribed, RequestRefused, UnknownConnection
from order_engine.domain.subscriber import Connection, Subscriber
from order_engine.observability import count, log_context, logger
from order_engine.ports import Clock, Connections, NotifyRequests, Sockets, Subscribers


@dataclass(frozen=True)
class Subscription:
    """The use case of `ws_connect`. `stream_base` is the WebSocket's URL."""

    subscribers: Subscribers
    connections: Connections
    sockets: Sockets
    notify_requests: NotifyRequests
    now: Clock
    stream_base: str = ""

    def open(self, connection_id: str, caller: Caller) -> None:
        """Keep a new connection that watches nothing yet. Raises TooManyStreams."""
        self.connections.admit(caller.owner)
        self.connections.open(
            Connection(connection_id, self.now(), owner=caller.owner, key_id=caller.key_id, lasting=True)
        )
        logger.info("connected", extra={"connectionId": connection_id, "owner": caller.owner})

    def join(self, connection_id: str, order_id: UUID, after: int = 0, caller: Caller | None = None) -> None:
        """Keep a new connection and have `notify` post every status after `after`. With `caller` the order must be its
        owner's; another's is as unknown as none.

        Raises UnknownOrder, TooManySubscribers and TooManyStreams.
        """
        with log_context(order_id, caller.owner if caller else None):
            owners: list[str] = []

            def admit(owner: str) -> None:
                _check_owner(order_id, owner, caller)
                self.connections.admit(owner)
                owners.append(owner)

            wanted = Subscriber(order_id, connection_id, self.now(), sent_through=after)
            subscriber = self.subscribers.join(wanted, admit)
            # The connection's row comes last: a refused subscriber leaves none.
            key_id = caller.key_id if caller else ""
            orders = {order_id: subscriber.page}
            self.connections.open(Connection(connection_id, subscriber.connected_at, orders, owners[-1], key_id))
            self._joined(subscriber)

    def leave(self, connection_id: str) -> None:
        """Forget a connection; one that is not kept is no error."""
        if connection := self.connections.find(connection_id):
            for order_id in connection.orders:
                self.subscribers.leave(connection.subscriber(order_id))
            self.connections.forget(connection_id)
        logger.info("subscriber left", extra={"connectionId": connection_id})

    # --- messages -----------------------------------------------------------------------------------------------------

    def hear(self, connection_id: str, cost: int) -> Connection | None:
        """Count a message of a connection, and return the connection. Raises TooManyMessages."""
        return self.connections.hear(connection_id, cost)

    def subscribe(self, connection: Connection, order_id: UUID, after: int, caller: Caller | None) -> None:
        """Have a connection watch another order too, and say so on the socket once that is certain, perhaps after the
        first statuses; `after` and `caller` as in `join`. For one that watches it already this is a replay: it
        may be about to be let go of, because the order is over.

        Raises UnknownOrder, TooManySubscribers, TooManySubscriptions and UnknownConnection; ReplayUnderWay for a
        repeated message while the one before is served.
        """
        with log_context(order_id, caller.owner if caller else None):
            asking = replace(connection.subscriber(order_id), sent_through=after)
            if order_id in connection.orders:
                if replayed := self.subscribers.replay(asking, self.now()):
                    self.notify_requests.send(replayed)
                    self._say(connection.connection_id, {"type": "subscribed", "orderId": str(order_id)})
                    return
                self.connections.drop(asking)  # what it leads to is gone
            wanted = Subscriber(order_id, connection.connection_id, self.now(), sent_through=after)
            subscriber = self.subscribers.join(wanted, lambda owner: _check_owner(order_id, owner, caller))
            # Struck again only where it is certain that nothing leads to it: the same message may have come twice.
            try:
                page = self.connections.add(subscriber)
            except RequestRefused:
                self.subscribers.leave(subscriber)
                raise
            if page != subscriber.page:
                self.subscribers.leave(subscriber)
            if page is None:
                raise UnknownConnection
            subscriber = replace(subscriber, page=page)
            self._joined(subscriber)
            self._say(connection.connection_id, {"type": "subscribed", "orderId": str(order_id)})

    def unsubscribe(self, connection: Connection, order_id: UUID) -> None:
        """Have a connection watch an order no more, and say so; a status that is under way may come after that.

        Raises NotSubscribed."""
        if order_id not in connection.orders:
            raise NotSubscribed
        subscriber = connection.subscriber(order_id)
        self.subscribers.leave(subscriber)
        self.connections.drop(subscriber)
        self._say(connection.connection_id, {"type": "unsubscribed", "orderId": str(order_id)})

    def replay(self, connection: Connection, order_id: UUID, after: int) -> None:
        """Have `notify` post every status after `after` once more. Raises NotSubscribed and ReplayUnderWay."""
        asking = replace(connection.subscriber(order_id), sent_through=after)
        replayed = self.subscribers.replay(asking, self.now()) if order_id in connection.orders else None
        if replayed is None:
            raise NotSubscribed
        self.notify_requests.send(replayed)

    def pong(self, connection_id: str) -> None:
        """Answer a ping."""
        self._say(connection_id, {"type": "pong"})

    def refuse(self, connection_id: str, refusal: RequestRefused, order_id: UUID | None = None) -> None:
        """Say on the socket what is wrong with a message, and which order it was about."""
        about = {"orderId": str(order_id)} if order_id else {}
        self._say(connection_id, {"type": "error", "code": refusal.code, "detail": str(refusal), **about})

    def _joined(self, subscriber: Subscriber) -> None:
        self.notify_requests.send(subscriber)
        count("SubscribersJoined")
        extra = {"connectionId": subscriber.connection_id, "after": subscriber.sent_through}
        logger.info("subscriber joined", extra=extra)

    def _say(self, connection_id: str, message: dict[str, str]) -> None:
        try:
            self.sockets.post(connection_id, json.dumps(message))
        except (SocketGone, SocketUnreachable) as fault:
            logger.info("the client could not be told", extra={"reason": str(fault)})


def _check_owner(order_id: UUID, owner: str, caller: Caller | None) -> None:
    if caller:
        caller.check_owns(order_id, owner)
