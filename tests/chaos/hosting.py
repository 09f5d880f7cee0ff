"""Functions of a running stack, hosted anew: with shorter times, or with one part of them swapped."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.gateway import Gateway
from local.hosts import FunctionHosts
from local.stack import ROOT, LocalStack
from tests.chaos.relay import Relay

# More than the local stack has: an invocation that waits behind some that hang would be cut off for its own time limit.
_HOSTED = {
    "RouteExecuteFunctionName": ("functions/route_execute", 10),
    "DeadLettersFunctionName": ("functions/dead_letters", 1),
    "NotifyFunctionName": ("functions/notify", 50),
    "SubmitFunctionName": ("functions/submit", 12),
    "WsConnectFunctionName": ("functions/ws_connect", 16),
}
_EXECUTING = ("RouteExecuteFunctionName", "DeadLettersFunctionName")


@dataclass(frozen=True)
class Timings:
    """What bounds a worker's silence, in the order that the template keeps: the function's time limit is below the
    lease, and that below the time after which a message comes again."""

    function_seconds: int
    lease_seconds: int
    visibility_seconds: int
    receives: int = 5  # after so many a message is a dead letter

    def __str__(self) -> str:
        return (
            f"function {self.function_seconds} s < lease {self.lease_seconds} s "
            f"< visibility timeout {self.visibility_seconds} s, {self.receives} receives"
        )


@contextmanager
def rehosted(stack: LocalStack, timings: Timings, relay: Relay, root: Path = ROOT) -> Iterator[None]:
    """Gives the functions new hosts, behind a relay, which take their code from `root` (see `tests.chaos.variants`),
    and those that execute orders other times, by the API that an operator would use.

    Call it in the main thread, before there is load.
    """
    functions = {stack.outputs[output]: hosted for output, hosted in _HOSTED.items()}
    gateway = copy(stack.gateway)
    gateway.port = relay.port
    _set(stack, timings, gateway)
    for name in functions:
        for host in masters(name):
            host.terminate()
    hosts = FunctionHosts(gateway, root, stack.log)
    try:
        hosts.start(functions)
        yield
    finally:
        hosts.stop()


def _set(stack: LocalStack, timings: Timings, gateway: Gateway) -> None:
    client, sqs = stack.gateway.client("lambda"), stack.gateway.client("sqs")
    for output in _HOSTED:
        configuration = client.get_function_configuration(FunctionName=stack.outputs[output])
        variables = configuration["Environment"]["Variables"]
        if endpoint := variables.get("MANAGEMENT_ENDPOINT"):
            variables["MANAGEMENT_ENDPOINT"] = endpoint.replace(stack.gateway.address, gateway.address)
        if output in _EXECUTING:
            variables["LEASE_SECONDS"] = str(timings.lease_seconds)
        client.update_function_configuration(
            FunctionName=stack.outputs[output],
            Timeout=timings.function_seconds if output in _EXECUTING else configuration["Timeout"],
            Environment={"Variables": variables},
        )
    orders, dead = stack.outputs["OrdersQueueUrl"], stack.outputs["DeadLettersQueueUrl"]
    visibility = {"VisibilityTimeout": str(timings.visibility_seconds)}
    answer = sqs.get_queue_attributes(QueueUrl=orders, AttributeNames=["RedrivePolicy"])
    redrive = {**json.loads(answer["Attributes"]["RedrivePolicy"]), "maxReceiveCount": timings.receives}
    sqs.set_queue_attributes(QueueUrl=orders, Attributes={**visibility, "RedrivePolicy": json.dumps(redrive)})
    sqs.set_queue_attributes(QueueUrl=dead, Attributes=visibility)


def masters(function: str) -> list[psutil.Process]:
    """The processes, children of ours, whose workers run a function: its host's own, and nobody else's."""
    return [child for child in psutil.Process().children() if _function_of(child) == function]


def workers(function: str) -> list[psutil.Process]:
    """The processes that run a function's invocations, wherever they are hosted."""
    ours = psutil.Process().children(recursive=True)
    parents = {host.pid for host in masters(function)}
    return [process for process in ours if process.pid not in parents and _function_of(process) == function]


def _function_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("AWS_LAMBDA_FUNCTION_NAME", "")
    except psutil.Error:  # it ended while we looked, or is another user's
        return ""
