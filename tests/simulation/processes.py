"""What lives on a simulation's timeline: invocations, their threads, and the environments that outlive both.

A Lambda environment outlives its invocations, and so do its threads: a call that hangs in a pool goes on hanging while
later invocations of the environment run, and ends (or takes effect) during one of them. Between two invocations an
environment is frozen. A killed invocation takes its environment with it.
"""

import math

from greenlet import greenlet

from tests.doubles.gate import Service
from tests.doubles.timeline import Ended, Invocation, Process, Work
from tests.simulation.noise import Noise


class Environment:
    """What successive invocations of a function share; `left_over` are the threads that are frozen between them."""

    def __init__(self) -> None:
        self.left_over: list[Thread] = []


class Run(Invocation):
    """One invocation. `skew`: by how many seconds its clock is fast; `calls` counts its calls to the outside, and their
    luck comes from `noise`. `poison`: a call to this service kills it."""

    def __init__(
        self, name: str, ends_at: float, ended: Ended, environment: Environment | None, skew: float, seed: int
    ) -> None:
        super().__init__(name, ends_at, ended)
        self.environment = environment
        self.skew = skew
        self.poison: Service | None = None
        self.calls = 0
        self.noise = Noise(seed, name)


class Thread(Process):
    """A thread of an invocation, or left over from an earlier one of its environment."""

    def __init__(self, run: Run, work: Work) -> None:
        super().__init__(run, work)
        self.run = run
        self.greenlet: greenlet | None = None
        self.due = math.inf
        self.fault: BaseException | None = None

    def live(self) -> None:
        """From beginning to end."""
        try:
            self.work()
        except BaseException as raised:  # noqa: BLE001 - whoever heeds the invocation's end is told
            self.fault = raised
