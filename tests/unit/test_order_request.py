"""What a client may send, and the problem that names what is wrong with anything else."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.errors import InvalidRequest
from order_engine.domain.tokens import TOKENS
from order_engine.entrypoints.order_body import MAX_BODY_BYTES, OrderRequest, parse_request
from order_engine.use_cases.submit import fingerprint_of

ENOUGH = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
SOL_MINT = TOKENS["SOL"].mint


def body(**changes: Any) -> bytes:
    return json.dumps({**ENOUGH, **changes}).encode()


def body_with(field: str, literal: str) -> bytes:
    """A body in which a field has a value that json.dumps would not write."""
    others = {key: value for key, value in ENOUGH.items() if key != field}
    return f'{json.dumps(others)[:-1]}, "{field}": {literal}}}'.encode()


def parse(raw: bytes, content_type: str = "application/json", key: str | None = None) -> OrderRequest:
    return parse_request(raw, content_type, key)


def refusal_of(raw: bytes, content_type: str = "application/json", key: str | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(raw, content_type, key)
    return caught.value


# --- what is taken --------------------------------------------------------------------------------------------


def test_two_tokens_and_an_amount_are_enough() -> None:
    request = parse(b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}')

    assert (request.token_in, request.token_out, request.amount_in) == ("SOL", "USDC", Decimal(10))
    assert (request.order_type, request.slippage_bps, request.max_price_impact_bps) == ("market", 50, 1000)
    assert request.min_amount_out is None
    assert request.client_order_id is None


def test_everything_that_may_be_said_is_taken() -> None:
    request = parse(
        body(orderType="market", slippageBps=0, minAmountOut="1400.000001", clientOrderId="a b/ü-1", amountIn="0.5")
    )

    assert (request.slippage_bps, request.min_amount_out) == (0, Decimal("1400.000001"))
    assert (request.client_order_id, request.amount_in) == ("a b/ü-1", Decimal("0.5"))


@pytest.mark.parametrize("field", ["minAmountOut", "clientOrderId"])
def test_an_optional_field_may_be_null(field: str) -> None:
    assert parse(body(**{field: None})) == parse(body())


@pytest.mark.parametrize(
    ("literal", "amount"),
    [
        ("0.1", "0.1"),  # as a float: 0.1000000000000000055…
        ("0.100000001", "0.100000001"),
        ("12345678901.123456789", "12345678901.123456789"),  # 20 digits, where a float has 17
        ("18446744073", "18446744073"),
        ("1e-9", "0.000000001"),
        ("1E3", "1000"),
        ('"12345678901.123456789"', "12345678901.123456789"),
        ("1.500000000000", "1.5"),
    ],
)
def test_an_amount_is_taken_to_its_last_digit(literal: str, amount: str) -> None:
    assert parse(body_with("amountIn", literal)).amount_in == Decimal(amount)


@given(st.decimals("0.000000001", "18446744073", places=9).filter(lambda amount: amount > 0), st.booleans())
def test_no_amount_is_changed_by_being_read(amount: Decimal, as_string: bool) -> None:
    literal = f'"{amount:f}"' if as_string else f"{amount:f}"

    assert parse(body_with("amountIn", literal)).amount_in == amount


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"],
)
def test_the_media_type_may_have_parameters_and_any_case(content_type: str) -> None:
    assert parse(body(), content_type) == parse(body())


def test_tokens_may_be_named_by_their_mints() -> None:
    request = parse(body(tokenIn=SOL_MINT, tokenOut="bonk"))

    assert (request.token_in, request.token_out) == ("SOL", "BONK")


def test_a_body_of_exactly_the_greatest_size_is_read() -> None:
    padded = body().ljust(MAX_BODY_BYTES)

    assert parse(padded) == parse(body())


# --- what is refused as a whole -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/xml", "application/jsonp", "multipart/form-data"]
)
def test_another_media_type_is_415(content_type: str) -> None:
    refusal = refusal_of(body(), content_type)

    assert (refusal.status, refusal.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "application/json" in refusal.detail


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 300_000])
def test_a_body_that_is_too_large_is_413(size: int) -> None:
    refusal = refusal_of(body().ljust(size))

    assert (refusal.status, refusal.code) == (413, "BODY_TOO_LARGE")
    assert str(size) in refusal.detail


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  \n",
        b"order",
        b"{",
        b'{"tokenIn":"SOL",}',
        b"{'tokenIn':'SOL'}",
        b'{"tokenIn":"SOL"} {}',
        b'"SOL"',
        b"10",
        b"null",
        b"true",
        b"[]",
        b'[{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}]',
        b"\xff\xfe\xfd",
        b"[" * 10_000,
        b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":1,"amountIn":2}',
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_no_json_object_is_400(raw: bytes) -> None:
    refusal = refusal_of(raw)

    assert (refusal.status, refusal.code) == (400, "INVALID_JSON")
    assert refusal.detail


# --- what is refused for a field ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (b'{"tokenIn":"SOL","tokenOut":"USDC"}', "amountIn", "is required"),
        (body(amountIn=None), "amountIn", "must be a number"),
        (body(amountIn=-1), "amountIn", "must be greater than 0"),
        (body(amountIn="-0.1"), "amountIn", "must be greater than 0"),
        (body(amountIn=0), "amountIn", "must be greater than 0"),
        (body(amountIn="0.000000000"), "amountIn", "must be greater than 0"),
        (body_with("amountIn", "-0.0"), "amountIn", "must be greater than 0"),
        (body(amountIn="ten"), "amountIn", "must be a number"),
        (body(amountIn=""), "amountIn", "must be a number"),
        (body(amountIn=True), "amountIn", "must be a number"),
        (body(amountIn=[10]), "amountIn", "must be a number"),
        (body(amountIn={"value": 10}), "amountIn", "must be a number"),
        (body(amountIn="Infinity"), "amountIn", "must be a number"),
        (body(amountIn="NaN"), "amountIn", "must be a number"),
        (body_with("amountIn", "Infinity"), "amountIn", "must be a number"),
        (body_with("amountIn", "-Infinity"), "amountIn", "must be a number"),
        (body_with("amountIn", "NaN"), "amountIn", "must be a number"),
        (body(amountIn="0.0000000001"), "amountIn", "at most 9 decimal places, which is what SOL has"),
        (body_with("amountIn", "1e-10"), "amountIn", "at most 9 decimal places"),
        (body_with("amountIn", "0." + "0" * 5000 + "1"), "amountIn", "more decimal places than any token"),
        (body_with("amountIn", "1e-999999"), "amountIn", "more decimal places than any token"),
        (body(tokenIn="USDC", tokenOut="SOL", amountIn="1.0000001"), "amountIn", "at most 6 decimal places"),
        (body(amountIn="1000000000000001"), "amountIn", "must be at most 1000000000000000"),
        (body(amountIn="18446744073.709551616"), "amountIn", "must be at most 18446744073.709551615"),
        (body(minAmountOut="18446744073709.551616"), "minAmountOut", "must be at most 18446744073709.551615"),
        (body(maxPriceImpactBps=10_001), "maxPriceImpactBps", "must be a whole number from 0 to 10000"),
        (body_with("amountIn", "1e999999"), "amountIn", "must be at most"),
        (body_with("amountIn", "9" * 5000), "amountIn", "must be at most"),
        (body_with("amountIn", "1e" + "9" * 30), "amountIn", "must be a number"),
        (body_with("amountIn", "1e-" + "9" * 30), "amountIn", "must be a number"),
        (b'{"tokenOut":"USDC","amountIn":10}', "tokenIn", "is required"),
        (b'{"tokenIn":"SOL","amountIn":10}', "tokenOut", "is required"),
        (body(tokenIn="DOGE"), "tokenIn", "must be one of SOL, USDC"),
        (body(tokenOut="DOGE"), "tokenOut", "must be one of SOL, USDC"),
        (body(tokenIn=""), "tokenIn", "must be one of SOL, USDC"),
        (body(tokenIn=None), "tokenIn", "must be one of SOL, USDC"),
        (body(tokenIn=["SOL"]), "tokenIn", "must be one of SOL, USDC"),
        (body(tokenIn="\ud800"), "tokenIn", "must be one of SOL, USDC"),
        (body(tokenIn="USDC"), "tokenOut", "must differ from tokenIn: both are USDC"),
        (body(tokenOut="sol"), "tokenOut", "must differ from tokenIn: both are SOL"),
        (body(tokenOut=SOL_MINT), "tokenOut", "must differ from tokenIn: both are SOL"),
        (body(orderType="limit"), "orderType", "must be 'market'"),
        (body(orderType=None), "orderType", "must be 'market'"),
        (body(slippageBps=-1), "slippageBps", "whole number from 0 to 10000"),
        (body(slippageBps=10_001), "slippageBps", "whole number from 0 to 10000"),
        (body(slippageBps=0.5), "slippageBps", "whole number from 0 to 10000"),
        (body(slippageBps="50"), "slippageBps", "whole number from 0 to 10000"),
        (body(slippageBps=True), "slippageBps", "whole number from 0 to 10000"),
        (body(slippageBps=None), "slippageBps", "whole number from 0 to 10000"),
        (body(minAmountOut=0), "minAmountOut", "must be greater than 0"),
        (body(minAmountOut="a lot"), "minAmountOut", "must be a number"),
        (body(minAmountOut="0.0000001"), "minAmountOut", "at most 6 decimal places, which is what USDC has"),
        (body(clientOrderId=""), "clientOrderId", "1 to 128 printable characters"),
        (body(clientOrderId="x" * 129), "clientOrderId", "1 to 128 printable characters"),
        (body(clientOrderId=" a"), "clientOrderId", "without blanks at its ends"),
        (body(clientOrderId="a\nb"), "clientOrderId", "printable"),
        (body(clientOrderId="a\x00b"), "clientOrderId", "printable"),
        (body(clientOrderId=7), "clientOrderId", "must be a string"),
        (body(orderId="4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"), "orderId", "is not a field of an order"),
        (body(order_id="4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"), "order_id", "is not a field of an order"),
        (body_with("token_in", '"SOL"'), "token_in", "is not a field of an order"),
        (body(comment="please"), "comment", "is not a field of an order"),
    ],
    ids=lambda value: repr(value[-32:]) if isinstance(value, bytes) else None,
)
def test_a_wrong_field_is_422_and_named(raw: bytes, field: str, message: str) -> None:
    refusal = refusal_of(raw)

    assert (refusal.status, refusal.code) == (422, "INVALID_FIELD")
    assert [error.field for error in refusal.errors] == [field]
    assert message in refusal.errors[0].message
    assert f"{field} {refusal.errors[0].message}" in refusal.detail


def test_every_wrong_field_is_named_at_once() -> None:
    refusal = refusal_of(b'{"tokenIn":"DOGE","amountIn":0,"slippageBps":-1,"comment":1}')

    assert {error.field for error in refusal.errors} == {"tokenIn", "tokenOut", "amountIn", "slippageBps", "comment"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from([*ENOUGH, "orderType", "slippageBps", "minAmountOut", "clientOrderId", "more"])


@given(st.dictionaries(fields, json_values, max_size=8))
def test_whatever_a_json_object_holds_it_is_an_order_or_a_refusal_that_names_a_field(
    given_body: dict[str, Any],
) -> None:
    try:
        request = parse(json.dumps(given_body).encode())
    except InvalidRequest as refusal:
        assert refusal.status == 422
        assert refusal.errors
    else:
        assert request.token_in != request.token_out


@given(st.binary(max_size=64))
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    assert refusal_of(raw).status in (400, 422)


# --- keys -----------------------------------------------------------------------------------------------------


def test_the_idempotency_key_is_another_way_to_say_client_order_id() -> None:
    assert (
        parse(body(), key="mine") == parse(body(clientOrderId="mine")) == parse(body(clientOrderId="mine"), key="mine")
    )


@pytest.mark.parametrize("inside", ["other", "", 7, ["mine"]])
def test_two_keys_that_differ_are_refused(inside: object) -> None:
    refusal = refusal_of(body(clientOrderId=inside), key="mine")

    assert refusal.status == 422
    assert [error.field for error in refusal.errors] == ["clientOrderId"]


def test_an_idempotency_key_is_held_to_the_same_rules() -> None:
    assert refusal_of(body(), key="").errors[0].field == "clientOrderId"
    assert refusal_of(body(), key="x" * 129).errors[0].field == "clientOrderId"


@pytest.mark.parametrize(
    "other",
    [
        body(amountIn="10"),
        body_with("amountIn", "10.000"),
        body_with("amountIn", "1e1"),
        body(tokenIn="sol", tokenOut=TOKENS["USDC"].mint),
        body(orderType="market", slippageBps=50, minAmountOut=None),
        body(clientOrderId="mine"),
        b'{ "amountIn": 10, "tokenOut": "USDC", "tokenIn": "SOL" }',
    ],
)
def test_another_spelling_of_the_same_order_has_the_same_fingerprint(other: bytes) -> None:
    assert fingerprint_of(parse(other)) == fingerprint_of(parse(body()))


def test_every_field_that_changes_the_order_changes_its_fingerprint() -> None:
    changed = [
        body(),
        body(amountIn="10.000000001"),
        body(tokenIn="RAY"),
        body(tokenOut="USDT"),
        body(tokenIn="USDC", tokenOut="SOL"),
        body(slippageBps=51),
        body(minAmountOut=1),
        body(minAmountOut=10),
    ]
    assert len({fingerprint_of(parse(raw)) for raw in changed}) == len(changed)
