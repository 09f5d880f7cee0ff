"""The subscribers' own ways with DynamoDB: pages, calls, repeated writes and races (their contract: tests/doubles)."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import repeat
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine import limits
from order_engine.adapters.journal import subscribers as adapter
from order_engine.adapters.journal.connections import LIFETIME, DynamoConnections
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import MOST_SUBSCRIBERS, PAGES, DynamoSubscribers
from order_engine.domain.errors import OutOfTime, ServiceUnavailable, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import TooManySubscribers
from order_engine.domain.subscriber import Connection, Subscriber
from order_engine.ports import Claim
from order_engine.use_cases.audience import Audience
from order_engine.use_cases.notify import Notifier
from order_engine.use_cases.publish import Publisher

from tests.doubles.gate import Gate
from tests.doubles.services import MemoryNotifyRequests, MemorySockets, Socket
from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES
from tests.support.builders import START, a_subscriber, advanced, an_order
from tests.support.local_aws import AnswerLost, Meanwhile, counted_calls

Item = dict[str, Any]
ROW = {"M": {"connectedAt": {"S": START.isoformat()}, "sentThrough": {"N": "0"}, "generation": {"N": "1"}}}

on_each_page = pytest.mark.parametrize("page", [0, 1])


def subscribers_on(dynamodb: Any) -> DynamoSubscribers:
    return DynamoSubscribers(dynamodb, SUBSCRIBER_PAGES, JOURNAL)


class Room:
    """One order with its worker, and those who watch it."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.journal = DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, Timeline(), timedelta(seconds=25))
        self.subscribers = subscribers_on(dynamodb)
        self.order_id: UUID = self.journal.create(OrderRecord.accepted(an_order()), "fingerprint").order.order_id
        self.claim: Claim = self.journal.claim(self.order_id)

    def fan_out(self) -> tuple[Subscriber, ...]:
        """Appends an event, and returns all that a publisher would then post it to."""
        self.claim = self.journal.append(self.claim, advanced(self.claim.record, OrderStatus.ROUTING, START, attempt=1))
        record = self.claim.record
        further = self.subscribers.fan_out(self.order_id, record.sequence) if record.crowded else ()
        return (*record.subscribers, *further)

    def join(self, connection_id: str = "connection=", **changes: Any) -> Subscriber:
        return self.subscribers.join(a_subscriber(self.order_id, connection_id, **changes))

    def meanwhile(self, operation: str, *happenings: Any) -> Subscriber:
        """Joins while things happen before the next calls of an operation."""
        client = Meanwhile(self.dynamodb, operation, happenings)
        return subscribers_on(client).join(a_subscriber(self.order_id))

    def fill(self, *pages: int, but: int = 0) -> None:
        """Fills pages with others, but for so many places on each."""
        for page in pages:
            others = {"M": {f"c-{page}-{number}": ROW for number in range(adapter.PAGE_SIZE - but)}}
            self.dynamodb.update_item(
                **self.place(page),
                UpdateExpression="SET subscribers = :others, #sequence = if_not_exists(#sequence, :none)",
                ExpressionAttributeNames={"#sequence": "sequence"},
                ExpressionAttributeValues={":others": others, ":none": {"N": "0"}},
            )

    def place(self, page: int) -> Item:
        key = {"orderId": {"S": str(self.order_id)}}
        if page == 0:
            return {"TableName": JOURNAL, "Key": key}
        return {"TableName": SUBSCRIBER_PAGES, "Key": {**key, "page": {"N": str(page)}}}

    def expire(self, page: int) -> None:
        self.dynamodb.delete_item(**self.place(page))

    def item(self, page: int) -> Item | None:
        item: Item | None = self.dynamodb.get_item(**self.place(page)).get("Item")
        return item

    def row(self, connection_id: str = "connection=") -> Item | None:
        key = {"connectionId": {"S": connection_id}}
        row: Item | None = self.dynamodb.get_item(TableName=CONNECTIONS, Key=key).get("Item")
        return row


@pytest.fixture
def full_size(dynamodb: Any) -> Room:
    return Room(dynamodb)


@pytest.fixture
def room(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Room:
    """Five places on a page instead of twenty: moto is slow with large items."""
    monkeypatch.setattr(adapter, "PAGE_SIZE", 5)
    return Room(dynamodb)


# --- items and calls --------------------------------------------------------------------------------------------------


def test_rows_and_pages_expire_with_their_connections_but_no_order(room: Room) -> None:
    room.fill(0)
    later = START + timedelta(minutes=5)
    first = room.join("first")
    room.join("second", connected_at=later)
    DynamoConnections(room.dynamodb, CONNECTIONS, Timeline()).open(Connection("first", START, {first.order_id: 1}))

    order, page, row = room.item(0), room.item(1), room.row("first")
    assert order and page and row
    assert "expiresAt" not in order
    assert page["expiresAt"]["N"] == str(int((later + LIFETIME).timestamp()))  # of the youngest on it
    assert row["expiresAt"]["N"] == str(int((START + LIFETIME).timestamp()))
    assert timedelta(hours=2) == LIFETIME  # when the gateway has closed every connection


def test_the_first_twenty_are_kept_with_their_order_by_two_calls_each(full_size: Room) -> None:
    full_size.fill(0, but=2)

    with counted_calls(full_size.dynamodb) as calls:
        joined = [full_size.join(name) for name in ("nineteenth", "twentieth")]

    assert {one.page for one in joined} == {0}
    assert len(full_size.fan_out()) == 20
    assert calls == {("GetItem", JOURNAL): 2, ("UpdateItem", JOURNAL): 2}


def test_who_finds_page_0_full_writes_nothing_there_but_one_mark(room: Room) -> None:
    room.fill(0)
    room.fill(1, but=2)

    with counted_calls(room.dynamodb) as calls:
        joined = [room.join(name) for name in ("a", "b", "c")]

    assert calls["UpdateItem", JOURNAL] == 1
    assert [one.page for one in joined] == [1, 1, 2]
    assert set(joined) <= set(room.fan_out())


def test_the_order_is_marked_before_anybody_is_on_a_further_page(room: Room) -> None:
    room.fill(0)

    with pytest.raises(ZeroDivisionError):  # a crash
        room.meanwhile("update_item", lambda: 1 / 0)

    assert room.item(1) is None


def test_500_can_watch_an_order_and_the_next_is_refused_by_reads(full_size: Room) -> None:
    free = {0, 7, 24}
    full_size.fill(*(page for page in range(PAGES) if page not in free))
    full_size.fill(*free, but=1)
    joined = [full_size.join(f"c-{number}") for number in range(3)]
    assert {one.page for one in joined} == free

    with counted_calls(full_size.dynamodb) as calls, pytest.raises(TooManySubscribers):
        full_size.join("one too many")

    assert calls == {("GetItem", JOURNAL): 1, ("Query", SUBSCRIBER_PAGES): 1}
    assert len(full_size.fan_out()) == MOST_SUBSCRIBERS == 500


def test_a_join_to_an_unknown_order_is_one_read(room: Room) -> None:
    with counted_calls(room.dynamodb) as calls, pytest.raises(UnknownOrder):
        room.subscribers.join(a_subscriber(uuid4(), "stranger"))

    assert calls == {("GetItem", JOURNAL): 1}


@on_each_page
def test_a_whole_page_is_taken_back_by_one_write(full_size: Room, page: int) -> None:
    full_size.fill(*range(page))
    full_size.fill(page, but=1)
    live = full_size.join()
    assert full_size.subscribers.hand_over(live, through=1)
    others = [
        a_subscriber(full_size.order_id, f"c-{page}-{number}", page=page, sent_through=number) for number in range(19)
    ]

    with counted_calls(full_size.dynamodb) as calls:
        taken = full_size.subscribers.take_back([live, *others])

    assert sum(calls.values()) == 1
    assert taken == [replace(one, generation=2) for one in (live, *others)]
    assert set(taken) <= set(full_size.fan_out())


@on_each_page
def test_who_leaves_is_struck_from_its_page(room: Room, page: int) -> None:
    room.fill(*range(page))
    leaving, staying = room.join("leaving"), room.join("staying")

    with counted_calls(room.dynamodb) as calls:
        room.subscribers.leave(leaving)

    assert calls == {("UpdateItem", room.place(page)["TableName"]): 1}
    assert room.subscribers.read(leaving) is None
    assert room.subscribers.read(staying) == staying


@on_each_page
def test_who_lost_its_page_may_still_leave(room: Room, page: int) -> None:
    room.fill(*range(page))
    homeless = room.join("homeless")
    room.expire(page)

    room.subscribers.leave(homeless)

    assert room.item(page) is None


def test_who_could_not_leave_its_page_is_still_found(room: Room) -> None:
    subscriber, connections = room.join(), DynamoConnections(room.dynamodb, CONNECTIONS, Timeline())
    connections.open(Connection("connection=", START, {subscriber.order_id: 0}))
    unavailable = DynamoSubscribers(room.dynamodb, SUBSCRIBER_PAGES, "no such table")

    with pytest.raises(ServiceUnavailable):
        Audience(unavailable, connections).gone(subscriber)

    assert connections.find("connection=")


def test_each_page_is_fanned_out_to_only_while_there_is_time(room: Room) -> None:
    room.fill(1)
    left = iter([limits.DYNAMODB, limits.DYNAMODB - 0.01])

    with limits.invocation(lambda: next(left)), pytest.raises(OutOfTime):
        room.subscribers.fan_out(room.order_id, 2)


# --- races, and writes that are repeated ------------------------------------------------------------------------------


def test_of_many_at_once_each_gets_a_place_and_no_page_is_overfull(room: Room) -> None:
    room.fill(0, 1, but=2)

    with ThreadPoolExecutor(10) as pool:
        joined = set(pool.map(room.join, [f"connection-{number}" for number in range(12)]))

    watching = room.fan_out()
    assert max(Counter(one.page for one in watching).values()) <= 5
    assert joined <= set(watching)
    assert len(watching) == 3 + 3 + 12


def test_who_loses_the_last_place_of_two_pages_gets_one_on_a_third(room: Room) -> None:
    room.fill(0, 1, but=1)

    subscriber = room.meanwhile("update_item", partial(room.fill, 0), None, partial(room.fill, 1))

    assert subscriber.page == 2
    assert room.subscribers.read(subscriber) == subscriber


def test_a_page_that_someone_else_opens_meanwhile_is_shared(room: Room) -> None:
    room.fill(0)

    with counted_calls(room.dynamodb) as calls:
        subscriber = room.meanwhile("put_item", partial(room.fill, 1, but=2))

    assert subscriber.page == 1
    assert calls["Query", SUBSCRIBER_PAGES] == 2  # for a page with room, then for one that is missing
    assert len(room.fan_out()) == 5 + 3 + 1


def test_nobody_is_refused_while_the_last_page_is_being_made(room: Room) -> None:
    room.fill(*range(PAGES - 1))

    # The second query, for a page that is missing, finds all of them.
    assert room.meanwhile("query", None, partial(room.fill, PAGES - 1, but=2)).page == PAGES - 1


def test_a_page_that_expires_while_somebody_joins_it_is_made_anew(room: Room) -> None:
    room.fill(0)
    room.join("before")

    subscriber = room.meanwhile("update_item", partial(room.expire, 1))

    assert subscriber.page == 1
    assert room.subscribers.fan_out(room.order_id, 1) == (subscriber,)


def test_who_is_always_late_is_refused_as_unavailable(room: Room) -> None:
    room.fill(0)
    expiring = Meanwhile(room.dynamodb, "update_item", repeat(partial(room.expire, 1)))
    late = Meanwhile(expiring, "put_item", repeat(partial(room.fill, 1)))

    with pytest.raises(ServiceUnavailable, match="quicker"):
        subscribers_on(late).join(a_subscriber(room.order_id, "late"))


@pytest.mark.parametrize(("page", "places"), [(0, 1), (0, 3), (1, 1), (1, 3), (1, 5)])
def test_a_join_whose_answer_was_lost_takes_one_place(room: Room, page: int, places: int) -> None:
    room.fill(*range(page))
    if places < 5:
        room.fill(page, but=places)

    subscriber = subscribers_on(AnswerLost(room.dynamodb)).join(a_subscriber(room.order_id))

    assert subscriber.page == page
    assert [one for one in room.fan_out() if one.connection_id == "connection="] == [subscriber]


def test_a_page_that_expires_during_a_fan_out_is_not_made_anew(room: Room) -> None:
    room.fill(1)
    client = Meanwhile(room.dynamodb, "update_item", [partial(room.expire, 1)])

    assert subscribers_on(client).fan_out(room.order_id, 2) == ()
    assert room.item(1) is None


def test_who_leaves_while_others_are_taken_back_is_left_out(room: Room) -> None:
    joined = [room.join(name) for name in ("a", "b", "c")]
    leaving = [partial(room.subscribers.leave, one) for one in joined[:2]]

    taken = subscribers_on(Meanwhile(room.dynamodb, "update_item", leaving)).take_back(joined)

    assert taken == [replace(joined[2], generation=2)]


@on_each_page
def test_of_a_handover_and_a_fan_out_at_once_one_sees_the_other(room: Room, page: int) -> None:
    room.fill(*range(page))
    start = threading.Barrier(2, timeout=10)

    def hand_over(subscriber: Subscriber, through: int) -> bool:
        start.wait()
        return room.subscribers.hand_over(subscriber, through)

    for number in range(10):
        subscriber = room.join(f"connection-{number}")
        assert subscriber.page == page
        with ThreadPoolExecutor(1) as pool:
            handing_over = pool.submit(hand_over, subscriber, number + 1)
            start.wait()
            seen = {one.connection_id: one for one in room.fan_out()}[subscriber.connection_id]

        # Either the publisher posts the new event to it, or notify was told to go on.
        assert (seen.live_after is not None) is handing_over.result()
        room.subscribers.leave(subscriber)


@on_each_page
def test_each_status_is_posted_once_in_order_while_notify_hands_over(room: Room, page: int) -> None:
    clock, gate = Timeline(), Gate()
    connections = {name: Socket() for name in ("a", "b", "c")}
    sockets = MemorySockets(gate, connections)
    audience = Audience(room.subscribers, DynamoConnections(room.dynamodb, CONNECTIONS, clock))
    publisher = Publisher(room.journal, room.subscribers, audience, sockets, MemoryNotifyRequests(gate), clock)
    notify = Notifier(room.journal, room.subscribers, audience, sockets, clock)
    room.fill(*range(page))
    watching = [room.join(name) for name in connections]
    start = threading.Barrier(len(watching) + 1, timeout=10)

    def notifier(subscriber: Subscriber) -> None:
        start.wait()
        notify.notify(subscriber)

    with ThreadPoolExecutor(len(watching)) as pool:
        notified = [pool.submit(notifier, subscriber) for subscriber in watching]
        start.wait()
        for _ in range(12):
            record = advanced(room.claim.record, OrderStatus.ROUTING, clock(), attempt=1)
            room.claim = publisher.publish(room.claim, record)
        for future in notified:
            future.result()

    assert [socket.sequences for socket in connections.values()] == [list(range(1, 14))] * 3
