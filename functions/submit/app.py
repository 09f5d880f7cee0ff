"""POST /api/orders/execute: takes an order in, and answers where to watch it."""

import base64
import json
from binascii import Error as NotBase64
from typing import Any

from order_engine import engine
from order_engine.entrypoint import entrypoint
from order_engine.errors import AcceptanceUnknown, InvalidRequest, NothingAccepted, RequestRefused
from order_engine.observability import count, logger
from order_engine.orders import Order
from order_engine.problems import problem_response
from order_engine.status import OrderStatus
from order_engine.submission import parse_request


@entrypoint
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Answers 202 with the order, or a problem document (RFC 9457)."""
    submission = engine.submission()
    if "warm" in event:
        return event
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    try:
        request = parse_request(_body(event), headers.get("content-type", ""), headers.get("idempotency-key"))
        order = submission.submit(request)
    except (NothingAccepted, AcceptanceUnknown) as refusal:
        count("OrdersNotAccepted")
        logger.exception("order not accepted")
        return problem_response(refusal, {"Retry-After": "1"})
    except RequestRefused as refusal:
        count("OrdersRefused")
        logger.info("order refused", extra={"code": refusal.code, "detail": refusal.detail})
        return problem_response(refusal)
    body = json.dumps(_accepted(order))
    return {"statusCode": 202, "headers": {"Content-Type": "application/json"}, "body": body}


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except NotBase64 as fault:
        raise InvalidRequest(400, "INVALID_JSON", "the body is not readable") from fault


def _accepted(order: Order) -> dict[str, Any]:
    return {
        "orderId": str(order.order_id),
        "status": OrderStatus.PENDING,
        "createdAt": json.loads(order.to_json())["createdAt"],
        "streamUrl": f"{engine.settings().text('STREAM_URL')}?orderId={order.order_id}",
    }
