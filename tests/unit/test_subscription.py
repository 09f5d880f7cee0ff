"""What a subscriber may ask for, and the refusal that it gets for anything else."""

from typing import Any

import pytest
from order_engine.domain.errors import InvalidRequest
from order_engine.entrypoints.socket_messages import answer, parse_query

from tests.doubles.gate import Service
from tests.doubles.services import Socket
from tests.unit.deployment import Deployment

NAME = "connection="
ORDER_ID = "4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"


class Door(Deployment):
    """A subscription to the order."""

    def __init__(self) -> None:
        super().__init__()
        self.subscription = self.platform.subscription()
        self.socket = self.platform.sockets[NAME] = Socket()

    def join(self, after: int = 0) -> None:
        self.subscription.join(NAME, self.order_id, after)

    def say(self, text: str) -> list[dict[str, Any]]:
        """What is posted to the socket in return."""
        answer(self.subscription, NAME, text)
        return [message for _, message in self.socket.received]


@pytest.fixture
def door() -> Door:
    return Door()


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "parsed"), [(None, 0), ("", 0), ("0", 0), ("2", 2), ("007", 7)])
def test_a_query_names_an_order_and_where_to_resume(after: str | None, parsed: int) -> None:
    order_id, resume_after = parse_query({"orderId": ORDER_ID} | ({} if after is None else {"after": after}))

    assert (str(order_id), resume_after) == (ORDER_ID, parsed)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(({"orderId": order_id}, "orderId") for order_id in ("", "order-1", ORDER_ID[:-4])),
        *(({"orderId": ORDER_ID, "after": it}, "after") for it in ("-1", "1.5", "two", "+1", " 1", "٢", "9" * 10)),
        ({}, "orderId"),
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
    [('{"action":"replay","after":2}', 2), ('{"action":"replay","after":"2"}', 2), ('{"action":"replay"}', 0)],
)
def test_a_replay_makes_notify_the_writer_again(door: Door, text: str, after: int) -> None:
    door.join()
    assert door.platform.subscribers.hand_over(door.kept[NAME], through=1)

    assert door.say(text) == []

    kept = door.kept[NAME]
    assert (kept.sent_through, kept.live_after, kept.generation) == (after, None, 2)
    assert door.platform.notify_requests.requested[-1] == kept


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, "INVALID_JSON") for text in ("", "hello", "[" * 100_000, '"ping"', "[]", "null")),
        *((text, "UNKNOWN_ACTION") for text in ("{}", '{"action":"cancel"}', '{"action":["ping"]}')),
        *(
            (f'{{"action":"replay","after":{after}}}', "INVALID_FIELD")
            for after in ("-1", "1.5", "true", "null", "[1]", "NaN")
        ),
    ],
    ids=lambda value: value[:32],
)
def test_a_message_that_is_wrong_gets_an_error_and_changes_nothing(door: Door, text: str, code: str) -> None:
    door.join()
    before = door.kept

    (error,) = door.say(text)

    assert (error["type"], error["code"]) == ("error", code)
    assert error["detail"]
    assert door.kept == before


def test_a_replay_on_a_connection_that_is_not_kept_is_refused(door: Door) -> None:
    assert [error["code"] for error in door.say('{"action":"replay"}')] == ["UNKNOWN_CONNECTION"]
    assert door.requested == []


@pytest.mark.parametrize("gone", [True, False])
def test_a_socket_that_can_not_be_reached_raises_nothing(door: Door, gone: bool) -> None:
    door.socket.closed = gone
    door.troubles.away = set() if gone else {Service.SOCKETS}

    assert door.say('{"action":"ping"}') == []
