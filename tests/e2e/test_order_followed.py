"""Orders that go well, from the request to PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from order_engine.domain.tokens import TOKENS

from local.client import Message
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for

ALWAYS = {"orderId", "sequence", "status", "attempt", "timestamp", "message"}
ADDED = {
    "pending": set[str](),
    "routing": set[str](),
    "building": {"venue", "quotes", "minAmountOut"},
    "submitted": {"venue", "txHash"},
    "confirmed": {"venue", "txHash", "executedPrice", "amountOut"},
}


def at(message: Message) -> datetime:
    """When the engine says it happened."""
    return datetime.fromisoformat(message["timestamp"])


def test_the_answer_to_an_order_says_where_to_follow_it(system: System) -> None:
    answer = system.submit({"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10})

    assert set(answer) == {"orderId", "status", "createdAt", "streamUrl"}
    assert answer["status"] == "pending"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["createdAt"])) < timedelta(minutes=1)
    assert answer["streamUrl"] == system.stack.endpoints.websocket.replace("{orderId}", answer["orderId"])


def test_an_order_followed_from_the_first_second_shows_all_five_statuses_in_order(system: System) -> None:
    answer = system.submit(an_order())
    with system.watching(answer["orderId"]) as watcher:
        life = watcher.to_the_end()

    assert statuses(life) == FIVE
    assert sequences(life) == [1, 2, 3, 4, 5]
    assert {message["orderId"] for message in life} == {answer["orderId"]}
    assert [message["attempt"] for message in life] == [0, 1, 1, 1, 1]
    assert at(life[0]) == datetime.fromisoformat(answer["createdAt"])
    assert [at(message) for message in life] == sorted(at(message) for message in life)


def test_each_status_brings_along_what_it_adds(system: System) -> None:
    life = system.life_of(an_order())

    assert {message["status"]: set(message) for message in life} == {
        status: ALWAYS | added for status, added in ADDED.items()
    }
    building, submitted, confirmed = life[2:]
    assert {quote["venue"] for quote in building["quotes"]} == {"raydium", "meteora"}
    assert all(set(quote) == {"venue", "price", "fee", "priceImpactPct", "amountOut"} for quote in building["quotes"])
    assert building["venue"] == submitted["venue"] == confirmed["venue"]
    assert submitted["txHash"] == confirmed["txHash"]


def test_the_better_venue_is_chosen_by_what_the_user_receives(system: System) -> None:
    building = system.life_of(an_order())[2]

    best = max(building["quotes"], key=lambda quote: Decimal(quote["amountOut"]))
    assert building["venue"] == best["venue"]
    assert best["amountOut"] in building["message"]


def test_submitted_is_published_when_the_transaction_is_sent_and_not_when_it_has_landed(system: System) -> None:
    submitted, confirmed = system.life_of(an_order())[3:]

    assert at(confirmed) - at(submitted) >= timedelta(milliseconds=100)  # the swap's least latency


def test_a_confirmed_order_gives_at_least_what_was_promised(system: System) -> None:
    asked = an_order(slippageBps=50, minAmountOut="1300")

    *_, building, _, confirmed = system.life_of(asked)

    quoted = max(Decimal(quote["amountOut"]) for quote in building["quotes"])
    promised, received = Decimal(building["minAmountOut"]), Decimal(confirmed["amountOut"])
    assert quoted >= received >= promised >= Decimal(1300)
    assert promised >= quoted * Decimal("0.995") - Decimal("0.000001")
    assert Decimal(confirmed["executedPrice"]) == received / 10


def test_postgresql_holds_exactly_what_the_client_saw(system: System) -> None:
    asked = an_order(amountIn="1.234567891", slippageBps=75, maxPriceImpactBps=900, clientOrderId="in PostgreSQL, too")
    life = system.life_of(asked)
    _, _, building, _, confirmed = life

    row = system.row_of(confirmed["orderId"])

    assert row == {
        "order_id": row["order_id"],
        "client_order_id": "in PostgreSQL, too",
        "order_type": "market",
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": Decimal("1.234567891"),
        "slippage_bps": 75,
        "max_price_impact_bps": 900,
        "min_amount_out": Decimal(building["minAmountOut"]),
        "status": "confirmed",
        "venue": confirmed["venue"],
        "tx_hash": confirmed["txHash"],
        "executed_price": Decimal(confirmed["executedPrice"]),
        "amount_out": Decimal(confirmed["amountOut"]),
        "fee": fee_of("1.234567891", building),
        "attempts": 1,
        "failure_code": None,
        "failure_reason": None,
        "quotes": building["quotes"],
        "created_at": at(life[0]),
        "completed_at": at(confirmed),
    }
    assert str(row["order_id"]) == confirmed["orderId"]


def fee_of(amount_in: str, building: Message) -> Decimal:
    """What the chosen venue keeps of the amount, in whole lamports."""
    fee = next(quote["fee"] for quote in building["quotes"] if quote["venue"] == building["venue"])
    return (Decimal(amount_in) * Decimal(fee)).quantize(Decimal("1e-9"), rounding="ROUND_DOWN")


def test_postgresql_holds_each_event_as_it_was_published(system: System) -> None:
    life = system.life_of(an_order())
    system.row_of(life[0]["orderId"])

    events = system.events_of(life[0]["orderId"])

    assert [event["details"] for event in events] == life
    assert [(event["sequence"], event["status"], event["at"]) for event in events] == [
        (message["sequence"], message["status"], at(message)) for message in life
    ]


def test_every_pair_of_tokens_can_be_swapped_both_ways(system: System) -> None:
    amounts = {"SOL": "2.5", "USDC": "300", "BONK": "1000000", "MSOL": "0.75"}
    pairs = list(permutations(amounts, 2))

    def swap(pair: tuple[str, str]) -> list[Message]:
        return system.life_of(an_order(tokenIn=pair[0], tokenOut=pair[1], amountIn=amounts[pair[0]]))

    with ThreadPoolExecutor(len(pairs)) as clients:
        lives = dict(zip(pairs, clients.map(swap, pairs), strict=True))

    assert {pair: statuses(life) for pair, life in lives.items()} == dict.fromkeys(pairs, FIVE)
    for (token_in, token_out), life in lives.items():
        worth = Decimal(amounts[token_in]) * TOKENS[token_in].usd_price / TOKENS[token_out].usd_price
        received = Decimal(life[-1]["amountOut"])
        assert worth * Decimal("0.96") < received < worth * Decimal("1.02"), (token_in, token_out)
        assert -int(received.as_tuple().exponent) <= TOKENS[token_out].decimals


@pytest.mark.parametrize(
    ("token_in", "token_out", "first", "last"),
    [("SOL", "USDC", "wrap 1 SOL", "swap 1 SOL"), ("USDC", "SOL", "swap 1 USDC", "unwrap SOL")],
)
def test_sol_is_wrapped_before_a_swap_and_unwrapped_after_it(
    system: System, token_in: str, token_out: str, first: str, last: str
) -> None:
    life = system.life_of(an_order(tokenIn=token_in, tokenOut=token_out, amountIn="1"))

    steps: list[str] = json.loads(system.journal_item(life[0]["orderId"])["transaction"]["S"])["steps"]
    assert steps[0].startswith(first)
    assert steps[-1].startswith(last)


def test_a_token_may_be_named_by_its_mint_and_in_lower_case(system: System) -> None:
    life = system.life_of(an_order(tokenIn="sol", tokenOut=TOKENS["USDC"].mint, amountIn=1.5))

    row = system.row_of(life[0]["orderId"])
    assert (row["token_in"], row["token_out"], row["amount_in"]) == ("SOL", "USDC", Decimal("1.5"))


def test_fifty_orders_at_once_are_all_confirmed_and_never_more_than_ten_in_flight(system: System) -> None:
    with ThreadPoolExecutor(50) as clients:
        lives = list(clients.map(lambda _: system.life_of(an_order()), range(50)))
    ids = [life[0]["orderId"] for life in lives]

    assert [statuses(life) for life in lives] == [FIVE] * 50
    assert [sequences(life) for life in lives] == [[1, 2, 3, 4, 5]] * 50
    assert len(set(ids)) == 50
    rows = wait_for(lambda: flights(system, ids), "50 rows in PostgreSQL")
    assert {row["status"] for row in rows} == {"confirmed"}
    assert 1 < most_at_once(rows) <= 10


def flights(system: System, ids: list[str]) -> list[dict[str, Any]] | None:
    """From when to when each order was worked on, once all of them are there."""
    rows = system.query(
        "SELECT o.status, o.completed_at, e.at AS begun_at FROM orders o JOIN order_events e USING (order_id)"
        " WHERE e.status = 'routing' AND o.order_id = ANY(%s::uuid[])",
        ids,
    )
    return rows if len(rows) == len(ids) else None


def most_at_once(rows: list[dict[str, Any]]) -> int:
    """How many orders were in flight at the busiest moment."""
    moves = [(row["begun_at"], 1) for row in rows] + [(row["completed_at"], -1) for row in rows]
    flying = most = 0
    for _, move in sorted(moves):
        flying += move
        most = max(most, flying)
    return most
