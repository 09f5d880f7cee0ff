"""The routes of the WebSocket: keeps a subscriber with its order, answers its messages, forgets it when it leaves."""

from http import HTTPStatus
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.errors import InvalidRequest, RequestRefused, UnknownOrder
from order_engine.entrypoints.door import Guarded, guarded, headers_of
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.problems import problem_response
from order_engine.entrypoints.socket_messages import answer, parse_query
from order_engine.observability import count, logger
from order_engine.use_cases.subscribe import Subscription


@entrypoint(guarded(Bootstrap.subscription))
def handler(door: Guarded[Subscription], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """WebSocket proxy event of $connect, $disconnect or $default. A status other than 200 refuses the handshake."""
    connection_id = event["requestContext"]["connectionId"]
    # Not by the route, which a message's `action` may name.
    match event["requestContext"]["eventType"]:
        case "CONNECT":
            return _connect(door, connection_id, event)
        case "DISCONNECT":
            door.use_case.leave(connection_id)
        case _:
            answer(door.use_case, connection_id, event.get("body") or "")
    return {"statusCode": 200}


def _connect(door: Guarded[Subscription], connection_id: str, event: dict[str, Any]) -> dict[str, Any]:
    query = event.get("queryStringParameters") or {}
    try:
        order_id, after = parse_query(query)
        caller = door.access.watcher(headers_of(event).get("authorization"), query.get("token"), order_id)
        door.use_case.join(connection_id, order_id, after, caller)
    except UnknownOrder as unknown:
        return _refused(InvalidRequest("UNKNOWN_ORDER", f"there is no order {unknown}"))
    except InvalidRequest as refusal:
        return _refused(refusal, HTTPStatus.BAD_REQUEST)
    except RequestRefused as refusal:
        return _refused(refusal)
    return {"statusCode": 200}


def _refused(refusal: RequestRefused, status: HTTPStatus | None = None) -> dict[str, Any]:
    count("SubscribersRefused")
    logger.info("subscriber refused", extra={"code": refusal.code})
    return problem_response(refusal, status)
