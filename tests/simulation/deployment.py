"""The platform of a simulation: invocations have names, clocks and environments of their own; what is sent may come
late, or twice."""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Pool
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from order_engine import limits
from order_engine.domain.errors import OrderEngineError
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import VenueName
from order_engine.use_cases.execute import Executor

from tests.doubles.gate import Service
from tests.doubles.platform import FUNCTIONS, WATCH_SECONDS, Letter, Platform
from tests.doubles.services import Message, Socket
from tests.doubles.timeline import Ended, Killed
from tests.simulation.gate import PlannedGate
from tests.simulation.noise import noise
from tests.simulation.plan import Plan
from tests.simulation.warm import Warm

LAST_SECONDS = 0.3  # of an invocation, as in `order_engine.entrypoints.handler`
_LATE_SECONDS = 30.0
_LATE_WATCHES = 0.15  # a share of them
_KEPT_WARM = ("route_execute", "dead_letters")  # which have threads


@dataclass
class PlannedPlatform(Platform):
    """A deployment that does what a plan says. `subject` names an order; `poison` says which service kills the workers
    of one, and at how many deliveries. `unforeseen` are the errors of invocations that are none of the engine's."""

    gate: PlannedGate = field(default_factory=PlannedGate)
    plan: Plan = field(default_factory=lambda: Plan(0, ()))
    subject: Callable[[UUID], str] = str
    poison: Callable[[UUID], tuple[Service, int] | None] = lambda _order_id: None
    unforeseen: list[str] = field(default_factory=list)
    invocations: Counter[str] = field(default_factory=Counter)  # by function
    odd: Counter[str] = field(default_factory=Counter)  # messages and requests that came late or twice
    handled: Counter[str] = field(default_factory=Counter)  # by name
    _about: str = ""
    _poison: Service | None = None
    _warm: dict[str, list[Warm]] = field(default_factory=lambda: {name: [] for name in _KEPT_WARM})

    # --- invocations -------------------------------------------------------------------------------------------------

    def invoke(self, function: str, work: Callable[[], object], ended: Ended, delay: float = 0.0) -> None:
        """See `Platform.invoke`."""
        about, self._about = self._about, ""
        poison, self._poison = self._poison, None
        begin = partial(self._begin, function, about, work, ended, poison)
        self.gate.timeline.later(delay, begin)

    def _begin(
        self, function: str, about: str, work: Callable[[], object], ended: Ended, poison: Service | None
    ) -> None:
        timeline, plan = self.gate.timeline, self.plan
        name = self._next(f"{function} {about}")
        self.invocations[function] += 1
        environment = None
        if function in self._warm:
            environment = self._warm[function].pop() if self._warm[function] else Warm(timeline)

        def limited() -> None:
            with limits.invocation(lambda: timeline.seconds_left - LAST_SECONDS):
                work()

        def over(fault: BaseException | None) -> None:
            if environment and not isinstance(fault, Killed):
                self._warm[function].append(environment)
            if fault and not isinstance(fault, Killed | OrderEngineError):
                self.unforeseen.append(f"{name}: {fault!r}")
            ended(fault)

        skew = (noise(plan.seed, f"skew {name}") * 2 - 1) * plan.skew if plan.skew else 0.0
        timeline.start(limited, name, FUNCTIONS[function], over, environment, skew).poison = poison

    def _next(self, name: str) -> str:
        self.handled[name] += 1
        return f"{name} #{self.handled[name]}"

    def executor(self, posts: Pool | None = None, venues: Mapping[VenueName, Pool] | None = None) -> Executor:
        """On the pools of the execution environment, which outlive an invocation."""
        warm = self.gate.timeline.invocation.environment
        assert isinstance(warm, Warm)
        return super().executor(warm.posts, warm.venues)

    # --- what invocations are about ----------------------------------------------------------------------------------

    def submit_for(self, about: str, body: Message, answered: Callable[[int, Message], object]) -> None:
        """A client posts an order."""
        self._about = about
        self.post(body, answered)

    def cancel_for(self, about: str, order_id: str, answered: Callable[[int, Message], object]) -> None:
        """A client cancels an order."""
        self._about = about
        self.cancel(order_id, answered)

    def receive(self, letter: Letter, done: Callable[[], object] = lambda: None) -> None:
        """See `Platform.receive`."""
        self._about = self.subject(letter.order_id)
        if poison := self.poison(letter.order_id):
            service, many = poison
            self._poison = service if self.handled[f"route_execute {self._about}"] < many else None
        super().receive(letter, done)

    def acknowledge(self, letter: Letter) -> None:
        """See `Platform.acknowledge`."""
        name = self._next(f"delete {self.subject(letter.order_id)}")
        self.gate.timeline.invoke(partial(super().acknowledge, letter), name=name)

    def work(self, function: str, letter: Letter) -> list[Any]:
        """See `Platform.work`. Without the batch around the order, for which Powertools takes as long as all calls."""
        executor = self.executor()
        try:
            if function == "route_execute":
                executor.process(letter.order_id, letter.received)
            else:
                executor.give_up(letter.order_id, reason="its workers died")
        except OrderEngineError:
            return [letter.body]
        return []

    def bury(self, letter: Letter, tries: int = 0) -> None:
        """See `Platform.bury`. A duplicate is the same letter."""
        if any(one is letter for one in self.dead_letters):
            return
        self._about = self.subject(letter.order_id)
        super().bury(letter, tries)

    def invoke_notify(self, wanted: Subscriber, delay: float, tries: int = 0) -> None:
        """See `Platform.invoke_notify`."""
        self._about = wanted.connection_id
        super().invoke_notify(wanted, delay, tries)

    def connect(
        self, connection_id: str, order_id: str | None, after: int, socket: Socket, told: Callable[[bool], object]
    ) -> None:
        """See `Platform.connect`."""
        self._about = connection_id
        super().connect(connection_id, order_id, after, socket, told)

    def disconnect(self, connection_id: str) -> None:
        """See `Platform.disconnect`."""
        self._about = connection_id
        super().disconnect(connection_id)

    def say(self, connection_id: str, text: str, told: Callable[[bool], object]) -> None:
        """See `Platform.say`."""
        self._about = connection_id
        super().say(connection_id, text, told)

    def watch(self, delay: float = 0.0) -> None:
        """See `Platform.watch`. The schedule is late by up to a minute now and then, or invokes the function twice."""
        luck = partial(noise, self.plan.seed, f"watch {self.invocations['watch_market']}")
        if luck(0) < _LATE_WATCHES:
            delay += luck(1) * WATCH_SECONDS
            self.odd["watches that came late"] += 1
        super().watch(delay)
        if luck(2) < _LATE_WATCHES:
            self.odd["watches that came twice"] += 1
            super().watch(delay + luck(3) ** 3 * WATCH_SECONDS)

    # --- what is on its way ------------------------------------------------------------------------------------------

    def pass_on(self, what: Letter | Subscriber, delay: float) -> None:
        """See `Platform.pass_on`. Some come late, some twice."""
        about = self.subject(what.order_id) if isinstance(what, Letter) else what.connection_id
        plan, name = self.plan, self._next(f"to {about}")
        luck = partial(noise, plan.seed, name)
        calm = self.gate.timeline.seconds >= self.gate.calm_at
        if not calm and luck(0) < plan.delays:
            delay += luck(1) * _LATE_SECONDS
            self.odd["came late"] += 1
        super().pass_on(what, delay)
        if not calm and luck(2) < plan.duplicates:
            self.odd["came twice"] += 1
            super().pass_on(what, delay + luck(3) ** 2 * _LATE_SECONDS)

    def _free_worker(self) -> None:
        self._busy -= 1
        while self._ready and self._busy < self.plan.workers:
            self.deliver(self._ready.popleft())  # one that was deleted meanwhile occupies no worker

    def deliver(self, letter: Letter) -> None:
        """See `Platform.deliver`."""
        if not letter.deleted and self._busy >= self.plan.workers:
            self._ready.append(letter)
        else:
            super().deliver(letter)
