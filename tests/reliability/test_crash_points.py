"""Every crash point: at each call to the outside a process is killed, or a service fails, hangs, loses its answer, or
acts when nobody waits any more.

A run goes through submit, route_execute, notify, the WebSocket's functions and, where a message is poison, the consumer
of the dead letters; all their calls are numbered as one sequence. What was killed is repeated as it would be on AWS:
by the queue's visibility timeout, by Lambda's retries, by a client that tries again. Afterwards every promise must be
kept.
"""

import pytest
from order_engine import limits

from tests.doubles.gate import Mode, Service, away, planned
from tests.reliability import scenarios
from tests.reliability.scenarios import ALL, Scenario
from tests.reliability.search import calls, disturbed, more_faults, one_fault, stage, telling
from tests.reliability.tally import tried

_KILLS_AND_FAILURES = (Mode.KILL_AFTER, Mode.FAIL_BEFORE)
_SHORT = [scenario for scenario in ALL if len(calls(scenario)) <= 32]


def named(scenario: Scenario) -> str:
    """The test's id."""
    return scenario.name


every_scenario = pytest.mark.parametrize("scenario", ALL, ids=named)


@every_scenario
def test_undisturbed(scenario: Scenario) -> None:
    """Each scenario ends as it should, so that the others disturb what they say they disturb."""
    world = stage(scenario).run()
    assert world.breaches() == []
    assert world.status == scenario.ends_as
    for transcript, socket in (watcher.sockets[-1] for watcher in world.watchers if not watcher.left):
        assert socket.dismissed is not transcript.shared


@every_scenario
def test_one_fault(scenario: Scenario) -> None:
    """A kill, a refusal, a lost answer."""
    assert not next(disturbed("runs with one fault", scenario, one_fault(scenario)), None)


@every_scenario
def test_one_hang(scenario: Scenario) -> None:
    """Each call hangs for as long as its limit, a venue's for ever, and perhaps takes effect when nobody waits for it.
    No function runs out of time, no venue is asked with less than its limit left, and what would have been confirmed
    is."""
    limit = limits.VENUE
    for call in calls(scenario):
        for mode in (mode for mode in (Mode.HANG, Mode.LATE) if telling(call, mode)):
            world = stage(scenario, planned({call.number: mode})).run()
            tried[f"hangs: {call.service}"] += 1
            story = "\n".join(world.platform.gate.told())
            assert world.timeline.out_of_time == [], story
            assert not [one for one, _ in world.platform.gate.story if one.service.is_a_venues and one.left < limit]
            assert world.breaches() == [], story
            if world.order_ids and scenario.ends_as == "confirmed" and not scenario.lethal:
                otherwise = [*["cancelled"] * len(scenario.cancels_at), *["expired"] * len(scenario.asks)]
                assert world.status in {"confirmed", *otherwise}, story


@pytest.mark.parametrize("scenario", [scenarios.TRANSIENT, scenarios.TOO_SLOW, scenarios.REVERTS], ids=named)
def test_one_kill_on_a_guarded_chain(scenario: Scenario) -> None:
    """On the mock chain proper, which lets an order have one live transaction. All others do without that help."""
    plans = one_fault(scenario, (Mode.KILL_AFTER,))
    assert not next(disturbed("runs with one fault", scenario, plans, one_per_order=True), None)


@pytest.mark.parametrize("scenario", _SHORT, ids=named)
def test_two_kills(scenario: Scenario) -> None:
    """A kill at each call, and at each call of what comes after: recovery may be killed as well."""
    plans = more_faults(scenario, [(Mode.KILL_AFTER,)] * 2, reach=40, most=30)
    assert not next(disturbed("runs with two faults", scenario, plans), None)


@every_scenario
def test_two_faults(scenario: Scenario) -> None:
    """A fault while another one is dealt with."""
    plans = more_faults(scenario, [_KILLS_AND_FAILURES, (*_KILLS_AND_FAILURES, Mode.HANG)], reach=3, most=30)
    assert not next(disturbed("runs with two faults", scenario, plans), None)


@pytest.mark.parametrize("scenario", [scenario for scenario in ALL if scenario is not scenarios.STUCK], ids=named)
def test_three_faults(scenario: Scenario) -> None:
    """Two kills and a hang, or something like it, one soon after the other. Where sockets hang for long, the first
    invocation of notify fails of itself, and two kills end the other two: that is not covered."""
    modes = [_KILLS_AND_FAILURES, (*_KILLS_AND_FAILURES, Mode.LATE), (Mode.HANG, Mode.HANG_AFTER, Mode.LATE)]
    assert not next(disturbed("runs with three faults", scenario, more_faults(scenario, modes, 4, most=25)), None)


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.HANG])
@pytest.mark.parametrize("seconds", [100.0, 600.0])
@pytest.mark.parametrize("service", [Service.HISTORY, Service.NOTIFY, Service.QUOTES, Service.CHAIN, Service.QUEUE])
def test_a_service_is_unavailable(service: Service, seconds: float, mode: Mode) -> None:
    """From half a second on, for a while: nothing is lost, and when it is back, the rest is done."""
    for scenario in (scenarios.WATCHED, scenarios.TRANSIENT, scenarios.THROTTLED, scenarios.REVERTS):
        gone = away(service, 0.4, 0.4 + seconds, mode)
        assert not next(disturbed("runs without a service", scenario, [{}], also=gone), None)


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.HANG])
@pytest.mark.parametrize("begins", [0.03, 0.4, 3.0])
def test_the_journal_is_unavailable(begins: float, mode: Mode) -> None:
    """Nothing can be done meanwhile; what was accepted is brought to its end afterwards."""
    for scenario in (scenarios.PLAIN, scenarios.TRANSIENT, scenarios.REVERTS):
        gone = away(Service.JOURNAL, begins, begins + 120.0, mode)
        assert not next(disturbed("runs without a service", scenario, [{}], also=gone), None)


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.HANG])
@pytest.mark.parametrize("scenario", [scenarios.WATCHED, scenarios.REVERTS], ids=named)
def test_ten_minutes_without_postgresql(scenario: Scenario, mode: Mode) -> None:
    """Subscribers see the final status at once; the row is there within a minute after PostgreSQL is back."""
    back = 600.0
    world = stage(scenario, away(Service.HISTORY, 0.0, back, mode)).run()
    assert world.breaches() == []
    assert world.status == scenario.ends_as
    seen = [at for watcher in world.watchers for _, socket in watcher.sockets for at, _ in socket.received[-1:]]
    assert max(seen) < 5
    assert [back < at < back + 60 for at in world.platform.rows.written_at.values()] == [True]


def test_a_worker_dies_while_postgresql_is_away() -> None:
    """At each call of an order whose row is owed."""
    gone = away(Service.HISTORY, 0.0, 100.0)
    plans = [{call.number: mode} for call in calls(scenarios.NO_LIQUIDITY, gone) for mode in _KILLS_AND_FAILURES]
    assert not next(disturbed("runs without a service", scenarios.NO_LIQUIDITY, plans, also=gone), None)


def test_a_killed_workers_order_is_final_within_a_minute() -> None:
    """An order that was submitted when its worker died comes back after the queue's visibility timeout."""
    for call in calls(scenarios.PLAIN):
        world = stage(scenarios.PLAIN, planned({call.number: Mode.KILL_AFTER})).run()
        (item,) = world.platform.tables.orders.values()
        submitted = next(event for event in item.record.events if event.status == "submitted")
        assert (item.record.last.timestamp - submitted.timestamp).total_seconds() < 60
