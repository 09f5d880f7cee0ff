"""Every error of the engine, as a tree; callers catch by meaning, never by message text."""

from dataclasses import dataclass
from enum import StrEnum


class FailureCode(StrEnum):
    """Why an order failed, as it stands on the wire and in PostgreSQL."""

    SLIPPAGE_EXCEEDED = "SLIPPAGE_EXCEEDED"
    INSUFFICIENT_LIQUIDITY = "INSUFFICIENT_LIQUIDITY"
    VENUE_UNAVAILABLE = "VENUE_UNAVAILABLE"
    TRANSACTION_TIMEOUT = "TRANSACTION_TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    ORDER_EXPIRED = "ORDER_EXPIRED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class OrderEngineError(Exception):
    """Root of the tree."""


# --- an order that is refused at the door -------------------------------------------------------


@dataclass(frozen=True)
class FieldError:
    """One field of a request that is wrong, and what would be right; `field` is empty for the body as a whole."""

    field: str
    message: str


class RequestRefused(OrderEngineError):
    """A client asked for something that it does not get; nothing was stored, queued or quoted.

    `status` and `code` are those of the problem document (RFC 9457) that the client gets.
    """

    def __init__(self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors


class InvalidRequest(RequestRefused):
    """The request can't be what it should be, or is about something that does not exist."""


class ClientOrderIdReused(RequestRefused):
    """The clientOrderId belongs to an order with another body."""

    def __init__(self, client_order_id: str) -> None:
        message = f"{client_order_id!r} belongs to an order with another body; a new order needs a new one"
        super().__init__(
            409, "CLIENT_ORDER_ID_REUSED", f"clientOrderId {message}", (FieldError("clientOrderId", message),)
        )


class NothingAccepted(RequestRefused):
    """The journal or the queue did not take the order. The client may send it again.

    `certain`: it will not be executed. Otherwise a service did not say what became of it, and only sending it again
    with the same clientOrderId makes sure that it is executed once.
    """

    def __init__(self, detail: str, certain: bool = True) -> None:
        outlook = "it will not be executed; please send it again"
        if not certain:
            outlook = "whether it will be executed is not known; sent again with the same clientOrderId, it is, once"
        super().__init__(503, "NOTHING_ACCEPTED", f"{detail}; {outlook}")


class TooManySubscribers(RequestRefused):
    """The order is watched by as many connections as it can be."""

    def __init__(self) -> None:
        super().__init__(429, "TOO_MANY_SUBSCRIBERS", "the order has as many subscribers as it can have")


# --- an order that a worker can't go on with ----------------------------------------------------


class UnknownOrder(OrderEngineError):
    """The journal has no order of this id."""


class OrderClosed(OrderEngineError):
    """The order is final, published and persisted: there is nothing left to do."""


class LeaseHeld(OrderEngineError):
    """Another worker has the order; the message must come again, because that worker may die."""


class LeaseLost(OrderEngineError):
    """Another worker took the order over, or has written an event meanwhile; this one must stop at once."""


class IllegalTransition(OrderEngineError):
    """The lifecycle does not have this move: a fault of the engine's own."""


# --- what a venue can answer instead of a result --------------------------------------------------


class ExecutionError(OrderEngineError):
    """An attempt failed for a known reason. `transient` says whether another attempt can help."""

    code: FailureCode = FailureCode.INTERNAL_ERROR
    transient: bool = False


class SlippageExceeded(ExecutionError):
    """The swap would give less than minAmountOut."""

    code = FailureCode.SLIPPAGE_EXCEEDED


class InsufficientLiquidity(ExecutionError):
    """The venue's pool can't fill the amount, or the amount is too small to buy one base unit."""

    code = FailureCode.INSUFFICIENT_LIQUIDITY


class OrderExpired(ExecutionError):
    """The order waited longer than its allowed age."""

    code = FailureCode.ORDER_EXPIRED


class VenueUnavailable(ExecutionError):
    """The venue did not answer, or answered that it can't now."""

    code = FailureCode.VENUE_UNAVAILABLE
    transient = True


class RateLimited(ExecutionError):
    """The venue asks for fewer calls."""

    code = FailureCode.RATE_LIMITED
    transient = True


class TransactionTimeout(ExecutionError):
    """A call with a transaction timed out: whether it landed is unknown until it is looked up by its txHash."""

    code = FailureCode.TRANSACTION_TIMEOUT
    transient = True


# --- services that are away ------------------------------------------------------------------------


class HistoryUnavailable(OrderEngineError):
    """PostgreSQL did not take the outcome; the order is final all the same, and the row is owed."""


class ServiceUnavailable(OrderEngineError):
    """The journal, the connections or the queue did not answer; the message must come again."""


# --- sockets -----------------------------------------------------------------------------------------


class SocketGone(OrderEngineError):
    """The management API says that there is no such connection (410): not yet, or no longer."""


class SocketUnreachable(OrderEngineError):
    """The post was throttled or timed out; it may or may not have arrived."""
