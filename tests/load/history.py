"""Measures how the history is read once it has a million orders, and prints a table: `make bench-history`. Nothing is
asserted.

A local stack of its own, its PostgreSQL (16 MB of shared buffers; the system's cache holds the rest) filled by
PostgreSQL itself: six in ten orders are one owner's, the others those of a hundred more. Beside a time stands the index
that the plan reads, and whether it sorts. Then the same over HTTP, one request at a time.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import combinations, cycle
from pathlib import Path
from typing import Any

import httpx
import psycopg
from order_engine.adapters.archive import PostgresArchive
from order_engine.domain.access import PUBLIC
from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.summary import OrderFilter, Position
from order_engine.domain.swaps import VenueName

from local.stack import PATH, LocalStack
from tests.support.database import Connections
from tests.support.history_rows import APART, LAST, Planner, fill

ORDERS, WITH_EVENTS = 1_000_000, 100_000
OWNER, PAGE, DEEP = PUBLIC, 50, 1000
TIMES = 200  # each reading is repeated so often

FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "status": {"status": OrderStatus.FAILED},
    "orderType": {"order_type": "sniper"},
    "venue": {"venue": VenueName.RAYDIUM},
    "tokenIn, tokenOut": {"token_in": "SOL", "token_out": "BONK"},
    "code": {"code": FailureCode.VENUE_UNAVAILABLE},
    "from, to": {"created_from": LAST - APART * ORDERS * 0.9, "created_before": LAST - APART * ORDERS * 0.1},
}
VIEWS = ("failures_by_hour", "venue_performance", "slippage_by_venue", "time_in_status")


def row(what: str, value: str, plan: str = "") -> None:
    print(f"  {what:<44} {value:<24} {plan}".rstrip(), flush=True)


def spread(read: Callable[[], object], times: int = TIMES) -> str:
    """How long a reading takes, in the middle and at worst."""
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        read()
        seconds.append(time.perf_counter() - begun)
    return " / ".join(f"{sorted(seconds)[int(len(seconds) * share)] * 1000:.1f} ms" for share in (0.5, 0.99))


def page(wanted: OrderFilter, after: Position | None) -> Callable[[PostgresArchive], object]:
    """Reads a page of a list."""
    return lambda archive: archive.page(OWNER, wanted, after, PAGE)


class Bench:
    """Reads through the archive, once with its plan, and then often."""

    def __init__(self, archive: PostgresArchive, planning: PostgresArchive, planner: Planner) -> None:
        self.archive = archive
        self._planning = planning
        self._planner = planner

    def measure(self, what: str, read: Callable[[PostgresArchive], object], times: int = TIMES) -> None:
        read(self._planning)
        sort = ", sorted" if {"Sort", "Incremental Sort"} & set(self._planner.nodes) else ""
        whole = "; A WHOLE TABLE" if self._planner.read_whole else ""
        indexes = dict.fromkeys(index for index in self._planner.indexes if index.startswith("orders_"))
        row(what, spread(lambda: read(self.archive), times), f"{' & '.join(indexes)}{sort}{whole}")

    def pages(self, filters: dict[str, dict[str, Any]]) -> None:
        """The first page of each list, and a deep one."""
        for name, fields in filters.items():
            wanted = OrderFilter(**fields)
            self.measure(f"by {name}: page 1", page(wanted, None))
            self.measure(f"by {name}: page {DEEP:,}", page(wanted, self._position(wanted)))

    def pairs(self) -> None:
        """Lists by two filters, which no index serves alone."""
        single = [(name, fields) for name, fields in FILTERS.items() if name not in ("none", "from, to")]
        for (one, first), (other, second) in combinations(single, 2):
            wanted = OrderFilter(**first, **second)
            self.measure(f"by {one} and {other}", page(wanted, None), 20)
        none = OrderFilter(status=OrderStatus.CANCELLED, venue=VenueName.RAYDIUM)
        self.measure("by two filters that no order has", page(none, None), 20)

    def single(self, connection: psycopg.Connection[Any]) -> None:
        """One order, with its events, and by its name."""
        found = connection.execute(
            "SELECT order_id, client_order_id FROM orders WHERE owner = %s AND status = 'confirmed'"
            " AND client_order_id IS NOT NULL AND created_at > %s ORDER BY order_id LIMIT %s",
            [OWNER, LAST - APART * WITH_EVENTS, TIMES + 1],
        ).fetchall()
        ids, names = iter([one for one, _ in found]), iter([name for _, name in found])
        self.measure("one order, with its events", lambda archive: archive.find(OWNER, next(ids)))
        self.measure("the newest of a clientOrderId", lambda archive: archive.named(OWNER, next(names)))

    def _position(self, wanted: OrderFilter) -> Position | None:
        after: Position | None = None
        for _ in range(0, DEEP - 1, 111):
            after = self.archive.page(OWNER, wanted, after, 111 * PAGE)[-1].position
        return after


class Client:
    """The stack's HTTP API, in whose list everything is the large owner's."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def measure(self, what: str, *urls: str) -> None:
        """Ask for these URLs, one after the other, again and again."""
        asked = cycle(urls)
        row(f"GET {what}", spread(lambda: self._get(next(asked))))

    def orders(self) -> None:
        """Look up orders of the journal and of the history, and read the first page of the list and a deep one."""
        made = self._http.post(PATH, json={"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"}).json()["orderId"]
        self.measure("an order of the journal", f"/api/orders/{made}")
        first = f"/api/orders?limit={PAGE}"
        walked = f"/api/orders?limit={4 * PAGE}"
        for _ in range(DEEP // 4):
            walked = self._get(walked).links["next"]["url"]
        deep = walked.replace(f"limit={4 * PAGE}", f"limit={PAGE}")
        old = [order["orderId"] for order in self._get(deep).json()["orders"]]
        self.measure("an order of the history", *(f"/api/orders/{order_id}" for order_id in old))
        self.measure("the list: page 1", first)
        self.measure(f"the list: page {DEEP:,}", deep)
        self.measure("the list by status: page 1", f"{first}&status=failed")

    def _get(self, url: str) -> httpx.Response:
        return self._http.get(url).raise_for_status()


def seconds(work: Callable[[], object]) -> str:
    begun = time.perf_counter()
    work()
    return f"{time.perf_counter() - begun:.2f} s"


def sizes(connection: psycopg.Connection[Any]) -> Sequence[tuple[str, str]]:
    """The tables without their indexes, then the indexes."""
    return connection.execute(
        "SELECT relname, pg_size_pretty(pg_table_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'i') AND relname LIKE 'order%' ORDER BY relkind DESC, relname"
    ).fetchall()


def main() -> None:
    """Fill, read, look at the views, prune."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder), port=0, parameters={"VenueQuoteLatencyMs": "0"}) as stack,
        httpx.Client(base_url=stack.endpoints.http, trust_env=False, timeout=30) as http,
        psycopg.connect(stack.postgres.url, autocommit=True) as connection,
    ):
        postgres = stack.postgres
        print(f"{ORDERS:,} orders, events of {WITH_EVENTS:,}; pages of {PAGE}; p50 / p99")
        row("filled in", seconds(lambda: fill(connection, ORDERS, WITH_EVENTS)))
        connection.execute("VACUUM orders, order_events")
        with closing(Connections(postgres.url)) as connections, closing(Planner(postgres.url)) as planner:
            bench = Bench(PostgresArchive(connections), PostgresArchive(planner), planner)
            bench.pages(FILTERS)
            bench.pairs()
            bench.single(connection)
        client = Client(http)
        client.orders()
        client.measure("/api/quotes, venues without latency", "/api/quotes?tokenIn=SOL&tokenOut=USDC&amountIn=10")
        client.measure("/api/tokens", "/api/tokens")
        client.measure("/", "/")
        for view in VIEWS:
            query = psycopg.sql.SQL("SELECT * FROM {} WHERE day = '2025-12-30'").format(psycopg.sql.Identifier(view))
            row(f"{view}, of one day", spread(partial(connection.execute, query), 20))
        prune = "SELECT prune_orders(now() - (SELECT min(completed_at) + interval '3 days' FROM orders))"
        row("prune_orders, 10,000 orders without events", seconds(lambda: connection.execute(prune)))
        row("all indexes of orders, built anew", seconds(lambda: connection.execute("REINDEX TABLE orders")))
        for name, size in sizes(connection):
            row(f"size of {name}", size)


if __name__ == "__main__":
    main()
