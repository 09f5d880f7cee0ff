"""The consumer of the dead-letter queue: ends the orders whose messages kept killing their workers.

What is no order at all (poison) stays in the queue, where an alarm shows it. An order that no worker ever took up goes
back to the orders queue.
"""

from typing import Any

from order_engine import engine
from order_engine.batches import process_batch
from order_engine.entrypoint import entrypoint


@entrypoint
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS event; answers the messages that must stay in the queue (`batchItemFailures`)."""
    executor = engine.executor()
    if "warm" in event:
        return event
    reason = "the order could not be processed: its workers were stopped or died, time and again"
    return process_batch(event, context, lambda order_id, _: executor.give_up(order_id, reason))
