"""What everybody reaches: the system's two addresses, before MiniStack and in its process.

`/live` is the WebSocket API, every other path the HTTP API. The emulator's own APIs take only callers that have the
credential of this run. Web pages of other sites are refused, and so are names of this machine that only they would use.
Served by `local.gateway` as `uvicorn local.front:app`.
"""

import hmac
import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ministack.app import app as ministack
from ministack.services import apigateway
from order_engine.domain.errors import InvalidRequest
from order_engine.entrypoints.problems import problem_response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OPEN = "/_front"  # told here, by PUT: the paths of the two APIs in the emulator, as {"http": …, "websocket": …}
WEBSOCKET_PATH = "/live"
_CREDENTIAL = os.environ["AWS_ACCESS_KEY_ID"].encode()
_SIGNED_BY = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/]+)/")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Headers of its answers; the server writes a Date of its own.
_EMULATORS = (b"access-control-", b"x-amz", b"date")
_REFUSED = {
    HTTPStatus.NOT_FOUND: ("NOT_FOUND", "there is nothing at {method} {path}; docs/api.md lists what there is"),
    HTTPStatus.TOO_MANY_REQUESTS: ("TOO_MANY_REQUESTS", "too many requests at once; please send it again later"),
}
_FAILED = "INTERNAL_ERROR", "the request failed, and what became of it is unknown; .local/stack.log says why"

# What the function said at the handshake that this task serves.
_answer: ContextVar[dict[str, Any] | None] = ContextVar("answer", default=None)


class Front:
    """The ASGI application."""

    def __init__(self) -> None:
        self._apis: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan" or _has_credential(scope):
            if scope["type"] == "http" and scope["path"] == OPEN:
                await self._open(receive, send)
            else:
                await ministack(scope, receive, send)
        elif reason := _foreign(scope):
            await _refuse(scope, receive, send, HTTPStatus.FORBIDDEN, "FORBIDDEN", reason)
        elif not self._apis:
            starting = "the system is starting; please send it again"
            await _refuse(scope, receive, send, HTTPStatus.SERVICE_UNAVAILABLE, "STARTING", starting)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self._call(scope, receive, send)

    async def _open(self, receive: Receive, send: Send) -> None:
        self._apis = json.loads((await receive())["body"])
        await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
        await send({"type": "http.response.body"})

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == WEBSOCKET_PATH:
            upgrade = "this is a WebSocket: connect to it with ws://"
            await _refuse(scope, receive, send, HTTPStatus.UPGRADE_REQUIRED, "UPGRADE_REQUIRED", upgrade)
            return
        refused: int | None = None

        async def answer(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                if message["status"] >= HTTPStatus.BAD_REQUEST and b"problem" not in headers.get(b"content-type", b""):
                    refused = message["status"]
                    return
                message = {**message, "headers": [one for one in headers.items() if not one[0].startswith(_EMULATORS)]}
            if refused is None:
                await send(message)

        await ministack(_below(self._apis["http"], scope), receive, answer)
        if refused is not None:
            status = HTTPStatus.BAD_GATEWAY if refused >= HTTPStatus.INTERNAL_SERVER_ERROR else HTTPStatus(refused)
            code, detail = _REFUSED.get(status, _FAILED)
            await _respond(scope, send, status, code, detail.format(method=scope["method"], path=scope["path"][:100]))

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != WEBSOCKET_PATH:
            detail = f"there is no WebSocket at {scope['path'][:100]}; it is {WEBSOCKET_PATH}"
            await _refuse(scope, receive, send, HTTPStatus.NOT_FOUND, "NOT_FOUND", detail)
            return
        accepted = False

        async def answer(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            refusal = _answer.get()
            if accepted:
                await send(message)
            elif refusal and "problem" in refusal.get("headers", {}).get("Content-Type", ""):
                await _send(scope, send, refusal)
            else:
                await _respond(scope, send, HTTPStatus.BAD_GATEWAY, *_FAILED)

        path = self._apis["websocket"]
        await ministack({**scope, "path": path, "raw_path": path.encode()}, receive, answer)


def _has_credential(scope: Scope) -> bool:
    """Whether an AWS request is signed with the credential of this run. The signature itself is not checked."""
    signed = [_SIGNED_BY.match(value) for name, value in scope["headers"] if name == b"authorization"]
    given = [match[1] for match in signed if match]
    query = parse_qs(scope["query_string"])  # of a presigned URL, by version 4 or, where boto3 has its way, 2
    given += [
        value.split(b"/")[0] for name in (b"X-Amz-Credential", b"AWSAccessKeyId") for value in query.get(name, [])
    ]
    return any(hmac.compare_digest(key, _CREDENTIAL) for key in given)


def _foreign(scope: Scope) -> str | None:
    """Why a request is none of this machine's own, if it is not.

    A web page can send requests to any address, with its Origin; and it can give this machine a name of its site's.
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or urlsplit(f"//{hosts[0]}").hostname not in _LOOPBACK:
        return "Host must be a name of the loopback, such as 127.0.0.1 or localhost"
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if any(origin != f"http://{hosts[0]}" for origin in origins):
        return "requests from web pages of other origins are not taken"
    return None


def _below(path: str, scope: Scope) -> Scope:
    """Move a request below a path of the emulator's. Repeated headers are joined with commas, as by API Gateway."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b"," + value if name in headers else value
    moved = {"path": path + scope["path"], "raw_path": path.encode() + scope["raw_path"]}
    return {**scope, **moved, "headers": list(headers.items())}


async def _refuse(scope: Scope, receive: Receive, send: Send, status: HTTPStatus, code: str, detail: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
    await _respond(scope, send, status, code, detail)


async def _respond(scope: Scope, send: Send, status: HTTPStatus, code: str, detail: str) -> None:
    retried = status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {"Retry-After": "1"} if retried else {}
    await _send(scope, send, problem_response(InvalidRequest(code, detail), status, headers))


async def _send(scope: Scope, send: Send, response: dict[str, Any]) -> None:
    """Answer with what a function returns to API Gateway."""
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    body = response["body"].encode()
    headers = {**response["headers"], "Content-Length": str(len(body))}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.response.start", "status": response["statusCode"], "headers": encoded})
    await send({"type": f"{kind}.response.body", "body": body})


def _keep_answers() -> None:
    """Have MiniStack leave behind what `$connect` answered: of a refusal, it passes neither status nor body on."""
    invoke = apigateway._invoke_ws_lambda

    async def kept(*arguments: Any, **named: Any) -> Any:
        answer = await invoke(*arguments, **named)
        _answer.set(answer)
        return answer

    apigateway._invoke_ws_lambda = kept


_keep_answers()
app = Front()
