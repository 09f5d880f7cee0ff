"""What the code and the prose answer, by the schemas of the specifications."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from order_engine.domain.access import Scope
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.quota import Allowance
from order_engine.domain.refusals import (
    AcceptanceUnknown,
    ClientOrderIdReused,
    EnginePaused,
    FieldError,
    InvalidRequest,
    MissingScope,
    NothingAccepted,
    NotNowAvailable,
    RequestRefused,
    TooLateToCancel,
    TooManyRequests,
    Unauthorized,
)
from order_engine.domain.summary import summary_of
from order_engine.entrypoints.problems import problem_response

from tests.support.builders import a_limit, a_quote, a_record, a_rejection, an_order
from tests.support.specifications import flat, named, problems_with, problems_with_answer, specification

OPENAPI, ASYNCAPI = specification("openapi"), specification("asyncapi")
LATER = "2027-01-01T00:00:00Z"
API_DOCUMENT = Path(__file__).parents[2] / "docs/api.md"


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("resting", [False, True])
def test_an_order_in_every_status_is_as_specified(status: OrderStatus, resting: bool) -> None:
    order = a_limit(client_order_id="mine", expires_at=an_order().created_at) if resting else None
    record = a_record(status, order)
    events = [json.loads(event.to_json()) for event in record.events]
    document = {**summary_of(record).to_wire(), "events": events}

    assert problems_with_answer(OPENAPI, named(OPENAPI, "Order"), document) == []
    for specified in (OPENAPI, ASYNCAPI):
        for event in events:
            name = f"{event['status'].title()}Event"
            assert problems_with_answer(specified, named(specified, name), event) == []


def test_quotes_are_as_specified() -> None:
    quote, rejection = (one.model_dump(mode="json", by_alias=True) for one in (a_quote(), a_rejection()))
    comparison = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10", "timestamp": LATER}
    schema = named(OPENAPI, "Quotes")

    assert not problems_with_answer(OPENAPI, schema, {**comparison, "quotes": [], "rejected": [rejection]})
    best = {**comparison, "quotes": [quote], "rejected": [], "best": "raydium", "minAmountOut": "1482.55"}
    assert not problems_with_answer(OPENAPI, schema, best)
    assert problems_with(OPENAPI, schema, {**best, "amountIn": "1E+1"})
    assert problems_with(OPENAPI, schema, {name: value for name, value in best.items() if name != "minAmountOut"})


REFUSALS: list[tuple[str, str, RequestRefused, dict[str, Any]]] = [
    ("/api/orders/execute", "post", InvalidRequest("INVALID_JSON", "the body is not JSON"), {}),
    ("/api/orders/execute", "post", InvalidRequest("BODY_TOO_LARGE", "the body is too large"), {}),
    ("/api/orders/execute", "post", InvalidRequest("UNSUPPORTED_MEDIA_TYPE", "not text/plain"), {}),
    ("/api/orders/execute", "post", InvalidRequest.of(FieldError("amountIn", "is required")), {}),
    ("/api/orders/execute", "post", ClientOrderIdReused("mine"), {}),
    ("/api/orders/execute", "post", TooManyRequests(Allowance(60, 0, 60, 1)), {}),
    ("/api/orders/execute", "post", EnginePaused(), {}),
    ("/api/orders/execute", "post", NothingAccepted("the journal is unavailable"), {}),
    ("/api/orders/execute", "post", AcceptanceUnknown("the journal is unavailable", "mine"), {}),
    ("/api/orders", "get", InvalidRequest.of(FieldError("cursor", "fits other filters")), {}),
    ("/api/orders/{orderId}", "get", InvalidRequest("UNKNOWN_ORDER", "there is no such order"), {}),
    ("/api/orders/{orderId}", "get", InvalidRequest.of(FieldError("orderId", "must be a UUID")), {}),
    ("/api/orders/{orderId}", "delete", TooLateToCancel("confirmed", ended=True), {"orderStatus": "confirmed"}),
    ("/api/quotes", "get", NotNowAvailable("no venue gave a quote"), {}),
    *[
        (path, method, refusal, {})
        for path, method in (
            *(("/api/orders/execute", "post"), ("/api/orders", "get"), ("/api/orders/{orderId}", "get")),
            *(("/api/orders/{orderId}", "delete"), ("/api/quotes", "get"), ("/api/streams", "post")),
        )
        for refusal in (Unauthorized("no key"), MissingScope(Scope.READ))
    ],
    *[
        (path, method, NotNowAvailable("the journal is unavailable"), {})
        for path, method in (
            *(("/api/orders", "get"), ("/api/orders/{orderId}", "get"), ("/api/orders/{orderId}", "delete")),
            ("/api/streams", "post"),
        )
    ],
]


@pytest.mark.parametrize(
    ("path", "method", "refusal", "more"),
    REFUSALS,
    ids=[f"{method}-{path}-{one.code}" for path, method, one, _ in REFUSALS],
)
def test_a_problem_document_is_as_specified(
    path: str, method: str, refusal: RequestRefused, more: dict[str, Any]
) -> None:
    response = problem_response(refusal, **more)
    schema = flat(OPENAPI, OPENAPI["paths"][path][method]["responses"][str(response["statusCode"])])
    content = schema["content"][response["headers"]["Content-Type"]]["schema"]
    document = json.loads(response["body"])

    assert problems_with_answer(OPENAPI, content, document) == []
    assert problems_with(OPENAPI, content, {**document, "code": "NONE"})


def test_the_answers_in_the_api_document_are_as_specified() -> None:
    """As far as they go: an ellipsis stands for what is left out."""
    blocks = re.findall(r"```json\n(.*?)```", API_DOCUMENT.read_text(), re.DOTALL)
    answers = [named(OPENAPI, name) for name in ("Accepted", "Order", "OrderList", "Quotes", "TokenList", "Stream")]
    partial = _without_required(OPENAPI)

    assert len(blocks) > 1
    for block in blocks:
        whole = re.sub(r"(, )?…(?=[\]}])", "", block.replace("0d9c…", "0d9c1f2e-5d0f-4f0c-8b1c-3c1f1d1f9a52"))
        document = json.loads(whole)
        fitting = [one for one in answers if {*document} <= {*flat(OPENAPI, one)["properties"]}]
        assert fitting, block
        assert any(problems_with(partial, one, document) == [] for one in fitting), block


def _without_required(node: Any) -> Any:
    """The document with schemas for parts of objects."""
    if isinstance(node, list):
        return [_without_required(one) for one in node if not (isinstance(one, dict) and "if" in one)]
    if not isinstance(node, dict):
        return node
    return {name: _without_required(one) for name, one in node.items() if name not in ("required", "dependentRequired")}
