"""MiniStack, the stand-in for AWS, as a child process."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from local import processes
from local.errors import LocalStackError
from local.signals import held_back

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")


class Gateway:
    """One MiniStack on a loopback port; everything it writes is below `state_dir`, its log is appended to `log`.

    Its APIs take only callers with `credentials`, which are drawn anew for each; what else is reached on the port is
    `local.front`'s. Port 0 takes a free one. The functions run elsewhere (`local.hosts`). Start it from a thread that
    outlives it.
    """

    def __init__(self, port: int, state_dir: Path, log: Path) -> None:
        self.port = port or processes.free_port()
        self._state_dir = state_dir
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        key = f"LOCAL{secrets.token_hex(16).upper()}"
        self.credentials = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30)}

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{processes.LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://{self.address}"

    def client(self, service: str) -> Any:
        """A boto3 client of a service, as of the function of that name below."""
        return client(service, self.url, self.credentials)

    def open(self, http_api: str, websocket_api: str) -> None:
        """Serves the two APIs, given by their ids, at the front. Raises LocalStackError if it does not take them."""
        below = "/_aws/execute-api"
        cors = self.client("apigatewayv2").get_api(ApiId=http_api).get("CorsConfiguration", {})
        paths = {"http": f"{below}/{http_api}", "websocket": f"{below}/{websocket_api}/live", "cors": cors}
        with httpx.Client(base_url=self.url, trust_env=False, headers=self._signed()) as http:
            if not http.put("/_front", json=paths).is_success:
                raise LocalStackError(f"the front does not take its addresses; {processes.end_of(self._log)}")

    def check_port(self) -> None:
        """Raises LocalStackError unless the port can be listened on."""
        if problem := processes.port_problem(self.port):
            raise LocalStackError(f"can't listen on port {self.port}: {problem}; choose another one with PORT=...")

    def start(self) -> None:
        """Starts MiniStack and returns at once. Raises LocalStackError if the port is taken."""
        self.check_port()
        for folder in ("tmp", "s3", "state"):
            (self._state_dir / folder).mkdir(parents=True)
        # MiniStack's application on uvicorn: half the processor time for each request of its own server. API Gateway
        # offers no compression of WebSocket messages either.
        command = [sys.executable, "-m", "uvicorn", "local.front:app", "--host", processes.LOOPBACK]
        command += ["--port", str(self.port), "--backlog", "4096", "--timeout-keep-alive", "75"]
        command += ["--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "1"]
        command += ["--ws-per-message-deflate", "false"]
        with held_back():
            self._process = processes.spawn(command, self._log, self.environment(), self._state_dir)

    def wait_until_ready(self) -> None:
        """Returns when MiniStack responds. Raises LocalStackError if it ends, or takes too long."""
        if not self._process:
            raise LocalStackError("MiniStack has not been started")
        with httpx.Client(base_url=self.url, trust_env=False, headers=self._signed()) as http:
            processes.wait_until(lambda: _is_ready(http), self._process, "MiniStack", self._log, deadline_seconds=60)

    @property
    def has_ended(self) -> bool:
        """Whether MiniStack does not run."""
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """Stops MiniStack and deletes what it wrote."""
        if self._process:
            processes.end(self._process, signal.SIGTERM, patience_seconds=2)
            self._process = None
        shutil.rmtree(self._state_dir, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """All that servers and functions get to see of the world: no credentials, settings or proxies of ours."""
        folder = self._state_dir
        return {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **self.credentials,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "DOCKER_HOST": f"unix://{folder / 'no-docker.sock'}",
            "BIND_HOST": processes.LOOPBACK,
            "MINISTACK_HOST": processes.LOOPBACK,
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # No cap over all functions: a burst of POSTs would use it up, and the workers of orders be turned away.
            "LAMBDA_ACCOUNT_CONCURRENCY": "0",
            # Seconds before a failed asynchronous invocation is repeated, then twice as many; on Lambda 60 and 120.
            "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "5",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "layers/common/python"))),
            "PYTHONUNBUFFERED": "1",
            "LOG_LEVEL": "WARNING",
        }

    def _signed(self) -> dict[str, str]:
        return {"Authorization": f"AWS4-HMAC-SHA256 Credential={self.credentials['AWS_ACCESS_KEY_ID']}/"}


def client(service: str, url: str, credentials: Mapping[str, str]) -> Any:
    """A boto3 client of a service; it does not repeat a call that failed."""
    config = Config(proxies={}, retries={"total_max_attempts": 1}, max_pool_connections=50)
    key, secret = credentials["AWS_ACCESS_KEY_ID"], credentials["AWS_SECRET_ACCESS_KEY"]
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)
    return session.client(service, endpoint_url=url, config=config)


def _is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/_ministack/ready").is_success
    except httpx.TransportError:
        return False
