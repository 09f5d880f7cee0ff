"""One run against a stack: requests and faults go out, all comes to rest, and what is known then is collected."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from local.stack import ROOT, LocalStack
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.plan import Plan
from tests.chaos.relay import Relay
from tests.chaos.saboteur import Saboteur
from tests.chaos.world import Breach, Terms, World
from tests.support.operations import FUNCTIONS

_POLL_SECONDS = 0.5
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
                saboteur.run(agenda.faults, time.monotonic(), show)
                done = time.monotonic()
                settle(clients, len(saboteur.poison), settle_seconds, show)
                settled_seconds = time.monotonic() - done
            finally:
                clients.end()
            world = observed(clients, saboteur.poison, terms)
    return Outcome({**saboteur.done, **relay.done}, world, check(world), clients.visitor.refused, settled_seconds)


def _open(clients: Clients) -> None:
    """The opening's orders are accepted and watched, and some are diverted, before any worker has one."""
    clients.stores.consume("route_execute", enabled=False)
    clients.start()
    clients.opened.wait()
    clients.stores.divert(clients.diverted)
    clients.stores.consume("route_execute", enabled=True)
    clients.go.set()


def settle(clients: Clients, poison: int, seconds: float, show: Callable[[str], None]) -> None:
    """Wait until nothing moves any more; what has not come to rest in time is the checker's business.

    A dead letter that is no poison may be about to be dealt with: it counts as at rest when it has been there for long.
    """
    deadline = time.monotonic() + seconds
    resting: tuple[int, float] = (-1, 0.0)
    while (now := time.monotonic()) < deadline:
        waiting, dead = clients.stores.length("OrdersQueueUrl"), clients.stores.length("DeadLettersQueueUrl")
        unserved, coming = clients.visitor.unserved(), clients.visitor.coming
        if clients.sent_all.is_set() and not (waiting or unserved or coming) and dead >= poison:
            resting = resting if resting[0] == dead else (dead, now)
            if dead == poison or now - resting[1] > _DEAD_SECONDS:
                return
        show(f"settling: {waiting} messages, {dead} dead letters, {unserved} sockets unserved, {coming} to come")
        time.sleep(_POLL_SECONDS)


def observed(clients: Clients, poison: Sequence[str] = (), terms: Terms | None = None) -> World:
    stores = clients.stores
    return World(
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
        terms=terms or Terms(),
    )
