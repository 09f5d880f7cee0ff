"""The order's lifecycle: the moves that exist, and all the others."""

from itertools import product

import pytest
from order_engine.domain.errors import IllegalTransition
from order_engine.domain.lifecycle import FINAL, TRANSITIONS, OrderStatus, check_transition

# Written out once more, so that a change of the table is a change of this test too.
LEGAL = {
    ("pending", "routing"),
    ("pending", "failed"),
    ("routing", "routing"),
    ("routing", "building"),
    ("routing", "failed"),
    ("building", "routing"),
    ("building", "submitted"),
    ("building", "failed"),
    ("submitted", "routing"),
    ("submitted", "confirmed"),
    ("submitted", "failed"),
}
ALL = list(product(OrderStatus, repeat=2))


@pytest.mark.parametrize(("current", "following"), [move for move in ALL if move in LEGAL])
def test_a_legal_move_is_let_through(current: OrderStatus, following: OrderStatus) -> None:
    check_transition(current, following)


@pytest.mark.parametrize(("current", "following"), [move for move in ALL if move not in LEGAL])
def test_an_illegal_move_is_refused_by_name(current: OrderStatus, following: OrderStatus) -> None:
    with pytest.raises(IllegalTransition, match=f"can't go from {current} to {following}"):
        check_transition(current, following)


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)


def test_exactly_confirmed_and_failed_are_final() -> None:
    assert {OrderStatus.CONFIRMED, OrderStatus.FAILED} == FINAL


def test_an_order_can_fail_from_every_status_that_is_not_final() -> None:
    assert {status for status in OrderStatus if OrderStatus.FAILED in TRANSITIONS[status]} == set(OrderStatus) - FINAL
