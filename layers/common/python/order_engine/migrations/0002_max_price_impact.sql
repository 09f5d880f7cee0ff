-- The ceiling that an order set itself. The default is the one that orders had which named none, and it lets the
-- previous release go on writing rows while the new one is rolled out.

ALTER TABLE orders ADD COLUMN max_price_impact_bps integer NOT NULL DEFAULT 1000;

COMMENT ON COLUMN orders.max_price_impact_bps IS 'quotes with a greater price impact were not taken';
