"""The running system as its users and operators see it: HTTP, sockets, PostgreSQL, the queues, the chain."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeVar

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from local.stack import PATH, LocalStack
from tests.support.operations import Operator, Row, poll
from tests.support.raw_client import Message

PATIENCE_SECONDS = 60.0  # for what takes a fraction of a second on a quiet machine
FIVE = ["pending", "routing", "building", "submitted", "confirmed"]
FINAL = ("confirmed", "failed", "cancelled", "expired")

_Found = TypeVar("_Found")


def wait_for(look: Callable[[], _Found | Literal[False] | None], what: str) -> _Found:
    """Look until there is something to see, and return it."""
    found = poll(look, PATIENCE_SECONDS)
    assert found, f"waited {PATIENCE_SECONDS:g} s in vain: {what}"
    return found


def an_order(**changes: object) -> Message:
    """A request for 10 SOL in USDC, changed."""
    return {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10", **changes}


def statuses(messages: Sequence[Message]) -> list[str]:
    return [message["status"] for message in messages]


def sequences(messages: Sequence[Message]) -> list[int]:
    return [message["sequence"] for message in messages]


@dataclass(frozen=True)
class Watcher:
    socket: ClientConnection

    def next(self) -> Message:
        message: Message = json.loads(self.socket.recv(timeout=PATIENCE_SECONDS), parse_float=Decimal)
        return message

    def until(self, *wanted: str) -> list[Message]:
        """The messages up to the first that has one of these statuses, or types."""
        messages = [self.next()]
        while not {messages[-1].get("status"), messages[-1].get("type")} & {*wanted}:
            messages.append(self.next())
        return messages

    def to_the_end(self) -> list[Message]:
        return self.until(*FINAL)

    def to_the_close(self) -> list[Message]:
        """The messages that come before the server closes the socket, which it does with code 1000."""
        messages = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                messages.append(self.next())
        assert closed.value.rcvd
        assert closed.value.rcvd.code == CloseCode.NORMAL_CLOSURE
        return messages

    def say(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def up_to_pong(self) -> list[Message]:
        """What still comes before the response to a ping that is sent now."""
        self.say({"action": "ping"})
        *messages, pong = self.until("pong")
        assert pong == {"type": "pong"}
        return messages


class System(Operator):
    def __init__(self, stack: LocalStack, http: httpx.Client) -> None:
        super().__init__(stack)
        self._http = http

    def submit(self, payload: Mapping[str, object], **headers: str) -> Message:
        """Send an order; return the body of the 202. A header's underscores stand for hyphens."""
        response = self.post(json.dumps(payload).encode(), **headers)
        assert response.status_code == 202, response.text
        answer: Message = response.json()
        return answer

    def post(self, content: bytes, **headers: str) -> httpx.Response:
        """Send whatever one likes; JSON, unless a header says otherwise."""
        named = {
            name.replace("_", "-"): value for name, value in {"content_type": "application/json", **headers}.items()
        }
        return self._http.post(self.stack.endpoints.http + PATH, content=content, headers=named)

    @contextmanager
    def watching(self, order_id: str, after: int | None = None) -> Iterator[Watcher]:
        with self.socket(f"?orderId={order_id}" + ("" if after is None else f"&after={after}")) as socket:
            yield Watcher(socket)

    def socket(self, query: str) -> ClientConnection:
        url = self.stack.outputs["WebSocketUrl"] + query
        return connect(url, proxy=None, open_timeout=PATIENCE_SECONDS)

    def life_of(self, payload: Mapping[str, object]) -> list[Message]:
        """Send an order and follow it from the first second to its final status."""
        return self.follow(self.submit(payload)["orderId"])

    def follow(self, order_id: str) -> list[Message]:
        with self.watching(order_id) as watcher:
            return watcher.to_the_end()

    def row_of(self, order_id: str) -> Row:
        """The order's row in PostgreSQL, which is written just after its final status was published."""
        statement = "SELECT * FROM orders WHERE order_id = %s"
        return wait_for(lambda: self.query(statement, order_id), f"the row of order {order_id}")[0]

    def events_of(self, order_id: str) -> list[Row]:
        return self.query("SELECT * FROM order_events WHERE order_id = %s ORDER BY sequence", order_id)

    def chain_states(self, order_id: str) -> list[str]:
        """How the order's transactions stand on the chain, sorted."""
        transactions = [item for item in self.items("ChainTableName") if "state" in item]
        return sorted(item["state"]["S"] for item in transactions if item["orderId"]["S"] == order_id)
