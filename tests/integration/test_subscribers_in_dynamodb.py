"""Subscribers against DynamoDB: kept in pages, so that on each a handover and a fan-out exclude each other."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine import limits
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import LIFETIME, MOST_SUBSCRIBERS, PAGE_SIZE, PAGES, DynamoSubscribers
from order_engine.domain.errors import OutOfTime, ServiceUnavailable, TooManySubscribers, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber
from order_engine.ports import Claim
from order_engine.use_cases.notify import Notifier
from order_engine.use_cases.publish import Publisher

from tests.doubles.gate import Gate
from tests.doubles.services import MemoryNotifyRequests, MemorySockets, Socket
from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES
from tests.support.builders import START, a_subscriber, advanced, an_order
from tests.support.local_aws import AnswerLost, OneAtATime, counted_calls

Item = dict[str, Any]


class Room:
    """One order with its worker, and those who watch it."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.journal = DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, Timeline(), timedelta(seconds=25))
        self.subscribers = a_table_of_subscribers(dynamodb)
        self.order_id: UUID = self.journal.create(OrderRecord.accepted(an_order()), "fingerprint").order.order_id
        self.claim: Claim = self.journal.claim(self.order_id)

    def append(self) -> OrderRecord:
        """Appends an event; returns the record with what the append saw."""
        record = advanced(self.claim.record, OrderStatus.ROUTING, START, attempt=1)
        self.claim = self.journal.append(self.claim, record)
        return self.claim.record

    def fan_out(self) -> tuple[Subscriber, ...]:
        """Appends an event, and returns all that a publisher would then post it to."""
        record = self.append()
        further = self.subscribers.fan_out(self.order_id, record.sequence) if record.crowded else ()
        return (*record.subscribers, *further)

    def join(self, connection_id: str = "connection=", **changes: Any) -> Subscriber:
        return self.subscribers.join(a_subscriber(self.order_id, connection_id, **changes))

    def fill(self, page: int, *, but: int = 0) -> None:
        """Fills a page with others, but for so many places."""
        others = {"M": {f"c-{page}-{number}": ROW for number in range(PAGE_SIZE - but)}}
        if page:
            item = {**self.page_key(page), "sequence": {"N": "0"}, "subscribers": others, "expiresAt": {"N": "1"}}
            self.dynamodb.put_item(TableName=SUBSCRIBER_PAGES, Item=item)
            return
        self.dynamodb.update_item(
            TableName=JOURNAL,
            Key=self.key,
            UpdateExpression="SET subscribers = :others",
            ExpressionAttributeValues={":others": others},
        )

    def join_page(self, page: int, connection_id: str = "connection=") -> Subscriber:
        """A subscriber that joins and finds room on this page alone."""
        for full in range(page):
            self.fill(full)
        joined = self.join(connection_id)
        assert joined.page == page
        return joined

    def kept(self, subscriber: Subscriber) -> Subscriber | None:
        return self.subscribers.read(subscriber)

    @property
    def key(self) -> Item:
        return {"orderId": {"S": str(self.order_id)}}

    def page_key(self, page: int) -> Item:
        return {**self.key, "page": {"N": str(page)}}

    def page_item(self, page: int) -> Item | None:
        item: Item | None = self.dynamodb.get_item(TableName=SUBSCRIBER_PAGES, Key=self.page_key(page)).get("Item")
        return item

    def row(self, connection_id: str = "connection=") -> Item | None:
        key = {"connectionId": {"S": connection_id}}
        row: Item | None = self.dynamodb.get_item(TableName=CONNECTIONS, Key=key).get("Item")
        return row


ROW = {"M": {"connectedAt": {"S": START.isoformat()}, "sentThrough": {"N": "0"}, "generation": {"N": "1"}}}


def a_table_of_subscribers(dynamodb: Any) -> DynamoSubscribers:
    return DynamoSubscribers(dynamodb, CONNECTIONS, SUBSCRIBER_PAGES, JOURNAL)


@pytest.fixture
def room(dynamodb: Any) -> Room:
    return Room(dynamodb)


# --- join -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent_through", [0, 3])
def test_a_subscriber_that_joined_is_kept_with_its_order_as_it_was(room: Room, sent_through: int) -> None:
    subscriber = room.join(sent_through=sent_through)

    assert subscriber == a_subscriber(room.order_id, sent_through=sent_through)
    assert room.kept(subscriber) == subscriber
    assert room.journal.read(room.order_id).subscribers == (subscriber,)
    assert "expiresAt" not in room.dynamodb.get_item(TableName=JOURNAL, Key=room.key)["Item"]


@pytest.mark.parametrize("page", [0, 1])
def test_a_connection_leads_to_where_its_subscriber_is_kept(room: Room, page: int) -> None:
    subscriber = room.join_page(page)

    found = room.subscribers.find("connection=")

    assert found is not None
    assert (found.order_id, found.connection_id, found.page) == (room.order_id, "connection=", page)
    assert room.kept(found) == subscriber


def test_a_connection_that_watches_nothing_leads_nowhere(room: Room) -> None:
    assert room.subscribers.find("nobody") is None


def test_a_connections_row_expires_when_the_gateway_has_closed_the_connection(room: Room) -> None:
    room.join()

    row = room.row()
    assert row is not None
    assert row["expiresAt"]["N"] == str(int((START + LIFETIME).timestamp()))
    assert timedelta(hours=2) == LIFETIME


def test_a_page_expires_when_its_youngest_connection_has_been_closed(room: Room) -> None:
    room.join_page(1, "first")
    later = START + timedelta(minutes=5)
    room.join("second", connected_at=later)

    page = room.page_item(1)
    assert page is not None
    assert page["expiresAt"]["N"] == str(int((later + LIFETIME).timestamp()))


def test_nobody_can_watch_an_order_that_is_not_known(room: Room) -> None:
    with counted_calls(room.dynamodb) as calls, pytest.raises(UnknownOrder):
        room.subscribers.join(a_subscriber(uuid4(), "stranger"))

    assert calls == {("GetItem", JOURNAL): 1}
    assert room.row("stranger") is None


def test_the_first_twenty_are_kept_with_the_order_and_cost_three_calls_each(room: Room) -> None:
    with counted_calls(room.dynamodb) as calls:
        joined = [room.join(f"c-{number}") for number in range(20)]

    assert {one.page for one in joined} == {0}
    assert set(room.append().subscribers) == set(joined)
    assert not room.claim.record.crowded
    assert calls == {("GetItem", JOURNAL): 20, ("UpdateItem", JOURNAL): 20, ("PutItem", CONNECTIONS): 20}


def test_who_finds_the_orders_item_full_does_not_write_to_it_but_for_one_mark(room: Room) -> None:
    room.fill(0)

    with counted_calls(room.dynamodb) as calls:
        joined = [room.join(f"further-{number}") for number in range(30)]

    assert calls["UpdateItem", JOURNAL] == 1
    assert room.append().crowded
    assert sorted(one.page for one in joined) == [1] * 20 + [2] * 10
    assert all(room.kept(one) == one for one in joined)


def test_the_order_is_marked_before_anybody_is_on_a_further_page(room: Room) -> None:
    room.fill(0)

    class Crash(Exception):
        pass

    class CrashesBeforeTheMark(OneAtATime):
        def update_item(self, **arguments: Any) -> Any:
            raise Crash

    with pytest.raises(Crash):
        a_table_of_subscribers(CrashesBeforeTheMark(room.dynamodb)).join(a_subscriber(room.order_id))

    assert room.page_item(1) is None


def test_500_can_watch_an_order_and_the_next_is_refused_after_reads_only(room: Room) -> None:
    assert MOST_SUBSCRIBERS == 500
    for page in range(25):
        room.fill(page, but=2)  # moto would take half a minute for 500 joins
    joined = [room.join(f"c-{number}") for number in range(50)]

    with counted_calls(room.dynamodb) as calls, pytest.raises(TooManySubscribers):
        room.join("one too many")

    assert calls == {("GetItem", JOURNAL): 1, ("Query", SUBSCRIBER_PAGES): 1}
    assert room.row("one too many") is None
    assert Counter(one.page for one in joined) == dict.fromkeys(range(25), 2)
    assert len(room.fan_out()) == 500


def test_a_place_that_was_given_up_is_taken_again(room: Room) -> None:
    for page in range(PAGES):
        room.fill(page)
    room.subscribers.leave(a_subscriber(room.order_id, "c-7-3", page=7))

    assert room.join().page == 7
    with pytest.raises(TooManySubscribers):
        room.join("late")


def test_of_many_at_once_each_gets_a_place_and_no_page_is_overfull(dynamodb: Any, room: Room) -> None:
    with ThreadPoolExecutor(10) as pool:
        joined = list(pool.map(room.join, [f"c-{number}" for number in range(60)]))

    pages = Counter(one.page for one in joined)
    assert max(pages.values()) <= 20
    assert set(room.fan_out()) == set(joined)


def test_who_loses_the_race_for_the_last_place_gets_another(room: Room) -> None:
    room.fill(0, but=1)
    room.fill(1, but=1)
    quicker = iter([0, 1])

    class LosesRaces(OneAtATime):
        """A client before whose updates somebody else takes the last place."""

        def update_item(self, **arguments: Any) -> Any:
            if "size" in arguments["ConditionExpression"] and (page := next(quicker, None)) is not None:
                room.fill(page)
            return room.dynamodb.update_item(**arguments)

    subscriber = a_table_of_subscribers(LosesRaces(room.dynamodb)).join(a_subscriber(room.order_id))

    assert subscriber.page == 2
    assert room.kept(subscriber) == subscriber


def test_a_page_that_someone_else_opens_meanwhile_is_shared(room: Room) -> None:
    room.fill(0)
    quicker = iter([1])

    class LosesRaces(OneAtATime):
        """A client before whose writes somebody else opens the page."""

        def put_item(self, **arguments: Any) -> Any:
            if arguments["TableName"] == SUBSCRIBER_PAGES and (page := next(quicker, None)):
                room.fill(page, but=5)
            return room.dynamodb.put_item(**arguments)

    with counted_calls(room.dynamodb) as calls:
        subscriber = a_table_of_subscribers(LosesRaces(room.dynamodb)).join(a_subscriber(room.order_id))

    assert subscriber.page == 1
    assert calls["Query", SUBSCRIBER_PAGES] == 2  # for a page with room, then for one that is missing
    assert len(room.fan_out()) == 20 + 15 + 1


def test_nobody_is_refused_while_the_last_page_is_being_made(room: Room) -> None:
    for page in range(PAGES - 1):
        room.fill(page)
    queries = iter(["looks for room", "looks for a page that is missing"])

    class LosesRaces(OneAtATime):
        """A client before whose second query somebody else makes the last page."""

        def query(self, **arguments: Any) -> Any:
            if next(queries, "").endswith("missing"):
                room.fill(PAGES - 1, but=5)
            return room.dynamodb.query(**arguments)

    subscriber = a_table_of_subscribers(LosesRaces(room.dynamodb)).join(a_subscriber(room.order_id))

    assert subscriber.page == PAGES - 1


def test_a_page_that_expires_while_somebody_joins_it_is_made_anew(room: Room) -> None:
    room.join_page(1, "before")
    expires = iter([True])

    class Expires(OneAtATime):
        """A client before whose update of a page DynamoDB deletes it."""

        def update_item(self, **arguments: Any) -> Any:
            if arguments["TableName"] == SUBSCRIBER_PAGES and next(expires, False):
                room.dynamodb.delete_item(TableName=SUBSCRIBER_PAGES, Key=room.page_key(1))
            return room.dynamodb.update_item(**arguments)

    subscriber = a_table_of_subscribers(Expires(room.dynamodb)).join(a_subscriber(room.order_id, "after"))

    assert subscriber.page == 1
    assert room.subscribers.fan_out(room.order_id, 1) == (subscriber,)


@pytest.mark.parametrize(("page", "places"), [(0, 1), (0, 5), (1, 1), (1, 5), (1, 20)])
def test_a_join_whose_answer_was_lost_takes_one_place(room: Room, page: int, places: int) -> None:
    for full in range(page):
        room.fill(full)
    if places < PAGE_SIZE:
        room.fill(page, but=places)
    stuttering = a_table_of_subscribers(AnswerLost(room.dynamodb))

    subscriber = stuttering.join(a_subscriber(room.order_id))

    assert subscriber.page == page
    assert [one for one in room.fan_out() if one.connection_id == "connection="] == [subscriber]


def test_who_is_always_late_is_told_that_it_could_not_be_done(room: Room) -> None:
    room.fill(0)

    class AlwaysLate(OneAtATime):
        """A client before whose writes somebody else opens the page, which then expires."""

        def put_item(self, **arguments: Any) -> Any:
            try:
                room.fill(1)
                return room.dynamodb.put_item(**arguments)
            finally:
                room.dynamodb.delete_item(TableName=SUBSCRIBER_PAGES, Key=room.page_key(1))

    with pytest.raises(ServiceUnavailable, match="quicker"):
        a_table_of_subscribers(AlwaysLate(room.dynamodb)).join(a_subscriber(room.order_id, "late"))

    assert room.row("late") is None


# --- handover -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_that_is_up_to_date_is_handed_over(room: Room, page: int) -> None:
    subscriber = room.join_page(page)

    assert room.subscribers.hand_over(subscriber, through=1)

    assert room.kept(subscriber) == replace(subscriber, sent_through=1, live_after=1)


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_is_not_handed_over_once_another_event_was_fanned_out(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    room.fan_out()

    assert not room.subscribers.hand_over(subscriber, through=1)

    assert room.kept(subscriber) == subscriber
    assert room.subscribers.hand_over(subscriber, through=2)


def test_nobody_is_handed_over_after_an_event_that_the_order_does_not_have(room: Room) -> None:
    subscriber = room.join()

    assert not room.subscribers.hand_over(subscriber, through=2)


def test_on_a_further_page_a_handover_before_the_turn_is_seen_by_the_turn(room: Room) -> None:
    subscriber = room.join_page(1)
    room.append()

    assert room.subscribers.hand_over(subscriber, through=1)

    assert room.subscribers.fan_out(room.order_id, 2) == (replace(subscriber, sent_through=1, live_after=1),)


def test_on_a_further_page_a_turn_before_the_handover_refuses_it(room: Room) -> None:
    subscriber = room.join_page(1)
    room.append()

    assert room.subscribers.fan_out(room.order_id, 2) == (subscriber,)

    assert not room.subscribers.hand_over(subscriber, through=1)
    assert room.subscribers.hand_over(subscriber, through=2)


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_is_not_handed_over_by_somebody_of_another_generation(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    (taken,) = room.subscribers.take_back([subscriber])

    assert not room.subscribers.hand_over(subscriber, through=1)
    assert room.kept(subscriber) == taken
    assert room.subscribers.hand_over(taken, through=1)


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_that_left_is_not_handed_over(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    room.subscribers.leave(subscriber)

    assert not room.subscribers.hand_over(subscriber, through=1)
    assert room.kept(subscriber) is None


@pytest.mark.parametrize("page", [0, 1])
def test_nothing_is_made_for_a_subscriber_whose_page_is_no_more(room: Room, page: int) -> None:
    stranger = a_subscriber(uuid4(), page=page)

    assert not room.subscribers.hand_over(stranger, through=1)
    assert room.subscribers.take_back([stranger]) == []
    assert room.subscribers.fan_out(stranger.order_id, 1) == ()
    room.subscribers.leave(stranger)

    assert room.kept(stranger) is None
    with pytest.raises(UnknownOrder):
        room.journal.read(stranger.order_id)


def test_an_append_returns_the_subscribers_of_its_moment(room: Room) -> None:
    here, there = room.join("here"), room.join("there")
    room.subscribers.hand_over(here, through=1)

    seen = {one.connection_id: one for one in room.append().subscribers}

    assert seen == {"here": replace(here, sent_through=1, live_after=1), "there": there}


@pytest.mark.parametrize("page", [0, 1])
def test_of_a_handover_and_a_fan_out_at_once_one_knows_of_the_other(room: Room, page: int) -> None:
    for full in range(page):
        room.fill(full)
    for number in range(15):
        subscriber = room.join(f"connection-{number}")
        assert subscriber.page == page
        sequence, start = room.claim.record.sequence, threading.Barrier(2, timeout=10)

        def hand_over(
            subscriber: Subscriber = subscriber, sequence: int = sequence, start: threading.Barrier = start
        ) -> bool:
            start.wait()
            return room.subscribers.hand_over(subscriber, through=sequence)

        with ThreadPoolExecutor(1) as pool:
            handing_over = pool.submit(hand_over)
            start.wait()
            seen = {one.connection_id: one for one in room.fan_out()}[subscriber.connection_id]
            handed_over = handing_over.result()

        # Either the publisher posts the new event to it, or notify was told to go on.
        assert (seen.live_after is not None) is handed_over


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_sees_every_status_once_and_in_order_while_a_worker_publishes(room: Room, page: int) -> None:
    clock, gate = Timeline(), Gate()
    connections = {name: Socket() for name in ("a", "b", "c")}
    sockets = MemorySockets(gate, connections)
    publisher = Publisher(room.journal, room.subscribers, sockets, MemoryNotifyRequests(gate), clock)
    notify = Notifier(room.journal, room.subscribers, sockets, clock)
    for full in range(page):
        room.fill(full)
    watching = [room.join(name) for name in connections]
    start = threading.Barrier(len(watching) + 1, timeout=10)

    def notifier(subscriber: Subscriber) -> None:
        start.wait()
        notify.notify(subscriber)

    with ThreadPoolExecutor(len(watching)) as pool:
        caught_up = [pool.submit(notifier, subscriber) for subscriber in watching]
        start.wait()
        for _ in range(20):
            record = advanced(room.claim.record, OrderStatus.ROUTING, clock(), attempt=1)
            room.claim = publisher.publish(room.claim, record)
        for future in caught_up:
            future.result()

    assert {name: socket.sequences for name, socket in connections.items()} == {
        name: list(range(1, 22)) for name in connections
    }


# --- turn -----------------------------------------------------------------------------------------------------


def test_a_turn_returns_everybody_on_all_further_pages_and_nobody_of_the_first(room: Room) -> None:
    room.fill(0)
    joined = [room.join(f"further-{number}") for number in range(45)]

    turned = room.subscribers.fan_out(room.order_id, 2)

    assert set(turned) == set(joined)
    assert room.journal.read(room.order_id).sequence == 1


def test_a_turn_that_is_repeated_or_late_changes_nothing_and_still_returns_everybody(room: Room) -> None:
    subscriber = room.join_page(1)
    room.subscribers.fan_out(room.order_id, 5)

    for sequence in (5, 3):
        assert room.subscribers.fan_out(room.order_id, sequence) == (subscriber,)

    page = room.page_item(1)
    assert page is not None
    assert page["sequence"] == {"N": "5"}


def test_a_page_that_expires_while_it_is_turned_is_not_made_anew(room: Room) -> None:
    room.join_page(1)

    class Expires(OneAtATime):
        """A client before whose updates DynamoDB deletes the page."""

        def update_item(self, **arguments: Any) -> Any:
            room.dynamodb.delete_item(TableName=SUBSCRIBER_PAGES, Key=room.page_key(1))
            return room.dynamodb.update_item(**arguments)

    assert a_table_of_subscribers(Expires(room.dynamodb)).fan_out(room.order_id, 2) == ()
    assert room.page_item(1) is None


def test_an_order_without_further_pages_turns_nobody(room: Room) -> None:
    room.join()

    assert room.subscribers.fan_out(room.order_id, 2) == ()


def test_the_pages_are_turned_only_while_there_is_time_for_each(room: Room) -> None:
    room.join_page(1)
    left = iter([limits.DYNAMODB, limits.DYNAMODB - 0.01])

    with limits.invocation(lambda: next(left)), pytest.raises(OutOfTime):
        room.subscribers.fan_out(room.order_id, 2)


# --- take back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_taken_back_is_notifys_again_with_a_generation_of_its_own(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    room.subscribers.hand_over(subscriber, through=1)

    taken = room.subscribers.take_back([subscriber])

    assert taken == [replace(subscriber, sent_through=0, live_after=None, generation=2)]
    assert room.kept(subscriber) == taken[0]


def test_each_taking_back_has_another_generation(room: Room) -> None:
    subscriber = room.join()

    generations = [room.subscribers.take_back([subscriber])[0].generation for _ in range(3)]

    assert generations == [2, 3, 4]


@pytest.mark.parametrize("page", [0, 1])
def test_a_whole_page_is_taken_back_by_one_write_each_after_what_it_has_had(room: Room, page: int) -> None:
    for full in range(page):
        room.fill(full)
    joined = [room.join(f"connection-{number}=") for number in range(20)]
    for one in joined:
        room.subscribers.hand_over(one, through=1)
    wanted = [replace(one, sent_through=number) for number, one in enumerate(joined)]

    with counted_calls(room.dynamodb) as calls:
        taken = room.subscribers.take_back(wanted)

    assert sum(calls.values()) == 1
    assert taken == [replace(one, generation=2) for one in wanted]
    assert set(room.fan_out()) >= set(taken)


@pytest.mark.parametrize("page", [0, 1])
def test_those_who_left_are_left_out_and_the_others_taken_back(room: Room, page: int) -> None:
    for full in range(page):
        room.fill(full)
    joined = [room.join(name) for name in ("a", "b", "c")]
    for one in joined:
        room.subscribers.hand_over(one, through=1)
    room.subscribers.leave(joined[1])

    taken = room.subscribers.take_back(joined)

    assert taken == [replace(one, generation=2) for one in (joined[0], joined[2])]
    assert room.kept(joined[1]) is None


def test_who_leaves_while_the_others_are_taken_back_is_left_out_too(room: Room) -> None:
    joined = [room.join(name) for name in ("a", "b", "c")]
    leaving = iter(joined[:2])

    class LosesRaces(OneAtATime):
        """A client before whose updates somebody leaves."""

        def update_item(self, **arguments: Any) -> Any:
            if one := next(leaving, None):
                room.subscribers.leave(one)
            return room.dynamodb.update_item(**arguments)

    taken = a_table_of_subscribers(LosesRaces(room.dynamodb)).take_back(joined)

    assert taken == [replace(joined[2], generation=2)]


def test_nobody_is_taken_back_if_all_have_left(room: Room) -> None:
    joined = [room.join(name) for name in ("a", "b")]
    for one in joined:
        room.subscribers.leave(one)

    assert room.subscribers.take_back(joined) == []
    assert room.subscribers.take_back([]) == []


# --- leave ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_a_connection_that_left_is_forgotten_in_both_places_and_no_other_is(room: Room, page: int) -> None:
    leaving = room.join_page(page, "leaving")
    staying = room.join("staying")

    with counted_calls(room.dynamodb) as calls:
        room.subscribers.leave(leaving)

    table = SUBSCRIBER_PAGES if page else JOURNAL
    assert calls == {("UpdateItem", table): 1, ("DeleteItem", CONNECTIONS): 1}
    assert room.kept(leaving) is None
    assert room.row("leaving") is None
    assert room.kept(staying) == staying
    assert room.row("staying") is not None


def test_a_connection_may_leave_twice_and_without_ever_having_joined(room: Room) -> None:
    subscriber = room.join()

    for one in (subscriber, subscriber, a_subscriber(room.order_id, "nobody")):
        room.subscribers.leave(one)

    assert room.journal.read(room.order_id).subscribers == ()


@pytest.mark.parametrize("page", [0, 1])
def test_a_subscriber_leaves_though_its_connections_row_is_gone(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    room.dynamodb.delete_item(TableName=CONNECTIONS, Key={"connectionId": {"S": "connection="}})

    room.subscribers.leave(subscriber)

    assert room.kept(subscriber) is None


@pytest.mark.parametrize("page", [0, 1])
def test_a_connection_whose_order_or_page_has_expired_may_leave(room: Room, page: int) -> None:
    subscriber = room.join_page(page)
    room.dynamodb.delete_item(TableName=JOURNAL, Key=room.key)
    room.dynamodb.delete_item(TableName=SUBSCRIBER_PAGES, Key=room.page_key(1))

    room.subscribers.leave(subscriber)

    assert room.row() is None
    assert room.page_item(1) is None


def test_who_could_not_leave_its_page_is_found_by_its_connection_still(room: Room) -> None:
    subscriber = room.join()
    away = DynamoSubscribers(room.dynamodb, CONNECTIONS, SUBSCRIBER_PAGES, "no such table")

    with pytest.raises(ServiceUnavailable):
        away.leave(subscriber)

    assert room.subscribers.find("connection=") is not None


def test_subscribers_do_not_get_in_the_way_of_the_order(room: Room) -> None:
    room.join()
    before = room.claim.record.events

    room.append()
    room.journal.release(room.claim, closed=True)

    after = room.journal.read(room.order_id)
    assert after.events[:-1] == before
    assert [one.connection_id for one in after.subscribers] == ["connection="]


@pytest.mark.parametrize("page", [0, 1])
def test_subscribers_that_do_not_respond_are_unavailable(dynamodb: Any, page: int) -> None:
    away = DynamoSubscribers(dynamodb, "no such table", "no such table either", "nor this one")
    subscriber = a_subscriber(uuid4(), page=page)

    for call in (
        lambda: away.join(subscriber),
        lambda: away.find("connection="),
        lambda: away.read(subscriber),
        lambda: away.hand_over(subscriber, 1),
        lambda: away.fan_out(subscriber.order_id, 1),
        lambda: away.take_back([subscriber]),
        lambda: away.leave(subscriber),
    ):
        with pytest.raises(ServiceUnavailable):
            call()
