"""Measures what resting orders cost, on one machine, and prints a table: `make bench-resting`. Nothing is asserted.

What a look at the market reads, with a full index; how soon an order is triggered and routed; what a crowd of orders
that come due together does to market orders. Everything goes over loopback, counts and times are bounded.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, permutations
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from order_engine.adapters.journal.item import (
    key_of,
    live_attributes,
    price_attributes,
    side_name,
    side_of,
    status_attributes,
)
from order_engine.adapters.journal.watchlist import DynamoWatchlist
from order_engine.adapters.mock_market.chain import MockChain
from order_engine.adapters.mock_market.dice import VenueConditions
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.adapters.queue import SqsOrderQueue
from order_engine.domain.events import Opened
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from order_engine.domain.swaps import VenueName
from order_engine.domain.tokens import TOKENS
from order_engine.use_cases.venue_calls import VenueCalls
from order_engine.use_cases.watch import Watcher

from local.stack import LocalStack
from tests.chaos.market import Market
from tests.support.raw_client import follow, submit

_PAIRS = list(islice(permutations([token.symbol for token in TOKENS.values() if not token.launches], 2), 50))
T = TypeVar("T")
_FILLS = (0, 10_000, 100_000)


def now() -> datetime:
    return datetime.now(UTC)


def resting(pair: tuple[str, str], limit: Decimal, reference: Decimal) -> OrderRecord:
    """A limit order at rest."""
    at = now()
    order = Order(
        order_id=uuid4(),
        created_at=at,
        order_type="limit",
        token_in=pair[0],
        token_out=pair[1],
        amount_in=Decimal(1),
        slippage_bps=50,
        limit_price=limit,
        expires_at=at + timedelta(days=1),
    )
    record = OrderRecord.accepted(order)
    return record.followed_by(Opened(**record.header(at), message="at rest", reference_price=reference))


@dataclass
class Tables:
    """The stack's tables, which are filled past the functions."""

    stack: LocalStack

    def __post_init__(self) -> None:
        self.dynamodb = self.stack.gateway.client("dynamodb")

    def fill(self, records: Iterator[OrderRecord]) -> None:
        """Put orders at rest there, and note their sides."""
        sides = set()

        def requests() -> Iterator[dict[str, Any]]:
            for record in records:
                sides.add(side_of(record.order))
                item = {
                    **key_of(record.order.order_id),
                    "fingerprint": {"S": ""},
                    "owner": {"S": record.order.owner},
                    "order": {"S": record.order.to_json()},
                    "events": {"L": [{"S": event.to_json()} for event in record.events]},
                    "subscribers": {"M": {}},
                    **status_attributes(record),
                    **live_attributes(record),
                    **price_attributes(record),
                }
                yield {"PutRequest": {"Item": item}}

        journal = self.stack.outputs["JournalTableName"]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda some: self._write(journal, some), batched(requests(), 25)))
        marks = [
            {"kind": {"S": "watch"}, "name": {"S": side_name(side)}, "notedAt": {"N": str(int(time.time() * 1000))}}
            for side in sides
        ]
        for some in batched(marks, 25):
            self._write(self.stack.outputs["WatchTableName"], [{"PutRequest": {"Item": mark}} for mark in some])

    def _write(self, table: str, requests: Sequence[Any]) -> None:
        self.dynamodb.batch_write_item(RequestItems={table: list(requests)})


def batched(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """What DynamoDB takes at once."""
    left = iter(things)
    while some := list(islice(left, size)):
        yield some


def row(what: str, value: str) -> None:
    print(f"  {what:<62} {value}", flush=True)


def spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return " / ".join(f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))]:.2f} s" for share in (0.5, 0.99))


def watcher(stack: LocalStack, read: Callable[[dict[str, Any]], object]) -> Watcher:
    """A watcher in this process; `read` is told of every answer of DynamoDB."""
    dynamodb, sqs = stack.gateway.client("dynamodb"), stack.gateway.client("sqs")
    dynamodb.meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: read(parsed))
    watchlist = DynamoWatchlist(dynamodb, stack.outputs["WatchTableName"], stack.outputs["JournalTableName"], now)
    chain = MockChain(dynamodb, stack.outputs["ChainTableName"])
    venues = [MockVenue(name, chain, now, VenueConditions(quote_latency_ms=(0, 0))) for name in VenueName]
    pools = {name: ThreadPoolExecutor(32, name) for name in VenueName}
    queue = SqsOrderQueue(sqs, stack.outputs["OrdersQueueUrl"])
    return Watcher(watchlist, VenueCalls(venues, now, pools), queue, now)


def looks(stack: LocalStack) -> None:
    """What one look reads, while nothing is due."""
    tables, filled = Tables(stack), 0
    for many in _FILLS:
        tables.fill(
            resting(_PAIRS[number % len(_PAIRS)], Decimal(10) ** 12, Decimal(10) ** 12)
            for number in range(many - filled)
        )
        filled, read = many, list[dict[str, Any]]()
        watching = watcher(stack, read.append)
        watching.watchlist.take_over("bench")
        begun = time.perf_counter()
        watching.look("bench")
        seconds = time.perf_counter() - begun
        listed, *index = (page["ScannedCount"] for page in read)
        told = f"{listed} entries of the list, {sum(index)} of the index, {seconds * 1000:.0f} ms here"
        row(f"a look with {many} at rest on {len(_PAIRS)} pairs, none due", told)


def lives(stack: LocalStack, many: int) -> list[float]:
    """Market orders, one a second: until each is confirmed."""
    seconds = []
    with ThreadPoolExecutor(many) as pool:

        def one(number: int) -> None:
            time.sleep(number)
            begun = time.perf_counter()
            accepted = submit(stack.endpoints.http, {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1"})
            for _ in follow(accepted["streamUrl"]):
                pass
            seconds.append(time.perf_counter() - begun)

        list(pool.map(one, range(many)))
    return seconds


def triggers(stack: LocalStack, many: int) -> None:
    """Stops and take-profits around the price: how long after the price was there each is routed."""
    market = Market(VenueConditions())

    def best(moment: datetime) -> Decimal:
        return market.span(("SOL", "USDC"), moment.timestamp())[1]

    price = best(now())

    def one(number: int) -> tuple[float, float] | None:
        rises, share = number % 2 == 0, Decimal(1 + number // 2) / Decimal(many) / 80
        wanted = round(price * (1 + share if rises else 1 - share), 6)
        asked = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "0.001", "triggerPrice": str(wanted)}
        asked["orderType"] = "takeProfit" if rises else "stop"
        asked["expiresAt"] = (now() + timedelta(seconds=75)).isoformat()
        accepted = submit(stack.endpoints.http, asked)
        at = {
            message["status"]: datetime.fromisoformat(message["timestamp"]) for message in follow(accepted["streamUrl"])
        }
        if "routing" not in at:
            return None
        moment, step = at["open"], timedelta(milliseconds=20)
        while moment < at["routing"]:
            then = best(moment)
            if then >= wanted if rises else then <= wanted:
                break
            moment += step
        return (at["routing"] - at["triggered"]).total_seconds(), (at["routing"] - moment).total_seconds()

    with ThreadPoolExecutor(many) as pool:
        found = [one for one in pool.map(one, range(many)) if one]
    row(f"orders that were triggered, of {many}", str(len(found)))
    row("from `triggered` to `routing`, p50 / p99", spread([first for first, _ in found]))
    row("from the moment the price was there to `routing`, p50 / p99", spread([second for _, second in found]))


def main() -> None:
    """Three stacks, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        with LocalStack(Path(folder), port=0) as stack:
            print("stops and take-profits that come due one after the other")
            triggers(stack, 30)
        with LocalStack(Path(folder), port=0) as stack:
            print("market orders, one a second, until they are confirmed")
            row("alone, p50 / p99", spread(lives(stack, 30)))
            Tables(stack).fill(resting(("SOL", "USDC"), Decimal(1), Decimal(1)) for _ in range(10_000))
            time.sleep(3)
            row("beside 10,000 orders that came due together, p50 / p99", spread(lives(stack, 30)))
            journal = httpx.get(f"{stack.endpoints.http}/api/orders/{uuid4()}", trust_env=False)
            row("a look-up meanwhile", f"{journal.status_code} in {journal.elapsed.total_seconds() * 1000:.0f} ms")
        with LocalStack(Path(folder), port=0, parameters={"VenueQuoteLatencyMs": "0"}) as stack:
            print("what a look reads")
            looks(stack)


if __name__ == "__main__":
    main()
