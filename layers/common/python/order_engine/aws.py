"""How the adapters reach AWS: one way to make a client, one way to tell that a service is away."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from order_engine.errors import ServiceUnavailable


def client(service: str, *, read_timeout: float = 5, tries: int = 3, endpoint_url: str | None = None) -> Any:
    """A boto3 client with time limits that fit into a function's (boto3's own default is 60 s)."""
    config = Config(
        connect_timeout=1,
        read_timeout=read_timeout,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=32,
        tcp_keepalive=True,
        parameter_validation=False,  # the service validates too, and here it is a tenth of a call's time
        user_agent="order-engine",  # putting botocore's own together for each call is another tenth
    )
    return boto3.client(service, config=config, endpoint_url=endpoint_url)


@contextmanager
def reaching(service: str) -> Iterator[None]:
    """Turns the SDK's errors into ServiceUnavailable; answers that mean something are caught further inside."""
    try:
        yield
    except (ClientError, BotoCoreError) as fault:
        raise ServiceUnavailable(f"{service}: {fault}") from fault


def uncontended(call: Callable[..., Any], **arguments: Any) -> Any:
    """A DynamoDB write, repeated while a transaction holds its item.

    DynamoDB then refuses it with TransactionConflictException, or cancels a transaction for TransactionConflict;
    botocore retries neither.
    """
    for pause in (0.01, 0.02, 0.04, 0.08, 0.16, 0.32):
        try:
            return call(**arguments)
        except ClientError as error:
            if not _in_conflict(error):
                raise
        time.sleep(pause)
    return call(**arguments)


def _in_conflict(error: ClientError) -> bool:
    """Whether another transaction was in the way, and nothing else: for a transaction, by its cancellation reasons."""
    if code_of(error) == "TransactionConflictException":
        return True
    reasons = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])}
    return "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons


def code_of(error: ClientError) -> str:
    """The error code of an answer, such as ConditionalCheckFailedException."""
    return str(error.response.get("Error", {}).get("Code", ""))
