"""The doubles are held against the adapters: the same bodies run on the doubles and on AWS as moto has it.

What the crash, interleaving and simulation tests prove, they prove of the real conditions only as far as these agree.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID, uuid4

import boto3
import pytest
from moto import mock_aws
from order_engine.adapters.journal import subscribers as adapter
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import PAGE_SIZE, DynamoSubscribers
from order_engine.adapters.mock_market.chain import Execution, MockChain, Sent
from order_engine.adapters.queue import SqsOrderQueue, order_id_of
from order_engine.domain.errors import (
    BackingOff,
    ClientOrderIdReused,
    FailureCode,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OutOfTime,
    ServiceUnavailable,
    TooManySubscribers,
    UnknownOrder,
)
from order_engine.domain.events import AttemptError
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import Dropped, Ended, InFlight, Landed, NotFound, Reverted, Transaction
from order_engine.limits import invocation
from order_engine.ports import KEY_LIFETIME, Journal, OrderQueue, Subscribers

from tests.doubles.chain import Ledger, MemoryChain
from tests.doubles.gate import Gate
from tests.doubles.journal import LEASE, MemoryJournal
from tests.doubles.services import MemoryQueue
from tests.doubles.subscribers import MemorySubscribers
from tests.doubles.tables import Tables
from tests.doubles.timeline import Timeline
from tests.support.builders import a_transaction, advanced, an_order
from tests.support.local_aws import create_table

_PAGES = 3  # instead of 25, which would make each test of a full order a long one


class Chain(Protocol):
    """What `MockChain` and its double have in common."""

    def send(self, transaction: Transaction, execution: Execution, now: Any) -> Sent | Ended | NotFound: ...
    def look_up(self, tx_hash: str) -> Sent | Ended | NotFound: ...
    def land(self, transaction: Sent) -> Ended: ...
    def declare_dead(self, transaction: Transaction, now: Any) -> Ended | InFlight: ...


@dataclass(frozen=True)
class Kept:
    """The services of one kind, on one clock."""

    now: Timeline
    journal: Journal
    subscribers: Subscribers
    chain: Chain
    queue: OrderQueue
    queued: Callable[[], list[UUID]]

    def created(self, **changes: Any) -> OrderRecord:
        """A new order, in the journal."""
        return self.journal.create(self.new(**changes), "as asked")

    def new(self, **changes: Any) -> OrderRecord:
        """An order of this moment, nowhere yet."""
        return OrderRecord.accepted(an_order(**{"created_at": self.now(), **changes}))

    def routed(self, record: OrderRecord) -> OrderRecord:
        """The record with the next event."""
        return advanced(record, OrderStatus.ROUTING, self.now(), attempt=1)

    def joined(self, record: OrderRecord, name: str = "connection", **changes: Any) -> Subscriber:
        """A subscriber of the order's, kept."""
        return self.subscribers.join(Subscriber(record.order.order_id, name, self.now(), **changes))

    def watched(self, record: OrderRecord) -> tuple[Subscriber, ...]:
        """Who is on the order's page 0."""
        return self.journal.read(record.order.order_id).subscribers


def _doubles() -> Kept:
    gate, tables = Gate(seconds=lambda _service: 0.0), Tables(pages=_PAGES)
    queue = MemoryQueue(gate)
    return Kept(
        gate.timeline,
        MemoryJournal(gate, tables),
        MemorySubscribers(gate, tables),
        MemoryChain(gate, Ledger()),
        queue,
        lambda: [order_id for order_id, _ in queue.sent],
    )


def _adapters(aws: tuple[Any, Any]) -> Kept:
    dynamodb, sqs = aws
    now, suffix = Timeline(), uuid4().hex
    for resource in ("Journal", "ClientOrderIds", "Connections", "SubscriberPages", "Chain"):
        create_table(dynamodb, resource + suffix, f"{resource}Table")
    url = sqs.create_queue(QueueName=suffix)["QueueUrl"]
    tables = [f"{name}{suffix}" for name in ("Connections", "SubscriberPages", "Journal")]
    return Kept(
        now,
        DynamoJournal(dynamodb, f"Journal{suffix}", f"ClientOrderIds{suffix}", now, LEASE),
        DynamoSubscribers(dynamodb, *tables),
        MockChain(dynamodb, f"Chain{suffix}"),
        SqsOrderQueue(sqs, url),
        lambda: [order_id_of(one["Body"]) for one in sqs.receive_message(QueueUrl=url).get("Messages", [])],
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Any, Any]]:
    """Clients of moto's DynamoDB and SQS."""
    with mock_aws():  # which brings credentials of its own
        yield boto3.client("dynamodb", region_name="us-east-1"), boto3.client("sqs", region_name="us-east-1")


@pytest.fixture(params=["doubles", "adapters"])
def kept(request: pytest.FixtureRequest, aws: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The doubles, then the adapters."""
    monkeypatch.setattr(adapter, "PAGES", _PAGES)
    return _doubles() if request.param == "doubles" else _adapters(aws)


# --- orders and their keys --------------------------------------------------------------------------------------------


def test_create(kept: Kept) -> None:
    """Orders without a key are as many as are created; what is created is read."""
    one, other = kept.created(), kept.created()
    assert kept.journal.read(one.order.order_id) == one
    assert kept.journal.read(other.order.order_id) == other
    with pytest.raises(UnknownOrder):
        kept.journal.read(uuid4())


def test_a_key_is_one_orders(kept: Kept) -> None:
    """The same body gets that order's record as it stands; another body is refused; nothing is written."""
    record = kept.created(client_order_id="mine")
    claim = kept.journal.claim(record.order.order_id)
    routed = kept.journal.append(claim, kept.routed(claim.record)).record
    kept.now.wait(KEY_LIFETIME.total_seconds())

    repeated = kept.new(client_order_id="mine")
    assert kept.journal.create(repeated, "as asked") == routed
    with pytest.raises(ClientOrderIdReused):
        kept.journal.create(repeated, "asked for something else")
    with pytest.raises(UnknownOrder):
        kept.journal.read(repeated.order.order_id)


def test_an_expired_key_is_as_good_as_absent(kept: Kept) -> None:
    """It is another order's from then on, for as long again; the old order stays as it was."""
    old = kept.created(client_order_id="mine")
    kept.now.wait(KEY_LIFETIME.total_seconds() + 1)
    new = kept.new(client_order_id="mine")
    assert kept.journal.create(new, "asked for something else") == new
    kept.now.wait(KEY_LIFETIME.total_seconds())
    assert kept.journal.create(kept.new(client_order_id="mine"), "asked for something else") == new
    assert kept.journal.read(old.order.order_id) == old


def test_a_key_whose_order_is_missing(kept: Kept) -> None:
    """Never gets another order: that one may be executed."""
    record = kept.created(client_order_id="mine")
    assert kept.journal.withdraw(record.order.order_id)
    with pytest.raises(ServiceUnavailable):
        kept.created(client_order_id="mine")


def test_withdraw(kept: Kept) -> None:
    """True for an order that is gone then, also if it was gone before."""
    order_id = kept.created().order.order_id
    assert kept.journal.withdraw(order_id)
    assert kept.journal.withdraw(order_id)
    with pytest.raises(UnknownOrder):
        kept.journal.read(order_id)


def test_an_order_that_a_worker_had_is_not_withdrawn(kept: Kept) -> None:
    """Neither while it has the lease, nor after it gave it back, nor after an event."""
    order_id = kept.created().order.order_id
    claim = kept.journal.claim(order_id)
    assert not kept.journal.withdraw(order_id)
    kept.journal.release(claim)
    assert not kept.journal.withdraw(order_id)
    claim = kept.journal.claim(order_id)
    kept.journal.release(kept.journal.append(claim, kept.routed(claim.record)))
    assert not kept.journal.withdraw(order_id)
    assert kept.journal.read(order_id).sequence == 2


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_lease_is_one_workers_until_it_runs_out(kept: Kept) -> None:
    """To the millisecond; the next one learns that its predecessor did not give it back, who has lost it."""
    order_id = kept.created().order.order_id
    first = kept.journal.claim(order_id)
    assert not first.interrupted
    until = kept.now() + LEASE
    kept.now.wait(LEASE.total_seconds())
    with pytest.raises(LeaseHeld) as held:
        kept.journal.claim(order_id)
    assert abs(held.value.until - until) < timedelta(milliseconds=1)
    kept.now.wait(0.001)
    second = kept.journal.claim(order_id)
    assert second.interrupted
    for refused in (lambda: kept.journal.append(first, kept.routed(first.record)), lambda: kept.journal.release(first)):
        with pytest.raises(LeaseLost):
            refused()
    assert kept.journal.append(second, kept.routed(second.record)).record.sequence == 2


def test_a_lease_outlives_its_time_if_nobody_wants_it(kept: Kept) -> None:
    """A worker that is late, but alone, goes on."""
    claim = kept.journal.claim(kept.created().order.order_id)
    kept.now.wait(LEASE.total_seconds() * 2)
    assert kept.journal.append(claim, kept.routed(claim.record)).record.sequence == 2


def test_a_lease_that_was_given_back(kept: Kept) -> None:
    """Interrupts nobody; what the attempt came to is there for the next one."""
    claim = kept.journal.claim(kept.created().order.order_id)
    claim = kept.journal.append(claim, kept.routed(claim.record))
    failure = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=kept.now())
    kept.journal.release(replace(claim, record=replace(claim.record, errors=(failure,), behind=True)))
    again = kept.journal.claim(claim.record.order.order_id)
    assert not again.interrupted
    assert (again.record.errors, again.record.behind) == ((failure,), True)
    with pytest.raises(LeaseLost):
        kept.journal.release(claim)


def test_a_back_off(kept: Kept) -> None:
    """Nobody gets the order before; then it is forgotten."""
    order_id, until = kept.created().order.order_id, kept.now() + timedelta(seconds=7)
    kept.journal.release(kept.journal.claim(order_id), not_before=until)
    kept.now.wait(6.999)
    with pytest.raises(BackingOff) as refused:
        kept.journal.claim(order_id)
    assert abs(refused.value.until - until) < timedelta(milliseconds=1)
    kept.now.wait(0.001)
    kept.journal.release(kept.journal.claim(order_id))
    assert not kept.journal.claim(order_id).interrupted


def test_a_closed_order_is_nobodys(kept: Kept) -> None:
    """Nor is one that does not exist."""
    order_id = kept.created().order.order_id
    kept.journal.release(kept.journal.claim(order_id), closed=True)
    with pytest.raises(OrderClosed):
        kept.journal.claim(order_id)
    with pytest.raises(UnknownOrder):
        kept.journal.claim(uuid4())


def test_only_the_next_event_is_appended(kept: Kept) -> None:
    """Also with the lease; a transaction stays until there is another one."""
    claim = kept.journal.claim(kept.created().order.order_id)
    routing = kept.routed(claim.record)
    transaction = a_transaction(routing.order, valid_until=kept.now())
    second = kept.journal.append(claim, replace(routing, transaction=transaction, behind=True))
    another = advanced(claim.record, OrderStatus.FAILED, kept.now())
    for other in (another, kept.routed(kept.routed(routing))):
        with pytest.raises(LeaseLost):
            kept.journal.append(claim, other)
    kept.journal.append(second, replace(kept.routed(second.record), transaction=None, behind=False))
    record = kept.journal.read(routing.order.order_id)
    assert (record.sequence, record.transaction, record.behind) == (3, transaction, False)


# --- subscribers ------------------------------------------------------------------------------------------------------


def test_a_handover_excludes_an_event_in_between(kept: Kept) -> None:
    """It holds only for the order's last event; an append returns whoever is there by then."""
    record = kept.created()
    with pytest.raises(UnknownOrder):
        kept.joined(kept.new())
    subscriber = kept.joined(record)
    claim = kept.journal.claim(record.order.order_id)
    assert claim.record.subscribers == (subscriber,)
    claim = kept.journal.append(claim, kept.routed(claim.record))
    assert not kept.subscribers.hand_over(subscriber, through=1)
    assert not kept.subscribers.hand_over(subscriber, through=3)
    assert kept.watched(record) == (subscriber,)
    assert kept.subscribers.hand_over(subscriber, through=2)
    live = replace(subscriber, sent_through=2, live_after=2)
    assert kept.subscribers.read(subscriber) == live
    assert kept.journal.append(claim, kept.routed(claim.record)).record.subscribers == (live,)


def test_who_is_taken_back_is_of_another_generation(kept: Kept) -> None:
    """Who was asked to bring the earlier one up to date can't hand it over any more."""
    record = kept.created()
    one, other = kept.joined(record, "one"), kept.joined(record, "other", sent_through=1)
    assert kept.subscribers.hand_over(one, through=1)
    taken = kept.subscribers.take_back([replace(one, sent_through=0), replace(other, sent_through=1)])
    assert taken == [replace(one, generation=2), replace(other, sent_through=1, generation=2)]
    assert not kept.subscribers.hand_over(one, through=1)
    assert kept.subscribers.hand_over(taken[0], through=1)
    assert kept.subscribers.take_back([]) == []


@pytest.mark.parametrize("page", [0, 1])
def test_who_has_left_is_not_brought_back(kept: Kept, page: int) -> None:
    """By none of the calls; leaving twice is no error, nor is it without an order."""
    record = kept.created()
    names = [f"{number}" for number in range(PAGE_SIZE * page + 2)]
    staying, leaving = [kept.joined(record, name) for name in names][-2:]
    assert (staying.page, leaving.page) == (page, page)
    for _ in range(2):
        kept.subscribers.leave(leaving)
        assert kept.subscribers.find(leaving.connection_id) is None
        assert kept.subscribers.read(leaving) is None
        assert not kept.subscribers.hand_over(leaving, through=1)
        assert kept.subscribers.take_back([leaving]) == []
    assert kept.subscribers.take_back([leaving, staying]) == [replace(staying, generation=2)]

    elsewhere = replace(leaving, order_id=uuid4())
    assert kept.subscribers.read(elsewhere) is None
    assert not kept.subscribers.hand_over(elsewhere, through=1)
    assert kept.subscribers.take_back([elsewhere]) == []
    kept.subscribers.leave(elsewhere)


def test_further_pages(kept: Kept) -> None:
    """Whoever finds page 0 full goes to the next; the order is crowded from then on, and page 0 the same as before."""
    record = kept.created()
    claim = kept.journal.claim(record.order.order_id)
    first = [kept.joined(record, f"{number}") for number in range(PAGE_SIZE)]
    claim = kept.journal.append(claim, kept.routed(claim.record))
    assert not claim.record.crowded
    further = kept.joined(record, "further", sent_through=1)
    assert {one.page for one in first} == {0}
    assert further.page == 1
    claim = kept.journal.append(claim, kept.routed(claim.record))
    assert claim.record.crowded
    assert kept.journal.read(record.order.order_id).crowded
    assert {one.connection_id for one in claim.record.subscribers} == {one.connection_id for one in first}
    found = kept.subscribers.find("further")
    assert found is not None
    assert (found.order_id, found.page) == (record.order.order_id, 1)
    assert kept.subscribers.read(found) == further


def test_a_full_order(kept: Kept) -> None:
    """Refuses who comes next, and writes nothing, until somebody leaves."""
    record = kept.created()
    most = PAGE_SIZE * _PAGES
    everybody = [kept.joined(record, f"{number}") for number in range(most)]
    assert sorted(one.page for one in everybody) == sorted(number % _PAGES for number in range(most))
    with pytest.raises(TooManySubscribers):
        kept.joined(record, "one too many")
    assert kept.subscribers.find("one too many") is None
    kept.subscribers.leave(everybody[30])
    assert kept.joined(record, "in time").page == everybody[30].page


def test_a_page_is_turned(kept: Kept) -> None:
    """From then on nobody is handed over there who has not had the event; who was there before is returned."""
    record = kept.created()
    for number in range(PAGE_SIZE):
        kept.joined(record, f"{number}")
    order_id, further = record.order.order_id, kept.joined(record, "further")
    assert kept.subscribers.hand_over(further, through=1)
    live = replace(further, sent_through=1, live_after=1)
    assert kept.subscribers.fan_out(order_id, 3) == (live,)
    assert kept.subscribers.fan_out(order_id, 3) == (live,)
    assert kept.subscribers.fan_out(order_id, 2) == (live,)
    (back,) = kept.subscribers.take_back([live])
    assert not kept.subscribers.hand_over(back, through=2)
    assert kept.subscribers.read(back) == back
    assert kept.subscribers.hand_over(back, through=3)
    assert kept.subscribers.take_back([back])
    assert not kept.subscribers.hand_over(back, through=4)
    assert kept.subscribers.fan_out(uuid4(), 1) == ()


# --- the queue, and time ----------------------------------------------------------------------------------------------


def test_a_message_names_its_order(kept: Kept) -> None:
    """And may have a delay, of 15 minutes at the most."""
    order_id = uuid4()
    kept.queue.send(order_id)
    assert kept.queued() == [order_id]
    kept.queue.send(order_id, delay_seconds=900)


def test_no_call_begins_that_can_not_end_in_time(kept: Kept) -> None:
    """It raises OutOfTime, and nothing has happened."""
    record = kept.created()
    subscriber = kept.joined(record)
    claim = kept.journal.claim(record.order.order_id)
    with invocation(lambda: 4.9):
        for call in (
            lambda: kept.created(),
            lambda: kept.created(client_order_id="mine"),
            lambda: kept.journal.read(record.order.order_id),
            lambda: kept.journal.withdraw(record.order.order_id),
            lambda: kept.journal.claim(record.order.order_id),
            lambda: kept.journal.append(claim, kept.routed(claim.record)),
            lambda: kept.journal.release(claim),
            lambda: kept.joined(record, "another"),
            lambda: kept.subscribers.find("connection"),
            lambda: kept.subscribers.read(subscriber),
            lambda: kept.subscribers.hand_over(subscriber, 1),
            lambda: kept.subscribers.fan_out(record.order.order_id, 1),
            lambda: kept.subscribers.take_back([subscriber]),
            lambda: kept.subscribers.leave(subscriber),
            lambda: kept.queue.send(record.order.order_id),
        ):
            with pytest.raises(OutOfTime):
                call()
    assert kept.watched(record) == (subscriber,)
    assert kept.queued() == []


# --- the chain --------------------------------------------------------------------------------------------------------

LANDED = Landed(Decimal(1489), Decimal("148.9"))


def signed(kept: Kept, attempt: int = 1, order_id: UUID | None = None) -> Transaction:
    """A transaction that is valid for ten seconds from now."""
    return a_transaction(
        an_order(order_id=order_id or UUID(int=1)), attempt, valid_until=kept.now() + timedelta(seconds=10)
    )


def lands(kept: Kept, after: float = 2.0, amount_out: Decimal = LANDED.amount_out) -> Execution:
    """What it gives, so many seconds from now."""
    return Execution(kept.now() + timedelta(seconds=after), amount_out, LANDED.executed_price)


def in_flight(found: Sent | Ended | NotFound) -> Sent:
    """What must not have ended."""
    assert isinstance(found, Sent)
    return found


def test_a_transaction_is_sent_once_and_lands_once(kept: Kept) -> None:
    """Whoever sends it again, or looks, or wants it dead, finds it landed."""
    transaction, chain = signed(kept), kept.chain
    assert chain.look_up(transaction.tx_hash) == NotFound()
    sent = in_flight(chain.send(transaction, lands(kept), kept.now()))
    assert sent.lands_at is not None
    assert abs(sent.lands_at - kept.now() - timedelta(seconds=2)) < timedelta(milliseconds=1)
    assert in_flight(chain.look_up(transaction.tx_hash)).ends_as == sent.ends_as == "landed"
    assert isinstance(chain.send(transaction, lands(kept), kept.now()), Sent)
    assert chain.land(sent) == chain.land(sent) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED
    assert chain.send(transaction, lands(kept), kept.now()) == LANDED
    kept.now.wait(11)
    assert chain.declare_dead(transaction, kept.now()) == LANDED


def test_one_transaction_of_an_order_can_land(kept: Kept) -> None:
    """Another one is not taken while it can; other orders' are."""
    first, second, others = signed(kept), signed(kept, 2), signed(kept, order_id=UUID(int=2))
    in_flight(kept.chain.send(first, lands(kept), kept.now()))
    assert kept.chain.send(second, lands(kept), kept.now()) == NotFound()
    in_flight(kept.chain.send(others, lands(kept), kept.now()))


def test_nothing_dies_while_it_is_valid(kept: Kept) -> None:
    """Seen or not; afterwards it is dead for ever, and its order free for another one."""
    for seen in (True, False):
        transaction, chain = signed(kept, order_id=uuid4()), kept.chain
        if seen:
            assert in_flight(chain.send(transaction, lands(kept, 30.0), kept.now())).lands_at is None
        kept.now.wait(10)
        assert chain.declare_dead(transaction, kept.now()) == InFlight()
        kept.now.wait(0.001)
        assert chain.declare_dead(transaction, kept.now()) == chain.declare_dead(transaction, kept.now()) == Dropped()
        assert chain.look_up(transaction.tx_hash) == Dropped()
        assert chain.send(transaction, lands(kept), kept.now()) == Dropped()
        following = signed(kept, 2, transaction.order_id)
        in_flight(chain.send(following, lands(kept), kept.now()))


def test_what_is_no_longer_valid_is_not_taken(kept: Kept) -> None:
    """It does not land any more."""
    transaction = signed(kept)
    kept.now.wait(10.001)
    assert kept.chain.send(transaction, lands(kept), kept.now()) == NotFound()
    assert kept.chain.declare_dead(transaction, kept.now()) == Dropped()


def test_a_transaction_without_a_validity(kept: Kept) -> None:
    """An earlier release journaled it: its validity is over."""
    transaction = a_transaction(an_order())
    assert kept.chain.send(transaction, lands(kept), kept.now()) == NotFound()
    assert kept.chain.declare_dead(transaction, kept.now()) == Dropped()


def test_what_is_due_can_not_be_declared_dead(kept: Kept) -> None:
    """Its time has come, though nobody has looked."""
    transaction = signed(kept)
    in_flight(kept.chain.send(transaction, lands(kept, 10.0), kept.now()))
    kept.now.wait(11)
    assert kept.chain.declare_dead(transaction, kept.now()) == LANDED


@pytest.mark.parametrize("amount_out", [Decimal("1482.549999"), Decimal(0)])
def test_a_transaction_may_revert(kept: Kept, amount_out: Decimal) -> None:
    """It is on the chain, and has swapped nothing."""
    transaction = signed(kept)
    sent = in_flight(kept.chain.send(transaction, lands(kept, amount_out=amount_out), kept.now()))
    reverted = kept.chain.land(sent)
    assert isinstance(reverted, Reverted)
    assert reverted.code is FailureCode.SLIPPAGE_EXCEEDED
    assert kept.chain.declare_dead(transaction, kept.now()) == kept.chain.look_up(transaction.tx_hash) == reverted
