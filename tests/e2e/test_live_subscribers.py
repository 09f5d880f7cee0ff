"""Subscribers that come late, leave early, resume, ask, and say what nobody understands."""

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


@pytest.mark.parametrize("after", [None, 0, 2, 4, 5])
def test_a_late_subscriber_gets_exactly_what_it_has_not_had(
    system: System, confirmed: list[Message], order_id: str, after: int | None
) -> None:
    missing = confirmed[after or 0 :]
    with system.watching(order_id, after=after) as watcher:
        assert [watcher.next() for _ in missing] == missing
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


def test_a_connection_that_was_closed_is_forgotten(system: System, order_id: str) -> None:
    wait_for(lambda: not system.connections(order_id), "the earlier subscribers are forgotten")
    with system.watching(order_id) as watcher:
        watcher.to_the_end()
        assert len(system.connections(order_id)) == 1

    wait_for(lambda: not system.connections(order_id), "the subscriber that has left is forgotten")
    assert system.journal_item(order_id)["subscribers"]["M"] == {}


@pytest.mark.parametrize("after", [0, 3])
def test_a_replay_sends_everything_after_a_sequence_once_more(
    system: System, confirmed: list[Message], order_id: str, after: int
) -> None:
    with system.watching(order_id) as watcher:
        watcher.to_the_end()

        watcher.say({"action": "replay", "after": after})

        assert watcher.to_the_end() == confirmed[after:]
        assert watcher.up_to_pong() == []


def test_a_replay_while_the_order_runs_leaves_no_gap(system: System) -> None:
    with system.watching(system.submit(an_order())["orderId"]) as watcher:
        watcher.until("submitted")

        watcher.say({"action": "replay", "after": 0})

        # What was on its way already may come in between, with its own number.
        for sequence in (1, 2, 3, 4, 5):
            while watcher.next()["sequence"] != sequence:
                pass


def test_what_is_not_understood_gets_an_error_and_the_statuses_go_on(system: System) -> None:
    said = {
        "hello?": "INVALID_JSON",
        "[1, 2]": "INVALID_JSON",
        '{"action": "cancel"}': "UNKNOWN_ACTION",
        "{}": "UNKNOWN_ACTION",
        '{"action": "replay", "after": -1}': "INVALID_FIELD",
        '{"action": "replay", "after": "soon"}': "INVALID_FIELD",
    }
    with system.watching(system.submit(an_order())["orderId"]) as watcher:
        for text in said:
            watcher.socket.send(text)
        received: list[Message] = []
        while len(received) < len(FIVE) + len(said):
            received.append(watcher.next())

    errors = [message for message in received if "status" not in message]
    assert sorted(error["code"] for error in errors) == sorted(said.values())
    assert all(error["type"] == "error" and set(error) == {"type", "code", "detail"} for error in errors)
    assert sequences([message for message in received if "status" in message]) == [1, 2, 3, 4, 5]


_NO_ORDER = UUID(int=0)


@pytest.mark.parametrize("query", ["", "?orderId=no-uuid", f"?orderId={_NO_ORDER}", "?orderId={known}&after=last"])
def test_a_handshake_without_an_order_to_watch_is_refused(system: System, order_id: str, query: str) -> None:
    # The gateway here always refuses with 403; on AWS it is the function's own status (400 or 404).
    with pytest.raises(InvalidStatus) as refusal, system.socket(query.format(known=order_id)):
        pass

    assert refusal.value.response.status_code == 403
    assert all(item["orderId"]["S"] not in query for item in system.items("ConnectionsTableName"))
