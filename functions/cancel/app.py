"""DELETE /api/orders/{orderId}: cancels an owner's order."""

from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Scope
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import RequestRefused, TooLateToCancel
from order_engine.domain.summary import summary_of
from order_engine.entrypoints.door import Guarded, guarded, private
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.orders import order_document, order_id_of
from order_engine.entrypoints.problems import problem_response, refused
from order_engine.use_cases.cancel import Cancellation


@entrypoint(guarded(Bootstrap.cancellation))
def handler(door: Guarded[Cancellation], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 200 with the order, or a problem document (RFC 9457)."""
    try:
        caller = door.caller(event, Scope.TRADE)
        record = door.use_case.cancel(order_id_of(event["pathParameters"]["orderId"]), caller)
    except TooLateToCancel as refusal:
        return problem_response(refusal, orderStatus=refusal.status)
    except (UnknownOrder, RequestRefused) as refusal:
        return refused(refusal, "an order could not be cancelled")
    return private(order_document(summary_of(record), record.events))
