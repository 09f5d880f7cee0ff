"""The outcomes in a real PostgreSQL: exact, and written once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from order_engine.adapters.history import PostgresHistory
from order_engine.domain.errors import FailureCode, HistoryUnavailable
from order_engine.domain.events import AttemptError
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord

from local.postgres import EmbeddedPostgres
from tests.doubles import services as double
from tests.support.builders import START, a_limit, a_record, advanced, an_order
from tests.support.database import Connections, Database, events_of, row_of, rows_of


@pytest.fixture
def history(connections: Connections) -> PostgresHistory:
    return PostgresHistory(connections)


def confirmed(**order: Any) -> OrderRecord:
    return a_record(OrderStatus.CONFIRMED, an_order(**order))


def twisted(record: OrderRecord, position: int, **changes: Any) -> OrderRecord:
    """The record with another event, such as can't be."""
    events = list(record.events)
    events[position] = events[position].model_copy(update=changes)
    return replace(record, events=tuple(events))


def failed_after_submitting() -> OrderRecord:
    submitted = a_record(OrderStatus.SUBMITTED)
    error = AttemptError(attempt=1, code=FailureCode.SLIPPAGE_EXCEEDED, error="too little", timestamp=START)
    return advanced(submitted, OrderStatus.FAILED, START, code=error.code, error=error.error, attempts=(error,))


def a_stop(trigger: str) -> Order:
    return an_order(order_type="stop", trigger_price=Decimal(trigger))


NOTHING_PAID: dict[str, Any] = dict.fromkeys(("tx_hash", "executed_price", "amount_out", "fee"))
NOTHING_ROUTED: dict[str, Any] = {**NOTHING_PAID, "venue": None, "quotes": None}
TOO_MUCH = {"status": "failed", "failure_code": "INSUFFICIENT_LIQUIDITY", "failure_reason": "too much"}


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        (
            a_record(OrderStatus.CONFIRMED, a_limit("148.000000000000000001", expires_at=START)),
            {
                "order_type": "limit",
                "limit_price": Decimal("148.000000000000000001"),
                "trigger_price": None,
                "expires_at": START,
                "time_in_force": "gtc",
                "attempts": 1,
            },
        ),
        (
            advanced(a_record(OrderStatus.OPEN, a_stop("999999999999.000000000000000001")), OrderStatus.CANCELLED),
            {
                "order_type": "stop",
                "limit_price": None,
                "trigger_price": Decimal("999999999999.000000000000000001"),
                "status": "cancelled",
                "attempts": 0,
            },
        ),
        (
            advanced(a_record(OrderStatus.OPEN, an_order(order_type="sniper")), OrderStatus.EXPIRED),
            {"order_type": "sniper", "limit_price": None, "trigger_price": None, "failure_code": "ORDER_EXPIRED"},
        ),
        (
            confirmed(client_order_id="mine", owner="acme", min_amount_out=Decimal(1400), max_price_impact_bps=250),
            {
                "owner": "acme",
                "client_order_id": "mine",
                "order_type": "market",
                "token_in": "SOL",
                "token_out": "USDC",
                "amount_in": Decimal(10),
                "slippage_bps": 50,
                "max_price_impact_bps": 250,
                "min_amount_out": Decimal("1482.55"),  # the floor that was enforced, not the lower one asked for
                "min_amount_out_asked": Decimal(1400),
                "status": "confirmed",
                "venue": "raydium",
                "executed_price": Decimal("148.900001"),
                "amount_out": Decimal("1489.00001"),
                "fee": Decimal("0.03"),
                "attempts": 1,
                "last_sequence": 5,
                "failure_code": None,
                "failure_reason": None,
                "created_at": START,
                "completed_at": START + timedelta(seconds=1),
            },
        ),
        (
            a_record(OrderStatus.FAILED, an_order(min_amount_out=Decimal(1500))),
            {**TOO_MUCH, **NOTHING_ROUTED, "min_amount_out": Decimal(1500), "attempts": 1},
        ),
        (
            failed_after_submitting(),
            {
                "venue": "raydium",
                "min_amount_out": Decimal("1482.55"),
                "min_amount_out_asked": None,
                "attempts": 1,
                **NOTHING_PAID,
            },
        ),
        (
            advanced(a_record(), OrderStatus.FAILED, START, attempts=()),
            {**TOO_MUCH, **NOTHING_ROUTED, "min_amount_out": None, "attempts": 0},
        ),
        (
            a_record(OrderStatus.CANCELLED),
            {"status": "cancelled", **NOTHING_ROUTED, "failure_code": None, "attempts": 1, "time_in_force": "gtc"},
        ),
        (
            a_record(OrderStatus.EXPIRED, an_order(time_in_force="gtd", expires_at=START)),
            {"status": "expired", "failure_code": "ORDER_EXPIRED", "time_in_force": "gtd", "expires_at": START},
        ),
    ],
    ids=[
        *("limit", "stop", "sniper"),
        "confirmed",
        "failed while routing",
        "failed after submitting",
        "given up before routing",
        "cancelled",
        "expired",
    ],
)
def test_an_outcome_has_one_row_and_one_for_each_event(
    history: PostgresHistory, database: Database, record: OrderRecord, columns: dict[str, Any]
) -> None:
    """And they are those that the double keeps."""
    for _ in range(2):  # writing them again changes nothing
        history.record(record)

        row, expected = row_of(database, record), double.row_of(record)
        assert {name: row[name] for name in columns} == columns
        assert row == {**expected, "order_id": record.order.order_id}
        events = [(event.order_id, event.sequence, event.status, event.timestamp) for event in record.events]
        rows = events_of(database, record)
        assert [(one["order_id"], one["sequence"], one["status"], one["at"]) for one in rows] == events
        assert [one["details"] for one in rows] == [double.parsed(event.to_json()) for event in record.events]


def test_a_row_has_the_quotes_and_the_transaction(history: PostgresHistory, database: Database) -> None:
    record = confirmed()

    history.record(record)

    row = row_of(database, record)
    assert row["tx_hash"] == f"tx-{record.order.order_id}-1"
    quotes = [(quote["venue"], quote["amountOut"], quote["fee"]) for quote in row["quotes"]]
    assert quotes == [("raydium", "1490", "0.003"), ("meteora", "1480.000001", "0.002")]


@pytest.mark.parametrize("amount", ["0.000000001", "123456789012345.123456789", "1000000000000000"])
def test_amounts_are_kept_to_the_last_digit(history: PostgresHistory, database: Database, amount: str) -> None:
    record = confirmed(amount_in=Decimal(amount))

    history.record(record)

    query = "SELECT amount_in::text, pg_typeof(executed_price)::text AS type FROM orders WHERE order_id = %s"
    stored = database.execute(query, [record.order.order_id]).fetchone()
    assert stored == {"amount_in": amount, "type": "numeric"}


def test_many_workers_recording_one_order_at_once_write_it_once(postgres: EmbeddedPostgres, database: Database) -> None:
    record = confirmed()

    def write(_: int) -> None:
        with closing(Connections(postgres.url)) as connections:
            PostgresHistory(connections).record(record)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))

    assert (len(rows_of(database, record)), len(events_of(database, record))) == (1, 5)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "pending"),
        ("amount_in", 0),
        ("tx_hash", None),
        ("failure_code", "INTERNAL_ERROR"),
        ("limit_price", 0),
        ("trigger_price", -1),
    ],
)
def test_the_database_itself_refuses_an_impossible_outcome(
    history: PostgresHistory, database: Database, column: str, value: object
) -> None:
    record = confirmed(order_type="limit", limit_price=Decimal(148))
    history.record(record)
    update = psycopg.sql.SQL("UPDATE orders SET {} = %s WHERE order_id = %s").format(psycopg.sql.Identifier(column))

    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute(update, [value, record.order.order_id])


# --- the connection ---------------------------------------------------------------------------------------------------


def test_one_connection_serves_many_orders_and_is_opened_by_the_first(
    history: PostgresHistory, connections: Connections
) -> None:
    assert connections.tried == 0

    for _ in range(3):
        history.record(confirmed())

    assert connections.tried == 1


def test_every_connection_has_time_limits_and_speaks_utc(connections: Connections) -> None:
    connection = connections()

    shown = [
        connection.execute(f"SHOW {name}").fetchone() for name in ("statement_timeout", "lock_timeout", "timezone")
    ]

    assert shown == [("2500ms",), ("2s",), ("UTC",)]
    assert connection.info.get_parameters()["connect_timeout"] == "2"


def test_a_connection_that_was_cut_is_opened_once_more(
    history: PostgresHistory, connections: Connections, database: Database
) -> None:
    history.record(confirmed())
    database.execute("SELECT pg_terminate_backend(%s)", [connections.opened[0].info.backend_pid])
    record = confirmed()

    history.record(record)

    assert connections.tried == 2
    assert connections.opened[0].closed
    assert len(rows_of(database, record)) == 1


@pytest.mark.parametrize(
    ("position", "twist"),
    [(3, {"status": None}), (-1, {"message": "no \x00 in jsonb"})],
    ids=["integrity", "data"],
)
def test_a_refused_order_leaves_nothing_behind_and_holds_up_no_other(
    position: int, twist: dict[str, Any], history: PostgresHistory, connections: Connections, database: Database
) -> None:
    record, others = confirmed(), [confirmed() for _ in range(3)]

    for other in others:
        with pytest.raises(HistoryUnavailable, match="refuses the values"):
            history.record(twisted(record, position, **twist))
        history.record(other)

    assert [len(rows_of(database, one)) for one in (record, *others)] == [0, 1, 1, 1]
    assert connections.tried == 1
    history.record(record)
    assert len(events_of(database, record)) == 5
