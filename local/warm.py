"""Has a function's worker up before the first invocation that matters."""

import json

from local.errors import LocalStackError
from local.gateway import Gateway


def warm_up(gateway: Gateway, function: str) -> None:
    """Invokes a function with the event that does nothing. Raises LocalStackError if it can't be started."""
    answer = gateway.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"warm": True}).encode())
    if "FunctionError" in answer:
        raise LocalStackError(f"the function {function} does not start: {answer['Payload'].read().decode()}")
