"""A pool whose threads live on a timeline: what is waited for passes virtual time, and what hangs is left hanging."""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from functools import partial
from typing import Any

from tests.doubles.timeline import Process, Timeline, Work


class VirtualPool(Executor):
    """Runs so many calls at once. Outside of a timeline's processes it runs each at once, in the caller's thread."""

    def __init__(self, timeline: Timeline, size: float = math.inf) -> None:
        self._timeline = timeline
        self._size = size
        self._busy = 0
        self._queued: deque[Work] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        future = _VirtualFuture(self._timeline)
        self._queued.append(partial(_run, future, partial(fn, *args, **kwargs)))
        if self._timeline.current is None:
            self._work()
        elif self._busy < self._size:
            self._busy += 1
            self._timeline.spawn(self._lane)
        return future

    def _lane(self) -> None:
        try:
            self._work()
        finally:
            self._busy -= 1

    def _work(self) -> None:
        while self._queued:
            self._queued.popleft()()


def _run(future: "_VirtualFuture", call: Work) -> None:
    """A kill is no result: it takes the process with it."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except Exception as fault:  # noqa: BLE001 - as a pool does
        future.set_exception(fault)
    else:
        future.set_result(result)


class _VirtualFuture(Future[Any]):
    """A future for which `concurrent.futures.wait` and `result` wait on the timeline.

    `wait` leaves a waiter with every future that is not done, and waits for its event: which is a virtual one here.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._waiters = _Waiters(timeline)

    def result(self, timeout: float | None = None) -> Any:
        """See `Future.result`."""
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `Future.exception`."""
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if not self.done():
            wait([self], timeout)


class _Waiters(list[Any]):
    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def append(self, waiter: Any) -> None:
        if not isinstance(waiter.event, _VirtualEvent):
            waiter.event = _VirtualEvent(self._timeline)
        super().append(waiter)


class _VirtualEvent:
    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._is_set = False
        self._sleeper: Process | None = None

    def set(self) -> None:
        self._is_set = True
        if self._sleeper:
            self._timeline.wake(self._sleeper)

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._sleeper = self._timeline.current
            self._timeline.sleep(math.inf if timeout is None else self._timeline.seconds + timeout)
            self._sleeper = None
        return self._is_set
