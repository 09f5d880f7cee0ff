"""Going through a scenario's faults and schedules; each run is judged by the checker."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.reliability.gate import Mode, Service
from tests.reliability.invariants import Breach
from tests.reliability.scenarios import Scenario
from tests.reliability.schedules import Chooser, every_schedule
from tests.reliability.tally import tried
from tests.reliability.world import Message, Parts, World


@dataclass(frozen=True)
class Found:
    """A run that breached something, and how to repeat it."""

    scenario: Scenario
    how: object
    breaches: Sequence[Breach]
    story: Sequence[str]

    def __str__(self) -> str:
        lines = [f"{self.scenario.name}, {self.how}:", *(f"{one.invariant}: {one.found}" for one in self.breaches)]
        return "\n".join([*lines, *self.story])


Plan = Mapping[int, Mode]


def points(scenario: Scenario, parts: Parts | None = None, one_per_order: bool = False) -> int:
    """How many calls to outside systems an undisturbed run makes."""
    return World(scenario, {}, parts, one_per_order=one_per_order).run().gate.calls


def one_fault(scenario: Scenario, modes: Iterable[Mode] = Mode, parts: Parts | None = None) -> Iterator[Plan]:
    """A fault of each mode at each call."""
    last = points(scenario, parts)
    return ({number: mode} for mode in modes for number in range(1, last + 1))


def two_faults(scenario: Scenario, first: Iterable[Mode], second: Sequence[Mode], reach: int) -> Iterator[Plan]:
    """A fault at each call, and another one at each of the `reach` calls that come after it in that run."""
    last = points(scenario)
    for mode in first:
        for number in range(1, last + 1):
            ends = World(scenario, {number: mode}).run().gate.calls
            for then in range(number + 1, min(ends, number + reach) + 1):
                yield from ({number: mode, then: other} for other in second)


def disturbed(
    what: str,
    scenario: Scenario,
    plans: Iterable[Plan],
    parts: Parts | None = None,
    away: Mapping[Service, tuple[float, float]] | None = None,
    one_per_order: bool = False,
) -> Iterator[Found]:
    """Runs the scenario with each of the plans; answers the runs that breached something."""
    for plan in plans:
        world = World(scenario, plan, parts, away, one_per_order).run()
        tried[what] += 1
        if found := world.breaches():
            yield Found(scenario, {number: mode.value for number, mode in plan.items()}, found, world.gate.story)


Cast = Callable[[World, Message], Sequence[Callable[[], None]]]


def two_workers(world: World, message: Message) -> Sequence[Callable[[], None]]:
    """Two workers that were handed the same order."""
    world.run_beside()
    return [lambda: world.deliver(message), lambda: world.deliver(message)]


def worker_and_notify(world: World, message: Message) -> Sequence[Callable[[], None]]:
    """A worker, and notify for whoever waits to be brought up to date."""
    return [lambda: world.deliver(message), world.run_beside]


def everybody(world: World, message: Message) -> Sequence[Callable[[], None]]:
    """Two workers and notify."""
    return [lambda: world.deliver(message), lambda: world.deliver(message), world.run_beside]


def scheduled(
    scenario: Scenario,
    cast: Cast,
    choose: Chooser,
    preemptions: int,
    expiries: int,
    parts: Parts | None = None,
    plan: Plan | None = None,
) -> Found | None:
    """Runs the cast by one schedule, then whatever is left to do."""
    world = World(scenario, plan, parts)
    world.run_at_once(cast(world, world.prepare()), choose, preemptions, expiries)
    found = world.settle().breaches()
    how = f"{[choice for choice, _ in choose.made]} {plan or ''}"
    return Found(scenario, how, found, world.gate.story) if found else None


def interleaved(
    what: str,
    scenario: Scenario,
    cast: Cast,
    preemptions: int,
    expiries: int = 0,
    parts: Parts | None = None,
    plan: Plan | None = None,
) -> Iterator[Found]:
    """Runs the cast by every schedule with so many preemptions; answers the runs that breached something."""
    for found in every_schedule(
        lambda choose: scheduled(scenario, cast, choose, preemptions, expiries, parts, plan), at_most=20_000
    ):
        tried[what] += 1
        if found:
            yield found
