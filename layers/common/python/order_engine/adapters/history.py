"""The outcomes in PostgreSQL, written."""

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from psycopg.types.json import Jsonb

from order_engine.adapters.postgres import Connection, HistoryDatabase
from order_engine.domain.amounts import to_wire
from order_engine.domain.record import OrderRecord
from order_engine.domain.summary import last_decision, summary_of

_INSERT_ORDER = """
INSERT INTO orders (order_id, owner, client_order_id, order_type, token_in, token_out, amount_in, slippage_bps,
                    max_price_impact_bps, min_amount_out, min_amount_out_asked, status, venue, tx_hash, executed_price,
                    amount_out, fee, attempts, last_sequence, failure_code, failure_reason, quotes, time_in_force,
                    expires_at, limit_price, trigger_price, created_at, completed_at)
VALUES (%(order_id)s, %(owner)s, %(client_order_id)s, %(order_type)s, %(token_in)s, %(token_out)s, %(amount_in)s,
        %(slippage_bps)s, %(max_price_impact_bps)s, %(floor)s, %(min_amount_out)s, %(status)s, %(venue)s, %(tx_hash)s,
        %(executed_price)s, %(amount_out)s, %(fee)s, %(attempt)s, %(sequence)s, %(code)s, %(error)s, %(quotes)s,
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
    failure nothing is tried for a while. `monotonic` counts seconds.
    """

    def __init__(self, connect: Callable[[], Connection], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = HistoryDatabase(connect, monotonic)

    def record(self, record: OrderRecord) -> None:
        self._database.run(partial(_write, record))


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
    summary, routed = summary_of(record), last_decision(record)
    quotes = routed.quotes if routed else ()
    columns = {**summary.model_dump(), "floor": routed.min_amount_out if routed else summary.min_amount_out}
    return {
        # As they are in the journal: a row is the same whoever writes it, and when.
        **{name: Decimal(to_wire(one)) if isinstance(one, Decimal) else one for name, one in columns.items()},
        "quotes": Jsonb([quote.model_dump(mode="json", by_alias=True) for quote in quotes]) if quotes else None,
    }
