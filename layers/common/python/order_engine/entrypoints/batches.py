"""Batches of SQS messages: each is processed on its own, and failures are reported one by one."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from order_engine.adapters.queue import order_id_of
from order_engine.domain.errors import LeaseLost, NotNow, OrderEngineError, ServiceUnavailable, UnknownOrder
from order_engine.observability import VERSION, count, count_by, log_context, logger

# What one order can need at the most: venues and sockets at their time limits. A later order of a batch is not begun
# with less, so that the function's time limit does not cut it off.
_ENOUGH_MS = 18_000


class NoTimeLeft(OrderEngineError):
    """The rest of the batch must be redelivered."""


def process_batch(event: dict[str, Any], context: Any, work: Callable[[UUID, int], object]) -> dict[str, Any]:
    """Process an SQS batch: call `work` with each message's order and receive count. Return `batchItemFailures`, the
    messages for which it raised.

    A message that names no order is poison: it is reported too, and ends in the dead-letter queue. A single message
    never fails the batch.
    """
    begun = 0

    def handle(record: SQSRecord) -> None:
        nonlocal begun
        if begun and context.get_remaining_time_in_millis() < _ENOUGH_MS:
            raise NoTimeLeft
        begun += 1
        _handle(record, work)

    # All records failing is no reason to fail the invocation: it would count as an error of the function.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response(event, handle, processor, context))


def _handle(record: SQSRecord, work: Callable[[UUID, int], object]) -> None:
    try:
        order_id = order_id_of(record.body)
    except ValueError:
        count("PoisonMessages")
        logger.exception("a message that names no order", extra={"messageId": record.message_id})
        raise
    with log_context(order_id):
        try:
            work(order_id, int(record.attributes.approximate_receive_count))
        except (NotNow, LeaseLost) as held:
            logger.info("another worker has the order", extra={"reason": str(held)})
            raise
        except UnknownOrder:
            count("PoisonMessages")
            logger.exception("a message about an order that the journal does not have")
            raise
        except ServiceUnavailable as fault:
            logger.warning("a service is unavailable; the message is redelivered", extra={"reason": str(fault)})
            raise
        except Exception:
            count_by("WorkerFaults", "version", VERSION)
            logger.exception("the worker failed; the message is redelivered")
            raise
