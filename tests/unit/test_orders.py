"""What an owner is shown of its orders: from the journal, the archive, or both as one list."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.domain.access import ANYBODY, PUBLIC, Caller
from order_engine.domain.errors import HistoryUnavailable, UnknownOrder
from order_engine.domain.events import StatusEvent
from order_engine.domain.lifecycle import FINAL, OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable
from order_engine.domain.summary import OrderFilter, OrderSummary, Position, summary_of
from order_engine.ports import Archive, LiveOrders
from order_engine.use_cases.orders import Orders

from tests.doubles.gate import Service
from tests.support.builders import START, a_record, an_order
from tests.unit.deployment import Deployment

STRANGER = Caller("stranger", frozenset())


class MemoryArchive(Archive):
    def __init__(self, records: Sequence[OrderRecord] = ()) -> None:
        self.records = {record.order.order_id: record for record in records}
        self.away = False

    def _of(self, owner: str) -> list[OrderRecord]:
        if self.away:
            raise HistoryUnavailable("PostgreSQL is away")
        return [record for record in self.records.values() if record.order.owner == owner]

    def find(self, owner: str, order_id: UUID) -> tuple[OrderSummary, tuple[StatusEvent, ...]]:
        for record in self._of(owner):
            if record.order.order_id == order_id:
                return summary_of(record), record.events
        raise UnknownOrder(str(order_id))

    def named(self, owner: str, client_order_id: str) -> OrderSummary | None:
        found = (summary_of(one) for one in self._of(owner) if one.order.client_order_id == client_order_id)
        return max(found, key=lambda order: order.position, default=None)

    def page(self, owner: str, wanted: OrderFilter, after: Position | None, most: int) -> list[OrderSummary]:
        orders = filter(wanted.matches, map(summary_of, self._of(owner)))
        return newest_first(order for order in orders if after is None or order.position < after)[:most]


class MemoryLive(LiveOrders):
    def __init__(self, records: Sequence[OrderRecord] = ()) -> None:
        self.records = list(records)
        self.most = 0

    def page(
        self, owner: str, after: Position | None, since: datetime | None, most: int
    ) -> tuple[list[OrderRecord], Position | None]:
        self.most = max(most, self.most)
        found = [
            record
            for record in self.records
            if record.order.owner == owner
            and (after is None or place(record) < after)
            and (since is None or record.order.created_at >= since)
        ]
        found.sort(key=place, reverse=True)
        return found[:most], place(found[most - 1]) if len(found) > most else None


def place(record: OrderRecord) -> Position:
    return Position(record.order.created_at, record.order.order_id)


def newest_first(orders: Iterable[OrderSummary]) -> list[OrderSummary]:
    return sorted(orders, key=lambda order: order.position, reverse=True)


def an_order_of(number: int, status: OrderStatus, second: int = 0, owner: str = PUBLIC) -> OrderRecord:
    """A record in a status, of an order that was placed some seconds after START."""
    record = a_record(status)
    made = an_order(order_id=UUID(int=number), owner=owner, created_at=START + timedelta(seconds=second))
    return OrderRecord(order=made, events=record.events, transaction=record.transaction)


class Shelf(Deployment):
    """The public's orders: one in the journal, others on the shelf and in the archive."""

    def __init__(self, live: Sequence[OrderRecord] = (), archived: Sequence[OrderRecord] = ()) -> None:
        super().__init__()
        self.live, self.archive = MemoryLive(live), MemoryArchive(archived)
        self.orders = Orders(self.platform.journal, self.live, self.archive)

    def pages(self, wanted: OrderFilter, most: int) -> list[list[UUID]]:
        pages, after = [], None
        while True:
            page = self.orders.page(wanted, after, most, ANYBODY)
            assert len(page.orders) <= most
            pages.append([order.order_id for order in page.orders])
            if page.end is None:
                return pages
            assert after is None or page.end < after
            after = page.end


def test_an_order_is_looked_up_in_the_journal_while_postgresql_is_away() -> None:
    shelf = Shelf()
    shelf.archive.away = True

    summary, events = shelf.orders.look_up(shelf.order_id, ANYBODY)

    assert (summary.order_id, summary.status) == (shelf.order_id, OrderStatus.PENDING)
    assert [event.sequence for event in events] == [1]


@pytest.mark.parametrize("away", [set(), {Service.JOURNAL}])
def test_what_the_journal_has_forgotten_or_can_not_tell_comes_from_the_archive(away: set[Service]) -> None:
    old = an_order_of(7, OrderStatus.CONFIRMED)
    shelf = Shelf(archived=[old])
    shelf.troubles.away = away

    assert shelf.orders.look_up(UUID(int=7), ANYBODY) == (summary_of(old), old.events)


def test_another_owners_order_is_unknown_wherever_it_is() -> None:
    shelf = Shelf(archived=[an_order_of(7, OrderStatus.CONFIRMED)])

    for order_id in (shelf.order_id, UUID(int=7), UUID(int=8)):
        with pytest.raises(UnknownOrder, match=str(order_id)):
            shelf.orders.look_up(order_id, STRANGER)


def test_an_order_is_unknown_only_where_everybody_was_asked() -> None:
    shelf = Shelf()
    shelf.archive.away = True
    for caller, order_id in ((ANYBODY, UUID(int=8)), (STRANGER, shelf.order_id)):
        with pytest.raises(NotNowAvailable):
            shelf.orders.look_up(order_id, caller)

    shelf.archive.away, shelf.troubles.away = False, {Service.JOURNAL}
    with pytest.raises(NotNowAvailable):
        shelf.orders.look_up(UUID(int=8), ANYBODY)


def test_a_client_order_id_leads_to_one_order_at_most_the_journals_first() -> None:
    old = an_order_of(7, OrderStatus.CONFIRMED)
    old = OrderRecord(order=old.order.model_copy(update={"client_order_id": "mine"}), events=old.events)
    shelf = Shelf(archived=[old])
    assert [order.order_id for order in shelf.orders.named("mine", ANYBODY)] == [UUID(int=7)]
    assert shelf.orders.named("mine", STRANGER) == shelf.orders.named("no such", ANYBODY) == []

    new = an_order(order_id=UUID(int=9), client_order_id="mine")
    shelf.platform.journal.create(OrderRecord.accepted(new), "of a request")
    shelf.archive.away = True

    assert [order.order_id for order in shelf.orders.named("mine", ANYBODY)] == [UUID(int=9)]
    with pytest.raises(NotNowAvailable):
        shelf.orders.named("no such", ANYBODY)
    shelf.troubles.away = {Service.JOURNAL}
    with pytest.raises(NotNowAvailable):
        shelf.orders.named("mine", ANYBODY)


def test_the_list_needs_both() -> None:
    shelf = Shelf()
    shelf.archive.away = True

    for wanted in (OrderFilter(), OrderFilter(status=OrderStatus.CONFIRMED)):
        with pytest.raises(NotNowAvailable):
            shelf.orders.page(wanted, None, 10, ANYBODY)


def test_orders_that_have_not_ended_are_listed_without_the_archive() -> None:
    shelf = Shelf(live=[an_order_of(1, OrderStatus.OPEN)])
    shelf.archive.away = True

    page = shelf.orders.page(OrderFilter(status=OrderStatus.OPEN), None, 10, ANYBODY)

    assert [order.order_id for order in page.orders] == [UUID(int=1)]


def test_an_order_that_is_closed_between_both_readings_is_listed_once_as_it_is_now() -> None:
    before, now = an_order_of(1, OrderStatus.SUBMITTED), an_order_of(1, OrderStatus.CONFIRMED)
    shelf = Shelf(live=[before], archived=[now])

    page = shelf.orders.page(OrderFilter(), None, 10, ANYBODY)

    assert [(order.order_id, order.status) for order in page.orders] == [(UUID(int=1), OrderStatus.CONFIRMED)]


def test_a_page_looks_at_so_many_live_orders_and_says_that_there_is_more() -> None:
    shelf = Shelf(live=[an_order_of(number, OrderStatus.OPEN, number) for number in range(1, 501)])
    wanted = OrderFilter(order_type="sniper")

    page = shelf.orders.page(wanted, None, 10, ANYBODY)

    assert (page.orders, page.end) == ([], Position(START + timedelta(seconds=301), UUID(int=301)))
    assert shelf.pages(wanted, 10) == [[], [], []]


STATUSES = [OrderStatus.OPEN, OrderStatus.ROUTING, OrderStatus.CONFIRMED, OrderStatus.FAILED]
WANTED = [
    OrderFilter(),
    *(OrderFilter(status=status) for status in STATUSES),
    OrderFilter(created_from=START + timedelta(seconds=1), created_before=START + timedelta(seconds=3)),
    OrderFilter(venue=next(iter({one.venue for one in [summary_of(a_record(OrderStatus.CONFIRMED))] if one.venue}))),
]


@given(
    st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(0, 4), *[st.booleans()] * 3), max_size=30),
    st.sampled_from(WANTED),
    st.integers(1, 5),
)
def test_pages_are_the_list_whatever_stands_where(
    drawn: list[tuple[OrderStatus, int, bool, bool, bool]], wanted: OrderFilter, most: int
) -> None:
    """Final orders stand in the archive, in the journal until they are closed, or in both; some are another owner's."""
    live, archived, expected = [], [], []
    for number, (status, second, mine, late, both) in enumerate(drawn, 1):
        record = an_order_of(number, status, second, PUBLIC if mine else "somebody")
        final = status in (OrderStatus.CONFIRMED, OrderStatus.FAILED)
        if not final or late:
            live.append(record)
        if final and not (late and not both):
            archived.append(record)
        by_end = wanted.status in FINAL or wanted.code  # these are the archive's alone
        if mine and wanted.matches(summary_of(record)) and not (by_end and late and not both):
            expected.append(summary_of(record))
    shelf = Shelf(live, archived)

    listed = [order_id for page in shelf.pages(wanted, most) for order_id in page]

    assert listed == [order.order_id for order in newest_first(expected)]
