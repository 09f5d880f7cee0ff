"""Problem documents (RFC 9457), which every refusal is answered with."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from order_engine.errors import RequestRefused


def problem_response(refusal: RequestRefused, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The refusal as a Lambda proxy response: `type, title, status, detail, code`, and `errors` for wrong fields."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
    }
    if refusal.errors:
        problem["errors"] = [{"field": error.field, "message": error.message} for error in refusal.errors]
    return {
        "statusCode": refusal.status,
        "headers": {"Content-Type": "application/problem+json", **(headers or {})},
        "body": json.dumps(problem),
    }
