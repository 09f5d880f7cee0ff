"""Logging (JSON, the order's id on every line that has to do with one) and metrics (EMF), by Powertools.

The metrics, and what they tell an operator, are listed in docs/operations.md.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import UUID

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from order_engine.domain.errors import FailureCode
from order_engine.domain.events import Confirmed, Expired, Failed, StatusEvent
from order_engine.domain.record import OrderRecord

NAMESPACE = "OrderEngine"
# On AWS the stack's name, so that two stacks in one account don't count into the same metrics.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "order-engine"
# Of the function, by Lambda: what a new version does is told from what the one before does.
VERSION = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST"

# How an order ends if a venue or the engine is to blame; all other codes are the market's or the client's.
_FAULTS = frozenset(
    {
        FailureCode.VENUE_UNAVAILABLE,
        FailureCode.TRANSACTION_TIMEOUT,
        FailureCode.RATE_LIMITED,
        FailureCode.TRANSACTION_REVERTED,
        FailureCode.SETTLEMENT_MISMATCH,
        FailureCode.INTERNAL_ERROR,
    }
)

# Powertools would say so at every invocation that has nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger(service=SERVICE, utc=True, log_uncaught_exceptions=False)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


@contextmanager
def log_context(order_id: UUID | str, owner: str | None = None) -> Iterator[None]:
    """Put the order's id, and its owner, on every line that is logged inside; where the owner is not known yet,
    `log_owner` adds it. Don't nest: Powertools removes the keys at the end."""
    with logger.append_context_keys(orderId=str(order_id)):
        if owner:
            log_owner(owner)
        try:
            yield
        finally:
            logger.remove_keys(["owner"])


def log_owner(owner: str) -> None:
    """Put the order's owner on every further line of the `log_context`."""
    logger.append_keys(owner=owner)


def count(name: str, value: float = 1, unit: MetricUnit = MetricUnit.Count) -> None:
    """Add to a metric of this invocation."""
    metrics.add_metric(name=name, unit=unit, value=value)


def count_by(name: str, dimension: str, value: str) -> None:
    """Count once under a dimension's value, which is never an order's id."""
    with single_metric(name=name, unit=MetricUnit.Count, value=1, namespace=NAMESPACE) as metric:
        metric.add_dimension(name="service", value=SERVICE)
        metric.add_dimension(name=dimension, value=value)


def count_outcome(record: OrderRecord) -> None:
    """Count a final order: how it ended, on which venue, whether by a fault, and how long it took once the market
    allowed it."""
    last = record.last
    if isinstance(last, Confirmed):
        count_by("OrdersConfirmed", "venue", last.venue)
    if isinstance(last, Failed):
        count_by("OrdersFailed", "code", last.code)
    if isinstance(last, Expired):
        count("OrdersExpired")
    count("OrderFaults", int(_is_fault(last)))
    if due_at := record.due_at:
        count("TimeToFinal", (last.timestamp - due_at).total_seconds() * 1000, MetricUnit.Milliseconds)


def count_owed(record: OrderRecord, now: datetime) -> None:
    """Record for how long a final order has had no row in PostgreSQL."""
    count("OwedSeconds", (now - record.last.timestamp).total_seconds(), MetricUnit.Seconds)


def count_lag(event: StatusEvent) -> None:
    """Record the time from an event until its subscribers had it."""
    lag = datetime.now(UTC) - event.timestamp
    count("StatusLag", lag.total_seconds() * 1000, MetricUnit.Milliseconds)


def _is_fault(last: StatusEvent) -> bool:
    match last:
        case Failed(code=FailureCode.ORDER_EXPIRED):
            return True  # only an order that met a fault is too old to go on
        case Failed(code=code) | Expired(code=code):
            return code in _FAULTS
        case _:
            return False
