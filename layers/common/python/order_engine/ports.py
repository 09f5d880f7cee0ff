"""What the use cases need from the outside, as Protocols; adapters need not inherit from them.

Every method of every port may raise ServiceUnavailable when its service does not answer; where a call can have
taken effect although its answer was lost, the caller must bear its being repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from order_engine.orders import (
    JournalEntry,
    Order,
    Quote,
    Subscriber,
    Transaction,
    TransactionStatus,
    VenueName,
)

Clock = Callable[[], datetime]  # aware, UTC


class Venue(Protocol):
    """A place to swap. All calls but `build` go over the network and are bounded in time by the adapter."""

    @property
    def name(self) -> VenueName:
        """The venue's name on the wire."""

    def quote(self, order: Order, attempt: int) -> Quote:
        """What the order would give now. Raises VenueUnavailable, RateLimited or InsufficientLiquidity."""

    def build(self, order: Order, attempt: int, quote: Quote, min_amount_out: Decimal) -> Transaction:
        """The signed transaction; no input or output, so that its txHash can be journaled before it is sent."""

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """Sends it, and waits for its end, `wait_seconds` at most. The same transaction may be sent again.

        Raises TransactionTimeout when it is unknown whether it arrived, VenueUnavailable or RateLimited."""

    def status(self, tx_hash: str, wait_seconds: float) -> TransactionStatus:
        """How the transaction stands; while it is pending, waits for its end, `wait_seconds` at most."""

    def abandon(self, transaction: Transaction) -> TransactionStatus:
        """Makes sure that a transaction which has not landed never will.

        Answers how it ended: DEAD, Landed or Reverted."""


@dataclass(frozen=True)
class Claim:
    """A lease on an order. `interrupted`: its last holder did not give the lease back, so it died or was stopped."""

    entry: JournalEntry
    owner: str
    interrupted: bool


class Journal(Protocol):
    """The orders and their events; the truth that a worker resumes from."""

    def create(self, entry: JournalEntry, fingerprint: str) -> Order:
        """Writes a new order, and answers it; or, if one of this id and fingerprint is there, answers that one.

        Raises ClientOrderIdReused if there is one of this id with another fingerprint."""

    def read(self, order_id: UUID) -> JournalEntry:
        """The entry as it stands (consistent). Raises UnknownOrder."""

    def withdraw(self, order_id: UUID) -> bool:
        """Deletes an order that no worker has touched; False if one has, and the order stays."""

    def claim(self, order_id: UUID) -> Claim:
        """Takes the lease. Raises UnknownOrder, LeaseHeld, or OrderClosed."""

    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Writes the entry's last event, transaction and errors; answers it with the subscribers of that moment.

        Raises LeaseLost if the lease is another's or the event is not the next one."""

    def release(self, claim: Claim, closed: bool = False) -> None:
        """Writes the entry's errors and gives the lease back; with `closed`, nothing is owed any more for this order.

        Raises LeaseLost."""


class Subscribers(Protocol):
    """Who watches what. A subscriber is kept with its order, so that an append and a handover exclude each other."""

    def join(self, subscriber: Subscriber) -> None:
        """Keeps a new subscriber. Raises UnknownOrder, or TooManySubscribers."""

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """Makes the publisher the writer after event `through`, if that is still the order's last event and the
        subscriber's generation is unchanged; False if not, and nothing has changed."""

    def take_back(self, subscriber: Subscriber, sent_through: int) -> Subscriber | None:
        """Makes `notify` the writer again, after event `sent_through`; None if the subscriber is no longer kept."""

    def order_of(self, connection_id: str) -> UUID | None:
        """The order that a connection watches, if it watches one."""

    def leave(self, connection_id: str) -> None:
        """Forgets a connection; one that is not kept is no error."""


class Sockets(Protocol):
    """The WebSocket side of the gateway."""

    def post(self, connection_id: str, message: str) -> None:
        """Posts a text to a socket; bounded to about 2 s. Raises SocketGone or SocketUnreachable."""


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
