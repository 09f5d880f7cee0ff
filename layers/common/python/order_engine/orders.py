"""An order, its events and its journal entry: frozen models, whose JSON form is the wire format."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from order_engine.amounts import Amount
from order_engine.errors import FailureCode
from order_engine.status import FINAL, OrderStatus, check_transition


class WireModel(BaseModel):
    """A frozen model: camelCase and decimal strings in JSON, snake_case and Decimal in Python.

    Fields that it does not know are ignored, so that an item which a later release stored is still read after a
    rollback.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """The wire form, without fields that have their defaults: an earlier release may not know them yet."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)


class VenueName(StrEnum):
    """The venues that the router asks."""

    RAYDIUM = "raydium"
    METEORA = "meteora"


class Order(WireModel):
    """An accepted order; nothing in it ever changes.

    `token_in` and `token_out` are symbols of the token table, amounts are in units of the token (not base units),
    `min_amount_out` is what the client asked for, if anything. A quote whose price impact is above
    `max_price_impact_bps` is not taken.
    """

    order_id: UUID
    order_type: str
    token_in: str
    token_out: str
    amount_in: Amount
    slippage_bps: int
    max_price_impact_bps: int = 1000
    min_amount_out: Amount | None = None
    client_order_id: str | None = None
    created_at: datetime


class Quote(WireModel):
    """What a venue offers for an order.

    `price`: tokenOut per tokenIn before fee and impact; `fee`: fraction of amountIn that the venue keeps (0.003 is
    0.3 %); `price_impact_pct`: how far the trade itself moves the pool, in per cent; `amount_out`: what the user
    receives, after fee and impact, rounded down to tokenOut's base unit.
    """

    venue: VenueName
    price: Amount
    fee: Amount
    price_impact_pct: Amount
    amount_out: Amount


class Rejection(WireModel):
    """A venue that gave no quote, and why."""

    venue: VenueName
    code: FailureCode
    error: str


class Transaction(WireModel):
    """A signed swap, ready to be sent; sending it twice is harmless, because the chain knows its `tx_hash`.

    `steps` are its instructions in order (wrapping and unwrapping SOL among them); the chain itself refuses to
    swap for less than `min_amount_out`. It carries all that a worker needs which did not build it: `signed`, the
    venue's own bytes in base64, and `valid_until`, after which it can't land any more (on Solana: the time of its last
    valid block height). Both are empty in a transaction that an earlier release journaled.
    """

    tx_hash: str
    order_id: UUID
    attempt: int
    venue: VenueName
    token_in: str
    token_out: str
    amount_in: Amount
    fee: Amount
    quoted_amount_out: Amount
    min_amount_out: Amount
    steps: tuple[str, ...]
    signed: str = ""
    valid_until: datetime | None = None


class AttemptError(WireModel):
    """How one attempt ended when it did not end well."""

    attempt: int
    code: FailureCode
    error: str
    timestamp: datetime


class StatusEvent(WireModel):
    """One status of an order, as subscribers receive it; which of the optional fields it has follows from `status`."""

    order_id: UUID
    sequence: int
    status: OrderStatus
    attempt: int
    timestamp: datetime
    message: str
    venue: VenueName | None = None
    quotes: tuple[Quote, ...] | None = None
    rejected: tuple[Rejection, ...] | None = None
    min_amount_out: Amount | None = None
    tx_hash: str | None = None
    executed_price: Amount | None = None
    amount_out: Amount | None = None
    code: FailureCode | None = None
    error: str | None = None
    attempts: tuple[AttemptError, ...] | None = None


@dataclass(frozen=True)
class Subscriber:
    """A connection that watches an order.

    While `live_after` is None, `notify` is its writer and goes on after `sent_through`; from then on the publisher
    posts it every event after `live_after`. `generation` rises whenever the writer changes back to `notify`, so that
    a handover which was decided before does not hold. `page` is where it is kept: 0 is the order's own journal
    item, others are items of their own, for the subscribers that find page 0 full.
    """

    order_id: UUID
    connection_id: str
    connected_at: datetime
    sent_through: int = 0
    generation: int = 1
    live_after: int | None = None
    page: int = 0


@dataclass(frozen=True)
class JournalEntry:
    """Everything the journal knows of an order.

    `transaction` is the one that was submitted last, `errors` are the attempts that failed, `subscribers` those of
    page 0 who watched when the entry was read or last written. `crowded`: there are subscribers on further pages.
    `behind`: a subscriber may lack an event before the last, because it could be neither reached nor taken back.
    `taken_up`: some worker has had the order. `requested` is not stored: for whom `notify` was asked during this
    delivery, by connection and generation.
    """

    order: Order
    events: tuple[StatusEvent, ...]
    transaction: Transaction | None = None
    errors: tuple[AttemptError, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    crowded: bool = False
    behind: bool = False
    taken_up: bool = field(default=False, compare=False)
    requested: frozenset[tuple[str, int]] = frozenset()

    @property
    def last(self) -> StatusEvent:
        """The newest event."""
        return self.events[-1]

    @property
    def sequence(self) -> int:
        """The newest event's number; events are numbered 1, 2, 3 …"""
        return self.last.sequence

    @property
    def status(self) -> OrderStatus:
        """Where the order stands."""
        return self.last.status

    @property
    def attempt(self) -> int:
        """The attempt that runs or ran last."""
        return self.last.attempt

    @property
    def is_final(self) -> bool:
        """Whether the order is confirmed or failed, for good."""
        return self.status in FINAL

    def subscriber(self, connection_id: str) -> Subscriber | None:
        """The subscriber of this connection."""
        return next((one for one in self.subscribers if one.connection_id == connection_id), None)

    @property
    def attempt_failed(self) -> bool:
        """Whether the current attempt is known to have failed."""
        return any(error.attempt == self.attempt for error in self.errors)

    @property
    def routed_at(self) -> datetime | None:
        """When a worker first took the order up; its age counts from then."""
        return next((event.timestamp for event in self.events if event.status is OrderStatus.ROUTING), None)

    def event_of(self, status: OrderStatus) -> StatusEvent | None:
        """The newest event of this status."""
        return next((event for event in reversed(self.events) if event.status is status), None)

    def advanced(
        self, status: OrderStatus, at: datetime, message: str, attempt: int | None = None, **details: Any
    ) -> "JournalEntry":
        """The entry with one more event; raises IllegalTransition where the lifecycle has no such move."""
        check_transition(self.status, status)
        event = StatusEvent(
            order_id=self.order.order_id,
            sequence=self.sequence + 1,
            status=status,
            attempt=self.attempt if attempt is None else attempt,
            timestamp=at,
            message=message,
            **details,
        )
        return replace(self, events=(*self.events, event))


def accepted(order: Order) -> JournalEntry:
    """The entry that every order begins with: `pending`, sequence 1."""
    event = StatusEvent(
        order_id=order.order_id,
        sequence=1,
        status=OrderStatus.PENDING,
        attempt=0,
        timestamp=order.created_at,
        message=f"Order received: swap {order.amount_in:f} {order.token_in} for {order.token_out}",
    )
    return JournalEntry(order=order, events=(event,))


@dataclass(frozen=True)
class Landed:
    """The swap is on the chain: this is what the user received, and the price it came to."""

    amount_out: Decimal
    executed_price: Decimal


@dataclass(frozen=True)
class Reverted:
    """The transaction is on the chain, but swapped nothing."""

    reason: str
    code: FailureCode = FailureCode.TRANSACTION_REVERTED


@dataclass(frozen=True)
class Dead:
    """The transaction has not landed, and never can: the only state that allows another attempt."""


@dataclass(frozen=True)
class Pending:
    """The venue has seen the transaction, or can't rule out that it still lands."""


@dataclass(frozen=True)
class Unknown:
    """The venue has never seen the transaction; it may still arrive."""


Ended = Landed | Reverted | Dead
TransactionStatus = Ended | Pending | Unknown
