"""The custom resource that brings the schema up to date: it answers CloudFormation in every case, and in time."""

import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from tests.support.builders import LambdaContext

FOLDER = Path(__file__).parents[2] / "functions/migrate"


class CloudFormation:
    """The receiving end of a ResponseURL; `refusals` are how many answers it refuses first."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.refusals = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused, receiver.refusals = receiver.refusals > 0, max(0, receiver.refusals - 1)
                if not refused:
                    receiver.answers.append(json.loads(body))
                    receiver.content_types.append(self.headers["Content-Type"])
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def request(self, kind: str) -> dict[str, Any]:
        """A custom resource's event."""
        return {
            "RequestType": kind,
            "ResponseURL": f"http://127.0.0.1:{self._server.server_address[1]}/answer?signature=x",
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/order-engine/1",
            "RequestId": "request-1",
            "LogicalResourceId": "Migration",
            "ResourceType": "Custom::Migration",
            "ResourceProperties": {},
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    receiver = CloudFormation()
    yield receiver
    receiver.close()


@pytest.fixture
def migrate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("migrate_app", FOLDER / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_CONNECTING_SECONDS", 0)
    return module


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without a schema."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
        yield postgres.url.rsplit("/", 1)[0] + "/empty"
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deploy_applies_the_migrations_and_says_so(
    kind: str, migrate: ModuleType, cloudformation: CloudFormation, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty)

    migrate.handler(cloudformation.request(kind), LambdaContext(remaining_ms=60_000))

    (answer,) = cloudformation.answers
    assert answer["Status"] == "SUCCESS"
    assert "0001_orders, 0002_max_price_impact" in answer["Reason"]
    assert answer["Data"] == {"WorkerUser": "order_worker"}
    assert (answer["RequestId"], answer["LogicalResourceId"]) == ("request-1", "Migration")
    assert cloudformation.content_types == [""]
    with psycopg.connect(empty) as connection:
        versions = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
    assert versions == [("0001_orders",), ("0002_max_price_impact",)]


def test_a_stack_that_is_deleted_leaves_the_database_alone(
    migrate: ModuleType, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")

    migrate.handler(cloudformation.request("Delete"), LambdaContext(remaining_ms=60_000))

    assert [answer["Status"] for answer in cloudformation.answers] == ["SUCCESS"]


def test_a_database_that_is_away_fails_the_deploy(
    migrate: ModuleType, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")

    migrate.handler(cloudformation.request("Create"), LambdaContext(remaining_ms=60_000))

    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "OperationalError" in answer["Reason"]


def test_a_migration_that_takes_too_long_is_answered_before_the_function_is_stopped(
    migrate: ModuleType, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_LAST_MOMENTS_SECONDS", 0.2)
    monkeypatch.setattr(migrate, "_migrate", lambda _: time.sleep(1))

    migrate.handler(cloudformation.request("Update"), LambdaContext(remaining_ms=500))

    (answer,) = cloudformation.answers
    assert answer["Status"] == "FAILED"
    assert "not through" in answer["Reason"]


def test_an_answer_that_was_not_taken_is_sent_again(
    migrate: ModuleType, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate.time, "sleep", lambda _: None)
    cloudformation.refusals = 2

    migrate.handler(cloudformation.request("Delete"), LambdaContext(remaining_ms=60_000))

    assert [answer["Status"] for answer in cloudformation.answers] == ["SUCCESS"]


def test_the_workers_user_may_do_what_the_history_does_and_no_more(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE rds_iam")  # RDS has it
        for _ in range(2):
            connection.execute((FOLDER / "roles.sql").read_bytes())
        connection.execute("SET ROLE order_worker")
        connection.execute("SELECT FROM orders")
        connection.execute("INSERT INTO orders SELECT * FROM orders ON CONFLICT (order_id) DO NOTHING")
        connection.execute(
            "INSERT INTO order_events SELECT * FROM order_events ON CONFLICT (order_id, sequence) DO NOTHING"
        )
        for forbidden in ("DELETE FROM orders", "UPDATE orders SET venue = ''", "TRUNCATE order_events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
        connection.execute("SET ROLE order_reader")
        connection.execute("SELECT FROM orders, order_events, schema_migrations")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO orders SELECT * FROM orders")
