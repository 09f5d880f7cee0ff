"""One run against a stack: requests and faults go out, all comes to rest, and what is known then is collected."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from local.stack import ROOT, LocalStack
from tests.chaos import hosting
from tests.chaos.backstage import Backstage
from tests.chaos.checker import check
from tests.chaos.clients import Clients
from tests.chaos.hosting import Timings
from tests.chaos.observe import Stores
from tests.chaos.plan import Plan
from tests.chaos.relay import Relay
from tests.chaos.saboteur import Saboteur
from tests.chaos.world import NO_TERMS, Breach, Terms, World

_POLL_SECONDS = 0.5
_SHOW_SECONDS = 5.0
_DEAD_SECONDS = 30.0  # above the visibility timeout of any campaign


@dataclass(frozen=True)
class Outcome:
    """What a campaign did and what came of it."""

    injected: dict[str, int]
    world: World
    breaches: list[Breach]
    handshakes_repeated: int
    settled_seconds: float  # from the last fault and request to the end of the last order


class Progress:
    """A line about the state of a run every few seconds, however often it is called."""

    def __init__(self, console: Console, accepted: Sequence[str], begun: float) -> None:
        self._console = console
        self._accepted = accepted
        self._begun = self._shown = begun

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        if now - self._shown >= _SHOW_SECONDS:
            self._shown = now
            line = f"{now - self._begun:6.0f} s  {len(self._accepted)} orders accepted, {what}"
            self._console.print(line, highlight=False, markup=False)


def run(
    stack: LocalStack,
    agenda: Plan,
    timings: Timings,
    console: Console,
    settle_seconds: float = 180,
    root: Path = ROOT,
    terms: Terms = NO_TERMS,
) -> Outcome:
    """Carries out a plan on a running stack, waits until everything is settled, and has it judged by the terms too.

    `root` is where the functions' code is. In the main thread, because it stops and starts PostgreSQL."""
    with Relay(stack.gateway.port) as relay, hosting.rehosted(stack, timings, relay, root):
        backstage, stores = Backstage(stack, relay), Stores(stack)
        clients = Clients(stack.endpoints.http, agenda.requests, opening=agenda.opening, backstage=backstage)
        saboteur = Saboteur(stack, relay, clients.accepted)
        try:
            _open(clients, backstage)
            begun = time.monotonic()
            show = Progress(console, clients.accepted, begun)
            saboteur.run(agenda.faults, begun, show)
            done = time.monotonic()
            settle(clients, stores, len(saboteur.poison), settle_seconds, show)
            settled_seconds = time.monotonic() - done
        finally:
            clients.end()
        world = replace(observed(clients, stores, saboteur.poison), terms=terms)
    injected = {**saboteur.done, **relay.done}
    return Outcome(injected, world, check(world), clients.visitor.refused, settled_seconds)


def _open(clients: Clients, backstage: Backstage) -> None:
    """The opening: its orders are accepted and watched, and some of their messages dead letters, before any worker has
    one."""
    backstage.consume_orders(False)
    clients.start()
    clients.opened.wait()
    backstage.divert(clients.diverted)
    backstage.consume_orders(True)
    clients.go.set()


def settle(clients: Clients, stores: Stores, poison: int, seconds: float, show: Callable[[str], None]) -> None:
    """Waits until nothing moves any more; what has not come to rest in time is the checker's business.

    A dead letter that is no poison may be about to be dealt with: it counts as at rest when it has been there for long.
    """
    deadline = time.monotonic() + seconds
    resting: tuple[int, float] = (-1, 0.0)
    while (now := time.monotonic()) < deadline:
        waiting, dead = stores.waiting(), stores.dead()
        unserved, coming = clients.visitor.unserved(), clients.visitor.coming
        if clients.sent_all.is_set() and not (waiting or unserved or coming) and dead >= poison:
            resting = resting if resting[0] == dead else (dead, now)
            if dead == poison or now - resting[1] > _DEAD_SECONDS:
                return
        show(f"settling: {waiting} messages, {dead} dead letters, {unserved} sockets unserved, {coming} to come")
        time.sleep(_POLL_SECONDS)


def observed(clients: Clients, stores: Stores, poison: Sequence[str] = ()) -> World:
    """What everybody knows at the end."""
    return World(
        posted=list(clients.posted),
        transcripts=list(clients.visitor.transcripts),
        waiting=stores.waiting(),
        journal=stores.journal(),
        chain=stores.chain(),
        rows=stores.rows(),
        event_rows=stores.event_rows(),
        dead_letters=stores.dead_letters(),
        poison=list(poison),
        diverted=list(clients.diverted),
        crowded=list(clients.crowded),
    )
