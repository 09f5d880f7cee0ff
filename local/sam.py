"""The local stack, made reachable for the containers of `sam local`: `python -m local sam`.

The functions then run from what `sam build` made, in the image of AWS's runtime, against the local stack's services.
What they need for that stands in files that are written here: their environment, and a configuration of the SAM CLI.
"""

import ipaddress
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from order_client.display import say

from local.errors import LocalStackError
from local.events import EVENTS, place_orders
from local.gateway import REGION
from local.relay import relay
from local.settings import read_settings
from local.stack import ROOT, STATE, LocalStack

BUILD = ROOT / ".aws-sam/build"
_HOST = "host.docker.internal"  # this machine, as containers call it
_IMAGE = "public.ecr.aws/lambda/python:3.13"
_CREDENTIALS_FILE = "AWS_SHARED_CREDENTIALS_FILE"
# What a function is to reach, rather than to tell a client.
_REACHED = ("AWS_ENDPOINT_URL", "MANAGEMENT_ENDPOINT", "DATABASE_URL", "ORDERS_QUEUE_URL")


class SamLocal:
    """The local stack with everything that `sam local` needs, as a context manager.

    `config` is the SAM CLI's configuration file, `credentials` AWS' own, with which the stack's services are called;
    `stack` the local stack. Raises LocalStackError if no Docker engine responds or nothing was built.
    """

    def __init__(
        self,
        state: Path = STATE,
        port: int = 4566,
        parameters: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.stack = LocalStack(state, port, parameters, progress)
        self.config = state / "samconfig.toml"
        self.credentials = state / "credentials"
        self.events = state / "events"
        self._environment = state / "sam-environment.json"
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        address = _bridge()
        if not (BUILD / "template.yaml").exists():
            raise LocalStackError("there is no build yet; `make build` makes it")
        with ExitStack() as cleanup:
            cleanup.enter_context(self.stack)
            if address:
                for port in (self.stack.gateway.port, _port_of(self.stack.postgres.url)):
                    cleanup.enter_context(relay(address, port))
            for path, text in {
                self._environment: json.dumps(self._variables(), indent=2),
                self.credentials: self._profile(),
                self.config: self._configuration(address),
            }.items():
                cleanup.callback(path.unlink, missing_ok=True)
                path.touch(mode=0o600)
                path.write_text(text)
            cleanup.callback(shutil.rmtree, self.events)
            self._place_events()
            outputs = self.stack.outputs
            events = {path.stem: path.read_text() for path in sorted(EVENTS.glob("*.json"))}
            place_orders(self.stack.gateway.client("dynamodb"), outputs["JournalTableName"], events)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _profile(self) -> str:
        lines = [f"{name.lower()} = {value}" for name, value in self.stack.gateway.credentials.items()]
        return "\n".join(["[default]", *lines, ""])

    def _place_events(self) -> None:
        """Copy the events; that of CloudFormation gets an address to respond to, presigned as CloudFormation's are, and
        requests get the API key, where one is needed."""
        s3, target = self.stack.gateway.client("s3"), {"Bucket": "deployment", "Key": "answer-to-cloudformation.json"}
        answer = s3.generate_presigned_url("put_object", target).replace("127.0.0.1", _HOST)
        key = self.stack.endpoints.key
        self.events.mkdir(mode=0o700)
        for path in EVENTS.glob("*.json"):
            event = json.loads(path.read_text())
            if "ResponseURL" in event:
                event["ResponseURL"] = answer
            if key and "headers" in event:
                event["headers"]["authorization"] = f"Bearer {key}"
            (self.events / path.name).write_text(json.dumps(event, indent=2))

    def _variables(self) -> dict[str, dict[str, str]]:
        """The environment of each function as it was deployed, by its logical name."""
        functions = self.stack.gateway.client("lambda")
        variables = {}
        for output, name in self.stack.outputs.items():
            if output.endswith("FunctionName"):
                deployed = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
                variables[output.removesuffix("Name")] = {
                    key: value.replace("127.0.0.1", _HOST) if key in _REACHED else value
                    for key, value in deployed.items()
                }
        return variables

    def _configuration(self, address: str | None) -> str:
        machine = architecture()
        options: dict[str, object] = {
            "template_file": str(BUILD / "template.yaml"),
            "env_vars": str(self._environment),
            "parameter_overrides": [
                f"Architecture={machine}",
                f"LocalGateway={_HOST}:{self.stack.gateway.port}",
            ],
            "region": REGION,
            "skip_pull_image": _there(f"{_IMAGE}-{machine}"),
        }
        if address:
            options["add_host"] = [f"{_HOST}:{address}"]
        lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]  # TOML writes these like JSON
        commands = ("invoke", "start_api", "start_lambda")
        sections = ["\n".join([f"[default.local_{name}.parameters]", *lines]) for name in commands]
        return "\n\n".join(["version = 0.1", *sections]) + "\n"


def architecture() -> str:
    """This machine's processor, as Lambda calls it."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def function_of(event: Path) -> str:
    """The logical name of the function that an event is for: events/ws_connect-default.json is WsConnectFunction's."""
    return "".join(word.capitalize() for word in event.stem.partition("-")[0].split("_")) + "Function"


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def _there(image: str) -> bool:
    return _docker("image", "inspect", image).returncode == 0


def _bridge() -> str | None:
    """The address at which containers find this machine; None where the engine has a name of its own for it.

    Raises LocalStackError if no engine responds."""
    if not shutil.which("docker"):
        raise LocalStackError("`sam local` needs Docker, and there is no `docker` command here")
    if _docker("info").returncode:
        raise LocalStackError("`sam local` needs Docker, and no engine responds; start it, or set DOCKER_HOST")
    if sys.platform != "linux":
        return None
    answer = _docker("network", "inspect", "bridge", "--format", "{{json (index .IPAM.Config 0)}}")
    bridge = json.loads(answer.stdout)
    first = next(ipaddress.ip_network(bridge["Subnet"]).hosts())
    return str(bridge.get("Gateway") or first)


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def serve() -> NoReturn:
    """Runs the stack as the environment says, and says how its functions are invoked. Never returns; raises like
    `local.run.run`."""
    settings = read_settings(os.environ)
    with SamLocal(port=settings.port, parameters=settings.parameters, progress=say) as sam:
        options = f'--config-file "$PWD/{sam.config.relative_to(ROOT)}"'
        say("\nIn another terminal, in this folder:\n")
        engine = f" DOCKER_HOST={os.environ['DOCKER_HOST']}" if os.environ.get("DOCKER_HOST") else ""
        credentials = f'{_CREDENTIALS_FILE}="$PWD/{sam.credentials.relative_to(ROOT)}"'
        say(f'  export PATH="$PWD/.venv-sam/bin:$PATH" {credentials}{engine}')
        for event in sorted(sam.events.glob("*.json")):
            say(f"  sam local invoke {function_of(event)} {options} --event {event.relative_to(ROOT)}")
        say(f"  sam local start-api {options}")
        say("\nThe events' orders are there once: after a restart they can be executed again.")
        say("Serving; Ctrl-C stops it.")
        sam.stack.wait_until_ended()
        raise LocalStackError(f"MiniStack ended by itself; {sam.stack.log} may say why")
