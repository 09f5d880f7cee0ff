"""What everybody reaches: the system's two addresses, before MiniStack and in its process.

`/live` is the WebSocket API, every other path the HTTP API. The emulator's own APIs take only callers that have the
credential of this run. Web pages of other sites are refused, unless they are allowed, and so are names of this machine
that only they would use.
Served by `local.gateway` as `uvicorn local.front:app`.
"""

import asyncio
import hmac
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from ministack.app import app as ministack
from ministack.services import apigateway
from order_engine.domain.refusals import InvalidRequest
from order_engine.entrypoints.problems import problem_response
from order_engine.observability import logger

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Told here, by PUT: the paths of the two APIs in the emulator, as {"http": …, "websocket": …, "cors": …}, where the
# last is the HTTP API's CORS configuration. The emulator answers every preflight with *.
OPEN = "/_front"
WEBSOCKET_PATH = "/live"
_CREDENTIAL = os.environ["AWS_ACCESS_KEY_ID"].encode()
_SIGNED_BY = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/]+)/")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_NO_PATH = ("//", "/$", "/_")  # what the emulator would take for a stage, or for an address of its own
_SERVER_ERROR = 500
# What the emulator's refusals are as ours; any other 4xx is a 400, any 5xx a 502.
_STATUS = {
    403: HTTPStatus.NOT_FOUND,
    404: HTTPStatus.NOT_FOUND,
    405: HTTPStatus.NOT_FOUND,
    410: HTTPStatus.NOT_FOUND,
    413: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    429: HTTPStatus.TOO_MANY_REQUESTS,
}
# Headers of its answers; the server writes a Date of its own.
_EMULATORS = (b"access-control-", b"x-amz", b"date")
_REFUSED = {
    HTTPStatus.NOT_FOUND: ("NOT_FOUND", "there is nothing at {method} {path}; docs/api.md lists what there is"),
    HTTPStatus.TOO_MANY_REQUESTS: ("TOO_MANY_REQUESTS", "too many requests at once; please send it again later"),
    HTTPStatus.BAD_REQUEST: ("BAD_REQUEST", "the request is not understood"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("BODY_TOO_LARGE", "the body is too large"),
}
_FAILED = "INTERNAL_ERROR", "the request failed, and what became of it is unknown; .local/stack.log says why"

_FLUSH_SECONDS = 1.0  # within the limit that a worker has for closing a socket
_POLL_SECONDS = 0.01

# What the function said at the handshake that this task serves.
_answer: ContextVar[dict[str, Any] | None] = ContextVar("answer", default=None)


class Front:
    """The ASGI application."""

    def __init__(self) -> None:
        self._apis: dict[str, str] = {}
        self._cors: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._take(scope, receive, tell)
        except Exception:  # noqa: BLE001 - whatever goes wrong here, the client gets an answer and the log the reason
            logger.exception("the front failed")
            if not begun and scope["type"] in ("http", "websocket"):
                await _respond(scope, send, HTTPStatus.BAD_GATEWAY, *_FAILED)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _has_credential(scope):
            if scope["type"] == "http" and scope["path"] == OPEN:
                await self._open(receive, send)
            else:
                await ministack(scope, receive, send)
        elif reason := _foreign(scope, self._cors.get("AllowOrigins", [])):
            await _refuse(scope, receive, send, HTTPStatus.FORBIDDEN, "FORBIDDEN", reason)
        elif not self._apis:
            starting = "the system is starting; please send it again"
            await _refuse(scope, receive, send, HTTPStatus.SERVICE_UNAVAILABLE, "STARTING", starting)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self._call(scope, receive, send)

    async def _open(self, receive: Receive, send: Send) -> None:
        told = json.loads((await receive())["body"])
        self._cors, self._apis = told.pop("cors"), told
        await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
        await send({"type": "http.response.body"})

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not path.startswith("/") or path.startswith(_NO_PATH) or "@connections" in path:
            await _respond(scope, send, HTTPStatus.NOT_FOUND, *_told(_REFUSED[HTTPStatus.NOT_FOUND], scope))
            return
        if path == WEBSOCKET_PATH:
            upgrade = "this is a WebSocket: connect to it with ws://"
            await _refuse(scope, receive, send, HTTPStatus.UPGRADE_REQUIRED, "UPGRADE_REQUIRED", upgrade)
            return
        refused: int | None = None
        shared = self._shared_headers(scope)
        if shared and _is_preflight(scope):
            await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": shared})
            await send({"type": "http.response.body"})
            return

        async def answer(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                headers = {name.lower(): value for name, value in message["headers"]}
                if message["status"] >= HTTPStatus.BAD_REQUEST and b"problem" not in headers.get(b"content-type", b""):
                    refused = message["status"]
                    return
                kept = [one for one in headers.items() if not one[0].startswith(_EMULATORS)]
                message = {**message, "headers": kept + shared}
            if refused is None:
                await send(message)

        await ministack(_below(self._apis["http"], scope), receive, answer)
        if refused is not None:
            other = HTTPStatus.BAD_GATEWAY if refused >= _SERVER_ERROR else HTTPStatus.BAD_REQUEST
            status = _STATUS.get(refused, other)
            await _respond(scope, send, status, *_told(_REFUSED.get(status, _FAILED), scope))

    def _shared_headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """What lets a page of an allowed origin read a response, or after a preflight send a request; empty for any
        other. As API Gateway does."""
        origin = _header(scope, b"origin")
        if not origin or not _allows(self._cors.get("AllowOrigins", []), origin):
            return []
        told = {"allow-origin": origin}
        if _is_preflight(scope):
            told["allow-methods"] = ",".join(self._cors.get("AllowMethods", []))
            told["allow-headers"] = ",".join(self._cors.get("AllowHeaders", []))
            told["max-age"] = str(self._cors.get("MaxAge", 0))
        else:
            told["expose-headers"] = ",".join(self._cors.get("ExposeHeaders", []))
        return [(f"access-control-{name}".encode(), value.encode("latin-1")) for name, value in told.items()]

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != WEBSOCKET_PATH:
            detail = f"there is no WebSocket at {scope['path'][:100]}; it is {WEBSOCKET_PATH}"
            await _refuse(scope, receive, send, HTTPStatus.NOT_FOUND, "NOT_FOUND", detail)
            return
        accepted = told = False

        async def answer(message: Message) -> None:
            nonlocal accepted, told
            told = True
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
        if not told:  # the client has left during the handshake
            await send({"type": "websocket.close"})


def _has_credential(scope: Scope) -> bool:
    """Whether an AWS request is signed with the credential of this run. The signature itself is not checked."""
    signed = [_SIGNED_BY.match(value) for name, value in scope["headers"] if name == b"authorization"]
    given = [match[1] for match in signed if match]
    # Of a presigned URL, by version 4 or, where boto3 has its way, 2.
    query = parse_qs(scope["query_string"].decode("latin-1"))
    signers = [value for name in ("X-Amz-Credential", "AWSAccessKeyId") for value in query.get(name, [])]
    given += [value.split("/")[0].encode() for value in signers]
    return any(hmac.compare_digest(key, _CREDENTIAL) for key in given)


def _foreign(scope: Scope, allowed: Sequence[str]) -> str | None:
    """Why a request is none of this machine's own, if it is not.

    A web page can send requests to any address, with its Origin; and it can give this machine a name of its site's.
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _LOOPBACK.fullmatch(hosts[0]):
        return "Host must be a name of the loopback, such as 127.0.0.1 or localhost"
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    if any(origin != f"http://{hosts[0]}" and not _allows(allowed, origin) for origin in origins):
        return "requests from web pages of other origins are not taken, unless ALLOWED_ORIGINS names them"
    return None


def _allows(allowed: Sequence[str], origin: str) -> bool:
    return origin in allowed or "*" in allowed


def _is_preflight(scope: Scope) -> bool:
    return bool(scope["method"] == "OPTIONS" and _header(scope, b"access-control-request-method"))


def _header(scope: Scope, name: bytes) -> str:
    """A header that is given once; empty otherwise."""
    values = [value.decode("latin-1") for other, value in scope["headers"] if other == name]
    return values[0] if len(values) == 1 else ""


def _below(path: str, scope: Scope) -> Scope:
    """Move a request below a path of the emulator's. Repeated headers are joined with commas, as by API Gateway."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b"," + value if name in headers else value
    moved = {"path": path + scope["path"], "raw_path": path.encode() + scope["raw_path"]}
    return {**scope, **moved, "headers": list(headers.items())}


def _told(refusal: tuple[str, str], scope: Scope) -> tuple[str, str]:
    code, detail = refusal
    return code, detail.format(method=scope["method"], path=scope["path"][:100])


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


def _flush_before_closing() -> None:
    """Have MiniStack pass on what was posted before it closes a connection: what it still has then, it drops. A client
    that reads too slowly for that keeps its connection: the call is refused, as where there are too many."""
    serve = apigateway.handle_connections_api

    async def flushed(method: str, api: str, stage: str, connection: str, *others: Any) -> Any:
        known = apigateway._ws_connections.get(connection)
        ends_at = time.monotonic() + _FLUSH_SECONDS
        while method == "DELETE" and known and not known["outbox"].empty():
            if time.monotonic() > ends_at:
                return HTTPStatus.TOO_MANY_REQUESTS, {}, b'{"message": "LimitExceededException"}'
            await asyncio.sleep(_POLL_SECONDS)
        return await serve(method, api, stage, connection, *others)

    apigateway.handle_connections_api = flushed


_keep_answers()
_flush_before_closing()
# uvicorn takes a handshake that was refused with a response for one that was left unanswered.
logging.getLogger("uvicorn.error").addFilter(lambda line: "completing handshake" not in line.getMessage())
app = Front()
