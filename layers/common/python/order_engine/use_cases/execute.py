"""Execute an order: learn what `domain.decisions` asks for, do what it decides, until the order is final or deferred.

Every step is journaled before it is taken, and every write to the journal is conditional on the lease, so a worker
that lost the lease can neither publish nor send. A message leaves the queue only when nothing is owed for its order, or
when another message for it was sent.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto
from uuid import UUID

from order_engine import limits
from order_engine.domain.decisions import next_step
from order_engine.domain.errors import (
    FailureCode,
    HistoryUnavailable,
    LeaseLost,
    NotNow,
    OrderClosed,
    ServiceUnavailable,
)
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.routing import RoutingDecision
from order_engine.domain.steps import (
    Abandon,
    AskForQuotes,
    AwaitEnd,
    Build,
    Claimed,
    Close,
    Defer,
    GivenUp,
    Learnt,
    LookUp,
    Policy,
    Proceed,
    Rest,
    Send,
    StillOwed,
)
from order_engine.observability import count, count_by, count_outcome, count_owed, log_owner, logger
from order_engine.ports import Claim, Clock, History, Journal, OrderQueue, Watchlist
from order_engine.use_cases.publish import Publisher
from order_engine.use_cases.venue_calls import ATTEMPT, VenueCalls

# Before an order is claimed anew that could not be worked on: a service was unavailable.
_UNAVAILABLE_RETRY_SECONDS = 5.0


class Outcome(Enum):
    """Outcome of one delivery."""

    DONE = auto()  # final, published, persisted
    DEFERRED = auto()  # a message that brings the order back was sent
    RESTING = auto()  # the watcher of the market brings the order back


@dataclass(frozen=True)
class Executor:
    """The use case of `route_execute` and `dead_letters`."""

    journal: Journal
    publisher: Publisher
    queue: OrderQueue
    history: History
    watchlist: Watchlist
    venues: VenueCalls
    now: Clock
    policy: Policy = field(default_factory=Policy)

    def process(self, order_id: UUID, received: int = 1) -> Outcome:
        """Take the order as far as it goes now; when this returns, the message may be acknowledged.

        An order that can't be worked on now (another worker has it, its back-off is not over, a service is
        unavailable) is sent anew, so that the queue's receive count means deliveries that killed a worker. Not so a
        message that was `received` before: where two messages of an order that kills its workers take turns, its count
        would be lost. Raises NotNow then, UnknownOrder, and ServiceUnavailable if the queue took no new message either.
        """
        try:
            return self._with_claim(order_id, lambda claim: Claimed(claim.interrupted))
        except NotNow as refusal:
            logger.info("the order is not due", extra={"reason": str(refusal)})
            if received > 1:
                raise
            return self._send_anew(order_id, (refusal.until - self.now()).total_seconds())
        except LeaseLost:
            logger.warning("the order was taken over, or cancelled")
            return self._send_anew(order_id, _UNAVAILABLE_RETRY_SECONDS)
        except ServiceUnavailable as fault:
            count("DeliveriesDeferred")
            logger.warning("a service is unavailable; the order is sent anew", extra={"reason": str(fault)})
            return self._send_anew(order_id, _UNAVAILABLE_RETRY_SECONDS)

    def give_up(self, order_id: UUID, reason: str) -> Outcome:
        """End an order whose message kept killing its workers: `confirmed` if its swap has landed after all, else
        `failed` with INTERNAL_ERROR and the reason. An order that no worker ever claimed goes back to the workers, and
        so does one that rests and that none has.

        Raises UnknownOrder, NotNow, LeaseLost or ServiceUnavailable; the message must then be redelivered.
        """
        record = self.journal.read(order_id)
        if not record.taken_up or (record.status is OrderStatus.OPEN and not record.held):
            # Not claimed here: a crash would make it look like an order that kills its workers.
            logger.warning("no worker died with the order; it goes back to the queue")
            return self._send_anew(order_id, _UNAVAILABLE_RETRY_SECONDS)
        return self._with_claim(order_id, lambda _: GivenUp(reason))

    def _with_claim(self, order_id: UUID, learnt: Callable[[Claim], Learnt]) -> Outcome:
        try:
            claim = self.journal.claim(order_id)
        except OrderClosed:
            logger.info("order is closed already")
            return Outcome.DONE
        log_owner(claim.record.order.owner)
        if claim.interrupted:
            # Its holder may have died between appending the last event and posting it.
            count("OrdersResumed")
            logger.warning("resuming an interrupted order", extra={"status": claim.record.status})
            return self._advance(replace(claim, record=self.publisher.post(claim.record)), learnt(claim))
        return self._advance(claim, learnt(claim))

    def _advance(self, claim: Claim, learnt: Learnt) -> Outcome:
        """The loop: decide, journal and publish, act, learn."""
        patience_ends = self.now()
        while True:
            match step := next_step(claim.record, learnt, self.now(), self.policy):
                case AskForQuotes():
                    if claim.interrupted:
                        limits.require("an attempt", ATTEMPT)  # released, it would not look like a crash any more
                    if limits.seconds_left() < ATTEMPT:
                        count("DeliveriesDeferred")
                        return self._defer(claim, _UNAVAILABLE_RETRY_SECONDS, "too little time is left for an attempt")
                    claim = self._publish(claim, step.record)
                    learnt = self.venues.quotes(claim.record)
                case Proceed(learnt=quoted):
                    claim, learnt = self._publish(claim, step.record), quoted
                case Rest(reason=reason):
                    logger.info("the order rests", extra={"reason": reason})
                    _log_failures(claim.record, step.record)
                    return self._rest(self._publish(claim, step.record))
                case Build(decision=decision):
                    _log_routing(decision)
                    claim = self._publish(claim, step.record)
                    learnt = self.venues.build(claim.record, decision)
                case Send():
                    claim = self._publish(claim, step.record)
                    patience_ends = self.venues.patience_ends()
                    learnt = self.venues.send(claim.record.submitted_transaction, patience_ends)
                case AwaitEnd(fault=fault):
                    learnt = self.venues.await_end(claim.record.submitted_transaction, patience_ends, fault)
                case LookUp():
                    learnt = self.venues.look_up(claim.record.submitted_transaction)
                case Abandon(fault=fault):
                    learnt = self.venues.abandon(claim.record.submitted_transaction, fault)
                case Defer(after=after, reason=reason):
                    _log_failures(claim.record, step.record)
                    outcome = self._defer(replace(claim, record=step.record), random.uniform(*after), reason)
                    self.publisher.dismiss(step.record)
                    return outcome
                case Close():
                    _log_failures(claim.record, step.record)
                    claim, closed = self._close(self._publish(claim, step.record))
                    if closed:
                        self.publisher.dismiss(claim.record)
                        return Outcome.DONE
                    learnt = StillOwed()

    def _publish(self, claim: Claim, record: OrderRecord) -> Claim:
        """Journal and post the record's last event, unless that was done."""
        if record.sequence == claim.record.sequence:
            return replace(claim, record=record)
        claim = self.publisher.publish(claim, record)
        if claim.record.is_final:
            count_outcome(claim.record)
        return claim

    def _defer(self, claim: Claim, seconds: float, reason: str) -> Outcome:
        """Give the order back until so many seconds have passed, whatever messages it has."""
        logger.info("order deferred", extra={"reason": reason, "seconds": seconds})
        self.journal.release(claim, not_before=self.now() + timedelta(seconds=seconds))
        return self._send_anew(claim.record.order.order_id, seconds)

    def _rest(self, claim: Claim) -> Outcome:
        """Release an order that waits for the market. Noted each time: its last worker may not have come so far."""
        self.watchlist.note(claim.record.order)
        claim = replace(claim, record=self.publisher.finish(claim.record))
        if claim.record.behind:
            return self._defer(claim, _UNAVAILABLE_RETRY_SECONDS, "a subscriber of a resting order may lack a status")
        self.journal.release(claim)
        return Outcome.RESTING

    def _send_anew(self, order_id: UUID, seconds: float) -> Outcome:
        # SQS delays are whole seconds, 900 at the most.
        self.queue.send(order_id, delay_seconds=min(max(math.ceil(seconds), 0), 900))
        return Outcome.DEFERRED

    def _close(self, claim: Claim) -> tuple[Claim, bool]:
        """Persist a final order and release it for good; False if PostgreSQL or a subscriber still lacks something."""
        if claim.record.behind:  # of a cancel its watchers hear while PostgreSQL is away
            claim = replace(claim, record=self.publisher.post(claim.record))
        try:
            self.history.record(claim.record)
        except HistoryUnavailable as fault:
            count_owed(claim.record, self.now())
            logger.warning("outcome not persisted yet", extra={"reason": str(fault)})
            return claim, False
        claim = replace(claim, record=self.publisher.finish(claim.record))
        if claim.record.behind:
            return claim, False
        self.journal.release(claim, closed=True)
        return claim, True


def _log_routing(decision: RoutingDecision) -> None:
    logger.info(
        "order routed",
        extra={
            "venue": decision.best.venue,
            "reason": decision.reason,
            "quotes": [quote.model_dump(mode="json", by_alias=True) for quote in decision.quotes],
            "rejected": [rejection.model_dump(mode="json", by_alias=True) for rejection in decision.rejected],
        },
    )


def _log_failures(before: OrderRecord, record: OrderRecord) -> None:
    """Log and count the attempts that have failed since."""
    for error in record.errors[len(before.errors) :]:
        log = logger.error if error.code is FailureCode.SETTLEMENT_MISMATCH else logger.warning
        log("attempt failed", extra={"attempt": error.attempt, "code": error.code, "reason": error.error})
        if not record.is_final:
            count_by("AttemptsFailed", "code", error.code)
