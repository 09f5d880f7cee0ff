"""Virtual time, and the processes that live in it: discrete events, the same each time they are run.

A process is a greenlet: it runs until it waits for a moment, or for a future of a `VirtualPool`; then whatever is due
next has its turn. Processes belong to an invocation, as a function's threads do: they end together, when the first one
returns, when one of them is killed, or when the function's time is up. Outside of processes `wait` just passes the
time, and a pool runs what it is given at once.

An environment outlives its invocations, and so do its threads: a call that hangs goes on hanging while later
invocations of the environment run. Between two of them it is frozen. A killed invocation takes its environment with it.
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
    """How an invocation ends by default: its error is raised."""
    if fault and not isinstance(fault, Killed):
        raise fault


class Environment:
    """What successive invocations of a function share; `left_over` are the threads that are frozen between them."""

    def __init__(self) -> None:
        self.left_over: list[Process] = []


class Invocation:
    """Processes that live and die together. `ended` is told how the first one ended: None if it returned.

    `skew`: by how many seconds its clock is fast. `poison`: a call to this service kills it. `calls` counts its calls
    to the outside.
    """

    def __init__(
        self, name: str, ends_at: float, ended: Ended, environment: Environment | None = None, skew: float = 0.0
    ) -> None:
        self.name = name
        self.ends_at = ends_at
        self.ended = ended
        self.environment = environment
        self.skew = skew
        self.poison: object = None
        self.processes: list[Process] = []
        self.over = False
        self.calls = 0


class Process:
    """A thread of an invocation. `wake` is the number of the agenda's entry that has it go on, `due` its moment;
    `left_over`: it began in an earlier invocation of the environment."""

    def __init__(self, invocation: Invocation, work: Work) -> None:
        self.invocation = invocation
        self.work = work
        self.first = not invocation.processes
        self.wake = 0
        self.due = math.inf
        self.over = self.left_over = False
        self.fault: BaseException | None = None
        self.greenlet: greenlet | None = None
        invocation.processes.append(self)

    def live(self) -> None:
        """Run from beginning to end."""
        try:
            self.work()
        except BaseException as raised:  # noqa: BLE001 - the invocation's `ended` is told
            self.fault = raised


class Timeline:
    """A clock (`ports.Clock`), and the agenda of what happens when. `seconds` count from its start. More than `enough`
    turns in one `run` are taken for a livelock."""

    def __init__(self, start: datetime = START, enough: float = 20_000) -> None:
        self.began_at = start
        self._enough = enough
        self.seconds = 0.0
        self.out_of_time: list[str] = []  # the invocations that were stopped by their time limit
        self.current: Process | None = None
        self._agenda: list[tuple[float, int, Process | Work]] = []
        self._numbers = count(1)
        self._until = math.inf
        self._hub = getcurrent()
        self._outside = Invocation("", math.inf, raise_fault)

    def __call__(self) -> datetime:
        return self.began_at + timedelta(seconds=self.seconds + self.invocation.skew)

    # --- what is to happen --------------------------------------------------------------------------------------------

    def later(self, delay: float, callback: Work) -> None:
        """Call back after a delay, outside of every process; a callback can't wait."""
        heapq.heappush(self._agenda, (self.seconds + delay, next(self._numbers), callback))

    def invoke(
        self, work: Work, delay: float = 0.0, name: str = "", lasts: float = math.inf, ended: Ended = raise_fault
    ) -> None:
        """Begin an invocation after a delay, which may last so many seconds."""
        at = self.seconds + delay
        self._schedule(Process(Invocation(name, at + lasts, ended), work), at)

    def start(
        self, work: Work, name: str, lasts: float, ended: Ended, environment: Environment | None, skew: float
    ) -> Invocation:
        """Begin an invocation now, whose environment's left-over threads go on too."""
        invocation = Invocation(name, self.seconds + lasts, ended, environment, skew)
        self._schedule(Process(invocation, work), self.seconds)
        if environment:
            for process in environment.left_over:
                process.invocation, process.left_over = invocation, True
                invocation.processes.append(process)
                self._schedule(process, max(process.due, self.seconds))
            environment.left_over = []
        return invocation

    @property
    def invocation(self) -> Invocation:
        """The current invocation, or one that has no end, outside of processes."""
        return self.current.invocation if self.current else self._outside

    @property
    def seconds_left(self) -> float:
        """What is left of the current invocation."""
        return self.invocation.ends_at - self.seconds

    def spawn(self, work: Work) -> None:
        """Begin another process of the current invocation."""
        assert self.current
        self._schedule(Process(self.current.invocation, work), self.seconds)

    def run(self, until: float = math.inf) -> None:
        """Let everything happen that is due before then. Raises what an invocation raised that has no `ended`."""
        self._until, self._hub, turns = until, getcurrent(), 0
        while self._agenda and self._agenda[0][0] < until:
            at, number, due = heapq.heappop(self._agenda)
            if not isinstance(due, Process):
                self.seconds = max(self.seconds, at)
                due()
            elif due.wake == number and not due.over:
                self.seconds = max(self.seconds, at)
                self._go_on(due)
                turns += 1
            if turns > self._enough:
                raise AssertionError("this never ends")
        if until < math.inf:
            self.seconds = max(self.seconds, until)

    # --- for processes ------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Pass the time. Raises Killed in a process whose invocation is over by then."""
        me, at = self.current, self.seconds + max(seconds, 0.0)
        if me is None:
            self.seconds = at
        elif not me.invocation.over and at < min(me.invocation.ends_at, self._until, self._next_at):
            self.seconds = at  # nobody else has anything to do until then
        else:
            self.sleep(at)

    def sleep(self, until: float = math.inf) -> None:
        """Let others go on until that moment, or until `wake` is called. Raises Killed like `wait`."""
        me = self.current
        assert me
        if not me.invocation.over:
            self._schedule(me, until)
            self._hub.switch()
        if me.invocation.over:
            raise Killed
        if self.seconds >= me.invocation.ends_at:
            self.out_of_time.append(me.invocation.name)
            raise TimeIsUp

    def wake(self, process: Process) -> None:
        """Have a process that sleeps go on now."""
        self._schedule(process, self.seconds)

    # --- one after the other ------------------------------------------------------------------------------------------

    @property
    def _next_at(self) -> float:
        return self._agenda[0][0] if self._agenda else math.inf

    def _schedule(self, process: Process, at: float) -> None:
        process.wake, process.due = next(self._numbers), at
        at = min(at, process.invocation.ends_at)
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
        """End the other processes, which are asleep, or freeze them in the environment; then tell `ended`."""
        invocation.over = True
        others = [process for process in invocation.processes if not process.over]
        if invocation.environment and not isinstance(fault, Killed):
            for process in others:
                process.wake = 0  # nothing wakes it now
            invocation.environment.left_over = others
        else:
            for process in others:
                process.over = True
                if process.greenlet:
                    self.current = process
                    process.greenlet.throw(Killed)
                    self.current = None
        invocation.ended(fault)
