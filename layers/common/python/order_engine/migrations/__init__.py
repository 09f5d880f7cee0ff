"""The versions of the schema: one SQL file each, applied in the order of their names, at deploy, never while serving.

`roles.sql` is no version: on AWS it is applied at every deploy.
"""

import json
from pathlib import Path
from typing import Any

import psycopg

from order_engine import limits
from order_engine.adapters.aws import client, service_errors
from order_engine.adapters.postgres import connect_over_tls, connect_to
from order_engine.domain.errors import ServiceUnavailable
from order_engine.settings import Settings

WORKER_USER = "order_worker"  # of roles.sql
READER_USER = "order_reader"

_FOLDER = Path(__file__).parent
_CONNECTING_SECONDS = 60  # a database that has just been created may need a moment, and so may its secret and our role
_SECRET_SECONDS = 5.0  # as `client` limits a service that has no limit of its own


def bring_up_to_date(settings: Settings, seconds: float) -> list[str]:
    """Apply what the database lacks, within so many seconds, and return the versions that were applied.

    The database is that of DATABASE_URL; without it that of DATABASE_HOST and DATABASE_NAME, with the credentials of
    the secret DATABASE_SECRET, and the roles are made what roles.sql says. Raises psycopg.Error or ServiceUnavailable.
    """
    local = settings.optional("DATABASE_URL")
    with _connected(settings, local) as connection, connection.transaction():
        connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        applied = apply_over(connection)
        if not local:
            connection.execute((_FOLDER / "roles.sql").read_bytes())
    return applied


def apply(url: str) -> list[str]:
    """Apply what the database lacks, all or nothing. Return the versions that were applied. Raises psycopg.Error."""
    with connect_to(url) as connection:
        return apply_over(connection)


def apply_over(connection: psycopg.Connection[Any]) -> list[str]:
    """Do what `apply` does over an open connection, and leave it open.

    Two at a time are safe: the second waits for the first, and finds nothing to do.
    """
    applied = []
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('order_engine migrations'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        there = {version for (version,) in connection.execute("SELECT version FROM schema_migrations")}
        for script in sorted(_FOLDER.glob("[0-9]*.sql")):
            if script.stem not in there:
                connection.execute(script.read_bytes())
                connection.execute("INSERT INTO schema_migrations (version) VALUES (%s)", [script.stem])
                applied.append(script.stem)
    return applied


def _connected(settings: Settings, local: str) -> psycopg.Connection[Any]:
    def connect() -> psycopg.Connection[Any]:
        return connect_to(local) if local else _connect_as_master(settings)

    return limits.keep_trying(connect, (psycopg.OperationalError, ServiceUnavailable), _CONNECTING_SECONDS)


def _connect_as_master(settings: Settings) -> psycopg.Connection[Any]:
    with service_errors("Secrets Manager", _SECRET_SECONDS):
        secret = client("secretsmanager").get_secret_value(SecretId=settings.text("DATABASE_SECRET"))
    master = json.loads(secret["SecretString"])
    host, name = settings.text("DATABASE_HOST"), settings.text("DATABASE_NAME")
    return connect_over_tls(host, name, master["username"], master["password"])
