"""The body of POST /api/orders/execute, checked field by field."""

import json
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from order_engine.domain.amounts import decimal_places, max_amount_of, to_wire
from order_engine.domain.order import OrderTerms, OrderTypeName, TimeInForce
from order_engine.domain.order_types import ORDER_TYPES, least_of
from order_engine.domain.refusals import FieldError, InvalidRequest
from order_engine.domain.tokens import TOKENS
from order_engine.entrypoints.fields import (
    MOST_OF_A_NAME,
    BasisPoints,
    ClientOrderId,
    Moment,
    PositiveAmount,
    Price,
    TokenSymbol,
    WrongField,
    check_client_order_id,
    invalid_fields,
)

# The request itself is under 1 kB; 16 KiB leaves room for clients that pad, and keeps what is hashed and parsed small.
MAX_BODY_BYTES = 16 * 1024

_SENSELESS = {
    "limit_price": "makes no sense with orderType {}; it belongs to limit and sniper",
    "trigger_price": "makes no sense with orderType {}; it belongs to stop and takeProfit",
    "min_amount_out": "makes no sense with orderType {}: its floor is limitPrice",
}


def _time_in_force(value: object) -> object:
    if value == "ioc":
        raise ValueError("can't be ioc: orders are filled whole or not at all, which is fok")
    if value not in ("gtc", "gtd", "fok"):
        raise ValueError("must be gtc, gtd (with expiresAt) or fok")
    return value


class _OrderBody(BaseModel):
    """What a client may ask for; `tokenIn`, `tokenOut` and `amountIn` are enough. Raises ValidationError."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    token_in: TokenSymbol
    token_out: TokenSymbol
    amount_in: PositiveAmount
    order_type: OrderTypeName = "market"
    slippage_bps: BasisPoints = 50
    max_price_impact_bps: BasisPoints = 1000
    min_amount_out: PositiveAmount | None = None
    client_order_id: ClientOrderId | None = None
    time_in_force: Annotated[TimeInForce | None, BeforeValidator(_time_in_force)] = None
    expires_at: Moment | None = None
    limit_price: Price | None = None
    trigger_price: Price | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, fields: dict[str, Any]) -> dict[str, Any]:
        # Typed clients send every field that they know.
        known = {field.alias for field in cls.model_fields.values()}
        return {name: value for name, value in fields.items() if value is not None or name not in known}

    @model_validator(mode="after")
    def _fits_the_tokens(self) -> "_OrderBody":
        if self.token_in == self.token_out:
            raise WrongField("tokenOut", f"must differ from tokenIn: both are {self.token_in}")
        for field, amount, symbol in (
            ("amountIn", self.amount_in, self.token_in),
            ("minAmountOut", self.min_amount_out, self.token_out),
        ):
            decimals = TOKENS[symbol].decimals
            if amount is None:
                continue
            if decimal_places(amount) > decimals:
                raise WrongField(field, f"must have at most {decimals} decimal places, which is what {symbol} has")
            if amount > max_amount_of(decimals):
                most = to_wire(max_amount_of(decimals))
                raise WrongField(field, f"must be at most {most}, which is all the {symbol} that Solana can express")
        return self

    @model_validator(mode="after")
    def _fits_its_type(self) -> "_OrderBody":
        kind, name = ORDER_TYPES[self.order_type], self.order_type
        for field in ("limit_price", "trigger_price", "min_amount_out"):
            if getattr(self, field) is None:
                if field in kind.required:
                    raise WrongField(to_camel(field), f"is required with orderType {name}")
            elif field not in kind.required | kind.optional:
                raise WrongField(to_camel(field), _SENSELESS[field].format(name))
        if self.time_in_force == "fok" and not kind.at_once:
            raise WrongField("timeInForce", f"can't be fok with orderType {name}, which waits; use gtc or gtd")
        if self.limit_price is not None and self.slippage_bps == 10_000:
            raise WrongField("slippageBps", "must be less than 10000 with limitPrice: it is kept in reserve above it")
        return self

    @model_validator(mode="after")
    def _says_one_time(self) -> "_OrderBody":
        if self.expires_at and self.time_in_force not in (None, "gtd"):
            raise WrongField(
                "expiresAt", f"can't be given with timeInForce {self.time_in_force}: leave that out, or use gtd"
            )
        if self.time_in_force == "gtd" and self.expires_at is None:
            raise WrongField("expiresAt", "is required with timeInForce gtd")
        return self


def parse_order(body: bytes, content_type: str, idempotency_key: str | None = None) -> OrderTerms:
    """Parse the body of an HTTP request; `idempotency_key` is that header, another way to say clientOrderId.

    A header that was given twice is expected as API Gateway joins it: with a comma. Raises InvalidRequest with every
    field that is wrong. Numbers never pass through a float.
    """
    _check_content_type(content_type)
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest("BODY_TOO_LARGE", f"the body has {len(body)} bytes; an order has at most {MAX_BODY_BYTES}")
    fields = _json_object(body)
    if idempotency_key is not None:
        key = _key_of(idempotency_key)
        if fields.get("clientOrderId") not in (None, key):
            raise InvalidRequest.of(
                FieldError("clientOrderId", "must be equal to the Idempotency-Key header when both are given")
            )
        fields["clientOrderId"] = key
    return check_terms(fields)


def check_terms(fields: dict[str, Any]) -> OrderTerms:
    """Return what a client asks for. Raises InvalidRequest with every field that is wrong."""
    try:
        asked = _OrderBody.model_validate(fields).model_dump()
        asked["time_in_force"] = asked["time_in_force"] or ("gtd" if asked["expires_at"] else "gtc")
        terms = OrderTerms(**asked)
    except ValidationError as refusal:
        raise invalid_fields(refusal, "an order") from refusal
    if terms.limit_price and least_of(terms) > max_amount_of(decimals := TOKENS[terms.token_out].decimals):
        most = to_wire(max_amount_of(decimals))
        message = f"asks for more than {most}, which is all the {terms.token_out} that Solana can express"
        raise InvalidRequest.of(FieldError("limitPrice", message))
    return terms


def _check_content_type(header: str) -> None:
    if "," in header:
        raise InvalidRequest("UNSUPPORTED_MEDIA_TYPE", "Content-Type must be given once, without a comma")
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    if media_type != "application/json":
        said = f"not {media_type[:MOST_OF_A_NAME]!r}" if media_type else "and it was not given"
        raise InvalidRequest("UNSUPPORTED_MEDIA_TYPE", f"Content-Type must be application/json, {said}")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        if name.strip() == "charset" and (charset := value.strip().strip('"')) != "utf-8":
            raise InvalidRequest(
                "UNSUPPORTED_MEDIA_TYPE", f"JSON is UTF-8, so charset can't be {charset[:MOST_OF_A_NAME]!r}"
            )


def _key_of(header: str) -> str:
    """Return the clientOrderId that an Idempotency-Key gives."""
    if "," in header:
        message = "must be given once, without a comma; clientOrderId in the body may have one"
        raise InvalidRequest.of(FieldError("Idempotency-Key", message))
    try:
        return check_client_order_id(header)
    except ValueError as fault:
        raise InvalidRequest.of(FieldError("Idempotency-Key", str(fault))) from fault


def _text_of(body: bytes) -> str:
    """Decode the body. A byte order mark is ignored, as RFC 8259 lets a parser do."""
    encoding = json.detect_encoding(body)
    if not encoding.startswith("utf-8"):
        raise InvalidRequest("INVALID_JSON", f"JSON is UTF-8, and the body is {encoding.upper()}")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise InvalidRequest("INVALID_JSON", f"JSON is UTF-8, and the body is not: {fault}") from fault
    if "\N{REPLACEMENT CHARACTER}" in text:
        # What stands for bytes that are not UTF-8, if a gateway has decoded them: two such keys would be one.
        raise InvalidRequest("INVALID_JSON", "JSON is UTF-8, and the body is not, or has U+FFFD in it")
    return text


def _json_object(body: bytes) -> dict[str, Any]:
    text = _text_of(body)
    if not text.strip():
        raise InvalidRequest("INVALID_JSON", "the body is empty; an order as a JSON object is needed")
    try:
        parsed = json.loads(
            text,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=Decimal,  # NaN and Infinity are no JSON, but refused as a value their field can be named
            object_pairs_hook=_no_repeats,
        )
    except (ValueError, RecursionError) as fault:
        raise InvalidRequest("INVALID_JSON", f"the body is not JSON: {fault}") from fault
    if not isinstance(parsed, dict):
        raise InvalidRequest("INVALID_JSON", 'the body must be a JSON object, such as {"tokenIn":"SOL", ...}')
    return parsed


def _parse_int(digits: str) -> int | Decimal:
    # int() refuses more than 4,300 digits; Decimal does not, and parse_amount then says what is wrong.
    return int(digits) if len(digits) < 40 else Decimal(digits)


def _parse_float(number: str) -> Decimal:
    # It is JSON even where its exponent is more than a Decimal can have; as no number, its field is named.
    try:
        return Decimal(number)
    except InvalidOperation:
        return Decimal("NaN")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is given twice")
    return fields
