"""PostgreSQL's log with what the database's parameter group sets: slow statements, without their values."""

from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from order_engine.adapters.archive import PostgresArchive
from order_engine.adapters.history import PostgresHistory
from order_engine.adapters.postgres import connect_to
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.summary import OrderFilter

from local.postgres import EmbeddedPostgres
from tests.support.builders import a_record, an_order
from tests.template.reading import resources

GROUP: dict[str, str] = resources("AWS::RDS::DBParameterGroup")["DatabaseParameters"]["Properties"]["Parameters"]
# Every statement counts as slow here.
SETTINGS = {name: value for name, value in GROUP.items() if name.startswith("log_")} | {
    "log_min_duration_statement": "0"
}
TELLING = {"log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1"}


def logged_of(postgres: EmbeddedPostgres, settings: dict[str, str], value: str) -> str:
    """What the server logs of every statement of the history, and of one that fails, with a value in each."""
    before = postgres._log.stat().st_size

    def connect() -> psycopg.Connection:
        connection = connect_to(postgres.url)
        for name, setting in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, setting])
        return connection

    with closing(connect()) as connection:
        PostgresHistory(lambda: connection).record(
            record := a_record(OrderStatus.CONFIRMED, an_order(owner=value, client_order_id=value))
        )
        archive = PostgresArchive(lambda: connection)
        assert archive.find(value, record.order.order_id)[0].client_order_id == value
        assert archive.named(value, value)
        assert archive.page(value, OrderFilter(), None, 10)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / length(%s) - 1 / 0", [value])
    return postgres._log.read_text()[before:]


def test_a_statements_values_are_not_logged(postgres: EmbeddedPostgres) -> None:
    value = f"desk-{uuid4()}"

    logged = logged_of(postgres, SETTINGS, value)

    for statement in ("INSERT INTO orders", "INSERT INTO order_events", "FROM orders", "SELECT 1 / length($1)"):
        assert statement in logged
    assert value not in logged


def test_they_would_be_without_these_settings(postgres: EmbeddedPostgres) -> None:
    value = f"desk-{uuid4()}"

    assert logged_of(postgres, SETTINGS | TELLING, value).count(value) > 5
