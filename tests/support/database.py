"""Connections to a real PostgreSQL, and what a test finds in it."""

from typing import Any

import psycopg
from order_engine.adapters.postgres import connect_to
from order_engine.domain.record import OrderRecord

Database = psycopg.Connection[dict[str, Any]]


class Connections:
    """Opens connections to a database, as the engine does, and remembers them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tried = 0
        self.opened: list[psycopg.Connection[Any]] = []

    def __call__(self) -> psycopg.Connection[Any]:
        self.tried += 1
        connection = connect_to(self.url)
        self.opened.append(connection)
        return connection

    def close(self) -> None:
        """Closes those that are still open."""
        for connection in self.opened:
            connection.close()


def rows_of(database: Database, record: OrderRecord) -> list[dict[str, Any]]:
    """The rows of an order."""
    return database.execute("SELECT * FROM orders WHERE order_id = %s", [record.order.order_id]).fetchall()


def row_of(database: Database, record: OrderRecord) -> dict[str, Any]:
    """The one row of an order."""
    (row,) = rows_of(database, record)
    return row


def events_of(database: Database, record: OrderRecord) -> list[dict[str, Any]]:
    """The rows of an order's events."""
    query = "SELECT * FROM order_events WHERE order_id = %s ORDER BY sequence"
    return database.execute(query, [record.order.order_id]).fetchall()
