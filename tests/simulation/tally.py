"""What a number of seeds came to: counts, and what of the engine and of the plans they reached."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from itertools import pairwise

from tests.doubles.gate import Mode, Service
from tests.simulation.simulation import Simulation


@dataclass
class Tally:
    """Counts over seeds. `faults` by kind and service, `moves` of the lifecycle, `ends` by outcome code, `pages` that
    subscribers were on, `invocations` by function, `odd` for whatever else was out of the ordinary; `failed` has each
    failing seed with the promises that it broke."""

    seeds: int = 0
    lives: int = 0
    calls: int = 0
    faults: Counter[tuple[Mode, Service]] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    pages: Counter[int] = field(default_factory=Counter)
    invocations: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    sockets: int = 0
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, seed: int, world: Simulation, broken: Iterable[str]) -> None:
        """Counts one seed, after it was judged."""
        orders = world.tables.orders.values()
        self.seeds += 1
        self.lives += len(orders)
        self.calls += world.gate.calls
        self.faults += world.gate.hits
        for item in orders:
            statuses = [event.status.value for event in item.record.events]
            self.moves.update(pairwise(statuses))
            self.ends[str(getattr(item.record.last, "code", statuses[-1]))] += 1
        self.pages.update(page for one in world.tables.connections.values() for page in one.connection.orders.values())
        self.answers.update(posted.status for posted in world.posted)
        self.invocations.update(world.planned.invocations)
        self.odd.update(world.planned.odd)
        self.odd["invocations with a wrong clock"] += sum(world.planned.invocations.values()) if world.plan.skew else 0
        self.odd["keys used again after their time"] += sum(
            era.expired for one in world.plan.orders for era in one.eras
        )
        self.sockets += sum(len(one.sockets) for one in world.watchers)
        self.odd["orders on a socket for many"] += sum(one.shared for each in world.watchers for one, _ in each.sockets)
        if rules := list(broken):
            self.failed[seed] = rules

    def __iadd__(self, other: "Tally") -> "Tally":
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            setattr(self, one.name, mine | theirs if isinstance(mine, dict) and one.name == "failed" else mine + theirs)
        return self

    def summary(self) -> str:
        """In one line."""
        kinds = Counter[str]()
        for (kind, _), many in self.faults.items():
            kinds[kind] += many
        return (
            f"{self.seeds:,} seeds, {self.lives:,} lives, {self.calls:,} calls, {sum(kinds.values()):,} faults "
            f"({_listed(kinds)}), ends: {_listed(self.ends)}, subscribers by page: {_listed(self.pages)}, "
            f"failing seeds: {len(self.failed)}"
        )

    def table(self) -> Iterator[str]:
        """What was reached, as lines."""
        yield f"{'fault':14}" + "".join(f"{service:>12}" for service in Service)
        for kind in Mode:
            yield f"{kind:14}" + "".join(f"{self.faults[kind, service] or '-':>12}" for service in Service)
        yield "moves: " + ", ".join(f"{one} → {two} {many:,}" for (one, two), many in sorted(self.moves.items()))
        yield "ends: " + _listed(self.ends)
        yield "POSTs by answer: " + _listed(self.answers) + f"; sockets: {self.sockets:,}"
        yield "besides: " + _listed(self.odd)
        yield "invocations: " + _listed(self.invocations)
        yield "subscribers by page: " + _listed(self.pages)


def _listed(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {many:,}" for name, many in sorted(counts.items(), key=lambda one: -one[1]))
