"""The relay does to requests what it says, to those of the named service alone, and nothing when it is not asked to."""

import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import httpx
import pytest

from tests.chaos import relay
from tests.chaos.relay import Relay

DYNAMODB = {"X-Amz-Target": "DynamoDB_20120810.GetItem"}
SQS = {"X-Amz-Target": "AmazonSQS.SendMessage"}
INVOKE = "/2015-03-31/functions/order-engine-notify/invocations"
POST = "/_aws/execute-api/abc/live/%40connections/{}"


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name for it
        """Says nothing."""


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.setattr(relay, "_HELD_SECONDS", (0.3, 0.3))
    Gateway.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as gateway:
        thread = Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with Relay(gateway.server_port) as one:
            yield one
        gateway.shutdown()
        thread.join()


def send(between: Relay, path: str = "/", headers: dict[str, str] | None = None) -> int:
    """The status; 0 for none within a fraction of a second, or a cut connection."""
    with suppress(httpx.TransportError), httpx.Client(timeout=0.15, trust_env=False) as http:
        return http.post(f"http://127.0.0.1:{between.port}{path}", headers=headers, content=b"hello").status_code
    return 0


def test_it_passes_on_what_it_is_not_asked_to_disturb(between: Relay) -> None:
    between.disturb("dynamodb", "hang", share=1, seconds=0)
    between.disturb("invoke", "hang", share=1, seconds=60)
    between.disturb("posts", "throttle", share=0, seconds=60)

    assert [send(between, "/", SQS), send(between, "/", DYNAMODB), send(between, POST.format("abc="))] == [200] * 3
    assert Gateway.seen == [b"hello"] * 3
    assert not between.done


@pytest.mark.parametrize(("mode", "status", "seen"), [("hang", 0, 0), ("lose", 0, 1), ("throttle", 429, 0)])
def test_it_disturbs_a_service(between: Relay, mode: str, status: int, seen: int) -> None:
    between.disturb("invoke", mode, 1, 60)

    assert send(between, INVOKE) == status
    assert len(Gateway.seen) == seen
    assert between.done == {f"invoke: {mode}": 1}


def test_closing_a_socket_is_disturbed_as_posts_are(between: Relay) -> None:
    between.disturb("posts", "throttle", 1, 60)

    with httpx.Client(trust_env=False) as http:
        assert http.delete(f"http://127.0.0.1:{between.port}{POST.format('abc=')}").status_code == 429


def test_what_it_holds_arrives_although_its_sender_has_gone(between: Relay) -> None:
    between.disturb("dynamodb", "hold", 1, 60)

    assert send(between, "/", DYNAMODB) == 0
    assert not Gateway.seen
    deadline = time.monotonic() + 5
    while not Gateway.seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Gateway.seen == [b"hello"]


def test_a_mute_socket_hears_nothing_and_others_do(between: Relay) -> None:
    between.mute({"abc="})

    assert [send(between, POST.format(name)) for name in ("abc%3D", "other")] == [0, 200]
