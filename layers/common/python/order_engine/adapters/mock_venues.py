"""The mock venues, Raydium and Meteora: priced like constant-product pools, and as slow and unreliable as they are set.

What happens to an order on a venue is drawn at random, seeded by (seed, order, attempt, venue): a redelivered attempt
meets the same quote, and a run can be repeated.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, localcontext
from enum import Enum, auto
from hashlib import sha512
from uuid import UUID

from order_engine.adapters.mock_chain import Execution, MockChain, Pending
from order_engine.amounts import EXACT, floor_to_unit, price_of, to_wire
from order_engine.errors import (
    InsufficientLiquidity,
    RateLimited,
    ServiceUnavailable,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.orders import Order, Outlook, Quote, Transaction, TransactionStatus, VenueName
from order_engine.ports import Clock
from order_engine.tokens import NATIVE, TOKENS


@dataclass(frozen=True)
class VenueConditions:
    """How the mock venues behave. Latencies are ranges in milliseconds, rates are probabilities from 0 to 1."""

    quote_latency_ms: tuple[int, int] = (200, 500)
    swap_latency_ms: tuple[int, int] = (2000, 3000)
    error_rate: float = 0.0
    timeout_rate: float = 0.0
    max_slip_bps: int = 50
    seed: str = ""


@dataclass(frozen=True)
class Pool:
    """What sets a venue apart: its price is `lowest + r * spread` times the reference price, r uniform in [0, 1)."""

    lowest: Decimal
    spread: Decimal
    fee: Decimal
    depth_usd: Decimal  # of each side


# Price ranges and fees are the assignment's. Depths: 10 SOL move such a pool by a few hundredths of a per cent.
POOLS = {
    VenueName.RAYDIUM: Pool(Decimal("0.98"), Decimal("0.04"), Decimal("0.003"), Decimal(5_000_000)),
    VenueName.METEORA: Pool(Decimal("0.97"), Decimal("0.05"), Decimal("0.002"), Decimal(3_000_000)),
}


class Fault(Enum):
    """What goes wrong with one call to a venue."""

    ERROR = auto()
    RATE_LIMIT = auto()
    TIMEOUT = auto()
    TIMEOUT_AFTER_LANDING = auto()


@dataclass(frozen=True)
class Fate:
    """What will happen to one attempt of an order on one venue."""

    quote_seconds: float
    swap_seconds: float
    price_share: Decimal  # r in `Pool`
    slip_share: Decimal  # of the greatest slip, uniform in [0, 1)
    quote_fault: Fault | None
    submit_fault: Fault | None


def draw(conditions: VenueConditions, order_id: UUID, attempt: int, venue: VenueName) -> Fate:
    """The fate of an attempt: always the same for the same arguments."""
    dice = random.Random(f"{conditions.seed}/{order_id}/{attempt}/{venue}")

    def share() -> Decimal:
        return Decimal(dice.randrange(10**9)).scaleb(-9)

    def fault() -> Fault | None:
        luck, kind = dice.random(), dice.random()
        if luck < conditions.error_rate:
            return Fault.ERROR if kind < 0.75 else Fault.RATE_LIMIT
        if luck < conditions.error_rate + conditions.timeout_rate:
            return Fault.TIMEOUT if kind < 0.5 else Fault.TIMEOUT_AFTER_LANDING
        return None

    return Fate(
        quote_seconds=dice.uniform(*conditions.quote_latency_ms) / 1000,
        swap_seconds=dice.uniform(*conditions.swap_latency_ms) / 1000,
        price_share=share(),
        slip_share=share(),
        quote_fault=fault(),
        submit_fault=fault(),
    )


@dataclass(frozen=True)
class MockVenue:
    """Implements `ports.Venue` on the mock chain."""

    name: VenueName
    chain: MockChain
    now: Clock
    conditions: VenueConditions

    def quote(self, order: Order, attempt: int) -> Quote:
        """See `ports.Venue`."""
        fate = self._fate(order.order_id, attempt)
        time.sleep(fate.quote_seconds)
        match fate.quote_fault:
            case Fault.RATE_LIMIT:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Fault.ERROR:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fault.TIMEOUT | Fault.TIMEOUT_AFTER_LANDING:
                raise VenueUnavailable(f"{self.name} did not answer in time")
        return price(order, POOLS[self.name], self.name, fate.price_share)

    def build(self, order: Order, attempt: int, quote: Quote, min_amount_out: Decimal) -> Transaction:
        """See `ports.Venue`."""
        steps = [f"swap {to_wire(order.amount_in)} {order.token_in} for {order.token_out} on {self.name}"]
        if order.token_in == NATIVE.symbol:
            steps.insert(0, f"wrap {to_wire(order.amount_in)} SOL")
        if order.token_out == NATIVE.symbol:
            steps.append("unwrap SOL")
        return Transaction(
            tx_hash=_signature(f"{order.order_id}/{attempt}/{self.name}/{to_wire(quote.amount_out)}"),
            order_id=order.order_id,
            attempt=attempt,
            venue=self.name,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            fee=floor_to_unit(order.amount_in * quote.fee, TOKENS[order.token_in].decimals),
            quoted_amount_out=quote.amount_out,
            min_amount_out=min_amount_out,
            steps=tuple(steps),
        )

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        fate = self._fate(transaction.order_id, transaction.attempt)
        match fate.submit_fault:
            case Fault.RATE_LIMIT:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Fault.ERROR:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fault.TIMEOUT:
                time.sleep(fate.swap_seconds)
                raise TransactionTimeout(f"{self.name} did not answer in time")
        with _over(self.name):
            sent = self.chain.send(transaction, self._execution(transaction, fate))
        if fate.submit_fault is Fault.TIMEOUT_AFTER_LANDING:
            time.sleep(fate.swap_seconds)
            raise TransactionTimeout(f"{self.name} did not answer in time")
        if sent is None:
            return self.status(transaction.tx_hash, wait_seconds)
        return self._await_end(sent, wait_seconds)

    def status(self, tx_hash: str, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        with _over(self.name):
            found = self.chain.look_up(tx_hash)
        return self._await_end(found, wait_seconds) if isinstance(found, Pending) else found

    def _await_end(self, pending: Pending, wait_seconds: float) -> TransactionStatus:
        time.sleep(max(0.0, min((pending.lands_at - self.now()).total_seconds(), wait_seconds)))
        if pending.lands_at > self.now():
            return Outlook.PENDING
        with _over(self.name):
            return self.chain.land(pending)

    def abandon(self, transaction: Transaction) -> TransactionStatus:
        """See `ports.Venue`."""
        with _over(self.name):
            return self.chain.declare_dead(transaction, self.now())

    def _fate(self, order_id: UUID, attempt: int) -> Fate:
        return draw(self.conditions, order_id, attempt, self.name)

    def _execution(self, transaction: Transaction, fate: Fate) -> Execution:
        slip = EXACT.multiply(fate.slip_share, Decimal(self.conditions.max_slip_bps).scaleb(-4))
        decimals = TOKENS[transaction.token_out].decimals
        amount_out = floor_to_unit(EXACT.multiply(transaction.quoted_amount_out, 1 - slip), decimals)
        reverted = None
        if amount_out < transaction.min_amount_out:
            reverted = (
                f"the swap would give {to_wire(amount_out)} {transaction.token_out}, "
                f"less than minAmountOut {to_wire(transaction.min_amount_out)}"
            )
        return Execution(
            lands_at=self.now() + timedelta(seconds=fate.swap_seconds),
            amount_out=amount_out,
            executed_price=price_of(amount_out, transaction.amount_in),
            reverted=reverted,
        )


@contextmanager
def _over(venue: VenueName) -> Iterator[None]:
    """A venue whose chain can't be reached is a venue that does not answer."""
    try:
        yield
    except ServiceUnavailable as fault:
        raise VenueUnavailable(f"{venue} is unavailable: {fault}") from fault


def price(order: Order, pool: Pool, venue: VenueName, price_share: Decimal) -> Quote:
    """A quote by the constant-product rule: out = reserveOut * in / (reserveIn + in), where `in` is after the fee.

    Raises InsufficientLiquidity for an amount above the pool's own, or one that buys less than one base unit.
    """
    token_in, token_out = TOKENS[order.token_in], TOKENS[order.token_out]
    with localcontext(EXACT):
        price_now = token_in.usd_price / token_out.usd_price * (pool.lowest + price_share * pool.spread)
        reserve_in = pool.depth_usd / token_in.usd_price
        amount_in = order.amount_in * (1 - pool.fee)
        if amount_in > reserve_in:
            raise InsufficientLiquidity(
                f"{venue} has {to_wire(floor_to_unit(reserve_in, 0))} {token_in.symbol} in its pool, "
                f"too few for {to_wire(order.amount_in)}"
            )
        share = amount_in / (reserve_in + amount_in)
        amount_out = floor_to_unit(reserve_in * price_now * share, token_out.decimals)
        if amount_out == 0:
            raise InsufficientLiquidity(f"{to_wire(order.amount_in)} {token_in.symbol} buy no {token_out.symbol}")
        return Quote(
            venue=venue,
            price=price_of(price_now, Decimal(1)),
            fee=pool.fee,
            price_impact_pct=(share * 100).quantize(Decimal("0.0001")),
            amount_out=amount_out,
        )


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _signature(content: str) -> str:
    """Stands for the transaction's signature: 64 bytes in base58, as on Solana; the same for the same content."""
    number, digits = int.from_bytes(sha512(content.encode()).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits
