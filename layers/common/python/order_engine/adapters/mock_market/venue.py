"""The mock venues, Raydium and Meteora: priced like pools (`pools`), as slow and unreliable as is set (`dice`),
at prices that move in time (`market`)."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha512

from order_engine.adapters.mock_market.chain import Execution, MockChain, Sent
from order_engine.adapters.mock_market.dice import Fate, Fault, VenueConditions, draw, luck_of
from order_engine.adapters.mock_market.market import price_share, reference_price
from order_engine.adapters.mock_market.pools import POOLS, price, spot
from order_engine.domain.amounts import EXACT, floor_to_unit, price_of, to_wire
from order_engine.domain.errors import NoPool, RateLimited, ServiceUnavailable, TransactionTimeout, VenueUnavailable
from order_engine.domain.order import Order
from order_engine.domain.swaps import Ended, InFlight, NotFound, Quote, Transaction, TransactionState, VenueName
from order_engine.domain.tokens import NATIVE, TOKENS
from order_engine.ports import Clock


@dataclass(frozen=True)
class MockVenue:
    """Implements `ports.Venue` on the mock chain."""

    name: VenueName
    chain: MockChain
    now: Clock
    conditions: VenueConditions

    def quote(self, order: Order, request_id: str) -> Quote:
        fate = draw(self.conditions, luck_of(order), request_id, self.name)
        self._take_a_quotes_time(fate)
        own_share = None if self.conditions.volatility_bps else fate.price_share
        price_now = self._price_now(order.token_in, order.token_out, own_share)
        return price(order, POOLS[self.name], self.name, price_now)

    def spot(self, token_in: str, token_out: str) -> Decimal:
        fate = draw(self.conditions, f"{token_in}/{token_out}", f"spot/{self.now().timestamp()}", self.name)
        self._take_a_quotes_time(fate)
        return spot(POOLS[self.name], self._price_now(token_in, token_out))

    def _take_a_quotes_time(self, fate: Fate) -> None:
        """Wait as long as a quote takes, and fail where the fate has a fault."""
        time.sleep(fate.quote_seconds)
        match fate.quote_fault:
            case Fault.RATE_LIMIT:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Fault.ERROR:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fault.TIMEOUT | Fault.TIMEOUT_AFTER_LANDING:
                raise VenueUnavailable(f"{self.name} did not respond in time")

    def _price_now(self, token_in: str, token_out: str, own_share: Decimal | None = None) -> Decimal:
        """Return the pool's price of this moment, by an attempt's own r where it has one. Raises NoPool."""
        at = self.now()
        for symbol in (token_in, token_out):
            if TOKENS[symbol].launches and not self._has_launched(symbol, at):
                raise NoPool(f"{self.name} has no pool for {token_in} and {token_out} before {symbol} launches")
        if own_share is None:
            own_share = price_share(self.conditions, self.name, token_in, token_out, at)
        return POOLS[self.name].price_now(reference_price(self.conditions, token_in, token_out, at), own_share)

    def _has_launched(self, symbol: str, at: datetime) -> bool:
        """Return whether a token has launched, by the settings or by a command."""
        by_itself = self.conditions.launches.get(symbol)
        if by_itself and by_itself <= at:
            return True
        with _chain_errors(self.name):
            opens_at = self.chain.opens_at(symbol)
        return opens_at is not None and opens_at <= at

    def build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        steps = [f"swap {to_wire(order.amount_in)} {order.token_in} for {order.token_out} on {self.name}"]
        if order.token_in == NATIVE.symbol:
            steps.insert(0, f"wrap {to_wire(order.amount_in)} SOL")
        if order.token_out == NATIVE.symbol:
            steps.append("unwrap SOL")
        unsigned = Transaction(
            tx_hash="",
            order_id=order.order_id,
            venue=self.name,
            token_in=order.token_in,
            token_out=order.token_out,
            amount_in=order.amount_in,
            fee=floor_to_unit(order.amount_in * quote.fee, TOKENS[order.token_in].decimals),
            quoted_amount_out=quote.amount_out,
            min_amount_out=min_amount_out,
            steps=tuple(steps),
            request_id=request_id,
            valid_until=self.now() + timedelta(seconds=self.conditions.validity_seconds),
        )
        content = unsigned.model_dump(mode="json", by_alias=True, exclude={"tx_hash", "signed"})
        content["luck"] = luck_of(order)
        signed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return unsigned.model_copy(
            update={"tx_hash": _signature(signed), "signed": base64.b64encode(signed).decode("ascii")}
        )

    def send(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        fate = self._fate(transaction)
        match fate.submit_fault:
            case Fault.RATE_LIMIT:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Fault.ERROR:
                raise VenueUnavailable(f"{self.name} is unavailable")
            case Fault.TIMEOUT:
                time.sleep(min(fate.swap_seconds, wait_seconds))
                raise TransactionTimeout(f"{self.name} did not respond in time")
        with _chain_errors(self.name):
            found = self.chain.send(transaction, self._execution(transaction, fate), self.now())
        if fate.submit_fault is Fault.TIMEOUT_AFTER_LANDING:
            time.sleep(min(fate.swap_seconds, wait_seconds))
            raise TransactionTimeout(f"{self.name} did not respond in time")
        return self._await_end(transaction, found, wait_seconds)

    def status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        with _chain_errors(self.name):
            found = self.chain.look_up(transaction.tx_hash)
        return self._await_end(transaction, found, wait_seconds)

    def _await_end(
        self, transaction: Transaction, found: Sent | Ended | NotFound, wait_seconds: float
    ) -> TransactionState:
        """Wait until the transaction lands or can't land any more."""
        if not isinstance(found, Sent):
            return found
        decided_at = found.lands_at or transaction.valid_until or self.now()
        time.sleep(max(0.0, min((decided_at - self.now()).total_seconds(), wait_seconds)))
        if found.lands_at is None or found.lands_at > self.now():
            return InFlight()
        with _chain_errors(self.name):
            return self.chain.land(found)

    def abandon(self, transaction: Transaction) -> Ended | InFlight:
        with _chain_errors(self.name):
            return self.chain.declare_dead(transaction, self.now())

    def _fate(self, transaction: Transaction) -> Fate:
        """Return the fate from the transaction alone: another worker may have built it."""
        signed = json.loads(base64.b64decode(transaction.signed) or "{}")
        return draw(self.conditions, signed.get("luck", str(transaction.order_id)), transaction.request_id, self.name)

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
def _chain_errors(venue: VenueName) -> Iterator[None]:
    """A venue whose chain is unavailable is unavailable itself."""
    try:
        yield
    except ServiceUnavailable as fault:
        raise VenueUnavailable(f"{venue} is unavailable: {fault}") from fault


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _signature(content: bytes) -> str:
    """Return a stand-in for the transaction's signature: 64 bytes in base58, as on Solana, by its content."""
    number, digits = int.from_bytes(sha512(content).digest(), "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return digits
