"""Connections to PostgreSQL: one set of time limits for all of them, on both sides."""

import os
import socket
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_LIMITS: dict[str, Any] = {
    "connect_timeout": 2,
    "options": "-c statement_timeout=5000 -c lock_timeout=2000 -c timezone=UTC",
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
        self._running: Future[None] | None = None
        self._abandoned = Event()
        self._connection: Connection | None = None  # the thread's alone
        self._socket: socket.socket | None = None
        self._closing = Lock()

    def run(self, work: Callable[[Connection], None], seconds: float) -> None:
        """Do the work; if the open connection has broken, do it again over a new one.

        Raises TimeoutError if it is not done after `seconds`; it may take effect all the same. Raises what `work` and
        `connect` raise."""
        if self._running and not self._running.done():
            raise TimeoutError("an earlier call still hangs")
        self._abandoned.clear()
        self._running = self._thread.submit(self._attempt, work)
        wait([self._running], timeout=seconds)
        if not self._running.done():
            self._abandon()
            raise TimeoutError(f"not done within {seconds:g} s")
        self._running.result()

    def _abandon(self) -> None:
        self._abandoned.set()
        with self._closing, suppress(OSError):  # the server may have closed it
            if self._socket:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _attempt(self, work: Callable[[Connection], None]) -> None:
        try:
            if self._connection:
                try:
                    return work(self._connection)
                except psycopg.OperationalError:
                    if not self._connection.closed or self._abandoned.is_set():
                        raise
                    self._close()
            work(self._open())
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
