"""Accepting an order: journaled, queued, and the same answer for the same key."""

from decimal import Decimal

import pytest
from order_engine.errors import ClientOrderIdReused, NothingAccepted
from order_engine.orders import Order
from order_engine.status import OrderStatus
from order_engine.submission import OrderRequest, Submission

from tests.support.fakes import FixedClock, MemoryJournal, MemoryQueue


class Door:
    """A submission over services in memory."""

    def __init__(self) -> None:
        self.journal, self.queue, self.clock = MemoryJournal(), MemoryQueue(), FixedClock()
        self.submission = Submission(self.journal, self.queue, self.clock)

    def submit(self, key: str | None = None, amount_in: str = "10") -> Order:
        return self.submission.submit(
            OrderRequest.model_validate(
                {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": amount_in, "clientOrderId": key}
            )
        )


@pytest.fixture
def door() -> Door:
    return Door()


def test_an_accepted_order_is_journaled_as_pending_and_queued_once(door: Door) -> None:
    order = door.submit()

    entry = door.journal.read(order.order_id)
    assert (entry.order, entry.status, entry.sequence) == (order, OrderStatus.PENDING, 1)
    assert order.amount_in == Decimal(10)
    assert order.created_at == door.clock.at
    assert door.queue.sent == [(order.order_id, 0)]


def test_two_orders_without_a_key_are_two_orders(door: Door) -> None:
    assert door.submit().order_id != door.submit().order_id


def test_a_repeated_key_gives_the_same_answer_and_queues_the_order_again(door: Door) -> None:
    first = door.submit("mine")
    door.clock.advance(60)

    second = door.submit("mine", amount_in="10.0")

    assert second == first
    assert door.queue.sent == [(first.order_id, 0)] * 2
    assert len(door.journal.kept) == 1


def test_a_key_reused_with_another_body_is_409_and_changes_nothing(door: Door) -> None:
    first = door.submit("mine")

    with pytest.raises(ClientOrderIdReused, match="'mine' belongs to an order with another body") as caught:
        door.submit("mine", amount_in="11")

    assert (caught.value.status, caught.value.code) == (409, "CLIENT_ORDER_ID_REUSED")
    assert [error.field for error in caught.value.errors] == ["clientOrderId"]
    assert door.journal.read(first.order_id).order.amount_in == 10
    assert len(door.queue.sent) == 1


def test_with_the_journal_away_nothing_is_accepted_or_queued(door: Door) -> None:
    door.journal.away = True

    with pytest.raises(NothingAccepted) as caught:
        door.submit()

    assert (caught.value.status, caught.value.code) == (503, "NOTHING_ACCEPTED")
    assert door.queue.sent == []


def test_with_the_queue_away_nothing_is_left_behind(door: Door) -> None:
    door.queue.away = True

    with pytest.raises(NothingAccepted):
        door.submit()

    assert door.journal.kept == {}


def test_with_the_queue_away_an_order_with_a_key_stays_for_its_client_to_go_on_with(door: Door) -> None:
    door.queue.away = True
    with pytest.raises(NothingAccepted):
        door.submit("mine")
    door.queue.away = False

    order = door.submit("mine")

    assert door.queue.sent == [(order.order_id, 0)]
    assert len(door.journal.kept) == 1


def test_an_order_that_was_queued_after_all_is_accepted(door: Door) -> None:
    class AnswerLost(MemoryQueue):
        def send(self, order_id: object, delay_seconds: int = 0) -> None:
            door.journal.claim(next(iter(door.journal.kept)))  # the message arrived, and a worker has it
            self.away = True
            super().send(next(iter(door.journal.kept)), delay_seconds)

    order = Submission(door.journal, AnswerLost(), door.clock).submit(
        OrderRequest.model_validate({"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"})
    )

    assert door.journal.read(order.order_id).order == order


def test_with_queue_and_journal_away_at_once_nothing_is_accepted(door: Door) -> None:
    class TakesTheJournalAlong(MemoryQueue):
        def send(self, order_id: object, delay_seconds: int = 0) -> None:
            self.away = door.journal.away = True
            super().send(next(iter(door.journal.kept)), delay_seconds)

    submission = Submission(door.journal, TakesTheJournalAlong(), door.clock)
    with pytest.raises(NothingAccepted):
        submission.submit(OrderRequest.model_validate({"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}))
