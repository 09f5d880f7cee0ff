"""The checker bites: engines with one wrong part are found out, each by the invariant that it breaks.

Without these, a green run would only say that the checker found nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.reliability import broken, scenarios
from tests.reliability.gate import KILLS, Mode
from tests.reliability.invariants import Invariant
from tests.reliability.scenarios import Scenario
from tests.reliability.search import Cast, Found, disturbed, interleaved, one_fault, two_workers, worker_and_notify
from tests.reliability.world import Parts

WHAT = "runs of broken variants"
Search = Callable[[Parts], Iterator[Found]]


def kills(scenario: Scenario, *modes: Mode) -> Search:
    """A kill (or another fault) at each call."""
    return lambda parts: disturbed(WHAT, scenario, one_fault(scenario, modes or KILLS, parts), parts)


def undisturbed(scenario: Scenario) -> Search:
    """No fault at all but the scenario's own."""
    return lambda parts: disturbed(WHAT, scenario, [{}], parts)


def schedules(scenario: Scenario, cast: Cast, dies_at: int = 0) -> Search:
    """Every schedule with two preemptions; a worker may die at a call."""
    plan = {dies_at: Mode.KILL_AFTER}
    return lambda parts: interleaved(WHAT, scenario, cast, 2, 0, parts, plan)


@dataclass(frozen=True)
class Variant:
    """What was swapped, where it shows, and what it breaks."""

    name: str
    parts: Parts
    search: Search
    breaks: Invariant


VARIANTS = [
    Variant(
        "no lease",
        Parts(journal=broken.NoLease),
        schedules(scenarios.PLAIN, two_workers),
        Invariant.ONE_EXECUTION,
    ),
    Variant(
        "a lease that never runs out",
        Parts(journal=broken.NoExpiry),
        kills(scenarios.PLAIN),
        Invariant.NOTHING_LOST,
    ),
    Variant(
        "submit before the journal has it",
        Parts(executor=broken.SubmitsFirst),
        kills(scenarios.PLAIN),
        Invariant.ONE_EXECUTION,
    ),
    Variant(
        "handover without its condition",
        Parts(subscribers=broken.HandsOverBlindly),
        schedules(scenarios.NO_LIQUIDITY, worker_and_notify),
        Invariant.IN_ORDER,
    ),
    Variant(
        "subscribers read before the append",
        Parts(publisher=broken.SubscribersFirst),
        schedules(scenarios.NO_LIQUIDITY, worker_and_notify),
        Invariant.IN_ORDER,
    ),
    Variant(
        "a dead worker's last status not posted again",
        Parts(journal=broken.NeverInterrupted),
        kills(scenarios.NO_LIQUIDITY),
        Invariant.IN_ORDER,
    ),
    Variant(
        "failed at the first attempt",
        Parts(executor=broken.FailsAtOnce),
        undisturbed(scenarios.TRANSIENT),
        Invariant.FINAL_IS_FINAL,
    ),
    Variant(
        "failed row at the first attempt, kept by DO NOTHING",
        Parts(executor=broken.RecordsFirstFailure),
        undisturbed(scenarios.TRANSIENT),
        Invariant.AGREEMENT,
    ),
    Variant(
        "retry without declaring the transaction dead",
        Parts(venue=broken.LeavesAlive),
        undisturbed(scenarios.SLOW),
        Invariant.ONE_EXECUTION,
    ),
    Variant(
        "unknown taken for failed",
        Parts(executor=broken.UnknownIsFailed),
        undisturbed(scenarios.TIMEOUT_AFTER),
        Invariant.ONE_EXECUTION,
    ),
    Variant(
        "acknowledged although another worker has the lease",
        Parts(acknowledges=broken.acknowledges_held),
        schedules(scenarios.PLAIN, two_workers, dies_at=10),
        Invariant.NOTHING_LOST,
    ),
    Variant(
        "row forgotten while PostgreSQL is away",
        Parts(executor=broken.ForgetsTheRow),
        kills(scenarios.PLAIN, Mode.FAIL_BEFORE),
        Invariant.NOTHING_LOST,
    ),
    Variant(
        "closed before the row is written",
        Parts(executor=broken.ClosesFirst),
        kills(scenarios.PLAIN),
        Invariant.NOTHING_LOST,
    ),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_broken_variant_is_caught(variant: Variant) -> None:
    """A run breaches the invariant that the wrong part was to keep."""
    breached = {breach.invariant: found for found in variant.search(variant.parts) for breach in found.breaches}
    assert variant.breaks in breached, f"breached were {sorted(breached)}"
