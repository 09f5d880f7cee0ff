"""What the use cases need from the outside, as Protocols; adapters need not inherit from them.

Every method of every port may raise ServiceUnavailable when its service does not answer; where a call can have
taken effect although its answer was lost, the caller must bear its being repeated. Every call has a limit
(`order_engine.limits`), and raises OutOfTime instead of beginning when that exceeds what is left of the invocation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from order_engine.orders import (
    Ended,
    JournalEntry,
    Order,
    Pending,
    Quote,
    Subscriber,
    Transaction,
    TransactionStatus,
    VenueName,
)

Clock = Callable[[], datetime]  # aware, UTC

# How long a clientOrderId is taken, from the acceptance of its order.
KEY_LIFETIME = timedelta(days=30)


class Venue(Protocol):
    """A place to swap. A call may hang: the executor has a limit of its own for each. But it keeps one of the venue's
    threads until it ends, so an adapter's own time-outs have to end it, within a minute or so."""

    @property
    def name(self) -> VenueName:
        """The venue's name on the wire."""

    def quote(self, order: Order, attempt: int) -> Quote:
        """What the order would give now. Raises an ExecutionError."""

    def build(self, order: Order, attempt: int, quote: Quote, min_amount_out: Decimal) -> Transaction:
        """The signed transaction, which is not sent, so that it can be journaled before. Raises an ExecutionError."""

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """Sends it, and waits for its end, `wait_seconds` at most. The same transaction may be sent again.

        Raises TransactionTimeout when it is unknown whether it arrived, VenueUnavailable or RateLimited."""

    def status(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """How the transaction stands; while it is pending, waits for its end, `wait_seconds` at most."""

    def abandon(self, transaction: Transaction) -> Ended | Pending:
        """Makes sure that a transaction which has not landed never will, or says that this can't be known yet.

        Pending is an ordinary answer until the transaction's validity has passed, on Solana for 60 to 90 s; the caller
        asks again later, and only Dead allows it to build another transaction."""


@dataclass(frozen=True)
class Claim:
    """A lease on an order. `interrupted`: its last holder did not give the lease back, so it died or was stopped."""

    entry: JournalEntry
    owner: str
    interrupted: bool


class Journal(Protocol):
    """The orders and their events; the truth that a worker resumes from."""

    def create(self, entry: JournalEntry, fingerprint: str) -> JournalEntry:
        """Writes a new order and returns its entry; or, if its clientOrderId is taken by an order of the same
        fingerprint, returns that one's entry and writes nothing. Order and key are written together or not at all.

        A key is taken for KEY_LIFETIME from its order's acceptance, and an order is kept for longer than that.
        Raises ClientOrderIdReused if the key is taken by an order with another fingerprint."""

    def read(self, order_id: UUID) -> JournalEntry:
        """The entry as it stands (consistent). Raises UnknownOrder."""

    def withdraw(self, order_id: UUID) -> bool:
        """Deletes an order that no worker has touched. True if it is gone then; False if a worker has it, or had it,
        and the order stays."""

    def claim(self, order_id: UUID) -> Claim:
        """Takes the lease. Raises UnknownOrder, OrderClosed, LeaseHeld, or BackingOff."""

    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Writes the entry's last event, transaction, errors and `behind`; returns it with the subscribers of that
        moment and whether it is crowded.

        Raises LeaseLost if the lease is another's or the event is not the next one."""

    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        """Writes the entry's errors and `behind`, and gives the lease back. With `closed`, nothing is owed any more for
        this order; with `not_before`, it can't be claimed until then, however many messages it has.

        Raises LeaseLost."""


class Subscribers(Protocol):
    """Who watches what, in pages of an order. A page is one item: whatever happens to it excludes everything else, and
    a crowd beyond the order's own item (page 0) costs that item nothing."""

    def join(self, subscriber: Subscriber) -> Subscriber:
        """Keeps a new subscriber, and returns it with its page. Raises UnknownOrder, or TooManySubscribers; neither
        refusal writes anything."""

    def find(self, connection_id: str) -> Subscriber | None:
        """Where the subscriber of a connection is kept: its order, page and connection count, the rest does not."""

    def read(self, subscriber: Subscriber) -> Subscriber | None:
        """The subscriber as it stands (consistent); None if it is no longer kept."""

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """Makes the publisher the writer after event `through`, if no later event was fanned out on the subscriber's
        page and its generation is unchanged; False if not, and nothing has changed."""

    def turn(self, order_id: UUID, sequence: int) -> tuple[Subscriber, ...]:
        """Marks event `sequence` as fanned out on every page but page 0; returns the subscribers of each page as they
        were at that moment. Who is handed over later on such a page has had the event from `notify`."""

    def take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Makes `notify` the writer of subscribers of one page again, each after its `sent_through`; one write. Returns
        them as they are then, without those that are no longer kept."""

    def leave(self, subscriber: Subscriber) -> None:
        """Forgets a subscriber; one that is not kept is no error. Only its order, page and connection count."""


class Sockets(Protocol):
    """The WebSocket side of the gateway."""

    def post(self, connection_id: str, message: str) -> None:
        """Posts a text to a socket, with one try. Raises SocketGone or SocketUnreachable."""


class CatchUps(Protocol):
    """How somebody asks for a connection to be brought up to date."""

    def request(self, subscriber: Subscriber) -> None:
        """Has `notify` invoked for it, soon, and at least once."""


class OrderQueue(Protocol):
    """The queue between submit and the workers."""

    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        """Puts the order before a worker, at the earliest after the delay (0 to 900 s)."""


class History(Protocol):
    """The outcomes, for analysts."""

    def record(self, entry: JournalEntry) -> None:
        """Writes a final order and its events; again is harmless. Raises HistoryUnavailable."""
