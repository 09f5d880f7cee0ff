"""boto3 clients with time limits, and their errors as the engine's."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from order_engine import limits
from order_engine.domain.errors import ServiceUnavailable

_CONNECT = 0.5  # seconds

# Seconds that a call to a service may take, and its tries.
_LIMITS = {
    "dynamodb": (limits.DYNAMODB, 2),
    "sqs": (limits.QUEUE, 2),
    "lambda": (limits.INVOKE, 1),
    "apigatewaymanagementapi": (limits.POST, 1),
}
_OTHER_LIMITS = (5.0, 2)

# Seconds for which a write that conflicts with a transaction is repeated; the last try may take all of its own limit.
_CONTENTION = 0.5
CONTENDED = limits.DYNAMODB + _CONTENTION


def client(service: str, endpoint_url: str | None = None) -> Any:
    """Return a boto3 client whose calls take no longer than their limit (boto3's own default is minutes):

        limit = tries x (connect + read) + back-off, where the back-off is 2**(tries - 1) - 1 s at the most

    so that DynamoDB's 5 s are 2 x (0.5 + 1.5) + 1. That does not bound looking the service's name up, connecting to
    further addresses of that name while the ones before are silent, and a response that drips in byte by byte.
    """
    seconds, tries = _LIMITS.get(service, _OTHER_LIMITS)
    back_off = 2 ** (tries - 1) - 1
    config = Config(
        connect_timeout=_CONNECT,
        read_timeout=(seconds - back_off) / tries - _CONNECT,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=64,  # as many as a publisher's threads
        tcp_keepalive=True,
        # DynamoDB is reached by IPv4 even with AWS_USE_DUALSTACK_ENDPOINT, through the VPC's gateway endpoint: not
        # every region has a dual-stack endpoint of it.
        use_dualstack_endpoint=False if service == "dynamodb" else None,
        parameter_validation=False,  # the service validates too, and here it is a tenth of a call's time
        user_agent="order-engine",  # putting botocore's own together for each call is another tenth
    )
    return boto3.client(service, config=config, endpoint_url=endpoint_url)


@contextmanager
def service_errors(service: str, seconds: float) -> Iterator[None]:
    """Guard one call that may take so many seconds: raise OutOfTime instead of starting it when less is left of the
    invocation, and translate the SDK's errors into ServiceUnavailable."""
    limits.require(service, seconds)
    try:
        yield
    except (ClientError, BotoCoreError) as fault:
        raise ServiceUnavailable(f"{service}: {fault}") from fault


def update_if(update_item: Callable[..., Any], service: str, **arguments: Any) -> tuple[bool, dict[str, Any]]:
    """Make one conditional DynamoDB update; names and values that are empty are left out. Return whether its condition
    held, and the item as it is then (empty if there is none). Raises ServiceUnavailable as `service_errors` does."""
    given = {name: value for name, value in arguments.items() if value}
    with service_errors(service, limits.DYNAMODB):
        try:
            response = update_item(**given, ReturnValues="ALL_NEW", ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except ClientError as error:
            if code_of(error) != "ConditionalCheckFailedException":
                raise
            return False, error.response.get("Item", {})
    return True, response["Attributes"]


def retry_on_conflict(call: Callable[..., Any], **arguments: Any) -> Any:
    """Make a DynamoDB write, and repeat it while a transaction holds its item, for CONTENDED seconds at the most.

    DynamoDB then refuses it with TransactionConflictException, or cancels a transaction for TransactionConflict;
    botocore retries neither.
    """
    pause, ends_at = 0.01, time.monotonic() + _CONTENTION
    while True:
        try:
            return call(**arguments)
        except ClientError as error:
            if not _in_conflict(error) or time.monotonic() + pause > ends_at:
                raise
        time.sleep(pause)
        pause *= 2


def _in_conflict(error: ClientError) -> bool:
    """Return whether a transaction conflict is the only reason for the error."""
    if code_of(error) == "TransactionConflictException":
        return True
    reasons = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", [])}
    return "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons


def code_of(error: ClientError) -> str:
    """Return the error code, such as ConditionalCheckFailedException."""
    return str(error.response.get("Error", {}).get("Code", ""))
