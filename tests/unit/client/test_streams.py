"""Statuses come each once and in order, whatever the connection does."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from order_client import (
    AsyncClient,
    Backoff,
    Client,
    Forbidden,
    InvalidRequest,
    NotFound,
    Refused,
    Status,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    conversation,
)
from websockets.sync.server import ServerConnection

from tests.unit.client.engine import (
    LIFE,
    ORDER,
    OTHER,
    Answer,
    Engine,
    Message,
    heard,
    path_of,
    says,
    status_of,
    then_breaks,
)

QUICK: Any = {"backoff": Backoff(0.01, 0.02), "limit": 10.0}
ALL = [1, 2, 3, 4, 5]


def of(*sequences: int, order_id: str = ORDER) -> list[Message]:
    return [status_of(sequence, order_id) for sequence in sequences]


def error(code: str, **others: str) -> Message:
    return {"type": "error", "code": code, "detail": "too much; until 1 s from now", **others}


def watch(engine: Engine, after: int = 0, **options: Any) -> list[int]:
    with Client(engine.url, **{**QUICK, **options}) as client:
        return [status.sequence for status in client.watch(engine.stream_url, after)]


@pytest.mark.parametrize(
    ("talks", "resumed"),
    [
        ([says(*of(*ALL))], []),
        ([then_breaks(*of(1, 2)), says(*of(3, 4, 5))], [2]),
        ([says(*of(1, 2)), says(*of(3, 4, 5))], [2]),  # closed with 1000, too early
        ([then_breaks(), then_breaks(*of(1)), then_breaks(), says(*of(2, 3, 4, 5))], [0, 1, 1]),
        ([then_breaks(*of(1, 2, 3)), says(*of(2, 3, 4, 4, 5))], [3]),
        ([says(*of(1, 1, 2, 1, 3, 3, 4, 4, 5, 5))], []),
        ([says(*of(2, 1, 4, 3, 5))], []),
        ([then_breaks(*of(1, 3, 4)), says(*of(2, 3, 4, 5))], [1]),
        ([Answer(503), Answer(429), Answer(500), says(*of(*ALL))], [0, 0, 0]),
        ([says({"type": "later"}, *of(*ALL))], []),
    ],
)
def test_each_status_comes_once_and_in_order(engine: Engine, talks: list[Any], resumed: list[int]) -> None:
    engine.talks = talks

    assert watch(engine) == ALL

    queries = [path_of(handshake) for handshake in engine.handshakes]
    assert queries == [f"orderId={ORDER}" + (f"&after={after}" if after else "") for after in (0, *resumed)]


@pytest.mark.parametrize("after", [2, 5, 99])
def test_what_the_caller_has_had_is_left_out_also_of_an_order_that_has_ended(engine: Engine, after: int) -> None:
    engine.talks = [says(*of(*ALL))]

    assert watch(engine, after) == ALL[after:]


def test_a_gap_is_asked_for_and_never_shown(engine: Engine) -> None:
    asked: list[Message] = []

    def talk(socket: ServerConnection) -> None:
        says(*of(1, 4))(socket)
        asked.append(heard(socket))
        says(*of(2, 3, 4, 5))(socket)

    engine.talks = [talk]

    assert watch(engine) == ALL
    assert asked == [{"action": "replay", "orderId": ORDER, "after": 1}]


@pytest.mark.parametrize("refusals", [[error("REPLAY_UNDER_WAY")], [error("TOO_MANY_MESSAGES")], []])
def test_a_replay_that_is_not_given_is_asked_for_again(
    engine: Engine, refusals: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "ANSWER_SECONDS", 0.1)
    asked: list[Message] = []

    def talk(socket: ServerConnection) -> None:
        says(*of(1, 3))(socket)
        asked.append(heard(socket))
        says(*refusals)(socket)
        asked.append(heard(socket))
        says(*of(2, 3, 4, 5))(socket)

    engine.talks = [talk]

    assert watch(engine) == ALL
    assert asked == [{"action": "replay", "orderId": ORDER, "after": 1}] * 2


@pytest.mark.parametrize("code", ["UNKNOWN_CONNECTION", "NOT_SUBSCRIBED"])
def test_a_connection_that_is_of_no_use_is_replaced(engine: Engine, code: str) -> None:
    def talk(socket: ServerConnection) -> None:
        says(*of(1, 2), error(code))(socket)
        socket.recv()  # till the client closes it

    engine.talks = [talk, says(*of(3, 4, 5))]

    assert watch(engine) == ALL
    assert path_of(engine.handshakes[1]).endswith("&after=2")


def test_one_that_never_answers_is_replaced(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_SECONDS", 0.05)

    def talk(socket: ServerConnection) -> None:
        says(*of(1, 3))(socket)
        for _ in range(10):
            socket.recv()

    engine.talks = [talk, says(*of(2, 3, 4, 5))]

    assert watch(engine) == ALL


def test_it_pings_while_nothing_comes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PING_SECONDS", 0.05)

    def talk(socket: ServerConnection) -> None:
        for _ in range(2):
            assert heard(socket) == {"action": "ping"}
            says({"type": "pong"})(socket)
        says(*of(*ALL))(socket)

    engine.talks = [talk]

    assert watch(engine) == ALL


@pytest.mark.parametrize(
    ("status", "kind"), [(400, InvalidRequest), (401, Unauthorized), (403, Forbidden), (404, NotFound)]
)
def test_a_handshake_that_will_not_get_better_ends_it(engine: Engine, status: int, kind: type[Refused]) -> None:
    engine.talks = [then_breaks(*of(1)), Answer(status, {"status": status, "code": "CODE", "detail": "why"})]

    with pytest.raises(kind, match="why"):
        watch(engine)

    assert len(engine.handshakes) == 2


@pytest.mark.parametrize(
    ("refusal", "kind"), [(Answer(429, {}, {"Retry-After": "3600"}), TooManyRequests), (None, Unreachable)]
)
def test_at_first_it_gives_up_at_the_deadline(
    engine: Engine, refusal: Answer | None, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.talks = [refusal] if refusal else []
    if refusal is None:
        engine.websocket = "ws://127.0.0.1:1/live"

    with pytest.raises(kind):
        watch(engine, deadline=0.1)


def test_with_patience_it_gives_up_later_on_too(engine: Engine) -> None:
    engine.talks = [then_breaks(*of(1)), *[Answer(503)] * 1000]

    with pytest.raises(Refused):
        watch(engine, patience=0.1)

    assert len(engine.handshakes) > 1


def test_a_key_goes_with_a_url_that_has_no_token(engine: Engine) -> None:
    engine.talks = [says(*of(*ALL)), says(*of(*ALL))]

    with Client(engine.url, "oe_key", **QUICK) as client:
        for url in (engine.stream_url, f"{engine.stream_url}&token=t"):
            assert len(list(client.watch(url))) == 5

    assert ["Authorization" in handshake.headers for handshake in engine.handshakes] == [True, False]


def subscribes(*orders: str, then: Callable[[ServerConnection], object], expect: dict[str, int]) -> Any:
    """Take a subscribe to each order, with these sequences, then go on."""

    def talk(socket: ServerConnection) -> None:
        said = [heard(socket) for _ in orders]
        assert {one["orderId"]: one["after"] for one in said} == expect
        for one in said:
            says({"type": "subscribed", "orderId": one["orderId"]})(socket)
        then(socket)

    return talk


def test_many_orders_on_one_connection_go_on_each_where_it_was(engine: Engine) -> None:
    engine.answers = [Answer(503), engine.streams, Answer(503), engine.streams]
    first = then_breaks(*of(1, 2), *of(*ALL, order_id=OTHER), *of(3))
    engine.talks = [
        subscribes(ORDER, OTHER, then=first, expect={ORDER: 0, OTHER: 0}),
        subscribes(ORDER, then=says(*of(3, 4, 5)), expect={ORDER: 3}),
    ]

    with Client(engine.url, "oe_key", **QUICK) as client:
        came = [(status.order_id, status.sequence) for status in client.stream(ORDER, OTHER, after={OTHER: 3})]

    assert [sequence for order_id, sequence in came if order_id == ORDER] == ALL
    assert [sequence for order_id, sequence in came if order_id == OTHER] == [4, 5]
    assert [path_of(handshake) for handshake in engine.handshakes] == ["token=secret-token"] * 2


def test_a_subscribe_without_an_answer_is_said_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_SECONDS", 0.1)

    def talk(socket: ServerConnection) -> None:
        assert heard(socket) == heard(socket)
        says({"message": "Internal server error"}, *of(*ALL))(socket)

    engine.answers, engine.talks = [engine.streams], [talk]

    with Client(engine.url, **QUICK) as client:
        assert [status.sequence for status in client.watch(ORDER)] == ALL


@pytest.mark.parametrize(
    ("code", "kind"), [("UNKNOWN_ORDER", NotFound), ("MISSING_SCOPE", Forbidden), ("UNAUTHORIZED", Unauthorized)]
)
def test_an_order_that_can_not_be_watched_ends_it(engine: Engine, code: str, kind: type[Refused]) -> None:
    engine.answers = [engine.streams]
    engine.talks = [lambda socket: (heard(socket), says(error(code, orderId=ORDER))(socket), socket.recv())]

    with Client(engine.url, **QUICK) as client, pytest.raises(kind) as refused:
        list(client.watch(ORDER))

    assert (refused.value.code, refused.value.problem["orderId"]) == (code, ORDER)


def test_what_can_not_be_watched_is_refused_before_anything_is_sent(engine: Engine) -> None:
    with Client(engine.url) as client:
        for orders in (["nonsense"], [f"5a3b0000-0000-4000-8000-{number:012}" for number in range(101)]):
            with pytest.raises(ValueError, match=r"no orderId|at most 100"):
                client.stream(*orders)
    assert not engine.requests


def test_a_status_has_types(engine: Engine) -> None:
    engine.talks = [says(*(status_of(one, later="field") for one in ALL))]

    with Client(engine.url, **QUICK) as client:
        life = list(client.watch(engine.stream_url))

    assert [one.status for one in life] == [*LIFE]
    assert [one.is_final for one in life] == [False] * 4 + [True]
    assert str(life[2].quotes[0].amount_out) == "1498.5"
    assert life[4].timestamp.utcoffset() is not None
    assert life[0].raw["later"] == "field"


def test_one_that_leaves_early_closes_the_connection(engine: Engine) -> None:
    closed: list[Any] = []

    def talk(socket: ServerConnection) -> None:
        says(*of(1))(socket)
        closed.extend(socket)  # till it is closed
        closed.append(socket.close_code)

    async def leave() -> Status:
        async with AsyncClient(engine.url, **QUICK) as client, aclosing(client.watch(engine.stream_url)) as statuses:
            return await anext(statuses)

    engine.talks = [talk, talk]
    assert asyncio.run(leave()).sequence == 1
    with Client(engine.url, **QUICK) as client:
        statuses = client.watch(engine.stream_url)
        assert json.loads(json.dumps(next(statuses).raw)) == status_of(1)
        statuses.close()  # type: ignore[attr-defined]

    for _ in range(1000):
        if len(closed) == 2:
            break
        engine.over.wait(0.01)
    assert closed == [1000, 1000]
