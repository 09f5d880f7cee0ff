"""The fields of requests, wherever they stand: what each may be, and what is said of one that is wrong."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from order_engine.domain.amounts import decimal_places, parse_amount
from order_engine.domain.refusals import FieldError, InvalidRequest
from order_engine.domain.tokens import resolve

# An answer is not to be larger than its request made it: so many errors are told, and so much of a field's name.
_MOST_ERRORS = 10
MOST_OF_A_NAME = 64

# More than any pair of tokens resolves.
_PRICE_DECIMALS = 18

# https://www.rfc-editor.org/rfc/rfc3339#section-5.6, to the microsecond.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _symbol(value: object) -> str:
    return resolve(value).symbol


def _basis_points(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise ValueError("must be a whole number from 0 to 10000 (100 is 1 %)")
    return value


def _price(value: object) -> Decimal:
    price = parse_amount(value)
    if decimal_places(price) > _PRICE_DECIMALS:
        raise ValueError(f"must have at most {_PRICE_DECIMALS} decimal places")
    return price


def check_client_order_id(value: object) -> str:
    """Return a clientOrderId. Raises ValueError, which says what one is."""
    if not isinstance(value, str) or not 0 < len(value) <= 128 or not value.isprintable() or value != value.strip():
        raise ValueError("must be a string of 1 to 128 printable characters, without blanks at its ends")
    return value


def _moment(value: object) -> datetime:
    if not (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        raise ValueError('must be a time by RFC 3339 with its offset, such as "2026-11-23T12:00:00Z"')
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as fault:
        raise ValueError("must be a time that there is") from fault


TokenSymbol = Annotated[str, BeforeValidator(_symbol)]
PositiveAmount = Annotated[Decimal, BeforeValidator(parse_amount)]


BasisPoints = Annotated[int, BeforeValidator(_basis_points)]
Price = Annotated[Decimal, BeforeValidator(_price)]
ClientOrderId = Annotated[str, BeforeValidator(check_client_order_id)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class WrongField(ValueError):
    """A check over several fields found one of them wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def invalid_fields(refusal: ValidationError, thing: str) -> InvalidRequest:
    """Return the refusal of a request with wrong fields; `thing` is what has them, such as "an order"."""
    return InvalidRequest.of(*(_field_error(dict(error), thing) for error in refusal.errors()[:_MOST_ERRORS]))


def _field_error(error: dict[str, Any], thing: str) -> FieldError:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, WrongField):
        return FieldError(cause.field, str(cause))
    field = ".".join(str(part) for part in error["loc"])[:MOST_OF_A_NAME]
    match error["type"]:
        case "missing":
            return FieldError(field, "is required")
        case "extra_forbidden":
            return FieldError(field, f"is not a field of {thing}")
        case "value_error":
            return FieldError(field, str(cause))
        case _:
            return FieldError(field, str(error["msg"]).replace("Input should be", "must be"))
