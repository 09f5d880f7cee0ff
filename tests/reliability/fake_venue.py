"""A venue whose fate is scripted, on a chain with the conditions of `adapters.mock_chain` (test_contract.py)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from itertools import count
from typing import TypeVar

from order_engine.adapters.mock_chain import Execution, Pending
from order_engine.amounts import floor_to_unit, price_of
from order_engine.errors import InsufficientLiquidity, ServiceUnavailable, TransactionTimeout, VenueUnavailable
from order_engine.orders import (
    Landed,
    Order,
    Outlook,
    Quote,
    Reverted,
    Transaction,
    TransactionStatus,
    VenueName,
)

from tests.reliability.gate import Gate, Service, outside

R = TypeVar("R")


@dataclass
class Sent:
    """A transaction on the chain: `state` goes from sent to landed, reverted or dead, once and for good."""

    order_id: str
    state: str
    execution: Execution | None = None

    def ended(self) -> TransactionStatus:
        """How it ended."""
        match self.state, self.execution:
            case "landed", Execution(amount_out=amount_out, executed_price=price):
                return Landed(amount_out, price)
            case "reverted", Execution(reverted=str(reason)):
                return Reverted(reason)
        return Outlook.DEAD


@dataclass
class Ledger:
    """What is on the chain. `one_per_order`: the mock chain's guard, which lets an order have one transaction that can
    land. Real chains have none, so the worlds run without it unless they say so."""

    one_per_order: bool = True
    sent: dict[str, Sent] = field(default_factory=dict)
    guards: dict[str, str] = field(default_factory=dict)

    def land_due(self, now: datetime) -> None:
        """Ends what is due, as a chain does without being asked."""
        for there in self.sent.values():
            if there.state == "sent" and there.execution and there.execution.lands_at <= now:
                there.state = there.execution.ends_as


class FakeChain:
    """The mock chain's operations; every one of its calls to DynamoDB is one here."""

    def __init__(self, gate: Gate, ledger: Ledger) -> None:
        self.gate = gate
        self.ledger = ledger

    @outside(Service.CHAIN)
    def send(self, transaction: Transaction, execution: Execution) -> Pending | None:
        """See `MockChain.send`."""
        order_id = str(transaction.order_id)
        if transaction.tx_hash in self.ledger.sent:
            return None
        if self.ledger.one_per_order and order_id in self.ledger.guards:
            return None
        self.ledger.sent[transaction.tx_hash] = Sent(order_id, "sent", execution)
        self.ledger.guards[order_id] = transaction.tx_hash
        return Pending(transaction.tx_hash, execution.lands_at, execution.ends_as)

    @outside(Service.CHAIN)
    def look_up(self, tx_hash: str) -> TransactionStatus | Pending:
        """See `MockChain.look_up`."""
        there = self.ledger.sent.get(tx_hash)
        if there is None:
            return Outlook.UNKNOWN
        if there.state == "sent" and there.execution:
            return Pending(tx_hash, there.execution.lands_at, there.execution.ends_as)
        return there.ended()

    @outside(Service.CHAIN)
    def land(self, pending: Pending) -> TransactionStatus:
        """See `MockChain.land`."""
        there = self.ledger.sent[pending.tx_hash]
        if there.state == "sent":
            there.state = pending.ends_as
        return there.ended()

    def declare_dead(self, transaction: Transaction, now: datetime) -> TransactionStatus:
        """See `MockChain.declare_dead`."""
        if self._forestall(transaction):
            return Outlook.DEAD
        status = self.look_up(transaction.tx_hash)
        if not isinstance(status, Pending):
            return status
        if status.lands_at <= now:
            return self.land(status)
        return Outlook.DEAD if self._stop(transaction) else self.land(status)

    @outside(Service.CHAIN)
    def _forestall(self, transaction: Transaction) -> bool:
        if transaction.tx_hash in self.ledger.sent:
            return False
        self.ledger.sent[transaction.tx_hash] = Sent(str(transaction.order_id), "dead")
        return True

    @outside(Service.CHAIN)
    def _stop(self, transaction: Transaction) -> bool:
        there = self.ledger.sent[transaction.tx_hash]
        if there.state != "sent":
            return False
        there.state = "dead"
        self.ledger.guards.pop(str(transaction.order_id), None)
        return True


class Fate(Enum):
    """What happens to one attempt of an order."""

    LANDS = auto()
    NO_QUOTES = auto()
    ONE_QUOTE = auto()  # the better venue is down
    NO_LIQUIDITY = auto()
    UNAVAILABLE = auto()  # the venue refuses the transaction
    TIMEOUT_BEFORE_SENDING = auto()
    TIMEOUT_AFTER_SENDING = auto()
    SLOW = auto()  # lands later than a worker waits
    REVERTS = auto()


@dataclass
class Market:
    """The fates of the attempts, in order (LANDS beyond them), and a counter that moves the price with every quote: a
    transaction that is built again is another one."""

    fates: tuple[Fate, ...] = ()
    moves: Iterator[int] = field(default_factory=lambda: count(1))

    def fate(self, attempt: int) -> Fate:
        """What happens to an attempt."""
        return self.fates[attempt - 1] if attempt <= len(self.fates) else Fate.LANDS


class FakeVenue:
    """Implements `ports.Venue`. The same transaction may be sent again; it lands `SWAP_SECONDS` after it was sent."""

    QUOTE_SECONDS = 0.2
    SWAP_SECONDS = 2.5
    SLOW_SECONDS = 30.0
    TIMEOUT_SECONDS = 1.0

    def __init__(self, name: VenueName, chain: FakeChain, market: Market) -> None:
        self.name = name
        self.gate = chain.gate
        self.chain = chain
        self.market = market

    @outside(Service.QUOTES)
    def quote(self, order: Order, attempt: int) -> Quote:
        """See `ports.Venue`."""
        self.gate.clock.wait(self.QUOTE_SECONDS)
        match self.market.fate(attempt):
            case Fate.NO_QUOTES:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fate.ONE_QUOTE if self.name is VenueName.RAYDIUM:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fate.NO_LIQUIDITY:
                raise InsufficientLiquidity(f"{self.name} has too little")
        price = Decimal(150) if self.name is VenueName.RAYDIUM else Decimal(149)
        amount_out = order.amount_in * price - Decimal(next(self.market.moves)).scaleb(-3)
        fee, impact = Decimal("0.003"), Decimal("0.01")
        return Quote(venue=self.name, price=price, fee=fee, price_impact_pct=impact, amount_out=amount_out)

    def build(self, order: Order, attempt: int, quote: Quote, min_amount_out: Decimal) -> Transaction:
        """See `ports.Venue`."""
        return Transaction(
            tx_hash=f"{order.order_id}/{attempt}/{self.name}/{quote.amount_out}",
            order_id=order.order_id,
            attempt=attempt,
            venue=self.name,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            fee=quote.fee * order.amount_in,
            quoted_amount_out=quote.amount_out,
            min_amount_out=min_amount_out,
            steps=("swap",),
        )

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        fate, clock = self.market.fate(transaction.attempt), self.gate.clock
        if fate is Fate.UNAVAILABLE:
            raise VenueUnavailable(f"{self.name} is unavailable")
        if fate is Fate.TIMEOUT_BEFORE_SENDING:
            clock.wait(self.TIMEOUT_SECONDS)
            raise TransactionTimeout(f"{self.name} did not answer in time")
        sent = self._over(lambda: self.chain.send(transaction, self._execution(transaction, fate)))
        if fate is Fate.TIMEOUT_AFTER_SENDING:
            clock.wait(self.TIMEOUT_SECONDS)
            raise TransactionTimeout(f"{self.name} did not answer in time")
        return self._await_end(sent, wait_seconds) if sent else self.status(transaction.tx_hash, wait_seconds)

    def status(self, tx_hash: str, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        found = self._over(lambda: self.chain.look_up(tx_hash))
        return self._await_end(found, wait_seconds) if isinstance(found, Pending) else found

    def abandon(self, transaction: Transaction) -> TransactionStatus:
        """See `ports.Venue`."""
        return self._over(lambda: self.chain.declare_dead(transaction, self.gate.clock.now()))

    def _await_end(self, pending: Pending, wait_seconds: float) -> TransactionStatus:
        clock = self.gate.clock
        clock.wait(max(0.0, min((pending.lands_at - clock.now()).total_seconds(), wait_seconds)))
        if pending.lands_at > clock.now():
            return Outlook.PENDING
        return self._over(lambda: self.chain.land(pending))

    def _execution(self, transaction: Transaction, fate: Fate) -> Execution:
        seconds = self.SLOW_SECONDS if fate is Fate.SLOW else self.SWAP_SECONDS
        share = Decimal("0.9") if fate is Fate.REVERTS else Decimal("0.998")
        amount_out = floor_to_unit(transaction.quoted_amount_out * share, 6)
        return Execution(
            lands_at=self.gate.clock.now() + timedelta(seconds=seconds),
            amount_out=amount_out,
            executed_price=price_of(amount_out, transaction.amount_in),
            reverted="less than minAmountOut" if amount_out < transaction.min_amount_out else None,
        )

    def _over(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except ServiceUnavailable as fault:
            raise VenueUnavailable(f"{self.name} is unavailable: {fault}") from fault
