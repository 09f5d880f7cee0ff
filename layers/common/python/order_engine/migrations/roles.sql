-- The users of the database on RDS, beside its master; IAM vouches for them, so neither has a password.
-- Run with the migrations, in their transaction, at every deploy that changes the layer; again is harmless.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order_worker') THEN
        CREATE ROLE order_worker LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order_reader') THEN
        CREATE ROLE order_reader LOGIN;
    END IF;
END $$;

GRANT rds_iam TO order_worker, order_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM order_worker, order_reader; -- what an earlier release granted
GRANT SELECT, INSERT ON orders, order_events TO order_worker; -- SELECT: ON CONFLICT names a column
GRANT SELECT ON ALL TABLES IN SCHEMA public TO order_reader;
