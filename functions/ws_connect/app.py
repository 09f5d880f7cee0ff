"""Lets sockets in: the routes of the WebSocket, and the HTTP route that gives out tokens for it."""

from http import HTTPStatus
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Scope
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import InvalidRequest, RequestRefused
from order_engine.entrypoints.door import Guarded, guarded, headers_of, keys_needed, private
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.problems import problem_response, refused, unknown
from order_engine.entrypoints.socket_messages import Handshake, answer, parse_query
from order_engine.observability import count, logger
from order_engine.use_cases.subscribe import Subscription


@entrypoint(guarded(Bootstrap.subscription))
def handler(door: Guarded[Subscription], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """WebSocket proxy event of $connect, $disconnect or $default, where a status other than 200 refuses the handshake;
    or POST /api/streams, in an HTTP API's payload format 2.0."""
    if "http" in event["requestContext"]:
        return _stream_url(door, event)
    connection_id = event["requestContext"]["connectionId"]
    # Not by the route, which a message's `action` may name.
    match event["requestContext"]["eventType"]:
        case "CONNECT":
            return _connect(door, connection_id, event)
        case "DISCONNECT":
            door.use_case.leave(connection_id)
        case _:
            answer(door.access, door.use_case, connection_id, event.get("body") or "")
    return {"statusCode": 200}


def _connect(door: Guarded[Subscription], connection_id: str, event: dict[str, Any]) -> dict[str, Any]:
    authorization = headers_of(event).get("authorization")
    try:
        asked = _asked(door, event.get("queryStringParameters") or {}, authorization)
        if asked.order_id is None:
            door.use_case.open(connection_id, door.access.connector(authorization, asked.token))
        else:
            caller = door.access.watcher(authorization, asked.token, asked.order_id)
            door.use_case.join(connection_id, asked.order_id, asked.after, caller)
    except UnknownOrder as order:
        return _refused(unknown(order))
    except InvalidRequest as refusal:
        return _refused(refusal, HTTPStatus.BAD_REQUEST)
    except RequestRefused as refusal:
        return _refused(refusal)
    return {"statusCode": 200}


def _asked(door: Guarded[Subscription], query: dict[str, str], authorization: str | None) -> Handshake:
    """What is wrong with a query is told to nobody without a key."""
    try:
        return parse_query(query)
    except InvalidRequest:
        door.access.connector(authorization, query.get("token"))
        raise


def _stream_url(door: Guarded[Subscription], event: dict[str, Any]) -> dict[str, Any]:
    """Return where to connect for many orders: browsers can't set a header on a handshake."""
    url, more = door.use_case.stream_base, {}
    try:
        with keys_needed():
            made = door.access.connection_token(door.caller(event, Scope.READ))
    except RequestRefused as refusal:
        return refused(refusal, "keys can't be looked up")
    if made:
        token, until = made
        url, more = f"{url}?token={token}", {"expiresAt": until.isoformat().replace("+00:00", "Z")}
    return private({"streamUrl": url, **more})


def _refused(refusal: RequestRefused, status: HTTPStatus | None = None) -> dict[str, Any]:
    count("SubscribersRefused")
    logger.info("subscriber refused", extra={"code": refusal.code})
    return problem_response(refusal, status)
