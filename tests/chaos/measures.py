"""What a campaign can measure without a plan of faults: recovery times, and load beyond capacity. Each returns the exit
code of its judgement."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import psutil
from rich.console import Console

from local.stack import LocalStack
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.plan import ORDINARY, Request, Visit
from tests.chaos.report import judge
from tests.chaos.running import observed, progress, settle
from tests.chaos.stores import Stores
from tests.chaos.world import FINAL
from tests.support.operations import poll

ALLOWED_SECONDS = 60.0
# By then the back-off of the rows that are owed has reached its cap, and does not grow however long PostgreSQL is gone.
AWAY_SECONDS = 60.0
AT_ONCE = {"VenueQuoteLatencyMs": "0", "VenueSwapLatencyMs": "0"}
_WATCHED = 150
_CLEAR_ANSWERS = (202, 429, 503)
_DEADLINE_SECONDS = 300


def recovery(stack: LocalStack, console: Console) -> int:
    """How long the system takes to get over killed workers and PostgreSQL's absence, with the template's own timing."""
    worst = [
        killed_workers(stack, console),
        absent_postgres(stack, console, "stopped", stack.postgres.stop, stack.postgres.start),
        absent_postgres(stack, console, "hanging", stack.postgres.pause, stack.postgres.resume),
    ]
    late = [seconds for seconds in worst if seconds > ALLOWED_SECONDS]
    if late:
        console.print(f"too late: {late} s, {ALLOWED_SECONDS:g} s are allowed")
    return 1 if late else 0


def killed_workers(stack: LocalStack, console: Console, orders: int = 8) -> float:
    """Kill every worker once all orders are `submitted`; return the seconds until the last was final on its socket."""
    clients = _watched_orders(stack, orders, seconds=0)
    poll(lambda: _seen(clients, "submitted") == orders, 30)
    for worker in clients.stores.workers("route_execute"):
        worker.kill()
    killed, before = time.time(), _seen(clients, *FINAL)
    settle(clients, 0, 120, progress(console, clients.accepted))
    clients.end()
    finals = [at for one in clients.visitor.transcripts for at, message in one.messages if message["status"] in FINAL]
    world = observed(clients)
    console.print(
        f"workers killed (SIGKILL) with {orders - before} orders submitted: "
        f"final {min(finals) - killed:.1f} to {max(finals) - killed:.1f} s later"
    )
    return max(finals) - killed if not judge(console, world, check(world)) else float("inf")


def absent_postgres(
    stack: LocalStack, console: Console, how: str, go: Callable[[], None], come_back: Callable[[], None]
) -> float:
    """Send orders while PostgreSQL is stopped, or hangs; return the seconds from its return to the last row."""
    orders, earlier = 40, len(Stores(stack).rows())
    go()
    stopped = time.monotonic()
    clients = _watched_orders(stack, orders, seconds=AWAY_SECONDS / 2)
    poll(lambda: _seen(clients, *FINAL) == orders, AWAY_SECONDS)
    confirmed = _seen(clients, "confirmed")
    time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - stopped)))
    lasted = [one.messages[-1][0] - one.opened_at for one in clients.visitor.transcripts if one.final]
    console.print(
        f"PostgreSQL {how} for {AWAY_SECONDS:g} s: {confirmed} of {orders} orders confirmed on their sockets, "
        f"after {median(lasted):.1f} s (median), {max(lasted):.1f} s at the most"
    )
    come_back()
    back = time.monotonic()
    poll(lambda: len(clients.stores.rows()) == earlier + orders, 120)
    last_row = time.monotonic() - back
    settle(clients, 0, 120, progress(console, clients.accepted))
    clients.end()
    console.print(f"the last of {orders} rows was there {last_row:.1f} s after its return")
    return last_row


def _watched_orders(stack: LocalStack, orders: int, seconds: float) -> Clients:
    requests = [Request(seconds * n / orders, ORDINARY, subscribers=((Visit(0.0),),)) for n in range(orders)]
    clients = Clients(stack, requests)
    clients.start()
    return clients


def _seen(clients: Clients, *statuses: str) -> int:
    """On how many sockets one of the statuses has arrived."""
    transcripts = list(clients.visitor.transcripts)
    return sum(any(message["status"] in statuses for _, message in list(one.messages)) for one in transcripts)


def burst(stack: LocalStack, console: Console, orders: int, seed: int) -> int:
    """Send many orders in one instant, some of them watched, twice over, and have all of it judged.

    The first time warms up what grows once (threads, pages that forked workers no longer share); what the second time
    adds is what load costs.
    """
    console.print(f"memory before: {_text(memory_mb('uss'))}")
    runs = []
    for turn in ("first", "second"):
        runs.append(_burst(stack, console, turn, orders, seed))
        console.print(f"memory after the {turn} burst: {_text(memory_mb('uss'))}")
    posted = [posted for clients in runs for posted in clients.posted]
    transcripts = [transcript for clients in runs for transcript in clients.visitor.transcripts]
    world = replace(observed(runs[0]), posted=posted, transcripts=transcripts)
    unclear = Counter(one.status for one in posted if one.status not in _CLEAR_ANSWERS)
    if unclear:
        console.print(f"answers that tell a client nothing: {dict(unclear)}")
    return judge(console, world, check(world)) or int(bool(unclear))


def _burst(stack: LocalStack, console: Console, turn: str, orders: int, seed: int) -> Clients:
    watched = set(random.Random(f"{seed} {turn}").sample(range(orders), min(_WATCHED, orders)))
    requests = [Request(0.0, ORDINARY, subscribers=((Visit(0.0),),) if n in watched else ()) for n in range(orders)]
    clients = Clients(stack, requests, at_once=orders)
    begun = time.monotonic()
    clients.start()
    clients.sent_all.wait(_DEADLINE_SECONDS)
    accepted = time.monotonic() - begun
    settle(clients, 0, _DEADLINE_SECONDS, progress(console, clients.accepted))
    done = time.monotonic() - begun
    clients.end()
    answers = dict(Counter(posted.status for posted in clients.posted))
    console.print(
        f"{turn} burst, {orders} orders at once: {answers}, the last accepted after {accepted:.1f} s, "
        f"all done after {done:.1f} s, {len(clients.visitor.transcripts)} of them watched"
    )
    return clients


def memory_mb(kind: str) -> dict[str, float]:
    """Memory of the stack's processes, by what they are: without what they share (`uss`) or with their part (`pss`)."""
    by_process: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            memory = process.memory_full_info()
            by_process[_named(process)] += getattr(memory, kind, memory.rss)
        except psutil.Error:  # it ended meanwhile
            continue
    return {name: size / 2**20 for name, size in by_process.items()}


def _named(process: psutil.Process) -> str:
    if process.environ().get("AWS_LAMBDA_FUNCTION_NAME"):
        return "function workers"
    return "MiniStack" if "ministack.app:app" in process.cmdline() else "PostgreSQL"


def _text(memory: dict[str, float]) -> str:
    return ", ".join(f"{name} {megabytes:.0f} MB" for name, megabytes in sorted(memory.items()))
