"""Runs functions on servers of their own, to which the gateway forwards their invocations.

MiniStack itself starts a process for every invocation that finds none idle: a burst of a hundred orders starts dozens,
half a second of processor time each. Here a function has a fixed number of workers, forked from one process that has
everything imported, and an invocation that finds none idle waits for one. What they log goes straight to the log.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from local import processes
from local.gateway import Gateway
from local.signals import held_back

_PROXY = "MINISTACK_LAMBDA_PROXY_URL"  # by which MiniStack is told where a function's invocations go

# For a WebSocket, MiniStack forwards only what it can't run itself; so it must not take the function for Python.
_RUNTIME = "provided.al2023"


class FunctionHosts:
    """Hosts functions that were deployed to the gateway; everything below `root`, the project's folder.

    With `reload`, a change of their code takes effect at the next invocation.
    """

    def __init__(self, gateway: Gateway, root: Path, log: Path, reload: bool = False) -> None:
        self._gateway = gateway
        self._reload = reload
        self._root = root
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, functions: Mapping[str, tuple[str, int]]) -> None:
        """Returns when the functions can be invoked: by name, the folder of their code and the number of workers.

        Raises LocalStackError."""
        client = self._gateway.client("lambda")
        hosted = []
        for name, (folder, workers) in functions.items():
            configuration = client.get_function_configuration(FunctionName=name)
            port, token = processes.free_port(), secrets.token_urlsafe(24)
            with held_back():
                process = self._spawn(configuration, self._root / folder, port, token, workers)
                self._processes.append(process)
            hosted.append((name, configuration["Environment"]["Variables"], port, token, process))
        for name, variables, port, token, process in hosted:
            processes.wait_until(partial(_listens, port), process, name, self._log, deadline_seconds=60)
            variables[_PROXY] = f"http://{processes.LOOPBACK}:{port}/{token}"
            client.update_function_configuration(
                FunctionName=name, Environment={"Variables": variables}, Runtime=_RUNTIME
            )

    def stop(self) -> None:
        """Ends every worker."""
        for process in self._processes:
            process.terminate()  # all at once; each is then waited for
        for process in self._processes:
            processes.end(process, signal.SIGTERM, patience_seconds=1)
        self._processes.clear()

    def _spawn(
        self, configuration: dict[str, Any], folder: Path, port: int, token: str, workers: int
    ) -> subprocess.Popen[bytes]:
        path = [folder, self._root / "layers/common/python", self._root]
        environment = {
            **self._gateway.environment(),
            **configuration["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": self._gateway.url,
            "AWS_LAMBDA_FUNCTION_NAME": configuration["FunctionName"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration["MemorySize"]),
            "_HANDLER": configuration["Handler"],
            "HOST_TOKEN": token,
            "RELOAD": "1" if self._reload else "0",
            "PYTHONPATH": os.pathsep.join(map(str, path)),
        }
        command = [sys.executable, "-m", "gunicorn", "--config", "python:local.function_host"]
        command += ["--bind", f"{processes.LOOPBACK}:{port}", "--workers", str(workers)]
        # A worker that overstays Lambda's time limit is killed, as Lambda does it.
        command += ["--timeout", str(configuration["Timeout"] + 1), "local.function_host:application"]
        return processes.spawn(command, self._log, environment, self._root)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((processes.LOOPBACK, port)) == 0
