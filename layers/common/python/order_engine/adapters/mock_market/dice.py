"""Chance at the mock venues: latencies, prices, slips and faults, drawn by seed so that a run can be repeated.

The seed of a draw is (VENUE_SEED, order, attempt, venue): a redelivered attempt meets the same. The order counts by its
clientOrderId where it has one. A price is drawn so only while the market stands still; else it moves (`market`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto

from order_engine.domain.order import Order
from order_engine.domain.swaps import VenueName


@dataclass(frozen=True)
class VenueConditions:
    """Settings of the mock venues. Latencies are ranges in milliseconds, rates are probabilities from 0 to 1.

    `volatility_bps` is how far a token's price goes from its price in the token table at the most; at 0 it stays, and r
    is drawn for each attempt. `launches` are the moments (aware, UTC) at which tokens that launch do so by themselves.
    """

    quote_latency_ms: tuple[int, int] = (200, 500)
    swap_latency_ms: tuple[int, int] = (2000, 3000)
    error_rate: float = 0.0
    timeout_rate: float = 0.0
    max_slip_bps: int = 50
    validity_seconds: float = 10  # of a transaction, from its building
    volatility_bps: int = 150
    launches: Mapping[str, datetime] = field(default_factory=dict)
    seed: str = ""


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
    price_share: Decimal  # r in `Pool`, while the market stands still
    slip_share: Decimal  # of the greatest slip, uniform in [0, 1)
    quote_fault: Fault | None
    submit_fault: Fault | None


def draw(conditions: VenueConditions, luck: str, request_id: str, venue: VenueName) -> Fate:
    """Return the fate of an attempt: always the same for the same luck (the order's, see `luck_of`) and attempt."""
    _, _, attempt = request_id.rpartition("/")
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
    """Return what tells an order's dice from another's."""
    return order.client_order_id or str(order.order_id)
