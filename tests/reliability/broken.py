"""Services with one part wrong, each as if the engine had made a mistake that is easily made. The checker must tell.

Each stands behind a port, so that the engine is what it is; it is as if it had made the wrong call, or none.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from order_engine.adapters.journal.item import side_of
from order_engine.domain.errors import HistoryUnavailable, LeaseHeld
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import Dropped, Ended, InFlight, NotFound, Quote, Transaction, TransactionState
from order_engine.ports import Claim, Side

from tests.doubles.connections import MemoryConnections
from tests.doubles.gate import Service, outside
from tests.doubles.journal import LEASE, MemoryJournal
from tests.doubles.services import MemoryHistory, MemoryNotifyRequests, MemoryQueue, MemorySockets
from tests.doubles.subscribers import MemorySubscribers
from tests.doubles.tables import Key
from tests.doubles.venues import HardVenue, ScriptedVenue
from tests.doubles.watchlist import MemoryWatchlist


class NoLease(MemoryJournal):
    """Everybody gets the order, and writes what is next in their own opinion."""

    def claim(self, order_id: UUID) -> Claim:
        """Asks nobody."""
        return Claim(self.read(order_id), "anybody", interrupted=False)

    @outside(Service.JOURNAL)
    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        """Adds to whatever is there."""
        there = self.tables.orders[record.order.order_id]
        there.record = replace(record, events=(*there.record.events, record.last), subscribers=())
        return replace(claim, record=replace(record, subscribers=there.read().subscribers))

    @outside(Service.JOURNAL)
    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        """Nothing to give back."""
        self.tables.orders[claim.record.order.order_id].closed |= closed


class NoExpiry(MemoryJournal):
    """A lease that outlives its worker."""

    def claim(self, order_id: UUID) -> Claim:
        """Refuses whenever there is an owner."""
        there = self.tables.orders.get(order_id)
        if there and there.lease_owner:
            raise LeaseHeld(order_id, self.gate.timeline() + LEASE)
        return super().claim(order_id)


class DecidesTooLate(MemoryJournal):
    """An order is ended whatever has happened since it was read."""

    @outside(Service.JOURNAL)
    def decide(self, record: OrderRecord) -> bool:
        """Without a condition."""
        there = self.tables.orders[record.order.order_id]
        last = record.last.model_copy(update={"sequence": there.sequence + 1})
        there.record = replace(there.record, events=(*there.record.events, last), behind=True)
        there.lease_owner = None
        return True


class DecidesAndForgets(MemoryJournal):
    """Those who watch are not noted to lack the decision."""

    def decide(self, record: OrderRecord) -> bool:
        """Nobody is behind."""
        decided = super().decide(record)
        there = self.tables.orders[record.order.order_id]
        there.record = replace(there.record, behind=False)
        return decided


class NeverInterrupted(MemoryJournal):
    """A worker does not learn that its predecessor died, so what that one appended is not posted again."""

    def claim(self, order_id: UUID) -> Claim:
        """Says that all is well."""
        return replace(super().claim(order_id), interrupted=False)


class SubscribersFirst(MemoryJournal):
    """Reads who watches before it appends, not with it."""

    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        """Two calls."""
        before = self.read(record.order.order_id).subscribers
        claim = super().append(claim, record)
        return replace(claim, record=replace(claim.record, subscribers=before))


class ClosesWithTheLastEvent(MemoryJournal):
    """Nothing is owed any more as soon as the order is final."""

    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        """Closes it."""
        appended = super().append(claim, record)
        self.tables.orders[record.order.order_id].closed = record.is_final
        return appended


class NoBackOff(MemoryJournal):
    """The next attempt comes with the next message."""

    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        """Forgets until when."""
        super().release(claim, closed)


class ForgetsKeys(MemoryJournal):
    """A clientOrderId is nobody's."""

    def _put_with_key(self, key: str, record: OrderRecord, fingerprint: str) -> Key | None:
        self.tables.keys.clear()
        return super()._put_with_key(key, record, fingerprint)


class NeverForgetsKeys(MemoryJournal):
    """A clientOrderId is its first order's for ever."""

    def _put_with_key(self, key: str, record: OrderRecord, fingerprint: str) -> Key | None:
        holder = super()._put_with_key(key, record, fingerprint)
        self.tables.keys[key] = replace(self.tables.keys[key], expires_at=2**40)
        return holder


class HandsOverBlindly(MemorySubscribers):
    """The handover without its condition."""

    def _hand_over(self, subscriber: Subscriber, through: int) -> bool:
        if page := self.tables.page(subscriber):
            page.subscribers[subscriber.connection_id] = replace(subscriber, live_after=through, sent_through=through)
        return True


class EntersAgain(MemorySubscribers):
    """Enters a subscriber over what is kept of it, which a repeated write finds to have gone on."""

    @outside(Service.JOURNAL)
    def _enter_order(self, subscriber: Subscriber) -> bool:
        order = self.tables.orders.get(subscriber.order_id)
        if order is None or len(order.subscribers) >= self.tables.page_size:
            return False
        order.subscribers[subscriber.connection_id] = subscriber
        return True


class TurnsAllButOnePage(MemorySubscribers):
    """Fans an event out on all pages but the last."""

    @outside(Service.PAGES)
    def _list_pages(self, order_id: UUID) -> Sequence[int]:
        return sorted(self.tables.further.get(order_id, {}))[:-1]


class CrowdedTooLate(MemorySubscribers):
    """An order is marked as crowded when somebody on a further page is handed over, not before they enter it."""

    def _mark_crowded(self, order_id: UUID) -> None:
        """Not yet."""

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """Two calls."""
        handed_over = super().hand_over(subscriber, through)
        if subscriber.page:
            super()._mark_crowded(subscriber.order_id)
        return handed_over


class TakesNobodyBack(MemorySubscribers):
    """Who was not reached is left alone."""

    def take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Nobody is kept."""
        return []


class EndsEveryConnection(MemoryConnections):
    """A socket is closed with any of its orders."""

    def end(self, subscriber: Subscriber) -> bool:
        """Says so."""
        return super().end(subscriber) or True


class ClosesTooSoon(MemorySockets):
    """Closes a socket after whatever was posted to it."""

    def post(self, connection_id: str, message: str) -> None:
        """Two calls."""
        super().post(connection_id, message)
        self.close(connection_id)


class RestsOnNoSide(MemoryWatchlist):
    """Nobody is told that orders rest on a side."""

    def _note_side(self, side: Side) -> None:
        """Says nothing."""


class RestsForEver(MemoryWatchlist):
    """An order's time is not noted."""

    def _note_expiry(self, order_id: UUID, expires_at: datetime) -> None:
        """Says nothing."""


class SweepsFirst(MemoryWatchlist):
    """That an order's time is over is forgotten before its message is sent."""

    def expiring(self, now: datetime, most: int) -> list[tuple[UUID, str]]:
        """Two calls."""
        found = super().expiring(now, most)
        for _, entry in found:
            self.swept(entry)
        return found


class NotInTheIndex(MemoryWatchlist):
    """The journal does not write by which price an order is found."""

    def _resting(self, side: Side) -> Iterator[tuple[Decimal, UUID]]:
        """Nothing."""
        return iter(())


class StaysInTheIndex(MemoryWatchlist):
    """An index that shows what rested once, whatever has become of it."""

    def _resting(self, side: Side) -> Iterator[tuple[Decimal, UUID]]:
        """By the price at which it rested first."""
        for order_id, item in self.tables.orders.items():
            if item.record.openings and side_of(item.record.order) == side:
                yield item.record.openings[0].reference_price, order_id


class AsksNobody(MemoryNotifyRequests):
    """Notify is never invoked."""

    def send(self, subscriber: Subscriber) -> None:
        """Says that it is."""


class ForgetsTheRow(MemoryHistory):
    """An outcome that PostgreSQL did not take is taken for written."""

    def record(self, record: OrderRecord) -> None:
        """Says so."""
        with suppress(HistoryUnavailable):
            super().record(record)


class ForgetsTheEvents(MemoryHistory):
    """The first event is all that is written beside the row."""

    def record(self, record: OrderRecord) -> None:
        """Half of it."""
        super().record(record)
        self.rows.events = dict(list(self.rows.events.items())[:1])


class DropsWhatIsSentAnew(MemoryQueue):
    """Acknowledged without another message."""

    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        """Keeps what has no delay."""
        if not delay_seconds:
            super().send(order_id)


class SendsWhenItBuilds(ScriptedVenue):
    """The transaction is sent before it is journaled."""

    def _build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        transaction = super()._build(order, quote, min_amount_out, request_id)
        self.send(transaction, 0.0)
        return transaction


class SaysDeadTooSoon(ScriptedVenue):
    """A retry without seeing to it that the earlier transaction is dead."""

    def abandon(self, transaction: Transaction) -> Ended | InFlight:
        """Only says so."""
        return Dropped()


class TakesUnknownForDead(HardVenue):
    """What nobody has seen is dead."""

    def unseen(self) -> TransactionState:
        """As it seems."""
        return Dropped()

    def _status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        found = super()._status(transaction, wait_seconds)
        return Dropped() if isinstance(found, NotFound) else found
