"""Consumer of the dead-letter queue: ends the orders whose messages kept killing their workers.

An order that no worker ever claimed goes back to the orders queue. A message that names no order (poison) stays in the
queue, where an alarm shows it.
"""

from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.entrypoints.batches import process_batch
from order_engine.entrypoints.handler import entrypoint
from order_engine.use_cases.execute import Executor

_REASON = "the order could not be processed: its workers were stopped or died, time and again"


@entrypoint(Bootstrap.executor)
def handler(executor: Executor, event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS event. Returns `batchItemFailures`: the messages that must stay in the queue."""
    return process_batch(event, context, lambda order_id, _: executor.give_up(order_id, _REASON))
