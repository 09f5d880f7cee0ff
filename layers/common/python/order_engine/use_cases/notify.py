"""Bring a subscriber up to date: post what it has not had, then hand it over to the publisher (see `publish`), or close
its socket if the order is final."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat

from order_engine.domain.errors import ServiceUnavailable, SocketGone, SocketUnreachable
from order_engine.domain.events import StatusEvent
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import CONNECTING, Subscriber
from order_engine.observability import log_owner, logger
from order_engine.ports import Clock, Journal, Sockets, Subscribers
from order_engine.use_cases.audience import Audience

# How long a socket that is throttled or hangs is retried; Lambda repeats the invocation after a minute.
_PATIENCE = timedelta(seconds=5)

# Between the last post and closing the socket: the gateway may not have passed on yet what it was sent at once (see
# `Publisher.dismiss`).
_SETTLING_SECONDS = 0.5

# After a pause of so many seconds the subscriber is read again: one that connects and leaves at once must not occupy
# `notify` for all of CONNECTING.
_LOOK_AGAIN_SECONDS = 0.4


@dataclass(frozen=True)
class Notifier:
    """The use case of `notify`."""

    journal: Journal
    subscribers: Subscribers
    audience: Audience
    sockets: Sockets
    now: Clock
    # Back-off in seconds between posts to a socket that is not connected yet or throttled; the last one is repeated
    # while the handshake may be under way.
    pauses: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    sleep: Callable[[float], None] = time.sleep

    def notify(self, wanted: Subscriber) -> None:
        """Post what the subscriber has not had yet, until it is handed over or gone. After a final status its socket is
        closed.

        Only order, page and connection of `wanted` are read; the rest is what is stored: a subscriber that was taken
        back again meanwhile resumes from there. Raises UnknownOrder, and SocketUnreachable or ServiceUnavailable if a
        repeated invocation can help.
        """
        pauses = chain(self.pauses, repeat(None))
        ends_at = self.now() + _PATIENCE
        generation, sent_through = 0, 0
        while True:
            record = self.journal.read(wanted.order_id)
            log_owner(record.order.owner)
            subscriber = self._stored(wanted, record)
            if subscriber is None or subscriber.live_after is not None:
                return
            if subscriber.generation != generation:
                generation, sent_through = subscriber.generation, subscriber.sent_through
            for event in record.events[sent_through:]:
                if not self._post(subscriber, event, pauses, ends_at):
                    break
                sent_through = event.sequence
            else:
                sent_through = record.sequence
                if self.subscribers.hand_over(subscriber, through=sent_through):
                    logger.info("subscriber up to date", extra={"sequence": sent_through})
                    if record.is_final:
                        self._close(subscriber, pauses)
                    return

    def _stored(self, wanted: Subscriber, record: OrderRecord) -> Subscriber | None:
        return self.subscribers.read(wanted) if wanted.page else record.subscriber(wanted.connection_id)

    def _post(
        self, subscriber: Subscriber, event: StatusEvent, pauses: Iterator[float | None], ends_at: datetime
    ) -> bool:
        """Post with retries. Return False after a pause so long that the subscriber may have left meanwhile."""
        while True:
            try:
                self.sockets.post(subscriber.connection_id, event.to_json())
                return True
            except SocketGone:
                pause = next(pauses) or self.pauses[-1]
                if self.now() - subscriber.connected_at >= CONNECTING:
                    self.audience.gone(subscriber)
                    return False
            except SocketUnreachable:
                following = next(pauses)
                if following is None or self.now() > ends_at:
                    raise
                pause = following
            self.sleep(pause)
            if pause >= _LOOK_AGAIN_SECONDS:
                return False

    def _close(self, subscriber: Subscriber, pauses: Iterator[float | None]) -> None:
        """Close the socket unless it watches other orders, best effort: a client whose socket stays open has had
        everything.

        One to which nothing had to be posted may not be connected yet; it is waited for unless it has left.
        """
        try:
            if not self.audience.ended(subscriber):
                return
            self.sleep(_SETTLING_SECONDS)
            while not self.sockets.close(subscriber.connection_id):
                pause = next(pauses) or self.pauses[-1]
                if self.now() - subscriber.connected_at >= CONNECTING:
                    return
                self.sleep(pause)
                if pause >= _LOOK_AGAIN_SECONDS:
                    record = self.journal.read(subscriber.order_id)
                    if self._stored(subscriber, record) is None:
                        return
        except (SocketUnreachable, ServiceUnavailable) as fault:
            logger.info("socket not closed", extra={"connectionId": subscriber.connection_id, "reason": str(fault)})
