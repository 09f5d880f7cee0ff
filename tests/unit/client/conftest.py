"""The engine that the tests of the client talk to."""

from collections.abc import Iterator

import pytest

from tests.unit.client.engine import Engine, running


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One that has yet to be told what to do."""
    with running() as engine:
        yield engine
