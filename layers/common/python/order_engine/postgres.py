"""Connecting to PostgreSQL: one set of time limits for every connection of the engine."""

from typing import Any

import psycopg


def connect_to(url: str) -> psycopg.Connection[Any]:
    """Opens a connection with the time limits that every connection of the engine has."""
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=2,
        options="-c statement_timeout=5000 -c lock_timeout=2000 -c timezone=UTC",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
        tcp_user_timeout=5000,
    )
