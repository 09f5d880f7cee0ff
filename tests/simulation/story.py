"""A failing seed as a story: what the world was like, its calls in order, and what was broken."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from tests.chaos.world import Breach
from tests.doubles.platform import Parts
from tests.simulation.drawing import draw
from tests.simulation.plan import Fate, OrderPlan, Plan
from tests.simulation.shrinking import shrink
from tests.simulation.simulation import Simulation


def judge(plan: Plan, parts: Parts | None = None) -> list[Breach]:
    """What is broken in a plan's world; an error of the simulation itself is raised."""
    return Simulation(plan, parts).run().breaches()


def recorded(seed: int, parts: Parts | None = None) -> Plan:
    """A seed's plan, with the faults that it met as its own."""
    plan = draw(seed)
    world = Simulation(plan, parts).run()
    return replace(plan, faults=dict(world.gate.met))


def shrunk(seed: int, rule: str, parts: Parts | None = None) -> Plan:
    """The smallest plan found in which the same promise is broken."""
    return shrink(recorded(seed, parts), lambda plan: any(one.rule == rule for one in judge(plan, parts)))


def tell(plan: Plan, parts: Parts | None = None) -> Iterator[str]:
    """The story of a plan."""
    world = Simulation(plan, parts, told=True).run()
    for order in plan.orders:
        yield from _order(order)
    yield from (f"{_plainly(desk)}" for desk in plan.desks)
    yield from (
        f"{one.service} {one.kind} from {one.begins:.1f} to {one.ends:.1f} s, for {one.share:.0%} of its calls"
        for one in plan.windows
    )
    yield from (f"the market goes to {level} of its prices at {at:.1f} s" for at, level in plan.moves)
    yield from (f"{token} launches at {at:.1f} s" for token, at in plan.launches)
    rest = {name: getattr(plan, name) for name in ("skew", "duplicates", "delays", "workers", "page_size", "validity")}
    yield ", ".join(f"{name} {value:g}" for name, value in rest.items())
    for number, line in enumerate(world.gate.lines or (), 1):
        fault = f"   ← {line.fault.kind}" if line.fault else ""
        yield f"{number:4} {line.at:10.3f} s  {line.run:34} {line.service}.{line.name}{fault}"
    yield from told(world.breaches())


def told(breaches: Sequence[Breach]) -> Iterator[str]:
    """The breaches, a line for each."""
    for one in breaches:
        yield f"BROKEN: {one.rule}: {one.order_id} {one.detail}"


def _order(order: OrderPlan) -> Iterator[str]:
    key = "with a key" if order.keyed else "without a key"
    yield f"order o{order.number} at {order.at:.1f} s, {key}: {dict(order.body)}"
    yield from (f"  posted after {_plainly(post)}" for post in order.posts if len(order.posts) > 1)
    yield from (f"  cancelled after {after:.1f} s" for after in order.cancels)
    yield from (f"  again after {era.after / 86400:.2f} days: {len(era.posts)} posts" for era in order.eras)
    for visits in order.viewers:
        yield "  viewer: " + "; then ".join(_plainly(visit) for visit in visits)
    for attempt, fate in enumerate(order.fates, 1):
        if fate != Fate():
            yield f"  attempt {attempt}: {_plainly(fate)}"
    if order.poison:
        yield f"  poison: {order.poison[0]} kills {order.poison[1]} deliveries"


def _plainly(thing: object) -> str:
    """The fields that are not at their default."""
    given = ((one.name, getattr(thing, one.name), one.default) for one in fields(thing))  # type: ignore[arg-type]
    return ", ".join(f"{name} {value}" for name, value, default in given if value != default)
