"""Venues whose behaviour is scripted, on the chain of `doubles.chain`.

`ScriptedVenue` is like the mock venues; `HardVenue` has a real chain's hard cases: a transaction is not seen before it
lands, which may be in its last moment; a broadcast may be lost; and nothing but the end of its validity, a minute away,
tells that it is dead.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from order_engine.adapters.mock_market.chain import Execution, Sent
from order_engine.domain.amounts import floor_to_unit, price_of
from order_engine.domain.errors import (
    InsufficientLiquidity,
    NoPool,
    ServiceUnavailable,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.order import Order
from order_engine.domain.swaps import Ended, InFlight, NotFound, Quote, Transaction, TransactionState, VenueName
from order_engine.domain.tokens import LAUNCHING, TOKENS

from tests.doubles.chain import MemoryChain
from tests.doubles.gate import Service, outside

R = TypeVar("R")
Twist = Callable[[Callable[[], object]], object]  # what a call returns or raises, instead of what it does
Moves = Sequence[tuple[float, str]]
FEE = Decimal("0.003")


class Fate(Enum):
    """What happens to one attempt of an order."""

    LANDS = auto()
    NO_QUOTES = auto()
    ONE_QUOTE = auto()  # the better venue is down
    NO_LIQUIDITY = auto()
    NOT_BUILT = auto()  # the venue is down when it is to build
    UNAVAILABLE = auto()  # the venue refuses the transaction
    TIMEOUT_BEFORE_SENDING = auto()
    TIMEOUT_AFTER_SENDING = auto()
    LOST = auto()  # the venue takes the transaction, and nobody sees it again
    SLOW = auto()  # lands after a worker's patience, in its last valid moment
    TOO_SLOW = auto()  # its validity ends before it lands
    REVERTS = auto()
    SHORT = auto()  # on a careless chain: settles for less than the floor
    DUST = auto()  # on a careless chain: settles for nothing


# Of the quoted amount, where it is not the usual one.
_SHARES = {Fate.REVERTS: Decimal("0.9"), Fate.SHORT: Decimal("0.9"), Fate.DUST: Decimal(0)}


def scripted(*fates: Fate) -> Callable[[UUID, int], Fate]:
    """The fates of an order's attempts, the same for every order; LANDS beyond them."""
    return lambda _order_id, attempt: fates[attempt - 1] if 0 < attempt <= len(fates) else Fate.LANDS


def attempt_of(request_id: str) -> int:
    """The attempt that asks; 0 for an order at rest, which asks again and again."""
    attempt = request_id.rpartition("/")[2]
    return 0 if "-" in attempt else int(attempt)


@dataclass
class Market:
    """What the venues do: `fate` decides on an order's attempt. `twists` replace the n-th call of a method, over all
    venues (1, 2 …). Each quote moves the price: a transaction that is built again is another one. `moves` say by what
    the usual prices are multiplied, each from a moment on (the timeline's seconds), in the order of their time."""

    fate: Callable[[UUID, int], Fate] = field(default_factory=scripted)
    twists: dict[tuple[str, int], Twist] = field(default_factory=dict)
    called: Counter[str] = field(default_factory=Counter)
    moves: Moves = ()

    def level(self, seconds: float) -> Decimal:
        """By what the usual prices are multiplied at a moment."""
        return Decimal(next((level for since, level in reversed(self.moves) if since <= seconds), "1"))

    def replies(self, method: str, action: Callable[[], R]) -> R:
        """What a call comes to."""
        self.called[method] += 1
        twist = self.twists.get((method, self.called[method]))
        return twist(action) if twist else action()  # type: ignore[return-value]  # a twist may be any nonsense


class ScriptedVenue:
    """Implements `ports.Venue`. A transaction lands `SWAP_SECONDS` after it was sent."""

    QUOTE_SECONDS = 0.2
    SWAP_SECONDS = 2.5
    VALIDITY_SECONDS = 10.0
    PRICES: dict[VenueName, Decimal] = {VenueName.RAYDIUM: Decimal(150), VenueName.METEORA: Decimal(149)}  # noqa: RUF012

    def __init__(self, name: VenueName, chain: MemoryChain, market: Market) -> None:
        self.name = name
        self.gate = chain.gate
        self.chain = chain
        self.market = market

    @outside(Service.QUOTES)
    def quote(self, order: Order, request_id: str) -> Quote:
        self.gate.timeline.wait(self.QUOTE_SECONDS)
        return self.market.replies("quote", lambda: self._quote(order, request_id))

    def _quote(self, order: Order, request_id: str) -> Quote:
        match self.market.fate(order.order_id, attempt_of(request_id)):
            case Fate.NO_QUOTES:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fate.ONE_QUOTE if self.name is VenueName.RAYDIUM:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fate.NO_LIQUIDITY:
                raise InsufficientLiquidity(f"{self.name} has too little")
        price = self.price_now(order.token_in, order.token_out)
        amount_out = self.nets(order, price / self.PRICES[self.name]) - Decimal(self.market.called["quote"]).scaleb(-3)
        impact = Decimal("0.01")
        return Quote(venue=self.name, price=price, fee=FEE, price_impact_pct=impact, amount_out=amount_out)

    def nets(self, order: Order, level: Decimal) -> Decimal:
        """What a quote for an order gives at a level of the market, or a little less."""
        return order.amount_in * self.PRICES[self.name] * level * (1 - FEE)

    @outside(Service.QUOTES)
    def spot(self, token_in: str, token_out: str) -> Decimal:
        self.gate.timeline.wait(self.QUOTE_SECONDS)
        return self.market.replies("spot", lambda: self.price_now(token_in, token_out) * (1 - FEE))

    def price_now(self, token_in: str, token_out: str) -> Decimal:
        """The price of this moment. Raises NoPool before a token's launch."""
        now = self.gate.timeline()
        for symbol in {token_in, token_out} & set(LAUNCHING):
            opens_at = self._chain_errors(lambda symbol=symbol: self.chain.opens_at(symbol))  # type: ignore[misc]
            if opens_at is None or opens_at > now:
                raise NoPool(f"{self.name} has no pool for {symbol}")
        return self.PRICES[self.name] * self.market.level(self.gate.timeline.seconds)

    @outside(Service.BUILDING)
    def build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        return self.market.replies("build", lambda: self._build(order, quote, min_amount_out, request_id))

    def _build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        if self.market.fate(order.order_id, attempt_of(request_id)) is Fate.NOT_BUILT:
            raise VenueUnavailable(f"{self.name} is unavailable")
        tx_hash = f"{request_id}/{self.name}/{quote.amount_out}"
        return Transaction(
            tx_hash=tx_hash,
            order_id=order.order_id,
            venue=self.name,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            fee=quote.fee * order.amount_in,
            quoted_amount_out=quote.amount_out,
            min_amount_out=min_amount_out,
            steps=("swap",),
            request_id=request_id,
            signed="c2lnbmVk",
            valid_until=self.gate.timeline() + timedelta(seconds=self.VALIDITY_SECONDS),
        )

    def send(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        return self.market.replies("send", lambda: self._send(transaction, wait_seconds))

    def _send(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        fate, timeline = self.market.fate(transaction.order_id, attempt_of(transaction.request_id)), self.gate.timeline
        match fate:
            case Fate.UNAVAILABLE:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fate.TIMEOUT_BEFORE_SENDING:
                timeline.wait(1.0)
                raise TransactionTimeout(f"{self.name} did not respond in time")
            case Fate.LOST:
                timeline.wait(wait_seconds)
                return self.unseen()
        execution = self._execution(transaction, fate)
        sent = self._chain_errors(lambda: self.chain.send(transaction, execution, timeline()))
        if fate is Fate.TIMEOUT_AFTER_SENDING:
            timeline.wait(1.0)
            raise TransactionTimeout(f"{self.name} did not respond in time")
        return self._await_end(transaction, sent, wait_seconds)

    def unseen(self) -> TransactionState:
        """What the venue says of a transaction that it took, and that is not on the chain."""
        return InFlight()

    def status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        return self.market.replies("status", lambda: self._status(transaction, wait_seconds))

    def _status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        found = self._chain_errors(lambda: self.chain.look_up(transaction.tx_hash))
        return self._await_end(transaction, found, wait_seconds)

    def abandon(self, transaction: Transaction) -> Ended | InFlight:
        return self.market.replies(
            "abandon", lambda: self._chain_errors(lambda: self.chain.declare_dead(transaction, self.gate.timeline()))
        )

    def _await_end(
        self, transaction: Transaction, found: Sent | Ended | NotFound, wait_seconds: float
    ) -> TransactionState:
        timeline = self.gate.timeline
        if not isinstance(found, Sent):
            return found
        decided_at = found.lands_at or transaction.valid_until or timeline()
        timeline.wait(min((decided_at - timeline()).total_seconds(), wait_seconds))
        if found.lands_at is None or found.lands_at > timeline():
            return self.unseen()
        return self._chain_errors(lambda: self.chain.land(found))

    def _execution(self, transaction: Transaction, fate: Fate) -> Execution:
        lands_at = self.gate.timeline() + timedelta(seconds=self.SWAP_SECONDS)
        if fate in (Fate.SLOW, Fate.TOO_SLOW) and transaction.valid_until:
            lands_at = transaction.valid_until + timedelta(seconds=-0.5 if fate is Fate.SLOW else 0.5)
        share = _SHARES.get(fate, Decimal("0.998"))
        amount_out = floor_to_unit(transaction.quoted_amount_out * share, TOKENS[transaction.token_out].decimals)
        return Execution(
            lands_at=lands_at,
            amount_out=amount_out,
            executed_price=price_of(amount_out, transaction.amount_in),
        )

    def _chain_errors(self, call: Callable[[], R]) -> R:
        try:
            return call()
        except ServiceUnavailable as fault:
            raise VenueUnavailable(f"{self.name} is unavailable: {fault}") from fault


class HardVenue(ScriptedVenue):
    """See above. What is in flight is unknown to it."""

    VALIDITY_SECONDS = 60.0

    def unseen(self) -> TransactionState:
        """Nobody has seen it yet; it may still arrive."""
        return NotFound()
