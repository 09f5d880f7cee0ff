"""The schema's versions: one SQL file each, applied in the order of their names, at deploy and never while serving."""

from pathlib import Path
from typing import Any

import psycopg

from order_engine.postgres import connect_to


def apply(url: str) -> list[str]:
    """Applies what the database does not have yet, all or none; answers the versions that were applied.

    Two at a time are safe: the second waits for the first, and finds nothing to do. Raises psycopg.Error.
    """
    with connect_to(url) as connection:
        return apply_over(connection)


def apply_over(connection: psycopg.Connection[Any]) -> list[str]:
    """Does what `apply` does, over a connection that is open already and is left so."""
    applied = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('order_engine migrations'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        there = {version for (version,) in connection.execute("SELECT version FROM schema_migrations")}
        for script in sorted(Path(__file__).parent.glob("*.sql")):
            if script.stem not in there:
                connection.execute(script.read_bytes())
                connection.execute("INSERT INTO schema_migrations (version) VALUES (%s)", [script.stem])
                applied.append(script.stem)
    return applied
