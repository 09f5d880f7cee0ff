"""Load beyond capacity: many orders in one instant, some of them watched."""

import random
import time
from collections import Counter
from dataclasses import replace

import psutil
from rich.console import Console

from local.stack import LocalStack
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.observe import Stores
from tests.chaos.plan import Request, Visit
from tests.chaos.report import judge
from tests.chaos.running import Progress, observed, settle

VENUES = {"VenueQuoteLatencyMs": "0", "VenueSwapLatencyMs": "0"}
_ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
_WATCHED = 150
_CLEAR_ANSWERS = (202, 429, 503)
_DEADLINE_SECONDS = 300


def measure(stack: LocalStack, console: Console, orders: int, seed: int) -> int:
    """Sends the orders at once, twice over, and has all of it judged; answers the exit code.

    The first time warms up what grows once (threads, pages that forked workers no longer share); what the second time
    adds is what load costs.
    """
    stores = Stores(stack)
    console.print(f"memory before: {_text(memory_mb())}")
    runs = []
    for turn in ("first", "second"):
        clients = _burst(stack, stores, console, turn, orders, seed)
        console.print(f"memory after the {turn} burst: {_text(memory_mb())}")
        runs.append(clients)
    world = observed(runs[0], stores)
    world = replace(
        world,
        posted=[posted for clients in runs for posted in clients.posted],
        transcripts=[transcript for clients in runs for transcript in clients.visitor.transcripts],
    )
    unclear = Counter(posted.status for posted in world.posted if posted.status not in _CLEAR_ANSWERS)
    if unclear:
        console.print(f"answers that tell a client nothing: {dict(unclear)}")
    return judge(console, world, check(world)) or int(bool(unclear))


def _burst(stack: LocalStack, stores: Stores, console: Console, turn: str, orders: int, seed: int) -> Clients:
    watched = set(random.Random(f"{seed} {turn}").sample(range(orders), min(_WATCHED, orders)))
    requests = [Request(0.0, _ORDER, subscribers=((Visit(0.0),),) if n in watched else ()) for n in range(orders)]
    clients = Clients(stack.endpoints.http, requests, at_once=orders)
    begun = time.monotonic()
    clients.start()
    clients.sent_all.wait(_DEADLINE_SECONDS)
    accepted = time.monotonic() - begun
    settle(clients, stores, 0, _DEADLINE_SECONDS, Progress(console, clients.accepted, begun))
    done = time.monotonic() - begun
    clients.end()
    answers = dict(Counter(posted.status for posted in clients.posted))
    console.print(
        f"{turn} burst, {orders} orders at once: {answers}, the last accepted after {accepted:.1f} s, "
        f"all done after {done:.1f} s, {len(clients.visitor.transcripts)} of them watched"
    )
    return clients


def memory_mb() -> dict[str, float]:
    """What the stack's processes have in memory for themselves alone, by what they are."""
    by_kind: dict[str, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            kind = _kind(process)
            by_kind[kind] = by_kind.get(kind, 0) + process.memory_full_info().uss / 2**20
        except psutil.Error:  # it ended while we looked
            continue
    return by_kind


def _kind(process: psutil.Process) -> str:
    function = process.environ().get("AWS_LAMBDA_FUNCTION_NAME", "")
    if function:
        return "function workers"
    return "MiniStack" if "ministack.app:app" in process.cmdline() else "PostgreSQL"


def _text(memory: dict[str, float]) -> str:
    return ", ".join(f"{kind} {megabytes:.0f} MB" for kind, megabytes in sorted(memory.items()))
