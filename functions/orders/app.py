"""GET and DELETE /api/orders/{orderId}: shows an owner's order, and cancels it."""

import json
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Scope
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable, RequestRefused, TooLateToCancel
from order_engine.entrypoints.door import Guarded, guarded, private
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.order_ids import order_id_of, unknown
from order_engine.entrypoints.problems import RETRY_SOON, problem_response
from order_engine.observability import logger
from order_engine.use_cases.orders import Orders


@entrypoint(guarded(Bootstrap.orders))
def handler(door: Guarded[Orders], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 200 with the order, or a problem document (RFC 9457)."""
    cancels = event["requestContext"]["http"]["method"] == "DELETE"
    try:
        caller = door.caller(event, Scope.TRADE if cancels else Scope.READ)
        order_id = order_id_of(event["pathParameters"]["orderId"])
        record = (door.use_case.cancel if cancels else door.use_case.look_up)(order_id, caller)
    except UnknownOrder as order:
        return problem_response(unknown(order))
    except NotNowAvailable as refusal:
        logger.exception("an order could not be shown or cancelled")
        return problem_response(refusal, headers=RETRY_SOON)
    except TooLateToCancel as refusal:
        return problem_response(refusal, orderStatus=refusal.status)
    except RequestRefused as refusal:
        return problem_response(refusal)
    return private(_document(record))


def _document(record: OrderRecord) -> dict[str, Any]:
    """Return the order's terms, its present status, and its events as they are on the socket."""
    terms = record.order.model_dump(mode="json", by_alias=True, exclude={"owner", "order_id"}, exclude_none=True)
    events = [json.loads(event.to_json()) for event in record.events]
    return {"orderId": str(record.order.order_id), "status": record.status, **terms, "events": events}
