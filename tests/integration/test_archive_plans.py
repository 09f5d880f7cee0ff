"""How PostgreSQL reads the history: every list along an index, however many orders there are."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import combinations
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from order_engine import migrations
from order_engine.adapters.archive import PostgresArchive
from order_engine.domain.errors import FailureCode, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.summary import OrderFilter, Position
from order_engine.domain.swaps import VenueName

from tests.support.history_rows import APART, LAST, Planner, fill

ORDERS = 30_000

# The index that serves each filter, alone.
FILTERS: dict[str, tuple[dict[str, Any], str]] = {
    "status": ({"status": OrderStatus.FAILED}, "orders_by_status"),
    "type": ({"order_type": "sniper"}, "orders_by_type"),
    "venue": ({"venue": VenueName.RAYDIUM}, "orders_by_venue"),
    "pair": ({"token_in": "SOL", "token_out": "BONK"}, "orders_by_pair"),
    "code": ({"code": FailureCode.VENUE_UNAVAILABLE}, "orders_by_failure"),
}
TIMES: dict[str, dict[str, Any]] = {
    "": {},
    "from": {"created_from": LAST - APART * (ORDERS // 2)},
    "to": {"created_before": LAST - APART * (ORDERS // 4)},
    "from, to": {
        "created_from": LAST - APART * (ORDERS // 2),
        "created_before": LAST - APART * (ORDERS // 4),
    },
}


@pytest.fixture(scope="module")
def many(new_database: Callable[[], str]) -> str:
    """The URL of a database with many orders."""
    url = new_database()
    migrations.apply(url)
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, ORDERS, with_events=ORDERS)
    return url


@pytest.fixture
def planner(many: str) -> Iterator[Planner]:
    with closing(Planner(many)) as planner:
        yield planner


@pytest.fixture
def archive(planner: Planner) -> PostgresArchive:
    return PostgresArchive(planner)


each_owner = pytest.mark.parametrize("owner", ["public", "small-7"])
each_position = pytest.mark.parametrize(
    "after", [None, Position(LAST - APART * (ORDERS // 3), uuid4())], ids=["first page", "later page"]
)


@each_owner
@each_position
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize(("wanted", "index"), [({}, "orders_by_owner"), *FILTERS.values()], ids=["no filter", *FILTERS])
def test_a_list_by_one_filter_is_read_in_its_order_along_one_index(
    wanted: dict[str, Any],
    index: str,
    times: dict[str, Any],
    owner: str,
    after: Position | None,
    archive: PostgresArchive,
    planner: Planner,
) -> None:
    archive.page(owner, OrderFilter(**wanted, **times), after, 50)

    assert set(planner.indexes) == {index, "order_events_pkey"}  # the second for rows without last_sequence
    assert planner.read_whole == []
    if owner == "public":  # the few orders of a small owner may be sorted
        assert not {"Sort", "Incremental Sort"} & set(planner.nodes)


@each_owner
@each_position
@pytest.mark.parametrize("names", list(combinations(FILTERS, 2)), ids=" and ".join)
def test_a_list_by_two_filters_never_reads_the_whole_table(
    names: tuple[str, str], owner: str, after: Position | None, archive: PostgresArchive, planner: Planner
) -> None:
    wanted = OrderFilter(**{field: value for name in names for field, value in FILTERS[name][0].items()})

    archive.page(owner, wanted, after, 50)

    assert planner.read_whole == []
    assert not {"orders_by_time", "orders_by_day"} & set(planner.indexes)


def test_one_order_is_read_by_its_id_and_its_events_in_their_order(archive: PostgresArchive, planner: Planner) -> None:
    order = archive.page("public", OrderFilter(status=OrderStatus.CONFIRMED), None, 1)[0]
    summary, events = archive.find("public", order.order_id)
    assert (summary, [event.sequence for event in events]) == (order, [1, 2, 3, 4, 5])
    assert set(planner.indexes) == {"orders_pkey", "order_events_pkey"}
    assert planner.read_whole == []

    with pytest.raises(UnknownOrder):
        archive.find("small-7", order.order_id)


def test_the_newest_order_of_a_name_is_the_first_of_its_index(archive: PostgresArchive, planner: Planner) -> None:
    named = next(one for one in archive.page("public", OrderFilter(), None, 50) if one.client_order_id)

    assert archive.named("public", str(named.client_order_id)) == named

    assert set(planner.indexes) == {"orders_by_name", "order_events_pkey"}
    assert not {"Sort", "Incremental Sort", "Seq Scan"} & set(planner.nodes)


@pytest.mark.parametrize("view", ["failures_by_hour", "venue_performance", "slippage_by_venue", "time_in_status"])
def test_a_view_of_one_day_reads_the_orders_of_that_day_alone(view: str, many: str, planner: Planner) -> None:
    with planner() as connection:
        query = psycopg.sql.SQL("SELECT * FROM {} WHERE day = '2025-12-31'")
        assert connection.execute(query.format(psycopg.sql.Identifier(view))).fetchall()

    assert "orders_by_day" in planner.indexes


def test_no_index_is_another_ones_beginning(many: str) -> None:
    with psycopg.connect(many) as connection:
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'orders'"
        keys = [definition.partition(" USING btree (")[2] for (definition,) in connection.execute(query)]
    for key in keys:
        columns, _, condition = key.rpartition(")")[0].partition(") WHERE ")
        longer = [other for other in keys if other != key and other.startswith(f"{columns}, ")]
        assert condition or not longer
