"""Requests that come twice: one order, one swap."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from local.errors import OrderRefused
from tests.e2e.system import FIVE, System, an_order, statuses


def a_key() -> str:
    return f"key {uuid4()}"


def test_the_same_request_again_is_the_same_order_and_one_swap(system: System) -> None:
    request = an_order(clientOrderId=a_key())

    first = system.submit(request)
    second = system.submit(request)
    with system.watching(first["orderId"]) as watcher:
        life = watcher.to_the_end()
        after_the_end = system.submit(request)
        repeats = watcher.up_to_pong()

    assert first == second == after_the_end
    assert statuses(life) == FIVE
    assert repeats == []
    assert system.chain_states(first["orderId"]) == ["landed"]
    assert system.row_of(first["orderId"])["client_order_id"] == request["clientOrderId"]


def test_ten_equal_requests_at_once_are_one_order(system: System) -> None:
    request = an_order(clientOrderId=a_key())

    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: system.submit(request), range(10)))
    with system.watching(answers[0]["orderId"]) as watcher:
        life = watcher.to_the_end()

    assert answers == [answers[0]] * 10
    assert statuses(life) == FIVE
    assert system.chain_states(answers[0]["orderId"]) == ["landed"]


def test_a_request_that_is_only_spelt_otherwise_is_the_same_order(system: System) -> None:
    key = a_key()

    first = system.submit(an_order(clientOrderId=key))
    second = system.submit({"amountIn": 10.0, "tokenOut": "usdc", "tokenIn": "sol", "clientOrderId": key})

    assert second == first


def test_a_used_key_with_another_body_is_a_conflict(system: System) -> None:
    key = a_key()
    accepted = system.submit(an_order(clientOrderId=key))

    response = system.post(
        json.dumps(an_order(clientOrderId=key, amountIn="11")).encode(), content_type="application/json"
    )

    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (409, "CLIENT_ORDER_ID_REUSED")
    assert [error["field"] for error in problem["errors"]] == ["clientOrderId"]
    with system.watching(accepted["orderId"]) as watcher:
        assert statuses(watcher.to_the_end()) == FIVE


def test_the_idempotency_key_header_does_the_same(system: System) -> None:
    key = a_key()

    first = system.submit(an_order(), idempotency_key=key)
    second = system.submit(an_order(), idempotency_key=key)
    in_the_body = system.submit(an_order(clientOrderId=key))
    with pytest.raises(OrderRefused) as refusal:
        system.submit(an_order(amountIn="11"), idempotency_key=key)

    assert first == second == in_the_body
    assert refusal.value.problem["code"] == "CLIENT_ORDER_ID_REUSED"


def test_a_header_and_a_field_that_contradict_each_other_are_refused(system: System) -> None:
    with pytest.raises(OrderRefused) as refusal:
        system.submit(an_order(clientOrderId=a_key()), idempotency_key=a_key())

    assert refusal.value.problem["code"] == "INVALID_FIELD"


def test_without_a_key_each_request_is_an_order_of_its_own(system: System) -> None:
    assert system.submit(an_order())["orderId"] != system.submit(an_order())["orderId"]
