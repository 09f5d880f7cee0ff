"""What the use cases need from the outside, as Protocols; adapters need not inherit from them.

Every method may raise ServiceUnavailable if its service does not respond. The call may have taken effect all the same,
so a caller must be able to repeat it. Every call has a limit (`order_engine.limits`); it raises OutOfTime instead of
starting when the limit exceeds what is left of the invocation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from order_engine.domain.access import StoredKey, StreamSecrets
from order_engine.domain.events import StatusEvent
from order_engine.domain.order import Order
from order_engine.domain.quota import Allowance
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Connection, Subscriber
from order_engine.domain.summary import OrderFilter, OrderSummary, Position
from order_engine.domain.swaps import Ended, InFlight, Quote, Transaction, TransactionState, VenueName

Clock = Callable[[], datetime]  # aware, UTC
Pair = tuple[str, str]  # symbols: tokenIn, tokenOut
Cursor = Mapping[str, Any] | None  # opaque

# How long a clientOrderId is taken, from the acceptance of its order.
KEY_LIFETIME = timedelta(days=30)


class Venue(Protocol):
    """A place to swap. Every call has our own limit, but a call that hangs keeps one of the venue's threads: an
    adapter's own timeouts must end it within a minute or so.

    `request_id` names what an attempt asks for (in FIX: QuoteReqID). A repeated attempt repeats it.
    """

    @property
    def name(self) -> VenueName:
        """The venue's name on the wire."""

    def quote(self, order: Order, request_id: str) -> Quote:
        """Return what the order would give now. Raises an ExecutionError."""

    def spot(self, token_in: str, token_out: str) -> Decimal:
        """Return units of tokenOut for one tokenIn, as a very small order would net it now: after the venue's fee,
        without price impact. Raises an ExecutionError."""

    def build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        """Return the signed transaction without sending it: it is journaled first. Raises an ExecutionError."""

    def send(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        """Send the transaction, and wait up to `wait_seconds` for its end. Sending it again is harmless.

        Raises TransactionTimeout if it may have arrived, VenueUnavailable or RateLimited."""

    def status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        """Look the transaction up; while it is in flight, wait up to `wait_seconds` for its end."""

    def abandon(self, transaction: Transaction) -> Ended | InFlight:
        """See to it that a transaction which has not landed never will, or say that this can't be known yet.

        InFlight is an ordinary result until the transaction's validity has passed, on Solana for 60 to 90 s. The caller
        asks again later; only Dropped allows it to build another transaction."""


class Launchpad(Protocol):
    """Where tokens are launched: a mock market's matter."""

    def launch(self, symbol: str, at: datetime) -> datetime:
        """Open the pools of a token at a moment. Return when they open, which is the first moment that was said."""


@dataclass(frozen=True)
class Claim:
    """A lease on an order. `interrupted`: its last holder did not release it, so it crashed or was stopped."""

    record: OrderRecord
    owner: str
    interrupted: bool


class Journal(Protocol):
    """The orders and their events: the source of truth, from which a worker resumes."""

    def create(self, record: OrderRecord, fingerprint: str) -> OrderRecord:
        """Write a new order and return its record. If its clientOrderId is taken by an order of the same fingerprint,
        return that one's record and write nothing. Order and key are written together or not at all.

        A key is taken for KEY_LIFETIME from its order's acceptance, and an order is kept for longer than that.
        Raises ClientOrderIdReused if the key is taken by an order with another fingerprint."""

    def read(self, order_id: UUID) -> OrderRecord:
        """Return the record (consistent read). Raises UnknownOrder."""

    def named(self, owner: str, client_order_id: str) -> UUID | None:
        """Return the order that has the owner's clientOrderId, or had it last; None if that is forgotten."""

    def withdraw(self, order_id: UUID) -> bool:
        """Delete an order that no worker has claimed. Return False, and keep it, if a worker has or had it."""

    def decide(self, record: OrderRecord) -> bool:
        """Append the record's last event whoever has the lease, which is taken from them; the order is `behind` then.
        Return False, and write nothing, if another event was appended or a transaction was journaled meanwhile."""

    def claim(self, order_id: UUID) -> Claim:
        """Take the lease. Raises UnknownOrder, OrderClosed, LeaseHeld or BackingOff."""

    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        """Write the record's last event, transaction, errors and `behind`. Return it with the subscribers of that
        moment and whether it is crowded.

        Raises LeaseLost if the lease is another's or the event is not the next one."""

    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        """Write the record's errors and `behind`, and release the lease. With `closed` nothing is owed for the order
        any more; with `not_before` it can't be claimed until then, however many messages it has.

        Raises LeaseLost."""


class Subscribers(Protocol):
    """Who watches which order, in pages. A page is one item: all writes to it exclude each other, and a crowd on the
    further pages costs the order's own item (page 0) nothing."""

    def join(self, subscriber: Subscriber, admit: Callable[[str], object] = lambda _owner: None) -> Subscriber:
        """Keep a new subscriber and return it with its page. `admit` is told whose order it is, and may refuse.

        Raises UnknownOrder or TooManySubscribers; no refusal writes anything."""

    def read(self, subscriber: Subscriber) -> Subscriber | None:
        """Return the subscriber as it is stored (consistent read); None if it is not kept any more."""

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """Make the publisher the writer after event `through`. Return False, and change nothing, if a later event was
        fanned out on the subscriber's page or its generation changed."""

    def fan_out(self, order_id: UUID, sequence: int) -> tuple[Subscriber, ...]:
        """Mark event `sequence` as fanned out on every page but page 0. Return the subscribers of each page at that
        moment; one that is handed over later on such a page has had the event from `notify`."""

    def take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """Make `notify` the writer of subscribers of one page again, each after its `sent_through`, in one write.
        Return them as they are then, without those that are not kept any more."""

    def replay(self, subscriber: Subscriber, at: datetime) -> Subscriber | None:
        """Take one subscriber back as `take_back` does, because it has asked for that; None if it is not kept.

        Raises ReplayUnderWay while `notify` is its writer already, unless that is overdue."""

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber; one that is not kept is no error. Only its order, page and connection are read."""

    def end(self, subscriber: Subscriber) -> bool:
        """Forget a subscriber as it stands. Return False, and keep it, if its generation has changed."""


class Connections(Protocol):
    """The sockets that are open, and which orders each watches."""

    def admit(self, owner: str) -> None:
        """Raise TooManyStreams if the owner has as many open as it may have; those of the last second may be missed."""

    def open(self, connection: Connection) -> None:
        """Keep a new connection, for as long as a socket can be open."""

    def find(self, connection_id: str) -> Connection | None:
        """Return a connection."""

    def hear(self, connection_id: str, cost: int) -> Connection | None:
        """Count a message of a connection, and return the connection. Raises TooManyMessages."""

    def add(self, subscriber: Subscriber) -> int | None:
        """Note that a connection watches another order; from then on it is lasting. Return on which page it is kept for
        it, which may be another one; None if the connection is not kept, or is being closed.

        Raises TooManySubscriptions."""

    def end(self, subscriber: Subscriber) -> bool:
        """Return whether the socket is to be closed now that the order is over: if so nothing can be added to it."""

    def drop(self, subscriber: Subscriber) -> None:
        """Note that a connection does not watch the order any more; one that is not kept is no error."""

    def forget(self, connection_id: str) -> None:
        """Forget a connection; one that is not kept is no error."""


class Keys(Protocol):
    """The API keys, by their ids, and the secrets of the streams."""

    def find(self, key_id: str) -> StoredKey | None:
        """Return a key, revoked or not."""

    def stream_secrets(self) -> StreamSecrets | None:
        """Return the secrets with which stream tokens are made; None before the first key was created."""


class Quotas(Protocol):
    """How many orders each owner may place."""

    def take(self, owner: str) -> Allowance:
        """Count a request, unless there are too many: then `retry_seconds` is above 0."""


@dataclass(frozen=True)
class Pause:
    """Since when the engine is paused, and by whom."""

    since: datetime
    by: str


class Pauses(Protocol):
    """Whether an operator has paused the engine."""

    def read(self) -> Pause | None:
        """Return the pause (consistent read); None while the engine runs."""


class Sockets(Protocol):
    """The management API of the WebSocket."""

    def post(self, connection_id: str, message: str) -> None:
        """Post a text to a socket, with one try. Raises SocketGone or SocketUnreachable."""

    def close(self, connection_id: str) -> bool:
        """Close a socket with code 1000, with one try. What was posted to it a moment ago may be dropped by that.
        Return False if there is no such connection: not yet, or no longer. Raises SocketUnreachable."""


class NotifyRequests(Protocol):
    """Requests for `notify`."""

    def send(self, subscriber: Subscriber) -> None:
        """Have `notify` invoked for the subscriber, soon and at least once."""


@dataclass(frozen=True)
class Side:
    """Resting orders that come due together: of a pair, as its price rises or as it falls."""

    pair: Pair
    rises: bool


@dataclass(frozen=True)
class Watched:
    """What is to be watched. `runner` is who watches; `sides` were noted last at these moments."""

    runner: str
    sides: dict[Side, datetime]


class Watchlist(Protocol):
    """The resting orders: an index by price, which the journal keeps with its own writes, and beside it what a watcher
    needs to know where to look. A lookup in the index may miss what was written in the last second, and show what is no
    more."""

    def note(self, order: Order) -> None:
        """See to it that the order is found: its side is watched, and its expiry known."""

    def take_over(self, runner: str) -> None:
        """Make this runner the one who watches; whoever was it before finds out by `read`."""

    def read(self) -> Watched:
        """Return what is to be watched (consistent read)."""

    def forget(self, side: Side, noted_at: datetime) -> None:
        """Watch a side no more, unless it was noted since."""

    def due(self, side: Side, price: Decimal, most: int, after: Cursor) -> tuple[list[UUID], Cursor]:
        """Return orders of a side that are due at a market price, those first that were due at a worse one: at most so
        many, and where to go on, None at the end. What is not due is not read."""

    def is_empty(self, side: Side) -> bool:
        """Return whether no order rests on a side."""

    def expiring(self, now: datetime, most: int) -> list[tuple[UUID, str]]:
        """Return orders whose time is over, at most so many, each with the name of its entry for `swept`."""

    def swept(self, entry: str) -> None:
        """Forget that an order's time is over: its message was sent."""


class OrderQueue(Protocol):
    """The queue between submit and the workers."""

    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        """Put the order before a worker, after the delay (0 to 900 s) at the earliest."""

    def waiting(self) -> int:
        """Return about how many messages wait for a worker."""


class History(Protocol):
    """The outcomes, for analysts."""

    def record(self, record: OrderRecord) -> None:
        """Write a final order and its events; writing them again is harmless. Raises HistoryUnavailable."""


class LiveOrders(Protocol):
    """The orders that are not closed, by owner. What was written in the last second may be missing, and what was closed
    in it be there."""

    def page(
        self, owner: str, after: Position | None, since: datetime | None, most: int
    ) -> tuple[list[OrderRecord], Position | None]:
        """Return the owner's first orders after a position of the list, newest first: at most so many, none created
        before `since`; and how far that goes, None if there are no more."""


class Archive(Protocol):
    """The history, read: final orders alone, each for its owner. Every method may raise HistoryUnavailable."""

    def find(self, owner: str, order_id: UUID) -> tuple[OrderSummary, tuple[StatusEvent, ...]]:
        """Return an order and its events. Raises UnknownOrder, for another owner's order too."""

    def named(self, owner: str, client_order_id: str) -> OrderSummary | None:
        """Return the newest order with this clientOrderId."""

    def page(self, owner: str, wanted: OrderFilter, after: Position | None, most: int) -> list[OrderSummary]:
        """Return the owner's first orders after a position of the list (from its beginning without one), at most so
        many, newest first."""
