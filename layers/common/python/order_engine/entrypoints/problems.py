"""Problem documents (RFC 9457): every refusal over HTTP, and of a WebSocket handshake, is one."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import InvalidRequest, NotNowAvailable, RequestRefused
from order_engine.observability import logger

_STATUS = {
    "INVALID_JSON": HTTPStatus.BAD_REQUEST,
    "UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "MISSING_SCOPE": HTTPStatus.FORBIDDEN,
    "UNKNOWN_ORDER": HTTPStatus.NOT_FOUND,
    "CLIENT_ORDER_ID_REUSED": HTTPStatus.CONFLICT,
    "TOO_LATE_TO_CANCEL": HTTPStatus.CONFLICT,
    "BODY_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "INVALID_FIELD": HTTPStatus.UNPROCESSABLE_ENTITY,
    "TOO_MANY_REQUESTS": HTTPStatus.TOO_MANY_REQUESTS,
    "TOO_MANY_SUBSCRIBERS": HTTPStatus.TOO_MANY_REQUESTS,
    "TOO_MANY_STREAMS": HTTPStatus.TOO_MANY_REQUESTS,
    "SERVICE_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "PAUSED": HTTPStatus.SERVICE_UNAVAILABLE,
    "NOTHING_ACCEPTED": HTTPStatus.SERVICE_UNAVAILABLE,
    "ACCEPTANCE_UNKNOWN": HTTPStatus.SERVICE_UNAVAILABLE,
}
# The header of a refusal for which a service is to blame that may be there again.
RETRY_SOON = {"Retry-After": "1"}
# While the engine is paused, which may be for long.
RETRY_LATER = {"Retry-After": "10"}
# RFC 9110's phrases where HTTPStatus had older ones before Python 3.13.
_TITLES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}


def refused(refusal: RequestRefused | UnknownOrder, failed: str) -> dict[str, Any]:
    """Return a request's refusal as a Lambda proxy response. One for which a service is to blame is logged as `failed`,
    and says when to ask again."""
    if isinstance(refusal, UnknownOrder):
        return problem_response(unknown(refusal))
    if isinstance(refusal, NotNowAvailable):
        logger.exception(failed)
        return problem_response(refusal, headers=RETRY_SOON)
    return problem_response(refusal)


def unknown(order: UnknownOrder) -> InvalidRequest:
    """Return what a client is told of an order that there is not."""
    return InvalidRequest("UNKNOWN_ORDER", f"there is no order {order}")


def problem_response(
    refusal: RequestRefused,
    status: HTTPStatus | None = None,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> dict[str, Any]:
    """Return the refusal as a Lambda proxy response: `type, title, status, detail, code`, `errors` for wrong fields,
    and `more`.

    `status` follows from the code unless it is given.
    """
    status = status or _STATUS[refusal.code]
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(status, status.phrase),
        "status": status,
        "detail": str(refusal),
        "code": refusal.code,
        **more,
    }
    challenge = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
    if refusal.errors:
        problem["errors"] = [{"field": error.field, "message": error.message} for error in refusal.errors]
    return {
        "statusCode": int(status),
        "headers": {"Content-Type": "application/problem+json", **challenge, **(headers or {})},
        "body": json.dumps(problem),
    }
