"""Executing an order: its calls, their limits, and what becomes of its message. The decisions: test_decisions.py."""

import threading
from decimal import Decimal
from typing import Any

import pytest
from order_engine import limits
from order_engine.domain.errors import LeaseHeld, ServiceUnavailable
from order_engine.domain.events import BuildingStarted, Confirmed, Failed
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.domain.steps import Policy
from order_engine.domain.swaps import Quote, VenueName
from order_engine.use_cases.execute import Outcome
from order_engine.use_cases.venue_calls import VenueCalls

from tests.doubles.chain import Ledger
from tests.doubles.gate import Service
from tests.doubles.platform import Parts, Platform
from tests.doubles.venues import Fate, Market, ScriptedVenue, scripted
from tests.support.builders import START, a_record, an_order
from tests.unit.deployment import Deployment

S, RAYDIUM, METEORA = OrderStatus, VenueName.RAYDIUM, VenueName.METEORA


def building_of(record: OrderRecord) -> BuildingStarted:
    return next(event for event in record.events if isinstance(event, BuildingStarted))


class Works(Deployment):
    """A worker, and one order in the journal that a live subscriber watches."""

    def __init__(self, record: OrderRecord | None = None, *fates: Fate, **policy: Any) -> None:
        ledger, market = Ledger(by_itself=True), Market(scripted(*fates))
        super().__init__(record, parts=Parts(policy=Policy(**policy)), ledger=ledger, market=market)
        self.socket = self.watch("live", live_after=self.record.sequence)

    def process(self, received: int = 1, late: float = 0.0) -> Outcome:
        def work() -> Outcome:
            self.timeline.wait(late)
            return self.platform.executor().process(self.order_id, received)

        return self.run(work, "route_execute")

    @property
    def record(self) -> OrderRecord:
        return self.item.record

    @property
    def statuses(self) -> list[str]:
        return [event.status.value for event in self.record.events]

    @property
    def delay(self) -> int:
        """Of the message that was sent last."""
        return self.platform.queue.sent[-1][1]

    @property
    def is_persisted(self) -> bool:
        row = self.platform.rows.orders.get(str(self.order_id), {})
        return row.get("status") == self.record.status and self.item.closed


def test_an_order_is_confirmed_published_and_persisted() -> None:
    works = Works()

    assert works.process() is Outcome.DONE

    assert works.statuses == ["pending", "routing", "building", "submitted", "confirmed"]
    assert works.socket.sequences == [2, 3, 4, 5]
    assert works.is_persisted
    assert works.platform.queue.sent == []
    last, (sent,), building = works.record.last, works.platform.ledger.sent.values(), building_of(works.record)
    assert isinstance(last, Confirmed)
    assert [quote.amount_out for quote in building.quotes] == [Decimal("1499.999"), Decimal("1489.998")]
    assert sent.transaction.min_amount_out == building.min_amount_out == Decimal("1492.499005")
    assert (last.venue, last.tx_hash) == (RAYDIUM, sent.transaction.tx_hash)
    assert '"attempt":1' in sent.transaction.to_json()  # which the release before needs, after a rollback
    assert (last.amount_out, last.executed_price) == (Decimal("1496.999002"), Decimal("149.6999002"))


def test_a_status_is_published_when_it_begins() -> None:
    works = Works()

    works.process()

    at = dict(zip(works.socket.statuses, (at for at, _ in works.socket.received), strict=True))
    assert at["building"] < 1.5 * ScriptedVenue.QUOTE_SECONDS  # both venues are quoted at the same time
    assert at["submitted"] < at["building"] + 0.1
    assert at["confirmed"] > ScriptedVenue.SWAP_SECONDS


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_venue_that_hangs_leaves_the_other_one_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many orders' calls it keeps in one environment; on real threads."""
    let_go = threading.Event()

    class Hangs(ScriptedVenue):
        def quote(self, order: Order, request_id: str) -> Quote:
            if self.name is RAYDIUM:
                let_go.wait(30)
            return super().quote(order, request_id)

    monkeypatch.setattr(limits, "QUOTE", 0.1)
    platform = Platform(parts=Parts(venue=Hangs), by_hand=True)
    executor = platform.executor(venues=VenueCalls(platform.venues, platform.timeline).pools)
    orders = [platform.journal.create(OrderRecord.accepted(an_order()), "").order for _ in range(12)]
    try:
        for order in orders:
            executor.process(order.order_id)
    finally:
        let_go.set()

    for order in orders:
        building = building_of(platform.tables.orders[order.order_id].record)
        (rejected,) = building.rejected or ()
        assert (building.venue, rejected.venue) == (METEORA, RAYDIUM)
        assert (rejected.code, rejected.error) == ("VENUE_UNAVAILABLE", "raydium gave no quote within 0.1 s")


def test_an_attempt_is_not_begun_with_too_little_time_left() -> None:
    works = Works()

    assert works.process(late=12) is Outcome.DEFERRED
    assert works.statuses == ["pending"]
    works.timeline.wait(works.delay)  # and not until the lease runs out
    assert works.process() is Outcome.DONE


def test_a_crash_is_not_forgotten_for_lack_of_time() -> None:
    works = Works(a_record(S.ROUTING, an_order(created_at=START)))
    works.item.lease_owner = "crashed"

    assert works.process(late=12) is Outcome.DEFERRED
    works.timeline.wait(100)
    works.process()

    assert isinstance(works.record.last, Failed)
    assert works.record.last.code == "ORDER_EXPIRED"


def test_no_worker_waits_for_a_transaction_that_may_still_land() -> None:
    works = Works(None, Fate.SLOW)
    assert works.process() is Outcome.DEFERRED
    works.timeline.wait(works.delay)
    began = works.timeline.seconds

    assert works.process() is Outcome.DEFERRED

    assert works.timeline.seconds - began < 0.1
    assert works.statuses[-1] == "submitted"


# --- an order that is sent anew ---------------------------------------------------------------------------------------


def test_a_deferred_order_is_due_at_a_random_moment_whatever_its_messages() -> None:
    delays = set()
    for _ in range(20):
        works = Works(None, Fate.NO_QUOTES, retry_base_seconds=20)
        assert works.process() is Outcome.DEFERRED
        delays.add(works.delay)

        assert works.process() is Outcome.DEFERRED  # by a second message
        assert works.statuses == ["pending", "routing"]
        works.timeline.wait(works.delay)
        assert works.process() is Outcome.DONE

    assert all(10 <= delay <= 31 for delay in delays)
    assert len(delays) > 5


def test_an_order_that_another_worker_has_is_due_when_the_lease_ends() -> None:
    works = Works()
    works.platform.journal.claim(works.order_id)

    assert works.process() is Outcome.DEFERRED
    assert works.delay == 25
    with pytest.raises(LeaseHeld):
        works.process(received=2)  # its receive count would be lost with a new message
    assert works.statuses == ["pending"]
    assert len(works.platform.queue.sent) == 1


def test_without_a_service_the_order_or_its_message_is_redelivered() -> None:
    works = Works(None, Fate.NO_QUOTES)
    works.troubles.away = {Service.JOURNAL}
    assert works.process(received=2) is Outcome.DEFERRED
    assert works.delay == 5

    works.troubles.away = {Service.QUEUE}
    with pytest.raises(ServiceUnavailable):
        works.process()
    assert [error.code for error in works.record.errors] == ["VENUE_UNAVAILABLE"]


# --- the end of an order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [Service.HISTORY, Service.NOTIFY])
def test_an_order_is_not_closed_while_a_row_or_a_subscriber_is_owed(service: Service) -> None:
    works = Works(a_record(S.CONFIRMED))
    works.watch("overdue", generation=2)
    works.troubles.away = {service}

    assert works.process() is Outcome.DEFERRED
    assert not works.item.closed
    works.troubles.away = set()
    works.timeline.wait(works.delay)

    assert works.process() is Outcome.DONE
    assert works.is_persisted
    assert works.requested == ["overdue"]


def test_an_order_that_no_worker_ever_took_up_goes_back_to_the_queue() -> None:
    works = Works()

    given_up = works.run(lambda: works.platform.executor().give_up(works.order_id, "its workers died"))

    assert given_up is Outcome.DEFERRED
    works.timeline.wait(works.delay)
    assert works.process() is Outcome.DONE
    assert works.record.status is S.CONFIRMED


@pytest.mark.parametrize("away", [set(), {Service.HISTORY}, {Service.SOCKETS}])
def test_sockets_are_closed_last_whatever_is_still_owed(away: set[Service]) -> None:
    """The gateway may not have passed on yet what it was posted."""
    works = Works()
    works.troubles.away = away

    works.process()

    called = [call.name for call, _ in works.platform.gate.story if call.function == "route_execute"]
    assert works.socket.dismissed == (Service.SOCKETS not in away)
    if works.socket.dismissed:
        assert works.socket.statuses[-1] in ("confirmed", "failed")
        assert (called[-1], called.count("close")) == ("close", 1)
