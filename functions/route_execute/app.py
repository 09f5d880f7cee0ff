"""Consumer of the orders queue: executes the orders of a batch."""

from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.entrypoints.batches import process_batch
from order_engine.entrypoints.handler import entrypoint
from order_engine.use_cases.execute import Executor


@entrypoint(Bootstrap.executor)
def handler(executor: Executor, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS event. Returns `batchItemFailures`: the messages to redeliver."""
    return process_batch(event, context, executor.process)
