"""Orders' lives, driven in this process: each function's handler in its turn, over an AWS that a test stands in for.

What API Gateway, the queue's event source mapping, Lambda and the schedule do is done here. The clock is the life's own
and ids are drawn by a seed, so a life causes the same calls, about items of the same sizes, each time.
"""

import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from order_engine import bootstrap, observability
from order_engine.adapters.keys import DynamoKeys
from order_engine.domain.access import ApiKey, StoredKey
from order_engine.entrypoints.handler import Handler
from order_engine.observability import logger
from order_engine.settings import Settings
from order_engine.use_cases import submit as submission
from order_engine.use_cases import watch

from functions.cancel import app as cancel
from functions.notify import app as notify
from functions.route_execute import app as route_execute
from functions.submit import app as submit
from functions.watch_market import app as watch_market
from functions.ws_connect import app as ws_connect
from tests.cost.recorder import Call, Recorder
from tests.support.builders import START, LambdaContext, http_event, sqs_event
from tests.support.local_aws import LocalGateway

HANDLERS: dict[str, Handler[Any]] = {
    app.__name__.split(".")[1]: app.handler for app in (submit, cancel, ws_connect, notify, route_execute, watch_market)
}
# The event source mapping, which takes messages from the queue for `route_execute`.
POLLER = "poller"
_MARKET = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}
_LIMIT = {**_MARKET, "orderType": "limit", "limitPrice": "151"}
_CONNECTION = "UqyzSd0JIAMCJ-w="
_MONTH = timedelta(days=31)


@dataclass
class Life:
    """What an order causes, from its request until nothing is left to do for it."""

    calls: list[Call] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    invocations: int = 0
    log_bytes: int = 0
    stored_bytes: int = 0  # of what it leaves in the tables


class World:
    """The functions, for one order. `environment` has the names of tables and the like."""

    def __init__(self, environment: dict[str, str], connect: Callable[[], Any], gateway: LocalGateway) -> None:
        self.life, self.recorder = Life(), Recorder()
        self.life.calls = self.recorder.calls
        self._gateway, self._waited = gateway, timedelta()
        self._sqs = self.client("sqs")
        self._queue_url = environment["ORDERS_QUEUE_URL"]
        self._parts = bootstrap.Bootstrap(Settings(environment), self.now)
        self._parts.connect_to_database = connect
        self._authorization = dict[str, str]()
        self._order_id = ""

    def now(self) -> datetime:
        """Return the life's time, which goes on with each call to AWS, so threads at once are at one moment."""
        return START + self._waited + timedelta(microseconds=1009) * len(self.recorder.calls)

    def client(self, service: str, endpoint_url: str | None = None) -> Any:
        """Return a recorded client; no message that it sends is delayed."""
        made = self.recorder.client(service, endpoint_url)
        if service == "sqs":
            made.meta.events.register("provide-client-params.sqs.SendMessage", _at_once)
        return made

    def with_key(self, dynamodb: Any, table: str) -> None:
        """Have the order placed with an API key."""
        key = ApiKey.draw()
        DynamoKeys(dynamodb, table).create(StoredKey.of(key, "desk", ["trade", "read"], START, "operator"))
        self._authorization = {"authorization": f"Bearer {key.text}"}

    def submit(self, order: dict[str, str]) -> dict[str, Any]:
        """Place the order, and return the answer's body."""
        response = self._invoke("submit", http_event(json.dumps(order), **self._authorization))
        assert response["statusCode"] == 202, response
        body: dict[str, Any] = json.loads(response["body"])
        self._order_id = body["orderId"]
        return body

    def connect(self, stream_url: str) -> None:
        """Open the order's stream, and have `notify` do what it is asked to."""
        query = dict(part.split("=", 1) for part in stream_url.partition("?")[2].split("&"))
        assert self._invoke("ws_connect", _socket_event("CONNECT", queryStringParameters=query)) == {"statusCode": 200}
        for _, _, wanted in self._gateway.invoked:
            self._invoke("notify", wanted)

    def deliver(self) -> int:
        """Have the workers do what the queue has for them, each message by itself. Return how many there were."""
        delivered = 0
        while messages := self._receive():
            for message in messages:
                delivered += 1
                assert self._invoke("route_execute", sqs_event(message["Body"])) == {"batchItemFailures": []}
                self.recorder.function = POLLER
                self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return delivered

    def look(self, wait: timedelta) -> None:
        """Have the watcher look at the market after a while. Its looks are as many without this order: what it does to
        see whether there is something to do is not recorded."""
        self._waited += wait
        life, before = self.life, len(self.recorder.calls)
        counted = life.invocations, life.log_bytes
        self._invoke("watch_market", {"looks": 1}, LambdaContext(remaining_ms=160_000))
        life.invocations, life.log_bytes = counted
        made = self.recorder.calls[before:]
        self.recorder.calls[before:] = [one for one in made if one.method in ("queue.send", "watchlist.swept")]

    def cancel(self) -> None:
        """Cancel the order."""
        path = {"pathParameters": {"orderId": self._order_id}}
        response = self._invoke("cancel", {**http_event("", **self._authorization), **path})
        assert response["statusCode"] == 200, response

    def end(self) -> Life:
        """Have the client's socket closed by the server, and what is left."""
        if _CONNECTION in self._gateway.closed:
            self._invoke("ws_connect", _socket_event("DISCONNECT"))
        self.life.statuses = [str(event.status) for event in self._parts.journal.read(UUID(self._order_id)).events]
        self.recorder.calls.pop()  # of that look
        self.life.stored_bytes = sum(self.recorder.stored.values())
        return self.life

    def _receive(self) -> list[dict[str, Any]]:
        self.recorder.function = POLLER
        received = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=1)
        if "Messages" not in received:
            self.recorder.calls.pop()  # an idle queue is asked all the time
        messages: list[dict[str, Any]] = received.get("Messages", [])
        return messages

    def _invoke(self, function: str, event: dict[str, Any], context: LambdaContext | None = None) -> dict[str, Any]:
        self.recorder.function = function
        self.life.invocations += 1
        written = io.StringIO()
        try:
            # Standard output is where the metrics go.
            with patch.object(logger.registered_handler, "stream", written), redirect_stdout(written):
                return HANDLERS[function].on(self._parts)(event, context or LambdaContext())
        finally:
            self.life.log_bytes += len(written.getvalue().encode())


def alone(world: World) -> None:
    """A market order that nobody watches."""
    world.submit(_MARKET)
    world.deliver()


def watched(world: World) -> None:
    """A market order with one subscriber, which comes before the swap."""
    world.connect(world.submit(_MARKET)["streamUrl"])
    world.deliver()


def keyed(world: World) -> None:
    """The same where requests need a key, with a clientOrderId."""
    world.connect(world.submit({**_MARKET, "clientOrderId": "desk-1"})["streamUrl"])
    world.deliver()


def rests(world: World) -> None:
    """A limit order that nobody watches: it rests, comes due, is executed; its expiry is cleared at its time."""
    world.submit(_LIMIT)
    world.deliver()
    while not world.deliver():
        world.look(timedelta(seconds=1))
    world.look(_MONTH)
    world.deliver()


def cancelled(world: World) -> None:
    """A limit order that rests and is cancelled; its expiry is cleared as well."""
    world.submit(_LIMIT)
    world.deliver()
    world.cancel()
    world.deliver()
    world.look(_MONTH)
    world.deliver()


LIVES = {life.__name__: life for life in (alone, watched, keyed, rests, cancelled)}


@contextmanager
def world_of(name: str, environment: dict[str, str], connect: Callable[[], Any]) -> Iterator[World]:
    """Return the functions for the order of a life, on one API Gateway and one Lambda of its own."""
    with pytest.MonkeyPatch.context() as patches, closing(LocalGateway()) as gateway:
        patches.setenv("AWS_ENDPOINT_URL_LAMBDA", gateway.url)
        world = World({**environment, "MANAGEMENT_ENDPOINT": gateway.url}, connect, gateway)
        patches.setattr(bootstrap, "client", world.client)
        patches.setattr(observability, "datetime", SimpleNamespace(now=lambda _: world.now()))
        patches.setattr(watch, "_EVERY", timedelta())
        patches.setattr(submission, "uuid4", lambda: UUID(int=random.Random(name).getrandbits(128), version=4))
        yield world


def _at_once(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {**params, "DelaySeconds": 0}


def _socket_event(kind: str, **more: Any) -> dict[str, Any]:
    return {"requestContext": {"eventType": kind, "connectionId": _CONNECTION}, "headers": {}, **more}
