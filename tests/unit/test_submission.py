"""Accepting an order: journaled, queued, and the same answer for the same key."""

import pytest
from order_engine.domain.errors import AcceptanceUnknown, ClientOrderIdReused, NothingAccepted, RequestRefused
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.entrypoints.order_body import OrderRequest

from tests.doubles.gate import Gate, Mode, Service, Troubles
from tests.doubles.platform import Platform


class Door:
    """A submission over services in memory."""

    def __init__(self) -> None:
        self.troubles = Troubles()
        self.platform = Platform(Gate(faults=self.troubles), by_hand=True)
        self.now = self.platform.timeline
        self.orders = self.platform.tables.orders

    def submit(self, key: str | None = None, amount_in: str = "10") -> Order:
        asked = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": amount_in, "clientOrderId": key}
        return self.platform.submission().submit(OrderRequest.model_validate(asked))

    @property
    def queued(self) -> list[Order]:
        return [self.orders[order_id].record.order for order_id, _ in self.platform.queue.sent]


@pytest.fixture
def door() -> Door:
    return Door()


def test_an_accepted_order_is_journaled_as_pending_and_queued_once(door: Door) -> None:
    order = door.submit()

    record = door.platform.journal.read(order.order_id)
    assert (record.order, record.status, record.sequence) == (order, OrderStatus.PENDING, 1)
    assert (door.now() - order.created_at).total_seconds() < 0.1
    assert door.queued == [order]
    assert door.submit().order_id != order.order_id


def test_a_repeated_key_gives_the_same_answer_and_queues_the_order_again(door: Door) -> None:
    first = door.submit("mine")
    door.now.wait(60)

    assert door.submit("mine", amount_in="10.0") == first
    assert door.queued == [first, first]


def test_a_final_order_is_not_queued_again(door: Door) -> None:
    first = door.submit("mine")
    item = door.orders[first.order_id]
    item.record = advanced(item.record, OrderStatus.FAILED, door.now())

    assert door.submit("mine") == first
    assert door.queued == [first]


def test_a_key_reused_with_another_body_is_409_and_changes_nothing(door: Door) -> None:
    first = door.submit("mine")

    with pytest.raises(ClientOrderIdReused, match="'mine' belongs to an order with another body") as caught:
        door.submit("mine", amount_in="11")

    assert (caught.value.status, caught.value.code) == (409, "CLIENT_ORDER_ID_REUSED")
    assert [error.field for error in caught.value.errors] == ["clientOrderId"]
    assert door.queued == [first]


@pytest.mark.parametrize(
    ("key", "call", "mode", "refusal", "kept"),
    [
        (None, "put", Mode.FAIL_BEFORE, NothingAccepted, 0),
        (None, "put", Mode.FAIL_AFTER, NothingAccepted, 1),  # nobody can queue it
        ("mine", "create", Mode.FAIL_BEFORE, AcceptanceUnknown, 0),  # an earlier request may have been accepted
        ("mine", "create", Mode.HANG, AcceptanceUnknown, 0),
        (None, "send", Mode.FAIL_BEFORE, NothingAccepted, 0),
        (None, "send", Mode.FAIL_AFTER, NothingAccepted, 0),
        ("mine", "send", Mode.FAIL_BEFORE, AcceptanceUnknown, 1),  # its client goes on with it
    ],
)
def test_what_is_not_certain_is_not_said(
    door: Door, key: str | None, call: str, mode: Mode, refusal: type[RequestRefused], kept: int
) -> None:
    door.troubles.coming[call] = [mode]

    with pytest.raises(refusal) as caught:
        door.submit(key)

    assert caught.value.status == 503
    assert len(door.orders) == kept
    if key:
        assert door.queued[-1:] == [] or call == "send"
        assert door.submit(key) in door.queued


def test_an_order_that_was_queued_after_all_is_accepted(door: Door) -> None:
    door.troubles.coming["send"] = [Mode.FAIL_AFTER]

    def a_worker_is_quicker(_service: Service, name: str) -> None:
        if name == "withdraw":
            door.platform.journal.claim(next(iter(door.orders)))

    door.platform.gate.before = a_worker_is_quicker

    assert door.submit().order_id in door.orders


def test_an_order_that_can_t_be_withdrawn_may_be_executed(door: Door) -> None:
    door.troubles.coming = {"send": [Mode.FAIL_BEFORE], "withdraw": [Mode.FAIL_BEFORE]}

    with pytest.raises(AcceptanceUnknown, match="watch your balance"):
        door.submit()
