"""The consumer of the orders queue: executes each order of a batch, ten at once over all."""

from typing import Any

from order_engine import engine
from order_engine.batches import process_batch
from order_engine.entrypoint import entrypoint


@entrypoint
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS event; answers the messages that must come again (`batchItemFailures`)."""
    executor = engine.executor()
    if "warm" in event:
        return event
    return process_batch(event, context, executor.process)
