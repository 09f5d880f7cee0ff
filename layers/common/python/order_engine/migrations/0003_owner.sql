-- Whose order it is. The default is the owner of all orders before there were keys, and of those that need none; it lets
-- the previous release go on writing rows while the new one is rolled out.

ALTER TABLE orders ADD COLUMN owner text NOT NULL DEFAULT 'public';

COMMENT ON COLUMN orders.owner IS 'the owner of the API key that placed it; client_order_id is the owner''s own';

CREATE INDEX orders_owner ON orders (owner, created_at);
