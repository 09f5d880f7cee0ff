"""GET /api/orders and /api/orders/{orderId}: an owner's orders."""

from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Scope
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.refusals import RequestRefused
from order_engine.entrypoints.door import Guarded, guarded, private
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.orders import order_document, order_id_of
from order_engine.entrypoints.problems import refused
from order_engine.entrypoints.queries import parse_list_query
from order_engine.use_cases.orders import Orders


@entrypoint(guarded(Bootstrap.orders))
def handler(door: Guarded[Orders], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 200 with the order or a page of orders, or a problem document
    (RFC 9457)."""
    try:
        if "orderId" in (event.get("pathParameters") or {}):
            return _one(door, event)
        return _page(door, event)
    except (UnknownOrder, RequestRefused) as refusal:
        return refused(refusal, "orders could not be shown")


def _one(door: Guarded[Orders], event: dict[str, Any]) -> dict[str, Any]:
    caller = door.caller(event, Scope.READ)
    summary, events = door.use_case.look_up(order_id_of(event["pathParameters"]["orderId"]), caller)
    return private(order_document(summary, events))


def _page(door: Guarded[Orders], event: dict[str, Any]) -> dict[str, Any]:
    caller = door.caller(event, Scope.READ)
    query = parse_list_query(event.get("rawQueryString") or "")
    if query.client_order_id is not None:
        return private({"orders": [order.to_wire() for order in door.use_case.named(query.client_order_id, caller)]})
    page = door.use_case.page(query.wanted, query.after, query.limit, caller)
    response = private({"orders": [order.to_wire() for order in page.orders]})
    if page.end:
        response["headers"]["Link"] = query.link_to(page.end)
    return response
