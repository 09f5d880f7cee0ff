"""Quiet logs and metrics, and a count of what was tried."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.doubles.quiet import quiet
from tests.reliability.tally import tried


@pytest.fixture(autouse=True)
def _counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    before = Counter(tried)
    with quiet():
        yield
    record_property("tried", dict(tried - before))
