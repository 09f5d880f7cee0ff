"""An order is looked up, and cancelled as long as nothing was sent for it."""

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.e2e.system import FINAL, FIVE, System, an_order, statuses
from tests.e2e.test_requests import problem_of
from tests.support.raw_client import Message


@pytest.fixture
def slow(system: System) -> Iterator[System]:
    """The system with venues that think for long, so that there is time to cancel."""
    latencies = {"VENUE_QUOTE_LATENCY_MS": 1500, "VENUE_SWAP_LATENCY_MS": 1000, "VENUE_VALIDITY_SECONDS": 10}
    with system.rehosted(latencies, ["route_execute"]):
        yield system


def ask(system: System, method: str, order_id: str) -> httpx.Response:
    url = f"{system.stack.endpoints.http}/api/orders/{order_id}"
    return httpx.request(method, url, trust_env=False, timeout=60)


def shown(response: httpx.Response) -> Message:
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    order: Message = response.json()
    return order


def test_an_order_is_shown_with_its_terms_and_its_events(system: System) -> None:
    terms = an_order(slippageBps=70, clientOrderId=f"look {uuid4()}", minAmountOut="1000")
    heard = system.life_of(terms)

    order = shown(ask(system, "GET", heard[0]["orderId"]))

    assert {name: order[name] for name in terms} == terms
    assert (order["orderId"], order["status"], order["orderType"]) == (heard[0]["orderId"], "confirmed", "market")
    assert [event["status"] for event in order["events"]] == FIVE
    assert [event["sequence"] for event in order["events"]] == [1, 2, 3, 4, 5]
    assert order["events"][-1]["txHash"] == heard[-1]["txHash"]
    assert "owner" not in order


def test_a_cancelled_order_is_never_swapped_and_its_watchers_hear_of_it(slow: System) -> None:
    order_id = slow.submit(an_order())["orderId"]
    with slow.watching(order_id) as watcher:
        heard = watcher.until("routing")

        order = shown(ask(slow, "DELETE", order_id))
        heard += watcher.to_the_close()

    assert order["status"] == "cancelled"
    assert statuses(heard)[-1] == "cancelled"
    assert [event["sequence"] for event in order["events"]] == sorted({message["sequence"] for message in heard})
    assert shown(ask(slow, "DELETE", order_id)) == order == shown(ask(slow, "GET", order_id))
    row = slow.row_of(order_id)
    assert (row["status"], row["tx_hash"], row["failure_code"]) == ("cancelled", None, None)
    assert slow.chain_states(order_id) == []


def test_an_order_is_cancelled_while_it_waits_in_the_queue(system: System) -> None:
    system.consume("route_execute", False)
    try:
        order_id = system.submit(an_order())["orderId"]
        assert shown(ask(system, "DELETE", order_id))["status"] == "cancelled"
        assert system.submit(an_order())["orderId"] != order_id
    finally:
        system.consume("route_execute", True)

    assert system.row_of(order_id)["status"] == "cancelled"
    assert statuses(system.follow(order_id)) == ["pending", "cancelled"]


def test_once_it_is_submitted_it_is_too_late(slow: System) -> None:
    order_id = slow.submit(an_order())["orderId"]
    with slow.watching(order_id) as watcher:
        watcher.until("submitted")
        refused = ask(slow, "DELETE", order_id)
        last = watcher.to_the_end()[-1]

    problem_of(refused, 409, "TOO_LATE_TO_CANCEL")
    assert refused.json()["orderStatus"] == "submitted"
    assert last["status"] == "confirmed"
    assert ask(slow, "DELETE", order_id).json()["orderStatus"] == "confirmed"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_no_order_is_refused(system: System, method: str) -> None:
    problem_of(ask(system, method, str(uuid4())), 404, "UNKNOWN_ORDER")
    order_id = uuid4()
    for wrong in ("order-1", order_id.hex, f"%7B{order_id}%7D", f"urn:uuid:{order_id}", "%EF%BC%91" * 32, "%20"):
        assert problem_of(ask(system, method, wrong), 422, "INVALID_FIELD") == ["orderId"]
    problem_of(ask(system, method, str(order_id).upper()), 404, "UNKNOWN_ORDER")


def test_cancelled_at_any_moment_it_is_swapped_or_cancelled_and_never_both(system: System) -> None:
    answers: dict[str, int] = {}
    while len(answers) < 24 or ({*answers.values()} != {200, 409} and len(answers) < 100):
        order_id = system.submit(an_order())["orderId"]
        time.sleep(len(answers) * 0.01)  # the moments from its acceptance to its submission, on a slow machine too
        answers[order_id] = ask(system, "DELETE", order_id).status_code

    for order_id, status in answers.items():
        ended = system.row_of(order_id)["status"]
        assert ended in FINAL
        assert (ended == "cancelled") is (status == 200)
        assert system.chain_states(order_id) == ([] if status == 200 else ["landed"])
    assert {*answers.values()} == {200, 409}
