"""Call the venues: every call on a thread of its venue, within our own limit; what comes of it, as something learnt."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ParamSpec, TypeVar

from order_engine import limits
from order_engine.domain.errors import (
    ExecutionError,
    NoPool,
    OutOfTime,
    ServiceUnavailable,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.routing import RoutingDecision
from order_engine.domain.steps import Abandoned, Awaited, BuildFailed, Built, LookedUp, Quoted, SendFailed, Undecided
from order_engine.domain.swaps import Quote, Transaction, TransactionState, VenueName
from order_engine.observability import logger
from order_engine.ports import Clock, Pair, Venue

# Seconds that giving an order back may take: releasing it and sending it anew.
GIVE_BACK = limits.DYNAMODB + limits.QUEUE

# Seconds that an attempt needs at the least to get as far as a built transaction.
ATTEMPT = limits.QUOTE + limits.VENUE + GIVE_BACK

# Calls to one venue at once in an execution environment: more than it needs, as a call that hangs keeps its thread.
_THREADS = 4

P = ParamSpec("P")
R = TypeVar("R")
Told = TypeVar("Told", Quote, Decimal)


@dataclass(frozen=True)
class VenueCalls:
    """The venues, as an order's execution calls them.

    Whatever a venue does, each method returns what was learnt, in time; only `build`, which
    sends nothing, raises OutOfTime.
    """

    venues: Sequence[Venue]
    now: Clock
    # Threads for each venue apart, so that one which hangs does not keep another's.
    pools: Mapping[VenueName, Pool] = field(
        default_factory=lambda: {name: ThreadPoolExecutor(_THREADS, name) for name in VenueName}
    )

    def quotes(self, record: OrderRecord) -> Quoted:
        """Quote every venue at once. One that fails in any way, or is too slow, counts as unavailable."""
        asked = [
            (venue.name, limits.run_in(self.pools[venue.name], venue.quote, record.order, self._quote_id(record)))
            for venue in self.venues
        ]
        wait([future for _, future in asked], timeout=limits.QUOTE)
        return Quoted([(name, _result_or_error(name, future)) for name, future in asked])

    def spots(self, pairs: Sequence[Pair]) -> dict[Pair, Decimal]:
        """Return the best market price (`Venue.spot`) of each pair that has one; all are asked for at once.

        Raises ServiceUnavailable if no venue says anything, not even that a pair has no pool."""
        asked = [
            (pair, venue.name, limits.run_in(self.pools[venue.name], venue.spot, *pair))
            for pair in pairs
            for venue in self.venues
        ]
        wait([future for _, _, future in asked], timeout=limits.QUOTE)
        told = [(pair, _result_or_error(name, future)) for pair, name, future in asked]
        if told and not any(isinstance(price, Decimal | NoPool) for _, price in told):
            raise ServiceUnavailable("; ".join(sorted({str(fault) for _, fault in told})))
        prices: dict[Pair, Decimal] = {}
        for pair, price in told:
            if isinstance(price, Decimal):
                prices[pair] = max(price, prices.get(pair, price))
        return prices

    def build(self, record: OrderRecord, decision: RoutingDecision) -> Built | BuildFailed:
        """Have the chosen venue build and sign the transaction."""
        venue, best = self._venue(decision.best.venue), decision.best
        try:
            floor, request_id = decision.min_amount_out, _request_id(record)
            return Built(self._call(venue, limits.VENUE, venue.build, record.order, best, floor, request_id))
        except ExecutionError as error:
            return BuildFailed(error)

    def send(self, transaction: Transaction, patience_ends: datetime) -> Awaited | SendFailed | Undecided:
        """Send the transaction and wait for its end."""
        venue = self._venue(transaction.venue)
        try:
            return Awaited(self._wait(venue, venue.send, transaction, patience_ends))
        except ExecutionError as error:
            return SendFailed(error)
        except OutOfTime as fault:
            return Undecided(str(fault))

    def await_end(
        self, transaction: Transaction, patience_ends: datetime, fault: ExecutionError
    ) -> Awaited | Undecided:
        """Wait for the end of a transaction that may have arrived."""
        venue = self._venue(transaction.venue)
        try:
            return Awaited(self._wait(venue, venue.status, transaction, patience_ends), fault)
        except (ExecutionError, OutOfTime) as error:
            return Undecided(str(error))

    def look_up(self, transaction: Transaction) -> LookedUp | Undecided:
        """Look the transaction up, without waiting."""
        venue = self._venue(transaction.venue)
        try:
            return LookedUp(self._call(venue, limits.VENUE, venue.status, transaction, 0.0))
        except (ExecutionError, OutOfTime) as error:
            return Undecided(str(error))

    def abandon(self, transaction: Transaction, fault: ExecutionError) -> Abandoned | Undecided:
        """See to it that the transaction can't land any more, unless it has."""
        venue = self._venue(transaction.venue)
        try:
            return Abandoned(self._call(venue, limits.VENUE, venue.abandon, transaction), fault)
        except (ExecutionError, OutOfTime) as error:
            return Undecided(str(error))

    def patience_ends(self) -> datetime:
        """Until when a delivery waits for a confirmation: giving the order back must fit into the invocation too."""
        seconds = min(limits.CONFIRMATION, limits.seconds_left() - limits.VENUE - GIVE_BACK)
        return self.now() + timedelta(seconds=max(seconds, 0.0))

    def _wait(
        self,
        venue: Venue,
        call: Callable[[Transaction, float], TransactionState],
        transaction: Transaction,
        patience_ends: datetime,
    ) -> TransactionState:
        """Make a call that waits for the transaction's end, for what is left of the delivery's patience."""
        patience = max((patience_ends - self.now()).total_seconds(), 0.0)
        return self._call(venue, patience + limits.VENUE, call, transaction, patience)

    def _call(self, venue: Venue, seconds: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a venue within our own limit.

        Raises TransactionTimeout beyond it, the venue's own ExecutionError, and VenueUnavailable for an unforeseen
        exception. Raises OutOfTime, and does not call, if the order could not be given back afterwards.
        """
        limits.require(venue.name, seconds + GIVE_BACK)
        future = limits.run_in(self.pools[venue.name], call, *args, **kwargs)
        wait([future], timeout=seconds)
        if not future.done():
            future.cancel()
            raise TransactionTimeout(f"{venue.name} did not respond within {seconds:g} s")
        if error := _error_of(venue.name, future):
            raise error
        return future.result()

    def _quote_id(self, record: OrderRecord) -> str:
        """An order at rest is quoted again and again before an attempt begins, each time anew."""
        if record.status in (OrderStatus.PENDING, OrderStatus.OPEN) or record.misses:
            return f"{record.order.order_id}/{record.attempt}-{int(self.now().timestamp() * 1000)}"
        return _request_id(record)

    def _venue(self, name: VenueName) -> Venue:
        return next(venue for venue in self.venues if venue.name == name)


def _result_or_error(venue: VenueName, future: Future[Told]) -> Told | ExecutionError:
    """Return what the venue said; what came too late or failed in any way, as an error."""
    if not future.done():
        future.cancel()
        return VenueUnavailable(f"{venue} gave no quote within {limits.QUOTE:g} s")
    return _error_of(venue, future) or future.result()


def _error_of(venue: VenueName, future: Future[R]) -> ExecutionError | None:
    """The failure of a call to a venue; an unforeseen exception makes the venue unavailable."""
    fault = future.exception()
    if fault is None or isinstance(fault, ExecutionError):
        return fault
    if not isinstance(fault, Exception):
        raise fault
    logger.error("a venue failed unexpectedly", exc_info=fault, extra={"venue": venue})
    return VenueUnavailable(f"{venue} failed: {type(fault).__name__}")


def _request_id(record: OrderRecord) -> str:
    """Names an attempt's requests to a venue, in FIX the QuoteReqID (131): a worker that repeats one repeats its id."""
    return f"{record.order.order_id}/{record.attempt}"
