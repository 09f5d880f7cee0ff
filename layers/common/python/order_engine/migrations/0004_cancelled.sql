-- A further final status. An order that was cancelled has no transaction, and no failure code.

ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status IN ('confirmed', 'failed', 'cancelled'));
