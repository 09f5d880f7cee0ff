"""The outcomes in a real PostgreSQL: exact, written once, and owed but not lost while the database is away."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from order_engine import migrations
from order_engine.adapters.history import PostgresHistory
from order_engine.domain.errors import FailureCode, HistoryUnavailable
from order_engine.domain.events import AttemptError
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from psycopg.rows import dict_row

from local.postgres import EmbeddedPostgres
from tests.support.builders import START, a_record, advanced, an_order
from tests.support.database import Connections, Database, events_of, row_of, rows_of


@pytest.fixture
def connections(postgres: EmbeddedPostgres) -> Iterator[Connections]:
    with closing(Connections(postgres.url)) as connections:
        yield connections


@pytest.fixture
def history(connections: Connections) -> PostgresHistory:
    return PostgresHistory(connections)


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A connection of the test's own."""
    with psycopg.connect(postgres.url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


# --- rows -----------------------------------------------------------------------------------------------------


def test_a_confirmed_order_has_a_row_with_everything_about_it(history: PostgresHistory, database: Database) -> None:
    record = a_record(
        OrderStatus.CONFIRMED,
        an_order(client_order_id="mine", min_amount_out=Decimal(1400), slippage_bps=50, max_price_impact_bps=250),
    )

    history.record(record)

    row = row_of(database, record)
    quotes = row.pop("quotes")
    assert row == {
        "order_id": record.order.order_id,
        "client_order_id": "mine",
        "order_type": "market",
        "token_in": "SOL",
        "token_out": "USDC",
        "amount_in": Decimal(10),
        "slippage_bps": 50,
        "max_price_impact_bps": 250,
        "min_amount_out": Decimal("1482.55"),  # the floor that was enforced, not the lower one that was asked for
        "status": "confirmed",
        "venue": "raydium",
        "tx_hash": f"tx-{record.order.order_id}-1",
        "executed_price": Decimal("148.900001"),
        "amount_out": Decimal("1489.00001"),
        "fee": Decimal("0.03"),
        "attempts": 1,
        "failure_code": None,
        "failure_reason": None,
        "created_at": START,
        "completed_at": START + timedelta(seconds=1),
    }
    assert [(quote["venue"], quote["amountOut"], quote["fee"]) for quote in quotes] == [
        ("raydium", "1490", "0.003"),
        ("meteora", "1480.000001", "0.002"),
    ]


def test_a_failed_order_has_a_row_that_says_why(history: PostgresHistory, database: Database) -> None:
    record = a_record(OrderStatus.FAILED, an_order(min_amount_out=Decimal(1500)))

    history.record(record)

    row = row_of(database, record)
    assert (row["status"], row["failure_code"], row["failure_reason"]) == (
        "failed",
        "INSUFFICIENT_LIQUIDITY",
        "too much",
    )
    assert row["min_amount_out"] == 1500
    assert row["attempts"] == 1
    missing = ("venue", "tx_hash", "executed_price", "amount_out", "fee", "quotes")
    assert [row[column] for column in missing] == [None] * len(missing)


def test_an_order_that_failed_after_it_was_routed_tells_what_was_quoted_and_paid_nothing(
    history: PostgresHistory, database: Database
) -> None:
    submitted = a_record(OrderStatus.SUBMITTED)
    error = AttemptError(attempt=1, code=FailureCode.SLIPPAGE_EXCEEDED, error="too little", timestamp=START)
    failed = advanced(submitted, OrderStatus.FAILED, START, code=error.code, error=error.error, attempts=(error,))

    history.record(failed)

    row = row_of(database, failed)
    assert (row["venue"], row["min_amount_out"]) == ("raydium", Decimal("1482.55"))
    assert len(row["quotes"]) == 2
    assert (row["tx_hash"], row["amount_out"], row["fee"]) == (None, None, None)


def test_an_order_that_failed_before_it_was_routed_has_a_row(history: PostgresHistory, database: Database) -> None:
    record = OrderRecord.accepted(an_order()).advanced(
        OrderStatus.FAILED, START, code=FailureCode.INTERNAL_ERROR, error="its workers died", attempts=()
    )

    history.record(record)

    row = row_of(database, record)
    assert (row["status"], row["attempts"], row["failure_code"]) == ("failed", 0, "INTERNAL_ERROR")


@pytest.mark.parametrize("amount", ["0.000000001", "123456789012345.123456789", "1000000000000000"])
def test_amounts_are_kept_to_the_last_digit(history: PostgresHistory, database: Database, amount: str) -> None:
    record = a_record(OrderStatus.CONFIRMED, an_order(amount_in=Decimal(amount)))

    history.record(record)

    assert row_of(database, record)["amount_in"] == Decimal(amount)
    text = database.execute(
        "SELECT amount_in::text, pg_typeof(executed_price)::text AS type FROM orders WHERE order_id = %s",
        [record.order.order_id],
    ).fetchone()
    assert text == {"amount_in": amount, "type": "numeric"}


@pytest.mark.parametrize("status", [OrderStatus.CONFIRMED, OrderStatus.FAILED])
def test_every_event_is_kept_with_its_wire_form(
    history: PostgresHistory, database: Database, status: OrderStatus
) -> None:
    record = a_record(status)

    history.record(record)

    rows = events_of(database, record)
    assert [(row["sequence"], row["status"], row["at"]) for row in rows] == [
        (event.sequence, event.status, event.timestamp) for event in record.events
    ]
    assert [type(event).model_validate(row["details"]) for row, event in zip(rows, record.events, strict=True)] == list(
        record.events
    )


def test_recording_again_changes_nothing(history: PostgresHistory, database: Database) -> None:
    record = a_record(OrderStatus.CONFIRMED)
    history.record(record)
    before = rows_of(database, record), events_of(database, record)

    history.record(record)

    assert (rows_of(database, record), events_of(database, record)) == before


def test_many_workers_recording_one_order_at_once_write_it_once(postgres: EmbeddedPostgres, database: Database) -> None:
    record = a_record(OrderStatus.CONFIRMED)

    def record(_: int) -> None:
        with closing(Connections(postgres.url)) as connections:
            PostgresHistory(connections).record(record)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))

    assert len(rows_of(database, record)) == 1
    assert len(events_of(database, record)) == 5


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "pending"), ("amount_in", 0), ("tx_hash", None), ("failure_code", "INTERNAL_ERROR")],
)
def test_the_database_itself_refuses_an_outcome_that_can_not_be(
    history: PostgresHistory, database: Database, column: str, value: object
) -> None:
    record = a_record(OrderStatus.CONFIRMED)
    history.record(record)
    update = psycopg.sql.SQL("UPDATE orders SET {} = %s WHERE order_id = %s").format(psycopg.sql.Identifier(column))

    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute(update, [value, record.order.order_id])


# --- the connection -------------------------------------------------------------------------------------------


def test_one_connection_serves_many_orders_and_is_opened_by_the_first(
    history: PostgresHistory, connections: Connections
) -> None:
    assert connections.tried == 0

    for _ in range(3):
        history.record(a_record(OrderStatus.CONFIRMED))

    assert connections.tried == 1


def test_every_connection_has_time_limits_and_speaks_utc(connections: Connections) -> None:
    shown = {
        name: (connections().execute(f"SHOW {name}").fetchone() or [None])[0]
        for name in ("statement_timeout", "lock_timeout", "timezone")
    }

    assert shown == {"statement_timeout": "5s", "lock_timeout": "2s", "timezone": "UTC"}
    assert connections.opened[0].info.get_parameters()["connect_timeout"] == "2"


def test_a_connection_that_was_cut_is_opened_once_more_and_the_order_recorded(
    history: PostgresHistory, connections: Connections, database: Database
) -> None:
    history.record(a_record(OrderStatus.CONFIRMED))
    database.execute("SELECT pg_terminate_backend(%s)", [connections.opened[0].info.backend_pid])
    record = a_record(OrderStatus.CONFIRMED)

    history.record(record)

    assert connections.tried == 2
    assert connections.opened[0].closed
    assert len(rows_of(database, record)) == 1


def test_an_order_whose_writing_broke_off_leaves_nothing_behind(history: PostgresHistory, database: Database) -> None:
    record = a_record(OrderStatus.CONFIRMED)
    twisted = OrderRecord(
        record.order, (*record.events[:3], record.events[3].model_copy(update={"status": None}), record.events[4])
    )

    with pytest.raises(HistoryUnavailable, match="refuses the row"):
        history.record(twisted)

    assert rows_of(database, record) == []
    history.record(record)
    assert len(events_of(database, record)) == 5


@pytest.mark.parametrize("twist", [{"status": None}, {"message": "no \x00 in jsonb"}], ids=["integrity", "data"])
def test_an_order_that_the_database_refuses_keeps_no_other_one_waiting(
    twist: dict[str, Any], history: PostgresHistory, connections: Connections, database: Database
) -> None:
    refused, others = a_record(OrderStatus.CONFIRMED), [a_record(OrderStatus.CONFIRMED) for _ in range(3)]
    refused = OrderRecord(refused.order, (*refused.events[:-1], refused.last.model_copy(update=twist)))

    for other in others:
        with pytest.raises(HistoryUnavailable, match="refuses the row"):
            history.record(refused)
        history.record(other)

    assert [len(rows_of(database, one)) for one in (refused, *others)] == [0, 1, 1, 1]
    assert connections.tried == 1


# --- migrations -----------------------------------------------------------------------------------------------


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres, database: Database) -> str:
    name = f"empty_{uuid4().hex}"
    database.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return postgres.url.rpartition("/")[0] + f"/{name}"


def test_migrations_make_an_empty_database_ready_for_orders(empty_database: str) -> None:
    applied = migrations.apply(empty_database)

    assert applied == ["0001_orders", "0002_max_price_impact"]
    with closing(Connections(empty_database)) as connections:
        PostgresHistory(connections).record(a_record(OrderStatus.CONFIRMED))


def test_rows_of_the_release_before_a_ceiling_have_the_default_one(
    empty_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first was written before the migration, the second by a worker that is still of that release after it."""
    shutil.copy(Path(migrations.__file__).with_name("0001_orders.sql"), tmp_path)
    insert = """
        INSERT INTO orders (order_id, order_type, token_in, token_out, amount_in, slippage_bps, status, attempts,
                            failure_code, failure_reason, created_at, completed_at)
        VALUES (gen_random_uuid(), 'market', 'SOL', 'USDC', 10, 50, 'failed', 1,
                'ORDER_EXPIRED', 'too old', now(), now())
    """
    with psycopg.connect(empty_database, autocommit=True) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "__file__", str(tmp_path / "__init__.py"))
            assert migrations.apply(empty_database) == ["0001_orders"]
        connection.execute(insert)

        assert migrations.apply(empty_database) == ["0002_max_price_impact"]

        connection.execute(insert)
        rows = connection.execute("SELECT max_price_impact_bps FROM orders").fetchall()
    assert rows == [(1000,), (1000,)]


def test_migrations_applied_again_find_nothing_to_do(empty_database: str) -> None:
    first = migrations.apply(empty_database)

    assert migrations.apply(empty_database) == []
    with psycopg.connect(empty_database) as connection:
        versions = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
    assert [version for (version,) in versions] == first


def test_of_two_migrations_at_once_one_does_the_work(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrations.apply(empty_database), range(4)))

    assert sorted(bool(versions) for versions in applied) == [False, False, False, True]


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("CREATE TABLE order_events (is_in_the_way int)")

        with pytest.raises(psycopg.errors.DuplicateTable):
            migrations.apply(empty_database)

        left = connection.execute("SELECT to_regclass('orders'), to_regclass('schema_migrations')").fetchone()
        assert left == (None, None)
