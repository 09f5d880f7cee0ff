"""How the workers reach PostgreSQL: by a URL where there is one, else by IAM, over TLS that is checked."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from order_engine.adapters import postgres

HOST = "order-engine.abc123.eu-central-1.rds.amazonaws.com"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """What psycopg was asked for."""
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr("psycopg.connect", lambda *given, **named: asked.append((given, named)))
    engine.settings.cache_clear()
    yield asked
    engine.settings.cache_clear()


def test_a_url_is_taken_as_it_is(connections: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@127.0.0.1/orders")

    engine._database()()

    assert connections[0][0] == ("postgresql://somebody@127.0.0.1/orders",)


def test_without_a_url_iam_vouches_and_the_servers_certificate_is_checked(
    connections: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name, value in {
        "DATABASE_HOST": HOST,
        "DATABASE_NAME": "orders",
        "DATABASE_USER": "order_worker",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
    }.items():
        monkeypatch.setenv(name, value)

    engine._database()()

    ((_, asked),) = connections
    assert (asked["host"], asked["dbname"], asked["user"]) == (HOST, "orders", "order_worker")
    assert asked["sslmode"] == "verify-full"
    token = urlsplit(f"https://{asked['password']}")
    assert (token.hostname, token.port) == (HOST, 5432)
    query = parse_qs(token.query)
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (["connect"], ["order_worker"], ["900"])
    assert "/eu-central-1/rds-db/aws4_request" in query["X-Amz-Credential"][0]


@pytest.mark.parametrize(
    "connect",
    [
        lambda: postgres.connect_to("postgresql://somebody@127.0.0.1/orders"),
        lambda: postgres.connect_over_tls(HOST, "orders", "order_worker", "token"),
    ],
)
def test_every_connection_has_limits_for_connecting_and_for_a_peer_that_is_gone(
    connect: Callable[[], Any], connections: Any
) -> None:
    connect()

    ((_, asked),) = connections
    seconds_until_a_silent_peer_is_dropped = (
        asked["keepalives_idle"] + asked["keepalives_interval"] * asked["keepalives_count"]
    )
    assert asked["connect_timeout"] == 2  # psycopg knows no shorter one
    assert asked["keepalives"] == 1
    assert seconds_until_a_silent_peer_is_dropped <= 10
    assert asked["tcp_user_timeout"] <= 5000  # milliseconds


def test_the_roots_are_those_of_rds() -> None:
    roots = ssl.create_default_context(cafile=str(postgres._ROOTS)).get_ca_certs()
    names = [dict(part[0] for part in root["subject"])["commonName"] for root in roots]  # type: ignore[misc]

    own = [name for name in names if name.startswith("Amazon RDS ") and name.endswith(" Root CA RSA2048 G1")]
    assert len(own) >= 27
