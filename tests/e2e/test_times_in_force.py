"""Orders that are in force until a time, or for one attempt."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.system import FIVE, System, an_order, statuses


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def away(system: System) -> Iterator[System]:
    """The system with venues that are unavailable."""
    with system.rehosted({"VENUE_ERROR_RATE": 1, "RETRY_BASE_SECONDS": 3}, ["route_execute"]):
        yield system


def test_an_order_with_time_enough_is_executed(system: System) -> None:
    life = system.life_of(an_order(expiresAt=soon(600)))

    row = system.row_of(life[0]["orderId"])
    assert statuses(life) == FIVE
    assert (row["time_in_force"], (row["expires_at"] - row["created_at"]).total_seconds()) == (
        "gtd",
        pytest.approx(600, abs=30),
    )


@pytest.mark.parametrize("seconds", [-3600, 0.5])
def test_an_order_whose_time_is_over_or_too_short_expires_and_nothing_is_sent(system: System, seconds: float) -> None:
    life = system.life_of(an_order(expiresAt=soon(seconds)))  # a transaction is valid for a second

    assert life[-1]["status"] == "expired"
    assert life[-1]["code"] == "ORDER_EXPIRED"
    row = system.row_of(life[0]["orderId"])
    assert (row["status"], row["failure_code"], row["tx_hash"]) == ("expired", "ORDER_EXPIRED", None)
    assert system.chain_states(life[0]["orderId"]) == []


def test_an_order_expires_between_its_attempts(away: System) -> None:
    life = away.life_of(an_order(expiresAt=soon(2)))

    assert statuses(life) == ["pending", "routing", "expired"]
    assert [error["code"] for error in life[-1]["attempts"]][:1] in (["VENUE_UNAVAILABLE"], ["RATE_LIMITED"])


def test_fill_or_kill_is_tried_once(away: System) -> None:
    life = away.life_of(an_order(timeInForce="fok"))

    assert statuses(life) == ["pending", "routing", "expired"]
    assert life[-1]["attempt"] == 1
    assert away.row_of(life[0]["orderId"])["time_in_force"] == "fok"
