"""The ports' contract: each test runs on the doubles, then on the adapters over moto.

What the crash, interleaving and simulation tests prove of the doubles holds on AWS only as far as both pass this.
What only the adapters have (items, calls, repeated writes, races of threads) is in tests/integration.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol
from uuid import UUID, uuid4

import boto3
import pytest
from moto import mock_aws
from order_engine.adapters.aws import client
from order_engine.adapters.journal import subscribers as adapter
from order_engine.adapters.journal.connections import MESSAGES, MOST_ORDERS, DynamoConnections
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import DynamoSubscribers
from order_engine.adapters.journal.watchlist import DynamoWatchlist
from order_engine.adapters.mock_market.chain import Execution, MockChain, Sent
from order_engine.adapters.queue import SqsOrderQueue, order_id_of
from order_engine.adapters.sockets import GatewaySockets
from order_engine.domain.decisions import cancelled
from order_engine.domain.errors import (
    BackingOff,
    FailureCode,
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OutOfTime,
    ServiceUnavailable,
    SocketGone,
    UnknownOrder,
)
from order_engine.domain.events import AttemptError, Cancelled
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import (
    ClientOrderIdReused,
    ReplayUnderWay,
    TooManyMessages,
    TooManyStreams,
    TooManySubscribers,
    TooManySubscriptions,
)
from order_engine.domain.subscriber import OVERDUE_AFTER, Connection, Subscriber
from order_engine.domain.swaps import Dropped, Ended, InFlight, Landed, NotFound, Reverted, Transaction
from order_engine.domain.tokens import TOKENS
from order_engine.limits import invocation
from order_engine.ports import (
    KEY_LIFETIME,
    Claim,
    Connections,
    Cursor,
    Journal,
    OrderQueue,
    Side,
    Sockets,
    Subscribers,
    Watchlist,
)

from tests.doubles.chain import Ledger, MemoryChain
from tests.doubles.connections import MemoryConnections
from tests.doubles.gate import Gate, Service, Troubles
from tests.doubles.journal import LEASE, MemoryJournal
from tests.doubles.services import MemoryQueue, MemorySockets, Socket
from tests.doubles.subscribers import MemorySubscribers
from tests.doubles.tables import Tables
from tests.doubles.timeline import Timeline
from tests.doubles.watchlist import MemoryWatchlist
from tests.support.builders import START, a_limit, a_record, a_transaction, advanced, an_order
from tests.support.local_aws import LocalGateway, create_table

PAGE_SIZE, PAGES, MOST_STREAMS = 3, 3, 3  # instead of 20 and 25, which would make a test of a full order a long one

on_each_page = pytest.mark.parametrize("page", [0, 1])


class Chain(Protocol):
    """What `MockChain` and its double have in common."""

    def send(self, transaction: Transaction, execution: Execution, now: datetime) -> Sent | Ended | NotFound: ...
    def look_up(self, tx_hash: str) -> Sent | Ended | NotFound: ...
    def land(self, transaction: Sent) -> Ended: ...
    def declare_dead(self, transaction: Transaction, now: datetime) -> Ended | InFlight: ...
    def launch(self, symbol: str, at: datetime) -> datetime: ...
    def opens_at(self, symbol: str) -> datetime | None: ...


@dataclass(frozen=True)
class World:
    """The services of one kind, on one clock. `queued` receives the messages that are due; `stop` makes all services
    unavailable."""

    now: Timeline
    journal: Journal
    subscribers: Subscribers
    connections: Connections
    watchlist: Watchlist
    chain: Chain
    queue: OrderQueue
    queued: Callable[[], list[UUID]]
    stop: Callable[[], object]

    def new(self, **changes: Any) -> OrderRecord:
        """An order of this moment, nowhere yet."""
        return OrderRecord.accepted(an_order(**{"created_at": self.now(), **changes}))

    def created(self, full_pages: int = 0, **changes: Any) -> OrderRecord:
        """A new order, in the journal; its first pages are full of subscribers."""
        record = self.journal.create(self.new(**changes), "as asked")
        for number in range(full_pages * PAGE_SIZE):
            self.joined(record, f"other {number}")
        return record

    def claimed(self, full_pages: int = 0) -> Claim:
        """The first claim of a new order."""
        return self.journal.claim(self.created(full_pages).order.order_id)

    def routed(self, record: OrderRecord) -> OrderRecord:
        """The record with the next event."""
        return advanced(record, OrderStatus.ROUTING, self.now(), attempt=1)

    def appended(self, claim: Claim) -> Claim:
        """The claim after the next event."""
        return self.journal.append(claim, self.routed(claim.record))

    def joined(self, record: OrderRecord, name: str = "connection", **changes: Any) -> Subscriber:
        """A new subscriber of the order."""
        return self.subscribers.join(Subscriber(record.order.order_id, name, self.now(), **changes))

    def fanned_out(self, claim: Claim) -> tuple[Claim, tuple[Subscriber, ...]]:
        """The claim after the next event, and all subscribers at that moment."""
        claim = self.appended(claim)
        further = self.subscribers.fan_out(claim.record.order.order_id, claim.record.sequence)
        return claim, (*claim.record.subscribers, *further)


def _doubles() -> World:
    troubles = Troubles()
    gate, tables = Gate(seconds=lambda _service: 0.0, faults=troubles), Tables(PAGE_SIZE, PAGES)
    queue = MemoryQueue(gate)
    return World(
        gate.timeline,
        MemoryJournal(gate, tables),
        MemorySubscribers(gate, tables),
        MemoryConnections(gate, tables, MOST_STREAMS),
        MemoryWatchlist(gate, tables),
        MemoryChain(gate, Ledger()),
        queue,
        lambda: [order_id for order_id, delay in queue.sent if not delay],
        lambda: troubles.away.update(Service),
    )


def _adapters(aws: tuple[Any, Any]) -> World:
    dynamodb, sqs = aws
    now, suffix = Timeline(), uuid4().hex
    kinds = ("Journal", "ClientOrderIds", "Connections", "SubscriberPages", "Watch", "Chain")
    names = {kind: kind + suffix for kind in kinds}
    for kind, name in names.items():
        create_table(dynamodb, name, f"{kind}Table")
    url = sqs.create_queue(QueueName=suffix)["QueueUrl"]

    def stop() -> None:
        for name in names.values():
            dynamodb.delete_table(TableName=name)
        sqs.delete_queue(QueueUrl=url)

    return World(
        now,
        DynamoJournal(dynamodb, names["Journal"], names["ClientOrderIds"], now, LEASE),
        DynamoSubscribers(dynamodb, names["SubscriberPages"], names["Journal"]),
        DynamoConnections(dynamodb, names["Connections"], now, MOST_STREAMS),
        DynamoWatchlist(dynamodb, names["Watch"], names["Journal"], now),
        MockChain(dynamodb, names["Chain"]),
        SqsOrderQueue(sqs, url),
        lambda: [order_id_of(one["Body"]) for one in sqs.receive_message(QueueUrl=url).get("Messages", [])],
        stop,
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[tuple[Any, Any]]:
    """Clients of moto's DynamoDB and SQS."""
    with mock_aws():  # which brings credentials of its own
        yield boto3.client("dynamodb", region_name="us-east-1"), boto3.client("sqs", region_name="us-east-1")


@pytest.fixture(params=["doubles", "adapters"])
def world(request: pytest.FixtureRequest, aws: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> World:
    """The doubles, then the adapters."""
    monkeypatch.setattr(adapter, "PAGE_SIZE", PAGE_SIZE)
    monkeypatch.setattr(adapter, "PAGES", PAGES)
    return _doubles() if request.param == "doubles" else _adapters(aws)


# --- orders and their keys --------------------------------------------------------------------------------------------


def test_each_order_without_a_key_is_one_of_its_own(world: World) -> None:
    record, other = world.new(), world.created()
    assert world.journal.create(record, "as asked") == record
    assert world.journal.read(record.order.order_id) == record
    assert world.journal.read(other.order.order_id) == other
    with pytest.raises(UnknownOrder):
        world.journal.read(uuid4())


def test_a_key_is_its_owners(world: World) -> None:
    asked = {"client_order_id": f"key {uuid4()}"}
    mine, yours = (world.new(**asked, owner=owner) for owner in ("mine", "yours"))

    assert world.journal.create(mine, "as asked") == mine
    assert world.journal.create(yours, "otherwise") == yours
    assert world.journal.create(world.new(**asked, owner="mine"), "as asked") == mine
    assert world.journal.read(yours.order.order_id).order.owner == "yours"


def test_who_is_not_admitted_to_an_owners_order_is_not_kept(world: World) -> None:
    order_id = world.created(owner="mine").order.order_id
    subscriber, told = Subscriber(order_id, "connection", world.now()), list[str]()

    def refuse(owner: str) -> None:
        told.append(owner)
        raise UnknownOrder(str(order_id))

    with pytest.raises(UnknownOrder):
        world.subscribers.join(subscriber, refuse)
    assert told == ["mine"]
    assert world.journal.read(order_id).subscribers == ()

    assert world.subscribers.join(subscriber, told.append) == subscriber


@pytest.mark.parametrize("through", OrderStatus)
def test_a_life_is_read_back_as_it_was_lived(world: World, through: OrderStatus) -> None:
    record = a_record(through, an_order(client_order_id="mine"))
    claim = world.journal.claim(world.journal.create(OrderRecord.accepted(record.order), "").order.order_id)
    for count in range(2, len(record.events) + 1):
        transaction = record.transaction if count >= 4 else None
        errors = record.errors if count == len(record.events) else ()
        claim = world.journal.append(claim, OrderRecord(record.order, record.events[:count], transaction, errors))
    assert world.journal.read(record.order.order_id) == record


def test_a_taken_key_returns_its_order_as_it_stands_and_writes_nothing(world: World) -> None:
    record = world.created(client_order_id="mine")
    claim = world.appended(world.journal.claim(record.order.order_id))
    world.now.wait(KEY_LIFETIME.total_seconds())
    repeated = world.new(client_order_id="mine")
    assert world.journal.create(repeated, "as asked") == claim.record
    with pytest.raises(ClientOrderIdReused, match="'mine'"):
        world.journal.create(repeated, "asked for something else")
    with pytest.raises(UnknownOrder):
        world.journal.read(repeated.order.order_id)
    assert world.appended(claim).record.sequence == 3  # the lease is as it was


def test_an_expired_key_is_free_and_its_old_order_stays(world: World) -> None:
    old = world.created(client_order_id="mine")
    world.now.wait(KEY_LIFETIME.total_seconds() + 1)
    new = world.new(client_order_id="mine")
    assert world.journal.create(new, "asked for something else") == new
    world.now.wait(KEY_LIFETIME.total_seconds())
    assert world.journal.create(world.new(client_order_id="mine"), "asked for something else") == new
    with pytest.raises(ClientOrderIdReused):
        world.created(client_order_id="mine")
    assert world.journal.read(old.order.order_id) == old


def test_a_key_whose_order_is_missing_never_gets_another_order(world: World) -> None:
    """The missing one may be executed."""
    record, repeated = world.created(client_order_id="mine"), world.new(client_order_id="mine")
    assert world.journal.withdraw(record.order.order_id)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match=str(record.order.order_id)):
            world.journal.create(repeated, "as asked")
    with pytest.raises(UnknownOrder):
        world.journal.read(repeated.order.order_id)


def test_an_order_that_no_worker_had_is_withdrawn(world: World) -> None:
    order_id = world.created().order.order_id
    assert world.journal.withdraw(order_id)
    assert world.journal.withdraw(order_id)  # gone by an earlier try
    with pytest.raises(UnknownOrder):
        world.journal.read(order_id)


def test_an_order_that_a_worker_has_or_had_is_not_withdrawn(world: World) -> None:
    claim = world.claimed()
    order_id = claim.record.order.order_id
    assert not world.journal.withdraw(order_id)
    world.journal.release(claim)
    assert not world.journal.withdraw(order_id)
    claim = world.appended(world.journal.claim(order_id))
    assert not world.journal.withdraw(order_id)
    world.journal.release(claim)
    assert not world.journal.withdraw(order_id)
    assert world.journal.read(order_id).sequence == 2


# --- leases -----------------------------------------------------------------------------------------------------------


def test_a_lease_is_held_until_it_runs_out_to_the_millisecond(world: World) -> None:
    record = world.created()
    first = world.journal.claim(record.order.order_id)
    assert (first.record, first.interrupted) == (record, False)
    until = world.now() + LEASE
    world.now.wait(LEASE.total_seconds())
    with pytest.raises(LeaseHeld) as held:
        world.journal.claim(record.order.order_id)
    assert abs(held.value.until - until) < timedelta(milliseconds=1)
    world.now.wait(0.001)
    assert world.journal.claim(record.order.order_id).interrupted


def test_who_lost_its_lease_writes_nothing(world: World) -> None:
    first = world.claimed()
    after = world.appended(first)
    world.now.wait(LEASE.total_seconds() + 1)
    second = world.journal.claim(first.record.order.order_id)
    assert second.interrupted
    for refused in (
        lambda: world.appended(after),
        lambda: world.journal.append(first, after.record),  # what it has appended already
        lambda: world.journal.release(after, closed=True),
    ):
        with pytest.raises(LeaseLost):
            refused()
    assert world.appended(second).record.sequence == 3


def test_an_expired_lease_is_as_good_as_before_until_it_is_taken(world: World) -> None:
    claim = world.claimed()
    world.now.wait(LEASE.total_seconds() * 2)
    assert world.appended(claim).record.sequence == 2


def test_a_release_keeps_what_was_learnt_and_interrupts_nobody(world: World) -> None:
    claim = world.appended(world.claimed())
    failure = AttemptError(attempt=1, code=FailureCode.RATE_LIMITED, error="slower", timestamp=world.now())
    world.journal.release(replace(claim, record=replace(claim.record, errors=(failure,), behind=True)))
    with pytest.raises(LeaseLost):
        world.appended(claim)
    again = world.journal.claim(claim.record.order.order_id)
    assert (again.interrupted, again.owner == claim.owner) == (False, False)
    assert (again.record.errors, again.record.behind) == ((failure,), True)
    with pytest.raises(LeaseLost):
        world.journal.release(claim, closed=True)
    assert world.appended(again).record.sequence == 3


def test_a_back_off_lasts_until_its_time_and_is_then_forgotten(world: World) -> None:
    claim, until = world.claimed(), world.now() + timedelta(seconds=7)
    order_id = claim.record.order.order_id
    world.journal.release(claim, not_before=until)
    world.now.wait(6.999)
    with pytest.raises(BackingOff) as refused:
        world.journal.claim(order_id)
    assert abs(refused.value.until - until) < timedelta(milliseconds=1)
    world.now.wait(0.001)
    world.journal.release(world.journal.claim(order_id))
    world.now.seconds -= 1  # another worker's clock is slow
    assert not world.journal.claim(order_id).interrupted


def test_a_closed_order_is_read_but_not_claimed(world: World) -> None:
    claim = world.claimed()
    subscriber = world.joined(claim.record)
    world.journal.release(world.appended(claim), closed=True)
    with pytest.raises(OrderClosed):
        world.journal.claim(claim.record.order.order_id)
    record = world.journal.read(claim.record.order.order_id)
    assert (record.sequence, record.subscribers) == (2, (subscriber,))
    with pytest.raises(UnknownOrder):
        world.journal.claim(uuid4())


def test_only_the_next_event_is_appended(world: World) -> None:
    claim = world.claimed()
    routing = world.routed(claim.record)
    transaction = a_transaction(routing.order, valid_until=world.now())
    second = world.journal.append(claim, replace(routing, transaction=transaction, behind=True))
    another = advanced(claim.record, OrderStatus.FAILED, world.now())
    for other in (another, world.routed(world.routed(routing))):
        with pytest.raises(LeaseLost):
            world.journal.append(claim, other)
    assert world.journal.read(routing.order.order_id).behind
    world.journal.append(second, replace(world.routed(second.record), transaction=None, behind=False))
    record = world.journal.read(routing.order.order_id)
    assert (record.sequence, record.transaction, record.behind) == (3, transaction, False)


def test_a_decision_takes_the_order_from_whoever_has_it(world: World) -> None:
    claim = world.appended(world.claimed())
    record = world.journal.read(claim.record.order.order_id)
    ended = cancelled(record, world.now())

    assert world.journal.decide(ended)
    assert world.journal.decide(ended)  # the same write once more
    kept = world.journal.read(record.order.order_id)
    assert (kept.events, kept.behind, kept.is_final) == (ended.events, True, True)
    for lost in (lambda: world.appended(claim), lambda: world.journal.release(claim)):
        with pytest.raises(LeaseLost):
            lost()
    again = world.journal.claim(record.order.order_id)
    assert (again.interrupted, again.record.status) == (False, OrderStatus.CANCELLED)
    world.journal.release(again, closed=True)


def test_a_decision_holds_during_a_back_off(world: World) -> None:
    claim = world.claimed()
    world.journal.release(claim, not_before=world.now() + timedelta(seconds=30))

    assert world.journal.decide(cancelled(claim.record, world.now()))
    assert world.journal.claim(claim.record.order.order_id).record.status is OrderStatus.CANCELLED


def test_a_decision_comes_too_late_for_an_order_that_has_moved_on(world: World) -> None:
    claim = world.claimed()
    ended = cancelled(claim.record, world.now())
    moved = world.appended(claim)

    assert not world.journal.decide(ended)
    assert world.journal.read(claim.record.order.order_id).sequence == 2
    assert world.appended(moved).record.sequence == 3


def test_no_decision_is_made_once_a_transaction_is_journaled(world: World) -> None:
    """Whatever has become of it."""
    claim = world.claimed()
    routed = world.appended(claim).record
    building = advanced(routed, OrderStatus.BUILDING, world.now())
    claim = world.journal.append(replace(claim, record=routed), building)
    submitted = advanced(building, OrderStatus.SUBMITTED, world.now())
    submitted = replace(submitted, transaction=a_record(OrderStatus.SUBMITTED, routed.order).transaction)
    claim = world.journal.append(replace(claim, record=building), submitted)
    event = Cancelled(**submitted.header(world.now()), message="no")

    assert not world.journal.decide(replace(submitted, events=(*submitted.events, event)))
    assert world.journal.read(submitted.order.order_id).status is OrderStatus.SUBMITTED


# --- subscribers ------------------------------------------------------------------------------------------------------


@on_each_page
def test_a_subscriber_is_kept_on_its_page(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    subscriber = world.joined(record, sent_through=3)
    assert subscriber == Subscriber(record.order.order_id, "connection", world.now(), sent_through=3, page=page)
    assert world.subscribers.read(subscriber) == subscriber
    assert (subscriber in world.journal.read(record.order.order_id).subscribers) is (page == 0)


@on_each_page
def test_a_join_that_takes_effect_late_undoes_no_handover(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    subscriber = world.joined(record)
    assert world.subscribers.hand_over(subscriber, through=1)
    assert world.subscribers.join(subscriber) == subscriber
    kept = world.subscribers.read(subscriber)
    assert kept
    assert kept.live_after == 1


def test_nobody_joins_an_unknown_order(world: World) -> None:
    with pytest.raises(UnknownOrder):
        world.subscribers.join(Subscriber(uuid4(), "connection", world.now()))


@on_each_page
def test_a_handover_holds_only_after_the_last_event(world: World, page: int) -> None:
    claim = world.claimed(full_pages=page)
    subscriber = world.joined(claim.record)
    claim, seen = world.fanned_out(claim)
    assert subscriber in seen
    assert not world.subscribers.hand_over(subscriber, through=1)
    assert page or not world.subscribers.hand_over(subscriber, through=3)  # which there is not yet
    assert world.subscribers.read(subscriber) == subscriber
    assert world.subscribers.hand_over(subscriber, through=2)
    live = replace(subscriber, sent_through=2, live_after=2)
    assert world.subscribers.read(subscriber) == live
    assert live in world.fanned_out(claim)[1]


@on_each_page
def test_a_subscriber_taken_back_is_handed_over_by_its_generation(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    one, other = world.joined(record), world.joined(record, "other", sent_through=1)
    assert world.subscribers.hand_over(one, through=1)
    taken = world.subscribers.take_back([one, other])
    assert taken == [replace(one, generation=2), replace(other, generation=2)]
    assert not world.subscribers.hand_over(one, through=1)
    assert [world.subscribers.read(each) for each in (one, other)] == taken
    assert world.subscribers.hand_over(taken[0], through=1)
    assert world.subscribers.take_back([replace(one, sent_through=1)]) == [replace(one, sent_through=1, generation=3)]
    assert world.subscribers.take_back([]) == []


@on_each_page
def test_who_has_left_is_not_brought_back(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    staying, leaving = world.joined(record, "staying"), world.joined(record, "leaving")
    for _ in range(2):
        world.subscribers.leave(leaving)
        assert world.subscribers.read(leaving) is None
        assert not world.subscribers.hand_over(leaving, through=1)
        assert world.subscribers.take_back([leaving]) == []
    assert world.subscribers.take_back([leaving, staying]) == [replace(staying, generation=2)]


@on_each_page
def test_whoever_has_asked_for_a_replay_is_kept_when_its_order_ends(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    subscriber = world.joined(record)
    assert world.subscribers.hand_over(subscriber, through=1)
    replayed = world.subscribers.replay(subscriber, world.now())
    assert replayed
    assert not world.subscribers.end(subscriber)
    assert world.subscribers.read(subscriber) == replayed
    assert world.subscribers.end(replayed)
    assert world.subscribers.read(subscriber) is None
    assert world.subscribers.end(replayed)


@on_each_page
def test_nothing_is_made_for_a_subscriber_without_an_order(world: World, page: int) -> None:
    stranger = Subscriber(uuid4(), "stranger", world.now(), page=page)
    assert world.subscribers.read(stranger) is None
    assert not world.subscribers.hand_over(stranger, through=1)
    assert world.subscribers.take_back([stranger]) == []
    assert world.subscribers.fan_out(stranger.order_id, 1) == ()
    world.subscribers.leave(stranger)
    assert world.subscribers.read(stranger) is None
    with pytest.raises(UnknownOrder):
        world.journal.read(stranger.order_id)


def test_an_order_is_crowded_once_a_further_page_is_used(world: World) -> None:
    claim = world.claimed()
    first = [world.joined(claim.record, f"{number}") for number in range(PAGE_SIZE)]
    claim = world.appended(claim)
    assert not claim.record.crowded
    assert world.subscribers.fan_out(claim.record.order.order_id, 2) == ()
    assert world.joined(claim.record).page == 1
    claim = world.appended(claim)
    assert claim.record.crowded
    assert world.journal.read(claim.record.order.order_id).crowded
    assert set(claim.record.subscribers) == set(first)


def test_a_full_order_refuses_until_somebody_leaves(world: World) -> None:
    record = world.created()
    everybody = [world.joined(record, f"{number}") for number in range(PAGE_SIZE * PAGES)]
    assert [one.page for one in everybody] == [number // PAGE_SIZE for number in range(PAGE_SIZE * PAGES)]
    with pytest.raises(TooManySubscribers):
        world.joined(record, "one too many")
    world.subscribers.leave(everybody[4])
    assert world.joined(record, "in time").page == 1


def test_a_fan_out_marks_every_page_but_the_orders_own(world: World) -> None:
    claim = world.appended(world.claimed(full_pages=1))
    order_id = claim.record.order.order_id
    one, *others = (world.joined(claim.record, f"{number}") for number in range(PAGE_SIZE + 1))
    assert world.subscribers.hand_over(one, through=1)  # event 2 is appended, but not fanned out
    live = replace(one, sent_through=1, live_after=1)
    for sequence in (3, 3, 2):  # repeated, and late
        assert set(world.subscribers.fan_out(order_id, sequence)) == {live, *others}
    assert [other.page for other in others] == [1, 1, 2]
    for other in others:
        assert not world.subscribers.hand_over(other, through=2)
        assert world.subscribers.hand_over(other, through=3)
    assert world.journal.read(order_id).sequence == 2


@on_each_page
def test_a_replay_is_served_once_at_a_time(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    subscriber = world.joined(record)
    with pytest.raises(ReplayUnderWay):  # it has not had anything yet
        world.subscribers.replay(subscriber, world.now())
    assert world.subscribers.hand_over(subscriber, through=1)

    replayed = world.subscribers.replay(subscriber, world.now())
    assert replayed == replace(subscriber, generation=2, replayed_at=world.now())
    assert world.subscribers.read(subscriber) == replayed
    with pytest.raises(ReplayUnderWay):
        world.subscribers.replay(subscriber, world.now())
    assert world.subscribers.read(subscriber) == replayed
    assert world.subscribers.hand_over(replayed, through=1)
    again = world.subscribers.replay(subscriber, world.now())
    assert again == replace(replayed, generation=3)


@on_each_page
def test_a_replay_of_which_nothing_came_may_be_asked_for_again(world: World, page: int) -> None:
    record = world.created(full_pages=page)
    subscriber = world.joined(record)
    for generation in (2, 3):
        with pytest.raises(ReplayUnderWay):
            world.subscribers.replay(subscriber, world.now())
        world.now.wait(OVERDUE_AFTER.total_seconds() + 0.01)
        replayed = world.subscribers.replay(subscriber, world.now())
        assert replayed
        assert (replayed.generation, replayed.replayed_at) == (generation, world.now())
    world.subscribers.leave(subscriber)
    assert world.subscribers.replay(subscriber, world.now()) is None


# --- connections ------------------------------------------------------------------------------------------------------


def test_a_connection_is_found_as_it_was_opened(world: World) -> None:
    order_id, now = uuid4(), world.now().replace(microsecond=0)
    plain = Connection("plain", now, {order_id: 3})
    keyed = Connection("keyed", now, {}, owner="mine", key_id="abc", lasting=True)
    for connection in (plain, keyed):
        world.connections.open(connection)
        assert world.connections.find(connection.connection_id) == connection
        assert world.connections.hear(connection.connection_id, 1) == connection
    assert plain.subscriber(order_id) == Subscriber(order_id, "plain", now, page=3)
    world.connections.forget("plain")
    world.connections.forget("plain")
    assert world.connections.find("plain") is None
    assert world.connections.hear("plain", 1) is None
    assert world.connections.find("keyed") == keyed


def test_a_connection_watches_so_many_orders(world: World) -> None:
    orders = [Subscriber(uuid4(), "connection", world.now(), page=number % 3) for number in range(MOST_ORDERS + 1)]
    assert world.connections.add(orders[0]) is None
    assert world.connections.find("connection") is None
    world.connections.open(Connection("connection", world.now(), {orders[0].order_id: 0}))
    assert [world.connections.add(one) for one in orders[:-1]] == [0, *(one.page for one in orders[1:-1])]
    assert world.connections.add(replace(orders[5], page=9)) == orders[5].page  # where it is kept already
    with pytest.raises(TooManySubscriptions):
        world.connections.add(orders[-1])
    world.connections.drop(orders[7])
    world.connections.drop(orders[7])
    assert world.connections.add(orders[-1]) == orders[-1].page
    found = world.connections.find("connection")
    assert found
    assert found.lasting
    assert dict(found.orders) == {one.order_id: one.page for one in orders if one is not orders[7]}
    world.connections.drop(Subscriber(uuid4(), "nobody", world.now()))
    assert world.connections.find("nobody") is None


def test_a_connection_ends_with_the_order_that_it_was_opened_for(world: World) -> None:
    order, other = (Subscriber(uuid4(), "connection", world.now()) for _ in range(2))
    world.connections.open(Connection("connection", world.now(), {order.order_id: 0}))
    assert world.connections.end(order)
    assert world.connections.add(other) is None
    assert world.connections.end(order)  # once more, after a crash
    assert world.connections.end(Subscriber(uuid4(), "nobody", world.now()))


@pytest.mark.parametrize("opened_for", [True, False])
def test_a_connection_that_may_watch_others_does_not_end(world: World, opened_for: bool) -> None:
    order, other = (Subscriber(uuid4(), "connection", world.now()) for _ in range(2))
    orders = {order.order_id: 0} if opened_for else {}
    world.connections.open(Connection("connection", world.now(), orders, lasting=not opened_for))
    assert world.connections.add(other) == 0
    assert not world.connections.end(order)
    assert world.connections.add(other) == 0


def test_an_owner_has_so_many_connections_open(world: World) -> None:
    for number in range(MOST_STREAMS):
        world.connections.admit("mine")
        world.connections.open(Connection(f"connection {number}", world.now(), owner="mine"))
    with pytest.raises(TooManyStreams):
        world.connections.admit("mine")
    world.connections.admit("yours")
    world.connections.forget("connection 0")
    world.connections.admit("mine")


def test_nobody_counts_the_publics_connections(world: World) -> None:
    for number in range(MOST_STREAMS + 1):
        world.connections.admit("public")
        world.connections.open(Connection(f"public {number}", world.now()))


def test_messages_of_a_connection_are_counted_by_their_cost(world: World) -> None:
    world.connections.open(Connection("connection", world.now()))
    world.connections.open(Connection("other", world.now()))
    for _ in range(MESSAGES.limit // 10):
        assert world.connections.hear("connection", 10)
    told = []
    for _ in range(3):
        with pytest.raises(TooManyMessages) as caught:
            world.connections.hear("connection", 1)
        told.append(caught.value.told)
    assert told == [False, True, True]
    assert world.connections.hear("other", 1)
    world.now.wait(MESSAGES.interval / 1000)
    assert world.connections.hear("connection", 1)
    with pytest.raises(TooManyMessages) as caught:
        world.connections.hear("connection", 10)
    assert "5 s" in str(caught.value)
    assert not caught.value.told  # it was let through since


# --- orders that rest -------------------------------------------------------------------------------------------------

USDT = TOKENS["USDT"].symbol
SOL_RISES, SOL_FALLS = (Side(("SOL", "USDC"), rises) for rises in (True, False))


def rested(world: World, price: str, order_type: str = "limit", **changes: Any) -> Claim:
    """The claim of an order that has come to rest until the market price is this one."""
    name = "limit_price" if order_type == "limit" else "trigger_price"
    changes = {"order_type": order_type, name: Decimal(price), **changes}
    claim = world.journal.claim(world.created(**changes).order.order_id)
    return world.journal.append(claim, opened(world, claim.record, price))


def opened(world: World, record: OrderRecord, price: str) -> OrderRecord:
    """The record with another rest."""
    return advanced(record, OrderStatus.OPEN, world.now(), reference_price=Decimal(price))


def due(world: World, side: Side, price: str, page: int = 50) -> list[UUID]:
    """All that is due, in pages of this size."""
    found, cursor = world.watchlist.due(side, Decimal(price), page, None)
    assert len(found) <= page
    while cursor is not None:
        orders, cursor = world.watchlist.due(side, Decimal(price), page, cursor)
        assert len(orders) <= page
        found += orders
    return found


@pytest.mark.parametrize("page", [1, 2, 50])
def test_what_is_due_is_found_by_its_side_and_price(world: World, page: int) -> None:
    def ids(order_type: str, *prices: str) -> list[UUID]:
        return [rested(world, price, order_type).record.order.order_id for price in prices]

    rise_150, rise_150_1, rise_9, rise_last_digit = ids("limit", "150", "150.1", "9", "150.000000000000001")
    fall_150, fall_149_9, fall_1000 = ids("stop", "150", "149.9", "1000")
    (profit,) = ids("takeProfit", "149.99")
    other = rested(world, "1", token_out=USDT).record.order.order_id

    assert due(world, SOL_RISES, "150", page) == [rise_9, profit, rise_150]
    assert due(world, SOL_RISES, "150.000000000000001", page)[3:] == [rise_last_digit]
    assert due(world, SOL_RISES, "999999", page)[-1] == rise_150_1
    assert due(world, SOL_RISES, "8.999999999999999999", page) == []
    assert due(world, SOL_FALLS, "150", page) == [fall_1000, fall_150]
    assert due(world, SOL_FALLS, "0.000000000000000001", page)[2:] == [fall_149_9]
    assert due(world, Side(("SOL", USDT), rises=True), "1", page) == [other]
    assert due(world, Side(("USDC", "SOL"), rises=True), "1000", page) == []


def test_a_lookup_goes_on_behind_what_it_has_read_and_starts_over_where_the_price_went_back(world: World) -> None:
    rising = [rested(world, f"10{number}").record.order.order_id for number in range(6)]
    falling = [rested(world, f"20{number}", "stop").record.order.order_id for number in reversed(range(6))]

    for side, orders, price, nearer in ((SOL_RISES, rising, "109", "101"), (SOL_FALLS, falling, "199", "204")):
        first, cursor = world.watchlist.due(side, Decimal(price), 4, None)
        assert first == orders[:4]
        assert cursor is not None
        rest, end = world.watchlist.due(side, Decimal(price), 4, cursor)
        assert (rest, end) == (orders[4:], None)
        assert due_from(world, side, nearer, cursor) == orders[:2]


def due_from(world: World, side: Side, price: str, cursor: Cursor) -> list[UUID]:
    return world.watchlist.due(side, Decimal(price), 4, cursor)[0]


def test_orders_at_one_price_are_each_found_once(world: World) -> None:
    orders = {rested(world, "150").record.order.order_id for _ in range(7)}

    found = due(world, SOL_RISES, "150", page=3)

    assert (len(found), set(found)) == (7, orders)


def test_a_lookup_goes_on_behind_an_order_that_is_gone(world: World) -> None:
    claims = [rested(world, f"10{number}") for number in range(4)]
    first, cursor = world.watchlist.due(SOL_RISES, Decimal(110), 2, None)
    for claim in claims[:2]:
        world.journal.append(claim, advanced(claim.record, OrderStatus.TRIGGERED, world.now()))

    assert due_from(world, SOL_RISES, "110", cursor) == [claim.record.order.order_id for claim in claims[2:]]
    assert first == [claim.record.order.order_id for claim in claims[:2]]


def test_an_order_is_found_while_it_rests_and_no_longer(world: World) -> None:
    claim = rested(world, "150")
    order_id = claim.record.order.order_id
    world.journal.release(claim)
    claim = world.journal.claim(order_id)
    assert due(world, SOL_RISES, "150") == [order_id]  # a worker has it, and its own quote decides
    assert not world.watchlist.is_empty(SOL_RISES)

    claim = world.journal.append(claim, advanced(claim.record, OrderStatus.TRIGGERED, world.now()))
    assert due(world, SOL_RISES, "999") == []
    assert world.watchlist.is_empty(SOL_RISES)

    claim = world.journal.append(claim, advanced(claim.record, OrderStatus.ROUTING, world.now(), attempt=1))
    world.journal.append(claim, opened(world, claim.record, "151"))
    assert due(world, SOL_RISES, "150") == []
    assert due(world, SOL_RISES, "151") == [order_id]


@pytest.mark.parametrize("released", [True, False])
def test_an_order_that_was_cancelled_at_rest_is_not_found(world: World, released: bool) -> None:
    claim = rested(world, "150")
    if released:
        world.journal.release(claim)

    assert world.journal.decide(cancelled(claim.record, world.now()))

    assert due(world, SOL_RISES, "999") == []
    assert world.watchlist.is_empty(SOL_RISES)


def test_misses_are_kept_from_release_to_claim(world: World) -> None:
    claim = world.appended(world.claimed())
    order_id = claim.record.order.order_id
    assert claim.record.misses == 0
    for misses in (1, 2):
        world.journal.release(replace(claim, record=replace(claim.record, misses=misses)), not_before=world.now())
        assert world.journal.read(order_id).misses == misses
        claim = world.journal.claim(order_id)
        assert claim.record.misses == misses
    claim = world.appended(claim)
    assert claim.record.misses == 2
    world.journal.release(claim)
    assert world.journal.read(order_id).misses == 2


def test_whose_time_is_over_is_found_until_it_is_swept(world: World) -> None:
    now = world.now()
    late, last, soon = (a_limit(created_at=now, expires_at=now + timedelta(seconds=seconds)) for seconds in (5, 10, 20))
    for order in (soon, late, last, late):  # noted each time that it rests
        world.watchlist.note(order)
    world.watchlist.note(a_limit(created_at=now, expires_at=None))
    assert world.watchlist.expiring(now + timedelta(seconds=5), 5) == []

    expiring = world.watchlist.expiring(now + timedelta(seconds=10, milliseconds=1), 5)
    assert [order_id for order_id, _ in expiring] == [late.order_id, last.order_id]
    assert world.watchlist.expiring(now + timedelta(seconds=99), 1) == expiring[:1]

    for _ in range(2):
        world.watchlist.swept(expiring[0][1])
    left = world.watchlist.expiring(now + timedelta(seconds=99), 5)
    assert [order_id for order_id, _ in left] == [last.order_id, soon.order_id]


def test_a_side_is_watched_from_when_it_was_noted_until_it_is_forgotten(world: World) -> None:
    assert world.watchlist.read().sides == {}
    world.watchlist.note(a_limit())
    world.watchlist.note(an_order(order_type="stop", trigger_price=Decimal(140)))
    noted = world.watchlist.read().sides
    assert set(noted) == {SOL_RISES, SOL_FALLS}
    assert abs(noted[SOL_RISES] - world.now()) < timedelta(milliseconds=1)

    world.now.wait(61)
    world.watchlist.note(a_limit())
    world.watchlist.forget(SOL_RISES, noted[SOL_RISES])  # it was noted since
    world.watchlist.forget(SOL_FALLS, noted[SOL_FALLS])
    world.watchlist.forget(SOL_FALLS, noted[SOL_FALLS])
    sides = world.watchlist.read().sides
    assert set(sides) == {SOL_RISES}
    assert abs(sides[SOL_RISES] - world.now()) < timedelta(milliseconds=1)
    world.watchlist.forget(SOL_RISES, sides[SOL_RISES])
    assert world.watchlist.read().sides == {}


def test_who_took_over_last_watches(world: World) -> None:
    world.watchlist.note(a_limit())
    assert world.watchlist.read().runner == ""
    for runner in ("first", "second", "first"):
        world.watchlist.take_over(runner)
        watched = world.watchlist.read()
        assert (watched.runner, set(watched.sides)) == (runner, {SOL_RISES})


# --- every service ----------------------------------------------------------------------------------------------------


def test_a_message_names_its_order_and_may_be_delayed(world: World) -> None:
    order_id = uuid4()
    world.queue.send(uuid4(), delay_seconds=900)
    world.queue.send(order_id)
    assert world.queued() == [order_id]


def every_call(world: World, claim: Claim) -> list[tuple[str, Callable[[], object]]]:
    """Each call of the journal, the queue and the subscribers, and what its refusal names."""
    order_id, keyed = claim.record.order.order_id, world.new(client_order_id="mine")
    subscribers, connections = world.subscribers, world.connections
    calls: list[tuple[str, Callable[[], object]]] = [
        ("journal", world.created),
        ("journal", lambda: world.journal.create(keyed, "as asked")),
        ("journal", lambda: world.journal.read(order_id)),
        ("journal", lambda: world.journal.withdraw(order_id)),
        ("journal", lambda: world.journal.decide(cancelled(claim.record, world.now()))),
        ("journal", lambda: world.journal.claim(order_id)),
        ("journal", lambda: world.appended(claim)),
        ("journal", lambda: world.journal.release(claim)),
        ("queue", lambda: world.queue.send(order_id)),
        ("queue", world.queue.waiting),
        ("watchlist", lambda: world.watchlist.note(a_limit(expires_at=START))),
        ("watchlist", lambda: world.watchlist.note(a_limit())),
        ("watchlist", lambda: world.watchlist.take_over("runner")),
        ("watchlist", world.watchlist.read),
        ("watchlist", lambda: world.watchlist.forget(SOL_RISES, START)),
        ("watchlist", lambda: world.watchlist.due(SOL_RISES, Decimal(1), 1, None)),
        ("watchlist", lambda: world.watchlist.is_empty(SOL_RISES)),
        ("watchlist", lambda: world.watchlist.expiring(START, 1)),
        ("watchlist", lambda: world.watchlist.swept("000000000000001#order")),
        ("connections", lambda: connections.admit("somebody")),
        ("connections", lambda: connections.open(Connection("connection", world.now()))),
        ("connections", lambda: connections.find("connection")),
        ("connections", lambda: connections.hear("connection", 1)),
        ("connections", lambda: connections.forget("connection")),
        ("pages|subscribers", lambda: subscribers.fan_out(order_id, 1)),
    ]
    for page, service in enumerate(("journal|subscribers", "journal|pages|subscribers")):
        one = Subscriber(order_id, "connection", world.now(), page=page)
        calls += [
            (service, partial(subscribers.join, one)),
            (service, partial(subscribers.read, one)),
            (service, partial(subscribers.hand_over, one, 1)),
            (service, partial(subscribers.take_back, [one])),
            (service, partial(subscribers.replay, one, world.now())),
            (service, partial(subscribers.leave, one)),
            (service, partial(subscribers.end, one)),
            ("connections", partial(connections.add, one)),
            ("connections", partial(connections.end, one)),
            ("connections", partial(connections.drop, one)),
        ]
    return calls


def test_no_call_begins_that_may_outlast_the_invocation(world: World) -> None:
    claim = world.claimed()
    with invocation(lambda: 4.9):
        for service, call in every_call(world, claim):
            with pytest.raises(OutOfTime, match=service):
                call()
    assert world.appended(claim).record.subscribers == ()
    assert world.connections.find("connection") is None
    assert world.queued() == []


def test_a_call_to_an_unavailable_service_names_it(world: World) -> None:
    claim = world.claimed()
    world.stop()
    for service, call in every_call(world, claim):
        with pytest.raises(ServiceUnavailable, match=service):
            call()


# --- the sockets ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["doubles", "adapters"])
def sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    """The management API of a WebSocket, with a connection that is open."""
    if request.param == "doubles":
        yield MemorySockets(Gate(), {"connection=": Socket()})
        return
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws(), closing(LocalGateway()) as gateway:
        yield GatewaySockets(client("apigatewaymanagementapi", gateway.url))


def test_a_socket_that_was_closed_is_gone(sockets: Sockets) -> None:
    sockets.post("connection=", "{}")

    assert [sockets.close("connection="), sockets.close("connection=")] == [True, False]

    with pytest.raises(SocketGone):
        sockets.post("connection=", "{}")


# --- the chain --------------------------------------------------------------------------------------------------------

LANDED = Landed(Decimal("1489.000001"), Decimal("148.9000001"))


def signed(world: World, attempt: int = 1, order_id: UUID | None = None, **changes: Any) -> Transaction:
    """A transaction that is valid for ten seconds from now."""
    valid_until = world.now() + timedelta(seconds=10)
    return a_transaction(an_order(order_id=order_id or uuid4()), attempt, valid_until=valid_until, **changes)


def lands(world: World, after: float = 2.0, amount_out: Decimal = LANDED.amount_out) -> Execution:
    """What it gives, so many seconds from now."""
    return Execution(world.now() + timedelta(seconds=after), amount_out, LANDED.executed_price)


def sent(world: World, transaction: Transaction, execution: Execution | None = None) -> Sent:
    """A transaction that is taken, and has not ended."""
    taken = world.chain.send(transaction, execution or lands(world), world.now())
    assert isinstance(taken, Sent)
    assert world.chain.look_up(transaction.tx_hash) == taken
    return taken


def test_a_transaction_is_taken_once_and_lands_once_to_the_last_digit(world: World) -> None:
    transaction, chain = signed(world), world.chain
    assert chain.look_up(transaction.tx_hash) == NotFound()
    taken = sent(world, transaction)
    assert taken.lands_at
    assert abs(taken.lands_at - world.now() - timedelta(seconds=2)) < timedelta(milliseconds=1)
    assert chain.send(transaction, lands(world, 3.0, Decimal(2000)), world.now()) == taken
    assert chain.land(taken) == chain.land(taken) == LANDED
    for after_seconds in (0, 11):
        world.now.wait(after_seconds)
        assert chain.look_up(transaction.tx_hash) == LANDED
        assert chain.send(transaction, lands(world), world.now()) == LANDED
        assert chain.declare_dead(transaction, world.now()) == LANDED


def test_an_order_has_one_transaction_that_can_land(world: World) -> None:
    first = signed(world)
    second = signed(world, 2, first.order_id)
    taken = sent(world, first)
    for _ in range(2):  # before and after the first one has landed
        assert world.chain.send(second, lands(world), world.now()) == NotFound()
        assert world.chain.look_up(second.tx_hash) == NotFound()
        world.chain.land(taken)
    assert world.chain.land(sent(world, signed(world))) == LANDED  # another order's


@pytest.mark.parametrize("seen", [True, False])
def test_a_transaction_dies_only_after_its_validity_and_for_ever(world: World, seen: bool) -> None:
    transaction, chain, slow_clock = signed(world), world.chain, world.now()
    taken = sent(world, transaction, lands(world, 30.0)) if seen else None
    before = chain.look_up(transaction.tx_hash)
    for after_seconds in (0, 10):
        world.now.wait(after_seconds)
        assert chain.declare_dead(transaction, world.now()) == InFlight()
        assert chain.look_up(transaction.tx_hash) == before
    world.now.wait(0.001)
    assert chain.declare_dead(transaction, world.now()) == chain.declare_dead(transaction, world.now()) == Dropped()
    assert chain.look_up(transaction.tx_hash) == Dropped()
    for now in (world.now(), slow_clock):
        assert chain.send(transaction, lands(world), now) == Dropped()
    if taken:
        assert taken.lands_at is None
        assert chain.land(taken) == Dropped()
    assert chain.land(sent(world, signed(world, 2, transaction.order_id))) == LANDED


def test_a_refused_death_leaves_the_transaction_free_to_land(world: World) -> None:
    unseen, in_flight = signed(world), signed(world)
    taken = sent(world, in_flight)
    for transaction in (unseen, in_flight):
        assert world.chain.declare_dead(transaction, world.now()) == InFlight()
    assert world.chain.land(taken) == world.chain.land(sent(world, unseen)) == LANDED


def test_a_transaction_is_taken_until_its_validity_has_passed(world: World) -> None:
    last, late = signed(world), signed(world)
    world.now.wait(10)
    assert sent(world, last, lands(world, 0.0)).lands_at
    world.now.wait(0.001)
    assert world.chain.send(late, lands(world), world.now()) == world.chain.look_up(late.tx_hash) == NotFound()
    assert world.chain.declare_dead(late, world.now()) == Dropped()


def test_a_transaction_of_a_release_without_validity_is_not_taken(world: World) -> None:
    transaction = a_transaction(an_order())
    assert world.chain.send(transaction, lands(world), world.now()) == NotFound()
    assert world.chain.declare_dead(transaction, world.now()) == Dropped()


@pytest.mark.parametrize("after_seconds", [10, 11])
def test_a_transaction_whose_time_has_come_lands_instead_of_dying(world: World, after_seconds: int) -> None:
    transaction = signed(world)
    sent(world, transaction, lands(world, 10.0))
    world.now.wait(after_seconds)
    assert world.chain.declare_dead(transaction, world.now()) == LANDED
    assert world.chain.look_up(transaction.tx_hash) == LANDED


@pytest.mark.parametrize(
    ("amount_out", "floor", "reason"),
    [
        ("1482.549999", "1482.55", "the swap would give 1482.549999 USDC, less than minAmountOut 1482.55"),
        ("0", "0", "the swap would give no USDC"),
    ],
)
def test_a_swap_below_its_floor_reverts_and_says_why(world: World, amount_out: str, floor: str, reason: str) -> None:
    transaction = signed(world, min_amount_out=Decimal(floor))
    reverted = world.chain.land(sent(world, transaction, lands(world, amount_out=Decimal(amount_out))))
    assert reverted == Reverted(reason, FailureCode.SLIPPAGE_EXCEEDED)
    world.now.wait(11)
    assert world.chain.declare_dead(transaction, world.now()) == reverted
    assert world.chain.look_up(transaction.tx_hash) == reverted


def test_a_tokens_first_launch_holds(world: World) -> None:
    first = world.now().replace(microsecond=678000)  # in milliseconds
    assert world.chain.opens_at("NOVA") is None
    assert world.chain.launch("NOVA", world.now()) == first
    for later in (-5, 5):
        assert world.chain.launch("NOVA", world.now() + timedelta(seconds=later)) == first
    assert world.chain.opens_at("NOVA") == first
    assert world.chain.opens_at("ORBIT") is None
