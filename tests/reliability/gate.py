"""Virtual time, and the gate that every call to an outside system passes: it numbers the calls and injects faults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from order_engine.errors import HistoryUnavailable, ServiceUnavailable, SocketUnreachable, VenueUnavailable

P = ParamSpec("P")
R = TypeVar("R")

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
CALL_SECONDS = 0.005  # what every call costs


class Killed(BaseException):
    """The process is gone: nothing of it runs any more. No handler of the engine's may catch it."""


class Service(StrEnum):
    """The outside systems."""

    JOURNAL = "journal"
    CONNECTIONS = "connections"
    QUEUE = "queue"
    SOCKETS = "sockets"
    NOTIFY = "notify"
    QUOTES = "quotes"
    CHAIN = "chain"
    HISTORY = "history"
    ACKNOWLEDGE = "acknowledge"  # the poller deletes a message after its worker returned


_AWAY: dict[Service, type[Exception]] = {
    Service.SOCKETS: SocketUnreachable,
    Service.HISTORY: HistoryUnavailable,
    Service.QUOTES: VenueUnavailable,
}


class Mode(Enum):
    """What happens at a call: the process dies, or the service does not answer; with or without having acted."""

    KILL_BEFORE = "killed before"
    KILL_AFTER = "killed after"
    FAIL_BEFORE = "no service at"
    FAIL_AFTER = "answer lost at"


KILLS = (Mode.KILL_BEFORE, Mode.KILL_AFTER)


class Clock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """A `ports.Clock`."""
        return EPOCH + timedelta(seconds=self.seconds)

    def wait(self, seconds: float) -> None:
        """Passes the time."""
        self.seconds += seconds


def _nothing(_service: Service) -> None:
    """Runs nothing else between calls."""


@dataclass
class Gate:
    """Numbers the calls 1, 2, 3 … and lets the plan's faults happen at theirs.

    `away`: from when until when (virtual seconds) a service does not answer. `between`: run before each call, which is
    where other processes get their turn. `lethal`: the service at whose next call the process dies, for poison.
    """

    clock: Clock
    plan: Mapping[int, Mode] = field(default_factory=dict)
    away: Mapping[Service, tuple[float, float]] = field(default_factory=dict)
    between: Callable[[Service], None] = _nothing
    lethal: tuple[Service, Mode] | None = None
    call_seconds: float = CALL_SECONDS
    calls: int = 0
    story: list[str] = field(default_factory=list)

    def call(self, service: Service, name: str, action: Callable[[], R]) -> R:
        """Calls an outside system, unless a fault comes in between."""
        self.clock.wait(self.call_seconds)
        self.between(service)
        self.calls += 1
        number = self.calls
        mode = self.plan.get(number)
        if self.lethal and self.lethal[0] is service:
            mode = self.lethal[1]
        self.story.append(f"{number:3} {self.clock.seconds:8.3f} s {service}.{name} {mode.value if mode else ''}")
        if mode is Mode.KILL_BEFORE:
            raise Killed
        begins, ends = self.away.get(service, (0, 0))
        if mode is Mode.FAIL_BEFORE or begins <= self.clock.seconds < ends:
            raise _AWAY.get(service, ServiceUnavailable)(f"{service} does not answer")
        try:
            result = action()
        except Exception:
            if mode is Mode.KILL_AFTER:
                raise Killed from None
            raise
        if mode is Mode.KILL_AFTER:
            raise Killed
        if mode is Mode.FAIL_AFTER:
            raise _AWAY.get(service, ServiceUnavailable)(f"{service}: the answer was lost")
        return result


class Gated(Protocol):
    """A fake whose calls pass a gate."""

    @property
    def gate(self) -> Gate:
        """The gate."""


G = TypeVar("G", bound=Gated)


def outside(service: Service) -> Callable[[Callable[Concatenate[G, P], R]], Callable[Concatenate[G, P], R]]:
    """Marks a method as one call to an outside system, which takes effect at one moment or not at all."""

    def decorate(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
        @wraps(method)
        def call(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return self.gate.call(service, method.__name__.strip("_"), lambda: method(self, *args, **kwargs))

        return call

    return decorate
