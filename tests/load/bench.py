"""Measures the whole system on one machine, and prints a table: `make bench`. Nothing is asserted.

Everything goes over loopback, to a stack that is started for it; counts and times are bounded.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from heapq import heapreplace
from pathlib import Path
from statistics import median

import httpx
from order_engine.adapters.mock_market.dice import VenueConditions, draw
from order_engine.domain.swaps import VenueName

from local.stack import PATH, LocalStack
from tests.chaos.clients import Clients
from tests.chaos.measures import AT_ONCE, memory_mb
from tests.chaos.plan import ORDINARY, Request, Visit
from tests.chaos.world import Message, Transcript
from tests.support.operations import most_at_once, poll

FIVE = ["pending", "routing", "building", "submitted", "confirmed"]
_DEADLINE_SECONDS = 300


def _burst(stack: LocalStack, orders: int) -> Clients:
    """Send orders at once, each followed on a socket from its 202 on."""
    clients = Clients(stack, [Request(0.0, ORDINARY, subscribers=((Visit(0.0, linger=0.0),),))] * orders)
    clients.start()
    transcripts = clients.visitor.transcripts
    poll(lambda: sum(one.final for one in transcripts) == orders, _DEADLINE_SECONDS, every=0.2)
    clients.end()
    return clients


async def _post_seconds(base: str, clients: int, posts: int) -> list[float]:
    """How long each POST takes while so many clients send one after the other."""
    async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as http:

        async def one() -> list[float]:
            times = []
            for _ in range(posts):
                begun = time.perf_counter()
                (await http.post(PATH, json=ORDINARY)).raise_for_status()
                times.append(time.perf_counter() - begun)
            return times

        return [seconds for times in await asyncio.gather(*(one() for _ in range(clients))) for seconds in times]


def _stamp(message: Message) -> float:
    return datetime.fromisoformat(message["timestamp"]).timestamp()


def _at(order: Transcript, status: str) -> float:
    return next(_stamp(message) for _, message in order.messages if message["status"] == status)


def _simulated_seconds(order: Transcript) -> float:
    """The venues' own time: the slower quote, and the swap on the venue that was chosen."""
    fates = {venue: draw(VenueConditions(), order.order_id, "/1", venue) for venue in VenueName}
    chosen = next(message["venue"] for _, message in order.messages if message["status"] == "submitted")
    return max(fate.quote_seconds for fate in fates.values()) + fates[VenueName(chosen)].swap_seconds


def _ten_workers(orders: Sequence[Transcript]) -> float:
    """When the last would be done if ten workers took the orders one after the other and had nothing else to do."""
    workers = [0.0] * 10
    for order in sorted(orders, key=lambda order: _at(order, "routing")):
        heapreplace(workers, workers[0] + _simulated_seconds(order))
    return max(workers)


def _row(what: str, value: str) -> None:
    print(f"  {what:<62} {value}", flush=True)


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _post_row(what: str, seconds: Sequence[float]) -> None:
    _row(f"{what} p50 / p99", " / ".join(f"{_percentile(seconds, share) * 1000:.1f} ms" for share in (0.5, 0.99)))


def _report(clients: Clients) -> float:
    """Print what the clients saw; return the wall time."""
    orders = clients.visitor.transcripts
    in_order = sum([message["status"] for _, message in order.messages] == FIVE for order in orders)
    flights = [(_at(order, "routing"), _at(order, "confirmed")) for order in orders]
    wall = max(order.messages[-1][0] for order in orders) - min(posted.at for posted in clients.posted)
    arrivals = [(at, _stamp(message), order) for order in orders for at, message in order.messages]
    lags = [(at - stamp) * 1000 for at, stamp, order in arrivals if stamp > order.opened_at]
    _row("orders whose client saw all five statuses in order", f"{in_order} of {len(orders)}")
    _row("most in flight (routing … confirmed)", str(most_at_once(flights)))
    _row("wall time", f"{wall:.2f} s, {len(orders) / wall:.1f} orders/s")
    _post_row("POST", [posted.until - posted.at for posted in clients.posted])
    _row(
        f"status at the client after its timestamp, p50 / p99 / most ({len(lags)} live)",
        f"{median(lags):.1f} / {_percentile(lags, 0.99):.1f} / {max(lags):.1f} ms",
    )
    return wall


def main() -> None:
    """Two stacks, one after the other: default latencies, then none."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        with LocalStack(Path(folder), port=0) as stack:
            print(f"default latencies, {many} orders at once, each with a socket from its 202 on")
            _row("memory of the stack, idle", f"{sum(memory_mb('pss').values()):.0f} MB")
            clients = _burst(stack, many)
            wall, orders = _report(clients), clients.visitor.transcripts
            ideal, ten = sum(map(_simulated_seconds, orders)) / 10, _ten_workers(orders)
            _row("sum of the venues' simulated times / 10", f"{ideal:.2f} s; wall / that = {wall / ideal:.3f}")
            _row("ten workers that spend only those times", f"{ten:.2f} s; wall / that = {wall / ten:.3f}")
            _row("memory of the stack, after", f"{sum(memory_mb('pss').values()):.0f} MB")
            _post_row("POST with 10 clients,", asyncio.run(_post_seconds(stack.endpoints.http, 10, 20)))
        with LocalStack(Path(folder), port=0, parameters=AT_ONCE) as stack:
            print(f"no latencies, {3 * many} orders at once, one subscriber each")
            _report(_burst(stack, 3 * many))


if __name__ == "__main__":
    main()
