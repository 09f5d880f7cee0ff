"""The checker bites: worlds with one wrong part are found out, each by the promise that it breaks.

Without these, a green run would only say that the checker found nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from order_engine.domain import decisions
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order_types import Stop
from order_engine.domain.steps import Policy

from tests.doubles.gate import Mode
from tests.doubles.platform import Parts
from tests.reliability import broken, scenarios
from tests.reliability.scenarios import Scenario
from tests.reliability.search import (
    Cast,
    Found,
    disturbed,
    interleaved,
    one_fault,
    two_workers,
    worker_and_notify,
    worker_and_owner,
)

WHAT = "runs of broken variants"
Search = Callable[[Parts], Iterator[Found]]


def faults(scenario: Scenario, *modes: Mode) -> Search:
    """A kill (or another fault) at each call."""
    return lambda parts: disturbed(WHAT, scenario, one_fault(scenario, modes or (Mode.KILL_AFTER,), parts), parts)


def undisturbed(scenario: Scenario) -> Search:
    """No fault at all but the scenario's own."""
    return lambda parts: disturbed(WHAT, scenario, [{}], parts)


def schedules(scenario: Scenario, cast: Cast, preemptions: int = 2) -> Search:
    """Every schedule with so many preemptions."""
    return lambda parts: interleaved(WHAT, scenario, cast, preemptions, parts=parts)


@dataclass(frozen=True)
class Variant:
    """What is wrong, where it shows, and the rule that it breaks."""

    part: Any
    search: Search
    rule: str

    @property
    def parts(self) -> Parts:
        """With the wrong one in its place."""
        name = next(name for name, right in vars(Parts()).items() if name != "policy" and issubclass(self.part, right))
        return Parts(**{name: self.part})


VARIANTS = [
    Variant(broken.NoLease, schedules(scenarios.PLAIN, two_workers), "at most one swap lands"),
    Variant(broken.NoExpiry, faults(scenarios.PLAIN), "exactly one final status"),
    Variant(broken.SendsWhenItBuilds, faults(scenarios.PLAIN), "at most one swap lands"),
    Variant(broken.SaysDeadTooSoon, undisturbed(scenarios.SLOW), "only a dead transaction is given up"),
    Variant(broken.TakesUnknownForDead, undisturbed(scenarios.HARD_SLOW), "at most one swap lands"),
    Variant(broken.NoBackOff, undisturbed(scenarios.REPEATED), "no attempt before its back-off is over"),
    Variant(broken.HandsOverBlindly, schedules(scenarios.NO_LIQUIDITY, worker_and_notify), "in order, without gaps"),
    Variant(
        broken.SubscribersFirst, schedules(scenarios.NO_LIQUIDITY, worker_and_notify), "a socket that stays sees all"
    ),
    Variant(broken.NeverInterrupted, faults(scenarios.NO_LIQUIDITY), "a socket that stays sees all"),
    Variant(
        broken.DecidesTooLate,
        lambda parts: interleaved(WHAT, scenarios.PLAIN, worker_and_owner, 1, parts=parts),
        "cancelled is never sent",
    ),
    Variant(broken.DecidesAndForgets, undisturbed(scenarios.CANCELLED), "a socket that stays sees all"),
    Variant(broken.TurnsAllButOnePage, undisturbed(scenarios.CROWDED), "a socket that stays sees all"),
    Variant(
        broken.CrowdedTooLate, schedules(scenarios.CROWDED_AT_ONCE, worker_and_notify), "a socket that stays sees all"
    ),
    Variant(broken.TakesNobodyBack, undisturbed(scenarios.THROTTLED_LAST), "a socket that stays sees all"),
    Variant(broken.ClosesTooSoon, undisturbed(scenarios.WATCHED), "a socket is closed after its final status"),
    Variant(broken.EndsEveryConnection, undisturbed(scenarios.SHARED), "a socket for many orders is not closed"),
    Variant(broken.AsksNobody, undisturbed(scenarios.WATCHED), "a socket that stays sees all"),
    Variant(broken.DropsWhatIsSentAnew, undisturbed(scenarios.EXHAUSTED), "exactly one final status"),
    Variant(broken.ForgetsTheRow, faults(scenarios.PLAIN, Mode.FAIL_BEFORE), "a final order has its row"),
    Variant(broken.ForgetsTheEvents, undisturbed(scenarios.PLAIN), "PostgreSQL has every event"),
    Variant(broken.ClosesWithTheLastEvent, faults(scenarios.PLAIN, Mode.FAIL_BEFORE), "a final order has its row"),
    Variant(broken.RestsOnNoSide, undisturbed(scenarios.REACHED), "what is due is executed soon"),
    Variant(broken.NotInTheIndex, undisturbed(scenarios.REACHED), "what is due is executed soon"),
    Variant(broken.RestsForEver, undisturbed(scenarios.OVER), "what has expired ends soon"),
    Variant(broken.SweepsFirst, faults(scenarios.OVER), "what has expired ends soon"),
    Variant(broken.ForgetsKeys, undisturbed(scenarios.REPEATED), "one key is one order"),
    Variant(broken.NeverForgetsKeys, undisturbed(scenarios.RENEWED), "an expired key is another order"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: str(variant.part.__name__))
def test_a_broken_variant_is_caught(variant: Variant) -> None:
    """A run breaks the rule that the wrong part was to keep."""
    broken_rules: set[str] = set()
    for found in variant.search(variant.parts):
        broken_rules |= {breach.rule for breach in found.breaches}
        if variant.rule in broken_rules:
            return
    raise AssertionError(f"broken were {broken_rules}")


def test_a_worker_that_believes_the_watcher_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """It triggers whatever its own quote is. The watcher has looked at a price that is gone by then."""
    monkeypatch.setattr(Stop, "met", lambda *_: True)
    found = next(undisturbed(replace(scenarios.STOP, moves=((1.0, "0.9"), (1.9, "1"))))(Parts()))
    rules = {breach.rule for breach in found.breaches}
    assert rules == {"what is triggered was due", "an order is triggered by its own condition"}


def test_a_return_to_rest_after_something_was_sent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was told that it is too late to cancel is not to be believed then."""
    monkeypatch.setattr(decisions, "may_return", lambda record: record.status is OrderStatus.ROUTING)
    found = next(undisturbed(scenarios.MISSED_ONCE_SENT)(Parts()))
    assert "what was sent never rests again" in {breach.rule for breach in found.breaches}


@pytest.mark.parametrize("scenario", [scenarios.REACHED, scenarios.RETURNS, scenarios.OVER], ids=lambda one: one.name)
def test_an_index_that_shows_what_is_no_more_is_harmless(scenario: Scenario) -> None:
    """The watcher sends it, and a worker finds that it has it already, or that it is closed."""
    assert not next(faults(scenario)(Parts(watchlist=broken.StaysInTheIndex)), None)


def test_failing_at_the_first_attempt_is_caught() -> None:
    """The policy is a part as well."""
    parts = Parts(policy=Policy(max_attempts=1))
    found = next(undisturbed(scenarios.TRANSIENT)(parts))
    assert "failed only after the last attempt" in {breach.rule for breach in found.breaches}
