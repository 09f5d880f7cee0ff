"""Connections to PostgreSQL: one set of time limits for all of them, on both sides, and a circuit breaker."""

import math
import os
import socket
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

import psycopg

from order_engine import limits
from order_engine.domain.errors import HistoryUnavailable, OutOfTime, ServiceUnavailable

Connection = psycopg.Connection[Any]
R = TypeVar("R")

# Circuit breaker: the pause after the first failure, longer by as much after each further one.
_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0

_LIMITS: dict[str, Any] = {
    "connect_timeout": 2,
    # Less than limits.HISTORY, so that of a statement which is too slow the database itself says so.
    "options": "-c statement_timeout=2500 -c lock_timeout=2000 -c timezone=UTC",
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
_ROOTS = Path(__file__).with_name("rds_roots.pem")


def connect_to(url: str) -> Connection:
    """Open a connection with the engine's time limits."""
    return psycopg.connect(url, autocommit=True, **_LIMITS)


def connect_over_tls(host: str, database: str, user: str, password: str) -> Connection:
    """Open a connection to an RDS database, whose certificate must be RDS's own and for this host.

    `password` is the user's, or the token that IAM authentication takes for one.
    """
    return psycopg.connect(
        host=host,
        dbname=database,
        user=user,
        password=password,
        sslmode="verify-full",
        sslrootcert=str(_ROOTS),
        autocommit=True,
        **_LIMITS,
    )


class BoundedConnection:
    """One connection, opened when first needed and opened once more when it broke. Its caller never waits for longer
    than it says, whatever hangs.

    A server that is stopped, or behind a network that drops packets, heeds no time limit of its own, and libpq waits
    for it without one. So the work runs on a thread, of which there is one. When the time is over, its socket is shut
    down, which ends the waiting. A name that is being resolved and a connection that is being opened end by limits of
    their own; until then nothing new is begun. For one caller at a time.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="postgres")
        self._running: Future[Any] | None = None
        self._abandoned = Event()
        self._connection: Connection | None = None  # the thread's alone
        self._socket: socket.socket | None = None
        self._closing = Lock()

    def run(self, work: Callable[[Connection], R], seconds: float) -> R:
        """Do the work and return what it returns; if the open connection has broken, do it again over a new one.

        Raises TimeoutError if it is not done after `seconds`; it may take effect all the same. Raises what `work` and
        `connect` raise."""
        if self._running and not self._running.done():
            raise TimeoutError("an earlier call still hangs")
        self._abandoned.clear()
        self._running = running = self._thread.submit(self._attempt, work)
        wait([running], timeout=seconds)
        if not running.done():
            self._abandon()
            raise TimeoutError(f"not done within {seconds:g} s")
        return running.result()

    def _abandon(self) -> None:
        self._abandoned.set()
        with self._closing, suppress(OSError):  # the server may have closed it
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _attempt(self, work: Callable[[Connection], R]) -> R:
        try:
            if self._connection:
                try:
                    return work(self._connection)
                except psycopg.OperationalError:
                    if not self._connection.closed or self._abandoned.is_set():
                        raise
                    self._close()
            return work(self._open())
        finally:
            if self._connection and self._connection.closed:
                self._close()

    def _open(self) -> Connection:
        self._connection = connection = self._connect()
        # A descriptor of our own: libpq closes its own without a word, and the number may be another socket's then.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        weakref.finalize(connection, self._socket.close)
        if self._abandoned.is_set():
            connection.close()
            raise TimeoutError("the connection was opened too late")
        return connection

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        with self._closing:
            if self._socket:
                self._socket.close()
        self._connection = self._socket = None


class HistoryDatabase:
    """The history's database, behind a circuit breaker: after a failure nothing is tried for a while, so that callers
    don't wait for a database that is unavailable. For one caller at a time.

    `connect` opens a connection; it may raise psycopg.Error or ServiceUnavailable. `monotonic` counts seconds.
    """

    def __init__(self, connect: Callable[[], Connection], monotonic: Callable[[], float]) -> None:
        self._connection = BoundedConnection(connect)
        self._monotonic = monotonic
        self._pause = 0.0
        self._paused_until = -math.inf

    def run(self, work: Callable[[Connection], R]) -> R:
        """Do the work within limits.HISTORY, and return what it returns; work that failed may be done twice.

        Raises HistoryUnavailable if it could not be done; it may take effect all the same. Raises what else `work`
        raises."""
        if self._monotonic() < self._paused_until:
            raise HistoryUnavailable("PostgreSQL was unavailable a moment ago")
        try:
            limits.require("PostgreSQL", limits.HISTORY)
        except OutOfTime as fault:
            raise HistoryUnavailable(str(fault)) from fault
        try:
            done = self._connection.run(work, limits.HISTORY)
        except (psycopg.DataError, psycopg.IntegrityError) as fault:  # the values' own fault: others may pass
            raise HistoryUnavailable(f"PostgreSQL refuses the values: {fault}") from fault
        except psycopg.errors.QueryCanceled as fault:  # one that is too slow says nothing of others
            raise HistoryUnavailable(f"PostgreSQL took too long: {fault}") from fault
        except (psycopg.Error, ServiceUnavailable, OSError) as fault:
            self._pause = min(self._pause + _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
            self._paused_until = self._monotonic() + self._pause
            raise HistoryUnavailable(f"PostgreSQL: {fault}") from fault
        self._pause = 0.0
        return done
