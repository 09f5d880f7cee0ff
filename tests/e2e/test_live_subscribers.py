"""Subscribers that come late, leave early, resume, ask, and say what nobody understands."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest
from websockets.exceptions import InvalidStatus

from local.client import Message
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for


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
        ("", 400, "INVALID_FIELD"),
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
    assert all(item["orderId"]["S"] not in query for item in system.items("ConnectionsTableName"))
