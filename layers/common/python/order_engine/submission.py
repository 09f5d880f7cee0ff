"""Taking an order in: check the request, write it to the journal as pending, put it before the workers."""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from order_engine.amounts import decimal_places, most_of, parse_amount, to_wire
from order_engine.errors import AcceptanceUnknown, FieldError, InvalidRequest, NothingAccepted, ServiceUnavailable
from order_engine.observability import about, count, logger
from order_engine.orders import Order, accepted
from order_engine.ports import Clock, Journal, OrderQueue
from order_engine.tokens import TOKENS, resolve

# The request itself is under 1 kB; 16 KiB leaves room for clients that pad, and keeps what is hashed and parsed small.
MAX_BODY_BYTES = 16 * 1024


def _symbol(value: object) -> str:
    return resolve(value).symbol


def _basis_points(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise ValueError("must be a whole number from 0 to 10000 (100 is 1 %)")
    return value


TokenSymbol = Annotated[str, BeforeValidator(_symbol)]
PositiveAmount = Annotated[Decimal, BeforeValidator(parse_amount)]


def _client_order_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 128 or not value.isprintable() or value != value.strip():
        raise ValueError("must be a string of 1 to 128 printable characters, without blanks at its ends")
    return value


class OrderRequest(BaseModel):
    """What a client may ask for; `tokenIn`, `tokenOut` and `amountIn` are enough. Raises ValidationError."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    token_in: TokenSymbol
    token_out: TokenSymbol
    amount_in: PositiveAmount
    order_type: Literal["market"] = "market"
    slippage_bps: Annotated[int, BeforeValidator(_basis_points)] = 50
    max_price_impact_bps: Annotated[int, BeforeValidator(_basis_points)] = 1000
    min_amount_out: PositiveAmount | None = None
    client_order_id: Annotated[str | None, BeforeValidator(_client_order_id)] = None

    @model_validator(mode="after")
    def _fits_the_tokens(self) -> "OrderRequest":
        if self.token_in == self.token_out:
            raise _WrongField("tokenOut", f"must differ from tokenIn: both are {self.token_in}")
        for field, amount, symbol in (
            ("amountIn", self.amount_in, self.token_in),
            ("minAmountOut", self.min_amount_out, self.token_out),
        ):
            decimals = TOKENS[symbol].decimals
            if amount is None:
                continue
            if decimal_places(amount) > decimals:
                raise _WrongField(field, f"must have at most {decimals} decimal places, which is what {symbol} has")
            if amount > most_of(decimals):
                most = to_wire(most_of(decimals))
                raise _WrongField(field, f"must be at most {most}, which is all the {symbol} that Solana can express")
        return self


class _WrongField(ValueError):
    """A check over several fields found one of them wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse_request(body: bytes, content_type: str, idempotency_key: str | None = None) -> OrderRequest:
    """The request in an HTTP body; `idempotency_key` is that header, another way to say clientOrderId.

    Raises InvalidRequest (415, 413, 400, 422) with every field that is wrong. Numbers never pass through a float.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        said = f"not {media_type!r}" if media_type else "and it was not given"
        raise InvalidRequest(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Type must be application/json, {said}")
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(
            413, "BODY_TOO_LARGE", f"the body has {len(body)} bytes; an order has at most {MAX_BODY_BYTES}"
        )
    fields = _json_object(body)
    if idempotency_key is not None:
        if fields.get("clientOrderId") not in (None, idempotency_key):
            raise _invalid(
                FieldError("clientOrderId", "must be equal to the Idempotency-Key header when both are given")
            )
        fields["clientOrderId"] = idempotency_key
    try:
        return OrderRequest.model_validate(fields)
    except ValidationError as refusal:
        raise _invalid(*(_field_error(dict(error)) for error in refusal.errors())) from refusal


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise InvalidRequest(400, "INVALID_JSON", "the body is empty; an order as a JSON object is needed")
    try:
        parsed = json.loads(
            body,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=Decimal,  # NaN and Infinity are no JSON, but refused as a value their field can be named
            object_pairs_hook=_no_repeats,
        )
    except (ValueError, RecursionError) as fault:
        raise InvalidRequest(400, "INVALID_JSON", f"the body is not JSON: {fault}") from fault
    if not isinstance(parsed, dict):
        raise InvalidRequest(400, "INVALID_JSON", 'the body must be a JSON object, such as {"tokenIn":"SOL", …}')
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


def _field_error(error: dict[str, Any]) -> FieldError:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _WrongField):
        return FieldError(cause.field, str(cause))
    field = ".".join(str(part) for part in error["loc"])
    match error["type"]:
        case "missing":
            return FieldError(field, "is required")
        case "extra_forbidden":
            return FieldError(field, "is not a field of an order")
        case "value_error":
            return FieldError(field, str(cause))
        case _:
            return FieldError(field, str(error["msg"]).replace("Input should be", "must be"))


def _invalid(*errors: FieldError) -> InvalidRequest:
    detail = "; ".join(f"{error.field} {error.message}" for error in errors)
    return InvalidRequest(422, "INVALID_FIELD", detail, errors)


def fingerprint_of(request: OrderRequest) -> str:
    """Equal for requests that ask for the same thing, however they spell tokens and numbers."""
    asked = request.model_dump(exclude={"client_order_id"})
    if asked["max_price_impact_bps"] == OrderRequest.model_fields["max_price_impact_bps"].default:
        del asked["max_price_impact_bps"]  # so that a repeat is equal to what an earlier release took, which had none
    canonical = {key: to_wire(value) if isinstance(value, Decimal) else value for key, value in asked.items()}
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Submission:
    """The use case behind POST /api/orders/execute."""

    journal: Journal
    queue: OrderQueue
    now: Clock

    def submit(self, request: OrderRequest) -> Order:
        """Accepts the order: when this returns, it is journaled and queued, and will end in one final status.

        A request with a clientOrderId may be repeated: it returns the same order, which is queued again (harmless).
        Raises ClientOrderIdReused if the key belongs to another body, NothingAccepted if the order is not executed and
        will not be, and AcceptanceUnknown where a service did not say what became of it.
        """
        key = request.client_order_id
        order = Order(order_id=uuid4(), created_at=self.now(), **request.model_dump())
        try:
            entry = self.journal.create(accepted(order), fingerprint_of(request))
        except ServiceUnavailable as fault:
            # Without a key nobody can have queued it, and nobody will.
            if key is None:
                raise NothingAccepted("the journal did not take the order") from fault
            raise AcceptanceUnknown("the journal did not respond", key) from fault
        order = entry.order
        if not entry.is_final:
            try:
                self.queue.send(order.order_id)
            except ServiceUnavailable as fault:
                self._give_back(order, fault)
        count("OrdersAccepted")
        with about(order.order_id):
            logger.info("order accepted", extra={"clientOrderId": order.client_order_id})
        return order

    def _give_back(self, order: Order, fault: ServiceUnavailable) -> None:
        """Takes an order that could not be queued out of the journal again.

        A failed call may have queued it all the same. Then either a worker has it by now, and it is accepted after
        all; or the message will find no order, and ends as a dead letter. One with a clientOrderId stays: the client
        has the means to go on with it.
        """
        if order.client_order_id is not None:
            raise AcceptanceUnknown("the queue did not respond", order.client_order_id) from fault
        try:
            withdrawn = self.journal.withdraw(order.order_id)
        except ServiceUnavailable:
            logger.warning("an order that could not be queued is left in the journal")
            raise AcceptanceUnknown("the queue did not respond", None) from fault
        if withdrawn:
            raise NothingAccepted("the queue did not take the order") from fault
