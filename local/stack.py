"""Starts and stops everything that the system needs, on this machine alone."""

import fcntl
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from order_engine import migrations
from order_engine.adapters.keys import DynamoKeys
from order_engine.domain.access import ApiKey, Scope, StoredKey

from local import processes
from local.deploy import Outputs, deploy, function_folders
from local.errors import LocalStackError
from local.gateway import REGION, Gateway
from local.hosts import FunctionHosts
from local.postgres import EmbeddedPostgres
from local.signals import held_back

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
ENDPOINTS = "endpoints.json"  # in the state folder
PATH = "/api/orders/execute"
_PID = "pid"
_POLL_SECONDS = 0.2
_FIRST_OWNER = "local"
# How many of a function run at once, if not one. Two cores have no use for more; route_execute's number is that of the
# template's Workers, notify spends its time waiting, and a run of the watcher overlaps with the next.
_WORKERS = {
    "SubmitFunction": 2,
    "RouteExecuteFunction": 10,
    "NotifyFunction": 8,
    "WatchMarketFunction": 3,
    "OrdersFunction": 2,
    "MarketFunction": 4,
}
_NOT_HOSTED = ("MigrateFunction", "PreflightFunction")  # CloudFormation's; the schema is applied before the deploy
# So many POSTs run or wait at once; more are answered with 429, as a full account does it. Those at the end of a longer
# queue would come to submit's time limit, and their clients be told nothing of use.
_MOST_POSTS = 256


@dataclass(frozen=True)
class Endpoints:
    """Where the running system is reached, by its clients and by whoever looks into it.

    `http`: /api/orders/execute is appended to it; `websocket`: has a literal {orderId} in it; `database`: PostgreSQL,
    with its password; `pid`: the process that serves; `aws`: environment variables for AWS' SDKs and CLI; `outputs`:
    the names of tables, queues and functions, by the template's outputs; `key`: an API key, where one is needed.
    """

    http: str
    websocket: str
    database: str
    pid: int
    aws: dict[str, str]
    outputs: Outputs
    key: str | None = None


def running() -> Endpoints:
    """Where the system that `make run` serves is reached. Raises LocalStackError if none is running."""
    pid = holder(STATE)
    if pid is None:
        raise LocalStackError("no local stack is running; start one with 'make run'")
    try:
        return Endpoints(**json.loads((STATE / ENDPOINTS).read_text()))
    except FileNotFoundError as error:
        raise LocalStackError(f"the local stack (process {pid}) is still starting, or stopping") from error


def holder(state: Path) -> int | None:
    """The process whose stack has this state folder, or None if no stack has it."""
    try:
        folder = os.open(state, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return processes.read_pid(state / _PID)
    finally:
        os.close(folder)
    return None


class LocalStack:
    """The whole system, as a context manager or by `start` and `stop`.

    `parameters` are parameters of the template; with `reload`, changed code takes effect at once. Everything is below
    `state`, which is its user's alone (root's PostgreSQL has a folder elsewhere): the log `stack.log`, which stays, and
    what goes when the stack stops: the servers' data, and `endpoints.json`, there when orders can be sent. With `keep`,
    PostgreSQL's data stays too, and is there at the next start with it. Port 0 takes a free port. `progress` is told
    what happens while it starts. Start it in the main thread: its processes end with the thread that starts them.
    """

    def __init__(
        self,
        state: Path = STATE,
        port: int = 4566,
        parameters: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
        reload: bool = False,
        keep: bool = False,
    ) -> None:
        self.log = state / "stack.log"
        self.authorization = state / "authorization"
        self.outputs: Outputs = {}
        self.gateway = Gateway(port, state / "gateway", self.log)
        self.postgres = EmbeddedPostgres(state / "postgres", self.log, durable=keep)
        self._state = state
        self._parameters = dict(parameters or {})
        self._progress = progress
        self._reload = reload
        self._keep = keep
        self._key: str | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Where the running system is reached."""
        return Endpoints(
            http=self.outputs["HttpUrl"],
            websocket=f"{self.outputs['WebSocketUrl']}?orderId={{orderId}}",
            database=self.postgres.url,
            pid=os.getpid(),
            aws={**self.gateway.credentials, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.gateway.url},
            outputs=self.outputs,
            key=self._key,
        )

    def start(self) -> None:
        """Returns when orders can be sent. If that fails or is interrupted, nothing is left running.

        Raises LocalStackError.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every process and deletes what they wrote, but for the log. Signals wait until that is done."""
        with held_back():
            self._cleanup.close()

    def wait_until_ended(self) -> None:
        """Blocks for as long as MiniStack runs. Says so if PostgreSQL ends before."""
        said = False
        while not self.gateway.has_ended:
            if self.postgres.has_ended and not said:
                said = True
                self._progress("PostgreSQL has ended by itself: orders go on, and their rows are owed until a restart")
            time.sleep(_POLL_SECONDS)

    def _start(self) -> None:
        _allow_many_sockets()
        self._take_state()
        self.gateway.check_port()  # before the log of the last run is emptied
        self._clear_state()
        self._progress("starting PostgreSQL and MiniStack")
        if not self._keep:
            if self.postgres.has_data:
                self._progress("dropping the order history that an earlier run has kept (KEEP=1) or left")
            self._cleanup.callback(self.postgres.drop)
            self.postgres.drop()
        self._cleanup.callback(self.postgres.stop)
        self._cleanup.callback(self.gateway.stop)
        self.gateway.start()
        self.postgres.start()
        applied = migrations.apply(self.postgres.url)
        self._progress(f"PostgreSQL is up, {len(applied)} migration(s) applied")
        self.gateway.wait_until_ready()
        self._progress("MiniStack is up, deploying template.yaml")
        ours = {"LocalGateway": self.gateway.address, "DatabaseUrl": self.postgres.url}
        ours |= {"Access": "open", "OrdersPerMinute": "0"}  # one machine has limits enough
        ours |= {"GradualDeployment": "false"}  # MiniStack has no CodeDeploy
        self.outputs = deploy(self.gateway, ROOT / "template.yaml", {**ours, **self._parameters})
        self._progress("deployed, warming up the functions")
        hosts = FunctionHosts(self.gateway, ROOT, self.log, self._reload)
        self._cleanup.callback(hosts.stop)
        hosts.start(
            {
                self.outputs[f"{name}Name"]: (folder, _WORKERS.get(name, 1))
                for name, folder in function_folders(ROOT / "template.yaml").items()
                if name not in _NOT_HOSTED
            }
        )
        self.gateway.client("lambda").put_function_concurrency(
            FunctionName=self.outputs["SubmitFunctionName"], ReservedConcurrentExecutions=_MOST_POSTS
        )
        self.gateway.open(self.outputs["HttpApiId"], self.outputs["WebSocketApiId"])
        self._watch_market()
        if self._parameters.get("Access") == "keys":
            self._key = self._create_key()
        self._publish()
        self._progress("ready")

    def _watch_market(self) -> None:
        """Starts the first watch; MiniStack's first scheduled one comes more than a minute later."""
        name = self.outputs["WatchMarketFunctionName"]
        self.gateway.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")

    def _take_state(self) -> None:
        """Claims the folder for this stack alone."""
        self._state.mkdir(parents=True, exist_ok=True)
        self._state.chmod(0o700)
        folder = os.open(self._state, os.O_RDONLY)
        self._cleanup.callback(os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalStackError(
                f"a local stack with the state folder {self._state} is running already "
                f"(process {holder(self._state)}); 'make stop' stops it"
            ) from error
        self._cleanup.callback((self._state / _PID).unlink, missing_ok=True)
        (self._state / _PID).write_text(f"{os.getpid()}\n")

    def _clear_state(self) -> None:
        """Deletes what a stack that was killed may have left, and the log of the last one."""
        shutil.rmtree(self._state / "gateway", ignore_errors=True)
        (self._state / ENDPOINTS).unlink(missing_ok=True)
        self.log.write_bytes(b"")

    def _create_key(self) -> str:
        """Creates the first API key, with both scopes. Returns it, and writes it to a file as a header for curl."""
        key = ApiKey.draw()
        stored = StoredKey.of(key, _FIRST_OWNER, Scope, datetime.now(UTC), "make run")
        DynamoKeys(self.gateway.client("dynamodb"), self.outputs["ApiKeysTableName"]).create(stored)
        self._cleanup.callback(self.authorization.unlink, missing_ok=True)
        self.authorization.touch(mode=0o600)
        self.authorization.write_text(f"Authorization: Bearer {key.text}\n")
        return key.text

    def _publish(self) -> None:
        """Writes the endpoints to a file, which is there for as long as the stack serves, and is never seen half."""
        file = self._state / ENDPOINTS
        draft = file.with_suffix(".tmp")
        for path in (draft, file):
            self._cleanup.callback(path.unlink, missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self.endpoints), indent=2) + "\n")
        draft.replace(file)


def _allow_many_sockets() -> None:
    """Raises our limit of open files, which our processes inherit, as far as it goes: a socket is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
