"""Posting to sockets and invoking `notify`, over real HTTP: what each answer means, and no long wait for one."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from order_engine import limits
from order_engine.adapters.aws import client
from order_engine.adapters.notify_requests import LambdaNotifyRequests, wanted_by
from order_engine.adapters.sockets import GatewaySockets
from order_engine.domain.errors import ServiceUnavailable, SocketGone, SocketUnreachable

from tests.support.builders import a_subscriber, an_order
from tests.support.local_aws import LocalGateway


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def sockets_at(url: str) -> GatewaySockets:
    return GatewaySockets(client("apigatewaymanagementapi", url))


@pytest.fixture
def closed_port() -> Iterator[str]:
    gateway = LocalGateway()
    url = gateway.url
    gateway.close()
    yield url


def test_a_message_arrives_as_it_was_posted_also_at_an_id_with_special_characters(gateway: LocalGateway) -> None:
    sockets_at(gateway.url).post("L0SM9cOFvHcCIhw=", '{"status": "größer → ≥"}')

    assert gateway.posted == {"L0SM9cOFvHcCIhw=": [{"status": "größer → ≥"}]}


def test_410_means_that_the_socket_is_gone(gateway: LocalGateway) -> None:
    gateway.answers["gone"] = [410]

    with pytest.raises(SocketGone):
        sockets_at(gateway.url).post("gone", "{}")


@pytest.mark.parametrize("status", [403, 413, 429, 500, 503])
def test_any_other_refusal_means_that_the_socket_is_out_of_reach_and_is_not_repeated_here(
    gateway: LocalGateway, status: int
) -> None:
    gateway.answers["busy"] = [status]
    sockets = sockets_at(gateway.url)

    with pytest.raises(SocketUnreachable):
        sockets.post("busy", "{}")

    assert gateway.posted["busy"] == []
    sockets.post("busy", "{}")  # the connection to the gateway is as good as before
    assert gateway.posted["busy"] == [{}]


def test_an_answer_that_never_comes_is_not_waited_for(gateway: LocalGateway) -> None:
    gateway.answers["slow"] = [None]
    begun = time.monotonic()

    with pytest.raises(SocketUnreachable) as caught:
        sockets_at(gateway.url).post("slow", "{}")

    assert isinstance(caught.value.__cause__, ReadTimeoutError)
    assert time.monotonic() - begun < limits.POST
    assert gateway.posted["slow"] == []


def test_a_gateway_that_is_not_there_means_that_the_socket_is_out_of_reach(closed_port: str) -> None:
    with pytest.raises(SocketUnreachable):
        sockets_at(closed_port).post("connection", "{}")


def test_notify_is_invoked_asynchronously_for_the_very_subscriber(gateway: LocalGateway) -> None:
    subscriber = a_subscriber(an_order().order_id, generation=3, page=7)

    LambdaNotifyRequests(client("lambda", gateway.url), "notify").request(subscriber)

    ((function, invocation_type, event),) = gateway.invoked
    assert (function, invocation_type) == ("notify", "Event")
    assert wanted_by(event) == replace(subscriber, connected_at=wanted_by(event).connected_at)


def test_a_notify_that_can_not_be_asked_for_is_unavailable(closed_port: str) -> None:
    with pytest.raises(ServiceUnavailable, match="notify function"):
        LambdaNotifyRequests(client("lambda", closed_port), "notify").request(a_subscriber(an_order().order_id))


@pytest.mark.parametrize("event", [{}, {"orderId": "order-1", "connectionId": "c", "generation": 1}])
def test_an_event_that_names_no_subscriber_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        wanted_by(event)
