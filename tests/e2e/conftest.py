"""The stacks that the tests share: whole systems, with short latencies so that the tests are quick."""

from collections.abc import Iterator

import pytest

from local.stack import LocalStack
from tests.e2e.fates import UNRELIABLE
from tests.e2e.system import System

QUICK = {
    "VenueQuoteLatencyMs": "20-50",
    "VenueSwapLatencyMs": "100-200",
    "VenueValiditySeconds": "1",
    "RetryBaseSeconds": "0",
}


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose venues never fail."""
    with LocalStack(tmp_path_factory.mktemp("stack"), port=0, parameters=QUICK) as stack:
        yield System(stack)


@pytest.fixture(scope="session")
def unreliable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose venues fail as `fates` says; send it orders whose luck is known."""
    rates = {"VenueErrorRate": str(UNRELIABLE.error_rate), "VenueTimeoutRate": str(UNRELIABLE.timeout_rate)}
    with LocalStack(tmp_path_factory.mktemp("unreliable"), port=0, parameters=QUICK | rates) as stack:
        yield System(stack)
