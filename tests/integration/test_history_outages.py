"""PostgreSQL that fails, and PostgreSQL that hangs: an order never waits for it for longer than it may."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from order_engine import limits
from order_engine.adapters.history import PostgresHistory
from order_engine.adapters.postgres import connect_over_tls, connect_to
from order_engine.domain.errors import HistoryUnavailable
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from psycopg.rows import dict_row

from local.postgres import EmbeddedPostgres
from tests.support import local_aws
from tests.support.builders import a_record
from tests.support.database import Connections, events_of, rows_of
from tests.support.outages import SLACK_SECONDS, Stopwatch, a_short_limit, eventually, paused


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


def an_outcome() -> OrderRecord:
    return a_record(OrderStatus.CONFIRMED)


def threads() -> int:
    """How many of the histories' threads there are."""
    return sum(thread.name.startswith("postgres") for thread in threading.enumerate())


def owed_within(seconds: float, history: PostgresHistory, record: OrderRecord | None = None) -> None:
    """The order is owed, which takes no longer than the seconds."""
    begun = time.monotonic()
    with pytest.raises(HistoryUnavailable):
        history.record(record or an_outcome())
    assert time.monotonic() - begun < seconds + SLACK_SECONDS


def fault_of(history: PostgresHistory, record: OrderRecord, watch: Stopwatch) -> str:
    """Why the order is owed when it is tried after a pause; empty if it is not."""
    watch.pass_a_pause()
    try:
        history.record(record)
    except HistoryUnavailable as fault:
        return str(fault)
    return ""


def is_recorded(url: str, record: OrderRecord) -> bool:
    with psycopg.connect(url, row_factory=dict_row) as database:
        return (len(rows_of(database, record)), len(events_of(database, record))) == (1, 5)


# --- a server that hangs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["short", "x" * 16_000_000], ids=["in reading", "in sending"])
def test_a_hanging_call_is_given_up_and_repeated_on_a_new_connection(
    message: str, postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    history, record = PostgresHistory(connections, watch), an_outcome()
    wordy = replace(record, events=(*record.events[:-1], record.last.model_copy(update={"message": message})))
    history.record(an_outcome())
    with paused(postgres), a_short_limit() as seconds:
        owed_within(seconds, history, wordy)
        assert eventually(lambda: connections.opened[0].closed)  # without waiting for the server
        assert connections.tried == 1

    assert eventually(lambda: not fault_of(history, record, watch))

    assert connections.tried == 2
    assert is_recorded(postgres.url, record)


@contextmanager
def silent_server() -> Iterator[Connections]:
    with local_aws.silent_service() as url:
        yield Connections(f"{url.replace('http://', 'postgresql://somebody@')}/orders")


@contextmanager
def full_backlog() -> Iterator[Connections]:
    with local_aws.black_hole() as url:
        yield Connections(f"{url.replace('http://', 'postgresql://somebody@')}/orders")


@contextmanager
def silence_after_tls_was_promised() -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """A server that says that it speaks TLS, and nothing more."""
    with pytest.MonkeyPatch.context() as environment, socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def promise() -> None:
            with suppress(OSError):  # the listener is closed
                while True:
                    accepted.append(listener.accept()[0])
                    accepted[-1].sendall(b"S")

        thread = threading.Thread(target=promise)
        thread.start()
        environment.setenv("PGPORT", str(listener.getsockname()[1]))
        try:
            yield lambda: connect_over_tls("127.0.0.1", "orders", "order_worker", "token")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in accepted:
                each.close()


@contextmanager
def a_name_that_is_never_resolved() -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    ended = threading.Event()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        ended.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")

    with pytest.MonkeyPatch.context() as system:
        system.setattr(socket, "getaddrinfo", resolve)
        try:
            yield lambda: connect_to("postgresql://somebody@database.internal/orders")
        finally:
            ended.set()


@pytest.mark.parametrize(
    "server", [silent_server, full_backlog, silence_after_tls_was_promised, a_name_that_is_never_resolved]
)
def test_a_hanging_connect_is_given_up_and_piles_nothing_up(server: Callable[[], Any], watch: Stopwatch) -> None:
    there, tried = threads(), 0

    def counted() -> psycopg.Connection[Any]:
        nonlocal tried
        tried += 1
        connection: psycopg.Connection[Any] = connect()
        return connection

    with server() as connect, a_short_limit() as seconds:
        history = PostgresHistory(counted, watch)
        for _ in range(10):
            owed_within(seconds, history)
            watch.pass_a_pause()

        assert tried == 1  # the first still hangs, and ends by a limit of its own
        assert threads() <= there + 1

    assert eventually(lambda: "still hangs" not in fault_of(history, an_outcome(), watch))


def test_a_hanging_connect_ends_by_its_own_limit() -> None:
    with silent_server() as connect, pytest.raises(HistoryUnavailable, match="connection timeout expired"):
        PostgresHistory(connect).record(an_outcome())


def test_a_connection_that_is_opened_too_late_is_closed_unused(
    postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    given_up = threading.Event()

    def late() -> psycopg.Connection[Any]:
        given_up.wait(timeout=10)
        return connections()

    history, record = PostgresHistory(late, watch), an_outcome()
    with a_short_limit() as seconds:
        owed_within(seconds, history, record)
    given_up.set()

    assert eventually(lambda: bool(connections.opened) and connections.opened[0].closed)
    assert not is_recorded(postgres.url, record)
    assert not fault_of(history, record, watch)
    assert is_recorded(postgres.url, record)


# --- the breaker ------------------------------------------------------------------------------------------------------


class Failing:
    """Connections that fail at once while it is `down`."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.down = True
        self.tried = 0

    def __call__(self) -> psycopg.Connection[Any]:
        self.tried += 1
        if self.down:
            raise psycopg.OperationalError("connection refused")
        return self.connections()


def test_after_each_failure_the_pause_is_longer_until_one_succeeds(connections: Connections, watch: Stopwatch) -> None:
    database = Failing(connections)
    history = PostgresHistory(database, watch)

    def fails_and_pauses_for(seconds: float) -> None:
        before = database.tried
        with pytest.raises(HistoryUnavailable, match="connection refused"):
            history.record(an_outcome())
        watch.seconds += seconds - 0.001
        for _ in range(20):
            with pytest.raises(HistoryUnavailable, match="a moment ago"):
                history.record(an_outcome())
        assert database.tried == before + 1
        watch.seconds += 0.002

    for seconds in (5, 10, 15, 15):
        fails_and_pauses_for(seconds)
    database.down = False
    history.record(an_outcome())
    connections.opened[0].close()
    database.down = True
    fails_and_pauses_for(5)
    database.down = False
    history.record(an_outcome())


def test_one_order_in_a_pause_waits_for_a_stopped_server_and_no_other(
    postgres: EmbeddedPostgres, connections: Connections
) -> None:
    history = PostgresHistory(connections)
    history.record(an_outcome())
    with paused(postgres), a_short_limit() as seconds:
        owed_within(seconds, history)
        begun = time.monotonic()
        for _ in range(100):
            owed_within(0, history)
        assert time.monotonic() - begun < SLACK_SECONDS
        assert connections.tried == 1


def test_without_time_for_it_the_database_is_not_tried(postgres: EmbeddedPostgres, connections: Connections) -> None:
    history, record = PostgresHistory(connections), an_outcome()

    with limits.invocation(lambda: limits.HISTORY - 0.1), pytest.raises(HistoryUnavailable, match=r"2\.9 s are left"):
        history.record(record)
    assert connections.tried == 0

    history.record(record)  # the database is not to blame
    assert is_recorded(postgres.url, record)


def test_an_order_that_waits_too_long_for_a_lock_is_owed(
    postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    def connect() -> psycopg.Connection[Any]:
        connection = connections()
        connection.execute("SET lock_timeout = '50ms'")
        return connection

    history, record = PostgresHistory(connect, watch), an_outcome()
    with psycopg.connect(postgres.url) as other:
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(HistoryUnavailable, match="lock timeout"):
            history.record(record)

    watch.pass_a_pause()
    history.record(record)

    assert is_recorded(postgres.url, record)
    assert connections.tried == 1  # the connection is as good as before


def test_orders_are_owed_while_the_server_is_down_and_written_afterwards(
    postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    history, record = PostgresHistory(connections, watch), an_outcome()
    history.record(an_outcome())
    postgres.stop()
    try:
        for _ in range(2):
            owed_within(limits.HISTORY, history, record)
            watch.pass_a_pause()
    finally:
        postgres.start()

    history.record(record)

    assert is_recorded(postgres.url, record)
