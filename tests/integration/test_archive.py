"""The history read from a real PostgreSQL: exactly what was written, for its owner alone, and every order once."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations, product
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.archive import PostgresArchive
from order_engine.adapters.history import PostgresHistory
from order_engine.domain.errors import FailureCode, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.domain.summary import OrderFilter, OrderSummary, Position, summary_of
from order_engine.domain.swaps import VenueName

from local.postgres import EmbeddedPostgres
from tests.support.builders import START, a_quote, a_record, a_transaction, advanced, an_order
from tests.support.database import Connections

Ending = Callable[[Order], OrderRecord]


def sent_to(venue: VenueName, order: Order) -> OrderRecord:
    """An order whose transaction was sent to a venue."""
    quotes = (a_quote(venue),)
    routed = advanced(
        a_record(OrderStatus.ROUTING, order),
        OrderStatus.BUILDING,
        venue=venue,
        quotes=quotes,
        min_amount_out=Decimal(1),
    )
    return advanced(replace(routed, transaction=a_transaction(order, venue=venue)), OrderStatus.SUBMITTED)


def confirmed(order: Order, venue: VenueName = VenueName.RAYDIUM) -> OrderRecord:
    return advanced(sent_to(venue, order), OrderStatus.CONFIRMED)


def failed(order: Order, code: FailureCode = FailureCode.SLIPPAGE_EXCEEDED) -> OrderRecord:
    return advanced(sent_to(VenueName.RAYDIUM, order), OrderStatus.FAILED, code=code, error="too little")


ENDINGS: list[Ending] = [
    confirmed,
    lambda order: confirmed(order, VenueName.METEORA),
    failed,
    lambda order: failed(order, FailureCode.TRANSACTION_TIMEOUT),
    lambda order: a_record(OrderStatus.FAILED, order),
    lambda order: a_record(OrderStatus.CANCELLED, order),
    lambda order: a_record(OrderStatus.EXPIRED, order),
]
PAIRS = [("SOL", "USDC"), ("USDC", "SOL"), ("SOL", "BONK")]
TYPES: list[dict[str, Any]] = [{"order_type": "market"}, {"order_type": "limit", "limit_price": Decimal(1)}]

FILTERS: dict[str, dict[str, Any]] = {
    "status": {"status": OrderStatus.FAILED},
    "type": {"order_type": "limit"},
    "venue": {"venue": VenueName.RAYDIUM},
    "pair": {"token_in": "SOL", "token_out": "USDC"},
    "code": {"code": FailureCode.SLIPPAGE_EXCEEDED},
    "from": {"created_from": START + timedelta(seconds=3)},
    "to": {"created_before": START + timedelta(seconds=9)},
}
EVERY = OrderFilter()


def write(url: str, *records: OrderRecord) -> None:
    with closing(Connections(url)) as connections:
        history = PostgresHistory(connections)
        for record in records:
            history.record(record)


def listed(*records: OrderRecord) -> list[OrderSummary]:
    """The orders as a list has them."""
    return sorted(map(summary_of, records), key=lambda summary: summary.position, reverse=True)


@pytest.fixture
def owner() -> str:
    """An owner of the test's own."""
    return f"owner {uuid4()}"


@pytest.fixture
def archive(connections: Connections) -> PostgresArchive:
    return PostgresArchive(connections)


@pytest.fixture(scope="module")
def assorted(postgres: EmbeddedPostgres) -> tuple[str, list[OrderSummary]]:
    """Orders of every kind, as they are listed, three at a time of the same microsecond; and whose they are. Another
    owner has the same."""
    mine, other = f"owner {uuid4()}", f"owner {uuid4()}"
    kinds = list(product(ENDINGS, TYPES, PAIRS))
    records = [
        ending(
            an_order(
                **kind,
                owner=owner,
                token_in=pair[0],
                token_out=pair[1],
                created_at=START + timedelta(seconds=number % 14),
            )
        )
        for owner in (mine, other)
        for number, (ending, kind, pair) in enumerate(kinds)
    ]
    write(postgres.url, *records)
    return mine, listed(*(record for record in records if record.order.owner == mine))


# --- one order --------------------------------------------------------------------------------------------------------

EXACT = {"amount_in": Decimal("123456789012345.123456789"), "limit_price": Decimal("148.000000000000000001")}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "order",
    [
        {},
        {"order_type": "limit", **EXACT, "expires_at": START, "time_in_force": "gtd"},
        {"min_amount_out": Decimal("0.000000001"), "max_price_impact_bps": 7, "client_order_id": "mine"},
        {"order_type": "stop", "trigger_price": Decimal("999999999999.000000000000000001")},
    ],
)
def test_an_order_is_read_as_it_was_written(
    ending: Ending, order: dict[str, Any], archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str
) -> None:
    """To the last digit, in Python and on the wire."""
    record = ending(an_order(owner=owner, **order))
    write(postgres.url, record)

    summary, events = archive.find(owner, record.order.order_id)

    assert summary == summary_of(record)
    assert summary.to_wire() == summary_of(record).to_wire()
    assert events == record.events
    assert [event.to_json() for event in events] == [event.to_json() for event in record.events]
    assert archive.page(owner, EVERY, None, 50) == [summary]


def test_an_order_that_is_not_there_or_another_owners_is_unknown(
    archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str
) -> None:
    record = confirmed(an_order(owner=owner))
    write(postgres.url, record)

    for whose, order_id in ((owner, uuid4()), ("another", record.order.order_id), ("", record.order.order_id)):
        with pytest.raises(UnknownOrder):
            archive.find(whose, order_id)


def test_the_newest_order_of_a_name_is_found_for_its_owner(
    archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str
) -> None:
    def named(days: int, whose: str = owner, name: str = "mine") -> OrderRecord:
        at = START + timedelta(days=days)
        return confirmed(an_order(owner=whose, client_order_id=name, created_at=at))

    newest = named(40)
    write(postgres.url, named(0), newest, named(31), named(80, "another"), named(90, name="other"))

    assert archive.named(owner, "mine") == summary_of(newest)
    assert archive.named(owner, "Mine") is None
    assert archive.named("nobody", "mine") is None


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), *((name,) for name in FILTERS), *combinations(FILTERS, 2)], ids=" and ".join)
@pytest.mark.parametrize("most", [2, 200])
def test_a_list_has_the_orders_that_are_wanted_newest_first(
    names: tuple[str, ...], most: int, archive: PostgresArchive, assorted: tuple[str, list[OrderSummary]]
) -> None:
    owner, orders = assorted
    wanted = OrderFilter(**{field: value for name in names for field, value in FILTERS[name].items()})
    expected = [order for order in orders if wanted.matches(order)]
    assert expected, "the filters select nothing"
    assert not names or len(expected) < len(orders)

    found = list(pages(archive, owner, wanted, most))

    assert [order for page in found for order in page] == expected
    assert {len(page) for page in found[:-1]} <= {most}


def pages(archive: PostgresArchive, owner: str, wanted: OrderFilter, most: int) -> Iterator[list[OrderSummary]]:
    """The pages of a list; more than there can be if they repeat."""
    after: Position | None = None
    for _ in range(100):
        page = archive.page(owner, wanted, after, most)
        if not page:
            break
        yield page
        after = page[-1].position


def test_the_bounds_of_a_time_are_from_inclusive_and_to_exclusive(
    archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str
) -> None:
    records = [
        confirmed(an_order(owner=owner, created_at=START + timedelta(microseconds=number))) for number in range(4)
    ]
    write(postgres.url, *records)

    found = archive.page(owner, OrderFilter(created_from=START + timedelta(microseconds=1)), None, 9)
    assert found == listed(*records[1:])
    found = archive.page(owner, OrderFilter(created_before=START + timedelta(microseconds=2)), None, 9)
    assert found == listed(*records[:2])


@pytest.mark.parametrize("most", [1, 3])
def test_pages_neither_skip_nor_repeat_while_orders_come_in(
    most: int, archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str
) -> None:
    """Between two pages come orders just before and just after the last one that was read, of the same microsecond, a
    much newer and a much older one. Those that stand after it are read, the others are not."""

    def at(created_at: datetime, order_id: int) -> OrderRecord:
        return confirmed(an_order(owner=owner, created_at=created_at, order_id=UUID(int=order_id)))

    there = [at(START + timedelta(seconds=second), uuid4().int) for second in (5, 5, 5, 5, 9, 10)]
    write(postgres.url, *there)
    read: list[OrderSummary] = []
    for number, page in enumerate(pages(archive, owner, EVERY, most)):
        read += page
        if number < 3:
            last, day = page[-1], timedelta(days=number + 1)
            after = [at(last.created_at, last.order_id.int - 1), at(START - day, uuid4().int)]
            write(postgres.url, *after, at(last.created_at, last.order_id.int + 1), at(START + day, uuid4().int))
            there += after

    assert read == listed(*there)


def test_a_position_need_not_be_an_orders(archive: PostgresArchive, postgres: EmbeddedPostgres, owner: str) -> None:
    records = [confirmed(an_order(owner=owner, created_at=START + timedelta(days=day))) for day in range(3)]
    write(postgres.url, *records)

    found = archive.page(owner, EVERY, Position(START + timedelta(days=1, hours=1), uuid4()), 9)

    assert found == listed(*records[:2])
