"""The events of `events/`, and the orders that they are about."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.bootstrap import utc_now
from order_engine.domain.errors import OrderClosed
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord

from local.stack import ROOT

EVENTS = ROOT / "events"
_ORDER_IDS = re.compile(r"5a3b0000-0000-4000-8000-\d{12}")
# Of those, or of others in their places.
_ANY_ORDER = re.compile(r"orderId\W+([0-9a-f]{8}-[0-9a-f-]{27})")
_UNKNOWN = "99"  # but for those that end so


def with_other_orders(text: str) -> str:
    """An event about other orders, so that it can be invoked again and again: nothing is left to do for the first."""
    ids = {order_id: str(uuid4()) for order_id in _ORDER_IDS.findall(text) if not order_id.endswith(_UNKNOWN)}
    return _ORDER_IDS.sub(lambda found: ids.get(found[0], found[0]), text)


def place_orders(dynamodb: Any, journal_table: str, events: Mapping[str, str]) -> None:
    """Write the orders of events, given by their names, to the journal, as `submit` would; a worker that crashed had
    those of dead letters. What is there already stays."""
    journal = DynamoJournal(dynamodb, journal_table, "", utc_now, lease=timedelta(0))
    for name, text in events.items():
        for order_id in _ANY_ORDER.findall(text):
            if not order_id.endswith(_UNKNOWN):
                journal.create(OrderRecord.accepted(sample_order(UUID(order_id))), fingerprint="of no request")
                if name == "dead_letters":
                    with suppress(OrderClosed):
                        journal.claim(UUID(order_id))


def sample_order(order_id: UUID) -> Order:
    """Return an order of 10 SOL for USDC."""
    asked = {"order_type": "market", "token_in": "SOL", "token_out": "USDC", "amount_in": Decimal(10)}
    return Order.model_validate({"order_id": order_id, **asked, "slippage_bps": 100, "created_at": utc_now()})
