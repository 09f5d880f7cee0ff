"""Orders that go well, from the request to PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest
from order_engine.domain.tokens import NATIVE, TOKENS

from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for
from tests.support.operations import most_at_once
from tests.support.raw_client import Message

ALWAYS = {"orderId", "sequence", "status", "attempt", "timestamp", "message"}
ADDED = {
    "pending": set[str](),
    "routing": set[str](),
    "building": {"venue", "quotes", "minAmountOut"},
    "submitted": {"venue", "txHash"},
    "confirmed": {"venue", "txHash", "executedPrice", "amountOut"},
}
AMOUNT = Decimal("1.234567891")
ASKED = an_order(
    amountIn=f"{AMOUNT}", slippageBps=75, maxPriceImpactBps=900, minAmountOut="160", clientOrderId="followed, 1"
)


@pytest.fixture(scope="module")
def answer(system: System) -> Message:
    return system.submit(ASKED)


@pytest.fixture(scope="module")
def life(system: System, answer: Message) -> list[Message]:
    return system.follow(answer["orderId"])


def at(message: Message) -> datetime:
    return datetime.fromisoformat(message["timestamp"])


def test_the_response_to_an_order_says_where_to_follow_it(system: System, answer: Message) -> None:
    assert set(answer) == {"orderId", "status", "createdAt", "streamUrl"}
    assert answer["status"] == "pending"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["createdAt"])) < timedelta(minutes=1)
    assert answer["streamUrl"] == system.stack.endpoints.websocket.replace("{orderId}", answer["orderId"])


def test_an_order_shows_all_five_statuses_in_order(answer: Message, life: list[Message]) -> None:
    assert statuses(life) == FIVE
    assert sequences(life) == [1, 2, 3, 4, 5]
    assert {message["orderId"] for message in life} == {answer["orderId"]}
    assert [message["attempt"] for message in life] == [0, 1, 1, 1, 1]
    assert at(life[0]) == datetime.fromisoformat(answer["createdAt"])
    assert [at(message) for message in life] == sorted(at(message) for message in life)


def test_each_status_has_the_fields_that_it_adds(life: list[Message]) -> None:
    assert {message["status"]: set(message) for message in life} == {
        status: ALWAYS | added for status, added in ADDED.items()
    }
    building, submitted, confirmed = life[2:]
    assert {quote["venue"] for quote in building["quotes"]} == {"raydium", "meteora"}
    assert all(set(quote) == {"venue", "price", "fee", "priceImpactPct", "amountOut"} for quote in building["quotes"])
    assert building["venue"] == submitted["venue"] == confirmed["venue"]
    assert submitted["txHash"] == confirmed["txHash"]


def test_the_venue_from_which_the_user_receives_more_is_chosen(life: list[Message]) -> None:
    best = max(life[2]["quotes"], key=lambda quote: Decimal(quote["amountOut"]))
    assert life[2]["venue"] == best["venue"]
    assert best["amountOut"] in life[2]["message"]


def test_submitted_is_published_before_the_swap_has_landed(life: list[Message]) -> None:
    assert at(life[4]) - at(life[3]) >= timedelta(milliseconds=100)  # the swap's least latency


def test_a_confirmed_order_gives_at_least_what_was_promised(life: list[Message]) -> None:
    building, confirmed = life[2], life[4]
    quoted = max(Decimal(quote["amountOut"]) for quote in building["quotes"])
    promised, received = Decimal(building["minAmountOut"]), Decimal(confirmed["amountOut"])
    assert quoted >= received >= promised >= Decimal(160)
    assert promised >= quoted * Decimal("0.9925") - Decimal("0.000001")
    assert 0 <= received - Decimal(confirmed["executedPrice"]) * AMOUNT < Decimal("1e-14")


def test_postgresql_holds_exactly_what_the_client_saw(system: System, life: list[Message]) -> None:
    building, confirmed = life[2], life[4]
    rate = next(quote["fee"] for quote in building["quotes"] if quote["venue"] == building["venue"])

    row = system.row_of(confirmed["orderId"])

    assert str(row.pop("order_id")) == confirmed["orderId"]
    assert row == {
        "owner": "public",
        "client_order_id": "followed, 1",
        "order_type": "market",
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": AMOUNT,
        "slippage_bps": 75,
        "max_price_impact_bps": 900,
        "min_amount_out": Decimal(building["minAmountOut"]),
        "min_amount_out_asked": Decimal(160),
        "status": "confirmed",
        "venue": confirmed["venue"],
        "tx_hash": confirmed["txHash"],
        "executed_price": Decimal(confirmed["executedPrice"]),
        "amount_out": Decimal(confirmed["amountOut"]),
        "fee": (AMOUNT * Decimal(rate)).quantize(Decimal("1e-9"), rounding="ROUND_DOWN"),  # in whole lamports
        "attempts": 1,
        "last_sequence": 5,
        "failure_code": None,
        "failure_reason": None,
        "quotes": building["quotes"],
        "time_in_force": "gtc",
        "limit_price": None,
        "trigger_price": None,
        "expires_at": None,
        "created_at": at(life[0]),
        "completed_at": at(confirmed),
    }
    events = system.events_of(confirmed["orderId"])
    assert [event["details"] for event in events] == life
    assert [(event["sequence"], event["status"], event["at"]) for event in events] == [
        (message["sequence"], message["status"], at(message)) for message in life
    ]


def test_every_pair_of_tokens_can_be_swapped_both_ways(system: System) -> None:
    amounts = {"SOL": "2.5", "USDC": "300", "BONK": "1000000", "MSOL": "0.75"}
    pairs = list(permutations(amounts, 2))

    def swap(pair: tuple[str, str]) -> list[Message]:
        token_in, token_out = pair
        # A token may also be named by its mint, or in lower case.
        return system.life_of(
            an_order(tokenIn=token_in.lower(), tokenOut=TOKENS[token_out].mint, amountIn=amounts[token_in])
        )

    with ThreadPoolExecutor(len(pairs)) as clients:
        lives = dict(zip(pairs, clients.map(swap, pairs), strict=True))

    assert {pair: statuses(life) for pair, life in lives.items()} == dict.fromkeys(pairs, FIVE)
    for (token_in, token_out), life in lives.items():
        worth = Decimal(amounts[token_in]) * TOKENS[token_in].usd_price / TOKENS[token_out].usd_price
        received = Decimal(life[-1]["amountOut"])
        assert worth * Decimal("0.96") < received < worth * Decimal("1.02"), (token_in, token_out)
        assert -int(received.as_tuple().exponent) <= TOKENS[token_out].decimals
        item = system.journal_item(life[0]["orderId"])
        order, steps = json.loads(item["order"]["S"]), json.loads(item["transaction"]["S"])["steps"]
        assert (order["tokenIn"], order["tokenOut"]) == (token_in, token_out)
        assert steps[0].startswith("wrap") == (TOKENS[token_in] is NATIVE)
        assert steps[-1].startswith("unwrap") == (TOKENS[token_out] is NATIVE)


def test_of_fifty_orders_at_once_at_most_ten_are_in_flight(system: System) -> None:
    flights = (
        "SELECT o.status, o.completed_at, e.at AS begun_at FROM orders o JOIN order_events e USING (order_id)"
        " WHERE e.status = 'routing' AND o.order_id = ANY(%s::uuid[])"
    )
    with ThreadPoolExecutor(50) as clients:
        ids = [answer["orderId"] for answer in clients.map(lambda _: system.submit(an_order()), range(50))]
    with ThreadPoolExecutor(8) as clients:  # the gateway refuses a handshake that waits for long
        lives = list(clients.map(system.follow, ids))

    assert [statuses(life) for life in lives] == [FIVE] * 50
    assert [sequences(life) for life in lives] == [[1, 2, 3, 4, 5]] * 50
    assert len(set(ids)) == 50
    rows = wait_for(lambda: len(found := system.query(flights, ids)) == 50 and found, "50 rows in PostgreSQL")
    assert {row["status"] for row in rows} == {"confirmed"}
    assert 1 < most_at_once((row["begun_at"], row["completed_at"]) for row in rows) <= 10
