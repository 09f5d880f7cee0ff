"""The record of an order: the order, its events, and what the journal keeps beside them."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from order_engine.domain.errors import IllegalTransition
from order_engine.domain.events import Accepted, AttemptError, Header, Opened, RoutingStarted, StatusEvent, Triggered
from order_engine.domain.lifecycle import FINAL, OrderStatus, check_transition
from order_engine.domain.order import Order
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import Transaction


@dataclass(frozen=True)
class OrderRecord:
    """Everything the journal knows of an order.

    `transaction` is the one that was submitted last, `errors` are the failed attempts, `subscribers` those of page 0
    when the record was read or last written. `crowded`: there are subscribers on further pages. `behind`: a subscriber
    may lack an event, because it could be neither reached nor taken back, or because nobody has posted it yet.
    `misses`: how often a resting order, once triggered, found the market too bad since it stopped going back to `open`.
    `taken_up`: a worker has claimed the order before. `held`: one has it at this moment, or died with it.
    `closed`: nothing is owed for it any more.

    Not stored: `requested`, for whom `notify` was invoked during this delivery, by connection and generation; `served`,
    who was posted the final event during this delivery.
    """

    order: Order
    events: tuple[StatusEvent, ...]
    transaction: Transaction | None = None
    errors: tuple[AttemptError, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    crowded: bool = False
    behind: bool = False
    misses: int = 0
    taken_up: bool = field(default=False, compare=False)
    held: bool = field(default=False, compare=False)
    closed: bool = field(default=False, compare=False)
    requested: frozenset[tuple[str, int]] = frozenset()
    served: tuple[Subscriber, ...] = ()

    @classmethod
    def accepted(cls, order: Order) -> Self:
        """Return the record that every order begins with: `pending`, sequence 1."""
        message = f"Order received: swap {order.amount_in:f} {order.token_in} for {order.token_out}"
        header = Header(order_id=order.order_id, sequence=1, attempt=0, timestamp=order.created_at)
        return cls(order=order, events=(Accepted(**header, message=message),))

    @property
    def last(self) -> StatusEvent:
        """The newest event."""
        return self.events[-1]

    @property
    def sequence(self) -> int:
        """The newest event's number."""
        return self.last.sequence

    @property
    def status(self) -> OrderStatus:
        """The order's current status."""
        return self.last.status

    @property
    def attempt(self) -> int:
        """The attempt that runs or ran last; 0 before the first one."""
        return self.last.attempt

    @property
    def is_final(self) -> bool:
        """Whether the order has ended, for good."""
        return self.status in FINAL

    @property
    def attempt_failed(self) -> bool:
        """Whether the current attempt is known to have failed."""
        return any(error.attempt == self.attempt for error in self.errors)

    @property
    def open_transaction(self) -> Transaction | None:
        """The transaction that may still land, or has landed and was not yet concluded."""
        return self.transaction if self.status is OrderStatus.SUBMITTED and not self.attempt_failed else None

    @property
    def submitted_transaction(self) -> Transaction:
        """The transaction that was submitted last, of an order that has one."""
        if self.transaction is None:
            raise AssertionError("only a journaled transaction is ever sent")
        return self.transaction

    @property
    def openings(self) -> tuple[Opened, ...]:
        """The events with which the order came to rest."""
        return tuple(event for event in self.events if isinstance(event, Opened))

    @property
    def tries(self) -> int:
        """How many attempts there were since the order rested last, or since it was accepted."""
        return self.tries_through(self.attempt)

    def tries_through(self, attempt: int) -> int:
        """Return how many attempts since then an attempt makes, itself among them."""
        return attempt - (self.openings[-1].attempt if self.openings else 0)

    @property
    def routed_at(self) -> datetime | None:
        """When the first of these attempts began; the order's age counts from then."""
        rested = self.openings[-1].sequence if self.openings else 0
        began = (event for event in self.events[rested:] if isinstance(event, RoutingStarted))
        return next((event.timestamp for event in began), None)

    @property
    def due_at(self) -> datetime | None:
        """When the market last allowed the order to be executed: its trigger, or its acceptance if it has never rested.
        None while it waits for the market."""
        waits = (event for event in reversed(self.events) if isinstance(event, Opened | Triggered))
        match next(waits, None):
            case None:
                return self.order.created_at
            case Triggered(timestamp=triggered_at) if not self.misses:
                return triggered_at
            case _:
                return None

    def subscriber(self, connection_id: str) -> Subscriber | None:
        """Return the subscriber of this connection, if it is on page 0."""
        return next((one for one in self.subscribers if one.connection_id == connection_id), None)

    def header(self, at: datetime, attempt: int | None = None) -> Header:
        """Return what the next event starts with."""
        number = self.attempt if attempt is None else attempt
        return Header(order_id=self.order.order_id, sequence=self.sequence + 1, attempt=number, timestamp=at)

    def followed_by(self, event: StatusEvent) -> "OrderRecord":
        """Return the record with one more event. Raises IllegalTransition where the lifecycle has no such move."""
        check_transition(self.status, event.status)
        if event.sequence != self.sequence + 1:
            raise IllegalTransition(f"event {event.sequence} can't follow event {self.sequence}")
        return replace(self, events=(*self.events, event))
