"""The AWS services that a test stands in for: DynamoDB and SQS by moto, API Gateway and Lambda by a local server, and
ones that hang."""

import json
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.template.reading import resources


def create_table(dynamodb: Any, name: str, resource: str) -> None:
    """Create a table with the keys that the template gives it."""
    properties = resources("AWS::DynamoDB::Table")[resource]["Properties"]
    needed = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    keys = {key: properties[key] for key in needed if key in properties}
    dynamodb.create_table(TableName=name, **keys)


class OneAtATime:
    """A client whose calls exclude each other, as writes to one item do in DynamoDB (and in moto don't)."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()

    @property
    def meta(self) -> Any:
        """The client's events, among others."""
        return self._client.meta

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with self._lock:
                return getattr(self._client, name)(**arguments)

        return call


Calls = Counter[tuple[str, str]]


@contextmanager
def counted_calls(dynamodb: Any) -> Iterator[Calls]:
    """The calls that a client makes meanwhile, by operation and table, however they end."""
    calls: Calls = Counter()

    def count(model: Any, params: dict[str, Any], **_: Any) -> None:
        body = json.loads(params["body"])
        calls[model.name, body.get("TableName") or "".join(body["RequestItems"])] += 1

    dynamodb.meta.events.register("before-call.dynamodb", count)
    try:
        yield calls
    finally:
        dynamodb.meta.events.unregister("before-call.dynamodb", count)


class AnswerLost:
    """A client whose next call takes effect and is then made again, as botocore does when the answer was lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            getattr(self._client, name)(**arguments)
            return getattr(self._client, name)(**arguments)

        return call


class Meanwhile:
    """A client before whose next calls of one operation something happens; at None nothing does."""

    def __init__(self, client: Any, operation: str, happenings: Iterable[Callable[[], object] | None]) -> None:
        self._client = client
        self._operation = operation
        self._happenings = iter(happenings)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name != self._operation:
            return call

        def interfered(**arguments: Any) -> Any:
            if happening := next(self._happenings, None):
                happening()
            return call(**arguments)

        return interfered


@contextmanager
def silent_service() -> Iterator[str]:
    """The URL of a service that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a service to which connecting takes for ever: its queue of connections is full."""
    with ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        with suppress(TimeoutError):
            while True:
                sockets.enter_context(socket.create_connection(server.getsockname(), timeout=0.1))
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class LocalServer:
    """A server on this machine, in a thread of its own."""

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class AnsweringService(LocalServer):
    """A service of AWS on this machine, whose JSON API gives `answers` in their order: a status with a body, or None
    for a connection that is closed instead. The last one is given again."""

    def __init__(self, *answers: tuple[int, dict[str, Any]] | None) -> None:
        self.answers = list(answers)
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                answer = service.answers.pop(0) if len(service.answers) > 1 else service.answers[0]
                if answer is None:
                    return
                body = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        super().__init__(HTTPServer(("127.0.0.1", 0), Handler))


class LocalGateway(LocalServer):
    """The management API of a WebSocket API and Lambda's invocations, as a server on this machine.

    `posted` has what each connection was sent, `closed` those that were closed, `invoked` each invocation's function,
    type and payload. `answers` are the next answers to calls on a connection: a status, or None for one that never
    comes.
    """

    def __init__(self) -> None:
        self.posted: defaultdict[str, list[Any]] = defaultdict(list)
        self.closed: set[str] = set()
        self.invoked: list[tuple[str, str, Any]] = []
        self.answers: defaultdict[str, list[int | None]] = defaultdict(list)
        self._closing = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.respond(gateway.take(unquote(self.path), self.headers.get("X-Amz-Invocation-Type", ""), body))

            def do_DELETE(self) -> None:
                self.respond(gateway.delete(unquote(self.path)))

            def respond(self, status: int | None) -> None:
                if status is None:
                    gateway.wait_for_the_end()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 410:
                    self.send_header("x-amzn-ErrorType", "GoneException")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), Handler))

    def close(self) -> None:
        """Ends it, and every request that it keeps waiting."""
        self._closing.set()
        super().close()

    def wait_for_the_end(self) -> None:
        """Keeps a request without an answer."""
        self._closing.wait()

    def take(self, path: str, invocation_type: str, body: bytes) -> int | None:
        """Takes a request in; answers its status."""
        if path.startswith("/2015-03-31/functions/"):
            self.invoked.append((path.split("/")[3], invocation_type, json.loads(body)))
            return 202
        connection_id, answer = self._answer(path, 200)
        if answer == 200:
            self.posted[connection_id].append(json.loads(body))
        return answer

    def delete(self, path: str) -> int | None:
        """Closes a connection; answers the status."""
        connection_id, answer = self._answer(path, 204)
        if answer == 204:
            self.closed.add(connection_id)
        return answer

    def _answer(self, path: str, success: int) -> tuple[str, int | None]:
        connection_id = path.removeprefix("/@connections/")
        if self.answers[connection_id]:
            return connection_id, self.answers[connection_id].pop(0)
        return connection_id, 410 if connection_id in self.closed else success
