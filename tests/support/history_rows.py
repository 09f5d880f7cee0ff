"""Many orders in PostgreSQL, made by PostgreSQL itself, and how it reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from order_engine.adapters.postgres import connect_to
from psycopg.sql import SQL, Composed

LAST = datetime(2026, 1, 1, tzinfo=UTC)  # when the newest order was created
APART = timedelta(seconds=20)  # between two orders

# Deterministic but for the ids. `mix` is a number without a pattern for each order. Six in ten orders are of the owner
# `public`, the others of a hundred small ones.
_ORDERS = """
INSERT INTO orders (order_id, owner, client_order_id, order_type, token_in, token_out, amount_in, slippage_bps,
                    min_amount_out, min_amount_out_asked, status, venue, tx_hash, executed_price, amount_out, fee,
                    attempts, last_sequence, failure_code, failure_reason, quotes, created_at, completed_at)
SELECT gen_random_uuid(),
       CASE WHEN mix %% 100 < 60 THEN 'public' ELSE 'small-' || mix / 100 %% 100 END,
       CASE WHEN mix / 7 %% 2 = 0 THEN 'order ' || n END,
       (ARRAY['market', 'market', 'market', 'limit', 'stop', 'takeProfit', 'sniper'])[1 + mix / 11 %% 7],
       pair[1], pair[2], 10, 50, CASE WHEN routed THEN 1482.55 END, NULL, status,
       CASE WHEN routed THEN venue END,
       CASE WHEN status = 'confirmed' THEN 'tx-' || n END,
       CASE WHEN status = 'confirmed' THEN 148.9 END,
       CASE WHEN status = 'confirmed' THEN 1489 END,
       CASE WHEN status = 'confirmed' THEN 0.03 END,
       1, 5,
       CASE WHEN status IN ('failed', 'expired')
            THEN (ARRAY['SLIPPAGE_EXCEEDED', 'VENUE_UNAVAILABLE'])[1 + mix / 17 %% 2] END,
       CASE WHEN status IN ('failed', 'expired') THEN 'the venue reported so, at length, as venues do' END,
       CASE WHEN routed THEN jsonb_build_array(
           jsonb_build_object('venue', 'raydium', 'price', '149.5', 'fee', '0.003', 'priceImpactPct', '0.0299',
                              'amountOut', '1490'),
           jsonb_build_object('venue', 'meteora', 'price', '149.4', 'fee', '0.002', 'priceImpactPct', '0.03',
                              'amountOut', '1489.5')) END,
       created_at, created_at + interval '2 seconds'
FROM generate_series(1, %(orders)s) AS n
CROSS JOIN LATERAL (SELECT hashint4(n) & 2147483647 AS mix) AS drawn
CROSS JOIN LATERAL (
    SELECT (ARRAY['confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed', 'confirmed',
                  'failed', 'cancelled', 'expired'])[1 + mix / 13 %% 10] AS status,
           (ARRAY['raydium', 'meteora'])[1 + mix / 19 %% 2] AS venue,
           (ARRAY[ARRAY['SOL', 'USDC'], ARRAY['USDC', 'SOL'], ARRAY['SOL', 'BONK'], ARRAY['JUP', 'USDC']])
               [1 + mix / 23 %% 4:1 + mix / 23 %% 4] AS pairs,
           %(last)s::timestamptz - (%(orders)s - n) * %(apart)s AS created_at
) AS chosen
CROSS JOIN LATERAL (
    SELECT status = 'confirmed' OR status = 'failed' AND mix / 29 %% 2 = 0 AS routed,
           ARRAY(SELECT unnest(pairs)) AS pair
) AS known
"""

# Each has every field that any event has; reading ignores those that are not its own.
_EVENTS = """
INSERT INTO order_events (order_id, sequence, status, at, details)
SELECT order_id, sequence, statuses[sequence], at,
       jsonb_strip_nulls(jsonb_build_object(
           'orderId', order_id, 'sequence', sequence, 'status', statuses[sequence], 'attempt', least(sequence - 1, 1),
           'timestamp', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'message', statuses[sequence], 'venue', venue,
           'quotes', quotes, 'minAmountOut', min_amount_out::text, 'txHash', tx_hash,
           'executedPrice', executed_price::text, 'amountOut', amount_out::text))
FROM orders
CROSS JOIN (SELECT ARRAY['pending', 'routing', 'building', 'submitted', 'confirmed'] AS statuses) AS life
CROSS JOIN generate_series(1, 5) AS sequence
CROSS JOIN LATERAL (SELECT created_at + sequence * interval '0.4 seconds' AS at) AS moment
WHERE status = 'confirmed' AND created_at >= %(last)s::timestamptz - %(newest)s * %(apart)s
"""


def fill(connection: psycopg.Connection[Any], orders: int, with_events: int) -> None:
    """Write so many orders, and the events of those among the newest `with_events` that are confirmed; then analyze."""
    connection.execute(_ORDERS, {"orders": orders, "last": LAST, "apart": APART})
    connection.execute("SET session_replication_role = replica")  # foreign keys are true, and take their time
    connection.execute(_EVENTS, {"newest": with_events, "last": LAST, "apart": APART})
    connection.execute("RESET session_replication_role")
    connection.execute("ANALYZE orders")
    connection.execute("ANALYZE order_events")


class Planner:
    """Connects as the engine does, and keeps how PostgreSQL plans the last statement: the types of its plan's nodes,
    and the indexes that it reads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.nodes: list[str] = []
        self.indexes: list[str] = []
        self._opened: list[psycopg.Connection[Any]] = []

    def __call__(self) -> psycopg.Connection[Any]:
        planner = self

        class Explaining(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
                explained = psycopg.Cursor(self.connection).execute(
                    Composed([SQL("EXPLAIN (FORMAT JSON) "), query]), params
                )
                planner.nodes, planner.indexes = [], []
                planner._note(explained.fetchall()[0][0][0]["Plan"])
                return super().execute(query, params, **how)

        connection = connect_to(self.url)
        connection.cursor_factory = Explaining
        self._opened.append(connection)
        return connection

    def close(self) -> None:
        """Closes what it opened."""
        for connection in self._opened:
            connection.close()

    @property
    def read_whole(self) -> list[str]:
        """The nodes that read a whole table."""
        return [node for node in self.nodes if node == "Seq Scan"]

    def _note(self, plan: dict[str, Any]) -> None:
        self.nodes.append(plan["Node Type"])
        if "Index Name" in plan:
            self.indexes.append(plan["Index Name"])
        for inner in plan.get("Plans", ()):
            self._note(inner)
