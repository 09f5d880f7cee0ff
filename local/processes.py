"""Child processes that end when we do, and free ports for them."""

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from local.errors import LocalStackError

LOOPBACK = "127.0.0.1"
NOBODY = 65534  # user and group id
_AS_NOBODY = (
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--bounding-set=-all",
    "--no-new-privs",
)
_POLL_SECONDS = 0.02


def free_port() -> int:
    """A loopback port that nobody uses; below the range that systems hand out to outgoing connections, so that it
    is still free when a server comes back to it."""
    for port in random.SystemRandom().sample(range(20000, 30000), 100):  # whoever seeds `random` has no say in it
        if not port_problem(port):
            return port
    raise LocalStackError("found no free port between 20000 and 30000")


def port_problem(port: int) -> str | None:
    """Why no server can listen on this loopback port, or None if one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror).lower()
    return None


def spawn(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path,
    signal_on_our_death: str = "KILL",
    as_nobody: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts a process as the leader of a session of its own, its output appended to `log`.

    On Linux it gets `signal_on_our_death` when the thread that called this ends, however it ends: call it from a
    thread that lives as long as the process is to. `as_nobody` runs it unprivileged; that takes root.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    prefix: list[str] = []
    if setpriv:
        prefix = [setpriv, "--pdeathsig", signal_on_our_death]
    if as_nobody:
        if not setpriv:
            raise LocalStackError(
                "PostgreSQL refuses to run as root, and 'setpriv' (util-linux), which starts it "
                "as another user, is not installed; install it, or run this as another user"
            )
        prefix += _AS_NOBODY
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], first: signal.Signals, patience_seconds: float) -> None:
    """Ends a process that `spawn` started, and all that it started: asks it with a signal, kills what is left then."""
    if process.returncode is None:
        _signal_group(process, first)
        with suppress(subprocess.TimeoutExpired):  # the kill below is the answer to that
            process.wait(patience_seconds)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, number)


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path, deadline_seconds: float
) -> None:
    """Waits for a condition that a running process brings about.

    Raises LocalStackError, with the last lines of the log, if the process ends or the time is over first.
    """
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if process.poll() is not None:
            raise LocalStackError(f"{name} ended while starting; {end_of(log)}")
        if time.monotonic() > deadline:
            raise LocalStackError(f"{name} was not ready after {deadline_seconds:g} s; {end_of(log)}")
        time.sleep(_POLL_SECONDS)


def read_pid(file: Path) -> int:
    """The process id in a file that a process writes as soon as it starts. Raises LocalStackError if it never does."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            return int(file.read_text())
        time.sleep(_POLL_SECONDS)
    raise LocalStackError(f"there is no process id in {file}")


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"the end of {log}:", *last])
