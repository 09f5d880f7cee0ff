"""The life of an order, as decisions: what is next, given its record, what was just learnt, the time and the policy.

Pure: `use_cases.execute` learns and acts, this module decides. A step with a `record` is taken only after that record
is journaled and published, so a worker that takes over can read how far its predecessor may have come.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import (
    ExecutionError,
    FailureCode,
    OrderExpired,
    SettlementMismatch,
    TransactionReverted,
    TransactionTimeout,
)
from order_engine.domain.events import (
    AttemptError,
    BuildingStarted,
    Cancelled,
    Confirmed,
    Expired,
    Failed,
    RoutingStarted,
    Submitted,
)
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order_types import rests
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import TooLateToCancel
from order_engine.domain.resting import MISSES, may_return, rest_on, too_large, watch
from order_engine.domain.routing import Results, choose
from order_engine.domain.steps import (
    Abandon,
    Abandoned,
    AskForQuotes,
    Awaited,
    AwaitEnd,
    Build,
    BuildFailed,
    Built,
    Claimed,
    Close,
    Defer,
    GivenUp,
    Learnt,
    LookedUp,
    LookUp,
    Policy,
    Proceed,
    Quoted,
    Rest,
    Send,
    SendFailed,
    Step,
    StillOwed,
    Undecided,
)
from order_engine.domain.swaps import (
    Dropped,
    Ended,
    Landed,
    NotFound,
    Reverted,
    Transaction,
    TransactionState,
    VenueName,
)

# An order that ends so has met a fault, however long it was to be tried.
_OURS = (FailureCode.INTERNAL_ERROR, FailureCode.SETTLEMENT_MISMATCH)


def next_step(record: OrderRecord, learnt: Learnt, now: datetime, policy: Policy) -> Step:
    """Decide what to do next with an order. Final orders only ever close."""
    match learnt:
        case StillOwed():
            # Deferred for as long as it has been final, so that many of them don't occupy the workers.
            least, most = policy.history_retry_seconds, policy.history_retry_max_seconds
            seconds = min(max(_age_of_status(record, now), least), most)
            return Defer(record, (seconds / 2, seconds), "the order is final, but not closed yet")
        case Claimed() | GivenUp() if record.is_final:
            return Close(record)
        case Claimed() if record.open_transaction:
            return LookUp()
        case Claimed(interrupted=interrupted):
            return _begin_attempt(record, interrupted, now, policy)
        case GivenUp(reason=reason):
            fault = ExecutionError(reason)
            return Abandon(fault) if record.open_transaction else _retry_or_fail(record, fault, now, policy)
        case Quoted(results=results) if record.status is OrderStatus.PENDING and (error := too_large(results)):
            return _retry_or_fail(record, error, now, policy)
        case Quoted() if record.status in (OrderStatus.PENDING, OrderStatus.OPEN):
            return watch(record, learnt, now)
        case Quoted() if record.status is OrderStatus.TRIGGERED:
            return Proceed(_routing(record, record.attempt + 1, now, policy), learnt)
        case Quoted(results=results):
            return _route(record, results, now, policy)
        case Built(transaction=transaction) if _outlasts(transaction, record):
            return Close(_expired_now(record, OrderExpired("its transaction could land after expiresAt"), now))
        case Built(transaction=transaction):
            event = Submitted(
                **record.header(now),
                message=f"Transaction sent to {transaction.venue}",
                venue=transaction.venue,
                tx_hash=transaction.tx_hash,
            )
            transaction = transaction.model_copy(update={"attempt": record.attempt})
            return Send(replace(record, transaction=transaction).followed_by(event))
        case BuildFailed(error=error):
            return _retry_or_fail(record, error, now, policy)
        case LookedUp(state=state):
            expired = _expired(record, now, policy)
            if isinstance(state, NotFound) and not expired:
                return Send(record)
            return _settle(record, state, expired, now, policy)
        case SendFailed(error=error):
            return AwaitEnd(error)
        case Awaited(state=state, fault=fault):
            return _settle(record, state, fault, now, policy)
        case Abandoned(state=state, fault=fault):
            if isinstance(state, Ended):
                return _conclude(record, state, fault, now, policy)
            return _look_again_later(record, str(fault), now, policy)
        case Undecided(reason=reason):
            return _look_again_later(record, reason, now, policy)


def cancelled(record: OrderRecord, now: datetime) -> OrderRecord:
    """Return the record as it is once its owner has cancelled the order; as it is, if that was done before.

    Raises TooLateToCancel if the order has ended otherwise, or a transaction was journaled: it may land whatever is
    done here. One that is known to be dead makes no difference: whoever was refused once is not to be believed later.
    """
    if record.status is OrderStatus.CANCELLED:
        return record
    if record.is_final or record.transaction is not None:
        raise TooLateToCancel(record.status, record.is_final)
    return record.followed_by(Cancelled(**record.header(now), message="Cancelled by its owner; nothing was sent"))


def _begin_attempt(record: OrderRecord, interrupted: bool, now: datetime, policy: Policy) -> Step:
    """Start the next attempt, or start the current one over where its worker crashed before submitting."""
    if record.order.expires_at and now >= record.order.expires_at:
        return Close(_expired_now(record, OrderExpired("expiresAt has passed"), now))
    if record.status is OrderStatus.OPEN or (record.status is OrderStatus.PENDING and rests(record.order)):
        return AskForQuotes(record)
    if record.misses and record.status is OrderStatus.ROUTING and not record.attempt_failed:
        return AskForQuotes(record)  # the attempt goes on: each further one would be another event
    begun = record.tries > 0 and not record.attempt_failed
    attempt = record.attempt if begun else record.attempt + 1
    if (record.tries_through(attempt) > 1 or interrupted) and (expired := _expired(record, now, policy)):
        return _retry_or_fail(record, expired, now, policy, attempt)
    return AskForQuotes(_routing(record, attempt, now, policy))


def _routing(record: OrderRecord, attempt: int, now: datetime, policy: Policy) -> OrderRecord:
    """Return the record with the beginning of an attempt."""
    message = f"Comparing prices on {' and '.join(VenueName)}"
    if (tries := record.tries_through(attempt)) > 1:
        message += f" (attempt {tries} of {policy.max_attempts})"
    if record.errors and tries > 1:
        message += f" after: {record.errors[-1].error}"
    return record.followed_by(RoutingStarted(**record.header(now, attempt), message=message))


def _route(record: OrderRecord, results: Results, now: datetime, policy: Policy) -> Build | Rest | Defer | Close:
    """Choose the better venue. Without an acceptable quote the attempt has failed, or a resting order rests on."""
    try:
        decision = choose(record.order, results)
    except ExecutionError as error:
        if error.code not in MISSES or not may_return(record):
            return _retry_or_fail(record, error, now, policy)
        if len(record.openings) <= policy.most_returns:
            return rest_on(record, results, error, now, record.attempt)
        missed, seconds = replace(record, misses=record.misses + 1), policy.miss_retry_seconds
        if record.order.expires_at:  # no watcher brings an order back sooner than its back-off is over
            seconds = min(seconds, max((record.order.expires_at - now).total_seconds(), 0.0))
        return Defer(missed, (seconds, seconds), f"miss {missed.misses}: {error}")
    event = BuildingStarted(
        **record.header(now),
        message=f"Creating the transaction: {decision.reason}",
        venue=decision.best.venue,
        quotes=decision.quotes,
        rejected=decision.rejected or None,
        min_amount_out=decision.min_amount_out,
    )
    return Build(record.followed_by(event), decision)


def _settle(
    record: OrderRecord, state: TransactionState, fault: ExecutionError | None, now: datetime, policy: Policy
) -> Abandon | Defer | Rest | Close:
    """Draw the conclusion from a transaction that has ended. One that has not is abandoned: unknown is not failed."""
    fault = fault or TransactionTimeout("the transaction did not land in time")
    if isinstance(state, Ended):
        return _conclude(record, state, fault, now, policy)
    return Abandon(fault)


def _conclude(
    record: OrderRecord, state: Ended, fault: ExecutionError, now: datetime, policy: Policy
) -> Defer | Rest | Close:
    """Turn the end of the transaction into the end of the attempt; `fault` is why it was dropped, if it was."""
    match state:
        case Landed(amount_out=amount_out, executed_price=price):
            transaction, order = record.submitted_transaction, record.order
            if amount_out <= 0 or amount_out < transaction.min_amount_out:
                mismatch = (
                    f"{transaction.venue} swapped for {to_wire(amount_out)}, less than minAmountOut "
                    f"{to_wire(transaction.min_amount_out)}, in {transaction.tx_hash}"
                )
                return _retry_or_fail(record, SettlementMismatch(mismatch), now, policy)
            event = Confirmed(
                **record.header(now),
                message=f"Swapped {to_wire(order.amount_in)} {order.token_in} for "
                f"{to_wire(amount_out)} {order.token_out} on {transaction.venue}",
                venue=transaction.venue,
                tx_hash=transaction.tx_hash,
                executed_price=price,
                amount_out=amount_out,
            )
            return Close(record.followed_by(event))
        case Reverted(reason=reason, code=code):
            return _retry_or_fail(record, TransactionReverted(reason, code), now, policy)
        case Dropped():
            return _retry_or_fail(record, fault, now, policy)


def _retry_or_fail(
    record: OrderRecord, error: ExecutionError, now: datetime, policy: Policy, attempt: int | None = None
) -> Defer | Rest | Close:
    """Record the failed attempt. Defer the order for another one if that can help and one is left, else let it rest on
    if it can, or fail it."""
    number = record.attempt if attempt is None else attempt
    tries = record.tries_through(number)
    failure = AttemptError(attempt=number, code=error.code, error=str(error), timestamp=now)
    record = replace(record, errors=(*record.errors, failure))
    if record.order.time_in_force == "fok" and error.code not in _OURS:
        return Close(_expired_now(record, error, now))
    if error.transient and tries < policy.max_attempts:
        seconds = policy.retry_base_seconds * 2 ** (tries - 1)
        least, most = (min(share * seconds, policy.retry_max_seconds) for share in (0.5, 1.5))
        return Defer(record, (least, most), f"attempt {number} failed: {error}")
    if error.code not in _OURS and may_return(record) and len(record.openings) <= policy.most_returns:
        return rest_on(record, (), error, now, number)
    event = Failed(
        **record.header(now, number),
        message=f"The order failed: {error}",
        code=error.code,
        error=str(error),
        attempts=record.errors,
    )
    return Close(record.followed_by(event))


def _expired_now(record: OrderRecord, error: ExecutionError, now: datetime) -> OrderRecord:
    """Return the record with `expired`."""
    event = Expired(
        **record.header(now),
        message=f"The order has expired: {error}",
        code=error.code,
        error=str(error),
        attempts=record.errors,
    )
    return record.followed_by(event)


def _outlasts(transaction: Transaction, record: OrderRecord) -> bool:
    """Return whether a transaction could land after its order has expired."""
    expires_at, valid_until = record.order.expires_at, transaction.valid_until
    return expires_at is not None and (valid_until is None or valid_until > expires_at)


def _look_again_later(record: OrderRecord, reason: str, now: datetime, policy: Policy) -> Defer:
    """Defer an order whose transaction may still land: no worker waits for it, and none builds another one."""
    seconds = min(max(_age_of_status(record, now) / 2, 1.0), policy.in_flight_retry_max_seconds)
    return Defer(record, (seconds, seconds), f"the transaction may still land: {reason}")


def _expired(record: OrderRecord, now: datetime, policy: Policy) -> OrderExpired | None:
    """Return OrderExpired if the first attempt began more than `max_age_seconds` ago.

    Asked after a fault (a retry, a crashed worker): the order is then executed only while the price is near the one
    its client saw. An order that merely waited in the queue never expires.
    """
    if (
        record.misses
        or record.routed_at is None
        or (age := now - record.routed_at) <= timedelta(seconds=policy.max_age_seconds)
    ):
        return None
    allowed = f"{policy.max_age_seconds:g} s are allowed after a fault"
    return OrderExpired(f"execution began {age.total_seconds():.0f} s ago, and {allowed}")


def _age_of_status(record: OrderRecord, now: datetime) -> float:
    return (now - record.last.timestamp).total_seconds()
