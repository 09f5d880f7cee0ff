"""The timeline of a simulation: processes are greenlets, so that a switch from one to another costs no thread's."""

import heapq
import math
from datetime import datetime, timedelta
from itertools import count

from greenlet import getcurrent, greenlet

from tests.doubles.timeline import Ended, Killed, Process, TimeIsUp, Timeline, Work, raise_fault
from tests.simulation.processes import Environment, Run, Thread
from tests.support.builders import START


class GreenTimeline(Timeline):
    """Implements `doubles.timeline.Timeline`, for processes that are greenlets, and for callbacks."""

    def __init__(self, seed: int = 0, start: datetime = START) -> None:
        super().__init__(start)
        self.seed = seed
        self.began_at = start
        self.thread: Thread | None = None
        self.runs = 0
        self._hub = getcurrent()
        self._due: list[tuple[float, int, Thread | Work]] = []
        self._ticket = count(1)

    def __call__(self) -> datetime:
        """The time on the clock of whoever asks."""
        skew = self.thread.run.skew if self.thread else 0.0
        return self.began_at + timedelta(seconds=self.seconds + skew)

    # --- what is to happen -------------------------------------------------------------------------------------------

    def later(self, delay: float, callback: Work) -> None:
        """Calls back after a delay, outside of every process."""
        heapq.heappush(self._due, (self.seconds + delay, next(self._ticket), callback))

    def start(
        self,
        work: Work,
        name: str,
        lasts: float = math.inf,
        ended: Ended = raise_fault,
        environment: Environment | None = None,
        skew: float = 0.0,
    ) -> Run:
        """Begins an invocation now, in a new environment or in one that is kept; its left-over threads go on too."""
        run = Run(name, self.seconds + lasts, ended, environment, skew, self.seed)
        self.runs += 1
        self._schedule(Thread(run, work), self.seconds)
        for thread in environment.left_over if environment else ():
            thread.run = run
            run.processes.append(thread)
            self._schedule(thread, max(thread.due, self.seconds))
        if environment:
            environment.left_over = []
        return run

    def invoke(
        self, work: Work, delay: float = 0.0, name: str = "", lasts: float = math.inf, ended: Ended = raise_fault
    ) -> None:
        """See `Timeline.invoke`. What has no name waits for nothing, and needs no process."""
        self.later(delay, (lambda: self.start(work, name, lasts, ended)) if name else work)

    @property
    def seconds_left(self) -> float:
        """See `Timeline.seconds_left`."""
        return self.thread.run.ends_at - self.seconds if self.thread else math.inf

    def spawn(self, work: Work) -> None:
        """See `Timeline.spawn`."""
        assert self.thread
        self._schedule(Thread(self.thread.run, work), self.seconds)

    def run(self, until: float = math.inf) -> None:
        """See `Timeline.run`."""
        self._hub = getcurrent()
        due, pop = self._due, heapq.heappop
        while due and due[0][0] < until:
            at, ticket, what = pop(due)
            if not isinstance(what, Thread):
                self.seconds = at
                what()
            elif what.wake == ticket:
                self.seconds = at
                self._switch_to(what)

    # --- for processes -----------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """See `Timeline.wait`. A callback can't wait."""
        thread = self.thread
        assert thread
        run, due = thread.run, self._due
        at = self.seconds + seconds if seconds > 0 else self.seconds
        if not run.over and at < run.ends_at and not (due and due[0][0] <= at):
            self.seconds = at  # nobody else has anything to do until then
        else:
            self.sleep(at)

    def sleep(self, until: float = math.inf) -> None:
        """See `Timeline.sleep`."""
        thread = self.thread
        assert thread
        if thread.run.over:
            raise Killed
        self._schedule(thread, until)
        self._hub.switch()
        if thread.run.over:
            raise Killed
        if self.seconds >= thread.run.ends_at:
            self.out_of_time.append(thread.run.name)
            raise TimeIsUp

    def wake(self, process: Process) -> None:
        """See `Timeline.wake`."""
        assert isinstance(process, Thread)
        if not process.over:
            self._schedule(process, self.seconds)

    # --- one after the other -----------------------------------------------------------------------------------------

    def _schedule(self, thread: Thread, at: float) -> None:
        ticket, ends_at = next(self._ticket), thread.run.ends_at
        thread.due, thread.wake = at, ticket
        if ends_at < at:
            at = ends_at
        if at < math.inf:
            heapq.heappush(self._due, (at, ticket, thread))

    def _switch_to(self, thread: Thread) -> None:
        self.current = self.thread = thread
        if thread.greenlet is None:
            thread.greenlet = greenlet(thread.live)
        thread.greenlet.switch()
        self.current = self.thread = None
        if thread.greenlet.dead:
            self._finish(thread)

    def _finish(self, thread: Thread) -> None:
        """A thread is over: and its invocation, if it was the first one, or was killed."""
        thread.over = True
        run = thread.run
        if run.over or not (thread.fault or thread.first):
            return
        run.over = True
        others = [one for one in run.processes if isinstance(one, Thread) and not one.over]
        if run.environment and not isinstance(thread.fault, Killed):
            for other in others:
                other.wake = 0  # nothing wakes it now
            run.environment.left_over = others
        else:
            for other in others:
                self._destroy(other)
        run.ended(thread.fault)

    def _destroy(self, thread: Thread) -> None:
        thread.over = True
        if thread.greenlet:
            self.current = self.thread = thread
            thread.greenlet.throw(Killed)
            self.current = self.thread = None
