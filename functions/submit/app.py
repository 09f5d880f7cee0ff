"""POST /api/orders/execute: accepts an order, and says where to watch it."""

import base64
import json
from binascii import Error as NotBase64
from http import HTTPStatus
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.errors import AcceptanceUnknown, InvalidRequest, NothingAccepted, RequestRefused
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.order_body import parse_order
from order_engine.entrypoints.problems import problem_response
from order_engine.observability import count, logger
from order_engine.use_cases.submit import Submission


@entrypoint(Bootstrap.submission)
def handler(submission: Submission, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 202 with the order, or a problem document (RFC 9457)."""
    headers = {name.lower(): value for name, value in event.get("headers", {}).items()}
    try:
        terms = parse_order(_body(event), headers.get("content-type", ""), headers.get("idempotency-key"))
        record = submission.submit(terms)
    except (NothingAccepted, AcceptanceUnknown) as refusal:
        count("OrdersNotAccepted")
        logger.exception("order not accepted")
        return problem_response(refusal, headers={"Retry-After": "1"})
    except RequestRefused as refusal:
        count("OrdersRefused")
        logger.info("order refused", extra={"code": refusal.code, "detail": str(refusal)})
        return problem_response(refusal)
    order = record.order
    accepted = {
        "orderId": str(order.order_id),
        "status": record.status,
        "createdAt": order.model_dump(mode="json")["created_at"],
        "streamUrl": submission.stream_url(order),
    }
    return {
        "statusCode": int(HTTPStatus.ACCEPTED),
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(accepted),
    }


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except NotBase64 as fault:
        raise InvalidRequest("INVALID_JSON", "the body is not readable") from fault
