"""The views for post-mortems, held against sums by hand; and how old rows leave."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from order_engine import migrations
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from tests.support.database import Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
_ORDER = """
    INSERT INTO orders (order_id, owner, order_type, token_in, token_out, amount_in, slippage_bps, status, venue,
                        tx_hash, executed_price, amount_out, attempts, failure_code, quotes, created_at, completed_at)
    VALUES (%(order_id)s, %(owner)s, %(order_type)s, 'SOL', %(bought)s, 10, 50, %(status)s, %(venue)s, %(tx_hash)s,
            %(amount_out)s, %(amount_out)s, 1, %(code)s, %(quotes)s, %(completed_at)s, %(completed_at)s)
"""


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    """The URL of a database of these tests' own, since views show everybody's orders."""
    url = new_database()
    migrations.apply(url)
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The same, empty."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("TRUNCATE orders, order_events")
        yield connection


def add(database: Database, at: datetime = NOON, **fields: Any) -> UUID:
    """Write an order that ended at a moment, confirmed where it has an amount_out; `quotes` are amounts by venue."""
    order_id = uuid4()
    quotes = [{"venue": venue, "amountOut": amount} for venue, amount in fields.pop("quotes", {}).items()]
    columns = {
        "order_id": order_id,
        "owner": "public",
        "order_type": "market",
        "bought": "USDC",
        "completed_at": at,
        **dict.fromkeys(("venue", "tx_hash", "amount_out", "code")),
        **({"status": "confirmed", "tx_hash": "tx"} if "amount_out" in fields else {"status": "cancelled"}),
        "quotes": Jsonb(quotes) if quotes else None,
    }
    database.execute(_ORDER, {**columns, **fields})
    return order_id


def live(database: Database, order_id: UUID, *life: tuple[str, float]) -> None:
    """Write an order's events: each status, and at which second it came."""
    for sequence, (status, second) in enumerate(life, 1):
        values = [order_id, sequence, status, NOON + timedelta(seconds=second)]
        database.execute("INSERT INTO order_events VALUES (%s, %s, %s, %s, '{}')", values)


def test_failures_are_counted_by_the_hour_of_their_end_and_by_code(database: Database) -> None:
    def fail(at: datetime, code: str, owner: str, status: str = "failed") -> None:
        add(database, at, code=code, owner=owner, status=status)

    fail(NOON, "NO_POOL", "a")
    fail(NOON + timedelta(minutes=59, seconds=59), "NO_POOL", "a")
    fail(NOON + timedelta(minutes=1), "NO_POOL", "b")
    fail(NOON + timedelta(minutes=1), "NO_POOL", "b", status="expired")
    fail(NOON + timedelta(minutes=1), "RATE_LIMITED", "b")
    fail(NOON + timedelta(hours=12), "NO_POOL", "a")
    add(database)

    rows = database.execute("SELECT * FROM failures_by_hour ORDER BY hour, code, status").fetchall()

    assert [tuple(row.values()) for row in rows] == [
        (FIRST, NOON, "expired", "NO_POOL", 1, 1),
        (FIRST, NOON, "failed", "NO_POOL", 3, 2),
        (FIRST, NOON, "failed", "RATE_LIMITED", 1, 1),
        (SECOND, NOON + timedelta(hours=12), "failed", "NO_POOL", 1, 1),
    ]


def test_the_day_and_the_hour_are_utc_whatever_the_session_speaks(database: Database) -> None:
    database.execute("SET timezone = 'Asia/Kolkata'")
    add(database, NOON + timedelta(hours=11), code="NO_POOL", status="failed")

    row = database.execute("SELECT * FROM failures_by_hour").fetchall()[0]

    assert (row["day"], row["hour"]) == (FIRST, NOON + timedelta(hours=11))


@pytest.mark.parametrize("view", ["venue_performance", "slippage_by_venue"])
def test_a_quote_of_nothing_breaks_no_view(database: Database, view: str) -> None:
    add(database, quotes={"raydium": "0", "meteora": "0"}, venue="raydium", amount_out=1)
    add(database, quotes={"raydium": "7", "meteora": "5"}, venue="raydium", amount_out=7)

    assert database.execute(SQL("SELECT * FROM {}").format(Identifier(view))).fetchall()


def test_a_venues_performance_is_what_it_won_and_by_how_much(database: Database) -> None:
    both = {"raydium": "1010", "meteora": "1000"}
    add(database, quotes=both, venue="raydium", amount_out=1)  # won by 100 bps
    add(database, quotes={"raydium": "1005", "meteora": "1000"}, venue="raydium", code="NO_POOL", status="failed")  # 50
    add(database, quotes={"raydium": "1000", "meteora": "1001"}, venue="meteora", amount_out=1)  # 10
    add(database, quotes={"raydium": "7"}, venue="raydium", amount_out=1)  # not contested
    add(database, quotes=both, venue="raydium", amount_out=1, bought="BONK")
    add(database, NOON + timedelta(days=1), quotes=both, venue="raydium", amount_out=1)
    add(database)  # never routed

    rows = database.execute("SELECT * FROM venue_performance ORDER BY day, token_out DESC, venue").fetchall()

    won_all, lost_all = (1, 1, 1, Decimal(1), Decimal(100)), (1, 1, 0, Decimal(0), None)
    assert [tuple(row.values()) for row in rows] == [
        (FIRST, "meteora", "SOL", "USDC", 3, 3, 1, Decimal("0.3333"), Decimal(10)),
        (FIRST, "raydium", "SOL", "USDC", 4, 3, 3, Decimal("0.6667"), Decimal(75)),
        (FIRST, "meteora", "SOL", "BONK", *lost_all),
        (FIRST, "raydium", "SOL", "BONK", *won_all),
        (SECOND, "meteora", "SOL", "USDC", *lost_all),
        (SECOND, "raydium", "SOL", "USDC", *won_all),
    ]


def test_slippage_is_what_a_swap_gave_less_than_its_venue_quoted(database: Database) -> None:
    for bps in range(101):  # 0 to 100 bps
        received = Decimal(1000) - Decimal(bps) / 10
        add(database, quotes={"raydium": "1000", "meteora": "900"}, venue="raydium", amount_out=received)
    add(database, quotes={"raydium": "1", "meteora": "1000"}, venue="meteora", amount_out=1001)
    add(database, quotes={"raydium": "1000"}, venue="raydium", code="NO_POOL", status="failed")  # nothing received

    rows = database.execute("SELECT * FROM slippage_by_venue ORDER BY venue").fetchall()

    assert [tuple(row.values()) for row in rows] == [
        (FIRST, "meteora", 1, Decimal(-10), Decimal(-10), Decimal(-10)),
        (FIRST, "raydium", 101, Decimal(50), Decimal(95), Decimal(99)),
    ]


def test_the_time_in_a_status_lasts_until_the_next_one(database: Database) -> None:
    for second in range(101):
        waiting = add(database, order_type="limit", status="cancelled")
        live(database, waiting, ("pending", -1), ("open", 0), ("cancelled", second))
    again = add(database, amount_out=1)
    live(database, again, ("pending", 0), ("routing", 0.25), ("routing", 1.25), ("building", 4.25), ("confirmed", 4.5))

    rows = database.execute("SELECT * FROM time_in_status ORDER BY order_type DESC, status").fetchall()

    quarter, one = Decimal("0.25"), Decimal(1)
    assert [tuple(row.values()) for row in rows] == [
        (FIRST, "building", "market", 1, quarter, quarter, quarter),
        (FIRST, "pending", "market", 1, quarter, quarter, quarter),
        (FIRST, "routing", "market", 2, Decimal(2), Decimal("2.9"), Decimal("2.98")),
        (FIRST, "open", "limit", 101, Decimal(50), Decimal(95), Decimal(99)),
        (FIRST, "pending", "limit", 101, one, one, one),
    ]


@pytest.mark.parametrize("view", ["failures_by_hour", "venue_performance", "slippage_by_venue", "time_in_status"])
def test_each_view_says_what_it_shows(view: str, database: Database) -> None:
    row = database.execute("SELECT obj_description(%s::regclass) AS comment", [view]).fetchone()
    assert row and row["comment"]


# --- old rows ---------------------------------------------------------------------------------------------------------

NOW = datetime.now(UTC)


def aged(database: Database, days: float) -> UUID:
    """An order that ended so many days ago, with two events."""
    order_id = add(database, NOW - timedelta(days=days))
    live(database, order_id, ("pending", 0), ("cancelled", 1))
    return order_id


def prune(database: Database, *arguments: object) -> object:
    """Delete what is older than 30 days. Return how many orders."""
    row = database.execute("SELECT prune_orders(%s, %s) AS pruned", ["30 days", *(arguments or [10_000])]).fetchone()
    return row and row["pruned"]


def left(database: Database) -> set[UUID]:
    """The orders that are left; each has its two events, and no other order has any."""
    rows = database.execute(
        "SELECT order_id, count(orders.order_id) AS orders, count(sequence) AS events"
        " FROM orders FULL JOIN order_events USING (order_id) GROUP BY order_id"
    ).fetchall()
    assert {(row["orders"], row["events"]) for row in rows} <= {(2, 2)}
    return {row["order_id"] for row in rows}


def test_the_oldest_orders_leave_first_with_their_events_and_recent_ones_stay(database: Database) -> None:
    order = {days: aged(database, days) for days in (29.99, 31, 0, 30.01, 400, 32)}

    assert prune(database, 2) == 2
    assert left(database) == {order[days] for days in (29.99, 31, 0, 30.01)}
    assert prune(database, 1) == 1
    assert left(database) == {order[days] for days in (29.99, 0, 30.01)}
    assert prune(database) == 1
    assert left(database) == {order[29.99], order[0]}
    assert prune(database) == 0


@pytest.mark.parametrize("arguments", ["NULL", "'30 days', NULL"])
def test_without_an_age_or_a_number_nothing_leaves(arguments: str, database: Database) -> None:
    kept = aged(database, 400)

    database.execute(psycopg.sql.SQL("SELECT prune_orders({})").format(psycopg.sql.SQL(arguments)))

    assert left(database) == {kept}


def test_an_order_that_is_being_written_stays_and_holds_nothing_up(url: str, database: Database) -> None:
    """A worker that writes an old order's events again has its row locked."""
    written, old = aged(database, 400), aged(database, 300)
    database.execute("SET lock_timeout = '2s'")
    with psycopg.connect(url) as worker:
        worker.execute("INSERT INTO order_events VALUES (%s, 3, 'expired', now(), '{}')", [written])

        assert prune(database) == 1

        worker.rollback()
    assert left(database) == {written}
    assert prune(database) == 1
    assert old not in left(database)


def test_two_at_a_time_delete_each_order_once(url: str, database: Database) -> None:
    kept = aged(database, 1)
    for days in range(200):
        aged(database, 100 + days)
    pruned: list[int] = []

    def delete() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while some := connection.execute("SELECT prune_orders('30 days', 7)").fetchall()[0][0]:
                pruned.append(some)

    threads = [threading.Thread(target=delete) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(pruned) == 200
    assert left(database) == {kept}


def test_pruning_reads_the_old_orders_alone(database: Database) -> None:
    """Whatever the table's size: by the index, in its order, as far as it must."""
    database.execute(
        "INSERT INTO orders (order_id, order_type, token_in, token_out, amount_in, slippage_bps, status, attempts,"
        " created_at, completed_at) SELECT gen_random_uuid(), 'market', 'SOL', 'USDC', 1, 50, 'cancelled', 1,"
        " now() - n * interval '1 hour', now() - n * interval '1 hour' FROM generate_series(1, 5000) AS n"
    )
    database.execute("ANALYZE orders")
    source = database.execute("SELECT prosrc FROM pg_proc WHERE proname = 'prune_orders'").fetchall()[0]["prosrc"]
    statement = source.replace("older_than", "interval '100 days'").replace("most", "10")

    plan = str(database.execute(psycopg.sql.SQL("EXPLAIN {}").format(psycopg.sql.SQL(statement))).fetchall())

    assert "Index Scan using orders_by_day" in plan
    assert "Seq Scan on order" not in plan
    assert "Sort" not in plan
