"""An engine that misbehaves as it is told, on real sockets of this machine."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

ORDER = "5a3b0000-0000-4000-8000-000000000001"
OTHER = "5a3b0000-0000-4000-8000-000000000002"
LIFE = ("pending", "routing", "building", "submitted", "confirmed")

Message = dict[str, Any]
Talk = Callable[[ServerConnection], object]


def status_of(sequence: int, order_id: str = ORDER, life: Sequence[str] = LIFE, **others: object) -> Message:
    """A status as it is on the wire, by its number in the order's life."""
    name = life[sequence - 1]
    more: Message = {"venue": "meteora", "txHash": "4" * 64} if name in ("submitted", "confirmed") else {}
    if name == "building":
        quote = {"venue": "meteora", "price": "150.1", "fee": "0.002", "priceImpactPct": "0.1", "amountOut": "1498.5"}
        more = {"venue": "meteora", "quotes": [quote], "minAmountOut": "1490"}
    if name == "confirmed":
        more |= {"executedPrice": "149.9", "amountOut": "1499"}
    at = f"2026-11-22T14:30:0{sequence}Z"
    common = {"orderId": order_id, "sequence": sequence, "status": name, "attempt": 1, "timestamp": at, "message": name}
    return {**common, **more, **others}


def summary(order_id: str = ORDER, **others: object) -> Message:
    """An order as it is listed."""
    return {
        "orderId": order_id,
        "status": "confirmed",
        "createdAt": "2026-11-22T14:30:00.5Z",
        "orderType": "market",
        "tokenIn": "SOL",
        "tokenOut": "USDC",
        "amountIn": "10",
        "slippageBps": 50,
        "maxPriceImpactBps": 1000,
        "timeInForce": "gtc",
        "attempt": 1,
        "sequence": 5,
        **others,
    }


@dataclass
class Answer:
    """A response; one with the status 0 never comes, one with -1 is a connection that breaks. A body of bytes is sent
    as it is."""

    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """A request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: Message | None


def says(*messages: Message) -> Talk:
    """Send messages, then close with 1000."""

    def talk(socket: ServerConnection) -> None:
        for message in messages:
            socket.send(json.dumps(message))

    return talk


def then_breaks(*messages: Message) -> Talk:
    """Send messages, then cut the connection without a word."""

    def talk(socket: ServerConnection) -> None:
        says(*messages)(socket)
        socket.socket.close()

    return talk


def heard(socket: ServerConnection) -> Message:
    """The next message of the client."""
    message: Message = json.loads(socket.recv(timeout=10))
    return message


class Engine:
    """`answers` are the next responses to any request, `talks` what is done with the next connections; a status in
    their place refuses the handshake. Without either it gives a 500. `requests` and `handshakes` have what came."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.talks: list[Talk | Answer] = []
        self.requests: list[Seen] = []
        self.handshakes: list[Request] = []
        self.url = self.websocket = ""
        self.over = threading.Event()

    @property
    def stream_url(self) -> str:
        """Of the order."""
        return f"{self.websocket}?orderId={ORDER}"

    @property
    def accepted(self) -> Answer:
        """A 202."""
        at = "2026-11-22T14:30:00Z"
        return Answer(202, {"orderId": ORDER, "status": "pending", "createdAt": at, "streamUrl": self.stream_url})

    @property
    def streams(self) -> Answer:
        """That of POST /api/streams."""
        return Answer(200, {"streamUrl": f"{self.websocket}?token=secret-token"})

    def process(self, socket: ServerConnection, request: Request) -> Response | None:
        """Refuse a handshake, if it is to be."""
        self.handshakes.append(request)
        if not self.talks or callable(self.talks[0]):
            return None
        answer = self.talks.pop(0)
        assert isinstance(answer, Answer)
        response = socket.respond(answer.status, json.dumps(answer.body))
        for name, value in answer.headers.items():
            response.headers[name] = value
        return response

    def talk(self, socket: ServerConnection) -> None:
        """Do what is to be done with a connection."""
        with suppress(ConnectionClosed, OSError):
            if self.talks:
                talk = self.talks.pop(0)
                assert callable(talk)
                talk(socket)

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        self.requests.append(Seen(handler.command, handler.path, dict(handler.headers), body))
        answer = self.answers.pop(0) if self.answers else Answer(500, {"status": 500})
        if answer.status <= 0:
            if answer.status == 0:
                self.over.wait()
            handler.close_connection = True
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.status == 204:
            content = b""
        handler.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


@contextmanager
def running() -> Iterator[Engine]:
    """An engine on free ports."""
    engine = Engine()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            engine.take(self)

        do_POST = do_DELETE = do_GET  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Says nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sockets: Server = serve(engine.talk, "127.0.0.1", 0, process_request=engine.process, close_timeout=0.1)
    engine.url = f"http://127.0.0.1:{http.server_address[1]}"
    engine.websocket = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/live"
    threads = [
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}),
        threading.Thread(target=sockets.serve_forever),
    ]
    for thread in threads:
        thread.start()
    try:
        yield engine
    finally:
        engine.over.set()
        http.shutdown()
        http.server_close()
        sockets.shutdown()
        for thread in threads:
            thread.join()


def path_of(request: Request) -> str:
    """The query of a handshake."""
    return urlsplit(request.path).query
