"""The mock chain's own ways with DynamoDB, and a venue on it for several workers (its contract: tests/doubles)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from order_engine import limits
from order_engine.adapters.mock_market.chain import Execution, MockChain, Sent
from order_engine.adapters.mock_market.dice import VenueConditions
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.errors import OutOfTime, ServiceUnavailable
from order_engine.domain.swaps import Dropped, InFlight, Landed, NotFound, Transaction, VenueName

from tests.doubles.timeline import Timeline
from tests.integration.conftest import CHAIN
from tests.support.builders import START, a_quote, a_transaction, an_order
from tests.support.local_aws import AnswerLost, Meanwhile

LANDED = Landed(Decimal("1489.000001"), Decimal("148.9000001"))
VALID_UNTIL = START + timedelta(seconds=10)
LATER = START + timedelta(seconds=3)
EXPIRED = VALID_UNTIL + timedelta(microseconds=1)


def execution(lands_at: datetime = START) -> Execution:
    return Execution(lands_at, LANDED.amount_out, LANDED.executed_price)


@pytest.fixture
def chain(dynamodb: Any) -> MockChain:
    return MockChain(dynamodb, CHAIN)


@pytest.fixture
def transaction() -> Transaction:
    return a_transaction(an_order(), valid_until=VALID_UNTIL)


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_of_an_orders_racing_transactions_one_is_taken_and_lands_once(chain: MockChain) -> None:
    order = an_order()
    attempts = [a_transaction(order, number, valid_until=VALID_UNTIL) for number in range(1, 6)]

    outcomes = at_once(*[partial(chain.send, one, execution(), START) for one in attempts])

    (taken,) = (one for one in outcomes if isinstance(one, Sent))
    assert outcomes.count(NotFound()) == 4
    assert [chain.look_up(one.tx_hash) for one in attempts] == outcomes
    assert at_once(*[partial(chain.land, taken)] * 4) == [LANDED] * 4


@pytest.mark.parametrize("seen", [False, True])
def test_a_death_whose_answer_was_lost_is_a_death(
    chain: MockChain, transaction: Transaction, dynamodb: Any, seen: bool
) -> None:
    if seen:
        chain.send(transaction, execution(EXPIRED), START)

    assert MockChain(AnswerLost(dynamodb), CHAIN).declare_dead(transaction, EXPIRED) == Dropped()


@pytest.mark.parametrize(("lands_at", "end"), [(LATER, LANDED), (EXPIRED, Dropped())])
def test_a_transaction_that_arrives_before_its_death_ends_as_it_would_have(
    chain: MockChain, transaction: Transaction, dynamodb: Any, lands_at: datetime, end: object
) -> None:
    """It was sent in time, by a worker whose clock is slow."""
    arrives = partial(chain.send, transaction, execution(lands_at), START)
    interrupted = MockChain(Meanwhile(dynamodb, "transact_write_items", [arrives]), CHAIN)

    assert interrupted.declare_dead(transaction, EXPIRED) == end
    assert chain.look_up(transaction.tx_hash) == end


def test_of_racing_launches_one_holds(chain: MockChain) -> None:
    moments = [START.replace(microsecond=0) + timedelta(seconds=second) for second in range(5)]

    opens_at = at_once(*[partial(chain.launch, "ORBIT", moment) for moment in moments])

    assert opens_at == [chain.opens_at("ORBIT")] * 5
    assert opens_at[0] in moments


# --- an earlier release, which knew no validity -----------------------------------------------------------------------


@pytest.fixture
def earlier(dynamodb: Any) -> Transaction:
    """A transaction that an earlier release has sent, and that lands LATER."""
    transaction = a_transaction(an_order())
    item = {
        "id": {"S": transaction.tx_hash},
        "orderId": {"S": str(transaction.order_id)},
        "venue": {"S": "raydium"},
        "state": {"S": "sent"},
        "landsAt": {"N": str(int(LATER.timestamp() * 1000))},
        "amountOut": {"S": "1489.000001"},
        "executedPrice": {"S": "148.9000001"},
    }
    guard = {"id": {"S": f"order#{transaction.order_id}"}, "txHash": {"S": transaction.tx_hash}}
    for each in (item, guard):
        dynamodb.put_item(TableName=CHAIN, Item=each)
    return transaction


@pytest.mark.parametrize(("moment", "end"), [(START, Dropped()), (LATER, LANDED)])
def test_an_earlier_releases_transaction_lands_at_its_time_or_dies(
    chain: MockChain, earlier: Transaction, moment: datetime, end: object
) -> None:
    assert chain.declare_dead(earlier, moment) == end


def test_a_transaction_that_lands_before_its_death_has_landed(
    chain: MockChain, earlier: Transaction, dynamodb: Any
) -> None:
    lands = partial(chain.land, Sent(earlier.tx_hash, LATER, "landed"))

    assert MockChain(Meanwhile(dynamodb, "transact_write_items", [lands]), CHAIN).declare_dead(earlier, START) == LANDED
    assert chain.look_up(earlier.tx_hash) == LANDED
    following = a_transaction(an_order(order_id=earlier.order_id), 2, valid_until=VALID_UNTIL)
    assert chain.send(following, execution(), START) == NotFound()


# --- the service, and the venue on it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "seconds", "fault"),
    [("no such table", 60.0, ServiceUnavailable), (CHAIN, limits.DYNAMODB - 0.1, OutOfTime)],
)
def test_a_call_to_the_chain_fails_as_one_to_a_service(
    dynamodb: Any, transaction: Transaction, table: str, seconds: float, fault: type[Exception]
) -> None:
    chain = MockChain(dynamodb, table)
    with limits.invocation(lambda: seconds):
        for call in (
            partial(chain.send, transaction, execution(), START),
            partial(chain.send, transaction, execution(), EXPIRED),
            partial(chain.look_up, "hash"),
            partial(chain.land, Sent("hash", START, "landed")),
            partial(chain.declare_dead, transaction, EXPIRED),
            partial(chain.launch, "NOVA", START),
            partial(chain.opens_at, "NOVA"),
        ):
            with pytest.raises(fault):
                call()


def test_a_worker_follows_and_abandons_what_it_did_not_build(dynamodb: Any) -> None:
    clock, slow, order = Timeline(), VenueConditions(swap_latency_ms=(5000, 5000)), an_order()
    builder, other = (MockVenue(VenueName.RAYDIUM, MockChain(dynamodb, CHAIN), clock, slow) for _ in range(2))
    sent, lost = (builder.build(order, a_quote(), Decimal(1), f"{order.order_id}/{attempt}") for attempt in (1, 2))
    sent, lost = (Transaction.model_validate_json(each.to_json()) for each in (sent, lost))  # as journaled

    assert other.status(sent, wait_seconds=0) == NotFound()
    assert other.abandon(sent) == other.send(sent, wait_seconds=0) == other.abandon(sent) == InFlight()
    clock.wait(6)
    landed = other.status(sent, wait_seconds=0)
    assert isinstance(landed, Landed)
    assert other.abandon(sent) == landed

    clock.wait(4)
    assert other.abandon(lost) == InFlight()
    clock.wait(0.001)
    assert other.send(lost, wait_seconds=0) == NotFound()
    assert other.abandon(lost) == other.send(lost, wait_seconds=0) == Dropped()
