"""A swap on a venue: the quote, the transaction, and the states that a transaction can be in."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from order_engine.domain.amounts import Amount
from order_engine.domain.errors import FailureCode
from order_engine.domain.wire import WireModel


class VenueName(StrEnum):
    """The venues that are quoted."""

    RAYDIUM = "raydium"
    METEORA = "meteora"


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
    """A venue without an acceptable quote, and why."""

    venue: VenueName
    code: FailureCode
    error: str


class Transaction(WireModel):
    """A signed swap. Sending it twice is harmless: the chain knows its `tx_hash`.

    `steps` are its instructions in order, wrapping and unwrapping SOL among them. The chain refuses to swap for less
    than `min_amount_out`. A worker that did not build it needs nothing else: `signed` has the venue's own bytes in
    base64, and after `valid_until` it can't land (on Solana: the time of its last valid block height). Both are empty
    in a transaction that an earlier release journaled, and so is `request_id`, which it was quoted and built under.
    """

    tx_hash: str
    order_id: UUID
    venue: VenueName
    token_in: str
    token_out: str
    amount_in: Amount
    fee: Amount
    quoted_amount_out: Amount
    min_amount_out: Amount
    steps: tuple[str, ...]
    attempt: int = 0  # for a rollback: the release before can't read a transaction without it
    request_id: str = ""
    signed: str = ""
    valid_until: datetime | None = None


@dataclass(frozen=True)
class Landed:
    """The swap is on the chain. `amount_out` is what the user received, `executed_price` what it came to."""

    amount_out: Decimal
    executed_price: Decimal


@dataclass(frozen=True)
class Reverted:
    """The transaction is on the chain and swapped nothing."""

    reason: str
    code: FailureCode = FailureCode.TRANSACTION_REVERTED


@dataclass(frozen=True)
class Dropped:
    """The transaction has not landed and never can. The only state that allows another attempt."""


@dataclass(frozen=True)
class InFlight:
    """The venue has seen the transaction, or can't rule out that it still lands."""


@dataclass(frozen=True)
class NotFound:
    """The venue has never seen the transaction. It may still arrive."""


Ended = Landed | Reverted | Dropped
TransactionState = Ended | InFlight | NotFound
