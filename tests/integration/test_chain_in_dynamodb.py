"""The mock chain against DynamoDB: an order lands at most once, only time kills, and what is dead stays dead."""

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
from order_engine.domain.errors import FailureCode, OutOfTime, ServiceUnavailable
from order_engine.domain.order import Order
from order_engine.domain.swaps import Dropped, InFlight, Landed, NotFound, Reverted, Transaction, VenueName

from tests.doubles.timeline import Timeline
from tests.integration.conftest import CHAIN
from tests.support.builders import START, a_quote, a_transaction, an_order
from tests.support.local_aws import AnswerLost

LANDED = Landed(Decimal("1489.000001"), Decimal("148.9000001"))
TOO_LITTLE = Decimal("1482.549999")
REVERTED = Reverted(
    "the swap would give 1482.549999 USDC, less than minAmountOut 1482.55", FailureCode.SLIPPAGE_EXCEEDED
)
VALID_UNTIL = START + timedelta(seconds=10)
LATER = START + timedelta(seconds=3)
EXPIRED = VALID_UNTIL + timedelta(microseconds=1)


def execution(lands_at: datetime = START, amount_out: Decimal = LANDED.amount_out) -> Execution:
    return Execution(lands_at, amount_out, LANDED.executed_price)


@pytest.fixture
def chain(dynamodb: Any) -> MockChain:
    return MockChain(dynamodb, CHAIN)


def valid(order: Order, attempt: int = 1) -> Transaction:
    return a_transaction(order, attempt, valid_until=VALID_UNTIL)


@pytest.fixture
def transaction() -> Transaction:
    return valid(an_order())


def sent(chain: MockChain, transaction: Transaction, how: Execution | None = None) -> Sent:
    in_flight = chain.send(transaction, how or execution(), START)
    assert isinstance(in_flight, Sent)
    return in_flight


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_a_transaction_that_was_never_sent_is_unknown(chain: MockChain) -> None:
    assert chain.look_up("nowhere") == NotFound()


def test_a_transaction_is_in_flight_until_its_time_has_come_and_then_lands_to_the_last_digit(
    chain: MockChain, transaction: Transaction
) -> None:
    in_flight = sent(chain, transaction)

    assert chain.look_up(transaction.tx_hash) == in_flight
    assert in_flight.lands_at
    assert abs(in_flight.lands_at - START) < timedelta(milliseconds=1)
    assert chain.land(in_flight) == chain.look_up(transaction.tx_hash) == LANDED


def test_a_swap_for_less_than_its_floor_ends_reverted_and_says_why(chain: MockChain, transaction: Transaction) -> None:
    sent(chain, transaction, execution(amount_out=TOO_LITTLE))
    found = chain.look_up(transaction.tx_hash)

    assert isinstance(found, Sent)
    assert chain.land(found) == chain.look_up(transaction.tx_hash) == REVERTED


def test_a_swap_that_gives_nothing_ends_reverted_even_without_a_floor(chain: MockChain) -> None:
    transaction = valid(an_order()).model_copy(update={"min_amount_out": Decimal(0)})

    ended = chain.land(sent(chain, transaction, execution(amount_out=Decimal(0))))

    assert ended == Reverted("the swap would give no USDC", FailureCode.SLIPPAGE_EXCEEDED)


def test_a_transaction_sent_again_changes_nothing(chain: MockChain, transaction: Transaction) -> None:
    in_flight = sent(chain, transaction)
    assert chain.send(transaction, execution(LATER, Decimal(2000)), START) == in_flight

    chain.land(in_flight)

    assert chain.send(transaction, execution(), START) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED


def test_landing_twice_is_landing_once(chain: MockChain, transaction: Transaction) -> None:
    in_flight = sent(chain, transaction)

    assert at_once(*[lambda: chain.land(in_flight)] * 4) == [LANDED] * 4


def test_of_an_orders_transactions_at_once_exactly_one_is_taken(chain: MockChain) -> None:
    order = an_order()
    attempts = [valid(order, number) for number in range(1, 6)]

    taken = at_once(*[partial(chain.send, one, execution(), START) for one in attempts])

    assert len([one for one in taken if isinstance(one, Sent)]) == 1
    assert taken.count(NotFound()) == 4
    assert [chain.look_up(one.tx_hash) for one in attempts] == taken


def test_an_order_whose_swap_has_landed_gets_no_second_one(chain: MockChain) -> None:
    order = an_order()
    chain.land(sent(chain, valid(order, 1)))

    assert chain.send(valid(order, 2), execution(), START) == NotFound()
    assert chain.look_up(valid(order, 2).tx_hash) == NotFound()


def test_orders_do_not_get_in_each_others_way(chain: MockChain) -> None:
    for _ in range(3):
        assert chain.land(sent(chain, valid(an_order()))) == LANDED


# --- validity -------------------------------------------------------------------------------------------------


def test_a_transaction_that_arrives_in_its_last_moment_is_taken_and_one_that_arrives_after_it_is_not(
    chain: MockChain,
) -> None:
    last, late = valid(an_order()), valid(an_order())

    assert isinstance(chain.send(last, execution(VALID_UNTIL), VALID_UNTIL), Sent)
    assert chain.send(late, execution(EXPIRED), EXPIRED) == NotFound()
    assert chain.look_up(late.tx_hash) == NotFound()


def test_a_transaction_that_landed_is_found_so_by_whoever_sends_it_after_its_validity(
    chain: MockChain, transaction: Transaction
) -> None:
    chain.land(sent(chain, transaction))

    assert chain.send(transaction, execution(EXPIRED), EXPIRED) == LANDED


def test_a_transaction_whose_time_comes_after_its_validity_never_lands(
    chain: MockChain, transaction: Transaction
) -> None:
    in_flight = sent(chain, transaction, execution(EXPIRED))

    assert in_flight.lands_at is None
    assert chain.look_up(transaction.tx_hash) == in_flight
    assert chain.declare_dead(transaction, EXPIRED + timedelta(days=1)) == Dropped()


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("moment", [START, VALID_UNTIL])
def test_nothing_can_be_declared_dead_before_its_validity_has_passed(
    chain: MockChain, transaction: Transaction, seen: bool, moment: datetime
) -> None:
    if seen:
        sent(chain, transaction, execution(EXPIRED))
    before = chain.look_up(transaction.tx_hash)

    assert chain.declare_dead(transaction, moment) == InFlight()
    assert chain.look_up(transaction.tx_hash) == before
    if not seen:
        assert chain.land(sent(chain, transaction)) == LANDED


def test_a_transaction_that_was_never_seen_is_dead_after_its_validity_and_stays_so(
    chain: MockChain, transaction: Transaction
) -> None:
    assert chain.declare_dead(transaction, EXPIRED) == Dropped()

    assert chain.send(transaction, execution(), START) == Dropped()  # by a worker whose clock is slow
    assert chain.look_up(transaction.tx_hash) == Dropped()
    assert chain.declare_dead(transaction, EXPIRED) == Dropped()


def test_a_transaction_that_died_in_flight_never_lands_and_makes_room_for_the_next(chain: MockChain) -> None:
    order = an_order()
    first, second = valid(order, 1), valid(order, 2)
    in_flight = sent(chain, first, execution(EXPIRED))

    assert chain.declare_dead(first, EXPIRED) == Dropped()
    assert chain.land(in_flight) == Dropped()
    assert chain.land(sent(chain, second)) == LANDED


@pytest.mark.parametrize("moment", [LATER, EXPIRED])
def test_a_transaction_whose_time_has_come_lands_instead_of_dying(
    chain: MockChain, transaction: Transaction, moment: datetime
) -> None:
    sent(chain, transaction)

    assert chain.declare_dead(transaction, moment) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED


def test_a_transaction_in_flight_whose_time_has_not_come_can_not_be_stopped(
    chain: MockChain, transaction: Transaction
) -> None:
    in_flight = sent(chain, transaction, execution(LATER))

    assert chain.declare_dead(transaction, START) == InFlight()
    assert chain.land(in_flight) == LANDED


@pytest.mark.parametrize(("amount_out", "end"), [(LANDED.amount_out, LANDED), (TOO_LITTLE, REVERTED)])
def test_a_transaction_that_has_ended_can_not_be_declared_dead(
    chain: MockChain, transaction: Transaction, amount_out: Decimal, end: object
) -> None:
    chain.land(sent(chain, transaction, execution(amount_out=amount_out)))

    assert chain.declare_dead(transaction, EXPIRED) == end
    assert chain.look_up(transaction.tx_hash) == end


@pytest.mark.parametrize("seen", [False, True])
def test_a_death_whose_answer_was_lost_is_a_death(
    chain: MockChain, transaction: Transaction, dynamodb: Any, seen: bool
) -> None:
    stuttering = MockChain(AnswerLost(dynamodb), CHAIN)
    if seen:
        sent(chain, transaction, execution(EXPIRED))

    assert stuttering.declare_dead(transaction, EXPIRED) == Dropped()


class Interrupted:
    """A client after whose first look-up something happens."""

    def __init__(self, client: Any, happens: Callable[[], object]) -> None:
        self._client = client
        self._happens = [happens]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_item(self, **arguments: Any) -> Any:
        answer = self._client.get_item(**arguments)
        while self._happens:
            self._happens.pop()()
        return answer


@pytest.mark.parametrize(("lands_at", "end"), [(LATER, LANDED), (EXPIRED, Dropped())])
def test_a_transaction_that_arrives_while_it_is_about_to_be_declared_dead_ends_as_it_would_have(
    chain: MockChain, transaction: Transaction, dynamodb: Any, lands_at: datetime, end: object
) -> None:
    """It was sent in time, by a worker whose clock is slow."""
    arrives = partial(sent, chain, transaction, execution(lands_at))

    assert MockChain(Interrupted(dynamodb, arrives), CHAIN).declare_dead(transaction, EXPIRED) == end
    assert chain.look_up(transaction.tx_hash) == end


# --- an earlier release, which knew no validity ---------------------------------------------------------------


def sent_by_an_earlier_release(dynamodb: Any, transaction: Transaction, lands_at: datetime) -> None:
    item = {
        "id": {"S": transaction.tx_hash},
        "orderId": {"S": str(transaction.order_id)},
        "venue": {"S": "raydium"},
        "state": {"S": "sent"},
        "landsAt": {"N": str(int(lands_at.timestamp() * 1000))},
        "amountOut": {"S": "1489.000001"},
        "executedPrice": {"S": "148.9000001"},
    }
    guard = {"id": {"S": f"order#{transaction.order_id}"}, "txHash": {"S": transaction.tx_hash}}
    for each in (item, guard):
        dynamodb.put_item(TableName=CHAIN, Item=each)


@pytest.mark.parametrize(("moment", "end"), [(START, Dropped()), (LATER, LANDED)])
def test_a_transaction_of_an_earlier_release_lands_at_its_time_or_is_stopped_before(
    chain: MockChain, dynamodb: Any, moment: datetime, end: object
) -> None:
    transaction = a_transaction(an_order())
    sent_by_an_earlier_release(dynamodb, transaction, LATER)

    assert chain.declare_dead(transaction, moment) == end


def test_a_transaction_that_lands_while_it_is_about_to_be_declared_dead_has_landed(
    chain: MockChain, dynamodb: Any
) -> None:
    transaction = a_transaction(an_order())
    sent_by_an_earlier_release(dynamodb, transaction, LATER)
    lands = partial(chain.land, Sent(transaction.tx_hash, LATER, "landed"))

    assert MockChain(Interrupted(dynamodb, lands), CHAIN).declare_dead(transaction, START) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED
    assert chain.send(a_transaction(an_order(order_id=transaction.order_id), 2), execution(), START) == NotFound()


def test_a_transaction_of_an_earlier_release_that_was_not_sent_is_not_sent_any_more(chain: MockChain) -> None:
    transaction = a_transaction(an_order())

    assert chain.send(transaction, execution(), START) == NotFound()
    assert chain.declare_dead(transaction, START) == Dropped()


# --- the service, and the venue on it -------------------------------------------------------------------------


def every_call(chain: MockChain, transaction: Transaction) -> list[Callable[[], object]]:
    return [
        lambda: chain.send(transaction, execution(), START),
        lambda: chain.send(transaction, execution(), EXPIRED),
        lambda: chain.look_up("hash"),
        lambda: chain.land(Sent("hash", START, "landed")),
        lambda: chain.declare_dead(transaction, EXPIRED),
    ]


def test_a_chain_that_does_not_respond_is_a_service_that_is_unavailable(
    dynamodb: Any, transaction: Transaction
) -> None:
    for call in every_call(MockChain(dynamodb, "no such table"), transaction):
        with pytest.raises(ServiceUnavailable):
            call()


def test_no_call_is_begun_that_may_outlast_the_invocation(chain: MockChain, transaction: Transaction) -> None:
    with limits.invocation(lambda: limits.DYNAMODB - 0.1):
        for call in every_call(chain, transaction):
            with pytest.raises(OutOfTime):
                call()


SLOW = VenueConditions(swap_latency_ms=(5000, 5000))


def journaled(transaction: Transaction) -> Transaction:
    """What another worker reads in the journal."""
    return Transaction.model_validate_json(transaction.to_json())


def test_a_worker_that_did_not_build_a_transaction_can_send_follow_and_abandon_it(
    chain: MockChain, dynamodb: Any
) -> None:
    clock, order = Timeline(), an_order()
    transaction = MockVenue(VenueName.RAYDIUM, chain, clock, SLOW).build(order, 1, a_quote(), Decimal(1))
    other = MockVenue(VenueName.RAYDIUM, MockChain(dynamodb, CHAIN), clock, SLOW)
    read = journaled(transaction)

    assert read == transaction
    assert other.status(read, wait_seconds=0) == NotFound()
    assert other.abandon(read) == InFlight()
    assert other.submit(read, wait_seconds=0) == InFlight()
    assert other.abandon(read) == InFlight()
    clock.wait(6)
    assert isinstance(other.status(read, wait_seconds=0), Landed)
    assert isinstance(other.abandon(read), Landed)


def test_a_transaction_that_was_lost_dies_with_its_validity_for_every_worker(chain: MockChain, dynamodb: Any) -> None:
    clock, order = Timeline(), an_order()
    transaction = MockVenue(VenueName.RAYDIUM, chain, clock, SLOW).build(order, 1, a_quote(), Decimal(1))
    other = MockVenue(VenueName.RAYDIUM, MockChain(dynamodb, CHAIN), clock, SLOW)

    clock.wait(10)
    assert other.abandon(journaled(transaction)) == InFlight()
    clock.wait(0.001)
    assert other.submit(journaled(transaction), wait_seconds=0) == NotFound()
    assert other.abandon(journaled(transaction)) == Dropped()
    assert other.submit(journaled(transaction), wait_seconds=0) == Dropped()
