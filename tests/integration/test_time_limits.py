"""Every call to a service that hangs ends within its stated limit, and none begins that can't end in time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from uuid import uuid4

import pytest
from order_engine import limits
from order_engine.adapters.aws import client
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import DynamoSubscribers
from order_engine.adapters.notify_requests import LambdaNotifyRequests
from order_engine.adapters.queue import SqsOrderQueue
from order_engine.adapters.sockets import GatewaySockets
from order_engine.domain.errors import OutOfTime, ServiceUnavailable, SocketUnreachable

from tests.doubles.timeline import Timeline
from tests.support.builders import a_subscriber, an_order
from tests.support.local_aws import black_hole, silent_service

CONNECT = 0.5
SUBSCRIBER = a_subscriber(uuid4())
# For scheduling on a busy machine: a thread that should go on does so a little later.
SLACK = 0.3

Hang = Callable[[], AbstractContextManager[str]]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def calls_at(url: str | None) -> dict[str, tuple[Callable[[], object], float, int]]:
    """A call to each service, with its limit and its tries."""
    dynamodb = client("dynamodb", url)
    journal = DynamoJournal(dynamodb, "journal", "keys", Timeline(), timedelta(seconds=25))
    subscribers = DynamoSubscribers(dynamodb, "connections", "pages", "journal")
    queue = SqsOrderQueue(client("sqs", url), f"{url}/queue/orders")
    notify_requests = LambdaNotifyRequests(client("lambda", url), "notify")
    sockets = GatewaySockets(client("apigatewaymanagementapi", url))
    with_key = OrderRecord.accepted(an_order(client_order_id="mine"))
    return {
        "journal": (lambda: journal.read(uuid4()), limits.DYNAMODB, 2),
        "journal, transaction": (lambda: journal.create(with_key, "fingerprint"), limits.DYNAMODB, 2),
        "subscribers": (lambda: subscribers.hand_over(SUBSCRIBER, 1), limits.DYNAMODB, 2),
        "queue": (lambda: queue.send(uuid4()), limits.QUEUE, 2),
        "catch-ups": (lambda: notify_requests.request(SUBSCRIBER), limits.INVOKE, 1),
        "sockets": (lambda: sockets.post("connection=", "{}"), limits.POST, 1),
    }


def seconds_until_it_fails(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    with pytest.raises((ServiceUnavailable, SocketUnreachable)):
        call()
    return time.monotonic() - begun


@pytest.mark.parametrize("hang", [silent_service, black_hole])
def test_a_call_to_a_service_that_hangs_ends_within_its_limit(hang: Hang) -> None:
    with hang() as url:
        calls = calls_at(url)
        with ThreadPoolExecutor(len(calls)) as pool:
            measured = {
                name: pool.submit(seconds_until_it_fails, call) for name, (call, _limit, _tries) in calls.items()
            }
            took = {name: future.result() for name, future in measured.items()}

    for name, (_call, limit, tries) in calls.items():
        back_off = 2 ** (tries - 1) - 1
        at_least = limit - back_off - tries * CONNECT if hang is silent_service else tries * CONNECT
        assert at_least <= took[name] <= limit + SLACK, name


def with_seconds_left(seconds: float) -> AbstractContextManager[None]:
    return limits.invocation(lambda: seconds)


def test_no_call_begins_that_may_outlast_the_invocation() -> None:
    for name, (call, limit, _tries) in calls_at("http://127.0.0.1:9").items():  # where nobody listens
        with with_seconds_left(limit - 0.01), pytest.raises(OutOfTime):
            call()
        with with_seconds_left(limit + 1), pytest.raises((ServiceUnavailable, SocketUnreachable)) as begun:
            call()
        assert not isinstance(begun.value, OutOfTime), name
