"""The WebSocket's routes: keeps a subscriber with its order, hears what it asks for, forgets it when it leaves."""

from typing import Any

from order_engine import engine
from order_engine.entrypoint import entrypoint
from order_engine.errors import RequestRefused
from order_engine.observability import count, logger
from order_engine.problems import problem_response


@entrypoint
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """WebSocket proxy event of $connect, $disconnect or $default. An answer other than 200 refuses the handshake."""
    subscription = engine.subscription()
    if "warm" in event:
        return event
    connection_id = event["requestContext"]["connectionId"]
    match event["requestContext"]["routeKey"]:
        case "$connect":
            query = event.get("queryStringParameters") or {}
            try:
                subscription.join(connection_id, query.get("orderId"), query.get("after"))
            except RequestRefused as refusal:
                count("SubscribersRefused")
                logger.info("subscriber refused", extra={"code": refusal.code, "detail": refusal.detail})
                return problem_response(refusal)
        case "$disconnect":
            subscription.leave(connection_id)
        case _:
            subscription.hear(connection_id, event.get("body") or "")
    return {"statusCode": 200}
