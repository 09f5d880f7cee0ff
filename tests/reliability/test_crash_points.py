"""Every crash point: an order's run is killed, or a service refuses or loses an answer, at each call to the outside.

A run goes through submit, route_execute, notify, the WebSocket's functions and, where a message is poison, the consumer
of the dead letters; all their calls are numbered as one sequence. What was killed comes back as it would on AWS: by the
queue's visibility timeout, by Lambda's repeats, by a client that tries again. Afterwards every invariant must hold.
"""

import pytest

from tests.reliability import scenarios
from tests.reliability.gate import EPOCH, Mode, Service
from tests.reliability.scenarios import Scenario
from tests.reliability.search import disturbed, one_fault, points, two_faults
from tests.reliability.world import World

ALL = [scenario for scenario in vars(scenarios).values() if isinstance(scenario, Scenario)]
_SHORT = [scenario for scenario in ALL if points(scenario) <= 30]


def named(scenario: Scenario) -> str:
    """The test's id."""
    return scenario.name


@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_undisturbed(scenario: Scenario) -> None:
    """Each scenario ends as it should, so that the others disturb what they say they disturb."""
    world = World(scenario).run()
    assert world.breaches() == []
    assert world.status == scenario.ends_as


@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_one_fault(scenario: Scenario) -> None:
    """A kill before or after each call, a refusal, a lost answer."""
    assert not next(disturbed("runs with one fault", scenario, one_fault(scenario)), None)


@pytest.mark.parametrize("scenario", [scenario for scenario in ALL if scenario.fates], ids=named)
def test_one_kill_on_a_chain_with_a_guard(scenario: Scenario) -> None:
    """On the mock chain proper, which lets an order have one live transaction. All others do without that help."""
    plans = one_fault(scenario, (Mode.KILL_AFTER,))
    assert not next(disturbed("runs with one fault", scenario, plans, one_per_order=True), None)


@pytest.mark.parametrize("scenario", _SHORT, ids=named)
def test_two_kills(scenario: Scenario) -> None:
    """A kill at each call, and at each call of what comes after: recovery may be killed as well."""
    plans = two_faults(scenario, (Mode.KILL_AFTER,), (Mode.KILL_AFTER,), reach=60)
    assert not next(disturbed("runs with two faults", scenario, plans), None)


@pytest.mark.parametrize("scenario", ALL, ids=named)
def test_a_fault_while_another_is_dealt_with(scenario: Scenario) -> None:
    """A kill or a refusal at each call, and soon after it another fault of another kind."""
    plans = two_faults(scenario, (Mode.KILL_AFTER, Mode.FAIL_BEFORE), (Mode.KILL_AFTER, Mode.FAIL_BEFORE), reach=2)
    assert not next(disturbed("runs with two faults", scenario, plans), None)


@pytest.mark.parametrize("seconds", [100.0, 600.0])
@pytest.mark.parametrize("service", [Service.HISTORY, Service.NOTIFY, Service.QUOTES, Service.CHAIN, Service.QUEUE])
def test_a_service_is_away(service: Service, seconds: float) -> None:
    """From half a second on, for a while: nothing is lost, and when it is back, the rest is done."""
    for scenario in (scenarios.WATCHED, scenarios.TRANSIENT, scenarios.THROTTLED, scenarios.REVERTS):
        away = {service: (0.4, 0.4 + seconds)}
        assert not next(disturbed("runs with a service away", scenario, [{}], away=away), None)


@pytest.mark.parametrize("begins", [0.03, 0.4, 3.0])
def test_the_journal_is_away(begins: float) -> None:
    """Nothing can be done meanwhile; what was accepted is brought to its end afterwards."""
    for scenario in (scenarios.PLAIN, scenarios.TRANSIENT, scenarios.REVERTS):
        away = {Service.JOURNAL: (begins, begins + 120.0)}
        assert not next(disturbed("runs with a service away", scenario, [{}], away=away), None)


@pytest.mark.parametrize("scenario", [scenarios.WATCHED, scenarios.REVERTS], ids=named)
def test_postgresql_is_away_for_ten_minutes(scenario: Scenario) -> None:
    """Subscribers see the final status at once; the row is there within a minute after PostgreSQL is back."""
    back = 600.0
    world = World(scenario, away={Service.HISTORY: (0.0, back)}).run()
    assert world.breaches() == []
    assert world.status == scenario.ends_as
    final = next(iter(world.items.values())).entry.last.timestamp
    assert (final - EPOCH).total_seconds() < 5
    assert [back < row.written_at < back + 60 for row in world.rows.values()] == [True]


def test_postgresql_is_away_and_a_worker_dies() -> None:
    """At each call of an order whose row is owed."""
    scenario = scenarios.NO_LIQUIDITY
    away = {Service.HISTORY: (0.0, 100.0)}
    calls = World(scenario, away=away).run().gate.calls
    plans = ({number: mode} for mode in Mode for number in range(1, calls + 1))
    assert not next(disturbed("runs with a service away", scenario, plans, away=away), None)


def test_a_killed_workers_order_is_final_within_a_minute() -> None:
    """An order that was submitted when its worker died comes back after the queue's visibility timeout."""
    for number in range(1, points(scenarios.PLAIN) + 1):
        world = World(scenarios.PLAIN, {number: Mode.KILL_AFTER}).run()
        events = next(iter(world.items.values())).entry.events
        submitted = next(event for event in events if event.status == "submitted")
        assert (events[-1].timestamp - submitted.timestamp).total_seconds() < 60
