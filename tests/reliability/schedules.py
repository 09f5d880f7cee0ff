"""Interleavings: tasks that stop before every outside call, and a search through the orders in which they may go on.

A schedule is a list of choices, one for each stop at which there was
something to choose; the search replays a prefix and goes through what may follow, so that it is the same each time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


@dataclass
class Chooser:
    """Makes the prefix's choices, then always takes the first option; keeps what was chosen among how many."""

    prefix: Sequence[int] = ()
    made: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, options: int) -> int:
        """One of `options`, counted from 0."""
        if options == 1:
            return 0
        choice = self.prefix[len(self.made)] % options if len(self.made) < len(self.prefix) else 0
        self.made.append((choice, options))
        return choice

    def following(self) -> list[int] | None:
        """The prefix of the next schedule in order; None after the last."""
        made = list(self.made)
        while made and made[-1][0] == made[-1][1] - 1:
            made.pop()
        if not made:
            return None
        return [choice for choice, _ in made[:-1]] + [made[-1][0] + 1]


def every_schedule(run: Callable[[Chooser], T], at_most: int) -> Iterator[T]:
    """Runs once for each schedule there is; fails when there are more than `at_most`."""
    prefix: list[int] | None = []
    for _ in range(at_most):
        chooser = Chooser(prefix or ())
        yield run(chooser)
        prefix = chooser.following()
        if prefix is None:
            return
    raise AssertionError(f"more than {at_most} schedules")


class Task:
    """A process that moves only when it is told to, and stops when `pause` is called in it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._greenlet = greenlet(work)
        self._told_by = getcurrent()

    @property
    def ended(self) -> bool:
        """Whether it has nothing more to do."""
        return bool(self._greenlet.dead)

    @property
    def is_current(self) -> bool:
        """Whether this is what runs."""
        return getcurrent() is self._greenlet

    def step(self) -> None:
        """Lets it go on to its next stop, or its end. Raises what it raised."""
        self._greenlet.switch()

    def pause(self) -> None:
        """Stops the task (called in it)."""
        self._told_by.switch()


def run_tasks(
    works: Sequence[Callable[[], None]],
    hook: Callable[[Callable[[], None]], None],
    choose: Callable[[int], int],
    preemptions: int,
    aside: Callable[[], None] | None = None,
    asides: int = 0,
) -> None:
    """Runs the works interleaved, as `choose` says, until all have ended.

    `hook` is given what to call before every outside call. A running task is left for another before its end at most
    `preemptions` times; each time `aside` may happen too (up to `asides` times), such as a lease running out.
    """
    tasks = [Task(work) for work in works]

    def before_call() -> None:
        for task in tasks:
            if task.is_current:
                task.pause()

    hook(before_call)
    current: Task | None = None
    while any(not task.ended for task in tasks):
        ready = [task for task in tasks if not task.ended]
        going_on = current is not None and not current.ended
        others = [task for task in ready if task is not current]
        options: list[tuple[Task, bool]] = [(current, False)] if current and going_on else []
        if not going_on or preemptions:
            options += [(task, False) for task in others]
            if aside and asides:
                options += [(task, True) for task in others]
        following, beside = options[choose(len(options))]
        if going_on and following is not current:
            preemptions -= 1
        if beside and aside:
            asides -= 1
            aside()
        current = following
        current.step()
