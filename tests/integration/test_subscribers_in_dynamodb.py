"""Subscribers against DynamoDB: kept with their order, so that a handover and an append exclude each other."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.journal import DynamoJournal
from order_engine.adapters.subscribers import LIFETIME, MOST_SUBSCRIBERS, DynamoSubscribers
from order_engine.delivery import CatchUp, Publisher
from order_engine.errors import ServiceUnavailable, TooManySubscribers, UnknownOrder
from order_engine.orders import Subscriber
from order_engine.ports import Claim
from order_engine.status import OrderStatus

from tests.integration.conftest import CONNECTIONS, JOURNAL
from tests.support.builders import START, a_subscriber, accepted, an_order
from tests.support.fakes import FixedClock, MemoryCatchUps, MemorySockets


class Room:
    """One order with its worker, and those who watch it."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.journal = DynamoJournal(dynamodb, JOURNAL, FixedClock(), timedelta(seconds=25))
        self.subscribers = DynamoSubscribers(dynamodb, CONNECTIONS, JOURNAL)
        self.order_id: UUID = self.journal.create(accepted(an_order()), "fingerprint").order_id
        self.claim: Claim = self.journal.claim(self.order_id)

    def append(self) -> tuple[Subscriber, ...]:
        """Appends an event; answers the subscribers that the append saw."""
        entry = self.claim.entry.advanced(OrderStatus.ROUTING, START, "Comparing prices", attempt=1)
        self.claim = self.journal.append(self.claim, entry)
        return self.claim.entry.subscribers

    def join(self, connection_id: str = "connection=", **changes: Any) -> Subscriber:
        subscriber = a_subscriber(self.order_id, connection_id, **changes)
        self.subscribers.join(subscriber)
        return subscriber

    def kept(self, connection_id: str = "connection=") -> Subscriber | None:
        return self.journal.read(self.order_id).subscriber(connection_id)

    def row(self, connection_id: str = "connection=") -> dict[str, Any] | None:
        key = {"connectionId": {"S": connection_id}}
        row: dict[str, Any] | None = self.dynamodb.get_item(TableName=CONNECTIONS, Key=key).get("Item")
        return row


@pytest.fixture
def room(dynamodb: Any) -> Room:
    return Room(dynamodb)


@pytest.mark.parametrize("sent_through", [0, 3])
def test_a_subscriber_that_joined_is_kept_with_its_order_as_it_was(room: Room, sent_through: int) -> None:
    subscriber = room.join(sent_through=sent_through)

    assert room.kept() == subscriber
    assert room.subscribers.order_of("connection=") == room.order_id


def test_a_connections_row_expires_when_the_gateway_has_closed_the_connection(room: Room) -> None:
    room.join()

    row = room.row()
    assert row is not None
    assert row["expiresAt"]["N"] == str(int((START + LIFETIME).timestamp()))
    assert timedelta(hours=2) == LIFETIME


def test_nobody_can_watch_an_order_that_is_not_known(room: Room) -> None:
    with pytest.raises(UnknownOrder):
        room.subscribers.join(a_subscriber(uuid4(), "stranger"))

    assert room.row("stranger") is None


def test_an_order_has_room_for_so_many_subscribers_and_no_more(room: Room) -> None:
    row = {"connectedAt": {"S": START.isoformat()}, "sentThrough": {"N": "0"}, "generation": {"N": "1"}}
    room.dynamodb.update_item(
        TableName=JOURNAL,
        Key={"orderId": {"S": str(room.order_id)}},
        UpdateExpression="SET subscribers = :many",
        ExpressionAttributeValues={":many": {"M": {f"c-{n}": {"M": row} for n in range(MOST_SUBSCRIBERS - 1)}}},
    )

    room.join("the last one")
    with pytest.raises(TooManySubscribers):
        room.join("one too many")

    assert room.kept("the last one") is not None
    assert room.row("one too many") is None


def test_a_connection_that_watches_nothing_has_no_order(room: Room) -> None:
    assert room.subscribers.order_of("nobody") is None


# --- handover -------------------------------------------------------------------------------------------------


def test_a_subscriber_that_is_up_to_date_is_handed_over(room: Room) -> None:
    subscriber = room.join()

    assert room.subscribers.hand_over(subscriber, through=1)

    assert room.kept() == replace(subscriber, sent_through=1, live_after=1)


def test_a_subscriber_is_not_handed_over_once_another_event_was_appended(room: Room) -> None:
    subscriber = room.join()
    room.append()

    assert not room.subscribers.hand_over(subscriber, through=1)

    assert room.kept() == subscriber
    assert room.subscribers.hand_over(subscriber, through=2)


def test_a_subscriber_is_not_handed_over_by_somebody_of_another_generation(room: Room) -> None:
    subscriber = room.join()
    taken = room.subscribers.take_back(subscriber, sent_through=0)

    assert not room.subscribers.hand_over(subscriber, through=1)
    assert room.kept() == taken
    assert taken is not None
    assert room.subscribers.hand_over(taken, through=1)


def test_a_subscriber_that_left_is_not_handed_over(room: Room) -> None:
    subscriber = room.join()
    room.subscribers.leave("connection=")

    assert not room.subscribers.hand_over(subscriber, through=1)
    assert room.kept() is None


def test_an_append_answers_with_the_subscribers_of_its_moment(room: Room) -> None:
    here, there = room.join("here"), room.join("there")
    room.subscribers.hand_over(here, through=1)

    seen = {one.connection_id: one for one in room.append()}

    assert seen == {"here": replace(here, sent_through=1, live_after=1), "there": there}


def test_of_a_handover_and_an_append_at_once_one_knows_of_the_other(room: Room) -> None:
    rounds = 15
    for number in range(rounds):
        subscriber = room.join(f"connection-{number}")
        sequence, start = room.claim.entry.sequence, threading.Barrier(2, timeout=10)
        handed_over: list[bool] = []

        def hand_over(
            subscriber: Subscriber = subscriber,
            sequence: int = sequence,
            start: threading.Barrier = start,
            handed_over: list[bool] = handed_over,
        ) -> None:
            start.wait()
            handed_over.append(room.subscribers.hand_over(subscriber, through=sequence))

        thread = threading.Thread(target=hand_over)
        thread.start()
        start.wait()
        seen = {one.connection_id: one for one in room.append()}[subscriber.connection_id]
        thread.join(10)

        # Either the publisher posts the new event to it, or notify was told to go on.
        assert (seen.live_after is not None, handed_over) in [(True, [True]), (False, [False])]


def test_a_subscriber_sees_every_status_once_and_in_order_while_a_worker_publishes(room: Room) -> None:
    sockets, clock = MemorySockets(), FixedClock()
    publisher = Publisher(room.journal, room.subscribers, sockets, MemoryCatchUps())
    notify = CatchUp(room.journal, room.subscribers, sockets, clock)
    names = ["a", "b", "c"]
    for name in names:
        room.join(name)
    start = threading.Barrier(len(names) + 1, timeout=10)

    def catch_up(name: str) -> None:
        start.wait()
        notify.bring_up_to_date(room.order_id, name, 1)

    threads = [threading.Thread(target=catch_up, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    start.wait()
    for _ in range(20):
        entry = room.claim.entry.advanced(OrderStatus.ROUTING, clock(), "Comparing prices", attempt=1)
        room.claim = publisher.publish(room.claim, entry)
    for thread in threads:
        thread.join(10)

    for name in names:
        assert sockets.sequences(name) == list(range(1, 22))


# --- take back and leave --------------------------------------------------------------------------------------


def test_a_subscriber_taken_back_is_notifys_again_with_a_generation_of_its_own(room: Room) -> None:
    subscriber = room.join()
    room.subscribers.hand_over(subscriber, through=1)

    taken = room.subscribers.take_back(subscriber, sent_through=0)

    assert taken == replace(subscriber, sent_through=0, live_after=None, generation=2)
    assert room.kept() == taken


def test_each_taking_back_has_another_generation(room: Room) -> None:
    subscriber = room.join()

    generations = [room.subscribers.take_back(subscriber, sent_through=0) for _ in range(3)]

    assert [one.generation for one in generations if one] == [2, 3, 4]


def test_a_subscriber_that_left_can_not_be_taken_back(room: Room) -> None:
    subscriber = room.join()
    room.subscribers.leave("connection=")

    assert room.subscribers.take_back(subscriber, sent_through=0) is None


def test_a_subscriber_whose_order_is_no_more_can_not_be_taken_back_or_handed_over(room: Room) -> None:
    subscriber = a_subscriber(uuid4())

    assert room.subscribers.take_back(subscriber, sent_through=0) is None
    assert room.subscribers.hand_over(subscriber, through=1) is False


def test_a_connection_that_left_is_forgotten_in_both_places_and_no_other_is(room: Room) -> None:
    room.join("leaving")
    staying = room.join("staying")

    room.subscribers.leave("leaving")

    assert room.journal.read(room.order_id).subscribers == (staying,)
    assert room.row("leaving") is None
    assert room.row("staying") is not None


def test_a_connection_may_leave_twice_and_without_ever_having_joined(room: Room) -> None:
    room.join()

    for name in ("connection=", "connection=", "nobody"):
        room.subscribers.leave(name)

    assert room.journal.read(room.order_id).subscribers == ()


def test_a_connection_whose_order_has_expired_may_leave(room: Room) -> None:
    room.join()
    room.dynamodb.delete_item(TableName=JOURNAL, Key={"orderId": {"S": str(room.order_id)}})

    room.subscribers.leave("connection=")

    assert room.row() is None


def test_subscribers_do_not_get_in_the_way_of_the_order(room: Room) -> None:
    room.join()
    before = room.claim.entry.events

    room.append()
    room.journal.release(room.claim, closed=True)

    after = room.journal.read(room.order_id)
    assert after.events[:-1] == before
    assert [one.connection_id for one in after.subscribers] == ["connection="]


def test_subscribers_that_do_not_answer_are_a_service_that_is_away(dynamodb: Any) -> None:
    away = DynamoSubscribers(dynamodb, "no such table", "no such table either")
    subscriber = a_subscriber(uuid4())

    for call in (
        lambda: away.join(subscriber),
        lambda: away.hand_over(subscriber, 1),
        lambda: away.take_back(subscriber, 1),
        lambda: away.order_of("connection="),
        lambda: away.leave("connection="),
    ):
        with pytest.raises(ServiceUnavailable):
            call()
