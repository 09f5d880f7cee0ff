"""The simulation's gate: every call takes its own time, and meets the faults and windows of the seed's plan.

A fault is tied to its place (an invocation's name, and the number of the call in it), so that one can be left out of a
run without a change to any other.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from order_engine import limits

from tests.doubles.gate import KILLS, LIMITS, Gate, Mode, Service
from tests.doubles.timeline import Invocation
from tests.simulation.noise import noise
from tests.simulation.plan import Fault, Place, Plan

R = TypeVar("R")

VENUES = tuple(one for one in Service if one.is_a_venues)
VENUE_SECONDS = limits.VENUE
HUNG_SECONDS = 120.0  # after which a venue's call that hangs fails, long after everybody has given it up
_LATER_SECONDS = 60.0  # what is late takes effect within
_TYPICAL_SECONDS = 0.02  # what a call takes


class Line(NamedTuple):
    """A call, as the story tells it."""

    at: float
    run: str
    number: int
    service: Service
    name: str
    fault: Fault | None


@dataclass
class PlannedGate(Gate):
    """Implements `doubles.gate.Gate` by a plan. `met` are the faults that happened, by their places; `hits` counts them
    and the windows' by kind and service."""

    plan: Plan = field(default_factory=lambda: Plan(0, ()))
    lines: list[Line] | None = None
    met: dict[Place, Fault] = field(default_factory=dict)
    hits: Counter[tuple[Mode, Service]] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    calm_at: float = 0.0  # when single calls' faults are over, for this era

    def call(self, service: Service, name: str, action: Callable[[], R], limit: float | None = None) -> R:
        """See `Gate.call`."""
        timeline, run, seed = self.timeline, self.timeline.invocation, self.plan.seed
        if limit is None:
            limit = LIMITS.get(service)
        if limit is not None:
            limits.require(service, limit)
        elif limits.seconds_left() < VENUE_SECONDS and not (timeline.current and timeline.current.left_over):
            self.breaches.append(f"{run.name} calls {service}.{name} with {limits.seconds_left():.2f} s left")
        run.calls += 1
        self.calls += 1
        luck = noise(seed, run.name, 2 * run.calls)
        fault = self._fault(run, service, luck)
        if self.lines is not None:
            self.lines.append(Line(timeline.seconds, run.name, run.calls, service, name, fault))
        seconds = _TYPICAL_SECONDS * (0.1 + noise(seed, run.name, 2 * run.calls + 1) ** 3 * 10 * self.plan.jitter)
        if fault:
            return self._meet(fault, service, name, action, limit, seconds)
        timeline.wait(seconds)
        result = action()
        if luck > 0.7 and self.plan.jitter:
            timeline.wait(seconds)  # the answer's way back
        return result

    def hang(self, limit: float | None) -> None:
        """See `Gate.hang`."""
        self.timeline.wait(HUNG_SECONDS if limit is None else limit)

    # --- what happens ------------------------------------------------------------------------------------------------

    def _fault(self, run: Invocation, service: Service, luck: float) -> Fault | None:
        """The fault of the run's next call, if there is one."""
        plan, place = self.plan, (run.name, run.calls)
        if service is run.poison:
            return Fault(Mode.KILL_AFTER)
        if plan.faults is not None:
            fault = plan.faults.get(place)
        else:
            fault = self._drawn(service, luck) if luck < plan.rate else None
        if fault:
            self.met[place] = fault
        else:
            fault = self._window(service, luck) if plan.windows else None
        if fault:
            self.hits[fault.kind, service] += 1
        return fault

    def _drawn(self, service: Service, luck: float) -> Fault | None:
        plan, choice = self.plan, luck / self.plan.rate  # uniform in [0, 1) again
        if self.timeline.seconds >= self.calm_at:
            return None
        kind = plan.kinds[int(choice * len(plan.kinds))]
        if kind is Mode.UNFORESEEN and service not in VENUES:
            return None
        if kind is Mode.REPEATED and not service.is_repeated:
            return None
        if service is Service.ACKNOWLEDGE and kind in KILLS:
            return None
        return Fault(kind, choice * len(plan.kinds) % 1)

    def _window(self, service: Service, luck: float) -> Fault | None:
        for one in self.plan.windows:
            if one.service is service and one.begins <= self.timeline.seconds < one.ends and luck <= one.share:
                return Fault(one.kind, luck)
        return None

    def _meet(
        self, fault: Fault, service: Service, name: str, action: Callable[[], R], limit: float | None, seconds: float
    ) -> R:
        most = limit or VENUE_SECONDS
        if fault.kind is Mode.SLOW:
            self.timeline.wait(most * (0.5 + fault.size * 0.49))
            return action()
        self.timeline.wait(seconds)
        left = None if limit is None else limit - seconds
        late = fault.size**3 * _LATER_SECONDS  # often soon: that is when the caller's next calls are under way
        return self._fail(fault.kind, service, name, action, left, late if fault.kind is Mode.REPEATED else most + late)
