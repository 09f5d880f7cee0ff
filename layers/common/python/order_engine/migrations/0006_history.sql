-- What the API's lists and the post-mortems read. The new columns are nullable, so that the previous release goes on
-- writing rows; its rows are not filled in afterwards, which would rewrite the whole table during a deploy.

ALTER TABLE orders ADD COLUMN min_amount_out_asked numeric;
ALTER TABLE orders ADD COLUMN last_sequence integer;

COMMENT ON COLUMN orders.min_amount_out_asked IS 'the client''s own floor; without it in rows of orders that an earlier release routed';
COMMENT ON COLUMN orders.last_sequence IS 'the number of the last event; null in rows of earlier releases';

-- One index for each list of an owner's orders, which is read backwards: newest first. On a large table build them by hand
-- before, CONCURRENTLY.

CREATE INDEX IF NOT EXISTS orders_by_owner ON orders (owner, created_at, order_id);
CREATE INDEX IF NOT EXISTS orders_by_status ON orders (owner, status, created_at, order_id);
CREATE INDEX IF NOT EXISTS orders_by_type ON orders (owner, order_type, created_at, order_id);
CREATE INDEX IF NOT EXISTS orders_by_venue ON orders (owner, venue, created_at, order_id) WHERE venue IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_by_pair ON orders (owner, token_in, token_out, created_at, order_id);
CREATE INDEX IF NOT EXISTS orders_by_failure ON orders (owner, failure_code, created_at, order_id) WHERE failure_code IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_by_name ON orders (owner, client_order_id, created_at) WHERE client_order_id IS NOT NULL;

DROP INDEX IF EXISTS orders_owner; -- orders_by_owner begins with its columns

-- For all owners' orders of a time. No index but an owner's gives the order of a list: with one on created_at the planner
-- walks through everybody's orders until it has met enough of the owner's, which takes for ever for one who has left.
-- (minmax_multi: an order that rested for weeks lies among the rows of its last day.)
DROP INDEX IF EXISTS orders_failure_code;
DROP INDEX IF EXISTS orders_created_at;
CREATE INDEX IF NOT EXISTS orders_by_time ON orders USING brin (created_at timestamptz_minmax_multi_ops)
    WITH (autosummarize = on);

-- For the views' `day`, and for prune_orders.
CREATE INDEX IF NOT EXISTS orders_by_day ON orders (((completed_at AT TIME ZONE 'UTC')::date), completed_at);

-- Post-mortems. Each view has the day (UTC) on which its orders ended: with a condition on it only their rows are read.

CREATE VIEW failures_by_hour AS
SELECT (completed_at AT TIME ZONE 'UTC')::date AS day,
       date_trunc('hour', completed_at, 'UTC') AS hour,
       status,
       failure_code AS code,
       count(*) AS orders,
       count(DISTINCT owner) AS owners
FROM orders
WHERE failure_code IS NOT NULL
GROUP BY (completed_at AT TIME ZONE 'UTC')::date, 2, 3, 4;

COMMENT ON VIEW failures_by_hour IS 'orders that ended as failed or expired, by the hour of their end and by code';
COMMENT ON COLUMN failures_by_hour.owners IS 'how many owners they belong to: one of many is a client''s problem';

CREATE VIEW venue_performance AS
SELECT (ended.completed_at AT TIME ZONE 'UTC')::date AS day,
       quote.venue,
       ended.token_in,
       ended.token_out,
       count(*) AS quoted,
       count(other.amount_out) AS contested,
       count(*) FILTER (WHERE quote.venue = ended.venue) AS won,
       round(count(*) FILTER (WHERE quote.venue = ended.venue AND other.amount_out IS NOT NULL)
             / nullif(count(other.amount_out), 0)::numeric, 4) AS win_rate,
       round(avg((quote."amountOut" - other.amount_out) / nullif(other.amount_out, 0) * 10000)
             FILTER (WHERE quote.venue = ended.venue), 2) AS price_improvement_bps
FROM orders AS ended
CROSS JOIN LATERAL jsonb_to_recordset(ended.quotes) AS quote (venue text, "amountOut" numeric)
LEFT JOIN LATERAL (
    SELECT max("amountOut") AS amount_out
    FROM jsonb_to_recordset(ended.quotes) AS rival (venue text, "amountOut" numeric)
    WHERE rival.venue <> quote.venue
) AS other ON true
GROUP BY (ended.completed_at AT TIME ZONE 'UTC')::date, 2, 3, 4;

COMMENT ON VIEW venue_performance IS 'how each venue did in the last routing decision of every order that was routed, whatever its end';
COMMENT ON COLUMN venue_performance.quoted IS 'orders for which the venue had a quote';
COMMENT ON COLUMN venue_performance.contested IS 'those of them for which the other venue had one too';
COMMENT ON COLUMN venue_performance.won IS 'orders that were routed to it, uncontested ones among them';
COMMENT ON COLUMN venue_performance.win_rate IS 'its share of the contested orders, 0 to 1';
COMMENT ON COLUMN venue_performance.price_improvement_bps IS 'by how much its quoted amountOut was above the other venue''s, on average over the contested orders it won';

CREATE VIEW slippage_by_venue AS
SELECT (swap.completed_at AT TIME ZONE 'UTC')::date AS day,
       swap.venue,
       count(*) AS orders,
       round(percentile_cont(0.50) WITHIN GROUP (ORDER BY lost.bps)::numeric, 2) AS p50_bps,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY lost.bps)::numeric, 2) AS p95_bps,
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY lost.bps)::numeric, 2) AS p99_bps
FROM orders AS swap
CROSS JOIN LATERAL jsonb_to_recordset(swap.quotes) AS quote (venue text, "amountOut" numeric)
CROSS JOIN LATERAL (
    SELECT ((quote."amountOut" - swap.amount_out) / nullif(quote."amountOut", 0) * 10000)::double precision AS bps
) AS lost
WHERE swap.status = 'confirmed' AND quote.venue = swap.venue
GROUP BY (swap.completed_at AT TIME ZONE 'UTC')::date, 2;

COMMENT ON VIEW slippage_by_venue IS 'by how much confirmed orders received less than the quote they were routed by, in bps of it; below 0 they received more';

CREATE VIEW time_in_status AS
SELECT (ended.completed_at AT TIME ZONE 'UTC')::date AS day,
       entered.status,
       ended.order_type,
       count(*) AS times,
       round(percentile_cont(0.50) WITHIN GROUP (ORDER BY spent.seconds)::numeric, 3) AS p50_seconds,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY spent.seconds)::numeric, 3) AS p95_seconds,
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY spent.seconds)::numeric, 3) AS p99_seconds
FROM orders AS ended
JOIN order_events AS entered USING (order_id)
JOIN order_events AS next ON next.order_id = entered.order_id AND next.sequence = entered.sequence + 1
CROSS JOIN LATERAL (SELECT extract(epoch FROM next.at - entered.at)::double precision AS seconds) AS spent
GROUP BY (ended.completed_at AT TIME ZONE 'UTC')::date, 2, 3;

COMMENT ON VIEW time_in_status IS 'how long orders stayed in each status before the next, by order type; open is waiting for the market';
COMMENT ON COLUMN time_in_status.times IS 'stays: an order that was routed twice counts twice';

-- How old rows leave. One statement, so an order never loses its events without leaving itself. Rows that another session
-- has locked are left for the next call. (Arrays, because joins are planned for as many orders as the table may have.)

CREATE FUNCTION prune_orders(older_than interval, most integer DEFAULT 10000) RETURNS integer
LANGUAGE sql STRICT AS $$
    WITH old AS MATERIALIZED (
        SELECT order_id FROM orders
        WHERE (completed_at AT TIME ZONE 'UTC')::date <= ((now() - older_than) AT TIME ZONE 'UTC')::date
          AND completed_at < now() - older_than
        ORDER BY (completed_at AT TIME ZONE 'UTC')::date, completed_at
        LIMIT most
        FOR UPDATE SKIP LOCKED
    ), their_events AS (
        DELETE FROM order_events WHERE order_id = ANY (ARRAY(SELECT order_id FROM old))
    ), gone AS (
        DELETE FROM orders WHERE order_id = ANY (ARRAY(SELECT order_id FROM old)) RETURNING order_id
    )
    SELECT count(*)::integer FROM gone
$$;

COMMENT ON FUNCTION prune_orders IS 'deletes orders that ended longer ago, with their events: the oldest first, at most so many. Returns how many; 0 when none is left';

REVOKE EXECUTE ON FUNCTION prune_orders FROM PUBLIC;
