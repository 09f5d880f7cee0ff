"""A batch of the orders queue: each message on its own, and only those that failed are redelivered."""

import json
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.queue import order_id_of
from order_engine.domain.errors import BackingOff, LeaseHeld, LeaseLost, ServiceUnavailable, UnknownOrder
from order_engine.entrypoints.batches import process_batch

from tests.support.builders import START, LambdaContext, sqs_event


def message(order_id: UUID) -> str:
    return json.dumps({"orderId": str(order_id)})


def failures_of(bodies: list[str], work: Callable[[UUID], object], context: LambdaContext | None = None) -> list[str]:
    def once(order_id: UUID, received: int) -> object:
        assert received == 1
        return work(order_id)

    answer = process_batch(sqs_event(*bodies), context or LambdaContext(), once)
    assert set(answer) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_each_message_is_worked_on_in_its_turn() -> None:
    order_ids = [uuid4() for _ in range(3)]
    worked: list[UUID] = []

    assert failures_of([message(order_id) for order_id in order_ids], worked.append) == []
    assert worked == order_ids


@pytest.mark.parametrize(
    "fault",
    [
        LeaseHeld(UUID(int=1), START),
        BackingOff(UUID(int=1), START),
        LeaseLost("lost"),
        UnknownOrder("who"),
        ServiceUnavailable("away"),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_only_the_message_that_failed_is_redelivered(fault: Exception) -> None:
    order_ids = [uuid4() for _ in range(3)]
    worked: list[UUID] = []

    def work(order_id: UUID) -> None:
        if order_id == order_ids[1]:
            raise fault
        worked.append(order_id)

    assert failures_of([message(order_id) for order_id in order_ids], work) == ["message-1"]
    assert worked == [order_ids[0], order_ids[2]]


@pytest.mark.parametrize(
    "poison",
    ["", "no JSON", "[]", "null", '"x"', "{}", '{"orderId": 7}', '{"orderId": null}', '{"orderId": "order-1"}'],
)
def test_a_message_that_names_no_order_is_reported_and_harms_no_other(poison: str) -> None:
    order_id = uuid4()
    worked: list[UUID] = []

    assert failures_of([poison, message(order_id)], worked.append) == ["message-0"]
    assert worked == [order_id]


def test_with_all_messages_failing_the_invocation_itself_does_not() -> None:
    def work(_: UUID) -> None:
        raise ServiceUnavailable("away")

    assert failures_of([message(uuid4()), message(uuid4())], work) == ["message-0", "message-1"]


def test_with_no_time_left_the_rest_of_the_batch_is_redelivered() -> None:
    order_ids = [uuid4() for _ in range(3)]
    context = LambdaContext(remaining_ms=20_000)
    worked: list[UUID] = []

    def work(order_id: UUID) -> None:
        worked.append(order_id)
        context.remaining_ms -= 4_000

    assert failures_of([message(order_id) for order_id in order_ids], work, context) == ["message-1", "message-2"]
    assert worked == order_ids[:1]


def test_the_first_message_is_worked_on_however_little_time_is_left() -> None:
    worked: list[UUID] = []

    assert failures_of([message(uuid4())], worked.append, LambdaContext(remaining_ms=1)) == []
    assert len(worked) == 1


def test_a_message_names_an_order_by_its_id() -> None:
    order_id = uuid4()

    assert order_id_of(message(order_id)) == order_id
