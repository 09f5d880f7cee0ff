"""The vocabulary of `domain.decisions`: the policy, what a worker learns about an order, and what it does next."""

from collections.abc import Sequence
from dataclasses import dataclass

from order_engine.domain.errors import ExecutionError
from order_engine.domain.record import OrderRecord
from order_engine.domain.routing import QuoteResult, RoutingDecision
from order_engine.domain.swaps import Ended, InFlight, Transaction, TransactionState, VenueName


@dataclass(frozen=True)
class Policy:
    """The numbers that govern an order's life; the README lists the settings behind them. All times are seconds."""

    max_attempts: int = 3
    retry_base_seconds: float = 1.0  # before attempt n + 1: base * 2**(n - 1), ± half of it at random
    retry_max_seconds: float = 30.0
    in_flight_retry_max_seconds: float = 15.0  # between two looks at a transaction in flight, which begin after 1 s
    history_retry_seconds: float = 5.0  # doubles while PostgreSQL stays unavailable, up to:
    history_retry_max_seconds: float = 40.0
    max_age_seconds: float = 60.0  # of an order that met a fault; see `_expired`
    most_returns: int = 10  # of a triggered order to `open`; then it is quoted again, without an event, after:
    miss_retry_seconds: float = 600.0


# --- what a worker learns ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claimed:
    """The order is this worker's. `interrupted`: its last worker crashed or was stopped."""

    interrupted: bool


@dataclass(frozen=True)
class GivenUp:
    """The order is to end: its message kept killing its workers."""

    reason: str


@dataclass(frozen=True)
class Quoted:
    """What each venue returned, in the order in which they were asked."""

    results: Sequence[tuple[VenueName, QuoteResult]]


@dataclass(frozen=True)
class Built:
    """The venue built and signed the transaction."""

    transaction: Transaction


@dataclass(frozen=True)
class BuildFailed:
    """The venue did not build it; nothing was sent."""

    error: ExecutionError


@dataclass(frozen=True)
class LookedUp:
    """The state of a transaction that an earlier delivery submitted."""

    state: TransactionState


@dataclass(frozen=True)
class SendFailed:
    """The transaction may have arrived or not."""

    error: ExecutionError


@dataclass(frozen=True)
class Awaited:
    """The state of the transaction after waiting for its end. `fault`: why sending it failed, if it did."""

    state: TransactionState
    fault: ExecutionError | None = None


@dataclass(frozen=True)
class Abandoned:
    """What the venue made of a transaction that is to land no more; `fault` is why."""

    state: Ended | InFlight
    fault: ExecutionError


@dataclass(frozen=True)
class Undecided:
    """The venue did not say how the transaction stands."""

    reason: str


@dataclass(frozen=True)
class StillOwed:
    """The order is final, but PostgreSQL has no row of it yet, or a subscriber may lack a status."""


Learnt = (
    Claimed
    | GivenUp
    | Quoted
    | Built
    | BuildFailed
    | LookedUp
    | SendFailed
    | Awaited
    | Abandoned
    | Undecided
    | StillOwed
)


# --- what it does next ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AskForQuotes:
    """Quote every venue."""

    record: OrderRecord


@dataclass(frozen=True)
class Proceed:
    """Nothing but to decide again on what was learnt: the record has moved on."""

    record: OrderRecord
    learnt: Quoted


@dataclass(frozen=True)
class Rest:
    """Release the order until the watcher of the market brings it back; `reason` is why it rests on."""

    record: OrderRecord
    reason: str


@dataclass(frozen=True)
class Build:
    """Have the transaction built at the chosen venue."""

    record: OrderRecord
    decision: RoutingDecision


@dataclass(frozen=True)
class Send:
    """Send the record's transaction, and wait for its end."""

    record: OrderRecord


@dataclass(frozen=True)
class AwaitEnd:
    """Wait for the end of a transaction that may have arrived."""

    fault: ExecutionError


@dataclass(frozen=True)
class LookUp:
    """Look the transaction up, without waiting: an order that is looked at again must not occupy a worker."""


@dataclass(frozen=True)
class Abandon:
    """See to it that the transaction can't land any more, unless it has."""

    fault: ExecutionError


@dataclass(frozen=True)
class Defer:
    """Release the order until a random moment `after` (least, most) seconds from now."""

    record: OrderRecord
    after: tuple[float, float]
    reason: str


@dataclass(frozen=True)
class Close:
    """Persist the final order; then nothing is left to do."""

    record: OrderRecord


Step = AskForQuotes | Proceed | Rest | Build | Send | AwaitEnd | LookUp | Abandon | Defer | Close
