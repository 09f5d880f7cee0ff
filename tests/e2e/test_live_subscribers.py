"""Subscribers that come late, leave early, resume, ask, and say what nobody understands."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest
from websockets.exceptions import InvalidStatus

from tests.e2e.system import FIVE, System, Watcher, an_order, sequences, statuses, wait_for
from tests.support.raw_client import Message


@pytest.fixture(scope="module")
def confirmed(system: System) -> list[Message]:
    """The life of an order that is over."""
    return system.life_of(an_order())


@pytest.fixture(scope="module")
def order_id(confirmed: list[Message]) -> str:
    return str(confirmed[0]["orderId"])


@pytest.fixture
def slow(system: System) -> Iterator[System]:
    """The system with swaps that take long enough for a conversation."""
    with system.rehosted({"VENUE_SWAP_LATENCY_MS": 3000, "VENUE_VALIDITY_SECONDS": 10}, ["route_execute"]):
        yield system


@pytest.mark.parametrize("after", [None, 0, 2, 4, 5])
def test_a_late_subscriber_gets_exactly_what_it_has_not_had_and_is_closed(
    system: System, confirmed: list[Message], order_id: str, after: int | None
) -> None:
    with system.watching(order_id, after=after) as watcher:
        assert watcher.to_the_close() == confirmed[after or 0 :]


def test_a_subscriber_whose_connection_broke_resumes_where_it_was(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as watcher:
        before = watcher.until("routing")

    with system.watching(order_id, after=before[-1]["sequence"]) as watcher:
        life = before + watcher.to_the_close()

    assert statuses(life) == FIVE
    assert sequences(life) == [1, 2, 3, 4, 5]


def test_a_subscriber_that_leaves_does_not_disturb_the_others(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as first, system.watching(order_id) as last:
        with system.watching(order_id) as leaving:
            assert leaving.next()["sequence"] == 1

        lives = [first.to_the_close(), last.to_the_close()]

    assert lives[0] == lives[1]
    assert statuses(lives[0]) == FIVE
    assert sequences(lives[0]) == [1, 2, 3, 4, 5]


def test_a_connection_that_was_closed_is_forgotten(slow: System) -> None:
    order_id = slow.submit(an_order())["orderId"]
    with slow.watching(order_id) as staying:
        with slow.watching(order_id) as leaving:
            leaving.until("submitted")
            assert len(slow.connections(order_id)) == 2
        wait_for(lambda: len(slow.connections(order_id)) == 1, "the subscriber that has left is forgotten")
        staying.to_the_close()

    wait_for(lambda: not slow.connections(order_id), "the subscriber that the server closed is forgotten")
    assert slow.journal_item(order_id)["subscribers"]["M"] == {}


def test_a_replay_sends_everything_after_a_sequence_once_more(slow: System) -> None:
    with slow.watching(slow.submit(an_order())["orderId"]) as watcher:
        life = watcher.until("submitted")
        for after in (0, 3):
            watcher.say({"action": "replay", "after": after})
            assert watcher.until("submitted") == life[after:]
        assert watcher.up_to_pong() == []

        assert statuses(watcher.to_the_close()) == ["confirmed"]


def test_what_is_not_understood_gets_an_error_and_the_statuses_go_on(slow: System) -> None:
    said = {
        "hello?": "INVALID_JSON",
        "[1, 2]": "INVALID_JSON",
        '{"action": "cancel"}': "UNKNOWN_ACTION",
        "{}": "UNKNOWN_ACTION",
        '{"action": "$disconnect"}': "UNKNOWN_ACTION",
        '{"action": "$connect"}': "UNKNOWN_ACTION",
        '{"action": "replay", "after": -1}': "INVALID_FIELD",
        '{"action": "replay", "after": "soon"}': "INVALID_FIELD",
    }
    with slow.watching(slow.submit(an_order())["orderId"]) as watcher:
        for text in said:
            watcher.socket.send(text)
        received = watcher.to_the_close()

    errors = [message for message in received if "status" not in message]
    assert sorted(error["code"] for error in errors) == sorted(said.values())
    assert all(error["type"] == "error" and set(error) == {"type", "code", "detail"} for error in errors)
    assert sequences([message for message in received if "status" in message]) == [1, 2, 3, 4, 5]


_NO_ORDER = UUID(int=0)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?orderId=", 400, "INVALID_FIELD"),
        ("?orderid={known}", 400, "INVALID_FIELD"),
        ("?orderId=no-uuid", 400, "INVALID_FIELD"),
        (f"?orderId={_NO_ORDER}", 404, "UNKNOWN_ORDER"),
        ("?orderId={known}&after=last", 400, "INVALID_FIELD"),
    ],
)
def test_a_handshake_without_an_order_to_watch_is_refused_with_a_problem(
    system: System, order_id: str, query: str, status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal, system.socket(query.format(known=order_id)):
        pass

    response = refusal.value.response
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = json.loads(response.body or b"")
    assert (problem["status"], problem["code"]) == (status, code)
    assert not [one for item in system.items("ConnectionsTableName") for one in item["orders"]["M"] if one in query]


# --- one socket, many orders ------------------------------------------------------------------------------------------


def test_one_socket_watches_many_orders_and_stays_open(system: System) -> None:
    orders = [system.submit(an_order())["orderId"] for _ in range(5)]
    with system.socket("") as socket:
        watcher = Watcher(socket)
        for order_id in orders:
            watcher.say({"action": "subscribe", "orderId": order_id})
        heard: dict[str, list[Message]] = {order_id: [] for order_id in orders}
        while not all(statuses(life)[-1:] == ["confirmed"] for life in heard.values()):
            message = watcher.next()
            if "sequence" in message:
                heard[message["orderId"]].append(message)
        assert [one for one in watcher.up_to_pong() if "type" not in one] == []

    assert [statuses(life) for life in heard.values()] == [FIVE] * 5
    wait_for(lambda: not system.connections(orders[0]), "nobody watches any more")


def test_an_order_that_is_over_is_let_go_of_and_may_be_watched_once_more(
    system: System, confirmed: list[Message], order_id: str
) -> None:
    with system.socket("") as socket:
        watcher = Watcher(socket)
        for after in (0, 3):
            watcher.say({"action": "subscribe", "orderId": order_id, "after": after})
            assert [one for one in watcher.to_the_end() if "sequence" in one] == confirmed[after:]
            watcher.up_to_pong()
            wait_for(lambda: not system.connections(order_id), "it is let go of")


def test_an_order_unsubscribed_from_is_heard_of_no_more(slow: System) -> None:
    leaving, staying = (slow.submit(an_order())["orderId"] for _ in range(2))
    with slow.socket(f"?orderId={leaving}") as socket:
        watcher = Watcher(socket)
        watcher.say({"action": "subscribe", "orderId": staying})
        heard = watcher.until("subscribed")
        watcher.say({"action": "unsubscribe", "orderId": leaving})
        heard += watcher.until("unsubscribed")
        assert heard[-1] == {"type": "unsubscribed", "orderId": leaving}
        heard = []
        while not any(message["status"] == "confirmed" for message in heard):
            heard += [message for message in [watcher.next()] if "status" in message]
        assert {slow.row_of(order_id)["status"] for order_id in (leaving, staying)} == {"confirmed"}
        heard += watcher.up_to_pong()  # and the socket stays open, though it was opened for an order

    # What was under way may have come.
    assert {message["orderId"] for message in heard if message["status"] == "confirmed"} == {staying}
