"""Amounts: read without a float, rounded down to a base unit, written as plain decimal strings."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.amounts import MAX_AMOUNT, decimal_places, floor_to_unit, parse_amount, price_of, to_wire

amounts = st.decimals(min_value="1E-12", max_value=MAX_AMOUNT, places=12).filter(lambda amount: amount > 0)


@pytest.mark.parametrize(
    ("given_value", "amount"),
    [
        (10, "10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1e-9"), "0.000000001"),
        ("007", "7"),
        ("1000000000000000", "1000000000000000"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
    ],
)
def test_a_number_or_a_decimal_string_is_an_amount_to_its_last_digit(given_value: object, amount: str) -> None:
    assert parse_amount(given_value) == Decimal(amount)


NO_NUMBERS: list[object] = [None, True, False, 0.1, [], {}, "", " 1", "1 ", "+1", "1e3", ".5", "5.", "1,5", "1_000"]
NO_NUMBERS += ["ten", "NaN", "Infinity", "١", "1\n", "1\x00", "0x10", "1" * 41, "0." + "0" * 40 + "1"]
NO_NUMBERS += [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity")]
REFUSED: dict[str, list[object]] = {
    "must be a number, or a decimal string without an exponent": NO_NUMBERS,
    "must be greater than 0": [0, -1, "0", "-0", "0.000", "-0.5", Decimal("-0"), Decimal("-1E-30")],
    "must be at most 1000000000000000": [MAX_AMOUNT + 1, "1000000000000000.1", Decimal("1E+999999"), 10**4000],
    "more decimal places than any token": [Decimal("1E-41"), Decimal("1E-999999"), Decimal("1." + "1" * 5000)],
}


@pytest.mark.parametrize(
    ("value", "message"),
    [(value, message) for message, values in REFUSED.items() for value in values],
    ids=lambda value: f"{value!r:.32}",
)
def test_what_is_no_amount_is_refused_with_what_would_be(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_amount(value)


@given(amounts, st.integers(0, 9))
def test_flooring_takes_less_than_one_base_unit_and_never_adds(amount: Decimal, decimals: int) -> None:
    floored = floor_to_unit(amount, decimals)

    assert 0 <= amount - floored < Decimal(10) ** -decimals
    assert decimal_places(floored) <= decimals
    assert floor_to_unit(floored, decimals) == floored


@given(amounts)
def test_the_wire_form_reads_back_as_the_same_amount(amount: Decimal) -> None:
    text = to_wire(amount)

    assert parse_amount(text) == amount
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize(
    ("amount", "text", "places"),
    [("1E+3", "1000", 0), ("1.250", "1.25", 2), ("0.000000001", "0.000000001", 9), ("0", "0", 0), ("1.00", "1", 0)],
)
def test_the_wire_form_is_plain_and_trailing_zeros_are_no_places(amount: str, text: str, places: int) -> None:
    assert to_wire(Decimal(amount)) == text
    assert decimal_places(Decimal(amount)) == places


@given(amounts, amounts)
def test_a_price_is_never_rounded_up_and_has_18_digits_at_most(amount_out: Decimal, amount_in: Decimal) -> None:
    price = price_of(amount_out, amount_in)

    with localcontext(prec=100):
        rounded_off = amount_out - price * amount_in
        assert 0 <= rounded_off <= amount_out / 10**17
    assert len(price.as_tuple().digits) <= 18


@given(amounts)
def test_the_callers_decimal_context_changes_nothing(amount: Decimal) -> None:
    def results() -> tuple[object, ...]:
        return to_wire(amount), floor_to_unit(amount, 9), price_of(amount, Decimal(3)), parse_amount(to_wire(amount))

    with localcontext(prec=3):
        narrow = results()
    assert narrow == results()
