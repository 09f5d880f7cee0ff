"""Amounts of tokens: Decimal throughout, decimal strings on the wire, rounded to a token's base unit."""

import re
from decimal import ROUND_DOWN, Context, Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

# Exact for every product and quotient of amounts up to MAX_AMOUNT with 9 decimals.
EXACT = Context(prec=60, rounding=ROUND_DOWN)

# Bounds every calculation. What an account can hold of a token is `max_amount_of`.
MAX_AMOUNT = Decimal(10) ** 15

# An SPL token account, like a swap instruction, counts base units in an unsigned 64-bit integer.
MAX_BASE_UNITS = 2**64 - 1

# Executed prices are quotients; 18 significant digits are more than any token's base unit resolves.
_PRICE = Context(prec=18, rounding=ROUND_DOWN)

_DECIMAL_STRING = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


def parse_amount(value: object) -> Decimal:
    """Parse a positive amount from a JSON number (read as int or Decimal) or a decimal string such as "1.5".

    Raises ValueError, with a message that says what would be right, for everything else: booleans, floats (they
    have lost digits already), signs, exponents in strings, NaN, infinities, zero, and more than MAX_AMOUNT.
    """
    match value:
        case bool() | float() | None:
            number = None
        case int() | Decimal():
            number = Decimal(value)
        case str() if _DECIMAL_STRING.fullmatch(value):
            number = Decimal(value)
        case _:
            number = None
    if number is None or not number.is_finite():
        raise ValueError('must be a number, or a decimal string without an exponent, such as "1.5"')
    if number <= 0:
        raise ValueError("must be greater than 0")
    if number > MAX_AMOUNT:
        raise ValueError(f"must be at most {MAX_AMOUNT:f}")
    if -int(number.as_tuple().exponent) > 40:
        raise ValueError("has more decimal places than any token")
    return number


def decimal_places(amount: Decimal) -> int:
    """Return how many decimal places the amount needs: 2 for 1.250, 0 for 1E+3."""
    return max(0, -int(EXACT.normalize(amount).as_tuple().exponent))


def floor_to_unit(amount: Decimal, decimals: int) -> Decimal:
    """Round the amount down to the token's base unit (10**-decimals)."""
    return amount.quantize(base_unit(decimals), context=EXACT)


def base_unit(decimals: int) -> Decimal:
    """Return the smallest amount of a token: 0.000001 for 6 decimals."""
    return Decimal(1).scaleb(-decimals)


def max_amount_of(decimals: int) -> Decimal:
    """Return the largest amount of a token that Solana can express."""
    return Decimal(MAX_BASE_UNITS).scaleb(-decimals, context=EXACT)


def price_of(amount_out: Decimal, amount_in: Decimal) -> Decimal:
    """Return units of tokenOut per unit of tokenIn, to 18 significant digits, rounded down."""
    return _PRICE.divide(amount_out, amount_in)


def to_wire(amount: Decimal) -> str:
    """Format the amount as a plain decimal string: no exponent, no trailing zeros."""
    return f"{EXACT.normalize(amount):f}"


def _from_wire(value: object) -> object:
    if isinstance(value, float):
        raise ValueError("a float is no amount")
    return value


# A Decimal that is a decimal string in JSON, in both directions.
Amount = Annotated[Decimal, BeforeValidator(_from_wire), PlainSerializer(to_wire, return_type=str, when_used="json")]
