"""The fakes are held against the adapters: the same bodies run on the fakes and on DynamoDB as moto has it.

What the crash and interleaving tests prove, they prove of the real conditions only as far as these agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID, uuid4

import boto3
import pytest
from moto import mock_aws
from order_engine.adapters.journal import DynamoJournal
from order_engine.adapters.mock_chain import Execution, MockChain, Pending
from order_engine.adapters.subscribers import DynamoSubscribers
from order_engine.errors import ClientOrderIdReused, FailureCode, LeaseHeld, LeaseLost, OrderClosed, UnknownOrder
from order_engine.orders import (
    AttemptError,
    JournalEntry,
    Landed,
    Order,
    Outlook,
    Reverted,
    Subscriber,
    Transaction,
    TransactionStatus,
    VenueName,
    accepted,
)
from order_engine.ports import Journal, Subscribers
from order_engine.status import OrderStatus

from tests.reliability.fake_journal import LEASE, FakeJournal, FakeSubscribers, Items
from tests.reliability.fake_venue import FakeChain, Ledger
from tests.reliability.gate import Clock, Gate

ORDER_ID, OTHER_ID = UUID(int=1), UUID(int=2)
TRADE: dict[str, Any] = {"token_in": "SOL", "token_out": "USDC", "amount_in": Decimal(10)}


class Chain(Protocol):
    """What `MockChain` and its fake have in common."""

    def send(self, transaction: Transaction, execution: Execution) -> Pending | None: ...
    def look_up(self, tx_hash: str) -> TransactionStatus | Pending: ...
    def land(self, pending: Pending) -> TransactionStatus: ...
    def declare_dead(self, transaction: Transaction, now: Any) -> TransactionStatus: ...


@dataclass(frozen=True)
class Kept:
    """A journal, its subscribers and a chain, of one kind, on one clock."""

    clock: Clock
    journal: Journal
    subscribers: Subscribers
    chain: Chain


def _fakes() -> Kept:
    clock = Clock()
    gate, items = Gate(clock, call_seconds=0.0), Items()
    return Kept(clock, FakeJournal(gate, items), FakeSubscribers(gate, items, {}), FakeChain(gate, Ledger()))


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A client of moto's DynamoDB."""
    with mock_aws():  # which brings credentials of its own
        yield boto3.client("dynamodb", region_name="us-east-1")


def _adapters(dynamodb: Any) -> Kept:
    clock, suffix = Clock(), uuid4().hex
    for table, key in (("journal", "orderId"), ("connections", "connectionId"), ("chain", "id")):
        dynamodb.create_table(
            TableName=table + suffix,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    return Kept(
        clock,
        DynamoJournal(dynamodb, f"journal{suffix}", clock.now, LEASE),
        DynamoSubscribers(dynamodb, f"connections{suffix}", f"journal{suffix}"),
        MockChain(dynamodb, f"chain{suffix}"),
    )


@pytest.fixture(params=["fakes", "adapters"])
def kept(request: pytest.FixtureRequest, dynamodb: Any) -> Kept:
    """The fakes, then the adapters."""
    return _fakes() if request.param == "fakes" else _adapters(dynamodb)


def an_order(clock: Clock, order_id: UUID = ORDER_ID) -> Order:
    """10 SOL for USDC."""
    fields = {**TRADE, "order_type": "market", "slippage_bps": 50}
    return Order(order_id=order_id, created_at=clock.now(), **fields)


def a_transaction(number: int = 1, order_id: UUID = ORDER_ID) -> Transaction:
    """A swap of `an_order`."""
    return Transaction(
        tx_hash=f"tx-{number}",
        order_id=order_id,
        attempt=number,
        venue=VenueName.RAYDIUM,
        fee=Decimal("0.03"),
        quoted_amount_out=Decimal(1500),
        min_amount_out=Decimal(1490),
        steps=("swap",),
        **TRADE,
    )


def created(kept: Kept) -> JournalEntry:
    """`an_order`, in the journal."""
    entry = accepted(an_order(kept.clock))
    kept.journal.create(entry, "as asked")
    return entry


def routed(kept: Kept, entry: JournalEntry) -> JournalEntry:
    """The entry with the next event."""
    return entry.advanced(OrderStatus.ROUTING, kept.clock.now(), "Comparing prices", attempt=1)


def test_an_order_is_created_once(kept: Kept) -> None:
    """The same key and body answers the order that is there; another body is refused; a withdrawn one is gone."""
    entry = created(kept)
    later = accepted(replace_created_at(entry.order, kept.clock))
    assert kept.journal.create(later, "as asked") == entry.order
    with pytest.raises(ClientOrderIdReused):
        kept.journal.create(later, "asked for something else")
    assert kept.journal.read(ORDER_ID) == entry
    assert kept.journal.withdraw(ORDER_ID)
    assert not kept.journal.withdraw(ORDER_ID)
    with pytest.raises(UnknownOrder):
        kept.journal.read(ORDER_ID)


def replace_created_at(order: Order, clock: Clock) -> Order:
    """The order, as a repeated request makes it."""
    return order.model_copy(update={"created_at": clock.now() + timedelta(seconds=1)})


def test_an_order_that_was_touched_is_not_withdrawn(kept: Kept) -> None:
    """Neither while a worker has it, nor after it has gone on."""
    created(kept)
    claim = kept.journal.claim(ORDER_ID)
    assert not kept.journal.withdraw(ORDER_ID)
    claim = kept.journal.append(claim, routed(kept, claim.entry))
    kept.journal.release(claim)
    assert not kept.journal.withdraw(ORDER_ID)
    assert kept.journal.read(ORDER_ID).status is OrderStatus.ROUTING


def test_a_lease_is_one_workers_until_it_runs_out(kept: Kept) -> None:
    """To the millisecond; the next one learns that its predecessor did not give it back, who has lost it."""
    created(kept)
    first = kept.journal.claim(ORDER_ID)
    assert not first.interrupted
    kept.clock.wait(LEASE.total_seconds())
    with pytest.raises(LeaseHeld):
        kept.journal.claim(ORDER_ID)
    kept.clock.wait(0.001)
    second = kept.journal.claim(ORDER_ID)
    assert second.interrupted
    with pytest.raises(LeaseLost):
        kept.journal.append(first, routed(kept, first.entry))
    with pytest.raises(LeaseLost):
        kept.journal.release(first)
    assert kept.journal.append(second, routed(kept, second.entry)).entry.sequence == 2


def test_a_lease_outlives_its_time_if_nobody_wants_it(kept: Kept) -> None:
    """A worker that is late, but alone, goes on."""
    created(kept)
    claim = kept.journal.claim(ORDER_ID)
    kept.clock.wait(LEASE.total_seconds() * 2)
    kept.journal.append(claim, routed(kept, claim.entry))
    assert kept.journal.read(ORDER_ID).sequence == 2


def test_a_lease_that_was_given_back_interrupts_nobody(kept: Kept) -> None:
    """And what the attempt came to is there for the next one."""
    created(kept)
    claim = kept.journal.claim(ORDER_ID)
    claim = kept.journal.append(claim, routed(kept, claim.entry))
    failure = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=kept.clock.now())
    kept.journal.release(replace(claim, entry=replace(claim.entry, errors=(failure,))))
    again = kept.journal.claim(ORDER_ID)
    assert not again.interrupted
    assert again.entry.errors == (failure,)
    assert again.entry.attempt_failed
    with pytest.raises(LeaseLost):
        kept.journal.release(claim)


def test_a_closed_order_is_nobodys(kept: Kept) -> None:
    """Nor is one that does not exist."""
    created(kept)
    kept.journal.release(kept.journal.claim(ORDER_ID), closed=True)
    with pytest.raises(OrderClosed):
        kept.journal.claim(ORDER_ID)
    with pytest.raises(UnknownOrder):
        kept.journal.claim(OTHER_ID)


def test_only_the_next_event_is_appended(kept: Kept) -> None:
    """Also with the lease; and a transaction stays until there is another one."""
    created(kept)
    claim = kept.journal.claim(ORDER_ID)
    routing = routed(kept, claim.entry)
    transaction = a_transaction()
    second = kept.journal.append(claim, replace(routing, transaction=transaction))
    with pytest.raises(LeaseLost):
        kept.journal.append(
            claim,
            routing.advanced(OrderStatus.ROUTING, kept.clock.now(), "x").advanced(
                OrderStatus.ROUTING, kept.clock.now(), "number 4"
            ),
        )
    with pytest.raises(LeaseLost):
        kept.journal.append(claim, claim.entry.advanced(OrderStatus.FAILED, kept.clock.now(), "another number 2"))
    assert kept.journal.read(ORDER_ID).transaction == transaction
    assert second.entry.transaction == transaction


def a_subscriber(kept: Kept, after: int = 0) -> Subscriber:
    """A connection to `an_order`."""
    return Subscriber(ORDER_ID, "connection", kept.clock.now(), sent_through=after)


def test_a_handover_excludes_an_event_in_between(kept: Kept) -> None:
    """It holds only for the order's last event; an append answers with whoever is there by then."""
    created(kept)
    subscriber = a_subscriber(kept)
    with pytest.raises(UnknownOrder):
        kept.subscribers.join(replace(subscriber, order_id=OTHER_ID))
    kept.subscribers.join(subscriber)
    claim = kept.journal.claim(ORDER_ID)
    assert claim.entry.subscribers == (subscriber,)
    claim = kept.journal.append(claim, routed(kept, claim.entry))
    assert not kept.subscribers.hand_over(subscriber, through=1)
    assert kept.journal.read(ORDER_ID).subscriber("connection") == subscriber
    assert kept.subscribers.hand_over(subscriber, through=2)
    handed_over = replace(subscriber, sent_through=2, live_after=2)
    assert kept.journal.append(claim, routed(kept, claim.entry)).entry.subscribers == (handed_over,)


def test_a_subscriber_taken_back_is_of_another_generation(kept: Kept) -> None:
    """Who was asked to bring the earlier one up to date can't hand it over any more."""
    created(kept)
    subscriber = a_subscriber(kept)
    kept.subscribers.join(subscriber)
    assert kept.subscribers.hand_over(subscriber, through=1)
    behind = kept.subscribers.take_back(subscriber, sent_through=0)
    assert behind == replace(subscriber, generation=2)
    assert not kept.subscribers.hand_over(subscriber, through=1)
    assert kept.subscribers.hand_over(behind, through=1)


def test_who_has_left_is_not_brought_back(kept: Kept) -> None:
    """By none of the calls; leaving twice is no error."""
    created(kept)
    subscriber = a_subscriber(kept)
    kept.subscribers.join(subscriber)
    assert kept.subscribers.order_of("connection") == ORDER_ID
    kept.subscribers.leave("connection")
    kept.subscribers.leave("connection")
    assert kept.subscribers.order_of("connection") is None
    assert not kept.subscribers.hand_over(subscriber, through=1)
    assert kept.subscribers.take_back(subscriber, sent_through=0) is None
    assert kept.journal.read(ORDER_ID).subscribers == ()
    elsewhere = replace(subscriber, order_id=OTHER_ID)
    assert not kept.subscribers.hand_over(elsewhere, through=1)
    assert kept.subscribers.take_back(elsewhere, sent_through=0) is None


def an_execution(clock: Clock, reverted: str | None = None) -> Execution:
    """Lands in two seconds."""
    return Execution(clock.now() + timedelta(seconds=2), Decimal(1495), Decimal("149.5"), reverted)


LANDED = Landed(Decimal(1495), Decimal("149.5"))


def test_a_transaction_is_sent_once_and_lands_once(kept: Kept) -> None:
    """Whoever sends it again, or looks, or wants it dead, finds it landed."""
    transaction, chain = a_transaction(), kept.chain
    assert chain.look_up(transaction.tx_hash) is Outlook.UNKNOWN
    sent = chain.send(transaction, an_execution(kept.clock))
    assert sent is not None
    assert chain.look_up(transaction.tx_hash) == sent
    assert chain.send(transaction, an_execution(kept.clock)) is None
    assert chain.land(sent) == LANDED
    assert chain.land(sent) == LANDED
    assert chain.look_up(transaction.tx_hash) == LANDED
    assert chain.declare_dead(transaction, kept.clock.now()) == LANDED
    assert chain.send(a_transaction(2), an_execution(kept.clock)) is None
    assert chain.send(a_transaction(3, OTHER_ID), an_execution(kept.clock)) is not None


def test_a_dead_transaction_never_lands(kept: Kept) -> None:
    """It was on its way; now its order is free for another one."""
    transaction, chain = a_transaction(), kept.chain
    sent = chain.send(transaction, an_execution(kept.clock))
    assert sent is not None
    assert chain.declare_dead(transaction, kept.clock.now()) is Outlook.DEAD
    assert chain.land(sent) is Outlook.DEAD
    assert chain.look_up(transaction.tx_hash) is Outlook.DEAD
    assert chain.send(transaction, an_execution(kept.clock)) is None
    assert chain.send(a_transaction(2), an_execution(kept.clock)) is not None


def test_a_transaction_may_die_before_it_is_sent(kept: Kept) -> None:
    """A worker that still holds it sends it in vain."""
    transaction, chain = a_transaction(), kept.chain
    assert chain.declare_dead(transaction, kept.clock.now()) is Outlook.DEAD
    assert chain.declare_dead(transaction, kept.clock.now()) is Outlook.DEAD
    assert chain.send(transaction, an_execution(kept.clock)) is None
    assert chain.look_up(transaction.tx_hash) is Outlook.DEAD


def test_what_is_due_can_not_be_declared_dead(kept: Kept) -> None:
    """Its time has come, though nobody has looked."""
    sent = kept.chain.send(a_transaction(), an_execution(kept.clock))
    assert sent is not None
    kept.clock.wait(3)
    assert kept.chain.declare_dead(a_transaction(), kept.clock.now()) == LANDED


def test_a_transaction_may_revert(kept: Kept) -> None:
    """It is on the chain, and has swapped nothing."""
    sent = kept.chain.send(a_transaction(), an_execution(kept.clock, reverted="too little"))
    assert sent is not None
    assert kept.chain.land(sent) == Reverted("too little")
    assert kept.chain.declare_dead(a_transaction(), kept.clock.now()) == Reverted("too little")
