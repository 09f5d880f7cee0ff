"""The order's lifecycle: the moves that exist, and all the others."""

from itertools import product

import pytest
from order_engine.domain.errors import IllegalTransition
from order_engine.domain.lifecycle import FINAL, TRANSITIONS, OrderStatus, check_transition

# Written out once more, so that a change of the table is a change of this test too.
LEGAL = {
    "pending": {"open", "routing", "failed", "cancelled", "expired"},
    "open": {"triggered", "failed", "cancelled", "expired"},
    "triggered": {"routing", "failed", "cancelled", "expired"},
    "routing": {"routing", "building", "open", "failed", "cancelled", "expired"},
    "building": {"routing", "submitted", "open", "failed", "cancelled", "expired"},
    "submitted": {"routing", "confirmed", "failed", "expired"},
    "confirmed": set(),
    "failed": set(),
    "cancelled": set(),
    "expired": set(),
}


@pytest.mark.parametrize(("current", "following"), list(product(OrderStatus, repeat=2)))
def test_an_illegal_move_is_refused_by_name(current: OrderStatus, following: OrderStatus) -> None:
    if following in LEGAL[current]:
        check_transition(current, following)
    else:
        with pytest.raises(IllegalTransition, match=f"can't go from {current} to {following}"):
            check_transition(current, following)


def test_the_table_is_this_one() -> None:
    assert TRANSITIONS == LEGAL
    assert {OrderStatus.CONFIRMED, OrderStatus.FAILED, OrderStatus.CANCELLED, OrderStatus.EXPIRED} == FINAL
