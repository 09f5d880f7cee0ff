"""The journal against DynamoDB: conditional writes that leave exactly one winner."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from order_engine.adapters.journal import KEPT, DynamoJournal
from order_engine.errors import (
    ClientOrderIdReused,
    FailureCode,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OrderEngineError,
    ServiceUnavailable,
    UnknownOrder,
)
from order_engine.orders import AttemptError, JournalEntry, Order
from order_engine.ports import Claim
from order_engine.status import OrderStatus

from tests.integration.conftest import JOURNAL
from tests.support.builders import START, accepted, an_entry, an_order
from tests.support.fakes import FixedClock
from tests.support.local_aws import AnswerLost

LEASE = timedelta(seconds=25)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def journal(dynamodb: Any, clock: FixedClock) -> DynamoJournal:
    return DynamoJournal(dynamodb, JOURNAL, clock, LEASE)


@pytest.fixture
def stuttering(dynamodb: Any, clock: FixedClock) -> DynamoJournal:
    """A journal each of whose writes is made twice, because the first one's answer was lost."""
    return DynamoJournal(AnswerLost(dynamodb), JOURNAL, clock, LEASE)


def created(journal: DynamoJournal, order: Order | None = None) -> Order:
    return journal.create(accepted(order or an_order()), "fingerprint")


def routed(claim: Claim) -> JournalEntry:
    return claim.entry.advanced(OrderStatus.ROUTING, START, "Comparing prices", attempt=1)


def outcome_of(call: Callable[..., object], *arguments: object) -> object:
    """What a call answered or raised."""
    try:
        return call(*arguments)
    except OrderEngineError as fault:
        return fault


def at_once(times: int, call: Callable[[], object]) -> list[object]:
    """What each of several simultaneous calls answered or raised."""

    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(outcome_of, call) for _ in range(times)]]


def item_of(dynamodb: Any, order: Order) -> dict[str, Any]:
    item: dict[str, Any] = dynamodb.get_item(TableName=JOURNAL, Key={"orderId": {"S": str(order.order_id)}})["Item"]
    return item


# --- create ---------------------------------------------------------------------------------------------------


def test_a_created_order_is_read_back_as_it_was(journal: DynamoJournal) -> None:
    entry = accepted(an_order(client_order_id="mine"))

    assert journal.create(entry, "fingerprint") == entry.order
    assert journal.read(entry.order.order_id) == entry


def test_an_order_created_again_with_its_fingerprint_answers_the_first_one(journal: DynamoJournal) -> None:
    first = created(journal)

    again = created(journal, replace_created_at(first))

    assert again == first
    assert journal.read(first.order_id).order == first


def replace_created_at(order: Order) -> Order:
    return order.model_copy(update={"created_at": order.created_at + timedelta(seconds=9)})


def test_an_order_created_again_with_another_fingerprint_is_refused(journal: DynamoJournal) -> None:
    first = created(journal, an_order(client_order_id="mine"))

    with pytest.raises(ClientOrderIdReused, match="'mine'"):
        journal.create(accepted(first), "another")


def test_an_order_created_again_keeps_what_happened_to_it_since(journal: DynamoJournal) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    journal.append(claim, routed(claim))

    created(journal, order)

    assert journal.read(order.order_id).status is OrderStatus.ROUTING
    with pytest.raises(LeaseHeld):
        journal.claim(order.order_id)


def test_of_two_bodies_with_one_key_at_once_exactly_one_is_accepted(journal: DynamoJournal) -> None:
    order = an_order(client_order_id="mine")
    fingerprints = iter(["one", "two"] * 4)

    outcomes = at_once(8, lambda: journal.create(accepted(order), next(fingerprints)))

    assert len([one for one in outcomes if one == order]) == 4
    assert len([one for one in outcomes if isinstance(one, ClientOrderIdReused)]) == 4


def test_a_creation_whose_answer_was_lost_is_a_creation(stuttering: DynamoJournal, journal: DynamoJournal) -> None:
    order = created(stuttering)

    assert journal.read(order.order_id).order == order


def test_an_order_that_was_never_created_is_unknown(journal: DynamoJournal) -> None:
    for call in (journal.read, journal.claim):
        with pytest.raises(UnknownOrder):
            call(uuid4())


# --- withdraw -------------------------------------------------------------------------------------------------


def test_an_order_that_nobody_touched_can_be_withdrawn(journal: DynamoJournal) -> None:
    order = created(journal)

    assert journal.withdraw(order.order_id)
    with pytest.raises(UnknownOrder):
        journal.read(order.order_id)


@pytest.mark.parametrize("released", [False, True])
def test_an_order_that_a_worker_had_stays(journal: DynamoJournal, released: bool) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    if released:
        claim = journal.append(claim, routed(claim))
        journal.release(claim)

    assert not journal.withdraw(order.order_id)
    assert journal.read(order.order_id).order == order


def test_of_a_worker_and_a_withdrawal_at_once_exactly_one_has_the_order(journal: DynamoJournal) -> None:
    for _ in range(10):
        order = created(journal)
        with ThreadPoolExecutor(2) as pool:
            claiming = pool.submit(outcome_of, journal.claim, order.order_id)
            withdrawing = pool.submit(journal.withdraw, order.order_id)
            claimed, withdrawn = claiming.result(), withdrawing.result()

        assert (isinstance(claimed, Claim), withdrawn) in [(True, False), (False, True)]
        assert isinstance(claimed, Claim | UnknownOrder)


# --- the lease ------------------------------------------------------------------------------------------------


def test_of_many_workers_at_once_exactly_one_gets_the_order(journal: DynamoJournal) -> None:
    order = created(journal)

    outcomes = at_once(8, lambda: journal.claim(order.order_id))

    assert len([one for one in outcomes if isinstance(one, Claim)]) == 1
    assert len([one for one in outcomes if isinstance(one, LeaseHeld)]) == 7


def test_a_first_claim_has_the_entry_and_was_not_interrupted(journal: DynamoJournal) -> None:
    order = created(journal)

    claim = journal.claim(order.order_id)

    assert claim.entry == accepted(order)
    assert not claim.interrupted


def test_an_order_that_was_given_back_can_be_claimed_and_was_not_interrupted(journal: DynamoJournal) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    journal.release(claim)

    again = journal.claim(order.order_id)

    assert again.owner != claim.owner
    assert not again.interrupted


def test_a_lease_that_ran_out_means_that_its_holder_died(journal: DynamoJournal, clock: FixedClock) -> None:
    order = created(journal)
    journal.claim(order.order_id)
    clock.advance(LEASE.total_seconds())
    with pytest.raises(LeaseHeld):
        journal.claim(order.order_id)

    clock.advance(0.001)

    assert journal.claim(order.order_id).interrupted


def test_a_claim_whose_answer_was_lost_is_a_claim(stuttering: DynamoJournal, journal: DynamoJournal) -> None:
    order = created(journal)

    claim = stuttering.claim(order.order_id)

    claim = journal.append(claim, routed(claim))
    assert journal.read(order.order_id).status is OrderStatus.ROUTING


def test_a_closed_order_can_not_be_claimed(journal: DynamoJournal) -> None:
    order = created(journal)
    journal.release(journal.claim(order.order_id), closed=True)

    with pytest.raises(OrderClosed):
        journal.claim(order.order_id)
    assert journal.read(order.order_id).order == order


def test_only_a_closed_order_expires_and_only_after_its_client_has_had_time(
    journal: DynamoJournal, dynamodb: Any, clock: FixedClock
) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    assert "expiresAt" not in item_of(dynamodb, order)

    journal.release(claim, closed=True)

    assert item_of(dynamodb, order)["expiresAt"]["N"] == str(int((clock.at + KEPT).timestamp()))
    assert timedelta(days=1) <= KEPT


# --- append and release ---------------------------------------------------------------------------------------


def lived_through(journal: DynamoJournal, through: OrderStatus) -> JournalEntry:
    """Appends the events of `an_entry` to a new order one by one."""
    entry = an_entry(through)
    journal.create(JournalEntry(entry.order, entry.events[:1]), "fingerprint")
    claim = journal.claim(entry.order.order_id)
    for count in range(2, len(entry.events) + 1):
        transaction = entry.transaction if count >= 4 else None
        errors = entry.errors if count == len(entry.events) else ()
        claim = journal.append(claim, JournalEntry(entry.order, entry.events[:count], transaction, errors))
    return entry


@pytest.mark.parametrize("through", OrderStatus)
def test_a_whole_life_is_read_back_as_it_was_lived(journal: DynamoJournal, through: OrderStatus) -> None:
    entry = lived_through(journal, through)

    assert journal.read(entry.order.order_id) == entry


def test_an_operator_sees_where_an_order_stands_without_reading_its_events(
    journal: DynamoJournal, dynamodb: Any
) -> None:
    item = item_of(dynamodb, lived_through(journal, OrderStatus.SUBMITTED).order)

    assert (item["status"], item["sequence"], item["attempt"]) == ({"S": "submitted"}, {"N": "4"}, {"N": "1"})


def test_a_worker_whose_lease_went_to_another_can_neither_append_nor_release(
    journal: DynamoJournal, clock: FixedClock
) -> None:
    order = created(journal)
    slow = journal.claim(order.order_id)
    clock.advance(LEASE.total_seconds() + 1)
    quick = journal.claim(order.order_id)

    for call in (lambda: journal.append(slow, routed(slow)), lambda: journal.release(slow, closed=True)):
        with pytest.raises(LeaseLost):
            call()

    assert journal.read(order.order_id).sequence == 1
    assert journal.append(quick, routed(quick)).entry.sequence == 2


def test_a_worker_whose_lease_ran_out_goes_on_while_nobody_took_it(journal: DynamoJournal, clock: FixedClock) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    clock.advance(LEASE.total_seconds() + 1)

    journal.append(claim, routed(claim))

    assert journal.read(order.order_id).sequence == 2


def test_a_worker_that_gave_its_lease_back_can_not_append(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    journal.release(claim)

    with pytest.raises(LeaseLost):
        journal.append(claim, routed(claim))


def test_an_event_that_is_not_the_next_one_is_refused(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    journal.append(claim, routed(claim))

    with pytest.raises(LeaseLost):  # the claim is that of before the append
        journal.append(claim, claim.entry.advanced(OrderStatus.FAILED, START, "failed"))
    assert journal.read(claim.entry.order.order_id).status is OrderStatus.ROUTING


def test_of_many_appends_under_one_lease_at_once_exactly_one_is_taken(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    messages = iter(range(8))

    outcomes = at_once(
        8,
        lambda: journal.append(
            claim, claim.entry.advanced(OrderStatus.ROUTING, START, f"from thread {next(messages)}", attempt=1)
        ),
    )

    assert len([one for one in outcomes if isinstance(one, Claim)]) == 1
    assert len([one for one in outcomes if isinstance(one, LeaseLost)]) == 7
    assert len(journal.read(claim.entry.order.order_id).events) == 2


def test_an_append_whose_answer_was_lost_is_taken_once(stuttering: DynamoJournal, journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)

    after = stuttering.append(claim, routed(claim))

    assert after.entry == journal.read(claim.entry.order.order_id)
    assert len(after.entry.events) == 2


def test_an_append_repeated_after_the_lease_went_to_another_is_refused(
    journal: DynamoJournal, clock: FixedClock
) -> None:
    claim = journal.claim(created(journal).order_id)
    journal.append(claim, routed(claim))
    clock.advance(LEASE.total_seconds() + 1)
    journal.claim(claim.entry.order.order_id)

    with pytest.raises(LeaseLost):
        journal.append(claim, routed(claim))


def test_an_attempts_error_is_kept_when_the_order_is_given_back(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    claim = journal.append(claim, routed(claim))
    error = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=START)

    journal.release(replace(claim, entry=replace(claim.entry, errors=(error,))))

    again = journal.claim(claim.entry.order.order_id)
    assert again.entry.errors == (error,)
    assert again.entry.attempt_failed


def test_a_journal_that_does_not_answer_is_a_service_that_is_away(dynamodb: Any, clock: FixedClock) -> None:
    journal = DynamoJournal(dynamodb, "no such table", clock, LEASE)
    claim = Claim(accepted(an_order()), "owner", interrupted=False)

    for call in (
        lambda: journal.create(claim.entry, "fingerprint"),
        lambda: journal.read(uuid4()),
        lambda: journal.claim(uuid4()),
        lambda: journal.withdraw(uuid4()),
        lambda: journal.append(claim, routed(claim)),
        lambda: journal.release(claim),
    ):
        with pytest.raises(ServiceUnavailable, match="journal"):
            call()
