"""What a subscriber may ask for, and the refusal that it gets for anything else."""

import json
from typing import Any

import pytest
from order_engine.errors import InvalidRequest, SocketGone, SocketUnreachable
from order_engine.subscription import Subscription

from tests.support.builders import a_subscriber, accepted, an_order
from tests.support.fakes import FixedClock, MemoryCatchUps, MemoryJournal, MemorySockets, MemorySubscribers


class Gate:
    """A subscription over services in memory, with one order in the journal."""

    def __init__(self) -> None:
        self.order = an_order()
        self.journal, self.sockets, self.catch_ups = (
            MemoryJournal(accepted(self.order)),
            MemorySockets(),
            MemoryCatchUps(),
        )
        self.subscribers, self.clock = MemorySubscribers(self.journal), FixedClock()
        self.subscription = Subscription(self.subscribers, self.sockets, self.catch_ups, self.clock)

    def join(self, after: str | None = None) -> None:
        self.subscription.join("connection=", str(self.order.order_id), after)

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.sockets.received["connection="]]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.mark.parametrize(("after", "sent_through"), [(None, 0), ("", 0), ("0", 0), ("2", 2), ("007", 7)])
def test_a_subscriber_is_kept_and_brought_up_to_date_from_where_it_asked(
    gate: Gate, after: str | None, sent_through: int
) -> None:
    gate.join(after)

    kept = gate.subscribers.of(gate.order.order_id)["connection="]
    assert (kept.sent_through, kept.live_after, kept.connected_at) == (sent_through, None, gate.clock.at)
    assert gate.catch_ups.requested == [kept]


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
def test_an_order_that_can_not_be_or_is_not_known_refuses_the_handshake(
    gate: Gate, order_id: str | None, status: int, code: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gate.subscription.join("connection=", order_id, None)

    assert (caught.value.status, caught.value.code) == (status, code)
    assert [error.field for error in caught.value.errors] == (["orderId"] if status == 400 else [])
    assert gate.catch_ups.requested == []


@pytest.mark.parametrize("after", ["-1", "1.5", "two", "+1", " 1", "٢", "9999999999"])
def test_an_after_that_is_no_sequence_refuses_the_handshake(gate: Gate, after: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gate.join(after)

    assert caught.value.status == 400
    assert [error.field for error in caught.value.errors] == ["after"]
    assert gate.subscribers.of(gate.order.order_id) == {}


def test_a_subscriber_that_leaves_is_forgotten_and_may_leave_again(gate: Gate) -> None:
    gate.join()

    gate.subscription.leave("connection=")
    gate.subscription.leave("connection=")

    assert gate.subscribers.of(gate.order.order_id) == {}


def test_ping_is_answered_with_pong(gate: Gate) -> None:
    gate.subscription.hear("connection=", '{"action":"ping"}')

    assert gate.answers() == [{"type": "pong"}]


@pytest.mark.parametrize(
    ("text", "sent_through"),
    [('{"action":"replay","after":2}', 2), ('{"action":"replay","after":"2"}', 2), ('{"action":"replay"}', 0)],
)
def test_a_replay_gives_the_subscriber_back_to_notify_from_where_it_asked(
    gate: Gate, text: str, sent_through: int
) -> None:
    gate.join()
    gate.subscribers.hand_over(a_subscriber(gate.order.order_id), through=1)

    gate.subscription.hear("connection=", text)

    kept = gate.subscribers.of(gate.order.order_id)["connection="]
    assert (kept.sent_through, kept.live_after, kept.generation) == (sent_through, None, 2)
    assert gate.catch_ups.requested[-1] == kept
    assert gate.answers() == []


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
def test_a_message_that_makes_no_sense_gets_an_error_and_changes_nothing(gate: Gate, text: str, code: str) -> None:
    gate.join()
    before = gate.subscribers.of(gate.order.order_id).copy()

    gate.subscription.hear("connection=", text)

    (answer,) = gate.answers()
    assert (answer["type"], answer["code"]) == ("error", code)
    assert answer["detail"]
    assert gate.subscribers.of(gate.order.order_id) == before


def test_a_replay_on_a_connection_that_is_not_kept_is_told_to_connect_again(gate: Gate) -> None:
    gate.subscription.hear("connection=", '{"action":"replay"}')

    assert [answer["code"] for answer in gate.answers()] == ["UNKNOWN_CONNECTION"]
    assert gate.catch_ups.requested == []


@pytest.mark.parametrize("fault", [SocketGone("connection="), SocketUnreachable("throttled")])
def test_an_answer_that_does_not_arrive_is_nobodys_fault(gate: Gate, fault: Exception) -> None:
    gate.sockets.faults["connection="] = [fault]  # type: ignore[list-item]

    gate.subscription.hear("connection=", '{"action":"ping"}')

    assert gate.answers() == []
