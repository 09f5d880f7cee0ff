"""Migrations on a real PostgreSQL, and the custom resource that runs them: CloudFormation always gets a response."""

import copy
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import boto3
import psycopg
import pytest
from order_engine import limits, migrations
from order_engine.adapters.archive import PostgresArchive
from order_engine.adapters.history import PostgresHistory
from order_engine.adapters.postgres import connect_to
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.summary import OrderFilter, summary_of
from order_engine.entrypoints import custom_resource
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from functions.migrate import app as migrate
from tests.doubles import services as double
from tests.support.builders import a_record, an_order
from tests.support.cloudformation import CloudFormation
from tests.support.database import Connections, Database
from tests.support.local_aws import AnsweringService
from tests.template.reading import ROOT, template

VERSIONS = [
    *("0001_orders", "0002_max_price_impact", "0003_owner", "0004_more_ends", "0005_resting_orders"),
    "0006_history",
]
VIEWS = ["failures_by_hour", "venue_performance", "slippage_by_venue", "time_in_status"]
FOLDER = Path(migrations.__file__).parent
NOWHERE = "postgresql://nobody@127.0.0.1:9/nowhere"


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    """The URL of a database without a schema."""
    return new_database()


def versions_in(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [version for (version,) in connection.execute("SELECT version FROM schema_migrations ORDER BY version")]


def create_rds_role(database: Database) -> None:
    """RDS has it; the server's databases have their roles in common."""
    if not database.execute("SELECT FROM pg_roles WHERE rolname = 'rds_iam'").fetchall():
        database.execute("CREATE ROLE rds_iam")


_ORDER_OF_0005 = """
    INSERT INTO orders (order_id, order_type, token_in, token_out, amount_in, slippage_bps, min_amount_out, status,
                        venue, tx_hash, executed_price, amount_out, fee, attempts, failure_code, failure_reason,
                        created_at, completed_at)
    VALUES (%(order_id)s, %(order_type)s, %(token_in)s, %(token_out)s, %(amount_in)s, %(slippage_bps)s,
            %(min_amount_out)s, %(status)s, %(venue)s, %(tx_hash)s, %(executed_price)s, %(amount_out)s, %(fee)s,
            %(attempts)s, %(failure_code)s, %(failure_reason)s, %(created_at)s, %(completed_at)s)
"""

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


def test_rows_of_the_release_before_the_lists_are_listed(
    empty: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Written before the migration, or after it by a worker that is still of that release. A floor that the quotes gave
    is not the client's own."""
    for version in VERSIONS[:5]:
        shutil.copy(Path(migrations.__file__).with_name(f"{version}.sql"), tmp_path)
    routed, unrouted = a_record(OrderStatus.CONFIRMED), a_record(OrderStatus.FAILED, an_order(min_amount_out=1500))

    def write() -> list[UUID]:
        """Return the ids: of an order that was routed, and of one that was not."""
        ids = []
        for record in (routed, unrouted):
            ids.append(uuid4())
            connection.execute(_ORDER_OF_0005, {**double.row_of(record), "order_id": ids[-1]})
            for event in record.events:
                values = [ids[-1], event.sequence, event.status, event.timestamp, event.to_json()]
                connection.execute("INSERT INTO order_events VALUES (%s, %s, %s, %s, %s)", values)
        return ids

    with psycopg.connect(empty, autocommit=True) as connection, closing(Connections(empty)) as connections:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "_FOLDER", tmp_path)
            assert migrations.apply(empty) == VERSIONS[:5]
        before = write()
        assert migrations.apply(empty) == VERSIONS[5:]
        archive = PostgresArchive(connections)
        for ids in (before, write()):
            for order_id, record in zip(ids, (routed, unrouted), strict=True):
                summary, events = archive.find("public", order_id)
                assert summary == summary_of(record).model_copy(update={"order_id": order_id})
                assert events == record.events
        assert len(archive.page("public", OrderFilter(), None, 9)) == 4


def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE TABLE order_events (is_in_the_way int)")

        with pytest.raises(psycopg.errors.DuplicateTable):
            migrations.apply(empty)

        left = connection.execute("SELECT to_regclass('orders'), to_regclass('schema_migrations')").fetchone()
    assert left == (None, None)


def test_the_users_may_do_what_they_need_and_no_more(database: Database) -> None:
    create_rds_role(database)
    for _ in range(2):
        database.execute(Path(migrations.__file__).with_name("roles.sql").read_bytes())
    select, insert = "SELECT FROM orders, order_events", "INSERT INTO orders SELECT * FROM orders"
    events = "INSERT INTO order_events SELECT * FROM order_events ON CONFLICT (order_id, sequence) DO NOTHING"
    changes = ["DELETE FROM orders", "UPDATE orders SET venue = ''", "TRUNCATE order_events"]
    views = [f"SELECT FROM {view}" for view in VIEWS]
    for user, allowed, forbidden in (
        (migrations.WORKER_USER, [select, f"{insert} ON CONFLICT (order_id) DO NOTHING", events], changes),
        ("order_reader", [select, "SELECT FROM schema_migrations", *views], [insert, events, *changes]),
    ):
        allows = "SELECT has_function_privilege(%s, 'prune_orders(interval, integer)', 'EXECUTE') AS it"
        assert database.execute(allows, [user]).fetchall() == [{"it": False}]
        database.execute(f"SET ROLE {user}")
        for statement in allowed:
            database.execute(statement)
        for statement in forbidden:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(statement)
        database.execute("RESET ROLE")


# --- the custom resource ----------------------------------------------------------------------------------------------


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudFormation]:
    monkeypatch.setattr(migrations, "_CONNECTING_SECONDS", 0)
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    monkeypatch.setattr(limits, "_PAUSE", 0.01)
    with closing(CloudFormation("migrate", migrate.handler)) as receiver:
        yield receiver


@pytest.fixture
def on_rds(cloudformation: CloudFormation, database: Database, empty: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database that the function reaches as the master, by a secret; without RDS's certificate."""
    create_rds_role(database)
    settings = {"DATABASE_URL": "", "DATABASE_HOST": "database", "DATABASE_NAME": "orders", "DATABASE_SECRET": "master"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def connect(host: str, name: str, user: str, password: str) -> psycopg.Connection[Any]:
        assert (host, name, user, password) == ("database", "orders", "order_master", "known")
        return connect_to(empty)

    monkeypatch.setattr(migrations, "connect_over_tls", connect)
    return empty


SECRET = (200, {"SecretString": json.dumps({"username": "order_master", "password": "known"})})


def test_faults_of_secrets_manager_are_waited_out(
    on_rds: str, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_CONNECTING_SECONDS", 30)
    denied = (400, {"__type": "AccessDeniedException"})  # of a role that is not everywhere yet
    throttled = (400, {"__type": "ThrottlingException"})
    service = AnsweringService(denied, throttled, throttled, None, None, (503, {}), SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
    with closing(service):
        response = cloudformation.asks("Create")

    assert response["Status"] == "SUCCESS", response
    assert versions_in(on_rds) == VERSIONS


def test_a_secret_that_stays_unavailable_fails_the_deploy(
    on_rds: str, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = AnsweringService((400, {"__type": "AccessDeniedException"}))
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
    with closing(service):
        response = cloudformation.asks("Create")

    assert response["Status"] == "FAILED"
    assert "ServiceUnavailable: Secrets Manager" in response["Reason"]
    assert "AccessDenied" in response["Reason"]


def test_another_layer_has_the_migrations_asked_for() -> None:
    """SAM names a layer by its content's address, which `sam deploy` makes of the content; the roles are in it."""
    assert (ROOT / template()["Resources"]["EngineLayer"]["Properties"]["ContentUri"]) in FOLDER.parents

    def asked(content: str) -> Any:
        document = copy.deepcopy(template())
        for resource in document["Resources"].values():
            for uri in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
                resource["Properties"][uri] = "s3://bucket/code"
        document["Resources"]["EngineLayer"]["Properties"]["ContentUri"] = f"s3://bucket/{content}"
        translated = Translator({}, Parser(), boto_session=boto3.Session(region_name="eu-central-1")).translate(
            document, {}
        )
        return translated["Resources"]["Migration"]["Properties"]["Layer"]

    assert asked("one") == asked("one") != asked("another")


def test_a_change_of_the_roles_alone_is_applied(
    on_rds: str, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of what is granted, and of what is not any more."""
    folder = shutil.copytree(FOLDER, tmp_path / "migrations")
    roles = folder / "roles.sql"
    monkeypatch.setattr(migrations, "_FOLDER", folder)
    service = AnsweringService(SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)

    def may_worker(action: str) -> bool:
        with psycopg.connect(on_rds) as connection:
            query = "SELECT has_table_privilege('order_worker', 'orders', %s)"
            (may,) = connection.execute(query, [action]).fetchone() or (False,)
            return bool(may)

    with closing(service):
        cloudformation.asks("Create")
        assert (may_worker("INSERT"), may_worker("UPDATE")) == (True, False)
        roles.write_text(roles.read_text().replace("GRANT SELECT, INSERT", "GRANT SELECT, UPDATE"))
        cloudformation.responses.clear()

        response = cloudformation.asks("Update")

    assert (response["Status"], response["Reason"]) == ("SUCCESS", "applied: nothing new")
    assert (may_worker("INSERT"), may_worker("UPDATE")) == (False, True)


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_deploy_applies_the_migrations_and_says_so(
    kind: str, cloudformation: CloudFormation, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty)

    response = cloudformation.asks(kind)

    assert (response["Status"], response["Reason"]) == (
        "SUCCESS",
        f"applied: {', '.join(VERSIONS)}",
    )
    assert response["Data"] == {"WorkerUser": "order_worker", "ReaderUser": "order_reader"}
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


@pytest.mark.parametrize("in_order", [True, False])
def test_a_refused_response_is_sent_again(
    cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch, in_order: bool
) -> None:
    monkeypatch.setattr("order_engine.entrypoints.custom_resource.time.sleep", lambda _: None)
    cloudformation.refusals, cloudformation.in_order = 2, in_order

    assert cloudformation.asks("Delete")["Status"] == "SUCCESS"

    cloudformation.refusals = 3
    with pytest.raises(OSError, match="503" if in_order else "no HTTP"):
        cloudformation.asks("Delete")
