"""Live updates: every subscriber sees every status in order, whenever it joins.

Each subscriber has one writer at a time. A new one is `notify`'s, which brings it up to date and then hands it over;
from then on the publisher of the order's events posts to it. A subscriber is kept with its order: the handover holds
only if no event came in between, and an append answers with the subscribers of its moment. So each event reaches a
subscriber by the one or by the other. A repeat is possible after a fault, and has the same sequence.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from order_engine.errors import ServiceUnavailable, SocketGone, SocketUnreachable
from order_engine.observability import count_lag, logger
from order_engine.orders import JournalEntry, StatusEvent, Subscriber
from order_engine.ports import CatchUps, Claim, Clock, Journal, Sockets, Subscribers

# How long a 410 means 'not connected yet' (API Gateway refuses posts while $connect runs) rather than 'gone'.
CONNECTING = timedelta(seconds=10)

# Posts of one event that run at once; beyond it they queue.
_FAN_OUT = 16


@dataclass(frozen=True)
class Publisher:
    """Appends events to the journal and posts them to the subscribers that are handed over."""

    journal: Journal
    subscribers: Subscribers
    sockets: Sockets
    catch_ups: CatchUps
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_FAN_OUT, "post"))

    def publish(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Appends the entry's last event, then posts it.

        Raises LeaseLost or ServiceUnavailable if it could not be appended. Never fails because of a socket: one that
        can't be reached is given back to `notify`.
        """
        claim = self.journal.append(claim, entry)
        return replace(claim, entry=self.post(claim.entry))

    def post(self, entry: JournalEntry) -> JournalEntry:
        """Posts the entry's last event to every subscriber whose writer the publisher is.

        Asks once more for those whose catch-up seems to have been lost. Answers the entry without the subscribers that
        are gone or that `notify` was asked for. Raises ServiceUnavailable if a subscriber that was not reached could
        not be marked so: the order must then come again, lest that subscriber miss the event.
        """
        event = entry.last
        live: list[Subscriber] = []
        strays: list[Subscriber] = []
        others: list[Subscriber] = []
        for one in entry.subscribers:
            if one.live_after is not None and one.live_after < event.sequence:
                live.append(one)
            elif _is_stray(one, event.timestamp):
                strays.append(one)
            else:
                others.append(one)
        logger.info(
            f"order {event.status}",
            extra={"sequence": event.sequence, "attempt": event.attempt, "subscribers": len(live)},
        )
        message = event.to_json()
        posted: Iterable[Subscriber | None]
        if len(live) == 1:
            posted = [self._post_one(live[0], event, message)]
        else:
            posted = self._pool.map(lambda subscriber: self._post_one(subscriber, event, message), live)
        kept = [*others, *posted, *map(self._ask_for, strays)]
        if live:
            count_lag(event)
        return replace(entry, subscribers=tuple(one for one in kept if one))

    def ask_for_strays(self, entry: JournalEntry) -> None:
        """Has `notify` invoked for those whose catch-up seems to have been lost, before the order is closed and nobody
        comes by any more. Raises ServiceUnavailable; the order must then come again."""
        for stray in entry.subscribers:
            if _is_stray(stray, entry.last.timestamp):
                self.catch_ups.request(stray)

    def _post_one(self, subscriber: Subscriber, event: StatusEvent, message: str) -> Subscriber | None:
        """Answers the subscriber as it is then; None if it is gone or notify's."""
        try:
            self.sockets.post(subscriber.connection_id, message)
        except SocketGone:
            self._aside(partial(self.subscribers.leave, subscriber.connection_id))
            return None
        except SocketUnreachable as fault:
            logger.warning("socket unreachable", extra={"connectionId": subscriber.connection_id, "reason": str(fault)})
            behind = self.subscribers.take_back(subscriber, event.sequence - 1)
            return self._ask_for(behind) if behind else None
        return subscriber

    def _ask_for(self, stray: Subscriber) -> Subscriber | None:
        return None if self._aside(partial(self.catch_ups.request, stray)) else stray

    def _aside(self, action: Callable[[], None]) -> bool:
        """Housekeeping about one socket, which must not hold up the order: a service that is away is only logged, and
        False answered."""
        try:
            action()
        except ServiceUnavailable as fault:
            logger.warning("a subscriber could not be put right", extra={"reason": str(fault)})
            return False
        return True


def _is_stray(subscriber: Subscriber, now: datetime) -> bool:
    """Whether `notify` should have handed the subscriber over by now, and may have been lost.

    Asking for it once more does no harm: it goes on from what is stored."""
    overdue = subscriber.generation > 1 or now - subscriber.connected_at > CONNECTING
    return subscriber.live_after is None and overdue


@dataclass(frozen=True)
class CatchUp:
    """The use case of `notify`: posts what a subscriber has not had yet, then hands it over to the publisher."""

    journal: Journal
    subscribers: Subscribers
    sockets: Sockets
    now: Clock
    # Back-off between tries at a socket that is not there yet or throttled, in seconds.
    pauses: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

    def bring_up_to_date(self, order_id: UUID, connection_id: str, generation: int) -> None:
        """Runs until the subscriber is handed over, gone, or somebody else's (of another generation).

        Raises UnknownOrder, and SocketUnreachable when the socket stays out of reach, so that the invocation is
        repeated.
        """
        sent_through: int | None = None
        while True:
            entry = self.journal.read(order_id)
            subscriber = entry.subscriber(connection_id)
            if subscriber is None or subscriber.generation != generation or subscriber.live_after is not None:
                return
            if sent_through is None:
                sent_through = subscriber.sent_through
            for event in entry.events[sent_through:]:
                if not self._post(subscriber, event):
                    return
            sent_through = entry.sequence
            if self.subscribers.hand_over(subscriber, through=sent_through):
                logger.info("subscriber up to date", extra={"sequence": sent_through})
                return

    def _post(self, subscriber: Subscriber, event: StatusEvent) -> bool:
        """Posts with patience; False if the socket is gone for good."""
        pauses = iter(self.pauses)
        while True:
            try:
                self.sockets.post(subscriber.connection_id, event.to_json())
                return True
            except SocketGone:
                pause = next(pauses, None) if self.now() - subscriber.connected_at < CONNECTING else None
                if pause is None:
                    self.subscribers.leave(subscriber.connection_id)
                    return False
            except SocketUnreachable:
                pause = next(pauses, None)
                if pause is None:
                    raise
            time.sleep(pause)
