"""Orders that wait: for a price, for a launch, until they expire or are cancelled."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from order_engine.adapters.mock_market.dice import VenueConditions

from tests.chaos.market import Market
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for
from tests.e2e.test_cancelling import ask, shown
from tests.e2e.test_requests import problem_of
from tests.e2e.test_times_in_force import soon
from tests.support.raw_client import Message

RESTED = ["pending", "open", "triggered", *FIVE[1:]]
VOLATILITY_BPS = 1000
FAR = {"limit": {"limitPrice": "1000"}, "stop": {"triggerPrice": "1"}, "takeProfit": {"triggerPrice": "1000"}}


def resting(order_type: str, **changes: object) -> Message:
    return an_order(orderType=order_type, **{**FAR.get(order_type, {}), **changes})


@pytest.fixture(scope="module")
def moving(system: System) -> Iterator[System]:
    """The system with a market that moves by half a per cent a second."""
    with system.rehosted({"MARKET_VOLATILITY_BPS": VOLATILITY_BPS}, ["route_execute", "watch_market"]):
        begin_watch(system)
        yield system
    begin_watch(system)


def begin_watch(system: System) -> None:
    """Have another run of the watcher take over."""

    def runner() -> str:
        items = system.items("WatchTableName")
        return str(next((item["runner"]["S"] for item in items if item["name"]["S"] == "runner"), ""))

    before = runner()
    system.watch_market()
    wait_for(lambda: runner() != before, "another watcher")


def middle_price() -> Decimal:
    """A market price that will be crossed within the next fifty seconds: the venues can tell their future."""
    market, now = Market(VenueConditions(volatility_bps=VOLATILITY_BPS)), datetime.now(UTC).timestamp()
    coming = [market.span(("SOL", "USDC"), now + seconds)[1] for seconds in range(50)]
    return (min(coming) + max(coming)) / 2


@pytest.mark.parametrize(
    ("order_type", "changes"),
    [
        ("limit", {"limitPrice": "1"}),
        ("stop", {"triggerPrice": "1000"}),
        ("takeProfit", {"triggerPrice": "1"}),
        ("sniper", {}),
        ("sniper", {"limitPrice": "1"}),
    ],
)
def test_an_order_whose_condition_is_true_is_executed_at_once(
    system: System, order_type: str, changes: Message
) -> None:
    life = system.life_of(resting(order_type, **changes))

    assert statuses(life) == RESTED
    assert sequences(life) == [1, 2, 3, 4, 5, 6, 7]
    row = system.row_of(life[0]["orderId"])
    given = {
        name: str(row[column]) for name, column in (("limitPrice", "limit_price"), ("triggerPrice", "trigger_price"))
    }
    assert (row["order_type"], row["status"]) == (order_type, "confirmed")
    assert {name: given[name] for name in changes} == changes
    assert system.chain_states(life[0]["orderId"]) == ["landed"]


def test_orders_wait_for_the_price_and_no_longer(moving: System) -> None:
    price = middle_price()
    wanted = {
        "limit": resting("limit", limitPrice=str(round(price * Decimal("0.995"), 4))),  # slippageBps are in reserve
        "stop": resting("stop", triggerPrice=str(round(price, 4))),
        "takeProfit": resting("takeProfit", triggerPrice=str(round(price, 4))),
    }
    lives = {name: moving.submit(asked)["orderId"] for name, asked in wanted.items()}

    for name, order_id in lives.items():
        life = moving.follow(order_id)
        assert statuses(life) == RESTED
        met, confirmed, asked = life[2]["price"], life[-1], wanted[name]
        match name:
            case "limit":
                assert Decimal(met) * Decimal("0.995") >= Decimal(asked["limitPrice"])
                assert Decimal(confirmed["amountOut"]) >= Decimal(asked["limitPrice"]) * 10
            case "stop":
                assert Decimal(met) <= Decimal(asked["triggerPrice"])
            case _:
                assert Decimal(met) >= Decimal(asked["triggerPrice"])
        triggered, routing = (datetime.fromisoformat(life[place]["timestamp"]) for place in (2, 3))
        assert (routing - triggered).total_seconds() < 10  # a sweep comes once a minute


@pytest.mark.parametrize("order_type", ["limit", "stop", "takeProfit"])
def test_a_resting_order_is_shown_and_cancelled(system: System, order_type: str) -> None:
    order_id = system.submit(resting(order_type))["orderId"]
    with system.watching(order_id) as watcher:
        heard = watcher.until("open")
        order = shown(ask(system, "GET", order_id))
        assert (order["status"], order["orderType"], order["timeInForce"]) == ("open", order_type, "gtc")
        assert statuses(order["events"]) == ["pending", "open"]
        lasts = datetime.fromisoformat(order["expiresAt"]) - datetime.fromisoformat(order["createdAt"])
        assert lasts.days == 30

        assert shown(ask(system, "DELETE", order_id))["status"] == "cancelled"
        heard += watcher.to_the_close()

    assert list(dict.fromkeys(statuses(heard))) == ["pending", "open", "cancelled"]
    assert system.row_of(order_id)["status"] == "cancelled"
    assert system.chain_states(order_id) == []
    assert not [
        item for item in system.items("JournalTableName") if item["orderId"]["S"] == order_id and "watch" in item
    ]


def test_a_resting_order_expires_by_the_sweep(system: System) -> None:
    order_id = system.submit(resting("limit", expiresAt=soon(3)))["orderId"]
    with system.watching(order_id) as watcher:
        heard = watcher.to_the_close()

    assert statuses(heard) == ["pending", "open", "expired"]
    assert heard[-1]["code"] == "ORDER_EXPIRED"
    late = datetime.fromisoformat(heard[-1]["timestamp"]) - datetime.fromisoformat(
        system.row_of(order_id)["expires_at"].isoformat()
    )
    assert 0 <= late.total_seconds() < 10
    wait_for(
        lambda: not [one for one in system.items("WatchTableName") if order_id in one["name"]["S"]] or None, "the sweep"
    )


def test_a_sniper_waits_for_the_launch(system: System) -> None:
    order_id = system.submit({"tokenIn": "USDC", "tokenOut": "ORBIT", "amountIn": "10", "orderType": "sniper"})[
        "orderId"
    ]
    with system.watching(order_id) as watcher:
        heard = watcher.until("open")
        wrong = system.functions.invoke(FunctionName=system.name_of("launch"), Payload=b'{"token": "SOL"}')
        assert json.loads(wrong["Payload"].read())["errors"][0]["field"] == "token"
        answer = system.functions.invoke(FunctionName=system.name_of("launch"), Payload=b'{"token": "ORBIT"}')
        opened = datetime.fromisoformat(json.loads(answer["Payload"].read())["opensAt"])
        heard += watcher.to_the_end()

    assert statuses(heard) == RESTED
    assert datetime.fromisoformat(heard[2]["timestamp"]) >= opened


def test_whoever_comes_back_goes_on_where_it_was(system: System) -> None:
    order_id = system.submit(resting("stop"))["orderId"]
    with system.watching(order_id) as watcher:
        watcher.until("open")
    with system.watching(order_id, after=2) as watcher:
        assert watcher.up_to_pong() == []
        shown(ask(system, "DELETE", order_id))
        assert statuses(watcher.to_the_close()) == ["cancelled"]


def test_a_fok_limit_does_not_wait(system: System) -> None:
    life = system.life_of(resting("limit", timeInForce="fok"))

    assert statuses(life) == ["pending", "routing", "expired"]
    assert life[-1]["code"] == "SLIPPAGE_EXCEEDED"


def test_an_order_may_not_rest_for_longer_than_is_set(system: System) -> None:
    late = system.post(json.dumps(resting("limit", expiresAt=soon(31 * 86_400))).encode())

    assert problem_of(late, 422, "INVALID_FIELD") == ["expiresAt"]


def test_two_watchers_and_one_that_dies_do_no_harm(system: System) -> None:
    begin_watch(system)
    begin_watch(system)
    orders = [system.submit(resting("limit", expiresAt=soon(2 + number / 4)))["orderId"] for number in range(4)]
    with system.rehosted({}, ["watch_market"]):  # it dies with its host
        begin_watch(system)
    begin_watch(system)

    assert {system.row_of(order_id)["status"] for order_id in orders} == {"expired"}
