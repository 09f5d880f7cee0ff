"""The journal's index of the orders that are not closed."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.journal.item import key_of
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.live import DynamoLiveOrders
from order_engine.domain.decisions import cancelled
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.summary import Position
from order_engine.ports import Claim

from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, JOURNAL
from tests.support.builders import START, advanced, an_order
from tests.support.local_aws import counted_calls


class Shelf:
    """An owner's orders, in a table that others' stand in too."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.journal = DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, Timeline(), timedelta(seconds=25))
        self.live = DynamoLiveOrders(dynamodb, JOURNAL)
        self.owner = f"owner-{uuid4().hex}"

    def created(self, second: float = 0, **changes: Any) -> UUID:
        made = {"order_id": uuid4(), "owner": self.owner, "created_at": START + timedelta(seconds=second)} | changes
        return self.journal.create(OrderRecord.accepted(an_order(**made)), "fingerprint").order.order_id

    def moved(self, order_id: UUID, status: OrderStatus) -> Claim:
        claim = self.journal.claim(order_id)
        return self.journal.append(claim, advanced(claim.record, status, START))

    def ids(self, live: DynamoLiveOrders | None = None) -> list[UUID]:
        records, end = (live or self.live).page(self.owner, None, None, 200)
        assert end is None
        return [record.order.order_id for record in records]


@pytest.fixture
def shelf(dynamodb: Any) -> Shelf:
    return Shelf(dynamodb)


def test_an_order_is_there_from_its_acceptance_until_it_is_closed(shelf: Shelf) -> None:
    """At one place: whoever pages through the list while it moves sees it."""
    order_id = shelf.created()
    assert shelf.ids() == [order_id]
    placed = shelf.dynamodb.get_item(TableName=JOURNAL, Key=key_of(order_id))["Item"]["placed"]

    claim = shelf.moved(order_id, OrderStatus.OPEN)
    shelf.journal.release(claim)
    assert shelf.ids() == [order_id]

    shelf.journal.decide(cancelled(shelf.journal.read(order_id), START))
    assert shelf.ids() == [order_id]  # it is final, and its row is not written yet
    assert shelf.dynamodb.get_item(TableName=JOURNAL, Key=key_of(order_id))["Item"]["placed"] == placed

    shelf.journal.release(shelf.journal.claim(order_id), closed=True)
    assert shelf.ids() == []


def test_an_order_that_an_earlier_release_wrote_is_there_from_its_next_status_on(shelf: Shelf) -> None:
    order_id = shelf.created()
    key = {"orderId": {"S": str(order_id)}}
    shelf.dynamodb.update_item(TableName=JOURNAL, Key=key, UpdateExpression="REMOVE live, placed")
    assert shelf.ids() == []

    shelf.moved(order_id, OrderStatus.ROUTING)

    assert shelf.ids() == [order_id]


def test_each_owner_has_its_own(shelf: Shelf) -> None:
    mine, other = shelf.created(), Shelf(shelf.dynamodb)

    assert (shelf.ids(), other.ids()) == ([mine], [])


def test_pages_go_from_the_newest_to_the_oldest_and_say_where_they_end(shelf: Shelf) -> None:
    placed = [(second, shelf.created(second=second)) for second in (0, 0, 0, 1, 1, 1, 1, 2, 2, 2)]

    pages, after = [], None
    while True:
        records, end = shelf.live.page(shelf.owner, after, None, 3)
        pages.append([record.order.order_id for record in records])
        if end is None:
            break
        assert end == Position(records[-1].order.created_at, records[-1].order.order_id)
        after = end

    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert [order_id for page in pages for order_id in page] == [one for _, one in sorted(placed, reverse=True)]


def test_a_page_has_bounds_in_time(shelf: Shelf) -> None:
    placed = [shelf.created(second=number / 1_000_000) for number in range(6)]

    def between(after: int, since: int) -> list[UUID]:
        low, high = (START + timedelta(microseconds=one) for one in (since, after))
        records, _ = shelf.live.page(shelf.owner, Position(high, UUID(int=0)), low, 100)
        return [record.order.order_id for record in records]

    assert between(5, 2) == [placed[4], placed[3], placed[2]]  # from `since` on, before the position
    assert between(2, 2) == between(2, 3) == []


def test_two_hundred_orders_are_three_calls(shelf: Shelf) -> None:
    for _ in range(120):
        shelf.created()

    with counted_calls(shelf.dynamodb) as calls:
        records, end = shelf.live.page(shelf.owner, None, None, 200)

    assert (len(records), end) == (120, None)
    assert dict(calls) == {("Query", JOURNAL): 1, ("BatchGetItem", JOURNAL): 2}


class Reluctant:
    """DynamoDB that leaves an item out of each response, as it may."""

    def __init__(self, dynamodb: Any, times: int) -> None:
        self._dynamodb = dynamodb
        self._times = times

    def query(self, **arguments: Any) -> Any:
        return self._dynamodb.query(**arguments)

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - DynamoDB's name
        if not self._times:
            return self._dynamodb.batch_get_item(RequestItems=RequestItems)
        self._times -= 1
        keys = RequestItems[JOURNAL]["Keys"]
        some = {JOURNAL: {**RequestItems[JOURNAL], "Keys": keys[1:]}} if keys[1:] else None
        response = self._dynamodb.batch_get_item(RequestItems=some) if some else {"Responses": {}}
        return {**response, "UnprocessedKeys": {JOURNAL: {**RequestItems[JOURNAL], "Keys": keys[:1]}}}


def test_what_dynamodb_leaves_out_is_asked_for_again_and_never_missing(shelf: Shelf) -> None:
    wanted = {shelf.created() for _ in range(3)}

    assert {*shelf.ids(live=DynamoLiveOrders(Reluctant(shelf.dynamodb, 2), JOURNAL))} == wanted
    with pytest.raises(ServiceUnavailable):
        shelf.ids(live=DynamoLiveOrders(Reluctant(shelf.dynamodb, 3), JOURNAL))


def test_an_order_that_is_deleted_meanwhile_is_left_out(shelf: Shelf) -> None:
    kept, deleted = shelf.created(second=1), shelf.created(second=2)

    class Deleting(Reluctant):
        def query(self, **arguments: Any) -> Any:
            page = super().query(**arguments)
            shelf.dynamodb.delete_item(TableName=JOURNAL, Key={"orderId": {"S": str(deleted)}})
            return page

    assert shelf.ids(live=DynamoLiveOrders(Deleting(shelf.dynamodb, 0), JOURNAL)) == [kept]


def test_a_client_order_id_leads_to_its_owners_order(shelf: Shelf) -> None:
    order_id = shelf.created(client_order_id="mine")

    assert shelf.journal.named(shelf.owner, "mine") == order_id
    assert shelf.journal.named("yours", "mine") is shelf.journal.named(shelf.owner, "other") is None
