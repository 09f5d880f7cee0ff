"""Executing an order: from its journal entry to a final status, through retries, duplicates and crashes.

Every step is journaled before it is acted on, and every write to the journal is conditional on the lease, so that a
worker which lost it can neither publish nor submit. The message of an order leaves the queue only when nothing is owed
for it, or when another message for it has been sent.
"""

import math
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Pool
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from order_engine import limits
from order_engine.amounts import to_wire
from order_engine.delivery import Publisher
from order_engine.errors import (
    ExecutionError,
    HistoryUnavailable,
    LeaseLost,
    NotNow,
    OrderClosed,
    OrderExpired,
    OutOfTime,
    ServiceUnavailable,
    SettlementMismatch,
    TransactionReverted,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.observability import count, count_by, count_outcome, logger
from order_engine.orders import (
    AttemptError,
    Dead,
    Ended,
    Landed,
    Pending,
    Reverted,
    Transaction,
    TransactionStatus,
    Unknown,
    VenueName,
)
from order_engine.ports import Claim, Clock, History, Journal, OrderQueue, Venue
from order_engine.routing import Answer, RoutingDecision, choose
from order_engine.status import OrderStatus

# Seconds that giving an order back may take: releasing it and sending it anew.
_GIVE_BACK = limits.DYNAMODB + limits.QUEUE

# Calls to one venue at once in an execution environment: more than it needs, as a call that hangs keeps its thread.
_VENUE_THREADS = 4

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ExecutionPolicy:
    """The numbers that govern execution; the README lists the settings behind them."""

    max_attempts: int = 3
    retry_base_seconds: float = 1.0  # before attempt n + 1: base * 2**(n - 1), ± half of it at random
    retry_max_seconds: float = 30.0
    quote_timeout_seconds: float = 2.0
    venue_timeout_seconds: float = 2.0  # of a call to build, look up or abandon a transaction
    confirmation_timeout_seconds: float = 5.0  # for all waiting of one delivery
    pending_retry_max_seconds: float = 15.0  # between two looks at a transaction in doubt, which begin after 1 s
    history_retry_seconds: float = 5.0  # doubles while PostgreSQL stays unavailable, up to:
    history_retry_max_seconds: float = 40.0
    unavailable_retry_seconds: float = 5.0
    max_age_seconds: float = 60.0  # of an order that met a fault; see Executor._expired


class Progress(Enum):
    """Outcome of one delivery."""

    DONE = auto()  # final, published, persisted
    DEFERRED = auto()  # a message that brings the order back has been sent


@dataclass(frozen=True)
class Executor:
    """The use case of `route_execute`."""

    journal: Journal
    publisher: Publisher
    queue: OrderQueue
    history: History
    venues: tuple[Venue, ...]
    now: Clock
    policy: ExecutionPolicy = ExecutionPolicy()
    # Threads for each venue apart, so that one which hangs does not keep another's.
    pools: Mapping[VenueName, Pool] = field(
        default_factory=lambda: {name: ThreadPoolExecutor(_VENUE_THREADS, name) for name in VenueName}
    )

    def process(self, order_id: UUID, received: int = 1) -> Progress:
        """Takes the order as far as it goes now; when this returns, the message may be acknowledged.

        An order that can't be worked on now (another worker has it, its back-off is not over, a service is
        unavailable) is sent anew, so that the queue's receive count has one meaning: deliveries that killed a worker.
        Only a message that was `received` before is not, lest its count be lost where two messages of an order that
        kills its workers take turns. Raises NotNow then, UnknownOrder, and ServiceUnavailable if the queue did not
        take the new message either.
        """
        try:
            return self._with_claim(order_id, self._execute)
        except NotNow as refusal:
            logger.info("the order is not due", extra={"reason": str(refusal)})
            if received > 1:
                raise
            return self._send_anew(order_id, (refusal.until - self.now()).total_seconds())
        except LeaseLost:
            logger.warning("another worker took the order over")
            return self._send_anew(order_id, self.policy.unavailable_retry_seconds)
        except ServiceUnavailable as fault:
            count("DeliveriesDeferred")
            logger.warning("a service is unavailable; the order is sent anew", extra={"reason": str(fault)})
            return self._send_anew(order_id, self.policy.unavailable_retry_seconds)

    def give_up(self, order_id: UUID, reason: str) -> Progress:
        """Ends an order whose message kept killing its workers: `confirmed` if its swap has landed after all, else
        `failed` with INTERNAL_ERROR and the reason. One that no worker ever took up goes back to the workers instead.

        Raises UnknownOrder, NotNow, LeaseLost or ServiceUnavailable; the message must then be redelivered.
        """
        if not self.journal.read(order_id).taken_up:
            # Not claimed here: a crash would make it look like an order that kills its workers.
            logger.warning("no worker ever took the order up; it goes back to the queue")
            return self._send_anew(order_id, self.policy.unavailable_retry_seconds)
        return self._with_claim(order_id, lambda claim: self._give_up(claim, reason))

    def _with_claim(self, order_id: UUID, work: Callable[[Claim], Progress]) -> Progress:
        try:
            claim = self.journal.claim(order_id)
        except OrderClosed:
            logger.info("order is closed already")
            return Progress.DONE
        if claim.interrupted:
            # Its holder may have died between appending the last event and posting it.
            count("OrdersResumed")
            logger.warning("resuming an interrupted order", extra={"status": claim.entry.status})
            claim = replace(claim, entry=self.publisher.post(claim.entry))
        if claim.entry.is_final:
            return self._close(claim)
        return work(claim)

    def _execute(self, claim: Claim) -> Progress:
        entry = claim.entry
        if entry.status is OrderStatus.SUBMITTED and entry.transaction and not entry.attempt_failed:
            return self._settle(claim, entry.transaction, fresh=False)
        attempt = entry.attempt + 1 if entry.attempt == 0 or entry.attempt_failed else entry.attempt
        return self._attempt(claim, attempt)

    # --- one attempt ------------------------------------------------------------------------------

    def _attempt(self, claim: Claim, attempt: int) -> Progress:
        order, policy = claim.entry.order, self.policy
        limits.require("an attempt", policy.quote_timeout_seconds + policy.venue_timeout_seconds + _GIVE_BACK)
        under_fault = attempt > 1 or claim.interrupted
        if under_fault and (expired := self._expired(claim)):
            return self._retry_or_fail(claim, expired, attempt)
        asked = " and ".join(venue.name for venue in self.venues)
        again = f" (attempt {attempt} of {policy.max_attempts})" if attempt > 1 else ""
        if claim.entry.errors:
            again += f" after: {claim.entry.errors[-1].error}"
        claim = self._publish(claim, OrderStatus.ROUTING, f"Comparing prices on {asked}{again}", attempt=attempt)
        try:
            decision = self._route(claim, attempt)
        except ExecutionError as error:
            return self._retry_or_fail(claim, error)
        best = decision.best
        logger.info(
            "order routed",
            extra={
                "venue": best.venue,
                "reason": decision.reason,
                "quotes": [quote.to_json() for quote in decision.quotes],
                "rejected": [rejection.to_json() for rejection in decision.rejected],
            },
        )
        claim = self._publish(
            claim,
            OrderStatus.BUILDING,
            f"Creating the transaction: {decision.reason}",
            venue=best.venue,
            quotes=decision.quotes,
            rejected=decision.rejected or None,
            min_amount_out=decision.min_amount_out,
        )
        venue = self._venue(best.venue)
        try:
            transaction = self._call(
                venue, policy.venue_timeout_seconds, venue.build, order, attempt, best, decision.min_amount_out
            )
        except ExecutionError as error:
            return self._retry_or_fail(claim, error)
        claim = self._publish(
            replace(claim, entry=replace(claim.entry, transaction=transaction)),
            OrderStatus.SUBMITTED,
            f"Transaction sent to {best.venue}",
            venue=best.venue,
            tx_hash=transaction.tx_hash,
        )
        return self._settle(claim, transaction, fresh=True)

    def _route(self, claim: Claim, attempt: int) -> RoutingDecision:
        """Asks every venue at once; one that fails in any way, or gives no quote in time, counts as unavailable."""
        order, seconds = claim.entry.order, self.policy.quote_timeout_seconds
        asked = [
            (venue.name, limits.submit(self.pools[venue.name], venue.quote, order, attempt)) for venue in self.venues
        ]
        wait([future for _, future in asked], timeout=seconds)
        answers: list[tuple[VenueName, Answer]] = []
        for name, future in asked:
            if not future.done():
                future.cancel()
                answers.append((name, VenueUnavailable(f"{name} gave no quote within {seconds:g} s")))
                continue
            fault = future.exception()
            if fault is None:
                answers.append((name, future.result()))
            elif isinstance(fault, ExecutionError):
                answers.append((name, fault))
            elif isinstance(fault, Exception):
                logger.error("a venue's quote failed unexpectedly", exc_info=fault, extra={"venue": name})
                answers.append((name, VenueUnavailable(f"{name} failed: {type(fault).__name__}")))
            else:
                raise fault
        return choose(order, answers)

    # --- a transaction that was journaled -----------------------------------------------------------

    def _settle(self, claim: Claim, transaction: Transaction, fresh: bool) -> Progress:
        """Brings a journaled transaction to its end: sends it where the chain has not seen it, and waits.

        `fresh`: this worker has just built it, so it need not be looked up first. What is unknown is not failed: until
        the venue says how it ended, the order stays `submitted`, and is looked at again later.
        """
        venue, ends_at = self._venue(transaction.venue), self._patience_ends_at()
        fault: ExecutionError | None = None
        try:
            status: TransactionStatus = Unknown()
            if not fresh:
                # Without waiting: an order that is looked at again must not occupy a worker.
                status = self._call(venue, self.policy.venue_timeout_seconds, venue.status, transaction, 0.0)
                fault = self._expired(claim)
            if isinstance(status, Unknown) and fault is None:
                try:
                    status = self._wait(venue, venue.submit, transaction, ends_at)
                except ExecutionError as error:
                    fault, status = error, self._wait(venue, venue.status, transaction, ends_at)
            if isinstance(status, Unknown | Pending):
                status = self._call(venue, self.policy.venue_timeout_seconds, venue.abandon, transaction)
        except (ExecutionError, OutOfTime) as error:
            return self._look_again_later(claim, str(error))
        if isinstance(status, Pending):
            return self._look_again_later(claim, str(fault or "it has not ended"))
        return self._end(
            claim, transaction, status, fault or TransactionTimeout("the transaction did not land in time")
        )

    def _patience_ends_at(self) -> datetime:
        """Until when a delivery waits for a confirmation: giving the order back must fit into the invocation too."""
        left = limits.seconds_left() - self.policy.venue_timeout_seconds - _GIVE_BACK
        seconds = min(self.policy.confirmation_timeout_seconds, left)
        return self.now() + timedelta(seconds=max(seconds, 0.0))

    def _wait(
        self,
        venue: Venue,
        call: Callable[[Transaction, float], TransactionStatus],
        transaction: Transaction,
        ends_at: datetime,
    ) -> TransactionStatus:
        """A call that waits for the transaction's end, for what is left of the delivery's patience."""
        patience = max((ends_at - self.now()).total_seconds(), 0.0)
        return self._call(venue, patience + self.policy.venue_timeout_seconds, call, transaction, patience)

    def _call(self, venue: Venue, seconds: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a venue returns within our own limit. Raises TransactionTimeout beyond it, and an ExecutionError of its
        own; an unforeseen exception is a venue that is unavailable. Raises OutOfTime where the order could not be given
        back afterwards, and does not call it then."""
        limits.require(venue.name, seconds + _GIVE_BACK)
        future = limits.submit(self.pools[venue.name], call, *args, **kwargs)
        wait([future], timeout=seconds)
        if not future.done():
            future.cancel()
            raise TransactionTimeout(f"{venue.name} did not respond within {seconds:g} s")
        fault = future.exception()
        if fault is None:
            return future.result()
        if isinstance(fault, ExecutionError) or not isinstance(fault, Exception):
            raise fault
        logger.error("a venue failed unexpectedly", exc_info=fault, extra={"venue": venue.name})
        raise VenueUnavailable(f"{venue.name} failed: {type(fault).__name__}") from fault

    def _end(self, claim: Claim, transaction: Transaction, status: Ended, fault: ExecutionError) -> Progress:
        """Draws the conclusion from how a transaction ended; `fault` is why, where it is dead."""
        match status:
            case Landed(amount_out=amount_out, executed_price=price):
                if amount_out <= 0 or amount_out < transaction.min_amount_out:
                    logger.error("a venue swapped for less than minAmountOut", extra={"txHash": transaction.tx_hash})
                    return self._retry_or_fail(
                        claim,
                        SettlementMismatch(
                            f"{transaction.venue} swapped for {to_wire(amount_out)}, less than minAmountOut "
                            f"{to_wire(transaction.min_amount_out)}, in {transaction.tx_hash}"
                        ),
                    )
                order = claim.entry.order
                claim = self._publish(
                    claim,
                    OrderStatus.CONFIRMED,
                    f"Swapped {to_wire(order.amount_in)} {order.token_in} for {to_wire(amount_out)} {order.token_out} "
                    f"on {transaction.venue}",
                    venue=transaction.venue,
                    tx_hash=transaction.tx_hash,
                    executed_price=price,
                    amount_out=amount_out,
                )
                count_outcome(claim.entry)
                return self._close(claim)
            case Reverted(reason=reason, code=code):
                return self._retry_or_fail(claim, TransactionReverted(reason, code))
            case Dead():
                return self._retry_or_fail(claim, fault)

    def _look_again_later(self, claim: Claim, reason: str) -> Progress:
        """Defers an order whose transaction may still land: no worker waits for it, and none builds another one."""
        age = (self.now() - claim.entry.last.timestamp).total_seconds()
        seconds = min(max(age / 2, 1.0), self.policy.pending_retry_max_seconds)
        logger.warning("the transaction may still land", extra={"reason": reason, "lookAgainSeconds": seconds})
        return self._defer(claim, seconds)

    def _give_up(self, claim: Claim, reason: str) -> Progress:
        entry, fault = claim.entry, ExecutionError(reason)
        transaction = entry.transaction
        if entry.status is not OrderStatus.SUBMITTED or not transaction or entry.attempt_failed:
            return self._retry_or_fail(claim, fault)
        venue = self._venue(transaction.venue)
        try:
            status = self._call(venue, self.policy.venue_timeout_seconds, venue.abandon, transaction)
        except (ExecutionError, OutOfTime) as error:
            return self._look_again_later(claim, str(error))
        if isinstance(status, Pending):
            return self._look_again_later(claim, reason)
        return self._end(claim, transaction, status, fault)

    def _expired(self, claim: Claim) -> OrderExpired | None:
        """An order that met a fault (a retry, or a worker that died) is sent only while its price is near the one its
        client saw. One that merely waited its turn is executed, however long the queue: its age counts from the first
        `routing`."""
        begun, allowed = claim.entry.routed_at, self.policy.max_age_seconds
        if begun is None or (age := self.now() - begun) <= timedelta(seconds=allowed):
            return None
        return OrderExpired(
            f"execution began {age.total_seconds():.0f} s ago, and {allowed:g} s are allowed after a fault"
        )

    # --- how an attempt ends ------------------------------------------------------------------------

    def _retry_or_fail(self, claim: Claim, error: ExecutionError, attempt: int | None = None) -> Progress:
        """Records why the attempt failed. Gives the order back for another one where that can help, else ends it."""
        entry = claim.entry
        number = entry.attempt if attempt is None else attempt
        failure = AttemptError(attempt=number, code=error.code, error=str(error), timestamp=self.now())
        claim = replace(claim, entry=replace(entry, errors=(*entry.errors, failure)))
        logger.warning(
            "attempt failed",
            extra={"attempt": failure.attempt, "code": error.code, "reason": str(error), "transient": error.transient},
        )
        if error.transient and failure.attempt < self.policy.max_attempts:
            count_by("AttemptsFailed", "code", error.code)
            return self._defer(claim, self._back_off(failure.attempt))
        claim = self._publish(
            claim,
            OrderStatus.FAILED,
            f"The order failed: {error}",
            attempt=number,
            code=error.code,
            error=str(error),
            attempts=claim.entry.errors,
        )
        count_outcome(claim.entry)
        return self._close(claim)

    def _close(self, claim: Claim) -> Progress:
        """Persists a final order. While PostgreSQL is unavailable, the order is final all the same; the row stays owed,
        and a message brings the order back until it is written."""
        try:
            self.history.record(claim.entry)
        except HistoryUnavailable as fault:
            count("HistoryDeferred")
            logger.warning("outcome not persisted yet", extra={"reason": str(fault)})
            return self._close_later(claim)
        claim = replace(claim, entry=self.publisher.finish(claim.entry))
        if claim.entry.behind:
            return self._close_later(claim)
        self.journal.release(claim, closed=True)
        return Progress.DONE

    def _close_later(self, claim: Claim) -> Progress:
        """After as long as the order has been final, so that many of them don't occupy the workers."""
        policy, final_for = self.policy, (self.now() - claim.entry.last.timestamp).total_seconds()
        seconds = min(max(final_for, policy.history_retry_seconds), policy.history_retry_max_seconds)
        return self._defer(claim, seconds * random.uniform(0.5, 1))

    def _defer(self, claim: Claim, seconds: float) -> Progress:
        """Gives the order back until so many seconds have passed, whatever messages it has."""
        self.journal.release(claim, not_before=self.now() + timedelta(seconds=seconds))
        return self._send_anew(claim.entry.order.order_id, seconds)

    def _send_anew(self, order_id: UUID, seconds: float) -> Progress:
        # SQS delays are whole seconds, 900 at the most.
        self.queue.send(order_id, delay_seconds=min(max(math.ceil(seconds), 0), 900))
        return Progress.DEFERRED

    def _back_off(self, failed_attempts: int) -> float:
        """Seconds until the next attempt: exponential, with jitter."""
        policy = self.policy
        delay: float = policy.retry_base_seconds * 2 ** (failed_attempts - 1) * random.uniform(0.5, 1.5)
        return min(delay, policy.retry_max_seconds)

    def _publish(
        self, claim: Claim, status: OrderStatus, message: str, attempt: int | None = None, **details: Any
    ) -> Claim:
        entry = claim.entry.advanced(status, self.now(), message, attempt, **details)
        return self.publisher.publish(claim, entry)

    def _venue(self, name: VenueName) -> Venue:
        return next(venue for venue in self.venues if venue.name == name)
