"""The outcomes in PostgreSQL."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from order_engine import limits
from order_engine.adapters.postgres import BoundedConnection, Connection
from order_engine.domain.errors import HistoryUnavailable, OutOfTime, ServiceUnavailable
from order_engine.domain.events import BuildingStarted, Confirmed, Expired, Failed
from order_engine.domain.record import OrderRecord

# Circuit breaker: the pause after the first failure, longer by as much after each further one.
_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0

_INSERT_ORDER = """
INSERT INTO orders (order_id, owner, client_order_id, order_type, token_in, token_out, amount_in, slippage_bps,
                    max_price_impact_bps, min_amount_out, status, venue, tx_hash, executed_price, amount_out, fee,
                    attempts, failure_code, failure_reason, quotes, time_in_force, expires_at, limit_price,
                    trigger_price, created_at, completed_at)
VALUES (%(order_id)s, %(owner)s, %(client_order_id)s, %(order_type)s, %(token_in)s, %(token_out)s, %(amount_in)s,
        %(slippage_bps)s, %(max_price_impact_bps)s, %(min_amount_out)s, %(status)s, %(venue)s, %(tx_hash)s,
        %(executed_price)s, %(amount_out)s, %(fee)s, %(attempts)s, %(failure_code)s, %(failure_reason)s, %(quotes)s,
        %(time_in_force)s, %(expires_at)s, %(limit_price)s, %(trigger_price)s, %(created_at)s, %(completed_at)s)
ON CONFLICT (order_id) DO NOTHING
"""

_INSERT_EVENT = """
INSERT INTO order_events (order_id, sequence, status, at, details)
VALUES (%(order_id)s, %(sequence)s, %(status)s, %(at)s, %(details)s)
ON CONFLICT (order_id, sequence) DO NOTHING
"""


class PostgresHistory:
    """Implements `ports.History`. Rows are written for final orders only and never change, so writing one twice is
    harmless, and so is a write that takes effect after we gave up on it.

    `connect` opens a connection (see `adapters.postgres`); it may raise psycopg.Error or ServiceUnavailable. After a
    failure nothing is tried for a while, so that orders don't wait for a database that is unavailable. `monotonic`
    counts seconds.
    """

    def __init__(self, connect: Callable[[], Connection], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = BoundedConnection(connect)
        self._monotonic = monotonic
        self._pause = 0.0
        self._paused_until = -math.inf

    def record(self, record: OrderRecord) -> None:
        if self._monotonic() < self._paused_until:
            raise HistoryUnavailable("PostgreSQL was unavailable a moment ago")
        try:
            limits.require("PostgreSQL", limits.HISTORY)
        except OutOfTime as fault:
            raise HistoryUnavailable(str(fault)) from fault
        try:
            self._database.run(partial(_write, record), limits.HISTORY)
        except (psycopg.DataError, psycopg.IntegrityError) as fault:  # this row's own fault: others may be written
            raise HistoryUnavailable(f"PostgreSQL refuses the row: {fault}") from fault
        except (psycopg.Error, ServiceUnavailable, OSError) as fault:
            self._pause = min(self._pause + _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
            self._paused_until = self._monotonic() + self._pause
            raise HistoryUnavailable(f"PostgreSQL: {fault}") from fault
        self._pause = 0.0


def _write(record: OrderRecord, connection: Connection) -> None:
    with connection.transaction(), connection.pipeline():
        connection.execute(_INSERT_ORDER, _order_row(record))
        for event in record.events:
            connection.execute(
                _INSERT_EVENT,
                {
                    "order_id": event.order_id,
                    "sequence": event.sequence,
                    "status": event.status,
                    "at": event.timestamp,
                    "details": Jsonb(event.model_dump(mode="json", by_alias=True, exclude_none=True)),
                },
            )


def _order_row(record: OrderRecord) -> dict[str, Any]:
    order, last = record.order, record.last
    building = next((event for event in reversed(record.events) if isinstance(event, BuildingStarted)), None)
    confirmed = last if isinstance(last, Confirmed) else None
    failed = last if isinstance(last, Failed | Expired) else None
    quotes = building.quotes if building else None
    return {
        **order.model_dump(exclude={"min_amount_out"}),
        "min_amount_out": building.min_amount_out if building else order.min_amount_out,
        "status": last.status,
        "venue": building.venue if building else None,
        "tx_hash": confirmed.tx_hash if confirmed else None,
        "executed_price": confirmed.executed_price if confirmed else None,
        "amount_out": confirmed.amount_out if confirmed else None,
        "fee": record.transaction.fee if confirmed and record.transaction else None,
        "attempts": record.attempt,
        "failure_code": failed.code if failed else None,
        "failure_reason": failed.error if failed else None,
        "quotes": Jsonb([quote.model_dump(mode="json", by_alias=True) for quote in quotes]) if quotes else None,
        "completed_at": last.timestamp,
    }
