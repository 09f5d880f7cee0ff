"""Executing an order: attempts, what ends them, and where a worker goes on that finds an order half done."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from order_engine.delivery import Publisher
from order_engine.errors import (
    FailureCode,
    InsufficientLiquidity,
    LeaseHeld,
    LeaseLost,
    RateLimited,
    ServiceUnavailable,
    TransactionTimeout,
    UnknownOrder,
    VenueUnavailable,
)
from order_engine.execution import ExecutionPolicy, Executor, Progress
from order_engine.orders import JournalEntry, Landed, Outlook, Reverted, VenueName
from order_engine.status import OrderStatus

from tests.support.builders import START, a_subscriber, accepted, an_entry, an_order
from tests.support.fakes import (
    FixedClock,
    MemoryCatchUps,
    MemoryHistory,
    MemoryJournal,
    MemoryQueue,
    MemorySockets,
    MemorySubscribers,
    ScriptedVenue,
)

RAYDIUM, METEORA = VenueName.RAYDIUM, VenueName.METEORA
SUBSCRIBER = "subscriber="


class Works:
    """An executor over services in memory, with one order in the journal that one live subscriber watches."""

    def __init__(self, entry: JournalEntry | None = None, **policy: Any) -> None:
        entry = entry or accepted(an_order())
        self.order = entry.order
        self.clock = FixedClock(entry.last.timestamp)
        self.journal, self.queue, self.history = MemoryJournal(entry), MemoryQueue(), MemoryHistory()
        self.subscribers, self.sockets = MemorySubscribers(self.journal), MemorySockets()
        self.catch_ups = MemoryCatchUps()
        self.subscribers.join(a_subscriber(self.order.order_id, SUBSCRIBER, live_after=entry.sequence))
        self.raydium, self.meteora = ScriptedVenue(RAYDIUM, "1490"), ScriptedVenue(METEORA, "1480")
        self.executor = Executor(
            journal=self.journal,
            publisher=Publisher(self.journal, self.subscribers, self.sockets, self.catch_ups),
            queue=self.queue,
            history=self.history,
            venues=(self.raydium, self.meteora),
            now=self.clock,
            policy=ExecutionPolicy(**policy),
        )

    def process(self) -> Progress:
        return self.executor.process(self.order.order_id)

    def process_to_the_end(self) -> None:
        """Processes the order as often as it asks to come again."""
        while self.process() is Progress.DEFERRED:
            assert len(self.queue.sent) < 20

    def give_up(self) -> Progress:
        return self.executor.give_up(self.order.order_id, "its workers died")

    @property
    def entry(self) -> JournalEntry:
        return self.journal.read(self.order.order_id)

    @property
    def statuses(self) -> list[str]:
        return [event.status.value for event in self.entry.events]

    @property
    def closed(self) -> bool:
        return self.journal.kept[self.order.order_id].closed

    @property
    def delays(self) -> list[int]:
        return [delay for _, delay in self.queue.sent]

    @property
    def swaps(self) -> list[str]:
        """The transactions that landed, on either venue."""
        ledgers = {**self.raydium.ledger, **self.meteora.ledger}
        return [tx_hash for tx_hash, end in ledgers.items() if isinstance(end, Landed)]


def after_a_crash(through: OrderStatus) -> Works:
    """An order that a worker left after a status, dying with the lease."""
    works = Works(an_entry(through))
    works.journal.die_holding(works.order.order_id)
    return works


# --- an undisturbed life --------------------------------------------------------------------------------------


def test_an_order_goes_through_all_five_statuses_and_is_confirmed_published_and_persisted() -> None:
    works = Works()

    assert works.process() is Progress.DONE

    assert works.statuses == ["pending", "routing", "building", "submitted", "confirmed"]
    assert works.sockets.sequences(SUBSCRIBER) == [2, 3, 4, 5]
    assert works.history.rows[works.order.order_id].events == works.entry.events
    assert works.closed
    assert works.queue.sent == []


def test_a_confirmed_order_says_what_was_paid_and_where() -> None:
    works = Works()

    works.process()

    last = works.entry.last
    assert (last.venue, last.amount_out, last.executed_price) == (RAYDIUM, Decimal(1490), Decimal(149))
    assert last.tx_hash == works.raydium.arrived[0].tx_hash
    assert last.message == "Swapped 10 SOL for 1490 USDC on raydium"


def test_both_quotes_and_the_floor_are_published_and_the_floor_is_in_the_transaction() -> None:
    works = Works()

    works.process()

    building = works.entry.event_of(OrderStatus.BUILDING)
    assert building is not None
    assert building.quotes is not None
    assert [(quote.venue, quote.amount_out) for quote in building.quotes] == [
        (RAYDIUM, Decimal(1490)),
        (METEORA, Decimal(1480)),
    ]
    assert building.min_amount_out == works.raydium.arrived[0].min_amount_out == Decimal("1482.55")
    assert building.rejected is None


def test_the_venue_that_gives_more_gets_the_order() -> None:
    works = Works()
    works.meteora.amount_out = "1491"

    works.process()

    assert works.entry.last.venue is METEORA
    assert works.raydium.arrived == []


def test_a_transaction_is_journaled_before_it_is_sent() -> None:
    works = Works()
    journaled = []
    works.raydium.before_submit = lambda transaction: journaled.append(
        (works.entry.status, works.entry.last.tx_hash == transaction.tx_hash, works.entry.transaction == transaction)
    )

    works.process()

    assert journaled == [(OrderStatus.SUBMITTED, True, True)]


def test_submitted_is_published_before_the_swap_has_ended() -> None:
    works = Works()
    published = []
    works.raydium.before_submit = lambda transaction: published.append(works.sockets.statuses(SUBSCRIBER)[-1])

    works.process()

    assert published == ["submitted"]


def test_a_closed_order_is_left_alone() -> None:
    works = Works()
    works.process()
    before = works.entry

    assert works.process() is Progress.DONE
    assert works.entry == before
    assert len(works.swaps) == 1


def test_an_order_that_another_worker_has_comes_again() -> None:
    works = Works()
    works.journal.claim(works.order.order_id)

    with pytest.raises(LeaseHeld):
        works.process()
    assert works.statuses == ["pending"]


def test_an_order_that_the_journal_does_not_have_is_the_callers_to_report() -> None:
    with pytest.raises(UnknownOrder):
        Works().executor.process(an_order().order_id)


# --- venues that fail -----------------------------------------------------------------------------------------


def test_with_one_venue_down_the_other_gets_the_order_and_the_reason_is_told() -> None:
    works = Works()
    works.raydium.quote_faults = [VenueUnavailable("raydium is unavailable")]

    assert works.process() is Progress.DONE

    building = works.entry.event_of(OrderStatus.BUILDING)
    assert works.entry.last.venue is METEORA
    assert building is not None
    assert building.rejected is not None
    assert [(one.venue, one.code) for one in building.rejected] == [(RAYDIUM, FailureCode.VENUE_UNAVAILABLE)]


def test_a_venue_that_does_not_answer_in_time_counts_as_unavailable() -> None:
    works = Works(quote_timeout_seconds=0.05)
    let_go = threading.Event()
    works.raydium.before_quote = lambda: let_go.wait(10)

    try:
        assert works.process() is Progress.DONE
    finally:
        let_go.set()

    building = works.entry.event_of(OrderStatus.BUILDING)
    assert works.entry.last.venue is METEORA
    assert building is not None
    assert building.rejected is not None
    assert "no quote within 0.05 s" in building.rejected[0].error


def test_venues_are_asked_at_the_same_time() -> None:
    works = Works()
    both_are_asked = threading.Barrier(2, timeout=5)
    works.raydium.before_quote = works.meteora.before_quote = both_are_asked.wait

    assert works.process() is Progress.DONE


def test_an_order_that_fails_twice_and_then_succeeds_is_confirmed() -> None:
    works = Works()
    works.raydium.quote_faults = [VenueUnavailable("away"), RateLimited("slower")]
    works.meteora.quote_faults = [VenueUnavailable("away"), RateLimited("slower")]

    works.process_to_the_end()

    assert works.statuses == ["pending", "routing", "routing", "routing", "building", "submitted", "confirmed"]
    assert [event.attempt for event in works.entry.events] == [0, 1, 2, 3, 3, 3, 3]
    assert [(error.attempt, error.code) for error in works.entry.errors] == [
        (1, FailureCode.VENUE_UNAVAILABLE),
        (2, FailureCode.RATE_LIMITED),
    ]
    assert works.history.rows[works.order.order_id].status is OrderStatus.CONFIRMED


def test_an_order_that_fails_three_times_has_failed_and_says_how_each_time() -> None:
    works = Works()
    works.raydium.quote_faults = [VenueUnavailable("away")] * 3
    works.meteora.quote_faults = [VenueUnavailable("away")] * 3

    works.process_to_the_end()

    last = works.entry.last
    assert works.statuses == ["pending", "routing", "routing", "routing", "failed"]
    assert (last.code, last.error) == (FailureCode.VENUE_UNAVAILABLE, "away; away")
    assert last.attempts is not None
    assert [error.attempt for error in last.attempts] == [1, 2, 3]
    assert works.sockets.statuses(SUBSCRIBER).count("failed") == 1
    assert works.history.rows[works.order.order_id].last == last
    assert works.closed


def test_no_failed_is_published_while_another_attempt_is_to_come() -> None:
    works = Works()
    works.raydium.quote_faults = works.meteora.quote_faults = [VenueUnavailable("away")] * 4

    assert works.process() is Progress.DEFERRED

    assert works.statuses == ["pending", "routing"]
    assert works.history.rows == {}
    assert not works.closed
    works.journal.claim(works.order.order_id)  # the lease has been given back


def test_a_terminal_error_is_not_retried() -> None:
    works = Works()
    works.raydium.quote_faults = [InsufficientLiquidity("too much")]
    works.meteora.quote_faults = [InsufficientLiquidity("far too much")]

    assert works.process() is Progress.DONE

    assert works.statuses == ["pending", "routing", "failed"]
    assert works.entry.last.code is FailureCode.INSUFFICIENT_LIQUIDITY
    assert works.queue.sent == []


def test_a_quote_below_the_clients_floor_fails_the_order_before_anything_is_built() -> None:
    works = Works(accepted(an_order(min_amount_out=Decimal(1500))))

    assert works.process() is Progress.DONE

    assert works.statuses == ["pending", "routing", "failed"]
    assert works.entry.last.code is FailureCode.SLIPPAGE_EXCEEDED


def test_a_swap_that_the_chain_refused_is_not_retried() -> None:
    works = Works()
    works.raydium.ends_as = Reverted("the swap would give 1 USDC, less than minAmountOut")

    assert works.process() is Progress.DONE

    assert works.statuses[-2:] == ["submitted", "failed"]
    assert works.entry.last.code is FailureCode.SLIPPAGE_EXCEEDED
    assert works.swaps == []


def test_a_fault_that_is_no_venues_answer_is_not_swallowed() -> None:
    works = Works()
    works.raydium.quote_faults = [ZeroDivisionError("a bug")]

    with pytest.raises(ZeroDivisionError):
        works.process()
    assert works.statuses == ["pending", "routing"]


# --- back-off and expiry --------------------------------------------------------------------------------------


def delays_of(attempts: int, orders: int, **policy: Any) -> list[list[int]]:
    """For each order, how long it had to wait after each of its failed attempts."""
    all_delays = []
    for _ in range(orders):
        works = Works(max_attempts=attempts + 1, **policy)
        works.raydium.quote_faults = [VenueUnavailable("away") for _ in range(attempts)]
        works.meteora.quote_faults = [VenueUnavailable("away") for _ in range(attempts)]
        works.process_to_the_end()
        all_delays.append(works.delays)
    return all_delays


def test_the_back_off_doubles_and_has_jitter() -> None:
    delays = delays_of(attempts=3, orders=20, retry_base_seconds=100, retry_max_seconds=900)

    for attempt, middle in enumerate((100, 200, 400)):
        waited = [one[attempt] for one in delays]
        assert all(middle / 2 <= delay <= middle * 1.5 for delay in waited)
        assert len(set(waited)) > 5


def test_the_back_off_has_an_upper_bound() -> None:
    assert {delay for one in delays_of(3, 3, retry_base_seconds=1000, retry_max_seconds=30) for delay in one} == {30}


def test_without_a_back_off_the_next_attempt_comes_at_once() -> None:
    assert delays_of(attempts=2, orders=1, retry_base_seconds=0) == [[0, 0]]


def test_an_old_order_that_merely_waited_its_turn_is_executed() -> None:
    works = Works(max_age_seconds=60)
    works.clock.advance(3600)

    assert works.process() is Progress.DONE
    assert works.entry.last.status is OrderStatus.CONFIRMED


@pytest.mark.parametrize(("age_seconds", "status"), [(60, OrderStatus.CONFIRMED), (60.001, OrderStatus.FAILED)])
def test_a_retry_is_made_only_while_the_order_is_young(age_seconds: float, status: OrderStatus) -> None:
    works = Works(max_age_seconds=60)
    works.raydium.quote_faults, works.meteora.quote_faults = [RateLimited("slower")], [RateLimited("slower")]
    works.process()
    works.clock.at = START + timedelta(seconds=age_seconds)

    assert works.process() is Progress.DONE

    assert works.entry.last.status is status
    if status is OrderStatus.FAILED:
        assert works.entry.last.code is FailureCode.ORDER_EXPIRED
        assert [error.code for error in works.entry.errors] == [FailureCode.RATE_LIMITED, FailureCode.ORDER_EXPIRED]
        assert works.swaps == []


def test_an_old_order_whose_worker_died_before_it_sent_anything_expires() -> None:
    works = after_a_crash(OrderStatus.BUILDING)
    works.clock.advance(61)

    assert works.process() is Progress.DONE
    assert works.entry.last.code is FailureCode.ORDER_EXPIRED
    assert works.swaps == []


def test_an_old_order_whose_worker_died_before_its_transaction_arrived_expires_with_that_transaction_dead() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    works.clock.advance(61)

    assert works.process() is Progress.DONE

    assert transaction is not None
    assert works.raydium.ledger == {transaction.tx_hash: Outlook.DEAD}
    assert works.entry.last.code is FailureCode.ORDER_EXPIRED


def test_an_old_order_whose_swap_has_landed_is_confirmed_however_old() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    assert transaction is not None
    works.raydium.ledger[transaction.tx_hash] = Landed(Decimal(1489), Decimal("148.9"))
    works.clock.advance(3600)

    assert works.process() is Progress.DONE
    assert works.entry.last.amount_out == Decimal(1489)


# --- transactions of which nobody knows -----------------------------------------------------------------------


def test_a_transaction_whose_answer_was_lost_is_looked_up_and_confirmed_not_sent_anew() -> None:
    works = Works()
    works.raydium.lost_answers = [TransactionTimeout("no answer")]

    assert works.process() is Progress.DONE

    assert works.entry.last.status is OrderStatus.CONFIRMED
    assert len(works.swaps) == len(works.raydium.arrived) == 1
    assert works.entry.errors == ()


def test_a_transaction_that_did_not_arrive_is_declared_dead_before_the_next_attempt() -> None:
    works = Works()
    works.raydium.submit_faults = [TransactionTimeout("no answer")]

    assert works.process() is Progress.DEFERRED
    first = works.entry.transaction
    assert first is not None
    assert works.raydium.ledger[first.tx_hash] is Outlook.DEAD

    works.process_to_the_end()
    assert works.entry.last.attempt == 2
    assert works.entry.last.tx_hash != first.tx_hash
    assert len(works.swaps) == 1
    assert [error.code for error in works.entry.errors] == [FailureCode.TRANSACTION_TIMEOUT]


def test_a_transaction_that_stays_pending_is_declared_dead_and_tried_again() -> None:
    works = Works()
    works.raydium.ends_as = Outlook.PENDING

    assert works.process() is Progress.DEFERRED

    assert [error.code for error in works.entry.errors] == [FailureCode.TRANSACTION_TIMEOUT]
    assert "did not land within 8 s" in works.entry.errors[0].error
    assert list(works.raydium.ledger.values()) == [Outlook.DEAD]


def test_a_venue_that_refuses_a_transaction_for_now_gets_another_one_later() -> None:
    works = Works()
    works.raydium.submit_faults = [RateLimited("slower")]

    works.process_to_the_end()

    assert [error.code for error in works.entry.errors] == [FailureCode.RATE_LIMITED]
    assert works.entry.last.status is OrderStatus.CONFIRMED


def test_while_the_venue_cannot_say_how_it_stands_the_order_stays_submitted_and_comes_again() -> None:
    works = Works()
    works.raydium.lost_answers = [TransactionTimeout("no answer")]
    works.raydium.status_faults = [VenueUnavailable("away")]

    assert works.process() is Progress.DEFERRED
    assert works.entry.status is OrderStatus.SUBMITTED
    assert works.entry.errors == ()
    assert len(works.delays) == 1

    works.process_to_the_end()
    assert works.entry.last.status is OrderStatus.CONFIRMED
    assert len(works.swaps) == 1


# --- going on after a crash -----------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING])
def test_an_attempt_that_sent_nothing_is_begun_again_with_its_number(through: OrderStatus) -> None:
    works = after_a_crash(through)

    assert works.process() is Progress.DONE

    assert works.entry.last.status is OrderStatus.CONFIRMED
    assert works.entry.attempt == 1
    assert works.entry.errors == ()
    assert len(works.swaps) == 1
    assert [event.sequence for event in works.entry.events] == list(range(1, len(works.entry.events) + 1))


def test_a_transaction_that_was_journaled_but_not_sent_is_sent_as_it_was() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction

    assert works.process() is Progress.DONE

    assert works.raydium.arrived == [transaction]
    assert works.raydium.quoted == works.meteora.quoted == 0
    assert works.statuses == ["pending", "routing", "building", "submitted", "confirmed"]


def test_a_transaction_that_landed_while_nobody_looked_is_confirmed_and_not_sent_again() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    assert transaction is not None
    works.raydium.ledger[transaction.tx_hash] = Landed(Decimal("1489.5"), Decimal("148.95"))

    assert works.process() is Progress.DONE

    assert works.raydium.arrived == []
    assert (works.entry.last.amount_out, works.entry.last.executed_price) == (Decimal("1489.5"), Decimal("148.95"))


def test_a_transaction_that_was_declared_dead_is_followed_by_the_next_attempt() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    assert transaction is not None
    works.raydium.ledger[transaction.tx_hash] = Outlook.DEAD

    works.process_to_the_end()

    assert works.entry.last.attempt == 2
    assert len(works.swaps) == 1


@pytest.mark.parametrize("through", OrderStatus)
def test_whoever_resumes_an_order_posts_its_last_event_again_with_the_same_number(through: OrderStatus) -> None:
    works = Works(an_entry(through))
    works.subscribers.join(a_subscriber(works.order.order_id, SUBSCRIBER, live_after=works.entry.sequence - 1))
    works.journal.die_holding(works.order.order_id)
    sequence = works.entry.sequence

    works.process()

    seen = works.sockets.sequences(SUBSCRIBER)
    assert seen[0] == sequence
    assert seen == list(range(sequence, works.entry.sequence + 1))


@pytest.mark.parametrize("through", [OrderStatus.CONFIRMED, OrderStatus.FAILED])
def test_a_final_order_is_persisted_and_closed_and_never_changes(through: OrderStatus) -> None:
    works = after_a_crash(through)
    before = works.entry.events

    assert works.process() is Progress.DONE

    assert works.entry.events == before
    assert works.history.rows[works.order.order_id].events == before
    assert works.closed


@pytest.mark.parametrize("taken_at", [OrderStatus.ROUTING, OrderStatus.BUILDING, OrderStatus.SUBMITTED])
def test_a_worker_that_lost_its_lease_neither_sends_nor_publishes_anything(taken_at: OrderStatus) -> None:
    works = Works()

    def taken_over(entry: JournalEntry) -> None:
        if entry.status is taken_at:
            works.journal.die_holding(works.order.order_id)
            works.journal.claim(works.order.order_id)

    works.journal.before_append = taken_over
    with pytest.raises(LeaseLost):
        works.process()

    assert taken_at.value not in works.statuses
    assert taken_at.value not in works.sockets.statuses(SUBSCRIBER)
    assert works.swaps == []
    assert works.history.rows == {}


@settings(max_examples=60)
@given(
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.lists(st.sampled_from(["quote", "submit", "lost", "fine"]), min_size=4, max_size=4),
)
def test_wherever_workers_die_an_order_ends_once_with_one_swap_at_most(dies: list[bool], luck: list[str]) -> None:
    works = Works(max_age_seconds=10_000)
    for kind in luck:
        for venue in (works.raydium, works.meteora):
            if kind == "quote":
                venue.quote_faults.append(VenueUnavailable("away"))
            elif kind == "submit":
                venue.submit_faults.append(TransactionTimeout("no answer"))
            elif kind == "lost":
                venue.lost_answers.append(TransactionTimeout("no answer"))
    fates = iter(dies)

    class Died(Exception):
        pass

    def perhaps_die(_: object = None) -> None:
        if next(fates, False):
            raise Died

    works.journal.before_append = perhaps_die
    works.raydium.before_submit = works.meteora.before_submit = perhaps_die
    for _ in range(40):
        try:
            if works.process() is Progress.DONE:
                break
        except Died:
            works.journal.die_holding(works.order.order_id)

    finals = [event for event in works.entry.events if event.status in (OrderStatus.CONFIRMED, OrderStatus.FAILED)]
    assert finals == [works.entry.last]
    assert len(works.swaps) == (1 if works.entry.last.status is OrderStatus.CONFIRMED else 0)
    assert works.history.rows[works.order.order_id].last == works.entry.last
    assert [event.sequence for event in works.entry.events] == list(range(1, len(works.entry.events) + 1))
    assert works.entry.attempt <= 3


# --- PostgreSQL away ------------------------------------------------------------------------------------------


def test_with_postgresql_away_an_order_is_final_and_published_all_the_same_and_its_row_is_owed() -> None:
    works = Works()
    works.history.away = True

    assert works.process() is Progress.DEFERRED

    assert works.sockets.statuses(SUBSCRIBER)[-1] == "confirmed"
    assert not works.closed
    assert len(works.delays) == 1


def test_the_row_is_written_once_postgresql_is_back_and_nothing_else_happens() -> None:
    works = Works()
    works.history.away = True
    works.process()
    works.process()
    before, posted = works.entry, works.sockets.sequences(SUBSCRIBER)
    works.history.away = False

    assert works.process() is Progress.DONE

    assert works.history.rows[works.order.order_id].events == before.events
    assert works.entry == before
    assert works.sockets.sequences(SUBSCRIBER) == posted
    assert works.closed
    assert len(works.swaps) == 1


@pytest.mark.parametrize(
    ("final_for_seconds", "shortest", "longest"), [(0, 2.5, 5), (4, 2.5, 5), (20, 10, 20), (3600, 20, 40)]
)
def test_the_row_is_tried_less_and_less_often(final_for_seconds: float, shortest: float, longest: float) -> None:
    works = Works(an_entry(OrderStatus.CONFIRMED))
    works.history.away = True
    works.clock.advance(final_for_seconds)

    for _ in range(20):
        works.process()

    assert all(shortest <= delay <= longest for delay in works.delays)
    assert len(set(works.delays)) > 1


# --- closing --------------------------------------------------------------------------------------------------


def test_a_subscriber_whose_catch_up_was_lost_is_asked_for_before_the_order_is_closed() -> None:
    works = Works(an_entry(OrderStatus.CONFIRMED))
    works.subscribers.join(a_subscriber(works.order.order_id, "behind", generation=2))

    assert works.process() is Progress.DONE

    assert [one.connection_id for one in works.catch_ups.requested] == ["behind"]


def test_an_order_is_not_closed_while_a_subscriber_that_is_behind_can_not_be_asked_for() -> None:
    works = Works(an_entry(OrderStatus.CONFIRMED))
    works.subscribers.join(a_subscriber(works.order.order_id, "behind", generation=2))
    works.catch_ups.away = True

    with pytest.raises(ServiceUnavailable):
        works.process()
    assert not works.closed


# --- other services away --------------------------------------------------------------------------------------


def test_with_the_queue_away_a_failed_attempt_is_remembered_and_the_message_must_come_again() -> None:
    works = Works()
    works.raydium.quote_faults, works.meteora.quote_faults = [RateLimited("slower")], [RateLimited("slower")]
    works.queue.away = True

    with pytest.raises(ServiceUnavailable):
        works.process()

    assert [error.attempt for error in works.entry.errors] == [1]
    works.queue.away = False
    works.process_to_the_end()
    assert works.entry.last.attempt == 2


def test_with_the_journal_away_the_message_must_come_again() -> None:
    works = Works()
    works.journal.away = True

    with pytest.raises(ServiceUnavailable):
        works.process()


# --- giving up ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [OrderStatus.PENDING, OrderStatus.ROUTING, OrderStatus.BUILDING])
def test_an_order_that_kills_its_workers_is_failed_published_and_persisted(through: OrderStatus) -> None:
    works = after_a_crash(through)

    assert works.give_up() is Progress.DONE

    last = works.entry.last
    assert (last.status, last.code, last.error) == (
        OrderStatus.FAILED,
        FailureCode.INTERNAL_ERROR,
        "its workers died",
    )
    assert works.sockets.statuses(SUBSCRIBER)[-1] == "failed"
    assert works.history.rows[works.order.order_id].last == last
    assert works.closed


def test_a_given_up_order_whose_swap_has_landed_is_confirmed() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    assert transaction is not None
    works.raydium.ledger[transaction.tx_hash] = Landed(Decimal(1489), Decimal("148.9"))

    assert works.give_up() is Progress.DONE
    assert works.entry.last.status is OrderStatus.CONFIRMED


def test_a_given_up_orders_transaction_can_never_land_any_more() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    transaction = works.entry.transaction
    assert transaction is not None

    assert works.give_up() is Progress.DONE

    assert works.raydium.ledger == {transaction.tx_hash: Outlook.DEAD}
    assert works.entry.last.code is FailureCode.INTERNAL_ERROR


def test_an_order_is_not_given_up_while_nobody_can_say_whether_its_swap_landed() -> None:
    works = after_a_crash(OrderStatus.SUBMITTED)
    works.raydium.status_faults = [VenueUnavailable("away")]

    assert works.give_up() is Progress.DEFERRED
    assert works.entry.status is OrderStatus.SUBMITTED
    assert len(works.delays) == 1


@pytest.mark.parametrize("through", [OrderStatus.CONFIRMED, OrderStatus.FAILED])
def test_giving_up_a_final_order_only_persists_it(through: OrderStatus) -> None:
    works = after_a_crash(through)
    before = works.entry.events

    assert works.give_up() is Progress.DONE
    assert works.entry.events == before
    assert works.closed


def test_an_order_given_up_between_two_attempts_keeps_what_went_wrong_before() -> None:
    works = Works()
    works.raydium.quote_faults, works.meteora.quote_faults = [RateLimited("slower")], [RateLimited("slower")]
    works.process()

    works.give_up()

    assert [error.code for error in works.entry.errors] == [FailureCode.RATE_LIMITED, FailureCode.INTERNAL_ERROR]
    assert works.entry.last.attempts == works.entry.errors


def test_an_attempt_remembers_when_it_failed() -> None:
    works = Works()
    works.raydium.quote_faults, works.meteora.quote_faults = [RateLimited("slower")], [RateLimited("slower")]
    works.clock.advance(3)

    works.process()

    assert works.entry.errors[0].timestamp == START + timedelta(seconds=3)
