"""The mock chain against DynamoDB: an order lands at most once, and what is dead stays dead."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from order_engine.adapters.mock_chain import Execution, MockChain, Pending
from order_engine.adapters.mock_venues import MockVenue, VenueConditions
from order_engine.errors import ServiceUnavailable
from order_engine.orders import Landed, Outlook, Reverted, Transaction, VenueName

from tests.integration.conftest import CHAIN
from tests.support.builders import START, a_quote, a_transaction, an_order
from tests.support.fakes import FixedClock
from tests.support.local_aws import AnswerLost

LANDED = Landed(Decimal("1489.000001"), Decimal("148.9000001"))
LATER = START + timedelta(seconds=3)


def execution(reverted: str | None = None) -> Execution:
    return Execution(START, LANDED.amount_out, LANDED.executed_price, reverted)


@pytest.fixture
def chain(dynamodb: Any) -> MockChain:
    return MockChain(dynamodb, CHAIN)


@pytest.fixture
def transaction() -> Transaction:
    return a_transaction(an_order())


def sent(chain: MockChain, transaction: Transaction, how: Execution | None = None) -> Pending:
    pending = chain.send(transaction, how or execution())
    assert pending is not None
    return pending


def at_once(*calls: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_a_transaction_that_was_never_sent_is_unknown(chain: MockChain) -> None:
    assert chain.look_up("nowhere") is Outlook.UNKNOWN


def test_a_transaction_is_pending_until_its_time_has_come_and_then_lands_to_the_last_digit(
    chain: MockChain, transaction: Transaction
) -> None:
    pending = sent(chain, transaction)
    found = chain.look_up(transaction.tx_hash)

    assert isinstance(found, Pending)
    assert (found.tx_hash, found.ends_as) == (transaction.tx_hash, "landed")
    assert abs(found.lands_at - START) < timedelta(milliseconds=1)
    assert chain.land(pending) == chain.look_up(transaction.tx_hash) == LANDED


def test_a_refused_swap_ends_reverted_with_its_reason(chain: MockChain, transaction: Transaction) -> None:
    pending = sent(chain, transaction, execution("less than minAmountOut"))

    assert chain.land(pending) == chain.look_up(transaction.tx_hash) == Reverted("less than minAmountOut")


def test_a_transaction_that_somebody_looked_up_ends_as_it_was_sent(chain: MockChain, transaction: Transaction) -> None:
    sent(chain, transaction, execution("less than minAmountOut"))
    found = chain.look_up(transaction.tx_hash)

    assert isinstance(found, Pending)
    assert chain.land(found) == Reverted("less than minAmountOut")


def test_a_transaction_sent_again_changes_nothing(chain: MockChain, transaction: Transaction) -> None:
    pending = sent(chain, transaction)
    assert chain.send(transaction, Execution(LATER, Decimal(1), Decimal(1), None)) is None

    chain.land(pending)

    assert chain.send(transaction, execution()) is None
    assert chain.look_up(transaction.tx_hash) == LANDED


def test_landing_twice_is_landing_once(chain: MockChain, transaction: Transaction) -> None:
    pending = sent(chain, transaction)

    assert at_once(*[lambda: chain.land(pending)] * 4) == [LANDED] * 4


def test_of_an_orders_transactions_at_once_exactly_one_is_taken(chain: MockChain) -> None:
    order = an_order()
    attempts = [a_transaction(order, attempt=number) for number in range(1, 6)]

    taken = at_once(*[partial(chain.send, one, execution()) for one in attempts])

    assert len([one for one in taken if one is not None]) == 1
    assert len([one for one in attempts if chain.look_up(one.tx_hash) is not Outlook.UNKNOWN]) == 1


def test_an_order_whose_swap_has_landed_gets_no_second_one(chain: MockChain) -> None:
    order = an_order()
    chain.land(sent(chain, a_transaction(order, attempt=1)))

    assert chain.send(a_transaction(order, attempt=2), execution()) is None
    assert chain.look_up(a_transaction(order, attempt=2).tx_hash) is Outlook.UNKNOWN


def test_orders_do_not_get_in_each_others_way(chain: MockChain) -> None:
    for _ in range(3):
        assert chain.land(sent(chain, a_transaction(an_order()))) == LANDED


# --- declared dead --------------------------------------------------------------------------------------------


def test_a_transaction_declared_dead_before_it_arrived_never_lands(chain: MockChain, transaction: Transaction) -> None:
    assert chain.declare_dead(transaction, START) is Outlook.DEAD

    assert chain.send(transaction, execution()) is None
    assert chain.look_up(transaction.tx_hash) is Outlook.DEAD


def test_a_transaction_declared_dead_before_its_time_never_lands_and_makes_room_for_the_next(chain: MockChain) -> None:
    order = an_order()
    first, second = a_transaction(order, attempt=1), a_transaction(order, attempt=2)
    pending = sent(chain, first, Execution(LATER, LANDED.amount_out, LANDED.executed_price, None))

    assert chain.declare_dead(first, START) is Outlook.DEAD
    assert chain.land(pending) is Outlook.DEAD
    assert chain.land(sent(chain, second)) == LANDED


def test_a_transaction_whose_time_has_come_lands_instead_of_dying(chain: MockChain, transaction: Transaction) -> None:
    sent(chain, transaction)

    assert chain.declare_dead(transaction, LATER) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED


@pytest.mark.parametrize(("reason", "end"), [(None, LANDED), ("too little", Reverted("too little"))])
def test_a_transaction_that_has_ended_can_not_be_declared_dead(
    chain: MockChain, transaction: Transaction, reason: str | None, end: object
) -> None:
    chain.land(sent(chain, transaction, execution(reason)))

    assert chain.declare_dead(transaction, START) == end
    assert chain.look_up(transaction.tx_hash) == end


def test_a_transaction_may_be_declared_dead_twice(chain: MockChain, transaction: Transaction) -> None:
    assert chain.declare_dead(transaction, START) is chain.declare_dead(transaction, START) is Outlook.DEAD


def test_a_death_whose_answer_was_lost_is_a_death(chain: MockChain, transaction: Transaction, dynamodb: Any) -> None:
    stuttering = MockChain(AnswerLost(dynamodb), CHAIN)
    sent(chain, transaction, Execution(LATER, LANDED.amount_out, LANDED.executed_price, None))

    assert stuttering.declare_dead(transaction, START) is Outlook.DEAD


def test_of_landing_and_dying_at_once_both_sides_are_told_the_same_end(chain: MockChain) -> None:
    for _ in range(10):
        transaction = a_transaction(an_order())
        pending = sent(chain, transaction, Execution(LATER, LANDED.amount_out, LANDED.executed_price, None))

        ends = at_once(partial(chain.land, pending), partial(chain.declare_dead, transaction, START))

        assert ends[0] == ends[1] == chain.look_up(transaction.tx_hash)
        assert ends[0] in (LANDED, Outlook.DEAD)


def test_of_arriving_and_dying_at_once_nothing_that_was_called_dead_can_land(chain: MockChain) -> None:
    for _ in range(10):
        transaction = a_transaction(an_order())

        taken, end = at_once(
            partial(chain.send, transaction, Execution(LATER, Decimal(1), Decimal(1), None)),
            partial(chain.declare_dead, transaction, START),
        )

        assert end is Outlook.DEAD
        assert taken is None or (isinstance(taken, Pending) and chain.land(taken) is Outlook.DEAD)


def test_a_chain_that_does_not_answer_is_a_service_that_is_away(dynamodb: Any, transaction: Transaction) -> None:
    chain = MockChain(dynamodb, "no such table")

    for call in (
        lambda: chain.send(transaction, execution()),
        lambda: chain.look_up("hash"),
        lambda: chain.land(Pending("hash", START, "landed")),
        lambda: chain.declare_dead(transaction, START),
    ):
        with pytest.raises(ServiceUnavailable):
            call()


def test_a_venue_forgets_nothing_when_its_function_does(chain: MockChain, dynamodb: Any) -> None:
    conditions = VenueConditions(swap_latency_ms=(5000, 5000))
    clock = FixedClock()
    order = an_order()
    first = MockVenue(VenueName.RAYDIUM, chain, clock, conditions)
    transaction = first.build(order, 1, a_quote(), Decimal(1))
    assert first.submit(transaction, wait_seconds=0) is Outlook.PENDING

    clock.advance(6)
    second = MockVenue(VenueName.RAYDIUM, MockChain(dynamodb, CHAIN), clock, conditions)

    assert isinstance(second.status(transaction.tx_hash, wait_seconds=0), Landed)
    assert isinstance(second.abandon(transaction), Landed)
