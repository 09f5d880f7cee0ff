"""What a subscriber may ask for, and the refusal that it gets for anything else."""

from typing import Any

import pytest
from order_engine.domain.errors import InvalidRequest, RequestRefused, ServiceUnavailable
from order_engine.domain.subscriber import Subscriber

from tests.doubles.gate import Mode, Service, Troubles
from tests.doubles.platform import Platform
from tests.doubles.services import Socket
from tests.doubles.tables import Tables
from tests.support.builders import an_order

NAME = "connection="


class Door:
    """A subscription over services in memory, with one order in the journal, whose page 0 is full or not."""

    def __init__(self, page_size: int = 20) -> None:
        self.troubles = Troubles()
        self.platform = Platform(tables=Tables(page_size=page_size), by_hand=True)
        self.platform.gate.faults = self.troubles
        self.order = self.platform.journal.create(OrderRecord.accepted(an_order()), "").order
        self.subscription = self.platform.subscription()
        self.socket = self.platform.sockets[NAME] = Socket()

    def join(self, after: str | None = None) -> None:
        self.subscription.join(NAME, str(self.order.order_id), after)

    def say(self, text: str) -> None:
        self.subscription.hear(NAME, text)

    @property
    def kept(self) -> dict[str, Subscriber]:
        return self.platform.tables.watching(self.order.order_id)

    @property
    def asked(self) -> list[Subscriber]:
        return self.platform.notify_requests.requested

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [message for _, message in self.socket.received]


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(params=[0, 1])
def room(request: pytest.FixtureRequest) -> Door:
    """Where whoever joins next is kept on page 0, or on page 1."""
    door = Door(page_size=1)
    if request.param:
        door.subscription.join("first", str(door.order.order_id), None)
        door.asked.clear()
    return door


@pytest.mark.parametrize(("after", "sent_through"), [(None, 0), ("", 0), ("0", 0), ("2", 2), ("007", 7)])
def test_a_subscriber_is_kept_and_brought_up_to_date(room: Door, after: str | None, sent_through: int) -> None:
    room.join(after)

    kept = room.kept[NAME]
    assert (kept.sent_through, kept.live_after) == (sent_through, None)
    assert room.asked == [kept]


def test_the_five_hundred_and_first_subscriber_is_refused(door: Door) -> None:
    door.platform.tables.page_size, door.platform.tables.pages = 0, 1

    with pytest.raises(RequestRefused) as caught:
        door.join()

    assert (caught.value.status, caught.value.code) == (429, "TOO_MANY_SUBSCRIBERS")
    assert door.asked == []


@pytest.mark.parametrize(
    ("order_id", "status", "code"),
    [
        (None, 400, "INVALID_FIELD"),
        ("", 400, "INVALID_FIELD"),
        ("order-1", 400, "INVALID_FIELD"),
        ("4b3a3a5c-9a5c-4d5e-8f27", 400, "INVALID_FIELD"),
        ("4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11", 404, "UNKNOWN_ORDER"),
    ],
)
def test_an_unknown_order_refuses_the_handshake(door: Door, order_id: str | None, status: int, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        door.subscription.join(NAME, order_id, None)

    assert (caught.value.status, caught.value.code) == (status, code)
    assert [error.field for error in caught.value.errors] == (["orderId"] if status == 400 else [])
    assert door.asked == []


@pytest.mark.parametrize("after", ["-1", "1.5", "two", "+1", " 1", "٢", "9999999999"])
def test_an_after_that_is_no_sequence_refuses_the_handshake(door: Door, after: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        door.join(after)

    assert caught.value.status == 400
    assert [error.field for error in caught.value.errors] == ["after"]
    assert door.kept == {}


def test_a_subscriber_that_leaves_is_forgotten_and_may_leave_again(room: Door) -> None:
    room.join()

    room.subscription.leave(NAME)
    room.subscription.leave(NAME)

    assert NAME not in room.kept


def test_a_subscriber_whose_leaving_was_cut_short_is_forgotten_at_the_next_try(room: Door) -> None:
    room.join()
    room.troubles.coming["forget_connection"] = [Mode.FAIL_BEFORE]

    with pytest.raises(ServiceUnavailable):
        room.subscription.leave(NAME)
    room.subscription.leave(NAME)

    assert NAME not in room.kept
    assert room.platform.tables.connections.get(NAME) is None


def test_ping_is_answered_with_pong(door: Door) -> None:
    door.say('{"action":"ping"}')

    assert door.answers == [{"type": "pong"}]


@pytest.mark.parametrize(
    ("text", "sent_through"),
    [('{"action":"replay","after":2}', 2), ('{"action":"replay","after":"2"}', 2), ('{"action":"replay"}', 0)],
)
def test_a_replay_makes_notify_the_writer_again(room: Door, text: str, sent_through: int) -> None:
    room.join()
    assert room.platform.subscribers.hand_over(room.kept[NAME], through=1)

    room.say(text)

    kept = room.kept[NAME]
    assert (kept.sent_through, kept.live_after, kept.generation) == (sent_through, None, 2)
    assert room.asked[-1] == kept
    assert room.answers == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "INVALID_JSON"),
        ("hello", "INVALID_JSON"),
        ("[" * 100_000, "INVALID_JSON"),
        ('"ping"', "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ("null", "INVALID_JSON"),
        ("{}", "UNKNOWN_ACTION"),
        ('{"action":"cancel"}', "UNKNOWN_ACTION"),
        ('{"action":["ping"]}', "UNKNOWN_ACTION"),
        ('{"action":"replay","after":-1}', "INVALID_FIELD"),
        ('{"action":"replay","after":1.5}', "INVALID_FIELD"),
        ('{"action":"replay","after":true}', "INVALID_FIELD"),
        ('{"action":"replay","after":null}', "INVALID_FIELD"),
        ('{"action":"replay","after":[1]}', "INVALID_FIELD"),
        ('{"action":"replay","after":NaN}', "INVALID_FIELD"),
    ],
    ids=lambda value: value[:32],
)
def test_a_message_that_makes_no_sense_gets_an_error_and_changes_nothing(door: Door, text: str, code: str) -> None:
    door.join()
    before = door.kept

    door.say(text)

    (answer,) = door.answers
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["detail"]
    assert door.kept == before


def test_a_replay_on_a_connection_that_is_not_kept_is_told_to_connect_again(door: Door) -> None:
    door.say('{"action":"replay"}')

    assert [answer["code"] for answer in door.answers] == ["UNKNOWN_CONNECTION"]
    assert door.asked == []


@pytest.mark.parametrize("gone", [True, False])
def test_an_answer_that_does_not_arrive_is_nobodys_fault(door: Door, gone: bool) -> None:
    door.socket.closed = gone
    door.troubles.away = set() if gone else {Service.SOCKETS}

    door.say('{"action":"ping"}')

    assert door.answers == []
