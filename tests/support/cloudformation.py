"""CloudFormation, as a custom resource's function sees it."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.support.builders import LambdaContext

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class CloudFormation:
    """Invokes a function with the event of its name in events/, and receives the responses at its ResponseURL; it
    refuses the next `refusals` of them, `in_order` or by an answer that is no HTTP."""

    def __init__(self, function: str, handler: Handler) -> None:
        self._event = json.loads((Path(__file__).parents[2] / f"events/{function}.json").read_text())
        self._handler = handler
        self.responses: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.refusals = 0
        self.in_order = True
        receiver = self

        class Receiver(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused, receiver.refusals = receiver.refusals > 0, max(0, receiver.refusals - 1)
                if not refused:
                    receiver.responses.append(json.loads(body))
                    receiver.content_types.append(self.headers["Content-Type"])
                if refused and not receiver.in_order:
                    self.wfile.write(b"no HTTP\r\n\r\n")
                    return
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Receiver)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def asks(self, kind: str, remaining_ms: int = 60_000, **changes: Any) -> dict[str, Any]:
        """Invokes the function with its event, changed so; returns the one response."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/response?signature=x"
        request = {**self._event, "RequestType": kind, "ResponseURL": url, **changes}
        returned = self._handler(request, LambdaContext(remaining_ms=remaining_ms))
        assert [returned] == self.responses
        for key in ("StackId", "RequestId", "LogicalResourceId"):
            assert returned[key] == request[key]
        assert returned["PhysicalResourceId"] == request.get("PhysicalResourceId", request["LogicalResourceId"])
        return returned

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
