"""A stack that an operator works with: the one that `make run` runs, or one on AWS by its name."""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from local.deploy import Outputs
from local.errors import LocalStackError
from local.gateway import client
from local.stack import Endpoints, running

# Seconds, for each of three tries; an operator has more patience than a function.
_LIMITS = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})


class _OutputsOf(Outputs):
    """The outputs of a stack. One that it lacks is no error of ours: the name is another stack's."""

    def __init__(self, stack: str, described: dict[str, Any]) -> None:
        super().__init__({one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])})
        self._stack = stack

    def __missing__(self, name: str) -> str:
        raise LocalStackError(f"the stack {self._stack} is none of this release's engine: it has no output {name}")


@dataclass(frozen=True)
class Deployment:
    """`outputs` are the stack's, `client` makes a boto3 client of a service (and of an endpoint of its own), `operator`
    is who works with it. `local` is the stack that `make run` runs; None on AWS."""

    outputs: Outputs
    client: Callable[..., Any]
    operator: str
    local: Endpoints | None = None

    @classmethod
    def named(cls, stack: str | None) -> "Deployment":
        """The stack of a name on AWS; without one, that of `make run`. Raises LocalStackError."""
        return cls.on_aws(stack) if stack else cls.of(running())

    @classmethod
    def of(cls, stack: Endpoints) -> "Deployment":
        """A local stack."""

        def made(service: str, endpoint_url: str | None = None) -> Any:
            return client(service, endpoint_url or stack.aws["AWS_ENDPOINT_URL"], stack.aws)

        return cls(stack.outputs, made, getpass.getuser(), stack)

    @classmethod
    def on_aws(cls, stack: str) -> "Deployment":
        """With the credentials, the region and the endpoint that AWS' tools would take. Raises LocalStackError."""
        made = partial(boto3.client, config=_LIMITS)
        try:
            outputs = _OutputsOf(stack, made("cloudformation").describe_stacks(StackName=stack)["Stacks"][0])
            operator = made("sts").get_caller_identity()["Arn"]
        # ResponseParserError: something else responds, such as a proxy; ValueError: an endpoint that is none.
        except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
            raise LocalStackError(f"the stack {stack} can't be looked up: {error}") from error
        return cls(outputs, made, operator)

    def sockets(self) -> Any:
        """A client of the management API of the stack's WebSocket."""
        url = self.outputs["WebSocketUrl"]
        if url.startswith("wss://"):
            return self.client("apigatewaymanagementapi", endpoint_url=url.replace("wss://", "https://"))
        gateway = url.replace("ws://", "http://").removesuffix("/live")  # an emulator's
        api = f"{gateway}/_aws/execute-api/{self.outputs['WebSocketApiId']}/live"
        return self.client("apigatewaymanagementapi", endpoint_url=api)
