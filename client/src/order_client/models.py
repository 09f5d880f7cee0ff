"""What the API takes and gives. Amounts are Decimal, times aware UTC, names those of the wire in snake_case.

What an answer does not have is None or empty. `raw` is the JSON object as it came, with fields that this release does
not know; the classes compare and print without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from order_client.wire import camel, plain

FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})
_NUMBERS = frozenset({"slippage_bps", "max_price_impact_bps"})


def _raw() -> Any:
    return field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    """An order to submit. Prices are in token_out for one token_in; what is None is left to the engine."""

    token_in: str
    token_out: str
    amount_in: Decimal | str | int
    order_type: str | None = None
    limit_price: Decimal | str | int | None = None
    trigger_price: Decimal | str | int | None = None
    slippage_bps: int | None = None
    max_price_impact_bps: int | None = None
    min_amount_out: Decimal | str | int | None = None
    time_in_force: str | None = None
    expires_at: datetime | None = None
    client_order_id: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the request's body. Raises ValueError if `expires_at` has no time zone."""
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a time zone")
        body = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, datetime):
                value = value.isoformat()
            if value is not None:
                body[camel(one.name)] = value if one.name in _NUMBERS else plain(value)
        return body


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The engine has taken the order. `stream_url` opens the order's stream without a key: hand it to nobody else."""

    order_id: str
    status: str
    created_at: datetime
    stream_url: str = field(repr=False)
    client_order_id: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What one venue gives. `price` is before fee and impact; `fee` is a fraction of amount_in, `amount_out` what the
    user receives."""

    venue: str
    price: Decimal
    fee: Decimal
    amount_out: Decimal
    price_impact_pct: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a venue gave no quote."""

    venue: str
    code: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt that came to nothing."""

    attempt: int
    code: str
    error: str
    timestamp: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Status:
    """One status of an order. `sequence` counts them from 1 without gaps, `attempt` is 0 before the first."""

    order_id: str
    sequence: int
    status: str
    attempt: int
    timestamp: datetime
    message: str = ""
    reference_price: Decimal | None = None
    venue: str | None = None
    price: Decimal | None = None
    quotes: tuple[Quote, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    min_amount_out: Decimal | None = None
    tx_hash: str | None = None
    executed_price: Decimal | None = None
    amount_out: Decimal | None = None
    code: str | None = None
    error: str | None = None
    attempts: tuple[Attempt, ...] = ()
    raw: Mapping[str, Any] = _raw()

    @property
    def is_final(self) -> bool:
        """Whether nothing comes after it."""
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as it is listed; `get` and `cancel` give its statuses, too, as `events`."""

    order_id: str
    status: str
    created_at: datetime
    order_type: str
    token_in: str
    token_out: str
    amount_in: Decimal
    slippage_bps: int
    max_price_impact_bps: int
    time_in_force: str
    attempt: int | None = None
    sequence: int | None = None
    min_amount_out: Decimal | None = None
    client_order_id: str | None = None
    expires_at: datetime | None = None
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    venue: str | None = None
    tx_hash: str | None = None
    executed_price: Decimal | None = None
    amount_out: Decimal | None = None
    fee: Decimal | None = None
    code: str | None = None
    error: str | None = None
    completed_at: datetime | None = None
    events: tuple[Status, ...] = ()
    raw: Mapping[str, Any] = _raw()

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the orders that were asked for, newest first. `cursor` asks for the next page; None after the last."""

    orders: tuple[Order, ...]
    cursor: str | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """What the venues give now; `best` is the venue with the most, `min_amount_out` its quote less the slippage."""

    token_in: str
    token_out: str
    amount_in: Decimal
    timestamp: datetime
    quotes: tuple[Quote, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    best: str | None = None
    min_amount_out: Decimal | None = None
    raw: Mapping[str, Any] = _raw()


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token that can be traded; one that `launches` has no pool before."""

    symbol: str
    mint: str
    decimals: int
    launches: bool = False
    raw: Mapping[str, Any] = _raw()
