"""Services for adapters and functions: moto, a local API Gateway, a real PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from moto import mock_aws
from order_engine import migrations
from order_engine.adapters.aws import client
from psycopg.rows import dict_row

from local.postgres import EmbeddedPostgres
from tests.support.database import Connections, Database
from tests.support.local_aws import LocalGateway, OneAtATime, create_table

JOURNAL, CLIENT_ORDER_IDS = "journal", "client-order-ids"
CONNECTIONS, SUBSCRIBER_PAGES = "connections", "subscriber-pages"
CHAIN = "chain"
WATCH = "watch"
API_KEYS = "api-keys"


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    """What clients that are not moto's sign with."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "testing")
        environment.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield


@pytest.fixture(scope="module")
def aws(credentials: None) -> Iterator[None]:
    """An AWS account for the tests of a module, which keep apart by their orders' ids."""
    with mock_aws():
        yield


@pytest.fixture(scope="module")
def dynamodb(aws: None) -> Any:
    """DynamoDB with the template's tables."""
    dynamodb = client("dynamodb")
    create_table(dynamodb, JOURNAL, "JournalTable")
    create_table(dynamodb, CLIENT_ORDER_IDS, "ClientOrderIdsTable")
    create_table(dynamodb, CONNECTIONS, "ConnectionsTable")
    create_table(dynamodb, SUBSCRIBER_PAGES, "SubscriberPagesTable")
    create_table(dynamodb, CHAIN, "ChainTable")
    create_table(dynamodb, WATCH, "WatchTable")
    create_table(dynamodb, API_KEYS, "ApiKeysTable")
    return OneAtATime(dynamodb)


@pytest.fixture
def gateway() -> Iterator[LocalGateway]:
    """API Gateway's management API, and Lambda."""
    with closing(LocalGateway()) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with the schema; a test may stop it, and has to start it again."""
    folder = tmp_path_factory.mktemp("postgres")
    server = EmbeddedPostgres(folder / "data", folder / "postgres.log")
    server.start()
    try:
        migrations.apply(server.url)
        yield server
    finally:
        server.stop()
        server.drop()


@pytest.fixture(scope="session")
def new_database(postgres: EmbeddedPostgres) -> Callable[[], str]:
    """Creates a database without a schema, and returns its URL."""

    def create() -> str:
        name = f"empty_{uuid4().hex}"
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return postgres.url.rpartition("/")[0] + f"/{name}"

    return create


@pytest.fixture
def connections(postgres: EmbeddedPostgres) -> Iterator[Connections]:
    """The engine's connections to it."""
    with closing(Connections(postgres.url)) as connections:
        yield connections


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A connection of the test's own."""
    with psycopg.connect(postgres.url, autocommit=True, row_factory=dict_row) as connection:
        yield connection
