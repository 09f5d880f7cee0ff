"""Executing an order: its calls, their limits, and what becomes of its message. The decisions: test_decisions.py."""

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from order_engine import limits
from order_engine.adapters.journal.item import side_of
from order_engine.domain.amounts import floor_to_unit
from order_engine.domain.decisions import cancelled
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
from tests.doubles.gate import Mode, Service
from tests.doubles.journal import LEASE
from tests.doubles.platform import Parts, Platform
from tests.doubles.timeline import Killed
from tests.doubles.venues import Fate, Market, ScriptedVenue, scripted
from tests.support.builders import START, a_limit, a_record, advanced, an_order
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
    assert [quote.amount_out for quote in building.quotes] == [Decimal("1495.499"), Decimal("1485.528")]
    assert sent.transaction.min_amount_out == building.min_amount_out == Decimal("1488.021505")
    assert (last.venue, last.tx_hash) == (RAYDIUM, sent.transaction.tx_hash)
    assert '"attempt":1' in sent.transaction.to_json()  # which the release before needs, after a rollback
    assert (last.amount_out, last.executed_price) == (Decimal("1492.508002"), Decimal("149.2508002"))


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


@pytest.mark.parametrize(("held", "status"), [(False, S.OPEN), (True, S.FAILED)])
def test_an_order_that_rests_is_ended_only_if_a_worker_died_with_it(held: bool, status: OrderStatus) -> None:
    works = Works(a_record(S.OPEN))
    works.item.touched = True
    if held:
        works.run(lambda: works.platform.journal.claim(works.order_id))
        works.timeline.wait(LEASE.total_seconds() + 1)

    works.run(lambda: works.platform.executor().give_up(works.order_id, "its workers died"))

    assert works.record.status is status


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


# --- an order that rests ----------------------------------------------------------------------------------------------


def resting(status: OrderStatus = S.PENDING, price: str = "160", **changes: Any) -> OrderRecord:
    return a_record(status, a_limit(price, expires_at=START + timedelta(days=1), **changes))


def priced(works: Works, price: str) -> None:
    for venue in works.platform.venues:
        venue.PRICES = dict.fromkeys(VenueName, Decimal(price))


def test_an_order_rests_until_its_price_is_there() -> None:
    works = Works(resting())

    assert works.process() is Outcome.RESTING

    assert (works.statuses, works.socket.statuses) == (["pending", "open"], ["open"])
    assert works.platform.queue.sent == []
    assert works.item.lease_owner is None
    side = side_of(works.record.order)
    assert works.platform.watchlist.due(side, Decimal(170), 1, None)[0] == [works.order_id]
    assert list(works.platform.tables.sides) == [side]
    assert list(works.platform.tables.expiries.values()) == [works.order_id]

    assert works.process() is Outcome.RESTING  # brought back too early
    assert works.statuses == ["pending", "open"]
    priced(works, "162")
    assert works.process() is Outcome.DONE
    life = ["pending", "open", "triggered", "routing", "building", "submitted", "confirmed"]
    assert (works.statuses, works.socket.statuses) == (life, life[1:])
    assert works.is_persisted
    assert works.platform.watchlist.is_empty(side)
    building = building_of(works.record)
    assert building.min_amount_out == floor_to_unit(building.quotes[0].amount_out * Decimal("0.995"), 6) > 1600


def test_an_order_whose_price_is_there_already_does_not_rest() -> None:
    works = Works(resting(price="148"))

    assert works.process() is Outcome.DONE

    assert works.statuses[:4] == ["pending", "open", "triggered", "routing"]
    assert works.platform.market.called["quote"] == 2  # one look at the venues for all of that
    assert works.platform.tables.sides == {}


def test_a_quote_at_rest_is_never_an_earlier_one() -> None:
    """A venue repeats what it said to a request of the same id."""
    asked: list[str] = []

    class Asked(ScriptedVenue):
        def quote(self, order: Order, request_id: str) -> Quote:
            asked.append(request_id)
            return super().quote(order, request_id)

    works = Works(resting(S.OPEN))
    works.platform.venues = tuple(
        Asked(name, works.platform.venues[0].chain, works.platform.market) for name in VenueName
    )
    for _ in range(3):
        works.process()
        works.timeline.wait(1)

    assert len(set(asked)) == 3
    assert len(asked) == 6


def test_an_order_that_the_market_left_goes_back_to_rest_and_is_noted_again() -> None:
    works = Works(resting(S.TRIGGERED))

    assert works.process() is Outcome.RESTING

    assert works.statuses == ["pending", "open", "triggered", "routing", "open"]
    assert works.socket.statuses == ["routing", "open"]
    assert works.record.errors == ()  # no failed attempt
    assert works.platform.tables.expiries
    priced(works, "162")
    assert works.process() is Outcome.DONE
    assert works.record.last.attempt == 2


def test_an_order_that_the_market_left_too_often_is_counted_and_tried_again_later() -> None:
    works = Works(resting(S.TRIGGERED), most_returns=0)

    assert works.process() is Outcome.DEFERRED

    assert (works.statuses[-1], works.record.misses, works.delay) == ("routing", 1, 600)
    assert works.platform.watchlist.is_empty(side_of(works.record.order))  # a message has it
    assert works.process() is Outcome.DEFERRED  # by another message, too early
    assert works.record.misses == 1
    works.timeline.wait(600)
    assert works.process() is Outcome.DEFERRED
    assert (works.statuses[-1], works.record.misses, works.record.attempt) == ("routing", 2, 1)
    works.timeline.wait(600)
    priced(works, "162")
    assert works.process() is Outcome.DONE
    assert works.statuses[-4:] == ["routing", "building", "submitted", "confirmed"]


def test_an_order_does_not_rest_while_a_subscriber_may_lack_a_status() -> None:
    works = Works(resting())
    works.troubles.away = {Service.SOCKETS, Service.NOTIFY}

    assert works.process() is Outcome.DEFERRED
    assert (works.statuses[-1], works.record.behind, works.delay) == ("open", True, 5)
    works.troubles.away = set()
    works.timeline.wait(5)

    assert works.process() is Outcome.RESTING
    assert not works.record.behind
    assert works.requested[-1:] == ["live"]


@pytest.mark.parametrize("call", ["note_expiry", "note_side"])
@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.KILL_BEFORE])
def test_an_order_does_not_rest_before_it_is_noted(call: str, mode: Mode) -> None:
    works = Works(resting())
    works.troubles.coming[call] = [mode]

    if mode is Mode.KILL_BEFORE:
        with pytest.raises(Killed):
            works.process()
    else:
        assert works.process() is Outcome.DEFERRED
    assert works.item.lease_owner  # nobody takes it for one that rests
    works.timeline.wait(30)

    assert works.process() is Outcome.RESTING
    assert works.statuses == ["pending", "open"]
    assert list(works.platform.tables.sides) == [side_of(works.record.order)]
    assert list(works.platform.tables.expiries.values()) == [works.order_id]


@pytest.mark.parametrize("price", ["150", "161"], ids=["rests on", "is triggered"])
def test_a_cancel_while_an_order_is_quoted_is_final(price: str) -> None:
    works = Works(resting(S.OPEN))
    priced(works, price)

    def cancel(_service: Service, name: str) -> None:
        if name == "quote":
            works.platform.gate.before = lambda _service, _name: None
            assert works.platform.journal.decide(cancelled(works.record, works.timeline()))

    works.platform.gate.before = cancel
    assert works.process() is Outcome.DEFERRED
    assert works.statuses == ["pending", "open", "cancelled"]
    works.timeline.wait(works.delay)

    assert works.process() is Outcome.DONE
    assert works.socket.statuses[-1] == "cancelled"
    assert works.platform.ledger.sent == {}
    assert works.is_persisted


def test_an_order_at_rest_expires_when_a_worker_next_sees_it() -> None:
    works = Works(resting(S.OPEN))
    priced(works, "162")
    works.timeline.wait(24 * 3600)

    assert works.process() is Outcome.DONE

    assert works.statuses == ["pending", "open", "expired"]
    assert works.platform.watchlist.is_empty(side_of(works.record.order))


def test_tries_and_age_of_an_order_count_from_when_it_rested_last() -> None:
    record = resting(S.TRIGGERED)
    assert (record.tries, record.routed_at, len(record.openings)) == (0, None, 1)
    for number, seconds in ((1, 10), (2, 20)):
        record = advanced(record, S.ROUTING, START + timedelta(seconds=seconds), attempt=number)
    assert (record.tries, record.routed_at) == (2, START + timedelta(seconds=10))

    record = advanced(record, S.OPEN, START + timedelta(seconds=30))
    assert (record.tries, record.routed_at, len(record.openings)) == (0, None, 2)

    record = advanced(advanced(record, S.TRIGGERED), S.ROUTING, START + timedelta(hours=1), attempt=3)
    assert (record.tries, record.routed_at, record.attempt) == (1, START + timedelta(hours=1), 3)

    market_order = a_record(S.ROUTING)
    assert (market_order.tries, market_order.openings) == (1, ())
    assert market_order.routed_at == market_order.last.timestamp


# --- market prices ----------------------------------------------------------------------------------------------------

PAIR, OTHER_PAIR = ("SOL", "USDC"), ("RAY", "USDC")


def spots(works: Works, *pairs: tuple[str, str]) -> dict[tuple[str, str], Decimal]:
    return works.run(lambda: works.platform.executor().venues.spots(pairs), "route_execute")


def test_a_pair_has_the_better_venues_price_and_all_are_asked_at_once() -> None:
    works = Works()

    assert spots(works, PAIR, OTHER_PAIR) == {PAIR: Decimal("149.55"), OTHER_PAIR: Decimal("149.55")}
    assert works.timeline.seconds < 2 * ScriptedVenue.QUOTE_SECONDS
    assert spots(works) == {}


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.UNFORESEEN, Mode.HANG])
def test_a_pair_without_a_price_is_left_out(mode: Mode) -> None:
    works = Works()

    works.troubles.coming["spot"] = [mode, None, mode, mode]
    assert spots(works, PAIR, OTHER_PAIR) == {PAIR: Decimal("148.553")}
    assert works.timeline.seconds < limits.QUOTE + 0.1


def test_that_a_pair_has_no_pool_is_an_answer_and_silence_of_all_venues_is_none() -> None:
    works = Works()

    works.troubles.coming["spot"] = [Mode.FAIL_BEFORE, None]
    assert spots(works, ("USDC", "NOVA")) == {}
    works.troubles.coming["spot"] = [Mode.FAIL_BEFORE, Mode.HANG]
    with pytest.raises(ServiceUnavailable, match="gave no quote within"):
        spots(works, PAIR)
