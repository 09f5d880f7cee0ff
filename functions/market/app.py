"""GET /api/quotes and /api/tokens: what the venues would give now, and what can be traded."""

import json
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Scope
from order_engine.domain.amounts import to_wire
from order_engine.domain.order import OrderTerms
from order_engine.domain.refusals import RequestRefused
from order_engine.domain.tokens import TOKENS
from order_engine.entrypoints.door import Guarded, guarded, private
from order_engine.entrypoints.handler import entrypoint
from order_engine.entrypoints.problems import refused
from order_engine.entrypoints.queries import parse_quote_query
from order_engine.use_cases.market import Comparison, Market


@entrypoint(guarded(Bootstrap.market))
def handler(door: Guarded[Market], event: dict[str, Any], _context: object) -> dict[str, Any]:
    """API Gateway HTTP API, payload format 2.0. Returns 200 with quotes or tokens, or a problem document (RFC 9457)."""
    if event["rawPath"].endswith("/tokens"):
        return _tokens()
    try:
        door.caller(event, Scope.READ)
        terms = parse_quote_query(event.get("rawQueryString") or "")
        return private(_quotes(terms, door.use_case.compare(terms)))
    except RequestRefused as refusal:
        return refused(refusal, "there are no quotes")


def _tokens() -> dict[str, Any]:
    tokens = [
        {"symbol": one.symbol, "mint": one.mint, "decimals": one.decimals, "launches": one.launches}
        for one in TOKENS.values()
    ]
    headers = {"Content-Type": "application/json", "Cache-Control": "public, max-age=300"}
    return {"statusCode": 200, "headers": headers, "body": json.dumps({"tokens": tokens})}


def _quotes(terms: OrderTerms, found: Comparison) -> dict[str, Any]:
    quotes = {
        "tokenIn": terms.token_in,
        "tokenOut": terms.token_out,
        "amountIn": to_wire(terms.amount_in),
        "timestamp": found.at.isoformat().replace("+00:00", "Z"),
        "quotes": [quote.model_dump(mode="json", by_alias=True) for quote in found.quotes],
        "rejected": [one.model_dump(mode="json", by_alias=True) for one in found.rejected],
    }
    if found.best and found.min_amount_out is not None:
        quotes |= {"best": found.best.venue, "minAmountOut": to_wire(found.min_amount_out)}
    return quotes
