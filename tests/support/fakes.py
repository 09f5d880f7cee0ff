"""The ports, kept in memory: each does what its contract says, and remembers what happened to it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from threading import RLock
from uuid import UUID

from order_engine.errors import (
    ClientOrderIdReused,
    ExecutionError,
    HistoryUnavailable,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OrderEngineError,
    ServiceUnavailable,
    UnknownOrder,
)
from order_engine.orders import (
    JournalEntry,
    Landed,
    Order,
    Outlook,
    Quote,
    Reverted,
    StatusEvent,
    Subscriber,
    Transaction,
    TransactionStatus,
    VenueName,
)
from order_engine.ports import Claim

from tests.support.builders import START, a_quote


class FixedClock:
    """A clock that stands still unless it is moved."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


_DEAD = "dead"


@dataclass
class _Kept:
    entry: JournalEntry
    fingerprint: str = ""
    owner: str | None = None
    closed: bool = False
    subscribers: dict[str, Subscriber] = field(default_factory=dict)

    def seen(self) -> JournalEntry:
        return replace(self.entry, subscribers=tuple(self.subscribers.values()))


class MemoryJournal:
    """Orders with their leases and subscribers. `before_append` runs before each append, as other workers may."""

    def __init__(self, *entries: JournalEntry) -> None:
        self.lock = RLock()
        self.kept = {entry.order.order_id: _Kept(entry) for entry in entries}
        self.away = False
        self.before_append: Callable[[JournalEntry], None] = lambda entry: None
        self._claims = 0

    def create(self, entry: JournalEntry, fingerprint: str) -> Order:
        with self.lock:
            self._reach()
            there = self.kept.setdefault(entry.order.order_id, _Kept(entry, fingerprint))
            if there.fingerprint != fingerprint:
                raise ClientOrderIdReused(str(entry.order.client_order_id))
            return there.entry.order

    def read(self, order_id: UUID) -> JournalEntry:
        with self.lock:
            return self._of(order_id).seen()

    def withdraw(self, order_id: UUID) -> bool:
        with self.lock:
            self._reach()
            there = self.kept[order_id]
            untouched = there.owner is None and there.entry.sequence == 1
            if untouched:
                del self.kept[order_id]
            return untouched

    def claim(self, order_id: UUID) -> Claim:
        with self.lock:
            there = self._of(order_id)
            if there.closed:
                raise OrderClosed(str(order_id))
            if there.owner not in (None, _DEAD):
                raise LeaseHeld(str(order_id))
            interrupted = there.owner == _DEAD
            self._claims += 1
            there.owner = f"owner-{self._claims}"
            return Claim(there.seen(), there.owner, interrupted)

    def die_holding(self, order_id: UUID) -> None:
        """Leaves the order as a worker leaves it that died with the lease, which has run out since."""
        self.kept[order_id].owner = _DEAD

    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        self.before_append(entry)
        with self.lock:
            there = self._of(entry.order.order_id)
            if there.owner != claim.owner or there.entry.sequence != entry.sequence - 1:
                raise LeaseLost(str(entry.order.order_id))
            there.entry = replace(entry, subscribers=())
            return Claim(there.seen(), claim.owner, interrupted=False)

    def release(self, claim: Claim, closed: bool = False) -> None:
        with self.lock:
            there = self._of(claim.entry.order.order_id)
            if there.owner != claim.owner:
                raise LeaseLost(str(claim.entry.order.order_id))
            there.entry = replace(there.entry, errors=claim.entry.errors)
            there.owner, there.closed = None, closed

    def _of(self, order_id: UUID) -> _Kept:
        self._reach()
        if order_id not in self.kept:
            raise UnknownOrder(str(order_id))
        return self.kept[order_id]

    def _reach(self) -> None:
        if self.away:
            raise ServiceUnavailable("journal")


class MemorySubscribers:
    """Subscribers, kept with the orders of a MemoryJournal. `away` names the calls that are not answered."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal
        self.away: set[str] = set()

    def join(self, subscriber: Subscriber) -> None:
        with self._journal.lock:
            if subscriber.order_id not in self._journal.kept:
                raise UnknownOrder(str(subscriber.order_id))
            self._journal.kept[subscriber.order_id].subscribers[subscriber.connection_id] = subscriber

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        with self._journal.lock:
            there = self._journal.kept[subscriber.order_id]
            current = there.subscribers.get(subscriber.connection_id)
            if not current or current.generation != subscriber.generation or there.entry.sequence != through:
                return False
            there.subscribers[subscriber.connection_id] = replace(current, live_after=through, sent_through=through)
            return True

    def take_back(self, subscriber: Subscriber, sent_through: int) -> Subscriber | None:
        self._reach("take_back")
        with self._journal.lock:
            rows = self._journal.kept[subscriber.order_id].subscribers
            current = rows.get(subscriber.connection_id)
            if current is None:
                return None
            taken = replace(current, live_after=None, sent_through=sent_through, generation=current.generation + 1)
            rows[subscriber.connection_id] = taken
            return taken

    def order_of(self, connection_id: str) -> UUID | None:
        with self._journal.lock:
            return next((key for key, there in self._journal.kept.items() if connection_id in there.subscribers), None)

    def leave(self, connection_id: str) -> None:
        self._reach("leave")
        with self._journal.lock:
            for there in self._journal.kept.values():
                there.subscribers.pop(connection_id, None)

    def of(self, order_id: UUID) -> dict[str, Subscriber]:
        return self._journal.kept[order_id].subscribers

    def _reach(self, call: str) -> None:
        if call in self.away:
            raise ServiceUnavailable("subscribers")


class MemorySockets:
    """Sockets that keep what they are sent. `faults` holds, for a connection, what its next posts raise;
    `after_post` runs after each post that arrived."""

    def __init__(self) -> None:
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.faults: defaultdict[str, list[OrderEngineError]] = defaultdict(list)
        self.after_post: Callable[[], None] = lambda: None

    def post(self, connection_id: str, message: str) -> None:
        if self.faults[connection_id]:
            raise self.faults[connection_id].pop(0)
        self.received[connection_id].append(message)
        self.after_post()

    def sequences(self, connection_id: str) -> list[int]:
        """The sequences that a connection received, in that order."""
        return [StatusEvent.model_validate_json(text).sequence for text in self.received[connection_id]]

    def statuses(self, connection_id: str) -> list[str]:
        """The statuses that a connection received, in that order."""
        return [StatusEvent.model_validate_json(text).status.value for text in self.received[connection_id]]


class MemoryCatchUps:
    """Remembers whom `notify` was asked for."""

    def __init__(self) -> None:
        self.requested: list[Subscriber] = []
        self.away = False

    def request(self, subscriber: Subscriber) -> None:
        if self.away:
            raise ServiceUnavailable("notify function")
        self.requested.append(subscriber)


class MemoryQueue:
    """Remembers the messages, each with its delay in seconds."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, int]] = []
        self.away = False

    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        if self.away:
            raise ServiceUnavailable("order queue")
        self.sent.append((order_id, delay_seconds))


class MemoryHistory:
    """Rows of final orders."""

    def __init__(self) -> None:
        self.rows: dict[UUID, JournalEntry] = {}
        self.away = False

    def record(self, entry: JournalEntry) -> None:
        if self.away:
            raise HistoryUnavailable("PostgreSQL")
        self.rows.setdefault(entry.order.order_id, entry)


class ScriptedVenue:
    """A venue with a ledger of its own. What goes wrong is scripted:

    `quote_faults` and `submit_faults` hold what the next calls raise; so do `lost_answers`, but the transaction
    arrives; `status_faults` are for `status` and `abandon`; `ends_as` is how transactions that arrive end.
    `before_quote` and `before_submit` run first.
    """

    def __init__(self, name: VenueName, amount_out: str = "1490") -> None:
        self.name = name
        self.amount_out = amount_out
        self.ledger: dict[str, TransactionStatus] = {}
        self.arrived: list[Transaction] = []
        self.quote_faults: list[Exception] = []
        self.submit_faults: list[ExecutionError] = []
        self.status_faults: list[ExecutionError] = []
        self.lost_answers: list[ExecutionError] = []
        self.ends_as: TransactionStatus | None = None
        self.quoted = 0
        self.before_quote: Callable[[], object] = lambda: None
        self.before_submit: Callable[[Transaction], object] = lambda transaction: None

    def quote(self, order: Order, attempt: int) -> Quote:
        self.quoted += 1
        self.before_quote()
        if self.quote_faults:
            raise self.quote_faults.pop(0)
        return a_quote(self.name, self.amount_out)

    def build(self, order: Order, attempt: int, quote: Quote, min_amount_out: Decimal) -> Transaction:
        return Transaction(
            tx_hash=f"{self.name}-{order.order_id}-{attempt}",
            order_id=order.order_id,
            attempt=attempt,
            venue=self.name,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            fee=quote.fee,
            quoted_amount_out=quote.amount_out,
            min_amount_out=min_amount_out,
            steps=("swap",),
        )

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        self.before_submit(transaction)
        if self.lost_answers:
            self._arrive(transaction)
            raise self.lost_answers.pop(0)
        if self.submit_faults:
            raise self.submit_faults.pop(0)
        return self._arrive(transaction)

    def status(self, tx_hash: str, wait_seconds: float) -> TransactionStatus:
        if self.status_faults:
            raise self.status_faults.pop(0)
        return self.ledger.get(tx_hash, Outlook.UNKNOWN)

    def abandon(self, transaction: Transaction) -> TransactionStatus:
        if self.status_faults:
            raise self.status_faults.pop(0)
        current = self.ledger.get(transaction.tx_hash)
        if isinstance(current, Landed | Reverted):
            return current
        self.ledger[transaction.tx_hash] = Outlook.DEAD
        return Outlook.DEAD

    def _arrive(self, transaction: Transaction) -> TransactionStatus:
        landed = Landed(transaction.quoted_amount_out, Decimal(149))
        ends_as = landed if self.ends_as is None else self.ends_as
        if transaction.tx_hash not in self.ledger:
            self.ledger[transaction.tx_hash] = ends_as
            self.arrived.append(transaction)
        return self.ledger[transaction.tx_hash]
