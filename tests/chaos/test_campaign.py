"""A short campaign on the real local stack: one fault of each kind, and no promise is broken."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from rich.console import Console

from tests.chaos import plan
from tests.chaos.campaign import TERMS, VENUES
from tests.chaos.market import Market
from tests.chaos.plan import Fault, Request
from tests.chaos.relay import MODES, SERVICES
from tests.chaos.report import found, story
from tests.chaos.running import Timings, run, unhosted

# Poison is a dead letter after three times the visibility timeout. To be short, this is harsher than what the template
# keeps: who follows upon a killed worker finds its order leased, and one that is slow loses its order to another.
_TIMINGS = Timings(function_seconds=20, lease_seconds=5, visibility_seconds=4, receives=3)
_VENUES = {**VENUES, "VenueErrorRate": "0.05", "VenueTimeoutRate": "0.03", "VenueValiditySeconds": "2"}
_TERMS = replace(TERMS, validity_seconds=2)
_SECONDS = 3.0
_ORDERS = 40
_VIEWERS = 28  # more than an order's first page holds
_UNKNOWN = '{"orderId": "00000000-0000-4000-8000-000000000000"}'
# PostgreSQL hangs for longer than a row may take, and is then stopped while few workers try again.
_FAULTS = [
    *(Fault(0.0, "poison", body) for body in ("not JSON", '{"orderId": 7}', _UNKNOWN)),
    Fault(0.2, "pause"),
    Fault(0.3, "launch", "NOVA"),
    Fault(0.4, "hang", "posts", choice=0.3, seconds=1),
    Fault(0.5, "kill", "route_execute", many=5),
    Fault(0.7, "dead-letter", choice=0.5),
    Fault(0.8, "lose", "dynamodb", choice=0.1, seconds=1),
    Fault(0.9, "kill", "watch_market", many=2),
    Fault(1.0, "kill", "notify"),
    Fault(1.2, "watch", many=2),
    *(Fault(1.1 + n / 10, "duplicate", choice=n / 10) for n in range(10)),
    Fault(1.4, "throttle", "dynamodb", choice=0.3, seconds=0.5),
    Fault(1.9, "hold", "dynamodb", choice=0.2, seconds=1),
    Fault(2.5, "throttle", "sqs", choice=0.5, seconds=0.5),
    Fault(3.5, "resume"),
    Fault(3.6, "stop"),
    Fault(4.0, "start"),
    Fault(4.1, "ambush", seconds=5),
]


def test_a_short_campaign_breaks_no_promise(tmp_path: Path) -> None:
    agenda = replace(plan.draw(seed=73, seconds=_SECONDS, orders=_ORDERS, viewers=_VIEWERS), faults=_FAULTS)

    with unhosted(tmp_path, _VENUES) as stack:
        outcome = run(stack, agenda, _TIMINGS, _TERMS, Console(quiet=True), settle_seconds=90)

    injected, world = outcome.injected, outcome.world
    told = [f"{breach.rule}: {breach.detail}\n{story(world, breach.order_id)}" for breach in outcome.breaches]
    assert not told, told[0]
    assert injected["route_execute workers killed"] > 0
    assert injected["PostgreSQL stopped and started"] == injected["PostgreSQL suspended and resumed"] == 1
    assert {what.partition(": ")[2] for what in injected} >= set(MODES)
    assert len(world.accepted) > _ORDERS * 0.8
    assert {journaled.status for journaled in world.journal.values()} >= {"confirmed", "failed"}
    assert {event["status"] for one in world.journal.values() for event in one.events} >= {"open", "triggered"}
    assert injected["further watchers of the market"] == 2 and "NOVA" in world.launches
    assert {posted.era for posted in world.posted if posted.accepted} == {0, 1}
    assert len(world.diverted) == 3
    assert sum(transcript.mute for transcript in world.transcripts) == _VIEWERS // 4
    assert sum(transcript.shared and transcript.final for transcript in world.transcripts) > 5
    # Orders went on while PostgreSQL was gone, and what nobody can work on is reported.
    assert found(world, stack.log)["rows deferred because PostgreSQL was unavailable"] > 0
    for line in ("a message that names no order", "an order that the journal does not have"):
        assert line in stack.log.read_text()


def test_a_plan_is_its_seeds() -> None:
    assert plan.draw(1, 60, 200) == plan.draw(1, 60, 200)
    assert plan.draw(1, 60, 200) != plan.draw(2, 60, 200)


def test_a_plan_has_every_fault_and_every_kind_of_request() -> None:
    agenda = plan.draw(1, 120, 500)

    database = ["stop", "start", "pause", "resume"]
    kinds = [fault.kind for fault in agenda.faults]
    assert set(kinds) == {"kill", "duplicate", "poison", "dead-letter", "ambush", "watch", "launch", *MODES, *database}
    assert [kind for kind in kinds if kind in database][:4] == database
    killed = {fault.target for fault in agenda.faults if fault.kind == "kill"}
    assert killed == {"route_execute", "notify", "submit", "ws_connect", "watch_market"}
    assert {fault.target for fault in agenda.faults if fault.kind in MODES} == set(SERVICES)
    assert {request.afterlife for request in agenda.requests} == {"", "closed", "expired"}
    assert sum(visits[0].mute for visits in agenda.opening[0].subscribers) == 50
    assert any(request.conflict for request in agenda.requests)
    assert any(0.0 in request.repeats for request in agenda.requests)
    assert any(not request.valid for request in agenda.requests)
    resting = [request for request in agenda.requests if request.valid and "orderType" in request.body]
    assert {request.body["orderType"] for request in resting} == {"limit", "stop", "takeProfit", "sniper"}
    assert any(request.lasts for request in resting) and any(request.cancels for request in resting)
    assert {request.body.get("timeInForce") for request in resting} == {None, "fok"}
    assert any(len(visits) > 1 for request in agenda.requests for visits in request.subscribers)


def test_a_request_that_rests_is_priced_by_the_market() -> None:
    market, asked = Market.of({"VENUE_SEED": "1", "MARKET_VOLATILITY_BPS": "0"}), {**plan.ORDINARY, "orderType": "stop"}
    body = market.body(Request(0.0, asked, price_bps=-100, lasts=10))
    own = market.net(asked, datetime.now(UTC))

    assert Decimal(body["triggerPrice"]) == (own * Decimal("0.99")).quantize(Decimal("1e-15"))
    assert 9 < (datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC)).total_seconds() <= 10
    lowest, highest = market.span(("SOL", "USDC"), 0.0, seconds=1)
    assert lowest < own < highest * Decimal("1.01")
    assert market.is_due("SOL/USDC#fall", highest * Decimal("1.01"), 0.0)
    assert not market.is_due("SOL/USDC#fall", lowest, 0.0)
    assert market.is_due("SOL/USDC#rise", lowest * Decimal("0.99"), 0.0)
    assert not market.is_due("SOL/USDC#rise", highest, 0.0)
