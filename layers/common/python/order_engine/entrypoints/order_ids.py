"""An orderId that a client names, in a path or a message."""

from uuid import UUID

from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import FieldError, InvalidRequest


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


def unknown(order: UnknownOrder) -> InvalidRequest:
    """Return what a client is told of an order that there is not."""
    return InvalidRequest("UNKNOWN_ORDER", f"there is no order {order}")


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest.of(FieldError("orderId", message))
