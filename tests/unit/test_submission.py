"""Accepting an order: journaled, queued, and the same order for the same key."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from order_engine.domain.access import PUBLIC
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order, OrderTerms
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import (
    AcceptanceUnknown,
    ClientOrderIdReused,
    EnginePaused,
    InvalidRequest,
    NothingAccepted,
    RequestRefused,
)
from order_engine.ports import Pause
from order_engine.use_cases.pause import CACHE_SECONDS, PauseCheck
from order_engine.use_cases.submit import fingerprint_of

from tests.doubles.gate import Gate, Mode, Service, Troubles
from tests.doubles.platform import Platform
from tests.support.builders import advanced, an_order

LONGEST = timedelta(days=7)
RESTING: dict[str, dict[str, Any]] = {
    "limit": {"order_type": "limit", "limit_price": Decimal(160)},
    "stop": {"order_type": "stop", "trigger_price": Decimal(140)},
    "takeProfit": {"order_type": "takeProfit", "trigger_price": Decimal(160)},
    "sniper": {"order_type": "sniper"},
}


class Door:
    """A submission over services in memory."""

    def __init__(self) -> None:
        self.troubles = Troubles()
        self.platform = Platform(Gate(faults=self.troubles), by_hand=True)
        self.now = self.platform.timeline
        self.orders = self.platform.tables.orders

    def submit(self, key: str | None = None, amount_in: str = "10") -> Order:
        return self.accept(key, amount_in).order

    def accept(self, key: str | None = None, amount_in: str = "10", **changes: Any) -> OrderRecord:
        asked = an_order(client_order_id=key, amount_in=Decimal(amount_in), **changes)
        terms = OrderTerms.model_validate(asked.model_dump(exclude={"order_id", "created_at"}))
        return replace(self.platform.submission(), longest_rest=LONGEST).submit(terms, PUBLIC)

    @property
    def queued(self) -> list[UUID]:
        return [order_id for order_id, _ in self.platform.queue.sent]


@pytest.fixture
def door() -> Door:
    return Door()


def test_an_accepted_order_is_journaled_as_pending_and_queued_once(door: Door) -> None:
    order = door.submit()

    record = door.platform.journal.read(order.order_id)
    assert (record.order, record.status, record.sequence) == (order, OrderStatus.PENDING, 1)
    assert (door.now() - order.created_at).total_seconds() < 0.1
    assert door.queued == [order.order_id]
    assert door.submit().order_id != order.order_id


def test_a_repeated_key_returns_its_order_and_queues_it_until_it_is_final(door: Door) -> None:
    first = door.submit("mine")
    door.now.wait(60)

    assert door.submit("mine", amount_in="10.0") == first
    assert door.queued == [first.order_id] * 2
    item = door.orders[first.order_id]
    item.record = advanced(item.record, OrderStatus.FAILED, door.now())
    repeated = door.accept("mine")
    assert (repeated.order, repeated.status) == (first, OrderStatus.FAILED)
    assert door.queued == [first.order_id] * 2


def test_a_key_reused_with_another_body_is_refused_and_changes_nothing(door: Door) -> None:
    first = door.submit("mine")

    with pytest.raises(ClientOrderIdReused, match="'mine' belongs to an order with another body") as caught:
        door.submit("mine", amount_in="11")

    assert [error.field for error in caught.value.errors] == ["clientOrderId"]
    assert list(door.orders) == door.queued == [first.order_id]


FAIL, LOSE = Mode.FAIL_BEFORE, Mode.FAIL_AFTER


@pytest.mark.parametrize(
    ("key", "faults", "refusal", "kept"),
    [
        (None, {"put": FAIL}, NothingAccepted, 0),
        (None, {"put": LOSE}, NothingAccepted, 1),  # nobody can queue it
        ("mine", {"create": FAIL}, AcceptanceUnknown, 0),  # an earlier request may have been accepted
        ("mine", {"create": Mode.HANG}, AcceptanceUnknown, 0),
        (None, {"send": FAIL}, NothingAccepted, 0),
        (None, {"send": LOSE}, NothingAccepted, 0),
        ("mine", {"send": FAIL}, AcceptanceUnknown, 1),  # its client can repeat the request
        (None, {"send": FAIL, "withdraw": FAIL}, AcceptanceUnknown, 1),
    ],
)
def test_a_refusal_says_no_more_than_is_known(
    door: Door, key: str | None, faults: dict[str, Mode], refusal: type[RequestRefused], kept: int
) -> None:
    door.troubles.coming = {call: [mode] for call, mode in faults.items()}
    advice = "watch your balance" if refusal is AcceptanceUnknown else "please send it again"

    with pytest.raises(refusal, match="same clientOrderId" if key else advice):
        door.submit(key)

    assert len(door.orders) == kept
    assert not door.queued or faults == {"send": LOSE}
    if key:
        assert door.submit(key).order_id in door.queued


def test_an_order_that_was_queued_after_all_is_accepted(door: Door) -> None:
    door.troubles.coming["send"] = [Mode.FAIL_AFTER]

    def a_worker_is_quicker(_service: Service, name: str) -> None:
        if name == "withdraw":
            door.platform.journal.claim(next(iter(door.orders)))

    door.platform.gate.before = a_worker_is_quicker

    assert door.submit().order_id in door.orders


@pytest.mark.parametrize("order_type", RESTING)
def test_an_order_that_rests_expires_after_the_longest_rest_or_when_it_says(door: Door, order_type: str) -> None:
    order = door.accept(**RESTING[order_type]).order
    assert (order.expires_at, order.time_in_force) == (order.created_at + LONGEST, "gtc")
    assert door.platform.journal.read(order.order_id).order == order

    in_time = door.now() + LONGEST
    order = door.accept(**RESTING[order_type], expires_at=in_time, time_in_force="gtd").order
    assert (order.expires_at, order.time_in_force) == (in_time, "gtd")


def test_an_order_that_would_rest_too_long_is_refused_and_writes_nothing(door: Door) -> None:
    too_late = door.now() + LONGEST + timedelta(milliseconds=1)

    for terms in RESTING.values():
        with pytest.raises(InvalidRequest) as caught:
            door.accept("mine", **terms, expires_at=too_late, time_in_force="gtd")
        (error,) = caught.value.errors
        assert error.field == "expiresAt"
        assert error.message.startswith("must be within 7 days, the longest that an order rests: by 20")

    assert (list(door.orders), door.queued) == ([], [])
    assert door.accept("mine").status is OrderStatus.PENDING  # the key is free


@pytest.mark.parametrize("terms", [{}, {**RESTING["limit"], "time_in_force": "fok"}], ids=["market", "fok"])
def test_an_order_that_does_not_rest_expires_only_if_it_says_so(door: Door, terms: dict[str, Any]) -> None:
    assert door.accept(**terms).order.expires_at is None
    if not terms:
        late = door.now() + 100 * LONGEST
        assert door.accept(expires_at=late, time_in_force="gtd").order.expires_at == late


def test_a_repeated_request_for_an_order_that_rests_gets_the_order_with_its_first_expiry(door: Door) -> None:
    first = door.accept("mine", **RESTING["limit"])
    door.now.wait(3600)

    assert door.accept("mine", **RESTING["limit"]) == first
    assert door.queued == [first.order.order_id] * 2
    with pytest.raises(ClientOrderIdReused):
        door.accept("mine", **{**RESTING["limit"], "limit_price": Decimal("160.000000000000000001")})


class Switch:
    """An operator's pause, and how often it was looked up; None: it can't be."""

    def __init__(self) -> None:
        self.is_paused: bool | None = False
        self.reads = 0
        self.seconds = 0.0

    def read(self) -> Pause | None:
        self.reads += 1
        if self.is_paused is None:
            raise ServiceUnavailable("pause: no answer")
        return Pause(datetime.now(UTC), "somebody") if self.is_paused else None

    def refuses(self, door: Door, check: PauseCheck) -> bool:
        """Whether an order is refused after the time for which the last answer counts."""
        self.seconds += CACHE_SECONDS
        try:
            replace(door.platform.submission(), pause_check=check).admit(OrderTerms.model_validate(_ASKED), PUBLIC)
        except EnginePaused:
            return True
        return False


def test_a_paused_engine_refuses_orders_until_it_is_resumed(door: Door) -> None:
    switch = Switch()
    check = PauseCheck(switch, lambda: switch.seconds)

    assert not switch.refuses(door, check)
    switch.is_paused = True
    assert switch.refuses(door, check)
    switch.is_paused = False
    assert not switch.refuses(door, check)
    assert (list(door.orders), door.queued) == ([], [])


@pytest.mark.parametrize("is_paused", [False, True])
def test_while_nobody_can_tell_the_engine_is_paused_or_not_as_it_was(door: Door, is_paused: bool) -> None:
    switch = Switch()
    check = PauseCheck(switch, lambda: switch.seconds)
    switch.is_paused = is_paused
    assert switch.refuses(door, check) == is_paused

    switch.is_paused = None

    assert switch.refuses(door, check) == is_paused
    assert switch.reads == 2


def test_a_pause_is_looked_up_once_in_a_while_also_if_it_cannot_be() -> None:
    switch = Switch()
    check = PauseCheck(switch, lambda: switch.seconds)

    for switch.is_paused in (False, None):
        before = switch.reads
        for _ in range(3):
            check.require_running()
            switch.seconds += 0.4 * CACHE_SECONDS
        check.require_running()  # after 1.2 times as long
        assert switch.reads == before + 2
        switch.seconds += CACHE_SECONDS


_ASKED = {"order_type": "market", "token_in": "SOL", "token_out": "USDC", "amount_in": 10, "slippage_bps": 50}


def test_a_fingerprint_is_the_same_in_every_release() -> None:
    """Else a request that is repeated after an update would be another one: 409 instead of its order."""
    plain = OrderTerms.model_validate(_ASKED)
    full = plain.model_copy(update={"max_price_impact_bps": 5, "min_amount_out": Decimal(1), "slippage_bps": 7})

    assert fingerprint_of(plain) == "30499e3a6a3d162bf2a8396a9fd13f4b8a85660e73c638bbc78cb796c7216c19"
    assert fingerprint_of(full) == "ada81495a080b7656e20e8c7c49ce7da9bb6ad4a6b31f0da59fc454807981515"


def test_a_new_field_at_its_default_does_not_change_a_fingerprint() -> None:
    class LaterTerms(OrderTerms):
        priority: int = 0

    before = fingerprint_of(OrderTerms.model_validate(_ASKED))
    assert fingerprint_of(LaterTerms.model_validate(_ASKED)) == before
    assert fingerprint_of(LaterTerms.model_validate({**_ASKED, "priority": 1})) != before
