"""Answers of a venue that the types allow, and that the mock venues never give; none of them is a lie."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from order_engine.domain.errors import (
    AmountTooSmall,
    InsufficientLiquidity,
    RateLimited,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.events import Failed
from order_engine.domain.swaps import InFlight, NotFound

from tests.doubles.gate import Mode
from tests.doubles.venues import Fate, Twist
from tests.reliability import scenarios
from tests.reliability.scenarios import Scenario
from tests.reliability.search import disturbed, more_faults, stage
from tests.reliability.tally import tried


def raises(fault: Exception, acts: bool = False) -> Twist:
    """The call fails so, perhaps after it has done its work."""

    def twist(action: Callable[[], object]) -> object:
        if acts:
            action()
        raise fault

    return twist


def says(answer: object, acts: bool = False) -> Twist:
    """The call returns that, perhaps after it has done its work."""
    return lambda action: [action() if acts else None, answer][1]


def quotes(**changes: Decimal) -> Twist:
    """A quote, but for some of its numbers."""
    return lambda action: action().model_copy(update=changes)  # type: ignore[attr-defined]  # a Quote


ODD: dict[str, list[Twist]] = {
    "quote": [
        quotes(amount_out=Decimal(0)),
        quotes(amount_out=Decimal(-1)),
        quotes(price_impact_pct=Decimal(99)),
        raises(AmountTooSmall("too little")),
        raises(RateLimited("slower")),
        raises(ZeroDivisionError("a bug of theirs")),
    ],
    "build": [raises(VenueUnavailable("away")), raises(RateLimited("slower")), raises(KeyError("a bug of theirs"))],
    "send": [
        *(says(answer, acts) for answer in (NotFound(), InFlight()) for acts in (False, True)),
        *(
            raises(fault, acts)
            for fault in (TransactionTimeout("?"), VenueUnavailable("away"), RateLimited("slower"), ValueError("a bug"))
            for acts in (False, True)
        ),
    ],
    "status": [says(NotFound()), says(InFlight()), raises(VenueUnavailable("away")), raises(ValueError("a bug"))],
    "abandon": [
        says(InFlight()),
        raises(TransactionTimeout("?")),
        raises(RateLimited("slower")),
        raises(ValueError("a bug")),
    ],
}
ROADS = [scenarios.WATCHED, scenarios.TIMEOUT_BEFORE, scenarios.TIMEOUT_AFTER, scenarios.SLOW, scenarios.HARD_SLOW]


def twisted(scenario: Scenario) -> Iterator[Scenario]:
    """The scenario, with one odd answer to each of the venues' calls."""
    called = stage(scenario).run().platform.market.called
    for method, twists in ODD.items():
        for nth in range(1, called[method] + 1):
            for number, twist in enumerate(twists):
                name = f"{scenario.name}, {method} {nth} is odd ({number})"
                yield replace(scenario, name=name, twists={(method, nth): twist})


@pytest.mark.parametrize("road", ROADS, ids=lambda road: str(road.name))
def test_one_odd_answer(road: Scenario) -> None:
    """Whatever a venue answers once: the order is confirmed, by one swap."""
    for scenario in twisted(road):
        world = stage(scenario).run()
        tried["runs with an odd answer"] += 1
        assert world.breaches() == [], scenario.name
        assert world.status == "confirmed", scenario.name


@pytest.mark.parametrize("road", [scenarios.TIMEOUT_AFTER, scenarios.SLOW], ids=lambda road: str(road.name))
def test_an_odd_answer_and_a_fault(road: Scenario) -> None:
    """A worker dies, or a service fails, hangs or acts late, in such a run."""
    modes = (Mode.KILL_AFTER, Mode.FAIL_BEFORE, Mode.HANG, Mode.LATE)
    for scenario in twisted(road):
        assert not next(disturbed("runs with an odd answer", scenario, more_faults(scenario, [modes], 1, most=2)), None)


@pytest.mark.parametrize("road", [scenarios.TIMEOUT_AFTER, scenarios.HARD_SLOW], ids=lambda road: str(road.name))
def test_a_venue_is_pending_for_long(road: Scenario) -> None:
    """It can't say how a transaction stands for ten questions; nobody builds another one meanwhile."""
    twists = {(method, nth): says(InFlight()) for method in ("send", "status", "abandon") for nth in range(1, 11)}
    world = stage(replace(road, twists={**twists, ("send", 1): says(InFlight(), acts=True)})).run()
    assert world.breaches() == []
    assert world.status == "confirmed"


@pytest.mark.parametrize(
    ("twists", "code"),
    [
        (
            {("quote", 1): quotes(amount_out=Decimal(0)), ("quote", 2): quotes(amount_out=Decimal(0))},
            "AMOUNT_TOO_SMALL",
        ),
        ({("quote", nth): quotes(price_impact_pct=Decimal(50)) for nth in (1, 2)}, "PRICE_IMPACT_TOO_HIGH"),
        ({("build", 1): raises(InsufficientLiquidity("gone by now"))}, "INSUFFICIENT_LIQUIDITY"),
    ],
)
def test_an_answer_that_ends_the_order(twists: dict[tuple[str, int], Twist], code: str) -> None:
    """Where nothing else can help, it fails at once, for that reason."""
    world = stage(replace(scenarios.PLAIN, twists=twists)).run()
    (item,) = world.platform.tables.orders.values()
    assert world.breaches() == []
    assert isinstance(item.record.last, Failed)
    assert (item.record.last.code, item.record.attempt) == (code, 1)


@pytest.mark.parametrize("fate", [Fate.SHORT, Fate.DUST])
def test_a_settlement_below_the_floor(fate: Fate) -> None:
    """Is never `confirmed`, and never followed by another swap."""
    world = stage(replace(scenarios.DUST, fates=(fate,))).run()
    (item,) = world.platform.tables.orders.values()
    assert world.breaches() == []
    assert isinstance(item.record.last, Failed)
    assert item.record.last.code == "SETTLEMENT_MISMATCH"
