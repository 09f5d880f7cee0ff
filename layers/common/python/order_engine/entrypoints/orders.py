"""An order as a client names it, in a path or a message, and as it is shown."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from order_engine.domain.events import StatusEvent
from order_engine.domain.refusals import FieldError, InvalidRequest
from order_engine.domain.summary import OrderSummary


def order_id_of(text: object) -> UUID:
    """Return the order's id. Raises InvalidRequest for whatever is not written as in the 202 answer, in any case."""
    if not text:
        raise _wrong("is required: the orderId of the 202 answer")
    try:
        order_id = UUID(text if isinstance(text, str) else "")
    except ValueError as fault:
        raise _wrong("must be a UUID, as in the 202 answer") from fault
    if str(order_id) != str(text).lower():
        raise _wrong("must be a UUID, as in the 202 answer")
    return order_id


def order_document(summary: OrderSummary, events: Sequence[StatusEvent]) -> dict[str, Any]:
    """Return what an owner is shown of an order: its summary, and its events as they are on the socket."""
    return {**summary.to_wire(), "events": [json.loads(event.to_json()) for event in events]}


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest.of(FieldError("orderId", message))
