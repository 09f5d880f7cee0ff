"""What the doubles of the journal and of the subscribers keep: DynamoDB's items, which any number of doubles share."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from order_engine.adapters.journal.item import milliseconds
from order_engine.adapters.journal.subscribers import PAGE_SIZE, PAGES
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Connection, Subscriber
from order_engine.ports import Side

Watching = dict[str, Subscriber]  # by connection


@dataclass
class OrderItem:
    """One order's item; `record` is without its subscribers. Moments are epoch milliseconds, as in the item."""

    record: OrderRecord
    subscribers: Watching = field(default_factory=dict)
    crowded: bool = False
    touched: bool = False  # a worker has had it
    lease_owner: str | None = None
    lease_until: int = 0
    not_before: int = 0
    closed: bool = False
    expires_at: datetime | None = None

    @property
    def sequence(self) -> int:
        """The last event's, which fans out on this page by being appended."""
        return self.record.sequence

    def read(self) -> OrderRecord:
        """The record as it stands."""
        subscribers = tuple(self.subscribers.values())
        return replace(
            self.record,
            subscribers=subscribers,
            crowded=self.crowded,
            taken_up=self.touched,
            held=self.lease_owner is not None,
            closed=self.closed,
        )


@dataclass
class Page:
    """A page of further subscribers; `sequence` is the last event that was fanned out on it."""

    subscribers: Watching = field(default_factory=dict)
    sequence: int = 0


@dataclass
class Socketed:
    """A connection's item; `closing`: its socket is to be closed; `arrival`: that of its bucket, epoch milliseconds."""

    connection: Connection
    closing: bool = False
    arrival: int = 0
    told: int = 0  # at which arrival its client was told that it is too fast


@dataclass(frozen=True)
class Key:
    """A clientOrderId that is taken, until `expires_at` (epoch seconds)."""

    order_id: UUID
    fingerprint: str
    expires_at: int


@dataclass
class Tables:
    """The tables. `page_size` is how many subscribers a page holds, in small worlds fewer than on AWS; `pages` is how
    many pages an order may have, page 0 included."""

    page_size: int = PAGE_SIZE
    pages: int = PAGES
    orders: dict[UUID, OrderItem] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    further: dict[UUID, dict[int, Page]] = field(default_factory=dict)
    connections: dict[str, Socketed] = field(default_factory=dict)
    runner: str = ""  # who watches the market
    sides: dict[Side, datetime] = field(default_factory=dict)
    expiries: dict[str, UUID] = field(default_factory=dict)  # by the names of their entries

    def page(self, subscriber: Subscriber) -> OrderItem | Page | None:
        """The item in which a subscriber is kept, or would be."""
        if subscriber.page == 0:
            return self.orders.get(subscriber.order_id)
        return self.further.get(subscriber.order_id, {}).get(subscriber.page)

    def watching(self, order_id: UUID) -> Watching:
        """Everybody who watches an order."""
        pages: list[OrderItem | Page] = [self.orders[order_id], *self.further.get(order_id, {}).values()]
        return {name: one for page in pages for name, one in page.subscribers.items()}

    def sweep(self, now: datetime) -> None:
        """Deletes the orders and keys whose time to live is over, which DynamoDB does some time later; and the expiries
        that are over, which a watcher has found long before, unless there was none because nothing rested."""
        kept = {key: item for key, item in self.orders.items() if not item.expires_at or item.expires_at > now}
        self.orders = kept
        self.keys = {name: key for name, key in self.keys.items() if key.expires_at > now.timestamp()}
        until = f"{milliseconds(now):015d}"
        self.expiries = {name: order_id for name, order_id in self.expiries.items() if name > until}
