"""Every error of the engine, as a tree; callers catch by meaning, never by message text."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class FailureCode(StrEnum):
    """Why an order failed, as it stands on the wire and in PostgreSQL."""

    SLIPPAGE_EXCEEDED = "SLIPPAGE_EXCEEDED"
    INSUFFICIENT_LIQUIDITY = "INSUFFICIENT_LIQUIDITY"
    VENUE_UNAVAILABLE = "VENUE_UNAVAILABLE"
    TRANSACTION_TIMEOUT = "TRANSACTION_TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    AMOUNT_TOO_SMALL = "AMOUNT_TOO_SMALL"
    PRICE_IMPACT_TOO_HIGH = "PRICE_IMPACT_TOO_HIGH"
    TRANSACTION_REVERTED = "TRANSACTION_REVERTED"
    SETTLEMENT_MISMATCH = "SETTLEMENT_MISMATCH"
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
    """The order was not accepted and never will be executed; the client may send it again."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "NOTHING_ACCEPTED", f"{detail}; it will not be executed, please send it again")


class AcceptanceUnknown(RequestRefused):
    """A service did not say whether it took the order, now or at an earlier request with the same clientOrderId."""

    def __init__(self, detail: str, client_order_id: str | None) -> None:
        advice = "watch your balance before you send it again"
        if client_order_id:
            advice = "send it again with the same clientOrderId, and it is executed once"
        super().__init__(503, "ACCEPTANCE_UNKNOWN", f"{detail}; whether it is executed is not known: {advice}")


class TooManySubscribers(RequestRefused):
    """The order is watched by as many connections as it can be."""

    def __init__(self) -> None:
        super().__init__(429, "TOO_MANY_SUBSCRIBERS", "the order has as many subscribers as it can have")


# --- an order that a worker can't go on with ----------------------------------------------------


class UnknownOrder(OrderEngineError):
    """The journal has no order of this id."""


class OrderClosed(OrderEngineError):
    """The order is final, published and persisted: there is nothing left to do."""


class NotNow(OrderEngineError):
    """The order can't be claimed before `until`; its message must come again then."""

    def __init__(self, order_id: UUID, until: datetime) -> None:
        super().__init__(f"{order_id} can't be claimed before {until.isoformat()}")
        self.until = until


class LeaseHeld(NotNow):
    """Another worker has the order, and may crash; its lease ends at `until`."""


class BackingOff(NotNow):
    """The order's next step is not due before `until`."""


class LeaseLost(OrderEngineError):
    """Another worker took the order over, or has written an event meanwhile; this one must stop at once."""


class IllegalTransition(OrderEngineError):
    """The lifecycle does not have this move: a fault of the engine's own."""


# --- what a venue can answer instead of a result --------------------------------------------------


class ExecutionError(OrderEngineError):
    """An attempt failed for a known reason. `transient` says whether another attempt can help."""

    code: FailureCode = FailureCode.INTERNAL_ERROR
    transient: bool = False


class AmountTooSmall(ExecutionError):
    """The amount buys less than one base unit."""

    code = FailureCode.AMOUNT_TOO_SMALL


class PriceImpactTooHigh(ExecutionError):
    """The trade would move the price by more than maxPriceImpactBps."""

    code = FailureCode.PRICE_IMPACT_TOO_HIGH


class TransactionReverted(ExecutionError):
    """The transaction is on the chain and swapped nothing; `code` says why where the chain does."""

    def __init__(self, reason: str, code: FailureCode = FailureCode.TRANSACTION_REVERTED) -> None:
        super().__init__(reason)
        self.code = code


class SettlementMismatch(ExecutionError):
    """The chain swapped for less than minAmountOut, which no venue may do: an operator must look at it."""

    code = FailureCode.SETTLEMENT_MISMATCH


class SlippageExceeded(ExecutionError):
    """The swap would give less than minAmountOut."""

    code = FailureCode.SLIPPAGE_EXCEEDED


class InsufficientLiquidity(ExecutionError):
    """The venue's pool can't fill the amount."""

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


class OutOfTime(ServiceUnavailable):
    """A call was not begun, because its time limit exceeds what is left of the invocation."""


# --- sockets -----------------------------------------------------------------------------------------


class SocketGone(OrderEngineError):
    """The management API says that there is no such connection (410): not yet, or no longer."""


class SocketUnreachable(OrderEngineError):
    """The post was throttled or timed out; it may or may not have arrived."""
