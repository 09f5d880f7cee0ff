"""Composition root: builds each function's use case, once per execution environment.

What only one use case needs is imported where it is built, to keep cold starts short: `submit` loads no psycopg.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from order_engine.adapters.aws import client, service_errors
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.settings import MissingSetting, Settings

if TYPE_CHECKING:
    from psycopg import Connection

    from order_engine.adapters.mock_market.chain import MockChain
    from order_engine.ports import (
        Clock,
        Connections,
        NotifyRequests,
        OrderQueue,
        Quotas,
        Sockets,
        Subscribers,
        Venue,
        Watchlist,
    )
    from order_engine.use_cases.access import Access
    from order_engine.use_cases.cancel import Cancellation
    from order_engine.use_cases.execute import Executor
    from order_engine.use_cases.launch import Launches
    from order_engine.use_cases.market import Market
    from order_engine.use_cases.notify import Notifier
    from order_engine.use_cases.orders import Orders
    from order_engine.use_cases.submit import Submission
    from order_engine.use_cases.subscribe import Subscription
    from order_engine.use_cases.watch import Watcher


def utc_now() -> datetime:
    """Return the time, aware and UTC."""
    return datetime.now(UTC)


@dataclass
class Bootstrap:
    """The parts of one execution environment, each built when first needed. Set an attribute to replace a part."""

    settings: Settings = field(default_factory=Settings.from_environment)
    now: "Clock" = utc_now

    # --- use cases ----------------------------------------------------------------------------------------------------

    def access(self) -> "Access":
        """Build the door of submit and ws_connect."""
        from order_engine.adapters.keys import DynamoKeys
        from order_engine.use_cases.access import Access

        given = self.settings
        match given.text("ACCESS"):
            case "open":
                return Access(None, self.now)
            case "keys":
                return Access(DynamoKeys(self.dynamodb, given.text("API_KEYS_TABLE")), self.now)
            case other:
                raise MissingSetting(f"ACCESS must be keys or open, not {other!r}")

    def submission(self) -> "Submission":
        """Build the use case of submit."""
        from order_engine.adapters.pause import DynamoPauses
        from order_engine.use_cases.pause import PauseCheck
        from order_engine.use_cases.submit import Submission

        given = self.settings
        parts = self.journal, self.order_queue, self.now, given.text("STREAM_URL"), self.quotas
        pause_check = PauseCheck(DynamoPauses(self.dynamodb, given.text("WATCH_TABLE")))
        return Submission(*parts, timedelta(days=given.number("LONGEST_REST_DAYS", 30)), pause_check)

    def orders(self) -> "Orders":
        """Build the use case of orders."""
        from order_engine.adapters.archive import PostgresArchive
        from order_engine.adapters.journal.live import DynamoLiveOrders
        from order_engine.use_cases.orders import Orders

        live = DynamoLiveOrders(self.dynamodb, self.settings.text("JOURNAL_TABLE"))
        return Orders(self.journal, live, PostgresArchive(self.connect_to_database))

    def cancellation(self) -> "Cancellation":
        """Build the use case of cancel."""
        from order_engine.use_cases.cancel import Cancellation

        return Cancellation(self.journal, self.order_queue, self.now)

    def market(self) -> "Market":
        """Build the use case of market."""
        from order_engine.use_cases.market import Market
        from order_engine.use_cases.venue_calls import VenueCalls

        return Market(VenueCalls(self.venues, self.now), self.now)

    def subscription(self) -> "Subscription":
        """Build the use case of ws_connect."""
        from order_engine.use_cases.subscribe import Subscription

        parts = (self.subscribers, self.connections, self.sockets, self.notify_requests)
        return Subscription(*parts, self.now, self.settings.text("STREAM_URL"))

    def notifier(self) -> "Notifier":
        """Build the use case of notify."""
        from order_engine.use_cases.audience import Audience
        from order_engine.use_cases.notify import Notifier

        audience = Audience(self.subscribers, self.connections)
        return Notifier(self.journal, self.subscribers, audience, self.sockets, self.now)

    def executor(self) -> "Executor":
        """Build the use case of route_execute and dead_letters."""
        from order_engine.adapters.history import PostgresHistory
        from order_engine.domain.steps import Policy
        from order_engine.use_cases.audience import Audience
        from order_engine.use_cases.execute import Executor
        from order_engine.use_cases.publish import Publisher
        from order_engine.use_cases.venue_calls import VenueCalls

        given, now = self.settings, self.now
        audience = Audience(self.subscribers, self.connections)
        publisher = Publisher(self.journal, self.subscribers, audience, self.sockets, self.notify_requests, now)
        return Executor(
            journal=self.journal,
            publisher=publisher,
            queue=self.order_queue,
            history=PostgresHistory(self.connect_to_database),
            watchlist=self.watchlist,
            venues=VenueCalls(self.venues, now),
            now=now,
            policy=Policy(
                retry_base_seconds=given.number("RETRY_BASE_SECONDS", Policy.retry_base_seconds),
                max_age_seconds=given.number("ORDER_MAX_AGE_SECONDS", Policy.max_age_seconds),
            ),
        )

    def watcher(self) -> "Watcher":
        """Build the use case of watch_market."""
        from concurrent.futures import ThreadPoolExecutor

        from order_engine.domain.swaps import VenueName
        from order_engine.use_cases.venue_calls import VenueCalls
        from order_engine.use_cases.watch import Watcher

        # So many that fifty pairs are priced within `limits.QUOTE`, half a second each.
        pools = {name: ThreadPoolExecutor(32, name) for name in VenueName}
        return Watcher(self.watchlist, VenueCalls(self.venues, self.now, pools), self.order_queue, self.now)

    def launches(self) -> "Launches":
        """Build the use case of launch."""
        from order_engine.use_cases.launch import Launches

        return Launches(self.chain, self.now)

    # --- parts --------------------------------------------------------------------------------------------------------

    @cached_property
    def dynamodb(self) -> Any:
        """DynamoDB's client."""
        return client("dynamodb")

    @cached_property
    def journal(self) -> DynamoJournal:
        """The orders and their events."""
        given = self.settings
        tables = given.text("JOURNAL_TABLE"), given.text("CLIENT_ORDER_IDS_TABLE")
        lease = timedelta(seconds=given.number("LEASE_SECONDS", 25))
        return DynamoJournal(self.dynamodb, *tables, self.now, lease)

    @cached_property
    def quotas(self) -> "Quotas | None":
        """How many orders each owner may place; None without a limit, and where there are no owners."""
        from order_engine.adapters.quotas import DynamoQuotas
        from order_engine.domain.quota import Quota

        most = int(self.settings.number("OWNER_ORDERS_PER_MINUTE", 0))
        if not most or self.settings.text("ACCESS") == "open":
            return None
        return DynamoQuotas(self.dynamodb, self.settings.text("API_KEYS_TABLE"), Quota(most), self.now)

    @cached_property
    def watchlist(self) -> "Watchlist":
        """The orders that rest."""
        from order_engine.adapters.journal.watchlist import DynamoWatchlist

        tables = self.settings.text("WATCH_TABLE"), self.settings.text("JOURNAL_TABLE")
        return DynamoWatchlist(self.dynamodb, *tables, self.now)

    @cached_property
    def subscribers(self) -> "Subscribers":
        """Who watches which order."""
        from order_engine.adapters.journal.subscribers import DynamoSubscribers

        names = ("SUBSCRIBER_PAGES_TABLE", "JOURNAL_TABLE")
        return DynamoSubscribers(self.dynamodb, *(self.settings.text(name) for name in names))

    @cached_property
    def connections(self) -> "Connections":
        """The sockets that are open, and what each watches."""
        from order_engine.adapters.journal.connections import DynamoConnections

        most = int(self.settings.number("OWNER_STREAMS", 0))
        return DynamoConnections(self.dynamodb, self.settings.text("CONNECTIONS_TABLE"), self.now, most)

    @cached_property
    def sockets(self) -> "Sockets":
        """The subscribers' sockets."""
        from order_engine.adapters.sockets import GatewaySockets

        return GatewaySockets(client("apigatewaymanagementapi", self.settings.text("MANAGEMENT_ENDPOINT")))

    @cached_property
    def notify_requests(self) -> "NotifyRequests":
        """How `notify` is invoked."""
        from order_engine.adapters.notify_requests import LambdaNotifyRequests

        return LambdaNotifyRequests(client("lambda"), self.settings.text("NOTIFY_FUNCTION"))

    @cached_property
    def order_queue(self) -> "OrderQueue":
        """The queue between submit and the workers."""
        from order_engine.adapters.queue import SqsOrderQueue

        return SqsOrderQueue(client("sqs"), self.settings.text("ORDERS_QUEUE_URL"))

    @cached_property
    def chain(self) -> "MockChain":
        """The mock chain, on which tokens are launched as well."""
        from order_engine.adapters.mock_market.chain import MockChain

        return MockChain(self.dynamodb, self.settings.text("CHAIN_TABLE"))

    @cached_property
    def venues(self) -> "Sequence[Venue]":
        """The mock venues, on one mock chain."""
        from order_engine.adapters.mock_market.dice import VenueConditions
        from order_engine.adapters.mock_market.venue import MockVenue
        from order_engine.domain.swaps import VenueName
        from order_engine.domain.tokens import LAUNCHING

        given = self.settings
        conditions = VenueConditions(
            quote_latency_ms=given.milliseconds("VENUE_QUOTE_LATENCY_MS", VenueConditions.quote_latency_ms),
            swap_latency_ms=given.milliseconds("VENUE_SWAP_LATENCY_MS", VenueConditions.swap_latency_ms),
            error_rate=given.number("VENUE_ERROR_RATE", VenueConditions.error_rate, highest=1),
            timeout_rate=given.number("VENUE_TIMEOUT_RATE", VenueConditions.timeout_rate, highest=1),
            validity_seconds=given.number("VENUE_VALIDITY_SECONDS", VenueConditions.validity_seconds),
            max_slip_bps=int(given.number("VENUE_MAX_SLIP_BPS", VenueConditions.max_slip_bps, highest=10_000)),
            volatility_bps=int(given.number("MARKET_VOLATILITY_BPS", VenueConditions.volatility_bps, highest=5_000)),
            launches=given.moments("MARKET_LAUNCHES", LAUNCHING),
            seed=given.optional("VENUE_SEED"),
        )
        return tuple(MockVenue(name, self.chain, self.now, conditions) for name in VenueName)

    @cached_property
    def connect_to_database(self) -> "Callable[[], Connection[Any]]":
        """How PostgreSQL is reached: by DATABASE_URL where it is given, else as DATABASE_USER with an IAM token.

        The token opens a connection within 15 minutes; it is signed here, without a call to a service.
        """
        from order_engine.adapters.postgres import connect_over_tls, connect_to

        given = self.settings
        if url := given.optional("DATABASE_URL"):
            return lambda: connect_to(url)
        host, name, user = (given.text(setting) for setting in ("DATABASE_HOST", "DATABASE_NAME", "DATABASE_USER"))
        rds = client("rds")

        def connect() -> "Connection[Any]":
            with service_errors("database credentials", 0):
                token = rds.generate_db_auth_token(DBHostname=host, Port=5432, DBUsername=user)
            return connect_over_tls(host, name, user, token)

        return connect
