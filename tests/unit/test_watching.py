"""Watching the market: what is brought back and when, with how much room, and through which faults."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from order_engine import limits
from order_engine.adapters.journal.item import milliseconds, side_of
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.swaps import VenueName
from order_engine.domain.tokens import TOKENS
from order_engine.ports import Side
from order_engine.use_cases.venue_calls import VenueCalls
from order_engine.use_cases.watch import LOOK, Watcher

from tests.doubles import venues
from tests.doubles.gate import Gate, Mode, Service, Troubles
from tests.doubles.platform import Platform
from tests.doubles.pool import VirtualPool
from tests.doubles.services import MemoryQueue
from tests.doubles.tables import OrderItem
from tests.doubles.timeline import Killed
from tests.support.builders import a_limit, a_record, advanced, an_order

SOL = Side(("SOL", "USDC"), rises=True)
USDT = TOKENS["USDT"].symbol
TIMEOUT = 160.0  # seconds, of the function in template.yaml


class Market:
    """A watcher over services in memory. Nobody works on what it brings back: a due order stays due."""

    def __init__(self) -> None:
        self.troubles = Troubles()
        self.platform = Platform(Gate(faults=self.troubles), by_hand=True)
        self.timeline, self.tables = self.platform.timeline, self.platform.tables
        self.waiting = 0
        self.sent: list[tuple[float, UUID]] = []
        gate = self.platform.gate
        self.queue = MemoryQueue(gate, lambda one, _: self.sent.append((self.timeline.seconds, one)), self._waiting)
        self.watcher = self.new_watcher()

    def _waiting(self) -> int:
        return self.waiting

    def new_watcher(self) -> Watcher:
        """That of another execution environment."""
        timeline = self.timeline
        pools = {name: VirtualPool(timeline, 32) for name in VenueName}
        calls = VenueCalls(self.platform.venues, timeline, pools)
        return Watcher(self.platform.watchlist, calls, self.queue, timeline, timeline.wait, VirtualPool(timeline, 5))

    def rest(self, price: str = "149", **changes: Any) -> UUID:
        """Keep an order that rests until the market price comes to this one."""
        return self.open(a_limit(**changes), price)

    def open(self, order: Order, price: str) -> UUID:
        """Keep an order at rest, and note it."""
        record = advanced(a_record(order=order), OrderStatus.OPEN, reference_price=Decimal(price))
        self.tables.orders[order.order_id] = OrderItem(record)
        self.tables.sides.setdefault(side_of(order), self.timeline())
        return order.order_id

    def expire(self, name: int) -> UUID:
        """Keep an order whose time has been over for a while; by name, the longer the smaller it is."""
        expires_at = self.timeline() - timedelta(seconds=100 - name)
        order = a_limit(expires_at=expires_at)
        self.tables.expiries[f"{milliseconds(expires_at):015d}#{order.order_id}"] = order.order_id
        return order.order_id

    def priced(self, raydium: str, meteora: str) -> None:
        """Have the venues at these prices."""
        for venue in self.platform.venues:
            venue.PRICES = {VenueName.RAYDIUM: Decimal(raydium), VenueName.METEORA: Decimal(meteora)}

    def look(self) -> list[UUID]:
        """Look once; return what was sent."""
        before = len(self.sent)
        self.tables.runner = "me"
        (looked,) = self.runs((0.0, lambda: self.watcher.look("me")))
        assert looked is True
        return [order_id for _, order_id in self.sent[before:]]

    def run(self, seconds: float = TIMEOUT) -> int:
        """Run once, with so much time; return how often it looked."""
        (looks,) = self.runs((0.0, self.watcher.run), seconds=seconds)
        assert isinstance(looks, int)
        return looks

    def runs(self, *begun: tuple[float, Callable[[], object]], seconds: float = TIMEOUT) -> list[object]:
        """Invocations of the function, each after a delay; return what each returned or raised, in their order."""
        ended: list[object] = [None] * len(begun)

        def invoke(number: int, delay: float, work: Callable[[], object]) -> None:
            def limited() -> None:
                with limits.invocation(lambda: self.timeline.seconds_left - 0.3):
                    ended[number] = work()

            def note(fault: BaseException | None) -> None:
                ended[number] = fault or ended[number]

            self.timeline.invoke(limited, delay, "watch_market", seconds, note)

        for number, (delay, work) in enumerate(begun):
            invoke(number, delay, work)
        self.timeline.run()
        return ended

    @property
    def orders_sent(self) -> list[UUID]:
        return [order_id for _, order_id in self.sent]


@pytest.fixture(autouse=True)
def no_fees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prices are round."""
    monkeypatch.setattr(venues, "FEE", Decimal(0))


@pytest.fixture
def market() -> Market:
    return Market()


# --- what is due ------------------------------------------------------------------------------------------------------


def test_what_the_market_price_has_come_to_is_brought_back_the_longest_due_first(market: Market) -> None:
    market.rest("150.000000000000001")
    at, below, far_below = market.rest("150"), market.rest("149.9"), market.rest("1")

    assert market.look() == [far_below, below, at]


def test_what_waits_for_a_fall_comes_due_from_above(market: Market) -> None:
    def stop(price: str) -> UUID:
        return market.open(an_order(order_type="stop", trigger_price=Decimal(price)), price)

    stop("149.999999999999999")
    at, above = stop("150"), stop("151")

    assert market.look() == [above, at]


def test_the_better_venues_price_counts_for_each_pair(market: Market) -> None:
    other = market.rest("150", token_out=USDT)
    market.priced("140", "151")
    mine = market.rest("151")

    assert sorted(market.look(), key=str) == sorted([mine, other], key=str)
    asked = Counter(call.name for call, _ in market.platform.gate.story)
    assert asked["spot"] == 4  # two pairs, two venues


def test_nothing_is_due_without_a_price(market: Market) -> None:
    """That is no look, though what is over ends."""
    expired = market.expire(1)
    market.tables.runner = "me"
    for mode in (Mode.FAIL_BEFORE, Mode.HANG, Mode.UNFORESEEN):
        market.rest()
        market.troubles.coming["spot"] = [mode, mode]
        (fault,) = market.runs((0.0, lambda: market.watcher.look("me")))
        assert isinstance(fault, ServiceUnavailable)
        assert market.orders_sent == [expired]
    market.troubles.coming["spot"] = [Mode.FAIL_BEFORE, None]
    assert len(market.look()) == 3  # one venue's price is enough


def test_where_nothing_rests_nothing_is_asked(market: Market) -> None:
    assert market.look() == []
    assert [call.name for call, _ in market.platform.gate.story] == ["read", "expiring"]


# --- room for it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("waiting", "room"), [(0, 5), (1, 4), (4, 1), (5, 1), (5000, 1)])
def test_no_more_is_brought_back_than_the_workers_have_room_for(market: Market, waiting: int, room: int) -> None:
    for _ in range(8):
        market.rest()
    market.waiting = waiting

    first, second = market.look(), market.look()

    assert len(first) == room
    assert len(second) == min(room, 8 - room)
    assert not set(first) & set(second)


@pytest.mark.parametrize(("waiting", "over", "due"), [(0, 3, 5), (2, 3, 3), (4, 3, 1), (5000, 3, 1)])
def test_whose_time_is_over_comes_first_and_whatever_waits(market: Market, waiting: int, over: int, due: int) -> None:
    expired = [market.expire(name) for name in range(3)]
    resting = {market.rest() for _ in range(6)}
    market.waiting = waiting

    sent = market.look()

    assert (sent[:over], len(sent)) == (expired[:over], over + due)
    assert set(sent[over:]) <= resting
    assert not market.tables.expiries


def test_an_order_is_swept_once_its_message_was_sent(market: Market) -> None:
    expired = market.expire(1)
    market.troubles.coming["send"] = [Mode.FAIL_BEFORE]
    assert market.run(LOOK + 2.5) >= 1
    assert market.orders_sent == [expired]

    market.tables.expiries["000000000000001#again"] = expired
    market.troubles.coming["swept"] = [Mode.FAIL_BEFORE]
    market.run(LOOK + 2.5)
    assert market.orders_sent == [expired] * 3  # once more is harmless, never is not
    assert not market.tables.expiries


def test_an_order_expires_no_earlier_than_its_worker_sees_it(market: Market) -> None:
    """It would be swept, and rest on for ever; the worker's clock may be five seconds behind."""
    now = market.timeline()
    market.platform.watchlist.note(a_limit(expires_at=now + timedelta(milliseconds=600)))
    for _ in range(5):
        assert market.look() == []
        market.timeline.wait(1)
    market.timeline.wait(1)
    assert len(market.look()) == 1


# --- again ------------------------------------------------------------------------------------------------------------


def test_what_stays_due_is_brought_back_less_and_less_often(market: Market) -> None:
    stuck = market.rest()

    market.run(100)

    assert set(market.orders_sent) == {stuck}
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(market.sent)]
    assert pauses == pytest.approx([2, 4, 8, 15, 15, 15], abs=1.1)
    assert min(pauses) >= 2


def test_what_was_not_due_for_a_while_is_as_good_as_new(market: Market) -> None:
    market.rest()
    market.run(100)
    market.priced("148", "148")
    market.timeline.wait(30)
    market.sent.clear()
    market.priced("150", "149")

    market.run(LOOK + 5)

    (first, _), (second, _) = market.sent[:2]
    assert second - first == pytest.approx(2, abs=1.1)


def test_sides_take_turns(market: Market) -> None:
    tokens = ("USDC", "USDT", "RAY")
    sides = {market.rest("1", token_out=token): token for token in tokens for _ in range(20)}
    market.priced("2", "1")
    market.waiting = 4

    looks = [sides[one] for _ in range(6) for one in market.look()]

    assert Counter(looks) == dict.fromkeys(tokens, 2)
    assert {*looks[:3]} == {*tokens}


@pytest.mark.parametrize("stuck", [60, 350])
def test_many_that_stay_due_keep_no_other_from_its_turn(market: Market, stuck: int) -> None:
    """However often the first of them are due again by then."""
    for number in range(stuck):
        market.rest(f"100.{number:03}")
    last = market.rest("149")

    market.run(1.5 * stuck / 5 + LOOK)

    assert last in market.orders_sent
    assert len(set(market.orders_sent)) == stuck + 1


def test_a_price_that_goes_back_makes_nothing_undue_come(market: Market) -> None:
    for number in range(350):
        market.rest(f"100.{number:03}")
    market.run(LOOK + 45)
    market.sent.clear()
    market.priced("100.01", "90")

    market.run(LOOK + 70)

    due = {item.record.order.order_id for item in market.tables.orders.values() if reference_of(item) <= 100.01}
    assert set(market.orders_sent) == due
    assert len(due) == 11


def reference_of(item: OrderItem) -> float:
    return float(item.record.last.model_dump()["reference_price"])


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_looks_each_second_and_ends_in_time(market: Market) -> None:
    looks = market.run(60)

    assert looks == pytest.approx(60 - LOOK, abs=1)
    assert market.timeline.seconds < 60
    assert market.timeline.out_of_time == []


def test_too_little_time_is_no_time_to_look(market: Market) -> None:
    assert market.run(LOOK) == 0


def test_the_run_that_began_later_takes_over(market: Market) -> None:
    first, second = market.new_watcher(), market.new_watcher()

    ended = market.runs((0.0, first.run), (10.0, second.run), seconds=60)

    assert ended[0] == pytest.approx(10, abs=1)
    assert ended[1] == pytest.approx(60 - LOOK, abs=1)


def test_two_at_once_do_no_more_than_look_twice(market: Market) -> None:
    """An environment does not know what the other one has sent."""
    due = {market.rest() for _ in range(5)}

    market.runs((0.0, market.new_watcher().run), (1.5, market.new_watcher().run), seconds=LOOK + 2.5)

    assert set(Counter(market.orders_sent)) == due
    assert max(Counter(market.orders_sent).values()) == 2


def test_one_that_is_killed_is_followed_by_the_next(market: Market) -> None:
    market.troubles.coming["due"] = [Mode.KILL_BEFORE]
    due = market.rest()

    killed, looks = market.runs((0.0, market.new_watcher().run), (60.0, market.new_watcher().run))

    assert isinstance(killed, Killed)
    assert isinstance(looks, int)
    assert market.sent[0][0] == pytest.approx(60, abs=1)
    assert set(market.orders_sent) == {due}


# --- faults -----------------------------------------------------------------------------------------------------------

CALLS = ["take_over", "read", "spot", "expiring", "due", "waiting", "send", "swept"]
FAULTS = [Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG, Mode.HANG_AFTER, Mode.LATE, Mode.SLOW]


@pytest.mark.parametrize("mode", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_fault_costs_a_look_and_the_next_goes_on(market: Market, call: str, mode: Mode) -> None:
    due, over = market.rest(), market.expire(1)
    market.troubles.coming[call] = [mode, mode]

    assert market.run() > 100

    assert {due, over} <= set(market.orders_sent)
    assert market.sent[0][0] < 25
    assert not market.tables.expiries


@pytest.mark.parametrize("mode", [Mode.HANG, Mode.SLOW, Mode.FAIL_BEFORE])
@pytest.mark.parametrize("service", [Service.WATCHLIST, Service.QUEUE, Service.QUOTES])
def test_a_run_ends_before_its_time_is_over_whatever_is_away(market: Market, service: Service, mode: Mode) -> None:
    for number in range(12):
        market.expire(number)
        market.rest(token_out=("USDC", "USDT", "RAY")[number % 3])
    market.platform.gate.faults = lambda call: mode if call.service is service else None

    for seconds in (LOOK + 0.5, LOOK + 4.7, 60.0):
        (ended,) = market.runs((0.0, market.new_watcher().run), seconds=seconds)
        assert isinstance(ended, int)
    assert market.timeline.out_of_time == []


def test_a_venue_that_hangs_costs_no_more_than_a_quotes_limit(market: Market) -> None:
    market.rest()
    market.troubles.coming["spot"] = [Mode.HANG]
    began = market.timeline.seconds

    assert len(market.look()) == 1

    assert limits.QUOTE <= market.timeline.seconds - began < limits.QUOTE + 0.2


def test_a_venue_that_hangs_for_good_keeps_no_other_from_telling_its_prices(market: Market) -> None:
    market.priced("170", "149")  # the better one would tell another price
    market.rest("149")
    market.platform.gate.faults = self_hanging(market)

    looks = market.run(100)

    assert len(market.sent) >= 3
    assert looks > 20


def self_hanging(market: Market) -> Callable[[Any], Mode | None]:
    """Every other call for a price hangs: Raydium is asked first."""
    spots: list[int] = []

    def fault(call: Any) -> Mode | None:
        if call.name != "spot":
            return None
        spots.append(call.number)
        return Mode.HANG if len(spots) % 2 else None

    return fault


# --- sides ------------------------------------------------------------------------------------------------------------

TEN_MINUTES = 600.0


@pytest.mark.parametrize(("quiet", "watched"), [(TEN_MINUTES - 1, True), (TEN_MINUTES + 1, False)])
def test_an_empty_side_is_forgotten_after_ten_quiet_minutes(market: Market, quiet: float, watched: bool) -> None:
    market.tables.sides = {SOL: market.timeline()}
    market.timeline.wait(quiet)

    market.run(LOOK + 1)

    assert (SOL in market.tables.sides) is watched


def test_a_side_on_which_an_order_rests_is_watched_for_as_long_as_it_does(market: Market) -> None:
    resting = market.rest("9999")
    market.timeline.wait(30 * 24 * 3600)
    market.run(LOOK + 1)
    assert SOL in market.tables.sides

    market.tables.orders[resting].record = advanced(market.tables.orders[resting].record, OrderStatus.CANCELLED)
    market.run(LOOK + 1)
    assert market.tables.sides == {}


def test_a_side_that_was_noted_meanwhile_is_not_forgotten(market: Market) -> None:
    market.tables.sides = {SOL: market.timeline()}
    market.timeline.wait(TEN_MINUTES + 1)

    def an_order_comes_to_rest(_service: Service, name: str) -> None:
        if name == "forget":
            market.tables.sides[SOL] = market.timeline()

    market.platform.gate.before = an_order_comes_to_rest
    market.run(LOOK + 1)

    assert SOL in market.tables.sides


@pytest.mark.parametrize("call", ["is_empty", "forget"])
def test_a_side_that_can_not_be_forgotten_holds_up_nothing(market: Market, call: str) -> None:
    market.tables.sides = {SOL: market.timeline() - timedelta(hours=1)}
    due = market.rest("1", token_out=USDT)
    market.troubles.coming[call] = [Mode.FAIL_BEFORE]

    market.run(LOOK + 1)

    assert market.orders_sent == [due]
    market.run(LOOK + 1)
    assert SOL not in market.tables.sides
