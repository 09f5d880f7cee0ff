"""Executing an order: attempts, what ends them, and where a worker goes on that finds an order half done."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from order_engine.adapters.mock_market.chain import Execution
from order_engine.domain.errors import FailureCode, ServiceUnavailable, UnknownOrder
from order_engine.domain.events import StatusEvent
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.domain.steps import Policy
from order_engine.domain.swaps import Quote, VenueName
from order_engine.use_cases.execute import Executor, Outcome
from order_engine.use_cases.publish import Publisher

from tests.doubles.chain import Sent
from tests.doubles.gate import Gate, Mode, Service, Troubles
from tests.doubles.platform import Parts, Platform
from tests.doubles.services import Socket
from tests.doubles.tables import OrderItem
from tests.doubles.timeline import Timeline
from tests.doubles.venues import Fate, Market, ScriptedVenue, scripted
from tests.support.builders import a_record, a_subscriber, an_order

S, RAYDIUM, METEORA = OrderStatus, VenueName.RAYDIUM, VenueName.METEORA
UNSENT = (S.PENDING, S.ROUTING, S.BUILDING)
FINAL = (S.CONFIRMED, S.FAILED)


class Works:
    """A worker, and one order in the journal that a live subscriber watches. `died`: another worker died with it."""

    def __init__(self, record: OrderRecord | None = None, *fates: Fate, died: bool = False, **policy: Any) -> None:
        record = record or OrderRecord.accepted(an_order())
        self.order, self.troubles = record.order, Troubles()
        gate = Gate(Timeline(record.last.timestamp), self.troubles)
        parts = Parts(policy=Policy(**policy))
        self.platform = Platform(gate, parts, market=Market(scripted(*fates)), by_hand=True)
        self.platform.ledger.by_itself = True
        self.item = OrderItem(record, touched=died, lease_owner="dead" if died else None)
        self.platform.tables.orders[self.order.order_id] = self.item
        self.socket = self.platform.sockets["subscriber"] = Socket()
        self.watch("subscriber", live_after=record.sequence)

    def watch(self, name: str, **changes: Any) -> None:
        self.item.subscribers[name] = a_subscriber(self.order.order_id, name, **changes)

    def process(self) -> Outcome:
        """As Lambda would have it done; the messages that are sent are only kept."""
        return self.run(lambda: self.platform.executor().process(self.order.order_id))

    def give_up(self) -> Outcome:
        return self.run(lambda: self.platform.executor().give_up(self.order.order_id, "its workers died"))

    def run(self, work: Callable[[], Outcome]) -> Outcome:
        ended: list[Outcome | BaseException | None] = []
        self.platform.invoke("route_execute", lambda: ended.append(work()), ended.append)
        self.platform.timeline.run()
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return ended[0]  # type: ignore[return-value]

    def process_to_the_end(self) -> list[float]:
        """As often as the order is sent anew, each time when it is due; returns the delays."""
        delays: list[float] = []
        while self.process() is Outcome.DEFERRED:
            delays.append(self.delay)
            self.pass_time(self.delay)
            assert len(delays) < 30
        return delays

    def pass_time(self, seconds: float) -> None:
        self.platform.timeline.wait(seconds)

    def landed(self) -> None:
        """The transaction that another worker has sent is on the chain."""
        transaction = self.item.record.transaction
        assert transaction
        execution = Execution(self.platform.timeline(), Decimal(1489), Decimal("148.9"))
        self.platform.ledger.sent[transaction.tx_hash] = Sent(transaction, "landed", execution)

    @property
    def record(self) -> OrderRecord:
        return self.item.record

    @property
    def last(self) -> StatusEvent:
        return self.record.last

    @property
    def statuses(self) -> list[str]:
        return [event.status.value for event in self.record.events]

    @property
    def codes(self) -> list[str]:
        return [error.code.value for error in self.record.errors]

    @property
    def delay(self) -> int:
        """Of the message that was sent last."""
        return self.platform.queue.sent[-1][1]

    @property
    def on_chain(self) -> list[str]:
        return [sent.state for sent in self.platform.ledger.sent.values()]

    @property
    def is_persisted(self) -> bool:
        row = self.platform.rows.orders.get(str(self.order.order_id), {})
        return row.get("status") == self.last.status and self.item.closed


# --- an undisturbed life ----------------------------------------------------------------------------------------------


def test_an_order_is_confirmed_published_and_persisted() -> None:
    works = Works()

    assert works.process() is Outcome.DONE

    assert works.statuses == ["pending", "routing", "building", "submitted", "confirmed"]
    assert works.socket.sequences == [2, 3, 4, 5]
    assert works.is_persisted
    assert works.platform.queue.sent == []


def test_a_confirmed_order_says_what_was_paid_and_where() -> None:
    works = Works()

    works.process()

    building = works.record.event_of(S.BUILDING)
    assert building
    assert [quote.amount_out for quote in building.quotes or ()] == [Decimal("1499.999"), Decimal("1489.998")]
    assert building.rejected is None
    (sent,) = works.platform.ledger.sent.values()
    assert sent.transaction.min_amount_out == building.min_amount_out == Decimal("1492.499005")
    assert (works.last.venue, works.last.tx_hash) == (RAYDIUM, sent.transaction.tx_hash)
    assert works.last.message == "Swapped 10 SOL for 1496.999002 USDC on raydium"
    assert works.last.executed_price == Decimal("149.6999002")


def test_submitted_is_published_before_the_swap_has_ended() -> None:
    works = Works()

    works.process()

    at = dict(zip(works.socket.statuses, (at for at, _ in works.socket.received), strict=True))
    assert at["submitted"] < 0.3
    assert at["confirmed"] > ScriptedVenue.SWAP_SECONDS


def test_venues_are_asked_at_the_same_time() -> None:
    works = Works()

    works.process()

    assert works.record.event_of(S.BUILDING).timestamp - works.record.events[1].timestamp < timedelta(seconds=0.3)  # type: ignore[union-attr]


@pytest.mark.parametrize("hangs", [False, True])
def test_with_one_venue_down_the_other_gets_the_order(hangs: bool) -> None:
    works = Works(None, Fate.LANDS if hangs else Fate.ONE_QUOTE)
    works.troubles.coming["quote"] = [Mode.HANG] if hangs else []

    assert works.process() is Outcome.DONE

    building = works.record.event_of(S.BUILDING)
    assert works.last.venue is METEORA
    assert building
    assert building.rejected
    (rejected,) = building.rejected
    assert (rejected.venue, rejected.code) == (RAYDIUM, FailureCode.VENUE_UNAVAILABLE)
    assert ("no quote within 2 s" in rejected.error) == hangs


def test_a_venue_that_hangs_leaves_the_other_one_its_threads() -> None:
    """However many orders' calls it keeps in one environment."""
    let_go = threading.Event()

    class Hangs(ScriptedVenue):
        def quote(self, order: Order, attempt: int) -> Quote:
            if self.name is RAYDIUM:
                let_go.wait(30)
            return super().quote(order, attempt)

    platform = Platform(parts=Parts(venue=Hangs), by_hand=True)
    publisher = Publisher(
        platform.journal, platform.subscribers, platform.posts, platform.notify_requests, platform.timeline
    )
    policy = Policy(quote_timeout_seconds=0.03)
    executor = Executor(
        platform.journal, publisher, platform.queue, platform.history, platform.venues, platform.timeline, policy
    )
    orders = [platform.journal.create(OrderRecord.accepted(an_order()), "").order for _ in range(12)]
    try:
        for order in orders:
            executor.process(order.order_id)
    finally:
        let_go.set()

    events = [platform.tables.orders[order.order_id].record.event_of(S.BUILDING) for order in orders]
    assert [event and event.venue for event in events] == [METEORA] * 12


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_an_order_that_fails_three_times_says_how_each_time() -> None:
    works = Works(None, *[Fate.NO_QUOTES] * 3)

    works.process_to_the_end()

    assert works.statuses == ["pending", "routing", "routing", "routing", "failed"]
    assert works.last.error == "raydium is unavailable; meteora is unavailable"
    assert [error.attempt for error in works.last.attempts or ()] == [1, 2, 3]
    assert works.socket.statuses.count("failed") == 1
    assert works.is_persisted


@pytest.mark.parametrize(
    ("fate", "code", "statuses"),
    [
        (Fate.NO_LIQUIDITY, "INSUFFICIENT_LIQUIDITY", ["pending", "routing", "failed"]),
        (Fate.REVERTS, "SLIPPAGE_EXCEEDED", ["pending", "routing", "building", "submitted", "failed"]),
    ],
)
def test_a_terminal_error_is_not_retried(fate: Fate, code: str, statuses: list[str]) -> None:
    works = Works(None, fate)

    assert works.process() is Outcome.DONE

    assert (works.codes, works.statuses) == ([code], statuses)
    assert "landed" not in works.on_chain


def test_a_quote_below_the_clients_floor_fails_the_order_before_anything_is_built() -> None:
    works = Works(OrderRecord.accepted(an_order(min_amount_out=Decimal(1500))))

    works.process()

    assert (works.codes, works.statuses) == (["SLIPPAGE_EXCEEDED"], ["pending", "routing", "failed"])


def delays_of(orders: int, **policy: Any) -> list[list[float]]:
    """For each order, how long it had to wait after each of three failed attempts."""
    return [
        Works(None, *[Fate.NO_QUOTES] * 3, max_attempts=4, max_age_seconds=9999, **policy).process_to_the_end()
        for _ in range(orders)
    ]


def test_the_back_off_doubles_and_has_jitter() -> None:
    delays = delays_of(20, retry_base_seconds=100, retry_max_seconds=900)

    for attempt, middle in enumerate((100, 200, 400)):
        waited = [one[attempt] for one in delays]
        assert all(middle / 2 <= delay <= middle * 1.5 + 1 for delay in waited)
        assert len(set(waited)) > 5


def test_the_back_off_has_an_upper_bound() -> None:
    assert {delay for one in delays_of(3, retry_base_seconds=1000, retry_max_seconds=30) for delay in one} == {30}


def test_more_messages_don_t_make_the_back_off_shorter() -> None:
    works = Works(None, Fate.NO_QUOTES, retry_base_seconds=20)
    works.process()
    due = works.delay

    assert works.process() is Outcome.DEFERRED

    assert works.statuses == ["pending", "routing"]
    assert due - 1 <= works.delay <= due


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_an_order_that_merely_waited_its_turn_is_executed() -> None:
    works = Works(None, Fate.NO_QUOTES)
    works.pass_time(3600)

    works.process_to_the_end()

    assert works.last.status is S.CONFIRMED


@pytest.mark.parametrize(("age_seconds", "codes"), [(59, []), (61, ["ORDER_EXPIRED"])])
@pytest.mark.parametrize("through", [S.ROUTING, S.BUILDING, S.SUBMITTED])
def test_after_a_fault_an_order_is_sent_only_while_it_is_young(
    through: OrderStatus, age_seconds: float, codes: list[str]
) -> None:
    works = Works(a_record(through), died=True)
    routed_at = works.record.routed_at
    assert routed_at
    works.pass_time(age_seconds - (works.platform.timeline() - routed_at).total_seconds())

    if through is S.SUBMITTED and not codes:  # its validity has passed, and it is known to be dead then
        assert works.process() is Outcome.DEFERRED
        return
    assert works.process() is Outcome.DONE
    assert works.codes == codes
    assert ("landed" in works.on_chain) == (not codes)


def test_an_order_whose_swap_has_landed_is_confirmed_however_old() -> None:
    works = Works(a_record(S.SUBMITTED), died=True)
    works.landed()
    works.pass_time(3600)

    assert works.process() is Outcome.DONE
    assert works.last.amount_out == Decimal(1489)


# --- transactions in doubt --------------------------------------------------------------------------------------------


def test_a_transaction_in_doubt_is_looked_at_less_and_less_often() -> None:
    works = Works(a_record(S.SUBMITTED))
    transaction = works.record.transaction
    assert transaction
    valid_until = works.platform.timeline() + timedelta(hours=1)
    works.item.record = replace(works.record, transaction=transaction.model_copy(update={"valid_until": valid_until}))
    works.troubles.away = {Service.CHAIN}
    delays: list[int] = []
    while delays.count(15) < 2:
        began = works.platform.timeline.seconds
        assert works.process() is Outcome.DEFERRED
        assert works.platform.timeline.seconds - began < 1  # no worker waits
        delays.append(works.delay)
        works.pass_time(works.delay)

    assert delays == sorted(delays)
    assert delays[0] == 1
    assert len(delays) < 20
    assert works.statuses[-1] == "submitted"


# --- after a crash ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", FINAL)
def test_a_final_order_is_only_persisted_and_closed(through: OrderStatus) -> None:
    for end in (Works.process, Works.give_up):
        works = Works(a_record(through), died=True)
        before = works.record.events

        assert end(works) is Outcome.DONE

        assert works.record.events == before
        assert works.is_persisted
        assert end(works) is Outcome.DONE


# --- PostgreSQL away --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("final_for_seconds", "shortest", "longest"), [(0, 2.5, 5), (4, 2.5, 5), (20, 10, 20), (3600, 20, 40)]
)
def test_the_row_is_tried_less_and_less_often(final_for_seconds: float, shortest: float, longest: float) -> None:
    delays = set()
    for _ in range(20):
        works = Works(a_record(S.CONFIRMED))
        works.troubles.away = {Service.HISTORY}
        works.pass_time(final_for_seconds)
        works.process()
        delays.add(works.delay)

    assert all(shortest <= delay <= longest + 1 for delay in delays)
    assert len(delays) > 1


# --- an order that can't be worked on now -----------------------------------------------------------------------------


def test_an_order_that_another_worker_has_is_sent_anew_for_when_the_lease_is_over() -> None:
    works = Works()
    works.platform.journal.claim(works.order.order_id)

    assert works.process() is Outcome.DEFERRED

    assert works.statuses == ["pending"]
    assert works.delay == 25


def test_an_order_that_is_not_known_is_the_callers_to_report() -> None:
    works = Works()
    with pytest.raises(UnknownOrder):
        works.run(lambda: works.platform.executor().process(an_order().order_id))


@pytest.mark.parametrize("service", [Service.JOURNAL, Service.QUEUE])
def test_without_a_service_the_order_is_sent_anew_or_the_message_redelivered(service: Service) -> None:
    works = Works(None, Fate.NO_QUOTES)
    works.troubles.away = {service}

    if service is Service.QUEUE:
        with pytest.raises(ServiceUnavailable):
            works.process()
        assert works.codes == ["VENUE_UNAVAILABLE"]
    else:
        assert works.process() is Outcome.DEFERRED
        assert works.delay == 5


def test_an_attempt_is_not_begun_with_too_little_time_left() -> None:
    works = Works()

    def late() -> Outcome:
        works.pass_time(12)
        return works.platform.executor().process(works.order.order_id)

    assert works.run(late) is Outcome.DEFERRED
    assert works.statuses == ["pending"]


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_subscriber_whose_catch_up_was_lost_is_asked_for_before_the_order_is_closed() -> None:
    works = Works(a_record(S.CONFIRMED))
    works.watch("behind", generation=2)

    assert works.process() is Outcome.DONE

    assert [one.connection_id for one in works.platform.notify_requests.requested] == ["behind"]


def test_an_order_is_not_closed_while_such_a_subscriber_can_t_be_asked_for() -> None:
    works = Works(a_record(S.CONFIRMED))
    works.watch("behind", generation=2)
    works.troubles.away = {Service.NOTIFY}

    assert works.process() is Outcome.DEFERRED
    assert not works.item.closed
    works.troubles.away = set()
    works.process_to_the_end()
    assert works.is_persisted


# --- giving up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("through", [*UNSENT, S.SUBMITTED])
def test_an_order_that_kills_its_workers_is_failed_and_can_t_land_any_more(through: OrderStatus) -> None:
    works = Works(a_record(through), died=True)

    assert works.give_up() is Outcome.DONE

    assert (works.last.status, works.last.error, works.codes) == (S.FAILED, "its workers died", ["INTERNAL_ERROR"])
    assert works.socket.statuses[-1] == "failed"
    assert works.is_persisted
    assert works.on_chain == (["dead"] if through is S.SUBMITTED else [])


def test_an_order_that_no_worker_ever_took_up_goes_back_to_the_queue() -> None:
    works = Works()

    assert works.give_up() is Outcome.DEFERRED

    assert works.statuses == ["pending"]
    works.pass_time(works.delay)
    assert works.process() is Outcome.DONE
    assert works.last.status is S.CONFIRMED


def test_an_order_is_not_given_up_while_its_swap_may_still_land() -> None:
    works = Works(a_record(S.SUBMITTED), died=True)
    works.troubles.away = {Service.CHAIN}

    assert works.give_up() is Outcome.DEFERRED
    assert works.statuses[-1] == "submitted"


def test_an_order_given_up_between_two_attempts_keeps_what_went_wrong_before() -> None:
    works = Works(None, Fate.NO_QUOTES)
    works.process()
    works.pass_time(works.delay)

    works.give_up()

    assert works.codes == ["VENUE_UNAVAILABLE", "INTERNAL_ERROR"]
    assert works.last.attempts == works.record.errors
