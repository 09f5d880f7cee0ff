-- The prices of orders that wait: limit, stop, takeProfit, sniper. Both are units of token_out for one of token_in.

ALTER TABLE orders ADD COLUMN limit_price numeric CHECK (limit_price > 0);
ALTER TABLE orders ADD COLUMN trigger_price numeric CHECK (trigger_price > 0);

COMMENT ON COLUMN orders.order_type IS 'market, limit, stop, takeProfit or sniper';
COMMENT ON COLUMN orders.limit_price IS 'what the swap had to net at the least, after fee and price impact';
COMMENT ON COLUMN orders.trigger_price IS 'the price of the order''s own quote at which it was executed';
COMMENT ON COLUMN orders.expires_at IS 'when it expires; of an order that rests, at the latest its longest life after created_at';
