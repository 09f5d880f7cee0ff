"""What a client asks for, and the order that comes of it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from order_engine.domain.access import PUBLIC
from order_engine.domain.amounts import Amount
from order_engine.domain.wire import WireModel

OrderTypeName = Literal["market", "limit", "stop", "takeProfit", "sniper"]
TimeInForce = Literal["gtc", "gtd", "fok"]


class OrderTerms(WireModel):
    """What a client asks for, checked.

    `token_in` and `token_out` are symbols of the token table, amounts are in units of the token (not base units),
    `min_amount_out` is the client's own floor. A quote whose price impact exceeds `max_price_impact_bps` is rejected.
    `time_in_force`: gtc (it is tried as often as the policy says), fok (fill or kill: one attempt), gtd (until
    `expires_at`, aware and UTC, after which no transaction of it can land). Which prices an order has, and what it does
    with them, is its type's to say: see `domain.order_types`.
    """

    order_type: OrderTypeName
    token_in: str
    token_out: str
    amount_in: Amount
    slippage_bps: int
    max_price_impact_bps: int = 1000
    min_amount_out: Amount | None = None
    client_order_id: str | None = None
    time_in_force: TimeInForce = "gtc"
    expires_at: datetime | None = None
    limit_price: Amount | None = None
    trigger_price: Amount | None = None


class Order(OrderTerms):
    """An accepted order. Nothing in it ever changes. `client_order_id` is its owner's: another's may be the same."""

    order_id: UUID
    created_at: datetime
    owner: str = PUBLIC
