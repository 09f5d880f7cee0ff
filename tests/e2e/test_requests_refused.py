"""Bad input over HTTP: a problem document that names what is wrong, and nothing is kept."""

import json
from dataclasses import dataclass

import pytest
from order_engine.domain.tokens import TOKENS

from tests.e2e.system import System, an_order


@dataclass(frozen=True)
class Bad:
    """A body, and how it is refused."""

    name: str
    body: bytes
    status: int
    code: str
    field: str | None = None


def raw(name: str, body: bytes) -> Bad:
    return Bad(name, body, 400, "INVALID_JSON")


def invalid(name: str, field: str, **changes: object) -> Bad:
    return Bad(name, json.dumps(an_order(**changes)).encode(), 422, "INVALID_FIELD", field)


def amount(name: str, literal: str) -> Bad:
    body = f'{{"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": {literal}}}'
    return Bad(f"amountIn: {name}", body.encode(), 422, "INVALID_FIELD", "amountIn")


BAD = [
    raw("not JSON", b"tokenIn=SOL"),
    raw("half an object", b'{"tokenIn": "SOL", "tokenOut":'),
    raw("an empty body", b""),
    raw("nothing but blanks", b"  \n "),
    raw("an array", b'[{"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}]'),
    raw("a string", b'"SOL"'),
    raw("null", b"null"),
    raw("a field twice", b'{"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10, "amountIn": 1000}'),
    raw("very deep", b"[" * 8000),
    Bad("missing amountIn", b'{"tokenIn": "SOL", "tokenOut": "USDC"}', 422, "INVALID_FIELD", "amountIn"),
    Bad("missing tokenIn", b'{"tokenOut": "USDC", "amountIn": 10}', 422, "INVALID_FIELD", "tokenIn"),
    Bad("missing tokenOut", b'{"tokenIn": "SOL", "amountIn": 10}', 422, "INVALID_FIELD", "tokenOut"),
    amount("null", "null"),
    amount("negative", "-10"),
    amount("zero", "0"),
    amount("zero, at length", '"0.000000000"'),
    amount("words", '"ten"'),
    amount("empty", '""'),
    amount("a boolean", "true"),
    amount("a list", "[10]"),
    amount("NaN", "NaN"),
    amount("Infinity", "Infinity"),
    amount("the word Infinity", '"Infinity"'),
    amount("beyond every double", "1e400"),
    amount("an absurd exponent", "1e999999999"),
    amount("more than there is", "1000000000000001"),
    amount("a number of 5000 digits", "9" * 5000),
    amount("a tenth of a lamport", "1.0000000001"),
    amount("forty decimal places", '"0.' + "1" * 40 + '"'),
    amount("next to nothing", "1e-400"),
    invalid("an unknown tokenIn", "tokenIn", tokenIn="DOGE"),
    invalid("an unknown tokenOut", "tokenOut", tokenOut="DOGE"),
    invalid("a token that is null", "tokenIn", tokenIn=None),
    invalid("a token that is a number", "tokenOut", tokenOut=7),
    invalid("the same token twice", "tokenOut", tokenOut="SOL"),
    invalid("the same token as symbol and mint", "tokenOut", tokenOut=TOKENS["SOL"].mint),
    invalid("the same token as mint and symbol", "tokenOut", tokenIn=TOKENS["SOL"].mint, tokenOut="sol"),
    invalid("an unknown field", "leverage", leverage=10),
    invalid("an orderId of the client's own", "orderId", orderId="0d9c5f5a-0f5e-4a8e-9f43-2a2f6a3d9b11"),
    invalid("slippageBps below 0", "slippageBps", slippageBps=-1),
    invalid("slippageBps over 10000", "slippageBps", slippageBps=10001),
    invalid("slippageBps with a fraction", "slippageBps", slippageBps=0.5),
    invalid("minAmountOut of zero", "minAmountOut", minAmountOut=0),
    invalid("minAmountOut finer than the token", "minAmountOut", minAmountOut="1.0000001"),
    invalid("another orderType", "orderType", orderType="limit"),
    invalid("an empty clientOrderId", "clientOrderId", clientOrderId=""),
    Bad("300 kB", json.dumps(an_order(note="x" * 300_000)).encode(), 413, "BODY_TOO_LARGE"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_request_gets_a_problem_that_names_the_field_and_leaves_nothing(system: System, bad: Bad) -> None:
    kept = system.orders_kept()

    response = system.post(bad.body, content_type="application/json")

    assert response.status_code == bad.status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert (problem["status"], problem["code"]) == (bad.status, bad.code)
    assert [error["field"] for error in problem.get("errors", [])] == ([bad.field] if bad.field else [])
    assert all(error["message"] for error in problem.get("errors", []))
    assert system.orders_kept() == kept


def test_every_wrong_field_is_named(system: System) -> None:
    response = system.post(b'{"tokenIn": "DOGE", "amountIn": -1, "leverage": 2}', content_type="application/json")

    named = {error["field"] for error in response.json()["errors"]}
    assert named == {"tokenIn", "tokenOut", "amountIn", "leverage"}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_another_media_type_is_refused(system: System, media_type: str) -> None:
    kept = system.orders_kept()

    response = system.post(json.dumps(an_order()).encode(), content_type=media_type)

    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert system.orders_kept() == kept


def test_the_media_type_may_have_a_charset(system: System) -> None:
    response = system.post(json.dumps(an_order()).encode(), content_type="application/json; charset=utf-8")

    assert response.status_code == 202


def test_the_system_still_takes_orders_after_all_that(system: System) -> None:
    assert system.life_of(an_order())[-1]["status"] == "confirmed"
