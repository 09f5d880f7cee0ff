"""The journal against DynamoDB: conditional writes that leave exactly one winner."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError
from order_engine import limits
from order_engine.adapters.aws import CONTENDED, client
from order_engine.adapters.journal.journal import KEPT, DynamoJournal
from order_engine.domain.errors import (
    BackingOff,
    ClientOrderIdReused,
    FailureCode,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OrderEngineError,
    ServiceUnavailable,
    UnknownOrder,
)
from order_engine.domain.events import AttemptError
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.ports import KEY_LIFETIME, Claim

from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, JOURNAL
from tests.support.builders import START, a_record, advanced, an_order
from tests.support.local_aws import AnswerLost, counted_calls

LEASE = timedelta(seconds=25)


@pytest.fixture
def clock() -> Timeline:
    return Timeline()


@pytest.fixture
def journal(dynamodb: Any, clock: Timeline) -> DynamoJournal:
    return DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)


@pytest.fixture
def stuttering(dynamodb: Any, clock: Timeline) -> DynamoJournal:
    """A journal each of whose writes is made twice, because the first one's answer was lost."""
    return DynamoJournal(AnswerLost(dynamodb), JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)


def created(journal: DynamoJournal, order: Order | None = None) -> Order:
    return journal.create(OrderRecord.accepted(order or an_order()), "fingerprint").order


def with_key(key: str | None = None, **changes: Any) -> Order:
    """An order with a clientOrderId, of its own unless it is given."""
    return an_order(client_order_id=key or f"key-{uuid4()}", **changes)


def again(order: Order, after_seconds: float = 9) -> Order:
    """The same request, as it comes in later."""
    return order.model_copy(
        update={"order_id": uuid4(), "created_at": order.created_at + timedelta(seconds=after_seconds)}
    )


def routed(claim: Claim) -> OrderRecord:
    return advanced(claim.record, OrderStatus.ROUTING, START, attempt=1)


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


def key_item(dynamodb: Any, order: Order) -> dict[str, Any]:
    key = {"id": {"S": f"public#{order.client_order_id}"}}
    item: dict[str, Any] = dynamodb.get_item(TableName=CLIENT_ORDER_IDS, Key=key)["Item"]
    return item


class RawBody(BytesIO):
    """A body as urllib3 has it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


class InConflict:
    """A client whose next transactions are cancelled, because others hold their items."""

    def __init__(self, dynamodb: Any, times: int) -> None:
        self._client = dynamodb
        self.times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **arguments: Any) -> Any:
        if self.times == 0:
            return self._client.transact_write_items(**arguments)
        self.times -= 1
        reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
        error = {"Code": "TransactionCanceledException", "Message": "[TransactionConflict, None]"}
        raise ClientError({"Error": error, "CancellationReasons": reasons}, "TransactWriteItems")


# --- create ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "mine"])
def test_a_created_order_is_read_back_as_it_was(journal: DynamoJournal, key: str | None) -> None:
    record = OrderRecord.accepted(an_order(client_order_id=key))

    assert journal.create(record, "fingerprint") == record
    assert journal.read(record.order.order_id) == record


def test_an_order_without_a_key_is_one_plain_write(journal: DynamoJournal, dynamodb: Any) -> None:
    with counted_calls(dynamodb) as calls:
        created(journal)

    assert calls == {("PutItem", JOURNAL): 1}


def test_the_same_key_and_body_returns_the_order_that_is_there(journal: DynamoJournal) -> None:
    first = OrderRecord.accepted(with_key())
    journal.create(first, "fingerprint")

    repeated = OrderRecord.accepted(again(first.order))

    assert journal.create(repeated, "fingerprint") == first
    with pytest.raises(UnknownOrder):
        journal.read(repeated.order.order_id)


def test_the_same_key_and_body_returns_what_happened_to_the_order_since(journal: DynamoJournal) -> None:
    order = created(journal, with_key())
    claim = journal.claim(order.order_id)
    journal.append(claim, routed(claim))

    record = journal.create(OrderRecord.accepted(again(order)), "fingerprint")

    assert record == journal.read(order.order_id)
    assert record.status is OrderStatus.ROUTING
    with pytest.raises(LeaseHeld):
        journal.claim(order.order_id)


def test_the_same_key_with_another_body_is_refused(journal: DynamoJournal) -> None:
    first = created(journal, with_key("mine and no other"))
    other = again(first)

    with pytest.raises(ClientOrderIdReused, match="'mine and no other'"):
        journal.create(OrderRecord.accepted(other), "another")

    assert journal.read(first.order_id).order == first
    with pytest.raises(UnknownOrder):
        journal.read(other.order_id)


def test_a_key_is_taken_for_its_lifetime_and_no_longer(journal: DynamoJournal, clock: Timeline) -> None:
    first = created(journal, with_key(created_at=clock()))
    lifetime = KEY_LIFETIME.total_seconds()

    clock.wait(lifetime)
    assert created(journal, again(first, lifetime)) == first

    clock.wait(1)
    second = again(first, lifetime + 1)
    assert created(journal, second) == second


def test_an_expired_key_belongs_to_a_new_order_and_the_old_one_stays(journal: DynamoJournal, clock: Timeline) -> None:
    old = created(journal, with_key(created_at=clock()))
    claim = journal.claim(old.order_id)
    journal.append(claim, routed(claim))
    clock.wait(KEY_LIFETIME.total_seconds() + 1)
    new = again(old, KEY_LIFETIME.total_seconds() + 1)

    assert journal.create(OrderRecord.accepted(new), "another fingerprint") == OrderRecord.accepted(new)

    assert journal.read(old.order_id).sequence == 2
    assert journal.read(new.order_id).sequence == 1
    assert journal.create(OrderRecord.accepted(again(new)), "another fingerprint").order == new
    with pytest.raises(ClientOrderIdReused):
        created(journal, again(new))


def test_the_key_of_an_order_that_an_earlier_release_accepted_is_taken(journal: DynamoJournal, dynamodb: Any) -> None:
    order = with_key()
    earlier = an_order(
        order_id=uuid5(uuid5(NAMESPACE_URL, "urn:order-engine:client-order-id"), str(order.client_order_id))
    )
    journal.create(OrderRecord.accepted(earlier), "fingerprint")

    assert journal.create(OrderRecord.accepted(order), "fingerprint").order == earlier
    with pytest.raises(ClientOrderIdReused):
        journal.create(OrderRecord.accepted(again(order)), "another")
    assert isinstance(outcome_of(journal.read, order.order_id), UnknownOrder)


def test_an_order_is_kept_for_longer_than_its_key_is_taken() -> None:
    assert KEPT > KEY_LIFETIME


def test_a_key_expires_when_its_time_is_over(journal: DynamoJournal, dynamodb: Any) -> None:
    order = created(journal, with_key())

    item = key_item(dynamodb, order)

    assert item["orderId"] == {"S": str(order.order_id)}
    assert item["expiresAt"] == {"N": str(int((order.created_at + KEY_LIFETIME).timestamp()))}


def test_a_taken_key_whose_order_can_not_be_seen_never_gets_another_order(
    journal: DynamoJournal, dynamodb: Any
) -> None:
    order = created(journal, with_key())
    dynamodb.delete_item(TableName=JOURNAL, Key={"orderId": {"S": str(order.order_id)}})
    repeated = again(order)

    with pytest.raises(ServiceUnavailable, match=str(order.order_id)):
        created(journal, repeated)

    assert key_item(dynamodb, order)["orderId"] == {"S": str(order.order_id)}
    with pytest.raises(UnknownOrder):
        journal.read(repeated.order_id)


def test_of_racing_requests_with_one_key_and_body_all_get_the_one_order(journal: DynamoJournal) -> None:
    request = with_key()
    racing = [again(request) for _ in range(8)]
    left = iter(racing)

    outcomes = at_once(8, lambda: created(journal, next(left)))

    assert len({outcome.order_id for outcome in outcomes if isinstance(outcome, Order)}) == 1
    assert len([order for order in racing if order == outcomes[0]]) == 1
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_of_two_bodies_with_one_key_at_once_exactly_one_is_accepted(journal: DynamoJournal) -> None:
    request = with_key()
    fingerprints = iter(["one", "two"] * 4)

    outcomes = at_once(8, lambda: journal.create(OrderRecord.accepted(again(request)), next(fingerprints)))

    records = [one for one in outcomes if isinstance(one, OrderRecord)]
    assert len(records) == 4
    assert len({record.order.order_id for record in records}) == 1
    assert len([one for one in outcomes if isinstance(one, ClientOrderIdReused)]) == 4


@pytest.mark.parametrize("key", [None, "lost"])
def test_a_creation_whose_answer_was_lost_is_a_creation(
    stuttering: DynamoJournal, journal: DynamoJournal, key: str | None
) -> None:
    order = created(stuttering, an_order(client_order_id=key))

    assert journal.read(order.order_id).order == order


def test_botocore_repeats_a_transaction_with_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    dynamodb = client("dynamodb", "http://127.0.0.1:9")
    tokens: list[str] = []

    def lose_the_first_answer(request: Any, **_: Any) -> AWSResponse:
        tokens.append(json.loads(request.body)["ClientRequestToken"])
        if len(tokens) == 1:
            raise ReadTimeoutError(endpoint_url=request.url)
        return AWSResponse(request.url, 200, {}, RawBody(b"{}"))

    dynamodb.meta.events.register("before-send.dynamodb", lose_the_first_answer)
    created(DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, Timeline(), LEASE), with_key())

    assert len(tokens) == 2
    assert tokens[0] == tokens[1]


def test_a_creation_that_meets_another_transaction_is_repeated(dynamodb: Any, clock: Timeline) -> None:
    busy = InConflict(dynamodb, times=3)
    journal = DynamoJournal(busy, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)

    order = created(journal, with_key())

    assert busy.times == 0
    assert journal.read(order.order_id).order == order


def test_an_endless_conflict_is_given_up_in_time(dynamodb: Any, clock: Timeline) -> None:
    journal = DynamoJournal(InConflict(dynamodb, times=10_000), JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)
    begun = time.monotonic()

    with pytest.raises(ServiceUnavailable, match="TransactionConflict"):
        created(journal, with_key())

    assert time.monotonic() - begun < CONTENDED - limits.DYNAMODB


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


def test_a_withdrawal_whose_answer_was_lost_is_a_withdrawal(stuttering: DynamoJournal, journal: DynamoJournal) -> None:
    order = created(journal)

    assert stuttering.withdraw(order.order_id)
    assert stuttering.withdraw(order.order_id)


@pytest.mark.parametrize("appended", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_an_order_that_a_worker_had_stays(journal: DynamoJournal, appended: bool, released: bool) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    if appended:
        claim = journal.append(claim, routed(claim))
    if released:
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

    assert claim.record == OrderRecord.accepted(order)
    assert not claim.interrupted


def test_an_order_that_was_given_back_can_be_claimed_and_was_not_interrupted(journal: DynamoJournal) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    journal.release(claim)

    again = journal.claim(order.order_id)

    assert again.owner != claim.owner
    assert not again.interrupted


def test_a_lease_that_ran_out_means_that_its_holder_died(journal: DynamoJournal, clock: Timeline) -> None:
    order = created(journal)
    journal.claim(order.order_id)
    clock.wait(LEASE.total_seconds())
    with pytest.raises(LeaseHeld):
        journal.claim(order.order_id)

    clock.wait(0.001)

    assert journal.claim(order.order_id).interrupted


def test_whoever_is_refused_is_told_until_when(journal: DynamoJournal, clock: Timeline) -> None:
    order = created(journal)
    journal.claim(order.order_id)

    with pytest.raises(LeaseHeld) as refused:
        journal.claim(order.order_id)

    assert refused.value.until == to_the_millisecond(clock() + LEASE)


def to_the_millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def test_an_order_that_backs_off_can_be_claimed_again_when_it_is_time(journal: DynamoJournal, clock: Timeline) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    journal.release(claim, not_before=clock() + timedelta(seconds=3))
    clock.wait(2.999)

    with pytest.raises(BackingOff) as refused:
        journal.claim(order.order_id)

    assert refused.value.until == to_the_millisecond(START + timedelta(seconds=3))
    clock.wait(0.001)
    again = journal.claim(order.order_id)
    assert not again.interrupted


def test_a_back_off_ends_with_the_claim_after_it(journal: DynamoJournal, dynamodb: Any, clock: Timeline) -> None:
    order = created(journal)
    journal.release(journal.claim(order.order_id), not_before=clock() + timedelta(seconds=3))
    clock.wait(3)
    journal.release(journal.claim(order.order_id))
    slow_clock = Timeline()

    DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, slow_clock, LEASE).claim(order.order_id)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_claim_whose_answer_was_lost_is_a_claim(
    stuttering: DynamoJournal, journal: DynamoJournal, clock: Timeline, interrupted: bool
) -> None:
    order = created(journal)
    if interrupted:
        journal.claim(order.order_id)
        clock.wait(LEASE.total_seconds() + 1)

    claim = stuttering.claim(order.order_id)

    assert claim.interrupted is interrupted
    claim = journal.append(claim, routed(claim))
    assert journal.read(order.order_id).status is OrderStatus.ROUTING


def test_a_closed_order_can_not_be_claimed(journal: DynamoJournal) -> None:
    order = created(journal)
    journal.release(journal.claim(order.order_id), closed=True)

    with pytest.raises(OrderClosed):
        journal.claim(order.order_id)
    assert journal.read(order.order_id).order == order


def test_only_a_closed_order_expires_and_only_after_its_client_has_had_time(
    journal: DynamoJournal, dynamodb: Any, clock: Timeline
) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    assert "expiresAt" not in item_of(dynamodb, order)

    journal.release(claim, closed=True)

    assert item_of(dynamodb, order)["expiresAt"]["N"] == str(int((clock() + KEPT).timestamp()))


# --- append and release ---------------------------------------------------------------------------------------


def lived_through(journal: DynamoJournal, through: OrderStatus) -> OrderRecord:
    """Appends the events of `a_record` to a new order one by one."""
    record = a_record(through)
    journal.create(OrderRecord(record.order, record.events[:1]), "fingerprint")
    claim = journal.claim(record.order.order_id)
    for count in range(2, len(record.events) + 1):
        transaction = record.transaction if count >= 4 else None
        errors = record.errors if count == len(record.events) else ()
        claim = journal.append(claim, OrderRecord(record.order, record.events[:count], transaction, errors))
    return record


@pytest.mark.parametrize("through", OrderStatus)
def test_a_whole_life_is_read_back_as_it_was_lived(journal: DynamoJournal, through: OrderStatus) -> None:
    record = lived_through(journal, through)

    assert journal.read(record.order.order_id) == record


def test_an_operator_sees_where_an_order_stands_without_reading_its_events(
    journal: DynamoJournal, dynamodb: Any
) -> None:
    item = item_of(dynamodb, lived_through(journal, OrderStatus.SUBMITTED).order)

    assert (item["status"], item["sequence"], item["attempt"]) == ({"S": "submitted"}, {"N": "4"}, {"N": "1"})


def test_a_worker_whose_lease_went_to_another_can_neither_append_nor_release(
    journal: DynamoJournal, clock: Timeline
) -> None:
    order = created(journal)
    slow = journal.claim(order.order_id)
    clock.wait(LEASE.total_seconds() + 1)
    quick = journal.claim(order.order_id)

    for call in (lambda: journal.append(slow, routed(slow)), lambda: journal.release(slow, closed=True)):
        with pytest.raises(LeaseLost):
            call()

    assert journal.read(order.order_id).sequence == 1
    assert journal.append(quick, routed(quick)).record.sequence == 2


def test_a_worker_whose_lease_ran_out_goes_on_while_nobody_took_it(journal: DynamoJournal, clock: Timeline) -> None:
    order = created(journal)
    claim = journal.claim(order.order_id)
    clock.wait(LEASE.total_seconds() + 1)

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
        journal.append(claim, advanced(claim.record, OrderStatus.FAILED, START))
    assert journal.read(claim.record.order.order_id).status is OrderStatus.ROUTING


def test_of_many_appends_under_one_lease_at_once_exactly_one_is_taken(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    messages = iter(range(8))

    outcomes = at_once(
        8,
        lambda: journal.append(
            claim, advanced(claim.record, OrderStatus.ROUTING, START, f"from thread {next(messages)}", attempt=1)
        ),
    )

    assert len([one for one in outcomes if isinstance(one, Claim)]) == 1
    assert len([one for one in outcomes if isinstance(one, LeaseLost)]) == 7
    assert len(journal.read(claim.record.order.order_id).events) == 2


def test_an_append_whose_answer_was_lost_is_taken_once(stuttering: DynamoJournal, journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)

    after = stuttering.append(claim, routed(claim))

    assert after.record == journal.read(claim.record.order.order_id)
    assert len(after.record.events) == 2


def test_an_append_repeated_after_the_lease_went_to_another_is_refused(journal: DynamoJournal, clock: Timeline) -> None:
    claim = journal.claim(created(journal).order_id)
    journal.append(claim, routed(claim))
    clock.wait(LEASE.total_seconds() + 1)
    journal.claim(claim.record.order.order_id)

    with pytest.raises(LeaseLost):
        journal.append(claim, routed(claim))


def test_an_attempts_error_is_kept_when_the_order_is_given_back(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    claim = journal.append(claim, routed(claim))
    error = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=START)

    journal.release(replace(claim, record=replace(claim.record, errors=(error,))))

    again = journal.claim(claim.record.order.order_id)
    assert again.record.errors == (error,)
    assert again.record.attempt_failed


def test_that_a_subscriber_lacks_an_event_is_kept_until_it_is_put_right(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal).order_id)
    order_id = claim.record.order.order_id

    claim = journal.append(claim, replace(routed(claim), behind=True))
    assert journal.read(order_id).behind
    claim = journal.append(claim, replace(routed(claim), behind=False))
    assert not journal.read(order_id).behind
    journal.release(replace(claim, record=replace(claim.record, behind=True)))

    assert journal.claim(order_id).record.behind


@pytest.mark.parametrize("closed", [False, True])
def test_a_release_whose_answer_was_lost_is_a_release(
    stuttering: DynamoJournal, journal: DynamoJournal, closed: bool
) -> None:
    claim = journal.claim(created(journal).order_id)

    stuttering.release(claim, closed=closed)

    if closed:
        with pytest.raises(OrderClosed):
            journal.claim(claim.record.order.order_id)
    else:
        assert not journal.claim(claim.record.order.order_id).interrupted


@pytest.mark.parametrize("given_back", [False, True])
def test_a_release_after_the_lease_went_to_another_is_refused(
    journal: DynamoJournal, clock: Timeline, given_back: bool
) -> None:
    slow = journal.claim(created(journal).order_id)
    if given_back:
        journal.release(slow)
    clock.wait(LEASE.total_seconds() + 1)
    quick = journal.claim(slow.record.order.order_id)

    with pytest.raises(LeaseLost):
        journal.release(slow, closed=True)

    journal.append(quick, routed(quick))


def test_a_journal_that_does_not_answer_is_unavailable(dynamodb: Any, clock: Timeline) -> None:
    journal = DynamoJournal(dynamodb, "no such table", "nor this one", clock, LEASE)
    claim = Claim(OrderRecord.accepted(an_order()), "owner", interrupted=False)
    with_key = OrderRecord.accepted(an_order(client_order_id="mine"))

    for call in (
        lambda: journal.create(claim.record, "fingerprint"),
        lambda: journal.create(with_key, "fingerprint"),
        lambda: journal.read(uuid4()),
        lambda: journal.claim(uuid4()),
        lambda: journal.withdraw(uuid4()),
        lambda: journal.append(claim, routed(claim)),
        lambda: journal.release(claim),
    ):
        with pytest.raises(ServiceUnavailable, match="journal"):
            call()
