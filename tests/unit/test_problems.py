"""Problem documents: what RFC 9457 asks for, and the fields that are wrong."""

import json
from http import HTTPStatus

import pytest
from order_engine.domain.errors import (
    AcceptanceUnknown,
    ClientOrderIdReused,
    FieldError,
    InvalidRequest,
    NothingAccepted,
    RequestRefused,
    TooManySubscribers,
)
from order_engine.entrypoints.problems import problem_response


def test_a_problem_says_its_type_title_status_detail_code_and_fields() -> None:
    refusal = InvalidRequest(422, "INVALID_FIELD", "amountIn is required", (FieldError("amountIn", "is required"),))

    response = problem_response(refusal)

    assert response["statusCode"] == 422
    assert response["headers"] == {"Content-Type": "application/problem+json"}
    assert json.loads(response["body"]) == {
        "type": "about:blank",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "amountIn is required",
        "code": "INVALID_FIELD",
        "errors": [{"field": "amountIn", "message": "is required"}],
    }


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (ClientOrderIdReused("mine"), 409, "CLIENT_ORDER_ID_REUSED"),
        (NothingAccepted("the queue did not take the order"), 503, "NOTHING_ACCEPTED"),
        (AcceptanceUnknown("the queue did not respond", "mine"), 503, "ACCEPTANCE_UNKNOWN"),
        (TooManySubscribers(), 429, "TOO_MANY_SUBSCRIBERS"),
        (InvalidRequest(415, "UNSUPPORTED_MEDIA_TYPE", "no"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (InvalidRequest(413, "BODY_TOO_LARGE", "no"), 413, "BODY_TOO_LARGE"),
    ],
)
def test_every_refusal_has_its_status_and_code(refusal: RequestRefused, status: int, code: str) -> None:
    response = problem_response(refusal)

    problem = json.loads(response["body"])
    assert (response["statusCode"], problem["status"], problem["code"]) == (status, status, code)
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["detail"]


def test_without_wrong_fields_there_is_no_list_of_them() -> None:
    assert "errors" not in json.loads(problem_response(TooManySubscribers())["body"])


def test_headers_may_be_added() -> None:
    headers = problem_response(NothingAccepted("away"), {"Retry-After": "1"})["headers"]

    assert headers == {"Content-Type": "application/problem+json", "Retry-After": "1"}
