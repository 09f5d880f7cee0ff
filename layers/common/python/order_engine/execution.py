"""Executing an order: from its journal entry to a final status, through retries, duplicates and crashes.

Every step is journaled before it is acted on, and every write to the journal is conditional on the lease, so that a
worker which lost it can neither publish nor submit. The message of an order leaves the queue only when nothing is owed
for it, or when another message for it has been sent.
"""

import math
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto
from typing import Any
from uuid import UUID

from order_engine.amounts import to_wire
from order_engine.delivery import Publisher
from order_engine.errors import (
    ExecutionError,
    HistoryUnavailable,
    OrderClosed,
    OrderExpired,
    SlippageExceeded,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.observability import count, count_by, count_outcome, logger
from order_engine.orders import (
    AttemptError,
    Landed,
    Outlook,
    Reverted,
    Transaction,
    TransactionStatus,
    VenueName,
)
from order_engine.ports import Claim, Clock, History, Journal, OrderQueue, Venue
from order_engine.routing import Answer, RoutingDecision, choose
from order_engine.status import OrderStatus


@dataclass(frozen=True)
class ExecutionPolicy:
    """The numbers that govern execution; the README lists the settings behind them."""

    max_attempts: int = 3
    retry_base_seconds: float = 1.0  # before attempt n + 1: base * 2**(n - 1), ± half of it at random
    retry_max_seconds: float = 30.0
    quote_timeout_seconds: float = 2.0
    confirmation_timeout_seconds: float = 8.0
    history_retry_seconds: float = 5.0  # doubles while PostgreSQL stays away, up to:
    history_retry_max_seconds: float = 40.0
    max_age_seconds: float = 60.0  # of an order that met a fault; see Executor._expired


class Progress(Enum):
    """How far `process` came."""

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
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "quote"))

    def process(self, order_id: UUID) -> Progress:
        """Takes the order as far as it goes now; when this returns, the message may be acknowledged.

        Raises LeaseHeld, LeaseLost, UnknownOrder or ServiceUnavailable; the message must then come again.
        """
        return self._with_claim(order_id, self._execute)

    def give_up(self, order_id: UUID, reason: str) -> Progress:
        """Ends an order whose message kept killing its workers: `confirmed` if its swap has landed after all, else
        `failed` with INTERNAL_ERROR and the reason. Raises like `process`."""
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
        order = claim.entry.order
        under_fault = attempt > 1 or claim.interrupted
        if under_fault and (expired := self._expired(claim)):
            return self._retry_or_fail(claim, expired, attempt)
        asked = " and ".join(venue.name for venue in self.venues)
        again = f" (attempt {attempt} of {self.policy.max_attempts})" if attempt > 1 else ""
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
        transaction = venue.build(order, attempt, best, decision.min_amount_out)
        claim = self._publish(
            replace(claim, entry=replace(claim.entry, transaction=transaction)),
            OrderStatus.SUBMITTED,
            f"Transaction sent to {best.venue}",
            venue=best.venue,
            tx_hash=transaction.tx_hash,
        )
        return self._settle(claim, transaction, fresh=True)

    def _route(self, claim: Claim, attempt: int) -> RoutingDecision:
        """Asks every venue at once; one that does not answer in time counts as unavailable."""
        order = claim.entry.order
        asked = [(venue.name, self._pool.submit(venue.quote, order, attempt)) for venue in self.venues]
        done, _ = wait([future for _, future in asked], timeout=self.policy.quote_timeout_seconds)
        answers: list[tuple[VenueName, Answer]] = []
        for name, future in asked:
            if future not in done:
                future.cancel()
                answers.append(
                    (name, VenueUnavailable(f"{name} gave no quote within {self.policy.quote_timeout_seconds} s"))
                )
                continue
            fault = future.exception()
            if fault is None:
                answers.append((name, future.result()))
            elif isinstance(fault, ExecutionError):
                answers.append((name, fault))
            else:
                raise fault
        return choose(order, answers)

    # --- a transaction that was journaled -----------------------------------------------------------

    def _settle(self, claim: Claim, transaction: Transaction, fresh: bool) -> Progress:
        """Brings a journaled transaction to its end: sends it where the chain has not seen it, and waits.

        `fresh`: this worker has just built it, so it need not be looked up first. What is unknown is not failed: as
        long as the venue can't say how it stands, the order stays `submitted`, and comes again later.
        """
        venue, patience = self._venue(transaction.venue), self.policy.confirmation_timeout_seconds
        fault: ExecutionError | None = None
        try:
            status = Outlook.UNKNOWN if fresh else venue.status(transaction.tx_hash, patience)
            if status is Outlook.UNKNOWN and not fresh:
                fault = self._expired(claim)
            if status is Outlook.UNKNOWN and fault is None:
                try:
                    status = venue.submit(transaction, patience)
                except ExecutionError as error:
                    fault, status = error, venue.status(transaction.tx_hash, patience)
            if status in (Outlook.UNKNOWN, Outlook.PENDING):
                status = venue.abandon(transaction)
        except ExecutionError as error:
            return self._ask_again_later(claim, error)
        fault = fault or TransactionTimeout(f"the transaction did not land within {patience:g} s")
        return self._end(claim, transaction, status, fault)

    def _end(
        self, claim: Claim, transaction: Transaction, status: TransactionStatus, fault: ExecutionError
    ) -> Progress:
        """Draws the conclusion from how a transaction ended; `fault` is why, where it is dead."""
        match status:
            case Landed(amount_out=amount_out, executed_price=price):
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
            case Reverted(reason=reason):
                return self._retry_or_fail(claim, SlippageExceeded(reason))
            case _:
                return self._retry_or_fail(claim, fault)

    def _ask_again_later(self, claim: Claim, error: ExecutionError) -> Progress:
        logger.warning("the venue can't say how the transaction stands", extra={"reason": str(error)})
        self.journal.release(claim)
        self.queue.send(claim.entry.order.order_id, delay_seconds=self._back_off(1))
        return Progress.DEFERRED

    def _give_up(self, claim: Claim, reason: str) -> Progress:
        fault = ExecutionError(reason)
        transaction = claim.entry.transaction
        if claim.entry.status is not OrderStatus.SUBMITTED or not transaction or claim.entry.attempt_failed:
            return self._retry_or_fail(claim, fault)
        try:
            status = self._venue(transaction.venue).abandon(transaction)
        except ExecutionError as error:
            return self._ask_again_later(claim, error)
        return self._end(claim, transaction, status, fault)

    def _expired(self, claim: Claim) -> OrderExpired | None:
        """An order that met a fault (a retry, or a worker that died) is sent only while its price is near the one its
        client saw. One that merely waited its turn is executed, however long the queue: the client watches it wait."""
        age, allowed = self.now() - claim.entry.order.created_at, self.policy.max_age_seconds
        if age <= timedelta(seconds=allowed):
            return None
        return OrderExpired(
            f"the order is {age.total_seconds():.0f} s old, and {allowed:g} s are allowed after a fault"
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
            self.journal.release(claim)
            self.queue.send(entry.order.order_id, delay_seconds=self._back_off(failure.attempt))
            return Progress.DEFERRED
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
        """Persists a final order. While PostgreSQL is away, the order is final all the same; the row stays owed, and a
        message brings the order back until it is written."""
        try:
            self.history.record(claim.entry)
        except HistoryUnavailable as fault:
            count("HistoryDeferred")
            logger.warning("outcome not persisted yet", extra={"reason": str(fault)})
            self.journal.release(claim)
            final_for = (self.now() - claim.entry.last.timestamp).total_seconds()
            policy = self.policy
            delay = min(max(final_for, policy.history_retry_seconds), policy.history_retry_max_seconds)
            self.queue.send(claim.entry.order.order_id, delay_seconds=math.ceil(delay * random.uniform(0.5, 1)))
            return Progress.DEFERRED
        self.publisher.ask_for_strays(claim.entry)
        self.journal.release(claim, closed=True)
        return Progress.DONE

    def _back_off(self, failed_attempts: int) -> int:
        """Whole seconds until the next attempt (SQS delays have no finer unit): exponential, with jitter."""
        policy = self.policy
        delay: float = policy.retry_base_seconds * 2 ** (failed_attempts - 1) * random.uniform(0.5, 1.5)
        return math.ceil(min(delay, policy.retry_max_seconds))

    def _publish(
        self, claim: Claim, status: OrderStatus, message: str, attempt: int | None = None, **details: Any
    ) -> Claim:
        entry = claim.entry.advanced(status, self.now(), message, attempt, **details)
        return self.publisher.publish(claim, entry)

    def _venue(self, name: VenueName) -> Venue:
        return next(venue for venue in self.venues if venue.name == name)
