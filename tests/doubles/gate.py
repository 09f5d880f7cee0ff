"""The gate that every call to an outside system passes: it numbers the calls, takes their time, and has faults happen.

A double's method that is marked with `outside` is one such call: it takes effect at one moment, or not at all. Like the
adapters' calls it has a limit, and does not begin where less is left of the invocation.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from order_engine import limits
from order_engine.domain.errors import HistoryUnavailable, ServiceUnavailable, SocketUnreachable, VenueUnavailable

from tests.doubles.timeline import Killed, Timeline

P = ParamSpec("P")
R = TypeVar("R")

CALL_SECONDS = 0.005  # what a call takes
LATE_SECONDS = 7.0  # when a call takes effect that nobody waits for any more: all limits of the engine's are below


class Service(StrEnum):
    """The outside systems."""

    WATCHLIST = "watchlist"
    JOURNAL = "journal"
    PAGES = "pages"
    CONNECTIONS = "connections"
    QUEUE = "queue"
    SOCKETS = "sockets"
    NOTIFY = "notify"
    QUOTES = "quotes"
    BUILDING = "building"
    CHAIN = "chain"
    HISTORY = "history"
    ACKNOWLEDGE = "acknowledge"  # the poller deletes a message after its worker returned

    @property
    def is_repeated(self) -> bool:
        """Whether the SDK repeats a call that fails (adapters/aws.py)."""
        return self in (Service.JOURNAL, Service.WATCHLIST, Service.PAGES, Service.CONNECTIONS, Service.QUEUE)

    @property
    def is_a_venues(self) -> bool:
        """Whether its calls have no limit of their own: whoever makes them has one."""
        return self in (Service.QUOTES, Service.BUILDING, Service.CHAIN)


LIMITS: dict[Service, float] = {
    Service.WATCHLIST: limits.DYNAMODB,
    Service.JOURNAL: limits.DYNAMODB,
    Service.PAGES: limits.DYNAMODB,
    Service.CONNECTIONS: limits.DYNAMODB,
    Service.QUEUE: limits.QUEUE,
    Service.SOCKETS: limits.POST,
    Service.NOTIFY: limits.INVOKE,
    Service.HISTORY: limits.HISTORY,
    Service.ACKNOWLEDGE: limits.QUEUE,  # the poller's own business
}
_FAULTS: dict[Service, type[Exception]] = {
    Service.SOCKETS: SocketUnreachable,
    Service.HISTORY: HistoryUnavailable,
    **{service: VenueUnavailable for service in Service if service.is_a_venues},
}


class Mode(StrEnum):
    """What happens at a call: the process dies, or the service fails or hangs, with or without having acted."""

    KILL_BEFORE = "crash before"
    KILL_AFTER = "crash after"
    FAIL_BEFORE = "refused"  # throttled, or failed at once; nothing has happened
    FAIL_AFTER = "answer lost"  # it happened, and the caller is told that it failed
    HANG = "hangs"  # nothing happens, until the caller's limit
    HANG_AFTER = "hangs after"  # it happened, but no answer comes until the caller's limit
    LATE = "late"  # no answer until the caller's limit, and then it happens all the same
    SLOW = "slow"  # it takes nearly the caller's limit
    REPEATED = "repeated"  # the SDK gives a try up and repeats it with success; the first takes effect after that
    UNFORESEEN = "unforeseen"  # a venue raises something that is no error of the engine's


KILLS = (Mode.KILL_BEFORE, Mode.KILL_AFTER)
HANGS = (Mode.HANG, Mode.HANG_AFTER, Mode.LATE)


class Call(NamedTuple):
    """A call, numbered 1, 2, 3 … in the order in which they are made; `at` counts the timeline's seconds. `function` is
    whose invocation makes it, `nth` how many that has made by then (1, 2 …), `left` how many seconds it has left."""

    number: int
    service: Service
    name: str
    at: float
    function: str
    nth: int
    left: float


Faults = Callable[[Call], Mode | None]


def no_faults(_call: Call) -> None:
    """All is well."""


def planned(plan: Mapping[int, Mode]) -> Faults:
    """A fault at each of these calls."""
    return lambda call: plan.get(call.number)


def either(first: Faults, second: Faults) -> Faults:
    """The first one's fault, or else the second one's."""
    return lambda call: first(call) or second(call)


def away(service: Service, begins: float, ends: float, mode: Mode = Mode.FAIL_BEFORE) -> Faults:
    """A service that fails, or hangs, for a while."""
    return lambda call: mode if call.service is service and begins <= call.at < ends else None


@dataclass
class Troubles:
    """Faults by name: services that are away until further notice, and what happens at the next calls of a name."""

    away: set[Service] = field(default_factory=set)
    coming: dict[str, list[Mode | None]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Mode | None:
        if self.coming.get(call.name):
            return self.coming[call.name].pop(0)
        return Mode.FAIL_BEFORE if call.service in self.away else None


@dataclass
class Gate:
    """Where all calls of a world pass. `before` runs before each call; `seconds` is what a call takes."""

    timeline: Timeline = field(default_factory=Timeline)
    faults: Faults = no_faults
    before: Callable[[Service, str], object] = lambda _service, _name: None
    seconds: Callable[[Service], float] = lambda _service: CALL_SECONDS
    calls: int = 0
    story: list[tuple[Call, Mode | None]] = field(default_factory=list)

    def call(self, service: Service, name: str, action: Callable[[], R], limit: float | None = None) -> R:
        """Calls an outside system, unless a fault comes in between."""
        limit = LIMITS.get(service) if limit is None else limit
        if limit is not None:
            limits.require(service, limit)
        self.timeline.wait(self.seconds(service))
        self.before(service, name)
        self.calls += 1
        invocation = self.timeline.invocation
        invocation.calls += 1
        call = Call(
            self.calls,
            service,
            name,
            self.timeline.seconds,
            invocation.name,
            invocation.calls,
            limits.seconds_left(),
        )
        mode = self.faults(call)
        self.story.append((call, mode))
        if mode is None:
            return action()
        return self._fail(mode, service, name, action, limit)

    def _fail(
        self,
        mode: Mode,
        service: Service,
        name: str,
        action: Callable[[], R],
        limit: float | None,
        late: float = LATE_SECONDS,
    ) -> R:
        if mode is Mode.UNFORESEEN:
            raise KeyError(f"{service}.{name}")
        if mode in (Mode.KILL_AFTER, Mode.FAIL_AFTER, Mode.HANG_AFTER):
            _regardless(action)
        if mode is Mode.REPEATED:
            self.timeline.wait(limit / 2 if limit else 0)
            answer = action()
            self.timeline.invoke(lambda: _regardless(action), late, "late")
            return answer
        if mode in KILLS:
            raise Killed
        if mode is Mode.LATE:
            self.timeline.invoke(lambda: _regardless(action), late, "late")
        if mode in HANGS:
            self.hang(limit)
        raise _FAULTS.get(service, ServiceUnavailable)(f"{service}.{name}: {mode}")

    def hang(self, limit: float | None) -> None:
        """Waits for an answer that does not come: until the limit, or until whoever waits for it gives up."""
        if limit is None:
            self.timeline.sleep()
        else:
            self.timeline.wait(limit)

    @property
    def calm_from(self) -> float:
        """When the last fault was over."""
        return max((call.at + LATE_SECONDS for call, mode in self.story if mode), default=0.0)

    def told(self) -> list[str]:
        """The story, a line for each call."""
        return [
            f"{call.number:3} {call.at:8.3f} s {call.function} {call.service}.{call.name} {mode or ''}"
            for call, mode in self.story
        ]


def _regardless(action: Callable[[], object]) -> None:
    with suppress(Exception):
        action()


class Gated(Protocol):
    """A double whose calls pass a gate."""

    @property
    def gate(self) -> Gate:
        """The gate."""


G = TypeVar("G", bound=Gated)


def outside(service: Service) -> Callable[[Callable[Concatenate[G, P], R]], Callable[Concatenate[G, P], R]]:
    """Marks a method as one call to an outside system."""

    def decorate(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
        name = method.__name__.strip("_")

        @wraps(method)
        def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return self.gate.call(service, name, lambda: method(self, *args, **kwargs))

        return call

    return decorate
