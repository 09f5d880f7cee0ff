"""An orderId that a client names, in a path or a message."""

from uuid import UUID

from order_engine.domain.refusals import FieldError, InvalidRequest


def order_id_of(text: object) -> UUID:
    """Return the order's id. Raises InvalidRequest for whatever is not written as in the 202 answer, in any case."""
    if not text:
        raise _invalid("is required: the orderId of the 202 answer")
    try:
        order_id = UUID(text if isinstance(text, str) else "")
    except ValueError as fault:
        raise _invalid("must be a UUID, as in the 202 answer") from fault
    if str(order_id) != str(text).lower():
        raise _invalid("must be a UUID, as in the 202 answer")
    return order_id


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest("INVALID_FIELD", f"orderId {message}", (FieldError("orderId", message),))
