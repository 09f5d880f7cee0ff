"""Puts the engine together: each function asks here for its use case, made once in each execution environment.

What only one use case needs is imported in its maker, so that a function loads only what it uses (`submit` loads no
psycopg).
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from order_engine.adapters.journal import DynamoJournal
from order_engine.adapters.order_queue import SqsOrderQueue
from order_engine.aws import client, reaching
from order_engine.delivery import CatchUp, Publisher
from order_engine.ports import CatchUps, Sockets, Subscribers
from order_engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from order_engine.execution import Executor
    from order_engine.submission import Submission
    from order_engine.subscription import Subscription


def now() -> datetime:
    """The time, aware and UTC."""
    return datetime.now(UTC)


@cache
def settings() -> Settings:
    """This environment's settings."""
    return Settings.from_environment()


@cache
def _dynamodb() -> Any:
    return client("dynamodb")


@cache
def journal() -> DynamoJournal:
    """The orders and their events."""
    given = settings()
    lease = timedelta(seconds=given.number("LEASE_SECONDS", 25))
    return DynamoJournal(_dynamodb(), given.text("JOURNAL_TABLE"), given.text("CLIENT_ORDER_IDS_TABLE"), now, lease)


@cache
def subscribers() -> Subscribers:
    """Who watches what."""
    from order_engine.adapters.subscribers import DynamoSubscribers

    tables = (settings().text(name) for name in ("CONNECTIONS_TABLE", "SUBSCRIBER_PAGES_TABLE", "JOURNAL_TABLE"))
    return DynamoSubscribers(_dynamodb(), *tables)


@cache
def sockets() -> Sockets:
    """The subscribers' sockets."""
    from order_engine.adapters.sockets import GatewaySockets

    return GatewaySockets(client("apigatewaymanagementapi", settings().text("MANAGEMENT_ENDPOINT")))


@cache
def catch_ups() -> CatchUps:
    """How notify is asked for."""
    from order_engine.adapters.catch_ups import LambdaCatchUps

    return LambdaCatchUps(client("lambda"), settings().text("NOTIFY_FUNCTION"))


@cache
def order_queue() -> SqsOrderQueue:
    """The queue between submit and the workers."""
    return SqsOrderQueue(client("sqs"), settings().text("ORDERS_QUEUE_URL"))


def _database() -> "Callable[[], Connection[Any]]":
    """How PostgreSQL is reached: by DATABASE_URL where it is given, else as DATABASE_USER, for whom IAM vouches.

    IAM's token is good for opening a connection within 15 minutes; it is made here, without a call to a service.
    """
    from order_engine.postgres import connect_over_tls, connect_to

    given = settings()
    if url := given.optional("DATABASE_URL"):
        return lambda: connect_to(url)
    host, name, user = (given.text(setting) for setting in ("DATABASE_HOST", "DATABASE_NAME", "DATABASE_USER"))

    rds = client("rds")

    def connect() -> "Connection[Any]":
        with reaching("database credentials", 0):
            token = rds.generate_db_auth_token(DBHostname=host, Port=5432, DBUsername=user)
        return connect_over_tls(host, name, user, token)

    return connect


@cache
def catch_up() -> CatchUp:
    """The use case of notify."""
    return CatchUp(journal(), subscribers(), sockets(), now)


@cache
def subscription() -> "Subscription":
    """The use case of ws_connect."""
    from order_engine.subscription import Subscription

    return Subscription(subscribers(), sockets(), catch_ups(), now)


@cache
def submission() -> "Submission":
    """The use case of submit."""
    from order_engine.submission import Submission

    return Submission(journal(), order_queue(), now)


@cache
def executor() -> "Executor":
    """The use case of route_execute and dead_letters."""
    from order_engine.adapters.history import PostgresHistory
    from order_engine.adapters.mock_chain import MockChain
    from order_engine.adapters.mock_venues import MockVenue, VenueConditions
    from order_engine.execution import ExecutionPolicy, Executor
    from order_engine.orders import VenueName

    given = settings()
    chain = MockChain(_dynamodb(), given.text("CHAIN_TABLE"))
    conditions = VenueConditions(
        quote_latency_ms=given.milliseconds("VENUE_QUOTE_LATENCY_MS", VenueConditions.quote_latency_ms),
        swap_latency_ms=given.milliseconds("VENUE_SWAP_LATENCY_MS", VenueConditions.swap_latency_ms),
        error_rate=given.number("VENUE_ERROR_RATE", VenueConditions.error_rate, highest=1),
        timeout_rate=given.number("VENUE_TIMEOUT_RATE", VenueConditions.timeout_rate, highest=1),
        validity_seconds=given.number("VENUE_VALIDITY_SECONDS", VenueConditions.validity_seconds),
        max_slip_bps=int(given.number("VENUE_MAX_SLIP_BPS", VenueConditions.max_slip_bps, highest=10_000)),
        seed=given.optional("VENUE_SEED"),
    )
    return Executor(
        journal=journal(),
        publisher=Publisher(journal(), subscribers(), sockets(), catch_ups(), now),
        queue=order_queue(),
        history=PostgresHistory(_database()),
        venues=tuple(MockVenue(name, chain, now, conditions) for name in VenueName),
        now=now,
        policy=ExecutionPolicy(
            retry_base_seconds=given.number("RETRY_BASE_SECONDS", ExecutionPolicy.retry_base_seconds),
            max_age_seconds=given.number("ORDER_MAX_AGE_SECONDS", ExecutionPolicy.max_age_seconds),
        ),
    )
