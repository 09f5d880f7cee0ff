"""The journal and its subscribers in memory, with the conditions of the DynamoDB adapters (test_contract.py)."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID, uuid4

from order_engine.adapters.journal_item import milliseconds
from order_engine.adapters.subscribers import MOST_SUBSCRIBERS
from order_engine.errors import (
    ClientOrderIdReused,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    TooManySubscribers,
    UnknownOrder,
)
from order_engine.orders import JournalEntry, Order, Subscriber
from order_engine.ports import Claim

from tests.reliability.gate import Gate, Service, outside

LEASE = timedelta(seconds=25)


@dataclass
class Item:
    """One order's item; `entry` is without its subscribers."""

    entry: JournalEntry
    fingerprint: str
    subscribers: dict[str, Subscriber] = field(default_factory=dict)
    lease_owner: str | None = None
    lease_until: int = 0  # epoch milliseconds, as in the item
    closed: bool = False

    def read(self) -> JournalEntry:
        """The entry as it stands."""
        return replace(self.entry, subscribers=tuple(self.subscribers.values()))


Items = dict[UUID, Item]


class FakeJournal:
    """Implements `ports.Journal` for one worker; workers share `items`."""

    def __init__(self, gate: Gate, items: Items) -> None:
        self.gate = gate
        self.items = items

    @outside(Service.JOURNAL)
    def create(self, entry: JournalEntry, fingerprint: str) -> Order:
        """See `ports.Journal`."""
        there = self.items.setdefault(entry.order.order_id, Item(entry, fingerprint))
        if there.fingerprint != fingerprint:
            raise ClientOrderIdReused(str(entry.order.client_order_id))
        return there.entry.order

    @outside(Service.JOURNAL)
    def read(self, order_id: UUID) -> JournalEntry:
        """See `ports.Journal`."""
        return self._item(order_id).read()

    @outside(Service.JOURNAL)
    def withdraw(self, order_id: UUID) -> bool:
        """See `ports.Journal`."""
        there = self.items.get(order_id)
        if there is None or there.entry.sequence != 1 or there.lease_owner:
            return False
        del self.items[order_id]
        return True

    @outside(Service.JOURNAL)
    def claim(self, order_id: UUID) -> Claim:
        """See `ports.Journal`."""
        there, now = self._item(order_id), self.gate.clock.now()
        if there.closed:
            raise OrderClosed(str(order_id))
        if there.lease_owner is not None and there.lease_until >= milliseconds(now):
            raise LeaseHeld(str(order_id))
        interrupted = there.lease_owner is not None
        owner = str(uuid4())
        there.lease_owner, there.lease_until = owner, milliseconds(now + LEASE)
        return Claim(there.read(), owner, interrupted)

    @outside(Service.JOURNAL)
    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        """See `ports.Journal`."""
        there = self._leased(claim)
        if there.entry.sequence != entry.sequence - 1:
            raise LeaseLost(str(entry.order.order_id))
        events = (*there.entry.events, entry.last)
        transaction = entry.transaction or there.entry.transaction
        there.entry = replace(there.entry, events=events, transaction=transaction, errors=entry.errors)
        return Claim(replace(entry, subscribers=there.read().subscribers), claim.owner, interrupted=False)

    @outside(Service.JOURNAL)
    def release(self, claim: Claim, closed: bool = False) -> None:
        """See `ports.Journal`."""
        there = self._leased(claim)
        there.entry = replace(there.entry, errors=claim.entry.errors)
        there.lease_owner = None
        there.closed = there.closed or closed

    def _item(self, order_id: UUID) -> Item:
        if order_id not in self.items:
            raise UnknownOrder(str(order_id))
        return self.items[order_id]

    def _leased(self, claim: Claim) -> Item:
        there = self.items.get(claim.entry.order.order_id)
        if there is None or there.lease_owner != claim.owner:
            raise LeaseLost(str(claim.entry.order.order_id))
        return there


class FakeSubscribers:
    """Implements `ports.Subscribers`; `connections` is the table that tells what order a connection watches."""

    def __init__(self, gate: Gate, items: Items, connections: dict[str, UUID]) -> None:
        self.gate = gate
        self.items = items
        self.connections = connections

    def join(self, subscriber: Subscriber) -> None:
        """See `ports.Subscribers`. Two calls, as in the adapter."""
        self._keep(subscriber)
        self._note(subscriber)

    @outside(Service.JOURNAL)
    def _keep(self, subscriber: Subscriber) -> None:
        there = self._watched(subscriber.order_id)
        if len(there) >= MOST_SUBSCRIBERS:
            raise TooManySubscribers
        there[subscriber.connection_id] = subscriber

    @outside(Service.CONNECTIONS)
    def _note(self, subscriber: Subscriber) -> None:
        self.connections[subscriber.connection_id] = subscriber.order_id

    @outside(Service.JOURNAL)
    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """See `ports.Subscribers`."""
        item = self.items.get(subscriber.order_id)
        there = item.subscribers.get(subscriber.connection_id) if item else None
        if item is None or there is None:
            return False
        if item.entry.sequence != through or there.generation != subscriber.generation:
            return False
        item.subscribers[subscriber.connection_id] = replace(there, live_after=through, sent_through=through)
        return True

    @outside(Service.JOURNAL)
    def take_back(self, subscriber: Subscriber, sent_through: int) -> Subscriber | None:
        """See `ports.Subscribers`."""
        item = self.items.get(subscriber.order_id)
        there = item.subscribers.get(subscriber.connection_id) if item else None
        if item is None or there is None:
            return None
        behind = replace(there, sent_through=sent_through, generation=there.generation + 1, live_after=None)
        item.subscribers[subscriber.connection_id] = behind
        return behind

    @outside(Service.CONNECTIONS)
    def order_of(self, connection_id: str) -> UUID | None:
        """See `ports.Subscribers`."""
        return self.connections.get(connection_id)

    def leave(self, connection_id: str) -> None:
        """See `ports.Subscribers`. Two calls, as in the adapter."""
        order_id = self._strike(connection_id)
        if order_id is not None:
            self._forget(order_id, connection_id)

    @outside(Service.CONNECTIONS)
    def _strike(self, connection_id: str) -> UUID | None:
        return self.connections.pop(connection_id, None)

    @outside(Service.JOURNAL)
    def _forget(self, order_id: UUID, connection_id: str) -> None:
        if order_id in self.items:
            self.items[order_id].subscribers.pop(connection_id, None)

    def _watched(self, order_id: UUID) -> dict[str, Subscriber]:
        if order_id not in self.items:
            raise UnknownOrder(str(order_id))
        return self.items[order_id].subscribers
