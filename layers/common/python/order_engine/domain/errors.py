"""Every error of the engine. Callers catch by meaning, never by message text.

OrderEngineError
├── RequestRefused        InvalidRequest · Unauthorized · MissingScope · TooManyRequests · ClientOrderIdReused ·
│                         NothingAccepted · AcceptanceUnknown · TooManySubscribers
├── UnknownOrder · OrderClosed · LeaseLost · IllegalTransition
├── NotNow                LeaseHeld · BackingOff
├── ExecutionError        terminal: AmountTooSmall · PriceImpactTooHigh · SlippageExceeded · InsufficientLiquidity ·
│                         OrderExpired · TransactionReverted · SettlementMismatch
│                         transient: VenueUnavailable · RateLimited · TransactionTimeout
├── ServiceUnavailable    OutOfTime
├── HistoryUnavailable
└── SocketGone · SocketUnreachable
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from order_engine.domain.quota import WINDOW_SECONDS, Allowance


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


# --- a client's request is refused ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldError:
    """A wrong field of a request, and what would be right; `field` is empty for the body as a whole."""

    field: str
    message: str


class RequestRefused(OrderEngineError):
    """A client does not get what it asked for. `code` is for programs, the message for people."""

    code: str
    errors: tuple[FieldError, ...] = ()


class InvalidRequest(RequestRefused):
    """The request is malformed, or about something that does not exist. Nothing was stored, queued or quoted."""

    def __init__(self, code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = errors


class Unauthorized(RequestRefused):
    """There is no valid credential with the request: none, a malformed, unknown, wrong or revoked one, which is not
    said."""

    code = "UNAUTHORIZED"


class MissingScope(RequestRefused):
    """The key is valid, and does not allow this."""

    code = "MISSING_SCOPE"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a key with the scope {scope!r}")


class TooManyRequests(RequestRefused):
    """The owner has placed as many orders as it may for now. Nothing was stored, queued or quoted."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        most = f"{allowance.limit} orders in {WINDOW_SECONDS} s are the owner's limit"
        super().__init__(f"{most}; the next one can be placed in {allowance.retry_seconds} s")


class ClientOrderIdReused(RequestRefused):
    """The clientOrderId belongs to an order with another body. Nothing was stored, queued or quoted."""

    code = "CLIENT_ORDER_ID_REUSED"

    def __init__(self, client_order_id: str) -> None:
        message = f"{client_order_id!r} belongs to an order with another body; a new order needs a new one"
        super().__init__(f"clientOrderId {message}")
        self.errors = (FieldError("clientOrderId", message),)


class NothingAccepted(RequestRefused):
    """The order was not accepted and never will be executed; the client may send it again."""

    code = "NOTHING_ACCEPTED"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}; it will not be executed, please send it again")


class AcceptanceUnknown(RequestRefused):
    """A service did not say whether it took the order, now or at an earlier request with the same clientOrderId."""

    code = "ACCEPTANCE_UNKNOWN"

    def __init__(self, detail: str, client_order_id: str | None) -> None:
        advice = "watch your balance before you send it again"
        if client_order_id:
            advice = "send it again with the same clientOrderId, and it is executed once"
        super().__init__(f"{detail}; whether it is executed is not known: {advice}")


class TooManySubscribers(RequestRefused):
    """The order has as many subscribers as it can have. Nothing was stored."""

    code = "TOO_MANY_SUBSCRIBERS"

    def __init__(self) -> None:
        super().__init__("the order has as many subscribers as it can have")


# --- an order can't be worked on --------------------------------------------------------------------------------------


class UnknownOrder(OrderEngineError):
    """The journal has no order of this id."""


class OrderClosed(OrderEngineError):
    """The order is final, published and persisted: nothing is left to do."""


class NotNow(OrderEngineError):
    """The order can't be claimed before `until`; its message must be redelivered then."""

    def __init__(self, order_id: UUID, until: datetime) -> None:
        super().__init__(f"{order_id} can't be claimed before {until.isoformat()}")
        self.until = until


class LeaseHeld(NotNow):
    """Another worker holds the lease until `until`."""


class BackingOff(NotNow):
    """The order's next step is not due before `until`."""


class LeaseLost(OrderEngineError):
    """Another worker took the order over, or has appended an event meanwhile; this one must stop at once."""


class IllegalTransition(OrderEngineError):
    """The lifecycle does not have this move: a bug of the engine."""


# --- an attempt fails -------------------------------------------------------------------------------------------------


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
    """The venue swapped for less than minAmountOut, which none may do: an operator must look at it."""

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
    """The venue did not respond, or said that it can't now."""

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


# --- a service is unavailable -----------------------------------------------------------------------------------------


class HistoryUnavailable(OrderEngineError):
    """PostgreSQL did not take the outcome. The order is final all the same; its row is owed."""


class ServiceUnavailable(OrderEngineError):
    """The journal, the subscribers or the queue did not respond; the message must be redelivered."""


class OutOfTime(ServiceUnavailable):
    """A call was not begun, because its time limit exceeds what is left of the invocation."""


# --- sockets ----------------------------------------------------------------------------------------------------------


class SocketGone(OrderEngineError):
    """The management API says that there is no such connection (410): not yet, or no longer."""


class SocketUnreachable(OrderEngineError):
    """The call was throttled or timed out; it may or may not have taken effect."""
