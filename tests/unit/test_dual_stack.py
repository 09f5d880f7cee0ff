"""Which hosts the functions in the VPC call with Egress=ipv6: docs/deploy.md says how each is reached."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from order_engine.adapters.aws import client

GUIDE = (Path(__file__).parents[2] / "docs/deploy.md").read_text()
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "dynamodb": ("get_item", {"TableName": "journal", "Key": {"orderId": {"S": "1"}}}),
    "sqs": ("send_message", {"QueueUrl": "https://sqs.eu-central-1.amazonaws.com/1/orders", "MessageBody": "1"}),
    "lambda": ("invoke", {"FunctionName": "notify", "Payload": b"{}"}),
    "secretsmanager": ("get_secret_value", {"SecretId": "master"}),
}


def host_called(service: str) -> str:
    """The host of a request, which gets an empty answer instead of being sent."""
    hosts: list[str] = []

    def answer(request: Any, **_event: Any) -> AWSResponse:
        hosts.append(str(urlsplit(request.url).hostname))
        return AWSResponse(request.url, 200, {}, Answer())

    caller = client(service)
    caller.meta.events.register("before-send", answer)
    operation, arguments = CALLS[service]
    getattr(caller, operation)(**arguments)
    return hosts[0]


class Answer:
    """The body of a response."""

    def stream(self) -> list[bytes]:
        """All of it."""
        return [b"{}"]


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("dynamodb", "dynamodb.REGION.amazonaws.com"),  # IPv4 alone: the gateway endpoint
        ("sqs", "sqs.REGION.api.aws"),
        ("lambda", "lambda.REGION.api.aws"),
        ("secretsmanager", "secretsmanager.REGION.amazonaws.com"),
    ],
)
def test_a_function_calls_the_host_that_the_guide_names(
    service: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "example")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")

    assert host_called(service).replace("eu-central-1", "REGION") == host
    assert f"`{host}`" in GUIDE
