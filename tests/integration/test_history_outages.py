"""PostgreSQL that fails, and PostgreSQL that hangs: an order never waits for it for longer than it may."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
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
from tests.support.builders import a_record
from tests.support.database import Connections, events_of, rows_of

SLACK_SECONDS = 1.0  # what a busy machine may add to a limit


class Stopwatch:
    """The breaker's clock, which only a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_a_pause(self) -> None:
        """Longer than nothing is ever tried for."""
        self.seconds += 15.001


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def connections(postgres: EmbeddedPostgres) -> Iterator[Connections]:
    with closing(Connections(postgres.url)) as connections:
        yield connections


def an_outcome() -> OrderRecord:
    return a_record(OrderStatus.CONFIRMED)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


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


@contextmanager
def a_short_limit() -> Iterator[float]:
    """A limit that doesn't make tests long; only while something hangs, since a busy machine may need more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HISTORY", 0.3)
        yield limits.HISTORY


@contextmanager
def paused(server: EmbeddedPostgres) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


# --- a server that hangs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["short", "x" * 16_000_000], ids=["in reading", "in sending"])
def test_an_open_connection_to_a_server_that_was_stopped_is_given_up_in_time_and_a_new_one_made(
    message: str, postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    history, record = PostgresHistory(connections, watch), an_outcome()
    wordy = OrderRecord(record.order, (*record.events[:-1], record.last.model_copy(update={"message": message})))
    history.record(an_outcome())
    with paused(postgres), a_short_limit() as seconds:
        owed_within(seconds, history, wordy)
        assert eventually(lambda: connections.opened[0].closed)  # without waiting for the server
        assert connections.tried == 1

    assert eventually(lambda: not fault_of(history, record, watch))

    assert connections.tried == 2
    assert is_recorded(postgres.url, record)


def test_an_order_waits_for_a_server_that_was_stopped_for_no_longer_than_the_limit_says(
    postgres: EmbeddedPostgres, connections: Connections
) -> None:
    history = PostgresHistory(connections)
    history.record(an_outcome())
    with paused(postgres):
        owed_within(3, history)


@contextmanager
def black_hole() -> Iterator[Connections]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Connections(f"postgresql://somebody@127.0.0.1:{listener.getsockname()[1]}/orders")


@contextmanager
def full_backlog() -> Iterator[Connections]:
    """A server for which too many wait already, so that connecting hangs."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        waiting = True
        while waiting:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.1)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                waiting = False
        yield Connections(f"postgresql://somebody@127.0.0.1:{listener.getsockname()[1]}/orders")


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
        yield lambda: connect_over_tls("127.0.0.1", "orders", "order_worker", "token")
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
        yield lambda: connect_to("postgresql://somebody@database.internal/orders")
        ended.set()


@pytest.mark.parametrize(
    "server", [black_hole, full_backlog, silence_after_tls_was_promised, a_name_that_is_never_resolved]
)
def test_a_connection_that_can_not_be_opened_is_given_up_in_time_and_piles_nothing_up(
    server: Callable[[], Any], watch: Stopwatch
) -> None:
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


def test_a_server_that_hangs_while_connecting_fails_by_the_connections_own_limit(watch: Stopwatch) -> None:
    with black_hole() as connect:
        history = PostgresHistory(connect, watch)
        with pytest.raises(HistoryUnavailable, match="connection timeout expired"):
            history.record(an_outcome())


def test_a_connection_that_is_opened_too_late_is_closed_unused(
    postgres: EmbeddedPostgres, connections: Connections, watch: Stopwatch
) -> None:
    given_up = threading.Event()

    def late() -> psycopg.Connection[Any]:
        given_up.wait()
        return connections()

    history, record = PostgresHistory(late, watch), an_outcome()
    with a_short_limit() as seconds:
        owed_within(seconds, history, record)
    given_up.set()

    assert eventually(lambda: bool(connections.opened) and connections.opened[0].closed)
    assert not is_recorded(postgres.url, record)
    assert eventually(lambda: not fault_of(history, record, watch))
    assert is_recorded(postgres.url, record)


# --- the breaker ----------------------------------------------------------------------------------------------


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


def test_after_each_failure_nothing_is_tried_for_longer_until_one_succeeds(
    connections: Connections, watch: Stopwatch
) -> None:
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


def test_while_a_server_is_stopped_one_order_in_a_pause_waits_for_it_and_no_other(
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


def test_an_invocation_that_has_no_time_left_for_it_leaves_the_database_alone(
    postgres: EmbeddedPostgres, connections: Connections
) -> None:
    history, record = PostgresHistory(connections), an_outcome()

    with limits.invocation(lambda: limits.HISTORY - 0.1), pytest.raises(HistoryUnavailable, match=r"2\.9 s are left"):
        history.record(record)
    assert connections.tried == 0

    history.record(record)  # the database is not to blame
    assert is_recorded(postgres.url, record)


def test_an_order_that_waits_for_a_lock_too_long_is_owed(
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


def test_while_the_server_is_down_orders_are_owed_and_once_it_is_back_written(
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
