"""The outcomes in PostgreSQL."""

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from order_engine.errors import HistoryUnavailable, ServiceUnavailable
from order_engine.orders import JournalEntry
from order_engine.status import OrderStatus

# For this long after a failed connection no other is tried, so that workers don't spend their time on a dead database.
_PAUSE_SECONDS = 2.0

_INSERT_ORDER = """
INSERT INTO orders (order_id, client_order_id, order_type, token_in, token_out, amount_in, slippage_bps,
                    min_amount_out, status, venue, tx_hash, executed_price, amount_out, fee, attempts,
                    failure_code, failure_reason, quotes, created_at, completed_at)
VALUES (%(order_id)s, %(client_order_id)s, %(order_type)s, %(token_in)s, %(token_out)s, %(amount_in)s,
        %(slippage_bps)s, %(min_amount_out)s, %(status)s, %(venue)s, %(tx_hash)s, %(executed_price)s, %(amount_out)s,
        %(fee)s, %(attempts)s, %(failure_code)s, %(failure_reason)s, %(quotes)s, %(created_at)s, %(completed_at)s)
ON CONFLICT (order_id) DO NOTHING
"""

_INSERT_EVENT = """
INSERT INTO order_events (order_id, sequence, status, at, details)
VALUES (%(order_id)s, %(sequence)s, %(status)s, %(at)s, %(details)s)
ON CONFLICT (order_id, sequence) DO NOTHING
"""


class PostgresHistory:
    """Implements `ports.History` with one connection, opened when first needed and reopened once when it broke.

    `connect` opens a connection (see `order_engine.postgres`); it may raise psycopg.Error or ServiceUnavailable. A row
    is only ever written for a final order, and is final itself, which is why a second writing changes nothing.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._away_until = 0.0

    def record(self, entry: JournalEntry) -> None:
        """See `ports.History`."""
        try:
            if self._connection is not None:
                try:
                    return self._write(self._connection, entry)
                except psycopg.OperationalError:
                    self._drop()
            self._write(self._open(), entry)
        except (psycopg.Error, ServiceUnavailable) as fault:
            self._drop()
            raise HistoryUnavailable(f"PostgreSQL: {fault}") from fault

    def _open(self) -> psycopg.Connection[Any]:
        if time.monotonic() < self._away_until:
            raise HistoryUnavailable("PostgreSQL did not answer a moment ago")
        try:
            self._connection = self._connect()
        except psycopg.Error:
            self._away_until = time.monotonic() + _PAUSE_SECONDS
            raise
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, connection: psycopg.Connection[Any], entry: JournalEntry) -> None:
        with connection.transaction(), connection.pipeline():
            connection.execute(_INSERT_ORDER, _order_row(entry))
            for event in entry.events:
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


def _order_row(entry: JournalEntry) -> dict[str, Any]:
    order, last, building = entry.order, entry.last, entry.event_of(OrderStatus.BUILDING)
    confirmed = last.status is OrderStatus.CONFIRMED
    quotes = building.quotes if building else None
    return {
        **order.model_dump(exclude={"min_amount_out"}),
        "min_amount_out": building.min_amount_out if building else order.min_amount_out,
        "status": last.status,
        "venue": building.venue if building else None,
        "tx_hash": last.tx_hash,
        "executed_price": last.executed_price,
        "amount_out": last.amount_out,
        "fee": entry.transaction.fee if confirmed and entry.transaction else None,
        "attempts": entry.attempt,
        "failure_code": last.code,
        "failure_reason": last.error,
        "quotes": Jsonb([quote.model_dump(mode="json", by_alias=True) for quote in quotes]) if quotes else None,
        "completed_at": last.timestamp,
    }
