-- Two further final statuses, and what an order says of its time. A cancelled order has no transaction and no code; an
-- expired one says why it was not executed in time. The defaults let the previous release go on writing rows.

ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN ('confirmed', 'failed', 'cancelled', 'expired'));
ALTER TABLE orders DROP CONSTRAINT orders_check1;
ALTER TABLE orders ADD CONSTRAINT orders_failure_check
    CHECK ((status IN ('failed', 'expired')) = (failure_code IS NOT NULL));

ALTER TABLE orders ADD COLUMN time_in_force text NOT NULL DEFAULT 'gtc';
ALTER TABLE orders ADD COLUMN expires_at timestamptz;

COMMENT ON COLUMN orders.time_in_force IS 'gtc: until it is filled or fails; gtd: until expires_at; fok: at the first attempt or not at all';
