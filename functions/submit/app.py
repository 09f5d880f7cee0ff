"""POST /api/orders/execute: accepts an order, and says where to watch it."""

import base64
import json
from binascii import Error as NotBase64
from http import HTTPStatus
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Caller, Scope, StreamSecrets
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.order import OrderTerms
from order_engine.domain.quota import WINDOW_SECONDS, Allowance
from order_engine.domain.refusals import (
    AcceptanceUnknown,
    EnginePaused,
    InvalidRequest,
    NothingAccepted,
    RequestRefused,
    TooManyRequests,
)
from order_engine.entrypoints.door import Guarded, guarded, headers_of
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.order_body import parse_order
from order_engine.entrypoints.problems import RETRY_LATER, RETRY_SOON, problem_response
from order_engine.observability import count, logger
from order_engine.use_cases.access import Access
from order_engine.use_cases.submit import Submission, outage


@entrypoint(guarded(Bootstrap.submission))
def handler(door: Guarded[Submission], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 202 with the order, or a problem document (RFC 9457)."""
    submission = door.use_case
    try:
        caller, streams = _let_in(door.access, event)
        terms = _terms(event)
        allowance = submission.admit(terms, caller.owner)
        record = submission.submit(terms, caller.owner)
    except (NothingAccepted, AcceptanceUnknown) as refusal:
        count("OrdersNotAccepted")
        logger.exception("order not accepted")
        return problem_response(refusal, headers=RETRY_SOON)
    except TooManyRequests as refusal:
        count("OrdersRefused")
        logger.info("order refused", extra={"code": refusal.code, "owner": caller.owner})
        return problem_response(refusal, headers=_quota_headers(refusal.allowance))
    except RequestRefused as refusal:
        count("OrdersRefused")
        logger.info("order refused", extra={"code": refusal.code})
        return problem_response(refusal, headers=RETRY_LATER if isinstance(refusal, EnginePaused) else None)
    order = record.order
    accepted = {
        "orderId": str(order.order_id),
        "status": record.status,
        "createdAt": order.model_dump(mode="json")["created_at"],
        "streamUrl": submission.stream_url(order, streams),
    }
    return {
        "statusCode": int(HTTPStatus.ACCEPTED),
        "headers": {
            "Content-Type": "application/json",
            "Referrer-Policy": "no-referrer",
            **_quota_headers(allowance),
        },
        "body": json.dumps(accepted),
    }


def _let_in(access: Access, event: dict[str, Any]) -> tuple[Caller, StreamSecrets | None]:
    """Return whose request it is, and what its stream's token is made with: nothing is accepted without either."""
    try:
        return access.caller(headers_of(event).get("authorization"), Scope.TRADE), access.streams()
    except ServiceUnavailable as fault:
        raise outage("the API keys could not be looked up", _terms(event).client_order_id) from fault


def _terms(event: dict[str, Any]) -> OrderTerms:
    headers = headers_of(event)
    return parse_order(_body(event), headers.get("content-type", ""), headers.get("idempotency-key"))


def _quota_headers(allowance: Allowance | None) -> dict[str, str]:
    """Return the header fields of draft-ietf-httpapi-ratelimit-headers-11, and Retry-After, which takes precedence."""
    if allowance is None:
        return {}
    fields = {
        "RateLimit-Policy": f'"owner";q={allowance.limit};w={WINDOW_SECONDS}',
        "RateLimit": f'"owner";r={allowance.remaining};t={allowance.reset_seconds}',
    }
    return fields | ({"Retry-After": str(allowance.retry_seconds)} if allowance.retry_seconds else {})


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except NotBase64 as fault:
        raise InvalidRequest("INVALID_JSON", "the body is not readable") from fault
