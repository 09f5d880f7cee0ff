"""Makes a failing plan small: leaves out whatever the breach does not need, one part after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.simulation.plan import Answer, Broadcast, Fate, OrderPlan, Place, Plan, Post, Visit

T = TypeVar("T")
Fails = Callable[[Plan], bool]


def shrink(plan: Plan, fails: Fails, patience: int = 1500) -> Plan:
    """The smallest plan that still fails, as far as so many tries find it. `plan.faults` must be recorded ones."""
    tries = 0

    def still_fails(candidate: Plan) -> bool:
        nonlocal tries
        tries += 1
        return tries <= patience and fails(candidate)

    while tries < patience:
        before = plan
        for part in _PARTS:
            plan = part(plan, still_fails)
        if plan == before:
            break
    return plan


def _fewer(whole: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """The parts that can't be left out: halves first, then smaller and smaller chunks (delta debugging)."""
    size = max(len(whole) // 2, 1)
    while whole:
        at = 0
        while at < len(whole):
            shorter = [*whole[:at], *whole[at + size :]]
            if fails(shorter):
                whole = shorter
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return whole


def _faults(plan: Plan, fails: Fails) -> Plan:
    given = plan.faults or {}

    def only(places: Sequence[Place]) -> Plan:
        return replace(plan, faults={place: given[place] for place in places})

    return only(_fewer(list(given), lambda places: fails(only(places))))


def _orders(plan: Plan, fails: Fails) -> Plan:
    orders = _fewer(plan.orders, lambda some: fails(replace(plan, orders=tuple(some))))
    return replace(plan, orders=tuple(orders))


def _windows(plan: Plan, fails: Fails) -> Plan:
    windows = _fewer(plan.windows, lambda some: fails(replace(plan, windows=tuple(some))))
    return replace(plan, windows=tuple(windows))


def _desks(plan: Plan, fails: Fails) -> Plan:
    desks = _fewer(plan.desks, lambda some: fails(replace(plan, desks=tuple(some))))
    return replace(plan, desks=tuple(desks))


def _market(plan: Plan, fails: Fails) -> Plan:
    moves = tuple(_fewer(plan.moves, lambda some: fails(replace(plan, moves=tuple(some)))))
    plan = replace(plan, moves=moves)
    return replace(plan, launches=tuple(_fewer(plan.launches, lambda some: fails(replace(plan, launches=tuple(some))))))


def _simpler(plan: Plan, fails: Fails) -> Plan:
    """Takes every simplification of a single value that still fails."""
    changes: tuple[dict[str, Any], ...] = (
        {"duplicates": 0.0},
        {"delays": 0.0},
        {"skew": 0.0},
        {"jitter": 0.0},
        {"workers": 10},
        {"page_size": 20},
        {"validity": 10.0},
    )
    for change in changes:
        candidate = replace(plan, **change)
        if candidate != plan and fails(candidate):
            plan = candidate
    return plan


def _lives(plan: Plan, fails: Fails) -> Plan:
    """Makes each order's life simpler."""
    for number in range(len(plan.orders)):
        begin_again = True
        while begin_again:
            begin_again = False
            for simpler in _simpler_orders(plan.orders[number]):
                orders = (*plan.orders[:number], simpler, *plan.orders[number + 1 :])
                if fails(candidate := replace(plan, orders=orders)):
                    plan, begin_again = candidate, True
                    break
    return plan


def _simpler_orders(order: OrderPlan) -> Iterator[OrderPlan]:
    """The order with one thing less."""
    if order.eras:
        yield replace(order, eras=order.eras[:-1])
    if order.cancels:
        yield replace(order, cancels=order.cancels[:-1])
    if order.poison:
        yield replace(order, poison=None)
    if len(order.posts) > 1:
        yield replace(order, posts=order.posts[:1])
        yield from (replace(order, posts=_without(order.posts, n)) for n in range(1, len(order.posts)))
    if order.posts[0] != Post(0.0):
        yield replace(order, posts=(Post(0.0), *order.posts[1:]))
    if order.at:
        yield replace(order, at=0.0)
    if order.keyed and not order.eras and len(order.posts) == 1:
        yield replace(order, keyed=False)
    yield from (replace(order, viewers=_without(order.viewers, n)) for n in range(len(order.viewers)))
    for n, visits in enumerate(order.viewers):
        for fewer in _simpler_visits(visits):
            yield replace(order, viewers=(*order.viewers[:n], fewer, *order.viewers[n + 1 :]))
    for n, fate in enumerate(order.fates):
        for better in _better_fates(fate):
            yield replace(order, fates=(*order.fates[:n], better, *order.fates[n + 1 :]))


def _simpler_visits(visits: tuple[Visit, ...]) -> Iterator[tuple[Visit, ...]]:
    if len(visits) > 1:
        yield from (_without(visits, n) for n in range(len(visits)))
    for n, visit in enumerate(visits):
        for simpler in (
            Visit(visit.delay),
            Visit(0.0),
            replace(visit, delay=0.0),
            replace(visit, handshake=0.05),
            replace(visit, deaf=(0.0, 0.0)),
            replace(visit, stuck=(0.0, 0.0)),
            replace(visit, replay_after=None),
        ):
            if simpler != visit:
                yield (*visits[:n], simpler, *visits[n + 1 :])


def _better_fates(fate: Fate) -> Iterator[Fate]:
    for better in (
        Fate(),
        replace(fate, quotes=(Answer.OK, fate.quotes[1])),
        replace(fate, quotes=(fate.quotes[0], Answer.OK)),
        replace(fate, build=Answer.OK),
        replace(fate, broadcast=Broadcast.LANDS),
        replace(fate, blind=0.0),
        replace(fate, seconds=2.5),
    ):
        if better != fate:
            yield better


def _without(whole: tuple[T, ...], n: int) -> tuple[T, ...]:
    return (*whole[:n], *whole[n + 1 :])


_PARTS = (_orders, _desks, _windows, _faults, _market, _simpler, _lives)
