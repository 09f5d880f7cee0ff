"""The list of orders, quotes and look-ups over HTTP: while orders are placed, and while PostgreSQL is away."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from uuid import uuid4

import httpx
import pytest

from tests.e2e.system import FIVE, PATIENCE_SECONDS, System, an_order, wait_for
from tests.e2e.test_requests import problem_of
from tests.support.raw_client import Message


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.stack.endpoints.http, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        yield http


def walk(http: httpx.Client, query: str) -> list[Message]:
    """Every order of a list, page by page."""
    orders: list[Message] = []
    url = f"/api/orders?{query}"
    while url:
        response = http.get(url)
        assert response.status_code == 200, response.text
        orders += response.json()["orders"]
        url = response.links.get("next", {}).get("url", "")
    return orders


def test_an_order_is_in_the_list_from_its_acceptance_on_and_stays_in_its_place(
    system: System, http: httpx.Client
) -> None:
    key = f"mine {uuid4()}"
    resting = system.submit(an_order(orderType="limit", limitPrice="9000", clientOrderId=key))["orderId"]
    named = http.get("/api/orders", params={"clientOrderId": key}).json()["orders"]
    assert [order["orderId"] for order in named] == [resting]
    wait_for(lambda: walk(http, "status=open&limit=200"), "it rests")
    later = system.life_of(an_order())
    system.row_of(later[0]["orderId"])

    listed = walk(http, "limit=3")
    places = {order["orderId"]: place for place, order in enumerate(listed)}
    assert places[later[0]["orderId"]] < places[resting]
    assert [order["createdAt"] for order in listed] == sorted((one["createdAt"] for one in listed), reverse=True)

    shown = http.get(f"/api/orders/{later[0]['orderId']}").json()
    assert [event["status"] for event in shown.pop("events")] == FIVE
    assert shown == listed[places[later[0]["orderId"]]]
    assert (shown["txHash"], shown["amountOut"]) == (later[-1]["txHash"], str(later[-1]["amountOut"]))

    assert http.delete(f"/api/orders/{resting}").json()["status"] == "cancelled"
    system.row_of(resting)
    wait_for(lambda: resting not in {order["orderId"] for order in walk(http, "status=open&limit=200")}, "it ended")
    assert [order["orderId"] for order in walk(http, "limit=200")].index(resting) > places[later[0]["orderId"]]


# A market order, one that rests, and one that comes to rest and is triggered at once.
KINDS: list[Message] = [{}, {"orderType": "limit", "limitPrice": "9000"}, {"orderType": "limit", "limitPrice": "1"}]


def test_whoever_reads_the_list_misses_none_and_sees_none_twice_while_orders_come_rest_and_end(
    system: System, http: httpx.Client
) -> None:
    placed = [system.submit(an_order(**KINDS[number % 3]))["orderId"] for number in range(12)]
    over = threading.Event()

    def place() -> list[str]:
        accepted: list[str] = []
        while not over.is_set() and len(accepted) < 200:
            accepted.append(system.submit(an_order(**KINDS[len(accepted) % 3]))["orderId"])
        return accepted

    def read() -> list[set[str]]:
        lists: list[set[str]] = []
        while not over.is_set():
            lists.append({order["orderId"] for order in walk(http, "limit=200")})
        return lists

    with ThreadPoolExecutor(3) as pool:
        placing, reading = [pool.submit(place) for _ in range(2)], pool.submit(read)
        try:
            walks = [[order["orderId"] for order in walk(http, f"limit={limit}")] for limit in (5, 7, 1, 50)]
        finally:
            over.set()
        placed += [order_id for one in placing for order_id in one.result()]

    for found in walks:
        assert len(found) == len({*found})
        assert {*placed[:12]} <= {*found}
    lists = reading.result()
    assert all(earlier <= later for earlier, later in pairwise(lists))
    assert {*placed} <= {order["orderId"] for order in walk(http, "limit=200")}
    for order in walk(http, "status=open&limit=200"):
        http.delete(f"/api/orders/{order['orderId']}")


def test_filters_are_those_of_the_answers(system: System, http: httpx.Client) -> None:
    system.row_of(system.life_of(an_order(tokenIn="RAY", tokenOut="JUP"))[0]["orderId"])
    failed = system.life_of(an_order(tokenIn="RAY", tokenOut="JUP", amountIn="900000000000"))[-1]
    system.row_of(failed["orderId"])

    pair = walk(http, "tokenIn=RAY&tokenOut=JUP")
    (only,) = walk(http, f"code={failed['code']}&tokenIn=RAY&tokenOut=JUP&status=failed&orderType=market")

    assert {(order["tokenIn"], order["tokenOut"]) for order in pair} == {("RAY", "JUP")}
    assert (only["orderId"], only["error"]) == (failed["orderId"], failed["error"])
    since = only["createdAt"]
    assert [one["orderId"] for one in walk(http, f"from={since}&tokenIn=RAY&tokenOut=JUP")] == [only["orderId"]]
    assert only["orderId"] not in {one["orderId"] for one in walk(http, f"to={since}&limit=200")}
    venues = {order.get("venue") for order in walk(http, "venue=meteora&limit=200")}
    assert venues <= {"meteora"}


@contextmanager
def without(system: System, how: str) -> Iterator[None]:
    postgres = system.stack.postgres
    (postgres.pause if how == "hanging" else postgres.stop)()
    try:
        yield
    finally:
        (postgres.resume if how == "hanging" else postgres.start)()


@pytest.mark.parametrize("how", ["stopped", "hanging"])
def test_without_postgresql_the_journals_orders_are_shown_and_the_list_says_when_to_ask_again(
    system: System, http: httpx.Client, how: str
) -> None:
    key = f"mine {uuid4()}"
    order_id = system.submit(an_order(clientOrderId=key))["orderId"]
    wait_for(lambda: system.row_of(order_id), "its row")

    with without(system, how):
        shown = http.get(f"/api/orders/{order_id}")
        named = http.get("/api/orders", params={"clientOrderId": key})
        refused = [http.get(url) for url in ("/api/orders", f"/api/orders/{uuid4()}", "/api/orders?clientOrderId=none")]

        assert (shown.status_code, shown.json()["status"]) == (200, "confirmed")
        assert [order["orderId"] for order in named.json()["orders"]] == [order_id]
        for response in refused:
            problem_of(response, 503, "SERVICE_UNAVAILABLE")
            assert response.headers["retry-after"] == "1"

    # Two execution environments, each of which tries again after a pause of its own.
    answers = (http.get(f"/api/orders/{uuid4()}").status_code for _ in iter(int, 1))
    wait_for(lambda: [next(answers) for _ in range(6)] == [404] * 6, "the history is asked again")


def test_quotes_are_what_an_order_gets(system: System, http: httpx.Client) -> None:
    compared = http.get("/api/quotes", params={"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}).json()

    building = system.life_of(an_order())[2]

    assert {quote["venue"] for quote in compared["quotes"]} == {quote["venue"] for quote in building["quotes"]}
    assert [quote.keys() for quote in compared["quotes"]] == [quote.keys() for quote in building["quotes"]]
    assert compared["best"] == max(compared["quotes"], key=lambda quote: Decimal(quote["amountOut"]))["venue"]
    assert "no-store" in http.get("/api/quotes?tokenIn=SOL&tokenOut=USDC&amountIn=10").headers["cache-control"]
