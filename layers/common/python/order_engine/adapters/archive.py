"""The outcomes in PostgreSQL, read by those whose orders they are."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed

from order_engine.adapters.postgres import Connection, HistoryDatabase
from order_engine.domain.errors import UnknownOrder
from order_engine.domain.events import StatusEvent, parse_event
from order_engine.domain.summary import OrderFilter, OrderSummary, Position

# By the names of OrderSummary. Earlier releases wrote no min_amount_out_asked (where nothing was routed, min_amount_out
# is the client's own) and no last_sequence.
_SUMMARY = SQL("""
order_id, owner, client_order_id, order_type, token_in, token_out, amount_in, slippage_bps, max_price_impact_bps,
coalesce(min_amount_out_asked, CASE WHEN venue IS NULL THEN min_amount_out END) AS min_amount_out,
time_in_force, expires_at, limit_price, trigger_price, created_at, status, attempts AS attempt,
coalesce(last_sequence, (SELECT max(sequence) FROM order_events AS event WHERE event.order_id = orders.order_id))
    AS sequence,
venue, tx_hash, executed_price, amount_out, fee, failure_code AS code, failure_reason AS error, completed_at
""")

# One statement, so that an order is never read without its events: `prune_orders` deletes both.
_FIND = SQL("""
SELECT {summary}, ARRAY(
    SELECT details::text FROM order_events AS event WHERE event.order_id = orders.order_id ORDER BY sequence
) AS events
FROM orders WHERE order_id = %(order_id)s AND owner = %(owner)s
""").format(summary=_SUMMARY)

_NAMED = SQL("""
SELECT {summary} FROM orders WHERE owner = %(owner)s AND client_order_id = %(client_order_id)s
ORDER BY created_at DESC LIMIT 1
""").format(summary=_SUMMARY)

_PAGE = SQL("""
SELECT {summary} FROM orders WHERE {conditions}
ORDER BY created_at DESC, order_id DESC LIMIT %(most)s
""")

# By the names of what is given: the owner, and the fields of OrderFilter and Position.
_CONDITIONS = {
    "owner": SQL("owner = %(owner)s"),
    "status": SQL("status = %(status)s"),
    "order_type": SQL("order_type = %(order_type)s"),
    "venue": SQL("venue = %(venue)s"),
    "token_in": SQL("token_in = %(token_in)s"),
    "token_out": SQL("token_out = %(token_out)s"),
    "code": SQL("failure_code = %(code)s"),
    "created_from": SQL("created_at >= %(created_from)s"),
    "created_before": SQL("created_at < %(created_before)s"),
    "order_id": SQL("(created_at, order_id) < (%(created_at)s, %(order_id)s)"),
}


class PostgresArchive:
    """Implements `ports.Archive`. For one caller at a time.

    `connect` opens a connection (see `adapters.postgres`); it may raise psycopg.Error or ServiceUnavailable. After a
    failure nothing is tried for a while. `monotonic` counts seconds.
    """

    def __init__(self, connect: Callable[[], Connection], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._database = HistoryDatabase(connect, monotonic)

    def find(self, owner: str, order_id: UUID) -> tuple[OrderSummary, tuple[StatusEvent, ...]]:
        rows = self._rows(_FIND, {"owner": owner, "order_id": order_id})
        if not rows:
            raise UnknownOrder(order_id)
        return OrderSummary(**rows[0]), tuple(map(parse_event, rows[0]["events"]))

    def named(self, owner: str, client_order_id: str) -> OrderSummary | None:
        rows = self._rows(_NAMED, {"owner": owner, "client_order_id": client_order_id})
        return OrderSummary(**rows[0]) if rows else None

    def page(self, owner: str, wanted: OrderFilter, after: Position | None, most: int) -> list[OrderSummary]:
        given = {"owner": owner, **asdict(wanted), **(asdict(after) if after else {})}
        conditions = [condition for name, condition in _CONDITIONS.items() if given.get(name) is not None]
        query = _PAGE.format(summary=_SUMMARY, conditions=SQL(" AND ").join(conditions))
        rows = self._rows(query, {**given, "most": most})
        return [OrderSummary(**row) for row in rows]

    def _rows(self, query: Composed, values: dict[str, Any]) -> list[dict[str, Any]]:
        def read(connection: Connection) -> list[dict[str, Any]]:
            with connection.cursor(row_factory=dict_row) as cursor:
                # Planned each time: for an owner with a million orders another plan is right than for one with ten.
                return cursor.execute(query, values, prepare=False).fetchall()

        return self._database.run(read)
