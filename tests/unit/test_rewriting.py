"""Since when outcomes are written again."""

import pytest

from local.errors import LocalStackError
from local.rewrite import rewrite_history


@pytest.mark.parametrize(
    ("since", "said"),
    [
        ("0001-01-01T00:00:00Z", "no orders at 0001-01-01"),
        ("0001-01-01T00:00:00+14:00", "no orders at 0001-01-01"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z is yet to come"),
        ("9999-12-31T23:59:59-14:00", "is yet to come"),
        ("2126-11-23T12:00:00Z", "is yet to come"),
    ],
)
def test_a_moment_that_can_not_be_meant_is_refused(since: str, said: str) -> None:
    with pytest.raises(LocalStackError, match=said):
        rewrite_history(since, "", None)
