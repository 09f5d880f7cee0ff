"""Connecting to PostgreSQL: one set of time limits for every connection of the engine."""

from pathlib import Path
from typing import Any

import psycopg

_LIMITS: dict[str, Any] = {
    "connect_timeout": 2,
    "options": "-c statement_timeout=5000 -c lock_timeout=2000 -c timezone=UTC",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
_ROOTS = Path(__file__).with_name("rds_roots.pem")


def connect_to(url: str) -> psycopg.Connection[Any]:
    """Opens a connection with the time limits that every connection of the engine has."""
    return psycopg.connect(url, autocommit=True, **_LIMITS)


def connect_over_tls(host: str, database: str, user: str, password: str) -> psycopg.Connection[Any]:
    """Opens a connection to an RDS database whose certificate must be RDS's own and for this host.

    `password` is the user's, or the token that IAM authentication takes for one.
    """
    return psycopg.connect(
        host=host,
        dbname=database,
        user=user,
        password=password,
        sslmode="verify-full",
        sslrootcert=str(_ROOTS),
        autocommit=True,
        **_LIMITS,
    )
