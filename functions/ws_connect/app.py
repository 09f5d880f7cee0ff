"""The routes of the WebSocket: keeps a subscriber with its order, answers its messages, forgets it when it leaves."""

from http import HTTPStatus
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.errors import InvalidRequest, RequestRefused, UnknownOrder
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.problems import problem_response
from order_engine.entrypoints.socket_messages import answer, parse_query
from order_engine.observability import count, logger
from order_engine.use_cases.subscribe import Subscription


@entrypoint(Bootstrap.subscription)
def handler(subscription: Subscription, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """WebSocket proxy event of $connect, $disconnect or $default. A status other than 200 refuses the handshake."""
    connection_id = event["requestContext"]["connectionId"]
    match event["requestContext"]["routeKey"]:
        case "$connect":
            return _connect(subscription, connection_id, event.get("queryStringParameters") or {})
        case "$disconnect":
            subscription.leave(connection_id)
        case _:
            answer(subscription, connection_id, event.get("body") or "")
    return {"statusCode": 200}


def _connect(subscription: Subscription, connection_id: str, query: dict[str, str]) -> dict[str, Any]:
    try:
        order_id, after = parse_query(query)
        subscription.join(connection_id, order_id, after)
    except UnknownOrder as unknown:
        return _refused(InvalidRequest("UNKNOWN_ORDER", f"there is no order {unknown}"))
    except InvalidRequest as refusal:
        return _refused(refusal, HTTPStatus.BAD_REQUEST)
    except RequestRefused as refusal:
        return _refused(refusal)
    return {"statusCode": 200}


def _refused(refusal: RequestRefused, status: HTTPStatus | None = None) -> dict[str, Any]:
    count("SubscribersRefused")
    logger.info("subscriber refused", extra={"code": refusal.code, "detail": str(refusal)})
    return problem_response(refusal, status)
