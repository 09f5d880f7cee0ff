"""What a subscriber may ask for, and the refusal that it gets for anything else."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.journal.connections import MESSAGES, MOST_ORDERS
from order_engine.adapters.journal.subscribers import PAGE_SIZE
from order_engine.domain.access import ANYBODY, StreamSecrets
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.refusals import InvalidRequest
from order_engine.domain.subscriber import OVERDUE_AFTER, Connection, Subscriber
from order_engine.entrypoints.socket_messages import Handshake, answer, parse_query

from tests.doubles.gate import Mode, Service
from tests.doubles.services import Socket
from tests.doubles.tables import OrderItem, Page
from tests.support.builders import a_record, an_order
from tests.unit.deployment import Deployment

NAME = "connection="
ORDER_ID = "4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"


# What is said for a message, by the message.
MALFORMED = {
    **dict.fromkeys(("", "hello", "[" * 100_000, '"ping"', "[]", "null"), "INVALID_JSON"),
    **dict.fromkeys(("{}", '{"action":"cancel"}', '{"action":["ping"]}'), "UNKNOWN_ACTION"),
    **{
        f'{{"action":"replay","after":{after}}}': "INVALID_FIELD"
        for after in ("-1", "1.5", "true", "null", "[1]", "NaN")
    },
    **{
        f'{{"action":"{action}","orderId":{order_id}}}': "INVALID_FIELD"
        for action in ("subscribe", "unsubscribe")
        for order_id in ('"order-1"', "5", '""', "null", "[]")
    },
    '{"action":"replay","orderId":"order-1"}': "INVALID_FIELD",
    f'{{"action":"subscribe","orderId":"{ORDER_ID}","token":5}}': "INVALID_FIELD",
    f'{{"action":"subscribe","orderId":"{ORDER_ID}","after":-1}}': "INVALID_FIELD",
}


class Door(Deployment):
    """A subscription to the order."""

    def __init__(self) -> None:
        super().__init__()
        self.subscription = self.platform.subscription()
        self.socket = self.platform.sockets[NAME] = Socket()

    def join(self, after: int = 0) -> None:
        self.subscription.join(NAME, self.order_id, after)

    def open(self) -> None:
        """A connection without an order."""
        self.subscription.open(NAME, ANYBODY)

    def another_order(self) -> UUID:
        record = a_record(order=an_order())
        self.platform.tables.orders[record.order.order_id] = OrderItem(record)
        return record.order.order_id

    @property
    def further(self) -> list[Page]:
        """The order's further pages."""
        return [*self.platform.tables.further.get(self.order_id, {}).values()]

    @property
    def orders(self) -> dict[UUID, int]:
        """What the connection watches."""
        return dict(self.platform.tables.connections[NAME].connection.orders)

    def about(self, what: str) -> dict[str, str]:
        """What the socket is told of the order."""
        return {"type": what, "orderId": str(self.order_id)}

    def say(self, text: str) -> list[dict[str, Any]]:
        """All that was posted to the socket by then."""
        answer(self.platform.access, self.subscription, NAME, text.replace("<it>", str(self.order_id)))
        return [message for _, message in self.socket.received]


@pytest.fixture
def door() -> Door:
    return Door()


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "parsed"), [(None, 0), ("", 0), ("0", 0), ("2", 2), ("007", 7)])
def test_a_query_names_an_order_and_where_to_resume(after: str | None, parsed: int) -> None:
    asked = parse_query({"orderId": ORDER_ID} | ({} if after is None else {"after": after}))

    assert (str(asked.order_id), asked.after) == (ORDER_ID, parsed)


@pytest.mark.parametrize("query", [{}, {"token": "t"}])
def test_a_query_may_name_no_order(query: dict[str, str]) -> None:
    assert parse_query(query) == Handshake(None, 0, query.get("token"))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(({"orderId": order_id}, "orderId") for order_id in ("", "order-1", ORDER_ID[:-4])),
        *(({"orderId": ORDER_ID, "after": it}, "after") for it in ("-1", "1.5", "two", "+1", " 1", "٢", "9" * 10)),
        *((query, "orderId") for query in ({"orderid": ORDER_ID}, {"after": "2"}, {"token": "t", "x": ""})),
    ],
)
def test_a_query_that_is_wrong_is_refused_with_its_field(query: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_query(query)

    assert caught.value.code == "INVALID_FIELD"
    assert [error.field for error in caught.value.errors] == [field]


@pytest.mark.parametrize("after", [0, 2])
def test_a_subscriber_is_kept_and_brought_up_to_date(door: Door, after: int) -> None:
    door.join(after=after)

    kept = door.kept[NAME]
    assert (kept.sent_through, kept.live_after) == (after, None)
    assert door.platform.notify_requests.requested == [kept]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_ping_gets_a_pong(door: Door) -> None:
    assert door.say('{"action":"ping"}') == [{"type": "pong"}]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ('{"action":"replay","after":2}', 2),
        ('{"action":"replay","after":"2"}', 2),
        ('{"action":"replay"}', 0),
        ('{"action":"replay","orderId":null}', 0),
        ('{"action":"replay","after":1,"orderId":"<it>"}', 1),
    ],
)
def test_a_replay_makes_notify_the_writer_again(door: Door, text: str, after: int) -> None:
    door.join()
    assert door.platform.subscribers.hand_over(door.kept[NAME], through=1)

    assert door.say(text.replace("<it>", str(door.order_id))) == []

    kept = door.kept[NAME]
    assert (kept.sent_through, kept.live_after, kept.generation) == (after, None, 2)
    assert door.platform.notify_requests.requested[-1] == kept


def test_a_replay_is_refused_while_statuses_are_under_way(door: Door) -> None:
    door.join()

    assert [error["code"] for error in door.say('{"action":"replay"}')] == ["REPLAY_UNDER_WAY"]
    assert len(door.requested) == 1


@pytest.mark.parametrize("text", MALFORMED, ids=lambda value: value[:32])
def test_a_message_that_is_wrong_gets_an_error_and_changes_nothing(door: Door, text: str) -> None:
    door.join()
    before = door.kept

    (error,) = door.say(text)

    assert (error["type"], error["code"]) == ("error", MALFORMED[text])
    assert error["detail"]
    assert door.kept == before


@pytest.mark.parametrize("action", ["replay", "subscribe", "unsubscribe"])
def test_on_a_connection_that_is_not_kept_nothing_can_be_asked_for(door: Door, action: str) -> None:
    told = door.say(f'{{"action":"{action}","orderId":"{door.order_id}"}}')

    assert [(error["code"], error["orderId"]) for error in told] == [("UNKNOWN_CONNECTION", str(door.order_id))]
    assert door.requested == []


@pytest.mark.parametrize("gone", [True, False])
def test_a_socket_that_can_not_be_reached_raises_nothing(door: Door, gone: bool) -> None:
    door.socket.closed = gone
    door.troubles.away = set() if gone else {Service.SOCKETS}

    assert door.say('{"action":"ping"}') == []


def test_a_connection_may_send_so_many_messages_and_replays_count_for_ten(door: Door) -> None:
    door.open()
    for _ in range(MESSAGES.limit - 10):
        door.platform.subscription().hear(NAME, 1)

    refused = [door.say('{"action":"replay","after":0,"orderId":"<it>"}') for _ in range(2)][-1]

    assert [error["code"] for error in refused] == ["NOT_SUBSCRIBED", "TOO_MANY_MESSAGES"]


# --- many orders on one socket ----------------------------------------------------------------------------------------


def test_a_connection_is_subscribed_to_orders_and_unsubscribed(door: Door) -> None:
    door.open()

    assert door.say('{"action":"subscribe","orderId":"<it>","after":1}') == [door.about("subscribed")]
    kept = door.kept[NAME]
    assert (kept.sent_through, kept.live_after) == (1, None)
    assert door.platform.notify_requests.requested == [kept]
    assert door.orders == {door.order_id: 0}

    assert door.say('{"action":"unsubscribe","orderId":"<it>"}')[1:] == [door.about("unsubscribed")]
    assert (door.kept, door.orders) == ({}, {})
    assert door.say('{"action":"unsubscribe","orderId":"<it>"}')[-1]["code"] == "NOT_SUBSCRIBED"


def test_subscribing_twice_is_a_replay(door: Door) -> None:
    door.open()
    told = [door.say('{"action":"subscribe","orderId":"<it>"}')[-1] for _ in range(2)]
    assert door.platform.subscribers.hand_over(door.kept[NAME], through=1)
    told += door.say('{"action":"subscribe","orderId":"<it>","after":1}')[-1:]

    assert [one.get("code", one["type"]) for one in told] == ["subscribed", "REPLAY_UNDER_WAY", "subscribed"]
    kept = door.kept[NAME]
    assert (kept.sent_through, kept.generation, kept.live_after) == (1, 2, None)
    assert door.platform.notify_requests.requested[-1] == kept


def test_what_was_struck_while_it_was_noted_is_subscribed_to_anew(door: Door) -> None:
    """The order is over, and its connection about to be told so."""
    door.open()
    door.say('{"action":"subscribe","orderId":"<it>"}')
    door.platform.subscribers.leave(door.kept[NAME])

    assert door.say('{"action":"subscribe","orderId":"<it>"}')[-1] == door.about("subscribed")
    assert door.kept[NAME].generation == 1
    assert door.orders == {door.order_id: 0}


def test_of_two_copies_of_a_subscribe_one_place_is_kept(door: Door) -> None:
    """Both see the connection as it was before; the order's own page has become full in between."""
    door.open()
    connection = door.platform.tables.connections[NAME].connection
    door.platform.subscription().subscribe(connection, door.order_id, 0, None)
    for number in range(PAGE_SIZE - 1):
        door.platform.subscribers.join(Subscriber(door.order_id, f"other {number}", door.timeline()))

    door.platform.subscription().subscribe(connection, door.order_id, 0, None)

    assert NAME in door.item.subscribers
    assert not any(NAME in page.subscribers for page in door.further)
    assert door.orders == {door.order_id: 0}


@pytest.mark.parametrize("token", ["\\ud800", "é", ""])
def test_a_token_that_is_no_text_is_a_wrong_one(door: Door, token: str) -> None:
    secrets = StreamSecrets.rotated(door.timeline())

    assert not secrets.opens(json.loads(f'"{token}"'), door.order_id)
    assert secrets.connects(json.loads(f'"{token}"'), door.timeline()) is None


def test_a_connection_that_was_opened_for_an_order_may_watch_others(door: Door) -> None:
    other = door.another_order()
    door.join()

    assert door.say(f'{{"action":"subscribe","orderId":"{other}"}}') == [{"type": "subscribed", "orderId": str(other)}]
    assert door.orders == {door.order_id: 0, other: 0}
    assert door.say('{"action":"replay"}')[-1]["detail"] == "orderId is required: this connection watches 2 orders"
    assert not door.platform.connections.end(door.kept[NAME])


def test_an_order_that_is_unknown_is_not_subscribed_to(door: Door) -> None:
    door.open()

    (error,) = door.say(f'{{"action":"subscribe","orderId":"{ORDER_ID}"}}')

    assert (error["code"], error["orderId"]) == ("UNKNOWN_ORDER", ORDER_ID)
    assert door.orders == {}


def test_the_hundred_and_first_order_is_refused_and_leaves_nothing(door: Door) -> None:
    door.open()
    door.platform.tables.connections[NAME].connection = Connection(
        NAME, door.timeline(), {uuid4(): 0 for _ in range(MOST_ORDERS)}, lasting=True
    )

    (error,) = door.say('{"action":"subscribe","orderId":"<it>"}')

    assert error["code"] == "TOO_MANY_SUBSCRIPTIONS"
    assert door.kept == {}


@pytest.mark.parametrize("call", ["add", "send"])
@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER])
def test_a_subscribe_that_failed_is_repeated_until_it_is_told(door: Door, call: str, mode: Mode) -> None:
    door.open()
    door.troubles.coming[call] = [mode]

    with pytest.raises(ServiceUnavailable):
        door.say('{"action":"subscribe","orderId":"<it>"}')
    told = [door.say('{"action":"subscribe","orderId":"<it>"}')[-1] for _ in range(2)]
    door.timeline.wait(OVERDUE_AFTER.total_seconds() + 0.01)
    told += [door.say('{"action":"subscribe","orderId":"<it>"}')[-1]]

    assert door.about("subscribed") in told
    assert door.orders == {door.order_id: 0}
    assert door.requested


def test_who_leaves_is_forgotten_by_all_its_orders(door: Door) -> None:
    other = door.another_order()
    door.open()
    for order_id in (door.order_id, other):
        door.say(f'{{"action":"subscribe","orderId":"{order_id}"}}')

    door.subscription.leave(NAME)

    assert door.kept == door.platform.tables.watching(other) == {}
    assert door.platform.tables.connections == {}
