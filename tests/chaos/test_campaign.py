"""A short campaign on the real local stack: workers are killed, PostgreSQL goes away, and no promise is broken."""

from pathlib import Path

from rich.console import Console

from local.stack import LocalStack
from tests.chaos import plan
from tests.chaos.campaign import VENUES
from tests.chaos.hosting import Timings
from tests.chaos.plan import Fault
from tests.chaos.running import run
from tests.chaos.story import story

# Poison is a dead letter after three times the visibility timeout.
_TIMINGS = Timings(function_seconds=3, lease_seconds=4, visibility_seconds=5, receives=3)
_VENUES = {**VENUES, "VenueSwapLatencyMs": "100-500", "VenueSeed": "7"}
_SECONDS = 8.0
_ORDERS = 80


def test_a_short_campaign_breaks_no_promise(tmp_path: Path) -> None:
    agenda = plan.draw(seed=7, seconds=_SECONDS, orders=_ORDERS)
    late_poison = [fault for fault in agenda.faults if fault.kind == "poison" and fault.at > 1]
    faults = [fault for fault in agenda.faults if fault not in late_poison]
    agenda = plan.Plan(agenda.requests, sorted([Fault(0.2, "poison", "not JSON"), *faults], key=lambda one: one.at))

    with LocalStack(tmp_path, port=0, parameters=_VENUES) as stack:
        outcome = run(stack, agenda, _TIMINGS, Console(quiet=True), settle_seconds=90)

    told = [f"{breach.rule}: {breach.detail}\n{story(outcome.world, breach.order_id)}" for breach in outcome.breaches]
    assert not told, told[0]
    assert outcome.injected["route_execute workers killed"] > 0
    assert outcome.injected["PostgreSQL stopped and started"] == 1
    assert len(outcome.world.accepted) > _ORDERS * 0.8
    assert {journaled.status for journaled in outcome.world.journal.values()} >= {"confirmed", "failed"}


def test_a_plan_is_its_seeds() -> None:
    assert plan.draw(1, 60, 200) == plan.draw(1, 60, 200)
    assert plan.draw(1, 60, 200) != plan.draw(2, 60, 200)


def test_a_plan_has_every_fault_and_every_kind_of_request() -> None:
    agenda = plan.draw(1, 60, 300)

    assert {fault.kind for fault in agenda.faults} == {
        "kill",
        "stop-postgres",
        "start-postgres",
        "duplicate",
        "poison",
        "dead-letter",
    }
    assert {fault.target for fault in agenda.faults if fault.kind == "kill"} == {
        "route_execute",
        "notify",
        "submit",
        "ws_connect",
    }
    postgres = [fault.kind for fault in agenda.faults if fault.kind.endswith("postgres")]
    assert postgres == ["stop-postgres", "start-postgres"] * (len(postgres) // 2)
    assert any(request.conflict for request in agenda.requests)
    assert any(0.0 in request.repeats for request in agenda.requests)
    assert any(not request.valid for request in agenda.requests)
    assert any(len(visits) > 1 for request in agenda.requests for visits in request.subscribers)
