"""Those who watch orders: what becomes of them when an order is over, or their socket is gone."""

from dataclasses import dataclass

from order_engine.domain.subscriber import Subscriber
from order_engine.ports import Connections, Subscribers


@dataclass(frozen=True)
class Audience:
    """Subscribers, and the connections that they are on. An entry goes before what leads to it, so that nobody is kept
    whom nothing leads to. Every method may raise ServiceUnavailable."""

    subscribers: Subscribers
    connections: Connections

    def ended(self, one: Subscriber) -> bool:
        """Take note that an order is over for a subscriber that has had everything. Return whether its socket is to be
        closed; one that may watch other orders stays open, and is forgotten here."""
        if self.connections.end(one):
            return True
        if self.subscribers.end(one):  # else it has asked for a replay meanwhile, and `notify` will be here again
            self.connections.drop(one)
        return False

    def gone(self, one: Subscriber) -> None:
        """Forget a subscriber whose socket is gone."""
        self.subscribers.leave(one)
        self.connections.forget(one.connection_id)
