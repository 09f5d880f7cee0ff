"""Going through a scenario's faults and schedules; each run is judged by the campaign's checker."""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from order_engine.domain.errors import OrderEngineError
from order_engine.domain.subscriber import Subscriber

from tests.chaos.world import Breach, Cancel, Posted, Terms
from tests.doubles.chain import Ledger
from tests.doubles.gate import Call, Faults, Gate, Mode, either, no_faults, planned
from tests.doubles.journal import LEASE
from tests.doubles.lives import BODY, Life, World
from tests.doubles.platform import INVOCATION_RETRIES, VISIBILITY_SECONDS, Letter, Parts, Platform
from tests.doubles.tables import Tables
from tests.doubles.timeline import Killed, Timeline
from tests.doubles.venues import Market, ScriptedVenue, scripted
from tests.reliability.scenarios import Scenario
from tests.reliability.schedules import Chooser, every_schedule, run_tasks
from tests.reliability.tally import tried

Plan = Mapping[int, Mode]
# Calls that change nothing: whether they took effect makes no difference.
_READS = {"read", "find", "look_up", "look_at_order", "list_pages", "find_page", "quote", "build", "opens_at"}
_READS |= {"spot", "expiring", "due", "is_empty", "waiting"}
_OF_WRITES = (Mode.FAIL_AFTER, Mode.LATE, Mode.HANG_AFTER)
_ENOUGH = 100_000  # turns: an order that nothing ends is watched for two hours
_LONGEST_REST = timedelta(minutes=10)
FAULTS = (Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.FAIL_BEFORE, Mode.FAIL_AFTER)


@dataclass(frozen=True)
class Found:
    """A run that breached something, and how to repeat it."""

    scenario: Scenario
    how: object
    breaches: Sequence[Breach]
    story: Sequence[str]

    def __str__(self) -> str:
        lines = [f"{self.scenario.name}, {self.how}:", *(f"{one.rule}: {one.detail}" for one in self.breaches)]
        return "\n".join([*lines, *self.story])


def stage(
    scenario: Scenario, faults: Faults = no_faults, parts: Parts | None = None, one_per_order: bool = False
) -> World:
    """The scenario's world, before anything happens."""
    random.seed(0)  # the back-off's jitter
    parts = parts or Parts()

    def lethal(call: Call) -> Mode | None:
        if scenario.lethal and call.function == "route_execute" and call.service is scenario.lethal[0]:
            return scenario.lethal[1]
        return None

    venue = scenario.venue if parts.venue is ScriptedVenue else parts.venue
    platform = Platform(
        Gate(Timeline(enough=_ENOUGH), either(lethal, faults)),
        replace(parts, venue=venue),
        Tables(page_size=scenario.page_size),
        Ledger(one_per_order, scenario.by_itself, scenario.careless),
        Market(scripted(*scenario.fates), dict(scenario.twists), moves=scenario.moves),
        longest_rest=_LONGEST_REST,
    )
    life = Life(
        *(scenario.key, scenario.visits, 0.0, scenario.cancels_at, scenario.repeats_at, scenario.renewals),
        *(scenario.asks, scenario.launches),
    )
    terms = Terms(parts.policy.retry_base_seconds / 2, venue.VALIDITY_SECONDS, venue.VALIDITY_SECONDS + 0.1)
    return World(platform, [life], terms)


def calls(scenario: Scenario, faults: Faults = no_faults, parts: Parts | None = None) -> list[Call]:
    """The calls to outside systems that a run makes."""
    return [call for call, _ in stage(scenario, faults, parts).run().platform.gate.story]


def telling(call: Call, mode: Mode) -> bool:
    """Whether a fault is one of its own: a kill before a call is the kill after the one before it in its invocation,
    and where nothing is written, whether it was makes no difference."""
    if mode is Mode.KILL_BEFORE:
        return call.nth == 1
    return mode not in _OF_WRITES or call.name not in _READS


def one_fault(scenario: Scenario, modes: Sequence[Mode] = FAULTS, parts: Parts | None = None) -> Iterator[Plan]:
    """A fault of each mode at each call."""
    made = calls(scenario, parts=parts)
    return ({call.number: mode} for mode in modes for call in made if telling(call, mode))


def more_faults(
    scenario: Scenario, modes: Sequence[Sequence[Mode]], reach: int, most: int, seed: int = 7
) -> Iterator[Plan]:
    """A fault of the first modes at a call, one of the next modes at one of the `reach` calls that come after it in
    that run, and so on. If there are more than `most` such plans, as many drawn at random, the same each time."""
    begin: list[Plan] = [{call.number: mode} for mode in modes[0] for call in calls(scenario) if telling(call, mode)]
    dice = random.Random(seed)
    many = len(begin) * math.prod(reach * len(then) for then in modes[1:])
    if many > most:
        for _ in range(most):
            plan = dice.choice(begin)
            for then in modes[1:]:
                plan = {**plan, max(plan) + dice.randint(1, reach): dice.choice(then)}
            yield plan
        return
    for then in modes[1:]:
        begin = [
            {**plan, call.number: mode}
            for plan in begin
            for call in calls(scenario, planned(plan))[max(plan) : max(plan) + reach]
            for mode in then
            if telling(call, mode)
        ]
    yield from begin


def disturbed(
    what: str,
    scenario: Scenario,
    plans: Iterable[Plan],
    parts: Parts | None = None,
    also: Faults = no_faults,
    one_per_order: bool = False,
) -> Iterator[Found]:
    """Runs the scenario with each of the plans; returns the runs that breached something."""
    for plan in plans:
        world = stage(scenario, either(planned(plan), also), parts, one_per_order).run()
        tried[what] += 1
        if found := world.breaches():
            yield Found(
                scenario, {number: mode.value for number, mode in plan.items()}, found, world.platform.gate.told()
            )


# --- schedules --------------------------------------------------------------------------------------------------------


class Stage:
    """A world whose processes are run by hand, one call at a time, as a schedule says."""

    def __init__(self, scenario: Scenario, faults: Faults, parts: Parts | None) -> None:
        self.world = stage(scenario, faults, parts)
        self.platform = self.world.platform
        self.platform.by_hand = True
        body = {**BODY, **scenario.asks, "clientOrderId": "key"}
        status, answer = self.platform.submit(body)
        now = self.world.timeline().timestamp()
        self.world.posted.append(Posted(now, body, "accept", status, answer, now))
        self.letter = self.platform.kept.popleft()[0]
        self.watches = 0
        for visit in scenario.visits:
            self.world.join_at_once(visit, answer["orderId"])

    def work(self) -> None:
        """A worker that was handed the order's message."""
        letter = self.letter
        assert isinstance(letter, Letter)
        with suppress(Killed):
            if not self.platform.work("route_execute", letter):
                self.platform.acknowledge(letter)
        if not letter.deleted:
            self.world.timeline.invoke(partial(self.platform.deliver, letter), VISIBILITY_SECONDS)

    def work_again(self) -> None:
        """A worker that was handed another message of the order."""
        assert isinstance(self.letter, Letter)
        self.letter = Letter(self.letter.order_id)
        self.platform.waiting += 1
        self.work()

    def watch(self) -> None:
        """A watcher takes over and looks at the market."""
        self.watches += 1
        watcher, runner = self.platform.watcher(), f"runner {self.watches}"
        with suppress(Killed, OrderEngineError):
            watcher.watchlist.take_over(runner)
            watcher.look(runner)

    def rest(self, seconds: float) -> None:
        """The order comes to rest, and time passes."""
        self.work()
        self.world.timeline.wait(seconds)

    def notify(self) -> None:
        """Notify, for whoever it was asked for by now, one after the other."""
        kept = self.platform.kept
        while wanted := next((one for one in kept if isinstance(one[0], Subscriber)), None):
            kept.remove(wanted)
            subscriber = wanted[0]
            assert isinstance(subscriber, Subscriber)
            try:
                self.platform.notify(subscriber)
            except (Killed, Exception):  # noqa: BLE001 - as Lambda does
                self.platform.invoke_notify(subscriber, INVOCATION_RETRIES[0], 1)

    def cancel(self) -> None:
        """The order's owner cancels it."""
        order_id = self.world.posted[0].accepted or ""
        try:
            answer = self.platform.cancel_at_once(order_id)
        except Killed:
            answer = 502, {}
        self.world.cancels.append(Cancel(order_id, *answer))

    def run(self, works: Sequence[Callable[[], None]], choose: Chooser, preemptions: int, expiries: int) -> None:
        """Runs processes interleaved (see `run_tasks`); as often as `expiries`, time passes until leases run out. Then
        whatever is left to do."""

        def hook(pause: Callable[[], None]) -> None:
            self.platform.gate.before = lambda _service, _name: pause()

        run_tasks(
            works, hook, choose, preemptions, partial(self.world.timeline.wait, LEASE.total_seconds() + 1), expiries
        )
        hook(lambda: None)
        self.platform.by_hand = False
        for what, delay in self.platform.kept:
            self.platform.pass_on(what, delay)
        self.platform.begin_to_watch()
        self.world.settle()


Cast = Callable[[Stage], Sequence[Callable[[], None]]]


def worker_and_owner(on: Stage) -> Sequence[Callable[[], None]]:
    """A worker, and the order's owner, who cancels it."""
    on.notify()
    return [on.work, on.cancel]


def workers_and_owner(on: Stage) -> Sequence[Callable[[], None]]:
    """Two workers, and the order's owner, who cancels it."""
    on.notify()
    return [on.work, on.work, on.cancel]


def two_workers(on: Stage) -> Sequence[Callable[[], None]]:
    """Two workers that were handed the same order."""
    on.notify()
    return [on.work, on.work]


def worker_and_notify(on: Stage) -> Sequence[Callable[[], None]]:
    """A worker, and notify for whoever waits to be brought up to date."""
    return [on.work, on.notify]


def everybody(on: Stage) -> Sequence[Callable[[], None]]:
    """Two workers and notify."""
    return [on.work, on.work, on.notify]


def watchers_and_owner(on: Stage) -> Sequence[Callable[[], None]]:
    """Two watchers, and the owner, who cancels an order that rests."""
    on.notify()
    on.rest(2.0)
    return [on.watch, on.watch, on.cancel]


def watcher_and_workers(on: Stage) -> Sequence[Callable[[], None]]:
    """A watcher, and two workers that were handed an order which rests."""
    on.notify()
    on.rest(2.0)
    return [on.watch, on.work_again, on.work_again]


def worker_watcher_and_owner(on: Stage) -> Sequence[Callable[[], None]]:
    """A worker with an order that is to rest, a watcher, and the owner, who cancels it."""
    on.notify()
    return [on.work, on.watch, on.cancel]


def worker_again_and_owner(on: Stage) -> Sequence[Callable[[], None]]:
    """A worker that was handed an order which rests, and the owner, who cancels it."""
    on.notify()
    on.rest(2.0)
    return [on.work_again, on.cancel]


def worker_again_and_notify(on: Stage) -> Sequence[Callable[[], None]]:
    """A worker that was handed an order which rests, and notify for whoever has come meanwhile."""
    on.rest(2.0)
    return [on.work_again, on.notify]


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
    on = Stage(scenario, planned(plan or {}), parts)
    on.run(cast(on), choose, preemptions, expiries)
    found = on.world.breaches()
    how = f"{[choice for choice, _ in choose.made]} {plan or ''}"
    return Found(scenario, how, found, on.platform.gate.told()) if found else None


def interleaved(
    what: str,
    scenario: Scenario,
    cast: Cast,
    preemptions: int,
    expiries: int = 0,
    parts: Parts | None = None,
    plan: Plan | None = None,
) -> Iterator[Found]:
    """Runs the cast by every schedule with so many preemptions; returns the runs that breached something."""
    for found in every_schedule(
        lambda choose: scheduled(scenario, cast, choose, preemptions, expiries, parts, plan), at_most=20_000
    ):
        tried[what] += 1
        if found:
            yield found
