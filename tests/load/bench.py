"""Measures the whole system on one machine, and prints a table: `make bench`. Nothing is asserted.

Everything goes over loopback, to a stack that is started for it; counts and times are bounded.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heapreplace
from pathlib import Path
from typing import Any

import httpx
import psutil
from order_engine.adapters.mock_market.dice import VenueConditions, draw
from order_engine.domain.swaps import VenueName
from websockets.asyncio.client import connect

from local.client import PATH
from local.stack import LocalStack

ORDER = json.dumps({"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10})
FIVE = ["pending", "routing", "building", "submitted", "confirmed"]


@dataclass
class Followed:
    """One order as its client saw it."""

    order_id: str
    post_seconds: float
    opened_at: float = 0.0
    seen: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def at(self, status: str) -> float:
        """The status' own timestamp, in seconds."""
        return next(_stamp(message) for _, message in self.seen if message["status"] == status)

    @property
    def lags(self) -> list[float]:
        """From a status' timestamp to its arrival, for those that came while the socket was open."""
        return [arrived - _stamp(message) for arrived, message in self.seen if _stamp(message) > self.opened_at]


def _stamp(message: dict[str, Any]) -> float:
    return datetime.fromisoformat(message["timestamp"]).astimezone(UTC).timestamp()


async def _post(http: httpx.AsyncClient) -> tuple[dict[str, Any], float]:
    begun = time.perf_counter()
    response = await http.post(PATH, content=ORDER, headers={"content-type": "application/json"})
    response.raise_for_status()
    return response.json(), time.perf_counter() - begun


async def _post_and_follow(http: httpx.AsyncClient) -> Followed:
    answer, seconds = await _post(http)
    followed = Followed(answer["orderId"], seconds)
    async with connect(answer["streamUrl"], proxy=None, open_timeout=60) as socket:
        followed.opened_at = time.time()
        while len(followed.seen) < len(FIVE):
            text = await asyncio.wait_for(socket.recv(), timeout=120)
            followed.seen.append((time.time(), json.loads(text)))
    return followed


async def _burst(base: str, orders: int) -> tuple[list[Followed], float]:
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=60, trust_env=False) as http:
        begun = time.perf_counter()
        followed = await asyncio.gather(*(_post_and_follow(http) for _ in range(orders)))
        return list(followed), time.perf_counter() - begun


async def _clients(base: str, clients: int, posts: int) -> list[float]:
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as http:

        async def one() -> list[float]:
            return [(await _post(http))[1] for _ in range(posts)]

        return [seconds for times in await asyncio.gather(*(one() for _ in range(clients))) for seconds in times]


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _most_in_flight(orders: Sequence[Followed]) -> int:
    moves = [(order.at("routing"), 1) for order in orders] + [(order.at("confirmed"), -1) for order in orders]
    flying = most = 0
    for _, move in sorted(moves):
        flying += move
        most = max(most, flying)
    return most


def _simulated_seconds(order: Followed, conditions: VenueConditions) -> float:
    """The venues' own time: the slower quote, and the swap on the venue that was chosen."""
    fates = {venue: draw(conditions, order.order_id, "/1", venue) for venue in VenueName}
    chosen = next(message["venue"] for _, message in order.seen if message["status"] == "submitted")
    return max(fate.quote_seconds for fate in fates.values()) + fates[VenueName(chosen)].swap_seconds


def _ten_workers(orders: Sequence[Followed], conditions: VenueConditions) -> float:
    """When the last would be done if ten workers took the orders one after the other and had nothing else to do."""
    workers = [0.0] * 10
    for order in sorted(orders, key=lambda order: order.at("routing")):
        heapreplace(workers, workers[0] + _simulated_seconds(order, conditions))
    return max(workers)


def _memory_mb() -> float:
    """Of the stack's processes; what they share is counted once (Linux), else several times."""
    memory = (child.memory_full_info() for child in psutil.Process().children(recursive=True))
    return float(sum(getattr(of, "pss", of.rss) for of in memory)) / 2**20


def _row(what: str, value: str) -> None:
    print(f"  {what:<62} {value}", flush=True)


def _ms(seconds: Sequence[float], share: float) -> str:
    return f"{_percentile(seconds, share) * 1000:.1f} ms"


def _report(orders: Sequence[Followed], wall: float) -> None:
    in_order = sum([message["status"] for _, message in order.seen] == FIVE for order in orders)
    lags = [lag * 1000 for order in orders for lag in order.lags]
    posts = [order.post_seconds for order in orders]
    _row("orders whose client saw all five statuses in order", f"{in_order} of {len(orders)}")
    _row("most in flight (routing … confirmed)", str(_most_in_flight(orders)))
    _row("wall time", f"{wall:.2f} s, {len(orders) / wall:.1f} orders/s")
    _row("POST p50 / p99", f"{_ms(posts, 0.5)} / {_ms(posts, 0.99)}")
    _row(
        f"status at the client after its timestamp, p50 / p99 / most ({len(lags)} live)",
        f"{statistics.median(lags):.1f} / {_percentile(lags, 0.99):.1f} / {max(lags):.1f} ms",
    )


def main() -> None:
    """Two stacks, one after the other: default latencies, then none."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        with LocalStack(Path(folder), port=0) as stack:
            print(f"default latencies, {orders} orders at once, each with a socket from its 202 on")
            _row("memory of the stack, idle", f"{_memory_mb():.0f} MB")
            followed, wall = asyncio.run(_burst(stack.endpoints.http, orders))
            _report(followed, wall)
            ideal = sum(_simulated_seconds(order, VenueConditions()) for order in followed) / 10
            _row("sum of the venues' simulated times / 10", f"{ideal:.2f} s; wall / that = {wall / ideal:.3f}")
            ten = _ten_workers(followed, VenueConditions())
            _row("ten workers that spend only those times", f"{ten:.2f} s; wall / that = {wall / ten:.3f}")
            _row("memory of the stack, after", f"{_memory_mb():.0f} MB")
            times = asyncio.run(_clients(stack.endpoints.http, 10, 20))
            _row("POST with 10 clients, p50 / p99", f"{_ms(times, 0.5)} / {_ms(times, 0.99)}")
        quick = {"VenueQuoteLatencyMs": "0", "VenueSwapLatencyMs": "0"}
        with LocalStack(Path(folder), port=0, parameters=quick) as stack:
            print(f"no latencies, {3 * orders} orders at once, one subscriber each")
            _report(*asyncio.run(_burst(stack.endpoints.http, 3 * orders)))


if __name__ == "__main__":
    main()
