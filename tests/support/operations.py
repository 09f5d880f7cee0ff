"""What an operator of a local stack reads and sets: tables, queues, functions, PostgreSQL."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg
from psycopg.rows import dict_row

from local.hosts import FunctionHosts
from local.stack import ROOT, LocalStack

Item = dict[str, Any]  # DynamoDB's, with its types
Row = dict[str, Any]
# How many of a function run at once. More than the local stack has: an invocation that waits behind some that hang
# would be stopped by its own time limit.
FUNCTIONS = {
    "route_execute": 10,
    "dead_letters": 1,
    "notify": 50,
    "submit": 12,
    "cancel": 4,
    "orders": 4,
    "market": 4,
    "site": 2,
    "ws_connect": 16,
    "watch_market": 4,
    "launch": 1,
}
EXECUTING = ("route_execute", "dead_letters")

_Found = TypeVar("_Found")


def poll(look: Callable[[], _Found], seconds: float, every: float = 0.02) -> _Found:
    """Look until there is something to see, for so many seconds; return what was seen last."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(every)
    return found


class Operator:
    """Tables and queues go by the stack's outputs that name them, functions by their folders."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.dynamodb, self.sqs, self.functions = map(stack.gateway.client, ("dynamodb", "sqs", "lambda"))

    def items(self, table: str) -> list[Item]:
        scan = self.dynamodb.get_paginator("scan")
        pages = scan.paginate(TableName=self.stack.outputs[table], ConsistentRead=True)
        return [item for page in pages for item in page["Items"]]

    def journal_item(self, order_id: str) -> Item:
        """The order's item in the journal; {} if there is none."""
        table, key = self.stack.outputs["JournalTableName"], {"orderId": {"S": order_id}}
        item: Item = self.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        return item

    def connections(self, order_id: str) -> set[str]:
        """The ids of the connections that watch an order."""
        items = self.items("ConnectionsTableName")
        return {item["connectionId"]["S"] for item in items if order_id in item["orders"]["M"]}

    def query(self, statement: str, *arguments: object) -> list[Row]:
        url = self.stack.postgres.url
        with psycopg.connect(url, autocommit=True, connect_timeout=10, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), arguments).fetchall()

    def length(self, queue: str, states: Sequence[str] = ("", "NotVisible", "Delayed")) -> int:
        """How many messages a queue has: ready, received, and delayed."""
        attributes = self.queue(queue)
        return sum(int(attributes[f"ApproximateNumberOfMessages{state}"]) for state in states)

    def set_queue(self, queue: str, receives: int | None = None, **attributes: object) -> None:
        """Set a queue's attributes; `receives` is after how many of them a message becomes a dead letter."""
        if receives:
            redrive = {**json.loads(self.queue(queue)["RedrivePolicy"]), "maxReceiveCount": receives}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        named = {name: str(value) for name, value in attributes.items()}
        self.sqs.set_queue_attributes(QueueUrl=self.stack.outputs[queue], Attributes=named)

    def send(self, queue: str, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.stack.outputs[queue], MessageBody=body)

    def name_of(self, function: str) -> str:
        return str(self.stack.outputs[function.title().replace("_", "") + "FunctionName"])

    def consume(self, function: str, enabled: bool) -> None:
        """Have a function take messages from its queue, or not."""
        name = self.name_of(function)
        for source in self.functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            self.functions.update_event_source_mapping(UUID=source["UUID"], Enabled=enabled)

    def workers(self, function: str) -> list[psutil.Process]:
        """The processes that run a function's invocations, wherever they are hosted, without their masters."""
        name, ours = self.name_of(function), psutil.Process()
        masters = [child for child in ours.children() if _function_of(child) == name]
        return [worker for master in masters for worker in master.children()]

    @contextmanager
    def rehosted(
        self,
        variables: Mapping[str, object],
        functions: Sequence[str] = EXECUTING,
        seconds: int | None = None,
        port: int | None = None,
        root: Path = ROOT,
    ) -> Iterator[None]:
        """Run functions with other variables on hosts of their own, and as before when the context ends.

        `seconds` is the time limit of those that execute orders. They take their code from `root`, and reach every
        service at `port` of the loopback (the gateway's own unless given). Call it in the main thread.
        """
        gateway = copy(self.stack.gateway)
        gateway.port = port or gateway.port
        before = [self.configuration(function) for function in functions]
        hosts = FunctionHosts(gateway, root, self.stack.log)
        try:
            for function, configured in zip(functions, before, strict=True):
                environment = configured["Environment"]["Variables"] | {key: str(to) for key, to in variables.items()}
                if endpoint := environment.get("MANAGEMENT_ENDPOINT"):
                    environment["MANAGEMENT_ENDPOINT"] = endpoint.replace(self.stack.gateway.address, gateway.address)
                limit = seconds if seconds and function in EXECUTING else configured["Timeout"]
                changed = {**configured, "Timeout": limit, "Environment": {"Variables": environment}}
                self.functions.update_function_configuration(**changed)
            hosts.start({self.name_of(one): (f"functions/{one}", FUNCTIONS[one]) for one in functions})
            yield
        finally:
            for configured in before:
                self.functions.update_function_configuration(**configured)
            hosts.stop()

    def watch_market(self) -> None:
        """Have a run of the watcher begin, which takes over from the present one."""
        self.functions.invoke(FunctionName=self.name_of("watch_market"), InvocationType="Event", Payload=b"{}")

    def configuration(self, function: str) -> dict[str, Any]:
        """What `update_function_configuration` takes to leave a function as it is."""
        name = self.name_of(function)
        configuration = self.functions.get_function_configuration(FunctionName=name)
        return {name: configuration[name] for name in ("FunctionName", "Timeout", "Environment")}

    def queue(self, queue: str) -> dict[str, str]:
        url = self.stack.outputs[queue]
        attributes: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return attributes


def _function_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("AWS_LAMBDA_FUNCTION_NAME", "")
    except psutil.Error:  # it ended meanwhile, or is another user's
        return ""


def most_at_once(spans: Iterable[tuple[Any, Any]]) -> int:
    """How many of the spans, each from when to when, overlap at the busiest moment."""
    moves = [(moment, move) for span in spans for moment, move in zip(span, (1, -1), strict=True)]
    return max(accumulate(move for _, move in sorted(moves)))
