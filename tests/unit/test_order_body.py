"""What a client may send, and the problem document (RFC 9457) that says what is wrong with anything else."""

import codecs
import json
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.order import OrderTerms
from order_engine.domain.refusals import (
    AcceptanceUnknown,
    ClientOrderIdReused,
    EnginePaused,
    InvalidRequest,
    NothingAccepted,
    RequestRefused,
    TooManySubscribers,
)
from order_engine.domain.tokens import TOKENS
from order_engine.entrypoints.order_body import MAX_BODY_BYTES, parse_order
from order_engine.entrypoints.problems import problem_response
from order_engine.use_cases.submit import fingerprint_of

JSON = "application/json"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENOUGH = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
SOL_MINT = TOKENS["SOL"].mint
TITLES = {  # RFC 9110
    400: "Bad Request",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def body(**changes: Any) -> bytes:
    return json.dumps({**ENOUGH, **changes}).encode()


def body_with(field: str, literal: str) -> bytes:
    """A body in which a field has a value that json.dumps might not write."""
    others = {key: value for key, value in ENOUGH.items() if key != field}
    return f'{json.dumps(others)[:-1]}, "{field}": {literal}}}'.encode()


def parse(raw: bytes, content_type: str = JSON, key: str | None = None) -> OrderTerms:
    return parse_order(raw, content_type, key)


def problem_of(raw: bytes, content_type: str = JSON, key: str | None = None) -> dict[str, Any]:
    """The document that the client gets."""
    with pytest.raises(InvalidRequest) as caught:
        parse(raw, content_type, key)
    return document(caught.value)


def document(refusal: RequestRefused) -> dict[str, Any]:
    """A refusal's problem document, in which everything must be that every one has."""
    response = problem_response(refusal)
    problem: dict[str, Any] = json.loads(response["body"])
    assert response["headers"] == {"Content-Type": "application/problem+json"}
    assert response["statusCode"] == problem["status"]
    assert (problem["type"], problem["title"]) == ("about:blank", TITLES[problem["status"]])
    assert problem["detail"] == str(refusal)
    assert ("errors" in problem) == bool(refusal.errors)
    return problem


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_two_tokens_and_an_amount_are_enough() -> None:
    terms = parse(b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}')

    assert (terms.token_in, terms.token_out, terms.amount_in) == ("SOL", "USDC", Decimal(10))
    assert (terms.order_type, terms.slippage_bps, terms.max_price_impact_bps) == ("market", 50, 1000)
    assert (terms.min_amount_out, terms.client_order_id) == (None, None)


def test_null_is_what_a_field_is_that_was_left_out() -> None:
    optional = ("orderType", "slippageBps", "maxPriceImpactBps", "minAmountOut", "clientOrderId")
    nulls = body(**dict.fromkeys(optional))

    assert parse(nulls) == parse(body())
    assert parse(nulls, key="mine") == parse(body(clientOrderId="mine"))
    assert fingerprint_of(parse(nulls)) == fingerprint_of(parse(body()))


def test_everything_that_may_be_said_is_taken() -> None:
    given_fields = {"orderType": "market", "slippageBps": 0, "maxPriceImpactBps": 10_000, "clientOrderId": "a b/ü-1"}
    terms = parse(body(**given_fields, minAmountOut="1400.00001", tokenIn=SOL_MINT, tokenOut="bonk"))

    assert (terms.slippage_bps, terms.max_price_impact_bps) == (0, 10_000)
    assert (terms.min_amount_out, terms.client_order_id) == (Decimal("1400.00001"), "a b/ü-1")
    assert (terms.token_in, terms.token_out) == ("SOL", "BONK")


@pytest.mark.parametrize(
    ("literal", "amount"), [("1e-9", "0.000000001"), ("1E3", "1000"), ("1.500000000000", "1.5"), ("0.1", "0.1")]
)
def test_an_amount_may_have_an_exponent_and_zeros(literal: str, amount: str) -> None:
    assert parse(body_with("amountIn", literal)).amount_in == Decimal(amount)


@given(st.decimals("0.000000001", "18446744073", places=9), st.booleans())  # 20 digits, where a float has 17
def test_no_amount_is_changed_by_being_read(amount: Decimal, as_string: bool) -> None:
    literal = f'"{amount:f}"' if as_string else f"{amount:f}"

    assert parse(body_with("amountIn", literal)).amount_in == amount


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json; x="y;z"; Charset="UTF-8"',
        " application/json ;x=y",
    ],
)
def test_the_media_type_may_have_parameters_and_any_case(content_type: str) -> None:
    assert parse(body().ljust(MAX_BODY_BYTES), content_type) == parse(body())


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse(codecs.BOM_UTF8 + body()) == parse(body())


@pytest.mark.parametrize(
    ("changes", "in_force", "until"),
    [
        ({}, "gtc", None),
        ({"timeInForce": "gtc"}, "gtc", None),
        ({"timeInForce": "fok"}, "fok", None),
        ({"timeInForce": None, "expiresAt": None}, "gtc", None),
        ({"expiresAt": "2026-11-23T12:00:00Z"}, "gtd", NOON),
        ({"expiresAt": "2026-11-23t12:00:00z", "timeInForce": "gtd"}, "gtd", NOON),
        ({"expiresAt": "2026-11-23T13:30:00.000000+01:30"}, "gtd", NOON),
        ({"expiresAt": "2026-11-23T12:00:00.25Z"}, "gtd", NOON.replace(microsecond=250_000)),
    ],
)
def test_an_order_says_how_long_it_is_in_force(changes: dict[str, Any], in_force: str, until: datetime | None) -> None:
    terms = parse(body(**changes))

    assert (terms.time_in_force, terms.expires_at) == (in_force, until)


def test_a_time_is_the_same_however_its_offset_is_written() -> None:
    one, other = (parse(body(expiresAt=it)) for it in ("2026-11-23T12:00:00Z", "2026-11-23T07:00:00.000-05:00"))

    assert fingerprint_of(one) == fingerprint_of(other) != fingerprint_of(parse(body()))


@pytest.mark.parametrize(
    ("fields", "limit_price", "trigger_price"),
    [
        ({"orderType": "limit", "limitPrice": "0.000000000000000001"}, "0.000000000000000001", None),
        ({"orderType": "limit", "limitPrice": 160, "timeInForce": "fok", "slippageBps": 0}, "160", None),
        ({"orderType": "limit", "limitPrice": "1844674407370.9551615"}, "1844674407370.9551615", None),
        ({"orderType": "limit", "limitPrice": 160, "slippageBps": 9999}, "160", None),
        ({"orderType": "stop", "triggerPrice": "140.50", "minAmountOut": 1}, None, "140.5"),
        ({"orderType": "takeProfit", "triggerPrice": "1000000000000000", "slippageBps": 10_000}, None, "1E15"),
        ({"orderType": "sniper", "tokenOut": "NOVA", "limitPrice": None}, None, None),
        ({"orderType": "sniper", "tokenOut": "NOVA", "limitPrice": "2900.00"}, "2900", None),
        ({"orderType": "sniper", "slippageBps": 10_000}, None, None),
        ({"orderType": "market", "limitPrice": None, "triggerPrice": None}, None, None),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_an_order_that_waits_says_for_which_price(
    fields: dict[str, Any], limit_price: str | None, trigger_price: str | None
) -> None:
    terms = parse(body(**fields))

    assert terms.order_type == fields["orderType"]
    assert terms.limit_price == (Decimal(limit_price) if limit_price else None)
    assert terms.trigger_price == (Decimal(trigger_price) if trigger_price else None)


@given(st.decimals("0.000000000000000001", "1000000", places=18))  # 25 digits, where a float has 17
def test_no_price_is_changed_by_being_read(price: Decimal) -> None:
    order = json.dumps({**ENOUGH, "orderType": "stop"})[:-1]

    for literal in (f"{price:f}", f'"{price:f}"'):
        assert parse(f'{order}, "triggerPrice": {literal}}}'.encode()).trigger_price == price


# --- what is refused --------------------------------------------------------------------------------------------------

OTHER_MEDIA = ["", "text/plain", "application/xml", "application/jsonp", "application/x-www-form-urlencoded"]
NO_JSON = [b"", b"  \n", b"order", b"tokenIn=SOL", b"{", b'{"tokenIn":"SOL",}', b"{'tokenIn':'SOL'}"]
NO_JSON += [b'{"tokenIn":"SOL"} {}', b"\xff\xfe\xfd", b"[" * 10_000]
NO_OBJECT = [b'"SOL"', b"10", b"null", b"true", b"[]", b'[{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}]']
TWICE = b'{"tokenIn":"SOL","tokenOut":"USDC","amountIn":1,"amountIn":2}'


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        *((body(), other, 415, "UNSUPPORTED_MEDIA_TYPE") for other in OTHER_MEDIA),
        *((body().ljust(size), JSON, 413, "BODY_TOO_LARGE") for size in (MAX_BODY_BYTES + 1, 300_000)),
        *((raw, JSON, 400, "INVALID_JSON") for raw in [*NO_JSON, *NO_OBJECT, TWICE]),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_a_body_is_refused_as_a_whole(raw: bytes, content_type: str, status: int, code: str) -> None:
    problem = problem_of(raw, content_type)

    assert (problem["status"], problem["code"]) == (status, code)
    assert "errors" not in problem


@pytest.mark.parametrize(
    ("content_type", "detail"),
    [
        *((twice, "must be given once") for twice in (f"{JSON},{JSON}", f"{JSON}, text/plain", f"text/plain,{JSON}")),
        *((f"{JSON};charset={other}", "JSON is UTF-8") for other in ("latin1", '"UTF-16"', "utf8", "")),
        (f"{JSON}; Charset = iso-8859-1", "charset can't be 'iso-8859-1'"),
    ],
)
def test_a_content_type_that_is_ambiguous_or_no_utf_8_is_refused(content_type: str, detail: str) -> None:
    problem = problem_of(body(), content_type)

    assert (problem["status"], problem["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert detail in problem["detail"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "latin1"])
def test_a_body_that_is_no_utf_8_is_refused(encoding: str) -> None:
    problem = problem_of(body_with("clientOrderId", '"ü"').decode().encode(encoding))

    assert (problem["status"], problem["code"]) == (400, "INVALID_JSON")
    assert "JSON is UTF-8, and the body is" in problem["detail"]


WRONG: list[tuple[str, str, list[str]]] = [
    ("amountIn", "is required", ["null"]),
    ("amountIn", "must be a number", ["true", "[10]", '{"value": 10}', '""', '"ten"', '"1e3"', '"Infinity"']),
    ("amountIn", "must be a number", ["NaN", "Infinity", "-Infinity", "1e" + "9" * 30, "1e-" + "9" * 30]),
    ("amountIn", "must be greater than 0", ["0", "-0.0", "-10", '"-0.1"', '"0.000000000"']),
    ("amountIn", "must be at most 1000000000000000", ["1000000000000001", "1e400", "1e999999999", "9" * 5000]),
    ("amountIn", "must be at most 18446744073.709551615", ['"18446744073.709551616"']),
    ("amountIn", "at most 9 decimal places, which is what SOL has", ['"0.0000000001"', "1.0000000001", "1e-10"]),
    ("amountIn", "more decimal places than any token", ["0." + "0" * 5000 + "1", "1e-400"]),
    ("minAmountOut", "must be greater than 0", ["0"]),
    ("minAmountOut", "must be a number", ['"a lot"']),
    ("minAmountOut", "at most 6 decimal places, which is what USDC has", ['"0.0000001"']),
    ("minAmountOut", "must be at most 18446744073709.551615", ['"18446744073709.551616"']),
    ("tokenIn", "is required", ["null"]),
    ("tokenIn", "must be one of SOL, USDC", ['"DOGE"', '""', '["SOL"]', '"\\ud800"']),
    ("tokenOut", "is required", ["null"]),
    ("tokenOut", "must be one of SOL, USDC", ['"DOGE"', "7"]),
    ("tokenOut", "must differ from tokenIn: both are SOL", ['"SOL"', '"sol"', f'"{SOL_MINT}"']),
    (
        "orderType",
        "must be 'market', 'limit', 'stop', 'takeProfit' or 'sniper'",
        ['"oco"', '"LIMIT"', '"take_profit"', '""', "1", "true", "[]", "{}"],
    ),
    ("slippageBps", "whole number from 0 to 10000", ["-1", "10001", "0.5", '"50"', "true"]),
    ("maxPriceImpactBps", "whole number from 0 to 10000", ["10001"]),
    ("timeInForce", "can't be ioc", ['"ioc"']),
    ("timeInForce", "must be gtc, gtd", ['"GTC"', '"day"', '""', "5", "[]", "true"]),
    (
        "expiresAt",
        "RFC 3339",
        [
            *('"2026-11-23"', '"2026-11-23T12:00:00"', '"2026-11-23 12:00:00Z"', '"2026-W48-1T12:00:00Z"', '"soon"'),
            *("1795359845", '"1795359845"', '"2026-11-23T12:00Z"', '"2026-11-23T12:00:00.1234567Z"', "{}", "true"),
        ],
    ),
    (
        "expiresAt",
        "a time that there is",
        ['"2026-02-30T12:00:00Z"', '"2026-11-23T25:00:00Z"', '"0001-01-01T00:00:00+23:59"', '"2026-11-23T12:00:60Z"'],
    ),
    ("clientOrderId", "1 to 128 printable characters", ['""', f'"{"x" * 129}"', '"a\\nb"', '"a\\u0000b"', '" a"', "7"]),
    ("orderId", "is not a field of an order", ['"4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"']),
    ("token_in", "is not a field of an order", ['"SOL"']),
    ("comment", "is not a field of an order", ['"please"', "null"]),
]


@pytest.mark.parametrize(
    ("field", "message", "literal"),
    [(field, message, literal) for field, message, literals in WRONG for literal in literals],
    ids=lambda value: str(value)[:32],
)
def test_a_wrong_field_is_named(field: str, message: str, literal: str) -> None:
    problem = problem_of(body_with(field, literal))

    assert (problem["status"], problem["code"]) == (422, "INVALID_FIELD")
    (error,) = problem["errors"]
    assert error["field"] == field
    assert message in error["message"]
    assert problem["detail"] == f"{field} {error['message']}"


def test_every_wrong_or_missing_field_is_named_at_once() -> None:
    problem = problem_of(b'{"tokenIn":"DOGE","amountIn":0,"slippageBps":-1,"comment":1}')

    named = {error["field"]: error["message"] for error in problem["errors"]}
    assert set(named) == {"tokenIn", "tokenOut", "amountIn", "slippageBps", "comment"}
    assert named["tokenOut"] == "is required"
    assert [error["field"] for error in problem_of(b"{}")["errors"]] == list(ENOUGH)


# Of each type, with a price that it needs.
TYPED: dict[str, dict[str, Any]] = {
    "market": {},
    "limit": {"limitPrice": "160.5"},
    "stop": {"triggerPrice": "140.5"},
    "takeProfit": {"triggerPrice": "160.5"},
    "sniper": {},
}


def typed(order_type: str, **changes: Any) -> bytes:
    return body(orderType=order_type, **{**TYPED[order_type], **changes})


WRONG_PRICES = [
    (
        "must be a number",
        ["true", "[160]", '{"value": 160}', '""', '"high"', '"1e3"', '"Infinity"', '"160,5"', '" 160"'],
    ),
    ("must be a number", ["NaN", "Infinity", "-Infinity", "1e" + "9" * 30, "1e-" + "9" * 30]),
    ("must be greater than 0", ["0", "-0.0", "-160.5", '"-0.1"', '"0.000000000000000000"']),
    ("must be at most 1000000000000000", ['"1000000000000000.000000000000000001"', "1e16", "9" * 5000]),
    ("must have at most 18 decimal places", ['"0.0000000000000000001"', "1.0000000000000000001", "1e-19", "1.5e-18"]),
    ("more decimal places than any token", ["1e-41", "0." + "0" * 5000 + "1"]),
]


@pytest.mark.parametrize("order_type", ["limit", "sniper", "stop", "takeProfit"])
@pytest.mark.parametrize(
    ("message", "literal"),
    [(message, literal) for message, literals in WRONG_PRICES for literal in literals],
    ids=lambda value: str(value)[:32],
)
def test_a_wrong_price_is_named(order_type: str, message: str, literal: str) -> None:
    field = "limitPrice" if order_type in ("limit", "sniper") else "triggerPrice"
    problem = problem_of(body_with(field, literal).replace(b"{", f'{{"orderType": "{order_type}", '.encode(), 1))

    assert (problem["status"], problem["code"]) == (422, "INVALID_FIELD")
    (error,) = problem["errors"]
    assert error["field"] == field
    assert message in error["message"]


SENSELESS: list[tuple[str, dict[str, Any], str, str]] = [
    ("limit", {"limitPrice": None}, "limitPrice", "is required with orderType limit"),
    ("stop", {"triggerPrice": None}, "triggerPrice", "is required with orderType stop"),
    ("takeProfit", {"triggerPrice": None}, "triggerPrice", "is required with orderType takeProfit"),
    ("limit", {"limitPrice": None, "triggerPrice": 1}, "limitPrice", "is required with orderType limit"),
    *(
        (kind, {"limitPrice": 1}, "limitPrice", f"orderType {kind}; it belongs to limit and sniper")
        for kind in ("market", "stop", "takeProfit")
    ),
    *(
        (kind, {"triggerPrice": 1}, "triggerPrice", f"orderType {kind}; it belongs to stop and takeProfit")
        for kind in ("market", "limit", "sniper")
    ),
    *(
        (kind, {"minAmountOut": 1}, "minAmountOut", f"orderType {kind}: its floor is limitPrice")
        for kind in ("limit", "sniper")
    ),
    *(
        (kind, {"timeInForce": "fok"}, "timeInForce", f"orderType {kind}, which waits; use gtc or gtd")
        for kind in ("stop", "takeProfit", "sniper")
    ),
    *(
        (kind, {"limitPrice": 1, "slippageBps": 10_000}, "slippageBps", "must be less than 10000 with limitPrice")
        for kind in ("limit", "sniper")
    ),
    ("limit", {"timeInForce": "ioc"}, "timeInForce", "can't be ioc"),
    (
        "limit",
        {"limitPrice": "1844674407370.9551616"},  # for 10 SOL, one base unit too much
        "limitPrice",
        "asks for more than 18446744073709.551615, which is all the USDC that Solana can express",
    ),
    ("sniper", {"limitPrice": "1000000000000000", "amountIn": "18446744073.709551615"}, "limitPrice", "all the USDC"),
    ("limit", {"limitPrice": "1844674407370.955161500000000001"}, "limitPrice", "asks for more than"),  # rounded up
]


@pytest.mark.parametrize(
    ("order_type", "changes", "field", "message"),
    SENSELESS,
    ids=[f"{kind} {field} {number}" for number, (kind, _, field, _) in enumerate(SENSELESS)],
)
def test_what_makes_no_sense_with_the_type_is_named(
    order_type: str, changes: dict[str, Any], field: str, message: str
) -> None:
    problem = problem_of(typed(order_type, **changes))

    assert (problem["status"], problem["code"]) == (422, "INVALID_FIELD")
    (error,) = problem["errors"]
    assert error["field"] == field
    assert message in error["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from([*ENOUGH, "orderType", "slippageBps", "minAmountOut", "clientOrderId", "more"])


@given(st.dictionaries(fields, json_values, max_size=8))
def test_a_json_object_is_an_order_or_a_refusal_that_names_a_field(given_body: dict[str, Any]) -> None:
    try:
        terms = parse(json.dumps(given_body).encode())
    except InvalidRequest as refusal:
        assert document(refusal)["status"] == 422
        assert refusal.errors
    else:
        assert terms.token_in != terms.token_out


@given(st.binary(max_size=64))
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    assert problem_of(raw)["status"] in (400, 422)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (InvalidRequest("UNKNOWN_ORDER", "there is no such order"), 404, "UNKNOWN_ORDER"),
        (ClientOrderIdReused("mine"), 409, "CLIENT_ORDER_ID_REUSED"),
        (TooManySubscribers(), 429, "TOO_MANY_SUBSCRIBERS"),
        (EnginePaused(), 503, "PAUSED"),
        (NothingAccepted("the queue did not take the order"), 503, "NOTHING_ACCEPTED"),
        (AcceptanceUnknown("the queue did not respond", "mine"), 503, "ACCEPTANCE_UNKNOWN"),
    ],
)
def test_every_other_refusal_has_its_status_and_code(refusal: RequestRefused, status: int, code: str) -> None:
    problem = document(refusal)

    assert (problem["status"], problem["code"]) == (status, code)
    response = problem_response(refusal, HTTPStatus.BAD_REQUEST, {"Retry-After": "1"})
    assert response["statusCode"] == json.loads(response["body"])["status"] == 400
    assert response["headers"] == {"Content-Type": "application/problem+json", "Retry-After": "1"}


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_idempotency_key_is_another_way_to_say_client_order_id() -> None:
    said = body(clientOrderId="mine")

    assert parse(body(), key="mine") == parse(said) == parse(said, key="mine")


@pytest.mark.parametrize(
    ("inside", "key", "field"),
    [
        *((other, "mine", "clientOrderId") for other in ("other", "", 7, ["mine"])),
        *((None, key, "Idempotency-Key") for key in ("", "x" * 129, "mine,mine", "mine, other", ",")),
        ("a,b", "a,b", "Idempotency-Key"),
    ],
)
def test_a_key_that_differs_or_breaks_the_rules_is_refused(inside: object, key: str, field: str) -> None:
    problem = problem_of(body(clientOrderId=inside), key=key)

    assert problem["status"] == 422
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_client_order_id_in_the_body_may_have_a_comma() -> None:
    assert parse(body(clientOrderId="a,b")).client_order_id == "a,b"


@pytest.mark.parametrize(
    "other",
    [
        body(amountIn="10"),
        body_with("amountIn", "10.000"),
        body_with("amountIn", "1e1"),
        body(tokenIn="sol", tokenOut=TOKENS["USDC"].mint),
        body(orderType="market", slippageBps=50, maxPriceImpactBps=1000),
        body(clientOrderId="mine"),
        b'{ "amountIn": 10, "tokenOut": "USDC", "tokenIn": "SOL" }',
    ],
)
def test_another_spelling_of_the_same_order_has_the_same_fingerprint(other: bytes) -> None:
    assert fingerprint_of(parse(other)) == fingerprint_of(parse(body()))


def test_another_spelling_of_a_price_has_the_same_fingerprint() -> None:
    spelled = [typed("limit", limitPrice=price) for price in ("160", "160.000000000000000000000", 160)]

    assert len({fingerprint_of(parse(one)) for one in spelled}) == 1


def test_an_order_without_the_fields_of_later_releases_has_the_fingerprint_that_it_had() -> None:
    with_nulls = body(limitPrice=None, triggerPrice=None, timeInForce=None, expiresAt=None)

    assert fingerprint_of(parse(body())) == fingerprint_of(parse(with_nulls))
    assert fingerprint_of(parse(body())) == "30499e3a6a3d162bf2a8396a9fd13f4b8a85660e73c638bbc78cb796c7216c19"


def test_every_field_that_changes_the_order_changes_its_fingerprint() -> None:
    changes: list[dict[str, Any]] = [{}, {"amountIn": "10.000000001"}, {"tokenIn": "RAY"}, {"tokenOut": "USDT"}]
    changes += [{"tokenIn": "USDC", "tokenOut": "SOL"}, {"slippageBps": 51}, {"maxPriceImpactBps": 999}]
    changes += [{"minAmountOut": 1}, {"minAmountOut": 10}]
    changes += [{"orderType": "sniper"}, {"orderType": "sniper", "limitPrice": 1}]
    changes += [{"orderType": "limit", "limitPrice": 1}, {"orderType": "limit", "limitPrice": "1.000000000000000001"}]
    changes += [{"orderType": "limit", "limitPrice": 1, "timeInForce": "fok"}]
    changes += [{"orderType": kind, "triggerPrice": 1} for kind in ("stop", "takeProfit")]

    assert len({fingerprint_of(parse(body(**change))) for change in changes}) == len(changes)


def test_an_answer_is_not_much_larger_than_a_good_request_whatever_was_sent() -> None:
    unknown = json.dumps({f"field {number:03} {'x' * 200}": number for number in range(60)}).encode()
    for body, content_type in (
        (unknown, "application/json"),
        (b"{}", "x" * 5000),
        (b"{}", f"application/json; charset={'x' * 5000}"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            parse_order(body, content_type)

        response = problem_response(refusal.value)

        assert len(response["body"]) < 4000
        errors = json.loads(response["body"]).get("errors", [])
        assert len(errors) <= 10
        assert all(len(error["field"]) <= 64 for error in errors)


def test_a_body_that_a_gateway_has_decoded_wrongly_is_refused() -> None:
    garbled = json.dumps({**ENOUGH, "clientOrderId": "abc\N{REPLACEMENT CHARACTER}"}, ensure_ascii=False).encode()

    assert problem_of(garbled)["code"] == "INVALID_JSON"
    assert "JSON is UTF-8" in problem_of(garbled)["detail"]


@pytest.mark.parametrize(
    "changes",
    [
        {"timeInForce": "gtd"},
        {"timeInForce": "gtc", "expiresAt": "2026-11-23T12:00:00Z"},
        {"timeInForce": "fok", "expiresAt": "2026-11-23T12:00:00Z"},
    ],
)
def test_what_makes_no_sense_together_is_refused(changes: dict[str, str]) -> None:
    problem = problem_of(body(**changes))

    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, ["expiresAt"])
