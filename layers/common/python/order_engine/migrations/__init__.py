"""The versions of the schema: one SQL file each, applied in the order of their names, at deploy, never while serving.

`roles.sql` is no version: on AWS it is applied at every deploy.
"""

import json
import time
from pathlib import Path
from typing import Any

import psycopg

from order_engine.adapters.aws import client
from order_engine.adapters.postgres import connect_over_tls, connect_to
from order_engine.settings import Settings

WORKER_USER = "order_worker"  # of roles.sql

_FOLDER = Path(__file__).parent
_CONNECTING_SECONDS = 60  # a database that has just been created may need a moment
_CONNECTING_PAUSE_SECONDS = 2.0


def bring_up_to_date(settings: Settings, seconds: float) -> list[str]:
    """Apply what the database lacks, within so many seconds, and return the versions that were applied.

    The database is that of DATABASE_URL; without it that of DATABASE_HOST and DATABASE_NAME, with the credentials of
    the secret DATABASE_SECRET. Raises psycopg.Error.
    """
    local = settings.optional("DATABASE_URL")
    with _connected(settings, local) as connection:
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
    deadline = time.monotonic() + _CONNECTING_SECONDS
    while True:
        try:
            return connect_to(local) if local else _connect_as_master(settings)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_CONNECTING_PAUSE_SECONDS)


def _connect_as_master(settings: Settings) -> psycopg.Connection[Any]:
    secret = client("secretsmanager").get_secret_value(SecretId=settings.text("DATABASE_SECRET"))
    master = json.loads(secret["SecretString"])
    host, name = settings.text("DATABASE_HOST"), settings.text("DATABASE_NAME")
    return connect_over_tls(host, name, master["username"], master["password"])
