"""How long the system takes to get over a killed worker and an absent PostgreSQL, with the template's own timing."""

import time
from collections.abc import Callable
from itertools import count
from statistics import median

from rich.console import Console

from local.stack import LocalStack
from tests.chaos import hosting
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.observe import Stores
from tests.chaos.plan import Request, Visit
from tests.chaos.report import judge
from tests.chaos.running import observed, settle

ALLOWED_SECONDS = 60.0
_ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
_POLL_SECONDS = 0.01
# By then the back-off of the rows that are owed has reached its cap, and does not grow however long PostgreSQL is away.
AWAY_SECONDS = 60.0


def measure(stack: LocalStack, console: Console, away_seconds: float = AWAY_SECONDS) -> int:
    """All measurements, one after the other, on a stack with default timings; answers the exit code."""
    stores = Stores(stack)
    worst = [
        killed_workers(stack, stores, console),
        absent_postgres(stack, stores, console, away_seconds, hanging=False),
        absent_postgres(stack, stores, console, away_seconds, hanging=True),
    ]
    late = [seconds for seconds in worst if seconds > ALLOWED_SECONDS]
    if late:
        console.print(f"too late: {late} s, {ALLOWED_SECONDS:g} s are allowed")
    return 1 if late else 0


def killed_workers(stack: LocalStack, stores: Stores, console: Console, orders: int = 8) -> float:
    """Kills every worker that executes orders once all orders are `submitted`; answers the seconds until the last of
    them was final on its socket."""
    clients = _watched_orders(stack, orders, seconds=0)
    function = stack.outputs["RouteExecuteFunctionName"]
    _wait(lambda: _seen(clients, "submitted") == orders, 30)
    for worker in hosting.workers(function):
        worker.kill()
    killed = time.time()
    before = _seen(clients, "confirmed", "failed")
    settle(clients, stores, 0, 120, _show(console, killed))
    clients.end()
    arrivals = [at - killed for one in clients.visitor.transcripts for at, message in one.messages if _final(message)]
    world = observed(clients, stores)
    console.print(
        f"workers killed (SIGKILL) with {orders - before} orders submitted: "
        f"final {min(arrivals):.1f} to {max(arrivals):.1f} s later"
    )
    return max(arrivals) if not judge(console, world, check(world)) else float("inf")


def absent_postgres(stack: LocalStack, stores: Stores, console: Console, away_seconds: float, hanging: bool) -> float:
    """Sends orders while PostgreSQL is stopped, or hangs; answers the seconds from its return to the last row."""
    postgres, earlier = stack.postgres, len(stores.rows())
    (postgres.pause if hanging else postgres.stop)()
    stopped, orders = time.monotonic(), 40
    clients = _watched_orders(stack, orders, seconds=away_seconds / 2)
    _wait(lambda: _seen(clients, "confirmed", "failed") == orders, away_seconds)
    confirmed = _seen(clients, "confirmed")
    _wait(lambda: time.monotonic() - stopped >= away_seconds, away_seconds)
    lasted = [one.messages[-1][0] - one.opened_at for one in clients.visitor.transcripts if one.final]
    console.print(
        f"PostgreSQL {'hanging' if hanging else 'stopped'} for {away_seconds:g} s: {confirmed} of {orders} orders "
        f"confirmed on their sockets, after {median(lasted):.1f} s (median), {max(lasted):.1f} s at the most"
    )
    (postgres.resume if hanging else postgres.start)()
    back = time.time()
    _wait(lambda: len(stores.rows()) == earlier + orders, 120)
    last_row = time.time() - back
    settle(clients, stores, 0, 120, _show(console, back))
    clients.end()
    console.print(f"the last of {orders} rows was there {last_row:.1f} s after its return")
    return last_row


def _watched_orders(stack: LocalStack, orders: int, seconds: float) -> Clients:
    requests = [Request(seconds * n / orders, _ORDER, subscribers=((Visit(0.0),),)) for n in range(orders)]
    clients = Clients(stack.endpoints.http, requests)
    clients.start()
    return clients


def _final(message: dict[str, object]) -> bool:
    return message["status"] in ("confirmed", "failed")


def _seen(clients: Clients, *statuses: str) -> int:
    """On how many sockets one of the statuses has arrived."""
    transcripts = list(clients.visitor.transcripts)
    return sum(any(message["status"] in statuses for _, message in list(one.messages)) for one in transcripts)


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _show(console: Console, since: float) -> Callable[[str], None]:
    calls = count()

    def show(what: str) -> None:
        if next(calls) % 20 == 10:
            console.print(f"{time.time() - since:6.0f} s  {what}", highlight=False, markup=False)

    return show
