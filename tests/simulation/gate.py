"""The simulation's gate: every call takes its own time, and meets the faults and windows of the seed's plan.

A fault is tied to its place (an invocation's name, and the number of the call in it), so that one can be left out of a
run without a change to any other.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from order_engine import limits
from order_engine.domain.errors import HistoryUnavailable, ServiceUnavailable, SocketUnreachable, VenueUnavailable

from tests.doubles.gate import LIMITS, Gate, Service
from tests.doubles.timeline import Killed
from tests.simulation.plan import Fault, Kind, Place, Plan
from tests.simulation.processes import Run
from tests.simulation.timeline import GreenTimeline

R = TypeVar("R")

VENUES = tuple(one for one in Service if one.is_a_venues)
VENUE_SECONDS = 2.0  # the executor's limit for a venue's call (`Policy`)
HUNG_SECONDS = 120.0  # after which a venue's call that hangs fails, long after everybody has given it up
_LATER_SECONDS = 60.0  # what is late takes effect within
_TYPICAL_SECONDS = 0.02  # what a call takes
_CRASHES = (Kind.CRASH_BEFORE, Kind.CRASH_AFTER)
_ACTS = (Kind.CRASH_AFTER, Kind.LOST, Kind.HANG_AFTER)
_HANGS = (Kind.HANG, Kind.HANG_AFTER, Kind.LATE)
_ERRORS: dict[Service, type[Exception]] = {
    Service.SOCKETS: SocketUnreachable,
    Service.HISTORY: HistoryUnavailable,
    **dict.fromkeys(VENUES, VenueUnavailable),
}


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

    timeline: GreenTimeline = field(default_factory=GreenTimeline)
    plan: Plan = field(default_factory=lambda: Plan(0, ()))
    lines: list[Line] | None = None
    met: dict[Place, Fault] = field(default_factory=dict)
    hits: Counter[tuple[Kind, Service]] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    calm_at: float = 0.0  # when single calls' faults are over, for this era

    def call(self, service: Service, name: str, action: Callable[[], R], limit: float | None = None) -> R:
        """See `Gate.call`."""
        timeline, thread = self.timeline, self.timeline.thread
        assert thread
        if limit is None:
            limit = LIMITS.get(service)
        if limit is not None:
            limits.require(service, limit)
        elif thread.invocation is thread.run and limits.seconds_left() < VENUE_SECONDS:
            self.breaches.append(f"{thread.run.name} calls {service}.{name} with {limits.seconds_left():.2f} s left")
        run = thread.run
        run.calls += 1
        self.calls += 1
        luck = run.noise(2 * run.calls)
        fault = self._fault(run, service, luck)
        if self.lines is not None:
            self.lines.append(Line(timeline.seconds, run.name, run.calls, service, name, fault))
        seconds = _TYPICAL_SECONDS * (0.1 + run.noise(2 * run.calls + 1) ** 3 * 10 * self.plan.jitter)
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

    def _fault(self, run: Run, service: Service, luck: float) -> Fault | None:
        """The fault of the run's next call, if there is one."""
        plan, place = self.plan, (run.name, run.calls)
        if service is run.poison:
            return Fault(Kind.CRASH_AFTER)
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
        if kind is Kind.UNFORESEEN and service not in VENUES:
            return None
        if service is Service.ACKNOWLEDGE and kind in _CRASHES:
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
        kind, timeline = fault.kind, self.timeline
        if kind is Kind.SLOW:
            timeline.wait((limit or VENUE_SECONDS) * (0.5 + fault.size * 0.49))
            return action()
        timeline.wait(seconds)
        if kind is Kind.UNFORESEEN:
            raise KeyError(f"{service}.{name}")
        if kind in _ACTS:
            with suppress(Exception):
                action()
        if kind in _CRASHES:
            raise Killed
        if kind is Kind.LATE:
            timeline.invoke(lambda: _regardless(action), (limit or VENUE_SECONDS) + fault.size * _LATER_SECONDS, "late")
        if kind in _HANGS:
            self.hang(None if limit is None else limit - seconds)
        raise _ERRORS.get(service, ServiceUnavailable)(f"{service}.{name}: {kind}")


def _regardless(action: Callable[[], object]) -> None:
    with suppress(Exception):
        action()
