"""Virtual time, and the processes that live in it: discrete events, the same each time they are run.

A process is a greenlet: it goes on until it waits for a moment, or for a future of a `VirtualPool`; then whatever is
due next has its turn. Processes belong to an invocation, as a function's threads do: they are over together, when the
first one returns, when one of them is killed, or when the function's time is up. Outside of processes `wait` just
passes the time, and a pool runs what it is given at once.
"""

import heapq
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

from greenlet import getcurrent, greenlet

from tests.support.builders import START

Work = Callable[[], object]
Ended = Callable[[BaseException | None], object]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more. No handler of the engine's may catch it."""


class TimeIsUp(Killed):
    """The function's time limit has stopped it."""


def raise_fault(fault: BaseException | None) -> None:
    """What the end of an invocation comes to that nobody heeds."""
    if fault and not isinstance(fault, Killed):
        raise fault


class Invocation:
    """Processes that live and die together; `ended` is told how the first one ended: None if it returned."""

    def __init__(self, name: str, ends_at: float, ended: Ended) -> None:
        self.name = name
        self.ends_at = ends_at
        self.ended = ended
        self.processes: list[Process] = []
        self.over = False
        self.calls = 0  # to outside systems, by the gate's count


class Process:
    """A thread of an invocation. `wake` is the number of the agenda's record that has it go on."""

    def __init__(self, invocation: Invocation, work: Work) -> None:
        self.invocation = invocation
        self.work = work
        self.first = not invocation.processes
        self.wake = 0
        self.over = False
        self.fault: BaseException | None = None
        self.greenlet: greenlet | None = None
        invocation.processes.append(self)

    def live(self) -> None:
        """From beginning to end."""
        try:
            self.work()
        except BaseException as raised:  # noqa: BLE001 - whoever heeds the invocation's end is told
            self.fault = raised


class Timeline:
    """A clock (`ports.Clock`), and the agenda of what happens when. `seconds` count from its start. What needs more
    than `enough` turns in one `run` is taken to go round in circles."""

    def __init__(self, start: datetime = START, enough: int = 20_000) -> None:
        self._start = start
        self._enough = enough
        self.seconds = 0.0
        self.out_of_time: list[str] = []  # the invocations that were stopped by their time limit
        self.current: Process | None = None
        self._agenda: list[tuple[float, int, Process]] = []
        self._numbers = count(1)
        self._until = math.inf
        self._hub = getcurrent()
        self._outside = Invocation("", math.inf, raise_fault)

    def __call__(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    # --- what is to happen -------------------------------------------------------------------------------------------

    def invoke(
        self, work: Work, delay: float = 0.0, name: str = "", lasts: float = math.inf, ended: Ended = raise_fault
    ) -> None:
        """Begins an invocation after a delay, which may last so many seconds."""
        at = self.seconds + delay
        self._have_go_on(Process(Invocation(name, at + lasts, ended), work), at)

    @property
    def invocation(self) -> Invocation:
        """The current invocation, or one that has no end, for whoever is no process."""
        return self.current.invocation if self.current else self._outside

    @property
    def seconds_left(self) -> float:
        """What is left of the current invocation."""
        return self.invocation.ends_at - self.seconds

    def spawn(self, work: Work) -> None:
        """Begins another process of the current invocation."""
        assert self.current
        self._have_go_on(Process(self.current.invocation, work), self.seconds)

    def run(self, until: float = math.inf) -> None:
        """Has everything happen that is due before then. Raises what an invocation raised whose end nobody heeds."""
        self._until, self._hub, turns = until, getcurrent(), 0
        while self._agenda and self._agenda[0][0] < until:
            at, number, process = heapq.heappop(self._agenda)
            if process.wake == number and not process.over:
                self.seconds = max(self.seconds, at)
                self._go_on(process)
                turns += 1
            if turns > self._enough:
                raise AssertionError("this never ends")
        if until < math.inf:
            self.seconds = max(self.seconds, until)

    # --- for processes -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Passes the time. Raises Killed in a process whose invocation is over by then."""
        me, at = self.current, self.seconds + max(seconds, 0.0)
        if me is None:
            self.seconds = at
        elif not me.invocation.over and at < min(me.invocation.ends_at, self._until, self._next_at):
            self.seconds = at  # nobody else has anything to do until then
        else:
            self.sleep(at)

    def sleep(self, until: float = math.inf) -> None:
        """Has others go on until that moment, or until `wake` is called. Raises Killed like `wait`."""
        me = self.current
        assert me
        if not me.invocation.over:
            self._have_go_on(me, min(until, me.invocation.ends_at))
            self._hub.switch()
        if me.invocation.over:
            raise Killed
        if self.seconds >= me.invocation.ends_at:
            self.out_of_time.append(me.invocation.name)
            raise TimeIsUp

    def wake(self, process: Process) -> None:
        """Has a process that sleeps go on now."""
        self._have_go_on(process, self.seconds)

    # --- one after the other -----------------------------------------------------------------------------------------

    @property
    def _next_at(self) -> float:
        return self._agenda[0][0] if self._agenda else math.inf

    def _have_go_on(self, process: Process, at: float) -> None:
        process.wake = next(self._numbers)
        if at < math.inf:
            heapq.heappush(self._agenda, (at, process.wake, process))

    def _go_on(self, process: Process) -> None:
        process.greenlet = process.greenlet or greenlet(process.live)
        self.current = process
        process.greenlet.switch()
        self.current = None
        process.over = process.greenlet.dead
        if process.over and (process.first or process.fault) and not process.invocation.over:
            self._end(process.invocation, process.fault)

    def _end(self, invocation: Invocation, fault: BaseException | None) -> None:
        """Kills the other processes, which are asleep, and tells whoever heeds the end."""
        invocation.over = True
        for process in invocation.processes:
            if process.greenlet and not process.over:
                self._go_on(process)
            process.over = True
        invocation.ended(fault)
