"""What every test gets."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from order_engine.observability import metrics

# Examples are derived from the test, not drawn: a run that was green stays green. There is no clock to beat.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """What a test counts is nobody else's."""
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()
