-- One row for each order that reached its final status, and one for each of its events.
-- Amounts are NUMERIC, in units of the token (not base units); times are UTC.

CREATE TABLE orders (
    order_id        uuid PRIMARY KEY,
    client_order_id text,
    order_type      text        NOT NULL,
    token_in        text        NOT NULL,
    token_out       text        NOT NULL,
    amount_in       numeric     NOT NULL CHECK (amount_in > 0),
    slippage_bps    integer     NOT NULL,
    min_amount_out  numeric,
    status          text        NOT NULL CHECK (status IN ('confirmed', 'failed')),
    venue           text,
    tx_hash         text,
    executed_price  numeric,
    amount_out      numeric,
    fee             numeric,
    attempts        integer     NOT NULL,
    failure_code    text,
    failure_reason  text,
    quotes          jsonb,
    created_at      timestamptz NOT NULL,
    completed_at    timestamptz NOT NULL,
    CHECK ((status = 'confirmed') = (tx_hash IS NOT NULL AND amount_out IS NOT NULL AND executed_price IS NOT NULL)),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL))
);

COMMENT ON COLUMN orders.min_amount_out IS 'the floor that was enforced: the client''s own, or the quote less slippage_bps';
COMMENT ON COLUMN orders.fee IS 'what the venue kept, in units of token_in';
COMMENT ON COLUMN orders.quotes IS 'the last routing decision''s quotes, as on the wire';

CREATE INDEX orders_created_at ON orders (created_at);
CREATE INDEX orders_failure_code ON orders (failure_code, created_at) WHERE failure_code IS NOT NULL;

CREATE TABLE order_events (
    order_id uuid        NOT NULL REFERENCES orders,
    sequence integer     NOT NULL,
    status   text        NOT NULL,
    at       timestamptz NOT NULL,
    details  jsonb       NOT NULL,
    PRIMARY KEY (order_id, sequence)
);
