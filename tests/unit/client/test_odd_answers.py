"""What a submit raises for responses that the engine never gives: something else may sit in front of it."""

import pytest
from order_client import Client, Conflict, InvalidRequest, Refused, Unavailable, UnexpectedAnswer

from tests.unit.client.engine import ORDER, Answer, Engine


def submit(engine: Engine) -> None:
    with Client(engine.url, deadline=0) as client:
        client.submit({"clientOrderId": "mine"})


@pytest.mark.parametrize(
    "document",
    [
        {"errors": 5, "code": 7},
        {"errors": [5, None, {"field": 1}], "title": [], "detail": {"a": 1}},
        {"errors": "text", "status": "text"},
        {"errors": {"field": "message"}, "status": [1]},
        {"status": float("inf"), "orderStatus": 5},
        [[]],
        "text",
        None,
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(400, InvalidRequest), (409, Conflict), (501, Unavailable)])
def test_an_odd_problem_document_is_a_refusal(
    engine: Engine, status: int, kind: type[Refused], document: object
) -> None:
    engine.answers = [Answer(status, document)]

    with pytest.raises(kind) as refused:
        submit(engine)

    assert (refused.value.status, refused.value.client_order_id) == (status, "mine")
    assert "clientOrderId mine" in str(refused.value)
    assert all(isinstance(text, str) for text in (refused.value.code, refused.value.title, refused.value.detail))
    assert getattr(refused.value, "order_status", None) is None


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff\x00", b'{"status": ' + b"9" * 5000 + b"}"])
def test_a_problem_document_that_cant_be_read_is_told_by_its_status(engine: Engine, content: bytes) -> None:
    engine.answers = [Answer(400, content)]

    with pytest.raises(InvalidRequest) as refused:
        submit(engine)

    assert (refused.value.status, refused.value.client_order_id) == (400, "mine")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200),
        Answer(200, {"orderId": ORDER}),
        Answer(204),
        Answer(302, {}, {"Location": "/login"}),
        Answer(202, b"[" * 200_000),
        Answer(202, b"plain", {"Content-Encoding": "gzip"}),
        Answer(202, {"orderId": ORDER, "status": "x", "createdAt": "0001-01-01T00:00:00+01:00", "streamUrl": ""}),
    ],
)
def test_the_fate_of_a_submit_without_a_202_of_the_engine_is_unknown(engine: Engine, answer: Answer) -> None:
    engine.answers = [answer]

    with pytest.raises(UnexpectedAnswer, match="clientOrderId mine") as unknown:
        submit(engine)

    assert unknown.value.client_order_id == "mine"
    assert len(engine.requests) == 1
