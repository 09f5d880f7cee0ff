"""A batch of the orders queue: each message on its own, and only those that failed are redelivered."""

import json
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from order_engine.domain.errors import BackingOff, LeaseLost, ServiceUnavailable, UnknownOrder
from order_engine.entrypoints import batches
from order_engine.entrypoints.batches import process_batch

from tests.support.builders import START, LambdaContext, sqs_event


def message(order_id: UUID) -> str:
    return json.dumps({"orderId": str(order_id)})


def failures_of(bodies: list[str], work: Callable[[UUID], object], context: LambdaContext | None = None) -> list[str]:
    """The messages to redeliver; each was received once."""

    def once(order_id: UUID, received: int) -> object:
        assert received == 1
        return work(order_id)

    response = process_batch(sqs_event(*bodies), context or LambdaContext(), once)
    assert set(response) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


FAULTS = [BackingOff(UUID(int=1), START), LeaseLost("lost"), UnknownOrder("who"), ServiceUnavailable("no response")]


@pytest.mark.parametrize("fault", [*FAULTS, ZeroDivisionError("a bug")], ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("failing", [{1}, {0, 1, 2}])
def test_only_the_messages_that_failed_are_redelivered(fault: Exception, failing: set[int]) -> None:
    """Also if all of them failed, which is no failure of the invocation."""
    order_ids = [uuid4() for _ in range(3)]
    worked: list[UUID] = []

    def work(order_id: UUID) -> None:
        worked.append(order_id)
        if order_ids.index(order_id) in failing:
            raise fault

    failed = failures_of([message(order_id) for order_id in order_ids], work)

    assert failed == [f"message-{number}" for number in sorted(failing)]
    assert worked == order_ids


@pytest.mark.parametrize("fault", [*FAULTS, ZeroDivisionError("a bug")], ids=lambda fault: type(fault).__name__)
def test_only_a_fault_of_ours_is_counted_and_under_the_functions_version(
    fault: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_order_id: UUID) -> None:
        raise fault

    monkeypatch.setattr(batches, "VERSION", "7")

    failures_of([message(uuid4())], work)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counted = [(line["service"], line["version"], line["WorkerFaults"]) for line in lines if "WorkerFaults" in line]
    assert counted == [("order-engine", "7", [1.0])] * isinstance(fault, ZeroDivisionError)


@pytest.mark.parametrize(
    "poison",
    ["", "no JSON", "[]", "null", '"x"', "{}", '{"orderId": 7}', '{"orderId": null}', '{"orderId": "order-1"}'],
)
def test_a_message_that_names_no_order_is_reported_and_harms_no_other(poison: str) -> None:
    order_id = uuid4()
    worked: list[UUID] = []

    assert failures_of([poison, message(order_id)], worked.append) == ["message-0"]
    assert worked == [order_id]


@pytest.mark.parametrize("remaining_ms", [20_000, 1])
def test_with_no_time_left_all_but_the_first_message_are_redelivered(remaining_ms: int) -> None:
    order_ids = [uuid4() for _ in range(3)]
    context = LambdaContext(remaining_ms)
    worked: list[UUID] = []

    def work(order_id: UUID) -> None:
        worked.append(order_id)
        context.remaining_ms -= 4_000

    assert failures_of([message(order_id) for order_id in order_ids], work, context) == ["message-1", "message-2"]
    assert worked == order_ids[:1]
