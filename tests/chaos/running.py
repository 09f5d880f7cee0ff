"""One run against a stack: requests and faults go out, all comes to rest, and what is known then is collected."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isfinite
from pathlib import Path
from unittest.mock import patch

from order_engine.domain.tokens import LAUNCHING
from rich.console import Console

from local.stack import ROOT, LocalStack
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.plan import Plan
from tests.chaos.relay import Relay
from tests.chaos.saboteur import Saboteur
from tests.chaos.stores import Stores
from tests.chaos.world import Breach, Terms, World
from tests.support.operations import FUNCTIONS

_POLL_SECONDS = 0.5
_WATCH_SECONDS = 60.0
_ANY_IMPACT_BPS = 1000  # more than any order of a campaign has that rests
_SHOW_SECONDS = 5.0
_DEAD_SECONDS = 30.0  # above the visibility timeout of any campaign


@dataclass(frozen=True)
class Timings:
    """What bounds a worker's silence; in the template, each is below the next."""

    function_seconds: int
    lease_seconds: int
    visibility_seconds: int  # after them a message is redelivered
    receives: int = 5  # after so many a message is a dead letter

    def __str__(self) -> str:
        bounds = f"function {self.function_seconds} s < lease {self.lease_seconds} s"
        return f"{bounds} < visibility timeout {self.visibility_seconds} s, {self.receives} receives"


@dataclass(frozen=True)
class Outcome:
    injected: dict[str, int]
    world: World
    breaches: list[Breach]
    handshakes_repeated: int
    settled_seconds: float  # from the last fault and request to the end of the last order


def progress(console: Console, accepted: Sequence[str]) -> Callable[[str], None]:
    """Print a line about the state of a run every few seconds, however often it is called."""
    begun = shown = time.monotonic()

    def show(what: str) -> None:
        nonlocal shown
        if (now := time.monotonic()) - shown >= _SHOW_SECONDS:
            shown = now
            console.print(f"{now - begun:6.0f} s  {len(accepted)} orders accepted, {what}", highlight=False)

    return show


@contextmanager
def unhosted(state: Path, parameters: Mapping[str, str]) -> Iterator[LocalStack]:
    """A stack whose functions are not hosted yet: `run` hosts them with its own settings."""
    stack = LocalStack(state, port=0, parameters=parameters)
    with patch("local.stack.function_folders", return_value={}):
        stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def run(
    stack: LocalStack,
    agenda: Plan,
    timings: Timings,
    terms: Terms,
    console: Console,
    settle_seconds: float = 180,
    root: Path = ROOT,
) -> Outcome:
    """Carry out a plan on an unhosted stack, wait until everything is settled, and have it judged by the terms too.

    `root` is where the functions' code is. In the main thread, because it stops and starts PostgreSQL."""
    with Relay(stack.gateway.port) as relay:
        clients = Clients(stack, agenda.requests, agenda.opening, relay, desks=agenda.desks)
        stores, visibility = clients.stores, timings.visibility_seconds
        stores.set_queue("OrdersQueueUrl", timings.receives, VisibilityTimeout=visibility)
        stores.set_queue("DeadLettersQueueUrl", VisibilityTimeout=visibility)
        saboteur = Saboteur(stores, relay, clients.accepted)
        lease = {"LEASE_SECONDS": timings.lease_seconds}
        with stores.rehosted(lease, tuple(FUNCTIONS), timings.function_seconds, relay.port, root):
            try:
                _open(clients)
                show = progress(console, clients.accepted)
                with _watching(stores):
                    saboteur.run(agenda.faults, time.monotonic(), show)
                    done = time.monotonic()
                    settle(clients, len(saboteur.poison), settle_seconds, show)
                stores.stop_watching()  # so that nothing moves while the stores are read
                settle(clients, len(saboteur.poison), settle_seconds, show, watching=False)
                settled_seconds = time.monotonic() - done
            finally:
                clients.end()
            world = observed(clients, saboteur.poison, terms)
    return Outcome({**saboteur.done, **relay.done}, world, check(world), clients.visitor.refused, settled_seconds)


@contextmanager
def _watching(stores: Stores) -> Iterator[None]:
    """Have the market watched without a gap, as a stack does it whose functions are hosted from the start."""
    over = threading.Event()

    def invoke() -> None:
        stores.watch()
        while not over.wait(_WATCH_SECONDS):
            stores.watch()

    thread = threading.Thread(target=invoke, name="watching", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _open(clients: Clients) -> None:
    """The opening's orders are accepted and watched, and some are diverted, before any worker has one."""
    clients.stores.consume("route_execute", enabled=False)
    clients.start()
    clients.opened.wait()
    clients.stores.divert(clients.diverted)
    clients.stores.consume("route_execute", enabled=True)
    clients.go.set()


def settle(clients: Clients, poison: int, seconds: float, show: Callable[[str], None], watching: bool = True) -> None:
    """Wait until nothing moves any more; what has not come to rest in time is the checker's business. With somebody
    `watching` the market, no order rests then that is due, or whose time is over.

    A dead letter that is no poison may be about to be dealt with: it counts as at rest when it has been there for long.
    """
    deadline, stores = time.monotonic() + seconds, clients.stores
    resting: tuple[int, float] = (-1, 0.0)
    while (now := time.monotonic()) < deadline:
        waiting, dead = stores.length("OrdersQueueUrl"), stores.length("DeadLettersQueueUrl")
        index, coming = stores.index(), clients.visitor.coming
        unserved = clients.visitor.unserved(index, stores.sequence)
        due = _due(clients, index) if watching and not (waiting or unserved or coming) else 0
        if clients.sent_all.is_set() and not (waiting or unserved or coming or due) and dead >= poison:
            resting = resting if resting[0] == dead else (dead, now)
            if dead == poison or now - resting[1] > _DEAD_SECONDS:
                return
        sockets = f"{unserved} sockets unserved, {coming} to come"
        show(f"settling: {waiting} messages, {dead} dead letters, {sockets}, {due} resting orders due")
        time.sleep(_POLL_SECONDS)


def _due(clients: Clients, index: Mapping[str, tuple[str, Decimal]]) -> int:
    """How many orders rest that are due beyond doubt, or whose time is over."""
    now, (_, ends) = time.time(), clients.stores.watched()
    over = {order_id for moment, _, order_id in (end.partition("#") for end in ends) if int(moment) < now * 1000}
    due = {order_id for order_id, (side, price) in index.items() if clients.market.is_due(side, price, now)}
    return len(over & {*index}) + sum(_is_due(clients, order_id, index[order_id], now) for order_id in due - over)


def _is_due(clients: Clients, order_id: str, indexed: tuple[str, Decimal], now: float) -> bool:
    """Whether an order that is due by its reference price is so by its own: not one that may move the price by so
    little that no quote is to its liking, nor a stop whose reference price is early."""
    (side, price), order = indexed, json.loads(clients.stores.journal_item(order_id)["order"]["S"])
    own = Decimal(order["triggerPrice"]) if order["orderType"] == "stop" else price
    pleased = int(order.get("maxPriceImpactBps", _ANY_IMPACT_BPS)) >= _ANY_IMPACT_BPS
    return pleased and clients.market.is_due(side, min(own, price), now)


def observed(clients: Clients, poison: Sequence[str] = (), terms: Terms | None = None) -> World:
    stores, terms, now = clients.stores, terms or Terms(), time.time()
    (sides, expiries), launches = stores.watched(), stores.launches()
    seconds = terms.overdue_seconds if isfinite(terms.overdue_seconds) else 0.0
    markets = clients.market.spans(sides, now, seconds)
    unopened = {token for token in LAUNCHING if launches.get(token, inf) > now - seconds}
    return World(
        index=stores.index(),
        sides=sides,
        expiries=expiries,
        launches=launches,
        market={pair: span for pair, span in markets.items() if not unopened & {*pair.split("/")}},
        ended_at=now,
        posted=list(clients.posted),
        cancels=list(clients.cancels),
        transcripts=list(clients.visitor.transcripts),
        waiting=stores.length("OrdersQueueUrl"),
        journal=stores.journal(),
        chain=stores.chain(),
        rows=stores.rows(),
        event_rows=stores.event_rows(),
        dead_letters=stores.dead_letters(),
        poison=list(poison),
        diverted=list(clients.diverted),
        crowded=list(clients.crowded),
        terms=terms,
    )
