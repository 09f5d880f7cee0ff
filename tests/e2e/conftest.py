"""The stack that the tests share, with short latencies so that they are quick."""

from collections.abc import Iterator

import httpx
import pytest

from local.stack import LocalStack
from tests.e2e.system import PATIENCE_SECONDS, System

QUICK = {
    "VenueQuoteLatencyMs": "20-50",
    "VenueSwapLatencyMs": "100-200",
    "VenueValiditySeconds": "1",
    "RetryBaseSeconds": "0",
    "MarketVolatilityBps": "0",
}


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose venues never fail."""
    with (
        LocalStack(tmp_path_factory.mktemp("stack"), port=0, parameters=QUICK) as stack,
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        yield System(stack, http)
