"""Launches a token on the mock market: from then on both venues have pools for it. Invoked by an operator."""

from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.refusals import InvalidRequest
from order_engine.entrypoints.handler import entrypoint
from order_engine.use_cases.launch import Launches


@entrypoint(Bootstrap.launches)
def handler(launches: Launches, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """`{"token": "NOVA"}`. Returns the token and when its pools opened, or `errors`, as a problem document has them."""
    token = event.get("token")
    try:
        opens_at = launches.open(token)
    except InvalidRequest as refusal:
        return {"errors": [{"field": error.field, "message": error.message} for error in refusal.errors]}
    return {"token": token, "opensAt": opens_at.isoformat()}
