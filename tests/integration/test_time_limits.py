"""Every call to a service that hangs ends within its stated limit, and none begins that can't end in time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from order_engine import limits
from order_engine.adapters.aws import client
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.live import DynamoLiveOrders
from order_engine.adapters.journal.subscribers import DynamoSubscribers
from order_engine.adapters.notify_requests import LambdaNotifyRequests
from order_engine.adapters.queue import SqsOrderQueue
from order_engine.adapters.sockets import GatewaySockets
from order_engine.domain.errors import OutOfTime, ServiceUnavailable, SocketUnreachable
from order_engine.domain.record import OrderRecord

from tests.doubles.timeline import Timeline
from tests.support.builders import a_subscriber, an_order
from tests.support.local_aws import black_hole, silent_service
from tests.support.outages import SLACK_SECONDS

CONNECT = 0.5
SUBSCRIBER = a_subscriber(uuid4())

Call = tuple[str, Callable[[], object], float, int]


def calls_at(url: str) -> list[Call]:
    """A call to each service, with its limit and its tries."""
    dynamodb = client("dynamodb", url)
    journal = DynamoJournal(dynamodb, "journal", "keys", Timeline(), timedelta(seconds=25))
    live = DynamoLiveOrders(dynamodb, "journal")
    subscribers = DynamoSubscribers(dynamodb, "pages", "journal")
    queue = SqsOrderQueue(client("sqs", url), f"{url}/queue/orders")
    notify_requests = LambdaNotifyRequests(client("lambda", url), "notify")
    sockets = GatewaySockets(client("apigatewaymanagementapi", url))
    with_key = OrderRecord.accepted(an_order(client_order_id="mine"))
    return [
        ("journal", lambda: journal.read(uuid4()), limits.DYNAMODB, 2),
        ("live orders", lambda: live.page("owner", None, None, 1), limits.DYNAMODB, 2),
        ("journal, transaction", lambda: journal.create(with_key, "fingerprint"), limits.DYNAMODB, 2),
        ("subscribers", lambda: subscribers.hand_over(SUBSCRIBER, 1), limits.DYNAMODB, 2),
        ("queue", lambda: queue.send(uuid4()), limits.QUEUE, 2),
        ("notify requests", lambda: notify_requests.send(SUBSCRIBER), limits.INVOKE, 1),
        ("sockets", lambda: sockets.post("connection=", "{}"), limits.POST, 1),
        ("sockets, closing", lambda: sockets.close("connection="), limits.CLOSE, 1),
    ]


def seconds_until_it_fails(call: Callable[[], object], limit: float) -> float:
    begun = time.monotonic()
    with limits.invocation(lambda: limit + 1), pytest.raises((ServiceUnavailable, SocketUnreachable)) as failed:
        call()
    assert not isinstance(failed.value, OutOfTime)  # there was time enough to begin
    return time.monotonic() - begun


def test_a_call_to_a_service_that_hangs_ends_within_its_limit() -> None:
    with silent_service() as silent, black_hole() as hole, ThreadPoolExecutor(14) as pool:
        running = [
            (name, pool.submit(seconds_until_it_fails, call, limit), limit, tries, url is silent)
            for url in (silent, hole)
            for name, call, limit, tries in calls_at(url)
        ]
        for name, took, limit, tries, answers_connects in running:
            back_off = 2 ** (tries - 1) - 1
            at_least = limit - back_off - tries * CONNECT if answers_connects else tries * CONNECT
            assert at_least <= took.result() <= limit + SLACK_SECONDS, name


def test_no_call_begins_that_may_outlast_the_invocation() -> None:
    for _, call, limit, _ in calls_at("http://127.0.0.1:9"):
        with limits.invocation(lambda left=limit - 0.01: left), pytest.raises(OutOfTime):  # type: ignore[misc]
            call()
