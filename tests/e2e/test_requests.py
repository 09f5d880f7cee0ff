"""Requests over HTTP: what is wrong is refused with a problem document, what is repeated is one order and one swap."""

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.e2e.system import FIVE, System, an_order, statuses

GOOD = json.dumps(an_order()).encode()
JSON = "application/json"


def problem_of(response: httpx.Response, status: int, code: str) -> list[str]:
    """The fields that a problem document names."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    errors = problem.get("errors", [])
    assert all(error["message"] for error in errors)
    return [error["field"] for error in errors]


# What can be wrong with a body is in tests/unit: here, what the gateway could change on its way.
@pytest.mark.parametrize(
    ("body", "media_type", "status", "code", "fields"),
    [
        (b"", JSON, 400, "INVALID_JSON", []),
        (b"tokenIn=SOL", JSON, 400, "INVALID_JSON", []),
        (b"[" * 8000, JSON, 400, "INVALID_JSON", []),
        (GOOD.replace(b'"10"', b"1e400"), JSON, 422, "INVALID_FIELD", ["amountIn"]),
        (GOOD.replace(b'"10"', b"1.0000000001"), JSON, 422, "INVALID_FIELD", ["amountIn"]),
        (b'{"tokenIn":"DOGE","amountIn":-1}', JSON, 422, "INVALID_FIELD", ["tokenOut", "tokenIn", "amountIn"]),
        (GOOD.ljust(300_000), JSON, 413, "BODY_TOO_LARGE", []),
        (GOOD, "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE", []),
    ],
)
def test_a_bad_request_gets_a_problem_and_leaves_nothing(
    system: System, body: bytes, media_type: str, status: int, code: str, fields: list[str]
) -> None:
    kept = len(system.items("JournalTableName"))

    response = system.post(body, content_type=media_type)

    assert sorted(problem_of(response, status, code)) == sorted(fields)
    assert len(system.items("JournalTableName")) == kept


def test_a_repeated_request_is_one_order_and_one_swap(system: System) -> None:
    request = an_order(clientOrderId=f"key {uuid4()}")

    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: system.submit(request), range(10)))
    order_id = answers[0]["orderId"]
    life = system.follow(order_id)
    answers.append(system.submit(request))

    assert {**answers[0], "status": "confirmed"} == answers[-1]
    assert [{**answer, "status": None} for answer in answers] == [{**answers[0], "status": None}] * 11
    assert {answer["status"] for answer in answers} <= {*FIVE}
    assert statuses(life) == FIVE
    assert system.chain_states(order_id) == ["landed"]
    assert system.row_of(order_id)["client_order_id"] == request["clientOrderId"]


def test_a_used_key_with_another_body_is_a_conflict(system: System) -> None:
    key = f"key {uuid4()}"
    accepted = system.submit(an_order(clientOrderId=key))

    response = system.post(json.dumps(an_order(clientOrderId=key, amountIn="11")).encode())

    assert problem_of(response, 409, "CLIENT_ORDER_ID_REUSED") == ["clientOrderId"]
    assert statuses(system.follow(accepted["orderId"])) == FIVE


def test_the_idempotency_key_header_is_a_client_order_id(system: System) -> None:
    key = f"key {uuid4()}"
    spelt_otherwise = {"amountIn": 10.0, "tokenOut": "usdc", "tokenIn": "sol", "clientOrderId": key}

    first = system.submit(an_order(), idempotency_key=key)

    for repeated in (system.submit(an_order(), idempotency_key=key), system.submit(spelt_otherwise)):
        assert repeated | {"status": "pending"} == first
    another = json.dumps(an_order(amountIn="11")).encode()
    problem_of(system.post(another, idempotency_key=key), 409, "CLIENT_ORDER_ID_REUSED")
    contradiction = json.dumps(an_order(clientOrderId="another")).encode()
    problem_of(system.post(contradiction, idempotency_key=key), 422, "INVALID_FIELD")
