"""Migrations on a real PostgreSQL, and the custom resource that runs them: CloudFormation always gets a response."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from order_engine import migrations
from order_engine.adapters.history import PostgresHistory
from order_engine.domain.lifecycle import OrderStatus
from order_engine.entrypoints import custom_resource

from functions.migrate import app as migrate
from local.postgres import EmbeddedPostgres
from tests.support.builders import LambdaContext, a_record
from tests.support.database import Connections, Database

VERSIONS = ["0001_orders", "0002_max_price_impact", "0003_owner", "0004_more_ends", "0005_resting_orders"]
NOWHERE = "postgresql://nobody@127.0.0.1:9/nowhere"


@pytest.fixture
def empty(postgres: EmbeddedPostgres, database: Database) -> str:
    """The URL of a database without a schema."""
    name = f"empty_{uuid4().hex}"
    database.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return postgres.url.rpartition("/")[0] + f"/{name}"


def versions_in(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [version for (version,) in connection.execute("SELECT version FROM schema_migrations ORDER BY version")]


# --- migrations -------------------------------------------------------------------------------------------------------


def test_racing_migrations_make_an_empty_database_ready_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrations.apply(empty), range(4)))

    assert sorted(applied) == [[], [], [], VERSIONS]
    assert migrations.apply(empty) == []
    assert versions_in(empty) == VERSIONS
    with closing(Connections(empty)) as connections:
        PostgresHistory(connections).record(a_record(OrderStatus.CONFIRMED))


def test_rows_of_the_release_before_a_ceiling_have_the_default_one(
    empty: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first was written before the migration, the second by a worker that is still of that release after it."""
    shutil.copy(Path(migrations.__file__).with_name("0001_orders.sql"), tmp_path)
    insert = """
        INSERT INTO orders (order_id, order_type, token_in, token_out, amount_in, slippage_bps, status, attempts,
                            failure_code, failure_reason, created_at, completed_at)
        VALUES (gen_random_uuid(), 'market', 'SOL', 'USDC', 10, 50, 'failed', 1,
                'ORDER_EXPIRED', 'too old', now(), now())
    """
    with psycopg.connect(empty, autocommit=True) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "_FOLDER", tmp_path)
            assert migrations.apply(empty) == VERSIONS[:1]
        connection.execute(insert)

        assert migrations.apply(empty) == VERSIONS[1:]

        connection.execute(insert)
        rows = connection.execute(
            "SELECT max_price_impact_bps, owner, limit_price, trigger_price FROM orders"
        ).fetchall()
    assert rows == [(1000, "public", None, None)] * 2


def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE TABLE order_events (is_in_the_way int)")

        with pytest.raises(psycopg.errors.DuplicateTable):
            migrations.apply(empty)

        left = connection.execute("SELECT to_regclass('orders'), to_regclass('schema_migrations')").fetchone()
    assert left == (None, None)


def test_the_users_may_do_what_they_need_and_no_more(database: Database) -> None:
    database.execute("CREATE ROLE rds_iam")  # RDS has it
    for _ in range(2):
        database.execute(Path(migrations.__file__).with_name("roles.sql").read_bytes())
    select, insert = "SELECT FROM orders, order_events", "INSERT INTO orders SELECT * FROM orders"
    events = "INSERT INTO order_events SELECT * FROM order_events ON CONFLICT (order_id, sequence) DO NOTHING"
    changes = ["DELETE FROM orders", "UPDATE orders SET venue = ''", "TRUNCATE order_events"]
    for user, allowed, forbidden in (
        (migrations.WORKER_USER, [select, f"{insert} ON CONFLICT (order_id) DO NOTHING", events], changes),
        ("order_reader", [select, "SELECT FROM schema_migrations"], [insert, events, *changes]),
    ):
        database.execute(f"SET ROLE {user}")
        for statement in allowed:
            database.execute(statement)
        for statement in forbidden:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(statement)
        database.execute("RESET ROLE")


# --- the custom resource ----------------------------------------------------------------------------------------------


class CloudFormation:
    """The receiving end of a ResponseURL; it refuses the next `refusals` responses."""

    def __init__(self) -> None:
        self.responses: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.refusals = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused, receiver.refusals = receiver.refusals > 0, max(0, receiver.refusals - 1)
                if not refused:
                    receiver.responses.append(json.loads(body))
                    receiver.content_types.append(self.headers["Content-Type"])
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def asks(self, kind: str, remaining_ms: int = 60_000) -> dict[str, Any]:
        """Invokes the function with events/migrate.json; returns the one response."""
        event = json.loads((Path(__file__).parents[2] / "events/migrate.json").read_text())
        url = f"http://127.0.0.1:{self._server.server_address[1]}/response?signature=x"
        request = {**event, "RequestType": kind, "ResponseURL": url}
        returned = migrate.handler(request, LambdaContext(remaining_ms=remaining_ms))
        assert [returned] == self.responses
        for key in ("StackId", "RequestId", "LogicalResourceId", "PhysicalResourceId"):
            assert returned[key] == event[key]
        return returned

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudFormation]:
    monkeypatch.setattr(migrations, "_CONNECTING_SECONDS", 0)
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    with closing(CloudFormation()) as receiver:
        yield receiver


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deploy_applies_the_migrations_and_says_so(
    kind: str, cloudformation: CloudFormation, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty)

    response = cloudformation.asks(kind)

    assert (response["Status"], response["Reason"]) == (
        "SUCCESS",
        "applied: 0001_orders, 0002_max_price_impact, 0003_owner, 0004_more_ends, 0005_resting_orders",
    )
    assert response["Data"] == {"WorkerUser": "order_worker"}
    assert cloudformation.content_types == [""]
    assert versions_in(empty) == VERSIONS


def test_a_deleted_stack_leaves_the_database_alone(cloudformation: CloudFormation) -> None:
    assert cloudformation.asks("Delete")["Status"] == "SUCCESS"


def test_an_unavailable_database_fails_the_deploy(cloudformation: CloudFormation) -> None:
    response = cloudformation.asks("Create")

    assert response["Status"] == "FAILED"
    assert "OperationalError" in response["Reason"]


def test_a_migration_that_takes_too_long_fails_before_the_function_stops(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_settings: object, _seconds: float) -> list[str]:
        deadline = time.monotonic() + 10
        while not cloudformation.responses and time.monotonic() < deadline:
            time.sleep(0.01)
        return []

    monkeypatch.setattr(custom_resource, "_LAST_SECONDS", 0.2)
    monkeypatch.setattr(migrations, "bring_up_to_date", hang)

    response = cloudformation.asks("Update", remaining_ms=300)

    assert response["Status"] == "FAILED"
    assert "not done after 0 s" in response["Reason"]


def test_a_refused_response_is_sent_again(cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("order_engine.entrypoints.custom_resource.time.sleep", lambda _: None)
    cloudformation.refusals = 2

    assert cloudformation.asks("Delete")["Status"] == "SUCCESS"
