"""The stacks that the tests share, with short latencies so that they are quick."""

from collections.abc import Iterator

import httpx
import pytest

from local.deployment import Deployment
from local.keys import KeyRing
from local.stack import LocalStack
from tests.e2e.system import PATIENCE_SECONDS, System

QUICK = {
    "VenueQuoteLatencyMs": "20-50",
    "VenueSwapLatencyMs": "100-200",
    "VenueValiditySeconds": "1",
    "RetryBaseSeconds": "0",
    "MarketVolatilityBps": "0",
}
# A web site whose pages may use the shared stack's HTTP API.
FRIEND = "https://desk.example.com"


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose venues never fail."""
    with (
        LocalStack(tmp_path_factory.mktemp("stack"), port=0, parameters={**QUICK, "AllowedOrigins": FRIEND}) as stack,
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        yield System(stack, http)


@pytest.fixture(scope="session")
def with_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, KeyRing]]:
    """The URL of a system where keys are needed, and who makes them."""
    parameters = {**QUICK, "Access": "keys"}
    with LocalStack(tmp_path_factory.mktemp("with-keys"), port=0, parameters=parameters) as stack:
        yield stack.endpoints.http, KeyRing(Deployment.of(stack.endpoints))
