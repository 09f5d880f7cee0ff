"""The history read while PostgreSQL hangs, is down or has cut the connection: no reader waits longer than it may."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from order_engine import limits
from order_engine.adapters.archive import PostgresArchive
from order_engine.adapters.postgres import Connection, HistoryDatabase
from order_engine.domain.errors import HistoryUnavailable, UnknownOrder
from order_engine.domain.summary import OrderFilter

from local.postgres import EmbeddedPostgres
from tests.support.database import Connections
from tests.support.outages import Stopwatch, a_short_limit, eventually, paused

Reading = Callable[[PostgresArchive], object]
READINGS: dict[str, Reading] = {
    "find": lambda archive: archive.find("nobody", UUID(int=1)),
    "named": lambda archive: archive.named("nobody", "mine"),
    "page": lambda archive: archive.page("nobody", OrderFilter(), None, 50),
}
each_reading = pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)


def fault_of(read: Reading, archive: PostgresArchive) -> str:
    """Why the history can't be read; empty if it can."""
    try:
        read(archive)
    except HistoryUnavailable as fault:
        return str(fault)
    except UnknownOrder:
        pass
    return ""


@each_reading
def test_one_reader_in_a_pause_waits_for_a_database_that_hangs_and_no_other(
    read: Reading, postgres: EmbeddedPostgres, connections: Connections
) -> None:
    watch = Stopwatch()
    archive = PostgresArchive(connections, watch)
    assert not fault_of(read, archive)
    with paused(postgres), a_short_limit():
        assert "not done within 0.3 s" in fault_of(read, archive)
        assert {fault_of(read, archive) for _ in range(20)} == {"PostgreSQL was unavailable a moment ago"}
        assert connections.tried == 1

    def is_read() -> bool:
        watch.pass_a_pause()
        return not fault_of(read, archive)

    assert eventually(is_read)  # once the call that hung has ended


def test_a_statement_that_is_too_slow_keeps_nobody_else_from_reading(connections: Connections) -> None:
    def sleep(connection: Connection) -> None:
        connection.execute("SET statement_timeout = 20")
        connection.execute("SELECT pg_sleep(5)")

    database = HistoryDatabase(connections, Stopwatch())

    with pytest.raises(HistoryUnavailable, match="took too long"):
        database.run(sleep)

    assert database.run(lambda connection: connection.execute("SELECT 1").fetchall()) == [(1,)]


@each_reading
def test_a_database_that_is_down_is_left_alone_for_a_pause(read: Reading, connections: Connections) -> None:
    watch, tried, down = Stopwatch(), 0, True

    def connect() -> psycopg.Connection[Any]:
        nonlocal tried
        tried += 1
        if down:
            raise psycopg.OperationalError("connection refused")
        return connections()

    archive = PostgresArchive(connect, watch)
    assert "connection refused" in fault_of(read, archive)
    down = False
    assert "a moment ago" in fault_of(read, archive)
    assert tried == 1

    watch.pass_a_pause()
    assert not fault_of(read, archive)


@each_reading
def test_without_time_for_it_the_history_is_not_read(read: Reading, connections: Connections) -> None:
    archive = PostgresArchive(connections)

    with limits.invocation(lambda: limits.HISTORY - 0.1):
        assert "2.9 s are left" in fault_of(read, archive)

    assert connections.tried == 0
    assert not fault_of(read, archive)  # the database is not to blame


def test_a_connection_that_was_cut_is_opened_once_more(connections: Connections, postgres: EmbeddedPostgres) -> None:
    archive = PostgresArchive(connections)
    archive.page("nobody", OrderFilter(), None, 1)
    with psycopg.connect(postgres.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connections.opened[0].info.backend_pid])

    assert archive.page("nobody", OrderFilter(), None, 1) == []
    assert connections.tried == 2
