"""What requests the code takes, by the schemas of the OpenAPI document: these are never stricter than the code, and as
strict where a schema can be."""

import json
import re
from collections.abc import Callable
from itertools import product
from urllib.parse import urlencode

import pytest
from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order_types import ORDER_TYPES
from order_engine.domain.refusals import InvalidRequest
from order_engine.domain.swaps import VenueName
from order_engine.domain.tokens import TOKENS
from order_engine.entrypoints import queries
from order_engine.entrypoints.order_body import parse_order
from order_engine.entrypoints.queries import parse_list_query, parse_quote_query

from tests.support.specifications import Json, named, problems_with, specification

OPENAPI = specification("openapi")
ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}
LATER = "2027-01-01T00:00:00Z"


def is_taken(body: Json) -> bool:
    try:
        parse_order(json.dumps(body).encode(), "application/json")
    except InvalidRequest as refusal:
        assert refusal.code == "INVALID_FIELD"
        return False
    return True


def is_specified(body: Json) -> bool:
    return not problems_with(OPENAPI, named(OPENAPI, "OrderRequest"), body)


# --- orders -----------------------------------------------------------------------------------------------------------

_ABSENT = object()
RULES = {
    "limitPrice": (_ABSENT, None, "150"),
    "triggerPrice": (_ABSENT, "150"),
    "minAmountOut": (_ABSENT, "1"),
    "timeInForce": (_ABSENT, None, "gtc", "gtd", "fok", "ioc"),
    "expiresAt": (_ABSENT, None, LATER),
    "slippageBps": (_ABSENT, 10_000),
}


@pytest.mark.parametrize("order_type", [_ABSENT, None, *ORDER_TYPES])
def test_each_order_type_takes_the_fields_that_are_specified(order_type: object) -> None:
    """Every combination of the fields that depend on one another."""
    taken = 0
    for values in product(*RULES.values()):
        given = {"orderType": order_type, **dict(zip(RULES, values, strict=True))}
        body = {**ORDER, **{name: value for name, value in given.items() if value is not _ABSENT}}
        assert is_taken(body) == is_specified(body), body
        taken += is_taken(body)

    assert taken > 10


@pytest.mark.parametrize(
    "field", ["tokenIn", "amountIn", "minAmountOut", "slippageBps", "maxPriceImpactBps", "clientOrderId"]
)
def test_what_is_taken_is_specified(field: str) -> None:
    """The other way round there is what a schema can't say, such as a token's decimal places."""
    values: tuple[object, ...] = (
        *(None, 0, 1, -1, 50, 10_000, 10_001, 0.5, 1.5, 1e-9, 10**15, 10**15 + 1, True, [], {}),
        *(
            "",
            "0",
            "0.0",
            "1",
            "01",
            "1.50",
            "-1",
            "1e3",
            "1.",
            ".5",
            " 1",
            "1 ",
            "NaN",
            "a b",
            " ",
            "x" * 128,
            "x" * 129,
        ),
        *("é", "\n", "SOL", "sol", "Sol", "DOGE", TOKENS["SOL"].mint, TOKENS["SOL"].mint.lower()),
    )
    bodies = [{**ORDER, "tokenOut": "BONK", field: value} for value in values]
    taken = [body for body in bodies if is_taken(body)]

    assert len(taken) > 3
    assert [body for body in taken if not is_specified(body)] == []
    assert [body for body in bodies if is_specified(body)] != bodies


@pytest.mark.parametrize(
    "name", [name for one in TOKENS.values() for name in (one.symbol, one.symbol.lower(), one.mint)]
)
def test_every_token_can_be_named(name: str) -> None:
    assert not problems_with(OPENAPI, named(OPENAPI, "TokenName"), name)


@pytest.mark.parametrize(
    "body", [{}, {**ORDER, "orderId": "mine"}, {**ORDER, "tokenIn": "DOGE"}, {**ORDER, "amountIn": 0}]
)
def test_what_is_not_an_order_is_not_specified(body: Json) -> None:
    assert not is_taken(body)
    assert not is_specified(body)


def test_every_example_of_an_order_is_taken() -> None:
    content = OPENAPI["paths"]["/api/orders/execute"]["post"]["requestBody"]["content"]["application/json"]
    examples = [one["value"] for one in content["examples"].values()]

    assert all(is_taken(example) for example in examples)
    assert {example.get("orderType", "market") for example in examples} == {*ORDER_TYPES}


def test_the_defaults_are_the_codes() -> None:
    terms = parse_order(json.dumps(ORDER).encode(), "application/json").model_dump(mode="json", by_alias=True)
    properties = OPENAPI["components"]["schemas"]["OrderRequest"]["properties"]
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}

    assert {*defaults} == {"orderType", "slippageBps", "maxPriceImpactBps"}
    assert defaults == {name: terms[name] for name in defaults}


# --- queries ----------------------------------------------------------------------------------------------------------

LISTED = {one["name"]: one for one in OPENAPI["paths"]["/api/orders"]["get"]["parameters"]}
QUOTED = {one["name"]: one for one in OPENAPI["paths"]["/api/quotes"]["get"]["parameters"]}


def test_the_queries_have_the_parameters_that_are_read() -> None:
    read = {field.alias or name: field for name, field in queries._ListQuery.model_fields.items()}

    assert {*LISTED} == {*read}
    assert [name for name, one in LISTED.items() if one.get("required")] == []
    assert LISTED["limit"]["schema"]["default"] == parse_list_query("").limit
    assert LISTED["limit"]["schema"]["maximum"] == queries.MOST_ORDERS
    assert {*QUOTED} == {*queries._QUOTED}
    quote = "tokenIn=SOL&tokenOut=USDC&amountIn=1"
    assert [name for name, one in QUOTED.items() if one.get("required")] == re.findall(r"(\w+)=", quote)
    terms = parse_quote_query(quote)
    defaults = {name: one["schema"]["default"] for name, one in QUOTED.items() if "default" in one["schema"]}
    assert defaults == {"maxPriceImpactBps": terms.max_price_impact_bps, "slippageBps": terms.slippage_bps}


VALUES = (
    *(
        "",
        "0",
        "1",
        "50",
        "200",
        "201",
        "10000",
        "10001",
        "-1",
        "1.5",
        "0.0",
        "1e3",
        "+1",
        " 1",
        "\u0661",
        "x",
        "true",
        "null",
    ),
    *(
        "0" * 8 + "19999",
        "0" * 62 + "10001",
        "SOL",
        "sol",
        "DOGE",
        TOKENS["SOL"].mint,
        LATER,
        "2027-01-01",
        "a" * 129,
        "é",
    ),
    *(*OrderStatus, *ORDER_TYPES, *VenueName, *FailureCode, "Pending", "ORCA"),
)


@pytest.mark.parametrize("name", [name for name in LISTED if name != "cursor"])
def test_the_list_takes_the_values_that_are_specified(name: str) -> None:
    other = {"tokenIn": "&tokenOut=BONK", "tokenOut": "&tokenIn=BONK"}.get(name, "")
    taken = [one for one in VALUES if is_answered(parse_list_query, f"{urlencode({name: one})}{other}")]

    assert taken == [one for one in VALUES if is_value(LISTED[name], one)]
    assert 0 < len(taken) < len(VALUES)


@pytest.mark.parametrize("name", QUOTED)
def test_quotes_take_the_values_that_are_specified(name: str) -> None:
    query = {"tokenIn": "BONK", "tokenOut": "BONK" if name == "tokenIn" else "USDC", "amountIn": "1"}
    taken = [one for one in VALUES if is_answered(parse_quote_query, urlencode({**query, name: one}))]

    specified = [one for one in VALUES if is_value(QUOTED[name], one)]
    assert set(taken) <= set(specified)
    assert taken
    assert len(specified) < len(VALUES)


def is_answered(parse: Callable[[str], object], query: str) -> bool:
    try:
        parse(query)
    except InvalidRequest:
        return False
    return True


def is_value(parameter: Json, text: str) -> bool:
    """Whether a parameter may have this text. A number is written in ASCII's digits."""
    number = parameter["schema"].get("type") == "integer" and re.fullmatch("[0-9]+", text)
    return not problems_with(OPENAPI, parameter["schema"], int(text) if number else text)
