"""Posting to sockets and invoking `notify`, over real HTTP: what each response means, and no long wait for one."""

import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from order_engine import limits
from order_engine.adapters.aws import client
from order_engine.adapters.notify_requests import LambdaNotifyRequests, subscriber_of
from order_engine.adapters.sockets import GatewaySockets
from order_engine.domain.errors import ServiceUnavailable, SocketGone, SocketUnreachable

from tests.support.builders import a_subscriber, an_order
from tests.support.local_aws import LocalGateway
from tests.support.outages import SLACK_SECONDS

NOWHERE = "http://127.0.0.1:9"


def sockets_at(url: str) -> GatewaySockets:
    return GatewaySockets(client("apigatewaymanagementapi", url))


def test_a_message_arrives_as_posted_also_for_an_id_with_special_signs(gateway: LocalGateway) -> None:
    sockets_at(gateway.url).post("L0SM9cOFvHcCIhw=", '{"status": "größer → ≥"}')

    assert gateway.posted == {"L0SM9cOFvHcCIhw=": [{"status": "größer → ≥"}]}


@pytest.mark.parametrize(
    ("status", "fault"),
    [(410, SocketGone), *((status, SocketUnreachable) for status in (403, 413, 429, 500, 503))],
)
def test_a_refused_post_is_not_repeated_and_only_410_means_gone(
    gateway: LocalGateway, status: int, fault: type[Exception]
) -> None:
    gateway.answers["busy"] = [status]
    sockets = sockets_at(gateway.url)

    with pytest.raises(fault):
        sockets.post("busy", "{}")

    assert gateway.posted["busy"] == []
    sockets.post("busy", "{}")  # the connection to the gateway is as good as before
    assert gateway.posted["busy"] == [{}]


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_refused_close_is_not_repeated(gateway: LocalGateway, status: int) -> None:
    gateway.answers["busy="] = [status]
    sockets = sockets_at(gateway.url)

    with pytest.raises(SocketUnreachable):
        sockets.close("busy=")

    assert gateway.closed == set()
    assert sockets.close("busy=")
    assert gateway.closed == {"busy="}


def test_a_post_waits_for_no_response_beyond_its_limit(gateway: LocalGateway) -> None:
    gateway.answers["slow"] = [None]
    begun = time.monotonic()

    with pytest.raises(SocketUnreachable) as caught:
        sockets_at(gateway.url).post("slow", "{}")

    assert isinstance(caught.value.__cause__, ReadTimeoutError)
    assert time.monotonic() - begun < limits.POST + SLACK_SECONDS
    assert gateway.posted["slow"] == []


def test_notify_is_invoked_asynchronously_for_the_very_subscriber(gateway: LocalGateway) -> None:
    subscriber = a_subscriber(an_order().order_id, generation=3, page=7)

    LambdaNotifyRequests(client("lambda", gateway.url), "notify").send(subscriber)

    ((function, invocation_type, event),) = gateway.invoked
    assert (function, invocation_type) == ("notify", "Event")
    assert replace(subscriber_of(event), connected_at=subscriber.connected_at) == subscriber


def test_a_gateway_or_a_lambda_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(SocketUnreachable):
        sockets_at(NOWHERE).post("connection", "{}")
    with pytest.raises(SocketUnreachable):
        sockets_at(NOWHERE).close("connection")
    with pytest.raises(ServiceUnavailable, match="notify function"):
        LambdaNotifyRequests(client("lambda", NOWHERE), "notify").send(a_subscriber(an_order().order_id))


@pytest.mark.parametrize("event", [{}, {"orderId": "order-1", "connectionId": "c", "generation": 1}])
def test_an_event_that_names_no_subscriber_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        subscriber_of(event)
