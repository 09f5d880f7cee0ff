"""Cancelling an order that is one's own."""

from uuid import UUID, uuid4

import pytest
from order_engine.domain.access import ANYBODY, Caller
from order_engine.domain.decisions import cancelled
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable, TooLateToCancel
from order_engine.use_cases.cancel import Cancellation

from tests.doubles.gate import Mode, Service
from tests.doubles.platform import FUNCTIONS
from tests.doubles.timeline import Killed
from tests.support.builders import START, a_record, advanced, an_order
from tests.unit.deployment import Deployment

STRANGER = Caller("stranger", frozenset())
OPEN = [OrderStatus.PENDING, OrderStatus.OPEN, OrderStatus.TRIGGERED, OrderStatus.ROUTING, OrderStatus.BUILDING]


class Desk(Deployment):
    """An order of the public's."""

    def __init__(self, record: OrderRecord | None = None) -> None:
        super().__init__(record)
        self.cancellation: Cancellation = self.platform.cancellation()

    def cancel(self, caller: Caller = ANYBODY) -> OrderRecord:
        return self.cancellation.cancel(self.order_id, caller)

    @property
    def status(self) -> OrderStatus:
        return self.item.record.status

    @property
    def queued(self) -> list[UUID]:
        return [order_id for order_id, _ in self.platform.queue.sent]


def test_an_order_is_cancelled_by_its_owner_alone() -> None:
    desk = Desk()

    for order_id, caller in ((desk.order_id, STRANGER), (uuid4(), ANYBODY)):
        with pytest.raises(UnknownOrder, match=str(order_id)):
            desk.cancellation.cancel(order_id, caller)
    assert desk.status is OrderStatus.PENDING


def test_a_message_goes_ahead_of_the_cancel_of_an_order_that_rests() -> None:
    desk = Desk(a_record(OrderStatus.OPEN))
    desk.cancel()
    assert desk.platform.queue.sent == [(desk.order_id, 20), (desk.order_id, 0)]

    desk = Desk(a_record(OrderStatus.OPEN))
    desk.troubles.away = {Service.QUEUE}
    with pytest.raises(NotNowAvailable):
        desk.cancel()
    assert desk.status is OrderStatus.OPEN


@pytest.mark.parametrize("status", OPEN)
def test_an_order_is_cancelled_until_it_is_submitted_and_a_worker_is_told(status: OrderStatus) -> None:
    desk = Desk(a_record(status))

    record = desk.cancel()

    assert record.status is desk.status is OrderStatus.CANCELLED
    assert record.sequence == desk.item.record.sequence == len(a_record(status).events) + 1
    assert desk.item.record.behind
    assert {*desk.queued} == {desk.order_id}


@pytest.mark.parametrize("crashes_at", ["decide", "send"])
def test_an_order_cancelled_at_rest_reaches_a_worker_even_if_this_function_crashes(crashes_at: str) -> None:
    """It has no message on its way, and no watcher finds what is no longer open."""
    desk = Desk(a_record(OrderStatus.OPEN))
    desk.troubles.coming[crashes_at] = [Mode.KILL_AFTER] if crashes_at == "decide" else [None, Mode.KILL_BEFORE]

    with pytest.raises(Killed):
        desk.cancel()

    assert desk.status is OrderStatus.CANCELLED
    ((order_id, delay_seconds),) = desk.platform.queue.sent
    assert order_id == desk.order_id
    assert delay_seconds > FUNCTIONS["cancel"]


def test_cancelled_twice_is_cancelled_once() -> None:
    desk = Desk()

    assert desk.cancel().events == desk.cancel().events
    assert desk.queued == [desk.order_id] * 2  # the first message may never have been sent


@pytest.mark.parametrize("status", [OrderStatus.SUBMITTED, OrderStatus.CONFIRMED, OrderStatus.FAILED])
def test_it_is_too_late_once_a_transaction_was_journaled_or_the_order_has_ended(status: OrderStatus) -> None:
    desk = Desk(a_record(status))

    with pytest.raises(TooLateToCancel) as caught:
        desk.cancel()

    assert caught.value.status == status
    assert (desk.status, desk.queued) == (status, [])


def test_whoever_was_too_late_once_is_too_late_for_good() -> None:
    """The transaction is known to be dead, and another attempt has begun."""
    record = advanced(a_record(OrderStatus.SUBMITTED), OrderStatus.ROUTING, START, attempt=2)

    with pytest.raises(TooLateToCancel):
        cancelled(record, START)


def test_a_cancelled_order_that_is_closed_needs_no_worker() -> None:
    desk = Desk(a_record(OrderStatus.CANCELLED))
    desk.item.closed = True

    assert desk.cancel().status is OrderStatus.CANCELLED
    assert desk.queued == []


def test_watchers_hear_of_a_cancel_while_postgresql_is_away() -> None:
    desk = Desk()
    socket = desk.watch("early", live_after=1)
    desk.cancel()
    desk.troubles.away = {Service.HISTORY}

    desk.run(lambda: desk.platform.executor().process(desk.order_id), "route_execute")

    assert socket.statuses == ["cancelled"]
    assert desk.platform.rows.orders == {}
    desk.troubles.away = set()
    desk.timeline.wait(60)
    desk.run(lambda: desk.platform.executor().process(desk.order_id), "route_execute")
    assert socket.statuses == ["cancelled"]
    assert desk.platform.rows.orders
    assert desk.item.closed


def test_another_owners_order_is_not_cancelled() -> None:
    desk = Desk(OrderRecord.accepted(an_order(owner="somebody")))

    with pytest.raises(UnknownOrder):
        desk.cancel()

    assert desk.status is OrderStatus.PENDING


def test_an_order_that_moves_on_meanwhile_is_cancelled_where_it_stands_then() -> None:
    desk = Desk()
    read, moved = desk.platform.journal.read, iter([True])

    def read_and_move(order_id: UUID) -> OrderRecord:
        record = read(order_id)
        if next(moved, False):
            desk.item.record = advanced(record, OrderStatus.ROUTING, START, attempt=1)
        return record

    desk.platform.journal.read = read_and_move  # type: ignore[method-assign]

    assert [event.status for event in desk.cancel().events] == ["pending", "routing", "cancelled"]


@pytest.mark.parametrize("call", ["read", "decide", "send"])
@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER])
def test_where_a_service_is_away_it_is_said_that_nothing_is_known_and_asking_again_helps(call: str, mode: Mode) -> None:
    desk = Desk()
    desk.troubles.coming[call] = [mode]

    with pytest.raises(NotNowAvailable):
        desk.cancel()

    assert desk.cancel().status is OrderStatus.CANCELLED
    assert desk.queued


def test_a_worker_publishes_and_persists_what_was_cancelled_under_another_ones_hands() -> None:
    desk = Desk()
    socket = desk.watch("early", live_after=1)
    claim = desk.platform.journal.claim(desk.order_id)
    desk.cancel()

    desk.run(lambda: desk.platform.executor().process(desk.order_id), "route_execute")

    assert (socket.statuses, socket.dismissed) == (["cancelled"], True)
    assert desk.platform.rows.orders[str(desk.order_id)]["status"] == "cancelled"
    assert desk.item.closed
    assert claim.owner != desk.item.lease_owner
