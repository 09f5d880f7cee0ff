"""Every error of the engine. Callers catch by meaning, never by message text.

OrderEngineError
├── RequestRefused        and its kinds: `refusals`
├── UnknownOrder · OrderClosed · LeaseLost · IllegalTransition
├── NotNow                LeaseHeld · BackingOff
├── ExecutionError        terminal: AmountTooSmall · PriceImpactTooHigh · SlippageExceeded · InsufficientLiquidity ·
│                         NoPool · OrderExpired · TransactionReverted · SettlementMismatch
│                         transient: VenueUnavailable · RateLimited · TransactionTimeout
├── ServiceUnavailable    OutOfTime
├── HistoryUnavailable
└── SocketGone · SocketUnreachable
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID


class FailureCode(StrEnum):
    """Why an order failed, as it stands on the wire and in PostgreSQL."""

    SLIPPAGE_EXCEEDED = "SLIPPAGE_EXCEEDED"
    INSUFFICIENT_LIQUIDITY = "INSUFFICIENT_LIQUIDITY"
    NO_POOL = "NO_POOL"
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


# --- an order can't be worked on --------------------------------------------------------------------------------------


class UnknownOrder(OrderEngineError):
    """There is no order of this id, or it is another owner's."""


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


class NoPool(ExecutionError):
    """The venue has no pool for the pair yet."""

    code = FailureCode.NO_POOL


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
