"""Subscribers that come late, leave early, resume, ask, and say what nobody understands."""

from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus

from local.client import Message
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for


@pytest.fixture(scope="module")
def confirmed(system: System) -> list[Message]:
    """The life of an order that is over."""
    return system.life_of(an_order())


def order_id_of(life: list[Message]) -> str:
    order_id: str = life[0]["orderId"]
    return order_id


def test_a_subscriber_that_joins_after_the_end_gets_all_five_at_once(system: System, confirmed: list[Message]) -> None:
    with system.watching(order_id_of(confirmed)) as watcher:
        assert watcher.take(5) == confirmed
        assert watcher.up_to_pong() == []


@pytest.mark.parametrize("after", [0, 2, 4])
def test_a_subscriber_that_resumes_gets_only_what_came_after(
    system: System, confirmed: list[Message], after: int
) -> None:
    with system.watching(order_id_of(confirmed), after=after) as watcher:
        assert watcher.to_the_end() == confirmed[after:]
        assert watcher.up_to_pong() == []


def test_a_subscriber_that_has_had_everything_gets_nothing_more(system: System, confirmed: list[Message]) -> None:
    with system.watching(order_id_of(confirmed), after=5) as watcher:
        assert watcher.up_to_pong() == []


def test_a_subscriber_whose_connection_broke_resumes_where_it_was(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as watcher:
        before = watcher.until("routing")

    with system.watching(order_id, after=before[-1]["sequence"]) as watcher:
        life = before + watcher.to_the_end()

        assert statuses(life) == FIVE
        assert sequences(life) == [1, 2, 3, 4, 5]
        assert watcher.up_to_pong() == []


def test_a_subscriber_that_leaves_does_not_disturb_the_others(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as first, system.watching(order_id) as last:
        with system.watching(order_id) as leaving:
            assert leaving.next()["sequence"] == 1

        lives = [first.to_the_end(), last.to_the_end()]

    assert lives[0] == lives[1]
    assert statuses(lives[0]) == FIVE
    assert sequences(lives[0]) == [1, 2, 3, 4, 5]


def test_a_connection_that_was_closed_is_forgotten(system: System, confirmed: list[Message]) -> None:
    def connections() -> list[str]:
        items = system.items("ConnectionsTableName")
        return [item["connectionId"]["S"] for item in items if item["orderId"]["S"] == order_id_of(confirmed)]

    wait_for(lambda: not connections(), "the earlier subscribers are forgotten")
    with system.watching(order_id_of(confirmed)) as watcher:
        watcher.to_the_end()
        assert len(connections()) == 1

    wait_for(lambda: not connections(), "the subscriber that has left is forgotten")
    assert system.journal_item(order_id_of(confirmed))["subscribers"]["M"] == {}


@pytest.mark.parametrize("after", [0, 3])
def test_a_replay_sends_everything_after_a_sequence_once_more(
    system: System, confirmed: list[Message], after: int
) -> None:
    with system.watching(order_id_of(confirmed)) as watcher:
        watcher.to_the_end()

        watcher.say({"action": "replay", "after": after})

        assert watcher.to_the_end() == confirmed[after:]
        assert watcher.up_to_pong() == []


def test_a_replay_while_the_order_runs_leaves_no_gap(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as watcher:
        watcher.until("submitted")

        watcher.say({"action": "replay", "after": 0})

        # What was on its way already may come in between, with its own number.
        for sequence in (1, 2, 3, 4, 5):
            while watcher.next()["sequence"] != sequence:
                pass


def test_a_ping_is_answered_with_a_pong(system: System, confirmed: list[Message]) -> None:
    with system.watching(order_id_of(confirmed)) as watcher:
        watcher.to_the_end()

        watcher.say({"action": "ping"})

        assert watcher.next() == {"type": "pong"}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("hello?", "INVALID_JSON"),
        ("[1, 2]", "INVALID_JSON"),
        ('{"action": "cancel"}', "UNKNOWN_ACTION"),
        ("{}", "UNKNOWN_ACTION"),
        ('{"action": "replay", "after": -1}', "INVALID_FIELD"),
        ('{"action": "replay", "after": "soon"}', "INVALID_FIELD"),
    ],
)
def test_what_is_not_understood_is_answered_and_the_statuses_go_on(system: System, said: str, code: str) -> None:
    order_id = system.submit(an_order())["orderId"]
    with system.watching(order_id) as watcher:
        watcher.socket.send(said)
        received = watcher.to_the_end()
        if statuses_among(received) == received:
            received.append(watcher.next())  # the answer took longer than the order

    [error] = [message for message in received if "status" not in message]
    assert (error["type"], error["code"], set(error)) == ("error", code, {"type", "code", "detail"})
    assert sequences(statuses_among(received)) == [1, 2, 3, 4, 5]


def statuses_among(messages: list[Message]) -> list[Message]:
    return [message for message in messages if "status" in message]


@pytest.mark.parametrize(
    "query",
    ["", "?orderId=", "?orderId=no-uuid", f"?orderId={uuid4()}"],
    ids=["no orderId", "empty orderId", "no UUID", "unknown order"],
)
def test_a_handshake_without_an_order_to_watch_is_refused(system: System, query: str) -> None:
    # The gateway here always refuses with 403; on AWS it is the function's own status (400 or 404).
    with pytest.raises(InvalidStatus) as refusal, system.socket(query):
        pass

    assert refusal.value.response.status_code == 403


def test_a_handshake_with_a_sequence_that_is_no_number_is_refused(system: System, confirmed: list[Message]) -> None:
    with pytest.raises(InvalidStatus), system.socket(f"?orderId={order_id_of(confirmed)}&after=last"):
        pass


def test_a_refused_subscriber_is_not_kept(system: System) -> None:
    unknown = str(uuid4())

    with pytest.raises(InvalidStatus), system.socket(f"?orderId={unknown}"):
        pass

    assert unknown not in {item["orderId"]["S"] for item in system.items("ConnectionsTableName")}
