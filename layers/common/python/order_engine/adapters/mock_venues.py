"""The mock venues, Raydium and Meteora: priced like constant-product pools, and as slow and unreliable as they are set.

What happens to an order on a venue is drawn at random, seeded by (seed, order, attempt, venue): a redelivered attempt
meets the same quote. The order counts by its clientOrderId where it has one, so that a run can be repeated.
"""

import base64
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, localcontext
from enum import Enum, auto
from hashlib import sha512

from order_engine.adapters.mock_chain import Execution, InFlight, MockChain
from order_engine.amounts import EXACT, floor_to_unit, price_of, to_wire
from order_engine.errors import (
    AmountTooSmall,
    InsufficientLiquidity,
    RateLimited,
    ServiceUnavailable,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.orders import (
    Ended,
    Order,
    Pending,
    Quote,
    Transaction,
    TransactionStatus,
    Unknown,
    VenueName,
)
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
    validity_seconds: float = 10  # of a transaction, from its building
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


def draw(conditions: VenueConditions, luck: str, attempt: int, venue: VenueName) -> Fate:
    """The fate of an attempt: always the same for the same arguments. `luck` is the order's, see `luck_of`."""
    dice = random.Random(f"{conditions.seed}/{luck}/{attempt}/{venue}")

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


def luck_of(order: Order) -> str:
    """What tells an order's dice from another's."""
    return order.client_order_id or str(order.order_id)


@dataclass(frozen=True)
class MockVenue:
    """Implements `ports.Venue` on the mock chain."""

    name: VenueName
    chain: MockChain
    now: Clock
    conditions: VenueConditions

    def quote(self, order: Order, attempt: int) -> Quote:
        """See `ports.Venue`."""
        fate = draw(self.conditions, luck_of(order), attempt, self.name)
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
        unsigned = Transaction(
            tx_hash="",
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
            valid_until=self.now() + timedelta(seconds=self.conditions.validity_seconds),
        )
        content = unsigned.model_dump(mode="json", by_alias=True, exclude={"tx_hash", "signed"})
        content["luck"] = luck_of(order)
        signed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return unsigned.model_copy(
            update={"tx_hash": _signature(signed), "signed": base64.b64encode(signed).decode("ascii")}
        )

    def submit(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        fate = self._fate(transaction)
        match fate.submit_fault:
            case Fault.RATE_LIMIT:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Fault.ERROR:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fault.TIMEOUT:
                time.sleep(min(fate.swap_seconds, wait_seconds))
                raise TransactionTimeout(f"{self.name} did not answer in time")
        with _over(self.name):
            found = self.chain.send(transaction, self._execution(transaction, fate), self.now())
        if fate.submit_fault is Fault.TIMEOUT_AFTER_LANDING:
            time.sleep(min(fate.swap_seconds, wait_seconds))
            raise TransactionTimeout(f"{self.name} did not answer in time")
        return self._await_end(transaction, found, wait_seconds)

    def status(self, transaction: Transaction, wait_seconds: float) -> TransactionStatus:
        """See `ports.Venue`."""
        with _over(self.name):
            found = self.chain.look_up(transaction.tx_hash)
        return self._await_end(transaction, found, wait_seconds)

    def _await_end(
        self, transaction: Transaction, found: InFlight | Ended | Unknown, wait_seconds: float
    ) -> TransactionStatus:
        """Waits for a transaction in flight: until it lands, or can't land any more."""
        if not isinstance(found, InFlight):
            return found
        decided_at = found.lands_at or transaction.valid_until or self.now()
        time.sleep(max(0.0, min((decided_at - self.now()).total_seconds(), wait_seconds)))
        if found.lands_at is None or found.lands_at > self.now():
            return Pending()
        with _over(self.name):
            return self.chain.land(found)

    def abandon(self, transaction: Transaction) -> Ended | Pending:
        """See `ports.Venue`."""
        with _over(self.name):
            return self.chain.declare_dead(transaction, self.now())

    def _fate(self, transaction: Transaction) -> Fate:
        """By the transaction alone, which another worker may have built."""
        signed = json.loads(base64.b64decode(transaction.signed) or "{}")
        return draw(self.conditions, signed.get("luck", str(transaction.order_id)), transaction.attempt, self.name)

    def _execution(self, transaction: Transaction, fate: Fate) -> Execution:
        slip = EXACT.multiply(fate.slip_share, Decimal(self.conditions.max_slip_bps).scaleb(-4))
        decimals = TOKENS[transaction.token_out].decimals
        amount_out = floor_to_unit(EXACT.multiply(transaction.quoted_amount_out, 1 - slip), decimals)
        return Execution(
            lands_at=self.now() + timedelta(seconds=fate.swap_seconds),
            amount_out=amount_out,
            executed_price=price_of(amount_out, transaction.amount_in),
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

    Raises InsufficientLiquidity for an amount above the pool's own, AmountTooSmall for one that buys less than one base
    unit.
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
            raise AmountTooSmall(f"{to_wire(order.amount_in)} {token_in.symbol} buy no {token_out.symbol} on {venue}")
        return Quote(
            venue=venue,
            price=price_of(price_now, Decimal(1)),
            fee=pool.fee,
            price_impact_pct=(share * 100).quantize(Decimal("0.0001")),
            amount_out=amount_out,
        )


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _signature(content: bytes) -> str:
    """Stands for the transaction's signature: 64 bytes in base58, as on Solana; the same for the same content."""
    number, digits = int.from_bytes(sha512(content).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits
