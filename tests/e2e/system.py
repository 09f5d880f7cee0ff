"""The running system as its users and operators see it: HTTP, sockets, PostgreSQL, the queues, the chain."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
from psycopg.rows import dict_row
from websockets.sync.client import ClientConnection, connect

from local.client import PATH, Message
from local.client import submit as submit_to
from local.stack import LocalStack

PATIENCE_SECONDS = 60.0  # for what takes a fraction of a second on a quiet machine
FIVE = ["pending", "routing", "building", "submitted", "confirmed"]
FINAL = ("confirmed", "failed")

_Found = TypeVar("_Found")


def wait_for(look: Callable[[], _Found | None], what: str) -> _Found:
    """Looks again and again until there is something to see, and answers it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s in vain: {what}"
        time.sleep(0.02)
    return found


def an_order(**changes: object) -> Message:
    """A request for 10 SOL in USDC, changed."""
    return {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10", **changes}


def statuses(messages: Sequence[Message]) -> list[str]:
    """What the messages say, in the order in which they came."""
    return [message["status"] for message in messages]


def sequences(messages: Sequence[Message]) -> list[int]:
    """Their numbers, in the order in which they came."""
    return [message["sequence"] for message in messages]


@dataclass(frozen=True)
class Watcher:
    """A subscriber: one open socket."""

    socket: ClientConnection

    def next(self) -> Message:
        """The next message, whatever it is."""
        message: Message = json.loads(self.socket.recv(timeout=PATIENCE_SECONDS), parse_float=Decimal)
        return message

    def take(self, count: int) -> list[Message]:
        """The next messages."""
        return [self.next() for _ in range(count)]

    def until(self, *wanted: str) -> list[Message]:
        """The messages up to the first that has one of these statuses."""
        messages = [self.next()]
        while messages[-1].get("status") not in wanted:
            messages.append(self.next())
        return messages

    def to_the_end(self) -> list[Message]:
        """The messages up to the final status."""
        return self.until(*FINAL)

    def say(self, message: object) -> None:
        """Sends an object as JSON."""
        self.socket.send(json.dumps(message))

    def up_to_pong(self) -> list[Message]:
        """What still comes before the answer to a ping that is sent now."""
        self.say({"action": "ping"})
        messages = [self.next()]
        while messages[-1] != {"type": "pong"}:
            messages.append(self.next())
        return messages[:-1]


@dataclass(frozen=True)
class System:
    """A local stack, and what a test wants to ask it."""

    stack: LocalStack

    # --- as a client --------------------------------------------------------------------------------

    def submit(self, payload: Mapping[str, object], **headers: str) -> Message:
        """Sends an order; the body of the 202. A header's underscores stand for hyphens."""
        return submit_to(self.stack.endpoints.http, payload, _named(headers))

    def post(self, content: bytes, **headers: str) -> httpx.Response:
        """Sends whatever one likes."""
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            return http.post(self.stack.endpoints.http + PATH, content=content, headers=_named(headers))

    @contextmanager
    def watching(self, order_id: str, after: int | None = None) -> Iterator[Watcher]:
        """Subscribes to an order."""
        resume = "" if after is None else f"&after={after}"
        with self.socket(f"?orderId={order_id}{resume}") as socket:
            yield Watcher(socket)

    def socket(self, query: str) -> ClientConnection:
        """A WebSocket with any query."""
        url = self.stack.outputs["WebSocketUrl"] + query
        return connect(url, proxy=None, open_timeout=PATIENCE_SECONDS)

    def life_of(self, payload: Mapping[str, object]) -> list[Message]:
        """Sends an order and follows it from the first second to its final status."""
        with self.watching(self.submit(payload)["orderId"]) as watcher:
            return watcher.to_the_end()

    # --- as an analyst ------------------------------------------------------------------------------

    def query(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Rows from PostgreSQL."""
        url = self.stack.endpoints.database
        with psycopg.connect(url, autocommit=True, connect_timeout=10, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), arguments).fetchall()

    def row_of(self, order_id: str) -> dict[str, Any]:
        """The order's row in PostgreSQL, which is written just after its final status was published."""
        statement = "SELECT * FROM orders WHERE order_id = %s"
        return wait_for(lambda: self.query(statement, order_id), f"the row of order {order_id}")[0]

    def events_of(self, order_id: str) -> list[dict[str, Any]]:
        """The order's events in PostgreSQL."""
        return self.query("SELECT * FROM order_events WHERE order_id = %s ORDER BY sequence", order_id)

    # --- as an operator -----------------------------------------------------------------------------

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return self.stack.gateway.client(service)

    def items(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table, by the name of the output that names it."""
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=self.stack.outputs[table])
        return [item for page in pages for item in page["Items"]]

    def journal_item(self, order_id: str) -> dict[str, Any]:
        """The order's item in the journal."""
        answer = self.client("dynamodb").get_item(
            TableName=self.stack.outputs["JournalTableName"], Key={"orderId": {"S": order_id}}, ConsistentRead=True
        )
        item: dict[str, Any] = answer["Item"]
        return item

    def orders_kept(self) -> int:
        """How many orders the journal has."""
        pages = (
            self.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.stack.outputs["JournalTableName"], Select="COUNT")
        )
        return sum(page["Count"] for page in pages)

    def chain_states(self, order_id: str) -> list[str]:
        """How the order's transactions stand on the chain, sorted."""
        transactions = [item for item in self.items("ChainTableName") if "state" in item]
        return sorted(item["state"]["S"] for item in transactions if item["orderId"]["S"] == order_id)

    def messages_in(self, queue: str) -> int:
        """How many messages a queue has, waiting, delayed or in somebody's hands, by the output that names it."""
        answer = self.client("sqs").get_queue_attributes(QueueUrl=self.stack.outputs[queue], AttributeNames=["All"])
        names = ("", "NotVisible", "Delayed")
        return sum(int(answer["Attributes"][f"ApproximateNumberOfMessages{name}"]) for name in names)

    def workers(self) -> list[psutil.Process]:
        """The processes that execute orders, but not their masters, which would start no new ones then."""
        function = self.stack.outputs["RouteExecuteFunctionName"]
        masters = [one for one in psutil.Process().children() if _function_of(one) == function]
        return [worker for master in masters for worker in master.children()]


def _function_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("AWS_LAMBDA_FUNCTION_NAME")
    except psutil.Error:  # PostgreSQL, which is somebody else, or a process that has just ended
        return None


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
