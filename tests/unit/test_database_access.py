"""How the workers reach PostgreSQL: by a URL where there is one, else by IAM, over TLS that is checked."""

import ssl
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from order_engine.adapters import postgres
from order_engine.bootstrap import Bootstrap
from order_engine.settings import Settings

URL = "postgresql://somebody@127.0.0.1/orders"
HOST = "order-engine.abc123.eu-central-1.rds.amazonaws.com"
Asked = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What psycopg was asked for."""
    asked: Asked = []
    monkeypatch.setattr("psycopg.connect", lambda *given, **named: asked.append((given, named)))
    return asked


def test_without_a_url_the_connection_uses_iam_and_checks_the_certificate(
    connections: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    settings = {"DATABASE_HOST": HOST, "DATABASE_NAME": "orders", "DATABASE_USER": "order_worker"}
    Bootstrap(Settings(settings)).connect_to_database()

    ((_, asked),) = connections
    assert (asked["host"], asked["dbname"], asked["user"]) == (HOST, "orders", "order_worker")
    assert asked["sslmode"] == "verify-full"
    token = urlsplit(f"https://{asked['password']}")
    assert (token.hostname, token.port) == (HOST, 5432)
    query = parse_qs(token.query)
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (["connect"], ["order_worker"], ["900"])
    assert "/eu-central-1/rds-db/aws4_request" in query["X-Amz-Credential"][0]


def test_every_connection_has_limits_for_connecting_and_for_a_silent_peer(connections: Asked) -> None:
    Bootstrap(Settings({"DATABASE_URL": URL})).connect_to_database()
    postgres.connect_over_tls(HOST, "orders", "order_worker", "token")

    assert connections[0][0] == (URL,)
    for _, asked in connections:
        until_dropped = asked["keepalives_idle"] + asked["keepalives_interval"] * asked["keepalives_count"]
        assert (asked["connect_timeout"], asked["keepalives"]) == (2, 1)  # psycopg knows no shorter time-out
        assert until_dropped <= 10
        assert asked["tcp_user_timeout"] <= 5000  # milliseconds


def test_the_roots_are_those_of_rds() -> None:
    roots = ssl.create_default_context(cafile=str(postgres._ROOTS)).get_ca_certs()
    names = [dict(part[0] for part in root["subject"])["commonName"] for root in roots]  # type: ignore[misc]

    own = [name for name in names if name.startswith("Amazon RDS ") and name.endswith(" Root CA RSA2048 G1")]
    assert len(own) >= 27
