"""Live updates: every subscriber sees every status in order, whenever it joins.

Each connection has one writer at a time. A new one is `notify`'s, which brings it up to date and then hands it over;
from then on the publisher of the order's events posts to it. The handover is one transaction with the journal (it
holds only if no event came in between), and a publisher appends an event *before* it reads the connections: so each
event reaches a connection by the one or by the other. A repeat is possible after a fault, and has the same sequence.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from order_engine.errors import SocketGone, SocketUnreachable
from order_engine.observability import count, logger
from order_engine.orders import JournalEntry, StatusEvent
from order_engine.ports import CatchUps, Claim, Clock, Connection, Connections, Journal, Sockets

# How long a 410 means 'not connected yet' (API Gateway refuses posts while $connect runs) rather than 'gone'.
CONNECTING = timedelta(seconds=10)

# Posts of one event that run at once; beyond it they queue.
_FAN_OUT = 16


@dataclass(frozen=True)
class Publisher:
    """Appends events to the journal and posts them to the connections that are handed over."""

    journal: Journal
    connections: Connections
    sockets: Sockets
    catch_ups: CatchUps
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_FAN_OUT, "post"))

    def publish(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Appends the entry's last event, then posts it.

        Raises LeaseLost or ServiceUnavailable if it could not be appended. Never fails because of a socket: one that
        can't be reached is given back to `notify`.
        """
        claim = self.journal.append(claim, entry)
        self.post(entry.last)
        return claim

    def post(self, event: StatusEvent) -> None:
        """Posts an appended event to every connection whose writer the publisher is."""
        live = [
            connection
            for connection in self.connections.of_order(event.order_id)
            if connection.live_after is not None and connection.live_after < event.sequence
        ]
        logger.info(
            f"order {event.status}",
            extra={"sequence": event.sequence, "attempt": event.attempt, "subscribers": len(live)},
        )
        message = event.to_json()
        if len(live) == 1:
            self._post_one(live[0], event, message)
        elif live:
            list(self._pool.map(lambda connection: self._post_one(connection, event, message), live))

    def _post_one(self, connection: Connection, event: StatusEvent, message: str) -> None:
        try:
            self.sockets.post(connection.connection_id, message)
            count("StatusesPosted")
        except SocketGone:
            count("SocketsGone")
            self.connections.remove(connection)
        except SocketUnreachable as fault:
            count("SocketsUnreachable")
            logger.warning("socket unreachable", extra={"connectionId": connection.connection_id, "reason": str(fault)})
            behind = self.connections.take_back(connection, sent_through=event.sequence - 1)
            if behind:
                self.catch_ups.request(behind)


@dataclass(frozen=True)
class CatchUp:
    """The use case of `notify`: posts what a connection has not had yet, then hands it over to the publisher."""

    journal: Journal
    connections: Connections
    sockets: Sockets
    now: Clock
    # Back-off between tries at a socket that is not there yet or throttled, in seconds.
    pauses: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

    def bring_up_to_date(self, wanted: Connection) -> None:
        """Runs until the connection is handed over, gone, or somebody else's.

        `wanted` may be older than the stored connection: only its ids and its generation count. Raises
        SocketUnreachable when the socket stays out of reach, so that the invocation is repeated.
        """
        connection = self.connections.get(wanted.order_id, wanted.connection_id)
        if connection is None or connection.generation != wanted.generation or connection.live_after is not None:
            return
        sent_through = connection.sent_through
        while True:
            entry = self.journal.read(connection.order_id)
            for event in entry.events[sent_through:]:
                if not self._post(connection, event):
                    return
            sent_through = entry.sequence
            if self.connections.hand_over(connection, through=sent_through):
                logger.info("subscriber up to date", extra={"sequence": sent_through})
                return
            current = self.connections.get(connection.order_id, connection.connection_id)
            if current is None or current.generation != connection.generation:
                return

    def _post(self, connection: Connection, event: StatusEvent) -> bool:
        """Posts with patience; False if the socket is gone for good."""
        pauses = iter(self.pauses)
        while True:
            try:
                self.sockets.post(connection.connection_id, event.to_json())
                count("StatusesPosted")
                return True
            except SocketGone:
                if self.now() - connection.connected_at > CONNECTING:
                    count("SocketsGone")
                    self.connections.remove(connection)
                    return False
                pause = next(pauses, None)
                if pause is None:
                    self.connections.remove(connection)
                    return False
            except SocketUnreachable:
                pause = next(pauses, None)
                if pause is None:
                    raise
            time.sleep(pause)
