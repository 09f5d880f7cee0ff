"""Engines with one part swapped for a wrong one, each a mistake that is easily made. The checker must find them out."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from order_engine.delivery import Publisher
from order_engine.errors import ExecutionError, HistoryUnavailable, LeaseHeld
from order_engine.execution import ExecutionPolicy, Executor, Progress
from order_engine.orders import JournalEntry, Outlook, Subscriber, Transaction, TransactionStatus
from order_engine.ports import Claim
from order_engine.status import OrderStatus

from tests.reliability.fake_journal import FakeJournal, FakeSubscribers
from tests.reliability.fake_venue import FakeVenue
from tests.reliability.gate import Service, outside


class NoLease(FakeJournal):
    """Everybody gets the order, and writes what is next in his own opinion."""

    @outside(Service.JOURNAL)
    def claim(self, order_id: UUID) -> Claim:
        """Asks nobody."""
        return Claim(self._item(order_id).read(), "anybody", interrupted=False)

    @outside(Service.JOURNAL)
    def append(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Adds to whatever is there."""
        there = self._item(entry.order.order_id)
        there.entry = replace(entry, events=(*there.entry.events, entry.last))
        return replace(claim, entry=replace(entry, subscribers=there.read().subscribers))

    @outside(Service.JOURNAL)
    def release(self, claim: Claim, closed: bool = False) -> None:
        """Nothing to give back."""
        self._item(claim.entry.order.order_id).closed |= closed


class NoExpiry(FakeJournal):
    """A lease that outlives its worker."""

    @outside(Service.JOURNAL)
    def claim(self, order_id: UUID) -> Claim:
        """Refuses whenever there is an owner."""
        if self._item(order_id).lease_owner is not None:
            raise LeaseHeld(str(order_id))
        return FakeJournal.claim.__wrapped__(self, order_id)  # type: ignore[attr-defined, no-any-return]


class NeverInterrupted(FakeJournal):
    """A worker does not learn that its predecessor died, so what that one appended is not posted again."""

    @outside(Service.JOURNAL)
    def claim(self, order_id: UUID) -> Claim:
        """Says that all is well."""
        claim: Claim = FakeJournal.claim.__wrapped__(self, order_id)  # type: ignore[attr-defined]
        return replace(claim, interrupted=False)


class HandsOverBlindly(FakeSubscribers):
    """The handover without its condition."""

    @outside(Service.JOURNAL)
    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        """Does not look whether an event has come in between."""
        watched = self._watched(subscriber.order_id)
        watched[subscriber.connection_id] = replace(subscriber, live_after=through, sent_through=through)
        return True


class SubscribersFirst(Publisher):
    """Reads who watches before it appends, not with it."""

    def publish(self, claim: Claim, entry: JournalEntry) -> Claim:
        """See `Publisher`."""
        before = self.journal.read(entry.order.order_id).subscribers
        claim = self.journal.append(claim, entry)
        return replace(claim, entry=self.post(replace(claim.entry, subscribers=before)))


class SubmitsFirst(Executor):
    """Sends the transaction, then writes down that it does."""

    def _publish(
        self, claim: Claim, status: OrderStatus, message: str, attempt: int | None = None, **details: Any
    ) -> Claim:
        if status is OrderStatus.SUBMITTED and claim.entry.transaction:
            transaction = claim.entry.transaction
            self._venue(transaction.venue).submit(transaction, 8.0)
        return super()._publish(claim, status, message, attempt, **details)


@dataclass(frozen=True)
class FailsAtOnce(Executor):
    """Gives up at the first error, transient or not."""

    policy: ExecutionPolicy = field(default_factory=lambda: ExecutionPolicy(max_attempts=1))


class RecordsFirstFailure(Executor):
    """Writes a failed row at the first failed attempt; ON CONFLICT DO NOTHING then keeps it."""

    def _retry_or_fail(self, claim: Claim, error: ExecutionError, attempt: int | None = None) -> Progress:
        failed = claim.entry.advanced(OrderStatus.FAILED, self.now(), str(error), code=error.code, error=str(error))
        self.history.record(failed)
        return super()._retry_or_fail(claim, error, attempt)


class ForgetsTheRow(Executor):
    """Does not bring an order back when PostgreSQL was away."""

    def _close(self, claim: Claim) -> Progress:
        with suppress(HistoryUnavailable):
            self.history.record(claim.entry)
        self.journal.release(claim, closed=True)
        return Progress.DONE


class ClosesFirst(Executor):
    """Closes the order, then writes its row."""

    def _close(self, claim: Claim) -> Progress:
        self.journal.release(claim, closed=True)
        self.history.record(claim.entry)
        return Progress.DONE


class UnknownIsFailed(Executor):
    """Takes a timeout for a failure, without asking the venue."""

    def _settle(self, claim: Claim, transaction: Transaction, fresh: bool) -> Progress:
        try:
            status = self._venue(transaction.venue).submit(transaction, 8.0)
        except ExecutionError as error:
            return self._retry_or_fail(claim, error)
        return self._end(claim, transaction, status, ExecutionError("did not land"))


class LeavesAlive(FakeVenue):
    """A retry without declaring the earlier transaction dead."""

    def abandon(self, transaction: Transaction) -> TransactionStatus:
        """Only says so."""
        return Outlook.DEAD


def acknowledges_held(fault: Exception) -> bool:
    """A consumer that deletes the message when another worker has the order."""
    return isinstance(fault, LeaseHeld)
